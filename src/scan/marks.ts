// A set of numbers that all threads share, each with how often it was added, in memory of a fixed size.
//
// A number may stand in two buckets of 16 words: 48 bits of it and 16 of its count in one word, changed by compare-and-swap.
// A look is 32 loads at most, and what was removed leaves nothing behind.
const BUCKET_WORDS = 16
const COUNT_BITS = 16n
const COUNT_MAX = (1n << COUNT_BITS) - 1n

/** Where of the two halves of a word the upper one lies. */
const UPPER = new Uint8Array(Uint32Array.of(1).buffer)[0]! === 1 ? 1 : 0

export class Marks {
  readonly #words: BigUint64Array
  /** The same words: a half is a plain number, and each look at a whole one would make a BigInt. */
  readonly #halves: Int32Array
  readonly #mask: bigint

  /** @param buckets a power of two */
  static memory(buckets: number): SharedArrayBuffer {
    return new SharedArrayBuffer(buckets * BUCKET_WORDS * BigUint64Array.BYTES_PER_ELEMENT)
  }

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigUint64Array(memory)
    this.#halves = new Int32Array(memory)
    this.#mask = BigInt(this.#words.length / BUCKET_WORDS - 1)
  }

  /**
   * @param key 1 to 2^48 − 1, its bits evenly spread
   * @returns false when there is no room
   */
  add(key: bigint): boolean {
    for (;;) {
      const at = this.#find(key, key)
      const word = at === null ? 0n : Atomics.load(this.#words, at)
      if (at !== null && isOf(word, key)) {
        if ((word & COUNT_MAX) === COUNT_MAX) return false
        if (this.#swap(at, word, word + 1n)) return true
      } else if (at === null) {
        const free = this.#find(key, 0n)
        if (free === null) return false
        if (this.#swap(free, 0n, (key << COUNT_BITS) | 1n)) return true
      }
    }
  }

  remove(key: bigint): void {
    for (let at = this.#find(key, key); at !== null; at = this.#find(key, key)) {
      const word = Atomics.load(this.#words, at)
      if (isOf(word, key) && this.#swap(at, word, (word & COUNT_MAX) === 1n ? 0n : word - 1n)) return
    }
  }

  has(key: bigint): boolean {
    return this.#find(key, key) !== null
  }

  /** The first word in the buckets of `key` that holds `wanted`; 0 finds a free one. */
  #find(key: bigint, wanted: bigint): number | null {
    const upper = Number(wanted >> COUNT_BITS) | 0
    for (const bucket of [key & this.#mask, (key >> 24n) & this.#mask]) {
      const from = Number(bucket) * BUCKET_WORDS
      for (let at = from; at < from + BUCKET_WORDS; at++) {
        if (Atomics.load(this.#halves, 2 * at + UPPER) !== upper) continue
        const word = Atomics.load(this.#words, at)
        if (wanted === 0n ? word === 0n : isOf(word, wanted)) return at
      }
    }
    return null
  }

  #swap(at: number, before: bigint, after: bigint): boolean {
    return Atomics.compareExchange(this.#words, at, before, after) === before
  }
}

function isOf(word: bigint, key: bigint): boolean {
  return word >> COUNT_BITS === key
}
