// What goes over the port between the main thread and a thread that is a front, and what that thread counts in shared memory.
import type { MessagePort } from 'node:worker_threads'
import type { WireError } from '../base/errors.js'
import type { Told } from '../descriptors/threads.js'
import type { Event, Level, Status } from '../protocol/messages.js'
import type { Line, LineShared } from '../shard/asker.js'
import type { EventsShared } from '../shard/events.js'
import type { Requests } from '../shard/lines.js'
import type { Reads } from '../shard/spread.js'
import type { AcceptState } from './accept.js'
import type { ConsoleFile } from './desk.js'
import type { Connections, Front, FrontState, HttpAddress, Pair } from './front.js'
import type { Reason } from './gate.js'
import type { StoredToken, TokenUse } from './tokens.js'

/** What it is started with. */
export interface FrontThreadSetup {
  /** Among the fronts, from 0. */
  readonly number: number
  readonly fronts: number
  readonly implementation: Front['kind']
  /** By which it speaks TLS. */
  readonly pair: Pair | null
  readonly shards: number
  readonly ledger: SharedArrayBuffer
  /** In the ledger. */
  readonly thread: number
  readonly beats: SharedArrayBuffer
  readonly beat: number
  readonly told: Told
  readonly counts: SharedArrayBuffer
  readonly events: EventsShared
  readonly token: string
  readonly tokens: readonly StoredToken[]
  readonly hostsAllowed: readonly string[]
  readonly console: ReadonlyMap<string, ConsoleFile>
  readonly dataDir: string
}

export interface ToFront {
  /** Where to listen, once all have loaded. */
  readonly listen?: HttpAddress
  readonly state?: FrontState
  readonly level?: Level
  readonly access?: { readonly token: string; readonly hostsAllowed: readonly string[] }
  readonly tokens?: readonly StoredToken[]
  readonly pair?: Pair
  /** Libraries there are and that can be asked, and whether each is open. */
  readonly catalog?: readonly (readonly [library: string, open: boolean])[]
  readonly shard?: { readonly number: number; readonly port: MessagePort } & LineShared
  readonly lost?: { readonly number: number } & Line['lost']
  /** A library that is read by these shards as well, beside its own; by none any more. */
  readonly spread?: { readonly library: string; readonly shards: readonly number[] }
  /** In the order in which they were published, none left out. */
  readonly events?: readonly Event[]
  /** number, result as JSON or null, error or null; … */
  readonly replies?: readonly (number | string | null | WireError)[]
  readonly giveWay?: { readonly count: number; readonly idleMs: number }
  /** A peer that another front refused. */
  readonly wanted?: string
  readonly drain?: number
  readonly end?: true
  /** To be answered once all before it was heeded. */
  readonly heed?: number
}

export interface FromFront {
  readonly loaded?: true
  readonly http?: string
  /** Why it does not listen. */
  readonly failed?: WireError
  /** number, operation, parameters; … */
  readonly requests?: Requests
  /** Of those, what nobody waits for any more. */
  readonly gaveUp?: readonly number[]
  /** What it had read most since it last told. */
  readonly reads?: readonly Reads[]
  /** level, message, fields; … */
  readonly logs?: readonly unknown[]
  readonly used?: readonly TokenUse[]
  readonly wanted?: string
  readonly heeded?: number
  /** Nobody caught it. */
  readonly uncaught?: WireError & { readonly stack?: string | undefined }
}

/** What the main thread is asked for beside operations: the text of GET /metrics. */
export const METRICS = 'front.metrics'

const ACCEPT_STATES: readonly AcceptState[] = ['open', 'spinning', 'failing']
const REASONS: readonly Reason[] = ['clients', 'control', 'draining', 'starved', 'share']
const SUMS = [
  'current',
  'peak',
  'accepted',
  'refused',
  'idle',
  'strangers',
  'acceptFailures',
  'unreadBytes',
  'unreadCut',
  'wrongTokens',
] as const
const EVENTS = ['subscriptions', 'dropped', 'coalesced'] as const
const SHARD = ['inFlight', 'queued', 'overloaded', 'givenUp'] as const

