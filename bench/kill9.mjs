// kill -9 at random moments of indexing 100,000 files, 100 times: does each start go on unasked, and does the index equal the disk at the end?
// usage: node bench/kill9.mjs [FILES [KILLS [MOMENT_MS_MAX]]]
import { killedWhileIndexing } from '../dist/test/harness/killed.js'
import { play } from '../dist/test/harness/scene.js'

const [files = 100_000, kills = 100, momentMsMax = 150] = process.argv.slice(2).map(Number)

await play(async (scene) => {
  const root = scene.tree('tree', files, 200)
  // Throws when the index is not the disk, entry by entry, or holds one twice.
  const { integrity, resumed, readyMs, entries } = await killedWhileIndexing(scene, { root, kills, momentMsMax })
  const bad = integrity.filter((each) => each !== 'ok')
  console.log(`kills      ${kills}, of which ${resumed} hit an unfinished job, which went on unasked at each start`)
  console.log(`integrity  ${bad.length === 0 ? 'ok after each' : bad.join()}`)
  const slowest = Math.max(...readyMs)
  console.log(`ready      within ${slowest} ms of each start (goal < 5000)`)
  console.log(`index      ${entries} entries, equal to the disk one by one`)
  process.exitCode = bad.length === 0 && slowest < 5_000 ? 0 : 1
})
