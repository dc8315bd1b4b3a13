// The copy of a library that is made while it is used: a folder like its own, written aside and named when it is whole.
import { existsSync, lstatSync, mkdirSync, realpathSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { fromSqlite } from './cause.js'
import { openConnection, type Connection } from './connection.js'
import { filesOf, FOLDER_ENDING, makePlace, readLibraryJson, writeLibraryJson } from './folder.js'

/** Pages of 4 KiB copied between two turns: some milliseconds. */
const PAGES_A_STEP = 500

export interface BackupOptions {
  /** That makes the copy: in it, it is done, or whoever restores it would make another. */
  readonly job: string
  readonly signal: AbortSignal
  /** Of the database's bytes. */
  readonly progressed: (done: number, total: number) => void
}

/**
 * Where a backup may go: nowhere yet, in a directory that is there and belongs to no library. Of the data directory only where
 * backups are kept: elsewhere a folder may have the name of something that the daemon is to write or read.
 *
 * @param own the data directory, and what in it is for backups
 * @throws PATH_REFUSED
 */
export function backupPlace(to: string, own: { readonly data: string; readonly backups: string }): string {
  const refuse = (why: string, hint: string): never => {
    throw new SpacedriveError('PATH_REFUSED', `no backup can be written to ${to}: ${why}`, { hint })
  }
  if (!isAbsolute(to) || to.includes('\0')) refuse('it is not an absolute path', 'Name an absolute path.')
  const path = normalize(to).replace(/(?<=.)\/+$/, '')
  const above = realDirectory(dirname(path))
  if (above === null) return refuse('its directory is not there', 'Make the directory first, or name another.')
  if (isTaken(path))
    refuse('something is there already', 'Name a path that does not exist: nothing is ever written over.')
  const outside = 'Name a path outside the data directory and outside of any library.'
  if (above.split(sep).some((each) => each.endsWith(FOLDER_ENDING))) refuse('it lies in a library', outside)
  if (isIn(above, own.data) && !isIn(above, own.backups)) refuse('it lies in the data directory', outside)
  return join(above, basename(path))
}

/** @param path as the system has it; the other one need not be there */
function isIn(path: string, directory: string): boolean {
  const real = realDirectory(directory)
  return real !== null && `${path}${sep}`.startsWith(real === sep ? sep : `${real}${sep}`)
}

function realDirectory(path: string): string | null {
  try {
    const real = realpathSync(path)
    return statSync(real).isDirectory() ? real : null
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') return null
    throw fromSystem(error)
  }
}

/** A backup in DATA_DIR/backups that nobody gave a name. */
export function usualPlace(backups: string, folder: string, now = new Date()): string {
  makePlace(backups)
  const at = now.toISOString().slice(0, 19).replace('T', ' ').replaceAll(':', '')
  const base = join(backups, `${basename(folder, FOLDER_ENDING)} ${at}`)
  for (let number = 1; ; number++) {
    const path = `${base}${number === 1 ? '' : ` (${number})`}${FOLDER_ENDING}`
    if (!isTaken(path)) return path
  }
}

function isTaken(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/**
 * Copies the database page by page, with room for others between two steps; what is written meanwhile is in the copy as well.
 * Without an end nothing stays. Needs the descriptors of a library.
 *
 * @throws PATH_REFUSED also where the disk of the copy is full: to try again would fill it again
 */
export async function writeBackup(
  connection: Connection,
  folder: string,
  to: string,
  { job, signal, progressed }: BackupOptions,
): Promise<void> {
  const aside = `${to}.new`
  try {
    // Of a run that was interrupted, by a crash perhaps: the name is ours, as `to` is.
    rmSync(aside, { recursive: true, force: true })
    if (isTaken(to)) throw new SpacedriveError('PATH_REFUSED', `${to} is there by now`)
    requireRoom(connection, dirname(to))
    mkdirSync(aside, { mode: 0o700 })
    await copyPages(connection, filesOf(aside).database, signal, progressed)
    endJob(filesOf(aside).database, job)
    writeLibraryJson(aside, readLibraryJson(folder))
    renameSync(aside, to)
  } catch (error) {
    const known = fromSqlite(error, filesOf(aside).database)
    rmSync(aside, { recursive: true, force: true })
    if (signal.aborted) return
    throw known.code === 'DISK_FULL' ? noRoom(to, known) : known
  }
}

async function copyPages(
  connection: Connection,
  path: string,
  signal: AbortSignal,
  progressed: BackupOptions['progressed'],
): Promise<void> {
  const pageBytes = Number(connection.pragma('page_size', { simple: true }))
  const { totalPages } = await connection.backup(path, {
    progress: ({ totalPages, remainingPages }) => {
      signal.throwIfAborted()
      progressed((totalPages - remainingPages) * pageBytes, totalPages * pageBytes)
      return PAGES_A_STEP
    },
  })
  progressed(totalPages * pageBytes, totalPages * pageBytes)
}

function endJob(database: string, job: string): void {
  const copy = openConnection(database)
  try {
    const end = copy.prepare(`UPDATE job SET state = 'done', finished_at = ?, total = done, fraction = 1 WHERE id = ?`)
    end.run(Date.now(), job)
  } finally {
    copy.close()
  }
}

/** Told before a byte is written. */
function requireRoom(connection: Connection, directory: string): void {
  const bytes = databaseBytes(connection)
  const { bavail, bsize } = statfsSync(directory)
  if (bavail * bsize < bytes) throw noRoom(directory)
}

export function databaseBytes(connection: Connection): number {
  const [pages, bytes] = ['page_count', 'page_size'].map((each) => Number(connection.pragma(each, { simple: true })))
  return pages! * bytes!
}

function noRoom(path: string, cause?: Error): SpacedriveError {
  return new SpacedriveError('PATH_REFUSED', `there is no room for the backup: the disk of ${path} is full`, {
    hint: 'Free some space there, or name a path on another disk. Nothing of it was left.',
    ...(cause ? { cause } : {}),
  })
}

/** Whether a job that goes on after a crash had come to its end. */
export function isWritten(to: string, folder: string): boolean {
  return existsSync(filesOf(to).json) && readLibraryJson(to).id === readLibraryJson(folder).id
}
