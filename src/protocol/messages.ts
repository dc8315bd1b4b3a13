// The plain data that crosses a thread or a socket. Nothing else does.
import type { WireError } from '../base/errors.js'
import type { LocationRules, OperationName, Scope } from './operations.js'
import type { CONTENT_KINDS, ENTRY_KINDS, EVENT_TYPES, JOB_KINDS, MODES } from './words.js'

/** One operation asked for, its parameters already checked. */
export interface Request {
  readonly operation: OperationName
  readonly params: Readonly<Record<string, unknown>>
}

/**
 * `json` is the result, serialised where it was made so that no thread copies it as objects. A long one has it in `bytes`, as UTF-8, until
 * `answer` returns, and is made a text only for who wants that.
 */
export type Reply =
  | { readonly ok: true; readonly json: string; readonly bytes?: Uint8Array }
  | { readonly ok: false; readonly error: WireError }

/** Told that nobody waits for the answer any more: what has not been begun by then is not begun. */
export type GiveUp = () => void

/**
 * Calls `answer` exactly once, perhaps before it returns.
 *
 * @param caller the same for all that one client has under way, by which shares are kept; `STREAM` where it is for bytes to be sent
 */
export type Dispatch = (request: Request, answer: (reply: Reply) => void, caller?: object) => GiveUp | void

/** Who asks for bytes that are sent on, which may be dropped before other things. */
export const STREAM = Object.freeze({})

/** Who asks one message and no more, as over HTTP: what else its client asks is not known. */
export interface OnlyOnce {
  readonly onlyOnce: true
}

export type EventType = (typeof EVENT_TYPES)[number]
export type JobKind = (typeof JOB_KINDS)[number]
export type ContentKind = (typeof CONTENT_KINDS)[number]
export type Mode = (typeof MODES)[number]
export type EntryKind = (typeof ENTRY_KINDS)[number]

/** Something that happened, published after the commit it reports. */
export interface Event {
  readonly type: EventType
  readonly library?: string
  readonly at: string
  readonly [key: string]: unknown
}

/** An event as subscribers get it: serialised once for all of them, and with its place among all. */
export interface Published {
  readonly event: Event
  readonly json: string
  readonly cursor: string
}

/**
 * Takes each event of a subscription. What it throws is its own, thrown where nobody catches it: the subscription goes on.
 *
 * @param missed how many were lost before this one, of any kind where they were lost with a connection; `Infinity` where that cannot
 *   be told
 * @param cursor of this one: a filter with it has what comes after
 */
export type Deliver = (event: Event, missed: number, cursor: string) => void

/** What is known of a picture, a sound or a film. */
export interface Media {
  /** As it is shown: turned where the header says so. */
  width?: number
  height?: number
  durationMs?: number
  /** By the clock of the camera: `2026-07-01T12:34:56`, with `+02:00` after it where it told its zone. */
  takenAt?: string
}

export interface FileItem {
  id: string
  library: string
  location: string
  /** Absolute. */
  path: string
  name: string
  /** Base64 of the true name where it is not valid UTF-8. */
  nameBytes?: string
  /** The same of the path. */
  pathBytes?: string
  kind: EntryKind
  size: number
  /** Only of a directory: of everything below it. A file with several names counts under each of them. */
  total?: { bytes: number; files: number; directories: number }
  modifiedAt: string
  inode: number | string
  /** Of a file that was read: 16 hexadecimal digits, the same for the same content. */
  contentId?: string
  /** By what it holds where that was read, else by its name. */
  mime?: string
  contentKind?: ContentKind
  /** What the header of a picture, a sound or a film says, in a location of mode `deep`; each of it only where it says so. */
  media?: Media
  /** BLAKE3 of every byte of it, 64 hexadecimal digits: only in the answer of files.get, and where it was asked for by files.hash. */
  hash?: string
  /** Names of its tags, only in the answer of files.get and where it has any. */
  tags?: string[]
}

/** Files that hold the same, by their content id. */
export interface DuplicateGroup {
  contentId: string
  /** Of each. */
  size: number
  /** A file with several names is one. */
  files: number
  names: number
  /** What would come free if one were kept. */
  waste: number
  mime: string
  contentKind: ContentKind
  /** What was found when they were compared byte by byte, if they were, of those that did not change since. */
  compared?: Compared
  /** The first of the names. `set`: which of `compared.sets` it is in, from 1 on; 0 where it could not be read. */
  items: (FileItem & { set?: number })[]
}

export interface Compared {
  /** When the last of them was. */
  at: string
  /** How many names there are of each content that was told apart, the most first: one number where all are equal. */
  sets: number[]
  /** Names that changed meanwhile or could not be read. */
  unread: number
}

export interface TagItem {
  id: string
  library: string
  name: string
  /** Other names under which it is found. */
  aliases: string[]
  parent?: string
  /** Names from the highest tag above it down to its own. */
  path: string[]
  /** `#rrggbb`. */
  colour?: string
  description?: string
  createdAt: string
  /** How many entries have this very tag. */
  entries: number
  /** How many contents have it, and by them all files that hold one. */
  contents: number
}

