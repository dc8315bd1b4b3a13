// A client over restarts of its daemon: who only reads notices nothing but the time, and nobody is told that something was done
// when that is not known.
import { spawn } from 'node:child_process'
import { getEventListeners, once } from 'node:events'
import { writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { WebSocketServer, type ServerOptions } from 'ws'
import { LIMITS } from '../src/base/limits.js'
import { toWire } from '../src/base/errors.js'
import { CALL_MS_MAX, MESSAGE_BYTES_MAX, MESSAGE_DEPTH_MAX, READS, UNDER_WAY_MAX } from '../src/client.js'
import { connect, SpacedriveError } from '../src/index.js'
import type { Dispatch, Reply } from '../src/protocol/messages.js'
import type { OperationName } from '../src/protocol/operations.js'
import { runsOn, WORK } from '../src/protocol/work.js'
import { TOKEN, withStage } from './front/stage.js'
import { eventually, within } from './harness/daemon.js'
import { play } from './harness/scene.js'

const EXAMPLE = join(import.meta.dirname, '../../examples/follow.mjs')

test.serial('calls that read go on over restarts, however many are in flight', async (t) => {
  await play(async (scene) => {
    const tree = scene.tree('tree', 30)
    let daemon = await scene.daemon()
    const { library } = await daemon.index('library', tree)
    const client = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    let answered = 0
    let over = false
    const ask = async () => {
      while (!over) {
        const { total } = await client.call('search.files', { library, query: 'file' })
        t.is(total, 30)
        answered += 1
      }
    }
    const asking = Array.from({ length: 20 }, ask)
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
      const before = answered
      await Promise.race([eventually('calls are answered', 60_000, () => answered > before + 100), ...asking])
      await daemon.stop(signal)
      daemon = await scene.daemon()
    }
    const before = answered
    await Promise.race([eventually('calls are answered', 60_000, () => answered > before + 100), ...asking])
    over = true
    await Promise.all(asking)
  })
})

for (const format of ['json', 'msgpack'] as const) {
  test.serial(`${format}: a call may be given up, and has a deadline of its own`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const { library } = await daemon.index('library', scene.tree('tree', 30))
      const client = await connect(`unix:${daemon.ready.socket}`, { format })
      scene.atEnd(() => client.close())
      const search = { library, query: 'file' }
      t.is(
        (await client.call('search.files', search, { timeoutMs: 30_000, signal: AbortSignal.timeout(60_000) })).total,
        30,
      )
      await t.throwsAsync(client.call('core.ping', {}, { signal: AbortSignal.abort() }), { code: 'CANCELLED' })
      t.is(CALL_MS_MAX, LIMITS.responseMs)
      for (const timeoutMs of [CALL_MS_MAX + 1, 0, 1.5, NaN])
        await t.throwsAsync(client.call('core.ping', {}, { timeoutMs }), { code: 'BAD_REQUEST' })

      // While it stands still nothing is answered, and those who wait no longer are told at once.
      process.kill(daemon.pid, 'SIGSTOP')
      const stop = new AbortController()
      const given = client.call('tags.create', { library, name: 'given up' }, { signal: stop.signal })
      const late = client.call('tags.create', { library, name: 'late' }, { timeoutMs: 50 })
      const kept = client.call('tags.create', { library, name: 'kept' }, { timeoutMs: 30_000 })
      await t.throwsAsync(late, { code: 'TIMEOUT' })
      stop.abort()
      await t.throwsAsync(given, { code: 'CANCELLED' })
      process.kill(daemon.pid, 'SIGCONT')
      t.is((await kept).name, 'kept')
      t.is(await client.call('core.ping'), 'pong')

      await daemon.stop('SIGKILL')
      await t.throwsAsync(client.call('core.ping', {}, { timeoutMs: 20 }), { code: 'TIMEOUT' })
      const away = new AbortController()
      const waiting = client.call('core.ping', {}, { signal: away.signal })
      away.abort()
      await t.throwsAsync(waiting, { code: 'CANCELLED' })
    })
  })
}

