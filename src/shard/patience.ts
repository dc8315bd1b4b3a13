// The clock by which those who wait for a shard grow older. It stands while the shard does: who waits for one that hangs, or that is
// at one long thing, loses nothing to others, and would find the same if it came again.
import { LIMITS } from '../base/limits.js'

export class Patience {
  ms = 0
  #lookedAt = 0
  #movedAt = 0
  #begun = 0

  /** From now on it is looked at intervals again. */
  begin(now: number): void {
    this.#lookedAt = this.#movedAt = now
  }

  /** What it shows between two looks; never less than before. */
  at(now: number): number {
    return this.ms + Math.min(now - this.#movedAt, LIMITS.queueStepMsMax)
  }

  /**
   * @param begun what the shard has begun so far
   * @param silentMs how long ago its loop was last heard to turn
   */
  look(now: number, begun: number, silentMs: number): void {
    const moved = begun !== this.#begun || silentMs <= now - this.#lookedAt
    this.#lookedAt = now
    this.#begun = begun
    if (!moved) return
    this.ms += Math.min(now - this.#movedAt, LIMITS.queueStepMsMax)
    this.#movedAt = now
  }
}
