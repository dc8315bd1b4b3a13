// The same changes to the same tree, followed by us and by Watchman, in turn: 1,000 a second, and how long each takes to know of one;
// then 30,000 files in a burst, and how long until it knows all of them; at the end what each believes is held against the disk.
// We know of a change when its row is committed and answered; Watchman when its subscription says so.
import { fork, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { index, median, quantile, scratch, startDaemon } from './harness.mjs'

const SECONDS = Number(process.argv[2] ?? 5)
const RATE = Number(process.argv[3] ?? 1_000)
const BURST = Number(process.argv[4] ?? 30_000)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const DIRECTORIES = 200
/** What is not known after this was changed again meanwhile, or is late. */
const PATIENCE_MS = 5_000
/** Of the burst. */
const BURST_MS = 120_000

if (spawnSync('watchman', ['--version']).error) {
  console.log('watchman: it is not installed, nothing to compare with')
  process.exit(0)
}

class Ours {
  static async open(tree) {
    const ours = new Ours()
    ours.tree = tree
    ours.daemon = await startDaemon()
    const { library, location } = await index(ours.daemon.call, tree)
    ours.library = library
    await ours.daemon.call('locations.update', { library, location, watch: true })
    for (let idle = false; !idle; await sleep(20)) {
      const [{ watched }] = await ours.daemon.call('locations.list', { library })
      const { items } = await ours.daemon.call('jobs.list', { library })
      idle = watched?.state === 'watched' && items.every(({ state }) => state === 'done')
    }
    return ours
  }

  /** Resolves to when it was known, in ns. */
  async knows(path, size, patienceMs) {
    for (const until = performance.now() + patienceMs; performance.now() < until; await sleep(2)) {
      const found = await this.daemon.call('files.get', { library: this.library, path }).catch(() => null)
      if (found?.size === size) return process.hrtime.bigint()
    }
    return null
  }

  async paths() {
    const found = []
    for (let cursor; ;) {
      const page = await this.daemon.call('search.files', { library: this.library, query: '', limit: 1_000, ...cursor })
      found.push(...page.items.map(({ path }) => relative(this.tree, path)))
      if (page.cursor === undefined) return found.filter((path) => path !== '')
      cursor = { cursor: page.cursor }
    }
  }

  /** Files came with their directories only. */
  async countOfBurst() {
    const { files } = await this.daemon.call('libraries.info', { library: this.library })
    return files - this.files
  }

  stop() {
    return this.daemon.stop()
  }
}

class Watchman {
  waiting = []
  known = new Map()

  static async open(tree) {
    const watchman = new this()
    if (this.settleMs) writeFileSync(join(tree, '.watchmanconfig'), JSON.stringify({ settle: this.settleMs }))
    const home = mkdtempSync(join(scratch, 'watchman-'))
    const socket = join(home, 'sock')
    const files = [`--sockname=${socket}`, `--pidfile=${join(home, 'pid')}`, `--logfile=${join(home, 'log')}`]
    watchman.child = spawn('watchman', ['--foreground', '--no-save-state', ...files], { stdio: 'ignore' })
    process.on('exit', () => watchman.child.kill('SIGKILL'))
    while (!existsSync(socket)) await sleep(20)
    watchman.socket = connect(socket)
    await once(watchman.socket, 'connect')
    createInterface(watchman.socket).on('line', (line) => watchman.read(JSON.parse(line)))
    watchman.tree = tree
    await watchman.ask(['watch', tree])
    await watchman.paths()
    await watchman.ask(['subscribe', tree, 'all', { fields: ['name', 'exists', 'size'] }])
    return watchman
  }

  ask(command) {
    return new Promise((resolve, reject) => {
      this.waiting.push((answer) => (answer.error ? reject(new Error(answer.error)) : resolve(answer)))
      this.socket.write(`${JSON.stringify(command)}\n`)
    })
  }

  read(message) {
    if (!message.subscription) return this.waiting.shift()?.(message)
    if (!message.files) return this.waiting.shift()?.(message)
    const at = process.hrtime.bigint()
    for (const { name, exists, size } of message.files) this.known.set(name, { exists, size, at })
  }

  async knows(path, size, patienceMs) {
    const name = relative(this.tree, path)
    for (const until = performance.now() + patienceMs; performance.now() < until; await sleep(2)) {
      const told = this.known.get(name)
      if (told?.exists && told.size === size) return told.at
    }
    return null
  }

  async paths() {
    const { files } = await this.ask(['query', this.tree, { expression: ['exists'], fields: ['name'] }])
    return files
  }

  countOfBurst() {
    let count = 0
    for (const [name, { exists }] of this.known) if (exists && /^burst .*\//.test(name)) count += 1
    return count
  }

  async stop() {
    this.socket.destroy()
    const ended = once(this.child, 'exit')
    this.child.kill('SIGTERM')
    await ended
  }
}

/** Which waits for a pause of 1 ms, and not of 20, before it says anything. */
class HastyWatchman extends Watchman {
  static settleMs = 1
}

const sums = { ours: [], Watchman: [], 'Watchman, settle 1 ms': [] }
for (let round = 0; round < ROUNDS; round++) {
  const sides = [
    ['ours', Ours],
    ['Watchman', Watchman],
    ['Watchman, settle 1 ms', HastyWatchman],
  ]
  for (const [name, Side] of round % 2 ? sides.reverse() : sides) sums[name].push(await follow(name, Side))
}
for (const [name, all] of Object.entries(sums)) {
  const of = (key) => median(all.map((each) => each[key]))
  console.log(
    `${name}, the middle of ${ROUNDS}: p50 ${of('p50').toFixed(0)} ms, p99 ${of('p99').toFixed(0)} ms, ` +
      `burst known ${of('burstMs').toFixed(0)} ms after it was written, ${of('differing')} paths other than on disk`,
  )
}

async function follow(name, Side) {
  const tree = mkdtempSync(join(scratch, 'tree-'))
  for (let at = 0; at < DIRECTORIES; at++) mkdirSync(join(tree, `d${at}`))
  const files = Array.from({ length: 20 * DIRECTORIES }, (_, at) => join(tree, `d${at % DIRECTORIES}`, `file ${at}`))
  for (const path of files) writeFileSync(path, '')
  const side = await Side.open(tree)
  const { latencies, missed, made } = await steadily(side, tree, files.length)
  const burstMs = await burst(side, tree)
  const differing = difference(await side.paths(), disk(tree))
  await side.stop()
  rmSync(tree, { recursive: true })
  const [p50, p99] = [median(latencies), quantile(latencies, 0.99)]
  console.log(
    `${name}: ${made} changes, ${latencies.length} asked for, ${missed} not known within ${PATIENCE_MS} ms: ` +
      `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms; burst ${burstMs.toFixed(0)} ms; ${differing} paths differ`,
  )
  return { p50, p99, burstMs, differing }
}

async function steadily(side, tree, files) {
  const latencies = []
  const probes = []
  let missed = 0
  const probe = async ({ path, size, at }) => {
    const known = await side.knows(path, size, PATIENCE_MS)
    if (known === null) missed += 1
    else latencies.push(Math.max(0, Number(known - BigInt(at)) / 1e6))
  }
  const changing = fork(fileURLToPath(new URL('servers/changes.mjs', import.meta.url)), [
    JSON.stringify({ tree, files, directories: DIRECTORIES, seconds: SECONDS, rate: RATE }),
  ])
  const made = await new Promise((resolve, reject) => {
    changing.on('message', (message) => (message.path ? probes.push(probe(message)) : resolve(message.made)))
    changing.on('error', reject)
  })
  await Promise.all(probes)
  return { latencies, missed, made }
}

/** From the last write until as much is known as is on disk; or all that is waited. */
async function burst(side, tree) {
  side.files = disk(tree).filter((path) => path.includes('/')).length
  const script = fileURLToPath(new URL('servers/changes.mjs', import.meta.url))
  await once(fork(script, [JSON.stringify({ tree, burst: BURST })]), 'exit')
  const written = performance.now()
  const last = join(tree, `burst ${BURST - 1 - ((BURST - 1) % 1_000)}`, `file ${BURST - 1}`)
  await side.knows(last, 4, BURST_MS)
  while ((await side.countOfBurst()) !== BURST && performance.now() - written < BURST_MS) await sleep(20)
  return performance.now() - written
}

function disk(tree) {
  return readdirSync(tree, { recursive: true })
}

function difference(believed, there) {
  const [a, b] = [new Set(believed), new Set(there)]
  return [...a].filter((path) => !b.has(path)).length + [...b].filter((path) => !a.has(path)).length
}
