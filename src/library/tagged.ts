// Which entries have which tags, and what is kept of the tags of entries that went.
//
// An entry is deleted when the disk says that it is gone. Its tags then wait for one that comes to the same path: a file that is
// restored, a directory that is moved back from elsewhere, a location that is removed and added again.
import { LIMITS } from '../base/limits.js'
import { encodeName, joined } from '../scan/names.js'
import { KIND } from '../scan/read.js'
import type { Bind, Condition } from './conditions.js'
import type { Connection } from './connection.js'
import type { Entries, Entry, NamedEntry } from './entries.js'
import type { Location, Locations } from './locations.js'
import { DISPLACED, type Names } from './names.js'

/** Looked at in one step of a search: some milliseconds. */
const TAGGED_A_STEP = 2_000

interface Kept {
  readonly tag: number
  readonly isDirectory: boolean
}

interface KeptRow {
  readonly name: Buffer
  readonly tag: number
  readonly is_directory: number
}

export class Tagged {
  readonly #entries: Entries
  readonly #locations: Locations
  readonly #names: Names
  readonly #statements
  /** Whether any entry has a tag; null until it is asked for. */
  #some: boolean | null = null
  /** How many tags wait; null until it is asked for. */
  #waiting: number | null = null
  /** Those that wait for something in the directory looked at last, by the bytes of the name. */
  #here: { readonly directory: string; readonly byName: Map<string, Kept[]> } | null = null
  /** By location that is being removed: how far its entries were gone through. */
  readonly #keptTo = new Map<number, number>()

  constructor(connection: Connection, entries: Entries, locations: Locations, names: Names) {
    this.#entries = entries
    this.#locations = locations
    this.#names = names
    this.#statements = prepare(connection)
  }

