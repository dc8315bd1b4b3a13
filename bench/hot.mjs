// One library that everybody asks for, by a daemon of one shard and by one of two: pages of its directories with small searches, which
// cost the shard little more than the main thread and the load, and searches for many names, of which nearly all is the shard's. Each
// is warmed up for as long as it takes until a second shard reads the library as well. Where the load and the main thread have the
// cores that a second shard would need, what an answer takes of the shards' time tells what two would answer on cores of their own.
import { index, loadFeeds, ratio, startDaemon, tell, threadsOf } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = 4
const FRONTS = process.env.FRONTS ?? '1'
const SMALL = ['libssl', 'readme.md', 'copyright', 'changelog', 'makefile']
/** More than the answers that are kept. */
const NAMES = (
  'license config locale zoneinfo kernel header vector string test main util index changelog copyright readme utf8 crypto socket ' +
  'thread sqlite openssl font icon png perl systemd bash completion man1 encoding codec parser token libc signal errno'
).split(' ')

const search = (library, limit) => (query) => ({ method: 'search.files', params: { library, query, limit } })
const mixes = {
  async 'pages and small searches'(call, library) {
    const filters = { kind: 'directory' }
    const { items } = await call('search.files', { library, query: '', filters, limit: 500 })
    const lists = items.map(({ id }) => ({ method: 'files.list', params: { library, parent: id } }))
    const searches = SMALL.map(search(library, 50))
    return [...lists, ...searches, ...searches]
  },
  'searches for many names': (_, library) => NAMES.map(search(library, 20)),
}

for (const [what, make] of Object.entries(mixes)) await compare(what, make)

async function compare(what, make) {
  const sides = []
  for (const shards of [1, 2]) {
    const daemon = await startDaemon({ args: ['--shards', String(shards), '--fronts', FRONTS] })
    const { library } = await index(daemon.call, process.env.TREE ?? '/usr/share')
    const asked = await make(daemon.call, library)
    const bodies = asked.map((each, id) => JSON.stringify({ jsonrpc: '2.0', id, ...each }))
    // As many as wait until they are served: of more, a shard that is behind refuses some.
    const run = () => loadFeeds(`${daemon.http}/ws`, { bodies, token: daemon.token, seconds: SECONDS, inFlight: 4 })
    sides.push({ shards, daemon, run, rates: [], perShard: [], cores: [] })
  }

  for (const { run } of sides) run()
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) {
      // The last run was a while ago: what two shards read together may be one's alone again.
      side.run()
      const before = threadsOf(side.daemon.pid)
      const rate = side.run()
      const { shards, all } = ran(before, threadsOf(side.daemon.pid), side.shards)
      side.rates.push(rate)
      side.perShard.push((rate * SECONDS * side.shards) / shards)
      side.cores.push(all / SECONDS)
    }
  }
  for (const { shards, daemon, rates, perShard, cores } of sides) {
    const { libraries } = await daemon.call('core.status')
    const list = rates.map((each) => Math.round(each)).join(' ')
    const could = perShard.map((each) => Math.round(each)).join(' ')
    console.log(
      `${what}: ${shards} shards, ${libraries.connections} connections: ${list} requests/s, ` +
        `on ${cores.map((each) => each.toFixed(2)).join(' ')} cores; by the time of its shards ${could}`,
    )
  }
  tell(`${what}: of what one shard answers, two`, ratio(sides[1].rates, sides[0].rates), 1.5)
  tell(`${what}: the same by the time of the shards`, ratio(sides[1].perShard, sides[0].perShard), 1.5)
  for (const { daemon } of sides) await daemon.stop()
}

/** Seconds that all threads ran between, and those that ran the most beside the main one, which are the shards. */
function ran(before, after, shards) {
  const took = [...after].map(([id, [seconds]]) => seconds - (before.get(id)?.[0] ?? 0))
  const most = took.slice(1).toSorted((one, other) => other - one)
  return { shards: sum(most.slice(0, shards)), all: sum(took) }
}

function sum(numbers) {
  return numbers.reduce((all, each) => all + each, 0)
}
