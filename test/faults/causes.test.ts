// Memory that is short, a main loop that is late and a queue that is old: what is refused and how, that all else goes on, and that it
// is over within seconds of its cause.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import type { Cause, Level, Status } from '../../src/protocol/messages.js'
import { kinds } from '../front/stage.js'
import { eventually, parsed, Refusal, type Loose, type Starting, type TestDaemon } from '../harness/daemon.js'
import { placeOf } from '../../src/shard/place.js'
import { Intruder } from '../harness/intruder.js'
import { FakeMemory } from '../harness/machine.js'
import { play, type Scene } from '../harness/scene.js'

const FILES = 300
const LONG = { limit: LIMITS.pageDefault + 1 }

for (const front of await kinds()) {
  test.serial(`${front}: memory that is short refuses long answers, then files, and nothing else; and it passes`, (t) =>
    play(async (scene) => {
      const problem = FakeMemory.problem(scene.path('probe'))
      if (problem) return void t.pass(`not run: ${problem}`)
      const memory = new FakeMemory(scene.path('groups'))
      const { daemon, library, location, list, file } = await indexed(scene, {
        ...memory.starting,
        args: ['--front', front, '--shards', '1'],
      })
      t.is((await daemon.status()).pressure.memory.level, 'normal')
      t.is((await list(LONG)).items.length, LONG.limit)

      memory.use(900)
      await level(daemon, 'memory', 'high')
      t.regex((await daemon.status()).pressure.memory.reason, /^900 of the 1000 MB of memory of the control group/)
      const refused = await refusal(() => list(LONG))
      t.like(refused.data, { code: 'OVERLOADED', retryable: true })
      t.regex(refused.message, /memory is short/)
      t.regex(refused.data.hint, /at most 100 rows/)
      t.true(refused.data.retryAfterMs >= 1_000 && refused.data.retryAfterMs <= LIMITS.overloadedRetryMs)
      t.is((await list({ limit: LIMITS.pageDefault })).items.length, LIMITS.pageDefault, 'short ones are given')
      t.is((await file()).status, 200, 'files are sent')
      const { job } = await daemon.call('locations.rescan', { library, location })
      const { state, waiting } = await daemon.call('jobs.info', { library, job })
      t.deepEqual([state, waiting.code], ['queued', 'OVERLOADED'])
      t.regex(waiting.message, /memory is short/)

      memory.use(960)
      await level(daemon, 'memory', 'critical')
      const sent = await refusedFile(file)
      t.is(sent.status, 503)
      t.like(parsed(sent.body), { code: 'OVERLOADED', retryable: true })
      t.true(Number(sent.headers['retry-after']) >= 1)
      await goesOn(daemon, library)
      const { refused: count } = (await daemon.status()).pressure.memory
      t.true(count >= 2)
      const metrics = (await daemon.ask('/metrics')).body
      t.regex(metrics, /^spacedrive_pressure_level\{cause="memory",level="critical"\} 1$/m)
      t.regex(metrics, new RegExp(`^spacedrive_pressure_refused_total\\{cause="memory"\\} ${count}$`, 'm'))

      memory.use(100)
      await level(daemon, 'memory', 'normal')
      await daemon.jobDone(library, job)
      t.is((await list(LONG)).items.length, LONG.limit)
      for (let times = 0; times < 3; times++) t.is((await file()).status, 200)
      t.deepEqual(
        [...daemon.log.matchAll(/memory level is (\w+), was (\w+): \d+ of the/g)].map(([, now]) => now),
        ['high', 'critical', 'normal'],
      )
      t.is((await daemon.stop()).code, 0)
    }),
  )
}

