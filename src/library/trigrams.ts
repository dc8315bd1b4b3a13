// The search index proper: which blocks of 64 folded names contain which three bytes in a row.
//
// Bytes are mapped to 64 symbols, so a trigram is 18 bits: 4,096 buckets by its first two symbols, 64 lists in each by
// its third. Symbols may stand for several bytes: an index that says "perhaps" is enough, since the text of each block
// is read afterwards. A bucket is stored as
//
//   third symbol (1 byte) │ bytes of the list (varint) │ block − previous block (varint) … │ third symbol │ …
//
import type { Connection } from './connection.js'

const SYMBOLS = 64
const CODES = SYMBOLS ** 3
export const BUCKETS = SYMBOLS ** 2

const SYMBOL = symbolTable()

function symbolTable(): Uint8Array {
  const table = new Uint8Array(256)
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789.-_ '
  for (let byte = 0; byte < 256; byte++) {
    const place = letters.indexOf(String.fromCharCode(byte))
    table[byte] = byte === 0 ? 0 : byte >= 0x80 ? 48 + (byte & 15) : place >= 0 ? 1 + place : 41 + (byte % 7)
  }
  return table
}

const FEW_BLOCKS = 4

/** Blocks of a segment and the folded text of each. */
export interface Text {
  readonly first: number
  readonly blocks: readonly Buffer[]
}

/** The stored form of a segment, bucket by bucket in order. Lists are good until the next are asked for: all are made in one place. */
export function* buildPostings({ blocks }: Text): Generator<{ bucket: number; lists: Buffer }> {
  const starts = new Uint32Array(CODES + 1)
  const seen = new Uint32Array(CODES)
  eachTrigram(blocks, seen, (code) => (starts[code + 1]! += 1))
  for (let code = 0; code < CODES; code++) starts[code + 1]! += starts[code]!
  const filled = starts.slice(0, CODES)
  const postings = new (blocks.length <= 1 << 16 ? Uint16Array : Uint32Array)(starts[CODES]!)
  eachTrigram(blocks, seen.fill(0), (code, block) => (postings[filled[code]!++] = block))
  const encode = bucketEncoder(starts, postings)
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const from = bucket * SYMBOLS
    if (starts[from] !== starts[from + SYMBOLS]) yield { bucket, lists: encode(from) }
  }
}

/** Calls back once for each trigram of each block, blocks in order. @param seen of zeros, for the last block that had each */
function eachTrigram(
  blocks: readonly Buffer[],
  seen: Uint32Array,
  callback: (code: number, block: number) => void,
): void {
  blocks.forEach((text, block) => {
    let code = 0
    let length = 0
    for (let at = 0; at < text.length; at++) {
      const symbol = SYMBOL[text[at]!]!
      length = symbol === 0 ? 0 : length + 1
      code = ((code << 6) | symbol) & (CODES - 1)
      if (length < 3 || seen[code] === block + 1) continue
      seen[code] = block + 1
      callback(code, block)
    }
  })
}

function bucketEncoder(starts: Uint32Array, postings: Uint16Array | Uint32Array): (from: number) => Buffer {
  let bytes = Buffer.allocUnsafe(1 << 14)
  return (from) => {
    const most = (starts[from + SYMBOLS]! - starts[from]!) * 5 + SYMBOLS * 6
    if (most > bytes.length) bytes = Buffer.allocUnsafe(2 * most)
    let at = 0
    for (let third = 0; third < SYMBOLS; third++) {
      const [start, end] = [starts[from + third]!, starts[from + third + 1]!]
      if (start === end) continue
      bytes[at++] = third
      at = writeVarint(bytes, at, encodedBytes(postings, start, end))
      at = writeList(bytes, at, postings, start, end)
    }
    return bytes.subarray(0, at)
  }
}

function encodedBytes(postings: Uint16Array | Uint32Array, start: number, end: number): number {
  let bytes = 0
  let previous = 0
  for (let each = start; each < end; each++) {
    for (let rest = postings[each]! - previous; rest >= 0x80; rest >>>= 7) bytes += 1
    previous = postings[each]!
  }
  return bytes + end - start
}

function writeList(bytes: Buffer, at: number, postings: Uint16Array | Uint32Array, start: number, end: number): number {
  let previous = 0
  for (let each = start; each < end; each++) {
    at = writeVarint(bytes, at, postings[each]! - previous)
    previous = postings[each]!
  }
  return at
}

function writeVarint(bytes: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  bytes[at++] = value
  return at
}

/** The trigrams of a folded query, each once; empty when it is shorter than three bytes. */
export function trigramsOf(query: Buffer): number[] {
  const codes = new Set<number>()
  for (let at = 0; at + 2 < query.length; at++) {
    codes.add((SYMBOL[query[at]!]! << 12) | (SYMBOL[query[at + 1]!]! << 6) | SYMBOL[query[at + 2]!]!)
  }
  return [...codes]
}

/** Where the lists of a bucket stand in the table. */
export function postingPlace(segment: number, bucket: number): number {
  return segment * BUCKETS + bucket
}

/** Reads segments back: which blocks may contain all of these trigrams. */
export class Postings {
  readonly #bucket

  constructor(connection: Connection) {
    this.#bucket = connection.prepare<[number], Buffer>('SELECT lists FROM posting WHERE place = ?').pluck()
  }

  /** @returns blocks counted from the segment's first, ascending */
  candidates(segment: number, codes: readonly number[]): number[] {
    const buckets = new Map<number, Buffer | undefined>()
    let kept: number[] | null = null
    for (const code of codes) {
      const bucket = code >> 6
      if (!buckets.has(bucket)) buckets.set(bucket, this.#bucket.get(postingPlace(segment, bucket)))
      const list = readList(buckets.get(bucket), code & 63)
      if (list.length === 0) return []
      kept = kept === null ? list : intersect(kept, list)
      // So few are read sooner than they are narrowed down further.
      if (kept.length <= FEW_BLOCKS) break
    }
    return kept ?? []
  }
}

function readList(bucket: Buffer | undefined, third: number): number[] {
  const found: number[] = []
  if (!bucket) return found
  let at = 0
  while (at < bucket.length) {
    const symbol = bucket[at++]!
    let bytes = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bucket[at++]!
      bytes |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    if (symbol !== third) {
      at += bytes
      continue
    }
    const end = at + bytes
    let block = 0
    while (at < end) {
      let delta = 0
      for (let shift = 0; ; shift += 7) {
        const byte = bucket[at++]!
        delta |= (byte & 0x7f) << shift
        if (byte < 0x80) break
      }
      block += delta
      found.push(block)
    }
    return found
  }
  return found
}

function intersect(a: readonly number[], b: readonly number[]): number[] {
  const both: number[] = []
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) both.push(a[i]!)
    const [x, y] = [a[i]!, b[j]!]
    if (x <= y) i++
    if (y <= x) j++
  }
  return both
}
