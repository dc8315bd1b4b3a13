// How many requests may be sent to a shard ahead of its work. The shard tells, in shared memory, how many it has begun and how
// long one takes it; what is sent beyond a moment's work would stand in line where no order and no refusal reaches it.
import { LIMITS } from '../base/limits.js'

const BEGUN = 0
const MICROSECONDS = 1
const WORDS = 2
/** Of what was measured before, so much counts beside each message. */
const MEMORY = 0.8

export class Ahead {
  readonly shared: SharedArrayBuffer
  readonly #words: Int32Array
  #sent = 0
  #ms = 0
  #count = 0

  constructor(shared = new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared
    this.#words = new Int32Array(shared)
  }

  /** The main thread sends one. */
  sent(): void {
    this.#sent = (this.#sent + 1) | 0
  }

  /** How many more may be sent now. */
  get room(): number {
    const ahead = (this.#sent - Atomics.load(this.#words, BEGUN)) | 0
    return this.#most - ahead
  }

  get #most(): number {
    const each = Atomics.load(this.#words, MICROSECONDS)
    const most = each === 0 ? LIMITS.shardAheadMax : Math.ceil((LIMITS.shardAheadMs * 1_000) / each)
    return Math.max(LIMITS.shardAheadMin, Math.min(LIMITS.shardAheadMax, most))
  }

  /** The shard begins one. */
  begun(): void {
    Atomics.add(this.#words, BEGUN, 1)
  }

  /** The shard was at `count` of them for so long. */
  took(ms: number, count: number): void {
    this.#ms = MEMORY * this.#ms + ms
    this.#count = MEMORY * this.#count + count
    Atomics.store(this.#words, MICROSECONDS, Math.ceil((1_000 * this.#ms) / this.#count))
  }
}
