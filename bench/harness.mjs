// What the benchmarks share: a daemon of its own, load from a process of its own, ratios of interleaved runs.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
export const scratch = mkdtempSync(join(tmpdir(), 'spacedrive-bench-'))
const children = new Set()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(scratch, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))

/** Starts the daemon and waits for its ready line. */
export async function startDaemon({
  args = [],
  nofile = null,
  env = {},
  dataDir = mkdtempSync(join(scratch, 'data-')),
} = {}) {
  const command = [
    join(root, 'bin/spacedrive'),
    'start',
    '--data-dir',
    dataDir,
    '--http',
    '127.0.0.1:0',
    '--json',
    ...args,
  ]
  const limited = nofile === null ? command : ['prlimit', `--nofile=${nofile}:${nofile}`, ...command]
  const options = { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } }
  const child = spawn(limited[0], limited.slice(1), options)
  const ready = JSON.parse(await firstLine(child))
  const token = readFileSync(join(dataDir, 'token'), 'utf8').trim()
  return {
    child,
    pid: ready.pid,
    http: ready.http,
    token,
    dataDir,
    stop: () => stop(child),
    call: caller(ready.http, token),
  }
}

/** Starts a server of ours that prints its port as its first line. */
export async function startServer({ script, args = [], nofile = null }) {
  const command = [process.execPath, fileURLToPath(new URL(script, import.meta.url)), ...args]
  const limited = nofile === null ? command : ['prlimit', `--nofile=${nofile}:${nofile}`, ...command]
  const child = spawn(limited[0], limited.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stderr.on('data', (chunk) => process.stderr.write(chunk))
  return { child, http: `http://127.0.0.1:${(await firstLine(child)).trim()}`, stop: () => stop(child) }
}

function firstLine(child) {
  children.add(child)
  child.on('exit', () => children.delete(child))
  return new Promise((resolve, reject) => {
    let text = ''
    let errors = ''
    child.stderr?.on('data', (chunk) => (errors += chunk))
    child.stdout.on('data', (chunk) => {
      text += chunk
      if (text.includes('\n')) resolve(text.split('\n')[0])
    })
    child.on('exit', (code) => reject(new Error(`exited ${code}: ${errors}`)))
  })
}

function stop(child) {
  const ended = new Promise((resolve) => child.on('exit', resolve))
  child.kill('SIGTERM')
  return ended
}

/** Over one kept-alive connection: `fetch` alone would cost more than most answers. */
function caller(http, token) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  let id = 0
  return async (method, params = {}) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: ++id, method, params })
    const { result, error } = JSON.parse(await post(`${http}/rpc`, { agent, headers }, body))
    if (error) throw Object.assign(new Error(`${method}: ${error.message}`), error)
    return result
  }
}

function post(url, options, body) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...options, method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve(text)).on('error', reject)
    })
    // A daemon closes what was silent for ten seconds, as it is while a bench waits for another program.
    const again = (error) => sent.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code)
    sent.on('error', (error) => (again(error) ? resolve(post(url, options, body)) : reject(error))).end(body)
  })
}

/** A library with `path` indexed in it. */
export async function index(call, path) {
  const { id: library } = await call('libraries.create', { name: `bench ${Math.random()}` })
  const { location, job } = await call('locations.add', { library, path })
  await jobDone(call, library, job)
  return { library, location }
}

