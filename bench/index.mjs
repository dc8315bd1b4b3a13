// A first index of a tree, everything stored and searchable, against `find -printf` over the same warm tree; then a
// rescan of the unchanged tree against the first index, and what an entry costs on disk.
import { execFileSync } from 'node:child_process'
import { openSync } from 'node:fs'
import { index, jobDone, ratio, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const tree = process.env.TREE ?? '/usr'
const daemon = await startDaemon()
const nowhere = openSync('/dev/null', 'w')
const find = () =>
  execFileSync('find', [tree, '-xdev', '-printf', '%i %s %T@ %p\n'], { stdio: ['ignore', nowhere, 'inherit'] })

async function timed(work) {
  const begun = performance.now()
  const result = await work()
  return { result, ms: performance.now() - begun }
}

find()
const times = { find: [], index: [], rescan: [] }
let info
for (let round = 0; round < ROUNDS; round++) {
  times.find.push((await timed(find)).ms)
  const { result, ms } = await timed(() => index(daemon.call, tree))
  times.index.push(ms)
  const rescan = async () => jobDone(daemon.call, result.library, (await daemon.call('locations.rescan', result)).job)
  times.rescan.push((await timed(rescan)).ms)
  info = await daemon.call('libraries.info', { library: result.library })
  await daemon.call('libraries.delete', { library: result.library, data: true })
}
console.log(
  `${info.entries} entries of ${tree}; ms: ${Object.entries(times)
    .map(([name, all]) => `${name} ${all.map(Math.round).join(' ')}`)
    .join(', ')}`,
)
tell('first index, of the speed of find -printf', ratio(times.find, times.index), 0.4)
tell('unchanged rescan, of the speed of the first index', ratio(times.index, times.rescan), 1)
tell('bytes an entry on disk, search index included', ratio([info.databaseBytes], [info.entries]), 110, 'lower')
await daemon.stop()
