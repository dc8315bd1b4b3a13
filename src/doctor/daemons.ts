// The spacedrive processes of this machine: which of them are daemons, what data directory each has, and whether it answers.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { errnoOf, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { dataDirOf, paths, type Paths } from '../base/places.js'
import type { Limit } from '../descriptors/rlimit.js'
import type { Status } from '../protocol/messages.js'
import { textOf } from './files.js'
import type { Machine, Process } from './machine.js'

/** Asks the daemon at a socket for its status; answers within a few seconds, or throws. */
export type AskStatus = (socket: string) => Promise<Status>

/**
 * - `serving`, `draining`: it says so itself
 * - `starting`: too young to answer
 * - `exhausted`: it does not answer, and has not one descriptor left to answer with
 * - `stopped`: somebody stopped it with a signal
 * - `stuck`: it does not answer though it could
 * - `unknown`: another user's, who alone may ask it
 */
export type Answering = 'serving' | 'draining' | 'starting' | 'exhausted' | 'stopped' | 'stuck' | 'unknown'

export interface DaemonProcess extends Process {
  readonly role: 'daemon' | 'command'
  readonly paths: Paths | null
  readonly answering: Answering
  readonly status: Status | null
  readonly limit: Limit | null
}

/** Our entry in a package's own directory, wherever that lies. */
const ENTRY = /(?:^|\/)dist\/src\/cli\/main\.js$/

export async function spacedriveProcesses(
  machine: Machine,
  processes: readonly Process[],
  askStatus: AskStatus,
): Promise<DaemonProcess[]> {
  const ours = processes.filter((each) => each.pid !== process.pid && isSpacedrive(machine, each))
  const found: DaemonProcess[] = []
  // Not all at once: each takes a descriptor here.
  for (let first = 0; first < ours.length; first += LIMITS.doctorAskedAtOnce) {
    const some = ours.slice(first, first + LIMITS.doctorAskedAtOnce)
    found.push(...(await Promise.all(some.map((each) => looked(machine, each, askStatus)))))
  }
  return found
}

function isSpacedrive(machine: Machine, { argv, state, pid }: Process): boolean {
  const entry = argv.slice(0, 8).find((word) => ENTRY.test(word))
  if (entry === undefined || state === 'dead') return false
  const root = resolve(machine.directoryOf(pid) ?? '/', entry.replace(ENTRY, ''))
  const manifest = textOf(`${root}/package.json`)
  // A package that was deleted or is not ours to read is known by its directory.
  return manifest === null ? /spacedrive/.test(entry) : /"name":\s*"spacedrive"/.test(manifest)
}

async function looked(machine: Machine, each: Process, askStatus: AskStatus): Promise<DaemonProcess> {
  const words = each.argv.slice(each.argv.findIndex((word) => ENTRY.test(word)) + 1)
  const role = words.includes('start') && !words.includes('--detach') ? 'daemon' : 'command'
  const mine = each.uid === machine.person.uid
  const limit = machine.limitOf(each.pid)
  const where = mine && role === 'daemon' ? pathsOf(machine, each.pid, words) : null
  if (!where)
    return { ...each, role, paths: null, limit, status: null, answering: role === 'command' ? 'serving' : 'unknown' }
  return { ...each, role, paths: where, limit, ...(await answeringOf(each, where, limit, askStatus)) }
}

/** As the process itself found it: by its arguments, its environment and its directory. */
function pathsOf(machine: Machine, pid: number, words: readonly string[]): Paths | null {
  const env = machine.environmentOf(pid) ?? {}
  const given = (name: string) => {
    const at = words.indexOf(name)
    return at < 0 ? words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1) : words[at + 1]
  }
  const dataDir = given('--data-dir') ?? env.SPACEDRIVE_DATA_DIR
  const full = dataDir === undefined ? undefined : resolve(machine.directoryOf(pid) ?? '/', dataDir)
  try {
    return paths(
      dataDirOf({ dataDir: full, instance: given('--instance') }, { HOME: machine.person.home, ...env }),
      env,
    )
  } catch {
    return null
  }
}

