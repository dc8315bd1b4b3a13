// One examination: looks at machine, processes, daemon and data directory, and says in one line how things are.
import { accessSync, constants, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LIMITS } from '../base/limits.js'
import type { Environment, Paths } from '../base/places.js'
import { grouped, plural } from '../base/text.js'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { nativeProblem } from '../descriptors/native.js'
import { readFlight, type FlightEntry } from '../descriptors/recorder.js'
import { readLimit, type Limit } from '../descriptors/rlimit.js'
import type { Status } from '../protocol/messages.js'
import {
  answeringOf,
  leftoversOf,
  notedState,
  spacedriveProcesses,
  type AskStatus,
  type DaemonProcess,
} from './daemons.js'
import { statOf, targetOf, textOf } from './files.js'
import type { Finding } from './findings.js'
import { isWritten } from './fix.js'
import { findingsOf } from './judge.js'
import type { Machine, MachineLimits, Origin, Process, WatchUse } from './machine.js'
import type { DataDirectory, Seen } from './seen.js'

export interface LimitSeen extends Limit {
  readonly softOrigin: Origin | null
  readonly hardOrigin: Origin | null
}

export interface SpacedriveSeen {
  readonly pid: number
  readonly uid: number
  readonly role: 'daemon' | 'command'
  readonly answering: DaemonProcess['answering']
  readonly open: number | null
  readonly soft: number | null
  readonly hard: number | null
  readonly ageMs: number | null
  readonly dataDir: string | null
  /** What it has open, by kind; only of one that does not answer, which can tell it better itself. */
  readonly kinds: Readonly<Record<string, number>> | null
}

export interface Diagnosis {
  readonly verdict: string
  /** Nothing needs mending. */
  readonly well: boolean
  readonly system: Machine['system']
  readonly container: string | null
  readonly limits: {
    readonly shell: LimitSeen
    readonly daemon: (LimitSeen & { readonly softAtStart: number | null }) | null
    readonly machine: MachineLimits
    readonly loginLimits: boolean | null
  }
  readonly processes: {
    readonly spacedrive: readonly SpacedriveSeen[]
    /** By their short names; those of other users tell no more. */
    readonly others: readonly { pid: number; uid: number; name: string; open: number }[]
  }
  readonly daemon: Pick<
    Status,
    'pid' | 'version' | 'uptimeMs' | 'state' | 'front' | 'native' | 'descriptors' | 'pressure' | 'connections'
  > | null
  readonly watches: WatchUse | null
  /** The end of the flight recorder: what happened last, and how things were at the last second that was written. */
  readonly flight: { readonly events: readonly FlightEntry[]; readonly last: FlightEntry | null }
  readonly dataDirectory: DataDirectory
  /** Whether this command could load the addon. */
  readonly native: boolean
  readonly findings: readonly Finding[]
}

export interface Asking {
  readonly machine: Machine
  readonly paths: Paths
  readonly env: Environment
  readonly askStatus: AskStatus
  /** Before every path of configuration; empty but in tests. */
  readonly root: string
}

/** @throws BUDGET_EXHAUSTED where this command itself has no descriptor left to look with */
export async function examine(asking: Asking): Promise<Diagnosis> {
  const { machine, paths, env, askStatus } = asking
  const processes = machine.processes()
  const spacedrive = await withNoted(asking, processes, await spacedriveProcesses(machine, processes, askStatus))
  const daemon =
    spacedrive.find(({ role, paths: where }) => role === 'daemon' && where?.dataDir === paths.dataDir) ?? null
  const shell = shellLimit(env)
  const flight = flightOf(paths)
  const seen: Seen = {
    machine,
    limits: machine.limits(),
    shell,
    daemon,
    capped: daemon !== null && isCapped(machine, daemon, paths),
    unit: machine.unitOf(daemon?.pid ?? process.pid),
    spacedrive,
    others: hungriest(processes, spacedrive),
    watches: machine.watches(),
    leftovers: daemon ? { socket: null, state: null } : await leftoversOf(machine, paths, askStatus),
    directory: look(paths.dataDir),
    settings: await wrongSettings(paths),
    last: flight.last,
    nativeProblem: nativeProblem(),
    isWritten: (file) => isWritten(asking.root, file),
  }
  return diagnosisOf(seen, findingsOf(seen), flight)
}

