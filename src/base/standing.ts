// What stands, of something that is looked at again and again: the least of the last looks. What was more than that in between
// came and went, and is no reason to refuse anybody.
import { LIMITS } from './limits.js'

export class Standing {
  readonly #last: number[] = Array.from({ length: LIMITS.pressureStandsLooks }, () => 0)

  /** @returns what it was at least, at this look and those before */
  look(value: number): number {
    this.#last.shift()
    this.#last.push(value)
    return Math.min(...this.#last)
  }
}
