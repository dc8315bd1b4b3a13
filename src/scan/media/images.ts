// Pictures: PNG, JPEG, GIF, WebP, BMP and TIFF, and what EXIF says in them.
import { bytesAt, Ended, setSides, turn, type Header, type Media } from './header.js'

export function png(header: Header, into: Media): void {
  const first = bytesAt(header, 8, 16)
  if (first.toString('latin1', 4, 8) !== 'IHDR') return
  setSides(into, first.readUInt32BE(8), first.readUInt32BE(12))
  for (let at = 8; ;) {
    const chunk = bytesAt(header, at, 8)
    const name = chunk.toString('latin1', 4, 8)
    if (name === 'eXIf') return exif(header, at + 8, into)
    // What stands after the picture is not looked for.
    if (name === 'IDAT' || name === 'IEND') return
    at += 12 + chunk.readUInt32BE(0)
  }
}

export function gif(header: Header, into: Media): void {
  const sides = bytesAt(header, 6, 4)
  setSides(into, sides.readUInt16LE(0), sides.readUInt16LE(2))
}

export function bmp(header: Header, into: Media): void {
  const sides = bytesAt(header, 14, 12)
  if (sides.readUInt32LE(0) === 12) setSides(into, sides.readUInt16LE(4), sides.readUInt16LE(6))
  // Below 0 where its rows come from top to bottom.
  else setSides(into, sides.readInt32LE(4), Math.abs(sides.readInt32LE(8)))
}

const HAS_EXIF = 0x08

export function webp(header: Header, into: Media): void {
  for (let at = 12; ;) {
    const chunk = bytesAt(header, at, 8)
    const name = chunk.toString('latin1', 0, 4)
    if (name === 'VP8X') {
      const canvas = bytesAt(header, at + 8, 10)
      setSides(into, canvas.readUIntLE(4, 3) + 1, canvas.readUIntLE(7, 3) + 1)
      if ((canvas[0]! & HAS_EXIF) === 0) return
    }
    if (name === 'VP8 ' && into.width === undefined) return lossy(bytesAt(header, at + 8, 10), into)
    if (name === 'VP8L' && into.width === undefined) return lossless(bytesAt(header, at + 8, 5), into)
    if (name === 'EXIF') return exif(header, at + 8, into)
    const length = chunk.readUInt32LE(4)
    at += 8 + length + (length % 2)
  }
}

function lossy(frame: Buffer, into: Media): void {
  if (frame.readUIntBE(3, 3) !== 0x9d012a) return
  setSides(into, frame.readUInt16LE(6) & 0x3fff, frame.readUInt16LE(8) & 0x3fff)
}

function lossless(frame: Buffer, into: Media): void {
  if (frame[0] !== 0x2f) return
  const bits = frame.readUInt32LE(1)
  setSides(into, (bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1)
}

/** Frames of every coding but those in between that are tables. */
const FRAMES = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf])

export function jpeg(header: Header, into: Media): void {
  const found: Exif = {}
  for (let at = 2; ;) {
    const [fill, marker] = bytesAt(header, at, 2) as unknown as [number, number]
    if (fill !== 0xff) return
    if (marker === 0xff) at += 1
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2
    else if (marker === 0xda || marker === 0xd9) return
    else {
      const length = bytesAt(header, at + 2, 2).readUInt16BE(0)
      if (marker === 0xe1) exifIn(header, at + 4, length, found)
      if (FRAMES.has(marker)) {
        const sides = bytesAt(header, at + 5, 4)
        setSides(into, sides.readUInt16BE(2), sides.readUInt16BE(0))
        return shown(into, found)
      }
      if (length < 2) return
      at += 2 + length
    }
  }
}

function exifIn(header: Header, at: number, length: number, found: Exif): void {
  if (length >= 16 && bytesAt(header, at, 6).toString('latin1') === 'Exif\0\0') readExif(header, at + 6, found)
}

export function tiff(header: Header, into: Media): void {
  const found: Exif = {}
  readExif(header, 0, found)
  // What comes first in a camera's own file is mostly a small picture of the true one.
  const isCanon = bytesAt(header, 8, 2).toString('latin1') === 'CR'
  if (!found.isReduced && !isCanon) setSides(into, found.width ?? 0, found.height ?? 0)
  shown(into, found)
}

/** In a picture whose sides are known. */
function exif(header: Header, at: number, into: Media): void {
  const found: Exif = {}
  readExif(header, at, found)
  shown(into, found)
}

