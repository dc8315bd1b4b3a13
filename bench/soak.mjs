// A daemon at nine tenths of its budget while random things go wrong, with a rest every half minute: do descriptors or memory
// creep, does a level stick, is anything lost? usage: node bench/soak.mjs [SECONDS [SEED]]
import { play } from '../dist/test/harness/scene.js'
import { perMinute, soak } from '../dist/test/harness/soak.js'

const [seconds = 300, seed = 1] = process.argv.slice(2).map(Number)
const STORM_MS = 25_000
/** A rest takes about so long. */
const REST_MS = 5_000
const GOAL_MB = 1

await play(async (scene) => {
  const cycles = Math.max(2, Math.round((seconds * 1000) / (STORM_MS + REST_MS)))
  const soaked = await soak(scene, { cycles, stormMs: STORM_MS, seed, tell: (line) => console.log(line) })
  const { rests, lentMean, lentMost, openMost, faults, outcomes, problems } = soaked
  const first = rests[0].descriptors.join()
  const same = rests.every(({ descriptors }) => descriptors.join() === first)
  const resident = perMinute(rests, (rest) => rest.residentBytes / 1e6)
  const heap = perMinute(rests, (rest) => rest.heapBytes / 1e6)
  const malloced = perMinute(rests, (rest) => rest.mallocBytes / 1e6)
  const settled = rests.slice(Math.floor(rests.length / 3))
  const spread = Math.max(...settled.map((r) => r.residentBytes)) - Math.min(...settled.map((r) => r.residentBytes))
  console.log(`soak          ${rests.at(-1).seconds.toFixed(0)} s, ${cycles} cycles, seed ${seed}`)
  console.log(`lent          ${(100 * lentMean).toFixed(0)} % of the budget, at most ${(100 * lentMost).toFixed(0)} %`)
  console.log(`open          at most ${openMost} of 256`)
  console.log(
    `descriptors   ${rests[0].descriptors.length} at each rest: ${same ? 'the very same' : rests.map((r) => r.descriptors.length).join()}`,
  )
  if (!same) console.log(`more          ${more(rests[0].descriptors, rests.at(-1).descriptors).join()}`)
  console.log(`slope         ${perMinute(rests, (rest) => rest.descriptors.length)} descriptors a minute`)
  console.log(
    `memory held   ${(heap + malloced).toFixed(2)} MB a minute: heaps ${heap.toFixed(2)}, malloc ${malloced.toFixed(2)}`,
  )
  console.log(
    `resident      ${resident.toFixed(2)} MB a minute, within ${(spread / 1e6).toFixed(1)} MB: with it what V8 and malloc keep for later`,
  )
  console.log(
    `faults        ${Object.entries(faults)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')}`,
  )
  console.log(`outcomes      ${JSON.stringify(outcomes)}`)
  console.log(`problems      ${problems.length} ${problems.slice(0, 3).join(' | ')}`)
  process.exitCode = same && problems.length === 0 && heap + malloced < GOAL_MB ? 0 : 1
})

/** What is there in the end and was not in the beginning. */
function more(before, after) {
  const left = [...before]
  return after.filter((target) => {
    const at = left.indexOf(target)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}
