// Answers that leave with the others of the same turn of the loop. Whoever sleeps is woken by what is written to it, and where it runs
// on the same machine that costs the writer more than all else of a small answer; a burst wakes it once.
import { LIMITS } from '../base/limits.js'

export interface Leaving {
  /** Must not throw. */
  leave(): void
}

export class Together {
  readonly #waiting = new Set<Leaving>()
  readonly #flush = () => this.flush()

  /** False where so many wait that it leaves alone. */
  takes(one: Leaving): boolean {
    if (this.#waiting.size >= LIMITS.answersTogetherMax) return false
    this.#waiting.add(one)
    if (this.#waiting.size === 1) setImmediate(this.#flush)
    return true
  }

  /** Its client has gone. */
  remove(one: Leaving): void {
    this.#waiting.delete(one)
  }

  flush(): void {
    for (const one of this.#waiting) {
      this.#waiting.delete(one)
      one.leave()
    }
  }
}
