// The libraries on disk, found without opening one of them.
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { openConnection } from './connection.js'
import { filesOf, FOLDER_ENDING, readLibraryJson } from './folder.js'

export interface Cataloged {
  readonly id: string
  readonly name: string
  readonly path: string
  /** Jobs were waiting or running when it was last closed. */
  readonly unfinished: boolean
  /** Why it cannot be opened as it is. */
  readonly problem?: WireError
}

/** Reads every `library.json`; one that is damaged is listed with its problem, and touched no further. */
export function readCatalog(libraries: string): Cataloged[] {
  mkdirSync(libraries, { recursive: true, mode: 0o700 })
  const found: Cataloged[] = []
  for (const name of readdirSync(libraries).sort()) {
    // What a crash left of a library that was being created; nobody was told of it.
    if (name.startsWith('.new-')) rmSync(join(libraries, name), { recursive: true, force: true })
    else if (name.endsWith(FOLDER_ENDING)) found.push(readFolder(join(libraries, name)))
  }
  return withoutTwins(found)
}

function readFolder(path: string): Cataloged {
  const unfinished = existsSync(filesOf(path).unfinished)
  try {
    const { id, name } = readLibraryJson(path)
    return { id, name, path, unfinished }
  } catch (error) {
    return { ...identityInside(path), path, unfinished: false, problem: toWire(error) }
  }
}

/** The database knows its id and name too, so that a client who asks for a damaged library by id is told the truth. */
function identityInside(path: string): { id: string; name: string } {
  const fallback = basename(path, FOLDER_ENDING)
  try {
    const connection = openConnection(filesOf(path).database)
    try {
      const get = connection.prepare<[string], string>('SELECT value FROM meta WHERE key = ?').pluck()
      return { id: get.get('id') ?? fallback, name: get.get('name') ?? fallback }
    } finally {
      connection.close()
    }
  } catch {
    return { id: fallback, name: fallback }
  }
}

/** Two folders with one id (somebody copied one): the first by name is the library, the others say so. */
function withoutTwins(found: readonly Cataloged[]): Cataloged[] {
  const seen = new Map<string, string>()
  return found.map((each) => {
    const first = seen.get(each.id)
    if (first === undefined) {
      seen.set(each.id, each.path)
      return each
    }
    const problem = toWire(new SpacedriveError('LIBRARY_DAMAGED', `${each.path} has the same id as ${first}`))
    return { ...each, id: `${each.id}@${basename(each.path, FOLDER_ENDING)}`, unfinished: false, problem }
  })
}
