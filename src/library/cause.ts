// What an error of SQLite means. Its codes say too little: 14 and 10 stand for a lack of descriptors, of space and of permission, and
// for a file that is none, alike. So everything that can be looked at is looked at before anything is concluded.
import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { errnoOf, fromSystem, hasNoInode, NO_INODE, SpacedriveError, type ErrorCode } from '../base/errors.js'
import { PRICES } from '../descriptors/prices.js'
import { proveRoom } from '../descriptors/reserve.js'

/** With less than this, SQLite cannot make the files it works with: -shm alone takes 32 KiB. */
const FREE_BYTES_MIN = 65_536
const PROBE = Buffer.alloc(4_096)

/** A resource error is never reported as damage, nor a lack that has passed as anything but a lack. */
export function fromSqlite(error: unknown, path: string): SpacedriveError {
  const code = errnoOf(error) ?? ''
  if (error instanceof SpacedriveError || !code.startsWith('SQLITE_')) return fromSystem(error)
  const known = (name: ErrorCode, message: string) => new SpacedriveError(name, message, { cause: error })
  const said = `${(error as Error).message} (${code})`
  if (LOCKED.test(code)) return known('LIBRARY_LOCKED', `another process holds ${path}`)
  const shortage = noDescriptor() ?? (DAMAGED.test(code) ? null : noSpace(path))
  if (shortage) return shortage
  if (DAMAGED.test(code)) return known('LIBRARY_DAMAGED', `${path} is damaged: ${said}`)
  if (code.startsWith('SQLITE_FULL')) return known('DISK_FULL', `the disk is full: ${path}`)
  if (code.startsWith('SQLITE_READONLY')) return notWritable(path, code, said, error)
  if (code.startsWith('SQLITE_CANTOPEN')) return notOpened(path, error)
  if (NO_LOCK.test(code)) return known('LIBRARY_LOCKED', `the file system does not let ${path} be locked: ${said}`)
  if (code.startsWith('SQLITE_IOERR') && code !== 'SQLITE_IOERR_NOMEM') return failed(path, code, said, error)
  return known('INTERNAL', `${path}: ${said}`)
}

/** SQLite says no more when an open met the end of the descriptors, or got the file to read only; by now there may be one again. */
export function mayHavePassed(error: unknown): boolean {
  return /^SQLITE_(CANTOPEN|READONLY)/.test(errnoOf(error) ?? '')
}

/** What a path of ours is where it should be a file, or null where it is one, or nothing. Opening a pipe could wait for ever. */
export function noFile(path: string): string | null {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found || found.isFile()) return null
  if (found.isDirectory()) return 'is a directory'
  if (found.isSymbolicLink()) return 'is a symbolic link'
  return found.isFIFO() ? 'is a pipe' : 'is no regular file'
}

/** Every file SQLite may open for a database. */
export function filesOfDatabase(path: string): string[] {
  return [path, `${path}-wal`, `${path}-shm`, `${path}-journal`]
}

const LOCKED = /^SQLITE_(BUSY|LOCKED|PROTOCOL)/
const DAMAGED = /^SQLITE_(CORRUPT|NOTADB)/
const NO_LOCK = /^SQLITE_IOERR_(LOCK|UNLOCK|RDLOCK|CHECKRESERVEDLOCK|SHMLOCK|BLOCKED)$/
/** After one of these the system may have dropped what was written: that it works the next time proves nothing. */
const UNSAFE = /^SQLITE_IOERR_(FSYNC|DIR_FSYNC)$/

/** As many as an open library: by now SQLite has given back what it had when it met the limit. */
function noDescriptor(): SpacedriveError | null {
  try {
    proveRoom(PRICES.library)
    return null
  } catch (error) {
    return fromSystem(error)
  }
}

function noSpace(path: string): SpacedriveError | null {
  try {
    if (hasNoInode(dirname(path))) return new SpacedriveError(NO_INODE.code, `${NO_INODE.words}: ${path}`, NO_INODE)
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize < FREE_BYTES_MIN ? new SpacedriveError('DISK_FULL', `the disk is full: ${path}`) : null
  } catch {
    return null // Not even that can be asked: what the error itself says has to do.
  }
}

/** Read-only or not permitted: SQLite says the same of both. */
function forbidden(path: string): SpacedriveError | null {
  for (const each of [dirname(path), ...filesOfDatabase(path)]) {
    try {
      accessSync(each, constants.R_OK | constants.W_OK)
    } catch (error) {
      const known = fromSystem(error)
      if (known.code === 'READ_ONLY') return known
    }
  }
  return null
}

/** Where nothing forbids it, SQLite was refused the file for writing once, and took it to read only (L5). */
function notWritable(path: string, code: string, said: string, error: unknown): SpacedriveError {
  const refused = forbidden(path)
  if (refused) return refused
  if (code !== 'SQLITE_READONLY')
    return new SpacedriveError('READ_ONLY', `${path} cannot be written: ${said}`, { cause: error })
  const message = `${path} was opened to read only, though nothing forbids to write it: descriptors ran out for a moment`
  return new SpacedriveError('BUDGET_EXHAUSTED', message, { cause: error, class: 'process' })
}

function notOpened(path: string, error: unknown): SpacedriveError {
  for (const each of filesOfDatabase(path)) {
    const why = noFile(each)
    if (why) return new SpacedriveError('LIBRARY_DAMAGED', `${each} ${why}`, { cause: error })
  }
  const refused = forbidden(path)
  if (refused) return refused
  if (!lstatSync(path, { throwIfNoEntry: false }))
    return new SpacedriveError('LIBRARY_DAMAGED', `${path} is missing`, { cause: error })
  const message = `${path} could not be opened, though nothing stands in its way now: descriptors ran out for a moment`
  return new SpacedriveError('BUDGET_EXHAUSTED', message, { cause: error, class: 'process' })
}

/** What failed may have failed for lack of space; a small file tells, because SQLite does not. */
function failed(path: string, code: string, said: string, error: unknown): SpacedriveError {
  const cause = UNSAFE.test(code) ? null : (forbidden(path) ?? notWritten(dirname(path)))
  if (cause && cause.code !== 'INTERNAL') return cause
  if (code === 'SQLITE_IOERR_SHMSIZE')
    return new SpacedriveError('DISK_FULL', `there was no space for ${path}-shm for a moment`, { cause: error })
  return new SpacedriveError('DISK_FAILED', `the disk of ${path} reported an error: ${said}`, { cause: error })
}

function notWritten(folder: string): SpacedriveError | null {
  const path = join(folder, `.probe-${process.pid}-${threadId}`)
  try {
    const file = openSync(path, 'w', 0o600)
    try {
      writeSync(file, PROBE)
      fsyncSync(file)
    } finally {
      closeSync(file)
      rmSync(path, { force: true })
    }
    return null
  } catch (error) {
    return fromSystem(error)
  }
}
