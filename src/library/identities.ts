// What files hold: which content an entry has, how many files have it too, and which files are yet to be read.
import { LIMITS } from '../base/limits.js'
import type { Media } from '../protocol/messages.js'
import { CONTENT_KINDS } from '../protocol/words.js'
import { MEDIA_KINDS, type ContentType } from '../scan/content-type.js'
import { KIND } from '../scan/read.js'
import { writtenId } from '../scan/content-id.js'
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, toEntry, type Entry, type EntryRow } from './entries.js'

/** What was read of an entry's file. */
export interface Content extends ContentType {
  readonly id: string
  readonly media?: Media
}

/** What a file was when it was read, to be compared with what it is by now. */
export type Seen = Pick<Entry, 'id' | 'kind' | 'size' | 'mtime' | 'inode'>

type MediaRow = [width: bigint | null, height: bigint | null, ms: bigint | null, taken: string | null]
type ContentRow = [cid: bigint, kind: bigint, mime: string, ...MediaRow]

export class Identities {
  readonly #statements
  #used: boolean | null = null
  /** Whether anything may stand in `unreadable` or `hashed`: mostly nothing does, and then nothing is to be deleted there. */
  #failed: boolean | null = null
  #hashed: boolean | null = null
  #seen: boolean | null = null

  constructor(connection: Connection) {
    this.#statements = prepare(connection)
  }

  /** False for a library of which no file was ever to be read: nothing else is asked of it then. */
  get used(): boolean {
    this.#used ??= this.#statements.used.get() === 1
    return this.#used
  }

  of(entry: Pick<Entry, 'id' | 'mtime'>): Content | undefined {
    if (!this.used) return undefined
    const row = this.#statements.of.get(entry.id, entry.mtime)
    if (!row) return undefined
    const [cid, kind, mime, ...media] = row
    return { id: writtenId(cid), kind: CONTENT_KINDS[Number(kind)]!, mime, ...mediaOf(media) }
  }

  /** A file that is new, or another one than before. */
  want(location: number, entry: number): void {
    this.#used = true
    this.#statements.want.run(location, entry)
  }

