// Pictures in boxes: HEIC and AVIF. A file holds several, and says which one it is about and what is known of each.
import { within, type Box } from './boxes.js'
import { bytesAt, Ended, setSides, turn, type Header, type Media } from './header.js'
import { takenIn } from './images.js'

export function heif(header: Header, into: Media): void {
  for (const { name, from, to } of within(header, 0, header.size))
    if (name === 'meta') return pictures(header, from + VERSION_BYTES, to, into)
}

const VERSION_BYTES = 4
const PIECE = 1_024

function pictures(header: Header, start: number, end: number, into: Media): void {
  const parts = new Map<string, Box>()
  for (const box of within(header, start, end)) parts.set(box.name, box)
  const fields = (name: string) => {
    const box = parts.get(name)
    return box && new Fields(header, box)
  }
  const properties = parts.get('iprp')
  const first = fields('pitm')
  if (properties && first) shown(header, properties, first.take(first.version === 0 ? 2 : 4), into)
  const exif = itemOf(header, parts.get('iinf'), 'Exif')
  const at = exif === null ? null : placeOf(fields('iloc'), exif)
  // Before the dates stands how far behind it they begin.
  if (at !== null) takenIn(header, at + 4 + bytesAt(header, at, 4).readUInt32BE(0), into)
}

/** The sides of one picture, as it is turned to be seen. What EXIF says of that counts for nothing here. */
function shown(header: Header, properties: Box, picture: number, into: Media): void {
  const all: Box[] = []
  const ofIt: number[] = []
  for (const part of within(header, properties.from, properties.to)) {
    if (part.name === 'ipco') all.push(...within(header, part.from, part.to))
    if (part.name === 'ipma') ofIt.push(...propertiesOf(new Fields(header, part), picture))
  }
  const own = ofIt.flatMap((place) => all[place - 1] ?? [])
  const sides = own.find(({ name }) => name === 'ispe')
  if (!sides) return
  const numbers = bytesAt(header, sides.from + VERSION_BYTES, 8)
  setSides(into, numbers.readUInt32BE(0), numbers.readUInt32BE(4))
  // In quarters of a circle.
  const turned = own.find(({ name }) => name === 'irot')
  if (turned && (bytesAt(header, turned.from, 1)[0]! & 1) === 1) turn(into)
}

/** Their places among all, from 1 on. */
function propertiesOf(fields: Fields, picture: number): number[] {
  const isLong = (fields.flags & 1) === 1
  for (let left = fields.take(4); left > 0; left--) {
    const item = fields.take(fields.version === 0 ? 2 : 4)
    const places: number[] = []
    for (let each = fields.take(1); each > 0; each--)
      places.push(isLong ? fields.take(2) & 0x7fff : fields.take(1) & 0x7f)
    if (item === picture) return places
  }
  return []
}

function itemOf(header: Header, all: Box | undefined, type: string): number | null {
  if (!all) return null
  const count = new Fields(header, all).version === 0 ? 2 : 4
  for (const box of within(header, all.from + VERSION_BYTES + count, all.to)) {
    const fields = new Fields(header, box)
    if (fields.version < 2) continue
    const item = fields.take(fields.version === 2 ? 2 : 4)
    fields.take(2)
    if (fields.text(4) === type) return item
  }
  return null
}

/** Where the bytes of one begin; null where they do not lie in the file by themselves. */
function placeOf(fields: Fields | undefined, wanted: number): number | null {
  if (!fields) return null
  const { version } = fields
  const [sizes, further] = [fields.take(1), fields.take(1)]
  const before = version === 0 ? 0 : further & 0x0f
  const after = sizes & 0x0f
  const own = sizes >> 4
  for (let left = fields.take(version < 2 ? 2 : 4); left > 0; left--) {
    const item = fields.take(version < 2 ? 2 : 4)
    const isPlain = version === 0 || (fields.take(2) & 0x0f) === 0
    fields.take(2)
    const base = fields.take(further >> 4)
    // It may lie in several parts, of which the first is enough.
    const parts = fields.take(2)
    fields.skip(parts > 0 ? before : 0)
    const at = base + fields.take(parts > 0 ? own : 0)
    if (item === wanted) return isPlain && parts > 0 ? at : null
    fields.skip(parts > 0 ? after + (parts - 1) * (before + own + after) : 0)
  }
  return null
}

/** The numbers in a box, one after the other. @throws Ended behind its last */
class Fields {
  readonly version: number
  readonly flags: number
  readonly #header: Header
  readonly #end: number
  #at: number
  /** Bytes that were read, and where they begin. */
  #piece: Buffer = Buffer.alloc(0)
  #pieceAt = 0

  constructor(header: Header, { from, to }: Box) {
    this.#header = header
    this.#at = from
    this.#end = to
    this.version = this.take(1)
    this.flags = this.take(3)
  }

  /** @param length in bytes: up to 6, or 8; of none the number is 0 */
  take(length: number): number {
    if (length === 0) return 0
    const at = this.#reach(length)
    if (length === 8) return Number(this.#piece.readBigUInt64BE(at))
    if (length > 6) throw new Ended()
    return this.#piece.readUIntBE(at, length)
  }

  text(length: number): string {
    const at = this.#reach(length)
    return this.#piece.toString('latin1', at, at + length)
  }

  skip(length: number): void {
    this.#at += length
  }

  /** @returns where in the piece the next bytes are, so many of which are taken */
  #reach(length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#end) throw new Ended()
    if (at < this.#pieceAt || this.#at > this.#pieceAt + this.#piece.length) {
      this.#piece = bytesAt(this.#header, at, Math.min(PIECE, this.#end - at))
      this.#pieceAt = at
    }
    return at - this.#pieceAt
  }
}
