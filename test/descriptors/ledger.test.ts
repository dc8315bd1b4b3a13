// The ledger: nobody holds more than there is, whoever waits is served in order, and what the dead held comes back.
import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger, type Lease } from '../../src/descriptors/ledger.js'
import { plan, type Plan } from '../../src/descriptors/planner.js'
import { CLASSES, type DescriptorClass } from '../../src/protocol/messages.js'
import { eventually } from '../harness/daemon.js'

const BY = { holder: 'a test' }

function planOf(soft: number): Plan {
  return plan({ soft, base: 0, connectionsMax: 'auto' })
}

/** What must hold at any quiet moment. */
function wrong(ledger: Ledger): string[] {
  const { budget, used, pot } = ledger.totals()
  const uses = ledger.uses()
  const floors = CLASSES.reduce((sum, name) => sum + uses[name].floor, 0)
  const lent = CLASSES.reduce((sum, name) => sum + Math.max(0, uses[name].used - uses[name].floor), 0)
  const told: string[] = []
  if (pot + lent !== budget - floors) told.push(`pot ${pot} and lent ${lent} are not ${budget - floors}`)
  if (used > budget) told.push(`${used} used of ${budget}`)
  for (const name of CLASSES) {
    const { used: each, ceiling, peak } = uses[name]
    if (each < 0 || each > ceiling || peak > ceiling || peak < each)
      told.push(`${name}: ${each}, peak ${peak} of ${ceiling}`)
  }
  return told
}

test('after any takes and gives the sums are right, and a refusal is only for lack of room', (t) => {
  const step = fc.record({
    name: fc.constantFrom(...CLASSES),
    count: fc.integer({ min: 1, max: 30 }),
    give: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.integer({ min: 40, max: 400 }), fc.array(step, { maxLength: 60 }), (soft, steps) => {
      const ledger = Ledger.create(planOf(soft))
      const held: Lease[] = []
      for (const { name, count, give } of steps) {
        if (give) held.splice(count % Math.max(1, held.length), 1)[0]?.release()
        else {
          const { used, ceiling, floor } = ledger.use(name)
          const { pot } = ledger.totals()
          const above = Math.max(0, used + count - floor) - Math.max(0, used - floor)
          const lease = ledger.tryAcquire(name, count, BY)
          t.is(lease !== null, used + count <= ceiling && above <= pot)
          if (lease) held.push(lease)
        }
        t.deepEqual(wrong(ledger), [])
      }
      t.is(ledger.held().length, held.length)
      for (const lease of held) lease.release()
      t.is(ledger.totals().used, 0)
      t.deepEqual(wrong(ledger), [])
    }),
    { numRuns: 150 },
  )
})

test("what threads keep at hand is nobody's: no sum has it, and no thread is refused for it", (t) => {
  const step = fc.record({
    thread: fc.nat(2),
    name: fc.constantFrom(...CLASSES),
    count: fc.integer({ min: 1, max: 2 * LIMITS.leaseStockMax }),
    give: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.integer({ min: 40, max: 120 }), fc.array(step, { maxLength: 100 }), (soft, steps) => {
      const first = Ledger.create(planOf(soft))
      const threads = [first, new Ledger(first.shared, 7), new Ledger(first.shared, 8)]
      const held: Lease[][] = threads.map(() => [])
      for (const { thread, name, count, give } of steps) {
        const mine = held[thread]!
        if (give) mine.splice(count % Math.max(1, mine.length), 1)[0]?.release()
        else {
          const room = first.room(name)
          const lease = threads[thread]!.tryAcquire(name, count, BY)
          t.is(lease !== null, count <= room)
          if (lease) mine.push(lease)
        }
        const counts = held.map((leases) => leases.reduce((sum, lease) => sum + lease.count, 0))
        t.is(first.totals().used, counts[0]! + counts[1]! + counts[2]!)
        t.deepEqual(wrong(first), [])
        t.false(first.heal())
      }
      first.configure(planOf(soft + 40))
      t.deepEqual(wrong(first), [])
      const lost = held[1]!.reduce((sum, lease) => sum + lease.count, 0)
      t.is(first.reclaim(7), lost, 'what a dead thread kept at hand is not what it held')
      t.deepEqual(wrong(first), [])
      t.false(first.heal())
    }),
    { numRuns: 150 },
  )
})

