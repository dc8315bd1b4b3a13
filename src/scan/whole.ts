// Reads files from their first byte to their last: for the hash of all of it, or against each other. Holds one descriptor at a time:
// of large files a segment of the first is kept, and each other one is opened anew for its part of it.
import { fstatSync, readSync, type BigIntStats } from 'node:fs'
import { LIMITS } from '../base/limits.js'
import type { Blake3 } from './blake3.js'
import type { GuardedFile } from './guard.js'
import {
  Changed,
  failureOf,
  isSame,
  openIndexed,
  type FileFailure,
  type FilesRead,
  type FilesWanted,
} from './identify.js'

export const DIGEST_BYTES = 32
/** What became of a file that was compared with the first. */
export const VERDICT = { none: 0, equal: 1, differs: 2 } as const

/** @param stop is asked before each piece; a file that was not read to its end by then was not begun */
export function hashFiles(files: FilesWanted, blake3: Blake3, stop: () => boolean): FilesRead {
  const digests = new Uint8Array(files.paths.length * DIGEST_BYTES)
  const failures: FileFailure[] = []
  const piece = Buffer.allocUnsafe(LIMITS.wholePieceBytes)
  let at = 0
  for (; at < files.paths.length; at++) {
    try {
      const digest = hashOne(files, at, { blake3, piece, stop })
      if (!digest) break
      digests.set(digest, at * DIGEST_BYTES)
    } catch (error) {
      failures.push({ at, ...failureOf(error) })
    }
  }
  return { ...NOTHING, count: at, digests, failures }
}

interface Hashing {
  readonly blake3: Blake3
  readonly piece: Buffer
  readonly stop: () => boolean
}

/** Null when it was stopped. */
function hashOne(files: FilesWanted, at: number, { blake3, piece, stop }: Hashing): Uint8Array | null {
  const file = openIndexed(files, at)
  try {
    const hasher = blake3.begin()
    for (let from = 0; from < files.sizes[at]!;) {
      if (stop()) return null
      const bytes = readPiece(file, piece, from, files.sizes[at]!)
      hasher.update(piece.subarray(0, bytes))
      from += bytes
    }
    if (stop()) return null
    mustBeSame(file, file.stat)
    return hasher.digest()
  } finally {
    file.close()
  }
}

/**
 * Compares each with the first, byte by byte. Where the first cannot be read nothing is said of the others.
 *
 * @param stop is asked before each piece; then nothing was begun
 */
export function compareFiles(files: FilesWanted, stop: () => boolean): FilesRead {
  const { length } = files.paths
  const verdicts = new Uint8Array(length)
  const failures: FileFailure[] = []
  const seen: BigIntStats[] = []
  const segment = Buffer.allocUnsafe(Math.min(files.sizes[0]!, LIMITS.compareSegmentBytes))
  const piece = Buffer.allocUnsafe(LIMITS.wholePieceBytes)
  const comparing: Comparing = { files, segment, piece, seen, stop }
  let left = Array.from({ length: length - 1 }, (_, at) => at + 1)
  /** Looks at one part of a file; null where it failed. */
  const look = (at: number, look: () => boolean): boolean | null => {
    try {
      return look()
    } catch (error) {
      failures.push({ at, ...failureOf(error) })
      return null
    }
  }
  for (let from = 0; from < files.sizes[0]! && !stop(); from += segment.length) {
    if (look(0, () => keepSegment(comparing, from)) === null) return { ...NOTHING, count: length, verdicts, failures }
    left = left.filter((at) => {
      const isEqual = !stop() && look(at, () => fitsSegment(comparing, at, from))
      if (isEqual === false) verdicts[at] = VERDICT.differs
      return isEqual
    })
  }
  if (stop()) return NOTHING
  for (const at of [0, ...left]) verdicts[at] = VERDICT.equal
  return { ...NOTHING, count: length, verdicts, failures }
}

const NOTHING: FilesRead = { count: 0, ids: new BigUint64Array(), types: new Uint8Array(), failures: [] }

interface Comparing {
  readonly files: FilesWanted
  readonly segment: Buffer
  readonly piece: Buffer
  /** Of each file when it was opened first: so it must be whenever it is looked at. */
  readonly seen: BigIntStats[]
  readonly stop: () => boolean
}

function keepSegment(comparing: Comparing, from: number): boolean {
  return inSegment(comparing, 0, from, (piece, at) => {
    piece.copy(comparing.segment, at)
    return true
  })
}

function fitsSegment(comparing: Comparing, at: number, from: number): boolean {
  if (comparing.files.sizes[at] !== comparing.files.sizes[0]) return false
  return inSegment(comparing, at, from, (piece, begin) =>
    piece.equals(comparing.segment.subarray(begin, begin + piece.length)),
  )
}

/** Hands over the part of a file piece by piece, until one is not wanted; true when all were. */
function inSegment(
  { files, segment, piece, seen, stop }: Comparing,
  at: number,
  from: number,
  take: (piece: Buffer, at: number) => boolean,
): boolean {
  const file = openIndexed(files, at)
  try {
    const before = (seen[at] ??= file.stat)
    const end = Math.min(files.sizes[at]!, from + segment.length)
    let isWanted = true
    for (let next = from; next < end && isWanted && !stop();) {
      const bytes = readPiece(file, piece, next, end)
      isWanted = take(piece.subarray(0, bytes), next - from)
      next += bytes
    }
    mustBeSame(file, before)
    return isWanted
  } finally {
    file.close()
  }
}

function readPiece({ fd }: GuardedFile, piece: Buffer, from: number, end: number): number {
  const bytes = readSync(fd, piece, 0, Math.min(piece.length, end - from), from)
  if (bytes === 0) throw new Changed('it changed while it was read')
  return bytes
}

function mustBeSame({ fd }: GuardedFile, before: BigIntStats): void {
  if (!isSame(fstatSync(fd, { bigint: true }), before)) throw new Changed('it changed while it was read')
}
