// Holds the ledger against the kernel: how many descriptors are open, who holds each, and which nobody accounts for.
import { readdirSync, readlinkSync } from 'node:fs'
import type { DescriptorClass, Descriptors, Holder } from '../protocol/messages.js'
import type { HeldLease, Ledger } from './ledger.js'
import { loadNative, type DescriptorDescription } from './native.js'
import { countOpen } from './rlimit.js'

/** What only the front knows: on which port and socket clients arrive, and when each did. */
export interface Doors {
  readonly port: number | null
  readonly socket: string | null
  readonly peers: readonly { remotePort: number | null; since: number | null; kind: string }[]
}

export interface Named {
  readonly leases: readonly HeldLease[]
  readonly reserve: readonly number[]
  /** The directory that holds every library's folder. */
  readonly libraries: string
  readonly doors: Doors
}

export class Audit {
  readonly #ledger: Ledger
  readonly #host: number
  readonly #startedAt = performance.now()
  /** Descriptors of the process itself, by number, with their targets as they were when it had settled. */
  readonly #base = new Map<number, string>()
  #healing: { epoch: number; drift: number } | null = null

  /** @param host descriptors that were open before, and are somebody else's */
  constructor(ledger: Ledger, host = 0) {
    this.#ledger = ledger
    this.#host = host
  }

  /** Open descriptors that neither base, reserve nor a lease explains. */
  unaccounted(): number {
    const { base, reserve, used } = this.#ledger.totals()
    return Math.max(0, countOpen() - this.#host - base - reserve - used)
  }

  /** Looks again; needs no descriptor. */
  check(): void {
    this.#healing = this.#ledger.heal(this.#healing)
  }

  /** What is open now and no lease, client or reserve explains belongs to the process itself from now on. */
  settle(named: Named): void {
    this.#base.clear()
    const listening = (described: DescriptorDescription) => ofUnixSocket(described, named.doors)
    let listener = false
    for (const { fd, described } of openDescriptors()) {
      if (!described) continue
      // The listener has the lowest number of all that carry the socket's path: it was there before any client.
      const isListener: boolean = !listener && listening(described)
      listener ||= isListener
      if (isListener || !attribute(fd, described, named)) this.#base.set(fd, described.target)
    }
  }

  describe(named: Named): Omit<Descriptors, 'limit' | 'classes'> {
    const holders: Holder[] = []
    const unaccounted: { fd: number; target: string }[] = []
    let highest = 0
    for (const { fd, described } of openDescriptors()) {
      // Closed by another thread since it was listed.
      if (!described) continue
      highest = Math.max(highest, fd)
      const holder = this.#baseHolder(fd, described) ?? attribute(fd, described, named)
      if (holder) holders.push({ fd, ...holder })
      else unaccounted.push({ fd, target: described.target })
    }
    return { open: holders.length + unaccounted.length, highest, holders, unaccounted }
  }

  #baseHolder(fd: number, { target }: DescriptorDescription): Omit<Holder, 'fd'> | null {
    if (this.#base.get(fd) !== target) return null
    return { class: 'base', holder: 'process', detail: target, ageMs: Math.round(performance.now() - this.#startedAt) }
  }
}

function attribute(fd: number, described: DescriptorDescription, named: Named): Omit<Holder, 'fd'> | null {
  if (named.reserve.includes(fd)) return { class: 'reserve', holder: 'reserve', detail: described.target, ageMs: 0 }
  return ofLease(described, named.leases) ?? ofClient(described, named.doors) ?? ofLibrary(described, named.libraries)
}

function ofLease({ target, kind }: DescriptorDescription, leases: readonly HeldLease[]): Omit<Holder, 'fd'> | null {
  const lease = leases.find(({ path }) => path !== undefined && (target === path || target.startsWith(`${path}/`)))
  if (lease) return { class: lease.class, holder: lease.holder, detail: target, ageMs: lease.ageMs }
  const thread = leases.find(({ path }) => path === undefined)
  if (!thread || kind === 'file') return null
  const isThreads = kind === 'directory' || /^(anon_inode|pipe):|^\/dev\/null$/.test(target)
  return isThreads ? { class: thread.class, holder: thread.holder, detail: target, ageMs: thread.ageMs } : null
}

/** A library that was opened after its thread had told its leases. */
function ofLibrary({ target }: DescriptorDescription, libraries: string): Omit<Holder, 'fd'> | null {
  if (!target.startsWith(`${libraries}/`)) return null
  const [folder = ''] = target.slice(libraries.length + 1).split('/')
  return { class: 'libraries', holder: `library ${folder.replace(/\.sdlibrary$/, '')}`, detail: target, ageMs: 0 }
}

function ofClient(described: DescriptorDescription, doors: Doors): Omit<Holder, 'fd'> | null {
  const { kind, family, localPort, remotePort } = described
  const { port, peers } = doors
  if (kind !== 'socket') return null
  const client = (detail: string, since: number | null) => ({
    class: 'clients' as DescriptorClass,
    holder: 'client',
    detail,
    ageMs: since === null ? 0 : Date.now() - since,
  })
  if (family === 'unix') return ofUnixSocket(described, doors) ? client('unix socket', null) : null
  if (localPort !== port || !remotePort) return null
  const peer = peers.find((each) => each.remotePort === remotePort)
  return client(`port ${remotePort}${peer ? ` ${peer.kind}` : ''}`, peer?.since ?? null)
}

function ofUnixSocket({ family, target }: DescriptorDescription, { socket }: Doors): boolean {
  return family === 'unix' && socket !== null && target === socket
}

function openDescriptors(): { fd: number; described: DescriptorDescription | null }[] {
  const native = loadNative()
  if (native) return [...native.list()].map((fd) => ({ fd, described: native.describe(fd) }))
  const directory = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd'
  return readdirSync(directory).flatMap((name) => {
    const target = linkTarget(`${directory}/${name}`)
    return target === null ? [] : [{ fd: Number(name), described: { kind: kindOf(target), target, readOnly: false } }]
  })
}

/** Null for the descriptor that listed the directory: it is closed by now. */
function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

function kindOf(target: string): DescriptorDescription['kind'] {
  if (target.startsWith('socket:')) return 'socket'
  if (target.startsWith('pipe:')) return 'pipe'
  return target.startsWith('/') ? 'file' : 'other'
}
