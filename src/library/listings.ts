// The children of a directory in some order, page by page. What is too much for one turn is put in order in steps, and of that only the
// order is kept: eight bytes a child, from which the next pages are read while entries come and go.
import { LIMITS } from '../base/limits.js'
import type { FileItem } from '../protocol/messages.js'
import type { Connection } from './connection.js'
import { markOf, readPlace, writePlace } from './cursors.js'
import type { Entry } from './entries.js'
import { fold } from './fold.js'
import { Pace } from './pace.js'

export type Sort = 'name' | 'size' | 'modified'

export interface ListedPage {
  readonly items: FileItem[]
  readonly cursor?: string
}

export interface AskedList {
  readonly library: string
  /** The directory's entry. */
  readonly directory: number
  readonly sort: Sort
  readonly limit: number
  readonly cursor: string | undefined
  /** Of the entries: changes whenever they do. */
  readonly version: number
  /** When it was asked: what was begun to be put in order after that is as good as new. */
  readonly since: number
}

/** What a listing needs to know of entries. */
export interface Children {
  childrenOf(directory: number): Entry[]
  byId(id: number): Entry | undefined
  byIds(ids: readonly number[]): (Entry | undefined)[]
  nameOf(entry: Pick<Entry, 'name'>): string
  /** Of a directory what is in it. */
  bytesOf(entry: Pick<Entry, 'id' | 'kind' | 'size'>): number
  items(entries: readonly Entry[]): FileItem[]
}

interface Child {
  readonly id: number
  readonly key: string | number
  readonly name: string
}

interface Few {
  readonly version: number
  readonly children: readonly Child[]
}

interface Many {
  readonly version: number
  readonly begun: number
  readonly ids: Float64Array
}

/** Directories kept for their next page, of either kind. */
const KEPT = 4
const CHILDREN_A_STEP = 256
/** Put in order in one go, and merged in one go: about a millisecond each. */
const RUN = 1_024

export class Listings {
  readonly #children: Children
  readonly #exceeds
  readonly #few = new Map<string, Few>()
  readonly #many = new Map<string, Many>()

  constructor(connection: Connection, children: Children) {
    this.#children = children
    this.#exceeds = connection
      .prepare<[number, number], number>('SELECT 1 FROM entry WHERE parent = ? AND name >= 0 LIMIT 1 OFFSET ?')
      .pluck()
  }