/** The daemon of this data directory, where it is not among the processes by its name: inside another program, or out of sight. */
async function withNoted(
  asking: Asking,
  processes: readonly Process[],
  found: DaemonProcess[],
): Promise<DaemonProcess[]> {
  const { machine, paths, askStatus } = asking
  if (found.some(({ role, paths: where }) => role === 'daemon' && where?.dataDir === paths.dataDir)) return found
  const noted = notedState(paths.state)
  const host = processes.find(({ pid }) => pid === noted?.pid)
  if (!host || host.state === 'dead') return [...found, ...(await outOfSight(asking))]
  const limit = machine.limitOf(host.pid)
  const holds = machine.lockHolder(paths.lock) === host.pid
  const answered = await answeringOf(host, paths, limit, askStatus)
  // A number that was given to another program since then: neither the lock nor an answer is its own.
  if (!holds && answered.status === null) return found
  return [...found, { ...host, ...answered, role: 'daemon', paths, limit }]
}

/** Its process is in another container, or there is no list of them: what it says of itself is all there is. */
async function outOfSight({ machine, paths, askStatus }: Asking): Promise<DaemonProcess[]> {
  const socket = notedState(paths.state)?.socket ?? paths.socket
  const nobody = { pid: 0, parent: 0, uid: machine.person.uid, name: 'spacedrive', argv: [], open: null, ageMs: null }
  try {
    const status = await askStatus(socket)
    const { pid, limit, uptimeMs, descriptors } = status
    const told = { ...nobody, pid, open: descriptors.open, ageMs: uptimeMs, limit, status }
    return [{ ...told, state: 'running', role: 'daemon', answering: 'serving', paths }]
  } catch (error) {
    if (error instanceof SpacedriveError && error.code === 'BUDGET_EXHAUSTED') throw error
    return []
  }
}

/** What the launcher noted before Node raised it, else what the parent has. */
function shellLimit(env: Environment): Limit {
  const [, soft, hard] = /^(\d+|unlimited):(\d+|unlimited)$/.exec(env.SPACEDRIVE_LIMIT_AT_START ?? '') ?? []
  const number = (text: string) => (text === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(text))
  const now = readLimit()
  if (soft === undefined || hard === undefined) return now
  // On macOS the shell says unlimited where the kernel refuses more than the addon reads.
  return { soft: number(soft), hard: Math.min(number(hard), Math.max(now.hard, number(soft))) }
}

/** By a flag, its environment or the settings of the data directory. */
function isCapped(machine: Machine, { pid, argv }: DaemonProcess, { config }: Paths): boolean {
  if (argv.some((word) => word.startsWith('--nofile'))) return true
  return Boolean(machine.environmentOf(pid)?.SPACEDRIVE_NOFILE) || /"nofile"\s*:\s*"?\d/.test(textOf(config) ?? '')
}

/** A recorder that is not there, or is no recorder, has nothing to tell; only a lack of descriptors is worth failing for. */
function flightOf({ flight }: Paths): Diagnosis['flight'] {
  let all: FlightEntry[] = []
  try {
    all = readFlight(flight)
  } catch (error) {
    if (error instanceof SpacedriveError && error.code === 'BUDGET_EXHAUSTED') throw error
  }
  const events = all.filter(({ kind }) => kind !== 'sample').slice(-LIMITS.doctorFlightMax)
  return { events, last: all.at(-1) ?? null }
}

function hungriest(processes: readonly Process[], spacedrive: readonly DaemonProcess[]): Process[] {
  const ours = new Set([process.pid, ...spacedrive.map(({ pid }) => pid)])
  return processes
    .filter(({ pid, open }) => open !== null && open > 0 && !ours.has(pid))
    .toSorted((a, b) => b.open! - a.open!)
    .slice(0, LIMITS.doctorHungryMax)
}

function look(path: string): DataDirectory {
  const stat = statOf(path)
  if (!stat?.isDirectory()) {
    const errno = stat ? 'ENOTDIR' : errnoAt(path)
    const none = { path, exists: false, mode: 0, uid: 0, writable: true, freeBytes: null, freeInodes: null }
    if (errno === 'EACCES') return { ...none, hidden: true }
    const unusable = whyNone(path, errno)
    return unusable ? { ...none, unusable } : none
  }
  const { mode, uid } = stat
  return { path, exists: true, mode: mode & 0o7777, uid, writable: isWritable(path), ...freeOf(path) }
}

function errnoAt(path: string): string | undefined {
  try {
    accessSync(path)
    return undefined
  } catch (error) {
    return errnoOf(error)
  }
}

