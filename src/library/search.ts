// Finds entries by a part of their name: exact, ranked, counted.
//
// A name ranks by how the query sits in it (the whole name, its start, the start of a word, anywhere), then by length,
// then by age; entries of one name by id. That order is a number per name, so a page goes on where the last one ended
// even if the index changed in between.
import { SpacedriveError } from '../base/errors.js'
import { KIND } from '../scan/read.js'
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, toEntry, type Entry, type EntryRow } from './entries.js'
import { fold, foldBlock } from './fold.js'
import { BLOCK_NAMES } from './names.js'
import { Postings, trigramsOf } from './trigrams.js'

/** All of them hold. */
export interface Filters {
  readonly kind?: number | undefined
  readonly location?: number | undefined
  /** Folded, without the dot: any of them. */
  readonly extensions?: readonly string[] | undefined
  /** Bytes, both included; only files have a size. */
  readonly size?: { readonly min?: number | undefined; readonly max?: number | undefined } | undefined
  /** Microseconds since 1970; `before` itself is not included. */
  readonly modified?: { readonly after?: number | undefined; readonly before?: number | undefined } | undefined
  /** Only what has one of these above it. */
  readonly below?: readonly number[] | undefined
}

export interface Page {
  readonly total: number
  /** Best first. */
  readonly entries: readonly Entry[]
  readonly cursor?: string
}

interface Found {
  readonly version: number
  /** One number per matching name, ascending: rank, length and id of the name. */
  readonly order: Float64Array
  /** -1 until it is counted. */
  total: number
}

/** What stands for the filters in a statement. */
interface Bounds {
  readonly kind: number | undefined
  readonly location: number | undefined
  readonly min: number
  readonly max: number
  readonly after: number
  readonly before: number
}

/** Id, parent and name of an entry. */
type PlaceRow = [number, number, number]

/** Results kept so that later pages cost nothing; emptied by any change. */
const RESULTS_KEPT = 8
/** Folded blocks kept: some 8 MB. */
const TEXTS_KEPT = 4_096
/** What is done between two steps: some milliseconds each. */
const BLOCKS_A_STEP = 512
const NAMES_A_STEP = 5_000
const PLACES_A_STEP = 5_000
const NAME_IDS = 2 ** 32
const RANK = { whole: 0, start: 1, word: 2, inside: 3 } as const
const LENGTHS = 2 ** 12

export class Search {
  readonly #postings: Postings
  readonly #segments
  readonly #blocks
  readonly #block
  readonly #connection: Connection
  /** By the conditions they hold. */
  readonly #statements = new Map<string, Statements>()
  readonly #entry
  readonly #parent
  readonly #results = new Map<string, Found>()
  readonly #texts = new Map<number, string>()