test.serial(
  'any number of calls wait with one signal and leave nothing at it, nor do those that are asked again',
  async (t) => {
    const warnings: string[] = []
    const warned = ({ name }: Error) => void warnings.push(name)
    process.on('warning', warned)
    t.teardown(() => process.off('warning', warned))
    const busy = toWire(new SpacedriveError('OVERLOADED', 'too much is asked', { retryAfterMs: 5_000 }))
    const answers: (() => void)[] = []
    const dispatch: Dispatch = ({ operation }, answer) => {
      if (operation === 'core.ping') answer({ ok: true, json: '"pong"' })
      else if (operation === 'libraries.list') answer({ ok: false, error: busy })
      else answers.push(() => answer({ ok: true, json: '{}' }))
    }
    await withStage('node', { dispatch }, async ({ port }) => {
      const client = await connect(`http://127.0.0.1:${port}`, { token: TOKEN })
      const stop = new AbortController()
      const listeners = () => getEventListeners(stop.signal, 'abort').length
      const call = () => client.call('core.status', {}, { signal: stop.signal })
      const served = Array.from({ length: 20 }, call)
      await eventually('they are asked', 30_000, () => answers.length === 20)
      t.is(listeners(), 1)
      for (const answer of answers) answer()
      await Promise.all(served)
      t.is(listeners(), 0)
      const ended = Array.from({ length: 20 }, call)
      await eventually('they are asked', 30_000, () => answers.length === 40)
      stop.abort()
      for (const each of ended) await t.throwsAsync(each, { code: 'CANCELLED' })
      t.is(listeners(), 0)
      // One more may be asked again for each ten that are asked.
      const putOff = []
      for (let round = 0; round < 3; round++) {
        for (let each = 0; each < 10; each++) putOff.push(client.call('libraries.list'))
        for (let each = 0; each < 50; each++) await client.call('core.ping')
      }
      await client.close()
      t.true((await Promise.allSettled(putOff)).every(({ status }) => status === 'rejected'))
    })
    await new Promise((resolve) => setImmediate(resolve))
    t.deepEqual(warnings, [])
  },
)

test.serial(
  'a call with a deadline that is tried many times leaves nothing at the signal, and warns of no leak',
  async (t) => {
    const warnings: string[] = []
    const warned = ({ name }: Error) => void warnings.push(name)
    process.on('warning', warned)
    t.teardown(() => process.off('warning', warned))
    let tries = 0
    let cut = () => {}
    const dispatch: Dispatch = (_, answer) => {
      tries += 1
      if (tries > 12) answer({ ok: true, json: '[]' })
      else setImmediate(cut)
    }
    await withStage('node', { dispatch }, async ({ socket }) => {
      const way = await cuttable(socket)
      cut = way.cut
      const client = await connect(`unix:${way.socket}`, { patienceMs: 60_000 })
      const stop = new AbortController()
      t.deepEqual(await client.call('libraries.list', {}, { timeoutMs: 30_000, signal: stop.signal }), [])
      t.is(getEventListeners(stop.signal, 'abort').length, 0)
      await client.close()
      way.close()
    })
    await new Promise((resolve) => setImmediate(resolve))
    t.is(tries, 13)
    t.deepEqual(warnings, [])
  },
)

test.serial('what a subscriber throws is its own: calls and events go on', async (t) => {
  const thrown: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((error) => void thrown.push(error.message))
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null))
  await withStage('node', {}, async ({ socket, bell }) => {
    const client = await connect(`unix:${socket}`)
    const heard: unknown[] = []
    await client.subscribe({}, ({ n }) => {
      heard.push(n)
      throw new Error(`of ${n}`)
    })
    for (const n of [1, 2]) bell.ring({ n })
    await eventually('both are heard', 30_000, () => heard.length === 2)
    t.is(await client.call('core.ping'), 'pong')
    t.deepEqual(heard, [1, 2])
    await eventually('both are thrown', 30_000, () => thrown.length === 2)
    t.deepEqual(thrown, ['of 1', 'of 2'])
    await client.close()
  })
})

