// Writes what a walk found: one transaction a batch, the checkpoint that covers it inside. Replaying a batch changes nothing.
//
// What a directory no longer holds is only marked missing; at the end of the scan it is deleted, unless it turned up
// elsewhere under the same inode. A directory that could not be read changes nothing: its children stay as they are.
import { lstatSync, type BigIntStats } from 'node:fs'
import { errnoOf } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import {
  diff,
  halvesOf,
  inodeKey,
  plainInode,
  plainInodeAt,
  type Difference,
  type Found,
  type Known,
  type Metadata,
} from '../scan/diff.js'
import { decodeNames, encodeName, joined } from '../scan/names.js'
import { remoteAt } from '../scan/remote.js'
import { FOREIGN, KIND, KIND_MASK, kindOf, microseconds, UNREAD, type Directories } from '../scan/read.js'
import { lastIn, runOf, type Batch, type Place, type Run } from '../scan/walk.js'
import { Bits } from './bits.js'
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, toEntry, type Entries, type Entry, type EntryRow } from './entries.js'
import { tally, type Folders, type Total } from './folders.js'
import type { Identities } from './identities.js'
import { Inserts } from './inserts.js'
import type { Ids } from './ids.js'
import type { Counts, Location, Locations } from './locations.js'
import { DISPLACED, displacedName, type Names } from './names.js'
import type { Tagged } from './tagged.js'
import { Unchanged } from './unchanged.js'
import type { Unverified } from './unverified.js'

/** What one batch changed. `directories` are relative paths, a few of those touched. */
export interface Applied {
  entries: number
  added: number
  changed: number
  moved: number
  removed: number
  directories: string[]
  failures: { path: string; code: string; message: string }[]
  /** By rule. */
  leftOut: Record<string, number>
}

export interface Stores {
  readonly connection: Connection
  readonly names: Names
  readonly entries: Entries
  readonly locations: Locations
  readonly ids: Ids
  readonly tagged: Tagged
  readonly folders: Folders
  readonly unverified: Unverified
  readonly identities: Identities
}

/** What is said of a directory that was taken away or replaced since it was listed; that is looked at before it is believed. */
const GONE = new Set(['ENOENT', 'ENOTDIR'])

export class Applier {
  readonly #stores: Stores
  readonly #location: Location
  /** A first scan: the location has no entries but what this scan writes, so there is nothing to compare with. */
  readonly #fresh: boolean
  readonly #statements
  /** Of the batch, in halves. */
  #inodes: Uint32Array = new Uint32Array()
  /** New entries of a first scan. */
  readonly #rows: Inserts<EntryColumns>
  /** Directories of a first scan in which a name came twice. */
  readonly #twice = new Set<number>()
  /** Ids of directories that the walk will come to. */
  readonly #directories = new Map<string, number>()
  readonly #unchanged: Unchanged
  /** A directory that arrives in several runs is compared when the last is here. */
  #gathered: Found[] = []
  /** One that is too large for that is compared slice by slice, and looked through when it was brought whole. */
  #sliced: Sliced | null = null
  #midway: Sliced | null = null
  readonly #unlisted: Set<number | string> | null
  #counts: Counts = noCounts()
  /** Some directory of the library could not be read before. */
  #hasUnverified = false
  /** Whether files of this location are read for what they hold. */
  #reads = false
  /** Something that the index knows of could not be looked at. */
  #wasBlind = false
  /** Before this, in microseconds, everything that the index knows had been looked at last; read when it is asked for. */
  #lookedAt: number | null = null

