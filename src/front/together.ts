// Answers that leave with the others of the same turn of the loop. Whoever sleeps is woken by what is written to it, and where it runs
// on the same machine that costs the writer more than all else of a small answer; a burst wakes it once.
import { LIMITS } from '../base/limits.js'

export interface Leaving {
  /** Must not throw. */
  leave(): void
}

export class Together {
  #waiting: (Leaving | null)[] = []
  readonly #flush = () => this.flush()

  /** False where so many wait that it leaves alone. */
  takes(one: Leaving): boolean {
    if (this.#waiting.length >= LIMITS.answersTogetherMax) return false
    if (this.#waiting.push(one) === 1) setImmediate(this.#flush)
    return true
  }

  /** Its client has gone. */
  remove(one: Leaving): void {
    const at = this.#waiting.indexOf(one)
    if (at >= 0) this.#waiting[at] = null
  }

  flush(): void {
    for (const one of this.#waiting) one?.leave()
    this.#waiting = []
  }
}
