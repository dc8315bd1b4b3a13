// The tags of a library: a tree of names with aliases and colours. What they are on is in tagged.ts.
import { uuidv7 } from 'uuidv7'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { nearest } from '../base/near.js'
import type { TagItem } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import type { Connection } from './connection.js'
import { markOf, readPlace, writePlace } from './cursors.js'
import { fold } from './fold.js'

export interface Tag {
  readonly id: number
  readonly uid: string
  readonly parent: number | null
  readonly name: string
  readonly aliases: readonly string[]
  readonly colour: string | null
  readonly description: string | null
  readonly createdAt: number
}

interface Counts {
  readonly entries: number
  readonly contents: number
}

/** Of thousands of tags not all are read anew for one that changes. */
interface Known {
  readonly byId: Map<number, Tag>
  readonly byUid: Map<string, Tag>
  /** By name and alias, folded. */
  readonly byWord: Map<string, Tag>
  /** In the order of their folded names; the highest ones under null. */
  readonly below: Map<number | null, Tag[]>
}

interface Row {
  readonly id: number
  readonly uid: string
  readonly parent: number | null
  readonly name: string
  readonly aliases: string
  readonly colour: string | null
  readonly description: string | null
  readonly created_at: number
}

type Change = Omit<ParamsOf<'tags.update'>, 'library' | 'tag'>

export class Tags {
  readonly #library: string
  readonly #connection: Connection
  readonly #counts
  #known: Known | null = null

  constructor(library: string, connection: Connection) {
    this.#library = library
    this.#connection = connection
    this.#counts = connection.prepare<[number], Counts>('SELECT entries, contents FROM tag WHERE id = ?')
  }

  /**
   * @param given its id, its name or one of its aliases
   * @throws TAG_NOT_FOUND
   */
  get(given: string): Tag {
    const { byUid, byWord } = this.#load()
    const tag = byUid.get(given) ?? byWord.get(wordOf(given))
    if (tag) return tag
    const near = nearest(wordOf(given), byWord.keys(), LIMITS.tagsProposedMax)
    const names = [...new Set(near.map((word) => JSON.stringify(byWord.get(word)!.name)))]
    throw new SpacedriveError(
      'TAG_NOT_FOUND',
      `no tag is called ${JSON.stringify(given)}`,
      names.length === 0 ? {} : { hint: `Did you mean ${names.join(' or ')}? \`spacedrive tag list\` shows them all.` },
    )
  }

  /** Whether there are any. */
  get some(): boolean {
    return this.#load().byId.size > 0
  }

  byId(id: number): Tag | undefined {
    return this.#load().byId.get(id)
  }

