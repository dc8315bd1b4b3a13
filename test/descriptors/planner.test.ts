// How descriptors are divided, for every limit a machine may have.
import test from 'ava'
import fc from 'fast-check'
import type { SpacedriveError } from '../../src/base/errors.js'
import { plan, type Plan } from '../../src/descriptors/planner.js'
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
