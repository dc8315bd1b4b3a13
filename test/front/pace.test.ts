// How often the loop turns in a crowd, by turns of the loop of this process.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Pace } from '../../src/front/pace.js'

/** Of the loop, until it is over. */
async function turnsUntil(isOver: () => boolean): Promise<number> {
  let turns = 0
  for (; !isOver(); turns++) await new Promise((resolve) => setImmediate(resolve))
  return turns
}

test.serial('in a crowd the loop rests between its turns, and goes on as ever when the crowd has gone', async (t) => {
  const since = performance.now()
  const lasts = () => performance.now() - since < 100 * LIMITS.crowdTurnMs
  const pace = new Pace(lasts)
  pace.keep()
  pace.keep()
  const turns = await turnsUntil(() => !lasts())
  t.true(turns > 1)
  t.true(turns <= 102, `${turns} turns`)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.false(process.getActiveResourcesInfo().includes('Immediate'))
})

test.serial('one that is stopped rests no more, crowd or not', async (t) => {
  const pace = new Pace(() => true)
  pace.keep()
  await turnsUntil(() => true)
  pace.stop()
  pace.keep()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.false(process.getActiveResourcesInfo().includes('Immediate'))
})
