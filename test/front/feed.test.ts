// One WebSocket: requests, subscriptions, and what happens when a client asks for too much or reads too little.
import test from 'ava'
import { once } from 'node:events'
import net from 'node:net'
import type { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import { SUBPROTOCOL_PACKED } from '../../src/front/auth.js'
import type { Dispatch, Reply } from '../../src/protocol/messages.js'
import { pack, unpack } from '../../src/protocol/msgpack.js'
import { preparedError } from '../../src/protocol/prepared.js'
import { eventually, type Loose } from '../harness/daemon.js'
import { closing, kinds, ping, reader, sleep, TOKEN, until, withStage } from './stage.js'

const subscribe = (id: number) => JSON.stringify({ jsonrpc: '2.0', id, method: 'events.subscribe' })
const unsubscribe = (id: number, subscription: string) =>
  JSON.stringify({ jsonrpc: '2.0', id, method: 'events.unsubscribe', params: { subscription } })

/** More is asked of a library than can be done: only so much of it is answered, and all is refused that may be, by its class. */
function crowd(answered: readonly string[] = []) {
  const library = '01a20942-1332-77fa-ab45-4a2e15942043'
  const asked: string[] = []
  const dispatch: Dispatch = (request, answer) => {
    asked.push(request.operation)
    if (request.operation === 'core.ping') answer({ ok: true, json: '"pong"' })
    if (answered.includes(request.operation)) answer({ ok: true, json: JSON.stringify(request.operation) })
  }
  const refusals = new Map<string, ReturnType<typeof preparedError>>()
  const refusal = (of: string) =>
    preparedError({ code: 'OVERLOADED', message: of, hint: '', retryable: true }, () => 1_234)
  const refuses = (of: string, at: string) => {
    if (at !== library) return null
    if (!refusals.has(of)) refusals.set(of, refusal(of))
    return refusals.get(of)!
  }
  const text = (id: number | string, method: string) =>
    `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"method":"${method}","params":{"library":"${library}","path":"/"}}`
  return { asked, text, setup: { dispatch, crowded: { isThere: () => true, refuses } } }
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  test(front('a feed answers requests, batches and notifications'), (t) =>
    withStage(kind, {}, async ({ feed }) => {
      const ws = await feed()
      t.is(ws.protocol, 'spacedrive.v1')
      const next = reader(ws)
      ws.send(JSON.stringify(ping(1)))
      t.is((await next()).result, 'pong')
      ws.send(JSON.stringify([ping(2), ping(), ping(3)]))
      t.deepEqual(
        (await next()).map((each: { id: number }) => each.id),
        [2, 3],
      )
      ws.send(JSON.stringify(ping()))
      ws.send('{')
      t.is((await next()).error.code, -32700)
      ws.close()
    }),
  )

  test(front('who has just connected asks as one of whom nothing is known, then as itself'), (t) => {
    const callers: object[] = []
    const dispatch: Dispatch = (_, answer, caller) => {
      callers.push(caller!)
      answer({ ok: true, json: '"pong"' })
    }
    return withStage(kind, { dispatch }, async ({ feed }) => {
      const ask = async (ws: WebSocket, id: number) => {
        const next = reader(ws)
        ws.send(JSON.stringify(ping(id)))
        await next()
      }
      const askTwo = async () => {
        const since = performance.now()
        const [one, other] = [await feed(), await feed()]
        callers.length = 0
        await ask(one, 1)
        await ask(one, 2)
        await ask(other, 3)
        return performance.now() - since < LIMITS.queueServedMs && one
      }
      // On a machine that is late they may be known by then.
      const one = await eventually('they asked at once', 60_000, askTwo)
      await sleep(LIMITS.queueServedMs)
      await ask(one, 4)
      const [first, second, others, known] = callers
      t.true('onlyOnce' in first! && 'onlyOnce' in others!)
      t.is(first, second)
      t.not(first, others)
      t.false('onlyOnce' in known!)
    })
  })

  test(front('a long answer is the same to each client, though what it came in is used again at once'), (t) => {
    const json = (seed: number) =>
      JSON.stringify(`${seed}: ${['a', 'é', '€', '😀'][seed % 4]!.repeat(3_000 * (1 + (seed % 30)))}`)
    const dispatch: Dispatch = ({ params }, answer) => {
      const text = json((params as { limit: number }).limit)
      const bytes = Buffer.from(text)
      const isRead = { value: false }
      const reply: Reply = {
        ok: true,
        bytes,
        get json() {
          if (isRead.value) throw new Error('read too late')
          return text
        },
      }
      setTimeout(() => {
        answer(reply)
        bytes.fill(0)
        isRead.value = true
      })
    }
    const library = '01a20942-1332-77fa-ab45-4a2e15942043'
    const ask = (id: number | string, limit: number) => {
      return { jsonrpc: '2.0', id, method: 'tags.list', params: { library, limit } }
    }
    const right = (limit: number) => JSON.parse(json(limit)) as string
    const isRight = ({ id, result }: Loose) => result === right(Number(String(id).split(' ')[0]))
    return withStage(kind, { dispatch }, async ({ feed, rpc }) => {
      const all = Array.from({ length: 60 }, (_, at) => at + 1)
      const feeds = await Promise.all([feed(), feed(), feed()])
      const each = feeds.map(async (ws) => {
        const next = reader(ws)
        for (const at of all) ws.send(JSON.stringify(ask(at % 2 ? at : `${at} "ü"`, at)))
        for (const _ of all) t.true(isRight(await next()))
        ws.send(JSON.stringify(all.slice(0, 5).map((at) => ask(at, at))))
        const batch = await next()
        t.true(batch.length === 5 && batch.every(isRight))
      })
      const packed = await feed([SUBPROTOCOL_PACKED, `bearer.${TOKEN}`])
      const told: Loose[] = []
      packed.on('message', (bytes: Buffer) => told.push(unpack(bytes, LIMITS.packedDepthMax) as Loose))
      for (const at of all) packed.send(pack(ask(at, at)))
      const overHttp = all.map(async (at) => {
        const { status, body, headers } = await rpc(ask(at, at))
        t.is(status, 200)
        t.is(headers['content-type'], 'application/json')
        t.true(isRight(JSON.parse(body)))
        const batch = JSON.parse((await rpc([ask(at, at), ask('1 b', 1)])).body)
        t.true(batch.length === 2 && batch.every(isRight))
      })
      await Promise.all([...each, ...overHttp])
      await until(() => told.length === all.length, 'all are told as MessagePack')
      t.true(told.every(isRight))
      for (const ws of [...feeds, packed]) ws.terminate()
    })
  })

  test(front('a feed opens with the token as sub-protocol or as header, and only then'), (t) =>
    withStage(kind, {}, async ({ feed, port }) => {
      const header = { authorization: `Bearer ${TOKEN}` }
      for (const ws of [await feed([], header), await feed(['spacedrive.v1'], header)]) ws.terminate()
      const status = (error: Error) => error.message
      t.is(await feed([]).then(() => 'open', status), '401')
      t.is(await feed(['spacedrive.v1', 'bearer.wrong']).then(() => 'open', status), '401')
      t.is(await feed([], { authorization: 'Bearer wrong' }).then(() => 'open', status), '401')
      t.is(await feed(undefined, { origin: 'http://evil.example' }).then(() => 'open', status), '403')
      t.is(await feed(undefined, { host: `evil.example:${port}` }).then(() => 'open', status), '403')
      const own = await feed(undefined, { origin: `http://localhost:${port}` })
      own.terminate()
    }),
  )

  test(front('a feed is refused while starting'), (t) =>
    withStage(kind, { state: 'starting' }, async ({ feed }) => {
      t.is(
        await feed().then(
          () => 'open',
          (error: Error) => error.message,
        ),
        '503',
      )
    }),
  )

  test(front('events are numbered from 1 in each subscription, until it ends'), (t) =>
    withStage(kind, {}, async ({ feed, bell }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(subscribe(1))
      const { subscription } = (await next()).result
      bell.ring({ n: 1 })
      ws.send(subscribe(2))
      const first = await next()
      t.is(first.method, 'event')
      t.like(first.params, { subscription, seq: 1, event: { type: 'job.changed', n: 1 } })
      const other = (await next()).result.subscription
      t.not(other, subscription)
      bell.ring({ n: 2 })
      t.like((await next()).params, { subscription, seq: 2 })
      t.like((await next()).params, { subscription: other, seq: 1 })
      ws.send(unsubscribe(3, subscription))
      t.is((await next()).result, true)
      bell.ring({ n: 3 })
      t.like((await next()).params, { subscription: other, seq: 2 })
      ws.send(unsubscribe(4, subscription))
      t.is((await next()).error.data.code, 'BAD_REQUEST')
      ws.close()
      await until(() => bell.use.subscriptions === 0, 'closing ends the subscriptions')
    }),
  )

  test(front('one feed may hold so many subscriptions and no more'), (t) =>
    withStage(kind, {}, async ({ feed, bell }) => {
      const ws = await feed()
      const next = reader(ws)
      for (let index = 0; index <= LIMITS.feedSubscriptionsMax; index += 1) ws.send(subscribe(index))
      for (let index = 0; index < LIMITS.feedSubscriptionsMax; index += 1) t.truthy((await next()).result.subscription)
      t.is((await next()).error.data.code, 'BAD_REQUEST')
      t.is(bell.use.subscriptions, LIMITS.feedSubscriptionsMax)
      ws.terminate()
      await until(() => bell.use.subscriptions === 0, 'a broken socket ends them too')
    }),
  )

  test(front('what is refused unread is told with the next answer, or soon, and is asked of nobody'), (t) => {
    const { asked, setup, text } = crowd()
    return withStage(kind, setup, async ({ feed }) => {
      const ws = await feed()
      const next = reader(ws)
      // Who asks one thing is heard.
      ws.send(text(1, 'files.list'))
      ws.send(text(2, 'files.list'))
      ws.send(text(3, 'tags.update'))
      ws.send(JSON.stringify(ping(4)))
      t.like(await next(), { id: 2, error: { message: 'interactive' } })
      t.like(await next(), { id: 3, error: { message: 'mutation' } })
      t.like(await next(), { id: 4, result: 'pong' })
      ws.send(text(5, 'search.files'))
      t.like(await next(), { id: 5, error: { message: 'interactive' } })
      t.deepEqual(asked, ['files.list', 'core.ping'])
      ws.terminate()
    })
  })

  test(
    front('of a batch the first is heard, and each of the others refused by its id; with something under way all are'),
    (t) => {
      const { asked, setup, text } = crowd()
      return withStage(kind, setup, async ({ feed }) => {
        const ws = await feed()
        const next = reader(ws)
        ws.send(`[${JSON.stringify(ping(1))},${text('two', 'files.list')}]`)
        ws.send(`[${text(3, 'files.list')},${text('four', 'tags.create')},${JSON.stringify(ping(5))}]`)
        const told = ((await next()) as Loose[]).map(({ id, error, result }) => [id, error?.message ?? result])
        t.deepEqual(told, [
          [3, 'interactive'],
          ['four', 'mutation'],
          [5, 'pong'],
        ])
        t.deepEqual(asked, ['core.ping', 'files.list', 'core.ping'])
        ws.terminate()
      })
    },
  )

  test(front('over HTTP each asks one thing, which is heard, and of a batch all others are refused'), (t) => {
    const { asked, setup, text } = crowd(['files.list'])
    return withStage(kind, setup, async ({ rpc }) => {
      t.like(JSON.parse((await rpc(text(1, 'files.list'))).body), { id: 1, result: 'files.list' })
      const { body } = await rpc(`[${text(2, 'files.list')},${text('three', 'tags.create')},${text(4, 'files.list')}]`)
      const told = (JSON.parse(body) as Loose[]).map(({ id, error, result }) => [id, error?.message ?? result])
      t.deepEqual(told, [
        [2, 'files.list'],
        ['three', 'mutation'],
        [4, 'interactive'],
      ])
      t.deepEqual(asked, ['files.list', 'files.list'])
    })
  })

  test(front('so it is with MessagePack, alone and in a batch'), (t) => {
    const { asked, setup, text } = crowd()
    return withStage(kind, setup, async ({ feed }) => {
      const ws = await feed([SUBPROTOCOL_PACKED, `bearer.${TOKEN}`])
      const told: Loose[] = []
      ws.on('message', (bytes: Buffer) => told.push(unpack(bytes, LIMITS.packedDepthMax) as Loose))
      const send = (...texts: string[]) => {
        const all = texts.map((each) => JSON.parse(each) as unknown)
        ws.send(pack(all.length === 1 ? all[0] : all))
      }
      send(text(1, 'files.list'))
      send(text(70_000, 'files.list'))
      send(text('a name', 'files.list'), text(4, 'tags.create'))
      await until(() => told.length === 2, 'both are answered')
      const all = told.flat().map(({ id, error }) => [id, error.message, error.data.retryAfterMs])
      t.deepEqual(
        all.toSorted(([one], [other]) => String(one).localeCompare(String(other))),
        [
          [4, 'mutation', 1_234],
          [70_000, 'interactive', 1_234],
          ['a name', 'interactive', 1_234],
        ],
      )
      t.deepEqual(asked, ['files.list'])
      ws.terminate()
    })
  })

  test(front('requests past the bound of one feed get SHARD_BUSY, and it works on afterwards'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    return withStage(kind, { dispatch: (_, answer) => void waiting.push(answer) }, async ({ feed }) => {
      const ws = await feed()
      const next = reader(ws)
      for (let id = 0; id <= LIMITS.feedInFlightMax; id += 1) ws.send(JSON.stringify(ping(id)))
      const refused = await next()
      t.is(refused.id, LIMITS.feedInFlightMax)
      t.is(refused.error.data.code, 'SHARD_BUSY')
      t.is(waiting.length, LIMITS.feedInFlightMax)
      for (const answer of waiting.splice(0)) answer({ ok: true, json: '"late pong"' })
      for (let id = 0; id < LIMITS.feedInFlightMax; id += 1) t.is((await next()).id, id)
      ws.send(JSON.stringify(ping(1)))
      await until(() => waiting.length === 1, 'the next request is let through')
      ws.close()
    })
  })

  test(front('a request on a feed runs into the same deadline'), (t) => {
    const late: ((reply: Reply) => void)[] = []
    return withStage(kind, { responseMs: 60, dispatch: (_, answer) => void late.push(answer) }, async ({ feed }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(JSON.stringify(ping(9)))
      const answer = await next()
      t.is(answer.id, 9)
      t.is(answer.error.data.code, 'TIMEOUT')
      late[0]?.({ ok: true, json: '"late"' })
      ws.send('{')
      t.is((await next()).error.code, -32700)
      ws.close()
    })
  })

  test(front('a request waits no longer than its timeoutMs, alone and in a batch'), (t) => {
    const late: ((reply: Reply) => void)[] = []
    const givenUp: number[] = []
    const dispatch: Dispatch = (_, answer) => {
      const number = late.push(answer)
      return () => void givenUp.push(number)
    }
    return withStage(kind, { dispatch }, async ({ feed, rpc }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(JSON.stringify({ ...ping(1), timeoutMs: 20 }))
      t.like(await next(), { id: 1, error: { data: { code: 'TIMEOUT', retryable: true } } })
      t.deepEqual(givenUp, [1])
      late[0]!({ ok: true, json: '"late"' })

      ws.send(JSON.stringify([{ ...ping(2), timeoutMs: 20 }, ping(3)]))
      await until(() => givenUp.length === 2, 'the second is given up')
      late[2]!({ ok: true, json: '"pong"' })
      const [second, third] = await next()
      t.is(second.error.data.code, 'TIMEOUT')
      t.is(third.result, 'pong')
      for (const timeoutMs of [0, -1, 1.5, '20', null, LIMITS.responseMs + 1]) {
        ws.send(JSON.stringify({ ...ping(4), timeoutMs }))
        t.like(await next(), { id: 4, error: { code: -32600 } })
      }
      t.is((await rpc({ ...ping(5), timeoutMs: 20 })).status, 504)
      ws.close()
    })
  })

  test(front('a request is cancelled by its id, and by no other'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    const givenUp: number[] = []
    const dispatch: Dispatch = (_, answer) => {
      const number = waiting.push(answer)
      return () => void givenUp.push(number)
    }
    const cancel = (id: unknown) => JSON.stringify({ jsonrpc: '2.0', id: 'c', method: 'rpc.cancel', params: { id } })
    return withStage(kind, { dispatch }, async ({ feed, rpc }) => {
      const [ws, other] = [await feed(), await feed()]
      const [next, nextOfOther] = [reader(ws), reader(other)]
      ws.send(JSON.stringify(ping(1)))
      ws.send(JSON.stringify([ping(2), ping(3)]))
      await until(() => waiting.length === 3, 'all are asked')
      other.send(cancel(1))
      t.deepEqual((await nextOfOther()).result, { cancelled: false })
      ws.send(cancel('1'))
      t.deepEqual((await next()).result, { cancelled: false })
      t.deepEqual(givenUp, [])

      ws.send(cancel(1))
      t.like(await next(), { id: 1, error: { data: { code: 'CANCELLED', retryable: false } } })
      t.like(await next(), { id: 'c', result: { cancelled: true } })
      ws.send(cancel(1))
      t.like(await next(), { id: 'c', result: { cancelled: false } })
      ws.send(cancel(3))
      t.like(await next(), { id: 'c', result: { cancelled: true } })
      waiting[1]!({ ok: true, json: '"pong"' })
      const [second, third] = await next()
      t.is(second.result, 'pong')
      t.is(third.error.data.code, 'CANCELLED')
      t.deepEqual(givenUp, [1, 3])
      for (const answer of waiting) answer({ ok: true, json: '"late"' })
      t.is((await rpc({ jsonrpc: '2.0', id: 1, method: 'rpc.cancel', params: { id: 1 } })).status, 200)
      ws.close()
      other.close()
    })
  })

  test(front('answers to a feed that has gone are dropped'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    return withStage(kind, { dispatch: (_, answer) => void waiting.push(answer) }, async ({ feed, slots }) => {
      const ws = await feed()
      ws.send(JSON.stringify([ping(1), ping(2)]))
      await until(() => waiting.length === 2, 'both arrive')
      ws.terminate()
      await until(() => slots.used.clients === 0, 'the feed is gone')
      for (const answer of waiting) answer({ ok: true, json: '1' })
      t.is(slots.used.clients, 0)
    })
  })

  test(front('a dispatch that throws is an INTERNAL error on a feed as well'), (t) => {
    const dispatch: Dispatch = () => {
      throw new Error('broken on purpose')
    }
    return withStage(kind, { dispatch }, async ({ feed }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(JSON.stringify(ping(1)))
      t.is((await next()).error.data.code, 'INTERNAL')
      ws.close()
    })
  })

  test(front('binary messages close with 1003, too long ones close as well'), (t) =>
    withStage(kind, {}, async ({ feed, slots }) => {
      const binary = await feed()
      binary.send(Buffer.from([1, 2, 3]))
      t.is(await closing(binary), 1003)
      const long = await feed()
      long.on('error', () => undefined)
      long.send(' '.repeat(LIMITS.bodyBytesMax + 1))
      t.true([1006, 1009].includes(await closing(long)))
      await until(() => slots.used.clients === 0, 'both slots are back')
    }),
  )

  test(front('a client that does not read loses events, is told which, and misses nothing of what is kept'), (t) =>
    withStage(kind, {}, async ({ feed, bell }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(subscribe(1))
      const { subscription } = (await next()).result
      ws.pause()
      const text = 'x'.repeat(64 << 10)
      const { dropped } = bell.use
      // Far more than the socket buffers of both sides and all that is kept hold together; a few in each turn of the loop.
      for (let n = 1; n <= 600; n += 1) {
        bell.ring({ n, text })
        if (n % 100 === 0) await sleep(0)
      }
      ws.resume()
      let seq = 0
      let lost = 0
      while (seq < 600) {
        const { method, params } = await next()
        t.is(params.subscription, subscription)
        if (method === 'gap') {
          t.is(params.from, seq + 1)
          t.is(params.count, params.to - seq)
          lost += params.count
          seq = params.to
        } else {
          t.is(params.seq, (seq += 1))
          t.is(params.event.n, seq)
        }
      }
      t.is(lost, bell.use.dropped - dropped)
      t.true(lost > 100, 'what was sent and what is kept is not all')
      bell.ring({ n: 601 })
      t.like((await next()).params, { seq: 601, event: { n: 601 } })
      ws.close()
    }),
  )

  test(front('of the progress of a job that was not sent yet, only the last is'), (t) =>
    withStage(kind, {}, async ({ feed, bell }) => {
      const ws = await feed()
      const next = reader(ws)
      ws.send(subscribe(1))
      await next()
      const job = (id: string, state: string, done: number) => bell.ring({ job: { id, state, progress: { done } } })
      job('a', 'queued', 0)
      for (const done of [1, 2, 3]) job('a', 'running', done)
      job('b', 'running', 1)
      job('a', 'running', 4)
      job('a', 'done', 5)
      job('b', 'running', 2)
      const told = ['a queued 0', 'a running 4', 'a done 5', 'b running 2']
      for (const [index, each] of told.entries()) {
        const { seq, event } = (await next()).params
        t.is(seq, index + 1, 'no number is spent on the others')
        t.is(`${event.job.id} ${event.job.state} ${event.job.progress.done}`, each)
      }
      t.like(bell.use, { coalesced: 4, dropped: 0 })
      ws.close()
    }),
  )

  test(front('several subscriptions that come back each get all that is kept for them'), (t) =>
    withStage(kind, {}, async ({ feed, bell }) => {
      const before = bell.follow({}, () => undefined)
      const { cursor } = before
      before.end()
      const text = 'x'.repeat(1_000)
      for (let n = 1; n <= 1_500; n += 1) bell.ring({ n, text })
      const ws = await feed()
      const next = reader(ws)
      const params = { cursor }
      for (const id of [1, 2, 3]) ws.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'events.subscribe', params }))
      const seqs: Record<string, number> = {}
      while (Object.values(seqs).filter((seq) => seq === 1_500).length < 3) {
        const { result, params: event } = await next()
        if (result) t.is(result.missed, 0)
        else t.is(event.seq, (seqs[event.subscription] = (seqs[event.subscription] ?? 0) + 1))
      }
      ws.close()
    }),
  )

  test(front('a client that asks and never reads is closed'), (t) => {
    const long = JSON.stringify('x'.repeat(1 << 20))
    return withStage(kind, { dispatch: (_, answer) => answer({ ok: true, json: long }) }, async ({ port, slots }) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      const key = 'dGhlIHNhbXBsZSBub25jZQ=='
      socket.write(
        `GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      )
      await once(socket, 'data')
      socket.pause()
      // Batches of 100 pings, each answered with a megabyte: one of them is past every bound.
      socket.write(masked(JSON.stringify(Array.from({ length: 100 }, (_, id) => ping(id)))))
      await until(() => slots.used.clients === 0, 'it is closed')
      socket.destroy()
      t.pass()
    })
  })
}

/** A text frame as a client must send it, with a mask of zeros. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text)
  const head = Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff, 0, 0, 0, 0])
  return Buffer.concat([head, payload])
}
