// `spacedrive restart` ten times while it is used: for how long new clients are refused, and what a client of connect() notices, which
// asks on and never is told of it; its longest call of each restart.
// usage: node bench/restart.mjs
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../dist/src/index.js'
import { index, median, scratch } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 10)
const FILES = 1_000
const CLIENTS = 20
const EVERY_MS = 5
const AFTER_MS = 3_000
const dataDir = join(scratch, 'data')
const program = fileURLToPath(new URL('../bin/spacedrive', import.meta.url))

const tree = join(scratch, 'tree')
mkdirSync(tree)
for (let at = 0; at < FILES; at++) writeFileSync(join(tree, `file ${at}.txt`), '')
const { http, pid } = JSON.parse(command('start', '--detach', '--http', '127.0.0.1:0'))
let last = pid
process.on('exit', () => process.kill(last))
const token = readFileSync(join(dataDir, 'token'), 'utf8').trim()
const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(http, { token })))
const [client] = clients
const { library } = await index((...asked) => client.call(...asked), tree)

let isOver = false
let failed = 0
const calls = []
const asking = clients.map(async (each) => {
  while (!isOver) {
    const begun = performance.now()
    await each
      .call('search.files', { library, query: 'file' })
      .catch((error) => (failed++, console.log(`a call failed: ${error.code}`)))
    calls.push(performance.now() - begun)
    await sleep(EVERY_MS)
  }
})
const windows = []
const longest = []
for (let round = 0; round < ROUNDS; round++) {
  calls.length = 0
  const refused = []
  let isLooking = true
  const looking = (async () => {
    for (; isLooking; await sleep(EVERY_MS)) {
      const begun = performance.now()
      if (!(await isServed())) refused.push(begun, performance.now())
    }
  })()
  const restarting = spawn(program, ['--data-dir', dataDir, 'restart', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  restarting.stdout.on('data', (chunk) => (said += chunk))
  await once(restarting, 'close')
  last = JSON.parse(said).pid
  await sleep(AFTER_MS)
  isLooking = false
  await looking
  windows.push(refused.at(-1) - refused[0])
  longest.push(Math.max(...calls))
}
isOver = true
await Promise.all(asking)
await Promise.all(clients.map((each) => each.close()))
const told = (ms) => `${median(ms).toFixed(0)} ms (${Math.min(...ms).toFixed(0)} to ${Math.max(...ms).toFixed(0)})`
const met = Math.max(...windows) < 1_000 ? 'met' : 'missed'
console.log(`new clients were refused for ${told(windows)} of each restart (goal < 1000 ms: ${met})`)
console.log(
  `the longest of the calls of ${CLIENTS} clients of connect() took ${told(longest)}; ${failed} of them failed`,
)

function command(...args) {
  const { stdout, stderr, status } = spawnSync(program, ['--data-dir', dataDir, ...args, '--json'], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  return stdout
}

/** A new connection each time. */
function isServed() {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const asked = request(`${http}/rpc`, { method: 'POST', agent: false, headers }, (response) => {
      let body = ''
      response.on('data', (chunk) => (body += chunk)).on('end', () => resolve(body.includes('"result"')))
    })
    asked.on('error', () => resolve(false))
    asked.end(`{"jsonrpc":"2.0","id":1,"method":"search.files","params":{"library":"${library}","query":"file"}}`)
  })
}
