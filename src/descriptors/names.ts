// Puts a name to each descriptor that is open: by its number where somebody told it, by its path or port, and last by count.
// What one lease covers is counted, so that a lease of four never explains six.
import { dirname, parse, relative } from 'node:path'
import type { Holder } from '../protocol/messages.js'
import type { HeldLease } from './ledger.js'
import { inSlices, type Seen } from './look.js'
import { ownLoop, readTold, type Told } from './threads.js'

export interface Name extends Omit<Holder, 'fd' | 'ageMs'> {
  /** As far as the holder knows it; the audit has seen it no longer than that. */
  readonly ageMs?: number
}

/** What only the front knows: where clients arrive, how many are in, and when each came. */
export interface Doors {
  readonly address: string | null
  readonly port: number | null
  readonly socket: string | null
  /** Of the line protocol. */
  readonly lines?: { readonly address: string; readonly port: number }
  readonly clients: number
  /** Asked only where clients are named one by one. */
  readonly peers: () => readonly DoorPeer[]
}

export interface DoorPeer {
  readonly remotePort: number | null
  readonly since: number | null
  readonly kind: string
}

/** A thread that lives as long as the process, and is part of its base. */
export interface BaseThread {
  readonly holder: string
  readonly told: Told
  /** Descriptors a thread costs. */
  readonly price: number
  readonly ageMs: number
}

export interface RunningJob {
  readonly job: string
  readonly library: string
  /** The directory it reads, as a path for people. */
  readonly path: string
}

/** All that is known of who holds what, at one moment. */
export interface Named {
  readonly leases: readonly HeldLease[]
  readonly threads: readonly BaseThread[]
  readonly reserve: readonly number[]
  /** The directory that holds every library's folder. */
  readonly libraries: string
  /** Files that the daemon itself keeps open, by path. */
  readonly files: ReadonlyMap<string, string>
  readonly doors: Doors
  readonly jobs: readonly RunningJob[]
  /** Descriptors lent to threads that were too busy to say for what. */
  readonly untold: number
}

/** What a thread opens, a moment each, while it starts. */
const MODULE = /\.(?:[cm]?js|json|node)$/
const LOADING_MS_MAX = 10_000

interface Claim {
  readonly name: Name
  left: number
  /** A thread's ring, which no thread can tell. */
  readonly ring: boolean
  /** Of a thread that did not tell, or of a lease without a path: whatever has none either. */
  readonly loose: boolean
}

/** @param seen the oldest first: where a lease covers fewer than there are, it is the newest that stay without a name */
export async function nameAll(seen: readonly Seen[], base: Base, named: Named): Promise<Map<number, Name>> {
  const naming = new Naming(named)
  const names = new Map<number, Name>()
  const pass = async (some: readonly Seen[], nameOf: (one: Seen) => Name | null) => {
    const left: Seen[] = []
    await inSlices(some, (one) => {
      const name = nameOf(one)
      if (name) names.set(one.fd, name)
      else left.push(one)
    })
    return left
  }
  const inexact = await pass(seen, (one) => naming.exactly(one) ?? base.of(one))
  const loose = await pass(inexact, (one) => naming.client(one) ?? naming.byPath(one))
  // The descriptors of threads come after those of the process itself, whose numbers are the lowest.
  await pass(
    loose.toSorted((one, other) => other.fd - one.fd),
    (one) => naming.byCount(one),
  )
  return names
}

class Naming {
  readonly #named: Named
  readonly #numbers = new Map<number, Name>()
  readonly #reserve: ReadonlySet<number>
  readonly #paths = new Map<string, Claim[]>()
  readonly #claims: Claim[] = []
  #peers: ReadonlyMap<number, DoorPeer> | null = null
  /** Of a thread that loads its modules still. */
  #loading: Name | null = null
  #clientsLeft: number
  #untoldLeft: number