  constructor(connection: Connection) {
    this.#postings = new Postings(connection)
    this.#segments = connection.prepare<[], { id: number; first: number; last: number }>(
      'SELECT id, first, last FROM segment ORDER BY first',
    )
    this.#blocks = connection.prepare<[number, number], { block: number; bytes: Buffer }>(
      'SELECT block, bytes FROM names WHERE block BETWEEN ? AND ? ORDER BY block',
    )
    this.#block = connection.prepare<[number], Buffer>('SELECT bytes FROM names WHERE block = ?').pluck()
    this.#connection = connection
    this.#entry = connection.prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE id = ?`).raw()
    this.#parent = connection.prepare<[number], number>('SELECT parent FROM entry WHERE id = ?').pluck()
  }

  /** True when no trigram narrows the search down, so that it reads every name, and when it looks at parents. */
  static takesLong(query: string, { extensions, below }: Filters): boolean {
    return below !== undefined || codesOf(fold(query), extensions).some((codes) => codes.length === 0)
  }

  /**
   * One page, in steps of a few milliseconds: whoever runs it decides what happens between two of them.
   *
   * @param version changes whenever entries or names do
   */
  *search(
    query: string,
    filters: Filters,
    limit: number,
    cursor: string | undefined,
    version: number,
  ): Generator<void, Page> {
    const found = yield* this.#find(query, filters, version)
    const entries = yield* this.#read(found.order, filters, limit + 1, cursor)
    // A first page that holds everything is the count.
    const whole = cursor === undefined && entries.length <= limit
    if (found.total < 0) found.total = whole ? entries.length : yield* this.#countEntries(found.order, filters)
    const { total } = found
    if (entries.length <= limit) return { total, entries }
    const page = entries.slice(0, limit)
    const last = page.at(-1)!
    const order = found.order.findLast((each) => each % NAME_IDS === last.name)!
    return { total, entries: page, cursor: writeCursor({ order, id: last.id }) }
  }

  /** Entries in order from the cursor on, `most` of them or fewer. */
  *#read(order: Float64Array, filters: Filters, most: number, cursor: string | undefined): Generator<void, Entry[]> {
    const from = placeOf(order, cursor)
    if (filters.below) return yield* this.#readBelow(order, filters, most, from)
    const { rest, page } = this.#statementsFor(filters)
    const bounds = boundsOf(filters)
    const entries: Entry[] = []
    let { at } = from
    if (from.after !== undefined) {
      const name = order[at]! % NAME_IDS
      entries.push(...rest.all({ ...bounds, name, last: from.after, limit: most }).map(toEntry))
      at += 1
    }
    for (let step = most; at < order.length && entries.length < most; step = Math.min(2 * step, NAMES_A_STEP)) {
      const names = namesIn(order, at, at + step)
      entries.push(...page.all({ ...bounds, names, limit: most - entries.length }).map(toEntry))
      at += step
      if (step === NAMES_A_STEP) yield
    }
    return entries
  }

  *#readBelow(order: Float64Array, filters: Filters, most: number, from: Place): Generator<void, Entry[]> {
    const ids: number[] = []
    const subtree = new Subtree(filters.below!, this.#parent)
    yield* this.#eachPlace(order, filters, from, (rows) => {
      for (const [id, parent] of rows) if (subtree.holds(parent) && ids.push(id) === most) return false
      return true
    })
    return ids.flatMap((id) => this.#entry.all(id).map(toEntry))
  }

  *#countBelow(order: Float64Array, filters: Filters): Generator<void, number> {
    let total = 0
    const subtree = new Subtree(filters.below!, this.#parent)
    yield* this.#eachPlace(order, filters, { at: 0 }, (rows) => {
      for (const [, parent] of rows) if (subtree.holds(parent)) total += 1
      return true
    })
    return total
  }

  /** Hands over, in order and some at a time, where the entries are, until `take` wants no more. */
  *#eachPlace(
    order: Float64Array,
    filters: Filters,
    from: Place,
    take: (rows: PlaceRow[]) => boolean,
  ): Generator<void> {
    const { places, placesRest } = this.#statementsFor(filters)
    const bounds = { ...boundsOf(filters), limit: PLACES_A_STEP }
    let { at, after } = from
    while (at < order.length) {
      const name = order[at]! % NAME_IDS
      const rows =
        after === undefined
          ? places.all({ ...bounds, names: namesIn(order, at, at + NAMES_A_STEP) })
          : placesRest.all({ ...bounds, name, last: after })
      if (!take(rows)) return
      if (rows.length === PLACES_A_STEP) {
        // There may be more of the last name.
        const [id, , last] = rows.at(-1)!
        while (order[at]! % NAME_IDS !== last) at += 1
        after = id
      } else {
        at += after === undefined ? NAMES_A_STEP : 1
        after = undefined
      }
      yield
    }
  }

  *#find(query: string, filters: Filters, version: number): Generator<void, Found> {
    const key = JSON.stringify([query, filters])
    const known = this.#results.get(key)
    this.#results.delete(key)
    const found = known?.version === version ? known : yield* this.#match(query, filters.extensions, version)
    this.#results.set(key, found)
    if (this.#results.size > RESULTS_KEPT) this.#results.delete(this.#results.keys().next().value!)
    return found
  }

  *#match(query: string, extensions: Filters['extensions'], version: number): Generator<void, Found> {
    const needle = fold(query)
    const matches = new Matches(needle, extensions)
    // No name contains these two, and a NUL in the query would match across names.
    if (!/[/\0]/.test(query)) yield* this.#readBlocks(codesOf(needle, extensions), matches)
    const order = Float64Array.from(matches.order).sort()
    return { version, order, total: -1 }
  }

  *#countEntries(order: Float64Array, filters: Filters): Generator<void, number> {
    if (filters.below) return yield* this.#countBelow(order, filters)
    const { count } = this.#statementsFor(filters)
    const bounds = boundsOf(filters)
    let total = 0
    for (let from = 0; from < order.length; from += NAMES_A_STEP) {
      total += count.get({ ...bounds, names: namesIn(order, from, from + NAMES_A_STEP) }) ?? 0
      if (from + NAMES_A_STEP <= order.length) yield
    }
    return total
  }

  #statementsFor(filters: Filters): Statements {
    const conditions = conditionsOf(filters)
    const known = this.#statements.get(conditions)
    if (known) return known
    const prepared = prepare(this.#connection, conditions)
    this.#statements.set(conditions, prepared)
    return prepared
  }

  /** @param ways a block is read where all codes of one of them are in it */
  *#readBlocks(ways: readonly (readonly number[])[], matches: Matches): Generator<void> {
    const readsAll = ways.some((codes) => codes.length === 0)
    let unsealed = 0
    for (const { id, first, last } of this.#segments.all()) {
      unsealed = last + 1
      if (readsAll) yield* this.#readAll(first, last, matches)
      else for (const block of this.#candidates(id, ways)) matches.add(first + block, this.#folded(first + block))
    }
    yield* this.#readAll(unsealed, Number.MAX_SAFE_INTEGER, matches)
  }

  #candidates(segment: number, ways: readonly (readonly number[])[]): Iterable<number> {
    if (ways.length === 1) return this.#postings.candidates(segment, ways[0]!)
    return new Set(ways.flatMap((codes) => this.#postings.candidates(segment, codes)))
  }

  /** A block that has its trigrams is full and never changes again, so its text may be kept. */
  #folded(block: number): string {
    const known = this.#texts.get(block)
    if (known !== undefined) return known
    const text = foldBlock(this.#block.get(block)!)
    if (this.#texts.size >= TEXTS_KEPT) this.#texts.clear()
    this.#texts.set(block, text)
    return text
  }

  *#readAll(first: number, last: number, matches: Matches): Generator<void> {
    for (let from = first; from <= last;) {
      const step = this.#blocks.all(from, Math.min(last, from + BLOCKS_A_STEP - 1))
      for (const { block, bytes } of step) matches.add(block, foldBlock(bytes))
      if (step.length < BLOCKS_A_STEP) return
      from += BLOCKS_A_STEP
      yield
    }
  }
}