/** When it was taken alone: the file says by itself how it is turned. */
export function takenIn(header: Header, at: number, into: Media): void {
  const found: Exif = {}
  readExif(header, at, found)
  shown(into, { ...found, isTurned: false })
}

interface Exif {
  width?: number
  height?: number
  isReduced?: boolean
  isTurned?: boolean
  takenAt?: string
  zone?: string
}

function shown(into: Media, { isTurned, takenAt }: Exif): void {
  if (isTurned) turn(into)
  if (takenAt !== undefined) into.takenAt = takenAt
}

const TAG = {
  subfile: 0xfe,
  width: 0x100,
  height: 0x101,
  orientation: 0x112,
  more: 0x8769,
  taken: 0x9003,
  zone: 0x9011,
} as const
/** More in one directory than any camera writes. */
const FIELDS_MAX = 512

/** One that leads astray costs what it would have told, and nothing else of the picture. */
function readExif(header: Header, start: number, found: Exif): void {
  try {
    readTiff(header, start, found)
  } catch (error) {
    if (!(error instanceof Ended)) throw error
  }
  if (found.takenAt !== undefined && found.zone !== undefined) found.takenAt += found.zone
  delete found.zone
}

/** Its first directory, and the one in it that is EXIF's own. */
function readTiff(header: Header, start: number, found: Exif): void {
  const head = bytesAt(header, start, 8)
  const order = head.toString('latin1', 0, 2)
  if (order !== 'II' && order !== 'MM') return
  const numbers = new Numbers(header, start, order === 'II')
  if (numbers.short(2) !== 42) return
  const more = readFields(numbers, numbers.long(4), found)
  if (more !== undefined) readFields(numbers, more, found)
}

/** @returns where EXIF's own directory is */
function readFields(numbers: Numbers, at: number, found: Exif): number | undefined {
  let more: number | undefined
  const count = Math.min(numbers.short(at), FIELDS_MAX)
  for (let field = at + 2; field < at + 2 + 12 * count; field += 12) {
    switch (numbers.short(field)) {
      case TAG.subfile:
        found.isReduced = (numbers.value(field) & 1) === 1
        break
      case TAG.width:
        found.width = numbers.value(field)
        break
      case TAG.height:
        found.height = numbers.value(field)
        break
      case TAG.orientation:
        found.isTurned = numbers.value(field) >= 5 && numbers.value(field) <= 8
        break
      case TAG.more:
        more = numbers.value(field)
        break
      case TAG.taken:
        setTaken(numbers.text(field), found)
        break
      case TAG.zone:
        setZone(numbers.text(field), found)
        break
    }
  }
  return more
}

function setTaken(text: string, found: Exif): void {
  const [, date, time] = /^(\d{4}:\d\d:\d\d) (\d\d:\d\d:\d\d)/.exec(text) ?? []
  const taken = `${date?.replaceAll(':', '-')}T${time}`
  // The 31st of February, and a camera whose clock was never set: 0000:00:00.
  const day = new Date(`${taken}Z`)
  if (!Number.isNaN(day.getTime()) && day.toISOString().startsWith(taken)) found.takenAt = taken
}

function setZone(text: string, found: Exif): void {
  const [zone, hours] = /^[+-](\d\d):[0-5]\d/.exec(text) ?? []
  if (zone !== undefined && Number(hours) <= 14) found.zone = zone
}

/** Numbers of a TIFF, by its order of bytes; places count from its start. */
class Numbers {
  readonly #header: Header
  readonly #start: number
  readonly #isLittle: boolean

  constructor(header: Header, start: number, isLittle: boolean) {
    this.#header = header
    this.#start = start
    this.#isLittle = isLittle
  }

  short(at: number): number {
    const bytes = this.#at(at, 2)
    return this.#isLittle ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0)
  }

  long(at: number): number {
    const bytes = this.#at(at, 4)
    return this.#isLittle ? bytes.readUInt32LE(0) : bytes.readUInt32BE(0)
  }

  /** The number in a field that has one. */
  value(field: number): number {
    return this.short(field + 2) === SHORT ? this.short(field + 8) : this.long(field + 8)
  }

  /** The text of a field, as far as a moment or a zone may be long. */
  text(field: number): string {
    const length = Math.min(this.long(field + 4), TEXT_MAX)
    return this.#at(length <= 4 ? field + 8 : this.long(field + 8), length).toString('latin1')
  }

  #at(at: number, length: number): Buffer {
    return bytesAt(this.#header, this.#start + at, length)
  }
}

const SHORT = 3
const TEXT_MAX = 24