  constructor(named: Named) {
    this.#named = named
    this.#clientsLeft = named.doors.clients
    this.#untoldLeft = named.untold
    this.#reserve = new Set(named.reserve)
    this.#note({ class: 'base', holder: 'main thread', detail: '' }, ownLoop())
    for (const [path, holder] of named.files) this.#claimPath(path, fileClaim(holder))
    for (const thread of named.threads) this.#claimThread(thread)
    for (const lease of named.leases) this.#claimLease(lease)
  }

  exactly(one: Seen): Name | null {
    const { fd, kind, target } = one
    if (kind === 'socket') return one.listening ? this.#listener(one) : null
    if (this.#reserve.has(fd)) return { class: 'reserve', holder: 'reserve', detail: target }
    return ((kind === 'other' || kind === 'pipe') && this.#numbers.get(fd)) || null
  }

  client(one: Seen): Name | null {
    if (one.kind !== 'socket' || one.listening || this.#clientsLeft <= 0) return null
    const { port, socket, lines } = this.#named.doors
    const local = one.family === 'unix' && socket !== null && one.target === socket
    // Without the addon a socket is no more than its inode.
    if (!local && one.family !== null && (one.family === 'unix' || ![port, lines?.port].includes(one.localPort)))
      return null
    this.#clientsLeft -= 1
    if (local) return clientName(one.peer === '' ? 'unix socket' : `unix socket, ${one.peer}`)
    const detail = one.peer || one.target
    const peer = this.#peerAt(detail)
    if (!peer) return clientName(detail)
    const name = clientName(`${detail} ${peer.kind}`)
    return peer.since ? { ...name, ageMs: Math.round(performance.now() - peer.since) } : name
  }

  #peerAt(address: string): DoorPeer | undefined {
    this.#peers ??= byPort(this.#named.doors.peers())
    return this.#peers.size > 0 ? this.#peers.get(Number(address.slice(address.lastIndexOf(':') + 1))) : undefined
  }

  /** The claim whose path is the longest of those that hold this one. */
  byPath({ kind, target }: Seen): Name | null {
    if (kind !== 'file' && kind !== 'directory') return null
    const path = target.replace(/ \(deleted\)$/, '')
    for (let at = path; ; at = dirname(at)) {
      const name = takenFrom(this.#paths.get(at)?.find((each) => each.left > 0))
      if (name) return { ...name, detail: target }
      if (at === '/' || at === '.') return this.#module(path) ?? this.#untold(path)
    }
  }

  byCount({ kind, target }: Seen): Name | null {
    if (kind !== 'other' && kind !== 'pipe') return null
    const ring = target === 'anon_inode:[io_uring]'
    const name = takenFrom(this.#claims.find((each) => each.left > 0 && (each.loose || (ring && each.ring))))
    return name && { ...name, detail: target }
  }

  #listener({ family, localPort, target }: Seen): Name | null {
    const { address, port, socket, lines } = this.#named.doors
    if (family === 'unix') return target === socket ? { class: 'base', holder: 'listener', detail: target } : null
    if (lines && localPort === lines.port) return { class: 'base', holder: 'listener', detail: lines.address }
    return localPort === port ? { class: 'base', holder: 'listener', detail: address ?? '' } : null
  }

  #module(path: string): Name | null {
    return this.#loading && MODULE.test(path) ? { ...this.#loading, detail: path } : null
  }

  /** What threads hold that did not answer in time: the ledger has how many, the path says whose. */
  #untold(path: string): Name | null {
    if (this.#untoldLeft <= 0) return null
    this.#untoldLeft -= 1
    const { libraries } = this.#named
    if (!path.startsWith(`${libraries}/`)) return { class: 'jobs', holder: 'a busy thread', detail: path }
    return { class: 'libraries', holder: libraryOf(path, libraries), detail: path }
  }

  #claimThread({ holder, told, price, ageMs }: BaseThread): void {
    const name: Name = { class: 'base', holder, detail: '', ageMs }
    const noted = this.#note(name, readTold(told))
    this.#loads(name, noted)
    this.#claims.push({ name, left: price - noted, ring: true, loose: noted === 0 })
  }

  #claimLease({ class: group, holder, path, count, ageMs, where, told }: HeldLease): void {
    const name: Name = { class: group, holder, detail: '', ageMs, ...(where ? { where } : {}) }
    const noted = told ? this.#note(name, readTold(told)) : 0
    if (told) this.#loads(name, noted)
    const loose = told ? noted === 0 : path === undefined
    const claim: Claim = { name, left: count - noted, ring: told !== undefined, loose }
    this.#claims.push(claim)
    if (path !== undefined) this.#claimPath(path, claim)
  }

