// A new library made of a backup: the database is copied, and what has to be one of a kind in a daemon gets other ids in it.
import { constants, closeSync, fdatasync, openSync, read, rm, mkdirSync, statfsSync, statSync, write } from 'node:fs'
import { basename, dirname, isAbsolute, join, normalize } from 'node:path'
import { promisify } from 'node:util'
import { uuidv7 } from 'uuidv7'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { openGuarded } from '../scan/guard.js'
import { fromSqlite } from './cause.js'
import { openConnection } from './connection.js'
import { filesOf, FOLDER_ENDING, moveToFree, readLibraryJson, requireDatabase, writeLibraryJson } from './folder.js'
import { SCHEMA_VERSION, versionOf } from './schema.js'

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
const [readSome, writeSome, sync, remove] = [promisify(read), promisify(write), promisify(fdatasync), promisify(rm)]
const COPIED_BYTES = 1 << 20

export interface Restoring {
  readonly id: string
  readonly name: string
  /** Absolute: the folder of a backup, or the database in it. */
  readonly from: string
  /** That nobody waits for it any more. */
  readonly signal: AbortSignal
  /** Bytes of the database. */
  readonly progressed: (done: number, total: number) => void
}

/**
 * The folder of the new library; nothing stays where it cannot be made, or is not wanted any more. Needs the descriptors of a library.
 *
 * @throws PATH_REFUSED for what is no backup; LIBRARY_DAMAGED, LIBRARY_NEWER, DISK_FULL; CANCELLED
 */
export async function restoreFolder(
  libraries: string,
  { id, name, from, signal, progressed }: Restoring,
): Promise<string> {
  const folder = folderOf(from)
  const aside = asideOf(libraries, id)
  try {
    const json = readLibraryJson(folder)
    requireDatabase(folder)
    requireClosed(folder)
    mkdirSync(aside, { mode: 0o700 })
    await copy(filesOf(folder).database, filesOf(aside).database, signal, progressed)
    makeOwn(filesOf(aside).database, id, name)
    writeLibraryJson(aside, { ...json, id, name })
    return moveToFree(aside, libraries, name)
  } catch (error) {
    const known = fromSqlite(error, filesOf(aside).database)
    await removeAside(libraries, id)
    throw known
  }
}

/** What was to become a library and did not. Needs a descriptor. */
export async function removeAside(libraries: string, id: string): Promise<void> {
  await remove(asideOf(libraries, id), { recursive: true, force: true })
}

function asideOf(libraries: string, id: string): string {
  return join(libraries, `.new-${id}`)
}

function folderOf(from: string): string {
  const refuse = (why: string) => {
    throw new SpacedriveError('PATH_REFUSED', `${from} ${why}`, {
      hint: `Name the folder that \`spacedrive library backup\` made; it ends in ${FOLDER_ENDING}.`,
    })
  }
  if (!isAbsolute(from) || from.includes('\0')) return refuse('is not an absolute path')
  const path = normalize(from).replace(/(?<=.)\/+$/, '')
  const folder = basename(path) === basename(filesOf('').database) ? dirname(path) : path
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return refuse('is no folder of a library')
  // With one of the two it is a library that lacks the other, which is told by name.
  const { json, database } = filesOf(folder)
  if (![json, database].some((file) => statSync(file, { throwIfNoEntry: false })))
    return refuse('is no folder of a library')
  return folder
}

/** What a library in use has not written into its database yet would be missing. */
function requireClosed(folder: string): void {
  const wal = statSync(`${filesOf(folder).database}-wal`, { throwIfNoEntry: false })
  if (wal && wal.size > 0)
    throw new SpacedriveError('PATH_REFUSED', `${folder} is a library that is in use, or was not closed`, {
      hint: 'Make a backup of it by `spacedrive library backup`, and name that.',
    })
}

/** By other threads than this one, which goes on meanwhile. */
async function copy(from: string, to: string, signal: AbortSignal, progressed: Restoring['progressed']): Promise<void> {
  using source = openGuarded(from)
  const total = Number(source.stat.size)
  requireRoom(dirname(to), total)
  const target = openSync(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644)
  try {
    const bytes = Buffer.allocUnsafe(Math.min(COPIED_BYTES, total))
    for (let done = 0, unsynced = 0; ;) {
      progressed(Math.min(done, total), total)
      requireWanted(signal)
      const { bytesRead } = await readSome(source.fd, bytes, 0, bytes.length, null)
      if (bytesRead === 0) break
      for (let at = 0; at < bytesRead;) at += (await writeSome(target, bytes, at, bytesRead - at, null)).bytesWritten
      done += bytesRead
      unsynced += bytesRead
      if (unsynced < LIMITS.copyUnsyncedBytesMax) continue
      await sync(target)
      unsynced = 0
    }
    await sync(target)
    requireWanted(signal)
  } finally {
    closeSync(target)
  }
}

function requireWanted(signal: AbortSignal): void {
  if (signal.aborted) throw new SpacedriveError('CANCELLED', 'nobody waits for the library any more')
}

/** Told before a byte is written. */
function requireRoom(directory: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(directory)
  if (bavail * bsize < bytes)
    throw new SpacedriveError('DISK_FULL', `there is no room in ${directory} for the ${bytes} bytes of the backup`)
}

/** The library it is a copy of may be here as well: locations and jobs are told apart by their ids alone. */
function makeOwn(database: string, id: string, name: string): void {
  const connection = openConnection(database)
  try {
    const version = versionOf(connection)
    if (version > SCHEMA_VERSION)
      throw new SpacedriveError('LIBRARY_NEWER', `the backup has schema version ${version}, known is ${SCHEMA_VERSION}`)
    const all = (sql: string) => connection.prepare<[], string>(sql).pluck().all()
    connection.transaction(() => {
      const set = connection.prepare('UPDATE meta SET value = ? WHERE key = ?')
      if (set.run(id, 'id').changes !== 1)
        throw new SpacedriveError('LIBRARY_DAMAGED', 'the backup does not say which library it is of')
      set.run(name, 'name')
      for (const uid of all('SELECT uid FROM location')) {
        const other = uuidv7()
        connection.prepare('UPDATE location SET uid = ? WHERE uid = ?').run(other, uid)
        connection.prepare('UPDATE job SET location = ? WHERE location = ?').run(other, uid)
      }
      // Where it would have gone there may be something by now.
      connection.prepare(`DELETE FROM job WHERE kind = 'backup' AND state NOT IN ('done', 'failed', 'cancelled')`).run()
      for (const job of all('SELECT id FROM job'))
        connection.prepare('UPDATE job SET id = ? WHERE id = ?').run(uuidv7(), job)
    })()
  } finally {
    connection.close()
  }
}
