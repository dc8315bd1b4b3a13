// Requests that nobody waits for any more, told to the thread that has yet to come to them: it does not begin those. In shared
// memory, because a message would stand in line behind them.
import assert from 'node:assert'
import { LIMITS } from '../base/limits.js'

/** A power of two, so that every request in flight has a word of its own. */
const WORDS = 1 << Math.ceil(Math.log2(LIMITS.shardInFlightMax + 1))
assert(WORDS > LIMITS.shardInFlightMax)

export function newGivenUp(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)
}

export class GivenUp {
  readonly #words: Int32Array

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
  }

  /** @param number of the request, counted per shard */
  add(number: number): void {
    Atomics.store(this.#words, number % WORDS, number | 0)
  }

  has(number: number): boolean {
    return Atomics.load(this.#words, number % WORDS) === (number | 0)
  }
}
