// Where things lie: the data directory of a platform, and every path inside it. Imports nothing heavy, so that a
// client command that only needs the socket starts at once.
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { SpacedriveError } from './errors.js'

/** Bytes of a unix socket's path (`sun_path`), its closing NUL included: macOS has 104, Linux 108. */
const SOCKET_PATH_BYTES = 104
const INSTANCE = /^[A-Za-z0-9_-]{1,64}$/

export type Environment = Readonly<Record<string, string | undefined>>

export interface Place {
  readonly dataDir?: string | undefined
  readonly instance?: string | undefined
}

export interface Paths {
  readonly dataDir: string
  readonly config: string
  readonly token: string
  /** Of the tokens that were given out, with their scopes: no secrets, only digests. */
  readonly tokens: string
  /** Shorter than 104 bytes; not in the data directory when that path is too long (see `makeSocketDirectory`). */
  readonly socket: string
  /** `{pid, http, socket, argv, startedAt}` of the daemon that serves this data directory. */
  readonly state: string
  /** Those that were picked for addresses with port 0. */
  readonly ports: string
  /** The last events of a daemon that was stopped, for the next. */
  readonly events: string
  readonly lock: string
  readonly logs: string
  readonly startLog: string
  /** The ring of the flight recorder. */
  readonly flight: string
  readonly libraries: string
}

/** The absolute data directory: what is given, else $SPACEDRIVE_DATA_DIR, else the platform's; an instance lies below. */
export function dataDirOf(place: Place, env: Environment = process.env, platform: string = process.platform): string {
  const given = place.dataDir ?? nonEmpty(env.SPACEDRIVE_DATA_DIR)
  if (given === '') throw new SpacedriveError('BAD_CONFIG', 'the data directory has an empty name')
  const base = resolve(given ?? usualDataDir(env, platform))
  const instance = instanceOf(place, env)
  return instance === null ? base : join(base, 'instances', instance)
}

export function instanceOf(place: Place, env: Environment = process.env): string | null {
  const instance = place.instance ?? nonEmpty(env.SPACEDRIVE_INSTANCE)
  if (instance === undefined) return null
  if (INSTANCE.test(instance)) return instance
  throw new SpacedriveError('BAD_CONFIG', `not the name of an instance: ${JSON.stringify(instance)}`, {
    hint: 'An instance is named by 1 to 64 letters, digits, - or _.',
  })
}

function usualDataDir(env: Environment, platform: string): string {
  const home = nonEmpty(env.HOME) ?? homedir()
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'Spacedrive')
  const data = nonEmpty(env.XDG_DATA_HOME)
  // The XDG specification: a relative path there is invalid and ignored.
  return join(data !== undefined && isAbsolute(data) ? data : join(home, '.local', 'share'), 'spacedrive')
}

export function paths(dataDir: string, env: Environment = process.env): Paths {
  return {
    dataDir,
    config: join(dataDir, 'config.json'),
    token: join(dataDir, 'token'),
    tokens: join(dataDir, 'tokens.json'),
    socket: socketPath(dataDir, env),
    state: join(dataDir, 'daemon.json'),
    ports: join(dataDir, 'ports.json'),
    events: join(dataDir, 'events.json'),
    lock: join(dataDir, 'daemon.lock'),
    logs: join(dataDir, 'logs', 'daemon.log'),
    startLog: join(dataDir, 'logs', 'start.log'),
    flight: join(dataDir, 'logs', 'flight.bin'),
    libraries: join(dataDir, 'libraries'),
  }
}

/** A path that the kernel would cut off goes to a private directory whose name is a hash of user and data directory. */
function socketPath(dataDir: string, env: Environment): string {
  const usual = join(dataDir, 'daemon.sock')
  if (isSocketPath(usual)) return usual
  const owner = `${process.getuid?.() ?? ''}:${dataDir}`
  const name = `spacedrive-${createHash('sha256').update(owner).digest('hex').slice(0, 16)}`
  const bases = [nonEmpty(env.XDG_RUNTIME_DIR), nonEmpty(env.TMPDIR), tmpdir(), '/tmp']
  const choices = bases.filter((base) => base !== undefined && isAbsolute(base)) as string[]
  return choices.map((base) => join(base, name, 'daemon.sock')).find(isSocketPath) ?? usual
}

/** Of any other libuv and uSockets take what fits, without a word (L20). */
export function isSocketPath(path: string): boolean {
  return path !== '' && Buffer.byteLength(path) < SOCKET_PATH_BYTES
}

/**
 * Makes the directory of a socket that does not fit into the data directory, readable by nobody else.
 * The place is shared (/tmp), so one that somebody else made is refused. Does nothing in the usual case.
 *
 * @returns whether the socket lies outside the data directory, which is worth a word to the user
 */
export function makeSocketDirectory({ dataDir, socket }: Pick<Paths, 'dataDir' | 'socket'>): boolean {
  const directory = dirname(socket)
  if (directory === dataDir) return false
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const made = lstatSync(directory)
  const ours = made.isDirectory() && made.uid === process.getuid?.() && (made.mode & 0o077) === 0
  if (ours) return true
  throw new SpacedriveError('BAD_CONFIG', `${directory} is not a private directory of this user`, {
    hint: 'Use a shorter --data-dir, or remove that directory.',
  })
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value
}

/** Absolute, without `.`, `..` and doubled slashes. */
export function normalize(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

/** Whether a path is this directory or lies below it; both absolute. */
export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`)
}
