// One look at everything that is open in this process, as the kernel describes it, in slices so that nothing waits for it.
import { readdirSync, readlinkSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { LIMITS } from '../base/limits.js'
import { decodeName, printable } from '../scan/names.js'
import { loadNative, type Native } from './native.js'

export interface Seen {
  readonly fd: number
  readonly kind: 'file' | 'directory' | 'socket' | 'pipe' | 'other'
  /** A path, or what the kernel calls it (`socket:[1234]`); a unix socket's own path where it has one. */
  readonly target: string
  /** Tells a number from the same number used again; all of one kind of anonymous inode share one. 0 without the addon. */
  readonly inode: number
  /** Survives an exec, as nothing does that Node opens: it came from whoever started this process. */
  readonly keptOnExec: boolean
  readonly listening: boolean
  readonly family: 'ipv4' | 'ipv6' | 'unix' | null
  readonly localPort: number
  /** `ADDRESS:PORT` at the other end, or `pid N` of a unix socket. */
  readonly peer: string
  /** When it was first seen, by `performance.now()`. */
  since: number
}

/** What the looks remember of each other, in the order in which descriptors were first seen. */
export class Ages {
  readonly #known = new Map<number, Seen>()

  /** Sets since when each is there. Returns all of them, the oldest first. */
  tell(seen: readonly Seen[]): Seen[] {
    const fresh = new Map(seen.map((one) => [one.fd, one]))
    for (const [fd, before] of this.#known) {
      const now = fresh.get(fd)
      if (now?.inode !== before.inode || now.target !== before.target) {
        this.#known.delete(fd)
        continue
      }
      now.since = before.since
      this.#known.set(fd, now)
      fresh.delete(fd)
    }
    for (const [fd, one] of fresh) this.#known.set(fd, one)
    return [...this.#known.values()]
  }
}

/** Some at a time, so that requests go first between two slices. */
export async function inSlices<One>(all: readonly One[], work: (one: One) => void): Promise<void> {
  for (let at = 0; at < all.length; at++) {
    if (at > 0 && at % LIMITS.lookSliceMax === 0) await nextTurn()
    work(all[at]!)
  }
}

const KINDS = ['file', 'directory', 'socket', 'pipe', 'other'] as const
const FAMILIES = { 1: 'unix', 4: 'ipv4', 6: 'ipv6' } as const
const FOLDER = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd'
const LISTENING = 2
const KEPT_ON_EXEC = 4

/**
 * Each descriptor as it was at some moment of the look. With the addon none is needed for it.
 *
 * @throws EMFILE without the addon, when there is none left to look with
 */
export async function look(): Promise<Seen[]> {
  const native = loadNative()
  if (!native) return lookPlain()
  const numbers = native.list()
  const seen: Seen[] = []
  for (let at = 0; at < numbers.length; at += LIMITS.lookSliceMax) {
    if (at > 0) await nextTurn()
    seen.push(...lookNative(native, numbers.subarray(at, at + LIMITS.lookSliceMax)))
  }
  return seen
}

/** Of some that were seen those that are open still, as the same. */
export function lookAgain(some: readonly Seen[]): Seen[] {
  const native = loadNative()
  const now = native
    ? lookNative(
        native,
        Int32Array.from(some, ({ fd }) => fd),
      )
    : some.filter(({ fd, target }) => linkTarget(`${FOLDER}/${fd}`) === target)
  const same = new Set(now.map(({ fd, inode, target }) => `${fd} ${inode} ${target}`))
  return some.filter(({ fd, inode, target }) => same.has(`${fd} ${inode} ${target}`))
}

function lookNative(native: Native, numbers: Int32Array): Seen[] {
  const { count, fds, kinds, flags, families, ports, inodes, texts } = native.describeAll(numbers)
  const words = printable(decodeName(texts)).split('\0')
  const since = performance.now()
  return Array.from({ length: count }, (_, at) => ({
    fd: fds[at]!,
    kind: KINDS[kinds[at]!] ?? 'other',
    target: words[2 * at] || `socket:[${inodes[at]}]`,
    inode: inodes[at]!,
    keptOnExec: (flags[at]! & KEPT_ON_EXEC) !== 0,
    listening: (flags[at]! & LISTENING) !== 0,
    family: FAMILIES[families[at] as keyof typeof FAMILIES] ?? null,
    localPort: ports[at]!,
    peer: words[2 * at + 1]!,
    since,
  }))
}

function lookPlain(): Seen[] {
  const seen = readdirSync(FOLDER).flatMap((name): Seen[] => {
    const target = linkTarget(`${FOLDER}/${name}`)
    if (target === null) return []
    const unknown = { inode: 0, keptOnExec: false, listening: false, family: null, localPort: 0, peer: '' } as const
    return [{ fd: Number(name), kind: kindOf(target), target, ...unknown, since: performance.now() }]
  })
  return seen.toSorted((one, other) => one.fd - other.fd)
}

/** Null for the descriptor that listed the directory: it is closed by now. */
function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

function kindOf(target: string): Seen['kind'] {
  if (target.startsWith('socket:')) return 'socket'
  if (target.startsWith('pipe:')) return 'pipe'
  return target.startsWith('/') && !target.startsWith('/dev/') ? 'file' : 'other'
}
