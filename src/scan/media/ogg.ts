// Ogg: sounds in Vorbis, Opus, FLAC or Speex, and films in Theora. How long they are only the last page tells.
import { bytesAt, setDuration, setSides, type Header, type Media } from './header.js'

/** What a page may be long at the most: the last one begins at most so far before the end. */
const PAGE_MAX = 65_307
const PIECE = 4_096
/** Of a page up to where the number of its stream ends. */
const HEAD = 18
const BEGINS = 2

/** How many seconds a position in a stream is. */
type Clock = (position: number) => number

export function ogg(header: Header, into: Media): void {
  const clocks = new Map<number, Clock>()
  for (let at = 0; ;) {
    const head = bytesAt(header, at, 27)
    if (head.toString('latin1', 0, 4) !== 'OggS' || (head[5]! & BEGINS) === 0) break
    const lengths = bytesAt(header, at + 27, head[26]!)
    const from = at + 27 + lengths.length
    const clock = clockOf(header, from, into)
    if (clock) clocks.set(head.readUInt32LE(14), clock)
    at = from + lengths.reduce((sum, length) => sum + length, 0)
  }
  if (clocks.size > 0) setDuration(into, lastOf(header, clocks))
}

/** Of the stream whose first page holds this; the sides of a film are told besides. */
function clockOf(header: Header, from: number, into: Media): Clock | null {
  const name = bytesAt(header, from, 8).toString('latin1')
  if (name.startsWith('\x01vorbis')) return samples(bytesAt(header, from + 12, 4).readUInt32LE(0))
  if (name === 'Speex   ') return samples(bytesAt(header, from + 36, 4).readUInt32LE(0))
  if (name.startsWith('\x7fFLAC')) return samples(bytesAt(header, from + 27, 3).readUIntBE(0, 3) >>> 4)
  if (name === 'OpusHead') {
    const skipped = bytesAt(header, from + 10, 2).readUInt16LE(0)
    return (position) => (position - skipped) / 48_000
  }
  return name.startsWith('\x80theora') ? theora(bytesAt(header, from, 42), into) : null
}

function samples(aSecond: number): Clock {
  return (position) => position / aSecond
}

function theora(first: Buffer, into: Media): Clock {
  setSides(into, first.readUIntBE(14, 3), first.readUIntBE(17, 3))
  const framesASecond = first.readUInt32BE(22) / first.readUInt32BE(26)
  // The number of the last whole picture, and in the last bits that of the changes since.
  const whole = 2 ** ((first.readUInt16BE(40) >>> 5) & 0x1f)
  return (position) => (Math.floor(position / whole) + (position % whole)) / framesASecond
}

/** By the last page on which something of a known stream ends. */
function lastOf(header: Header, clocks: ReadonlyMap<number, Clock>): number {
  const first = Math.max(0, header.size - PAGE_MAX)
  for (let end = header.size; end > first; end -= PIECE - HEAD) {
    const from = Math.max(first, end - PIECE)
    const bytes = bytesAt(header, from, end - from)
    for (let at = bytes.lastIndexOf('OggS'); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf('OggS', at - 1)) {
      if (at + HEAD > bytes.length) continue
      const position = Number(bytes.readBigInt64LE(at + 6))
      const clock = position < 0 ? undefined : clocks.get(bytes.readUInt32LE(at + 14))
      if (clock) return clock(position)
    }
  }
  return 0
}
