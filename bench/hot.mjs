// One library that everybody asks for, by a daemon of one shard and by one of two: pages of its directories with small searches, which
// cost the shard little more than the main thread and the load, and searches for many names, of which nearly all is the shard's. Each
// is warmed up for as long as it takes until a second shard reads the library as well.
import { cpuOf, index, loadFeeds, ratio, startDaemon, tell } from './harness.mjs'

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
    sides.push({ shards, daemon, run, rates: [], cpu: [] })
  }

  for (const { run } of sides) run()
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) {
      const before = cpuOf(side.daemon.pid)
      // The last run was a while ago: what two shards read together may be one's alone again.
      side.run()
      side.rates.push(side.run())
      side.cpu.push((cpuOf(side.daemon.pid) - before) / (2 * SECONDS))
    }
  }
  for (const { shards, daemon, rates, cpu } of sides) {
    const { libraries } = await daemon.call('core.status')
    const list = rates.map((each) => Math.round(each)).join(' ')
    const cores = cpu.map((each) => each.toFixed(2)).join(' ')
    console.log(
      `${what}: ${shards} shards, ${libraries.connections} connections: ${list} requests/s, on ${cores} cores`,
    )
  }
  tell(`${what}: of what one shard answers, two`, ratio(sides[1].rates, sides[0].rates), 1.5)
  for (const { daemon } of sides) await daemon.stop()
}
