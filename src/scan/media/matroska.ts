// Matroska and WebM. What is sought stands before the first cluster; what stands elsewhere is not looked for.
import { bytesAt, setDuration, setSides, type Header, type Media } from './header.js'

const ID = {
  segment: 0x18538067,
  about: 0x1549a966,
  scale: 0x2ad7b1,
  duration: 0x4489,
  tracks: 0x1654ae6b,
  track: 0xae,
  video: 0xe0,
  width: 0xb0,
  height: 0xba,
  cluster: 0x1f43b675,
} as const
/** Nanoseconds of one unit of time, unless told otherwise. */
const SCALE = 1_000_000

interface Element {
  readonly id: number
  readonly from: number
  readonly to: number
}

export function matroska(header: Header, into: Media): void {
  for (const { id, from, to } of within(header, 0, header.size))
    if (id === ID.segment) return segment(header, from, to, into)
}

function segment(header: Header, start: number, end: number, into: Media): void {
  for (const { id, from, to } of within(header, start, end)) {
    if (id === ID.about) about(header, from, to, into)
    else if (id === ID.tracks) tracks(header, from, to, into)
    else if (id === ID.cluster) return
  }
}

function about(header: Header, start: number, end: number, into: Media): void {
  let scale = SCALE
  let duration = 0
  for (const { id, from, to } of within(header, start, end)) {
    if (id === ID.scale) scale = whole(header, from, to)
    else if (id === ID.duration) duration = fraction(header, from, to)
  }
  setDuration(into, (duration * scale) / 1e9)
}

function tracks(header: Header, start: number, end: number, into: Media): void {
  for (const track of within(header, start, end)) {
    if (track.id !== ID.track) continue
    for (const { id, from, to } of within(header, track.from, track.to)) {
      if (id === ID.video && into.width === undefined) video(header, from, to, into)
    }
  }
}

function video(header: Header, start: number, end: number, into: Media): void {
  let width = 0
  let height = 0
  for (const { id, from, to } of within(header, start, end)) {
    if (id === ID.width) width = whole(header, from, to)
    else if (id === ID.height) height = whole(header, from, to)
  }
  setSides(into, width, height)
}

/** The elements between two places; one of unknown length reaches to the end, as one does that says it reaches past it. */
function* within(header: Header, start: number, end: number): Generator<Element> {
  for (let at = start; at < end;) {
    const id = varying(header, at, false)
    const length = varying(header, at + id.bytes, true)
    const from = at + id.bytes + length.bytes
    const to = Math.min(from + length.value, end)
    yield { id: id.value, from, to }
    at = to
  }
}

/** A number that says by its leading zeros how many bytes it has; `isLength` without the bit after them, and all ones for unknown. */
function varying(header: Header, at: number, isLength: boolean): { value: number; bytes: number } {
  const first = bytesAt(header, at, 1)[0]!
  // Nine where the first byte is 0, which no number begins with: it reads as one that is never sought.
  const bytes = Math.clz32(first) - 23
  const read = bytesAt(header, at, Math.min(bytes, 8))
  let value = isLength ? first & (0xff >> bytes) : first
  let isUnknown = isLength && value === 0xff >> bytes
  for (const byte of read.subarray(1)) {
    value = value * 256 + byte
    isUnknown &&= byte === 0xff
  }
  return { value: isUnknown ? Infinity : value, bytes: read.length }
}

function whole(header: Header, from: number, to: number): number {
  const bytes = bytesAt(header, from, Math.min(to - from, 8))
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0)
}

function fraction(header: Header, from: number, to: number): number {
  const bytes = bytesAt(header, from, Math.min(to - from, 8))
  if (bytes.length === 4) return bytes.readFloatBE(0)
  return bytes.length === 8 ? bytes.readDoubleBE(0) : 0
}