  /** A tag and all below it. */
  withBelow(tag: Tag): Tag[] {
    return [tag, ...(this.#load().below.get(tag.id) ?? []).flatMap((each) => this.withBelow(each))]
  }

  /** How many entries and contents have them, one that has several counted for each. */
  countsOf(tags: readonly number[]): Counts {
    const sum = { entries: 0, contents: 0 }
    for (const { entries, contents } of tags.flatMap((id) => this.#counts.all(id))) {
      sum.entries += entries
      sum.contents += contents
    }
    return sum
  }

  item(tag: Tag): TagItem {
    const above = this.#above(tag)
    return {
      id: tag.uid,
      library: this.#library,
      name: tag.name,
      aliases: [...tag.aliases],
      ...(tag.parent === null ? {} : { parent: this.byId(tag.parent)!.uid }),
      path: [...above.map((each) => each.name), tag.name],
      ...(tag.colour === null ? {} : { colour: tag.colour }),
      ...(tag.description === null ? {} : { description: tag.description }),
      createdAt: new Date(tag.createdAt).toISOString(),
      ...this.countsOf([tag.id]),
    }
  }

  /**
   * A tag before those below it, siblings by name.
   *
   * @param query only those of which a name or alias contains it
   */
  list(
    query: string | undefined,
    limit: number,
    cursor: string | undefined,
  ): { total: number; items: TagItem[]; cursor?: string } {
    const wanted = fold(query ?? '')
    const called = (tag: Tag) => wanted === '' || [tag.name, ...tag.aliases].some((word) => fold(word).includes(wanted))
    const found = (this.#load().below.get(null) ?? []).flatMap((tag) => this.withBelow(tag)).filter(called)
    const mark = markOf(this.#library, wanted)
    const after = cursor === undefined ? null : readPlace(cursor, isPlace, mark)
    const from = after === null ? 0 : found.findIndex((tag) => isAfter(this.#place(tag), after))
    const page = from < 0 ? [] : found.slice(from, from + limit)
    const items = page.map((tag) => this.item(tag))
    const more = from >= 0 && from + limit < found.length
    return { total: found.length, items, ...(more ? { cursor: writePlace(this.#place(page.at(-1)!), mark) } : {}) }
  }

  /** @throws TAG_EXISTS, TAG_NOT_FOUND of the parent, BAD_REQUEST */
  create({ name, parent, aliases = [], colour, description }: Omit<ParamsOf<'tags.create'>, 'library'>): Tag {
    const above = parent === undefined ? null : this.get(parent)
    const known = this.#load()
    if (known.byId.size >= LIMITS.tagsMax) throw tooMany()
    if (above) this.#refuseDepth(above, 1)
    const made = {
      uid: uuidv7(),
      parent: above?.id ?? null,
      name,
      colour: colour?.toLowerCase() ?? null,
      description: description ?? null,
      createdAt: Date.now(),
    }
    const id = Number(
      this.#connection
        .prepare(
          `INSERT INTO tag (uid, parent, name, aliases, colour, description, created_at) VALUES (?, ?, ?, '[]', ?, ?, ?)`,
        )
        .run(made.uid, made.parent, name, made.colour, made.description, made.createdAt).lastInsertRowid,
    )
    const tag = { id, ...made, aliases: this.#callBy(id, name, aliases) }
    insert(known, tag)
    return tag
  }

  /** @throws TAG_EXISTS, TAG_CYCLE, TAG_NOT_FOUND of the parent, BAD_REQUEST */
  update(tag: Tag, { name = tag.name, aliases = [...tag.aliases], parent, colour, description }: Change): Tag {
    const known = this.#load()
    const above = typeof parent === 'string' ? this.get(parent) : null
    if (parent !== undefined) this.#move(tag, above)
    const changed = {
      ...tag,
      parent: parent === undefined ? tag.parent : (above?.id ?? null),
      name,
      colour: colour === undefined ? tag.colour : (colour?.toLowerCase() ?? null),
      description: description === undefined ? tag.description : description,
    }
    this.#connection.prepare('DELETE FROM tag_word WHERE tag = ?').run(tag.id)
    this.#connection
      .prepare('UPDATE tag SET name = ?, colour = ?, description = ? WHERE id = ?')
      .run(name, changed.colour, changed.description, tag.id)
    const called = { ...changed, aliases: this.#callBy(tag.id, name, aliases) }
    remove(known, tag.id)
    insert(known, called)
    return called
  }

  /** From now on it is gone for callers, and its names are free; those below it come to lie below what was above it. */
  markDeleting(tag: Tag): void {
    const known = this.#load()
    this.#connection.prepare('UPDATE tag SET parent = ? WHERE parent = ?').run(tag.parent, tag.id)
    this.#connection.prepare('UPDATE tag SET deleting = 1, parent = NULL WHERE id = ?').run(tag.id)
    this.#connection.prepare('DELETE FROM tag_word WHERE tag = ?').run(tag.id)
    remove(known, tag.id)
    const below = known.below.get(tag.id) ?? []
    known.below.delete(tag.id)
    for (const each of below) insert(known, { ...each, parent: tag.parent })
  }

  /** Of which a deletion has not come to its end. */
  deleting(): number[] {
    return this.#connection.prepare<[], number>('SELECT id FROM tag WHERE deleting = 1').pluck().all()
  }

  delete(id: number): void {
    this.#connection.prepare('DELETE FROM tag WHERE id = ?').run(id)
  }

  /** After a transaction that did not commit, too. */
  forget(): void {
    this.#known = null
  }

  /**
   * @returns what of it is kept beside the name
   * @throws TAG_EXISTS, and the whole transaction is in vain
   */
  #callBy(id: number, name: string, aliases: readonly string[]): string[] {
    const insert = this.#connection.prepare('INSERT INTO tag_word (word, tag) VALUES (?, ?) ON CONFLICT DO NOTHING')
    const holder = this.#connection.prepare<[string], { id: number; name: string }>(
      'SELECT tag.id, tag.name FROM tag_word JOIN tag ON tag.id = tag_word.tag WHERE word = ?',
    )
    const kept = new Map([[wordOf(name), name]])
    for (const alias of aliases) if (!kept.has(wordOf(alias))) kept.set(wordOf(alias), alias)
    for (const [word, text] of kept) {
      if (insert.run(word, id).changes > 0) continue
      throw taken(text, holder.get(word)!.name)
    }
    kept.delete(wordOf(name))
    const others = [...kept.values()]
    this.#connection.prepare('UPDATE tag SET aliases = ? WHERE id = ?').run(JSON.stringify(others), id)
    return others
  }

  #move(tag: Tag, above: Tag | null): void {
    if (above && [above, ...this.#above(above)].some(({ id }) => id === tag.id)) throw circle(tag, above)
    if (above) this.#refuseDepth(above, this.#height(tag))
    this.#connection.prepare('UPDATE tag SET parent = ? WHERE id = ?').run(above?.id ?? null, tag.id)
  }

  #refuseDepth(above: Tag, height: number): void {
    if (this.#above(above).length + 1 + height <= LIMITS.tagDepthMax) return
    throw new SpacedriveError('BAD_REQUEST', `tags lie at most ${LIMITS.tagDepthMax} deep`, {
      hint: 'Choose a parent that lies higher.',
    })
  }

  #height(tag: Tag): number {
    return 1 + Math.max(0, ...(this.#load().below.get(tag.id) ?? []).map((each) => this.#height(each)))
  }

  /** From the highest down. */
  #above(tag: Tag): Tag[] {
    const parent = tag.parent === null ? undefined : this.byId(tag.parent)
    return parent ? [...this.#above(parent), parent] : []
  }

  /** What orders the tags of a tree. */
  #place(tag: Tag): string[] {
    return [...this.#above(tag), tag].map((each) => wordOf(each.name))
  }

  #load(): Known {
    return (this.#known ??= knownOf(
      this.#connection
        .prepare<[], Row>(
          'SELECT id, uid, parent, name, aliases, colour, description, created_at FROM tag WHERE deleting = 0',
        )
        .all()
        .map(fromRow),
    ))
  }
}

function fromRow({ created_at: createdAt, aliases, ...row }: Row): Tag {
  return { ...row, createdAt, aliases: JSON.parse(aliases) as string[] }
}

function knownOf(tags: readonly Tag[]): Known {
  const known: Known = { byId: new Map(), byUid: new Map(), byWord: new Map(), below: new Map() }
  const named = tags.map((tag) => ({ tag, word: wordOf(tag.name) })).sort((a, b) => (a.word < b.word ? -1 : 1))
  for (const { tag, word } of named) add(known, tag, word).push(tag)
  return known
}

/** @returns those it is to stand among */
function add({ byId, byUid, byWord, below }: Known, tag: Tag, word: string): Tag[] {
  byId.set(tag.id, tag)
  byUid.set(tag.uid, tag)
  for (const alias of tag.aliases) byWord.set(wordOf(alias), tag)
  byWord.set(word, tag)
  const siblings = below.get(tag.parent) ?? []
  below.set(tag.parent, siblings)
  return siblings
}

function insert(known: Known, tag: Tag): void {
  const word = wordOf(tag.name)
  const siblings = add(known, tag, word)
  siblings.splice(before(siblings, word), 0, tag)
}

function remove({ byId, byUid, byWord, below }: Known, id: number): void {
  const tag = byId.get(id)!
  byId.delete(id)
  byUid.delete(tag.uid)
  for (const word of [tag.name, ...tag.aliases]) byWord.delete(wordOf(word))
  const siblings = below.get(tag.parent)!
  siblings.splice(siblings.indexOf(tag), 1)
}

/** How many of them stand before it. */
function before(siblings: readonly Tag[], word: string): number {
  let [least, most] = [0, siblings.length]
  while (least < most) {
    const middle = (least + most) >> 1
    if (wordOf(siblings[middle]!.name) < word) least = middle + 1
    else most = middle
  }
  return least
}

/** Case, accents and the width of blanks do not tell names apart. */
function wordOf(name: string): string {
  return fold(name.trim().replace(/\s+/g, ' '))
}

function isAfter(place: readonly string[], other: readonly string[]): boolean {
  const at = place.findIndex((word, index) => word !== other[index])
  if (at < 0) return false
  return other[at] === undefined || place[at]! > other[at]
}

function isPlace(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((word) => typeof word === 'string')
}

function taken(text: string, holder: string): SpacedriveError {
  const how =
    wordOf(text) === wordOf(holder) ? 'there is a tag called' : `${JSON.stringify(text)} is an alias of the tag`
  return new SpacedriveError('TAG_EXISTS', `${how} ${JSON.stringify(holder)}`)
}

function circle(tag: Tag, above: Tag): SpacedriveError {
  const [lower, upper] = [JSON.stringify(above.name), JSON.stringify(tag.name)]
  const why =
    tag.id === above.id
      ? `${upper} cannot lie below itself`
      : `${upper} cannot be put below ${lower}, which lies below it`
  return new SpacedriveError('TAG_CYCLE', why)
}

function tooMany(): SpacedriveError {
  return new SpacedriveError('BAD_REQUEST', `a library has at most ${LIMITS.tagsMax} tags`, {
    hint: 'Delete some that are not used.',
  })
}
