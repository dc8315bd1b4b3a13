// What was asked while the loop stood still waits a moment more before it is begun: the kernel tells of a caller that has gone only
// after it has told what was asked. Who is still there then is served, the others' work is not begun.
import { LIMITS } from '../base/limits.js'

export class Resume {
  /** By how much the loop is late, or was until a moment ago. */
  readonly #lateMs: () => number
  /** Those of the time before, and those that came since. */
  #due: (() => void)[] = []
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(lateMs: () => number) {
    this.#lateMs = lateMs
  }

  /** True for what was read just now, if it may have waited for long. */
  get holds(): boolean {
    return this.#lateMs() >= LIMITS.stallMs && this.#due.length + this.#waiting.length < LIMITS.resumeHeldMax
  }

  /** @param begin must not throw; told to do nothing where its caller has gone meanwhile */
  hold(begin: () => void): void {
    this.#waiting.push(begin)
    if (!this.#timer) this.#timer = setTimeout(() => this.#release(), LIMITS.resumeHoldMs)
  }

  #release(): void {
    const due = this.#due
    this.#due = this.#waiting
    this.#waiting = []
    this.#timer = this.#due.length > 0 ? setTimeout(() => this.#release(), LIMITS.resumeHoldMs) : null
    for (const begin of due) begin()
  }
}