  /** A thread tells of its loop when its modules are loaded; without the addon it never does. */
  #loads(name: Name, noted: number): void {
    if (noted === 0 && (name.ageMs ?? Infinity) < LOADING_MS_MAX) this.#loading = name
  }

  #claimPath(path: string, claim: Claim): void {
    const others = this.#paths.get(path)
    if (others) others.push(claim)
    else this.#paths.set(path, [claim])
  }

  #note(name: Name, numbers: ReadonlyMap<number, string>): number {
    for (const [fd, purpose] of numbers) this.#numbers.set(fd, { ...name, detail: purpose })
    return numbers.size
  }
}

function byPort(peers: readonly DoorPeer[]): Map<number, DoorPeer> {
  return new Map(peers.flatMap((each) => (each.remotePort ? [[each.remotePort, each]] : [])))
}

function fileClaim(holder: string): Claim {
  return { name: { class: 'base', holder, detail: '' }, left: 1, ring: false, loose: false }
}

function takenFrom(claim: Claim | undefined): Name | null {
  if (!claim) return null
  claim.left -= 1
  return claim.name
}

function clientName(detail: string): Name {
  return { class: 'clients', holder: 'client', detail }
}

export function libraryOf(path: string, libraries: string): string {
  const [folder = ''] = relative(libraries, path).split('/')
  return `library ${parse(folder).name}`
}

const STANDARD = ['standard input', 'standard output', 'standard error']

/** What belongs to the process itself: noted once, when everything is up, and never added to. */
export class Base {
  readonly #noted = new Map<number, { target: string; inode: number; name: Name }>()

  /**
   * @param seen what is open and has no other name
   * @param atStart numbers that were open before the daemon opened anything
   * @param stranger whose those are that the runtime does not need
   */
  note(seen: readonly Seen[], atStart: ReadonlySet<number>, stranger: 'inherited' | 'host program'): void {
    this.#noted.clear()
    const ends = new Map<string, number>()
    for (const { kind, target } of seen) if (kind === 'pipe') ends.set(target, (ends.get(target) ?? 0) + 1)
    for (const one of seen) {
      const holder = baseHolder(one, ends, atStart, stranger)
      const { target, inode } = one
      this.#noted.set(one.fd, { target, inode, name: { class: 'base', holder, detail: target } })
    }
  }

  of({ fd, target, inode }: Seen): Name | null {
    const noted = this.#noted.get(fd)
    return noted && noted.target === target && noted.inode === inode ? noted.name : null
  }
}

function baseHolder(
  one: Seen,
  ends: ReadonlyMap<string, number>,
  atStart: ReadonlySet<number>,
  stranger: string,
): string {
  const { fd, kind, target, keptOnExec } = one
  if (STANDARD[fd]) return STANDARD[fd]
  if (keptOnExec) return stranger
  // The runtime talks to itself through a pipe of which it holds both ends; whoever was handed a pipe holds one.
  if (kind === 'pipe') return ends.get(target) === 2 ? 'runtime' : stranger
  if (/^anon_inode:|^\/dev\/(null|u?random)$/.test(target)) return 'runtime'
  return atStart.has(fd) ? stranger : 'daemon'
}
