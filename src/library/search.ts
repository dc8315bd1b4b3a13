// Finds entries by a part of their name: exact, ranked, counted.
//
// A name ranks by how the query sits in it (the whole name, its start, the start of a word, anywhere), then by length,
// then by age; entries of one name by id. That order is a number per name, so a page goes on where the last one ended
// even if the index changed in between.
import { SpacedriveError } from '../base/errors.js'
import type { Connection } from './connection.js'
import { fold, foldBlock } from './fold.js'
import { BLOCK_NAMES } from './names.js'
import { Postings, trigramsOf } from './trigrams.js'

export interface Filters {
  readonly kind?: number | undefined
  readonly location?: number | undefined
}

export interface Page {
  readonly total: number
  /** Ids of entries, best first. */
  readonly ids: readonly number[]
  readonly cursor?: string
}

interface Found {
  readonly version: number
  /** One number per matching name, ascending: rank, length and id of the name. */
  readonly order: Float64Array
  readonly total: number
}

/** Results kept so that later pages cost nothing; emptied by any change. */
const RESULTS_KEPT = 8
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
  readonly #page
  readonly #results = new Map<string, Found>()

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
    this.#page = connection
      .prepare<{ name: number; after: number; kind: number | null; location: number | null; limit: number }, number>(
        `SELECT id FROM entry WHERE name = @name AND id > @after AND (@kind IS NULL OR kind = @kind)
         AND (@location IS NULL OR location = @location) ORDER BY id LIMIT @limit`,
      )
      .pluck()
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
    const from = cursor === undefined ? { order: -1, id: -1 } : readCursor(cursor)
    const ids: number[] = []
    let at = firstAtLeast(found.order, from.order)
    let last = from
    for (; at < found.order.length && ids.length <= limit; at++) {
      const order = found.order[at]!
      const more = this.#page.all({
        name: order % NAME_IDS,
        after: order === from.order ? from.id : -1,
        kind: filters.kind ?? null,
        location: filters.location ?? null,
        limit: limit + 1 - ids.length,
      })
      for (const id of more) {
        if (ids.length < limit) last = { order, id }
        ids.push(id)
      }
    }
    const total = found.total
    if (ids.length <= limit) return { total, ids }
    return { total, ids: ids.slice(0, limit), cursor: writeCursor(last) }
  }

  *#find(query: string, filters: Filters, version: number): Generator<void, Found> {
    const key = JSON.stringify([query, filters.kind, filters.location])
    const known = this.#results.get(key)
    this.#results.delete(key)
    const found = known?.version === version ? known : yield* this.#match(query, filters, version)
    this.#results.set(key, found)
    if (this.#results.size > RESULTS_KEPT) this.#results.delete(this.#results.keys().next().value!)
    return found
  }

  *#match(query: string, filters: Filters, version: number): Generator<void, Found> {
    const needle = fold(query)
    const matches = new Matches(needle)
    // No name contains these two, and a NUL in the query would match across names.
    if (!/[/\0]/.test(query)) yield* this.#readBlocks(needle, matches)
    const order = Float64Array.from(matches.order).sort()
    return { version, order, total: yield* this.#countEntries(order, filters) }
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
          matches.add(first + block, foldBlock(this.#block.get(first + block)!))
    }
    yield* this.#readAll(unsealed, Number.MAX_SAFE_INTEGER, matches)
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
