// One open library: its first connection, which also writes, and what can be asked of it.
import { existsSync, lstatSync, mkdirSync, rmdirSync, statfsSync, statSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'
import { Few } from '../base/few.js'
import { LIMITS } from '../base/limits.js'
import type { Lease, Ledger } from '../descriptors/ledger.js'
import type { FileItem, LibraryInfo, LocationItem, Mode, Tagging, UnverifiedDirectory } from '../protocol/messages.js'
import type { LocationRules } from '../protocol/operations.js'
import { markLive, type LiveFiles } from '../scan/guard.js'
import { encodeName } from '../scan/names.js'
import { KIND } from '../scan/read.js'
import { Applier, WHY, type Stores } from './apply.js'
import { keepBefore } from './before.js'
import { fromSqlite } from './cause.js'
import { databaseBytes, writeBackup, type BackupOptions } from './backup.js'
import { checkLibrary } from './check.js'
import { Comparisons } from './comparisons.js'
import { endSnapshot, IS_INDEXED, keepInMemory, openConnection, shrinkMemory, type Connection } from './connection.js'
import { Duplicates } from './duplicates.js'
import { Entries, rootName, type Directory, type NamedEntry } from './entries.js'
import { fileOf, type Named as NamedFile } from './file.js'
import { askedBy, foundItems, type FoundItems, type SearchParams } from './filters.js'
import { Folders } from './folders.js'
import { diskFailed, filesOf, readLibraryJson, requireDatabase, writeLibraryJson } from './folder.js'
import { Identities } from './identities.js'
import { Ids } from './ids.js'
import { Jobs } from './jobs.js'
import type { ListedPage, Sort } from './listings.js'
import { locationItem, Locations, type Location } from './locations.js'
import { holdLock, type Lock } from './lock.js'
import { Names } from './names.js'
import { Pace } from './pace.js'
import { Readers, type Reader } from './readers.js'
import { migrate } from './schema.js'
import { atOnce, Search, type Wanted } from './search.js'
import { sortOnDisk } from './sorting.js'
import { Tagged } from './tagged.js'
import { Tags, type Tag } from './tags.js'
import { Unverified, type UnverifiedRow } from './unverified.js'

export interface AddedLocation {
  readonly name?: string | undefined
  readonly watch?: boolean | undefined
  readonly mode?: Mode | undefined
  readonly rules?: LocationRules | undefined
}

export class Library {
  readonly id: string
  readonly path: string
  readonly entries: Entries
  readonly locations: Locations
  readonly jobs: Jobs
  readonly tags: Tags
  readonly tagged: Tagged
  readonly unverified: Unverified
  readonly identities: Identities
  readonly comparisons: Comparisons
  readonly duplicates: Duplicates
  /** Changes with every commit. */
  version = 0
  /** Changes with every commit that may touch entries or names. */
  entriesVersion = 0
  /** Work that spans several turns; a library with any is not closed to make room. */
  pins = 0
  usedAt = performance.now()
  /** Until then another one closes to make room, if there is any. */
  keptUntil = 0
  /** Set when the disk failed under a write: nothing is done with it any more, and it is closed as soon as may be. */
  failure: SpacedriveError | null = null
  /** Told of whatever may change what is read of it, before and after. */
  writes: { begin(): void; end(): void } | null = null
  #name: string
  #reading = false
  readonly #connection: Connection
  readonly #begin
  readonly #end
  readonly #names: Names
  readonly #ids: Ids
  readonly #folders: Folders
  readonly #search: Search
  #hasNamesIndex: boolean
  /** Long searches: others would only make each other slower, and all the rest wait. */
  readonly #long = new Few(LIMITS.longAtOnceMax)
  /** A directory that is being put in order. */
  #ordering: Promise<void> | null = null
  readonly #ordered = new Few(1)
  readonly #orderedPace = new Pace()
  readonly #readers: Readers
  readonly #lock: Lock
  readonly #live: LiveFiles
  readonly #lease: Lease
  readonly #ledger: Ledger
  readonly #walState
  readonly #isIndexed

  /**
   * @param lease of what a library costs, the library's from now on; returned on close and on failure
   * @param check a person asked for it: also one whose disk failed is opened, once its database was read through
   * @throws LIBRARY_LOCKED, LIBRARY_DAMAGED, LIBRARY_NEWER, READ_ONLY, DISK_FULL, DISK_FAILED, BUDGET_EXHAUSTED
   */
  static open(id: string, path: string, ledger: Ledger, lease: Lease, check = false): Library {
    let lock: Lock | null = null
    let live: LiveFiles | undefined
    let connection: Connection | undefined
    try {
      const failed = existsSync(filesOf(path).failed)
      if (failed && !check) throw diskFailed(path)
      const json = readLibraryJson(path)
      if (json.id !== id)
        throw new SpacedriveError('LIBRARY_DAMAGED', `${filesOf(path).json} has another id than ${id}`)
      lock = holdLock(filesOf(path).lock)
      if (!lock) throw new SpacedriveError('LIBRARY_LOCKED', `another process has the library "${json.name}" open`)
      requireDatabase(path)
      live = markLive(lockedFiles(path))
      connection = openConnection(filesOf(path).database)
      live.add(lockedFiles(path))
      if (failed) checkWhole(connection, path)
      keepBefore(connection, path, ledger)
      migrate(connection, json.name)
      return new Library(json, path, connection, { lock, live }, ledger, lease)
    } catch (error) {
      connection?.close()
      live?.release()
      lock?.release()
      lease.release()
      throw fromSqlite(error, filesOf(path).database)
    }
  }

  private constructor(
    { id, name }: { id: string; name: string },
    path: string,
    connection: Connection,
    { lock, live }: { lock: Lock; live: LiveFiles },
    ledger: Ledger,
    lease: Lease,
  ) {
    this.id = id
    this.#name = name
    this.path = path
    this.#connection = connection
    this.#begin = connection.prepare('BEGIN')
    this.#end = connection.prepare('COMMIT')
    this.#walState = connection.prepare<[], [busy: number, frames: number, checkpointed: number]>(WAL_STATE).raw()
    this.#isIndexed = connection.prepare(IS_INDEXED)
    this.#lock = lock
    this.#live = live
    this.#lease = lease
    this.#ledger = ledger
    this.#names = new Names(connection)
    this.#ids = new Ids(connection)
    this.locations = new Locations(connection)
    this.#folders = new Folders(connection)
    this.identities = new Identities(connection)
    this.comparisons = new Comparisons(connection, this.identities)
    this.entries = new Entries(id, connection, this.locations, this.#names, this.#folders, this.identities)
    this.duplicates = new Duplicates(id, connection, this.entries)
    this.jobs = new Jobs(id, connection)
    this.tags = new Tags(id, connection)
    this.tagged = new Tagged(connection, this.entries, this.locations, this.#names)
    this.unverified = new Unverified(connection)
    this.#search = new Search(connection)
    this.#hasNamesIndex = this.#isIndexed.get('entry_name') !== undefined
    this.#readers = new Readers(filesOf(path).database, ledger, { holder: `library ${name}`, path })
  }

  get name(): string {
    return this.#name
  }

  get connections(): number {
    return 1 + this.#readers.count
  }

  /** Until `endRead`, reads share one snapshot: SQLite takes its locks once for all of them, not once a statement. */
  beginRead(): void {
    if (this.#connection.inTransaction) return
    this.#begin.run()
    this.#reading = true
  }

  endRead(): void {
    if (!this.#reading) return
    this.#reading = false
    endSnapshot(this.#connection, () => this.#end.run())
  }

  /** As in `Tagged`, in one snapshot. */
  named(named: Named, isWanted: (entry: NamedEntry) => boolean): { entries: NamedEntry[]; missing: string[] } {
    this.beginRead()
    try {
      return this.tagged.named(named, isWanted)
    } finally {
      this.endRead()
    }
  }

  /** Other threads that read it: it stays open for them. */
  get sharedBy(): number {
    return this.#readers.elsewhere
  }

  /** @returns by how many other threads it may be read from now on, which is no more than `count` */
  share(count: number): number {
    return this.#readers.share(count)
  }

  /** Gives readers back that were idle for `ms`. Returns how many descriptors came free. */
  shrink(ms: number): number {
    return this.#readers.closeIdle(ms)
  }

  /** Pages of the database that are kept in memory, up to 8 MB a connection, and what other threads do not read by. */
  giveBackMemory(): void {
    shrinkMemory(this.#connection)
    this.#readers.giveBackMemory()
  }

  close(): void {
    this.endRead()
    this.#readers.close()
    // SQLite does the same as it closes, and keeps to itself what went wrong.
    this.#walCheckpoint(0)
    this.#connection.close()
    this.#live.release()
    this.#lock.release()
    this.#readers.release()
    this.#lease.release()
  }

  info(): LibraryInfo {
    const { files, directories, others, bytes } = this.locations.totals()
    return {
      id: this.id,
      name: this.#name,
      path: this.path,
      open: true,
      entries: files + directories + others,
      files,
      directories,
      bytes,
      databaseBytes: bytesOf(filesOf(this.path).database) + bytesOf(`${filesOf(this.path).database}-wal`),
      locations: this.locations
        .all()
        .filter((each) => !each.removing)
        .map((each) => locationItem(this.id, each)),
    }
  }

  /** @param lease of one descriptor, for the file that is written */
  rename(name: string, lease: Lease): void {
    try {
      const json = readLibraryJson(this.path)
      this.write(() => this.#connection.prepare(`UPDATE meta SET value = ? WHERE key = 'name'`).run(name))
      writeLibraryJson(this.path, { ...json, id: this.id, name })
      this.#name = name
    } catch (error) {
      throw fromSystem(error)
    } finally {
      lease.release()
    }
  }

  /** Adds a directory and its root entry, and the job that will index it. */
  addLocation(path: string, options: AddedLocation = {}): { location: Location; job: string } {
    const { name, watch = false, mode, rules } = options
    const stat = lstatSync(encodeName(path), { bigint: true })
    return this.write(() => {
      const added = this.locations.add(name ?? rootName(path), path, watch, mode)
      if (rules) this.locations.setRules(added, rules)
      const location = this.locations.byId(added.id)!
      const root = this.#names.idOf(rootName(path))
      const id = this.#ids.take()
      this.#names.flush()
      this.#connection
        .prepare(
          `INSERT INTO entry (id, parent, name, location, kind, size, mtime, inode)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          id,
          -location.id,
          root,
          location.id,
          KIND.directory,
          Number(stat.size),
          Number(stat.mtimeNs / 1000n),
          BigInt.asIntN(64, stat.ino),
        )
      this.#ids.flush()
      this.tagged.giveBack(id, KIND.directory, path, '')
      this.locations.addCounts(location.id, { files: 0, directories: 1, others: 0, bytes: 0 })
      return { location, job: this.jobs.enqueue('index', location.uid, null).id }
    })
  }

  applier(location: Location, fresh: boolean): Applier {
    if (!fresh) this.indexInodes()
    else if (this.locations.entriesOf(location) === 1 && this.locations.all().length === 1) this.#dropNamesIndex()
    return new Applier(this.#stores(), location, fresh)
  }

  /** For what changed in a location that was scanned before. */
  follower(location: Location, unlisted: Set<number | string>): Applier {
    this.indexInodes()
    return new Applier(this.#stores(), location, false, unlisted)
  }

  #stores(): Stores {
    const { entries, locations, tagged, unverified, identities } = this
    return {
      connection: this.#connection,
      names: this.#names,
      ids: this.#ids,
      folders: this.#folders,
      entries,
      locations,
      tagged,
      unverified,
      identities,
    }
  }

  /**
   * Only a comparison looks for inodes. Built after a library's first scan, sorted, the index costs a tenth of what it
   * costs row by row during it.
   */
  indexInodes(): void {
    if (this.#isIndexed.get('entry_inode') === undefined) this.#index('entry_inode ON entry (inode)')
  }

  #index(what: string): void {
    sortOnDisk(this.#connection, this.#ledger, () => this.#connection.exec(`CREATE INDEX IF NOT EXISTS ${what}`))
  }

  /**
   * A first scan does without: names that come up again and again are everywhere in it, so that each commit would write a good part
   * of the index. It is built by the first search, after so many entries, or at the end, sorted, for a quarter of what it costs.
   */
  #dropNamesIndex(): void {
    this.commit(() => this.#connection.exec('DROP INDEX IF EXISTS entry_name'))
    this.#hasNamesIndex = false
    // Nearly all is written once and not read again: at the end there is more.
    this.#connection.pragma(`cache_size = -${LIMITS.sortKibMax}`)
  }

  #indexNames(): void {
    if (this.#hasNamesIndex) return
    this.commit(() => this.#index('entry_name ON entry (name)'))
    this.#hasNamesIndex = true
  }

  /** After each batch of a first scan. */
  indexNamesFrom(entries: number): void {
    if (entries > LIMITS.namesIndexLaterMax) this.#indexNames()
  }

  /** What a scan that did not end had found missing proves nothing any more; what was displaced is in its place no more. */
  forgetMissing(location: Location): void {
    this.#connection.prepare('DELETE FROM missing WHERE location = ? AND left_out <> ?').run(location.id, WHY.displaced)
  }

  /**
   * At the end of a scan, in steps between which others go: the last names get their trigrams and hashes, entries their indexes, and the
   * disk gets back what the log of it took.
   */
  *settle(): Generator<void, void> {
    const { count } = this.#names
    while (!this.commit(() => this.#names.hash(count))) yield
    this.#names.forget()
    yield this.commit(() => this.#names.seal())
    yield this.#indexNames()
    yield this.commit(() => this.indexInodes())
    this.commit(() => {
      keepInMemory(this.#connection)
      this.#connection.pragma('optimize')
      this.#connection.pragma('wal_checkpoint(TRUNCATE)')
    })
  }

  /** Deletes the entries of a location that is being removed, at most so many; true when none is left. */
  removeSlice(location: Location): boolean {
    return this.write(() => {
      if (this.tagged.keepSlice(location)) return false
      const most = this.identities.used ? LIMITS.batchEntriesMax : 4 * LIMITS.batchEntriesMax
      this.identities.dropSlice(location.id, most)
      const ids = this.#connection
        .prepare<[number, number], number>('SELECT id FROM entry WHERE location = ? LIMIT ?')
        .pluck()
        .all(location.id, most)
      for (const [table, key] of [
        ['folder', 'entry'],
        ['entry', 'id'],
      ])
        this.#connection
          .prepare(`DELETE FROM ${table} WHERE ${key} IN (SELECT value FROM json_each(?))`)
          .run(JSON.stringify(ids))
      if (ids.length > 0) return false
      this.#connection.prepare('DELETE FROM missing WHERE location = ?').run(location.id)
      this.unverified.forget(location.id)
      this.locations.delete(location)
      this.tagged.endKeeping(location)
      return true
    })
  }

  /** One entry, with its tags and the hash of it. */
  file(named: NamedFile): FileItem {
    return fileOf(this, named)
  }

  /** Takes a tag that is being deleted off some of what it is on; true when it is gone. */
  deleteTagSlice(id: number): boolean {
    return this.note(() => {
      if (this.tagged.removeSlice(id)) return false
      this.tags.delete(id)
      return true
    })
  }

  /**
   * Gives a tag to entries or to what they hold, or takes it off. `changed` counts the entries, or contents, that did not have it,
   * or did.
   *
   * @throws FILE_NOT_FOUND when none of them is in the index, or none is known to hold anything
   */
  tag(tag: Tag, named: Named, give: boolean, to: 'entry' | 'content' = 'entry'): Tagging {
    const { tagged } = this
    const holds = (entry: NamedEntry) => tagged.contentOf(entry) !== undefined
    const { entries, missing } = this.named(named, to === 'entry' ? () => true : holds)
    if (entries.length === 0) throw noneOf(missing, to)
    const all = () => {
      const ids = entries.map(({ id }) => id)
      return give ? tagged.add(ids, tag.id) : tagged.remove(ids, tag.id)
    }
    const content = (entry: NamedEntry) => {
      const cid = tagged.contentOf(entry)!
      return give ? tagged.addToContent(cid, tag.id) : tagged.removeFromContent(cid, tag.id)
    }
    const changed = this.note(() => (to === 'entry' ? all() : entries.filter(content).length))
    return { tag: tag.uid, entries: entries.length, changed, missing }
  }

  /**
   * What `query`, by its `syntax`, and `filters` ask for together. In this turn, as nearly all are; what takes longer is done
   * in steps, and the library stays open meanwhile.
   */
  async search(params: SearchParams): Promise<FoundItems> {
    const { wanted, cursor, seal } = askedBy(params, this)
    // Without it a search looks at every entry for each name, in one statement: minutes in which its shard stands still.
    this.#indexNames()
    const run = ({ search }: Pick<Reader, 'search'>) =>
      search.search(wanted, params.limit ?? LIMITS.pageDefault, cursor, this.#versionFor(wanted))
    const page = Search.takesLong(wanted) ? null : atOnce(run({ search: this.#search }))
    if (page) return foundItems(page, this.entries, seal)
    return this.during(async () => {
      await this.#long.enter()
      try {
        return foundItems(await this.#slowly(run), this.entries, seal)
      } finally {
        this.#long.leave()
      }
    })
  }

  /** Conditions may be of tags and of what entries hold. */
  #versionFor({ conditions }: Wanted): number {
    return conditions.length === 0 ? this.entriesVersion : this.version
  }

  /** A page of a directory. Of one that holds very many, in steps until they are in order, one directory after the other. */
  list({ path, parent, sort = 'name', limit = LIMITS.pageDefault, cursor }: ListParams): MaybeLater<ListedPage> {
    const directory = { path, parent }
    const since = performance.now()
    const page = () => this.entries.list(directory, sort, limit, cursor, this.entriesVersion, since)
    return page() ?? this.during(() => this.#listSlowly(page, directory, sort))
  }

  async #listSlowly(page: () => ListedPage | null, directory: Directory, sort: Sort): Promise<ListedPage> {
    const order = ({ connection }: Pick<Reader, 'connection'>) =>
      this.entries.order(connection, directory, sort, this.entriesVersion)
    for (;;) {
      while (this.#ordering) await this.#ordering.catch(() => {})
      const ready = await this.#inTurn(page)
      if (ready) return ready
      if (this.#ordering) continue
      this.#ordering = this.#slowly(order).finally(() => (this.#ordering = null))
      await this.#ordering
    }
  }

  /** All who waited for one order go on at once: one page after the other, and others have their turns between them. */
  async #inTurn(page: () => ListedPage | null): Promise<ListedPage | null> {
    await this.#ordered.enter()
    try {
      if (this.#orderedPace.isDue()) await nextTurn()
      return page()
    } finally {
      this.#ordered.leave()
    }
  }

  /** Work that spans several turns: the library is not closed meanwhile to make room. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.pins += 1
    try {
      return await work()
    } finally {
      this.pins -= 1
    }
  }

  /** What is read in steps, with room for other requests between two of them. */
  async #slowly<T>(run: Steps<T>): Promise<T> {
    const reader = this.#borrowIfAny()
    return reader ? this.#readSlowly(reader, run) : this.#readBetween(run)
  }

  /** What stands in the way of another connection, such as a folder that was taken away, is no reason not to read by the one there is. */
  #borrowIfAny(): Reader | null {
    try {
      return this.#readers.borrow()
    } catch {
      return null
    }
  }

  /**
   * Without a reader, between the writes of others: begun again after each of them, and at last finished in one go, so
   * that what is answered was true at one moment.
   */
  async #readBetween<T>(run: Steps<T>): Promise<T> {
    const reader = { connection: this.#connection, search: this.#search }
    for (let tries = 0; tries < LIMITS.searchTriesMax; tries++) {
      const { version } = this
      const steps = run(reader)
      for (let step = steps.next(); this.version === version; step = steps.next()) {
        if (step.done) return step.value
        await nextTurn()
      }
    }
    return finish(run(reader))
  }

  /** In a snapshot of its own. */
  async #readSlowly<T>(reader: Reader, run: Steps<T>): Promise<T> {
    try {
      reader.connection.exec('BEGIN')
      try {
        const steps = run(reader)
        let step = steps.next()
        for (; !step.done; step = steps.next()) await nextTurn()
        return step.value
      } finally {
        endSnapshot(reader.connection, () => reader.connection.exec('COMMIT'))
      }
    } finally {
      this.#readers.giveBack(reader)
    }
  }

  /** Copies it while it is used. @throws PATH_REFUSED, BUDGET_EXHAUSTED and what the disk of the copy has */
  backUp(to: string, options: BackupOptions): Promise<void> {
    return writeBackup(this.#connection, this.path, to, options)
  }

  /** What is wrong with it, in words. Others go first between two steps; until the signal. */
  async check(
    signal: AbortSignal,
    progressed: (done: number, total: number) => void,
    breathe: () => Promise<void>,
  ): Promise<string[]> {
    const reader = this.#readers.borrow()
    if (!reader) throw new SpacedriveError('BUDGET_EXHAUSTED', 'no connection is left to check the library by')
    const steps = checkLibrary(reader.connection, filesOf(this.path).database)
    try {
      reader.connection.exec('BEGIN')
      for (;;) {
        const { done, value } = steps.next()
        if (done || signal.aborted) return done ? value : []
        progressed(value.done, value.total)
        await breathe()
      }
    } finally {
      steps.return([])
      endSnapshot(reader.connection, () => reader.connection.exec('COMMIT'))
      this.#readers.giveBack(reader)
    }
  }

  /**
   * Writes the database anew without what is free in it, in one go: its thread stands still meanwhile, a second for a million
   * entries. As much again is needed on its disk.
   *
   * @throws JOB_STATE while anybody works on it, DISK_FULL before anything is written
   */
  compact(): { bytesBefore: number; bytesAfter: number } {
    if (this.pins > 0) throw new SpacedriveError('JOB_STATE', `library "${this.name}" has work running`)
    const bytesBefore = databaseBytes(this.#connection)
    if (bytesBefore > LIMITS.compactBytesMax)
      throw new SpacedriveError('BAD_REQUEST', `library "${this.name}" is too large to be compacted`)
    const { bavail, bsize } = statfsSync(this.path)
    if (bavail * bsize < bytesBefore) {
      const message = `to compact the library ${bytesBefore} bytes are needed on its disk, and ${bavail * bsize} are free`
      throw new SpacedriveError('DISK_FULL', message)
    }
    this.commit(() => {
      this.#connection.exec('VACUUM')
      this.#connection.pragma('wal_checkpoint(TRUNCATE)')
    })
    return { bytesBefore, bytesAfter: databaseBytes(this.#connection) }
  }

  unverifiedItem({ entry, since, code, message, tried_at, tries }: UnverifiedRow): UnverifiedDirectory {
    const found = this.entries.byId(entry)
    return {
      path: found ? this.entries.item(found).path : '',
      since: new Date(since).toISOString(),
      code,
      message,
      triedAt: new Date(tried_at).toISOString(),
      tries,
    }
  }

  /** What of a location could not be read, if anything. */
  unverifiedOf(location: Location): LocationItem['unverified'] {
    const count = this.unverified.count(location.id)
    if (count === 0) return undefined
    const first = this.unverified.first(location.id, LIMITS.unverifiedToldMax)
    return { count, first: first.map((row) => this.unverifiedItem(row)) }
  }

  /** One transaction. */
  write<T>(work: () => T): T {
    return this.commit(() => this.#connection.transaction(work)())
  }

  /** One transaction that leaves entries and names as they are: the order of a directory, and what names were found, hold on. */
  note<T>(work: () => T): T {
    return this.#commit(() => this.#connection.transaction(work)(), 0)
  }

  /** Work that brings its own transactions; what was remembered of one that did not commit is forgotten. */
  commit<T>(work: () => T): T {
    return this.#commit(work, 1)
  }

  #commit<T>(work: () => T, touchesEntries: 0 | 1): T {
    this.endRead()
    if (this.failure) throw this.failure
    this.writes?.begin()
    try {
      const done = work()
      this.#walCheckpoint(LIMITS.walFramesMax)
      if (this.failure) throw this.failure
      return done
    } catch (error) {
      this.#names.forget()
      this.#ids.forget()
      this.#folders.forget()
      this.locations.forget()
      this.tags.forget()
      this.tagged.forget()
      this.identities.forget()
      throw this.#noted(fromSqlite(error, filesOf(this.path).database))
    } finally {
      this.version += 1
      this.entriesVersion += touchesEntries
      this.writes?.end()
    }
  }

  /**
   * Takes the write-ahead log into the database once it has so many pages. SQLite would do it by itself, and not say when
   * the disk failed; any other reason why it could not be done now is tried again after the next commit.
   */
  #walCheckpoint(frames: number): void {
    try {
      const [, written, checkpointed] = this.#walState.get()!
      if (written - checkpointed <= frames) return
      this.#connection.pragma('wal_checkpoint(PASSIVE)')
    } catch (error) {
      this.#noted(fromSqlite(error, filesOf(this.path).database))
    }
  }

  /** After a failed write nobody knows what the disk holds; the mark outlives this process. */
  #noted(error: SpacedriveError): SpacedriveError {
    if (error.code !== 'DISK_FAILED' || this.failure) return error
    this.failure = error
    try {
      mkdirSync(filesOf(this.path).failed, { mode: 0o700 })
    } catch {
      // Where not even that can be written, the pool remembers it.
    }
    return error
  }

  /** Leaves word on disk that a start should open this library and look what changed meanwhile. */
  markWatched(): void {
    const mark = filesOf(this.path).watched
    const watched = this.locations.all().some((each) => each.watch && !each.removing)
    if (watched === existsSync(mark)) return
    if (watched) mkdirSync(mark, { mode: 0o700 })
    else rmdirSync(mark)
  }

  /** Leaves word on disk that a start should open this library and go on; a directory, because that needs no descriptor. */
  markUnfinished(unfinished: boolean): void {
    const mark = filesOf(this.path).unfinished
    if (unfinished === existsSync(mark)) return
    if (unfinished) mkdirSync(mark, { mode: 0o700 })
    else rmdirSync(mark)
  }
}

/** What is asked of a directory. */
export interface ListParams extends Directory {
  readonly sort?: Sort | undefined
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

type MaybeLater<T> = T | Promise<T>

/** Something to be read in steps, by one connection. */
type Steps<T> = (reader: Pick<Reader, 'connection' | 'search'>) => Generator<void, T>

const WAL_STATE = 'PRAGMA wal_checkpoint(NOOP)'

/** What SQLite holds locks on; closing a descriptor of -wal does no harm. */
function lockedFiles(folder: string): string[] {
  const { database } = filesOf(folder)
  return [database, `${database}-shm`]
}

/** @throws LIBRARY_DAMAGED; else the library is as good as before */
function checkWhole(connection: Connection, folder: string): void {
  const found = String(connection.pragma('quick_check(1)', { simple: true }))
  if (found !== 'ok') throw new SpacedriveError('LIBRARY_DAMAGED', `${filesOf(folder).database} is damaged: ${found}`)
  rmdirSync(filesOf(folder).failed)
}

interface Named {
  readonly ids?: string[] | undefined
  readonly paths?: string[] | undefined
}

function noneOf(missing: readonly string[], to: 'entry' | 'content'): SpacedriveError {
  const more = missing.length > 1 ? `, nor of ${missing.length - 1} more that were named` : ''
  if (to === 'content')
    return new SpacedriveError('FILE_NOT_FOUND', `what ${missing[0]} holds is not known${more}`, {
      hint: 'Only files of a location of mode `content` are read; `spacedrive job list` shows whether that is done.',
    })
  return new SpacedriveError('FILE_NOT_FOUND', `${missing[0]} is not in this library's index${more}`)
}

function finish<T>(steps: Generator<void, T>): T {
  let step = steps.next()
  while (!step.done) step = steps.next()
  return step.value
}

function bytesOf(path: string): number {
  try {
    return statSync(path).size
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0
    throw fromSystem(error)
  }
}
