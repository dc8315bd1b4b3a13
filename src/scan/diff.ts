// Compares what an index knows of one directory with what the disk holds. Pure: reads nothing, writes nothing.
import { KIND } from './read.js'

export interface Known {
  readonly id: number
  readonly name: string
  readonly kind: number
  readonly size: number
  readonly mtime: number
  readonly inode: number | string
}

/** `size`, `mtime` and `inode` mean nothing where `unread`. */
export interface Metadata {
  readonly kind: number
  readonly size: number
  readonly mtime: number
  readonly inode: number | bigint
  readonly unread: boolean
  readonly foreign: boolean
}

/** A child as a walk found it. */
export interface Found extends Metadata {
  readonly name: string
}

export interface Difference {
  readonly added: Found[]
  readonly changed: { readonly id: number; readonly found: Found; readonly before: Known }[]
  /** The same name, but one of the two is a directory: another thing altogether. */
  readonly replaced: { readonly id: number; readonly found: Found }[]
  readonly missing: Known[]
  /** Ids of the directories that are where they were, by name. */
  readonly directories: Map<string, number>
}

export function diff(before: readonly Known[], after: readonly Found[]): Difference {
  const left = new Map(before.map((known) => [known.name, known]))
  const result: Difference = { added: [], changed: [], replaced: [], missing: [], directories: new Map() }
  for (const found of after) {
    const known = left.get(found.name)
    left.delete(found.name)
    if (!known) result.added.push(found)
    // Its name is there and nothing else is known, perhaps not even its kind: it stays what it was.
    else if (found.unread) {
      if (known.kind === KIND.directory) result.directories.set(found.name, known.id)
    } else if ((known.kind === KIND.directory) !== (found.kind === KIND.directory)) {
      result.replaced.push({ id: known.id, found })
    } else {
      if (found.kind === KIND.directory) result.directories.set(found.name, known.id)
      if (differs(known, found)) result.changed.push({ id: known.id, found, before: known })
    }
  }
  result.missing.push(...left.values())
  return result
}

function differs(known: Known, found: Found): boolean {
  return (
    known.kind !== found.kind ||
    known.size !== found.size ||
    known.mtime !== found.mtime ||
    known.inode !== inodeKey(found.inode)
  )
}

/** An inode as the index gives it back: a number while that is exact, else the signed 64-bit number as text. */
export function inodeKey(inode: number | bigint): number | string {
  return typeof inode === 'number' ? inode : BigInt.asIntN(64, inode).toString()
}

/** A number where that is exact: everywhere but on file systems that use the upper bits. */
export function plainInode(inode: bigint): number | bigint {
  return inode <= Number.MAX_SAFE_INTEGER ? Number(inode) : inode
}

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
const LOW = LITTLE_ENDIAN ? 0 : 1

/** The same of many, without a BigInt for each. @param halves of 64-bit numbers, as this machine has them in memory */
export function plainInodeAt(halves: Uint32Array, at: number): number | bigint {
  const low = halves[2 * at + LOW]!
  const high = halves[2 * at + 1 - LOW]!
  return high < 2 ** 21 ? high * 2 ** 32 + low : (BigInt(high) << 32n) | BigInt(low)
}

export function halvesOf({ buffer, byteOffset, length }: BigUint64Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, 2 * length)
}
