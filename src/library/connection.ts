// One SQLite connection: how it is opened, and proven to be what was asked for.
import Database from 'better-sqlite3'
import { LIMITS } from '../base/limits.js'
import { fromSqlite, mayHavePassed } from './cause.js'

export type Connection = Database.Database

/** Some indexes are there from the end of a library's first scan on. */
export const IS_INDEXED = 'SELECT 1 FROM sqlite_schema WHERE name = ?'

/** Asks SQLite for the file again after it came back read-only: another thread may have held the last descriptor. */
const OPEN_TRIES = 3

/** Each thread loads SQLite with its first database; later there may be no descriptor for it, and Node would call it missing. */
export function loadSqlite(): void {
  new Database(':memory:').close()
}

/**
 * Opens a library's database so that it can really be written, see `openProven`.
 *
 * @param path of a database that exists
 * @throws BUDGET_EXHAUSTED, READ_ONLY, DISK_FULL, DISK_FAILED, LIBRARY_LOCKED, LIBRARY_DAMAGED
 */
export function openConnection(path: string): Connection {
  return openProven(path, { fileMustExist: true, timeout: LIMITS.busyMs }, (connection) => {
    configure(connection)
    proveWritable(connection)
  })
}

/** One that only reads, for a database that another connection of this process has open to write. */
export function openReadOnly(path: string): Connection {
  return openProven(path, { fileMustExist: true, readonly: true, timeout: LIMITS.busyMs }, (connection) => {
    keepInMemory(connection)
    connection.pragma('user_version')
  })
}

/**
 * The only way to a connection. SQLite answers a failed read-write open with a read-only one and says nothing; only a write
 * tells. `prove` makes one that leaves nothing behind, and what fails it is closed and opened again.
 */
export function openProven(
  path: string,
  options: Database.Options,
  prove: (connection: Connection) => void,
): Connection {
  for (let tries = 1; ; tries++) {
    let connection: Connection | undefined
    try {
      connection = new Database(path, options)
      prove(connection)
      return connection
    } catch (error) {
      connection?.close()
      if (!mayHavePassed(error) || tries >= OPEN_TRIES) throw fromSqlite(error, path)
    }
  }
}

/** Reads leave nothing to commit: what they met, damage or a disk that fails, was told to whoever asked, and ends no thread. */
export function endSnapshot(connection: Connection, commit: () => unknown): void {
  try {
    commit()
  } catch {
    if (connection.inTransaction) connection.exec('ROLLBACK')
  }
}

function configure(connection: Connection): void {
  connection.pragma('synchronous = NORMAL')
  keepInMemory(connection)
  connection.pragma('wal_autocheckpoint = 0') // its errors are not told: see Library.commit
}

/** Whatever is sorted, too: a sorter that spills would open a file nobody leased. */
export function keepInMemory(connection: Connection): void {
  connection.pragma('temp_store = MEMORY')
  connection.pragma('cache_size = -8000')
}

/** Of the pages that it keeps, those that nothing needs just now. */
export function shrinkMemory(connection: Connection): void {
  try {
    connection.pragma('shrink_memory')
  } catch {
    // A query of it is under way, which keeps what it needs: the next time.
  }
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
