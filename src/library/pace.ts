// When long work in a shard thread should give way to others.
import { LIMITS } from '../base/limits.js'

export class Pace {
  #until = performance.now() + LIMITS.searchSliceMs

  /** True once the slice is used up, and the next one begins. */
  isDue(): boolean {
    const now = performance.now()
    if (now < this.#until) return false
    this.#until = now + LIMITS.searchSliceMs
    return true
  }
}