test('who waits is served by what another thread would otherwise have kept at hand', async (t) => {
  const ledger = Ledger.create(planOf(100))
  const other = new Ledger(ledger.shared, 2)
  const { ceiling } = ledger.use('libraries')
  const all = Array.from({ length: ceiling }, () => other.tryAcquire('libraries', 1, BY)!)
  const waiting = ledger.acquire('libraries', 2, BY, 60_000)
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  await sleep(20)
  all.pop()!.release()
  all.pop()!.release()
  ;(await waiting).release()
  for (const lease of all) lease.release()
  t.is(ledger.totals().used, 0)
  t.truthy(ledger.tryAcquire('libraries', ceiling, BY))
  t.deepEqual(wrong(ledger), [])
})

test('a lease returned twice is returned once, and shrinks to what is needed', (t) => {
  const ledger = Ledger.create(planOf(200))
  const lease = ledger.tryAcquire('libraries', 6, BY)!
  lease.shrink(2)
  t.is(ledger.use('libraries').used, 2)
  t.throws(() => lease.shrink(3))
  lease.release()
  lease.release()
  t.is(ledger.use('libraries').used, 0)
  t.deepEqual(ledger.held(), [])
})

test('what a class could never hold is refused at once, and counted', async (t) => {
  const ledger = Ledger.create(planOf(100))
  const { ceiling } = ledger.use('jobs')
  const refused = ledger.acquire('jobs', ceiling + 1, BY, 60_000)
  const turned = new Promise((resolve) => setImmediate(resolve, 'the loop has turned'))
  await t.throwsAsync(Promise.race([refused, turned]), { code: 'BUDGET_EXHAUSTED' })
  t.is(ledger.use('jobs').refused, 1)
  t.is(ledger.use('jobs').waited, 0)
})

test('those who wait are served in the order they came, all or nothing, and nobody overtakes', async (t) => {
  const ledger = Ledger.create(planOf(100))
  const { ceiling, floor } = ledger.use('libraries')
  const all = ledger.tryAcquire('libraries', ceiling, BY)!
  const order: string[] = []
  const wait = (name: string, count: number) =>
    ledger.acquire('libraries', count, { holder: name }, 60_000).then((lease) => (order.push(name), lease))
  const big = wait('big', floor)
  const small = wait('small', 1)
  all.shrink(ceiling - 2)
  await sleep(20)
  t.deepEqual(order, [], 'the small one would fit, but stands behind the big one')
  t.is(ledger.tryAcquire('libraries', 1, BY, true), null)
  t.is(ledger.use('libraries').used, ceiling - 2)
  all.release()
  const leases = await Promise.all([big, small])
  t.deepEqual(order, ['big', 'small'])
  for (const lease of leases) lease.release()
  t.deepEqual(wrong(ledger), [])
})

test('a signal that outlives those who wait keeps nothing of them, and ends whoever waits yet', async (t) => {
  const ledger = Ledger.create(planOf(1024))
  const daemon = new AbortController()
  const heard = () => getEventListeners(daemon.signal, 'abort').length
  const all = ledger.tryAcquire('jobs', ledger.use('jobs').ceiling, BY)!
  // As below.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  const wait = (ms: number) => ledger.acquire('jobs', 4, BY, ms, daemon.signal)
  for (let round = 0; round < 20; round++) await t.throwsAsync(wait(1), { code: 'BUDGET_EXHAUSTED' })
  t.is(heard(), 0)
  const [first, second] = [wait(60_000), wait(60_000)]
  t.is(heard(), 2)
  all.shrink(all.count - 4)
  ;(await first).release()
  ;(await second).release()
  t.is(heard(), 0)
  const last = ledger.tryAcquire('jobs', 4, BY)!
  const ended = wait(60_000)
  daemon.abort()
  await t.throwsAsync(ended, { code: 'BUDGET_EXHAUSTED' })
  last.release()
  all.release()
})

