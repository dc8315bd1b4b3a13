// Reads one directory with the metadata of its children: one call of the native addon, else Node's own functions.
import { lstatSync, readdirSync, realpathSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { errnoOf } from '../base/errors.js'

/** The children of one directory, column by column, so that they cross threads without being copied. */
export interface Listing {
  /** Each name's bytes, then a NUL. */
  readonly names: Uint8Array
  /** 0 file, 1 directory, 2 symlink, 3 other; `UNREAD` added where metadata could not be read, `FOREIGN` where the child is on another device. */
  readonly kinds: Uint8Array
  readonly sizes: Float64Array
  /** Microseconds since 1970. */
  readonly mtimes: Float64Array
  readonly inodes: BigUint64Array
}

/** Directories that were read whole, one after the other, column by column. */
export interface Directories {
  /** Of each its path relative to the root of the walk, as bytes, then a NUL. */
  readonly paths: Uint8Array
  /** How many children it has. */
  readonly counts: Uint32Array
  /**
   * How far it is below the root. What comes last before it and is one nearer is right above it, and has a child of its name and
   * inode; ~depth where that is not known.
   */
  readonly depths: Int32Array
  /** 48 bits of all that was read of its children; 0 where something could not be. */
  readonly prints: Float64Array
  /** Its own; 0 where it is past 2^53. */
  readonly inodes: Float64Array
}

/** A directory of many children, with its print: see `Directories`. */
export type Large = Listing & { readonly print: number }

/** Goes down trees in the order of a walk, where nothing is left out, and gathers what it finds. */
export interface Gatherer {
  /** Trees to go down one after the other: relative to `root`, and what each counts for. */
  begin(root: Buffer, paths: readonly string[], weights: readonly number[]): void
  /**
   * Goes on until children and directories are as many as `room`. A directory of many children is returned instead of added.
   *
   * @throws the system's error, with `code`; the same directory is the next, unless it is skipped
   */
  fill(room: number): Large | 'full' | 'through'
  /** The directory that was returned, or could not be read. */
  at(): string
  skip(): void
  /** How many children and directories were added since `take` was called last. */
  readonly count: number
  /** What is through since then counts for so much. */
  readonly weight: number
  /** What was added since it was called last. */
  take(): { readonly listing: Listing; readonly directories: Directories }
}

export const KIND = { file: 0, directory: 1, symlink: 2, other: 3 } as const
export const KIND_MASK = 0x3f
export const UNREAD = 0x40
export const FOREIGN = 0x80

export type ReadDirectory = (path: Buffer) => Listing

/**
 * The same directory by a path with no link above it. Links may stand above the root of a location, none below it: the addon follows
 * none at all on the way to what it reads.
 */
export function withoutLinks(root: Buffer): Buffer {
  const end = root.lastIndexOf(SLASH)
  if (end <= 0) return root
  try {
    return Buffer.concat([realpathSync.native(root.subarray(0, end), { encoding: 'buffer' }), root.subarray(end)])
  } catch {
    // Whoever reads it meets the same, and tells it.
    return root
  }
}

/** For what lies below a root; where a link stands above that, tried again without. */
export function readBelow(root: Buffer, read: ReadDirectory): ReadDirectory {
  return (path) => {
    try {
      return read(path)
    } catch (error) {
      const near = errnoOf(error) === 'ENOTDIR' ? withoutLinks(root) : root
      if (near.equals(root)) throw error
      return read(Buffer.concat([near, path.subarray(root.length)]))
    }
  }
}

/**
 * Holds one descriptor, and none afterwards. Children that vanish meanwhile are left out.
 *
 * @throws the system's error, with `code`
 */
export const readDirectoryPlain: ReadDirectory = (path) => {
  const device = deviceOf(path)
  const listing = lookAt(path, readdirSync(path, { encoding: 'buffer' }), device)
  if (!liesThere(path)) throw noDirectory()
  return listing
}

/** No directory on the way has become a link; one that came and went while it was read is not seen. Elsewhere than on Linux the addon does not look either. */
function liesThere(path: Buffer): boolean {
  if (process.platform !== 'linux') return true
  const real = realpathSync.native(path, { encoding: 'buffer' })
  return real.equals(path[1] === SLASH[0] ? path.subarray(1) : path)
}

/** Those of a directory's children that are there, by name. Opens nothing. */
export function lookAt(path: Buffer, names: readonly Buffer[], device: bigint): Listing {
  const found: { name: Buffer; stat: BigIntStats | null }[] = []
  for (const name of names) {
    const stat = statChild(Buffer.concat([path, SLASH, name]))
    if (stat !== 'gone') found.push({ name, stat })
  }
  const listing = {
    names: Buffer.concat(found.flatMap(({ name }) => [name, NUL])),
    kinds: new Uint8Array(found.length),
    sizes: new Float64Array(found.length),
    mtimes: new Float64Array(found.length),
    inodes: new BigUint64Array(found.length),
  }
  found.forEach(({ stat }, at) => {
    listing.kinds[at] = stat === null ? KIND.other | UNREAD : kindOf(stat) | (stat.dev === device ? 0 : FOREIGN)
    if (stat === null) return
    listing.sizes[at] = Number(stat.size)
    listing.mtimes[at] = microseconds(stat.mtimeNs)
    listing.inodes[at] = stat.ino
  })
  return listing
}

/** As the addon does, a symlink is not followed: a directory that was replaced by one must not lead out of the tree. */
function deviceOf(path: Buffer): bigint {
  const stat = lstatSync(path, { bigint: true })
  if (stat.isDirectory()) return stat.dev
  throw noDirectory()
}

function noDirectory(): Error {
  return Object.assign(new Error('ENOTDIR: not a directory, scandir'), { code: 'ENOTDIR' })
}

/** Rounded down, before 1970 as well: BigInt's division would round towards zero. */
export function microseconds(nanoseconds: bigint): number {
  const rest = nanoseconds % 1000n
  return Number((nanoseconds - (rest < 0n ? rest + 1000n : rest)) / 1000n)
}

const SLASH = Buffer.from('/')
const NUL = Buffer.from([0])

function statChild(path: Buffer): BigIntStats | null | 'gone' {
  try {
    return lstatSync(path, { bigint: true })
  } catch (error) {
    const errno = errnoOf(error)
    return errno === 'ENOENT' || errno === 'ENOTDIR' ? 'gone' : null
  }
}

export function kindOf(stat: {
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
}): (typeof KIND)[keyof typeof KIND] {
  if (stat.isFile()) return KIND.file
  if (stat.isDirectory()) return KIND.directory
  return stat.isSymbolicLink() ? KIND.symlink : KIND.other
}
