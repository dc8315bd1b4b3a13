// What no code of this process may open for itself: the files that SQLite has locked here. Closing any descriptor of such a file
// drops the locks of the whole process on it, whoever opened it and by whatever name, and then another process may write.
//
// Two sets of (device, inode) that all threads share: the files in use by SQLite, and those that somebody reads. Each side
// marks its own before it looks at the other's, so that of two who come at the same moment at least one gives way.
import {
  close,
  closeSync,
  constants,
  fstat,
  fstatSync,
  lstat,
  lstatSync,
  open,
  openSync,
  readlinkSync,
  realpath,
  type BigIntStats,
  type PathLike,
} from 'node:fs'
import { promisify } from 'node:util'
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { Marks } from './marks.js'
import { decodeName, printable } from './names.js'

/** The memory belongs to the process, as the locks do: Node hands it to every thread that is started. */
const MEMORY = 'spacedrive.guard'
const LIVE_BUCKETS = 16_384
const READ_BUCKETS = 4_096

interface Shared {
  readonly live: SharedArrayBuffer
  readonly read: SharedArrayBuffer
}

const shared = (getEnvironmentData(MEMORY) as Shared | undefined) ?? share()
const live = new Marks(shared.live)
const read = new Marks(shared.read)

function share(): Shared {
  const made = { live: Marks.memory(LIVE_BUCKETS), read: Marks.memory(READ_BUCKETS) }
  setEnvironmentData(MEMORY, made as unknown as Parameters<typeof setEnvironmentData>[1])
  return made
}

export interface LiveFiles {
  /** Files that came to be since; those that are marked already stay so. */
  add(paths: readonly string[]): void
  /** After the last descriptor of them is closed. */
  release(): void
}

/**
 * Marks files that SQLite is about to lock, as far as they exist. What a thread that died had marked stays marked: its
 * files are refused for longer than need be, never for shorter.
 *
 * @throws LIBRARY_LOCKED while somebody reads one of them
 */
export function markLive(paths: readonly string[]): LiveFiles {
  const marked = new Set<bigint>()
  const release = () => {
    for (const key of marked) live.remove(key)
    marked.clear()
  }
  const add = (more: readonly string[]) => {
    for (const path of more) {
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      if (stat) markOne(keyOf(stat), path, marked)
    }
  }
  try {
    add(paths)
  } catch (error) {
    release()
    throw error
  }
  return { add, release }
}

function markOne(key: bigint, path: string, marked: Set<bigint>): void {
  if (marked.has(key)) return
  if (!live.add(key))
    throw new SpacedriveError('BUDGET_EXHAUSTED', 'too many libraries are open', { class: 'libraries' })
  marked.add(key)
  if (read.has(key)) throw new SpacedriveError('LIBRARY_LOCKED', `${path} is being read, by this or another name of it`)
}

/** A regular file, open for reading. The lease for its descriptor is the caller's. */
export interface GuardedFile extends Disposable {
  readonly fd: number
  readonly stat: BigIntStats
  close(): void
}

/**
 * The one way in which jobs and the front open a file for its contents: never a link, never what blocks (a pipe) or is no
 * file, and never what SQLite has locked in this process, whatever its name.
 *
 * @throws PATH_REFUSED for those; FILE_NOT_FOUND; BUDGET_EXHAUSTED; DISK_FAILED
 */
export function openGuarded(path: string | Buffer): GuardedFile {
  closeParked()
  const key = keyOf(regular(path, look(path)))
  if (!read.add(key)) throw tooMany()
  try {
    if (live.has(key)) throw isOurs(path)
    const fd = told(path, () => openSync(path, FLAGS))
    return opened(path, fd, key)
  } catch (error) {
    read.remove(key)
    throw error
  }
}

/** The addon's two calls for a file. */
export interface FileReader {
  /** Of what lies at a path, and is not followed: device, inode, size, both times in nanoseconds, 1 for a regular file. */
  lookAtFile(path: Buffer, seen: BigInt64Array): void
  /**
   * Bytes of a file that is as `seen` before and after: pairs of offset and length, one after the other. Holds one descriptor, and
   * none afterwards, but where it opened another file than was seen: then that one stays open, and `seen` is of it.
   *
   * @returns how many bytes; −1 where it is not as it was seen; −2 − its descriptor where another one was opened
   */
  readParts(path: Buffer, seen: BigInt64Array, parts: Float64Array, into: Uint8Array): number
}

