// Finds the native addon and names what it offers. Everything works without it, some of it slower or less exactly.
import { createRequire } from 'node:module'
import { again } from '../base/shortage.js'
import type { FileOpener, FileReader } from '../scan/guard.js'

export interface DescriptorDescription {
  readonly kind: 'file' | 'directory' | 'socket' | 'pipe' | 'other'
  /** A path, or what the kernel calls it (`socket:[1234]`); a unix socket's own path where it has one. */
  readonly target: string
  readonly readOnly: boolean
  readonly family?: 'ipv4' | 'ipv6' | 'unix'
  readonly localPort?: number
  readonly remotePort?: number
}

/** Only the first `count` places are filled. */
export interface DescriptorColumns {
  /** Of those that are clients no more is told than these two. */
  readonly clients: number
  readonly clientFds: Int32Array
  readonly clientInodes: Float64Array
  readonly count: number
  readonly fds: Int32Array
  /** 0 file, 1 directory, 2 socket, 3 pipe, 4 other. */
  readonly kinds: Uint8Array
  /** 1 read-only, 2 listening, 4 not closed on exec; of a socket the second only. */
  readonly flags: Uint8Array
  /** 1 unix, 4 IPv4, 6 IPv6, 0 something else. */
  readonly families: Uint8Array
  readonly ports: Int32Array
  readonly inodes: Float64Array
  /** Of each its target and its peer, with a NUL after each. */
  readonly texts: Buffer
}

/** Columns of one directory, in the order in which the disk lists them; `.` and `..` are left out. */
export interface NativeListing {
  /** Each name's bytes, then a NUL. */
  readonly names: Uint8Array
  /** 0 file, 1 directory, 2 symlink, 3 other; 0x40 added where metadata could not be read, 0x80 where the child is on another device. */
  readonly kinds: Uint8Array
  readonly sizes: Float64Array
  /** Microseconds since 1970, rounded down. */
  readonly mtimes: Float64Array
  readonly inodes: BigUint64Array
  readonly device: bigint
}

/** A batch, and the directories that it is of, column by column: see `Directories` in scan/read.ts. */
export interface NativeBatch extends NativeListing {
  readonly directories: {
    readonly paths: Uint8Array
    readonly counts: Uint32Array
    readonly depths: Int32Array
    readonly prints: Float64Array
    readonly inodes: Float64Array
  }
}

/** Goes down trees in the order of a walk, and reads directories into one batch. */
export interface NativeDescent {
  /** Trees to go down one after the other, those below of each included; of each its path relative to `root`, with a NUL, and its weight. */
  begin(root: Buffer, paths: Buffer, weights: Float64Array): void
  /**
   * Adds directories to the batch until it has `room`: `told` has how many children and directories were added, and the weight of
   * these. 0 when all is through, 1 when it is full. A directory of more children than `most` is not added, but returned. After an
   * error the same directory is the next.
   */
  fill(room: number, most: number, told: Float64Array): 0 | 1 | (NativeListing & { readonly print: number })
  /** The path of the last directory that was read, or could not be. */
  at(): Buffer
  /** One that could not be read is left out. Its weight is returned. */
  skip(): number
  /** The batch, which is empty afterwards. */
  take(): NativeBatch
  /** Of one directory, whatever it holds. */
  list(path: Buffer): NativeListing
  /**
   * From now on a thread holds a descriptor beside, for what is read ahead; false where none can be had. With it paths may be longer
   * than the system takes one.
   */
  beginAhead(): boolean
  /** The thread is gone afterwards. */
  end(): void
}

/** What happened in watched directories, one after the other. */
export interface NativeEvents {
  readonly watches: Int32Array
  readonly masks: Uint32Array
  readonly cookies: Uint32Array
  /** Each event's name, then a NUL. */
  readonly names: Buffer
}

