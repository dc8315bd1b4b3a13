// Sounds: WAV, AIFF, FLAC, and MP3 where a header says how many frames it has.
import { bytesAt, setDuration, type Header, type Media } from './header.js'

const PCM = 1
/** What a recorder writes that does not know yet how long it will be. */
const UNKNOWN = 0xffffffff

export function wav(header: Header, into: Media): void {
  let bytesASecond = 0
  let samplesASecond = 0
  let isPlain = false
  let samples = 0
  for (let at = 12; ;) {
    const chunk = bytesAt(header, at, 8)
    const length = chunk.readUInt32LE(4)
    switch (chunk.toString('latin1', 0, 4)) {
      case 'fmt ': {
        const format = bytesAt(header, at + 8, 16)
        isPlain = format.readUInt16LE(0) === PCM
        samplesASecond = format.readUInt32LE(4)
        bytesASecond = format.readUInt32LE(8)
        break
      }
      case 'fact':
        samples = bytesAt(header, at + 8, 4).readUInt32LE(0)
        break
      case 'data': {
        const left = header.size - at - 8
        if (samples > 0 && samples !== UNKNOWN && !isPlain) return setDuration(into, samples / samplesASecond)
        return setDuration(into, Math.min(length, left) / bytesASecond)
      }
    }
    at += 8 + length + (length % 2)
  }
}

export function aiff(header: Header, into: Media): void {
  for (let at = 12; ;) {
    const chunk = bytesAt(header, at, 8)
    const length = chunk.readUInt32BE(4)
    if (chunk.toString('latin1', 0, 4) === 'COMM') {
      const common = bytesAt(header, at + 8, 18)
      // The rate is a number of 80 bits: an exponent, and 64 bits that begin with the one before the point.
      const rate = common.readUInt32BE(10) * 2 ** ((common.readUInt16BE(8) & 0x7fff) - 16_383 - 31)
      return setDuration(into, common.readUInt32BE(2) / rate)
    }
    at += 8 + length + (length % 2)
  }
}

export function flac(header: Header, into: Media, at = 0): void {
  const first = bytesAt(header, at + 4, 22)
  if ((first[0]! & 0x7f) !== 0) return
  const samplesASecond = first.readUIntBE(14, 3) >>> 4
  const samples = (first[17]! & 0x0f) * 2 ** 32 + first.readUInt32BE(18)
  setDuration(into, samples / samplesASecond)
}

/** Samples a second of MPEG 1; half of it is MPEG 2, a quarter 2.5. */
const RATES = [44_100, 48_000, 32_000]
/** Bytes after what stands before the sound in which its first frame must begin. */
const BEFORE_MAX = 4_096

export function mp3(header: Header, into: Media): void {
  const at = afterTag(header)
  const bytes = header.read(at, BEFORE_MAX)
  if (bytes.toString('latin1', 0, 4) === 'fLaC') return flac(header, into, at)
  for (let frame = 0; frame + 4 <= bytes.length; frame++) {
    if (bytes[frame] !== 0xff || (bytes[frame + 1]! & 0xe0) !== 0xe0) continue
    const counted = framesFrom(header, at + frame, bytes.readUInt32BE(frame))
    if (counted) return setDuration(into, (counted.frames * counted.samples) / counted.rate)
  }
}

/** Where the sound begins. */
function afterTag(header: Header): number {
  const tag = bytesAt(header, 0, 10)
  if (tag.toString('latin1', 0, 3) !== 'ID3') return 0
  const [a, b, c, d] = tag.subarray(6) as unknown as [number, number, number, number]
  const length = ((a & 0x7f) << 21) | ((b & 0x7f) << 14) | ((c & 0x7f) << 7) | (d & 0x7f)
  const hasFooter = (tag[5]! & 0x10) !== 0
  return 10 + length + (hasFooter ? 10 : 0)
}

interface Counted {
  readonly frames: number
  /** Of one frame. */
  readonly samples: number
  /** Samples a second. */
  readonly rate: number
}

/** By the header that takes the place of the first frame's sound: Xing's or Fraunhofer's. */
function framesFrom(header: Header, at: number, bits: number): Counted | null {
  const version = (bits >>> 19) & 3
  const layer = (bits >>> 17) & 3
  const rate = (bits >>> 10) & 3
  const isMono = ((bits >>> 6) & 3) === 3
  if (version === 1 || layer !== 1 || rate === 3) return null
  const isFirst = version === 3
  const side = isFirst ? (isMono ? 17 : 32) : isMono ? 9 : 17
  const frames = xing(header, at + 4 + side) ?? fraunhofer(header, at + 36)
  const share = isFirst ? 1 : version === 2 ? 2 : 4
  return frames === null ? null : { frames, samples: isFirst ? 1_152 : 576, rate: RATES[rate]! / share }
}

function xing(header: Header, at: number): number | null {
  const bytes = bytesAt(header, at, 12)
  const name = bytes.toString('latin1', 0, 4)
  const hasFrames = (bytes[7]! & 1) === 1
  return (name === 'Xing' || name === 'Info') && hasFrames ? bytes.readUInt32BE(8) : null
}

function fraunhofer(header: Header, at: number): number | null {
  const bytes = bytesAt(header, at, 18)
  return bytes.toString('latin1', 0, 4) === 'VBRI' ? bytes.readUInt32BE(14) : null
}
