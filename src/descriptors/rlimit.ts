// The limit on this process's descriptors: what it was, what it is, and raising it. By the addon, else as far as plain Node gets.
import assert from 'node:assert'
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs'
import { LIMITS } from '../base/limits.js'
import { NO_SUCH_PROGRAM, runChild } from './child.js'
import { loadNative } from './native.js'

/** Descriptors; unlimited is Number.MAX_SAFE_INTEGER. */
export interface Limit {
  readonly soft: number
  readonly hard: number
}

export interface RaisedLimit extends Limit {
  /** What this process was given, before Node raised its soft limit to the hard one. */
  readonly softAtStart: number
  /** Why the soft limit is not what it was meant to be, or null. */
  readonly problem: string | null
}

/** Works at exhaustion too: the addon and the report need no descriptor. */
export function readLimit(): Limit {
  return loadNative()?.getLimit() ?? limitOfProc() ?? limitOfReport()
}

/**
 * Sets the soft limit to the hard one, but not past `LIMITS.softMax` nor past `cap`; that may lower it. What the system refuses
 * is kept as it is and reported. Call it once, before there are threads: growing the kernel's table stalls them.
 */
export function raiseLimit({ cap }: { cap?: number } = {}): RaisedLimit {
  assert(cap === undefined || (Number.isSafeInteger(cap) && cap > 0), 'a cap is a count of descriptors')
  const before = readLimit()
  const problem = setSoft(before, softFor(before, cap))
  const after = readLimit()
  loadNative()?.preallocate(Math.min(after.soft, LIMITS.tablePreallocatedMax))
  return { softAtStart: softAtStart() ?? before.soft, soft: after.soft, hard: after.hard, problem }
}

/** The same while the daemon runs. Returns why the limit is not what it was meant to be, or null. */
export function setLimit(cap: number | null): string | null {
  const before = readLimit()
  return setSoft(before, softFor(before, cap))
}

function softFor({ hard }: Limit, cap: number | null = null): number {
  return Math.min(hard, LIMITS.softMax, cap ?? LIMITS.softMax)
}

/** The limit changed from outside, by prlimit or by the program that this daemon lives in. */
export interface LimitChange {
  readonly before: Limit
  readonly after: Limit
}

/** Looks again and again whether the limit is still what it was; needs no descriptor for it, but without the addon keeps one. */
export class LiveLimit {
  readonly #file: number | null
  #last: Limit

  constructor(last: Limit) {
    this.#last = { soft: last.soft, hard: last.hard }
    this.#file = loadNative() === null ? openLimits() : null
  }

  /** Null while nothing has changed. */
  look(): LimitChange | null {
    const before = this.#last
    const after = this.#read()
    if (after.soft === before.soft && after.hard === before.hard) return null
    this.#last = after
    return { before, after }
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file)
  }

  #read(): Limit {
    return loadNative()?.getLimit() ?? (this.#file === null ? limitOfReport() : limitOfFile(this.#file)) ?? this.#last
  }
}

/** Kept open, because reading by name needs a descriptor, and the report takes milliseconds. */
function openLimits(): number | null {
  try {
    return openSync('/proc/self/limits', 'r')
  } catch {
    return null // not Linux, or /proc is not mounted
  }
}

function limitOfFile(file: number): Limit | null {
  const bytes = Buffer.alloc(4096)
  return limitOfText(bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0)))
}

/** The highest number that is open: the limit bounds numbers. Null where they cannot be listed, without the addon at exhaustion. */
export function highestOpen(): number | null {
  try {
    return loadNative()?.list().at(-1) ?? openNumbers().reduce((most, fd) => Math.max(most, fd), 0)
  } catch {
    return null
  }
}

/** Descriptors open in this process now; needs none itself on Linux ≥ 6.2, or with the addon. */
export function countOpen(): number {
  const native = loadNative()
  if (native) return native.count()
  // Linux ≥ 6.2 counts for us; older kernels say 0. macOS has /dev/fd only. A listing holds one descriptor itself.
  const counted = process.platform === 'linux' ? statSync('/proc/self/fd').size : 0
  return counted > 0 ? counted : readdirSync(process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd').length - 1
}

/** Their numbers; without the addon the one that lists them is among them. */
export function openNumbers(): readonly number[] {
  const native = loadNative()
  if (native) return [...native.list()]
  return readdirSync(process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd').map(Number)
}

/** What a person types before the start, so that the limit is `wanted`. */
export function commandToRaise(wanted: number, hard: number): string {
  if (hard >= wanted) return `ulimit -n ${wanted}`
  if (process.platform === 'darwin') return `sudo launchctl limit maxfiles ${wanted} ${8 * wanted}`
  return `sudo prlimit --pid $$ --nofile=${wanted}:${wanted}`
}

/** Null, or why it is not `wanted` now. */
function setSoft(before: Limit, wanted: number): string | null {
  if (wanted === before.soft) return null
  const native = loadNative()
  if (!native) return setSoftByCommand(wanted)
  try {
    native.setLimit(wanted)
    return null
  } catch (error) {
    return `setting the soft limit to ${wanted} was refused: ${(error as Error).message}`
  }
}

/** prlimit comes with util-linux; macOS has nothing that could change another process's limit. */
function setSoftByCommand(wanted: number): string | null {
  const done = runChild('prlimit', ['--pid', String(process.pid), `--nofile=${wanted}:`])
  if (done.error || done.status === NO_SUCH_PROGRAM)
    return `the soft limit cannot be set to ${wanted} without the native addon or prlimit (util-linux)`
  return done.status === 0 ? null : `setting the soft limit to ${wanted} was refused: ${done.stderr.trim()}`
}

/** The launcher notes it as `SOFT:HARD` in the words of `ulimit`, because Node raises the limit before any script runs. */
function softAtStart(): number | null {
  const noted = process.env['SPACEDRIVE_LIMIT_AT_START']?.split(':', 1)[0]
  return noted === undefined ? null : parseLimit(noted)
}

function limitOfProc(): Limit | null {
  try {
    return limitOfText(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return null // not Linux, /proc is not mounted, or no descriptor is left: the report knows it too
  }
}

function limitOfText(text: string): Limit | null {
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(text) ?? []
  return toLimit(soft, hard)
}

function limitOfReport(): Limit {
  const report = process.report.getReport() as { userLimits?: { open_files?: { soft?: unknown; hard?: unknown } } }
  const { soft, hard } = report.userLimits?.open_files ?? {}
  const limit = toLimit(soft, hard)
  assert(limit, 'the report of Node names the limit of open files')
  return limit
}

function toLimit(soft: unknown, hard: unknown): Limit | null {
  const [softLimit, hardLimit] = [parseLimit(String(soft)), parseLimit(String(hard))]
  return softLimit === null || hardLimit === null ? null : { soft: softLimit, hard: hardLimit }
}

function parseLimit(text: string): number | null {
  if (text === 'unlimited') return Number.MAX_SAFE_INTEGER
  return /^\d+$/.test(text) ? Number(text) : null
}
