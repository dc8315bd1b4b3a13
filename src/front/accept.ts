// Listeners whose accept fails are left alone for a moment. Nobody is told when accept fails, and what waits for it would turn
// the loop at full speed (L1, L4). Second line: a listener has something to accept, a whole turn of the loop went by, and nobody
// was met. Third line: the loop is busy and turns fast, with nothing to show for it.
import { performance } from 'node:perf_hooks'
import { LIMITS } from '../base/limits.js'
import { lend } from '../descriptors/reserve.js'

/** One listening socket. Its owner counts whom it meets, let in or not. */
export interface Door {
  readonly name: string
  /** Its accept closes whom it finds no descriptor for, as libuv's does: nobody is left waiting, and nobody is told. */
  readonly sheds: boolean
  readonly met: number
  /** Called for each that is accepted. */
  meet(): void
  /** Whether somebody waits to be accepted; null where that cannot be told. */
  waiting(): boolean | null
  pause(): void
  resume(): void
  /** Its owner closes the listener. */
  close(): void
}

export interface AcceptSetup {
  readonly log: (level: 'info' | 'warn', message: string, fields?: Record<string, unknown>) => void
  /** Frees descriptors of the reserve until it is disposed of, so that those who wait can be told; null when it has none. */
  readonly borrow: () => Disposable | null
  /** Whether so many descriptors can be had now. */
  readonly room: (count: number) => boolean
  /** Everything the loop has worked at so far: requests, answers, messages of threads. */
  readonly work: () => number
}

/** A descriptor of the reserve, for whoever is accepted only to be told; null where it has none. */
export function borrowForAccept(): Disposable | null {
  const loan = lend('accept')
  return loan.count > 0 ? loan : null
}

export type AcceptState = 'open' | 'failing' | 'spinning'

interface Watched {
  readonly door: Door
  /** 0 while accepting works. */
  pauseMs: number
  paused: boolean
  until: number
  looking: boolean
}

export class AcceptWatch {
  /** Looks at which accept was found to fail. */
  failures = 0
  readonly #setup: AcceptSetup
  readonly #watched: Watched[] = []
  /** The latest that a tick came, in the last minute. */
  latestMs = 0
  #latestAt = 0
  #due = Infinity
  #timer: NodeJS.Timeout | null = null
  #loan: Disposable | null = null
  #loanUntil = 0
  #toldAt = -Infinity
  #toldFailing = false
  #spin = new Spin()
  #spinning = false

  constructor(setup: AcceptSetup) {
    this.#setup = setup
  }

