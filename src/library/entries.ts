// Reads entries: one by id or path, the children of a directory in pages, and what a client sees of each.
import { SpacedriveError } from '../base/errors.js'
import { ENTRY_KINDS } from '../protocol/operations.js'
import type { FileItem } from '../protocol/messages.js'
import { guessType, refineType } from '../scan/content-type.js'
import { encodeName, isPrintable, joined, printable, relativeTo } from '../scan/names.js'
import { KIND } from '../scan/read.js'
import type { Connection } from './connection.js'
import { readPlace, writePlace } from './cursors.js'
import { dateOf } from './dates.js'
import { fold } from './fold.js'
import type { Folders } from './folders.js'
import type { Identities } from './identities.js'
import type { Location, Locations } from './locations.js'
import { DISPLACED, type Names } from './names.js'

export interface Entry {
  readonly id: number
  readonly parent: number
  readonly location: number
  readonly kind: number
  readonly size: number
  /** Microseconds since 1970. */
  readonly mtime: number
  /** A string where it is past 2^53. */
  readonly inode: number | string
  readonly name: number
}

/** A row of `ENTRY_COLUMNS`: better-sqlite3 makes an array of it in two thirds of the time of an object. */
export type EntryRow = [number, number, number, number, number, number, number | string, number]

export function toEntry([id, parent, location, kind, size, mtime, inode, name]: EntryRow): Entry {
  return { id, parent, location, kind, size, mtime, inode, name }
}

export type Sort = 'name' | 'size' | 'modified'

interface Child {
  readonly id: number
  readonly key: string | number
  readonly name: string
}

/** Paths of directories remembered, to spare the walk up to the root. */
const PATHS_KEPT = 10_000
/** Sorted directories kept for their next page. */
const LISTINGS_KEPT = 4

const INODE = `CASE WHEN entry.inode BETWEEN 0 AND 9007199254740991 THEN entry.inode ELSE printf('%d', entry.inode) END`
export const ENTRY_COLUMNS = `entry.id, entry.parent, entry.location, entry.kind, entry.size, entry.mtime, ${INODE} AS inode, entry.name`

export class Entries {
  readonly #library: string
  readonly #locations: Locations
  readonly #names: Names
  readonly #folders: Folders
  readonly #identities: Identities
  readonly #byId
  readonly #child
  readonly #children
  readonly #paths = new Map<number, string>()
  readonly #listings = new Map<string, { version: number; children: Child[] }>()

