// One clock for every answer in flight. All deadlines are equally long, so the oldest is always first: a list is enough,
// and a request costs two pointer changes instead of a timer.
import { LIMITS } from '../base/limits.js'

/** Something that must end in time. The links belong to the list it is in. */
export abstract class Timed {
  older: Timed | null = null
  newer: Timed | null = null
  /** The step at which it was added, or −1 when it is in no list. */
  step = -1

  /** Called once when the deadline has passed; it is in no list any more. Must not throw. */
  abstract expire(): void
}

export class Deadlines {
  readonly #stepMs: number
  readonly #steps: number
  #step = 0
  #tickedAt = 0
  #count = 0
  #oldest: Timed | null = null
  #newest: Timed | null = null
  #timer: NodeJS.Timeout | null = null
  #whenIdle: (() => void) | null = null

  constructor(responseMs: number) {
    this.#stepMs = Math.max(1, Math.min(LIMITS.deadlineStepMs, responseMs / 4))
    this.#steps = Math.ceil(responseMs / this.#stepMs)
  }

  get count(): number {
    return this.#count
  }

  add(timed: Timed): void {
    timed.step = this.#step
    timed.older = this.#newest
    if (this.#newest) this.#newest.newer = timed
    else this.#oldest = timed
    this.#newest = timed
    this.#count += 1
    if (!this.#timer) this.#start()
  }

  /** Its time begins anew; it is in flight all the while. */
  renew(timed: Timed): void {
    this.#unlink(timed)
    this.add(timed)
  }

  remove(timed: Timed): void {
    if (timed.step < 0) return
    this.#unlink(timed)
    if (this.#count === 0) this.#whenIdle?.()
  }

  #unlink(timed: Timed): void {
    if (timed.step < 0) return
    timed.step = -1
    if (timed.older) timed.older.newer = timed.newer
    else this.#oldest = timed.newer
    if (timed.newer) timed.newer.older = timed.older
    else this.#newest = timed.older
    timed.older = timed.newer = null
    this.#count -= 1
  }

  /** Resolves once nothing is in flight, or after `deadlineMs`. */
  async idle(deadlineMs: number): Promise<void> {
    if (this.#count === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve
      timer = setTimeout(resolve, deadlineMs)
    })
    clearTimeout(timer)
    this.#whenIdle = null
  }

  /** Stops the clock; what is still in flight is the caller's to cut off. */
  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #start(): void {
    this.#tickedAt = performance.now()
    this.#timer = setInterval(() => this.#tick(), this.#stepMs).unref()
  }

  #tick(): void {
    // A loop that is late makes up for it, one that stood still does not: nobody could be in time meanwhile.
    const now = performance.now()
    const passed = Math.round((now - this.#tickedAt) / this.#stepMs)
    this.#step += Math.max(1, Math.min(passed, LIMITS.deadlineStepsMax))
    this.#tickedAt = now
    for (let oldest = this.#oldest; oldest && this.#step - oldest.step > this.#steps; oldest = this.#oldest) {
      this.remove(oldest)
      oldest.expire()
    }
    if (this.#count === 0) this.stop()
  }
}
