// What presses beside descriptors: the level each comes to, that a moment is none, and that none of them sticks.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Pulse } from '../../src/base/pulse.js'
import { Causes } from '../../src/descriptors/causes.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { jobHeldUp } from '../../src/descriptors/pressure.js'
import type { Cause, Level } from '../../src/protocol/messages.js'

const LEVELS: readonly Level[] = ['normal', 'elevated', 'high', 'critical']
const LOOKS = LIMITS.pressureStandsLooks
const WAIT_MS = LIMITS.jobPressureWaitMs

class Yard {
  readonly ledger = Ledger.create(plan({ soft: 2_000, base: 0, connectionsMax: 'auto' }))
  used = 0
  heap = 0
  lateMs = 0
  waitedMs = 0
  crowded = false
  readonly causes = new Causes(this.ledger, {
    memory: () => ({ used: this.used, most: 1_000 << 20, of: 'control group' }),
    heaps: () => [{ thread: 'shard 1', share: this.heap }],
    lateMs: () => this.lateMs,
    waitedMs: () => this.waitedMs,
    isCrowded: () => this.crowded,
  })

  looks(cause: Cause, count: number = LOOKS): Level {
    for (let at = 0; at < count; at++) this.causes.check()
    return this.causes.level(cause)
  }
}

test('memory is entered at its share and left ten points below, at each look anew', (t) => {
  const yard = new Yard()
  const at = (megabytes: number) => {
    yard.used = megabytes << 20
    return yard.looks('memory', 1)
  }
  t.deepEqual([500, 710, 650, 860, 760, 740, 960, 860, 840, 590].map(at), [
    'normal',
    'elevated',
    'elevated',
    'high',
    'high',
    'elevated',
    'critical',
    'critical',
    'elevated',
    'normal',
  ])
})

test('a change is told once, with its reason, and every thread sees it', (t) => {
  const yard = new Yard()
  const elsewhere = new Ledger(yard.ledger.shared, 1)
  t.deepEqual(yard.causes.check(), [])
  t.false(elsewhere.isPressed)
  yard.used = 900 << 20
  const [change, ...more] = yard.causes.check()
  t.is(more.length, 0)
  t.like(change, { cause: 'memory', level: 'high', before: 'normal' })
  t.is(change!.reason, '900 of the 1000 MB of memory of the control group are in use')
  t.deepEqual(yard.causes.check(), [])
  t.true(elsewhere.isPressed)
  t.deepEqual(elsewhere.causes, { memory: 'high', loop: 'normal', queue: 'normal' })
  yard.used = 0
  t.like(yard.causes.check()[0], { cause: 'memory', level: 'normal', before: 'high' })
  t.false(elsewhere.isPressed)
})

test('the fullest of memory and heaps is what counts, and is named', (t) => {
  const yard = new Yard()
  yard.heap = 0.9
  t.is(yard.looks('memory', 1), 'high')
  t.is(yard.causes.states.memory.reason, '90 % of the heap of shard 1 is in use')
})

test('a loop that is late at every look of a second presses, one that was late for a moment does not', (t) => {
  const yard = new Yard()
  yard.lateMs = 5_000
  t.is(yard.looks('loop', LOOKS - 1), 'normal')
  yard.lateMs = 0
  t.is(yard.looks('loop', LOOKS), 'normal')
  for (const [at, level] of ['elevated', 'high', 'critical'].entries()) {
    yard.lateMs = LIMITS.loopLateMs[at]!
    t.is(yard.looks('loop'), level as Level)
  }
  yard.lateMs = 0
  t.is(yard.looks('loop', 1), 'normal', 'the first look that finds it in time ends it')
})

test('who waits for a shard presses the same way, and a crowd that stays is critical', (t) => {
  const yard = new Yard()
  yard.waitedMs = LIMITS.queueWaitedMs[1]
  t.is(yard.looks('queue'), 'high')
  yard.waitedMs = 20
  t.is(yard.looks('queue', 1), 'normal')
  yard.crowded = true
  t.is(yard.looks('queue', LOOKS - 1), 'normal')
  t.is(yard.looks('queue', 1), 'critical')
  t.is(yard.causes.states.queue.reason, 'more is asked of a shard than it can do')
  yard.crowded = false
  t.is(yard.looks('queue', 1), 'normal')
})

test('no level sticks: from whatever there was, a second without a cause is normal', (t) => {
  for (const level of LEVELS) {
    const yard = new Yard()
    yard.used = (LEVELS.indexOf(level) * 330) << 20
    yard.lateMs = yard.waitedMs = LEVELS.indexOf(level) * 1_000
    yard.crowded = level === 'critical'
    yard.looks('loop', 20)
    yard.used = yard.lateMs = yard.waitedMs = 0
    yard.crowded = false
    yard.looks('loop', LOOKS)
    t.deepEqual(yard.ledger.causes, { memory: 'normal', loop: 'normal', queue: 'normal' }, level)
  }
})

test('a job waits where anything presses hard: for what is late a minute at most, for memory until it is there', (t) => {
  const { ledger } = new Yard()
  const calm = { memory: 'normal', loop: 'normal', queue: 'normal' } as const
  t.is(jobHeldUp(ledger, 0), null)
  for (const cause of ['memory', 'loop', 'queue'] as const) {
    ledger.causes = { ...calm, [cause]: 'elevated' }
    t.is(jobHeldUp(ledger, 0), null)
    ledger.causes = { ...calm, [cause]: 'high' }
    t.is(jobHeldUp(ledger, 0)?.code, 'OVERLOADED')
    t.is(jobHeldUp(ledger, WAIT_MS), null)
    ledger.causes = { ...calm, [cause]: 'critical' }
    t.is(jobHeldUp(ledger, WAIT_MS)?.code, cause === 'memory' ? 'OVERLOADED' : undefined)
  }
  ledger.level = 'high'
  t.is(jobHeldUp(ledger, 0)?.code, 'BUDGET_EXHAUSTED', 'what it takes most of is said first')
})

test('a timer that was late once says nothing of the loop, all of them do', async (t) => {
  const pulse = new Pulse()
  pulse.start()
  t.teardown(() => pulse.stop())
  const nothing = new Int32Array(new SharedArrayBuffer(4))
  const hold = (ms: number) => Atomics.wait(nothing, 0, 0, ms)
  const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
  hold(300)
  for (let at = 0; at < 200; at++) await turn()
  t.true(pulse.takeLeastMs() < 250, 'some of these came sooner than after the one stall')
  // Each of them is due long before it can come.
  for (let at = 0; at < 4; at++) {
    await turn()
    hold(300)
  }
  await turn()
  t.true(pulse.takeLeastMs() >= 200)
})