  /**
   * @param unlisted where only what changed is brought: there it puts the inodes of directories that are new, or other ones than
   *   before, until their children come. A walk brings them by itself.
   */
  constructor(stores: Stores, location: Location, fresh: boolean, unlisted: Set<number | string> | null = null) {
    this.#stores = stores
    this.#location = location
    this.#fresh = fresh
    this.#unlisted = unlisted
    this.#statements = prepare(stores.connection)
    this.#rows = new Inserts(stores.connection, INTO_ENTRY, 'ON CONFLICT DO NOTHING', (rows) =>
      this.#leaveOutTwice(rows),
    )
    this.#unchanged = new Unchanged(stores.connection, stores.folders)
  }

  /**
   * @param checkpoint is called inside the transaction with the place this batch reaches, null when it ends inside a
   *   directory that only counts as a whole
   * @throws DISK_FULL and whatever SQLite has; nothing of the batch is kept, and the applier must not be used again
   */
  apply(batch: Batch, checkpoint: (applied: Applied, place: Place | null) => void): Applied {
    while (this.isMidway) this.slice()
    const applied = nothingApplied()
    this.#lookedAt = null
    this.#inodes = halvesOf(batch.inodes)
    this.#reads = this.#stores.locations.byId(this.#location.id)?.mode !== 'shallow'
    this.#transaction(() => {
      let decoded: string[] | null = null
      const names = () => (decoded ??= decodeNames(batch.names))
      let at = 0
      this.#hasUnverified = this.#stores.unverified.any
      for (const run of batch.runs) {
        if ('directories' in run) at = this.#applyStretch(batch, run.directories, names, at, applied)
        else {
          this.#unchanged.leaveFor(run.directory)
          this.#applyRun(batch, run, names, at, applied)
          at += run.count
        }
      }
      applied.entries = at
      checkpoint(applied, this.#placeAfter(batch, names))
    })
    if (applied.moved > 0 || applied.removed > 0) this.#stores.entries.forgetPaths()
    if (this.#stores.names.wantsSeal(this.#fresh)) this.#stores.names.seal()
    return applied
  }

  /**
   * Deletes what stayed missing, in slices, each a transaction; call until it returns null.
   * What is there again at this moment stays.
   */
  finishSlice(): Applied | null {
    while (this.isMidway) this.slice()
    const applied = nothingApplied()
    const slice = this.#statements.missing.all(this.#location.id, 100)
    if (slice.length === 0) return null
    this.#transaction(() => {
      this.#hasUnverified = this.#stores.unverified.any
      for (const [id, why] of slice) {
        const entry = this.#stores.entries.byId(id)
        const stays = !entry || (why === WHY.missing && this.#isThere(entry, false))
        const gone = stays || this.#removeTree(id, LIMITS.batchEntriesMax, applied)
        if (!gone) return
        this.#statements.found.run(id)
      }
    })
    this.#stores.entries.forgetPaths()
    return applied
  }

  /** Forgets what a walk that is over had come to, before another one. */
  restart(): void {
    this.#directories.clear()
    this.#unchanged.restart()
    this.#gathered = []
    this.#sliced = null
    this.#midway = null
    this.#wasBlind = false
  }

  /** Something that the index knew of was passed over since the walk began: what there is of it says nothing. */
  get wasBlind(): boolean {
    return this.#wasBlind
  }

  /** A large directory is yet to be looked through for what it holds no more: call `slice` before anything else is applied. */
  get isMidway(): boolean {
    return this.#midway !== null
  }

  /** Looks through some of it, in a transaction of its own. */
  slice(): void {
    this.#transaction(() => this.#missSome(this.#midway!))
  }

  /** Writes the root's own metadata; the root is an entry like any other. */
  updateRoot(stat: { size: number; mtime: number; inode: number | bigint }): void {
    const root = this.#stores.entries.rootOf(this.#location)!
    this.#statements.update.run(KIND.directory, stat.size, stat.mtime, bindInode(stat.inode), root)
  }

  #transaction(work: () => void): void {
    const { connection, names, locations, ids, tagged, folders, identities } = this.#stores
    try {
      connection.transaction(() => {
        work()
        this.#rows.flush()
        names.flush(this.#fresh ? LIMITS.namesUnhashedFirstMax : LIMITS.namesUnhashedMax)
        ids.flush()
        folders.flush()
        locations.addCounts(this.#location.id, this.#counts)
      })()
    } catch (error) {
      this.#rows.forget()
      names.forget()
      ids.forget()
      tagged.forget()
      folders.forget()
      identities.forget()
      throw error
    } finally {
      this.#counts = noCounts()
    }
  }

  /** Nothing is concluded about what lies in it; where it is gone itself, that is looked at again at the end. */
  #noteUnread(path: string, error: NonNullable<Run['error']>, applied: Applied): void {
    this.#rows.flush()
    const id = this.#directoryId(path)
    this.#directories.delete(path)
    const entry = id === undefined ? undefined : this.#stores.entries.byId(id)
    if (entry && path !== '' && GONE.has(error.code) && !this.#isThere(entry))
      return void this.#statements.miss.run(entry.id, this.#location.id, WHY.missing)
    applied.failures.push({ path, ...error })
    if (entry && this.#statements.someIn.get(entry.id, 1) !== undefined) this.#wasBlind = true
    if (entry) this.#stores.unverified.note(entry.id, this.#location.id, error.code, error.message)
  }

  #insertRun(batch: Batch, run: Run, names: readonly string[], from: number, applied: Applied): void {
    const parent = this.#directoryId(run.directory)
    if (parent === undefined) return
    const { folders, tagged } = this.#stores
    const among = folders.changesIn(parent)
    for (let at = from; at < from + run.count; at++) {
      const found = foundAt(batch, this.#inodes, names, at)
      if (!tagged.waits) this.#insertWithOthers(parent, run.directory, found, among)
      else if (!this.#insert(parent, run.directory, found, among)) this.#twice.add(parent)
    }
    applied.added += run.count
    if (run.last) {
      if (run.print !== undefined && !this.#twice.has(parent)) folders.keepPrint(parent, run.print)
      this.#directories.delete(run.directory)
    }
    if (run.count > 0) touch(applied, run.directory)
  }

  /** In a first scan, where nothing asks for it in the same transaction. */
  #insertWithOthers(parent: number, directory: string, found: Found, among: Total): void {
    const { kind, size, mtime, inode } = found
    const { ids, names, folders } = this.#stores
    const id = ids.take()
    this.#rows.add(id, parent, names.idOf(found.name), this.#location.id, kind, size, mtime, bindInode(inode))
    this.#count(among, kind, size, 1)
    this.#want(id, found)
    if (kind !== KIND.directory) return
    folders.enter(id, parent)
    const path = join(directory, found.name)
    if (!found.foreign && !this.#directories.has(path)) this.#directories.set(path, id)
  }

  /** A directory that changes while it is read may name a child twice: the first counts. */
  #leaveOutTwice(rows: readonly EntryColumns[]): void {
    const { folders, identities } = this.#stores
    for (const [id, parent, name, location, kind, size, , inode] of rows) {
      if (this.#statements.child.get(parent, name) === id) continue
      this.#twice.add(parent)
      this.#count(folders.changesIn(parent), kind, size, -1)
      identities.drop(location, { id, inode: inodeKey(inode) })
    }
  }

  /** False where it is there already. */
  #insert(parent: number, directory: string, found: Found, among: Total): boolean {
    const id = this.#stores.ids.take()
    const { kind, size, mtime, inode } = found
    const name = this.#stores.names.idOf(found.name)
    const { changes } = this.#statements.insert.run(
      id,
      parent,
      name,
      this.#location.id,
      kind,
      size,
      mtime,
      bindInode(inode),
    )
    if (changes === 0) return false
    this.#count(among, kind, size, 1)
    if (kind === KIND.directory) this.#stores.folders.enter(id, parent)
    this.#giveTagsBack(id, directory, found)
    this.#want(id, found)
    if (this.#unlisted) this.#writeLinks(id, found)
    if (kind === KIND.directory && !found.foreign) {
      this.#directories.set(join(directory, found.name), id)
      this.#noteUnlisted(found.inode)
    }
    return true
  }

  #giveTagsBack(id: number, directory: string, { kind, name }: Found): void {
    const { tagged } = this.#stores
    if (tagged.waits) tagged.giveBack(id, kind, this.#location.path, join(directory, name))
  }

  #noteUnlisted(inode: number | bigint): void {
    this.#unlisted?.add(inodeKey(inode))
  }

  /**
   * Of a file with several names the system tells the one under which it was written. Under the others it is the same file, or
   * they are of another one by now, and then that is told too.
   */
  #writeLinks(id: number, found: Metadata): void {
    if (found.kind !== KIND.file || found.unread || found.foreign) return
    for (const row of this.#statements.byInode.all(bindInode(found.inode), this.#location.id, KIND.file)) {
      const entry = toEntry(row)
      const same = entry.size === found.size && entry.mtime === found.mtime
      if (entry.id !== id && !same) this.#change(entry.id, entry.parent, found, this.#known(entry))
    }
  }

  /**
   * A name under which a file may have been written last is gone, or of another file: the system told of that one alone, so the
   * file is looked at under another name that it has.
   */
  #lookAtLinks({ id, kind, inode }: Known | Entry): void {
    if (!this.#unlisted || kind !== KIND.file) return
    const { entries } = this.#stores
    const links = this.#statements.byInode
      .all(BigInt(inode), this.#location.id, kind)
      .map(toEntry)
      .filter((entry) => entry.id !== id)
    for (const link of links) {
      const stat = this.#look(entries.pathOfEntry(link))
      if (!stat || !isOf(stat, link)) continue
      this.#writeLinks(id, metadataOf(stat))
      return
    }
  }

  #applyRun(batch: Batch, run: Run, names: () => readonly string[], from: number, applied: Applied): void {
    for (const [rule, count] of Object.entries(run.leftOut?.counts ?? {}))
      applied.leftOut[rule] = (applied.leftOut[rule] ?? 0) + count
    if (run.note) applied.failures.push({ path: run.directory, ...run.note })
    if (run.error) this.#noteUnread(run.directory, run.error, applied)
    else if (this.#fresh) this.#insertRun(batch, run, names(), from, applied)
    else if (!this.#isUnchangedSlice(run)) this.#compareRun(batch, run, names(), from, applied)
  }

  /** Of one that is unchanged not even its path is looked at, if need not be. Answers where in the batch the next begins. */
  #applyStretch(
    batch: Batch,
    directories: Directories,
    names: () => readonly string[],
    from: number,
    applied: Applied,
  ): number {
    const { counts } = directories
    let decoded: string[] | null = null
    let at = from
    for (let each = 0; each < counts.length; each++) {
      const path = () => (decoded ??= decodeNames(directories.paths))[each]!
      if (this.#fresh || !this.#isUnchanged(directories, each, path))
        this.#applyRun(batch, runOf(directories, each, path()), names, at, applied)
      at += counts[each]!
    }
    return at
  }

  #isUnchanged(directories: Directories, at: number, path: () => string): boolean {
    let isAsked = false
    const id = this.#unchanged.idOf(directories, at, () => {
      isAsked = true
      return this.#directoryId(path())
    })
    if (id === undefined || this.#gathered.length > 0) return false
    if (isAsked) this.#directories.delete(path())
    if (this.#hasUnverified) this.#stores.unverified.verify(id)
    return true
  }

  #isUnchangedSlice(run: Run): boolean {
    if (this.#sliced || this.#gathered.length > 0) return false
    const id = this.#unchanged.idOfSlice(run, () => this.#directoryId(run.directory))
    if (id === undefined) return false
    if (run.last) this.#directories.delete(run.directory)
    if (run.last && this.#hasUnverified) this.#stores.unverified.verify(id)
    return true
  }

  #compareRun(batch: Batch, run: Run, names: readonly string[], from: number, applied: Applied): void {
    for (let at = from; at < from + run.count; at++) this.#gathered.push(foundAt(batch, this.#inodes, names, at))
    const isLarge = this.#sliced !== null || (!run.only && this.#gathered.length > LIMITS.compareWholeMax)
    if (!run.last && !isLarge) return
    const found = this.#gathered
    this.#gathered = []
    this.#wasBlind ||= found.some(({ unread }) => unread)
    const parent = this.#sliced?.parent ?? this.#directoryId(run.directory)
    if (parent === undefined || !this.#isDirectory(parent)) {
      if (run.self) this.#noteUnlisted(plainInode(run.self.inode))
      return
    }
    if (isLarge) return this.#compareSlice(parent, run, found, applied)
    const difference = diff(this.#knownOf(parent, run), found)
    this.#applyDifference(parent, run, difference, applied)
    if (run.print !== undefined && difference.missing.length === 0) this.#stores.folders.keepPrint(parent, run.print)
    if (this.#hasUnverified && !run.only) this.#stores.unverified.verify(parent)
    this.#directories.delete(run.directory)
    if (run.whole && run.self) this.#unlisted?.delete(inodeKey(plainInode(run.self.inode)))
    if (run.self) this.#updateSelf(parent, run.self)
  }

  /** Of a large directory what it holds no more is known at its end: all that no slice brought. */
  #compareSlice(parent: number, run: Run, found: readonly Found[], applied: Applied): void {
    const sliced = (this.#sliced ??= { parent, seen: new Bits(), after: -1, out: null, print: run.print ?? 0 })
    const { entries } = this.#stores
    const known = entries.childrenNamed(
      parent,
      found.map(({ name }) => name),
    )
    this.#applyDifference(
      parent,
      run,
      diff(
        known.map((entry) => this.#known(entry)),
        found,
      ),
      applied,
    )
    for (const { name } of found) sliced.seen.add(this.#stores.names.idOf(name))
    if (!run.last) return
    if (this.#hasUnverified) this.#stores.unverified.verify(parent)
    this.#directories.delete(run.directory)
    sliced.out = run.leftOut ? new Set(run.leftOut.names) : null
    this.#sliced = null
    this.#midway = sliced
  }

  #missSome(sliced: Sliced): void {
    const { parent, seen, out } = sliced
    const rows = this.#statements.namesIn.all(parent, sliced.after, LIMITS.batchEntriesMax)
    for (const [id, name] of rows) {
      if (seen.has(name)) continue
      sliced.print = 0
      const isLeftOut = out?.has(this.#stores.names.text(name)) === true
      this.#statements.miss.run(id, this.#location.id, isLeftOut ? WHY.leftOut : WHY.missing)
    }
    sliced.after = rows.at(-1)?.[1] ?? sliced.after
    if (rows.length === LIMITS.batchEntriesMax) return
    this.#midway = null
    if (sliced.print > 0) this.#stores.folders.keepPrint(parent, sliced.print)
  }

  #knownOf(parent: number, { only }: Run): Known[] {
    const { entries } = this.#stores
    const known = only ? entries.childrenNamed(parent, only) : entries.childrenOf(parent)
    return known.map((entry) => this.#known(entry))
  }

  #isDirectory(id: number): boolean {
    return this.#stores.entries.byId(id)?.kind === KIND.directory
  }

  #updateSelf(id: number, { size, mtime, inode }: NonNullable<Run['self']>): void {
    const entry = this.#stores.entries.byId(id)!
    if (entry.size === size && entry.mtime === mtime && entry.inode === inodeKey(plainInode(inode))) return
    this.#statements.update.run(KIND.directory, size, mtime, bindInode(plainInode(inode)), id)
    if (entry.parent > 0) this.#stores.folders.changesIn(entry.parent)
  }

  #applyDifference(parent: number, { directory, leftOut }: Run, difference: Difference, applied: Applied): void {
    const out = leftOut && difference.missing.length > 0 ? new Set(leftOut.names) : null
    for (const [name, id] of difference.directories) this.#directories.set(join(directory, name), id)
    for (const { id, name } of difference.missing)
      this.#statements.miss.run(id, this.#location.id, out?.has(name) ? WHY.leftOut : WHY.missing)
    for (const { id, found, before: known } of difference.changed) {
      // Another name of the same file, further up in this list, may have brought it up to date.
      const before = this.#unlisted ? this.#known(this.#stores.entries.byId(id)!) : known
      this.#change(id, parent, found, before)
      const isOther = before.inode !== inodeKey(found.inode)
      if (isOther && found.kind === KIND.directory && !found.foreign) this.#noteUnlisted(found.inode)
      if (this.#unlisted) this.#writeLinks(id, found)
      if (isOther) this.#lookAtLinks(before)
    }
    for (const { id } of difference.replaced) this.#displace(id, parent, applied)
    const added = [...difference.added, ...difference.replaced.map(({ found }) => found)]
    for (const found of added) {
      if (this.#moveHere(parent, directory, found)) applied.moved += 1
      else {
        this.#insert(parent, directory, found, this.#stores.folders.changesIn(parent))
        applied.added += 1
      }
    }
    applied.changed += difference.changed.length
    const quiet = added.length === 0 && difference.changed.length === 0 && difference.missing.length === 0
    if (!quiet) touch(applied, directory)
  }

  /** Something of another kind has its place; where it is itself, if anywhere, is still to be seen. */
  #displace(id: number, parent: number, applied: Applied): void {
    const name = displacedName(this.#stores.entries.byId(id)!.name)
    const before = this.#statements.child.get(parent, name)
    if (before !== undefined) this.#removeTree(before, Infinity, applied)
    this.#statements.move.run(parent, name, id)
    this.#statements.miss.run(id, this.#location.id, WHY.displaced)
    this.#stores.entries.forgetPaths()
  }

  #change(id: number, parent: number, found: Metadata, before: Known): void {
    if (isAnotherFile(before, found)) {
      this.#stores.identities.drop(this.#location.id, before)
      this.#want(id, found)
    }
    this.#statements.update.run(found.kind, found.size, found.mtime, bindInode(found.inode), id)
    const changes = this.#stores.folders.changesIn(parent)
    this.#count(changes, before.kind, before.size, -1)
    this.#count(changes, found.kind, found.size, 1)
  }

  #want(id: number, { kind, size, unread }: Metadata): void {
    if (this.#reads && kind === KIND.file && size > 0 && !unread) this.#stores.identities.want(this.#location.id, id)
  }

  /** An entry keeps its id when it is found under another name: the same inode, and no longer where it was. */
  #moveHere(parent: number, directory: string, found: Found): boolean {
    // The root of another file system has a number of its own, which here may have been anything's.
    if (found.unread || found.foreign) return false
    const entry = this.#statements.byInode
      .all(bindInode(found.inode), this.#location.id, found.kind)
      .map(toEntry)
      .find((each) => this.#isMoved(each, directory, found) && !this.#isAbove(each, parent))
    if (!entry) return false
    this.#noteLeft(entry)
    this.#carry(entry, parent)
    this.#statements.move.run(parent, this.#stores.names.idOf(found.name), entry.id)
    this.#change(entry.id, parent, found, this.#known(entry))
    this.#statements.found.run(entry.id)
    this.#giveTagsBack(entry.id, directory, found)
    if (this.#unlisted) this.#writeLinks(entry.id, found)
    this.#stores.entries.forgetPaths()
    if (found.kind === KIND.directory) this.#directories.set(join(directory, found.name), entry.id)
    return true
  }

  /** What its old directory had of it, its new one has. */
  #carry({ id, parent: from, kind, size }: Entry, to: number): void {
    const { folders } = this.#stores
    if (from === to) return
    tally(folders.changesIn(from), kind, size, -1)
    tally(folders.changesIn(to), kind, size)
    if (kind === KIND.directory) folders.move(id, from, to)
  }

  /** Not seen to be missing there, and perhaps only out of reach for a moment: a file may have several names. */
  #noteLeft({ id, parent, kind }: Entry): void {
    if (!this.#unlisted || kind === KIND.directory || this.#statements.isMissing.get(id) !== undefined) return
    const left = this.#stores.entries.byId(parent)
    if (left) this.#unlisted.add(left.inode)
  }

  /**
   * File systems use an inode again at once, so a file must also have kept its size and time, as a rename does; or it was written
   * since, and is older than the last look at it.
   */
  #isMoved(entry: Entry, directory: string, found: Found): boolean {
    if (entry.parent < 0) return false
    if (this.#statements.isMissing.get(entry.id) === undefined && this.#isThere(entry)) return false
    if (found.kind === KIND.directory) return this.#isSameDirectory(entry, directory, found)
    return (entry.size === found.size && entry.mtime === found.mtime) || this.#isSameFile(entry, directory, found)
  }

  #isSameFile(entry: Entry, directory: string, found: Found): boolean {
    if (this.#lookedBefore() < 0) return false
    const stat = this.#look(joined(this.#location.path, join(directory, found.name)))
    return stat !== undefined && isOf(stat, { ...entry, kind: found.kind }) && this.#wasSeen(stat, entry)
  }

  /** What has its inode now was made before the last look at the entry, and so it is what was looked at. */
  #wasSeen(stat: BigIntStats, entry: Entry): boolean {
    const { birthtimeNs } = stat
    if (birthtimeNs <= 0n) return false
    if (microseconds(birthtimeNs) < this.#lookedBefore()) return true
    // Whoever saw it with this time saw it then or later, unless the time was one to come.
    return isOld(stat, entry) && entry.mtime <= 1_000 * Date.now()
  }

  #lookedBefore(): number {
    return (this.#lookedAt ??= this.#readLooked())
  }

  /** -1 where it proves nothing: another disk may be mounted there, or the clock that says when a file was made is another one. */
  #readLooked(): number {
    const { locations } = this.#stores
    const looked = locations.looked(this.#location)
    if (!looked || looked.at > Date.now() || wasSetBack() || looked.root !== rootSign(this.#location)) return -1
    return 1_000 * (looked.at - LIMITS.bornBeforeMs)
  }

  /**
   * What lies in a directory may have changed since, and its time with it. It was there when it last had its old time, or it
   * holds what it held; else it is a new one that was given the inode of one that is gone.
   */
  #isSameDirectory(entry: Entry, directory: string, found: Found): boolean {
    if (entry.mtime === found.mtime) return true
    const path = joined(this.#location.path, join(directory, found.name))
    const stat = this.#look(path)
    // It is elsewhere by now, or its file system does not tell when it was made.
    if (!stat || stat.ino !== BigInt(found.inode) || stat.birthtimeNs <= 0n) return true
    // Copies and what was unpacked were given times from before they were made.
    return isOld(stat, entry) || this.#wasSeen(stat, entry) || this.#holdsSome(entry, path)
  }

  /** Of what the index knows in a directory, something lies at `path` as it was: those made anew have got old inodes as well. */
  #holdsSome({ id }: Entry, path: string): boolean {
    return this.#statements.someIn
      .all(id, CHILDREN_LOOKED_AT)
      .map(toEntry)
      .some((child) => {
        const stat = this.#look(joined(path, this.#stores.names.text(child.name)))
        return (
          stat !== undefined && isOf(stat, child) && (microseconds(stat.mtimeNs) === child.mtime || isOld(stat, child))
        )
      })
  }

  #look(path: string): BigIntStats | undefined {
    try {
      return lstatSync(encodeName(path), { bigint: true })
    } catch {
      return undefined
    }
  }

  /**
   * A directory may come to lie below a new one of its old name, between the two halves of a scan that was interrupted:
   * the index still has the old one under that name, and would make it its own child.
   */
  #isAbove(entry: Entry, directory: number): boolean {
    if (entry.kind !== KIND.directory) return false
    for (let id = directory; id > 0; id = this.#stores.entries.byId(id)?.parent ?? 0) if (id === entry.id) return true
    return false
  }

  /**
   * False only when the disk says that it is gone; an error of any other kind proves nothing.
   *
   * @param isLong what is answered of a path that is longer than the system takes one
   */
  #isThere(entry: Entry, isLong = true): boolean {
    const path = this.#stores.entries.pathOf(entry, this.#stores.names.text(entry.name))
    if (path.includes(DISPLACED)) return false
    try {
      return isOf(lstatSync(encodeName(path), { bigint: true }), entry)
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === 'ENOENT' || errno === 'ENOTDIR') return false
      this.#wasBlind = true
      return errno !== 'ENAMETOOLONG' || isLong
    }
  }

  /** Deletes an entry and what is below it, leaves first, until `most` are deleted in all. True when all of it is gone. */
  #removeTree(id: number, most: number, applied: Applied): boolean {
    for (let below = this.#statements.below.all(id); below.length > 0; below = this.#statements.below.all(id)) {
      for (const child of below) if (!this.#removeTree(child, most, applied)) return false
    }
    if (applied.removed >= most) return false
    const entry = this.#stores.entries.byId(id)
    if (!entry) return true
    this.#stores.tagged.keep(entry)
    if (entry.kind === KIND.directory) this.#stores.folders.leave(id, entry.parent)
    if (entry.kind === KIND.file) this.#stores.identities.drop(this.#location.id, entry)
    this.#statements.delete.run(id)
    this.#statements.found.run(id)
    this.#lookAtLinks(entry)
    if (this.#hasUnverified) this.#stores.unverified.verify(id)
    this.#count(this.#stores.folders.changesIn(entry.parent), entry.kind, entry.size, -1)
    applied.removed += 1
    return true
  }

  #known({ id, name, kind, size, mtime, inode }: Entry): Known {
    return { id, name: this.#stores.names.text(name), kind, size, mtime, inode }
  }

  #directoryId(path: string): number | undefined {
    const known = this.#directories.get(path)
    if (known !== undefined) return known
    this.#rows.flush()
    return this.#stores.entries.idAt(this.#location, path)
  }

  #placeAfter(batch: Batch, names: () => readonly string[]): Place | null {
    const run = batch.runs.at(-1)
    if (!run || this.isMidway) return null
    if ('directories' in run) return { directory: lastIn(run.directories) }
    if (run.last) return { directory: run.directory }
    // A slice of a large directory: a first scan stored it, a comparison waits for the rest.
    return this.#fresh ? { directory: run.directory, name: names().at(-1)! } : null
  }

  /** Both for the location and for the directory it lies in. */
  #count(changes: Total, kind: number, size: number, sign: 1 | -1): void {
    tally(changes, kind, size, sign)
    tally(this.#counts, kind, size, sign)
    if (kind !== KIND.file && kind !== KIND.directory) this.#counts.others += sign
  }
}

/** The same as long as the same directory of the same disk is there; null where that is not told, or by another machine's clock. */
export function rootSign({ path }: Location): string | null {
  const root = encodeName(path)
  try {
    const { ino, birthtimeNs } = lstatSync(root, { bigint: true })
    return birthtimeNs > 0n && remoteAt(root) === null ? `${ino} ${birthtimeNs}` : null
  } catch {
    return null
  }
}

/** The two clocks are never quite the same, and half of `bornBeforeMs` is left for less. */
const SET_BACK_MS = 1_000

/** The clock that tells when files are made was set back since this thread began: what is younger may seem to be older. */
function wasSetBack(): boolean {
  return Date.now() < performance.timeOrigin + performance.now() - SET_BACK_MS
}

interface Sliced {
  readonly parent: number
  /** Numbers of the names that were brought. */
  readonly seen: Bits
  /** Up to which name it was looked through. */
  after: number
  /** Names of what lies there and is left out. */
  out: ReadonlySet<string> | null
  /** 0 where it holds something that was not brought. */
  print: number
}

/** Why an entry is among those that are deleted unless they turn up elsewhere. */
export const WHY = { missing: 0, leftOut: 1, displaced: 2 } as const

/** Of those that a directory was known to have, when it is asked whether another is the same one. */
const CHILDREN_LOOKED_AT = 64

/** It was made before the entry's time; where the file system does not tell when, nobody knows. */
function isOld({ birthtimeNs }: BigIntStats, { mtime }: Entry): boolean {
  return birthtimeNs > 0n && microseconds(birthtimeNs) <= mtime
}

function isOf(stat: BigIntStats, { inode, kind }: Entry): boolean {
  return inodeKey(plainInode(stat.ino)) === inode && kindOf(stat) === kind
}

const INTO_ENTRY = 'INSERT INTO entry (id, parent, name, location, kind, size, mtime, inode)'

type EntryColumns = [
  id: number,
  parent: number,
  name: number,
  location: number,
  kind: number,
  size: number,
  mtime: number,
  inode: number | bigint,
]

function prepare(connection: Connection) {
  return {
    insert: connection.prepare(`${INTO_ENTRY} VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`),
    update: connection.prepare('UPDATE entry SET kind = ?, size = ?, mtime = ?, inode = ? WHERE id = ?'),
    move: connection.prepare('UPDATE entry SET parent = ?, name = ? WHERE id = ?'),
    delete: connection.prepare('DELETE FROM entry WHERE id = ?'),
    byInode: connection
      .prepare<[number | bigint, number, number], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM entry WHERE entry.inode = ? AND entry.location = ? AND entry.kind = ?`,
      )
      .raw(),
    child: connection.prepare<[number, number], number>('SELECT id FROM entry WHERE parent = ? AND name = ?').pluck(),
    someIn: connection
      .prepare<[number, number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE entry.parent = ? LIMIT ?`)
      .raw(),
    namesIn: connection
      .prepare<[number, number, number], [id: number, name: number]>(
        'SELECT id, name FROM entry WHERE parent = ? AND name > ? ORDER BY name LIMIT ?',
      )
      .raw(),
    below: connection.prepare<[number], number>('SELECT id FROM entry WHERE parent = ? LIMIT 256').pluck(),
    miss: connection.prepare(
      `INSERT INTO missing (entry, location, left_out) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET left_out = excluded.left_out`,
    ),
    found: connection.prepare('DELETE FROM missing WHERE entry = ?'),
    isMissing: connection.prepare<[number], number>('SELECT 1 FROM missing WHERE entry = ?').pluck(),
    missing: connection
      .prepare<[number, number], [number, number]>('SELECT entry, left_out FROM missing WHERE location = ? LIMIT ?')
      .raw(),
  }
}

