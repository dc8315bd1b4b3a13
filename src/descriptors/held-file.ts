// A file of the kernel's that is read again and again through one descriptor, which is held from the boot on: at exhaustion none could
// be opened.
import { closeSync, openSync, readSync } from 'node:fs'
import { LIMITS } from '../base/limits.js'
import { again } from '../base/shortage.js'

/** Of a file of `key value` lines. */
export type Words = ReadonlyMap<string, number>

/** As much as most have; a process in very many groups has more to say of itself. */
const TEXT_BYTES = 8_192

/** It says something else each time it is read from its beginning. */
export class HeldFile {
  readonly #fd: number
  #bytes = Buffer.alloc(TEXT_BYTES)

  /** Null where the system has none. */
  static open(path: string): HeldFile | null {
    try {
      return new HeldFile(again(() => openSync(path, 'r')))
    } catch {
      return null
    }
  }

  constructor(fd: number) {
    this.#fd = fd
  }

  text(): string | null {
    try {
      const read = this.#read()
      return this.#bytes.toString('latin1', 0, read)
    } catch {
      return null // the group may be gone, with whoever was in it
    }
  }

  /** Whole, from the beginning: the kernel makes the text anew for each read that begins there. */
  #read(): number {
    for (;;) {
      const { length } = this.#bytes
      const read = readSync(this.#fd, this.#bytes, 0, length, 0)
      if (read < length || length >= LIMITS.heldTextBytesMax) return read
      this.#bytes = Buffer.alloc(2 * length)
    }
  }

  words(): Words | null {
    const text = this.text()
    if (text === null) return null
    return new Map([...text.matchAll(/^(\S+)\s+(\d+)/gm)].map(([, name, value]) => [name!, Number(value)]))
  }

  close(): void {
    closeSync(this.#fd)
  }
}