  /** The entries named by ids and absolute paths, each once, and the names under which there is none that is wanted. */
  named(
    { ids = [], paths = [] }: { ids?: readonly string[] | undefined; paths?: readonly string[] | undefined },
    isWanted: (entry: NamedEntry) => boolean,
  ): { entries: NamedEntry[]; missing: string[] } {
    const found = new Map<number, NamedEntry>()
    const missing: string[] = []
    const note = (name: string, entry: NamedEntry | undefined) => {
      if (!entry || this.#locations.byId(entry.location)?.removing || !isWanted(entry)) missing.push(name)
      else found.set(entry.id, entry)
    }
    this.#entries.namedBy(ids).forEach((entry, at) => note(ids[at]!, entry))
    for (const path of paths) note(path, this.#entries.at(path))
    return { entries: [...found.values()], missing }
  }

  /** Of an entry, itself and by what it holds. */
  of(entry: Pick<Entry, 'id' | 'mtime'>): number[] {
    return this.#statements.ofBoth.all({ entry: entry.id, mtime: entry.mtime })
  }

  /** What an entry holds, as far as that is known. */
  contentOf({ id, mtime }: Pick<Entry, 'id' | 'mtime'>): bigint | undefined {
    return this.#statements.content.get(id, mtime)
  }

  /** True where it is new. */
  addToContent(cid: bigint, tag: number): boolean {
    return this.#statements.addToContent.run(cid, tag).changes > 0
  }

  /** True where it was there. */
  removeFromContent(cid: bigint, tag: number): boolean {
    return this.#statements.removeFromContent.run(cid, tag).changes > 0
  }

  /** @returns to how many it is new */
  add(entries: readonly number[], tag: number): number {
    this.#some = true
    return this.#statements.add.run(tag, JSON.stringify(entries)).changes
  }

  /** @returns how many had it */
  remove(entries: readonly number[], tag: number): number {
    return this.#statements.remove.run(tag, JSON.stringify(entries)).changes
  }

  /** Takes a tag off some of what it is on; false when it is on nothing more, and waits for nothing. */
  removeSlice(tag: number): boolean {
    const { removeSome, removeSomeContents } = this.#statements
    if (removeSome.run(tag, LIMITS.batchEntriesMax).changes > 0) return true
    if (removeSomeContents.run(tag, LIMITS.batchEntriesMax).changes > 0) return true
    if (this.waits) this.#statements.forgetTag.run(tag)
    this.#waiting = null
    this.#here = null
    return false
  }

  /** Before an entry is deleted, while those above it are still there. Costs nothing where there are no tags. */
  keep(entry: Entry): void {
    if (!this.#any()) return
    const tags = this.#statements.of.all(entry.id)
    if (tags.length === 0) return
    const { directory, name } = this.#spotOf(entry)
    const bytes = [encodeName(directory), encodeName(name)] as const
    for (const tag of tags) {
      this.#statements.keep.run(...bytes, tag, Number(entry.kind === KIND.directory))
      this.#waiting = this.#count() + 1
    }
    this.#statements.removeAll.run(entry.id)
    this.#here = null
    if (this.#waiting! > LIMITS.tagsKeptMax) this.#forgetOldest()
  }

  /**
   * For the entries of a location that is being removed, some at a time, before any of them is deleted.
   *
   * @returns false when all were gone through
   */
  keepSlice(location: Location): boolean {
    if (!this.#any()) return false
    const from = this.#keptTo.get(location.id) ?? 0
    const ids = from === Infinity ? [] : this.#statements.next.all(from, LIMITS.tagEntriesMax)
    this.#keptTo.set(location.id, ids.at(-1) ?? Infinity)
    for (const id of ids) {
      const entry = this.#entries.byId(id)
      if (entry?.location === location.id) this.keep(entry)
    }
    return ids.length > 0
  }

  /** Whether any tags wait for an entry. */
  get waits(): boolean {
    return this.#count() > 0
  }

  /** To an entry that has come to a place: what waits there for one of its kind. */
  giveBack(entry: number, kind: number, root: string, relative: string): void {
    if (!this.waits) return
    const { directory, name } = spotOf(joined(root, relative))
    const bytes = encodeName(name)
    const { byName } = this.#waitingIn(directory)
    const waiting = byName.get(keyOf(bytes))
    if (!waiting) return
    const isDirectory = kind === KIND.directory
    const own = waiting.filter((each) => each.isDirectory === isDirectory)
    if (own.length === 0) return
    for (const { tag } of own) this.add([entry], tag)
    this.#statements.forget.run(encodeName(directory), bytes, Number(isDirectory))
    this.#waiting! -= own.length
    byName.set(
      keyOf(bytes),
      waiting.filter((each) => each.isDirectory !== isDirectory),
    )
  }

  /** Once a location is gone: its number may be another one's. */
  endKeeping(location: Location): void {
    this.#keptTo.delete(location.id)
  }

  /** After a transaction that did not commit, too. */
  forget(): void {
    this.#some = null
    this.#waiting = null
    this.#here = null
    this.#keptTo.clear()
  }

  #any(): boolean {
    return (this.#some ??= this.#statements.some.get() !== undefined)
  }

  #count(): number {
    return (this.#waiting ??= this.#statements.count.get()!)
  }

  #forgetOldest(): void {
    this.#statements.forgetOldest.run(LIMITS.tagsForgottenAtOnce)
    this.#waiting = null
  }

  #waitingIn(directory: string): { readonly directory: string; readonly byName: Map<string, Kept[]> } {
    if (this.#here?.directory === directory) return this.#here
    const byName = new Map<string, Kept[]>()
    for (const { name, tag, is_directory } of this.#statements.kept.all(encodeName(directory))) {
      const kept = { tag, isDirectory: is_directory === 1 }
      const others = byName.get(keyOf(name))
      if (others) others.push(kept)
      else byName.set(keyOf(name), [kept])
    }
    this.#here = { directory, byName }
    return this.#here
  }

  #spotOf(entry: Entry): Spot {
    return spotOf(this.#entries.pathOf(entry, this.#names.text(entry.name)).replaceAll(DISPLACED, ''))
  }
}

/** Tags of which one is wanted, and how many entries and contents have them. */
export interface AnyTag {
  readonly tags: readonly number[]
  readonly entries: number
  readonly contents: number
}

/**
 * Of an entry that has, of each of these groups, some tag, itself or by what it holds.
 *
 * @param few the group that fewest have, where so few do that it pays to begin with them
 */
export function hasTag(groups: readonly AnyTag[], few: AnyTag | null): Condition {
  return {
    row: (bind) => groups.map((group) => `(${has(group, bind)})`).join(' AND '),
    ...(few ? { names: (connection) => namesTagged(connection, few) } : {}),
  }
}

function has({ tags, contents }: AnyTag, bind: Bind): string {
  const wanted = `tag IN (SELECT value FROM json_each(${bind(JSON.stringify(tags))}))`
  const itself = `EXISTS (SELECT 1 FROM tagged WHERE tagged.entry = entry.id AND ${wanted})`
  if (contents === 0) return itself
  return `${itself} OR EXISTS (SELECT 1 FROM identity JOIN content ON content.id = identity.content
    JOIN tagged_content ON tagged_content.cid = content.cid
    WHERE identity.entry = entry.id AND identity.mtime = entry.mtime AND ${wanted})`
}

function* namesTagged(connection: Connection, { tags, contents }: AnyTag): Generator<void, ReadonlySet<number>> {
  const names = new Set<number>()
  for (const tag of tags) {
    yield* gather(names, connection, 'tagged.tag', tag, 'tagged CROSS JOIN entry ON entry.id = tagged.entry')
    if (contents === 0) continue
    const held = connection
      .prepare<[number], number>(
        `SELECT content.id FROM tagged_content CROSS JOIN content ON content.cid = tagged_content.cid
         WHERE tagged_content.tag = ?`,
      )
      .pluck()
    const from = 'identity CROSS JOIN entry ON entry.id = identity.entry'
    for (const content of held.all(tag)) yield* gather(names, connection, 'identity.content', content, from)
  }
  return names
}

function* gather(
  names: Set<number>,
  connection: Connection,
  column: 'tagged.tag' | 'identity.content',
  wanted: number,
  from: string,
): Generator<void> {
  const [table] = column.split('.')
  const some = connection
    .prepare<[number, number, number], [entry: number, name: number]>(
      `SELECT ${table}.entry, entry.name FROM ${from}
       WHERE ${column} = ? AND ${table}.entry > ? ORDER BY ${table}.entry LIMIT ?`,
    )
    .raw()
  for (let after = 0; ;) {
    const rows = some.all(wanted, after, TAGGED_A_STEP)
    for (const [, name] of rows) names.add(name)
    if (rows.length < TAGGED_A_STEP) return
    after = rows.at(-1)![0]
    yield
  }
}

/** Where something lies: its directory, absolute, and its name there, as in scan/names. */
interface Spot {
  readonly directory: string
  readonly name: string
}

function spotOf(path: string): Spot {
  const slash = path.lastIndexOf('/')
  return { directory: path.slice(0, slash) || '/', name: path.slice(slash + 1) }
}

function keyOf(name: Buffer): string {
  return name.toString('latin1')
}

function prepare(connection: Connection) {
  return {
    some: connection.prepare<[], number>('SELECT 1 FROM tagged LIMIT 1').pluck(),
    of: connection.prepare<[number], number>('SELECT tag FROM tagged WHERE entry = ?').pluck(),
    add: connection.prepare(
      'INSERT INTO tagged (entry, tag) SELECT value, ? FROM json_each(?) WHERE true ON CONFLICT DO NOTHING',
    ),
    remove: connection.prepare('DELETE FROM tagged WHERE tag = ? AND entry IN (SELECT value FROM json_each(?))'),
    removeAll: connection.prepare('DELETE FROM tagged WHERE entry = ?'),
    removeSome: connection.prepare(
      'DELETE FROM tagged WHERE (entry, tag) IN (SELECT entry, tag FROM tagged WHERE tag = ? LIMIT ?)',
    ),
    ofBoth: connection
      .prepare<[{ entry: number; mtime: number }], number>(
        `SELECT tag FROM tagged WHERE entry = @entry
         UNION SELECT tagged_content.tag FROM identity JOIN content ON content.id = identity.content
         JOIN tagged_content ON tagged_content.cid = content.cid
         WHERE identity.entry = @entry AND identity.mtime = @mtime`,
      )
      .pluck(),
    content: connection
      .prepare<[number, number], bigint>(
        'SELECT cid FROM identity JOIN content ON content.id = content WHERE entry = ? AND mtime = ?',
      )
      .pluck()
      .safeIntegers(),
    addToContent: connection.prepare('INSERT INTO tagged_content (cid, tag) VALUES (?, ?) ON CONFLICT DO NOTHING'),
    removeFromContent: connection.prepare('DELETE FROM tagged_content WHERE cid = ? AND tag = ?'),
    removeSomeContents: connection.prepare(
      'DELETE FROM tagged_content WHERE (cid, tag) IN (SELECT cid, tag FROM tagged_content WHERE tag = ? LIMIT ?)',
    ),
    next: connection
      .prepare<[number, number], number>('SELECT DISTINCT entry FROM tagged WHERE entry > ? ORDER BY entry LIMIT ?')
      .pluck(),
    keep: connection.prepare(
      'INSERT OR REPLACE INTO tag_kept (directory, name, tag, is_directory) VALUES (?, ?, ?, ?)',
    ),
    kept: connection.prepare<[Buffer], KeptRow>(
      `SELECT tag_kept.name, tag, is_directory FROM tag_kept JOIN tag ON tag.id = tag_kept.tag
       WHERE directory = ? AND tag.deleting = 0`,
    ),
    count: connection.prepare<[], number>('SELECT count(*) FROM tag_kept').pluck(),
    forget: connection.prepare('DELETE FROM tag_kept WHERE directory = ? AND name = ? AND is_directory = ?'),
    forgetTag: connection.prepare('DELETE FROM tag_kept WHERE tag = ?'),
    forgetOldest: connection.prepare('DELETE FROM tag_kept WHERE id IN (SELECT id FROM tag_kept ORDER BY id LIMIT ?)'),
  }
}
