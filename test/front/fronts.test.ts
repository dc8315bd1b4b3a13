// Fronts in threads of their own, as clients meet them: two that share a port answer as one does, and are counted, limited, drained
// and ended as one.
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { configure } from '../../src/config.js'
import { connect, open, type Client } from '../../src/index.js'
import { loadNative } from '../../src/descriptors/native.js'
import { cli, eventually, launch, type Loose, type TestDaemon } from '../harness/daemon.js'
import { placeOf } from '../../src/shard/place.js'
import { crowd } from '../harness/load.js'
import { play, type Scene } from '../harness/scene.js'
import { kinds } from './stage.js'

const FRONTS = ['--fronts', '2']
const served = process.platform === 'linux' && loadNative() ? test.serial : test.serial.skip
/** The kernel divides them by chance: that all are at one front happens once in ten million. */
const MANY = 24
const CONNECTIONS_MAX = 60

/** As many clients, each over a connection of its own that stays until `hangUp`. */
class Many implements Disposable {
  readonly #agents = Array.from({ length: MANY }, () => new Agent({ keepAlive: true, maxSockets: 1 }))

  each<Result>(ask: (agent: Agent) => Promise<Result>): Promise<Result[]> {
    return Promise.all(this.#agents.map(ask))
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents) agent.destroy()
  }
}

const asOne = test.macro(async (t, front: string, name: string) => {
  await play(async (scene) => {
    const args = [...FRONTS, '--front', front, '--max-connections', String(CONNECTIONS_MAX)]
    const daemon = await scene.daemon({ args, limit: '400:400' })
    const rest = await daemon.descriptorsAtRest()
    t.regex(daemon.said.err, new RegExp(`^front: ${name} in 2 threads; `, 'm'))
    const { shards, descriptors } = await daemon.status()
    const planned = cli(['plan', '--json', ...FRONTS, '--front', front, '--shards', String(shards.length)])
    t.is(JSON.parse(planned.out).plan.base, descriptors.base, 'plan counts them')
    const { library } = await daemon.index('library', scene.tree('tree', 300))
    await bothAnswer(t, daemon, library)
    await tokensHoldAtOnce(t, daemon)
    await eventsAreWhole(t, scene, daemon, library)
    await limitsAreOne(t, scene, daemon)
    await daemon.callOnceLetIn('libraries.close', { library })
    daemon.hangUp()
    t.deepEqual(await daemon.descriptorsAtRest(rest), rest)
    await portIsTaken(t, scene, daemon)
    await drainAnswersAll(t, daemon, library)
    t.false(/EMFILE/.test(readFileSync(scene.path('data', 'logs', 'daemon.log'), 'utf8')))
  })
})

const hasUws = (await kinds()).includes('uws')
if (hasUws) served('two fronts answer, are counted, limited and drained as one is', asOne, 'uws', 'uWebSockets\\.js')
served('so do two on node:http', asOne, 'node', 'node:http')