  /** Null where the directory holds too many to be put in order in one turn, and `order` has to do it first. */
  page(asked: AskedList): ListedPage | null {
    const { directory, sort, version } = asked
    const key = `${directory} ${sort}`
    const last = asked.cursor === undefined ? undefined : readCursor(asked.cursor, asked)
    const few = this.#few.get(key)
    if (few?.version === version) return this.#fewPage(key, few, asked, last)
    const many = this.#many.get(key)
    const lastAt = (last && many?.ids.indexOf(last.id)) ?? -1
    if (many && isGood(many, asked, lastAt >= 0)) {
      keep(this.#many, key, many)
      return this.#manyPage(many.ids, asked, last, lastAt)
    }
    if (this.#exceeds.get(directory, LIMITS.listAtOnceMax) === 1) return null
    const children = this.#children.childrenOf(directory).map((entry) => this.#child(entry, sort))
    return this.#fewPage(key, { version, children: children.sort(compare) }, asked, last)
  }

  /** Puts the children of a directory in order, in steps. @param version of what the connection reads */
  *order(connection: Connection, directory: number, sort: Sort, version: number): Generator<void, void> {
    const begun = performance.now()
    const pace = new Pace()
    const rows = connection
      .prepare<[number, number, number], ChildRow>(
        'SELECT id, name, kind, size, mtime FROM entry WHERE parent = ? AND name > ? ORDER BY name LIMIT ?',
      )
      .raw()
    const children: Child[] = []
    for (let after = -1; ;) {
      const some = rows.all(directory, after, CHILDREN_A_STEP)
      for (const [id, name, kind, size, mtime] of some)
        children.push(this.#child({ id, name, kind, size, mtime }, sort))
      if (some.length < CHILDREN_A_STEP) break
      after = some.at(-1)![1]
      if (pace.isDue()) yield
    }
    const order = yield* sorted(children)
    const ids = new Float64Array(order.length)
    for (let at = 0; at < order.length; at++) {
      ids[at] = children[order[at]!]!.id
      if (at % RUN === 0 && pace.isDue()) yield
    }
    keep(this.#many, `${directory} ${sort}`, { version, begun, ids })
  }

  #fewPage(key: string, few: Few, asked: AskedList, last: Child | undefined): ListedPage {
    const { limit } = asked
    keep(this.#few, key, few)
    const { children } = few
    const from = last ? placeAfter(children.length, last, (at) => children[at]!) : 0
    const page = children.slice(from, from + limit)
    const entries = this.#children.byIds(page.map(({ id }) => id))
    const items = this.#children.items(entries.filter((entry) => entry !== undefined))
    return from + limit < children.length ? { items, cursor: cursorOf(page.at(-1)!, asked) } : { items }
  }

  /** Who has gone since, or is elsewhere, is left out. @param lastAt of the last one, where it is among these; else -1 */
  #manyPage(ids: Float64Array, asked: AskedList, last: Child | undefined, lastAt: number): ListedPage {
    const { directory, sort, limit } = asked
    const isHere = (entry: Entry | undefined) => entry?.parent === directory && entry.name >= 0
    let at = lastAt + 1
    if (last && lastAt < 0)
      at = placeAfter(ids.length, last, (place) => {
        const entry = this.#children.byId(ids[place]!)
        return isHere(entry) ? this.#child(entry!, sort) : undefined
      })
    const page: Entry[] = []
    while (page.length < limit && at < ids.length) {
      const some = ids.subarray(at, at + limit - page.length)
      at += some.length
      for (const entry of this.#children.byIds([...some])) if (isHere(entry)) page.push(entry!)
    }
    const items = this.#children.items(page)
    const more = at < ids.length && page.length > 0
    return more ? { items, cursor: cursorOf(this.#child(page.at(-1)!, sort), asked) } : { items }
  }

  #child(entry: Pick<Entry, 'id' | 'name' | 'kind' | 'size' | 'mtime'>, sort: Sort): Child {
    const name = this.#children.nameOf(entry)
    if (sort !== 'name')
      return { id: entry.id, name, key: -(sort === 'size' ? this.#children.bytesOf(entry) : entry.mtime) }
    const folded = fold(name)
    // One text for both, where they are the same.
    return { id: entry.id, name, key: folded === name ? name : folded }
  }
}

type ChildRow = [id: number, name: number, kind: number, size: number, mtime: number]

/** The same entries, or what somebody has begun to go through a while ago and is to find neither twice nor not at all. @param hasLast what he came to is in it */
function isGood(many: Many, { version, since }: AskedList, hasLast: boolean): boolean {
  if (many.version === version || many.begun >= since) return true
  return hasLast && since - many.begun < LIMITS.listingKeptMs
}

/** In the order of use. */
function keep<Kept>(kept: Map<string, Kept>, key: string, one: Kept): void {
  kept.delete(key)
  kept.set(key, one)
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!)
}

function* sorted(children: readonly Child[]): Generator<void, Uint32Array> {
  const pace = new Pace()
  const before = (one: number, other: number) => compare(children[one]!, children[other]!)
  let from = Uint32Array.from(children, (_, at) => at)
  for (let at = 0; at < from.length; at += RUN) {
    from.subarray(at, at + RUN).sort(before)
    if (pace.isDue()) yield
  }
  let into = new Uint32Array(from.length)
  for (let run = RUN; run < from.length; run *= 2) {
    for (let start = 0; start < from.length; start += 2 * run) {
      const middle = Math.min(start + run, from.length)
      const end = Math.min(middle + run, from.length)
      let [one, other] = [start, middle]
      for (let at = start; at < end; at++) {
        const isFirst = other >= end || (one < middle && before(from[one]!, from[other]!) <= 0)
        into[at] = isFirst ? from[one++]! : from[other++]!
        if (at % RUN === 0 && pace.isDue()) yield
      }
    }
    ;[from, into] = [into, from]
  }
  return from
}

function compare(a: Child, b: Child): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1
  if (a.name !== b.name) return a.name < b.name ? -1 : 1
  return a.id - b.id
}

/** @param childAt undefined for one that is not there any more */
function placeAfter(count: number, last: Child, childAt: (at: number) => Child | undefined): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    let at = middle
    let child = childAt(at)
    while (!child && ++at < high) child = childAt(at)
    if (child && compare(child, last) <= 0) low = at + 1
    else high = middle
  }
  return low
}

/** Key, name and id of the last child; no name where it is the key. */
type ChildPlace = [key: string | number, name: string | null, id: number]

type ListedHow = Pick<AskedList, 'library' | 'directory' | 'sort'>

function markFor({ library, directory, sort }: ListedHow): string {
  return markOf(library, directory, sort)
}

function cursorOf({ key, name, id }: Child, how: ListedHow): string {
  return writePlace([key, key === name ? null : name, id] satisfies ChildPlace, markFor(how))
}

/** @throws BAD_REQUEST */
function readCursor(cursor: string, asked: ListedHow): Child {
  const isPlace = (value: unknown): value is ChildPlace => {
    const [key, name, id] = Array.isArray(value) ? (value as unknown[]) : []
    const isName = asked.sort === 'name'
    const isKey = typeof key === (isName ? 'string' : 'number')
    return isKey && (typeof name === 'string' || (name === null && isName)) && Number.isInteger(id)
  }
  const [key, name, id] = readPlace(cursor, isPlace, markFor(asked))
  return { key, name: name ?? (key as string), id }
}
