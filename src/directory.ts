// The data directory as the daemon makes it, and the two files in it by which others find the daemon and prove who they are:
// where it serves, and the token.
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, fromSystem, SpacedriveError } from './base/errors.js'
import { writeWhole } from './base/whole.js'
import { makeSocketDirectory, type Paths } from './config.js'

/** Why a data directory cannot be made or used: what the person who named it can mend. */
const UNUSABLE = new Set(['EACCES', 'EPERM', 'ENOTDIR', 'EEXIST', 'ENOENT', 'EROFS'])

/** Where a daemon is, and how it was started. */
export interface DaemonState {
  readonly pid: number
  readonly http: string | null
  readonly socket: string | null
  readonly argv: readonly string[]
  readonly startedAt: string
  /** It is on its way down and listens nowhere. */
  readonly draining?: true
}

/** @throws BAD_CONFIG where it cannot be used */
export function prepareDirectory(paths: Paths): void {
  const { dataDir, libraries } = paths
  try {
    makeDirectory(dataDir)
    chmodSync(dataDir, 0o700)
    mkdirSync(libraries, { recursive: true, mode: 0o700 })
    makeSocketDirectory(paths)
  } catch (error) {
    throw unusable(dataDir, error)
  }
}

export function unusable(dataDir: string, error: unknown): SpacedriveError {
  if (!UNUSABLE.has(errnoOf(error) ?? '')) return fromSystem(error)
  const target = danglingTarget(dataDir)
  const why = target === null ? (error as Error).message : `it is a link to ${target}, which is not there`
  return new SpacedriveError('BAD_CONFIG', `the data directory ${dataDir} cannot be used: ${why}`, {
    hint:
      target === null ? 'Name a directory of your own with --data-dir.' : 'Make that directory, or remove the link.',
  })
}

function danglingTarget(path: string): string | null {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()
  return isLink && !existsSync(path) ? readlinkSync(path) : null
}

/** Root may use anybody's directory. */
export function strangerWarning(dataDir: string): string | null {
  const { uid } = statSync(dataDir)
  if (uid === process.getuid?.()) return null
  return `the data directory belongs to another user (${uid}), who cannot use what this one makes there; start as that user`
}

/** 256 bits in a file that only this user can read. */
export function readOrMakeToken(path: string): string {
  try {
    const token = readFileSync(path, 'utf8').trim()
    if (/^[\x21-\x7e]{16,512}$/.test(token)) return token
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return makeToken(path)
    if (errnoOf(error) !== 'EISDIR') throw fromSystem(error)
  }
  throw new SpacedriveError('BAD_CONFIG', `${path} holds no token`, {
    hint: 'Delete the file; the next start makes a new token.',
  })
}

/** Whole or not at all, also on a full disk; the lock on the data directory keeps others from doing the same. */
function makeToken(path: string): string {
  const token = randomBytes(32).toString('base64url')
  try {
    writeWhole(path, `${token}\n`)
  } catch (error) {
    throw fromSystem(error)
  }
  return token
}

/** Null where none was ever given out; what cannot be parsed comes as text. */
export function readTokens(path: string): unknown {
  try {
    const text = readFileSync(path, 'utf8')
    return text.length === 0 ? null : parsedOr(text)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    throw fromSystem(error)
  }
}

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export function writeTokens(path: string, tokens: readonly unknown[]): void {
  writeWhole(path, `${JSON.stringify(tokens, null, 1)}\n`)
}

/** Step by step: Node's own recursion never ends below /proc. */
export function makeDirectory(path: string): void {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  mkdirSync(path, { mode: 0o700 })
}

export function writeState(path: string, state: DaemonState): void {
  try {
    writeWhole(path, `${JSON.stringify(state)}\n`)
  } catch (error) {
    throw fromSystem(error)
  }
}

/** For whoever finds nobody listening. Worth no wait for the disk, and no failure: it is gone in a moment. */
export function noteDraining(path: string): void {
  try {
    writeWhole(path, `${JSON.stringify({ ...readState(path), draining: true })}\n`, false)
  } catch {
    // Whoever asks is told that it is not there, as before.
  }
}

/** Nothing of it is known where there is none, or none that can be read. */
export function readState(path: string): Partial<DaemonState> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Partial<DaemonState>
  } catch {
    return {}
  }
}
