// How the main thread's event loop fares: how busy it is and how late its timers come. Needs no descriptor.
import { performance, type EventLoopUtilization } from 'node:perf_hooks'

/** A stall is seen if it is longer than this; perf_hooks has a finer clock, whose reset forgets a stall that has begun. */
const STEP_MS = 50

export const DELAY_BOUNDS_SECONDS = [0.005, 0.025, 0.1, 0.5, 1, 5] as const

export interface Beat {
  /** Share of the time that the loop was not waiting, 0 to 1. */
  readonly utilization: number
  /** The latest that a timer came. */
  readonly delayMs: number
}

export class Pulse {
  /** Timers that came at most as late as each bound, and all of them: the buckets of a Prometheus histogram. */
  readonly buckets: number[] = [...DELAY_BOUNDS_SECONDS, Infinity].map(() => 0)
  delaySecondsSum = 0
  /** Since the last beat but one. */
  last: Beat = { utilization: 0, delayMs: 0 }
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #delayMs = 0
  #before: EventLoopUtilization = performance.eventLoopUtilization()

  start(): void {
    this.#due = performance.now() + STEP_MS
    this.#timer = setInterval(() => this.#step(), STEP_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** How it went since the last beat. */
  beat(): Beat {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#before)
    // A stall that is still going on when this is called has not shown in any step.
    const late = Math.max(0, performance.now() - this.#due)
    this.last = { utilization, delayMs: Math.max(this.#delayMs, late) }
    this.#before = now
    this.#delayMs = 0
    return this.last
  }

  /** Milliseconds since the start of the process. */
  totals(): { active: number; idle: number } {
    return performance.eventLoopUtilization()
  }

  #step(): void {
    const now = performance.now()
    const late = Math.max(0, now - this.#due)
    this.#due = now + STEP_MS
    this.#delayMs = Math.max(this.#delayMs, late)
    this.delaySecondsSum += late / 1_000
    const bucket = DELAY_BOUNDS_SECONDS.findIndex((bound) => late <= bound * 1_000)
    for (let at = bucket < 0 ? this.buckets.length - 1 : bucket; at < this.buckets.length; at += 1) {
      this.buckets[at]! += 1
    }
  }
}