/** A token beside the one in DATA_DIR/token, without the secret itself. */
export interface TokenItem {
  id: string
  name: string
  scope: Scope
  /** Ids; absent where it is for all libraries. */
  libraries?: string[]
  createdAt: string
  expiresAt?: string
  /** True from then on. */
  expired: boolean
  /** When it was last asked with. */
  usedAt?: string
}

/** What came of giving entries a tag, or of taking it off them. */
export interface Tagging {
  tag: string
  /** Those that have it now, or have it no more. */
  entries: number
  /** Of those, or of what they hold, the ones for which that is new. */
  changed: number
  /** What was named and is not in the index, or, where contents get it, of which it is not known what it holds. */
  missing: string[]
}

export type JobState = 'queued' | 'running' | 'paused' | 'done' | 'failed' | 'cancelled'

/** What a job took of descriptors, over all its runs: its own leases, and the threads that worked for it. */
export interface JobDescriptors {
  taken: number
  returned: number
  /** Not returned when a run ended; taken back soon after. */
  left: number
  leaks?: { path: string; count: number; where?: string[] }[]
}

export interface JobItem {
  id: string
  library: string
  kind: JobKind
  state: JobState
  /** `fraction` (0 to 1) is an estimate while the total is unknown; `bytes` that were read, where the job reads files. */
  progress: { done: number; total?: number; bytes?: number; unit: 'entries' | 'files' | 'bytes'; fraction?: number }
  failures: { path: string; code: string; message: string }[]
  failureCount: number
  /** What a scan left out, by rule; a directory counts once, with all that lies in it. */
  leftOut?: Record<string, number>
  location?: string
  createdAt: string
  startedAt?: string
  finishedAt?: string
  error?: WireError
  waiting?: WireError
  /** Why it could not be written down yet that it was paused or cancelled: until it is, a start would go on with it. */
  unwritten?: WireError
  /** Absent until a run that took any has ended. */
  descriptors?: JobDescriptors
}

export interface LibraryItem {
  id: string
  name: string
  path: string
  open: boolean
  /** Why it cannot be opened, where that is known. */
  problem?: WireError
}

export interface LibraryInfo extends LibraryItem {
  entries: number
  files: number
  directories: number
  bytes: number
  databaseBytes: number
  locations: LocationItem[]
}

export interface LocationItem {
  id: string
  library: string
  name: string
  path: string
  mode: Mode
  addedAt: string
  scannedAt?: string
  /** Whether changes on disk are followed. */
  watch: boolean
  /** Only of one that is watched. */
  watched?: Covered
  /** What it leaves out, where there is anything. */
  rules?: LocationRules
  /** How much of that the last scan left out, by rule; a directory counts once, with all that lies in it. */
  leftOut?: Record<string, number>
  /** Directories that could not be read: how many, and those that are so for the longest. */
  unverified?: { count: number; first: UnverifiedDirectory[] }
}

/** A directory that could not be read: what the index has of it may be old. It is tried again. */
export interface UnverifiedDirectory {
  path: string
  since: string
  /** The system's word, as EACCES. */
  code: string
  message: string
  triedAt: string
  tries: number
}

/** The rule that leaves something out, and the line of it where it has lines. */
export interface RuleOf {
  rule: string
  pattern?: string
  file?: string
  line?: number
}

/** Why a path is in the index, or is not. */
export interface Explanation {
  path: string
  indexed: boolean
  entry?: FileItem
  state:
    | 'indexed'
    | 'notYet'
    | 'gone'
    | 'leftOut'
    | 'noLocation'
    | 'notOnDisk'
    | 'otherFileSystem'
    | 'behindLink'
    | 'notInDirectory'
    | 'unread'
  /** In words. */
  reason: string
  location?: string
  /** The place of which `state` is said, where that lies above the path. */
  at?: string
  rule?: RuleOf
  error?: { code: string; message: string }
  /** The nearest directory, itself or above, that could not be read at the last scan. */
  unverified?: UnverifiedDirectory
}

/** Something that lies in a directory and is left out. */
export interface LeftOutItem {
  name: string
  nameBytes?: string
  path: string
  kind: EntryKind
  rule: RuleOf
}

/** How the directories of a location are watched. */
export interface Covered {
  /** `starting` until all of it is watched, `absent` while the directory itself is not there. */
  state: 'starting' | 'watched' | 'absent'
  /** Directories whose changes are told by the system. */
  live: number
  /** Directories that are read at intervals. */
  polled: number
  /** Why not all is live. */
  reason?: string
}

export const CLASSES = ['control', 'clients', 'libraries', 'jobs', 'watches'] as const
export type DescriptorClass = (typeof CLASSES)[number]
export type Level = 'normal' | 'elevated' | 'high' | 'critical'

/** How near the descriptors are to their end. */
export interface PressureState {
  level: Level
  /** When this level was entered. */
  since: string
  /** 0 to 1; above 1 more is held than there is, as after the limit was cut. */
  pressure: number
  /** What makes the pressure, in words. */
  reason: string
  /** Numbers below the soft limit that no open descriptor has. */
  free: number
}

