// A directory of very many children goes out in parts by name, each of which is a place to go on from. As strings a million names
// would be some 100 MB: only those of one part are at a time.
import { LIMITS } from '../base/limits.js'
import { decodeNames } from './names.js'
import type { Listing } from './read.js'

/** Of names that each end in NUL, in the order of what `decodeNames` makes of them: where each starts, and which it is. */
export type SortNames = (names: Uint8Array) => Uint32Array

export class Part {
  readonly listing: Listing
  readonly last: boolean

  constructor(listing: Listing, last: boolean) {
    this.listing = listing
    this.last = last
  }

  /** Not everybody asks for them. */
  get names(): string[] {
    return decodeNames(this.listing.names)
  }
}

export function isLarge({ kinds }: Pick<Listing, 'kinds'>): boolean {
  return kinds.length > LIMITS.batchEntriesMax
}

/** All of a directory, by name. */
export function* partsOf(listing: Listing, sort: SortNames = sortPlain): Generator<Part> {
  const order = sort(listing.names)
  const count = order.length / 2
  for (let from = 0; from < count; from += LIMITS.batchEntriesMax) {
    const to = Math.min(count, from + LIMITS.batchEntriesMax)
    yield new Part(cut(listing, order.subarray(2 * from, 2 * to)), to === count)
  }
}

/** Whether one of the children has this name, which is ASCII. */
export function hasChild({ names }: Pick<Listing, 'names'>, name: string): boolean {
  const bytes = Buffer.from(names.buffer, names.byteOffset, names.byteLength)
  return bytes.includes(`\0${name}\0`) || bytes.subarray(0, name.length + 1).equals(Buffer.from(`${name}\0`))
}

export const sortPlain: SortNames = (names) => {
  const texts = decodeNames(names)
  const starts = new Uint32Array(texts.length)
  for (let at = 0, start = 0; at < texts.length; at++) {
    starts[at] = start
    start = names.indexOf(0, start) + 1
  }
  const places = Uint32Array.from(texts.keys()).sort((a, b) => {
    const [one, other] = [texts[a]!, texts[b]!]
    return one < other ? -1 : one > other ? 1 : a - b
  })
  const order = new Uint32Array(2 * texts.length)
  places.forEach((place, at) => order.set([starts[place]!, place], 2 * at))
  return order
}

/** In memory of its own, which may be transferred. */
function cut(listing: Listing, order: Uint32Array): Listing {
  const count = order.length / 2
  const kinds = new Uint8Array(count)
  const sizes = new Float64Array(count)
  const mtimes = new Float64Array(count)
  const inodes = new BigUint64Array(count)
  const names: Uint8Array[] = []
  for (let at = 0; at < count; at++) {
    const [start, place] = [order[2 * at]!, order[2 * at + 1]!]
    names.push(listing.names.subarray(start, listing.names.indexOf(0, start) + 1))
    kinds[at] = listing.kinds[place]!
    sizes[at] = listing.sizes[place]!
    mtimes[at] = listing.mtimes[place]!
    inodes[at] = listing.inodes[place]!
  }
  return { names: join(Uint8Array, names), kinds, sizes, mtimes, inodes }
}

/** Always copies, into memory of its own that may be transferred to another thread. */
export function join<T extends Uint8Array | Float64Array | BigUint64Array>(
  type: new (length: number) => T,
  parts: readonly T[],
): T {
  const whole = new type(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part as never, at)
    at += part.length
  }
  return whole
}
