// The exhaustion sweep: over whole scenarios the Nth descriptor from their start on fails, for every N; and what must hold after each.
import assert from 'node:assert'
import http from 'node:http'
import { readdirSync } from 'node:fs'
import { eventually, Refusal, sleep, within, type Loose, type TestDaemon } from './daemon.js'
import { compileNth, Nth } from './nth.js'
import { closedUnseen } from './rest.js'
import type { Scene } from './scene.js'

/**
 * How descriptors come to fail. `limit to the end`: the soft limit is cut to what is open and N more until the scenario is over or
 * goes no further; `limit to the middle`: until its middle; `single shot`: only the Nth call that makes a descriptor fails.
 */
export const WAYS = ['limit to the end', 'limit to the middle', 'single shot'] as const
export type Way = (typeof WAYS)[number]

const SOFT = 1024
const LIBRARIES = 20
/** A scenario that moved no more for this long waits for descriptors: the limit is given back. */
const STALLED_MS = 1_000
const LATE_SHARE = 1.05
const LATE_MAX = 5
const PLAYED_MS = 60_000
/** From the end of the fault until everybody is served. */
const RECOVERY_MS = 20_000
const LOOKED_MS = 60_000
/** With so many N in a row that nobody felt, past the most that was ever open, the end is reached. */
const UNFELT_IN_A_ROW = 3

/** What may be said while descriptors are short. */
const TYPED = /^(BUDGET_EXHAUSTED|CONNECTION_LIMIT|SHARD_LOST|SHARD_BUSY|OVERLOADED|closed before an answer)$/

/** A library and what may be read back: the last name that was acknowledged, and those whose answer never came. */
interface Known {
  readonly id: string
  readonly location: string
  readonly names: Set<string>
  readonly locationNames: Set<string>
}

export interface Scenario {
  readonly name: string
  readonly play: (stage: Stage) => Promise<void>
  /** Beside what is looked at after every scenario. */
  readonly check?: (stage: Stage) => Promise<void>
}

/** What one N came to. */
export interface Run {
  readonly n: number
  /** The fault was met: with a single shot the kernel's word for it, with a limit by what was said or how many were open. */
  readonly met: boolean
  /** The call that failed, where it is known. */
  readonly call: string | null
  /** What clients were told, and how often; nothing when all were served. */
  readonly said: ReadonlyMap<string, number>
  readonly problems: readonly string[]
}

/** One daemon, its libraries, and a scenario being played on them again and again. */
export class Stage {
  readonly daemon: TestDaemon
  readonly nth: Nth | null
  readonly scene: Scene
  readonly small: string
  readonly known: Known[] = []
  readonly problems: string[] = []
  /** Grows by every answer: a scenario that moves is not stalled. */
  moves = 0
  middle: () => void = () => {}
  #said = new Map<string, number>()
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  #base: string[] = []
  #budget = 0
  #serial = 0

  private constructor(scene: Scene, daemon: TestDaemon, nth: Nth | null, small: string) {
    this.scene = scene
    this.daemon = daemon
    this.nth = nth
    this.small = small
  }

  static async open(scene: Scene, front: string, way: Way, libraries = LIBRARIES): Promise<Stage> {
    const nth = way === 'single shot' ? await openNth(scene) : null
    const through = nth?.through ?? []
    const daemon = await scene.daemon({ limit: `${SOFT}:${SOFT}`, args: ['--front', front], through })
    const stage = new Stage(scene, daemon, nth, scene.tree('small', 3))
    for (let at = 0; at < libraries; at++) await stage.#make(`library ${at}`)
    await stage.#rest()
    stage.#base = await daemon.descriptorsAtRest()
    stage.#budget = (await daemon.status()).descriptors.budget
    return stage
  }

  async close(): Promise<void> {
    this.#agent.destroy()
    assert.equal((await this.daemon.stop()).code, 0)
    await this.nth?.close()
  }