async function bothAnswer(t: ExecutionContext, daemon: TestDaemon, library: string): Promise<void> {
  using many = new Many()
  const root = (await daemon.call('locations.list', { library }))[0].path
  const lists = await many.each((agent) => daemon.call('files.list', { library, path: root, limit: 10 }, { agent }))
  for (const list of lists) t.deepEqual(list, lists[0])
  const found = await many.each((agent) => daemon.call('search.files', { library, query: 'f', limit: 500 }, { agent }))
  for (const each of found) t.deepEqual(each, found[0])
  const { id } = found[0].items.find(({ kind }: Loose) => kind === 'file')
  const files = await many.each((agent) => daemon.ask(`/libraries/${library}/files/${id}`, { agent }))
  t.true(files.every(({ status }) => status === 200))
  // What is made by way of one front is there for all, and what is gone is gone.
  for (let at = 0; at < 4; at++) {
    const { id: each } = await daemon.call('libraries.create', { name: `made ${at}` })
    const told = await many.each((agent) => daemon.call('libraries.info', { library: each }, { agent }))
    t.true(told.every((info) => info.id === each))
    await daemon.call('libraries.delete', { library: each, data: true })
    const codes = await many.each((agent) => daemon.codeOf('libraries.info', { library: each }, { agent }))
    t.deepEqual(new Set(codes), new Set(['LIBRARY_NOT_FOUND']))
  }
  const batch = [
    { jsonrpc: '2.0', id: 1, method: 'core.ping' },
    { jsonrpc: '2.0', id: 2, method: 'libraries.list' },
    { jsonrpc: '2.0', id: 3, method: 'libraries.info', params: { library } },
  ]
  const asking = { method: 'POST', body: JSON.stringify(batch) }
  const batches = await many.each((agent) => daemon.ask('/rpc', { ...asking, agent }))
  for (const { body } of batches) t.deepEqual(JSON.parse(body), JSON.parse(batches[0]!.body))
  t.is((await daemon.ask('/health')).status, 200)

  // The threads count once in a while.
  const connections = await eventually('all are counted', 30_000, async () => {
    const status = (await daemon.status()) as Loose
    const { connections, descriptors, shards } = status
    const held = connections.fronts.reduce((sum: number, { current }: Loose) => sum + current, 0)
    // And who asks over the unix socket.
    const isSum = held >= MANY && connections.current === held + 1 && descriptors.classes.clients.used === held + 1
    return isSum && shards.every(({ inFlight, queued }: Loose) => inFlight + queued === 0) && connections
  })
  t.is(connections.fronts.length, 2)
  t.true(
    connections.fronts.every(({ accepted }: Loose) => accepted > 0),
    'both met some',
  )
  t.is((await daemon.status()).descriptors.unaccounted, 0)
  const { body: metrics } = await daemon.ask('/metrics')
  t.true(Number(/^spacedrive_connections (\d+)$/m.exec(metrics)?.[1]) >= MANY)
}

/** Who is told that a token was made or revoked may rely on it, whichever front is asked next. */
async function tokensHoldAtOnce(t: ExecutionContext, daemon: TestDaemon): Promise<void> {
  using many = new Many()
  for (const name of ['first', 'second']) {
    const { id, secret: token } = await daemon.call('tokens.create', { name, scope: 'read' })
    const codes = () => many.each((agent) => daemon.codeOf('core.ping', {}, { agent, token }))
    t.deepEqual(new Set(await codes()), new Set(['answered "pong"']))
    t.is(await daemon.codeOf('libraries.create', { name: 'no' }, { token }), 'FORBIDDEN')
    await eventually('its use is known', 30_000, async () => {
      return (await daemon.call('tokens.list')).some((each: Loose) => each.id === id && each.usedAt)
    })
    await daemon.call('tokens.revoke', { token: id })
    for (const code of await codes()) t.regex(code, /^(?:UNAUTHORIZED|TOO_MANY_ATTEMPTS)$/)
  }
}

async function eventsAreWhole(t: ExecutionContext, scene: Scene, daemon: TestDaemon, library: string): Promise<void> {
  const { token } = daemon
  const clients: Client[] = []
  scene.atEnd(() => Promise.all(clients.map((client) => client.close())))
  const heard: string[][] = []
  for (let at = 0; at < 12; at++) {
    const client = await connect(daemon.ready.http, { token, format: at % 2 ? 'msgpack' : 'json' })
    const names: string[] = (heard[at] = [])
    clients.push(client)
    await client.subscribe({ types: ['library.renamed'], library }, (event, missed) => {
      names.push(missed === 0 ? String(event['name']) : `missed ${missed}`)
    })
  }
  const [first] = clients
  const { cursor } = await first!.call('events.subscribe', { types: ['library.renamed'] })
  const names = Array.from({ length: 20 }, (_, at) => `name ${at}`)
  for (const [at, name] of names.entries())
    await clients[at % clients.length]!.call('libraries.rename', { library, name })
  await eventually('each heard all', 60_000, () => heard.every(({ length }) => length >= names.length))
  for (const each of heard) t.deepEqual(each, names)
  // A cursor of one front is one of the other, and nobody is told anything twice.
  for (const [at, client] of clients.entries()) {
    const again: string[] = []
    const end = await client.subscribe({ types: ['library.renamed'], cursor }, (event, missed) => {
      again.push(missed === 0 ? String(event['name']) : `missed ${missed}`)
    })
    await eventually(`client ${at} has what it asked for again`, 60_000, () => again.length >= names.length)
    t.deepEqual(again, names)
    await end()
  }
  // Figures of a front are up to a quarter of a second old.
  await eventually('all subscriptions are counted', 10_000, async () => {
    return (await daemon.status()).events.subscriptions >= clients.length
  })
  await Promise.all(clients.map((client) => client.close()))
}