/** The places of what a reader has seen of a file; times in nanoseconds since 1970. */
export const SEEN = { device: 0, inode: 1, size: 2, modified: 3, changed: 4, regular: 5 } as const
export const SEEN_LENGTH = 6

/**
 * As `openGuarded`, for a file whose parts are read in one go, and that is closed then.
 *
 * @param seen what was found by a look at it is written here
 * @param partsOf the parts that are wanted of what was seen; it may throw
 * @returns bytes read, −1 where the file is not as it was seen
 */
export function readGuarded(
  reader: FileReader,
  path: Buffer,
  seen: BigInt64Array,
  partsOf: () => Float64Array,
  into: Uint8Array,
): number {
  closeParked()
  told(path, () => reader.lookAtFile(path, seen))
  if (seen[SEEN.regular] !== 1n) throw irregular(path)
  const key = keySeen(seen)
  const parts = partsOf()
  if (!read.add(key)) throw tooMany()
  try {
    if (live.has(key)) throw isOurs(path)
    const bytes = told(path, () => reader.readParts(path, seen, parts, into))
    if (bytes >= -1) return bytes
    const fd = -2 - bytes
    const wrong = mismatch(path, fd, keySeen(seen), key)
    if (!wrong?.isParked) closeSync(fd)
    if (wrong) throw wrong.error
    return -1
  } finally {
    read.remove(key)
  }
}

function keySeen(seen: BigInt64Array): bigint {
  return keyOf(identityOf(seen))
}

function identityOf(seen: BigInt64Array): { dev: bigint; ino: bigint } {
  return { dev: BigInt.asUintN(64, seen[SEEN.device]!), ino: BigInt.asUintN(64, seen[SEEN.inode]!) }
}

/** What is known of a file that is sent. */
export type FileStat = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs'>

/** The same for the main thread, which must not wait for a disk: each call is made by another thread. */
export interface OpenFile {
  readonly stat: FileStat
  /** −1 where it is closed already: then it has no more than its first bytes. */
  readonly fd: number
  readonly first: Buffer
  close(): Promise<void>
}

/** The addon's call for a file that is sent. */
export interface FileOpener {
  /**
   * Opens a file that was seen and reads its first bytes, in one go of another thread. `seen` is of it then. `done` hears of its
   * descriptor, −1 where that is closed, which it is where there are no further bytes, and how many bytes there are: −1 where another
   * file was opened than was seen, −2 where on Linux it lies elsewhere, through a link. Neither is read, and both stay open.
   */
  openFile(
    path: Buffer,
    seen: BigInt64Array,
    into: Uint8Array,
    done: (error: Error | null, fd: number, bytes: number) => void,
  ): void
}

/** Whether it lies at its path is not known where nobody looked yet. */
type Opened = Omit<OpenFile, 'close'> & { readonly isHere?: boolean }

/**
 * As `openGuarded`, of a file that lies at this path and nowhere else: no directory of it has become a link.
 *
 * @param path absolute, without symbolic links
 * @param first of so many first bytes it is known soon that they are wanted; without an opener none are read
 */
export async function openGuardedLater(path: Buffer, opener: FileOpener | null, first: number): Promise<OpenFile> {
  closeParked()
  const before = await toldLater(path, lstatLater(path, BIG))
  const key = keyOf(regular(path, before))
  if (!read.add(key)) throw tooMany()
  let fd = -1
  try {
    if (live.has(key)) throw isOurs(path)
    const opened = await toldLater(path, opener ? openInOne(opener, path, before, first) : openInSteps(path))
    fd = opened.fd
    const wrong = mismatch(path, fd, keyOf(opened.stat), key)
    if (wrong) {
      if (wrong.isParked) fd = -1
      throw wrong.error
    }
    if (!(opened.isHere ?? (await liesAt(fd, path)))) throw isElsewhere(path)
    if (fd >= 0) return { ...opened, close: () => closeLater(fd).finally(() => read.remove(key)) }
    read.remove(key)
    return { ...opened, close: () => Promise.resolve() }
  } catch (error) {
    if (fd >= 0) await closeLater(fd)
    read.remove(key)
    throw error
  }
}

