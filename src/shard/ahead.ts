// How many requests a shard has before it that it has not begun, and how long it takes to come to them: told in shared memory, once
// for all that it does in one go, so that it costs a single request nothing.
import { LIMITS } from '../base/limits.js'

const BEGUN = 0
const NANOSECONDS = 1
const WORDS = 2
/** Of what was measured before, so much counts each time. */
const MEMORY = 0.9
const MORE = 1.5
const LESS = 0.98

export class Ahead {
  readonly shared: SharedArrayBuffer
  readonly #words: Int32Array
  #sent = 0
  #aheadMs: number = LIMITS.shardAheadMs
  #ms = 0
  #count = 0

  constructor(shared = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared
    this.#words = new Int32Array(shared)
  }

  /** The main thread sends so many. */
  sent(count: number): void {
    this.#sent = (this.#sent + count) | 0
  }

  get count(): number {
    return (this.#sent - this.begunSoFar) | 0
  }

  /** In how long the shard would begin what is sent now. */
  get ms(): number {
    return (this.count * Atomics.load(this.#words, NANOSECONDS)) / 1e6
  }

  /** How many it should have before it at most, while they are few enough to be told apart. */
  get most(): number {
    const each = Atomics.load(this.#words, NANOSECONDS)
    const most = each === 0 ? LIMITS.shardAheadMax : Math.ceil((this.#aheadMs * 1e6) / each)
    return Math.max(LIMITS.shardAheadMin, Math.min(LIMITS.shardAheadMax, most))
  }

  /** It is to be sent more, and either has some still or ran out of them: then it is sent more at a time, for whoever sends is slow. */
  refilled(): void {
    const next = this.count > 0 ? this.#aheadMs * LESS : this.#aheadMs * MORE
    this.#aheadMs = Math.max(LIMITS.shardAheadMs, Math.min(LIMITS.shardAheadMsMax, next))
  }

  /** Goes round. */
  get begunSoFar(): number {
    return Atomics.load(this.#words, BEGUN)
  }

  /** The shard, and nobody else, has begun so many. */
  begun(count: number): void {
    Atomics.store(this.#words, BEGUN, (this.#words[BEGUN]! + count) | 0)
  }

  /** The shard was at so many of them for so long. */
  took(ms: number, count: number): void {
    this.#ms = MEMORY * this.#ms + ms
    this.#count = MEMORY * this.#count + count
    Atomics.store(this.#words, NANOSECONDS, Math.min(2 ** 31 - 1, Math.ceil((1e6 * this.#ms) / this.#count)))
  }
}