test.serial('who is refused for longer than its deadline is told of the refusal, and asks no more', async (t) => {
  const asked: string[] = []
  const dispatch: Dispatch = ({ operation }, answer) => {
    asked.push(operation)
    const busy = new SpacedriveError('OVERLOADED', 'too much is asked', { retryAfterMs: 5_000 })
    answer({ ok: false, error: toWire(busy) })
  }
  await withStage('node', { dispatch }, async ({ socket }) => {
    const client = await connect(`unix:${socket}`)
    await t.throwsAsync(client.call('libraries.list', {}, { timeoutMs: 2_000 }), { code: 'OVERLOADED' })
    t.deepEqual(asked, ['libraries.list'])
    await client.close()
  })
})

test.serial('nobody asks again before the time that it was told, whoever else waits for less', async (t) => {
  const at = new Map<string, number[]>()
  const dispatch: Dispatch = ({ operation }, answer) => {
    const times = at.get(operation) ?? []
    at.set(operation, [...times, performance.now()])
    if (times.length > 0) return answer({ ok: true, json: '[]' })
    const options = operation === 'libraries.list' ? { retryAfterMs: 1_000 } : {}
    answer({ ok: false, error: toWire(new SpacedriveError('DRAINING', 'it stops', options)) })
  }
  await withStage('node', { dispatch }, async ({ socket }) => {
    const client = await connect(`unix:${socket}`)
    await Promise.all([client.call('core.status'), client.call('libraries.list')])
    const [first, again] = at.get('libraries.list')!
    t.true(again! - first! >= 999)
    await client.close()
  })
})

test('of any number of calls so many are under way that none is refused, and who waits may be given up', async (t) => {
  t.true(UNDER_WAY_MAX < LIMITS.feedInFlightMax)
  const asked: ((reply: Reply) => void)[] = []
  const dispatch: Dispatch = ({ operation }, answer) => {
    if (operation === 'core.ping') answer({ ok: true, json: '"pong"' })
    else asked.push(answer)
  }
  await withStage('node', { dispatch }, async ({ socket }) => {
    const client = await connect(`unix:${socket}`)
    const calls = Array.from({ length: 3 * UNDER_WAY_MAX }, () => client.call('libraries.list'))
    const stop = new AbortController()
    const last = client.call('libraries.list', {}, { signal: stop.signal })
    const late = client.call('libraries.list', {}, { timeoutMs: 1 })
    await t.throwsAsync(late, { code: 'TIMEOUT' })
    t.is(await client.call('core.ping'), 'pong')
    t.is(asked.length, UNDER_WAY_MAX)
    stop.abort()
    await t.throwsAsync(last, { code: 'CANCELLED' })
    for (let count = 0; count < calls.length; count++) {
      await eventually('it is asked', 30_000, () => asked.length > count)
      asked[count]!({ ok: true, json: '[]' })
    }
    t.is((await Promise.all(calls)).length, calls.length)
    const more = Array.from({ length: 2 * UNDER_WAY_MAX }, () => client.call('libraries.list'))
    await eventually('as many are under way again', 30_000, () => asked.length === calls.length + UNDER_WAY_MAX)
    await client.close()
    for (const each of more) await t.throwsAsync(each, { code: 'CLOSED' })
    t.is(asked.length, calls.length + UNDER_WAY_MAX)
  })
})