export interface NotedState {
  readonly pid: number
  readonly socket: string | null
  readonly draining?: true
}

export function notedState(path: string): NotedState | null {
  try {
    const state = JSON.parse(textOf(path) ?? 'null') as NotedState | null
    return typeof state?.pid === 'number' ? state : null
  } catch {
    return null
  }
}

export function socketOf({ state, socket }: Paths, pid: number): string {
  const noted = notedState(state)
  return noted?.pid === pid && noted.socket !== null ? noted.socket : socket
}

export async function answeringOf(
  each: Process,
  where: Paths,
  limit: Limit | null,
  askStatus: AskStatus,
): Promise<{ answering: Answering; status: Status | null }> {
  // The kernel takes connections on its behalf; waiting for an answer would be waiting for nothing.
  if (each.state === 'stopped') return { answering: 'stopped', status: null }
  try {
    const status = await askStatus(socketOf(where, each.pid))
    // One that answers for another process: this one lost its socket, or never got it.
    if (status.pid !== each.pid) return { answering: silent(each, limit, where), status: null }
    return { answering: status.state === 'draining' ? 'draining' : 'serving', status }
  } catch (error) {
    if (ownTrouble(error)) throw error
    const code = error instanceof SpacedriveError ? error.code : null
    if (code === 'DRAINING') return { answering: 'draining', status: null }
    if (code === 'STARTING') return { answering: 'starting', status: null }
    // Every slot is taken, also those kept for this: it lives, and says so.
    if (code === 'CONNECTION_LIMIT' && errnoOf((error as Error).cause) !== 'EAGAIN')
      return { answering: 'serving', status: null }
    return { answering: silent(each, limit, where), status: null }
  }
}

/** It is this command that has no descriptor left. */
function ownTrouble(error: unknown): boolean {
  return (
    error instanceof SpacedriveError &&
    error.code === 'BUDGET_EXHAUSTED' &&
    /EMFILE|ENFILE/.test(errnoOf(error.cause) ?? '')
  )
}

function silent({ pid, open, ageMs }: Process, limit: Limit | null, where: Paths): Answering {
  // It listens nowhere any more, and says so in its state.
  const noted = notedState(where.state)
  if (noted?.pid === pid && noted.draining) return 'draining'
  // One free is as good as none: the answer needs one for the connection, and what it looks up another.
  if (open !== null && limit !== null && open >= limit.soft - 1) return 'exhausted'
  return ageMs !== null && ageMs < LIMITS.cliStartMs ? 'starting' : 'stuck'
}

export interface Leftovers {
  /** A socket that nobody listens on. */
  readonly socket: string | null
  /** A state file of a process that is gone, or whose number another program has by now. */
  readonly state: string | null
}

/** What a daemon that was killed left in a data directory: proven by asking and by its lock, not by age or by a number. */
export async function leftoversOf(machine: Machine, where: Paths, askStatus: AskStatus): Promise<Leftovers> {
  const noted = notedState(where.state)
  const socket = noted?.socket ?? where.socket
  if (machine.lockHolder(where.lock) !== null || !(await refused(socket, askStatus)))
    return { socket: null, state: null }
  return { socket: existsSync(socket) ? socket : null, state: existsSync(where.state) ? where.state : null }
}

/** Nobody listens: the system says so at once, while a daemon that hangs lets one wait. */
async function refused(socket: string, askStatus: AskStatus): Promise<boolean> {
  try {
    await askStatus(socket)
    return false
  } catch (error) {
    if (ownTrouble(error)) throw error
    const errno = error instanceof SpacedriveError ? errnoOf(error.cause) : errnoOf(error)
    return errno === 'ECONNREFUSED' || errno === 'ENOENT' || errno === 'ENOTDIR'
  }
}
