// Finds entries by a part of their name: exact, ranked, counted.
//
// A name ranks by how the query sits in it (the whole name, its start, the start of a word, anywhere), then by length,
// then by age; entries of one name by id. That order is a number per name, so a page goes on where the last one ended
// even if the index changed in between.
import { SpacedriveError } from '../base/errors.js'
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, toEntry, type Entry, type EntryRow } from './entries.js'
import { fold, foldBlock } from './fold.js'
import { BLOCK_NAMES } from './names.js'
import { Postings, trigramsOf } from './trigrams.js'

export interface Filters {
  readonly kind?: number | undefined
  readonly location?: number | undefined
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

interface Paged {
  readonly kind: number | null
  readonly location: number | null
  readonly limit: number
}

/** Results kept so that later pages cost nothing; emptied by any change. */
const RESULTS_KEPT = 8
/** Folded blocks kept: some 8 MB. */
const TEXTS_KEPT = 4_096
/** What is done between two steps: some milliseconds each. */
const BLOCKS_A_STEP = 512
const NAMES_A_STEP = 5_000
const NAME_IDS = 2 ** 32
const RANK = { whole: 0, start: 1, word: 2, inside: 3 } as const
const LENGTHS = 2 ** 12

export class Search {
  readonly #postings: Postings
  readonly #segments
  readonly #blocks
  readonly #block
  readonly #count
  readonly #rest
  readonly #page
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
    // CROSS JOIN keeps the planner from walking all entries and looking each up among the names.
    const matching = 'FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value'
    const kind = 'entry.kind = @kind'
    const location = 'entry.location = @location'
    const count = (where: string) => connection.prepare<object, number>(`SELECT count(*) ${matching} ${where}`).pluck()
    this.#count = {
      all: count(''),
      kind: count(`WHERE ${kind}`),
      location: count(`WHERE ${location}`),
      both: count(`WHERE ${kind} AND ${location}`),
    }
    const filtered = '(@kind IS NULL OR kind = @kind) AND (@location IS NULL OR location = @location)'
    this.#rest = connection
      .prepare<Paged & { name: number; after: number }, EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM entry WHERE name = @name AND id > @after AND ${filtered} ORDER BY id LIMIT @limit`,
      )
      .raw()
    // In the order of the names given, within one name by id: that is the order in which the joined loops run.
    this.#page = connection
      .prepare<Paged & { names: string }, EntryRow>(
        `SELECT ${ENTRY_COLUMNS} ${matching} WHERE ${filtered} LIMIT @limit`,
      )
      .raw()
  }

  /** True when no trigram narrows the search down, so that it reads every name. */
  static readsAll(query: string): boolean {
    return trigramsOf(Buffer.from(fold(query), 'utf8')).length === 0
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
    const entries = this.#read(found.order, filters, limit + 1, cursor)
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
  #read(order: Float64Array, { kind, location }: Filters, most: number, cursor: string | undefined): Entry[] {
    const filter = { kind: kind ?? null, location: location ?? null }
    const entries: Entry[] = []
    let at = 0
    if (cursor !== undefined) {
      const from = readCursor(cursor)
      at = firstAtLeast(order, from.order)
      if (order[at] === from.order) {
        entries.push(
          ...this.#rest.all({ ...filter, name: from.order % NAME_IDS, after: from.id, limit: most }).map(toEntry),
        )
        at += 1
      }
    }
    for (; at < order.length && entries.length < most; at += most) {
      const names = JSON.stringify(Array.from(order.subarray(at, at + most), (each) => each % NAME_IDS))
      entries.push(...this.#page.all({ ...filter, names, limit: most - entries.length }).map(toEntry))
    }
    return entries
  }

  *#find(query: string, filters: Filters, version: number): Generator<void, Found> {
    const key = JSON.stringify([query, filters.kind, filters.location])
    const known = this.#results.get(key)
    this.#results.delete(key)
    const found = known?.version === version ? known : yield* this.#match(query, version)
    this.#results.set(key, found)
    if (this.#results.size > RESULTS_KEPT) this.#results.delete(this.#results.keys().next().value!)
    return found
  }

  *#match(query: string, version: number): Generator<void, Found> {
    const needle = fold(query)
    const matches = new Matches(needle)
    // No name contains these two, and a NUL in the query would match across names.
    if (!/[/\0]/.test(query)) yield* this.#readBlocks(needle, matches)
    const order = Float64Array.from(matches.order).sort()
    return { version, order, total: -1 }
  }

  *#countEntries(order: Float64Array, { kind, location }: Filters): Generator<void, number> {
    const which =
      kind === undefined ? (location === undefined ? 'all' : 'location') : location === undefined ? 'kind' : 'both'
    let total = 0
    for (let from = 0; from < order.length; from += NAMES_A_STEP) {
      const names = Array.from(order.subarray(from, from + NAMES_A_STEP), (each) => each % NAME_IDS)
      total += this.#count[which].get({ names: JSON.stringify(names), kind, location }) ?? 0
      if (names.length === NAMES_A_STEP) yield
    }
    return total
  }

  *#readBlocks(needle: string, matches: Matches): Generator<void> {
    const codes = trigramsOf(Buffer.from(needle, 'utf8'))
    let unsealed = 0
    for (const { id, first, last } of this.#segments.all()) {
      unsealed = last + 1
      if (codes.length === 0) yield* this.#readAll(first, last, matches)
      else
        for (const block of this.#postings.candidates(id, codes))
          matches.add(first + block, this.#folded(first + block))
    }
    yield* this.#readAll(unsealed, Number.MAX_SAFE_INTEGER, matches)
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

/** Collects the names of blocks that contain the needle. */
class Matches {
  readonly order: number[] = []
  readonly #needle: string

  constructor(needle: string) {
    this.#needle = needle
  }

  add(block: number, text: string): void {
    const length = this.#needle.length
    let name = block * BLOCK_NAMES
    let start = 0
    for (let at = text.indexOf(this.#needle); at >= 0 && at < text.length; at = text.indexOf(this.#needle, start)) {
      for (; start <= at; name++) {
        const end = text.indexOf('\0', start)
        if (end >= at + length) {
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