test('what a daemon would not read is refused here, and no other call fails for it', async (t) => {
  t.is(MESSAGE_BYTES_MAX, LIMITS.bodyBytesMax)
  t.is(MESSAGE_DEPTH_MAX, LIMITS.packedDepthMax)
  const answers: (() => void)[] = []
  const dispatch: Dispatch = ({ operation }, answer) => {
    if (operation === 'core.ping') answer({ ok: true, json: '"pong"' })
    else answers.push(() => answer({ ok: true, json: '{}' }))
  }
  await withStage('node', { dispatch }, async ({ socket }) => {
    for (const format of ['json', 'msgpack'] as const) {
      const client = await connect(`unix:${socket}`, { format })
      const creating = client.call('libraries.create', { name: 'one' })
      await eventually('it is asked', 30_000, () => answers.length === 1)
      const wrong = (name: unknown) => client.call('libraries.create', { name: name as string })
      await t.throwsAsync(wrong('x'.repeat(MESSAGE_BYTES_MAX)), { code: 'REQUEST_TOO_LARGE' })
      await t.throwsAsync(wrong('\u20ac'.repeat(MESSAGE_BYTES_MAX / 3)), { code: 'REQUEST_TOO_LARGE' })
      await t.throwsAsync(wrong(Infinity), { code: 'BAD_REQUEST' })
      let deep: unknown = []
      for (let depth = 0; depth < MESSAGE_DEPTH_MAX; depth++) deep = [deep]
      await t.throwsAsync(wrong(deep), { code: 'BAD_REQUEST' })
      t.is(await client.call('core.ping'), 'pong')
      answers.pop()!()
      await creating
      await client.close()
    }
  })
})

test.serial(
  'who hears nothing of a daemon any more, not even that it is gone, comes back by another connection',
  async (t) => {
    await withStage('node', {}, async ({ socket, bell }) => {
      const way = await cuttable(socket)
      const client = await connect(`unix:${way.socket}`, { silentMs: 200 })
      const heard: unknown[] = []
      await client.subscribe({}, ({ n }, missed) => void heard.push(n, missed))
      bell.ring({ n: 1 })
      await eventually('it hears', 30_000, () => heard.length === 2)
      const thaw = way.freeze()
      bell.ring({ n: 2 })
      await eventually('it has come back, and misses nothing', 30_000, () => heard.length === 4)
      t.deepEqual(heard, [1, 0, 2, 0])
      // The connection that was given up has a second to close.
      thaw()
      await new Promise((resolve) => setTimeout(resolve, 100))
      bell.ring({ n: 3 })
      await eventually('it goes on', 30_000, () => heard.length >= 6)
      t.deepEqual(heard, [1, 0, 2, 0, 3, 0])
      way.freeze()
      t.is(await client.call('core.ping'), 'pong')
      way.cut()
      await client.close()
      way.close()
    })
  },
)

test.serial('a call that changes something is not made twice: it fails when its connection is lost', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const client = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    process.kill(daemon.pid, 'SIGSTOP')
    const creating = client.call('libraries.create', { name: 'one' })
    await new Promise((resolve) => setImmediate(resolve))
    await daemon.stop('SIGKILL')
    await t.throwsAsync(creating, { code: 'NO_DAEMON' })
    await scene.daemon()
    t.deepEqual(await client.call('libraries.list'), [])
  })
})

test.serial('a program may be started before its daemon, and subscribe while that restarts', async (t) => {
  await play(async (scene) => {
    const url = `unix:${scene.path('data', 'daemon.sock')}`
    const connecting = connect(url, { patienceMs: 0, connectPatienceMs: 120_000 })
    const asking = connect(url, { patienceMs: Infinity })
    let daemon = await scene.daemon()
    const [hasty, patient] = await Promise.all([connecting, asking])
    scene.atEnd(() => Promise.all([hasty.close(), patient.close()]))
    t.is(await hasty.call('core.ping'), 'pong')
    await daemon.stop()
    await t.throwsAsync(
      hasty.subscribe({}, () => undefined),
      { code: 'NO_DAEMON' },
    )
    const names: unknown[] = []
    const subscribing = patient.subscribe({ types: ['library.created'] }, ({ name }) => names.push(name))
    daemon = await scene.daemon()
    await subscribing
    await daemon.call('libraries.create', { name: 'one' })
    await eventually('it is told', 60_000, () => names.length > 0)
    t.deepEqual(names, ['one'])
  })
})