test('a wait ends at its deadline, also behind one that waits longer, and the line goes on without it', async (t) => {
  const ledger = Ledger.create(planOf(100))
  const { ceiling } = ledger.use('libraries')
  const all = ledger.tryAcquire('libraries', ceiling, BY)!
  const long = ledger.acquire('libraries', 2, BY, 60_000)
  // A wait for the ledger alone does not keep a process alive; in a daemon its ports and sockets do.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  await sleep(20)
  const began = performance.now()
  await t.throwsAsync(ledger.acquire('libraries', 1, BY, 100), { code: 'BUDGET_EXHAUSTED' })
  const waited = performance.now() - began
  t.true(waited >= 95 && waited < 30_000, `${waited} ms, and the longer wait goes on`)
  all.release()
  ;(await long).release()
  t.is(ledger.totals().used, 0)
})

test('a lower limit lends no more until enough is back, and a higher one serves those who wait', async (t) => {
  const ledger = Ledger.create(planOf(400))
  const held = ledger.tryAcquire('libraries', 200, BY)!
  ledger.configure(planOf(120))
  t.is(ledger.tryAcquire('libraries', 1, BY), null)
  t.true(ledger.totals().pot < 0)
  t.true(ledger.take('jobs', 1), 'a floor is guaranteed')
  ledger.give('jobs', 1)
  const waiting = ledger.acquire('libraries', 50, BY, 60_000)
  ledger.configure(planOf(600))
  const more = await waiting
  t.deepEqual(wrong(ledger), [])
  more.release()
  held.release()
  ledger.configure(planOf(80))
  t.deepEqual(
    wrong(ledger).filter((each) => !each.includes('peak')),
    [],
  )
  t.is(ledger.totals().used, 0)
})

test('what a dead thread held is given back, and only that', (t) => {
  const main = Ledger.create(planOf(300))
  const other = new Ledger(main.shared, 7)
  main.tryAcquire('libraries', 4, BY)
  other.tryAcquire('libraries', 8, BY)
  other.take('jobs', 3)
  t.is(main.totals().used, 15)
  t.is(main.reclaim(7), 11)
  t.is(main.reclaim(7), 0)
  t.is(main.totals().used, 4)
  t.deepEqual(wrong(main), [])
})

