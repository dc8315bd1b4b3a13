// How many requests a shard has before it that it has not begun, and how long it takes to come to them: told in shared memory, once
// for all that it does in one go, so that it costs a single request nothing. Each thread that asks has a line of its own there.
import { LIMITS } from '../base/limits.js'

const NANOSECONDS = 0
const LONG = 1
/** Then for each line how many were sent and how many begun, each going round. */
const LINES_AT = 2
const SENT = 0
const BEGUN = 1
const LINE_WORDS = 2
/** Of what was measured before, so much counts each time. */
const MEMORY = 0.9
const MORE = 1.5
const LESS = 0.98

/** @param lines how many threads ask */
export function newAhead(lines: number): SharedArrayBuffer {
  return new SharedArrayBuffer((LINES_AT + lines * LINE_WORDS) * Int32Array.BYTES_PER_ELEMENT)
}

export class Ahead {
  readonly #words: Int32Array
  readonly #line: number
  readonly #lines: number
  #aheadMs: number = LIMITS.shardAheadMs
  #ms = 0
  #count = 0

  /** @param line of who asks; the shard itself uses any */
  constructor(shared: SharedArrayBuffer, line = 0) {
    this.#words = new Int32Array(shared)
    this.#line = LINES_AT + line * LINE_WORDS
    this.#lines = (this.#words.length - LINES_AT) / LINE_WORDS
  }

  /** By this line, so many. */
  sent(count: number): void {
    Atomics.add(this.#words, this.#line + SENT, count)
  }

  /** Of this line. */
  get count(): number {
    return this.#countAt(this.#line)
  }

  /** In how long the shard would begin what is sent now, after what all have sent. */
  get ms(): number {
    let all = 0
    for (let line = 0; line < this.#lines; line++) all += this.#countAt(LINES_AT + line * LINE_WORDS)
    return (all * Atomics.load(this.#words, NANOSECONDS)) / 1e6
  }

  /** How many of those that may go on for many turns do so, of all lines. */
  get long(): number {
    return Atomics.load(this.#words, LONG)
  }

  /** The shard, and nobody else, says so. */
  set long(count: number) {
    Atomics.store(this.#words, LONG, count)
  }

  /** How many of this line it should have before it at most, while they are few enough to be told apart. */
  get most(): number {
    const each = Atomics.load(this.#words, NANOSECONDS) * this.#lines
    const most = each === 0 ? LIMITS.shardAheadMax : Math.ceil((this.#aheadMs * 1e6) / each)
    return Math.max(LIMITS.shardAheadMin, Math.min(LIMITS.shardAheadMax, most))
  }

  /** It is to be sent more, and either has some still or ran out of them: then it is sent more at a time, for whoever sends is slow. */
  refilled(): void {
    const next = this.count > 0 ? this.#aheadMs * LESS : this.#aheadMs * MORE
    this.#aheadMs = Math.max(LIMITS.shardAheadMs, Math.min(LIMITS.shardAheadMsMax, next))
  }

  /** Of this line; goes round. */
  get begunSoFar(): number {
    return Atomics.load(this.#words, this.#line + BEGUN)
  }

  /** The shard, and nobody else, has begun so many of a line. */
  begun(count: number, line = 0): void {
    const at = LINES_AT + line * LINE_WORDS + BEGUN
    Atomics.store(this.#words, at, (this.#words[at]! + count) | 0)
  }

  /** The shard was at so many of them for so long. */
  took(ms: number, count: number): void {
    this.#ms = MEMORY * this.#ms + ms
    this.#count = MEMORY * this.#count + count
    Atomics.store(this.#words, NANOSECONDS, Math.min(2 ** 31 - 1, Math.ceil((1e6 * this.#ms) / this.#count)))
  }

  #countAt(line: number): number {
    return (Atomics.load(this.#words, line + SENT) - Atomics.load(this.#words, line + BEGUN)) | 0
  }
}
