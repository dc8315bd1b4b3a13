// Files that are sent, 64 at a time over connections that stay: by the daemon, by it without its addon, and by a bare uWebSockets that
// reads each by its path and asks nobody. Runs in turn, load from a process of its own.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inTurn, index, load, ratio, scratch, show, startDaemon, startServer } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 3)
const FILES = 500
const SIZES = { '4 KiB': 4 << 10, '64 KiB': 64 << 10, '1 MiB': 1 << 20 }

const tree = join(scratch, 'tree')
for (const [name, size] of Object.entries(SIZES)) {
  mkdirSync(join(tree, name), { recursive: true })
  for (let at = 0; at < FILES; at++) writeFileSync(join(tree, name, String(at)), Buffer.alloc(size, at))
}

const bare = await startServer({ script: 'servers/uws-files.mjs', args: [tree] })
const started = {
  ours: await daemonSide({}),
  'without the addon': await daemonSide({ SPACEDRIVE_NATIVE: 'off' }),
  bare: { pid: bare.child.pid, load: (size) => run(bare, names(size)), stop: bare.stop },
}
for (const size of Object.keys(SIZES)) {
  const sides = Object.fromEntries(
    Object.entries(started).map(([side, { pid, load }]) => [side, [pid, () => load(size)]]),
  )
  for (const [, run] of Object.values(sides)) run()
  const { rates, perCpu } = inTurn(sides, ROUNDS, SECONDS)
  for (const side of Object.keys(sides))
    console.log(`${size}, ${side}: ${rates[side].map(Math.round).join(' ')} files/s`)
  for (const other of ['bare', 'without the addon']) {
    show(`files of ${size} a second, of ${other}`, ratio(rates.ours, rates[other]))
    show('  by their CPU', ratio(perCpu.ours, perCpu[other]))
  }
}
await Promise.all(Object.values(started).map(({ stop }) => stop()))

async function daemonSide(env) {
  const daemon = await startDaemon({ env })
  const { library } = await index(daemon.call, tree)
  const paths = {}
  for (const size of Object.keys(SIZES)) {
    const { items } = await daemon.call('files.list', { library, path: join(tree, size), limit: FILES })
    paths[size] = items.map(({ id }) => `/libraries/${library}/files/${id}`)
  }
  return { pid: daemon.pid, load: (size) => run(daemon, paths[size]), stop: daemon.stop }
}

function names(size) {
  return Array.from({ length: FILES }, (_, at) => `/${encodeURIComponent(size)}/${at}`)
}

function run({ http, token }, paths) {
  return load(`${http}/`, { paths, headers: token ? { authorization: `Bearer ${token}` } : {}, seconds: SECONDS })
}