/** Null where a start would make it. */
function whyNone(path: string, errno: string | undefined): DataDirectory['unusable'] | null {
  if (errno === 'ENOTDIR') return { why: 'is no directory, or lies below what is none' }
  if (errno === 'ELOOP') return { why: 'is a link that leads in a circle' }
  const link = errno === 'ENOENT' ? targetOf(path) : null
  if (link === null) return null
  const target = resolve(dirname(path), link)
  return { why: `is a link to ${target}, which is not there`, target }
}

/** What checks them is many files, loaded only where there is something to check, and not where too few can be opened. */
async function wrongSettings({ config: path }: Paths): Promise<Seen['settings']> {
  if (!statOf(path)) return null
  const config = await import('../config.js').catch(() => null)
  try {
    config?.checkSources(path, {})
    return null
  } catch (error) {
    const { code, message } = fromSystem(error)
    if (code === 'BUDGET_EXHAUSTED') throw error
    return { path, wrong: message }
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

function freeOf(path: string): { freeBytes: number | null; freeInodes: number | null } {
  try {
    const { bavail, bsize, files, ffree } = statfsSync(path)
    // Some file systems make their inodes as they need them, and say 0 of 0.
    return { freeBytes: bavail * bsize, freeInodes: files === 0 ? null : ffree }
  } catch {
    return { freeBytes: null, freeInodes: null }
  }
}

function diagnosisOf(seen: Seen, findings: readonly Finding[], flight: Diagnosis['flight']): Diagnosis {
  const { machine, daemon, shell, limits } = seen
  const status = daemon?.status ?? null
  const of = (pid: number, limit: Limit): LimitSeen => ({
    soft: limit.soft,
    hard: limit.hard,
    softOrigin: machine.originOf(pid, limit, 'soft'),
    hardOrigin: machine.originOf(pid, limit, 'hard'),
  })
  const ofDaemon = status?.limit ?? daemon?.limit ?? null
  return {
    verdict: verdictOf(seen, findings),
    well: findings.every(({ severity }) => severity === 'hint'),
    system: machine.system,
    container: machine.container(),
    limits: {
      shell: of(process.ppid, shell),
      daemon:
        daemon && ofDaemon ? { ...of(daemon.pid, ofDaemon), softAtStart: status?.limit.softAtStart ?? null } : null,
      machine: limits,
      loginLimits: machine.loginLimits(),
    },
    processes: {
      spacedrive: seen.spacedrive.map((each) => shownOf(machine, each)),
      others: seen.others.map(({ pid, uid, name, open }) => ({ pid, uid, name, open: open! })),
    },
    daemon: status && briefOf(status),
    watches: seen.watches,
    flight,
    dataDirectory: seen.directory,
    native: seen.nativeProblem === null,
    findings,
  }
}

function briefOf({
  pid,
  version,
  uptimeMs,
  state,
  front,
  native,
  descriptors,
  pressure,
  connections,
}: Status): Diagnosis['daemon'] {
  return { pid, version, uptimeMs, state, front, native, descriptors, pressure, connections }
}

/** Paths and kinds are told of one's own processes only. */
function shownOf(machine: Machine, each: DaemonProcess): SpacedriveSeen {
  const { pid, uid, role, answering, open, limit, ageMs } = each
  const silent = answering === 'stuck' || answering === 'exhausted' || answering === 'stopped'
  const kinds = silent && uid === machine.person.uid ? machine.kindsOf(pid) : null
  return {
    pid,
    uid,
    role,
    answering,
    open,
    soft: limit?.soft ?? each.status?.limit.soft ?? null,
    hard: limit?.hard ?? each.status?.limit.hard ?? null,
    ageMs,
    dataDir: each.paths?.dataDir ?? null,
    kinds: kinds && Object.fromEntries(kinds),
  }
}

function verdictOf({ daemon }: Seen, findings: readonly Finding[]): string {
  const grave = findings.filter(({ severity }) => severity !== 'hint')
  if (grave.length > 0) {
    const more = grave.length === 1 ? '' : ` (and ${plural(grave.length - 1, 'more thing')} to mend)`
    return `not well: ${grave[0]!.message}${more}`
  }
  const hints = findings.length === 0 ? '' : `, with ${plural(findings.length, 'hint')}`
  const status = daemon?.status
  if (status)
    return `all is well${hints}: the daemon holds ${grouped(status.descriptors.open)} of ${grouped(status.limit.soft)} descriptors`
  if (daemon) return `all is well${hints}: the daemon is ${daemon.answering}`
  return `all is well${hints}: no daemon runs here`
}