/** Failures of the system carry `code`, `errno` and `syscall` like Node's, and no path. */
export interface Native extends FileReader, FileOpener {
  /** Infinity is Number.MAX_SAFE_INTEGER. */
  getLimit(): { soft: number; hard: number }
  setLimit(soft: number): void
  /** True when the kernel's table now reaches up to `top`; takes two free descriptors for a moment. */
  preallocate(top: number): boolean
  /** Needs no free descriptor, nor do `list` and `describe`. */
  count(): number
  list(): Int32Array
  /** No program that is started from now on inherits a descriptor from `first` on. Answers how many would have been. */
  closeOnExec(first: number): number
  /** Null where that number is not open. */
  describe(fd: number): DescriptorDescription | null
  /**
   * Of those numbers that are open, in as few calls of the system as can be; see `look.ts` for what the columns say.
   *
   * @param clientPort sockets connected to this local port are only counted; −1 for none
   */
  describeAll(fds: Int32Array, clientPort: number): DescriptorColumns
  /** Seven numbers, −1 for none, that the event loop of this thread holds: see `threads.ts`. */
  loopDescriptors(): Int32Array
  /** The reserve of the whole process, all threads alike: descriptors that are really held. Each returns how many are missing. */
  reserveResize(by: number): number
  reserveRefill(): number
  reserveReturn(use: number, count: number): number
  /** Closes up to `count` for a use that may have `most` at a time; returns how many. They are not taken back before they are returned. */
  reserveLend(use: number, count: number, most: number): number
  reserveList(): Int32Array
  /** Ends the process with this code after so many milliseconds, unless it has ended before. False where no thread can be had for that. */
  exitWithin(ms: number, code: number): boolean
  /** Holds one descriptor, none afterwards. No symlink is followed, nor on Linux any on the way: ENOTDIR. Children that vanish meanwhile are left out. */
  readDirectory(path: Buffer): NativeListing
  Descent: new () => NativeDescent
  /** Names that each end in NUL, by UTF-16 units as `decodeNames` has them: of each where it starts and which it is, in their order. */
  sortNames(names: Uint8Array): Uint32Array
  /** To the system, what the whole process has freed and keeps: some milliseconds. Opens nothing, does nothing but with glibc. */
  giveBackMemory(): void
  /** A socket bound to an address in figures, and to a port that others of this user may share; it is a descriptor. */
  bindShared(address: string, port: number): number
  /** Those of `fds` that are sockets which listen. This and the following need no free descriptor. */
  listening(fds: Int32Array): Int32Array
  /** How many the kernel keeps at the listener `fd` until they are accepted. False where that cannot be changed. */
  setBacklog(fd: number, count: number): boolean
  /** Whether a read, or an accept, would find something. */
  readable(fd: number): boolean
  /** Has the loop of this thread leave `fd` alone, or look at it again; its owner does not notice. */
  watchReads(fd: number, on: boolean): void
  /**
   * Whoever accepts at the listener `fd` finds nobody until it is put back, before the loop polls again. The number it has
   * meanwhile, for which one must be free; −1 where there is none, or not on Linux.
   */
  setAside(fd: number): number
  putBack(fd: number, kept: number): void
  /** The descriptor that the loop of this thread began to watch last; −1 once the kernel was told of it. */
  lastWatched(): number
  /** The one that it ceased to watch last, for good, in this turn, by when it is closed; −1 if there was none. */
  lastUnwatched(): number
  /**
   * For each of `fds` two numbers: milliseconds since its peer was heard, and since it was written to. −1 twice where bytes
   * wait to be read or sent, −2 twice where it is no client of `port`.
   */
  silence(fds: Int32Array, port: number): Int32Array
  /** Who is at the other end of each: an address; on a unix socket user and process; '' where there is nobody. */
  peers(fds: Int32Array): string[]
  /** Ends a client of `port` in both directions; its owner sees that and closes it. False where it is none. */
  hangUp(fd: number, port: number): boolean

  /** An inotify instance, which is a descriptor; EMFILE where this user has too many of either. ENOSYS but on Linux. */
  watchOpen(): number
  /** The number of the watch, the same for the same directory. ENOSPC where this user has too many. */
  watchAdd(fd: number, path: Buffer, mask: number): number
  watchRemove(fd: number, watch: number): void
  /** What there is, at most 64 KiB of it; null where nothing happened. */
  watchRead(fd: number): NativeEvents | null
  watchClose(fd: number): void
}

const ADDON = '../../../build/Release/spacedrive.node'

let found: { native: Native | null; problem: string | null } | undefined

/** The addon, or null: see `nativeProblem`. The first call of a thread loads it and needs a descriptor; later ones do not. */
export function loadNative(): Native | null {
  found ??= find()
  return found.native
}

/** Why there is no addon, in one sentence; null where there is one. */
export function nativeProblem(): string | null {
  found ??= find()
  return found.problem
}

function find(): { native: Native | null; problem: string | null } {
  if (process.env['SPACEDRIVE_NATIVE'] === 'off')
    return { native: null, problem: 'switched off by SPACEDRIVE_NATIVE=off' }
  try {
    return { native: again(() => createRequire(import.meta.url)(ADDON) as Native), problem: null }
  } catch (error) {
    return { native: null, problem: problemOf(error) }
  }
}

function problemOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'MODULE_NOT_FOUND')
    return 'not built; `node scripts/native.mjs` in the directory of the package builds it, or says what is missing'
  const message = error instanceof Error ? error.message : String(error)
  return `cannot be loaded: ${message.split('\n', 1)[0]}`
}