function openInOne(opener: FileOpener, path: Buffer, { dev, ino }: FileStat, first: number): Promise<Opened> {
  const seen = new BigInt64Array(SEEN_LENGTH)
  seen[SEEN.device] = dev
  seen[SEEN.inode] = ino
  const into = Buffer.allocUnsafeSlow(first)
  return new Promise((resolve, reject) =>
    opener.openFile(path, seen, into, (error, fd, bytes) => {
      if (error) return reject(error)
      const stat = { ...identityOf(seen), size: seen[SEEN.size]!, mtimeNs: seen[SEEN.modified]! }
      const here = ON_LINUX ? { isHere: bytes !== ELSEWHERE } : {}
      resolve({ stat, fd, first: into.subarray(0, Math.max(bytes, 0)), ...here })
    }),
  )
}

const ELSEWHERE = -2

/** Without the addon, and each step by another thread. */
async function openInSteps(path: Buffer): Promise<Opened> {
  const fd = await openLater(path, FLAGS)
  try {
    return { stat: await fstatLater(fd, BIG), fd, first: NOTHING }
  } catch (error) {
    await closeLater(fd)
    throw error
  }
}

const NOTHING = Buffer.alloc(0)
const ON_LINUX = process.platform === 'linux'

async function liesAt(fd: number, path: Buffer): Promise<boolean> {
  // Of an open descriptor the kernel knows it by itself: there is no disk to wait for, and a thread for it would cost ten times as much.
  const real = ON_LINUX ? readlinkSync(`/proc/self/fd/${fd}`, BYTES) : await realpathLater(path, BYTES)
  return real.equals(path)
}

/** What the system takes of a path, which has a NUL at its end. */
const PATH_BYTES_MAX = 4_095

/** Whether it may be that the system does not take it in one piece. A byte is one character at least. */
export function isFar(path: string): boolean {
  return 3 * path.length > PATH_BYTES_MAX && Buffer.byteLength(path) > PATH_BYTES_MAX
}

/**
 * Works with a path that the system takes: of one that is longer, with what is left of it from an open directory on the way. Then
 * `work` may have one descriptor open and this another, so that the caller's lease is for two.
 *
 * @throws ENAMETOOLONG where the system has no name for an open directory; what opening it meets
 */
export function fromNear<T>(path: Buffer, work: (near: Buffer) => T): T {
  if (path.length <= PATH_BYTES_MAX) return work(path)
  let fd = -1
  let near = path
  try {
    while (near.length > PATH_BYTES_MAX) {
      const end = near.lastIndexOf(SLASH, PATH_BYTES_MAX)
      const next = openSync(near.subarray(0, end), ON_THE_WAY)
      if (fd >= 0) closeSync(fd)
      fd = next
      near = Buffer.concat([nameOf(fd), near.subarray(end)])
    }
    return work(near)
  } finally {
    if (fd >= 0) closeSync(fd)
  }
}

const SLASH = 0x2f
const ON_THE_WAY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Only where /proc is, or it would be a path to nothing. */
function nameOf(fd: number): Buffer {
  const name = `/proc/self/fd/${fd}`
  if (lstatSync(name, { throwIfNoEntry: false })) return Buffer.from(name)
  throw Object.assign(new Error('ENAMETOOLONG: name too long, open'), { code: 'ENAMETOOLONG' })
}

const BIG = { bigint: true } as const
const BYTES = { encoding: 'buffer' } as const
const lstatLater = promisify(lstat) as (path: Buffer, options: typeof BIG) => Promise<BigIntStats>
const fstatLater = promisify(fstat) as (fd: number, options: typeof BIG) => Promise<BigIntStats>
const openLater = promisify(open) as (path: Buffer, flags: number) => Promise<number>
const closeLater = promisify(close)
const realpathLater = promisify(
  realpath.native as (path: Buffer, options: typeof BYTES, done: (error: Error | null, real: Buffer) => void) => void,
)

