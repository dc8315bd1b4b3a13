// What goes over the ports between a shard and those who ask it: everything of one turn in one message.
import type { WireError } from '../base/errors.js'
import type { Covered, Event } from '../protocol/messages.js'
import type { FilesWanted } from '../scan/identify.js'
import type { LookSetup } from '../scan/explain.js'
import type { Batch } from '../scan/walk.js'
import type { MessagePort } from 'node:worker_threads'
import type { HeldLease } from '../descriptors/ledger.js'
import type { RunningJob } from '../descriptors/names.js'
import type { Told } from '../descriptors/threads.js'
import type { LocationRules, OperationName } from '../protocol/operations.js'

export type { Covered }

/** What the main thread itself asks of a shard, beside what clients ask. */
export type ShardOperation =
  | OperationName
  | 'shard.takeUp'
  | 'shard.held'
  | 'shard.drain'
  | 'shard.catalog'
  | 'shard.changes'
  | 'shard.doubt'
  | 'shard.share'
  | 'shard.copy'
  | 'shard.uncopy'
  | 'shard.read'
  | 'shard.sweep'

/** Operations that may go on for many turns of a shard's loop. */
export const MAY_TAKE_LONG: ReadonlySet<ShardOperation> = new Set<OperationName>([
  'search.files',
  'files.explain',
  'files.leftOut',
])

/** A read of a library that is another shard's; the answer is null where that has to be asked. */
export interface SharedRead {
  readonly operation: OperationName
  readonly params: unknown
}

/** number, operation, parameters; number, operation, … : flat, because small arrays cost more than their elements. */
export type Requests = unknown[]

/** Memory that a shard and one of those that ask it have in common. */
export interface LineMemory {
  readonly givenUp: SharedArrayBuffer
  readonly longAnswers: SharedArrayBuffer
}

export interface ToShard {
  readonly requests?: Requests
  /** For how long each may be left unbegun, by the shard's clock from when it gets them; 0 or missing for any time. */
  readonly mayWaitMs?: readonly number[]
  /** Where libraries of this shard lie: id, path; id, path; … */
  readonly know?: string[]
  /** How locations are watched, by location. */
  readonly covered?: (readonly [string, Covered])[]
  /** Libraries that are being made of a copy, and that nobody waits for any more. */
  readonly unwanted?: string[]
  /** One more that asks, by a port of its own; its requests come there. */
  readonly line?: LineMemory & { readonly port: MessagePort }
}

export interface FromShard {
  /**
   * number, result as JSON or null, error or null; …; neither of what had waited longer than it may. Instead of a long result where it
   * lies among the long answers, and how many bytes it has there.
   */
  readonly replies?: (number | string | null | WireError)[]
  readonly events?: Event[]
  /** level, message, fields; … */
  readonly logs?: unknown[]
  /** To be done in a task thread. */
  readonly tasks?: readonly { readonly port: MessagePort; readonly work: TaskWork }[]
  readonly watch?: readonly Watched[]
  /** Libraries that no other shard may have open any more. */
  readonly unshare?: readonly string[]
}

/** A location that is to be watched; `root` as in scan/names. */
export interface WatchedLocation {
  readonly library: string
  readonly location: string
  readonly root: string
  readonly rules?: LocationRules | null
}

/** With a root of null it is not to be watched any more. */
export type Watched = WatchedLocation | (Omit<WatchedLocation, 'root' | 'rules'> & { readonly root: null })

export interface ToWatcher {
  readonly watch?: WatchRequest
  readonly unwatch?: string
  readonly answer?: { readonly key: string } & Outcome
}

export interface WatchRequest {
  readonly key: string
  readonly root: string
  readonly leftOut: readonly string[]
  readonly rules: LocationRules | null
}

export interface FromWatcher {
  readonly coverage?: readonly (Covered & { readonly key: string })[]
  /** Either of the two; nothing more is told of this location until it is answered. */
  readonly told?: { readonly key: string; readonly number: number } & Telling
}

export interface Telling {
  readonly changes?: ChangesFound
  /** It is to be scanned, by a scan that begins after this. */
  readonly doubt?: true
}

/** A part of what one look at changed directories found. */
export interface ChangesFound {
  readonly batch: Batch
  /** Of the directory at the root; with another one nothing may be concluded. */
  readonly rootInode: bigint
  readonly first: boolean
  readonly last: boolean
}

/** `busy`: later again; `doubt`: the index knows of another root. */
export interface Outcome {
  readonly number: number
  readonly outcome: 'done' | 'busy' | 'doubt'
  /** Inodes of directories whose contents the index lacks. */
  readonly relist: readonly (number | string)[]
}

/** A walk that a shard asks for, run in a task thread that answers on the port. */
export interface WalkRequest {
  readonly root: Uint8Array
  readonly leftOut: readonly string[]
  readonly rules?: LocationRules | null | undefined
  readonly after?: { readonly directory: string; readonly name?: string } | undefined
  readonly starts?: readonly string[] | undefined
  /** Nothing is walked: one path is looked at. */
  readonly look?: Pick<LookSetup, 'path' | 'list'>
  /** Not zero once nobody waits for it any more. */
  readonly stop: SharedArrayBuffer
}

/** Files that a shard has read for what they hold; not zero in `stop` ends it before the next file. */
export interface IdentifyRequest {
  readonly files: FilesWanted
  readonly stop: SharedArrayBuffer
  /** Some lie at paths that are longer than the system takes one. */
  readonly far: boolean
}

export type TaskWork = { readonly walk: WalkRequest } | { readonly identify: IdentifyRequest }

export interface ShardSetup extends LineMemory {
  readonly ledger: SharedArrayBuffer
  readonly thread: number
  readonly counts: SharedArrayBuffer
  /** Where each thread says that its loop turns, and the place of this one. */
  readonly beats: SharedArrayBuffer
  readonly beat: number
  readonly ahead: SharedArrayBuffer
  readonly written: SharedArrayBuffer
  readonly told: Told
  readonly libraries: string
  readonly deleted: string
  readonly leftOut: readonly string[]
}

export interface TaskSetup {
  readonly native: boolean
  readonly told: Told
}

/** Words of the counts each shard keeps for `status`. */
export const COUNTS = {
  libraries: 0,
  connections: 1,
  running: 2,
  queued: 3,
  evicted: 4,
  reopened: 5,
  opened: 6,
  givenUp: 7,
  /** The used part of its heap, in thousandths. */
  heap: 8,
  words: 9,
} as const

/** What a shard's thread holds, and for whom. */
export interface Held {
  readonly leases: readonly HeldLease[]
  readonly jobs: readonly RunningJob[]
}
