// The folder of a library on disk: its name, its files, and `library.json`, which says what it is.
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { writeSynced, writeWhole } from '../base/whole.js'
import { blankDatabase } from './blank.js'
import { filesOfDatabase, fromSqlite, noFile } from './cause.js'

export const FOLDER_ENDING = '.sdlibrary'
const FORMAT = 1
/** What is longer was not written by us, and is not read into memory. */
const JSON_BYTES_MAX = 64 << 10

export interface LibraryJson {
  readonly format: number
  readonly id: string
  readonly name: string
  readonly createdAt: string
}

/** What is wrong with it, if anything is. By hand: schemas would cost every shard 4 MB. */
function faultIn(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return 'it is no object'
  const { format, id, name, createdAt } = value as Record<string, unknown>
  if (!Number.isSafeInteger(format)) return '"format" is no whole number'
  if (typeof id !== 'string' || id === '' || id.length > 100) return '"id" is no id'
  if (typeof name !== 'string' || name === '') return '"name" is no name'
  return typeof createdAt === 'string' ? null : '"createdAt" is no text'
}

export function filesOf(folder: string) {
  return {
    json: join(folder, 'library.json'),
    database: join(folder, 'library.db'),
    lock: join(folder, 'lock'),
    /** There while jobs wait or run, so that a start finds them without opening every library. */
    unfinished: join(folder, 'jobs.unfinished'),
    /** There while a location is watched, for the same reason. */
    watched: join(folder, 'locations.watched'),
    /** There since the disk failed under the library, until somebody has it opened and checked. */
    failed: join(folder, 'disk.failed'),
  }
}

/** @throws LIBRARY_DAMAGED when it is not there or not what it should be; resource errors as what they are */
export function readLibraryJson(folder: string): LibraryJson {
  const path = filesOf(folder).json
  const damaged = (why: string) => new SpacedriveError('LIBRARY_DAMAGED', `${path} ${why}`)
  let text: string
  try {
    const why = noFile(path)
    if (why) throw damaged(why)
    if (statSync(path).size > JSON_BYTES_MAX) throw damaged('is not a file of a library')
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') throw damaged('is missing')
    throw fromSystem(error)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw damaged('is not JSON')
  }
  const fault = faultIn(value)
  if (fault) throw damaged(`is not a library's: ${fault}`)
  const json = value as LibraryJson
  if (json.format > FORMAT)
    throw new SpacedriveError('LIBRARY_NEWER', `${path} has format ${json.format}, known is ${FORMAT}`)
  return json
}

/**
 * SQLite takes an empty file for a new database, and throws away the -wal beside it: what a library is made of is there
 * from its creation on. Nor is any of its files a pipe, which could hold up the thread, or a link, which leads to another.
 *
 * @throws LIBRARY_DAMAGED
 */
export function requireDatabase(folder: string): void {
  const path = filesOf(folder).database
  const damaged = (file: string, why: string) => new SpacedriveError('LIBRARY_DAMAGED', `${file} ${why}`)
  for (const each of filesOfDatabase(path)) {
    const why = noFile(each)
    if (why) throw damaged(each, why)
  }
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) throw damaged(path, 'is missing')
  if (stat.size === 0) throw damaged(path, 'is empty')
}

/** What is said of a library whose disk failed, until somebody has it opened and checked. */
export function diskFailed(folder: string): SpacedriveError {
  return new SpacedriveError('DISK_FAILED', `the disk failed under ${folder}, and it was not checked since`)
}

/** Whole or not at all: written aside, then renamed. With all that was read, for another version may know more of it. */
export function writeLibraryJson(folder: string, json: Omit<LibraryJson, 'format'>): void {
  const path = filesOf(folder).json
  writeWhole(path, `${JSON.stringify({ ...json, format: FORMAT }, null, 2)}\n`)
}

/**
 * Makes the folder of a new library. It takes its final name when it is complete, so a crash leaves nothing half made.
 * Needs one descriptor.
 */
export function createFolder(libraries: string, id: string, name: string): string {
  const aside = join(libraries, `.new-${id}`)
  try {
    mkdirSync(aside, { mode: 0o700 })
    writeSynced(filesOf(aside).database, blankDatabase(id, name), 0o644)
    writeLibraryJson(aside, { id, name, createdAt: new Date().toISOString() })
    return moveToFree(aside, libraries, name)
  } catch (error) {
    if (!lstatSync(libraries, { throwIfNoEntry: false })) {
      throw new SpacedriveError('READ_ONLY', `${libraries} is not there any more`, {
        cause: error,
        hint: 'The data directory was moved or deleted under the running daemon: put it back, or stop the daemon.',
      })
    }
    const known = fromSqlite(error, filesOf(aside).database)
    sweep(aside)
    throw known
  }
}

/** What nobody was told of. To list it takes a descriptor; where there is none, the next start sweeps. */
function sweep(aside: string): void {
  try {
    rmSync(aside, { recursive: true, force: true })
  } catch {
    // It is in nobody's way.
  }
}

const IN_THE_WAY = new Set(['EEXIST', 'ENOENT', 'ENOTDIR', 'ELOOP'])

/** A directory beside that of the libraries, where their folders or copies of them go. @throws BAD_CONFIG where it can be none */
export function makePlace(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    if (!IN_THE_WAY.has(errnoOf(error) ?? '')) throw fromSystem(error)
    throw new SpacedriveError('BAD_CONFIG', `${directory} is no directory`, {
      cause: error,
      hint: 'Nothing was changed. Move what is there out of the way, and ask again.',
    })
  }
}

/** Another thread may take the free name first; then the next one is tried. */
export function moveToFree(aside: string, libraries: string, name: string): string {
  for (;;) {
    const folder = freeFolder(libraries, name)
    try {
      renameSync(aside, folder)
      return folder
    } catch (error) {
      const errno = errnoOf(error)
      if (errno !== 'ENOTEMPTY' && errno !== 'EEXIST') throw error
    }
  }
}

/** A folder name people recognise: "Photos.sdlibrary", then "Photos 2.sdlibrary". */
function freeFolder(libraries: string, name: string): string {
  const plain = name.replace(/[\x00-\x1f/\\:*?"<>|]/g, '_').replace(/^\.+/, '_')
  let base = plain.normalize('NFC')
  while (Buffer.byteLength(base) > 100) base = base.slice(0, -1)
  if (!base.isWellFormed()) base = base.slice(0, -1)
  for (let number = 1; ; number++) {
    const folder = join(libraries, `${base}${number === 1 ? '' : ` ${number}`}${FOLDER_ENDING}`)
    if (!existsSync(folder)) return folder
  }
}
