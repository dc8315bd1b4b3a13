// Reads files one after the other for the ids of their contents; holds one descriptor at a time, and no library.
import { fstatSync, type BigIntStats } from 'node:fs'
import { errnoOf, fromSystem } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Media } from '../protocol/messages.js'
import type { Blake3 } from './blake3.js'
import { bytesHashed, CONTENT_AT, HASHED_BYTES_MAX, idOf, partsOf, readHashed } from './content-id.js'
import { MEDIA_KINDS, TYPES, typeOf } from './content-type.js'
import { fromNear, openGuarded, readGuarded, SEEN, SEEN_LENGTH, type FileReader, type GuardedFile } from './guard.js'
import { encodeName } from './names.js'
import { microseconds } from './read.js'

/** Files as the index knows them, column by column. */
export interface FilesWanted {
  /** Absolute, as in scan/names. */
  readonly paths: readonly string[]
  readonly sizes: Float64Array
  /** Microseconds since 1970. */
  readonly mtimes: Float64Array
  readonly inodes: BigUint64Array
  /** They are read to their ends: for the hash of every byte, or each against the first of them. */
  readonly whole?: 'hash' | 'compare'
  /** Headers of pictures, sounds and films are read as well. */
  readonly media?: boolean
  /** Who reads them holds a descriptor more, for what lies at paths that are longer than the system takes one. */
  readonly beside?: boolean
}

/** Of a file whose type is known, and of which the parts for its id were read: `content`. */
export type LookInto = (files: FilesWanted, at: number, content: Buffer, mime: string) => Media

/** What became of each, up to `count`: those after it were not begun. */
export interface FilesRead {
  readonly count: number
  readonly ids: BigUint64Array
  /** Numbers of content types. */
  readonly types: Uint8Array
  /** Of pictures, sounds and films that were looked into: what was found, which may be nothing. */
  readonly media?: readonly (Media & { readonly at: number })[]
  /** 32 bytes of each. */
  readonly digests?: Uint8Array
  /** `VERDICT`s of scan/whole. */
  readonly verdicts?: Uint8Array
  /** Those that have no id now, and why. */
  readonly failures: readonly FileFailure[]
}

export interface FileFailure {
  readonly at: number
  readonly code: string
  readonly message: string
}

/**
 * @param stop is asked before each file
 * @param reader the addon's, which needs two calls for a file; without it each is opened, looked at, read and closed
 * @param lookInto where media are wanted
 * @throws BUDGET_EXHAUSTED when no descriptor can be had: that is no failure of a file
 */
export function identifyFiles(
  files: FilesWanted,
  blake3: Blake3,
  stop: () => boolean,
  reader: FileReader | null = null,
  lookInto: LookInto | null = null,
): FilesRead {
  const { length } = files.paths
  const ids = new BigUint64Array(length)
  const types = new Uint8Array(length)
  const failures: FileFailure[] = []
  const media: (Media & { at: number })[] = []
  const buffer = Buffer.allocUnsafe(HASHED_BYTES_MAX)
  let at = 0
  for (; at < length && !stop(); at++) {
    try {
      const hashed = reader ? readAtOnce(reader, files, at, buffer) : readOne(files, at, buffer)
      const content = hashed.subarray(CONTENT_AT)
      const type = typeOf(content)
      const { kind, mime } = TYPES[type]!
      if (lookInto && MEDIA_KINDS.has(kind)) media.push({ at, ...lookInto(files, at, content, mime) })
      ids[at] = idOf(blake3.digest(hashed))
      types[at] = type
    } catch (error) {
      failures.push({ at, ...failureOf(error) })
    }
  }
  return { count: at, ids, types, failures, ...(lookInto ? { media } : {}) }
}

/** What is read is what the index knows, before and after: else it is being written, or another file by now. */
function readOne(files: FilesWanted, at: number, buffer: Buffer): Buffer {
  const file = openIndexed(files, at)
  try {
    const hashed = readHashed(file.fd, files.sizes[at]!, buffer)
    if (!hashed || !isSame(fstatSync(file.fd, { bigint: true }), file.stat))
      throw new Changed('it changed while it was read')
    return hashed
  } finally {
    file.close()
  }
}

