// What an open library and a further connection to it really cost here: counted around opens of an empty one, at boot.
import Database from 'better-sqlite3'
import { rmSync } from 'node:fs'
import { plausible, PRICES, type Prices } from '../descriptors/prices.js'
import { countOpen } from '../descriptors/rlimit.js'
import { filesOfDatabase } from './cause.js'
import { holdLock } from './lock.js'

/**
 * Leaves nothing behind; where nothing can be opened for it, what is expected stands. To be called while no other thread
 * opens anything.
 *
 * @param path of a file that does not exist, on the disk where the libraries lie
 */
export function measureLibrary(path: string): Pick<Prices, 'library' | 'connection'> {
  const opened: { close(): unknown }[] = []
  const open = () => {
    const connection = new Database(path)
    opened.push(connection)
    return connection
  }
  const lock = `${path}.lock`
  try {
    const before = countOpen()
    const held = holdLock(lock)
    if (held) opened.push({ close: () => held.release() })
    use(open())
    const first = countOpen()
    use(open())
    return {
      library: plausible('library', first - before),
      connection: plausible('connection', countOpen() - first),
    }
  } catch {
    return PRICES
  } finally {
    for (const each of opened.reverse()) each.close()
    for (const file of [lock, ...filesOfDatabase(path)]) rmSync(file, { force: true })
  }
}

/** As a library's connections are used, but nothing of it need reach the disk. */
function use(connection: Database.Database): void {
  connection.pragma('synchronous = OFF')
  connection.pragma('journal_mode = WAL')
  connection.exec('BEGIN IMMEDIATE; PRAGMA user_version = 1; COMMIT; SELECT * FROM sqlite_schema')
}