/** For each extension the trigrams of a name that contains the needle and ends so. */
function codesOf(needle: string, extensions: readonly string[] = ['']): number[][] {
  const codes = trigramsOf(Buffer.from(needle, 'utf8'))
  return extensions.map((each) => [...codes, ...trigramsOf(Buffer.from(each === '' ? '' : `.${each}`, 'utf8'))])
}

/** Of one set of conditions; there are sixteen. */
type Statements = ReturnType<typeof prepare>

function prepare(connection: Connection, conditions: string) {
  // CROSS JOIN keeps the planner from walking all entries and looking each up among the names. In the order of the
  // names given, within one name by id: that is the order in which the joined loops run.
  const matching = `FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value WHERE ${conditions}`
  const rest = `FROM entry WHERE name = @name AND id > @last AND ${conditions} ORDER BY id LIMIT @limit`
  const place = 'entry.id, entry.parent, entry.name'
  return {
    count: connection.prepare<Bounds & Named, number>(`SELECT count(*) ${matching}`).pluck(),
    page: connection
      .prepare<Bounds & Named & Limited, EntryRow>(`SELECT ${ENTRY_COLUMNS} ${matching} LIMIT @limit`)
      .raw(),
    rest: connection.prepare<Bounds & Rest, EntryRow>(`SELECT ${ENTRY_COLUMNS} ${rest}`).raw(),
    places: connection.prepare<Bounds & Named & Limited, PlaceRow>(`SELECT ${place} ${matching} LIMIT @limit`).raw(),
    placesRest: connection.prepare<Bounds & Rest, PlaceRow>(`SELECT ${place} ${rest}`).raw(),
  }
}

interface Named {
  /** As JSON. */
  readonly names: string
}

interface Limited {
  readonly limit: number
}

interface Rest extends Limited {
  readonly name: number
  readonly last: number
}

function conditionsOf({ kind, location, size, modified }: Filters): string {
  return [
    'true',
    ...(kind === undefined ? [] : ['entry.kind = @kind']),
    ...(location === undefined ? [] : ['entry.location = @location']),
    ...(size === undefined ? [] : [`entry.kind = ${KIND.file} AND entry.size BETWEEN @min AND @max`]),
    ...(modified === undefined ? [] : ['entry.mtime >= @after AND entry.mtime < @before']),
  ].join(' AND ')
}

