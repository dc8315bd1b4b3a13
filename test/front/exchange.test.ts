// One HTTP request at a time: what is checked, in which order, and how it is answered.
import test from 'ava'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { statSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { LIMITS } from '../../src/base/limits.js'
import type { Dispatch, Reply } from '../../src/protocol/messages.js'
import { fileAsked, kinds, ping, pong, rpcText, TOKEN, until, withStage, type Answer } from './stage.js'

const PING = JSON.stringify(ping(1))

function codeOf(answer: Answer): string {
  const body = JSON.parse(answer.body) as { code?: string; error?: { data: { code: string } } }
  return body.error?.data.code ?? body.code ?? ''
}

function rawPing(headers: string): string {
  return `POST /rpc HTTP/1.1\r\n${headers}Authorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: ${PING.length}\r\nConnection: close\r\n\r\n${PING}`
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  test(front('a request, a batch and a notification are answered as JSON-RPC says'), (t) =>
    withStage(kind, {}, async ({ rpc }) => {
      const one = await rpc(ping(7))
      t.is(one.status, 200)
      t.is(one.headers['content-type'], 'application/json')
      t.deepEqual(JSON.parse(one.body), { jsonrpc: '2.0', id: 7, result: 'pong' })
      const batch = await rpc([ping(1), ping(), { jsonrpc: '2.0', id: 2, method: 'no.such' }])
      const [first, second, ...rest] = JSON.parse(batch.body)
      t.is(first.result, 'pong')
      t.is(second.error.code, -32601)
      t.deepEqual(rest, [])
      const silent = await rpc(ping())
      t.is(silent.status, 204)
      t.is(silent.body, '')
    }),
  )

  test(front('a connection is kept alive over every kind of answer'), (t) =>
    withStage(kind, {}, async ({ rpc, ask, front: opened }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (const body of [ping(1), ping(), [ping()], 'not json']) await rpc(body, { agent })
      t.is((await ask({ path: '/nope', agent })).status, 404)
      t.is((await rpc(ping(2), { agent, token: 'wrong' })).status, 401)
      t.is((await rpc(ping(3), { agent })).status, 200)
      t.is(opened.connections().accepted, 1)
      agent.destroy()
    }),
  )

  test(front('HTTP/1.0 is answered by node:http alone, as those are told who put a proxy in front'), (t) =>
    withStage(kind, {}, async ({ raw, port }) => {
      const told = await raw(`GET /health HTTP/1.0\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
      t.regex(told, kind === 'uws' ? /^HTTP\/1.1 505 / : /^HTTP\/1.1 200 /)
    }),
  )

  test.serial(front('a body that comes byte by byte takes no more memory than one that comes whole'), async (t) => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const heapBytes = () => {
      collect()
      return process.memoryUsage().heapUsed
    }
    let before = 0
    const dispatch: Dispatch = (_request, answer) => {
      t.true(heapBytes() - before < 16 << 20)
      answer({ ok: true, json: '"pong"' })
    }
    await withStage(kind, { dispatch }, async ({ port }) => {
      const chunks = Buffer.from(PING.padEnd(LIMITS.bodyBytesMax).replaceAll(/[^]/g, '1\r\n$&\r\n') + '0\r\n\r\n')
      before = heapBytes()
      const headers = `Host: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`
      const socket = net.connect(port, '127.0.0.1')
      socket.write(`POST /rpc HTTP/1.1\r\n${headers}Transfer-Encoding: chunked\r\n\r\n`)
      socket.write(chunks)
      const [told] = (await once(socket, 'data')) as [Buffer]
      t.regex(told.toString(), /^HTTP\/1.1 200 /)
      socket.destroy()
    })
  })

  test(front('every answer says that it is not to be cached, sniffed or read by another site'), (t) =>
    withStage(kind, {}, async ({ rpc, ask }) => {
      for (const answer of [await rpc(ping(1)), await ask(), await ask({ path: '/nope' })]) {
        t.is(answer.headers['x-content-type-options'], 'nosniff')
        t.is(answer.headers['cache-control'], 'no-store')
        t.is(answer.headers['cross-origin-resource-policy'], 'same-origin')
      }
    }),
  )

  test(front('what HTTP does not serve is told with what does the same there'), (t) =>
    withStage(kind, {}, async ({ ask, rpc }) => {
      const told = JSON.parse((await ask({ path: '/nope' })).body)
      t.is(told.code, 'NOT_FOUND')
      for (const route of ['/rpc', '/ws', '/events', '/libraries/', '/metrics', '/health'])
        t.true(told.hint.includes(route), told.hint)
      for (const [method, params, words] of [
        ['events.subscribe', {}, /GET \/events/],
        ['events.unsubscribe', { subscription: '1' }, /WebSocket/],
        ['rpc.cancel', { id: 1 }, /^Close the connection/],
      ] as const) {
        const { error } = JSON.parse((await rpc({ jsonrpc: '2.0', id: 1, method, params })).body)
        t.is(error.data.code, 'BAD_REQUEST')
        t.regex(error.data.hint, words)
      }
    }),
  )

  test(front('malformed messages are answered with the standard codes'), (t) =>
    withStage(kind, {}, async ({ rpc }) => {
      t.is(JSON.parse((await rpc('{')).body).error.code, -32700)
      t.is(JSON.parse((await rpc('[]')).body).error.code, -32600)
      t.is(JSON.parse((await rpc('')).body).error.code, -32700)
      t.is(JSON.parse((await rpc({ jsonrpc: '2.0', id: 1, method: 'libraries.create' })).body).error.code, -32602)
      const latin1 = await rpc(Buffer.from('{"jsonrpc":"2.0","id":"\xe9","method":"core.ping"}', 'latin1'))
      t.is(latin1.status, 400)
      t.is(codeOf(latin1), 'BAD_REQUEST')
      const replaced = await rpc({ jsonrpc: '2.0', id: 'what \ufffd was wrong elsewhere', method: 'core.ping' })
      t.is(JSON.parse(replaced.body).id, 'what \ufffd was wrong elsewhere')
    }),
  )

  test(front('a body that comes in pieces is put together'), (t) =>
    withStage(kind, {}, async ({ port }) => {
      const got = await new Promise<string>((resolve) => {
        let all = ''
        const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
        const whole = rawPing(`Host: 127.0.0.1:${port}\r\n`)
        socket.write(whole.slice(0, -30))
        // One after the other: two timers that are both late may fire in either order.
        setTimeout(() => {
          socket.write(whole.slice(-30, -10))
          setTimeout(() => socket.write(whole.slice(-10)), 30)
        }, 30)
        socket.on('data', (part) => (all += part.toString()))
        socket.on('close', () => resolve(all))
      })
      t.regex(got, /^HTTP\/1.1 200 OK[\s\S]*"pong"/)
    }),
  )

  test(front('health needs no token and tells the state'), (t) =>
    withStage(kind, { state: 'starting' }, async ({ ask, rpc, front: opened }) => {
      const starting = await ask({ path: '/health', token: null })
      t.is(starting.status, 503)
      t.deepEqual(JSON.parse(starting.body), { status: 'starting' })
      const refused = await rpc(ping(1))
      t.is(refused.status, 503)
      t.is(codeOf(refused), 'STARTING')
      t.is(refused.headers['retry-after'], '1')
      t.is((await ask({ path: '/' })).status, 503)
      opened.state = 'serving'
      const serving = await ask({ path: '/health', token: null })
      t.is(serving.status, 200)
      t.is(serving.body, '{"status":"ok"}')
    }),
  )

  test(front('the first page needs no token and names the routes'), (t) =>
    withStage(kind, {}, async ({ ask }) => {
      const page = await ask({ token: null })
      t.is(page.status, 200)
      t.regex(page.headers['content-type'] ?? '', /^text\/plain/)
      t.regex(page.body, /POST \/rpc/)
    }),
  )

  test(front('without the token there is nothing'), (t) =>
    withStage(kind, {}, async ({ rpc, ask }) => {
      for (const token of [null, '', 'wrong', `${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase()]) {
        const answer = await rpc(ping(1), { token })
        t.is(answer.status, 401, String(token))
        t.is(codeOf(answer), 'UNAUTHORIZED')
        t.regex(answer.headers['www-authenticate'] ?? '', /Bearer/)
      }
      t.is((await ask({ path: '/nope', token: null })).status, 401)
      t.is((await ask({ path: '/ws', token: null })).status, 401)
    }),
  )

  test(front('the token may come as Bearer in any case, or as the password of Basic'), (t) =>
    withStage(kind, {}, async ({ rpc }) => {
      const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
      const status = async (authorization: string) =>
        (await rpc(ping(1), { token: null, headers: { authorization } })).status
      t.is(await status(`bearer ${TOKEN}`), 200)
      t.is(await status(basic(`anyone:${TOKEN}`)), 200)
      t.is(await status(basic(`:${TOKEN}`)), 200)
      t.is(await status(basic(TOKEN)), 401)
      t.is(await status(basic(`${TOKEN}:`)), 401)
      t.is(await status(`Digest ${TOKEN}`), 401)
    }),
  )

  test(front('only the addresses it listens on are accepted as Host'), (t) =>
    withStage(kind, { hostsAllowed: ['files.example:443'] }, async ({ rpc, port }) => {
      for (const host of [
        `127.0.0.1:${port}`,
        `localhost:${port}`,
        `LocalHost:${port}`,
        `[::1]:${port}`,
        'files.example:443',
      ]) {
        t.is((await rpc(ping(1), { headers: { host } })).status, 200, host)
      }
      for (const host of [
        'evil.example',
        `evil.example:${port}`,
        '127.0.0.1',
        `127.0.0.1:${port + 1}`,
        `x127.0.0.1:${port}`,
      ]) {
        const answer = await rpc(ping(1), { headers: { host } })
        t.is(answer.status, 403, host)
        t.is(codeOf(answer), 'FORBIDDEN_ORIGIN')
      }
    }),
  )

  test(front('Host is checked before anything else, on every route'), (t) =>
    withStage(kind, {}, async ({ ask }) => {
      for (const path of ['/', '/health', '/rpc', '/ws', '/nope']) {
        t.is((await ask({ path, token: null, headers: { host: 'evil.example' } })).status, 403, path)
      }
    }),
  )

  test(front('two Host headers are refused, and none is not answered with anything useful'), (t) =>
    withStage(kind, {}, async ({ raw, port }) => {
      const own = `Host: 127.0.0.1:${port}\r\n`
      t.regex(await raw(rawPing(own)), /^HTTP\/1.1 200/)
      t.regex(await raw(rawPing(own + own)), /^HTTP\/1.1 400/)
      t.regex(await raw(rawPing(`${own}Host: evil.example\r\n`)), /^HTTP\/1.1 400/)
      t.notRegex(await raw(rawPing('')), /200|pong/)
    }),
  )

  test(front('a body whose end is in doubt is refused, and what follows is no request'), (t) =>
    withStage(kind, {}, async ({ raw, port }) => {
      const whole = rawPing(`Host: 127.0.0.1:${port}\r\n`).replace('Connection: close\r\n', '')
      for (const second of [
        'Content-Length: 1\r\n',
        'Content-Length: 9999\r\n',
        `Content-Length: ${PING.length}\r\n`,
      ]) {
        const told = await raw(`${whole.replace('\r\n\r\n', `\r\n${second}\r\n`)}${whole}`)
        t.is(told.match(/HTTP\/1.1 \d+/g)?.join() ?? 'HTTP/1.1 400', 'HTTP/1.1 400', second)
      }
      const length = `Content-Length: ${PING.length}\r\n`
      for (const instead of [
        'Content-Length: \r\n',
        'Transfer-Encoding: xchunked\r\n',
        'Transfer-Encoding: chunked, identity\r\n',
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
      ]) {
        const told = await raw(`${whole.replace(length, instead).replace(PING, `0\r\n\r\n`)}${whole}`)
        t.is(told.match(/HTTP\/1.1 \d+/g)?.join() ?? 'HTTP/1.1 400', 'HTTP/1.1 400', instead)
      }
    }),
  )

  test(front('who would rather speak HTTP/2 is answered as any other, and goes on asking'), (t) =>
    withStage(kind, {}, async ({ rpc, raw, port }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' }
      for (const id of [1, 2]) t.is((await rpc(ping(id), { agent, headers })).body, (await rpc(ping(id))).body)
      agent.destroy()
      t.notRegex(await raw(`CONNECT a:1 HTTP/1.1\r\n\r\n${rawPing(`Host: 127.0.0.1:${port}\r\n`)}`), /pong/)
    }),
  )

  test(front('pages of other sites are refused'), (t) =>
    withStage(kind, { hostsAllowed: ['files.example:443'] }, async ({ rpc, port }) => {
      const status = async (headers: Record<string, string>) => (await rpc(ping(1), { headers })).status
      t.is(await status({ origin: `http://127.0.0.1:${port}` }), 200)
      t.is(await status({ origin: `http://localhost:${port}`, 'sec-fetch-site': 'same-origin' }), 200)
      t.is(await status({ origin: 'https://files.example:443' }), 200)
      for (const origin of [
        'null',
        '',
        'http://evil.example',
        'http://localhost',
        `https://127.0.0.1:${port}`,
        `http://127.0.0.1:${port}.evil.example`,
      ]) {
        t.is(await status({ origin }), 403, origin)
      }
      t.is(await status({ 'sec-fetch-site': 'cross-site' }), 403)
    }),
  )

  test(front('unknown paths, wrong methods and wrong types each have their status'), (t) =>
    withStage(kind, {}, async ({ ask, rpc }) => {
      const unknown = await ask({ path: '/nope' })
      t.is(unknown.status, 404)
      t.is(codeOf(unknown), 'NOT_FOUND')
      const wrong = await ask({ path: '/rpc' })
      t.is(wrong.status, 405)
      t.is(wrong.headers.allow, 'POST')
      t.is((await ask({ path: '/health', method: 'DELETE' })).headers.allow, 'GET, HEAD')
      for (const path of ['/health', '/']) {
        const [whole, head] = [await ask({ path }), await ask({ path, method: 'HEAD' })]
        t.is(head.status, 200)
        t.is(head.headers['content-length'], String(Buffer.byteLength(whole.body)))
        t.is(head.body, '')
      }
      t.is((await ask({ path: '/ws' })).status, 426)
      t.is((await rpc(ping(1), { headers: { 'content-type': 'text/plain' } })).status, 415)
      t.is((await rpc(ping(1), { headers: { 'content-type': 'application/jsonx' } })).status, 415)
      t.is((await rpc(ping(1), { headers: { 'content-type': 'Application/JSON; charset=utf-8' } })).status, 200)
      t.is((await rpc(ping(1), { path: '/rpc?x=1' })).status, 200)
      t.is((await rpc(ping(1), { headers: { 'content-encoding': 'gzip' } })).status, 415)
      t.is((await rpc(ping(1), { headers: { 'content-encoding': 'identity' } })).status, 200)
    }),
  )

  test(front('a body past the bound is refused, announced or not'), (t) =>
    withStage(kind, {}, async ({ raw, rpc, port }) => {
      const head = `POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`
      const announced = await raw(`${head}Content-Length: ${LIMITS.bodyIgnoredBytesMax + 1}\r\n\r\n{`)
      t.regex(announced, /^HTTP\/1.1 413[\s\S]*REQUEST_TOO_LARGE/)
      const part = `10000\r\n${' '.repeat(0x10000)}\r\n`
      const tooMany = LIMITS.bodyIgnoredBytesMax / 0x10000 + 1
      for (const parts of [`${part.repeat(17)}0\r\n\r\n`, part.repeat(tooMany)]) {
        const chunked = await raw(`${head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${parts}`)
        t.regex(chunked, /^HTTP\/1.1 413[\s\S]*REQUEST_TOO_LARGE/)
      }
      const full = JSON.stringify(ping(1))
      t.is((await rpc(full.padEnd(LIMITS.bodyBytesMax))).status, 200)
    }),
  )

  test(front('whoever sends a body past the bound reads why, and may ask on by the same connection'), (t) =>
    withStage(kind, {}, async ({ rpc }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const sockets = new Set<net.Socket>()
      agent.on('free', (socket: net.Socket) => sockets.add(socket))
      const long = ' '.repeat(8 * LIMITS.bodyBytesMax)
      for (let at = 0; at < 10; at++) {
        t.is((await rpc(long, { agent })).status, 413)
        t.is((await rpc(ping(1), { agent })).status, 200)
        t.is((await rpc(long)).status, 413)
      }
      t.is(sockets.size, 1)
      agent.destroy()
    }),
  )

  test(front('an answer longer than any socket buffer arrives whole'), (t) => {
    const long = JSON.stringify('ä'.repeat(4 << 20))
    return withStage(kind, { dispatch: (_, answer) => answer({ ok: true, json: long }) }, async ({ rpc }) => {
      const answer = await rpc(ping(1))
      t.is(answer.status, 200)
      t.is((JSON.parse(answer.body) as { result: string }).result.length, 4 << 20)
    })
  })

  test(front('a client that does not read its answer is cut off at the deadline'), (t) => {
    const long = JSON.stringify('x'.repeat(32 << 20))
    const options = { responseMs: 200, dispatch: ((_, answer) => answer({ ok: true, json: long })) satisfies Dispatch }
    return withStage(kind, options, async ({ port, slots }) => {
      const socket = net.connect(port, '127.0.0.1').pause()
      socket.on('error', () => undefined)
      socket.write(rawPing(`Host: 127.0.0.1:${port}\r\n`))
      await until(() => slots.used.clients === 1, 'the connection is admitted')
      await until(() => slots.used.clients === 0, 'the connection is cut')
      socket.destroy()
      t.pass()
    })
  })

  test(front('an answer that does not come becomes TIMEOUT, and a later one is dropped'), (t) => {
    const late: ((reply: Reply) => void)[] = []
    const dispatch: Dispatch = (request, answer) => {
      if (request.operation === 'core.ping') answer({ ok: true, json: '"pong"' })
      else late.push(answer)
    }
    return withStage(kind, { responseMs: 80, dispatch }, async ({ rpc }) => {
      const status = (id: number) => ({ jsonrpc: '2.0', id, method: 'core.status' })
      const one = await rpc(status(5))
      t.is(one.status, 504)
      t.is(JSON.parse(one.body).id, 5)
      t.is(codeOf(one), 'TIMEOUT')
      const batch = await rpc([ping(1), status(2), status(3)])
      t.is(batch.status, 200)
      const [first, second, third] = JSON.parse(batch.body)
      t.is(first.result, 'pong')
      t.is(second.error.data.code, 'TIMEOUT')
      t.is(third.id, 3)
      t.is(late.length, 3)
      for (const answer of late) answer({ ok: true, json: '1' })
      t.is((await rpc(ping(1))).status, 200)
    })
  })

  test(front('of a batch one that runs out of time leaves the others their answers, and their status'), (t) => {
    const dispatch: Dispatch = ({ operation }, answer) => {
      if (operation === 'core.ping') answer({ ok: true, json: '"pong"' })
    }
    return withStage(kind, { dispatch }, async ({ rpc }) => {
      const late = (id?: number) => ({ jsonrpc: '2.0', id, method: 'core.status', timeoutMs: 20 })
      const codesOf = ({ body }: Answer) =>
        (JSON.parse(body) as { error?: { code: number; data: { code?: string } } }[]).map(
          ({ error }) => error?.data.code ?? error?.code ?? null,
        )
      const statusAndCodes = async (...calls: unknown[]) => {
        const answer = await rpc(calls)
        return [answer.status, ...codesOf(answer)]
      }
      t.deepEqual(await statusAndCodes(ping(1), late(2), ping(3)), [200, null, 'TIMEOUT', null])
      t.deepEqual(await statusAndCodes(late(1), { ...ping(2), method: 'no.such' }), [200, 'TIMEOUT', -32601])
      t.deepEqual(await statusAndCodes(late(1), ping()), [200, 'TIMEOUT'])
      t.deepEqual(await statusAndCodes(late(1), late(2)), [504, 'TIMEOUT', 'TIMEOUT'])
      t.deepEqual(await statusAndCodes(late(1)), [504, 'TIMEOUT'])
      t.is((await rpc(late(1))).status, 504)
      t.is((await rpc([late(), late()])).status, 204)
    })
  })

  test(front('no deadline ends what lasts, alone or beside what is late'), (t) => {
    const lasting: ((reply: Reply) => void)[] = []
    const dispatch: Dispatch = ({ operation }, answer) => {
      if (operation === 'libraries.create') lasting.push(answer)
    }
    return withStage(kind, { responseMs: 40, dispatch }, async ({ rpc }) => {
      const copy = (id: number) => ({
        jsonrpc: '2.0',
        id,
        method: 'libraries.create',
        params: { name: 'a', from: '/b' },
      })
      const make = { jsonrpc: '2.0', id: 3, method: 'libraries.create', params: { name: 'a' } }
      t.is(codeOf(await rpc(make)), 'TIMEOUT')
      const later = [rpc(copy(1)), rpc([copy(2), { jsonrpc: '2.0', id: 4, method: 'core.status' }])]
      await until(() => lasting.length === 3, 'they are asked')
      t.is(codeOf(await rpc({ ...copy(5), timeoutMs: 400 })), 'TIMEOUT')
      for (const answer of lasting) answer({ ok: true, json: '"made"' })
      const [one, batch] = await Promise.all(later)
      t.is(one!.status, 200)
      t.is(JSON.parse(one!.body).result, 'made')
      t.is(batch!.status, 200)
      const [made, late] = JSON.parse(batch!.body)
      t.is(made.result, 'made')
      t.is(late.error.data.code, 'TIMEOUT')
    })
  })

  test(front('an operation that throws is an INTERNAL error and nothing more'), (t) => {
    const dispatch: Dispatch = () => {
      throw new Error('broken on purpose')
    }
    return withStage(kind, { dispatch }, async ({ rpc }) => {
      t.is(codeOf(await rpc(ping(1))), 'INTERNAL')
      const batch = JSON.parse((await rpc([ping(1), ping(2)])).body)
      t.is(batch[1].error.data.code, 'INTERNAL')
    })
  })

  test(front('of many answered in one turn each has its own answer, at once or later'), (t) => {
    const count = 2 * LIMITS.answersTogetherMax
    const later: (() => void)[] = []
    const dispatch: Dispatch = ({ params }, answer) => {
      const { id } = params as { readonly id: string }
      const tell = () => answer({ ok: true, json: JSON.stringify(id) })
      if (Number(id) % 3 === 0) later.push(tell)
      else tell()
    }
    return withStage(kind, { dispatch, clients: 2 * count }, async ({ port }) => {
      const sockets = await Promise.all(
        Array.from({ length: count }, async () => {
          const socket = net.connect(port, '127.0.0.1')
          await once(socket, 'connect')
          return socket
        }),
      )
      for (let round = 0; round < 3; round++) {
        const told = sockets.map(async (socket, at) => {
          socket.write(rpcText(port, fileAsked(at)))
          const [bytes] = (await once(socket, 'data')) as [Buffer]
          return JSON.parse(/\{.*\}/.exec(String(bytes))![0])
        })
        await until(() => later.length === Math.ceil(count / 3), 'all have asked')
        for (const tell of later.splice(0)) tell()
        for (const [at, { id, result }] of (await Promise.all(told)).entries())
          t.deepEqual([id, result], [at, String(at)])
      }
      for (const socket of sockets) socket.destroy()
    })
  })

  test(front('the answer to a client that has gone is dropped'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    return withStage(kind, { dispatch: (_, answer) => void waiting.push(answer) }, async ({ port, slots }) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.write(rawPing(`Host: 127.0.0.1:${port}\r\n`))
      await until(() => waiting.length === 1, 'the request arrives')
      socket.destroy()
      await until(() => slots.used.clients === 0, 'the connection is gone')
      waiting[0]?.({ ok: true, json: '"late"' })
      t.is(slots.used.clients, 0)
    })
  })

  test(front('events are not served over HTTP, and the hint says where'), (t) =>
    withStage(kind, {}, async ({ rpc }) => {
      const answer = await rpc({ jsonrpc: '2.0', id: 1, method: 'events.subscribe' })
      t.is(codeOf(answer), 'BAD_REQUEST')
      t.regex(answer.body, /WebSocket/)
    }),
  )

  test(front('the unix socket needs no token, and refuses web pages'), (t) =>
    withStage(kind, {}, async ({ rpc, ask, socket }) => {
      t.is((await rpc(ping(1), { unix: true, headers: { host: 'anything' } })).status, 200)
      t.is((await ask({ path: '/health', unix: true })).status, 200)
      t.is((await rpc(ping(1), { unix: true, headers: { origin: 'http://localhost' } })).status, 403)
      t.is(statSync(socket).mode & 0o777, 0o600)
    }),
  )

  test(front('it serves on the unix socket alone'), (t) =>
    withStage(kind, { http: null, dispatch: pong }, async ({ rpc, front: opened }) => {
      t.is(opened.http, null)
      t.is((await rpc(ping(1), { unix: true })).status, 200)
      t.deepEqual(opened.peers(), [])
    }),
  )

  test(front('garbage closes one connection and nothing else'), (t) =>
    withStage(kind, {}, async ({ raw, rpc, slots }) => {
      const garbage = [
        '\0\0\0\0',
        'GET\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'POST /rpc HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
        `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
      ]
      for (const each of garbage) await raw(each, 100)
      t.is((await rpc(ping(1))).status, 200)
      await until(() => slots.used.clients === 0, 'the slots are back')
      t.is(slots.used.clients, 0)
    }),
  )
}