  async #make(name: string): Promise<void> {
    const { library, location } = await this.daemon.index(name, this.small)
    await this.daemon.call('locations.update', { library, location, name })
    this.known.push({ id: library, location, names: new Set([name]), locationNames: new Set([name]) })
  }

  /** A value that was never there before. */
  fresh(word: string): string {
    this.#serial += 1
    return `${word} ${this.#serial}`
  }

  /** Asks over the connection that was there before the fault, and notes what came of it. */
  async act(method: string, params: object, agent = this.#agent): Promise<Loose> {
    try {
      return await this.daemon.call(method, params, { agent })
    } catch (error) {
      this.note(codeOf(error), `${method}: ${(error as Error).message}`)
      return undefined
    } finally {
      this.moves += 1
    }
  }

  note(code: string, what: string): void {
    this.#said.set(code, (this.#said.get(code) ?? 0) + 1)
    if (!TYPED.test(code)) this.problems.push(`${code} from ${what}`)
  }

  /** Over the same connection, and without a word of what came of it: looking costs no descriptor. */
  ask(method: string, params: object): Promise<Loose> {
    return this.daemon.call(method, params, { agent: this.#agent })
  }

  async write(known: Known, what: 'names' | 'locationNames', agent = this.#agent): Promise<void> {
    const { id: library, location } = known
    const name = this.fresh(what)
    known[what].add(name)
    const done =
      what === 'names'
        ? await this.act('libraries.rename', { library, name }, agent)
        : await this.act('locations.update', { library, location, name }, agent)
    if (!done) return
    known[what].clear()
    known[what].add(name)
  }

  /** Plays the scenario once with its Nth descriptor failing, and looks at everything afterwards. */
  async run(scenario: Scenario, way: Way, n: number): Promise<Run> {
    this.#said = new Map()
    this.problems.length = 0
    const fault = way === 'single shot' ? this.#shot(n) : this.#cut(n)
    await eventually('the first client is let in', RECOVERY_MS, () => this.#isLetIn())
    await fault.begin()
    if (way === 'limit to the middle') this.middle = () => fault.end()
    const played = scenario.play(this)
    try {
      if (way !== 'single shot') await Promise.race([played, this.#stalled()])
      if (way !== 'single shot') fault.end()
      await within(PLAYED_MS, `${scenario.name} is through`, played)
      const { met, call } = await fault.met()
      const said = this.#said
      await this.#look(scenario, call)
      return { n, met: met || said.size > 0, call, said, problems: [...this.problems] }
    } finally {
      this.middle = () => {}
    }
  }

  /** Where others were before, who comes may be told to come again. */
  #isLetIn(): Promise<boolean> {
    return this.daemon.call('core.ping', {}, { agent: this.#agent }).then(() => true, toComeAgain)
  }

  #shot(n: number) {
    const nth = this.nth!
    return {
      begin: () => nth.arm(n),
      end: () => {},
      met: async () => {
        const { call } = await nth.fired()
        await nth.arm(0)
        return { met: call !== null, call }
      },
    }
  }

  #cut(free: number) {
    const { daemon } = this
    let most = 0
    let until = 0
    const look = setInterval(() => (most = Math.max(most, highest(daemon.pid))), 2)
    this.scene.atEnd(() => clearInterval(look))
    return {
      begin: async () => {
        until = limitFor(daemon.pid, free)
        daemon.limit(until)
      },
      end: () => daemon.limit(SOFT),
      met: async () => {
        clearInterval(look)
        return { met: most + 1 >= until, call: null }
      },
    }
  }

  /** A look that comes late says that the machine is busy, and not that the daemon waits. */
  async #stalled(): Promise<void> {
    for (let late = 0; late < LATE_MAX;) {
      const before = this.moves
      const begun = performance.now()
      await sleep(STALLED_MS)
      if (before !== this.moves) late = 0
      else if (performance.now() - begun < STALLED_MS * LATE_SHARE) return
      else late += 1
    }
  }

  /** No loss, no read-only library, nothing damaged, and the descriptors of before. */
  async #look(scenario: Scenario, call: string | null): Promise<void> {
    const { daemon } = this
    await eventually('it answers again, and has noticed the limit', LOOKED_MS, async () => {
      const status = await daemon.status().catch(() => null)
      return status?.limit.soft === SOFT && status.descriptors.budget === this.#budget
    })
    // Where accept failed, the reserve is lent a moment longer, and whoever is let in meanwhile is asked to wait.
    await eventually('newcomers are served', RECOVERY_MS, () => daemon.watch('libraries.list').catch(toComeAgain))
    await scenario.check?.(this)
    for (const known of this.known) await this.#lookAt(known)
    const listed: Loose[] = await daemon.watch('libraries.list')
    const ids = this.known.map(({ id }) => id).sort()
    assert.deepEqual(listed.map(({ id }) => id).sort(), ids)
    assert.deepEqual(
      listed.filter(({ problem }) => problem),
      [],
      'no library is marked damaged',
    )
    await this.#rest()
    const now = await daemon.descriptorsAtRest(this.#base)
    const changed = now.join() !== this.#base.join() && difference(this.#base, now)
    if (changed && !isLibuvs(call, changed)) this.problems.push(`descriptors: ${changed}`)
    // What one N left over is told once.
    this.#base = now
  }

  async #lookAt(known: Known): Promise<void> {
    const { daemon } = this
    const { id: library, location, names, locationNames } = known
    const info = await daemon.watch('libraries.info', { library })
    const locationName = info.locations.find((each: Loose) => each.id === location)?.name
    if (!names.has(info.name)) this.problems.push(`lost: ${info.name} is none of ${[...names].join()}`)
    if (!locationNames.has(locationName))
      this.problems.push(`lost: ${locationName} is none of ${[...locationNames].join()}`)
    if (info.files !== 3) this.problems.push(`lost: ${info.files} files instead of 3`)
    const name = this.fresh('again')
    await daemon.watch('locations.update', { library, location, name })
    locationNames.clear()
    locationNames.add(name)
    names.clear()
    names.add(info.name)
  }

  /** With libraries closed, task threads gone, and nobody connected. */
  async #rest(): Promise<void> {
    const { daemon } = this
    daemon.hangUp()
    this.#agent.destroy()
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (const { id: library } of this.known) await closedUnseen(daemon, library)
    await eventually('nothing is leased but by the looking client', LOOKED_MS, async () => {
      const { classes } = (await daemon.status()).descriptors
      return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
    })
  }
}