async function limitsAreOne(t: ExecutionContext, scene: Scene, daemon: TestDaemon): Promise<void> {
  const { connections: begun } = await daemon.status()
  const guests = crowd(daemon, 3 * CONNECTIONS_MAX)
  let left = false
  scene.atEnd(() => left || guests.leave())
  await eventually('all were met', 60_000, async () => {
    const { accepted, refused } = (await daemon.status()).connections
    return accepted + refused >= begun.accepted + begun.refused + 3 * CONNECTIONS_MAX
  })
  const { connections, descriptors } = await daemon.status()
  t.true(connections.refusedBy['clients']! + (connections.refusedBy['share'] ?? 0) > 0)
  t.true(descriptors.classes.clients.peak <= CONNECTIONS_MAX)
  const { strange, example } = await guests.fates()
  t.is(strange, 0, example)

  const cut = daemon.descriptorCount - 15
  daemon.limit(cut)
  await eventually('those that are idle have gone', 60_000, async () => {
    const status = await daemon.status().catch(() => null)
    return status?.limit.soft === cut && daemon.descriptorCount < cut
  })
  daemon.limit(400)
  left = true
  await guests.leave()
  t.is(await daemon.callOnceLetIn('core.ping'), 'pong')
}

async function portIsTaken(t: ExecutionContext, scene: Scene, daemon: TestDaemon): Promise<void> {
  const other = launch(scene.path('other'), { args: [...FRONTS, '--http', `127.0.0.1:${daemon.port}`] })
  t.not((await other.exited).code, 0)
  t.regex(other.said.err, /ADDRESS_IN_USE/, 'the port is shared with nobody else')
}

async function drainAnswersAll(t: ExecutionContext, daemon: TestDaemon, library: string): Promise<void> {
  using many = new Many()
  let answered = 0
  const asking = many.each(async (agent) => {
    for (;;) {
      const code = await daemon.codeOf('libraries.rename', { library, name: `x${answered}` }, { agent }).catch(String)
      if (!code.startsWith('answered')) return code
      answered += 1
    }
  })
  await eventually('all ask', 30_000, () => answered > 2 * MANY)
  t.is((await daemon.stop()).code, 0)
  for (const code of await asking)
    t.true(code === 'DRAINING' || /ECONNREFUSED|ECONNRESET|EPIPE|socket hang up/.test(code), code)
}

served('a library that is too much for its shard is read by others for clients of every front', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ args: [...FRONTS, '--shards', '2'] })
    const { library } = await daemon.index('library', scene.tree('tree', 100))
    const clients: Client[] = []
    scene.atEnd(() => Promise.all(clients.map((client) => client.close())))
    for (let at = 0; at < MANY; at++)
      clients.push(await connect(daemon.ready.http, { token: daemon.token, patienceMs: 0 }))
    const { items } = await daemon.call('search.files', { library, query: '', filters: { kind: 'file' } })
    const parent = items[0].path.replace(/\/[^/]*$/, '')
    const reads = clients.map((client) => keepReading(client, library, parent))
    await bothShardsAnswer(daemon, library)

    await daemon.call('tags.create', { library, name: 'x' })
    for (let round = 0; round < 3; round++) {
      for (const [at, client] of clients.entries()) {
        const { id } = items[at % items.length]
        const tags = round % 2 ? undefined : ['x']
        const changed = client.call(tags ? 'tags.apply' : 'tags.remove', { library, tag: 'x', ids: [id] })
        t.deepEqual((await client.call('files.get', { library, id })).tags, tags)
        await changed
        const told = await Promise.all(clients.map((each) => each.call('files.get', { library, id })))
        for (const each of told) t.deepEqual(each.tags, tags)
      }
      // It ends for this, and begins again.
      t.like(await closed(clients[round]!, library), { closed: true })
      await bothShardsAnswer(daemon, library)
    }
    await clients[0]!.call('libraries.delete', { library })
    for (const client of clients)
      await t.throwsAsync(client.call('files.list', { library, path: parent }), { code: 'LIBRARY_NOT_FOUND' })
    for (const codes of await Promise.all(reads)) t.deepEqual(codes, ['LIBRARY_NOT_FOUND'])
  })
})

