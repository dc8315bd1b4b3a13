// A search over RPC (first page of 100 and the exact total) against plocate as a process over the same tree (only the
// first 100 hits, then only the count), the same queries in turn, several rounds. In each round all queries go to one, then all to
// the next: a search right after a process was started is timed with that start, whose memory and caches it finds. The daemon's
// result cache is defeated between rounds.
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { index, median, quantile, scratch, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const tree = process.env.TREE ?? '/usr'
const QUERIES = (
  'libssl package.json python3 readme license config json .so.6 locale zoneinfo kernel header vector string test main util index ' +
  'changelog copyright .d.ts README.md utf8 crypto socket thread sqlite openssl font icon png gcc c++ node_modules perl ' +
  'systemd bash completion man1 Makefile setup.py __init__ encoding codec parser token libc stdio errno signal'
).split(' ')

if (spawnSync('plocate', ['--version']).error) {
  console.log('search: plocate is not installed, nothing to compare with')
  process.exit(0)
}
const daemon = await startDaemon()
const { library, location } = await index(daemon.call, tree)
const plocateDb = join(scratch, 'plocate.db')
execFileSync('updatedb.plocate', ['-l', '0', '-o', plocateDb, '-U', tree, '--prunepaths', '', '--prunenames', ''])
const plocate = (...args) =>
  spawnSync('plocate', ['-d', plocateDb, '-i', '-b', ...args], { encoding: 'utf8', maxBuffer: 1 << 26 })

const times = { ours: [], page: [], count: [] }
const differing = []
for (let round = -1; round < ROUNDS; round++) {
  if (round === 0) for (const all of Object.values(times)) all.length = 0 // the first round warms both
  // A change empties the cache of results.
  await daemon.call('locations.update', { library, location, name: `round ${round}` })
  const totals = new Map()
  for (const query of QUERIES) {
    const begun = performance.now()
    const { total } = await daemon.call('search.files', { library, query, limit: 100 })
    times.ours.push(performance.now() - begun)
    totals.set(query, total)
  }
  for (const query of QUERIES) {
    const begun = performance.now()
    plocate('-l', '100', query)
    times.page.push(performance.now() - begun)
  }
  for (const query of QUERIES) {
    const begun = performance.now()
    const { stdout } = plocate('-c', query)
    times.count.push(performance.now() - begun)
    if (Number(stdout) !== totals.get(query)) differing.push(`${query} ${totals.get(query)}/${stdout.trim()}`)
  }
}
for (const [name, all] of Object.entries(times)) {
  console.log(`${name.padEnd(6)} p50 ${median(all).toFixed(2)} ms, p99 ${quantile(all, 0.99).toFixed(2)} ms`)
}
const distinct = [...new Set(differing)]
console.log(
  `${QUERIES.length} queries, totals that differ from plocate's: ${distinct.length ? distinct.join(', ') : 'none'}`,
)
const against = (other) => ({
  median: median(times.ours) / median(other),
  least: median(times.ours) / median(other),
  most: quantile(times.ours, 0.99) / quantile(other, 0.99),
})
tell('search p50 (range: to p99) of plocate, first 100 hits only', against(times.page), 0.5, 'lower')
tell('search p50 (range: to p99) of plocate, count only', against(times.count), 0.5, 'lower')
await daemon.stop()