test.serial(
  'a token is taken as it stands in its file, and what cannot be one is refused as one that is wrong',
  async (t) => {
    await withStage('node', {}, async ({ port }) => {
      const url = `http://127.0.0.1:${port}`
      const client = await connect(url, { token: `${TOKEN}\n` })
      t.is(await client.call('core.ping'), 'pong')
      await client.close()
      for (const token of ['two\nlines', '\u65e5\u672c'])
        await t.throwsAsync(connect(url, { token }), { code: 'UNAUTHORIZED' })
      await t.throwsAsync(connect(`https://127.0.0.1:${port}`, { token: TOKEN }), { code: 'BAD_CONFIG' })
    })
  },
)

test.serial('whoever is connected to a port that was picked finds the daemon there again', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const client = await connect(daemon.url.href, { token: daemon.token, patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    t.is(await client.call('core.ping'), 'pong')
    await daemon.stop()
    t.is((await scene.daemon()).ready.http, daemon.ready.http)
    t.is(await client.call('core.ping'), 'pong')
  })
})

test.serial('what no waiting mends is told by the first answer, and without patience what is not there', async (t) => {
  await play(async (scene) => {
    const absent = `unix:${scene.path('data', 'daemon.sock')}`
    await t.throwsAsync(connect(absent, { connectPatienceMs: 0 }), { code: 'NO_DAEMON' })
    const daemon = await scene.daemon()
    await t.throwsAsync(connect(daemon.url.href, { token: 'x'.repeat(43) }), { code: 'UNAUTHORIZED' })
    t.is((await daemon.call('core.status')).connections.wrongTokens, 1)
  })
})

test.serial('who is told to wait longer than it has patience for is told at once', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const token = 'x'.repeat(43)
    const wrong = () => connect(daemon.url.href, { token, patienceMs: 1 }).catch((error: SpacedriveError) => error)
    let refusal = await wrong()
    for (let tries = 0; tries < 1_000 && (refusal as SpacedriveError).code === 'UNAUTHORIZED'; tries++)
      refusal = await wrong()
    t.like(refusal, { code: 'TOO_MANY_ATTEMPTS' })
  })
})

test('what was missed is counted once, however often the connection is lost before an event comes', async (t) => {
  await withStage('node', {}, async ({ socket, bell }) => {
    const way = await cuttable(socket)
    const client = await connect(`unix:${way.socket}`, { patienceMs: 60_000 })
    const told: number[] = []
    await client.subscribe({ library: 'a' }, (_, missed) => void told.push(missed))
    bell.ring({ library: 'a' })
    await eventually('the first event comes', 60_000, () => told.length === 1)
    const here = bell.follow({}, () => undefined)
    for (const count of [LIMITS.eventsKeptMax * 2, 100, 100]) {
      way.cut()
      await eventually('its subscription has ended', 60_000, () => bell.use.subscriptions === 1)
      for (let n = 0; n < count; n += 1) bell.ring({ library: 'b' })
      await eventually('it is back', 60_000, () => bell.use.subscriptions === 2)
      await client.call('core.ping')
    }
    const after = bell.follow({ cursor: here.cursor }, () => undefined)
    bell.ring({ library: 'a' })
    await eventually('the next event comes', 60_000, () => told.length === 2)
    t.deepEqual(told, [0, after.missed!])
    here.end()
    after.end()
    await client.close()
    way.close()
  })
})

