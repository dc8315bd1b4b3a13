// A daemon kept at nine tenths of its budget while random things go wrong, with a rest in every cycle: what it holds then, how
// much memory it takes, at which level it is, and whether its libraries say what was last written to them.
import assert from 'node:assert'
import { readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { slope } from '../../src/descriptors/forecast.js'
import { eventually, parsed, sleep, type TestDaemon } from './daemon.js'
import { Intruder } from './intruder.js'
import { crowd } from './load.js'
import { atRest } from './promise.js'
import type { Scene } from './scene.js'
import { TAKING, type Failing, type Shim } from './shim.js'

export interface Soak {
  readonly cycles: number
  /** Of each cycle at least, its rest not counted. */
  readonly stormMs: number
  /** Of each cycle at least, however slow the machine. */
  readonly faultsMin?: number
  readonly seed: number
  readonly tell?: (line: string) => void
}

export interface Rest {
  readonly seconds: number
  readonly descriptors: readonly string[]
  readonly residentBytes: number
  /** Of all threads, after garbage was collected. */
  readonly heapBytes: number
  /** What is in use of what malloc manages. */
  readonly mallocBytes: number
}

export interface Soaked {
  readonly rests: readonly Rest[]
  /** Of the budget, in the storms. */
  readonly lentMean: number
  readonly lentMost: number
  /** The most that were open at a time. */
  readonly openMost: number
  readonly faults: Readonly<Record<string, number>>
  /** Calls by what came of them: `answered`, a code, or what the connection met. */
  readonly outcomes: Readonly<Record<string, number>>
  /** Whatever must not be. */
  readonly problems: readonly string[]
}

const LIMIT = 256
const LIBRARIES = 20
/** Of the budget: connections that are never silent for long. Libraries and jobs take it to nine tenths. */
const CLIENTS_SHARE = 0.72
const PING_MS = 600
const LIBRARY_CLIENTS = 6
const FAULT_EVERY_MS = 1_200
const LEVEL_MS = 30_000
const COLLECT_MS = 500
const JOBS_MS = 60_000
/** What a call may come to while things go wrong. */
const TYPED =
  /^(answered|BUDGET_EXHAUSTED|CONNECTION_LIMIT|SHARD_BUSY|OVERLOADED|SHARD_LOST|DISK_FULL|JOB_STATE|TIMEOUT|ECONNRESET|EPIPE)$/

export async function soak(
  scene: Scene,
  { cycles, stormMs, faultsMin = 0, seed, tell = () => {} }: Soak,
): Promise<Soaked> {
  const shim = scene.shim()
  const intruder = new Intruder(scene)
  const daemon = await scene.daemon({
    limit: `${LIMIT}:${LIMIT}`,
    env: { ...intruder.env, ...shim.env },
    args: ['--statistics-ms', '5000'],
  })
  const storm = new Storm(daemon, await furnished(scene, daemon), randomFrom(seed))
  const faults = faultsOf(daemon, (failing) => {
    const rule = shim.fail(failing)
    return () => (rule.end(), shim.clear())
  })
  const begun = performance.now()
  const tidy = async () => await heldBytes(daemon, intruder, shim)
  const rests = [await rest(daemon, tidy, storm.libraries, begun)]
  for (let cycle = 1; cycle <= cycles; cycle += 1) {
    await storm.blow(stormMs, faults, faultsMin)
    daemon.limit(LIMIT)
    shim.clear()
    const now = await rest(daemon, tidy, storm.libraries, begun)
    rests.push(now)
    await storm.readBack()
    tell(
      `${cycle}/${cycles}: ${now.descriptors.length} descriptors, ${megabytes(now.heapBytes)} MB on heaps, ${megabytes(now.mallocBytes)} MB of malloc, ${megabytes(now.residentBytes)} MB resident`,
    )
  }
  const { outcomes, problems, seen, counts } = storm
  assert.equal((await daemon.stop()).code, 0)
  return {
    rests,
    lentMean: seen.lent.reduce((sum, share) => sum + share, 0) / seen.lent.length,
    lentMost: Math.max(...seen.lent),
    openMost: seen.openMost,
    faults: counts,
    outcomes,
    problems: [...problems, ...strange(outcomes)],
  }
}

/** Of the rests after the first third, in which caches and the heap come to their size; per minute. */
export function perMinute(rests: readonly Rest[], value: (rest: Rest) => number): number {
  const settled = rests.slice(Math.floor(rests.length / 3))
  return 60 * slope(settled.map((each) => ({ seconds: each.seconds, taken: value(each) })))
}

function strange(outcomes: Readonly<Record<string, number>>): string[] {
  return Object.entries(outcomes).flatMap(([outcome, count]) => (TYPED.test(outcome) ? [] : [`${count} × ${outcome}`]))
}

async function furnished(scene: Scene, daemon: TestDaemon): Promise<Known[]> {
  const tree = scene.tree('tree', 100, 20)
  const known: Known[] = []
  for (let at = 0; at < LIBRARIES; at += 1) {
    const { library, location } = await daemon.index(`library ${at}`, tree)
    known.push({ library, location, names: [`library ${at}`], busy: false })
  }
  return known
}

async function rest(
  daemon: TestDaemon,
  tidy: () => Promise<Pick<Rest, 'heapBytes' | 'mallocBytes'>>,
  libraries: readonly string[],
  begun: number,
): Promise<Rest> {
  await eventually('no level is stuck', LEVEL_MS, async () => (await daemon.status()).descriptors.level === 'normal')
  await eventually('the jobs that had to wait are done', JOBS_MS, async () => {
    // A library with a job in line opens by itself, also after it was closed.
    for (const library of libraries) await daemon.call('libraries.close', { library }).catch(() => null)
    daemon.hangUp()
    await sleep(200)
    const { jobs, libraries: open } = await daemon.status()
    return jobs.running + jobs.queued + open.open === 0
  })
  const descriptors = await atRest(daemon, libraries)
  const held = await tidy()
  const [, resident] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8')) ?? []
  return {
    seconds: (performance.now() - begun) / 1_000,
    descriptors,
    residentBytes: Number(resident) * 1_024,
    ...held,
  }
}

/** What is garbage, or was freed, is not held: without this the figures are those of the habits of V8 and malloc. */
async function heldBytes(
  daemon: TestDaemon,
  intruder: Intruder,
  shim: Shim,
): Promise<Pick<Rest, 'heapBytes' | 'mallocBytes'>> {
  intruder.begin('collect')
  await sleep(COLLECT_MS)
  intruder.end('collect')
  shim.trim()
  await daemon.ask('/health', { agent: false })
  return { heapBytes: intruder.takeHeapBytes(), mallocBytes: shim.malloced }
}

interface Known {
  readonly library: string
  readonly location: string
  /** The last one that was acknowledged, then those whose answer was lost. */
  names: string[]
  busy: boolean
}

interface Fault {
  readonly name: string
  readonly begin: () => (() => void | Promise<void>) | Promise<() => void | Promise<void>>
  readonly ms: number
}

function faultsOf(daemon: TestDaemon, fail: (failing: Failing) => () => void): Fault[] {
  const injected = (name: string, failing: Failing, ms = 400): Fault => ({ name, ms, begin: () => fail(failing) })
  return [
    injected('EMFILE on open', { calls: 'open', errno: 'EMFILE', probability: 0.3 }),
    injected('ENFILE everywhere', { calls: TAKING, errno: 'ENFILE', probability: 0.2 }),
    injected('EMFILE on accept', { calls: 'accept', errno: 'EMFILE' }),
    injected('ENOSPC in libraries', { calls: 'write', path: '.sdlibrary', errno: 'ENOSPC', probability: 0.3 }),
    injected('EAGAIN for threads', { calls: 'thread', errno: 'EAGAIN' }),
    { name: 'a cut of the limit', ms: 800, begin: () => (daemon.limit(180), () => daemon.limit(LIMIT)) },
    { name: 'a stall', ms: 300, begin: () => (daemon.kill('SIGSTOP'), () => daemon.kill('SIGCONT')) },
    {
      name: 'a deleted log',
      ms: 0,
      begin: () => (rmSync(join(daemon.dataDir, 'logs', 'daemon.log'), { force: true }), () => {}),
    },
    {
      name: 'a crowd',
      ms: 800,
      begin: () => {
        const there = crowd(daemon, 300)
        return () => there.leave()
      },
    },
  ]
}

class Storm {
  readonly outcomes: Record<string, number> = {}
  readonly counts: Record<string, number> = {}
  readonly problems: string[] = []
  readonly seen = { lent: [] as number[], openMost: 0 }
  readonly #daemon: TestDaemon
  readonly #known: readonly Known[]
  readonly #random: () => number
  #over = true

  constructor(daemon: TestDaemon, known: readonly Known[], random: () => number) {
    this.#daemon = daemon
    this.#known = known
    this.#random = random
  }

  get libraries(): string[] {
    return this.#known.map(({ library }) => library)
  }

  async blow(ms: number, faults: readonly Fault[], least: number): Promise<void> {
    this.#over = false
    const { budget } = (await this.#daemon.status()).descriptors
    const clients = Array.from({ length: Math.floor(budget * CLIENTS_SHARE) }, () => this.#pings())
    const readers = Array.from({ length: LIBRARY_CLIENTS }, () => this.#works())
    const looks = this.#looks()
    await this.#harm(performance.now() + ms, faults, least)
    this.#over = true
    await Promise.all([...clients, ...readers, looks])
  }

  /** What each library says now is what was last written to it, or one of the writes whose answer was lost. */
  async readBack(): Promise<void> {
    for (const known of this.#known) {
      const { name, files } = await this.#daemon.call('libraries.info', { library: known.library })
      if (!known.names.includes(name)) this.problems.push(`${name} is none of ${known.names.join(', ')}`)
      if (files !== 100) this.problems.push(`${name} has ${files} files`)
      known.names = [name]
    }
  }

  async #harm(until: number, faults: readonly Fault[], least: number): Promise<void> {
    // The load comes to its height first.
    await sleep(FAULT_EVERY_MS)
    for (let done = 0; done < least || performance.now() < until; done += 1) {
      const fault = faults[Math.floor(this.#random() * faults.length)]!
      this.counts[fault.name] = (this.counts[fault.name] ?? 0) + 1
      const end = await fault.begin()
      await sleep(fault.ms)
      await end()
      await sleep(FAULT_EVERY_MS * (0.5 + this.#random()))
    }
  }

  /** One that is there to be there. */
  async #pings(): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    await sleep(this.#random() * PING_MS)
    while (!this.#over) {
      const outcome = await this.#call(agent, 'core.ping', {})
      await sleep(outcome === 'answered' ? PING_MS : 1_000)
    }
    agent.destroy()
  }

  async #works(): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    while (!this.#over) {
      await this.#work(agent, this.#known[Math.floor(this.#random() * this.#known.length)]!)
      await sleep(20)
    }
    agent.destroy()
  }

  async #work(agent: http.Agent, known: Known): Promise<void> {
    const { library, location } = known
    const kind = Math.floor(this.#random() * 8)
    if (kind === 0) await this.#call(agent, 'locations.rescan', { library, location })
    else if (kind < 4) await this.#call(agent, 'search.files', { library, query: 'file' })
    else if (kind < 6) await this.#call(agent, 'libraries.info', { library })
    else if (!known.busy) await this.#rename(agent, known)
  }

  async #rename(agent: http.Agent, known: Known): Promise<void> {
    known.busy = true
    const name = `name ${this.#random()}`
    known.names.push(name)
    const outcome = await this.#call(agent, 'libraries.rename', { library: known.library, name })
    if (outcome === 'answered') known.names = [name]
    known.busy = false
  }

  async #call(agent: http.Agent, method: string, params: object): Promise<string> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const outcome = await this.#daemon.ask('/rpc', { method: 'POST', body, agent }).then(
      (answer) => {
        const reply = parsed(answer.body)
        if (reply?.result !== undefined) return 'answered'
        const code = reply?.error?.data?.code ?? reply?.code
        // Of what is nobody's fault but ours the words are wanted as well.
        return String(code === undefined ? answer.body : code === 'INTERNAL' ? `INTERNAL: ${answer.body}` : code)
      },
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    )
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
    return outcome
  }

  async #looks(): Promise<void> {
    for (let look = 0; !this.#over; look += 1) {
      this.seen.openMost = Math.max(this.seen.openMost, this.#daemon.descriptorCount)
      if (look % 20 === 19) await this.#look()
      await sleep(20)
    }
  }

  /** It may have no way in for the moment. */
  async #look(): Promise<void> {
    const status = await Promise.race([this.#daemon.status().catch(() => null), sleep(1_000).then(() => null)])
    if (!status) return
    const { classes, budget } = status.descriptors
    this.seen.lent.push(Object.values(classes).reduce((sum, { used }) => sum + used, 0) / budget)
  }
}

/** The same numbers from the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
