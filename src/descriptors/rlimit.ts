// The limit on this process's descriptors: what it was, what it is, and raising it. By the addon, else as far as plain Node gets.
import assert from 'node:assert'
import { readFileSync, readdirSync, statSync } from 'node:fs'
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
  const wanted = Math.min(before.hard, LIMITS.softMax, cap ?? LIMITS.softMax)
  const problem = setSoft(before, wanted)
  const after = readLimit()
  loadNative()?.preallocate(Math.min(after.soft, LIMITS.tablePreallocatedMax))
  return { softAtStart: softAtStart() ?? before.soft, soft: after.soft, hard: after.hard, problem }
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
    const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return toLimit(soft, hard)
  } catch {
    return null // not Linux, /proc is not mounted, or no descriptor is left: the report knows it too
  }
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