/** The same as `readOne`, in two calls. */
function readAtOnce(reader: FileReader, files: FilesWanted, at: number, buffer: Buffer): Buffer {
  const { sizes, mtimes, inodes } = files
  const size = sizes[at]!
  const parts = () => {
    mustBeIndexed(SEEN_NOW[SEEN.size] === BigInt(size))
    mustBeIndexed(BigInt.asUintN(64, SEEN_NOW[SEEN.inode]!) === inodes[at])
    mustBeIndexed(microseconds(SEEN_NOW[SEEN.modified]!) === mtimes[at])
    if (isFresh(SEEN_NOW[SEEN.modified]!, SEEN_NOW[SEEN.changed]!)) throw new Changed(FRESH)
    return Float64Array.from(partsOf(size))
  }
  const into = buffer.subarray(CONTENT_AT)
  const bytes = reached(files, at, (path) => readGuarded(reader, path, SEEN_NOW, parts, into))
  if (bytes !== bytesHashed(size)) throw new Changed('it changed while it was read')
  buffer.writeBigUInt64LE(BigInt(size), 0)
  return buffer.subarray(0, CONTENT_AT + bytes)
}

const SEEN_NOW = new BigInt64Array(SEEN_LENGTH)

function mustBeIndexed(isSo: boolean): void {
  if (!isSo) throw new Changed('it is not as it was indexed any more')
}

/**
 * Opens one that is as the index knows it.
 *
 * @throws Changed
 */
export function openIndexed(files: FilesWanted, at: number): GuardedFile {
  const { sizes, mtimes, inodes } = files
  const file = reached(files, at, openGuarded)
  try {
    const { ino, size, mtimeNs, ctimeNs } = file.stat
    mustBeIndexed(ino === inodes[at] && Number(size) === sizes[at] && microseconds(mtimeNs) === mtimes[at])
    if (isFresh(mtimeNs, ctimeNs)) throw new Changed(FRESH)
    return file
  } catch (error) {
    file.close()
    throw error
  }
}

/** The code of a file that is being written, or another one by now. */
export const CHANGED = 'CHANGED'

export class Changed extends Error {}

/** Within one tick of the file system's clock a second write would leave the same times. */
function isFresh(mtimeNs: bigint, ctimeNs: bigint): boolean {
  const now = Date.now()
  const isNow = (time: bigint) => Math.abs(now - Number(time) / 1e6) < LIMITS.identifyFreshMs
  return isNow(mtimeNs) || isNow(ctimeNs)
}

const FRESH = 'it was written a moment ago'

export function isSame(after: BigIntStats, before: BigIntStats): boolean {
  return after.size === before.size && after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs
}

function reached<T>({ paths, beside }: FilesWanted, at: number, work: (path: Buffer) => T): T {
  const path = encodeName(paths[at]!)
  return patiently(() => (beside ? fromNear(path, work) : work(path)))
}

/** Somebody outside the ledger may have taken the descriptor this thread is lent: it waits for that, and then gives up as a whole. */
function patiently<T>(work: () => T): T {
  for (let waitedMs = 0; ; waitedMs += PAUSE_MS) {
    try {
      return work()
    } catch (error) {
      if (fromSystem(error).code !== 'BUDGET_EXHAUSTED' || waitedMs >= LIMITS.identifyPatienceMs) throw error
      Atomics.wait(PAUSE, 0, 0, PAUSE_MS)
    }
  }
}

const PAUSE_MS = 20
const PAUSE = new Int32Array(new SharedArrayBuffer(4))

export function failureOf(error: unknown): { code: string; message: string } {
  if (error instanceof Changed) return { code: CHANGED, message: error.message }
  const known = fromSystem(error)
  const errno = errnoOf(known.cause) ?? errnoOf(error)
  // Whatever the system says of one file is of that file, except that there was no descriptor for it.
  if (known.code === 'BUDGET_EXHAUSTED' || (known.code === 'INTERNAL' && errno === undefined)) throw known
  return { code: errno ?? known.code, message: known.message }
}
