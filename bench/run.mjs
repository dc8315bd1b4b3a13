// `npm run bench`: every benchmark, one after the other, each in a process of its own; with names as arguments only those.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setup } from '../scripts/setup.mjs'

const ALL = [
  'boot',
  'rpc',
  'files',
  'hot',
  'index',
  'identify',
  'large',
  'search',
  'watch',
  'events',
  'overload',
  'prices',
  'ledger',
  'fds',
  'idle',
  'flood',
  'accept',
  'libraries',
  'zipf',
  'cut',
  'kill9',
  'soak',
  'sweep',
]

await setup()
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !ALL.includes(name))
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(', ')}; there are ${ALL.join(', ')}`)
  process.exit(2)
}
const failed = []
for (const name of wanted.length > 0 ? wanted : ALL) {
  console.log(`\n== ${name}`)
  const script = fileURLToPath(new URL(`${name}.mjs`, import.meta.url))
  if (spawnSync(process.execPath, [script], { stdio: 'inherit' }).status !== 0) failed.push(name)
}
if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`)
process.exitCode = failed.length > 0 ? 1 : 0
