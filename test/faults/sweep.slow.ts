// A spread of N of the exhaustion sweep over its scenarios; `bench/sweep.mjs` takes every one.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { whyNoNth } from '../harness/nth.js'
import { play } from '../harness/scene.js'
import { Boots, SHELL_FLOOR, tallyBoots } from '../harness/sweep-boot.js'
import { clients, libraries, tags, tree } from '../harness/sweep-scenarios.js'
import { Stage, sweep, tally, type Scenario, type Way } from '../harness/sweep.js'

const missing = whyNoNth()
if (missing) console.log(`not run: single descriptors that fail: ${missing}`)

const LIMITS_N: readonly [Scenario, Way, readonly number[]][] = [
  [clients, 'limit to the end', [0, 3, 20, 90]],
  [clients, 'limit to the middle', [8]],
  [libraries, 'limit to the end', [0, 5, 30]],
  [libraries, 'limit to the middle', [3]],
  [tree, 'limit to the end', [6]],
  [tags, 'limit to the end', [1, 6]],
  [tags, 'limit to the middle', [2]],
]
const SHOTS_N: readonly [Scenario, readonly number[]][] = [
  [clients, [1, 40, 110]],
  [libraries, [2, 5, 19, 101]],
  [tree, [13, 45]],
  [tags, [3, 30]],
]
/** Of Node's own start, of the program's files, of what the boot opens, of its threads. */
const BOOTS_N = [13, 31, 60, 235, 290, 380, 520, 640]

for (const [at, front] of (await kinds()).entries()) {
  test.serial(`${front}: whole scenarios whose descriptors end at N, or whose Nth fails, lose nothing`, async (t) => {
    await play(async (scene) => {
      const stage = await Stage.open(scene, front, missing ? 'limit to the end' : 'single shot')
      // Only the crowd meets another front than before.
      const ofFront = <Row extends readonly unknown[]>(rows: readonly Row[]) =>
        rows.filter(([each]) => at === 0 || each === clients)
      for (const [scenario, way, ns] of ofFront(LIMITS_N)) {
        const { problems } = tally(await sweep(stage, scenario, way, { ns }))
        t.deepEqual(problems, [], `${scenario.name}, ${way}`)
      }
      for (const [scenario, ns] of missing ? [] : ofFront(SHOTS_N)) {
        const { swept, problems } = tally(await sweep(stage, scenario, 'single shot', { ns }))
        t.deepEqual(problems, [], scenario.name)
        t.is(swept, ns.length, scenario.name)
      }
      await stage.close()
    })
  })
}

test.serial('a boot under any limit serves, or is refused in one sentence with 78', async (t) => {
  await play(async (scene) => {
    const boots = await Boots.open(scene, (await kinds())[0]!, 'limit')
    const { problems } = tallyBoots(await boots.sweep([SHELL_FLOOR, 13, 24, 39, 47, 55, 56]))
    t.deepEqual(problems, [])
  })
})

if (!missing)
  test.serial('a boot whose Nth descriptor fails serves, or says in one sentence to try again', async (t) => {
    await play(async (scene) => {
      const boots = await Boots.open(scene, (await kinds())[0]!, 'single shot')
      const { problems, outcomes } = tallyBoots(await boots.sweep(BOOTS_N))
      t.deepEqual(problems, [])
      t.true((outcomes.get('served') ?? 0) > 0)
    })
  })
