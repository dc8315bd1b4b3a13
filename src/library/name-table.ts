// Ids of names by hash, in one array of integers: a million names take 16 MB, and the collector looks through none of it.
import { fnv } from '../base/hash.js'

const SLOTS_MIN = 1 << 10

export class NameTable {
  readonly #textOf: (id: number) => string
  /** A hash and an id + 1 each, open addressing; an id of 0 is a free slot. */
  #slots = new Int32Array(2 * SLOTS_MIN)
  #size = 0

  constructor(textOf: (id: number) => string) {
    this.#textOf = textOf
  }

  get size(): number {
    return this.#size
  }

  find(name: string, hash: number): number | undefined {
    const slots = this.#slots
    const mask = slots.length - 1
    for (let at = placeOf(hash, mask); slots[at + 1] !== 0; at = (at + 2) & mask) {
      const id = slots[at + 1]! - 1
      if (slots[at] === (hash | 0) && this.#textOf(id) === name) return id
    }
    return undefined
  }

  /** Whether some name has it. */
  has(hash: number): boolean {
    const slots = this.#slots
    const mask = slots.length - 1
    let at = placeOf(hash, mask)
    while (slots[at + 1] !== 0 && slots[at] !== (hash | 0)) at = (at + 2) & mask
    return slots[at + 1] !== 0
  }

  /** Of a name that is not in it. */
  add(hash: number, id: number): void {
    if (4 * (this.#size + 1) > 1.5 * this.#slots.length) this.#grow()
    put(this.#slots, hash | 0, id + 1)
    this.#size += 1
  }

  clear(): void {
    this.#slots = new Int32Array(2 * SLOTS_MIN)
    this.#size = 0
  }

  #grow(): void {
    const slots = this.#slots
    const larger = new Int32Array(2 * slots.length)
    for (let at = 0; at < slots.length; at += 2) if (slots[at + 1] !== 0) put(larger, slots[at]!, slots[at + 1]!)
    this.#slots = larger
  }
}

/** Hashes of names that follow each other, four bytes each. */
export class Hashes {
  #values = new Uint32Array(SLOTS_MIN)
  #length = 0

  get length(): number {
    return this.#length
  }

  at(place: number): number {
    return this.#values[place]!
  }

  push(hash: number): void {
    if (this.#length === this.#values.length) {
      const more = new Uint32Array(2 * this.#length)
      more.set(this.#values)
      this.#values = more
    }
    this.#values[this.#length] = hash
    this.#length += 1
  }

  /** Leaves out the first. */
  drop(count: number): void {
    this.#values.copyWithin(0, count, this.#length)
    this.#length -= count
  }

  /** Each as `hash * PLACES + place`, the lowest hash first. */
  inOrder(): Float64Array {
    const order = new Float64Array(this.#length)
    for (let place = 0; place < this.#length; place++) order[place] = this.#values[place]! * PLACES + place
    return order.sort()
  }
}

/** More than ever wait at a time, and few enough for a hash and a place to be one exact number. */
export const PLACES = 2 ** 21

function put(slots: Int32Array, hash: number, id: number): void {
  const mask = slots.length - 1
  let at = placeOf(hash, mask)
  while (slots[at + 1] !== 0) at = (at + 2) & mask
  slots[at] = hash
  slots[at + 1] = id
}

/** The low bits of the hash are of the last letters, which names share: all are mixed in. */
function placeOf(hash: number, mask: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x9e3779b1)
  return ((mixed ^ (mixed >>> 15)) << 1) & mask
}

/** As the database has it; a collision costs one comparison. */
export function hashOf(name: string): number {
  return fnv(name) >>> 0
}