const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { setTimeout: sleep } = require('node:timers/promises')
  import(workerData.module).then(async ({ Ledger }) => {
    const ledger = new Ledger(workerData.shared, workerData.thread)
    const classes = ['clients', 'libraries', 'jobs', 'watches']
    let seed = workerData.thread * 7919
    const random = (most) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % most
    const held = []
    let served = 0
    parentPort.postMessage('begun')
    for (let round = 0; round < workerData.rounds; round++) {
      const name = classes[random(4)]
      const count = 1 + random(9)
      if (random(2) && held.length > 0) held.splice(random(held.length), 1)[0].release()
      else if (random(40) === 0) {
        // Nothing is held while waiting: two that wait for each other would both come to their deadline.
        for (const lease of held.splice(0)) lease.release()
        const lease = await ledger.acquire(random(2) ? 'libraries' : 'jobs', 1, { holder: 'waiting' }, 60_000)
        served += 1
        held.push(lease)
      } else {
        const lease = ledger.tryAcquire(name, count, { holder: 'trying' }, true)
        if (lease) held.push(lease)
      }
      const { used, ceiling } = ledger.use(name)
      if (used > ceiling || used < 0) parentPort.postMessage('wrong: ' + name + ' ' + used + ' of ' + ceiling)
    }
    for (const lease of held.splice(0)) lease.release()
    parentPort.postMessage({ served })
  })`

function thread(ledger: Ledger, number: number, rounds: number): Worker {
  const module = new URL('../../src/descriptors/ledger.js', import.meta.url).href
  return new Worker(THREAD, { eval: true, workerData: { module, shared: ledger.shared, thread: number, rounds } })
}

test.serial(
  'four threads at once never hold more than there is, all who wait are served, and nothing is left over',
  async (t) => {
    const ledger = Ledger.create(planOf(90))
    const said: unknown[] = []
    const done = [1, 2, 3, 4].map((number) => {
      const worker = thread(ledger, number, 20_000)
      worker.on('message', (message) => said.push(message))
      return new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
    })
    await Promise.all(done)
    t.deepEqual(
      said.filter((each) => typeof each === 'string' && each !== 'begun'),
      [],
    )
    t.is(said.filter((each) => typeof each === 'object').length, 4)
    t.is(ledger.totals().used, 0)
    t.deepEqual(wrong(ledger), [])
  },
)

test.serial('threads terminated at any moment leave a ledger that is whole again after one look', async (t) => {
  const ledger = Ledger.create(planOf(90))
  for (let round = 0; round < 12; round++) {
    const worker = thread(ledger, 1, 1e9)
    await new Promise((resolve) => worker.once('message', resolve))
    await sleep(5 + ((round * 7) % 30))
    await worker.terminate()
    ledger.reclaim(1)
    ledger.heal()
    t.is(ledger.totals().used, 0, `round ${round}`)
    t.deepEqual(wrong(ledger), [], `round ${round}`)
  }
})

test('sums that a thread left wrong are mended, but not while another thread is halfway through a step', (t) => {
  const ledger = Ledger.create(planOf(200))
  const other = new Ledger(ledger.shared, 3)
  const words = new Int32Array(ledger.shared)
  const found = (value: number) => words.indexOf(value)
  const { pot } = ledger.totals()
  words[found(pot)]! -= 5
  t.true(ledger.take('clients', 1))
  t.true(other.take('libraries', 30))
  t.true(ledger.heal())
  t.deepEqual(wrong(ledger), [])
  t.false(ledger.heal(), 'once')
  // A thread that was ended after it had taken, and before its column said so.
  const used = words.findIndex((value, at) => at > 16 && value === 30)
  words[used]! += 4
  const halfway = words.length - 256 * 32 + 3 * 32 + 10
  words[halfway]! += 1
  t.false(ledger.heal())
  t.is(ledger.use('libraries').used, 34)
  t.is(ledger.reclaim(3), 30)
  t.true(ledger.heal())
  t.is(ledger.use('libraries').used, 0)
  t.is(ledger.totals().used, 1)
  t.deepEqual(wrong(ledger), [])
})

test('a thread that died before it took back its ticket keeps nobody from being served', (t) => {
  const ledger = Ledger.create(planOf(200))
  const words = new Int32Array(ledger.shared)
  t.true(ledger.take('libraries', 30))
  const used = words.findIndex((value, at) => at > 16 && value === 30)
  ledger.give('libraries', 30)
  const starving = used + 7
  words[starving]! += 1
  t.is(ledger.tryAcquire('libraries', 1, { holder: 'test' }), null)
  t.true(ledger.heal())
  t.is(words[starving], 0)
  t.is(ledger.tryAcquire('libraries', 1, { holder: 'test' })?.count, 1)
})

test.serial('a wish for room reaches every thread that listens, and ends with its signal', async (t) => {
  const ledger = Ledger.create(planOf(200))
  const abort = new AbortController()
  let heard = 0
  const ended = ledger.onWanted(() => (heard += 1), abort.signal)
  await sleep(20)
  new Ledger(ledger.shared, 3).want()
  await eventually('it is heard', 20_000, () => heard > 0)
  await sleep(50)
  t.is(heard, 1)
  abort.abort()
  ledger.want()
  await ended
  t.is(heard, 1)
})

test('a thread that holds a job does not wait for a library, and nobody waits for what is taken at once or not at all', async (t) => {
  const ledger = Ledger.create(planOf(200))
  const { ceiling, floor } = ledger.use('libraries')
  const other = new Ledger(ledger.shared, 2)
  const all = other.tryAcquire('libraries', ceiling, BY)!
  const job = ledger.tryAcquire('jobs', 2, BY)!
  await t.throwsAsync(ledger.acquire('libraries', 1, BY, 50), { name: 'AssertionError' })
  job.release()
  await t.throwsAsync(ledger.acquire('libraries', 1, BY, 20), { code: 'BUDGET_EXHAUSTED' })
  all.release()
  const library = ledger.tryAcquire('libraries', floor, BY)!
  const jobs = other.tryAcquire('jobs', ledger.use('jobs').ceiling, BY)!
  await t.throwsAsync(ledger.acquire('jobs', ledger.use('jobs').floor + 1, BY, 20), { name: 'AssertionError' })
  await t.throwsAsync(ledger.acquire('jobs', ledger.use('jobs').floor, BY, 20), { code: 'BUDGET_EXHAUSTED' })
  for (const lease of [library, jobs]) lease.release()
  const clients = other.tryAcquire('clients', ledger.use('clients').ceiling, BY)
  if (!clients) other.take('clients', ledger.totals().pot)
  await t.throwsAsync(ledger.acquire('clients', ledger.use('clients').ceiling, BY, 20), { name: 'AssertionError' })
})

test('a lease that is split is two, and both come back', (t) => {
  const ledger = Ledger.create(planOf(200))
  const lease = ledger.tryAcquire('libraries', 5, { holder: 'both' })!
  const part = lease.split(1)
  t.deepEqual([lease.count, part.count], [4, 1])
  t.deepEqual(
    ledger.held().map(({ holder, count }) => [holder, count]),
    [
      ['both', 4],
      ['both', 1],
    ],
  )
  t.throws(() => part.split(1))
  lease.release()
  t.is(ledger.use('libraries').used, 1)
  part.release()
  t.is(ledger.use('libraries').used, 0)
})

/** Programs in a thread of their own, one after the other: wait for what a step needs, do something else, go on, give all back. */
const PROGRAMS = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { setTimeout: sleep } = require('node:timers/promises')
  import(workerData.module).then(({ Ledger }) => {
    parentPort.on('message', async ({ shared, programs }) => {
      const ledger = new Ledger(shared, workerData.thread)
      const failed = []
      for (const { steps, pause } of programs) {
        const held = []
        try {
          for (const [name, count] of steps) {
            held.push(await ledger.acquire(name, count, { holder: 'program' }, workerData.waitMs))
            await sleep(pause)
          }
        } catch (error) {
          failed.push(error.message)
        }
        for (const lease of held) lease.release()
      }
      parentPort.postMessage(failed)
    })
  })`