test.serial('a subscription that is refused when it comes back ends with the reason, and calls go on', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const { secret: token, id } = await daemon.call('tokens.create', { name: 'reader', scope: 'read' })
    const client = await connect(daemon.url.href, { token, patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    const ended = new Promise((resolve) => void client.subscribe({}, () => undefined, resolve))
    await client.call('core.ping')
    await daemon.call('tokens.revoke', { token: id })
    t.like(await ended, { code: 'UNAUTHORIZED' })
    await t.throwsAsync(client.call('core.ping'), { code: 'UNAUTHORIZED' })
    const { wrongTokens } = (await daemon.call('core.status')).connections
    t.true(wrongTokens <= 2, 'it does not ask again and again with what was refused')
  })
})

test.serial(
  'whoever waits for an answer when the token is revoked is told that, and not that it may try again',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const { secret: token, id } = await daemon.call('tokens.create', { name: 'own', scope: 'admin' })
      const client = await connect(daemon.url.href, { token })
      scene.atEnd(() => client.close())
      t.like(await t.throwsAsync<SpacedriveError>(client.call('tokens.revoke', { token: id })), {
        code: 'UNAUTHORIZED',
        message: 'the token was revoked or has expired',
        retryable: false,
      })
      t.deepEqual(await daemon.call('tokens.list'), [])
    })
  },
)

test.serial('a client that is closed while it connects leaves no connection', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const client = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 120_000 })
    const hasty = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 200 })
    await daemon.stop()
    const again = await scene.daemon()
    process.kill(again.pid, 'SIGSTOP')
    const asking = client.call('core.ping')
    const hastily = hasty.call('core.ping')
    await new Promise((resolve) => setTimeout(resolve, 300))
    await client.close()
    await hasty.close()
    for (const asked of [asking, hastily, client.call('core.ping'), client.subscribe({}, () => undefined)])
      t.like(await t.throwsAsync<SpacedriveError>(asked), { code: 'CLOSED', retryable: false })
    process.kill(again.pid, 'SIGCONT')
    await eventually(
      'nobody is connected',
      60_000,
      async () => (await again.watch('core.status')).connections.current === 1,
    )
  })
})

test.serial('without patience, and after its time, a call says that there is no daemon', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const url = `unix:${daemon.ready.socket}`
    const clients = [await connect(url, { patienceMs: 0 }), await connect(url, { patienceMs: 50 })]
    await daemon.stop()
    for (const client of clients) {
      await t.throwsAsync(client.call('core.ping'), { code: 'NO_DAEMON' })
      await client.close()
    }
  })
})

test('what is back before patience ends is found, however long the pause would still be', async (t) => {
  const { url, server } = await answering('pong')
  const { port } = server.address() as net.AddressInfo
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect(url, { patienceMs: 6_000 })))
  t.teardown(() => Promise.all(clients.map((client) => client.close())))
  for (const socket of server.clients) socket.terminate()
  server.close()
  const asked = Promise.all(clients.map((client) => client.call('core.ping')))
  // By then most have tried after some 1.3, 2.1, 3.2 and 4.9 s, and would only after another 2.5.
  await new Promise((resolve) => setTimeout(resolve, 5_000))
  const back = await answering('pong', { port })
  t.teardown(() => back.server.close())
  t.deepEqual(new Set(await asked), new Set(['pong']))
})

test('what only reads is what is asked again, and of it all', (t) => {
  for (const [operation, work] of Object.entries(WORK)) {
    if (runsOn(operation as OperationName) === 'feed') continue
    const reads = work === 'interactive' || /^core\.(?:ping|status|descriptors)$/.test(operation)
    t.is(READS.test(operation), reads, operation)
  }
})

test('what is no address is told at once, with what would be one', async (t) => {
  const malformed = ['', 'nonsense', '/run/daemon.sock', 'ftp://127.0.0.1:8080', 'http://', 'unix:']
  const cutOff = `unix:/${'x'.repeat(200)}`
  for (const url of [...malformed, cutOff, undefined as unknown as string])
    await t.throwsAsync(connect(url), { code: 'BAD_CONFIG', message: /is not the address of a daemon/ }, url)
})

