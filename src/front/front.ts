// The daemon's face to its clients: one interface, two implementations (uWebSockets.js, and node:http with ws).
// uWebSockets objects never leave this folder.
import type { Dispatch, Event, Level, Stall } from '../protocol/messages.js'
import type { AcceptState } from './accept.js'
import type { ConsoleFile } from './desk.js'
import type { Files } from './files.js'
import type { ParamsOf } from '../protocol/operations.js'
import type { Prepared } from '../protocol/prepared.js'
import type { WorkClass } from '../protocol/work.js'
import type { Reading } from '../shard/events.js'
import type { Tokens } from './tokens.js'
import type { Tongue } from './turn.js'

/** The part of the descriptor ledger that the gate needs: counters, no objects, nothing that waits. */
export interface Slots {
  /** Takes `count` descriptors of a class at once, or returns false and counts a refusal. */
  take(descriptorClass: 'clients' | 'control', count: number): boolean
  give(descriptorClass: 'clients' | 'control', count: number): void
  /** The most that may be taken of a class now. */
  ceiling(descriptorClass: 'clients' | 'control'): number
}

/** Where events come from. */
export interface Publisher {
  subscribe(filter: ParamsOf<'events.subscribe'>, deliver: (event: Event) => void): () => void
  /** @param libraries null for who may see the events of all, and those of none */
  follow(filter: ParamsOf<'events.subscribe'>, wake: () => void, libraries?: ReadonlySet<string> | null): Reading
}

/** A certificate, with those that vouch for it, and its key, in PEM. */
export interface Pair {
  readonly cert: Buffer
  readonly key: Buffer
  /** By which who was here comes back without shaking hands at length; its own of each front, where several do not share it. */
  readonly ticketKeys?: Buffer
}

export interface PairSource {
  readonly pair: Pair
  /** @param take is given every other pair from now on, until `stop` */
  follow(take: (pair: Pair) => void): void
  stop(): void
}

export interface HttpAddress {
  readonly host: string
  readonly port: number
  /** What the host stands for, in figures, where others have listened there. */
  readonly address?: string
}

export interface FrontSetup {
  readonly implementation: 'auto' | 'uws' | 'node'
  readonly http: HttpAddress | null
  /** Path of the unix socket, shorter than 104 bytes, in a directory of mode 0700; a stale file there may be removed. */
  readonly socketPath: string | null
  readonly token: string
  /** Those that were given out beside it. */
  readonly tokens?: Tokens
  /** Host header values allowed beside those of the listening address, e.g. `files.example:443`. */
  readonly hostsAllowed: readonly string[]
  /** One of so many that listen at the same port, each in a thread of its own; what is bounded for all is divided among them. */
  readonly fronts?: number
  /** Told of a peer that was refused for want of a connection, so that the others of those make room as well. */
  readonly wanted?: (peer: string) => void
  readonly slots: Slots
  readonly dispatch: Dispatch
  /** Whether more is asked than can be done; then, by library, what answers one more that is refused before it is read. */
  readonly crowded?: { isThere(): boolean; refuses(of: WorkClass, library: string): Prepared | null }
  readonly publisher: Publisher
  /** Files of the locations, for those who ask for their bytes; without it there is no such route. */
  readonly files?: Files
  /** The files of the console by path; without them `GET /` is a text. */
  readonly console?: ReadonlyMap<string, ConsoleFile>
  /** The text of GET /metrics; without it there is no such page. */
  readonly metrics?: () => string | Promise<string>
  /** Frees descriptors of the reserve until disposed of, for those who are only let in to be refused; null when it has none. */
  readonly borrow?: () => Disposable | null
  /** Whether so many who come now will find a descriptor. */
  readonly room?: (count: number) => boolean
  /** What the threads behind `dispatch` have told so far, as a count that only grows: a loop with such work does not spin. */
  readonly work?: () => number
  /** By how much the loop is late at this moment, or was when it went on a moment ago. */
  readonly lateMs?: () => number
  /** Whether memory is nearly used up: then less may be left unread. */
  readonly memoryShort?: () => boolean
  /** Threads that stand still, or did until a moment ago; GET /health says so. */
  readonly stalls?: () => readonly Stall[]
  /** A client idle for so long may be closed for a newcomer; `LIMITS.newcomerIdleMs` unless a test wants it otherwise. */
  readonly newcomerIdleMs?: number
  /** By which it speaks TLS over TCP, on node:http; null for not at all. */
  readonly certificate?: PairSource | null
  /** Who has not shaken hands within this time is closed; `LIMITS.handshakeMs` unless a test wants to see it pass. */
  readonly handshakeMs?: number
  /** Who asks for nothing within this time is closed; `LIMITS.strangerMs` unless a test wants it otherwise. */
  readonly strangerMs?: number
  /** So many who have shown no token may stay when somebody needs the place; an eighth of all unless a test wants it otherwise. */
  readonly strangersPart?: number
  /** Who answers a body of POST /rpc that is not JSON-RPC; null for what is. */
  readonly tongue?: (text: string) => Tongue | null
  /** The response deadline; `LIMITS.responseMs` unless a test wants to see it pass. */
  readonly responseMs?: number
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
}

export interface Connections {
  current: number
  peak: number
  accepted: number
  refused: number
  /** The refused, by the reason they were told. */
  refusedBy: Record<string, number>
  idle?: number
  /** Those of TCP that have shown no token yet, where they are known. */
  strangers?: number
  /** Of each front thread, where there are any. */
  fronts?: { current: number; accepted: number }[]
  /** Of long answers, what their clients have not read; and how many clients were cut because all of it was too much. */
  unreadBytes: number
  unreadCut: number
  /** Requests with a token that is none. */
  wrongTokens: number
  /** Whether newcomers can be accepted: `failing` while no descriptor can be had, `spinning` while the loop turns in vain. */
  accept: AcceptState
  acceptFailures: number
}

export type FrontState = 'starting' | 'serving' | 'draining'

export interface Front {
  readonly kind: 'uws' | 'node'
  /** `http://127.0.0.1:8080`, or `https://…`, with the true port, or null. */
  readonly http: string | null
  readonly socket: string | null
  /** Where the line protocol is spoken, if it is. */
  readonly lines?: { readonly address: string; readonly port: number }
  state: FrontState
  /** `idle`, where it is known: clients without a request in flight. */
  connections(): Connections
  /** The level of pressure. From `high` on refused clients come back at random, and where idle ones are not known none is kept alive. */
  level: Level
  /** Closes clients without a request in flight that were idle for `idleMs`, the longest idle first. Returns how many. */
  giveWay(asked: { count: number; idleMs: number }): number
  /** Somebody of this peer was refused by another front of the same port. */
  makeRoom?(peer: string): void
  /** Who may ask from now on. */
  renewAccess(token: string, hostsAllowed: readonly string[]): void
  /** Stops listening, lets answers in flight finish until the deadline, then closes every connection. */
  drain(deadlineMs: number): Promise<void>
  /** Open TCP connections, for `fds`. uWebSockets tells no ports, and no connect time but that of a WebSocket: null. */
  peers(): Peer[]
}

export interface Peer {
  readonly remotePort: number | null
  /** When it connected, by `performance.now()`. */
  readonly since: number | null
  readonly kind: 'http' | 'ws' | 'line'
}
