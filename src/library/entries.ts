// Reads entries: one by id or path, the children of a directory in pages, and what a client sees of each.
import { SpacedriveError } from '../base/errors.js'
import { normalize } from '../base/places.js'
import { ENTRY_KINDS } from '../protocol/words.js'
import type { FileItem } from '../protocol/messages.js'
import { guessType, refineType } from '../scan/content-type.js'
import { encodeName, isPrintable, joined, printable, relativeTo } from '../scan/names.js'
import { KIND } from '../scan/read.js'
import type { Connection } from './connection.js'
import { dateOf } from './dates.js'
import type { Folders } from './folders.js'
import type { Identities } from './identities.js'
import { Listings, type ListedPage, type Sort } from './listings.js'
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

/** What one has to know of an entry to do something with it. */
export type NamedEntry = Pick<Entry, 'id' | 'location' | 'kind' | 'mtime'>

/** A row of `ENTRY_COLUMNS`: better-sqlite3 makes an array of it in two thirds of the time of an object. */
export type EntryRow = [number, number, number, number, number, number, number | string, number]

export function toEntry([id, parent, location, kind, size, mtime, inode, name]: EntryRow): Entry {
  return { id, parent, location, kind, size, mtime, inode, name }
}

/** By its path, or by the id of its entry. */
export interface Directory {
  readonly path?: string | undefined
  readonly parent?: string | undefined
}

/** An id that no entry has. */
const NO_ENTRY = 0

/** Paths of directories remembered, to spare the walk up to the root. */
const PATHS_KEPT = 10_000

const INODE = `CASE WHEN entry.inode BETWEEN 0 AND 9007199254740991 THEN entry.inode ELSE printf('%d', entry.inode) END`
export const ENTRY_COLUMNS = `entry.id, entry.parent, entry.location, entry.kind, entry.size, entry.mtime, ${INODE} AS inode, entry.name`

export class Entries {
  readonly #library: string
  readonly #locations: Locations
  readonly #names: Names
  readonly #folders: Folders
  readonly #identities: Identities
  readonly #byId
  readonly #byIds
  readonly #named
  readonly #child
  readonly #children
  readonly #paths = new Map<number, string>()
  readonly #listings: Listings

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
    this.#byIds = connection
      .prepare<[string], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN entry ON entry.id = wanted.value`,
      )
      .raw()
    this.#named = connection
      .prepare<[string], [number, number, number, number]>(
        `SELECT entry.id, location, kind, mtime FROM json_each(?) AS wanted CROSS JOIN entry ON entry.id = wanted.value`,
      )
      .raw()
    this.#child = connection
      .prepare<[number, number], number>('SELECT id FROM entry WHERE parent = ? AND name = ?')
      .pluck()
    // Without those whose place another has by now.
    this.#children = connection
      .prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE entry.parent = ? AND entry.name >= 0`)
      .raw()
    this.#listings = new Listings(connection, this)
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
  byText(text: string): Entry | undefined {
    const id = readId(text)
    return id === null ? undefined : this.byId(id)
  }

  /** Of each of these ids, in their order. */
  namedBy(texts: readonly string[]): (NamedEntry | undefined)[] {
    const ids = texts.map((text) => readId(text) ?? NO_ENTRY)
    const rows = this.#named.all(JSON.stringify(ids))
    return inOrderOf(
      ids,
      rows.map(([id, location, kind, mtime]) => ({ id, location, kind, mtime })),
    )
  }

  /** Those that have a place of their own. */
  items(entries: readonly Entry[]): FileItem[] {
    return entries.flatMap((entry) => this.#itemInPlace(entry) ?? [])
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

  /** Of each of these ids, in their order, by one statement. */
  byIds(ids: readonly number[]): (Entry | undefined)[] {
    return inOrderOf(ids, this.#byIds.all(JSON.stringify(ids)).map(toEntry))
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

  /**
   * The children of a directory. Null where they are too many for one turn: `order` makes ready for them.
   *
   * @param version changes whenever entries do
   * @param since when it was asked
   * @throws FILE_NOT_FOUND
   */
  list(
    directory: Directory,
    sort: Sort,
    limit: number,
    cursor: string | undefined,
    version: number,
    since = performance.now(),
  ): ListedPage | null {
    const [library, id] = [this.#library, this.#directoryId(directory)]
    return this.#listings.page({ library, directory: id, sort, limit, cursor, version, since })
  }

  /** In steps. @throws FILE_NOT_FOUND */
  order(connection: Connection, directory: Directory, sort: Sort, version: number): Generator<void, void> {
    return this.#listings.order(connection, this.#directoryId(directory), sort, version)
  }

  /** Absolute, as in scan/names; '' where there is no such entry. */
  directoryPath(id: number): string {
    return this.#directoryPath(id)
  }

  /** After entries moved or went: paths that were remembered may be wrong. */
  forgetPaths(): void {
    this.#paths.clear()
  }

  #directoryId({ path, parent }: Directory): number {
    const entry = parent === undefined ? this.#entryAt(path!) : this.byText(parent)
    if (!entry) throw new SpacedriveError('FILE_NOT_FOUND', `no entry ${parent} in this library`)
    if (entry.kind === KIND.directory) return entry.id
    const hint = 'Name a directory; `files.get` tells of what is none.'
    throw new SpacedriveError('FILE_NOT_FOUND', `${path ?? `entry ${parent}`} is no directory`, { hint })
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

  nameOf({ name }: Pick<Entry, 'name'>): string {
    return this.#names.text(name)
  }

  /** Of a directory what is in it. */
  bytesOf({ id, kind, size }: Pick<Entry, 'id' | 'kind' | 'size'>): number {
    return kind === KIND.directory ? this.#folders.totalOf(id).bytes : size
  }
}

function inOrderOf<Row extends { readonly id: number }>(
  ids: readonly number[],
  rows: readonly Row[],
): (Row | undefined)[] {
  const found = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => found.get(id))
}

function readId(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null
}

/** The name under which the root of a location is kept. */
export function rootName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1) || '/'
}

/** Of a path that is not valid UTF-8; the name is a part of it and may be. */
function trueBytes(path: string, name: string): { pathBytes: string; nameBytes?: string } {
  const pathBytes = encodeName(path).toString('base64')
  return isPrintable(name) ? { pathBytes } : { nameBytes: encodeName(name).toString('base64'), pathBytes }
}

function unsigned(inode: string): string {
  return BigInt.asUintN(64, BigInt(inode)).toString()
}