interface Program {
  /** Class and count, in the order in which they may be waited for. */
  readonly steps: readonly (readonly ['libraries' | 'jobs', number])[]
  readonly pause: number
}

/** Runs each list in its thread; what failed there. */
class Threads {
  readonly #workers: readonly Worker[]

  constructor(count: number, waitMs: number) {
    const module = new URL('../../src/descriptors/ledger.js', import.meta.url).href
    const worker = (thread: number) => new Worker(PROGRAMS, { eval: true, workerData: { module, thread, waitMs } })
    this.#workers = Array.from({ length: count }, (_, at) => worker(at + 1))
    for (const each of this.#workers) each.setMaxListeners(0)
  }

  async run(ledger: Ledger, programs: readonly (readonly Program[])[]): Promise<string[]> {
    const told = this.#workers.map((worker, at) => {
      worker.postMessage({ shared: ledger.shared, programs: programs[at] ?? [] })
      return new Promise<string[]>((resolve, reject) => worker.once('message', resolve).once('error', reject))
    })
    return (await Promise.all(told)).flat()
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}

test.serial('whatever four threads ask for in the order of the classes, all of it is had in the end', async (t) => {
  const threads = new Threads(4, 60_000)
  const share = fc.double({ min: 0.01, max: 1, noNaN: true })
  const programs = fc.array(fc.record({ first: share, second: share, kind: fc.nat(2), pause: fc.nat(2) }), {
    maxLength: 12,
  })
  const holds = fc.asyncProperty(
    fc.integer({ min: 60, max: 300 }),
    fc.array(programs, { minLength: 4, maxLength: 4 }),
    async (soft, lists) => {
      const ledger = Ledger.create(planOf(soft))
      const of = (share: number, most: number) => Math.max(1, Math.floor(share * most))
      const [libraries, jobs] = [ledger.use('libraries'), ledger.use('jobs')]
      const steps = ({ first, second, kind }: { first: number; second: number; kind: number }): Program['steps'] => {
        if (kind === 0) return [['libraries', of(first, libraries.ceiling)]]
        if (kind === 1) return [['jobs', of(first, jobs.ceiling)]]
        return [
          ['libraries', of(first, libraries.ceiling)],
          ['jobs', of(second, jobs.floor)],
        ]
      }
      const planned = lists.map((list) => list.map((each) => ({ steps: steps(each), pause: each.pause })))
      t.deepEqual(await threads.run(ledger, planned), [])
      t.is(ledger.totals().used, 0)
      t.deepEqual(wrong(ledger), [])
    },
  )
  await fc.assert(holds, { numRuns: 25 })
  await threads.end()
})

