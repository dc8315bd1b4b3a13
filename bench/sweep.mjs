// The exhaustion sweep: over whole scenarios the Nth descriptor from the start fails, for every N until none fails.
// usage: node bench/sweep.mjs [SCENARIO... [uws|node]]   scenarios: boot fronts libraries tree tags clients
// `fronts` is a boot with two fronts in threads of their own.
import { kinds } from '../dist/test/front/stage.js'
import { play } from '../dist/test/harness/scene.js'
import { Boots, SHELL_FLOOR, tallyBoots } from '../dist/test/harness/sweep-boot.js'
import { clients, libraries, tags, tree } from '../dist/test/harness/sweep-scenarios.js'
import { Stage, sweep, tally, WAYS } from '../dist/test/harness/sweep.js'

const SCENARIOS = { libraries, tree, tags, clients }
const words = process.argv.slice(2)
const fronts = (await kinds()).filter(
  (front) => !words.some((word) => /^(uws|node)$/.test(word)) || words.includes(front),
)
const wanted = ['boot', 'fronts', ...Object.keys(SCENARIOS)].filter(
  (name) => !words.some((word) => !/^(uws|node)$/.test(word)) || words.includes(name),
)
const told = process.env.EACH
  ? (run) => console.log(JSON.stringify({ ...run, said: run.said && [...run.said] }))
  : undefined

let bad = 0
for (const name of wanted) {
  for (const front of fronts) {
    if (name === 'boot' || name === 'fronts')
      for (const way of ['limit', 'single shot']) await sweepBoot(name, front, way)
    else for (const way of WAYS) await sweepScenario(SCENARIOS[name], front, way)
  }
}
process.exitCode = bad > 0 ? 1 : 0

async function sweepBoot(name, front, way) {
  await play(async (scene) => {
    const boots = await Boots.open(scene, front, way, name === 'fronts' ? 2 : 1)
    const { swept, outcomes, problems } = tallyBoots(
      await boots.sweep(counting(way === 'limit' ? SHELL_FLOOR : 1), told),
    )
    say(name, front, way, `${swept} N`, list(outcomes), problems)
  })
}

async function sweepScenario(scenario, front, way) {
  await play(async (scene) => {
    const stage = await Stage.open(scene, front, way)
    const sum = tally(await sweep(stage, scenario, way, told ? { told } : {}))
    await stage.close()
    say(scenario.name, front, way, `${sum.swept} N, in ${sum.hidden} nobody noticed`, list(sum.said), sum.problems)
  })
}

function say(name, front, way, counts, kinds, problems) {
  console.log(`${name} | ${front} | ${way} | ${counts} | ${kinds} | problems ${problems.length}`)
  for (const problem of problems) console.log(`  ${problem}`)
  bad += problems.length
}

function list(counts) {
  return [...counts].map(([what, count]) => `${what} ${count}`).join(', ') || 'nothing said'
}

function* counting(first) {
  for (let n = first; ; n++) yield n
}
