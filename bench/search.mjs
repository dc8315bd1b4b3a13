// Searches over a WebSocket (first page of 100 and the exact total) against plocate as a process over the same tree (as it is, all
// hits; only the first 100; only the count), the same queries in turn, several rounds. In each round all queries go to one, then all to
// the next: a search right after a process was started is timed with that start, whose memory and caches it finds. The daemon's
// result cache is defeated between rounds. First 50 names; then 200 queries as people write them, words, globs, expressions,
// paths, filters and sorts: what plocate knows no word for is compared with what of it it does know.
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { connect } from '../dist/src/index.js'
import { index, median, quantile, scratch, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const tree = process.env.TREE ?? '/usr'
const NAMES = (
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
const client = await connect(daemon.http, { token: daemon.token })
const plocateDb = join(scratch, 'plocate.db')
execFileSync('updatedb.plocate', ['-l', '0', '-o', plocateDb, '-U', tree, '--prunepaths', '', '--prunenames', ''])
// What the daemon closed meanwhile is to be seen as closed before it is asked again.
await new Promise((resolve) => setTimeout(resolve, 100))
const plocate = (...args) =>
  spawnSync('plocate', ['-d', plocateDb, '-i', ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })

/** What is asked of us, and of plocate, which prints as many hits at most. */
function queries() {
  const words = NAMES.slice(0, 40)
  const of = (list, make) => list.map((each, at) => make(each, list[(at * 7 + 3) % list.length]))
  const plain = (word, more = {}) => ({ query: word, theirs: ['-b', word], ...more })
  const extensions = 'json py so h js md png html css txt gz svg conf xml pyc mo ts c rb sh'.split(' ')
  return [
    ...of(words, (word) => plain(word, { same: true })),
    // Two words in any order.
    ...of(words.slice(0, 25), (a, b) => ({ query: `${a} ${b}`, theirs: ['-b', a, b], same: true })),
    ...of(extensions, (each) => ({ query: `*.${each}`, theirs: ['-b', `*.${each}`], same: true })),
    ...of(words.slice(0, 15), (word) => ({ query: `${word}*`, theirs: ['-b', `${word}*`], same: true })),
    ...of(words.slice(0, 15), (word) => ({
      query: `re:^${escaped(word)}[a-z0-9._-]*$`,
      theirs: ['-b', '--regex', `^${escaped(word)}[a-z0-9._-]*$`],
      same: true,
    })),
    ...of(words.slice(0, 15), (a, b) => ({
      query: `${a}/${b.slice(0, 3)}`,
      theirs: [`${a}/${b.slice(0, 3)}`],
      same: true,
    })),
    ...of(words.slice(0, 10), (word) => ({ query: `lib/ ${word}`, theirs: ['lib/', word] })),
    ...of(words.slice(0, 15), (word) => plain(word, { query: `${word} kind:file` })),
    ...of(extensions.slice(0, 15), (each, other) => ({
      query: `lib ext:${each},${other}`,
      theirs: ['-b', `*lib*.${each}`],
    })),
    ...of(words.slice(0, 10), (word) => plain(word, { query: `${word} size:>10K modified:<10y` })),
    ...of(words.slice(0, 7), (word) => plain(word, { sort: 'size' })),
    ...of(words.slice(0, 7), (word) => plain(word, { sort: 'modified' })),
    ...of(words.slice(0, 6), (word) => plain(word, { sort: 'name' })),
  ]
}

function escaped(word) {
  return word.replace(/[.+]/g, '\\$&')
}

/** Milliseconds of all rounds by side, and which totals differed where they should not. */
async function compare(asked, sides) {
  const times = Object.fromEntries(Object.keys(sides).map((side) => [side, []]))
  const differing = new Set()
  for (let round = -1; round < ROUNDS; round++) {
    if (round === 0) for (const all of Object.values(times)) all.length = 0 // the first round warms both
    // A change empties the cache of results.
    await daemon.call('locations.update', { library, location, name: `round ${round}` })
    const totals = {}
    for (const [side, run] of Object.entries(sides)) {
      totals[side] = []
      for (const [at, each] of asked.entries()) {
        // The daemon closes a connection on which nothing is asked for ten seconds.
        if (at % 8 === 0) await client.call('core.ping')
        const begun = performance.now()
        const total = await run(each)
        const ms = performance.now() - begun
        times[side].push(ms)
        totals[side].push(total)
        if (process.env.EACH && round === ROUNDS - 1)
          console.log(side.padEnd(6), ms.toFixed(2).padStart(8), total, each.query, each.sort ?? '')
      }
    }
    for (const [at, { query, same }] of asked.entries())
      if (same && totals.count[at] !== totals.ours[at]) differing.add(`${query} ${totals.ours[at]}/${totals.count[at]}`)
  }
  for (const [side, all] of Object.entries(times))
    console.log(`${side.padEnd(6)} p50 ${median(all).toFixed(2)} ms, p99 ${quantile(all, 0.99).toFixed(2)} ms`)
  console.log(
    `${asked.length} queries, totals that differ from plocate's: ${differing.size ? [...differing].join(', ') : 'none'}`,
  )
  return times
}

const sides = {
  ours: async ({ query, sort }) =>
    (await client.call('search.files', { library, query, syntax: 'filters', limit: 100, ...(sort ? { sort } : {}) }))
      .total,
  all: ({ theirs }) => void plocate(...theirs),
  page: ({ theirs }) => void plocate('-l', '100', ...theirs),
  count: ({ theirs }) => Number(plocate('-c', ...theirs).stdout),
}
const against = (times, other) => ({
  median: median(times.ours) / median(times[other]),
  least: median(times.ours) / median(times[other]),
  most: quantile(times.ours, 0.99) / quantile(times[other], 0.99),
})

const names = NAMES.map((query) => ({ query, theirs: ['-b', query], same: true }))
const plainly = {
  ...sides,
  ours: async ({ query }) => (await client.call('search.files', { library, query, limit: 100 })).total,
}
const simple = await compare(names, plainly)
tell('search p50 (range: to p99) of plocate, all hits', against(simple, 'all'), 0.5, 'lower')
tell('search p50 (range: to p99) of plocate, first 100 hits only', against(simple, 'page'), 0.5, 'lower')
tell('search p50 (range: to p99) of plocate, count only', against(simple, 'count'), 0.5, 'lower')

const varied = await compare(queries(), sides)
tell('200 queries, p50 (range: to p99) of plocate, all hits', against(varied, 'all'), 0.25, 'lower')
tell('200 queries, p50 (range: to p99) of plocate, first 100 hits only', against(varied, 'page'), 0.25, 'lower')
tell('200 queries, p50 (range: to p99) of plocate, count only', against(varied, 'count'), 0.25, 'lower')
scanned(varied)
await client.close()
await daemon.stop()

/** The same names in a table that is looked through: some of them, for it takes long. */
function scanned(times) {
  const found = plocate('').stdout.split('\n')
  const database = new Database(':memory:')
  database.exec('CREATE TABLE entry (name TEXT, path TEXT)')
  const insert = database.prepare('INSERT INTO entry VALUES (?, ?)')
  database.transaction(() => {
    for (const path of found) insert.run(path.slice(path.lastIndexOf('/') + 1), path)
  })()
  const page = database.prepare('SELECT path FROM entry WHERE name LIKE ? LIMIT 100')
  const count = database.prepare('SELECT count(*) FROM entry WHERE name LIKE ?').pluck()
  const scan = NAMES.slice(0, 20).map((each) => {
    const begun = performance.now()
    page.all(`%${each}%`)
    count.get(`%${each}%`)
    return performance.now() - begun
  })
  console.log(`scan   p50 ${median(scan).toFixed(2)} ms over ${found.length} rows in memory`)
  const ratio = median(times.ours) / median(scan)
  tell('200 queries, p50 of a scan of a table', { median: ratio, least: ratio, most: ratio }, 0.25, 'lower')
}