  constructor(
    library: string,
    connection: Connection,
    locations: Locations,
    names: Names,
    folders: Folders,
    identities: Identities,
  ) {
    this.#library = library
    this.#locations = locations
    this.#names = names
    this.#folders = folders
    this.#identities = identities
    this.#byId = connection.prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE entry.id = ?`).raw()
    this.#child = connection
      .prepare<[number, number], number>('SELECT id FROM entry WHERE parent = ? AND name = ?')
      .pluck()
    // Without those whose place another has by now.
    this.#children = connection
      .prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE entry.parent = ? AND entry.name >= 0`)
      .raw()
  }

  /** By an id as clients have it, or by a path. @throws FILE_NOT_FOUND */
  get({ id, path }: { id?: string | undefined; path?: string | undefined }): { entry: Entry; item: FileItem } {
    if (id === undefined) {
      const entry = this.#entryAt(path!)
      return { entry, item: this.item(entry) }
    }
    const entry = this.byText(id)
    if (!entry) throw new SpacedriveError('FILE_NOT_FOUND', `no entry ${id} in this library`)
    const item = this.#itemInPlace(entry)
    if (!item)
      throw new SpacedriveError('FILE_NOT_FOUND', `something else has the place of entry ${id}`, {
        hint: 'The scan that runs tells at its end whether it is elsewhere: ask again then.',
      })
    return { entry, item }
  }

  getByPath(path: string): FileItem {
    return this.item(this.#entryAt(path))
  }

  /** By an id as clients have it. */
  byText(id: string): Entry | undefined {
    return /^\d{1,15}$/.test(id) ? this.byId(Number(id)) : undefined
  }

  /** Those of the ids that still exist. */
  items(ids: readonly number[]): FileItem[] {
    return ids.flatMap((id) => {
      const entry = this.byId(id)
      return (entry && this.#itemInPlace(entry)) ?? []
    })
  }

  /** Null where it, or a directory above it, has lost its place to something of another kind, and nobody knows yet where it is. */
  #itemInPlace(entry: Entry): FileItem | null {
    const name = this.#names.text(entry.name)
    const path = this.pathOf(entry, name)
    return path.includes(DISPLACED) ? null : this.#itemAt(entry, name, path)
  }

  item(entry: Entry): FileItem {
    const name = this.#names.text(entry.name)
    return this.#itemAt(entry, name, this.pathOf(entry, name))
  }

  #itemAt(entry: Entry, name: string, path: string): FileItem {
    return {
      id: String(entry.id),
      library: this.#library,
      location: this.#locations.byId(entry.location)?.uid ?? '',
      path: printable(path),
      name: printable(name),
      ...(isPrintable(path) ? {} : trueBytes(path, name)),
      kind: ENTRY_KINDS[entry.kind]!,
      size: entry.size,
      ...(entry.kind === KIND.directory ? { total: this.#folders.totalOf(entry.id) } : {}),
      modifiedAt: dateOf(entry.mtime),
      inode: typeof entry.inode === 'number' ? entry.inode : unsigned(entry.inode),
      ...(entry.kind === KIND.file ? this.#contentOf(entry, name) : {}),
    }
  }

  /** What it holds, where that was read; else what its name lets one guess. */
  #contentOf(entry: Entry, name: string): Pick<FileItem, 'contentId' | 'mime' | 'contentKind' | 'media'> {
    const content = this.#identities.of(entry)
    const type = content ? refineType(content, name) : guessType(name)
    return {
      ...(content ? { contentId: content.id } : {}),
      ...(type ? { mime: type.mime, contentKind: type.kind } : {}),
      ...(content?.media ? { media: content.media } : {}),
    }
  }

  /** Absolute, as in scan/names. */
  pathOf(entry: { readonly parent: number; readonly location: number }, name: string): string {
    if (entry.parent < 0) return this.#locations.byId(entry.location)?.path ?? ''
    return joined(this.#directoryPath(entry.parent), name)
  }

  pathOfEntry(entry: Entry): string {
    return this.pathOf(entry, this.#names.text(entry.name))
  }

  /** The id of the entry at a path below a location, '' being its root. */
  idAt(location: Location, relative: string): number | undefined {
    let id = this.rootOf(location)
    if (relative === '') return id
    for (const part of relative.split('/')) {
      const name = this.#names.find(part)
      id = id === undefined || name === undefined ? undefined : this.#child.get(id, name)
      if (id === undefined) return undefined
    }
    return id
  }

  rootOf(location: Location): number | undefined {
    const name = this.#names.find(rootName(location.path))
    return name === undefined ? undefined : this.#child.get(-location.id, name)
  }

  byId(id: number): Entry | undefined {
    const row = this.#byId.get(id)
    return row && toEntry(row)
  }

  childrenOf(id: number): Entry[] {
    return this.#children.all(id).map(toEntry)
  }

  /** Those of them that there are. */
  childrenNamed(id: number, names: readonly string[]): Entry[] {
    return names.flatMap((text) => {
      const name = this.#names.find(text)
      const child = name === undefined ? undefined : this.#child.get(id, name)
      const entry = child === undefined ? undefined : this.byId(child)
      return entry ? [entry] : []
    })
  }

  /** @param version changes whenever entries do */
  list(
    directory: { path?: string | undefined; parent?: string | undefined },
    sort: Sort,
    limit: number,
    cursor: string | undefined,
    version: number,
  ): { items: FileItem[]; cursor?: string } {
    const id = this.#directoryId(directory)
    const children = this.#sorted(id, sort, version)
    const from = cursor === undefined ? 0 : placeAfter(children, readCursor(cursor))
    const page = children.slice(from, from + limit)
    const items = this.items(page.map((child) => child.id))
    const last = page.at(-1)
    return last && from + limit < children.length
      ? { items, cursor: writePlace([last.key, last.name, last.id] satisfies ChildPlace) }
      : { items }
  }

  /** Absolute, as in scan/names; '' where there is no such entry. */
  directoryPath(id: number): string {
    return this.#directoryPath(id)
  }

  /** After entries moved or went: paths that were remembered may be wrong. */
  forgetPaths(): void {
    this.#paths.clear()
  }

  #directoryId({ path, parent }: { path?: string | undefined; parent?: string | undefined }): number {
    const entry = parent === undefined ? this.#entryAt(path!) : this.byText(parent)
    if (!entry) throw new SpacedriveError('FILE_NOT_FOUND', `no entry ${parent} in this library`)
    return entry.id
  }

  /** By an absolute path. */
  at(given: string): Entry | undefined {
    const path = normalize(given)
    const location = this.#locations.covering(path)
    const id = location && this.idAt(location, relativeTo(location.path, path))
    return id === undefined ? undefined : this.byId(id)
  }

  #entryAt(given: string): Entry {
    const entry = this.at(given)
    if (!entry) throw new SpacedriveError('FILE_NOT_FOUND', `${given} is not in this library's index`)
    return entry
  }