test.serial(
  'a main loop that is late at each turn refuses files and long answers, and is believed as soon as it is in time',
  (t) =>
    play(async (scene) => {
      const intruder = new Intruder(scene)
      const starting = { args: ['--shards', '1'], env: intruder.env }
      const { daemon, library, location, list, file } = await indexed(scene, starting)
      intruder.begin('lag')
      await level(daemon, 'loop', 'critical')
      t.regex((await daemon.status()).pressure.loop.reason, /^each turn of the main loop takes \d+ ms too long$/)
      t.is((await refusedFile(file)).status, 503)
      const refused = await refusal(() => list(LONG))
      t.is(refused.code, 'OVERLOADED')
      t.regex(refused.message, /the main thread is late/)
      const { job } = await daemon.call('locations.rescan', { library, location })
      t.is((await daemon.call('jobs.info', { library, job })).waiting.code, 'OVERLOADED')
      await goesOn(daemon, library)
      intruder.end('lag')
      await level(daemon, 'loop', 'normal')
      await daemon.jobDone(library, job)
      for (let times = 0; times < 3; times++) t.is((await file()).status, 200)
      t.is((await list(LONG)).items.length, LONG.limit)
    }),
)

test.serial('a queue that is old refuses files, holds jobs up, and is empty when nobody asks any more', (t) =>
  play(async (scene) => {
    const { daemon, library, location, file } = await indexed(scene, { args: ['--shards', '1'] })
    const clients = await flood(daemon, 'files.list', { library, path: scene.path('tree', 'd0'), sort: 'size' })
    await level(daemon, 'queue', 'critical')
    t.is((await refusedFile(file)).status, 503)
    const { pressure } = await daemon.status()
    t.true(pressure.queue.refused > 0)
    t.is(await daemon.call('core.ping'), 'pong')
    const { job } = await daemon.callOnceLetIn('locations.rescan', { library, location })
    t.is((await daemon.callOnceLetIn('jobs.info', { library, job })).waiting?.code, 'OVERLOADED')
    for (const client of clients) client.terminate()
    await level(daemon, 'queue', 'normal')
    await daemon.jobDone(library, job)
    for (let times = 0; times < 3; times++) t.is((await file()).status, 200)
  }),
)

test.serial('where writes are too many for a shard its files are refused, and those of others are sent', (t) =>
  play(async (scene) => {
    const { daemon, library, file } = await indexed(scene, { args: ['--shards', '2'] })
    let other = ''
    while (other === '' || placeOf(other, 2) === placeOf(library, 2))
      other = (await daemon.call('libraries.create', { name: 'other' })).id
    const clients = await flood(daemon, 'libraries.compact', { library: other })
    await level(daemon, 'queue', 'critical')
    const why = /too much is asked of the shards/
    for (let times = 0; times < 3 * AT_ONCE; times++) t.notRegex((await file()).body, why)
    const unknown = () => daemon.ask(`/libraries/${other}/files/1`)
    // Two at once are let through.
    await eventually('of that shard all but two are refused', 30_000, async () => {
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, unknown))
      return answers.filter(({ body }) => why.test(body)).length >= AT_ONCE - 2
    })
    for (const client of clients) client.terminate()
    await level(daemon, 'queue', 'normal')
    for (let times = 0; times < 3; times++) t.is((await unknown()).status, 404)
  }),
)

test.serial('all front threads refuse by the same levels', (t) =>
  play(async (scene) => {
    const problem = FakeMemory.problem(scene.path('probe'))
    if (problem || !(await kinds()).includes('uws')) return void t.pass(`not run: ${problem}`)
    const memory = new FakeMemory(scene.path('groups'))
    const starting = { ...memory.starting, args: ['--fronts', '2', '--shards', '1'] }
    const { daemon, list } = await indexed(scene, starting)
    memory.use(900)
    await level(daemon, 'memory', 'high')
    const refused = await refusal(() => list(LONG, { agent: false }))
    t.regex(refused.message, /memory is short/)
    memory.use(100)
    await level(daemon, 'memory', 'normal')
    t.is((await list(LONG, { agent: false })).items.length, LONG.limit)
  }),
)

test.serial('so does the heap of a front thread that is nearly full, by its name', (t) =>
  play(async (scene) => {
    if (process.platform !== 'linux' || !loadNative()) return void t.pass('not run: one front only')
    const script = scene.path('fill.cjs')
    writeFileSync(script, `(${fillHeap.toString()})(require)`)
    const env = { NODE_OPTIONS: `--max-old-space-size=400 --require ${script}` }
    const daemon = await scene.daemon({ args: ['--fronts', '2', '--shards', '1'], env })
    const { reason } = await eventually('it is seen', 30_000, async () => {
      const { memory } = ((await daemon.status()) as Status).pressure
      return memory.level === 'normal' ? null : memory
    })
    t.regex(reason, /^\d+ % of the heap of front 1 is in use$/)
  }),
)