/** What presses beside descriptors: memory, a main loop that is late, and what waits for the shards. */
export const CAUSES = ['memory', 'loop', 'queue'] as const
export type Cause = (typeof CAUSES)[number]

export interface CauseState {
  level: Level
  /** When this level was entered. */
  since: string
  /** 0 to 1. */
  pressure: number
  /** What makes it, in words. */
  reason: string
}

export interface ClassUse {
  used: number
  floor: number
  ceiling: number
  peak: number
  refused: number
  waited: number
}

export interface LimitUse {
  softAtStart: number
  soft: number
  hard: number
}

export interface Status {
  pid: number
  version: string
  uptimeMs: number
  state: 'starting' | 'serving' | 'draining'
  front: 'uws' | 'node' | 'none'
  /** Whether the native addon is loaded; without it limits cannot be raised and holders are named less exactly. */
  native: boolean
  /** Times that want of descriptors hit code that did not expect it, and the daemon went on. */
  errorsSurvived: number
  http: string | null
  socket: string | null
  /** `HOST:PORT`; null where it is off. */
  lineProtocol: string | null
  limit: LimitUse
  descriptors: {
    open: number
    base: number
    budget: number
    reserve: number
    /** How much of the reserve is really held now; less than `reserve` while somebody else has it. */
    reserveHeld: number
    /** The highest number in use; null where it cannot be told at exhaustion. */
    highest: number | null
    unaccounted: number
    /** Until the budget is full if use goes on growing as it does; null: not in sight. */
    exhaustionSeconds: number | null
    classes: Record<DescriptorClass, ClassUse>
    /** The last alarm about a leak, for as long as something of it is left. */
    leak?: Leak & { at: string }
  } & PressureState
  /** What presses beside descriptors, and how many requests were refused because of it. */
  pressure: Record<Cause, CauseState & { refused: number }>
  connections: {
    current: number
    max: number
    peak: number
    accepted: number
    refused: number
    /** Clients without a request in flight; absent where that is not known. */
    idle?: number
    /** Those of TCP that have shown no token yet; absent where that is not known. */
    strangers?: number
    /** The refused, by why: `clients` or `control` were taken, no descriptor was left (`starved`), … */
    refusedBy: Record<string, number>
    /** `failing` while no descriptor can be had for those who wait, `spinning` while the loop turns in vain. */
    accept: 'open' | 'failing' | 'spinning'
    acceptFailures: number
    /** Of long answers, what their clients have not read; and how many clients were cut because all of it was too much. */
    unreadBytes: number
    unreadCut: number
    /** Since the start. */
    wrongTokens: number
    /** Of each thread of `--fronts`, where there is more than the main one; the unix socket is the main thread's. */
    fronts?: { current: number; accepted: number }[]
  }
  /** Of the main thread, over the last second: the share that was not waiting, and the latest that a timer came. */
  loop: {
    utilization: number
    delayMs: number
    /** How often it stood still for two seconds or more, and for how long the last time. */
    stalls: number
    stalledMs: number
  }
  /**
   * `opened`: how often one was, since the start; `evicted`: closed to make room or under pressure; `reopened`: of those,
   * asked for again soon after.
   */
  libraries: {
    known: number
    open: number
    connections: number
    opened: number
    evicted: number
    reopened: number
  }
  /** `stalledMs`: how long one has not turned its loop, from five seconds on; `givenUp`: requests not begun, for nobody waited; `overloaded`: those refused with OVERLOADED. */
  shards: {
    id: number
    libraries: number
    inFlight: number
    queued: number
    restarts: number
    stalledMs: number
    givenUp: number
    overloaded: number
  }[]
  jobs: { running: number; queued: number }
  /** Over all watched locations; `reasons` say why directories are polled, each once. */
  watching: { locations: number; live: number; polled: number; reasons: string[] }
  /**
   * `dropped`: went by unread, summed over subscriptions; `coalesced`: progress of jobs that was not sent, for there was later
   * progress.
   */
  events: { subscriptions: number; published: number; dropped: number; coalesced: number }
}

/** A thread that stands still: a shard for as long as it does, the main thread some seconds after it went on. */
export interface Stall {
  readonly thread: string
  readonly stoodMs: number
}

/** Who holds one descriptor. */
export interface Holder {
  fd: number
  class: DescriptorClass | 'base' | 'reserve'
  holder: string
  detail: string
  ageMs: number
  /** Where its lease was taken, with `--trace-leases`. */
  where?: readonly string[]
}

/** Descriptors without a holder that have become more and stay. */
export interface Leak {
  unaccounted: number
  /** How many of them came since the last alarm, and in what time. */
  growth: number
  withinMs: number
  likeliest: { holder: string; why: string; where?: readonly string[] }
  targets: string[]
}

export interface Descriptors {
  limit: LimitUse
  open: number
  highest: number
  classes: Record<DescriptorClass, ClassUse>
  holders: Holder[]
  unaccounted: { fd: number; target: string; ageMs: number; peer?: string }[]
}
