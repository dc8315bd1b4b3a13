// Films and sounds in boxes: MP4, QuickTime and 3GP. Only boxes that may hold what is sought are looked into.
import { bytesAt, setDuration, setSides, turn, type Header, type Media } from './header.js'

const FRACTION = 2 ** 16

export interface Box {
  readonly name: string
  /** Of what it holds. */
  readonly from: number
  readonly to: number
}

export function boxes(header: Header, into: Media): void {
  for (const { name, from, to } of within(header, 0, header.size))
    if (name === 'moov') return movie(header, from, to, into)
}

function movie(header: Header, start: number, end: number, into: Media): void {
  for (const { name, from, to } of within(header, start, end)) {
    if (name === 'mvhd') length(header, from, into)
    else if (name === 'trak' && into.width === undefined) track(header, from, to, into)
  }
}

function length(header: Header, from: number, into: Media): void {
  const isLong = bytesAt(header, from, 1)[0] === 1
  const times = bytesAt(header, from + (isLong ? 20 : 12), isLong ? 12 : 8)
  const units = isLong ? Number(times.readBigUInt64BE(4)) : times.readUInt32BE(4)
  // All ones where nobody knew.
  if (isLong || units !== 0xffffffff) setDuration(into, units / times.readUInt32BE(0))
}

/** Sides are those of the track that is to be seen; subtitles have some too. */
function track(header: Header, start: number, end: number, into: Media): void {
  const sides: Media = {}
  for (const { name, from, to } of within(header, start, end)) {
    if (name === 'tkhd') shown(header, from, sides)
    else if (name === 'mdia' && sides.width !== undefined && isFilm(header, from, to)) Object.assign(into, sides)
  }
}

function shown(header: Header, from: number, into: Media): void {
  const isLong = bytesAt(header, from, 1)[0] === 1
  // A matrix, then both sides; of each number the last 16 bits are a fraction.
  const numbers = bytesAt(header, from + (isLong ? 52 : 40), 44)
  setSides(into, Math.round(numbers.readUInt32BE(36) / FRACTION), Math.round(numbers.readUInt32BE(40) / FRACTION))
  if (numbers.readUInt32BE(0) === 0) turn(into)
}

function isFilm(header: Header, start: number, end: number): boolean {
  for (const { name, from } of within(header, start, end))
    if (name === 'hdlr') return bytesAt(header, from + 8, 4).toString('latin1') === 'vide'
  return false
}

/** The boxes between two places; one that reaches past the end is the last. */
export function* within(header: Header, start: number, end: number): Generator<Box> {
  for (let at = start; at + 8 <= end;) {
    const head = bytesAt(header, at, 8)
    const short = head.readUInt32BE(0)
    const inside = short === 1 ? 16 : 8
    const bytes = short === 0 ? end - at : short === 1 ? Number(bytesAt(header, at + 8, 8).readBigUInt64BE(0)) : short
    if (bytes < inside) return
    yield { name: head.toString('latin1', 4, 8), from: at + inside, to: Math.min(at + bytes, end) }
    at += bytes
  }
}
