// 100,000 entries get a tag, a thousand a request; then searches that ask for a tag, alone and with words; then searches that do not,
// in turn with the same ones in a library of the same tree without tags. `OTHER`, the directory of another build, is asked too.
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { index, median, quantile, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const TREE = process.env.TREE ?? '/usr'
const COUNT = Number(process.argv[2] ?? 100_000)
const BATCH = 1_000
const WORDS =
  'lib readme json config test python index util header icon locale man1 png vector string zone parser main'.split(' ')

const daemon = await startDaemon()
const { library, location } = await index(daemon.call, TREE)
const plain = await index(daemon.call, TREE)
const other = process.env.OTHER && (await openOther(resolve(process.env.OTHER)))

for (const params of [{ name: 'half' }, { name: 'most' }, { name: 'some', parent: 'half' }, { name: 'few' }])
  await daemon.call('tags.create', { library, ...params })
const ids = await someIds()
const apply = async (tag, wanted) => {
  const begun = performance.now()
  for (let at = 0; at < wanted.length; at += BATCH)
    await daemon.call('tags.apply', { library, tag, ids: wanted.slice(at, at + BATCH) })
  return wanted.length / ((performance.now() - begun) / 1_000)
}
const perSecond = await apply('most', ids)
await apply(
  'half',
  ids.filter((_, at) => at % 4 === 0),
)
await apply(
  'some',
  ids.filter((_, at) => at % 4 === 1),
)
await apply(
  'few',
  ids.filter((_, at) => at % 1_000 === 0),
)
console.log(`${ids.length} entries tagged, ${Math.round(perSecond)} a second, ${BATCH} a request`)

const kinds = {
  'a word and a tag': WORDS.flatMap((word) => ['most', 'half', 'few'].map((tag) => `${word} tag:${tag}`)),
  'a tag that few have': ['tag:few', 'tag:few kind:file', 'tag:few ext:h'],
  'a tag that half or more have': ['tag:most', 'tag:half', 'tag:most tag:half', 'tag:half ext:png'],
}
for (const [name, queries] of Object.entries(kinds)) {
  const times = []
  for (let round = -1; round < ROUNDS; round++) {
    await forgetResults(library, location, round)
    for (const query of queries) {
      const ms = await timed(daemon, { library, query, syntax: 'filters' })
      if (round >= 0) times.push(ms)
    }
  }
  console.log(`${name}: p50 ${median(times).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`)
}

const sides = { tagged: [daemon, library, location], plain: [daemon, plain.library, plain.location] }
if (other) sides.other = [other, other.library, other.location]
const times = Object.fromEntries(Object.keys(sides).map((name) => [name, []]))
for (let round = -1; round < 4 * ROUNDS; round++) {
  const turned = Object.entries(sides).map((_, at, all) => all[(at + round + 1) % all.length])
  for (const [name, [asked, of, at]] of turned) {
    await asked.call('locations.update', { library: of, location: at, name: `round ${round}` })
    for (const query of WORDS) {
      const ms = await timed(asked, { library: of, query })
      if (round >= 0) times[name].push(ms)
    }
  }
}
for (const [name, all] of Object.entries(times))
  console.log(`no tag asked for, ${name}: p50 ${median(all).toFixed(2)} ms, p99 ${quantile(all, 0.99).toFixed(2)} ms`)
for (const name of Object.keys(times).slice(1))
  tell(
    `search without a tag, of the ${name === 'plain' ? 'library without any' : 'other build'} (p50, range: to p99)`,
    against(name),
    1.1,
    'lower',
  )
await Promise.all([daemon.stop(), other?.stop()])

function against(name) {
  const p50 = median(times.tagged) / median(times[name])
  return { median: p50, least: p50, most: quantile(times.tagged, 0.99) / quantile(times[name], 0.99) }
}

async function timed({ call }, params) {
  const begun = performance.now()
  await call('search.files', { ...params, limit: 100 })
  return performance.now() - begun
}

/** A change empties the cache of results. */
async function forgetResults(of, at, round) {
  await daemon.call('locations.update', { library: of, location: at, name: `round ${round}` })
}

async function openOther(directory) {
  const { startDaemon: start } = await import(pathToFileURL(join(directory, 'bench/harness.mjs')).href)
  const started = await start()
  return { ...started, ...(await index(started.call, TREE)) }
}

async function someIds() {
  const found = []
  for (let cursor; found.length < COUNT;) {
    const page = await daemon.call('search.files', { library, query: '', limit: 1_000, ...(cursor ? { cursor } : {}) })
    found.push(...page.items.map(({ id }) => id))
    if (!(cursor = page.cursor)) break
  }
  return found.slice(0, COUNT)
}
