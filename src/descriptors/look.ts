// One look at everything that is open in this process, as the kernel describes it, in slices so that nothing waits for it.
import { readdirSync, readlinkSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { LIMITS } from '../base/limits.js'
import { decodeName, printable } from '../scan/names.js'
import { loadNative, type DescriptorColumns } from './native.js'

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
  /** Came to the port of the front: it is known by this before anybody is asked who it is. */
  readonly client: boolean
  /** When it was first seen, by `performance.now()`. */
  since: number
}

/** What the looks remember of each other. */
export class Ages {
  /** In the order in which they were first seen. */
  readonly #known = new Map<number, Seen>()
  /** Of clients, of which there may be very many: by their numbers. */
  #clientInodes = new Float64Array(0)
  #clientSince = new Float64Array(0)

  /** Sets since when each is there. Returns all of them, clients after the others, the oldest first. */
  tell(seen: readonly Seen[]): Seen[] {
    const clients = seen.filter(({ client }) => client)
    for (const one of clients) one.since = this.client(one.fd, one.inode, one.since)
    clients.sort((one, other) => one.since - other.since)
    return [...this.#tellOthers(seen), ...clients]
  }

  /** @returns since when this one is there */
  client(fd: number, inode: number, now: number): number {
    if (fd >= this.#clientInodes.length) this.#grow(fd + 1)
    if (this.#clientInodes[fd] === inode) return this.#clientSince[fd]!
    this.#clientInodes[fd] = inode
    this.#clientSince[fd] = now
    return now
  }

  #tellOthers(seen: readonly Seen[]): Iterable<Seen> {
    const fresh = new Map<number, Seen>()
    for (const one of seen) if (!one.client) fresh.set(one.fd, one)
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
    return this.#known.values()
  }

  #grow(length: number): void {
    const [inodes, since] = [this.#clientInodes, this.#clientSince]
    const room = Math.max(length, 2 * inodes.length)
    this.#clientInodes = new Float64Array(room)
    this.#clientInodes.set(inodes)
    this.#clientSince = new Float64Array(room)
    this.#clientSince.set(since)
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
const NO_PORT = -1
const KEPT_ON_EXEC = 4

/** What one look has found. */
export interface Look {
  readonly seen: readonly Seen[]
  /** Clients that are not among these, because only their number was wanted. */
  readonly clients: number
}

/**
 * Each descriptor as it was at some moment of the look. With the addon none is needed for it.
 *
 * @param clientPort where clients come in
 * @param counts where clients are only counted, a fifth of the cost: who remembers when each came
 * @throws EMFILE without the addon, when there is none left to look with
 */
export async function look(clientPort: number | null = null, counts: Ages | null = null): Promise<Look> {
  const native = loadNative()
  if (!native) return { seen: lookPlain(), clients: 0 }
  const numbers = native.list()
  const seen: Seen[] = []
  let clients = 0
  for (let at = 0; at < numbers.length; at += LIMITS.lookSliceMax) {
    if (at > 0) await nextTurn()
    const slice = numbers.subarray(at, at + LIMITS.lookSliceMax)
    const columns = native.describeAll(slice, (counts && clientPort) ?? NO_PORT)
    seen.push(...readColumns(columns, clientPort))
    clients += columns.clients
    if (counts) noteClients(columns, counts)
  }
  return { seen, clients }
}

function noteClients({ clients, clientFds, clientInodes }: DescriptorColumns, ages: Ages): void {
  const now = performance.now()
  for (let at = 0; at < clients; at++) ages.client(clientFds[at]!, clientInodes[at]!, now)
}

/** Of some that were seen those that are open still, as the same. */
export async function lookAgain(some: readonly Seen[]): Promise<Seen[]> {
  const native = loadNative()
  if (!native) return some.filter(({ fd, target }) => linkTarget(`${FOLDER}/${fd}`) === target)
  const same = new Set<string>()
  for (let at = 0; at < some.length; at += LIMITS.lookSliceMax) {
    if (at > 0) await nextTurn()
    const numbers = Int32Array.from(some.slice(at, at + LIMITS.lookSliceMax), ({ fd }) => fd)
    for (const one of readColumns(native.describeAll(numbers, NO_PORT), null)) same.add(identityOf(one))
  }
  return some.filter((one) => same.has(identityOf(one)))
}

function identityOf({ fd, inode, target }: Seen): string {
  return `${fd} ${inode} ${target}`
}

function readColumns(columns: DescriptorColumns, clientPort: number | null): Seen[] {
  const { count, fds, kinds, flags, families, ports, inodes, texts } = columns
  const words = printable(decodeName(texts)).split('\0')
  const since = performance.now()
  return Array.from({ length: count }, (_, at) => {
    const peer = words[2 * at + 1]!
    return {
      fd: fds[at]!,
      kind: KINDS[kinds[at]!] ?? 'other',
      target: words[2 * at] || `socket:[${inodes[at]}]`,
      inode: inodes[at]!,
      keptOnExec: (flags[at]! & KEPT_ON_EXEC) !== 0,
      listening: (flags[at]! & LISTENING) !== 0,
      family: FAMILIES[families[at] as keyof typeof FAMILIES] ?? null,
      localPort: ports[at]!,
      peer,
      client: clientPort !== null && ports[at] === clientPort && peer !== '',
      since,
    }
  })
}

function lookPlain(): Seen[] {
  const seen = readdirSync(FOLDER).flatMap((name): Seen[] => {
    const target = linkTarget(`${FOLDER}/${name}`)
    if (target === null) return []
    const unknown = {
      inode: 0,
      keptOnExec: false,
      listening: false,
      family: null,
      localPort: 0,
      peer: '',
      client: false,
    } as const
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
