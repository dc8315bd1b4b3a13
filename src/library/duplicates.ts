// Files that hold the same, group by group, the one that wastes the most space first.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { LIMITS } from '../base/limits.js'
import type { Compared, DuplicateGroup } from '../protocol/messages.js'
import { CONTENT_KINDS } from '../protocol/words.js'
import { writtenId } from '../scan/content-id.js'
import type { Connection } from './connection.js'
import { markOf, readPlace, writePlace } from './cursors.js'
import { ENTRY_COLUMNS, toEntry, type Entries, type Entry, type EntryRow } from './entries.js'

export interface DuplicatesWanted {
  /** Groups of which one at least lies in it. */
  readonly location?: number | undefined
  /** Bytes of one file. */
  readonly minSize?: number | undefined
  readonly limit: number
  readonly cursor?: string | undefined
}

export interface DuplicatesPage {
  /** Of all groups of that size, whatever the location; only on the first page. */
  readonly total?: number
  readonly waste?: number
  readonly items: readonly DuplicateGroup[]
  readonly cursor?: string
}

type Row = [id: number, size: number, files: number, kind: number, mime: string, cid: string, waste: number]
type Place = readonly [waste: number, id: number]

const BEFORE_ALL: Place = [Number.MAX_SAFE_INTEGER, 0]
/** Groups looked at between two breaths: about 2 ms. */
const STEP = 500
const COUNT_STEP = 5_000

export class Duplicates {
  readonly #library: string
  readonly #entries: Entries
  readonly #page
  readonly #places
  readonly #isIn
  readonly #names
  readonly #files
  readonly #sets
  readonly #first

  constructor(library: string, connection: Connection, entries: Entries) {
    this.#library = library
    this.#entries = entries
    this.#page = connection.prepare<[number, number, number, number], Row>(PAGE).raw()
    this.#places = connection.prepare<[number, number, number, number], [number, number]>(PLACES).raw()
    this.#isIn = connection.prepare<[number, number], number>(
      `SELECT 1 FROM identity CROSS JOIN entry ON entry.id = identity.entry
       WHERE identity.content = ? AND entry.location = ? LIMIT 1`,
    )
    this.#names = connection.prepare<[number], number>('SELECT count(*) FROM identity WHERE content = ?').pluck()
    this.#files = connection
      .prepare<[number, number], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM identity CROSS JOIN entry ON entry.id = identity.entry
         WHERE identity.content = ? ORDER BY identity.entry LIMIT ?`,
      )
      .raw()
    this.#sets = connection
      .prepare<[number], [first: number, names: number, at: number]>(
        `SELECT first, count(*), max(at) FROM identity CROSS JOIN compared ON compared.entry = identity.entry
         WHERE identity.content = ? GROUP BY first ORDER BY first = 0, count(*) DESC, first`,
      )
      .raw()
    this.#first = connection.prepare<[number], number>('SELECT first FROM compared WHERE entry = ?').pluck()
  }

  /** In steps, between which other requests go first; a page goes on where the last one ended, whatever changed meanwhile. */
  async list({ location, minSize = 0, limit, cursor }: DuplicatesWanted): Promise<DuplicatesPage> {
    const sum = cursor === undefined && location === undefined ? await this.#sum(minSize) : {}
    const mark = markOf(this.#library, location, minSize)
    const rows: Row[] = []
    const first = cursor === undefined ? BEFORE_ALL : readPlace(cursor, isPlace, mark)
    for (let from = first; rows.length <= limit; await nextTurn()) {
      const step = this.#page.all(...from, minSize, STEP)
      for (const row of step) if (location === undefined || this.#isIn.get(row[0], location)) rows.push(row)
      if (step.length < STEP) break
      from = placeOf(step.at(-1)!)
    }
    const items = rows.slice(0, limit).map((row) => this.#group(row))
    return { ...sum, items, ...(rows.length > limit ? { cursor: writePlace(placeOf(rows[limit - 1]!), mark) } : {}) }
  }

  async #sum(minSize: number): Promise<{ total: number; waste: number }> {
    const sum = { total: 0, waste: 0 }
    for (let from: Place = BEFORE_ALL; ; await nextTurn()) {
      const step = this.#places.all(...from, minSize, COUNT_STEP)
      sum.total += step.length
      for (const [waste] of step) sum.waste += waste
      if (step.length < COUNT_STEP) return sum
      from = step.at(-1)!
    }
  }

  #group([id, size, files, kind, mime, cid, waste]: Row): DuplicateGroup {
    const sets = this.#sets.all(id)
    // Sets from 1 on, in the order of `compared.sets`.
    const numbers = new Map(sets.map(([first], at) => [first, first === 0 ? 0 : at + 1]))
    const item = (entry: Entry) => {
      const set = numbers.get(this.#first.get(entry.id) ?? -1)
      return { ...this.#entries.item(entry), ...(set === undefined ? {} : { set }) }
    }
    return {
      contentId: writtenId(BigInt(cid)),
      size,
      files,
      names: this.#names.get(id)!,
      waste,
      mime,
      contentKind: CONTENT_KINDS[kind]!,
      ...(sets.length === 0 ? {} : { compared: comparedOf(sets) }),
      items: this.#files.all(id, LIMITS.duplicateFilesMax).map((row) => item(toEntry(row))),
    }
  }
}

function comparedOf(sets: readonly [first: number, names: number, at: number][]): Compared {
  return {
    at: new Date(Math.max(...sets.map(([, , at]) => at))).toISOString(),
    sets: sets.flatMap(([first, names]) => (first === 0 ? [] : [names])),
    unread: sets.find(([first]) => first === 0)?.[1] ?? 0,
  }
}

/** As the index content_waste has it. */
const WASTE = 'size * (files - 1)'
const AFTER = `FROM content WHERE files > 1 AND (${WASTE}, id) < (?, ?) AND size >= ? ORDER BY ${WASTE} DESC, id DESC LIMIT ?`
const PAGE = `SELECT id, size, files, kind, mime, CAST(cid AS TEXT), ${WASTE} ${AFTER}`
const PLACES = `SELECT ${WASTE}, id ${AFTER}`

function placeOf([id, , , , , , waste]: Row): Place {
  return [waste, id]
}

function isPlace(value: unknown): value is Place {
  return Array.isArray(value) && value.length === 2 && value.every((each) => Number.isSafeInteger(each))
}
