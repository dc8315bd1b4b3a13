// 2,000 libraries at a limit of 512, created, written and read in random order by 16 clients.
// usage: node bench/libraries.mjs [COUNT [LIMIT [STEPS]]]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mostDescriptors, quantile } from '../dist/test/harness/load.js'
import { manyLibraries } from '../dist/test/harness/many.js'
import { play } from '../dist/test/harness/scene.js'

const [count = 2_000, limit = 512, steps = 8_000] = process.argv.slice(2).map(Number)

await play(async (scene) => {
  const daemon = await scene.daemon({ limit: `${limit}:${limit}` })
  const root = scene.path('tiny')
  mkdirSync(root)
  for (const name of ['one', 'two', 'three']) writeFileSync(join(root, name), name)
  const begun = performance.now()
  let seen
  const most = await mostDescriptors(daemon, async () => {
    seen = await manyLibraries(daemon, { count, clients: 16, steps, root })
  })
  const seconds = (performance.now() - begun) / 1000
  console.log(`libraries    ${count} made, ${seen.written} read back as last written, at most ${seen.openMost} open`)
  console.log(`descriptors  at most ${most} of ${limit}`)
  console.log(
    `answers      ${seen.latenciesMs.length} in ${seconds.toFixed(1)} s, p50 ${ms(seen, 0.5)}, p99 ${ms(seen, 0.99)}, worst ${ms(seen, 1)}`,
  )
  console.log(`problems     ${seen.problems.length} ${seen.problems.slice(0, 3).join(' | ')}`)
  await daemon.stop()
  process.exitCode = seen.problems.length === 0 && seen.written === count && most < limit ? 0 : 1
})

function ms({ latenciesMs }, share) {
  return `${quantile(latenciesMs, share).toFixed(1)} ms`
}
