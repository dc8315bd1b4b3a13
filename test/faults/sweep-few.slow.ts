// A few N of the exhaustion sweep, where most of its faults were found. `sweep.slow.ts` takes a spread, `bench/sweep.mjs` every one.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { whyNoNth } from '../harness/nth.js'
import { play } from '../harness/scene.js'
import { clients, libraries } from '../harness/sweep-scenarios.js'
import { Stage, sweep, tally } from '../harness/sweep.js'

const missing = whyNoNth()
if (missing) console.log(`not run: single descriptors that fail: ${missing}`)

test.serial(
  'with N descriptors left, and with the Nth failing alone, clients are served or refused and nothing is lost',
  async (t) => {
    await play(async (scene) => {
      const stage = await Stage.open(scene, (await kinds())[0]!, missing ? 'limit to the end' : 'single shot', 3)
      const cut = tally(await sweep(stage, libraries, 'limit to the end', { ns: [0, 1, 4] }))
      const crowd = tally(await sweep(stage, clients, 'limit to the middle', { ns: [5] }))
      // The lock, and library.json written anew: of an open and of a rename, those that were not asked for again.
      const shots = missing ? null : tally(await sweep(stage, libraries, 'single shot', { ns: [2, 8] }))
      t.deepEqual([...cut.problems, ...crowd.problems, ...(shots?.problems ?? [])], [])
      t.true(cut.swept >= 2, 'with four left it may be through before they are gone')
      t.true(cut.said.has('BUDGET_EXHAUSTED'), 'the cuts were felt')
      t.is(shots?.swept ?? 2, 2)
      await stage.close()
    })
  },
)
