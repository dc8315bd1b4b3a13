// Which library, location or path a person means.
import { existsSync, realpathSync } from 'node:fs'
import { resolve, sep } from 'node:path'
import { SpacedriveError } from '../base/errors.js'
import type { LibraryItem, LocationItem } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import { UsageError } from './failure.js'
import { safe } from './text.js'

export const USUAL_LIBRARY = 'My Library'
const CHOICES_SHOWN_MAX = 8

/** Anything operations can be asked of: the daemon over its socket, or the one in this process. */
export interface Asked {
  call<Result>(operation: OperationName, params?: object): Promise<Result>
}

/** The library given by name or id; without one the only library, or the usual one. */
export async function chooseLibrary(asked: Asked, given?: string): Promise<LibraryItem> {
  const libraries = await listLibraries(asked)
  return given === undefined ? usual(libraries) : named(libraries, given)
}

export async function listLibraries(asked: Asked): Promise<LibraryItem[]> {
  return listOf(await asked.call<Listed<LibraryItem>>('libraries.list'))
}

export async function listLocations(asked: Asked, library: string): Promise<LocationItem[]> {
  return listOf(await asked.call<Listed<LocationItem>>('locations.list', { library }))
}

export type Listed<Item> = readonly Item[] | { readonly items: readonly Item[] }

export function listOf<Item>(listed: Listed<Item>): Item[] {
  return [...('items' in listed ? listed.items : listed)]
}

function named(libraries: readonly LibraryItem[], given: string): LibraryItem {
  const folded = given.toLowerCase()
  const byName = libraries.filter(({ name }) => name === given)
  const byId = libraries.filter(({ id }) => id === given)
  const byFoldedName = libraries.filter(({ name }) => name.toLowerCase() === folded)
  const found = [byName, byId, byFoldedName].find(({ length }) => length > 0) ?? []
  if (found.length === 1) return found[0]!
  if (found.length === 0)
    throw new SpacedriveError('LIBRARY_NOT_FOUND', `no library is called ${JSON.stringify(given)}`)
  throw new UsageError(
    `${found.length} libraries are called ${JSON.stringify(given)}`,
    `Use an id: ${some(found.map(({ id }) => id))}`,
  )
}

function usual(libraries: readonly LibraryItem[]): LibraryItem {
  const found = libraries.length === 1 ? libraries[0] : libraries.find(({ name }) => name === USUAL_LIBRARY)
  if (found) return found
  if (libraries.length > 0) {
    const names = some(libraries.map(({ name }) => JSON.stringify(name)))
    throw new UsageError(`there are ${libraries.length} libraries; say which with --library`, `One of ${names}`)
  }
  throw new SpacedriveError('LIBRARY_NOT_FOUND', 'there is no library yet', {
    hint: 'Make one with `spacedrive library create NAME`.',
  })
}

function some(names: readonly string[]): string {
  const more = names.length - CHOICES_SHOWN_MAX
  return safe(names.slice(0, CHOICES_SHOWN_MAX).join(', ')) + (more > 0 ? ` and ${more} more` : '')
}

/** The location with this id, at this path or of this name. */
export async function chooseLocation(asked: Asked, library: string, given: string): Promise<LocationItem> {
  const locations = await listLocations(asked, library)
  const path = absolute(given)
  const found =
    locations.find(({ id }) => id === given) ??
    locations.find((location) => location.path === path) ??
    only(locations.filter(({ name }) => name === given))
  if (found) return found
  throw new SpacedriveError('LOCATION_NOT_FOUND', `no location is ${JSON.stringify(given)}`)
}

function only<Item>(found: readonly Item[]): Item | undefined {
  return found.length === 1 ? found[0] : undefined
}

/** An empty one, as of a variable that is not set, is not meant for the current directory. */
export function absolute(path: string): string {
  if (path === '') throw new UsageError('a path is empty', 'Write `.` for the current directory.')
  // What is no UTF-8 reaches Node as this character; a name may have it as well.
  if (path.includes('\ufffd') && !existsSync(path))
    throw new UsageError('a name that is not UTF-8 cannot be given here', NOT_UTF8)
  return resolve(path)
}

const NOT_UTF8 = '`spacedrive ls --json DIRECTORY` tells its id and its bytes; over RPC the id is enough.'

/** The spellings under which a path may be known: as typed, and with its links resolved where it exists. */
export function spellings(path: string): string[] {
  const typed = absolute(path)
  try {
    return [...new Set([typed, realpathSync(typed)])]
  } catch {
    // It need not exist: the index also knows what has since gone away.
    return [typed]
  }
}

/** The location that covers a path, the nearest where they nest, and the spelling it covers. */
export function covering(
  locations: readonly LocationItem[],
  path: string,
): { location: LocationItem; path: string } | undefined {
  for (const spelling of spellings(path)) {
    const around = locations.filter((location) => covers(location.path, spelling))
    const [nearest] = around.toSorted((a, b) => b.path.length - a.path.length)
    if (nearest) return { location: nearest, path: spelling }
  }
  return undefined
}

export function covers(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep)
}