  #directoryPath(id: number): string {
    const known = this.#paths.get(id)
    if (known !== undefined) return known
    const entry = this.byId(id)
    if (!entry) return ''
    const path = this.pathOf(entry, this.#names.text(entry.name))
    if (this.#paths.size >= PATHS_KEPT) this.#paths.clear()
    this.#paths.set(id, path)
    return path
  }

  #sorted(id: number, sort: Sort, version: number): Child[] {
    const key = `${id} ${sort}`
    const known = this.#listings.get(key)
    this.#listings.delete(key)
    const children = known?.version === version ? known.children : this.#sort(id, sort)
    this.#listings.set(key, { version, children })
    if (this.#listings.size > LISTINGS_KEPT) this.#listings.delete(this.#listings.keys().next().value!)
    return children
  }

  #sort(id: number, sort: Sort): Child[] {
    const keyOf = (entry: Entry, name: string) =>
      sort === 'name' ? fold(name) : -(sort === 'size' ? this.#bytesOf(entry) : entry.mtime)
    return this.childrenOf(id)
      .map((entry) => {
        const name = this.#names.text(entry.name)
        return { id: entry.id, name, key: keyOf(entry, name) }
      })
      .sort(compare)
  }

  /** Of a directory what is in it. */
  #bytesOf({ id, kind, size }: Entry): number {
    return kind === KIND.directory ? this.#folders.totalOf(id).bytes : size
  }
}

/** The name under which the root of a location is kept. */
export function rootName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1) || '/'
}

function compare(a: Child, b: Child): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1
  if (a.name !== b.name) return a.name < b.name ? -1 : 1
  return a.id - b.id
}

function placeAfter(children: readonly Child[], last: Child): number {
  let low = 0
  let high = children.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(children[middle]!, last) <= 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Of a path that is not valid UTF-8; the name is a part of it and may be. */
function trueBytes(path: string, name: string): { pathBytes: string; nameBytes?: string } {
  const pathBytes = encodeName(path).toString('base64')
  return isPrintable(name) ? { pathBytes } : { nameBytes: encodeName(name).toString('base64'), pathBytes }
}

/** Key, name and id of the last child. */
type ChildPlace = [key: string | number, name: string, id: number]

function isChildPlace(value: unknown): value is ChildPlace {
  const [key, name, id] = Array.isArray(value) ? (value as unknown[]) : []
  return (typeof key === 'string' || typeof key === 'number') && typeof name === 'string' && typeof id === 'number'
}

function readCursor(cursor: string): Child {
  const [key, name, id] = readPlace(cursor, isChildPlace, 'listing')
  return { key, name, id }
}

/** Absolute, without `.`, `..` and doubled slashes. */
export function normalize(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

function unsigned(inode: string): string {
  return BigInt.asUintN(64, BigInt(inode)).toString()
}
