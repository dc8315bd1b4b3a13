// Everything an examination saw, and all that a judgement may use.
import type { FlightEntry } from '../descriptors/recorder.js'
import type { Limit } from '../descriptors/rlimit.js'
import type { DaemonProcess, Leftovers } from './daemons.js'
import type { Machine, MachineLimits, Process, Unit, WatchUse } from './machine.js'
import type { Mend, MendFile } from './mends.js'

export interface DataDirectory {
  readonly path: string
  readonly exists: boolean
  /** It lies below a directory that this user may not enter: whether it exists is not known. */
  readonly hidden?: true
  /** Why there can be none at that path as things are; and where a link leads, if that is why. */
  readonly unusable?: { readonly why: string; readonly target?: string }
  readonly mode: number
  readonly uid: number
  readonly writable: boolean
  readonly freeBytes: number | null
  readonly freeInodes: number | null
}

export interface Seen {
  readonly machine: Machine
  readonly limits: MachineLimits
  readonly shell: Limit
  /** The daemon of the data directory that was asked about. */
  readonly daemon: DaemonProcess | null
  /** Whether somebody set how far it may raise its soft limit. */
  readonly capped: boolean
  readonly unit: Unit | null
  readonly spacedrive: readonly DaemonProcess[]
  readonly others: readonly Process[]
  readonly watches: WatchUse | null
  readonly leftovers: Leftovers
  readonly directory: DataDirectory
  /** What of its settings would keep a daemon from starting, or null. */
  readonly settings: { readonly path: string; readonly wrong: string } | null
  /** What the flight recorder holds last. */
  readonly last: FlightEntry | null
  /** Why this command has no native addon, or null. */
  readonly nativeProblem: string | null
  /** Whether it was written before, and holds from the next login or start on. */
  isWritten(file: MendFile): boolean
}

/** What stands there already is not written again: only what must follow is left to do. */
export function pending(mend: Mend, { isWritten }: Seen): Mend {
  if (!mend.file || !isWritten(mend.file)) return mend
  return { command: `# ${mend.file.path} is written already\n${mend.after ?? ''}`, root: mend.root }
}
