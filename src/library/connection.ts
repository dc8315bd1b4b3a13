// One SQLite connection to a library's database: how it is opened, proven and closed, and what its errors mean.
import Database from 'better-sqlite3'
import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { PRICES } from '../descriptors/prices.js'
import { proveRoom } from '../descriptors/reserve.js'

export type Connection = Database.Database

/** Asks SQLite for the file again after it came back read-only: another thread may have held the last descriptor. */
const OPEN_TRIES = 3

/**
 * Opens a connection that can really write. SQLite answers a failed read-write open with a read-only one and says
 * nothing; only a write tells, so each open makes one in a transaction that is rolled back.
 *
 * @param path of a database that exists unless `create`
 * @throws BUDGET_EXHAUSTED, READ_ONLY, DISK_FULL, LIBRARY_LOCKED, LIBRARY_DAMAGED
 */
export function openConnection(path: string, create = false): Connection {
  for (let tries = 1; ; tries++) {
    let connection: Connection | undefined
    try {
      connection = new Database(path, { fileMustExist: !create, timeout: LIMITS.busyMs })
      configure(connection, create)
      proveWritable(connection)
      return connection
    } catch (error) {
      connection?.close()
      const known = fromSqlite(error, path)
      if ((known.code !== 'READ_ONLY' && !isCantOpen(error)) || tries >= OPEN_TRIES) throw known
    }
  }
}

/** SQLite says no more when -wal or -shm met the end of the descriptors; by now there may be one again. */
function isCantOpen(error: unknown): boolean {
  return errnoOf(error)?.startsWith('SQLITE_CANTOPEN') ?? false
}

function configure(connection: Connection, create: boolean): void {
  if (create) connection.pragma('journal_mode = WAL')
  connection.pragma('synchronous = NORMAL')
  connection.pragma('temp_store = MEMORY') // a sorter that spills would open a file nobody leased
  connection.pragma('cache_size = -8000')
  connection.pragma('wal_autocheckpoint = 4000')
}

/** `BEGIN IMMEDIATE` alone succeeds on a read-only demoted connection; this pragma does not. */
function proveWritable(connection: Connection): void {
  const version = Number(connection.pragma('user_version', { simple: true }))
  connection.exec('BEGIN IMMEDIATE')
  try {
    connection.pragma(`user_version = ${version}`)
  } finally {
    connection.exec('ROLLBACK')
  }
}

/** What an error of SQLite means to a caller. A resource error is never reported as damage. */
export function fromSqlite(error: unknown, path: string): SpacedriveError {
  if (error instanceof SpacedriveError) return error
  const code = errnoOf(error) ?? ''
  if (!code.startsWith('SQLITE_')) return fromSystem(error)
  const known = (name: SpacedriveError['code'], message: string) => new SpacedriveError(name, message, { cause: error })
  const said = (error as Error).message
  if (code.startsWith('SQLITE_FULL')) return known('DISK_FULL', `the disk is full: ${path}`)
  // Before READ_ONLY: an open that met EMFILE comes back as one that cannot write.
  const resource = code.startsWith('SQLITE_BUSY') ? null : resourceProblem(path)
  if (resource) return resource
  if (code.startsWith('SQLITE_READONLY')) return known('READ_ONLY', `${path} cannot be written: ${said}`)
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED') || code === 'SQLITE_PROTOCOL') {
    return known('LIBRARY_LOCKED', `another process holds ${path}`)
  }
  if (code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')) {
    return known('LIBRARY_DAMAGED', `${path} is damaged: ${said}`)
  }
  if (code.startsWith('SQLITE_CANTOPEN')) {
    const refused = permissionProblem(dirname(path)) ?? (existsSync(path) ? permissionProblem(path) : null)
    if (refused) return known('READ_ONLY', `${path} cannot be opened: ${refused}`)
    if (!existsSync(path)) return known('LIBRARY_DAMAGED', `${path} is missing`)
  }
  return known('INTERNAL', `${path}: ${said} (${code})`)
}

function permissionProblem(path: string): string | null {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return null
  } catch (error) {
    return ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '') ? (error as Error).message : null
  }
}

/**
 * SQLite reports a lack of descriptors or space as a bare code 14 or 10; a probe tells. It takes as many as an open
 * library: by now SQLite has given back what it had when it met the limit.
 */
function resourceProblem(path: string): SpacedriveError | null {
  try {
    proveRoom(PRICES.library)
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize < 65_536 ? new SpacedriveError('DISK_FULL', `the disk is full: ${path}`) : null
  } catch (error) {
    const known = fromSystem(error)
    return known.code === 'BUDGET_EXHAUSTED' ? known : null
  }
}