/** Runs in the daemon, as text: knows nothing of this file. */
function fillHeap(load: NodeJS.Require): void {
  const { workerData } = load('node:worker_threads') as typeof import('node:worker_threads')
  if (workerData?.fronts === undefined || workerData.number !== 1) return
  const { getHeapStatistics } = load('node:v8') as typeof import('node:v8')
  const { used_heap_size: used, heap_size_limit: most } = getHeapStatistics()
  // Of what is held, and not of garbage, which goes whenever V8 collects: arrays of doubles, eight bytes each.
  const [each, bytes] = [100_000, 0.78 * most - used]
  const held = Array.from({ length: bytes / (8 * each) }, () => new Array<number>(each).fill(0.5))
  Object.assign(globalThis, { held })
}

async function indexed(scene: Scene, starting: Starting) {
  const daemon = await scene.daemon(starting)
  const { library, location } = await daemon.index('library', scene.tree('tree', FILES, FILES))
  const path = scene.path('tree', 'd0')
  const list = (more: object, asking = {}) => daemon.call('files.list', { library, path, ...more }, asking)
  const [{ id, name }] = (await list({ limit: 1 })).items
  const file = async () => {
    const answer = await daemon.ask(`/libraries/${library}/files/${id}`)
    if (answer.status === 200 && answer.body !== readFileSync(join(path, name), 'utf8')) throw new Error('another file')
    return answer
  }
  return { daemon, library, location, list, file }
}

function level(daemon: TestDaemon, cause: Cause, wanted: Level): Promise<unknown> {
  const is = async () => {
    const { pressure }: Status = await daemon.status()
    return pressure[cause].level === wanted
  }
  return eventually(`the level of the ${cause} is ${wanted}`, 30_000, is)
}

/** Asked together, for one in a second is let through. */
const AT_ONCE = 4

async function refusal(ask: () => Promise<unknown>): Promise<Refusal> {
  return await eventually('it is refused', 30_000, async () => {
    const answers = await Promise.allSettled(Array.from({ length: AT_ONCE }, () => ask()))
    const errors = answers.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
    const found = errors.find((error) => error instanceof Refusal)
    if (errors.length > 0 && !found) throw errors[0]
    return found
  })
}

function refusedFile(file: () => Promise<Loose>): Promise<Loose> {
  return eventually('a file is refused', 30_000, async () => {
    const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => file()))
    return answers.find(({ status }) => status !== 200)
  })
}

/** Control, short reads, writes, and events. */
async function goesOn(daemon: TestDaemon, library: string, count = 3): Promise<void> {
  for (let times = 0; times < count; times++) {
    await daemon.call('core.ping')
    await daemon.call('libraries.info', { library })
    await daemon.call('tags.create', { library, name: `a tag ${times}` })
  }
  const ws = new WebSocket(`ws://127.0.0.1:${daemon.port}/ws`, { headers: { authorization: `Bearer ${daemon.token}` } })
  const answer = new Promise<string>((resolve, reject) => {
    ws.on('error', reject)
    ws.on('message', (bytes: Buffer) => resolve(bytes.toString('utf8')))
    ws.on('open', () => ws.send('{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{}}'))
  })
  if (!parsed(await answer)?.result?.subscription) throw new Error('no subscription')
  ws.terminate()
}

/** Asks at each answer again, as long as it is there. */
async function flood(daemon: TestDaemon, method: string, params: object): Promise<WebSocket[]> {
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const clients: WebSocket[] = []
  for (let at = 0; at < 6; at++) {
    const ws = new WebSocket(`ws://127.0.0.1:${daemon.port}/ws`, {
      headers: { authorization: `Bearer ${daemon.token}` },
    })
    await new Promise((resolve, reject) => ws.on('open', resolve).on('error', reject))
    ws.on('message', () => ws.send(text))
    for (let each = 0; each < LIMITS.feedInFlightMax - 6; each++) ws.send(text)
    clients.push(ws)
  }
  return clients
}
