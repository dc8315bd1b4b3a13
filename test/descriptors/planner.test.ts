// How descriptors are divided, for every limit a machine may have.
import test from 'ava'
import fc from 'fast-check'
import type { SpacedriveError } from '../../src/base/errors.js'
import { baseItems, holds, plan, planFor, squeeze, type Plan } from '../../src/descriptors/planner.js'
import { ELEVATED_AT } from '../../src/descriptors/pressure.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { CLASSES } from '../../src/protocol/messages.js'

const BASE = 27

function planned(soft: number, base = BASE, connectionsMax: number | 'auto' = 'auto'): Plan | null {
  try {
    return plan({ soft, base, connectionsMax })
  } catch (error) {
    if ((error as SpacedriveError).code === 'LIMIT_TOO_LOW') return null
    throw error
  }
}

function floorsOf({ classes }: Plan): number {
  return CLASSES.reduce((sum, name) => sum + classes[name].floor, 0)
}

test('for every limit from 40 on, floors fit the budget and ceilings lie between floor and budget, or the limit is too low', (t) => {
  for (const soft of limits()) {
    const made = planned(soft)
    if (!made) continue
    if (made.base + made.reserve + made.budget !== soft) t.fail(`${soft}: base, reserve and budget are not the limit`)
    if (floorsOf(made) > made.budget) t.fail(`${soft}: the floors are more than the budget`)
    for (const name of CLASSES) {
      const { floor, ceiling } = made.classes[name]
      const fits = floor >= 1 && floor <= ceiling && ceiling <= floor + made.budget - floorsOf(made)
      if (!fits || !Number.isInteger(ceiling)) t.fail(`${soft}: ${name} ${floor} to ${ceiling}`)
    }
    if (made.classes.libraries.floor < PRICES.library) t.fail(`${soft}: no library fits`)
    if (made.classes.jobs.ceiling < PRICES.taskThread + PRICES.directory) t.fail(`${soft}: no job fits`)
  }
  t.pass()
})

test('more is never less: once a limit is enough, each higher one is, and budget and floors only grow', (t) => {
  let before: Plan | null = null
  for (const soft of limits()) {
    const made = planned(soft)
    if (before && !made) t.fail(`${soft} is too low, and less was enough`)
    if (before && made) {
      if (made.budget < before.budget) t.fail(`${soft}: a smaller budget`)
      for (const name of CLASSES) if (made.classes[name].floor < before.classes[name].floor) t.fail(`${soft}: ${name}`)
    }
    before = made ?? before
  }
  t.truthy(before)
})

function* limits(): Generator<number> {
  for (let soft = 40; soft <= 20_000; soft++) yield soft
  yield 65_536
  yield 1_000_000
  yield 1_048_576
}

test('a limit of 64 is enough for a boot, and 24 is LIMIT_TOO_LOW with the number that is needed', (t) => {
  t.truthy(planned(64))
  const error = t.throws(() => plan({ soft: 24, base: BASE, connectionsMax: 'auto' }), { code: 'LIMIT_TOO_LOW' })
  t.regex(error!.message, /\d+ are needed/)
  const needed = Number(/(\d+) are needed/.exec(error!.message)![1])
  t.truthy(planned(needed))
})

test('clients asked for are admitted as far as the budget goes, and never fewer than the floor', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 64, max: 20_000 }), fc.integer({ min: 1, max: 30_000 }), (soft, most) => {
      const made = planned(soft, BASE, most)
      if (!made) return
      const { floor, ceiling } = made.classes.clients
      t.true(ceiling <= Math.max(floor, most))
      t.true(ceiling >= Math.min(most, floor))
    }),
  )
})

const limit = fc.oneof(fc.integer({ min: 56, max: 2_000 }), fc.integer({ min: 56, max: 1_048_576 }))
const base = baseItems({ runtime: 19, sights: 3, shards: 2, listeners: 2, native: true })
const deployment = fc.record({
  libraries: fc.integer({ min: 0, max: 20_000 }),
  clients: fc.integer({ min: 0, max: 100_000 }),
  readers: fc.integer({ min: 0, max: 4 }),
  jobs: fc.integer({ min: 0, max: 64 }),
})

test('for all limits from 56 to 1,048,576 and all bases, what is divided is the limit, and no class gets what is not there', (t) => {
  fc.assert(
    fc.property(limit, fc.integer({ min: 10, max: 500 }), (soft, held) => {
      const made = planned(soft, held)
      if (!made) return
      t.is(made.base + made.reserve + made.budget, soft)
      t.true(floorsOf(made) <= made.budget)
      for (const name of CLASSES) t.true(made.classes[name].ceiling <= made.budget)
    }),
  )
})

test('what a deployment needs adds up, holds it below pressure, and one descriptor less does not', (t) => {
  fc.assert(
    fc.property(deployment, (wanted) => {
      const { total, items, plan: made } = planFor(wanted, base)
      t.is(
        items.reduce((sum, { descriptors }) => sum + descriptors, 0),
        total,
      )
      t.true(items.every(({ each, count, descriptors }) => each * count === descriptors && descriptors >= 0))
      t.is(made.base + made.reserve + made.budget, total)
      t.true(holds(total, base, wanted))
      t.false(holds(total - 1, base, wanted), `${total}`)
      const libraries = wanted.libraries * (PRICES.library + wanted.readers * PRICES.connection)
      const jobs = wanted.jobs * (PRICES.taskThread + PRICES.threadStart)
      t.true(made.classes.libraries.ceiling >= libraries)
      t.true(made.classes.clients.ceiling >= wanted.clients)
      t.true(made.classes.jobs.ceiling >= jobs)
      t.true((libraries + wanted.clients + jobs) / made.budget < ELEVATED_AT)
    }),
  )
})

test('dearer threads and libraries need more', (t) => {
  const wanted = { libraries: 100, clients: 1000, readers: 1, jobs: 2 }
  const dear = { ...PRICES, taskThread: PRICES.taskThread + 1, library: PRICES.library + 1 }
  const cheap = planFor(wanted, base)
  t.true(cheap.total > 1_000)
  t.true(planFor(wanted, base, dear).total >= cheap.total + 102)
})

test('more than any limit may be is LIMIT_TOO_LOW', (t) => {
  const wanted = { libraries: 0, clients: 1_000_000, readers: 0, jobs: 0 }
  t.throws(() => planFor(wanted, base), { code: 'LIMIT_TOO_LOW' })
})

test('a cut to anything can be divided: floors fit, the doctor is served first, and nothing is below zero', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 10, max: 500 }), (soft, held) => {
      const made = squeeze({ soft, base: held, connectionsMax: 'auto' })
      t.true(made.budget >= 1 && made.reserve >= 0)
      t.true(floorsOf(made) <= made.budget)
      t.is(made.classes.control.ceiling, Math.min(4, made.budget))
    }),
  )
})
