// Long answers of a shard to one thread that asks it, in memory that both have: as the text of a message each would be copied many times,
// and mostly into memory that was never touched before, which costs more than to make it. A ring of blocks, written by the shard and
// given back by who asked, in any order. Where there is no room an answer goes as text.
import { LIMITS } from '../base/limits.js'
import { UTF8_BYTES_MAX } from '../base/text.js'
import type { Reply } from '../protocol/messages.js'

/** A block begins with its length, all of it, and whether it was given back. */
const LENGTH = 0
const FREE = 1
const HEAD_BYTES = 8

export function newLongAnswers(): SharedArrayBuffer {
  return new SharedArrayBuffer(LIMITS.longAnswersBytes)
}

/** The shard's side. */
export class LongAnswers {
  readonly #words: Int32Array
  readonly #bytes: Buffer
  /** Where the next block begins, and the oldest one that was not seen to be free; both at the start where there is none. */
  #next = 0
  #oldest = 0
  #blocks = 0
  /** Of the text that was written last. */
  length = 0

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
    this.#bytes = Buffer.from(shared)
  }

  /** @returns where it is, in bytes, or −1: it is short, or there is no room. What it takes there stays in `length` until the next one. */
  write(text: string): number {
    if (text.length < LIMITS.longAnswerBytesMin || text.length > LIMITS.longAnswersBytes / 4) return -1
    this.#takeBack()
    const bytes = this.#room < UTF8_BYTES_MAX * text.length ? Buffer.byteLength(text) : text.length
    // Not where it would be written next, but perhaps from the start of the ring on.
    if (this.#room < bytes && !(this.#skipToStart() && this.#room >= bytes)) return -1
    const at = this.#next + HEAD_BYTES
    this.length = this.#bytes.write(text, at, this.#room, 'utf8')
    this.#take(HEAD_BYTES + this.length, 0)
    return at
  }

  /** For the text of one block, in one piece. */
  get #room(): number {
    const end = this.#blocks > 0 && this.#next <= this.#oldest ? this.#oldest : this.#bytes.length
    return end - this.#next - HEAD_BYTES
  }

  /** What is left at the end of the ring becomes a block that nobody has to give back. */
  #skipToStart(): boolean {
    if (this.#next === 0 || (this.#blocks > 0 && this.#next <= this.#oldest)) return false
    this.#take(this.#bytes.length - this.#next, 1)
    return true
  }

  #take(bytes: number, free: 0 | 1): void {
    const length = (bytes + HEAD_BYTES - 1) & -HEAD_BYTES
    const word = this.#next / Int32Array.BYTES_PER_ELEMENT
    this.#words[word + LENGTH] = length
    Atomics.store(this.#words, word + FREE, free)
    this.#next = (this.#next + length) % this.#bytes.length
    this.#blocks += 1
  }

  #takeBack(): void {
    while (this.#blocks > 0) {
      const word = this.#oldest / Int32Array.BYTES_PER_ELEMENT
      if (Atomics.load(this.#words, word + FREE) === 0) return
      this.#oldest = (this.#oldest + this.#words[word + LENGTH]!) % this.#bytes.length
      this.#blocks -= 1
    }
    // The same memory again is at hand.
    this.#next = this.#oldest = 0
  }
}

/** The side of who asked. */
export class LongAnswersRead {
  readonly #words: Int32Array
  readonly #bytes: Buffer

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
    this.#bytes = Buffer.from(shared)
  }

  /** Tells what is there, and gives it back when `answer` returns. @param at as `write` returned it */
  tell(at: number, length: number, answer: (reply: Reply) => void): void {
    const reply = new LongReply(this.#bytes.subarray(at, at + length))
    try {
      answer(reply)
    } finally {
      reply.end()
      this.free(at)
    }
  }

  free(at: number): void {
    Atomics.store(this.#words, (at - HEAD_BYTES) / Int32Array.BYTES_PER_ELEMENT + FREE, 1)
  }
}

class LongReply {
  readonly ok = true
  #bytes: Buffer | null
  #json: string | null = null

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get bytes(): Buffer {
    if (!this.#bytes) throw new Error('a long answer was read after it was given back')
    return this.#bytes
  }

  get json(): string {
    return (this.#json ??= this.bytes.toString())
  }

  end(): void {
    this.#bytes = null
  }
}
