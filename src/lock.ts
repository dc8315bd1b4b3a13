// The lock on a data directory, which one daemon uses at a time.
import { SpacedriveError } from './base/errors.js'
import { again, fromLoading } from './base/shortage.js'
import type { Paths } from './config.js'
import { readState } from './directory.js'
import { holdLock, type Lock } from './library/lock.js'

/**
 * Held as long as the daemon runs. It is the first database that is opened, which loads SQLite's addon.
 *
 * @throws ALREADY_RUNNING, naming who has it
 */
export function takeLock(paths: Paths): Lock {
  const lock = heldLock(paths.lock)
  if (lock) return lock
  const { pid, http, socket } = readState(paths.state)
  const who = pid === undefined ? 'another daemon' : `the daemon with pid ${pid}`
  const where = http ?? socket
  throw new SpacedriveError(
    'ALREADY_RUNNING',
    `${who} uses the data directory ${paths.dataDir}${where ? ` and serves ${where}` : ''}`,
  )
}

function heldLock(path: string): Lock | null {
  try {
    return again(() => holdLock(path))
  } catch (error) {
    throw fromLoading(error)
  }
}
