// What the doctor asks of the machine it looks at. Linux and macOS answer it each in its own way; nothing above knows which one does.
import type { Limit } from '../descriptors/rlimit.js'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly uid: number
  /** The program's short name, which everybody may see. */
  readonly name: string
  readonly argv: readonly string[]
  /** Open descriptors; null where this user may not count them. */
  readonly open: number | null
  readonly state: 'running' | 'stopped' | 'dead'
  readonly ageMs: number | null
}

/** What all processes together and one alone may open; null where the system does not tell. */
export interface MachineLimits {
  readonly files: number | null
  readonly filesOpen: number | null
  readonly perProcess: number | null
}

export interface WatchUse {
  readonly instances: number
  readonly instancesMax: number
  readonly watches: number
  readonly watchesMax: number
  /** Whether every process of this user could be looked at. */
  readonly whole: boolean
}

/** Who set a limit: in words, and where it is written, if it is. */
export interface Origin {
  readonly words: string
  readonly file?: string
  readonly line?: number
}

/** A unit of systemd that a process belongs to. */
export interface Unit {
  readonly name: string
  readonly ofUser: boolean
}

export interface Person {
  readonly uid: number
  readonly user: string
  readonly groups: readonly string[]
  readonly home: string
  /** The program they type into, as in /bin/zsh. */
  readonly shell: string
}

export interface Machine {
  readonly system: 'Linux' | 'macOS'
  readonly person: Person
  limits(): MachineLimits
  processes(): Process[]
  limitOf(pid: number): Limit | null
  /** Names the setter of one half of a limit that `pid` has. */
  originOf(pid: number, limit: Limit, half: 'soft' | 'hard'): Origin | null
  /** Null where it may not be read. */
  environmentOf(pid: number): Readonly<Record<string, string>> | null
  directoryOf(pid: number): string | null
  /** How many of each kind of thing a process has open; null where it may not be read. */
  kindsOf(pid: number): ReadonlyMap<string, number> | null
  /** The process that holds the lock on a file now. */
  lockHolder(path: string): number | null
  unitOf(pid: number): Unit | null
  /** What kind of container this is, or null. */
  container(): string | null
  /** Null where watching costs no watches of a limited number. */
  watches(): WatchUse | null
  /** Whether the limits of logins are set from limits.conf; null where there is no such thing. */
  loginLimits(): boolean | null
}