  /** Before its row changes or goes: what it was said to hold is no longer said of it. */
  drop(location: number, { id, inode }: Pick<Entry, 'id' | 'inode'>): void {
    if (!this.used) return
    const { unwant, unhash, someHashed, unsee, someSeen } = this.#statements
    unwant.run(location, id)
    this.#unfail(id)
    if ((this.#hashed ??= someHashed.get() === 1)) unhash.run(id)
    if ((this.#seen ??= someSeen.get() === 1)) unsee.run(id)
    this.#loseContent(id, inode)
  }

  #unfail(id: number): void {
    if ((this.#failed ??= this.#statements.someFailed.get() === 1)) this.#statements.unfail.run(id)
  }

  #loseContent(id: number, inode: Entry['inode']): void {
    const { content, forget, loseOne, deleteUnused, uncompare } = this.#statements
    const known = content.get(id)
    if (known === undefined) return
    forget.run(id)
    uncompare.run(id)
    if (this.#hasOtherName(id, inode, known)) return
    loseOne.run(known)
    deleteUnused.run(known)
  }

  /** Those of the entries that are about to be deleted with their location. */
  dropSlice(location: number, most: number): void {
    if (!this.used) return
    for (const row of this.#statements.slice.all(location, most)) this.drop(location, toEntry(row))
  }

  /** Files to be read, in the order of their ids, after this one. */
  next(location: number, after: number, most: number): Entry[] {
    return this.#statements.next.all(location, after, most).map(toEntry)
  }

  /** Files to be tried again that were due at a moment of `performance.now()`. */
  due(location: number, at: number, most: number): Entry[] {
    return this.#statements.due.all({ location, at, stale: at + STALE_MS, most }).map(toEntry)
  }

  /** In how many milliseconds the next file is to be read: 0 for at once, null for none. */
  dueInMs(location: number): number | null {
    const { waits, stale, dueAt } = this.#statements
    const now = performance.now()
    if (waits.get(location) ?? stale.get(location, now + STALE_MS)) return 0
    const at = dueAt.get(location)
    return at === undefined ? null : Math.max(0, at - now)
  }

  /** How many are to be read at once; counted up to `after` plus a slice, with where to go on, null at the end. */
  count(location: number, after: number): { count: number; last: number | null } {
    const { count, last } = this.#statements.count.get(location, after, COUNT_SLICE)!
    return { count, last }
  }

  /** What was read of a file, if it still is what it was then; else it is read again. */
  record(location: number, seen: Seen, cid: bigint, { kind, mime }: ContentType, media?: Media): boolean {
    if (!this.isStill(seen)) return false
    this.#statements.unwant.run(location, seen.id)
    this.#unfail(seen.id)
    // One that was read for its header alone keeps what else is known of it.
    if (this.of(seen)?.id !== writtenId(cid)) {
      this.#loseContent(seen.id, seen.inode)
      this.#statements.identify.run(seen.id, this.#contentOf(BigInt.asIntN(64, cid), seen, kind, mime), seen.mtime)
    }
    if (media) this.#see(seen, media)
    return true
  }

  #see({ id, mtime }: Seen, { width, height, durationMs, takenAt }: Media): void {
    this.#seen = true
    this.#statements.see.run(id, mtime, width ?? null, height ?? null, durationMs ?? null, takenAt ?? null)
  }

  /** The hash of all that a file holds, if it still is what it was then. */
  recordHash(seen: Seen, digest: Uint8Array): boolean {
    if (!this.isStill(seen)) return false
    this.#used = true
    this.#hashed = true
    this.#statements.hash.run(seen.id, seen.mtime, digest)
    return true
  }

  /** 64 hexadecimal digits. */
  hashOf({ id, mtime }: Pick<Entry, 'id' | 'mtime'>): string | undefined {
    return this.used ? this.#statements.hashOf.get(id, mtime)?.toString('hex') : undefined
  }

  /** @param passes what stood in the way is over soon, so that it is tried again in ever longer steps */
  fail(location: number, { id }: Pick<Entry, 'id'>, reason: string, passes: boolean): void {
    const now = performance.now()
    const tries = this.#statements.tries.get(id) ?? 0
    const pause = passes
      ? Math.min(LIMITS.identifyAgainMs * 4 ** tries, LIMITS.identifyAgainMsMax)
      : LIMITS.identifyAgainMsMax
    this.#failed = true
    this.#statements.fail.run(id, location, Math.ceil(now + pause), tries + 1, reason)
    this.#statements.unwant.run(location, id)
  }

  /** Those that could not be read are tried by the next job: a scan was asked for, perhaps for that. */
  hurry(location: number): void {
    if (this.used) this.#statements.hurry.run(location)
  }

  /** Has all files of a location read that were not yet, with `media` also those whose headers were not, from the entry `from` on, a slice at a time; null when through. */
  gather(location: number, from: number, media: boolean): number | null {
    const to = from + GATHER_SLICE
    this.#used = true
    this.#statements.gather.run(location, from, to)
    if (media) this.#statements.gatherMedia.run(location, from, to)
    return to > (this.#statements.lastEntry.get() ?? 0) ? null : to
  }

  /** Whether the index knows it as it was then. */
  isStill({ id, kind, size, mtime, inode }: Seen): boolean {
    const row = this.#statements.entry.get(id)
    const now = row && toEntry(row)
    return now?.kind === kind && now.size === size && now.mtime === mtime && now.inode === inode
  }

  /** Whether no more contents than that have copies. */
  duplicatesMost(most: number): boolean {
    return this.#statements.copied.get(most + 1)! <= most
  }

  /** Whether the headers of no more files than that were read. */
  seenMost(most: number): boolean {
    return this.#statements.seen.get(most + 1)! <= most
  }

  /** After a transaction that did not commit. */
  forget(): void {
    this.#used = null
    this.#failed = null
    this.#hashed = null
    this.#seen = null
  }

  #contentOf(cid: bigint, { id, size, inode }: Seen, kind: ContentType['kind'], mime: string): number {
    const known = this.#statements.byCid.get(cid)
    if (known === undefined) {
      return Number(this.#statements.add.run(cid, size, CONTENT_KINDS.indexOf(kind), mime).lastInsertRowid)
    }
    if (!this.#hasOtherName(id, inode, known)) this.#statements.gainOne.run(known)
    return known
  }

  /** Whether the same file is known by another name, which then stands for both. */
  #hasOtherName(id: number, inode: Entry['inode'], content: number): boolean {
    return this.#statements.otherName.get(boundInode(inode), id, content) !== undefined
  }
}

/** Due so much later than anything is put off: by the clock of a thread that is gone. */
const STALE_MS = 2 * LIMITS.identifyAgainMsMax
/** Counted, or looked at, between two breaths: about 2 ms. */
const COUNT_SLICE = 20_000
const GATHER_SLICE = 5_000

const MEDIA_KIND_NUMBERS = [...MEDIA_KINDS].map((kind) => CONTENT_KINDS.indexOf(kind)).join(', ')

/** Of one that was looked into and said nothing it is said just as little. */
function mediaOf([width, height, ms, taken]: MediaRow): { media?: Media } {
  const media: Media = {
    ...(width === null || height === null ? {} : { width: Number(width), height: Number(height) }),
    ...(ms === null ? {} : { durationMs: Number(ms) }),
    ...(taken === null ? {} : { takenAt: taken }),
  }
  return Object.keys(media).length === 0 ? {} : { media }
}

function prepare(connection: Connection) {
  return {
    used: connection
      .prepare<[], number>(
        `SELECT 1 WHERE EXISTS (SELECT 1 FROM identity) OR EXISTS (SELECT 1 FROM unread) OR EXISTS (SELECT 1 FROM unreadable)
         OR EXISTS (SELECT 1 FROM hashed)`,
      )
      .pluck(),
    someFailed: connection.prepare<[], number>('SELECT EXISTS (SELECT 1 FROM unreadable)').pluck(),
    someHashed: connection.prepare<[], number>('SELECT EXISTS (SELECT 1 FROM hashed)').pluck(),
    of: connection
      .prepare<[number, number], ContentRow>(
        `SELECT cid, kind, mime, width, height, ms, taken FROM identity JOIN content ON content.id = content
         LEFT JOIN media ON media.entry = identity.entry AND media.mtime = identity.mtime
         WHERE identity.entry = ? AND identity.mtime = ?`,
      )
      .raw()
      .safeIntegers(),
    content: connection.prepare<[number], number>('SELECT content FROM identity WHERE entry = ?').pluck(),
    byCid: connection.prepare<[bigint], number>('SELECT id FROM content WHERE cid = ?').pluck(),
    add: connection.prepare('INSERT INTO content (cid, size, files, kind, mime) VALUES (?, ?, 1, ?, ?)'),
    identify: connection.prepare('INSERT OR REPLACE INTO identity (entry, content, mtime) VALUES (?, ?, ?)'),
    forget: connection.prepare('DELETE FROM identity WHERE entry = ?'),
    gainOne: connection.prepare('UPDATE content SET files = files + 1 WHERE id = ?'),
    loseOne: connection.prepare('UPDATE content SET files = files - 1 WHERE id = ?'),
    deleteUnused: connection.prepare('DELETE FROM content WHERE id = ? AND files < 1'),
    otherName: connection
      .prepare<[number | bigint, number, number], number>(
        `SELECT 1 FROM entry CROSS JOIN identity ON identity.entry = entry.id
         WHERE entry.inode = ? AND entry.id <> ? AND identity.content = ? LIMIT 1`,
      )
      .pluck(),
    slice: connection
      .prepare<[number, number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE location = ? LIMIT ?`)
      .raw(),
    entry: connection.prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE id = ?`).raw(),
    want: connection.prepare('INSERT OR IGNORE INTO unread (location, entry) VALUES (?, ?)'),
    unwant: connection.prepare('DELETE FROM unread WHERE location = ? AND entry = ?'),
    unfail: connection.prepare('DELETE FROM unreadable WHERE entry = ?'),
    unhash: connection.prepare('DELETE FROM hashed WHERE entry = ?'),
    uncompare: connection.prepare('DELETE FROM compared WHERE entry = ?'),
    someSeen: connection.prepare<[], number>('SELECT EXISTS (SELECT 1 FROM media)').pluck(),
    seen: connection.prepare<[number], number>('SELECT count(*) FROM (SELECT 1 FROM media LIMIT ?)').pluck(),
    unsee: connection.prepare('DELETE FROM media WHERE entry = ?'),
    see: connection.prepare(
      'INSERT OR REPLACE INTO media (entry, mtime, width, height, ms, taken) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    hash: connection.prepare('INSERT OR REPLACE INTO hashed (entry, mtime, digest) VALUES (?, ?, ?)'),
    hashOf: connection
      .prepare<[number, number], Buffer>('SELECT digest FROM hashed WHERE entry = ? AND mtime = ?')
      .pluck(),
    next: connection
      .prepare<[number, number, number], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM unread CROSS JOIN entry ON entry.id = unread.entry
         WHERE unread.location = ? AND unread.entry > ? ORDER BY unread.entry LIMIT ?`,
      )
      .raw(),
    due: connection
      .prepare<[{ location: number; at: number; stale: number; most: number }], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM (
           SELECT entry AS id FROM unreadable WHERE location = :location AND due <= :at
           UNION ALL SELECT entry FROM unreadable WHERE location = :location AND due > :stale
         ) AS wanted CROSS JOIN entry ON entry.id = wanted.id LIMIT :most`,
      )
      .raw(),
    stale: connection
      .prepare<[number, number], number>('SELECT 1 FROM unreadable WHERE location = ? AND due > ? LIMIT 1')
      .pluck(),
    waits: connection.prepare<[number], number>('SELECT 1 FROM unread WHERE location = ? LIMIT 1').pluck(),
    dueAt: connection
      .prepare<[number], number>('SELECT due FROM unreadable WHERE location = ? ORDER BY due LIMIT 1')
      .pluck(),
    count: connection.prepare<[number, number, number], { count: number; last: number | null }>(
      `SELECT count(*) AS count, max(entry) AS last FROM
       (SELECT entry FROM unread WHERE location = ? AND entry > ? ORDER BY entry LIMIT ?)`,
    ),
    tries: connection.prepare<[number], number>('SELECT tries FROM unreadable WHERE entry = ?').pluck(),
    fail: connection.prepare(
      'INSERT OR REPLACE INTO unreadable (entry, location, due, tries, reason) VALUES (?, ?, ?, ?, ?)',
    ),
    hurry: connection.prepare('UPDATE unreadable SET due = 0 WHERE location = ? AND due > 0'),
    gather: connection.prepare(
      `INSERT OR IGNORE INTO unread (location, entry)
       SELECT location, id FROM entry WHERE location = ? AND id >= ? AND id < ? AND kind = ${KIND.file} AND size > 0
       AND NOT EXISTS (SELECT 1 FROM identity WHERE identity.entry = entry.id)
       AND NOT EXISTS (SELECT 1 FROM unreadable WHERE unreadable.entry = entry.id)`,
    ),
    gatherMedia: connection.prepare(
      `INSERT OR IGNORE INTO unread (location, entry)
       SELECT entry.location, entry.id FROM entry CROSS JOIN identity ON identity.entry = entry.id
       CROSS JOIN content ON content.id = identity.content
       WHERE entry.location = ? AND entry.id >= ? AND entry.id < ? AND content.kind IN (${MEDIA_KIND_NUMBERS})
       AND NOT EXISTS (SELECT 1 FROM media WHERE media.entry = entry.id)`,
    ),
    copied: connection
      .prepare<[number], number>(
        'SELECT count(*) FROM (SELECT 1 FROM content INDEXED BY content_waste WHERE files > 1 LIMIT ?)',
      )
      .pluck(),
    lastEntry: connection.prepare<[], number>('SELECT max(id) FROM entry').pluck(),
  }
}

/** SQLite's integers are signed, and so is an inode that comes as text. */
function boundInode(inode: Entry['inode']): number | bigint {
  return typeof inode === 'number' ? inode : BigInt(inode)
}