async function openNth(scene: Scene): Promise<Nth> {
  const compiled = compileNth(scene.directory)
  if ('missing' in compiled) throw new Error(compiled.missing)
  const nth = await Nth.open(compiled.binary, scene.directory)
  scene.atEnd(() => nth.close())
  return nth
}

function toComeAgain(error: unknown): false {
  if (codeOf(error) !== 'CONNECTION_LIMIT') throw error
  return false
}

/** Ours where it is one; a connection that ended before it was answered says no code. */
export function codeOf(error: unknown): string {
  if (error instanceof Refusal) return error.code
  const { code = '', message } = error as NodeJS.ErrnoException
  if (code === 'ECONNRESET' || code === 'EPIPE' || message === 'socket hang up') return 'closed before an answer'
  return /"CONNECTION_LIMIT"/.test(message) ? 'CONNECTION_LIMIT' : code || message
}

/** The soft limit under which exactly `free` more descriptors can be had: it bounds their numbers, and there may be holes. */
function limitFor(pid: number, free: number): number {
  const open = new Set(numbers(pid))
  let at = 0
  for (let left = free; ; at++) {
    if (open.has(at)) continue
    if (left === 0) return at
    left -= 1
  }
}

/** Of the numbers below the limit we began with; what a shell passed on far above is no concern. */
function highest(pid: number): number {
  const open = new Set(numbers(pid))
  let top = 0
  while (open.has(top + 1)) top += 1
  return top
}

function numbers(pid: number): number[] {
  return readdirSync(`/proc/${pid}/fd`).map(Number)
}

/**
 * The libuv of Node 20 forgets the epoll descriptor of a loop whose pipe or eventfd it could not make; later ones close it. Against
 * a real limit the daemon proves room before it starts a thread, so that only a single shot gets there.
 */
export function isLibuvs(call: string | null, changed: string): boolean {
  const old = Number(process.versions.node.split('.')[0]) < 22
  const inLoop = call !== null && /^(pipe2|eventfd2|openat \/dev\/null)/.test(call)
  return old && inLoop && changed === 'left over: anon_inode:[eventpoll]; gone: none'
}

export function difference(before: readonly string[], after: readonly string[]): string {
  const rest = [...after]
  const gone = before.filter((each) => {
    const at = rest.indexOf(each)
    if (at >= 0) rest.splice(at, 1)
    return at < 0
  })
  return `left over: ${rest.join(', ') || 'none'}; gone: ${gone.join(', ') || 'none'}`
}

/** Plays a scenario for one N after the other until the fault is met no more, or for those that are given. */
export async function sweep(
  stage: Stage,
  scenario: Scenario,
  way: Way,
  { ns = from(0), told = () => {} }: { ns?: Iterable<number>; told?: (run: Run) => void } = {},
): Promise<Run[]> {
  const runs: Run[] = []
  let unfelt = 0
  for (const n of ns) {
    if (way === 'single shot' && n === 0) continue
    const run = await stage.run(scenario, way, n)
    runs.push(run)
    told(run)
    unfelt = run.met ? 0 : unfelt + 1
    if (unfelt >= (way === 'single shot' ? 1 : UNFELT_IN_A_ROW)) break
  }
  return runs
}

function* from(first: number): Generator<number> {
  for (let n = first; ; n++) yield n
}

export interface Tally {
  swept: number
  /** Runs whose fault a client was told of. */
  told: number
  /** Runs whose fault nobody noticed. */
  hidden: number
  readonly said: Map<string, number>
  readonly problems: string[]
}

export function tally(runs: readonly Run[]): Tally {
  const sum: Tally = { swept: 0, told: 0, hidden: 0, said: new Map(), problems: [] }
  for (const { n, met, call, said, problems } of runs) {
    if (!met) continue
    sum.swept += 1
    if (said.size > 0) sum.told += 1
    else sum.hidden += 1
    for (const [code, count] of said) sum.said.set(code, (sum.said.get(code) ?? 0) + count)
    sum.problems.push(...problems.map((each) => `N = ${n}${call ? ` (${call})` : ''}: ${each}`))
  }
  return sum
}
