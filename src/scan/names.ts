// File names as strings that lose nothing. A byte that is not part of valid UTF-8 becomes the lone surrogate
// U+DC80…U+DCFF (byte + 0xDC00), which no decoder produces, so that any name survives the way there and back.
import { isUtf8 } from 'node:buffer'

const ESCAPED = /[\udc80-\udcff]/
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

export function decodeName(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? buffer.toString('utf8') : decodeBroken(buffer)
}

/**
 * Of names that are decoded in one go each is a piece of their text, which stays in memory with the last of them, two bytes a character
 * where one is no Latin letter. Of 2,000 at a time those that a library keeps at hand had 25 MB with them.
 */
const PIECE_BYTES = 4_096

/** Splits names that each end in NUL. */
export function decodeNames(bytes: Uint8Array): string[] {
  if (bytes.byteLength === 0) return []
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const names: string[] = []
  if (isUtf8(buffer)) {
    for (let start = 0; start < buffer.length;) {
      const most = start + PIECE_BYTES
      const end = most < buffer.length ? buffer.indexOf(0, most) + 1 : buffer.length
      const some = buffer.toString('utf8', start, end).split('\0')
      for (let at = 0; at < some.length - 1; at++) names.push(some[at]!)
      start = end
    }
    return names
  }
  for (let start = 0; start < buffer.length;) {
    const end = buffer.indexOf(0, start)
    names.push(decodeName(buffer.subarray(start, end)))
    start = end + 1
  }
  return names
}

export function encodeName(name: string): Buffer {
  if (!ESCAPED.test(name) || name.isWellFormed()) return Buffer.from(name, 'utf8')
  const parts: Buffer[] = []
  let from = 0
  for (const { index } of name.matchAll(LONE_SURROGATE)) {
    parts.push(Buffer.from(name.slice(from, index), 'utf8'), Buffer.of(name.charCodeAt(index) & 0xff))
    from = index + 1
  }
  parts.push(Buffer.from(name.slice(from), 'utf8'))
  return Buffer.concat(parts)
}

/** The bytes of each, and a NUL: what `decodeNames` splits. */
export function encodeNames(names: readonly string[]): Buffer {
  return names.length === 0 ? Buffer.alloc(0) : encodeName(`${names.join('\0')}\0`)
}

/** True when the name's bytes are valid UTF-8. */
export function isPrintable(name: string): boolean {
  return !ESCAPED.test(name) || name.isWellFormed()
}

/** The name with U+FFFD for each byte that is not UTF-8. */
export function printable(name: string): string {
  return isPrintable(name) ? name : name.replace(LONE_SURROGATE, '\ufffd')
}

/** The absolute path of what lies at `relative` below a directory, '' being the directory itself. */
export function joined(directory: string, relative: string): string {
  if (relative === '') return directory
  return directory === '/' ? `/${relative}` : `${directory}/${relative}`
}

/** The way back: what `joined` made the path of. */
export function relativeTo(directory: string, path: string): string {
  return path.slice(directory === '/' ? 1 : directory.length + 1)
}

/** The longest valid pieces as they are, each other byte escaped. */
function decodeBroken(bytes: Buffer): string {
  let text = ''
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at)
    text += length === 0 ? String.fromCharCode(0xdc00 + bytes[at]!) : bytes.toString('utf8', at, at + length)
    at += Math.max(1, length)
  }
  return text
}

/** Bytes of the valid UTF-8 sequence that starts here, 0 if none does. */
function sequenceLength(bytes: Buffer, at: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
  return at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0
}
