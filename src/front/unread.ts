// Answers that their clients have yet to read, of all clients together: each has a bound of its own, but many of them would be
// more than the memory there is. Past the bound who has left the most of its time unread is cut, the oldest first.
import { LIMITS } from '../base/limits.js'

/** One client's part of it. */
export interface Reader {
  /** Bytes that the kernel has not taken yet. */
  unread(): number
  /** Ends it at once, and frees them. Must not throw. */
  cutOff(): void
}

export class Unread {
  /** Cut so far. */
  cut = 0
  readonly #bytesMost: number
  readonly #memoryShort: () => boolean
  /** What each had when it was last heard of, the longest unread first. */
  readonly #readers = new Map<Reader, number>()
  bytes = 0

  /** @param memoryShort a part of it is the bound while this is true */
  constructor(bytesMax: number = LIMITS.unreadBytesMax, memoryShort: () => boolean = () => false) {
    this.#bytesMost = bytesMax
    this.#memoryShort = memoryShort
  }

  get #bytesMax(): number {
    return this.#memoryShort() ? this.#bytesMost * LIMITS.memoryUnreadShare : this.#bytesMost
  }

  get told(): { unreadBytes: number; unreadCut: number } {
    return { unreadBytes: this.bytes, unreadCut: this.cut }
  }

  /** So much is unread now; small parts are not worth a place here. */
  note(reader: Reader, bytes: number): void {
    if (bytes <= LIMITS.answerCopyBytesMax) return this.forget(reader)
    this.bytes += bytes - (this.#readers.get(reader) ?? 0)
    this.#readers.set(reader, bytes)
    if (this.bytes > this.#bytesMax && this.#countAgain() > this.#bytesMax) this.#shed()
  }

  /** All was read, or nobody is there to read it. */
  forget(reader: Reader): void {
    const bytes = this.#readers.get(reader)
    if (bytes === undefined) return
    this.#readers.delete(reader)
    this.bytes -= bytes
  }

  /** Who has read since is not told here. */
  #countAgain(): number {
    for (const reader of [...this.#readers.keys()]) {
      const bytes = reader.unread()
      if (bytes === 0) this.forget(reader)
      else {
        this.bytes += bytes - this.#readers.get(reader)!
        this.#readers.set(reader, bytes)
      }
    }
    return this.bytes
  }

  #shed(): void {
    for (const reader of [...this.#readers.keys()]) {
      if (this.bytes <= this.#bytesMax) return
      this.forget(reader)
      this.cut += 1
      reader.cutOff()
    }
  }
}
