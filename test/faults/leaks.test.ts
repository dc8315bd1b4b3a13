// Descriptors that nobody returns: a job's are named in its result and taken back, an addon's are told apart from all that is ours.
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { countOpen } from '../../src/descriptors/rlimit.js'
import { LIMITS } from '../../src/base/limits.js'
import type { JobSetup } from '../../src/job/job.js'
import { Runner } from '../../src/job/runner.js'
import type { Library } from '../../src/library/library.js'
import { Pool } from '../../src/library/pool.js'
import type { Descriptors, Event, JobItem } from '../../src/protocol/messages.js'
import { cli, eventually, type TestDaemon } from '../harness/daemon.js'
import { Workers } from '../harness/load.js'
import { Rogue } from '../harness/rogue.js'
import { play, type Scene } from '../harness/scene.js'
import { identifyHere, Stage } from '../library/stage.js'

const RUNS = 1_000

test.serial(
  'scenario 19: a job that opens and never closes is named in its result, and a thousand of them cost nothing',
  async (t) => {
    using stage = new Stage()
    const ended: JobItem[] = []
    const pool = new Pool(stage.ledger, { opened: () => {}, closed: () => {} })
    const runner = new Runner({
      ledger: stage.ledger,
      pool,
      identify: identifyHere,
      walk: () => {
        throw new Error('nobody walks here')
      },
      work: leaky,
      leakGraceMs: 200,
      leftOut: [],
      publish: (event) => {
        const job = event['job'] as JobItem | undefined
        if (event.type === 'job.changed' && job?.state === 'done') ended.push(job)
      },
      log: () => {},
      breathe: () => sleep(1),
    })
    const { id, path } = stage.create()
    pool.know(id, path)
    const library = await pool.get(id)
    writeFileSync(join(stage.path, 'file'), 'bytes')
    const { location } = library.addLocation(stage.path, undefined)
    await ran(library, runner, ended, 1)
    await eventually('the first leak is taken back', 30_000, () => stage.ledger.use('jobs').used === 0)
    const before = { open: countOpen(), used: stage.ledger.totals() }

    for (let at = 1; at < RUNS; at += 50) {
      for (let more = 0; more < 50 && at + more < RUNS; more++) {
        library.write(() => library.jobs.enqueue('index', location.uid, null))
      }
      await ran(library, runner, ended, Math.min(RUNS, at + 50))
      t.true(library.info().entries > 0, 'the library answers meanwhile')
    }
    for (const { id: job, descriptors } of ended) {
      t.deepEqual(
        descriptors,
        { taken: 4, returned: 1, left: 3, leaks: [{ path: join(stage.path, 'file'), count: 3 }] },
        job,
      )
    }
    t.is(ended.length, RUNS)
    await eventually('the leaks are taken back', 30_000, () => stage.ledger.use('jobs').used === 0)
    await eventually('all of it is closed', 30_000, () => countOpen() === before.open)
    t.deepEqual(stage.ledger.totals(), before.used)
    t.true(stage.ledger.use('jobs').peak > 3, 'it was really held')
    library.write(() => library.locations.markScanned(location, {}))
    await runner.stopAll()
    pool.closeAll()

    async function leaky({ balance }: JobSetup): Promise<void> {
      const file = join(stage.path, 'file')
      using tidy = await balance.acquire(1, file)
      tidy.open(file)
      const lease = await balance.acquire(3, file)
      for (let at = 0; at < 3; at++) lease.open(file)
      t.throws(() => lease.open(file), { code: 'BUDGET_EXHAUSTED' }, 'no more than was bought')
    }
  },
)

async function ran(library: Library, runner: Runner, ended: readonly JobItem[], count: number): Promise<void> {
  runner.takeUp(library)
  await eventually(`${count} jobs have ended`, 60_000, () => ended.length >= count)
}

const LINUX = process.platform === 'linux'
const linux = LINUX ? test.serial : test.serial.skip
if (!LINUX) console.log('scenario 20 was not run: it preloads code as only Linux does')