served('a file that stays open while it is sent by a thread of its own is closed without a word', async (t) => {
  await play(async (scene) => {
    const tree = scene.tree('tree', 1)
    writeFileSync(join(tree, 'd0', 'large'), Buffer.alloc(LIMITS.filePartBytes + 1))
    const daemon = await scene.daemon({ args: FRONTS })
    const { library } = await daemon.index('one', tree)
    const { id } = await daemon.call('files.get', { library, path: join(tree, 'd0', 'large') })
    const path = `/libraries/${library}/files/${id}`
    for (const headers of [{}, { range: 'bytes=0-9' }]) {
      const { status, body } = await daemon.ask(path, { headers })
      t.true(status === 200 || status === 206)
      t.is(body.length, status === 200 ? LIMITS.filePartBytes + 1 : 10)
    }
    t.is((await daemon.ask(path, { method: 'HEAD' })).status, 200)
    await daemon.stop()
    t.notRegex(daemon.said.err, /warning/i)
  })
})

/** Its files are read some time after they were indexed, and until they are it is not closed. */
function closed(client: Client, library: string): Promise<unknown> {
  return eventually('it is closed', 60_000, () =>
    client.call('libraries.close', { library }).catch((error: Loose) => {
      if (error.code !== 'JOB_STATE') throw error
    }),
  )
}

/** As many as are to be in flight, until something fails; says with what. */
async function keepReading(client: Client, library: string, parent: string): Promise<string[]> {
  const codes = new Set<string>()
  const one = async () => {
    while (codes.size === 0)
      await client
        .call('files.list', { library, path: parent, limit: 50 })
        .catch((error: Loose) => codes.add(error.code ?? String(error)))
  }
  await Promise.all([one(), one(), one(), one()])
  return [...codes]
}

/** The one that is not the library's own as well. */
async function bothShardsAnswer(daemon: TestDaemon, library: string): Promise<void> {
  const other = 1 - placeOf(library, 2)
  await eventually('both shards are asked', 60_000, async () => {
    const { libraries, shards } = await daemon.status()
    return libraries.connections === 2 && shards[other]!.inFlight > 0
  })
}

const failing = test.macro(async (t, front: string) => {
  await play(async (scene) => {
    const broken = scene.path('broken')
    const script = scene.path('break.cjs')
    writeFileSync(script, `(${breakFront.toString()})(${JSON.stringify(broken)}, require)`)
    const daemon = await scene.daemon({
      args: [...FRONTS, '--front', front],
      env: { NODE_OPTIONS: `--require ${script}` },
    })
    using many = new Many()
    await many.each((agent) => daemon.call('libraries.list', {}, { agent }))
    // Connections are open at both when it comes.
    writeFileSync(broken, '')
    t.deepEqual(await daemon.exited, { code: 1, signal: null })
    t.regex(readFileSync(scene.path('data', 'logs', 'daemon.log'), 'utf8'), /front 0: somebody broke it/)
  })
})

if (hasUws) served('a front that fails ends the daemon with 1, and nothing aborts', failing, 'uws')
served('so does one on node:http', failing, 'node')

