// The libraries on disk, found without opening one of them.
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fromSystem, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { noFile } from './cause.js'
import { openConnection } from './connection.js'
import { diskFailed, filesOf, FOLDER_ENDING, readLibraryJson, requireDatabase } from './folder.js'
import { holdLock } from './lock.js'
import { requireKnown } from './schema.js'

/** The format of SQLite's files, 1.3: how they begin, and where `user_version` stands. */
const MAGIC = 'SQLite format 3\0'
const VERSION_AT = 60

export interface Cataloged {
  readonly id: string
  readonly name: string
  readonly path: string
  /** Jobs were waiting or running when it was last closed, or locations of it are watched. */
  readonly unfinished: boolean
  /** Why it cannot be opened as it is. */
  readonly problem?: WireError
}

/**
 * Reads every `library.json`; one that is damaged is listed with its problem, and touched no further.
 *
 * @throws BUDGET_EXHAUSTED when descriptors do not come back: a library that could not be looked at is not called damaged
 */
export function readCatalog(libraries: string): Cataloged[] {
  mkdirSync(libraries, { recursive: true, mode: 0o700 })
  const found: Cataloged[] = []
  for (const name of readdirSync(libraries).sort()) {
    // What a crash left of a library that was being created; nobody was told of it.
    if (name.startsWith('.new-')) rmSync(join(libraries, name), { recursive: true, force: true })
    else if (name.endsWith(FOLDER_ENDING)) found.push(patiently(() => readFolder(join(libraries, name))))
  }
  return withoutTwins(found)
}

/** A lack of descriptors passes, or it is the start that fails; nothing is kept of it. */
function patiently<T>(look: () => T): T {
  const end = performance.now() + LIMITS.libraryLeaseWaitMs
  for (;;) {
    try {
      return look()
    } catch (error) {
      if (!isShortage(error) || performance.now() > end) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LIMITS.libraryRoomAgainMs)
    }
  }
}

function isShortage(error: unknown): boolean {
  return toWire(error).code === 'BUDGET_EXHAUSTED'
}

function readFolder(path: string): Cataloged {
  const { unfinished, watched, failed } = filesOf(path)
  try {
    const { id, name } = readLibraryJson(path)
    const problem = existsSync(failed) ? diskFailed(path) : newerThanThis(path, name)
    if (problem) return { id, name, path, unfinished: false, problem: toWire(problem) }
    return { id, name, path, unfinished: existsSync(unfinished) || existsSync(watched) }
  } catch (error) {
    if (isShortage(error)) throw error
    return { ...identityInside(path), path, unfinished: false, problem: toWire(error) }
  }
}

function newerThanThis(path: string, name: string): SpacedriveError | null {
  try {
    requireKnown(name, versionIn(filesOf(path).database))
    return null
  } catch (error) {
    if (isShortage(error)) throw error
    const known = fromSystem(error)
    // Whatever else is wrong with the file is told by who opens it.
    return known.code === 'LIBRARY_NEWER' ? known : null
  }
}

/**
 * Of the schema, by the header of the file, for SQLite takes long to open one: what lies in a -wal only is not seen. At the start no
 * library is open, so that no lock is lost with the close.
 */
function versionIn(database: string): number {
  if (noFile(database) !== null) return 0
  const file = openSync(database, 'r')
  try {
    const header = Buffer.alloc(VERSION_AT + 4)
    const isWhole = readSync(file, header, 0, header.length, 0) === header.length
    return isWhole && header.toString('latin1', 0, MAGIC.length) === MAGIC ? header.readInt32BE(VERSION_AT) : 0
  } finally {
    closeSync(file)
  }
}

/** The database knows its id and name too, so that a client who asks for a damaged library by id is told the truth. */
function identityInside(path: string): { id: string; name: string } {
  const fallback = { id: basename(path, FOLDER_ENDING), name: basename(path, FOLDER_ENDING) }
  try {
    requireDatabase(path)
    // Another process may use it: then it is not for us to open.
    const lock = holdLock(filesOf(path).lock)
    if (!lock) return fallback
    try {
      return readIdentity(path, fallback)
    } finally {
      lock.release()
    }
  } catch (error) {
    if (isShortage(error)) throw error
    return fallback
  }
}

function readIdentity(path: string, fallback: { id: string; name: string }): { id: string; name: string } {
  const connection = openConnection(filesOf(path).database)
  try {
    const get = connection.prepare<[string], string>('SELECT value FROM meta WHERE key = ?').pluck()
    return { id: get.get('id') ?? fallback.id, name: get.get('name') ?? fallback.name }
  } finally {
    connection.close()
  }
}

/** Two folders with one id (somebody copied one): the first by name is the library, the others say so. */
function withoutTwins(found: readonly Cataloged[]): Cataloged[] {
  const seen = new Map<string, string>()
  return found.map((each) => {
    const first = seen.get(each.id)
    if (first === undefined) {
      seen.set(each.id, each.path)
      return each
    }
    const problem = toWire(new SpacedriveError('LIBRARY_DAMAGED', `${each.path} has the same id as ${first}`))
    return { ...each, id: `${each.id}@${basename(each.path, FOLDER_ENDING)}`, unfinished: false, problem }
  })
}
