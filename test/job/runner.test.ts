// Jobs and their states: what can be asked of one when, and that a lack of descriptors only makes it wait.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import { indexLocation } from '../../src/job/index-location.js'
import type { Walker, Work } from '../../src/job/job.js'
import { Runner } from '../../src/job/runner.js'
import type { Library } from '../../src/library/library.js'
import { Pool } from '../../src/library/pool.js'
import type { Event } from '../../src/protocol/messages.js'
import { batchesOf, differences, identifyHere, Stage, walkHere } from '../library/stage.js'

class Yard {
  readonly stage = new Stage()
  readonly events: Omit<Event, 'at'>[] = []
  readonly pool = new Pool(this.stage.ledger, { opened: () => {}, closed: () => {} })
  readonly runner: Runner
  walker: Walker = walkHere()
  work: Work = indexLocation
  pressing = false

  constructor() {
    this.runner = new Runner({
      ledger: this.stage.ledger,
      pool: this.pool,
      identify: identifyHere,
      walk: (...walking) => this.walker(...walking),
      work: (setup) => this.work(setup),
      leftOut: [],
      publish: (event) => this.events.push(event),
      log: () => {},
      breathe: () => sleep(1),
      heldUp: () => (this.pressing ? new SpacedriveError('BUDGET_EXHAUSTED', 'short', { class: 'jobs' }) : null),
    })
  }