served('a front that could not be loaded is started once more', async (t) => {
  await play(async (scene) => {
    const script = scene.path('fail.cjs')
    writeFileSync(script, `(${failOnce.toString()})(${JSON.stringify(scene.path('failed'))}, require)`)
    const daemon = await scene.daemon({ args: FRONTS, env: { NODE_OPTIONS: `--require ${script}` } })
    using many = new Many()
    await many.each((agent) => daemon.call('libraries.list', {}, { agent }))
    t.is((await daemon.status()).connections.fronts?.length, 2)
    t.regex(daemon.log, /front 1 could not be started: no descriptor/)
  })
})

/** Runs in the daemon, as text: knows nothing of this file. */
function failOnce(failed: string, load: NodeJS.Require): void {
  const { existsSync, writeFileSync: write } = load('node:fs') as typeof import('node:fs')
  const { workerData } = load('node:worker_threads') as typeof import('node:worker_threads')
  if (workerData?.fronts === undefined || workerData.number !== 1 || existsSync(failed)) return
  write(failed, '')
  throw new Error('no descriptor')
}

/** Runs in the daemon, as text: knows nothing of this file. */
function breakFront(broken: string, load: NodeJS.Require): void {
  const { existsSync } = load('node:fs') as typeof import('node:fs')
  const { workerData } = load('node:worker_threads') as typeof import('node:worker_threads')
  if (workerData?.fronts === undefined || workerData.number !== 0) return
  const timer = setInterval(() => {
    if (!existsSync(broken)) return
    clearInterval(timer)
    throw new Error('somebody broke it')
  }, 20)
  timer.unref()
}

served(
  'what two fronts cannot serve is refused at the start, and a limit that is too low with what they cost',
  async (t) => {
    await play(async (scene) => {
      const starts = [
        { args: FRONTS, env: { SPACEDRIVE_NATIVE: 'off' }, code: 'BAD_CONFIG' },
        { args: FRONTS, limit: '58:58', code: 'LIMIT_TOO_LOW' },
      ]
      for (const [at, { code, ...starting }] of starts.entries()) {
        const { said, exited } = launch(scene.path(`data ${at}`), starting)
        t.is((await exited).code === 0, false, code)
        t.regex(said.err, new RegExp(`^error ${code}: [^\n]+\nhint: `, 'm'), said.err)
      }
    })
  },
)

served('a front that ends while the others are started fails the start', async (t) => {
  await play(async (scene) => {
    const script = scene.path('end.cjs')
    writeFileSync(script, `(${endFirst.toString()})(${JSON.stringify(scene.path('second'))}, require)`)
    const { said, exited } = launch(scene.path('data'), { args: FRONTS, env: { NODE_OPTIONS: `--require ${script}` } })
    t.not((await exited).code, 0)
    t.regex(said.err, /^error INTERNAL: front 0 could not be started: it ended/m)
  })
})

/** Runs in the daemon, as text: knows nothing of this file. */
function endFirst(second: string, load: NodeJS.Require): void {
  const { existsSync, writeFileSync: write } = load('node:fs') as typeof import('node:fs')
  const { workerData } = load('node:worker_threads') as typeof import('node:worker_threads')
  if (workerData?.fronts === undefined) return
  if (workerData.number === 0) setInterval(() => existsSync(second) && process.exit(), 5)
  else {
    write(second, '')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  }
}

test('two fronts without an address to listen at are a setting that is wrong', (t) => {
  const flags = { fronts: 2, http: null }
  t.throws(() => configure({ dataDir: '/nowhere', env: {}, flags }), { code: 'BAD_CONFIG' })
})

served('a program that has a daemon with two fronts is left with nothing of it', async (t) => {
  await play(async (scene) => {
    const daemon = await open({ dataDir: scene.dataDir, http: '127.0.0.1:0', fronts: 2, shards: 1 })
    const client = await connect(daemon.http!, { token: await tokenOf(daemon) })
    const { id } = await client.call('libraries.create', { name: 'mine' })
    t.is((await daemon.call('libraries.info', { library: id })).name, 'mine')
    await client.close()
    await daemon.close()
    t.pass()
  })
})

async function tokenOf(daemon: Awaited<ReturnType<typeof open>>): Promise<string> {
  return (await daemon.call('tokens.create', { name: 'test', scope: 'admin' })).secret
}
