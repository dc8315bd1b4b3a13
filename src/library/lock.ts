// Locks that are held, not dated: the kernel drops them when their holder dies, however it dies.
import Database from 'better-sqlite3'
import { errnoOf } from '../base/errors.js'
import { fromSqlite } from './connection.js'

export interface Lock {
  release(): void
}

/**
 * Holds `path` until released or until this process ends; one descriptor. Plain Node has no flock, SQLite has: an
 * exclusive transaction on an empty database is a lock that also excludes other threads of this process.
 *
 * @returns null when another process or thread holds it
 */
export function holdLock(path: string): Lock | null {
  let database: Database.Database | undefined
  try {
    database = new Database(path, { timeout: 0 })
    database.pragma('journal_mode = MEMORY') // no journal file: one descriptor in all
    database.pragma('locking_mode = EXCLUSIVE')
    database.exec('BEGIN EXCLUSIVE')
    // A connection that SQLite demoted to read-only, as it does when an open met EMFILE, begins too and locks nothing.
    // This write, never committed, fails on one.
    database.pragma('user_version = 1')
    const held = database
    return { release: () => held.close() }
  } catch (error) {
    database?.close()
    if (errnoOf(error)?.startsWith('SQLITE_BUSY')) return null
    throw fromSqlite(error, path)
  }
}