/** Whoever asks all the time has the shard do other things between the batches of its scan. */
export async function jobDone(call, library, job) {
  for (;;) {
    const { state, error } = await call('jobs.info', { library, job })
    if (state === 'done') return
    if (state === 'failed' || state === 'cancelled') throw new Error(`job ${state}: ${JSON.stringify(error)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const hasWrk = spawnSync('wrk', ['-v']).error === undefined

/** Requests a second from 64 keep-alive connections, from a process of its own: in turn POSTs of `bodies`, or GETs of `paths`. */
export function load(url, { bodies, paths, headers = {}, seconds = 4, connections = 64 }) {
  const asked = paths?.map((path) => ({ method: 'GET', path })) ?? bodies.map((body) => ({ method: 'POST', body }))
  return (hasWrk ? loadWrk : loadAutocannon)(url, asked, headers, seconds, connections)
}

function loadWrk(url, asked, headers, seconds, connections) {
  const script = join(scratch, 'load.lua')
  const quoted = (text) => (text === undefined ? 'nil' : `[==[${text}]==]`)
  const each = asked.map(({ method, path, body }) => `{"${method}",${quoted(path)},${quoted(body)}}`).join(',')
  const set = Object.entries(headers).map(([name, value]) => `wrk.headers["${name}"] = "${value}"`)
  writeFileSync(
    script,
    `${set.join('\n')}\nlocal ready = {}\nlocal at = 0\n` +
      `function init() for i, each in ipairs({${each}}) do ready[i] = wrk.format(each[1], each[2], nil, each[3]) end end\n` +
      `function request() at = at % #ready + 1 return ready[at] end\n`,
  )
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url]
  const { stdout } = spawnSync('wrk', args, { encoding: 'utf8' })
  if (/Non-2xx/.test(stdout)) throw new Error(`answers were not 2xx:\n${stdout}`)
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)[1])
}

/**
 * Requests a second over WebSockets, so many in flight on each, from a process of its own. `loads/feeds.mjs` costs little itself
 * and sends many messages in one write; `loads/ws.mjs` is an ordinary client.
 */
export function loadFeeds(url, { bodies, token, client = 'feeds', seconds = 4, connections = 64, inFlight = 16 }) {
  const asked = JSON.stringify({ url: url.replace(/^http/, 'ws'), token, bodies, seconds, connections, inFlight })
  const script = fileURLToPath(new URL(`loads/${client}.mjs`, import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, asked], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}

/** Seconds for which each thread ran so far, and for which it waited for a core, by its number; the main thread is the first. */
export function threadsOf(pid) {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((id) => {
      const [ran, waited] = readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')
      return [Number(id), [Number(ran) / 1e9, Number(waited) / 1e9]]
    }),
  )
}

/** Of all threads of a process: where they wait for a core for longer than they run, a time by the clock is that of the machine. */
export function processor(pid) {
  const each = [...threadsOf(pid).values()]
  const sum = (at) => each.reduce((total, told) => total + told[at], 0)
  return { ran: sum(0), waited: sum(1) }
}

/** Seconds for which a process ran so far, threads that ended included. */
export function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function loadAutocannon(url, asked, headers, seconds, connections) {
  const script =
    `const autocannon = require('autocannon'); const [url, asked, headers] = JSON.parse(require('fs').readFileSync(0, 'utf8'));` +
    `autocannon({ url, connections: ${connections}, duration: ${seconds}, headers, requests: asked.map((each) => ({ headers, ...each })) })` +
    `.then((r) => { if (r.non2xx) throw new Error('not 2xx'); console.log(r.requests.average) })`
  // More bodies than a command line takes.
  const input = JSON.stringify([url, asked, headers])
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8', input })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

/** The middle of the ratios pair by pair, and their range: what a shared machine's drift leaves standing. */
export function ratio(ours, theirs) {
  const each = ours.map((value, at) => value / theirs[at])
  return { median: median(each), least: Math.min(...each), most: Math.max(...each) }
}

/** Without a goal. */
export function show(what, { median: middle, least, most }) {
  console.log(`${what}: ${middle.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`)
}

/**
 * So many rounds of each side in turn, which is a process and its load of so many seconds: requests a second, and what a second of CPU
 * of all threads of the process came to, in which what others take of the machine is not.
 */
export function inTurn(sides, rounds, seconds) {
  const rates = Object.fromEntries(Object.keys(sides).map((name) => [name, []]))
  const perCpu = Object.fromEntries(Object.keys(sides).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, [pid, run]] of Object.entries(sides)) {
      const before = cpuOf(pid)
      const rate = run()
      rates[name].push(rate)
      perCpu[name].push((rate * seconds) / (cpuOf(pid) - before))
    }
  }
  return { rates, perCpu }
}

export function tell(what, { median: middle, least, most }, goal, better = 'higher') {
  const met = better === 'higher' ? middle >= goal : middle <= goal
  const sign = better === 'higher' ? '≥' : '≤'
  console.log(
    `${what}: ${middle.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)}; goal ${sign} ${goal}: ${met ? 'met' : 'missed'})`,
  )
}

export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
