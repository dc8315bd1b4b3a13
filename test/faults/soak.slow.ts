// A short soak of what bench/soak.mjs does for five minutes: nine tenths of the budget, random faults, and nothing creeps.
import test from 'ava'
import { play } from '../harness/scene.js'
import { shimProblem } from '../harness/shim.js'
import { perMinute, soak } from '../harness/soak.js'

const problem = shimProblem()
if (problem) console.log(`not run: scenario 52, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

shimmed(
  'scenario 52: at nine tenths of the budget, while random things fail, nothing creeps, sticks or is lost',
  async (t) => {
    await play(async (scene) => {
      const soaked = await soak(scene, { cycles: 2, stormMs: 7_000, faultsMin: 3, seed: 52 })
      const [before, ...rests] = soaked.rests.map(({ descriptors }) => descriptors)
      for (const descriptors of rests) t.deepEqual(descriptors, before)
      t.is(
        perMinute(soaked.rests, ({ descriptors }) => descriptors.length),
        0,
      )
      t.deepEqual(soaked.problems, [])
      t.true(soaked.lentMean > 0.75, `${soaked.lentMean} of the budget was lent`)
      t.true(soaked.openMost <= 256)
      t.true((soaked.outcomes['answered'] ?? 0) > 1_000)
      t.log(`${soaked.lentMean} of the budget was lent`)
      t.log(JSON.stringify({ faults: soaked.faults, outcomes: soaked.outcomes }))
    })
  },
)