function foundAt(batch: Batch, halves: Uint32Array, names: readonly string[], at: number): Found {
  const kind = batch.kinds[at]!
  return {
    name: names[at]!,
    kind: kind & KIND_MASK,
    size: batch.sizes[at]!,
    mtime: batch.mtimes[at]!,
    inode: plainInodeAt(halves, at),
    unread: (kind & UNREAD) !== 0,
    foreign: (kind & FOREIGN) !== 0,
  }
}

function metadataOf(stat: BigIntStats): Metadata {
  const { size, mtimeNs, ino } = stat
  return {
    kind: kindOf(stat),
    size: Number(size),
    mtime: microseconds(mtimeNs),
    inode: plainInode(ino),
    unread: false,
    foreign: false,
  }
}

/** Nothing is said any more of what it holds: it was written, or another file took its name. */
function isAnotherFile(before: Known, found: Metadata): boolean {
  if (before.kind !== KIND.file && found.kind !== KIND.file) return false
  const { kind, size, mtime, inode } = found
  return before.kind !== kind || before.size !== size || before.mtime !== mtime || before.inode !== inodeKey(inode)
}

/** SQLite's integers are signed; an inode past 2^63 is stored as the negative number of the same bits. */
function bindInode(inode: number | bigint): number | bigint {
  return typeof inode === 'number' ? inode : BigInt.asIntN(64, inode)
}

function join(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`
}

function touch(applied: Applied, directory: string): void {
  if (applied.directories.length < LIMITS.directoriesToldMax) applied.directories.push(directory)
}

function noCounts(): Counts {
  return { files: 0, directories: 0, others: 0, bytes: 0 }
}

function nothingApplied(): Applied {
  return { entries: 0, added: 0, changed: 0, moved: 0, removed: 0, directories: [], failures: [], leftOut: {} }
}
