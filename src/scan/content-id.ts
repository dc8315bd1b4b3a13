// The content id of a file, as Spacedrive makes it: the first 64 bits of BLAKE3 over its size and its bytes, of a large file over
// samples of them: 8 KiB from its start, four times 10 KiB, and its last 8 KiB.
import { readSync } from 'node:fs'

/** Files up to this size are read whole. */
export const WHOLE_BYTES_MAX = 100 * 1024
const EDGE_BYTES = 8 * 1024
const SAMPLE_BYTES = 10 * 1024
const SAMPLES = 4
const SIZE_BYTES = 8

/** What a file is hashed by fits into this, its size before it and one byte more, by which is seen that it grew. */
export const HASHED_BYTES_MAX = SIZE_BYTES + WHOLE_BYTES_MAX + 1

/** The parts of a file of this size that are read: offset, length; offset, length; … */
export function partsOf(size: number): number[] {
  if (size <= WHOLE_BYTES_MAX) return [0, size]
  const step = Math.floor((size - 2 * EDGE_BYTES) / SAMPLES)
  const parts = [0, EDGE_BYTES]
  for (let sample = 0; sample < SAMPLES; sample++) parts.push(EDGE_BYTES + sample * step, SAMPLE_BYTES)
  parts.push(size - EDGE_BYTES, EDGE_BYTES)
  return parts
}

/** How many bytes of a file of this size are hashed, without its size. */
export function bytesHashed(size: number): number {
  return size <= WHOLE_BYTES_MAX ? size : 2 * EDGE_BYTES + SAMPLES * SAMPLE_BYTES
}

/**
 * Reads what the id is made of, the size first.
 *
 * @param into `HASHED_BYTES_MAX` long; the file's own bytes begin at `CONTENT_AT`
 * @returns its used part, null where the file has fewer bytes, or more, than `size`
 */
export function readHashed(fd: number, size: number, into: Buffer): Buffer | null {
  into.writeBigUInt64LE(BigInt(size), 0)
  if (size <= WHOLE_BYTES_MAX) return readPart(fd, into, SIZE_BYTES, size + 1, 0) === size ? cut(into, size) : null
  const parts = partsOf(size)
  let at = 0
  for (let part = 0; part < parts.length; part += 2) {
    const length = parts[part + 1]!
    if (readPart(fd, into, SIZE_BYTES + at, length, parts[part]!) < length) return null
    at += length
  }
  return cut(into, at)
}

export const CONTENT_AT = SIZE_BYTES

function cut(into: Buffer, bytes: number): Buffer {
  return into.subarray(0, SIZE_BYTES + bytes)
}

/** As many as there are; a read may bring fewer than are asked for. */
function readPart(fd: number, into: Buffer, at: number, length: number, from: number): number {
  let read = 0
  while (read < length) {
    const bytes = readSync(fd, into, at + read, length - read, from + read)
    if (bytes === 0) break
    read += bytes
  }
  return read
}

export function idOf(digest: Uint8Array): bigint {
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0)
}

/** As it is written: 16 hexadecimal digits. */
export function writtenId(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, '0')
}