function boundsOf({ kind, location, size, modified }: Filters): Bounds {
  const [min, max] = [size?.min ?? 0, size?.max ?? Infinity]
  return { kind, location, min, max, after: modified?.after ?? -Infinity, before: modified?.before ?? Infinity }
}

function namesIn(order: Float64Array, from: number, to: number): string {
  return JSON.stringify(Array.from(order.subarray(from, to), (each) => each % NAME_IDS))
}

/** Directories remembered as inside or not; at more they are forgotten and asked again. */
const DIRECTORIES_KEPT = 200_000

/** What lies below some directories: each directory on the way up is asked for its parent once. */
class Subtree {
  readonly #known = new Map<number, boolean>()
  readonly #tops: readonly number[]
  readonly #parent: { get(id: number): number | undefined }

  constructor(tops: readonly number[], parent: { get(id: number): number | undefined }) {
    this.#tops = tops
    this.#parent = parent
  }

  /** @param directory the parent of an entry; negative for that of a location's root */
  holds(directory: number): boolean {
    const way: number[] = []
    let at = directory
    let inside = this.#known.get(at)
    while (inside === undefined) {
      way.push(at)
      if (this.#tops.includes(at)) inside = true
      else if (at < 0) inside = false
      else inside = this.#known.get((at = this.#parent.get(at) ?? -Infinity))
    }
    if (this.#known.size > DIRECTORIES_KEPT) this.#known.clear()
    for (const each of way) this.#known.set(each, inside)
    return inside
  }
}

/** Collects the names of blocks that contain the needle, and end in one of the extensions if there are any. */
class Matches {
  readonly order: number[] = []
  readonly #needle: string
  readonly #endings: readonly string[] | null

  constructor(needle: string, extensions: readonly string[] | undefined) {
    this.#needle = needle
    this.#endings = extensions?.map((each) => `.${each}`) ?? null
  }

  add(block: number, text: string): void {
    const length = this.#needle.length
    let name = block * BLOCK_NAMES
    let start = 0
    for (let at = text.indexOf(this.#needle); at >= 0 && at < text.length; at = text.indexOf(this.#needle, start)) {
      for (; start <= at; name++) {
        const end = text.indexOf('\0', start)
        if (end >= at + length) {
          if (this.#endings === null || endsIn(this.#endings, text, start, end))
            this.order.push(orderOf(text, start, at, end, length) + name)
          start = end + 1
          name++
          break
        }
        start = end + 1
      }
      if (start >= text.length) return
    }
  }
}

/** What is only an extension, like ".bashrc", has none. */
function endsIn(endings: readonly string[], text: string, start: number, end: number): boolean {
  return endings.some((each) => end - each.length > start && text.startsWith(each, end - each.length))
}

function orderOf(text: string, start: number, at: number, end: number, length: number): number {
  const rank =
    at > start
      ? isWord(text.charCodeAt(at - 1))
        ? RANK.inside
        : RANK.word
      : end - start === length
        ? RANK.whole
        : RANK.start
  return (rank * LENGTHS + Math.min(end - start, LENGTHS - 1)) * NAME_IDS
}

function isWord(unit: number): boolean {
  return unit >= 0x80 || (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39)
}

/** In the order of names: at the start of a name, or after one entry of it. */
interface Place {
  readonly at: number
  readonly after?: number
}

function placeOf(order: Float64Array, cursor: string | undefined): Place {
  if (cursor === undefined) return { at: 0 }
  const from = readCursor(cursor)
  const at = firstAtLeast(order, from.order)
  return order[at] === from.order ? { at, after: from.id } : { at }
}

function firstAtLeast(order: Float64Array, value: number): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (order[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

function writeCursor({ order, id }: { order: number; id: number }): string {
  return Buffer.from(`${order} ${id}`).toString('base64url')
}

function readCursor(cursor: string): { order: number; id: number } {
  const [order, id, ...rest] = Buffer.from(cursor, 'base64url').toString().split(' ').map(Number)
  if (rest.length > 0 || !Number.isSafeInteger(order) || !Number.isSafeInteger(id)) {
    throw new SpacedriveError('BAD_REQUEST', 'not a cursor of this search')
  }
  return { order: order!, id: id! }
}
