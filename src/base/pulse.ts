// How the main thread's event loop fares: how busy it is and how late its timers come. Needs no descriptor.
import { performance } from 'node:perf_hooks'
import { LIMITS } from './limits.js'

/** A stall is seen if it is longer than this; perf_hooks has a finer clock, whose reset forgets a stall that has begun. */
const STEP_MS = 50

export const DELAY_BOUNDS_SECONDS = [0.005, 0.025, 0.1, 0.5, 1, 5] as const

/** Node counts it as work when this thread sleeps; nothing is done then. */
let sleptMs = 0
const NEVER = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))

/** Holds the main thread still, and nobody is served meanwhile: for a loop that would turn at full speed in vain. */
export function brake(ms: number): void {
  const begun = performance.now()
  Atomics.wait(NEVER, 0, 0, ms)
  sleptMs += performance.now() - begun
}

export interface Beat {
  /** Share of the time that the loop neither waited nor was held still, 0 to 1. */
  readonly utilization: number
  /** The latest that a timer came. */
  readonly delayMs: number
}

/** How long a loop did not turn, and how long ago that was over. */
export interface Stood {
  readonly stoodMs: number
  readonly agoMs: number
}

export class Pulse {
  /** Timers that came at most as late as each bound, and all of them: the buckets of a Prometheus histogram. */
  readonly buckets: number[] = [...DELAY_BOUNDS_SECONDS, Infinity].map(() => 0)
  delaySecondsSum = 0
  /** Since the last beat but one. */
  last: Beat = { utilization: 0, delayMs: 0 }
  /** Times that the loop stood still. */
  stalls = 0
  readonly #turned: (stoodMs: number | null) => void
  #stoodMs = 0
  #wentOnAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #due = Infinity
  #delayMs = 0
  #leastMs = Infinity
  #before = loopTimes()

  /** @param turned called in each step, with how long the loop stood still before it if it did */
  constructor(turned: (stoodMs: number | null) => void = () => undefined) {
    this.#turned = turned
  }

  start(): void {
    this.#due = performance.now() + STEP_MS
    this.#timer = setInterval(() => this.#step(), STEP_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** How it went since the last beat. */
  beat(): Beat {
    const now = loopTimes()
    const [active, idle] = [now.active - this.#before.active, now.idle - this.#before.idle]
    const utilization = active > 0 ? active / (active + idle) : 0
    // A stall that is still going on when this is called has not shown in any step.
    const late = Math.max(0, performance.now() - this.#due)
    this.last = { utilization, delayMs: Math.max(this.#delayMs, late) }
    this.#before = now
    this.#delayMs = 0
    return this.last
  }

  /** How late the timers were since it was asked last, each of them: one that was later than the others was a moment. */
  takeLeastMs(): number {
    const least = this.#leastMs
    this.#leastMs = Infinity
    return least < Infinity ? least : Math.max(0, performance.now() - this.#due)
  }

  /** The last time that the loop stood still, or null. */
  get stood(): Stood | null {
    return this.stalls === 0 ? null : { stoodMs: this.#stoodMs, agoMs: performance.now() - this.#wentOnAt }
  }

  /** By how much the loop is late at this moment, or was when it went on a moment ago. */
  lateMs(): number {
    const now = performance.now()
    const late = now - this.#due
    return late < LIMITS.stallMs && now - this.#wentOnAt < LIMITS.resumeMs ? this.#stoodMs : late
  }

  /** Milliseconds since the start of the process. */
  totals(): { active: number; idle: number } {
    return loopTimes()
  }

  #step(): void {
    const now = performance.now()
    const late = Math.max(0, now - this.#due)
    this.#due = now + STEP_MS
    if (late >= LIMITS.stallMs) this.#wentOn(now, late)
    this.#turned(late >= LIMITS.stallMs ? late : null)
    this.#delayMs = Math.max(this.#delayMs, late)
    this.#leastMs = Math.min(this.#leastMs, late)
    this.delaySecondsSum += late / 1_000
    const bucket = DELAY_BOUNDS_SECONDS.findIndex((bound) => late <= bound * 1_000)
    for (let at = bucket < 0 ? this.buckets.length - 1 : bucket; at < this.buckets.length; at += 1) {
      this.buckets[at]! += 1
    }
  }

  #wentOn(now: number, late: number): void {
    this.stalls += 1
    this.#stoodMs = late
    this.#wentOnAt = now
  }
}

function loopTimes(): { active: number; idle: number } {
  const { active, idle } = performance.eventLoopUtilization()
  return { active: active - sleptMs, idle: idle + sleptMs }
}
