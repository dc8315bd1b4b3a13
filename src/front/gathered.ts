// Bytes that come in parts, in one piece of memory: a list would cost some hundred bytes for each part, and a part may be one byte.

const NEWLINE = 0x0a
const NONE = Buffer.alloc(0)

export class Gathered {
  #memory = NONE
  #from = 0
  #to = 0
  /** Up to here there is no end of a line. */
  #sought = 0

  get length(): number {
    return this.#to - this.#from
  }

  add(part: Uint8Array): void {
    if (this.#to + part.length > this.#memory.length) this.#makeRoom(part.length)
    this.#memory.set(part, this.#to)
    this.#to += part.length
  }

  /** What has come, which is gone here. It is to be read before anything is added. */
  take(): Buffer {
    const all = this.#memory.subarray(this.#from, this.#to)
    this.clear()
    return all
  }

  /** The same of the first line in which something is, without its end; null where none is whole. */
  takeLine(): Buffer | null {
    // Byte by byte: of ends of lines alone there may be a million.
    while (this.#from < this.#to && this.#memory[this.#from] === NEWLINE) this.#from += 1
    if (this.length === 0) {
      this.clear()
      return null
    }
    const end = this.#memory.subarray(0, this.#to).indexOf(NEWLINE, Math.max(this.#sought, this.#from))
    if (end < 0) {
      this.#sought = this.#to
      return null
    }
    const line = this.#memory.subarray(this.#from, end)
    this.#from = end + 1
    if (this.length === 0) this.clear()
    return line
  }

  /** Whether nothing follows the end of the last line. */
  get isWhole(): boolean {
    return this.length === 0 || this.#memory[this.#to - 1] === NEWLINE
  }

  clear(): void {
    this.#memory = NONE
    this.#from = this.#to = this.#sought = 0
  }

  #makeRoom(bytes: number): void {
    const before = this.#memory.subarray(this.#from, this.#to)
    this.#memory = Buffer.allocUnsafe(Math.max(2 * before.length, before.length + bytes))
    this.#memory.set(before)
    this.#sought = Math.max(0, this.#sought - this.#from)
    this.#from = 0
    this.#to = before.length
  }
}