const ACCEPT_AT = SUMS.length
const REASONS_AT = ACCEPT_AT + 1
const EVENTS_AT = REASONS_AT + REASONS.length
/** Closed because it was asked to give way. */
const GAVE_WAY_AT = EVENTS_AT + EVENTS.length
/** How late its loop is, whether it refuses because of too many, and the used share of its heap. */
const LATE_AT = GAVE_WAY_AT + 1
const CROWDED_AT = LATE_AT + 1
const HEAP_AT = CROWDED_AT + 1
const SHARDS_AT = HEAP_AT + 1
/** Of each shard these, and how long who asks it by this thread waits. */
const SHARD_WORDS = SHARD.length + 1

export type LineCounts = Pick<Status['shards'][number], (typeof SHARD)[number]>
/** What presses there. */
export interface Pressing {
  readonly lateMs: number
  readonly isCrowded: boolean
  readonly heap: number
  readonly waitedMs: readonly number[]
}
export type EventCounts = Pick<Status['events'], (typeof EVENTS)[number]>

/** Written by the thread that counts, read by the main one. */
export class FrontCounts {
  readonly shared: SharedArrayBuffer
  readonly #words: Float64Array

  static create(shards: number): FrontCounts {
    const words = SHARDS_AT + shards * SHARD_WORDS
    return new FrontCounts(new SharedArrayBuffer(words * Float64Array.BYTES_PER_ELEMENT))
  }

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared
    this.#words = new Float64Array(shared)
  }

  write(connections: Connections, events: EventCounts, lines: readonly LineCounts[]): void {
    SUMS.forEach((name, at) => (this.#words[at] = connections[name] ?? 0))
    this.#words[ACCEPT_AT] = ACCEPT_STATES.indexOf(connections.accept)
    REASONS.forEach((reason, at) => (this.#words[REASONS_AT + at] = connections.refusedBy[reason] ?? 0))
    EVENTS.forEach((name, at) => (this.#words[EVENTS_AT + at] = events[name]))
    lines.forEach((line, shard) =>
      SHARD.forEach((name, at) => (this.#words[SHARDS_AT + shard * SHARD_WORDS + at] = line[name])),
    )
  }

  press({ lateMs, isCrowded, heap, waitedMs }: Pressing): void {
    this.#words[LATE_AT] = lateMs
    this.#words[CROWDED_AT] = isCrowded ? 1 : 0
    this.#words[HEAP_AT] = heap
    waitedMs.forEach((ms, shard) => (this.#words[SHARDS_AT + shard * SHARD_WORDS + SHARD.length] = ms))
  }

  get lateMs(): number {
    return this.#words[LATE_AT]!
  }

  get isCrowded(): boolean {
    return this.#words[CROWDED_AT] === 1
  }

  get heap(): number {
    return this.#words[HEAP_AT]!
  }

  waitedMs(shard: number): number {
    return this.#words[SHARDS_AT + shard * SHARD_WORDS + SHARD.length]!
  }

  gaveWay(count: number): void {
    this.#words[GAVE_WAY_AT]! += count
  }

  get gaveWaySoFar(): number {
    return this.#words[GAVE_WAY_AT]!
  }

  get connections(): Connections {
    const sums = Object.fromEntries(SUMS.map((name, at) => [name, this.#words[at]!])) as Record<
      (typeof SUMS)[number],
      number
    >
    const refusedBy = Object.fromEntries(REASONS.map((reason, at) => [reason, this.#words[REASONS_AT + at]!]))
    return { ...sums, refusedBy, accept: ACCEPT_STATES[this.#words[ACCEPT_AT]!]! }
  }

  get events(): EventCounts {
    return Object.fromEntries(EVENTS.map((name, at) => [name, this.#words[EVENTS_AT + at]!])) as EventCounts
  }

  line(shard: number): LineCounts {
    const from = SHARDS_AT + shard * SHARD_WORDS
    return Object.fromEntries(SHARD.map((name, at) => [name, this.#words[from + at]!])) as LineCounts
  }
}
