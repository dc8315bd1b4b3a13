// One library that everybody asks for: pages of its directories and small searches, by a daemon of one shard and by one of two.
// Each is warmed up for as long as it takes until a second shard reads the library as well.
import { cpuOf, index, loadFeeds, ratio, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = 4
const sides = []
for (const shards of [1, 2]) {
  const daemon = await startDaemon({ args: ['--shards', String(shards)] })
  const { library } = await index(daemon.call, process.env.TREE ?? '/usr/share')
  const { items } = await daemon.call('search.files', {
    library,
    query: '',
    filters: { kind: 'directory' },
    limit: 500,
  })
  const list = items.map(({ id }, at) => ({ id: at, method: 'files.list', params: { library, parent: id } }))
  const find = ['libssl', 'readme.md', 'copyright', 'changelog', 'makefile'].map((query, at) => {
    return { id: list.length + at, method: 'search.files', params: { library, query, limit: 50 } }
  })
  const bodies = [...list, ...find, ...find].map(({ id, ...rest }) => JSON.stringify({ jsonrpc: '2.0', id, ...rest }))
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
  console.log(`${shards} shards, ${libraries.connections} connections: ${list} requests/s, on ${cores} cores`)
}
tell('one library, of what one shard answers, two', ratio(sides[1].rates, sides[0].rates), 1.5)
for (const { daemon } of sides) await daemon.stop()
