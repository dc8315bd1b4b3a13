// A library as another thread than its own reads it: by one read-only connection, while its own goes on writing.
// The reads of one turn are of one snapshot, which is taken when the first of them begins: whatever was committed before is seen.
import type { FileItem } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import { LIMITS } from '../base/limits.js'
import { endSnapshot, IS_INDEXED, openReadOnly, type Connection } from './connection.js'
import { Entries } from './entries.js'
import { fileOf } from './file.js'
import { askedBy, foundItems, type FoundItems, type SearchParams } from './filters.js'
import { filesOf } from './folder.js'
import { Folders } from './folders.js'
import { Identities } from './identities.js'
import type { ListedPage } from './listings.js'
import { Locations } from './locations.js'
import { Names } from './names.js'
import { atOnce, Search } from './search.js'
import { Tagged } from './tagged.js'
import { Tags } from './tags.js'

export class Copy {
  readonly id: string
  readonly entries: Entries
  readonly locations: Locations
  readonly tags: Tags
  readonly tagged: Tagged
  readonly identities: Identities
  readonly #connection: Connection
  readonly #begin
  readonly #end
  readonly #dataVersion
  readonly #isIndexed
  readonly #names: Names
  readonly #folders: Folders
  readonly #search: Search
  #hasNamesIndex = false
  /** Changes whenever anything was committed. */
  #version = 0
  /** SQLite's word for what was committed by others. */
  #seen = -1

  /**
   * @param path of a library that its own thread has open, and keeps open for as long as this is
   * @throws BUDGET_EXHAUSTED, DISK_FAILED, LIBRARY_DAMAGED
   */
  constructor(id: string, path: string) {
    const connection = openReadOnly(filesOf(path).database)
    this.id = id
    this.#connection = connection
    this.#begin = connection.prepare('BEGIN')
    this.#end = connection.prepare('COMMIT')
    this.#dataVersion = connection.prepare<[], number>('PRAGMA data_version').pluck()
    this.#isIndexed = connection.prepare(IS_INDEXED)
    this.#names = new Names(connection)
    this.#folders = new Folders(connection)
    this.locations = new Locations(connection)
    this.identities = new Identities(connection)
    this.entries = new Entries(id, connection, this.locations, this.#names, this.#folders, this.identities)
    this.tags = new Tags(id, connection)
    this.tagged = new Tagged(connection, this.entries, this.locations, this.#names)
    this.#search = new Search(connection)
  }

  /** Takes a snapshot for all reads until `endRead`. */
  beginRead(): void {
    if (this.#connection.inTransaction) return
    this.#begin.run()
    const seen = this.#dataVersion.get()!
    if (seen !== this.#seen) this.#forget()
    this.#seen = seen
  }

  endRead(): void {
    if (this.#connection.inTransaction) endSnapshot(this.#connection, () => this.#end.run())
  }

  file(params: ParamsOf<'files.get'>): FileItem {
    return fileOf(this, params)
  }

  /** Undefined where there are so many that they are put in order in steps: that is for the library's own thread. */
  list({ path, parent, sort, limit, cursor }: ParamsOf<'files.list'>): ListedPage | undefined {
    const most = limit ?? LIMITS.pageDefault
    return this.entries.list({ path, parent }, sort ?? 'name', most, cursor, this.#version) ?? undefined
  }

  /** Undefined where it would take so long that others have to go first: that is for the library's own thread. */
  search(params: SearchParams): FoundItems | undefined {
    const { wanted, cursor, seal } = askedBy(params, this)
    this.#hasNamesIndex ||= this.#isIndexed.get('entry_name') !== undefined
    if (!this.#hasNamesIndex || Search.takesLong(wanted)) return undefined
    const page = atOnce(this.#search.search(wanted, params.limit ?? LIMITS.pageDefault, cursor, this.#version))
    return page ? foundItems(page, this.entries, seal) : undefined
  }

  close(): void {
    if (this.#connection.inTransaction) this.#connection.exec('ROLLBACK')
    this.#connection.close()
  }

  /** All that is remembered of what the library's own thread may have changed. */
  #forget(): void {
    this.#version += 1
    this.#hasNamesIndex = false
    this.#names.forget()
    this.#folders.forget()
    this.locations.forget()
    this.identities.forget()
    this.entries.forgetPaths()
    this.tags.forget()
    this.tagged.forget()
  }
}