linux(
  'scenario 20: what an addon leaks is told apart, raises an alarm within ten seconds, and is left alone',
  async (t) => {
    await play(async (scene) => {
      const rogue = new Rogue(scene.directory)
      const { daemon, library, before, workers } = await busy(scene, rogue)
      const alarms = await heard(daemon)
      rogue.hold(7)
      const alarm = await eventually('an alarm is raised', 60_000, () => alarms.events.at(0))
      t.true((alarm['withinMs'] as number) < LIMITS.leakAlarmMs)
      t.like(alarm, { type: 'descriptors.leak', unaccounted: 7, growth: 7, targets: ['anon_inode:[eventfd]'] })
      t.deepEqual((alarm['likeliest'] as { holder: string }).holder, 'an addon or the runtime')
      t.is((await daemon.status()).descriptors.leak?.growth, 7)
      // A client that comes or goes may count for a moment.
      await eventually('seven are unaccounted for', 30_000, async () => {
        return (await daemon.status()).descriptors.unaccounted === 7
      })
      t.true(daemon.log.includes('7 descriptors more that nobody accounts for, likeliest of an addon or the runtime'))
      const shown = cli(['fds', '--data-dir', daemon.dataDir])
      t.regex(shown.out, /^ +7 +anon_inode:\[eventfd\] /m)
      t.regex(shown.out, /, 7 unaccounted$/m)

      // Left alone: nobody closes what may be in use, and the same leak is no second alarm.
      const { unaccounted }: Descriptors = await daemon.watch('core.descriptors')
      await sleep(4_500)
      const later: Descriptors = await daemon.watch('core.descriptors')
      t.deepEqual(
        later.unaccounted.map(({ fd }) => fd),
        unaccounted.map(({ fd }) => fd),
      )
      t.is(alarms.events.length, 1)
      t.deepEqual(workers.take().failures, [])

      rogue.hold(0)
      await eventually('nothing is left of it', 30_000, async () => {
        const { unaccounted, leak } = (await daemon.status()).descriptors
        return unaccounted === 0 && leak === undefined
      })
      alarms.end()
      await workers.stop()
      await atRest(t, daemon, library, before)
    })
  },
)

/** A daemon with one library, the descriptors it holds when nobody asks, and clients that ask. */
async function busy(scene: Scene, rogue: Rogue, limit = '512:512') {
  const daemon = await scene.daemon({ limit, env: rogue.env })
  const { library } = await daemon.index('library', scene.tree('tree', 100))
  await quiet(daemon, library)
  const before = await daemon.descriptorsAtRest()
  const workers = new Workers(daemon, 5, 'files.list', { library, path: scene.path('tree') }, 20)
  await eventually('the clients are in', 30_000, async () => (await daemon.status()).connections.current >= 6)
  return { daemon, library, before, workers }
}

async function quiet(daemon: TestDaemon, library: string): Promise<void> {
  await daemon.call('libraries.close', { library }, { agent: false })
  daemon.hangUp()
  await eventually('only the looking client is left', 30_000, async () => {
    const { connections, descriptors } = await daemon.status()
    return connections.current === 1 && descriptors.classes.jobs.used === 0
  })
}

/** The starting set exactly, and a library that can be written. */
async function atRest(t: ExecutionContext, daemon: TestDaemon, library: string, before: string[]): Promise<void> {
  await daemon.call('libraries.rename', { library, name: 'written afterwards' }, { agent: false })
  await quiet(daemon, library)
  t.deepEqual(await daemon.descriptorsAtRest(before), before)
  t.false(/EMFILE|ENFILE/.test(daemon.log))
  t.is((await daemon.stop()).code, 0)
}

async function heard({ port, token }: TestDaemon): Promise<{ events: Event[]; end: () => void }> {
  const feed = new WebSocket(`ws://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${token}`])
  await once(feed, 'open')
  const params = { types: ['descriptors.leak'] }
  feed.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params }))
  await once(feed, 'message')
  const events: Event[] = []
  feed.on('message', (bytes: Buffer) => events.push(JSON.parse(bytes.toString()).params.event))
  return { events, end: () => feed.close() }
}