test('a connection by which comes what no daemon says is given up, and the call is made by the next', async (t) => {
  const nonsense = ['no JSON', 'null', Buffer.from([0xc1])]
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  server.on('connection', (socket) => {
    const said = nonsense.shift()
    socket.on('message', (bytes: Buffer) => {
      const { id } = JSON.parse(bytes.toString()) as { id: unknown }
      socket.send(said ?? JSON.stringify({ jsonrpc: '2.0', id, result: 'pong' }))
    })
  })
  await once(server, 'listening')
  const client = await connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`)
  t.is(await client.call('core.ping'), 'pong')
  t.is(nonsense.length, 0)
  await client.close()
  server.close()
})

test('who answers without end is no daemon, and is not listened to for long', async (t) => {
  const page = Buffer.alloc(1 << 16)
  const talker = net.createServer((socket) => {
    const talk = () => {
      while (!socket.destroyed && socket.write(page));
    }
    socket.on('error', () => undefined).on('drain', talk)
    socket.once('data', () => (socket.write('HTTP/1.1 200 OK\r\n\r\n'), talk()))
  })
  await new Promise<void>((resolve) => talker.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(talker.address() as net.AddressInfo).port}`
  await t.throwsAsync(connect(url, { connectPatienceMs: 0 }), { code: 'NO_DAEMON', message: /answered 200/ })
  await new Promise((resolve) => talker.close(resolve))
})

test('whoever says nothing, or drips, while a connection is opened is given up when patience ends, and its socket with it', async (t) => {
  const drip = (socket: net.Socket) => {
    socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n')
    const timer = setInterval(() => socket.write('.'), 20)
    socket.once('close', () => clearInterval(timer))
  }
  for (const says of [() => undefined, drip]) {
    const sockets = new Set<net.Socket>()
    const { url, close } = await listening((socket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)))
      socket.once('data', () => says(socket))
    })
    const patient = t.throwsAsync(connect(url, { patienceMs: 300 }), { code: 'NO_DAEMON' })
    const once = t.throwsAsync(connect(url, { patienceMs: 0, silentMs: 300 }), { code: 'NO_DAEMON' })
    await within(10_000, 'both are told', Promise.all([patient, once]))
    await eventually('nobody is connected', 10_000, () => sockets.size === 0)
    close()
  }
})

test('a call has no more patience for a connection that is being opened than for one that is not there', async (t) => {
  const held: ((isLetIn: boolean) => void)[] = []
  const verifyClient = (_info: unknown, decide: (isLetIn: boolean) => void) => void held.push(decide)
  const { url, server } = await answering('pong', { verifyClient })
  const connecting = [connect(url, { patienceMs: 300 }), connect(url)] as const
  await eventually('both ask', 10_000, () => held.length === 2)
  for (const decide of held.splice(0)) decide(true)
  const [hasty, patient] = await Promise.all(connecting)
  for (const socket of server.clients) socket.terminate()
  const asked = patient.call('core.ping')
  await t.throwsAsync(within(10_000, 'it is told', hasty.call('core.ping')), {
    code: 'NO_DAEMON',
    message: /nobody answered in time/,
  })
  for (const decide of held) decide(true)
  t.is(await asked, 'pong')
  await Promise.all([hasty.close(), patient.close()])
  server.close()
})

test('an answer that comes slowly is waited for as long as more of it comes', async (t) => {
  const long = 'x'.repeat(256 << 10)
  const far = await answering(long)
  let ways = 0
  const { url, close } = await listening((near) => {
    ways += 1
    const behind = net.connect(Number(new URL(far.url).port), '127.0.0.1')
    behind.on('error', () => undefined).on('close', () => near.destroy())
    near.on('close', () => behind.destroy()).pipe(behind)
    void slowly(behind, near).catch(() => undefined)
  })
  const client = await connect(url, { silentMs: 1_000 })
  t.is(await client.call('core.ping'), long as 'pong')
  t.is(ways, 1)
  await client.close()
  close()
  far.server.close()
})