test('one that wants all that is guaranteed is not starved by others that always hold a little', async (t) => {
  const ledger = Ledger.create(planOf(100))
  const other = new Ledger(ledger.shared, 1)
  const { floor } = ledger.use('jobs')
  // Nothing to lend: the floor is all there is, and the other thread has a new lease before it returns the last.
  ledger.take('clients', ledger.use('clients').floor + ledger.totals().pot)
  let chain = other.tryAcquire('jobs', 1, BY)!
  const began = performance.now()
  const big = ledger.acquire('jobs', floor, BY, 60_000)
  const further = () => other.tryAcquire('jobs', 1, BY, true)
  let rounds = 0
  for (let next = further(); next && rounds < 2_000; next = further(), rounds++) {
    chain.release()
    chain = next
    await sleep(1)
  }
  t.true(rounds > 0 && rounds < 2_000, `refused after ${rounds} rounds`)
  t.true(performance.now() - began >= LIMITS.leaseOvertakenMs, 'it is overtaken for a while')
  const behind = other.acquire('jobs', 1, BY, 60_000)
  chain.release()
  const lease = await big
  t.is(ledger.use('jobs').used, floor)
  lease.release()
  ;(await behind).release()
  t.deepEqual(wrong(ledger), [])
})

test('the classes of a plan are those of the protocol', (t) => {
  t.deepEqual(Object.keys(planOf(200).classes).sort(), [...CLASSES].sort() as DescriptorClass[])
})

test('a lease remembers who took it when that is asked for, and else nothing', (t) => {
  const ledger = Ledger.create(plan({ soft: 2_000, base: 0, connectionsMax: 'auto' }))
  using before = ledger.tryAcquire('jobs', 1, { holder: 'before' })!
  t.is(before.where(), null)
  const other = new Ledger(ledger.shared, 1)
  ledger.trace()
  using after = whoTakesThis(other)
  t.regex(after.where()![0]!, /^whoTakesThis \(.*ledger\.test\.js:\d+/)
  t.deepEqual(other.held()[0]!.where, after.where()!)
  t.is(ledger.held()[0]!.where, undefined)
})

function whoTakesThis(ledger: Ledger) {
  return ledger.tryAcquire('jobs', 1, { holder: 'after' })!
}
