// A sort of more than memory should hold: SQLite puts it into files, for which descriptors are bought before.
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import { keepInMemory, type Connection } from './connection.js'

/** SQLite's variable for the directory of such files, which have no name as soon as they are open. */
const DIRECTORY = 'SQLITE_TMPDIR'
/** The sorted parts, and what some of them were merged into where there are more than sixteen. */
const DESCRIPTORS = 2

/** To be called before this process opens its first database: SQLite reads it once, for all threads. */
export function sortIn(directory: string): void {
  process.env[DIRECTORY] ??= directory
}

/**
 * Does `work`, one statement that sorts, with little memory: a million rows took 46 MB and a third more time in memory. There it is
 * done where descriptors or room on the disk are missing, and within a transaction, where SQLite does not change its ways.
 */
export function sortOnDisk(connection: Connection, ledger: Ledger, work: () => void): void {
  const path = process.env[DIRECTORY]
  const holder = { holder: 'sorting', ...(path === undefined ? {} : { path }) }
  const lease = connection.inTransaction ? null : ledger.tryAcquire('libraries', DESCRIPTORS, holder, true)
  if (lease) {
    try {
      connection.pragma('temp_store = FILE')
      connection.pragma(`cache_size = -${LIMITS.sortKibMax}`)
      return work()
    } catch {
      // What is wrong with more than such a file shows below.
    } finally {
      keepInMemory(connection)
      lease.release()
    }
  }
  work()
}