test('what stands before a daemon and speaks itself is understood: for how long to wait, and that no waiting mends it', async (t) => {
  const said = async (head: string) => {
    const { url, close } = await listening((socket) => socket.end(`HTTP/1.1 ${head}\r\nContent-Length: 0\r\n\r\n`))
    const error = await within(9_000, 'it is told', t.throwsAsync<SpacedriveError>(connect(url)))
    close()
    return error
  }
  t.like(await said('503 Unavailable\r\nRetry-After: 30'), { code: 'NO_DAEMON', retryAfterMs: 30_000 })
  const dates = 'Date: Wed, 01 Jan 2020 00:00:30 GMT\r\nRetry-After: Wed, 01 Jan 2020 00:01:00 GMT'
  t.like(await said(`429 Too Many Requests\r\n${dates}`), { code: 'NO_DAEMON', retryAfterMs: 30_000 })
  t.like(await said('302 Found\r\nLocation: /login'), { code: 'BAD_CONFIG', retryable: false })
  t.like(await said('403 Forbidden'), { code: 'FORBIDDEN', retryable: false })
})

test.serial('the example goes on over a restart', async (t) => {
  await play(async (scene) => {
    const tree = scene.tree('tree', 3)
    let daemon = await scene.daemon()
    const { library, location } = await daemon.index('library', tree)
    const child = spawn(process.execPath, [EXAMPLE, `unix:${daemon.ready.socket}`, '', library, 'file'])
    scene.atEnd(() => child.kill('SIGKILL'))
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += bytes))
    await eventually('it has told', 60_000, () => said.includes('3 files match file\n'))
    await daemon.stop()
    writeFileSync(join(tree, 'd0', 'file 4.txt'), '')
    daemon = await scene.daemon()
    const { job } = await daemon.call('locations.rescan', { library, location })
    await daemon.jobDone(library, job)
    await eventually('it has told again', 60_000, () => said.includes('4 files match file\n'))
    t.is(said, '3 files match file\n4 files match file\n')
  })
})

async function listening(served: (socket: net.Socket) => void) {
  const server = net.createServer((socket) => served(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, close: () => server.close() }
}

/** What speaks as a daemon does, and has one answer. */
async function answering(result: string, options: ServerOptions = {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options })
  server.on('connection', (socket) => {
    socket.on('message', (bytes: Buffer) => {
      const { id } = JSON.parse(bytes.toString()) as { id: unknown }
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
  })
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, server }
}

/** 80 KiB a second. */
async function slowly(from: net.Socket, to: net.Socket): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>)
    for (let at = 0; at < chunk.length; at += 4 << 10) {
      to.write(chunk.subarray(at, at + (4 << 10)))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
}

/** A way to the daemon whose connections can be cut. */
async function cuttable(to: string) {
  const ways = new Map<net.Socket, net.Socket>()
  const socket = `${to}.between`
  const between = net.createServer((near) => {
    const far = net.connect(to)
    for (const [one, other] of [[near, far] as const, [far, near] as const]) {
      ways.set(one, other)
      one.on('error', () => undefined).on('close', () => (ways.delete(one), other.destroy()))
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => between.listen(socket, resolve))
  return {
    socket,
    cut: () => {
      for (const way of ways.keys()) way.destroy()
    },
    /** Nothing comes through those that are there, and nobody is told. @returns has it come after all */
    freeze: () => {
      const frozen = [...ways]
      for (const [way] of frozen) way.unpipe().pause()
      return () => {
        for (const [way, other] of frozen) way.pipe(other)
      }
    },
    close: () => between.close(),
  }
}