/** Whether SQLite has locked this file in this process. */
export function isLive(path: PathLike): boolean {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return stat !== undefined && live.has(keyOf(stat))
}

const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY

/** Descriptors that came to a locked file by a change of name at the wrong moment: closing them is the harm, so they wait. */
const parked: { readonly fd: number; readonly key: bigint }[] = []

function opened(path: string | Buffer, fd: number, key: bigint): GuardedFile {
  const stat = fstatSync(fd, { bigint: true })
  const wrong = mismatch(path, fd, keyOf(stat), key)
  if (wrong) {
    if (!wrong.isParked) closeSync(fd)
    throw wrong.error
  }
  const close = () => {
    closeSync(fd)
    read.remove(key)
  }
  return { fd, stat, close, [Symbol.dispose]: close }
}

/** What was opened is not what was looked at; parked where closing it would be the harm. */
function mismatch(
  path: string | Buffer,
  fd: number,
  real: bigint,
  key: bigint,
): { error: SpacedriveError; isParked: boolean } | null {
  if (real === key) return null
  if (!live.has(real)) {
    return {
      error: new SpacedriveError('PATH_REFUSED', `${printed(path)} was replaced while it was opened`),
      isParked: false,
    }
  }
  parked.push({ fd, key: real })
  return { error: isOurs(path), isParked: true }
}

function closeParked(): void {
  for (let at = parked.length - 1; at >= 0; at--) {
    if (live.has(parked[at]!.key)) continue
    closeSync(parked[at]!.fd)
    parked.splice(at, 1)
  }
}

function look(path: string | Buffer): BigIntStats {
  return told(path, () => lstatSync(path, { bigint: true }))
}

function regular(path: string | Buffer, stat: BigIntStats): BigIntStats {
  if (stat.isFile()) return stat
  throw irregular(path)
}

function irregular(path: string | Buffer): SpacedriveError {
  return new SpacedriveError('PATH_REFUSED', `${printed(path)} is no regular file`, { hint: 'Name a file.' })
}

/** What is not there any more is no failure of the daemon's. */
function told<T>(path: string | Buffer, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw unread(path, error)
  }
}

function toldLater<T>(path: Buffer, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw unread(path, error)
  })
}

function unread(path: string | Buffer, error: unknown): SpacedriveError {
  // Of where it lies, and not of the file: the system does not say it.
  if ((error as NodeJS.ErrnoException).syscall === 'readlink') return fromSystem(error)
  const errno = errnoOf(error) ?? ''
  if (errno === 'ENOENT' || errno === 'ENOTDIR')
    return new SpacedriveError('FILE_NOT_FOUND', `${printed(path)} is gone`)
  if (errno === 'ELOOP' || errno === 'EACCES' || errno === 'EPERM')
    return new SpacedriveError('PATH_REFUSED', `${printed(path)} may not be read: ${errno}`, { cause: error })
  return fromSystem(error)
}

function tooMany(): SpacedriveError {
  return new SpacedriveError('BUDGET_EXHAUSTED', 'too many files are being read', { class: 'jobs' })
}

function isElsewhere(path: Buffer): SpacedriveError {
  return new SpacedriveError('PATH_REFUSED', `${printed(path)} is elsewhere by now`, {
    hint: 'A directory of its path has moved or has become a link: scan the location again.',
  })
}

function isOurs(path: string | Buffer): SpacedriveError {
  return new SpacedriveError('PATH_REFUSED', `${printed(path)} is a file of an open library of this daemon`, {
    hint: 'Reading it here would drop the locks that protect the library. It is left out.',
  })
}

function printed(path: string | Buffer): string {
  return printable(typeof path === 'string' ? path : decodeName(path))
}

/** 48 bits of a mix: two files share one by chance in one of 10^14 cases, and then one is refused without need. */
function keyOf({ dev, ino }: { dev: bigint; ino: bigint }): bigint {
  let mixed = BigInt.asUintN(64, (ino + 0x9e3779b97f4a7c15n) * 0xbf58476d1ce4e5b9n + dev)
  mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 29n)) * 0x94d049bb133111ebn)
  return mixed >> 16n || 1n
}