  async library(): Promise<Library> {
    const { id, path } = this.stage.create()
    this.pool.know(id, path)
    return await this.pool.get(id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.runner.stopAll()
    this.pool.closeAll()
    this.stage[Symbol.dispose]()
  }
}

async function until(t: ExecutionContext, what: () => boolean): Promise<void> {
  for (let waited = 0; waited < 30_000; waited += 10) {
    if (what()) return
    await sleep(10)
  }
  t.fail('it did not come to that')
}

function plant(stage: Stage): void {
  for (let at = 0; at < 30; at++) {
    mkdirSync(join(stage.tree, `d${at}`))
    writeFileSync(join(stage.tree, `d${at}`, 'file'), '')
  }
}

const restore = batchesOf(4)
test.after.always(restore)

test.serial('a job runs to done, says so, and leaves no mark that there is something to go on with', async (t) => {
  await using yard = new Yard()
  plant(yard.stage)
  const library = await yard.library()
  const { location, job } = library.addLocation(yard.stage.tree, undefined)
  yard.runner.takeUp(library)
  yard.runner.takeUp(library)
  t.deepEqual(yard.runner.counts, { running: 1, queued: 0 })
  await until(t, () => library.jobs.get(job).state === 'done')
  await until(t, () => yard.runner.counts.running === 0)
  t.deepEqual(differences(library, location.uid, yard.stage.tree), [])
  const states = yard.events
    .filter((each) => each.type === 'job.changed')
    .map((each) => (each['job'] as { state: string }).state)
  t.is(states.filter((state) => state === 'done').length, 1)
  t.deepEqual(library.jobs.unfinished(), [])
  t.is(library.pins, 0)
})

test.serial('a job pauses at a checkpoint, goes on where it was, and cannot be stopped twice', async (t) => {
  await using yard = new Yard()
  plant(yard.stage)
  const library = await yard.library()
  const { location, job } = library.addLocation(yard.stage.tree, undefined)
  yard.runner.takeUp(library)
  await until(t, () => library.jobs.get(job).done > 5)
  const paused = await yard.runner.stop(library, job, 'paused')
  t.is(paused.state, 'paused')
  t.true(paused.progress.done < 60)
  await t.throwsAsync(yard.runner.stop(library, job, 'paused'), { code: 'JOB_STATE' })
  t.true(['queued', 'running'].includes(yard.runner.resume(library, job).state))
  t.throws(() => yard.runner.resume(library, job), { code: 'JOB_STATE' })
  await until(t, () => library.jobs.get(job).state === 'done')
  t.is(library.jobs.get(job).done, 61)
  t.deepEqual(differences(library, location.uid, yard.stage.tree), [])
  await t.throwsAsync(yard.runner.stop(library, job, 'cancelled'), { code: 'JOB_STATE' })
})

test.serial('more jobs than may run at a time wait in line and all come to their end', async (t) => {
  await using yard = new Yard()
  const libraries = await Promise.all(Array.from({ length: 5 }, () => yard.library()))
  const jobs = libraries.map((library, at) => {
    const root = join(yard.stage.path, `tree ${at}`)
    mkdirSync(join(root, 'inside'), { recursive: true })
    const { job } = library.addLocation(root, undefined)
    yard.runner.takeUp(library)
    return job
  })
  t.deepEqual(yard.runner.counts, { running: 2, queued: 3 })
  await until(t, () => libraries.every((library, at) => library.jobs.get(jobs[at]!).state === 'done'))
})

test.serial(
  'under pressure no job begins, the one that runs goes on, and the line moves when it is over',
  async (t) => {
    await using yard = new Yard()
    plant(yard.stage)
    const [first, second] = [await yard.library(), await yard.library()]
    const [one, other] = [first, second].map((library) => library.addLocation(yard.stage.tree, undefined).job)
    yard.runner.takeUp(first)
    yard.pressing = true
    yard.runner.takeUp(second)
    t.deepEqual(yard.runner.counts, { running: 1, queued: 1 })
    await until(t, () => first.jobs.get(one!).state === 'done')
    await until(t, () => yard.runner.counts.running === 0)
    yard.runner.goOn()
    t.deepEqual(yard.runner.counts, { running: 0, queued: 1 })
    t.is(second.jobs.get(other!).state, 'queued')
    t.is(second.jobs.item(second.jobs.get(other!)).waiting?.class, 'jobs', 'it says why')
    yard.pressing = false
    yard.runner.goOn()
    await until(t, () => second.jobs.get(other!).state === 'done')
    t.is(second.jobs.item(second.jobs.get(other!)).waiting, undefined)
  },
)

for (const code of ['BUDGET_EXHAUSTED', 'SHARD_LOST'] as const) {
  test.serial(`a walk that ends in ${code} is tried again and does not fail`, async (t) => {
    await using yard = new Yard()
    plant(yard.stage)
    const library = await yard.library()
    let tries = 0
    const whole = yard.walker
    yard.walker = async function* (...walking) {
      tries += 1
      for await (const batch of whole(...walking)) {
        yield batch
        if (tries === 1) throw new SpacedriveError(code, 'made up')
      }
    }
    const { location, job } = library.addLocation(yard.stage.tree, undefined)
    yard.runner.takeUp(library)
    await until(t, () => library.jobs.get(job).state === 'done')
    t.is(tries, 2)
    t.deepEqual(differences(library, location.uid, yard.stage.tree), [])
  })
}

test.serial(
  'a job cancelled while it waits for its next try stays cancelled, and one taken up twice runs once',
  async (t) => {
    await using yard = new Yard()
    plant(yard.stage)
    const library = await yard.library()
    let tries = 0
    yard.walker = async function* () {
      tries += 1
      await sleep(1)
      throw new SpacedriveError('BUDGET_EXHAUSTED', 'made up')
    }
    const { job } = library.addLocation(yard.stage.tree, undefined)
    yard.runner.takeUp(library)
    await until(t, () => tries > 0 && yard.runner.counts.running === 0)
    t.is((await yard.runner.stop(library, job, 'cancelled')).state, 'cancelled')
    const before = tries
    await sleep(1_300)
    t.is(library.jobs.get(job).state, 'cancelled')
    t.is(tries, before)
  },
)

test.serial('any other failure is the end of the job, with its reason', async (t) => {
  await using yard = new Yard()
  const library = await yard.library()
  yard.walker = async function* () {
    await sleep(1)
    throw new Error('made up')
  }
  const { job } = library.addLocation(yard.stage.tree, undefined)
  yard.runner.takeUp(library)
  await until(t, () => library.jobs.get(job).state === 'failed')
  t.is(library.jobs.item(library.jobs.get(job)).error?.code, 'INTERNAL')
})

test.serial(
  'for lack of space, of threads or of a writable disk it waits with the reason, and goes on by itself',
  async (t) => {
    for (const [errno, code] of [
      ['ENOSPC', 'DISK_FULL'],
      ['EDQUOT', 'DISK_FULL'],
      ['EROFS', 'READ_ONLY'],
      ['ENFILE', 'BUDGET_EXHAUSTED'],
    ] as const) {
      await using yard = new Yard()
      plant(yard.stage)
      const library = await yard.library()
      yard.walker = async function* () {
        await sleep(1)
        throw Object.assign(new Error('made up'), { code: errno })
      }
      const { job } = library.addLocation(yard.stage.tree, undefined)
      const item = () => library.jobs.item(library.jobs.get(job))
      yard.runner.takeUp(library)
      await until(t, () => item().waiting?.code === code)
      t.is(item().state, 'queued')
      t.is(item().error, undefined)
      await until(t, () => yard.runner.counts.running === 0)
      t.deepEqual(yard.runner.counts, { running: 0, queued: 1 })
      yard.walker = walkHere()
      await until(t, () => item().state === 'done')
      t.is(item().waiting, undefined)
      await until(t, () => yard.runner.counts.running === 0)
      t.is(yard.runner.counts.queued, 0)
    }
  },
)

/** Until it is called nothing of the states of jobs can be written. */
function onFullDisk({ jobs }: Library): () => void {
  const { setState } = jobs
  jobs.setState = () => {
    throw new SpacedriveError('DISK_FULL', 'made up')
  }
  return () => (jobs.setState = setState.bind(jobs))
}

const endless: Walker = async function* (_, signal) {
  while (!signal.aborted) await sleep(5)
  yield* []
}

test.serial('one whose stop cannot be written has stopped all the same, says so, and is written later', async (t) => {
  for (const reason of ['paused', 'cancelled'] as const) {
    await using yard = new Yard()
    plant(yard.stage)
    const library = await yard.library()
    const { job, location } = library.addLocation(yard.stage.tree, undefined)
    const item = () => library.jobs.item(library.jobs.get(job))
    yard.walker = endless
    yard.runner.takeUp(library)
    await until(t, () => item().state === 'running')
    const hasRoom = onFullDisk(library)
    t.like(await yard.runner.stop(library, job, reason), { state: reason, unwritten: { code: 'DISK_FULL' } })
    t.like(yard.events.at(-1), { type: 'job.changed', job: { state: reason, unwritten: { code: 'DISK_FULL' } } })
    t.deepEqual(yard.runner.counts, { running: 0, queued: 0 })
    t.is(library.jobs.list(9, 99)[0]!.state, reason)
    t.is(library.jobs.active('index', location.uid)?.state, reason === 'paused' ? 'paused' : undefined)
    // What takes up jobs for another reason leaves it alone.
    yard.runner.takeUp(library)
    t.deepEqual(yard.runner.counts, { running: 0, queued: 0 })
    await t.throwsAsync(yard.runner.stop(library, job, reason), { code: 'JOB_STATE' })
    hasRoom()
    await until(t, () => item().unwritten === undefined)
    t.like(yard.events.at(-1), { type: 'job.changed', job: { state: reason, unwritten: undefined } })
    t.is(item().state, reason)
    t.deepEqual(library.jobs.unfinished(), [])
    yard.pool.close(library.id)
    const again = await yard.pool.get(library.id)
    t.is(again.jobs.get(job).state, reason, 'it is written')
  }
})

test.serial('one that was paused without that being written goes on, and can be cancelled', async (t) => {
  await using yard = new Yard()
  plant(yard.stage)
  const library = await yard.library()
  const { job } = library.addLocation(yard.stage.tree, undefined)
  const item = () => library.jobs.item(library.jobs.get(job))
  yard.walker = endless
  yard.runner.takeUp(library)
  await until(t, () => item().state === 'running')
  const hasRoom = onFullDisk(library)
  await yard.runner.stop(library, job, 'paused')
  t.like(await yard.runner.stop(library, job, 'cancelled'), { state: 'cancelled', unwritten: { code: 'DISK_FULL' } })
  t.throws(() => yard.runner.resume(library, job), { code: 'JOB_STATE' })
  hasRoom()
  await until(t, () => item().unwritten === undefined)
  t.is(item().state, 'cancelled')

  const other = library.write(() => library.jobs.enqueue('index', library.jobs.get(job).location, null)).id
  yard.runner.takeUp(library)
  await until(t, () => library.jobs.get(other).state === 'running')
  const hasRoomAgain = onFullDisk(library)
  await yard.runner.stop(library, other, 'paused')
  yard.pool.close(library.id)
  const opened = await yard.pool.get(library.id)
  t.is(opened.jobs.get(other).state, 'running', 'as it is written')
  yard.runner.takeUp(opened)
  t.is(opened.jobs.get(other).state, 'paused', 'as it is')
  hasRoomAgain()
  yard.walker = walkHere()
  t.is(yard.runner.resume(opened, other).unwritten, undefined)
  await until(t, () => opened.jobs.get(other).state === 'done')
})

test.serial('the end of all writes what could not be written before', async (t) => {
  await using yard = new Yard()
  plant(yard.stage)
  const library = await yard.library()
  const { job } = library.addLocation(yard.stage.tree, undefined)
  yard.pressing = true
  yard.runner.takeUp(library)
  const hasRoom = onFullDisk(library)
  await yard.runner.stop(library, job, 'cancelled')
  hasRoom()
  await yard.runner.stopAll()
  t.is(library.jobs.item(library.jobs.get(job)).unwritten, undefined)
  t.is(library.jobs.get(job).state, 'cancelled')
})

test.serial(
  'what builds on the end of a job is refused where that cannot be written, and the job goes on',
  async (t) => {
    await using yard = new Yard()
    plant(yard.stage)
    const library = await yard.library()
    const { job, location } = library.addLocation(yard.stage.tree, undefined)
    yard.pressing = true
    yard.runner.takeUp(library)
    t.deepEqual(yard.runner.counts, { running: 0, queued: 1 })
    const hasRoom = onFullDisk(library)
    await t.throwsAsync(yard.runner.stopOf(library, location.uid), { code: 'DISK_FULL' })
    hasRoom()
    yard.pressing = false
    yard.runner.goOn()
    await until(t, () => library.jobs.get(job).state === 'done')
  },
)

test.serial('stopping all leaves the job where it is, and another runner goes on with it', async (t) => {
  await using yard = new Yard()
  plant(yard.stage)
  const library = await yard.library()
  const { location, job } = library.addLocation(yard.stage.tree, undefined)
  yard.runner.takeUp(library)
  await until(t, () => library.jobs.get(job).done > 5)
  await yard.runner.stopAll()
  t.is(library.jobs.get(job).state, 'running')
  const { done } = library.jobs.get(job)
  const next = new Runner({
    ledger: yard.stage.ledger,
    pool: yard.pool,
    walk: walkHere(),
    identify: identifyHere,
    leftOut: [],
    publish: () => {},
    log: () => {},
    breathe: () => Promise.resolve(),
  })
  next.takeUp(library)
  await until(t, () => library.jobs.get(job).state === 'done')
  t.true(done > 5)
  t.is(library.jobs.get(job).done, 61)
  t.deepEqual(differences(library, location.uid, yard.stage.tree), [])
})