  get state(): AcceptState {
    if (this.#spinning) return 'spinning'
    return this.#watched.some((each) => each.pauseMs > 0) ? 'failing' : 'open'
  }

  /** True while descriptors of the reserve are lent: newcomers are told so instead of being let in. */
  get starved(): boolean {
    return this.#loan !== null
  }

  add(door: Door): void {
    this.#watched.push({ door, pauseMs: 0, paused: false, until: 0, looking: false })
    this.#timer ??= setInterval(() => this.#tick(), LIMITS.acceptLookMs).unref()
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    for (const { door } of this.#watched) door.close()
    this.#watched.length = 0
    this.#giveBack()
  }

  /**
   * Called for each that was let in at a door that sheds, and on what is lent: whoever sits on the last descriptor leaves none to
   * tell the next, who would be closed without a word. Then one more is lent.
   */
  admitted(door: Door): void {
    const watched = this.#watched.find((each) => each.door === door)
    if (!watched || !(door.sheds || this.starved) || this.#setup.room(1)) return
    const now = performance.now()
    this.#giveBack()
    if (door.sheds) this.#makeRoom(watched, now)
    else this.#lend(now)
  }

  /** Whoever was told on what is lent has to be gone before the next is met. */
  rest(door: Door): void {
    const watched = this.#watched.find((each) => each.door === door)
    if (!watched || watched.paused || !door.sheds || door.waiting() === null || this.#setup.room(1)) return
    door.pause()
    watched.paused = true
    watched.until = performance.now() + LIMITS.acceptLookMs
  }

  #tick(): void {
    const now = performance.now()
    this.#measure(now)
    // One of two is what was lent.
    if (this.#loan && (now >= this.#loanUntil || this.#setup.room(2))) this.#giveBack()
    for (const watched of this.#watched) this.#visit(watched, now)
    const spin = this.#spin.look(now, this.#workAndMet(), this.state === 'open' ? FIRST : AGAIN)
    if (spin !== null) this.#judge(spin, now)
  }

  #measure(now: number): void {
    const lateMs = Math.max(0, now - this.#due)
    this.#due = now + LIMITS.acceptLookMs
    if (lateMs < this.latestMs && now - this.#latestAt < LIMITS.latestKeptMs) return
    this.latestMs = lateMs
    this.#latestAt = now
  }

  #visit(watched: Watched, now: number): void {
    if (watched.door.sheds && !this.#hasRoom(watched, now)) return
    if (!watched.paused) {
      if (watched.door.waiting()) this.#look(watched)
    } else if (now >= watched.until) this.#resume(watched, now)
  }

  /** Room is made before anybody comes or, where there is none to lend, those who come are left to wait. */
  #hasRoom(watched: Watched, now: number): boolean {
    if (watched.paused && now < watched.until) return false
    return this.#setup.room(1) || this.#makeRoom(watched, now)
  }

  #makeRoom(watched: Watched, now: number): boolean {
    this.failures += 1
    this.#tell(now, `no descriptor can be had for those who come to ${watched.door.name}`)
    if (this.#lend(now)) return true
    if (watched.door.waiting() !== null) this.#pause(watched, now)
    return false
  }

  #resume(watched: Watched, now: number): void {
    watched.door.resume()
    watched.paused = false
    if (watched.door.waiting() === null) this.#spin.look(now, this.#workAndMet(), { ...AGAIN, windowMs: 0 })
    else this.#look(watched)
  }

  /** By the check phase the loop has polled: with somebody waiting before, accept was called. */
  #look(watched: Watched): void {
    if (watched.looking) return
    const { door } = watched
    const { met } = door
    watched.looking = true
    setImmediate(() => {
      watched.looking = false
      if (!this.#watched.includes(watched)) return
      if (door.met === met && door.waiting()) this.#failed(watched)
      else this.#opened(watched)
    })
  }

  #failed(watched: Watched): void {
    const now = performance.now()
    this.failures += 1
    this.#tell(now, `accept fails at ${watched.door.name}: no descriptor can be had for those who wait`)
    if (watched.pauseMs === 0 && this.#lend(now)) this.#look(watched)
    else this.#pause(watched, now)
  }

  #pause(watched: Watched, now: number): void {
    if (!watched.paused) watched.door.pause()
    watched.paused = true
    watched.pauseMs = Math.min(2 * watched.pauseMs || LIMITS.acceptPauseMs, LIMITS.acceptPauseMsMax)
    watched.until = now + watched.pauseMs
  }

  #opened(watched: Watched): void {
    const paused = watched.pauseMs > 0
    watched.pauseMs = 0
    if (!paused || this.state !== 'open' || !this.#toldFailing) return
    this.#toldFailing = false
    this.#setup.log('info', 'connections are accepted again', { failures: this.failures })
  }

  /** Once: what was lent and did not help would be lent in vain again. */
  #lend(now: number): boolean {
    if (this.#loan) return false
    this.#loan = this.#setup.borrow()
    this.#loanUntil = now + LIMITS.acceptLoanMs
    return this.#loan !== null
  }

  #giveBack(): void {
    this.#loan?.[Symbol.dispose]()
    this.#loan = null
  }

  #workAndMet(): number {
    return this.#watched.reduce((sum, { door }) => sum + door.met, this.#setup.work())
  }

  /** With the addon those that wait were seen to already, and pausing the others would change nothing. */
  #judge(spinning: boolean, now: number): void {
    this.#spinning = spinning
    if (spinning) this.#tell(now, 'the loop turns without work', { turns: this.#spin.turns })
    for (const watched of this.#watched) {
      if (watched.paused || watched.door.waiting() !== null) continue
      if (spinning) this.#pause(watched, now)
      else if (watched.pauseMs > 0) this.#opened(watched)
    }
  }

  #tell(now: number, message: string, fields: Record<string, unknown> = {}): void {
    if (now - this.#toldAt < LIMITS.acceptTellMs) return
    this.#toldAt = now
    this.#toldFailing = true
    this.#setup.log('warn', message, { ...fields, failures: this.failures })
  }
}

interface Look {
  readonly windowMs: number
  readonly turnsPerMs: number
  readonly utilization: number
}

const FIRST: Look = {
  windowMs: LIMITS.spinLookMs,
  turnsPerMs: LIMITS.spinTurnsPerMs,
  utilization: LIMITS.spinUtilization,
}
/** A loop that was found to spin is let go for a moment: where it is slow it turns less often, and seems to wait in between. */
const AGAIN: Look = { windowMs: LIMITS.acceptLookMs, turnsPerMs: LIMITS.spinAgainTurnsPerMs, utilization: 0 }

interface Turns {
  readonly uvMetricsInfo?: { readonly loopCount: number }
}

/** Whether the loop, since it was last looked at, was busy all the time, turned fast, and did next to nothing. */
class Spin {
  turns = 0
  #at = performance.now()
  #work = 0
  #loops = 0
  #before = performance.eventLoopUtilization()

  /** Null until so much time has passed since the last judgement. */
  look(now: number, work: number, asked: Look): boolean | null {
    const passedMs = now - this.#at
    if (passedMs < asked.windowMs) return null
    const after = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(after, this.#before)
    // Node 20.18 and 22.8 count them; before that a busy loop cannot be told from one that turns.
    const loops = (performance.nodeTiming as unknown as Turns).uvMetricsInfo?.loopCount ?? 0
    this.turns = loops - this.#loops
    const done = work - this.#work
    // Others have the processor: so few turns say nothing yet.
    if (asked === AGAIN && this.turns < LIMITS.spinAgainTurnsMin && utilization > LIMITS.spinUtilization) return null
    this.#at = now
    this.#before = after
    this.#work = work
    this.#loops = loops
    return (
      utilization > asked.utilization &&
      this.turns > asked.turnsPerMs * passedMs &&
      done < LIMITS.spinWorkShare * this.turns
    )
  }
}
