// Reads one directory with the metadata of its children: one call of the native addon, else Node's own functions.
import { lstatSync, readdirSync } from 'node:fs'
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

/** What a gatherer says of a directory whose children it added. */
export interface Gathered {
  readonly count: number
  /** 48 bits of all that was read of its children; 0 where something could not be. */
  readonly print: number
  /** Its own; 0 where it is past 2^53. */
  readonly inode: number
  /** Its subdirectories on the same device, in no order. */
  readonly below: string[]
}

/** Reads one directory after the other into one batch: in their order, all children of each. */
export interface Gatherer {
  /**
   * A directory of many children is returned instead of added.
   *
   * @throws the system's error, with `code`
   */
  read(path: Buffer): Gathered | Listing
  /** What was added since it was called last. */
  take(): Listing
  /** This directory will be read soon, by `read`. */
  ahead(path: Buffer): void
}

export const KIND = { file: 0, directory: 1, symlink: 2, other: 3 } as const
export const KIND_MASK = 0x3f
export const UNREAD = 0x40
export const FOREIGN = 0x80

export type ReadDirectory = (path: Buffer) => Listing

/**
 * Holds one descriptor, and none afterwards. Children that vanish meanwhile are left out.
 *
 * @throws the system's error, with `code`
 */
export const readDirectoryPlain: ReadDirectory = (path) => {
  const device = deviceOf(path)
  return lookAt(path, readdirSync(path, { encoding: 'buffer' }), device)
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
  throw Object.assign(new Error('ENOTDIR: not a directory, scandir'), { code: 'ENOTDIR' })
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
