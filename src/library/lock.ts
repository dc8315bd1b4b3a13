// Locks that are held, not dated: the kernel drops them when their holder dies, however it dies.
import { errnoOf, SpacedriveError } from '../base/errors.js'
import { markLive } from '../scan/guard.js'
import { noFile } from './cause.js'
import { openProven, type Connection } from './connection.js'

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
  const why = noFile(path)
  if (why)
    throw new SpacedriveError('READ_ONLY', `${path} ${why} and cannot be locked`, {
      hint: 'Move it away: a new lock file is made in its place.',
    })
  const live = markLive([path])
  try {
    const held = openProven(path, { timeout: 0 }, lock)
    live.add([path])
    return {
      release: () => {
        held.close()
        live.release()
      },
    }
  } catch (error) {
    live.release()
    const cause = (error as Error).cause ?? error
    if (errnoOf(cause)?.startsWith('SQLITE_BUSY')) return null
    throw error
  }
}

function lock(connection: Connection): void {
  connection.pragma('journal_mode = MEMORY') // no journal file: one descriptor in all
  connection.pragma('locking_mode = EXCLUSIVE')
  connection.exec('BEGIN EXCLUSIVE')
  // A connection that SQLite demoted to read-only, as it does when an open met EMFILE, begins too and locks nothing.
  // This write, never committed, fails on one.
  connection.pragma('user_version = 1')
}
