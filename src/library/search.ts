// Finds entries by name, row and place: exact, sorted, counted, in steps of a few milliseconds.
//
// What decides the order of an entry, its rank, name, size or time, and its id after that, is also what a cursor says:
// a page goes on where the last one ended even if the index changed in between.
import {
  allOf,
  rowsOf,
  type AnchorName,
  type Anchors,
  type Condition,
  type FewNames,
  type PlaceTest,
  type Rows,
} from './conditions.js'
import { LIMITS } from '../base/limits.js'
import type { Connection } from './connection.js'
import { cursorOf, readCursor, type Cursor } from './cursors.js'
import { KIND } from '../scan/read.js'
import { ENTRY_COLUMNS, toEntry, type Entry, type EntryRow } from './entries.js'
import { Matcher, NAME_IDS } from './matcher.js'
import { BLOCK_NAMES } from './names.js'
import { Pace } from './pace.js'
import { Inherited, Places } from './places.js'
import { Prepared, type PlaceRow, type RowKey, type WideRow } from './statements.js'
import { narrows, Texts } from './texts.js'
import { Window, type Placed } from './window.js'

export type SearchSort = 'relevance' | 'name' | 'size' | 'modified'

export interface Wanted {
  /** Folded; all of them are in the name. */
  readonly words: readonly string[]
  readonly conditions: readonly Condition[]
  readonly sort: SearchSort
  readonly descending: boolean
  /** The same for all that finds the same entries. */
  readonly key: string
}

export interface Page {
  readonly total: number
  readonly entries: readonly Entry[]
  readonly cursor?: string
}

interface Found {
  readonly version: number
  readonly matcher: Matcher
  readonly rows: Rows
  readonly test: PlaceTest | null
  /** Where words narrow nothing down and a condition does: the names it leaves. */
  readonly few: FewNames | null
  /** From where to go down, where the names alone narrow nothing down. */
  readonly anchors: Anchors | null
  /** Whether pages are cut out of all entries that are found, instead of read name by name. */
  readonly scans: boolean
  /** One number per matching name, ascending: rank, length and id of the name. Null where nobody needed it yet. */
  order: Float64Array | null
  /** -1 until it is counted. */
  total: number
  readonly windows: Map<string, Kept>
}

/** The entries or names that come next in some order. */
interface Kept {
  readonly after: Placed<number | string> | undefined
  readonly placed: readonly Placed<number | string>[]
  /** Nothing comes after them. */
  readonly isWhole: boolean
}

/** Results kept so that later pages cost nothing, and names in all of them; emptied by any change. */
const RESULTS_KEPT = 8
const RESULT_NAMES_KEPT = 4_000_000
/** What is done between two steps: some milliseconds each. */
const NAMES_A_STEP = 5_000
const ROWS_A_STEP = 5_000
const IDS_A_STEP = 20_000
const SORTED_A_STEP = 16_384
/** What a first page looks ahead, and what the later ones do: each window costs a look at everything. */
const WINDOW_FIRST = 1_024
const WINDOW_NEXT = 16_384
/** Names, or rows of one directory, looked at in one go. */
const NAMES_WIDE = 200
const ROWS_WIDE = 2_000
/** Shorter names are in no index of trigrams. */
const ANCHOR_MIN = 3
/** What a directory holds on the average, roughly. */
const CHILDREN = 8
/** With more names, and one in eight of all, all entries are looked at instead of those of each name. */
const NAMES_FEW = 20_000
const NAMES_SHARE = 8

/** Null for what does not come to its end within a moment: whoever asked may begin it again in another way. */
export function atOnce<Result>(steps: Generator<void, Result>): Result | null {
  const until = performance.now() + LIMITS.searchAtOnceMs
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done) return step.value
    if (performance.now() > until) return null
  }
}

export class Search {
  readonly #connection: Connection
  readonly #texts: Texts
  readonly #places: Places
  readonly #prepared: Prepared
  readonly #entry
  readonly #lastBlock
  readonly #lastEntry
  readonly #someDisplaced
  readonly #results = new Map<string, Found>()

  constructor(connection: Connection) {
    this.#connection = connection
    this.#texts = new Texts(connection)
    this.#places = new Places(connection, this.#texts)
    this.#prepared = new Prepared(connection)
    this.#entry = connection.prepare<[number], EntryRow>(`SELECT ${ENTRY_COLUMNS} FROM entry WHERE id = ?`).raw()
    this.#lastBlock = connection.prepare<[], number | null>('SELECT max(block) FROM names').pluck()
    this.#lastEntry = connection.prepare<[], number | null>('SELECT max(id) FROM entry').pluck()
    this.#someDisplaced = connection.prepare<[], number>('SELECT 1 FROM entry WHERE name < 0 LIMIT 1').pluck()
  }

  /** True when it looks at every name, or at every entry of those that match. */
  static takesLong({ words, conditions, sort }: Wanted): boolean {
    if (sort !== 'relevance' || conditions.some((each) => 'place' in each)) return true
    return !narrows(new Matcher(words, conditions).ways)
  }

  /**
   * One page, in steps: whoever runs it decides what happens between two of them.
   *
   * @param version changes whenever entries or names do
   */
  *search(wanted: Wanted, limit: number, cursor: string | undefined, version: number): Generator<void, Page> {
    const { sort, descending } = wanted
    const after = cursor === undefined ? undefined : readCursor(cursor, sort, descending)
    const found = this.#resultFor(wanted, version)
    const entries = yield* this.#pageOf(found, wanted, limit + 1, after)
    // A first page that holds everything is the count.
    const whole = cursor === undefined && entries.length <= limit
    if (found.total < 0) found.total = whole ? entries.length : yield* this.#count(found)
    this.#keep(wanted.key, found)
    const { total } = found
    if (entries.length <= limit) return { total, entries }
    const page = entries.slice(0, limit)
    return { total, entries: page, cursor: cursorOf(sort, descending, this.#cursorAt(found, sort, page.at(-1)!)) }
  }

  #resultFor({ words, conditions, key }: Wanted, version: number): Found {
    const known = this.#results.get(key)
    if (known?.version === version) return known
    this.#texts.forgetOpen()
    const placed = conditions.filter((each) => 'place' in each)
    const matcher = new Matcher(words, conditions)
    const named = conditions.flatMap((each) => ('row' in each && each.names ? [each.names] : []))
    const few = narrows(matcher.ways) ? null : (named[0] ?? null)
    const isNarrow = few !== null || narrows(matcher.ways)
    return {
      version,
      matcher,
      rows: rowsOf(conditions),
      few,
      test: allOf([...this.#inPlace(), ...placed.map(({ place }) => place(this.#places))]),
      anchors: isNarrow ? null : bestOf(placed.flatMap(({ anchors }) => anchors ?? [])),
      scans: !isNarrow && placed.length > 0,
      order: null,
      total: -1,
      windows: new Map(),
    }
  }

  /** While a scan has yet to see where something displaced is, neither it nor what lies below it has a path. */
  #inPlace(): PlaceTest[] {
    if (this.#someDisplaced.get() === undefined) return []
    const displaced = new Inherited(
      this.#places,
      () => false,
      (above, _, [, name]) => above || name < 0,
    )
    return [(parent, name) => name >= 0 && !displaced.of(parent)]
  }

  #keep(key: string, found: Found): void {
    this.#results.delete(key)
    this.#results.set(key, found)
    let names = 0
    for (const each of this.#results.values()) names += each.order?.length ?? 0
    for (const [each, { order }] of this.#results) {
      if (this.#results.size <= RESULTS_KEPT && names <= RESULT_NAMES_KEPT) return
      names -= order?.length ?? 0
      this.#results.delete(each)
    }
  }

  *#pageOf(found: Found, wanted: Wanted, most: number, after: Cursor | undefined): Generator<void, Entry[]> {
    switch (wanted.sort) {
      case 'relevance': {
        if (found.scans) return yield* this.#byRow(found, 'relevance', false, most, after)
        const order = yield* this.#orderOf(found)
        return yield* this.#read(found, order, most, placeOf(order, after))
      }
      case 'name':
        return yield* this.#byName(found, wanted.descending, most, after)
      default:
        return yield* this.#byRow(found, wanted.sort, wanted.descending, most, after)
    }
  }

  #cursorAt(found: Found, sort: SearchSort, { id, name, kind, size, mtime }: Entry): Cursor {
    switch (sort) {
      case 'relevance':
        return { key: found.matcher.orderOf(this.#texts.folded(name), name), id }
      case 'name':
        return { key: name, id }
      case 'size':
        return { key: kind === KIND.file ? size : -1, id }
      case 'modified':
        return { key: mtime, id }
    }
  }

  *#orderOf(found: Found): Generator<void, Float64Array> {
    if (found.order) return found.order
    const order: number[] = []
    const { matcher } = found
    if (found.few) yield* this.#eachOfFew(found, found.few, (few) => order.push(...few))
    else yield* this.#texts.eachBlock(matcher.ways, (block, text) => matcher.add(block, text, order))
    return (found.order = yield* sorted(order))
  }

  /** Hands over those of a few names that match, and the text of their block. */
  *#eachOfFew({ matcher }: Found, few: FewNames, take: (order: number[], text: string) => void): Generator<void> {
    const names = yield* few(this.#connection)
    const blocks = new Set(Array.from(names, (name) => Math.floor(name / BLOCK_NAMES)))
    const add = function* (block: number, text: string) {
      const order: number[] = []
      yield* matcher.add(block, text, order) ?? []
      take(
        order.filter((each) => names.has(each % NAME_IDS)),
        text,
      )
    }
    yield* this.#texts.eachBlock(matcher.ways, add, blocks)
  }

  /** Entries of names in the order of these, from a place on, `most` of them or fewer. */
  *#read(found: Found, order: Float64Array, most: number, from: Place): Generator<void, Entry[]> {
    if (found.test) return yield* this.#readPlaced(found, order, most, from)
    const { rest, page } = this.#prepared.for(found.rows, 'none')
    const { values } = found.rows
    const entries: Entry[] = []
    let { at } = from
    if (from.after !== undefined) {
      const name = order[at]! % NAME_IDS
      entries.push(...rest.all({ ...values, name, last: from.after, limit: most }).map(toEntry))
      at += 1
    }
    for (let step = most; at < order.length && entries.length < most; step = Math.min(2 * step, NAMES_A_STEP)) {
      const names = namesIn(order, at, at + step)
      entries.push(...page.all({ ...values, names, limit: most - entries.length }).map(toEntry))
      at += step
      if (step === NAMES_A_STEP) yield
    }
    return entries
  }

  *#readPlaced(found: Found, order: Float64Array, most: number, from: Place): Generator<void, Entry[]> {
    const ids: number[] = []
    yield* this.#eachOfNames(found, 'none', order, from, (id) => ids.push(id) < most)
    return this.#entriesOf(ids)
  }

  #entriesOf(ids: readonly number[]): Entry[] {
    return ids.flatMap((id) => this.#entry.all(id).map(toEntry))
  }

  *#byName(found: Found, descending: boolean, most: number, after: Cursor | undefined): Generator<void, Entry[]> {
    const entries: Entry[] = []
    let last: Placed<string> | undefined
    if (after) {
      const name = after.key
      last = { key: this.#texts.folded(name), id: name }
      entries.push(...(yield* this.#read(found, Float64Array.of(name), most, { at: 0, after: after.id })))
    }
    while (entries.length < most) {
      const names = yield* this.#namesAfter(found, descending, most, last)
      const order = Float64Array.from(names, ({ id }) => id)
      entries.push(...(yield* this.#read(found, order, most - entries.length, { at: 0 })))
      last = names.at(-1)
      if (last === undefined) break
    }
    return entries
  }

  /** The next names in alphabetical order, none where there are no more. */
  *#namesAfter(
    found: Found,
    descending: boolean,
    most: number,
    after: Placed<string> | undefined,
  ): Generator<void, readonly Placed<string>[]> {
    const key = `name ${descending}`
    const next = following(found.windows.get(key), descending, after, most)
    if (next) return next as readonly Placed<string>[]
    const kept = after ? WINDOW_NEXT : Math.max(most, WINDOW_FIRST)
    const window = new Window<string>(kept, descending, after)
    const offer = (order: readonly number[], text: string) => {
      if (order.length === 0) return
      const names = text.split('\0')
      for (const each of order) window.offer(names[(each % NAME_IDS) % BLOCK_NAMES]!, each % NAME_IDS)
    }
    const { matcher } = found
    const order: number[] = []
    if (found.few) yield* this.#eachOfFew(found, found.few, offer)
    else
      yield* this.#texts.eachBlock(matcher.ways, function* (block, text) {
        order.length = 0
        yield* matcher.add(block, text, order) ?? []
        offer(order, text)
      })
    const placed = window.take()
    found.windows.set(key, { after, placed, isWhole: placed.length < kept })
    return placed
  }

  *#byRow(
    found: Found,
    sort: 'relevance' | 'size' | 'modified',
    descending: boolean,
    most: number,
    after: Cursor | undefined,
  ): Generator<void, Entry[]> {
    const key = `${sort} ${descending}`
    const next = following(found.windows.get(key), descending, after, most)
    if (next) return this.#entriesOf(next.slice(0, most).map(({ id }) => id))
    const kept = after ? WINDOW_NEXT : Math.max(most, WINDOW_FIRST)
    const window = new Window<number>(kept, descending, after)
    let total = 0
    const ranks = sort === 'relevance'
    yield* this.#each(found, ranks ? 'none' : sort, (id, value, name) => {
      total += 1
      window.offer(ranks ? found.matcher.orderOf(this.#texts.folded(name), name) : value, id)
      return true
    })
    found.total = total
    const placed = window.take()
    found.windows.set(key, { after, placed, isWhole: placed.length < kept })
    return this.#entriesOf(placed.slice(0, most).map(({ id }) => id))
  }

  *#count(found: Found): Generator<void, number> {
    if (found.test) return yield* this.#countPlaced(found)
    if (found.matcher.isOpen && !found.few) return yield* this.#countAll(found)
    const order = yield* this.#orderOf(found)
    const { count } = this.#prepared.for(found.rows, 'none')
    let total = 0
    for (let from = 0; from < order.length; from += NAMES_A_STEP) {
      total += count.get({ ...found.rows.values, names: namesIn(order, from, from + NAMES_A_STEP) }) ?? 0
      if (from + NAMES_A_STEP <= order.length) yield
    }
    return total
  }

  *#countPlaced(found: Found): Generator<void, number> {
    let total = 0
    yield* this.#each(found, 'none', () => {
      total += 1
      return true
    })
    return total
  }

  *#countAll(found: Found): Generator<void, number> {
    const { countBetween } = this.#prepared.for(found.rows, 'none')
    const end = this.#lastEntry.get() ?? 0
    let total = 0
    for (let first = 0; first <= end; first += IDS_A_STEP) {
      total += countBetween.get({ ...found.rows.values, first, last: first + IDS_A_STEP - 1 }) ?? 0
      yield
    }
    return total
  }

  /** Every entry that is found, in no order. */
  *#each(found: Found, key: RowKey, take: Take): Generator<void> {
    if (found.anchors) return yield* this.#eachBelow(found, found.anchors, key, take)
    if (found.matcher.isOpen && !found.few) return yield* this.#eachOfAll(found, key, null, take)
    const order = yield* this.#orderOf(found)
    const names = ((this.#lastBlock.get() ?? 0) + 1) * BLOCK_NAMES
    if (order.length <= NAMES_FEW || order.length * NAMES_SHARE < names)
      return yield* this.#eachOfNames(
        found,
        key,
        yield* sorted(Array.from(order, (each) => each % NAME_IDS)),
        { at: 0 },
        take,
      )
    const wanted = new Uint8Array(names)
    for (const each of order) wanted[each % NAME_IDS] = 1
    yield* this.#eachOfAll(found, key, wanted, take)
  }

  *#eachOfAll(found: Found, key: RowKey, wanted: Uint8Array | null, take: Take): Generator<void> {
    const { placesBetween } = this.#prepared.for(found.rows, key)
    const { test } = found
    const end = this.#lastEntry.get() ?? 0
    const pace = new Pace()
    for (let first = 0; first <= end; first += ROWS_A_STEP) {
      const rows = placesBetween.all({ ...found.rows.values, first, last: first + ROWS_A_STEP - 1 })
      for (const [id, parent, name, value, held] of rows) {
        if (wanted !== null && wanted[name] !== 1) continue
        if ((test === null || test(parent, name, held)) && !take(id, value, name)) return
        if (test !== null && pace.isDue()) yield
      }
      if (pace.isDue()) yield
    }
  }

  /** What is found from the anchors on downwards, each once. */
  *#eachBelow(found: Found, { tops, name, judge }: Anchors, key: RowKey, take: Take): Generator<void> {
    const statements = this.#prepared.for(found.rows, key)
    const { values } = found.rows
    const pace = new Pace()
    const left = [...tops]
    const isFound: PlaceTest = (...of) => this.#isFound(found, ...of)
    const look = function* (rows: WideRow[], leads: Leads): Generator<void, boolean> {
      for (const [id, parent, each, value, held, kind, holds] of rows) {
        if (kind === KIND.directory && leads(parent, each)) left.push(id)
        if (holds === 1 && isFound(parent, each, held) && !take(id, value, each)) return false
        if (pace.isDue()) yield
      }
      return true
    }
    const of = judge?.(this.#places)
    const within = name && of && (yield* this.#directoriesOf(found, name))
    if (of && within) {
      if (!(yield* look(statements.wideRoots.all(values), () => true))) return
      // What is found already, or lies below what is, is come to from there.
      for (const [id, parent, each] of within) {
        const { above, below } = of(parent, each)
        if (!above && !below) left.push(id)
        if (pace.isDue()) yield
      }
    } else if (name && of) {
      // What lies below another one is found from there.
      const fresh = (rows: WideRow[]) => rows.filter(([, parent, each]) => !of(parent, each).above)
      const leads = (parent: number, each: number) => of(parent, each).below
      if (!(yield* look(statements.wideRoots.all(values), leads))) return
      const order = yield* this.#namesAt(name)
      for (let from = 0; from < order.length; from += NAMES_WIDE) {
        const rows = statements.wideOfNames.all({ ...values, names: namesIn(order, from, from + NAMES_WIDE) })
        if (!(yield* look(fresh(rows), leads))) return
        if (pace.isDue()) yield
      }
    }
    for (let parent = left.pop(); parent !== undefined; parent = left.pop()) {
      for (let last = -1; ;) {
        const rows = statements.wideChildren.all({ ...values, parent, last, limit: ROWS_WIDE })
        if (!(yield* look(rows, within ? (above, each) => of!(above, each).below : () => true))) return
        if (pace.isDue()) yield
        if (rows.length < ROWS_WIDE) break
        last = rows.at(-1)![2]
      }
    }
  }

  /**
   * The directories in which what a path ends in must lie, where there are so few of them that all they hold is looked at sooner
   * than every entry whose name begins so.
   */
  *#directoriesOf(found: Found, name: AnchorName): Generator<void, PlaceRow[] | undefined> {
    if (name.within === undefined || name.within.length < ANCHOR_MIN) return undefined
    const { countNamed, directories } = this.#prepared.for(found.rows, 'none')
    let most = name.text.length < ANCHOR_MIN ? Infinity : 0
    const begun = most === 0 ? yield* this.#namesAt(name) : new Float64Array()
    for (let from = 0; from < begun.length; from += NAMES_A_STEP, yield)
      most += countNamed.get({ names: namesIn(begun, from, from + NAMES_A_STEP) }) ?? 0
    const order = yield* this.#namesAt({ text: name.within, place: 'end' })
    const rows: PlaceRow[] = []
    for (let from = 0; from < order.length; from += NAMES_WIDE, yield) {
      rows.push(...directories.all({ names: namesIn(order, from, from + NAMES_WIDE) }))
      if (rows.length * CHILDREN > most) return undefined
    }
    return rows
  }

  #isFound({ matcher, test }: Found, parent: number, name: number, held: number): boolean {
    return (matcher.isOpen || matcher.matches(this.#texts.folded(name))) && (test === null || test(parent, name, held))
  }

  *#namesAt({ text, place }: AnchorName): Generator<void, Float64Array> {
    const test = (each: string) => (place === 'start' ? each.startsWith(text) : each.endsWith(text))
    const matcher = new Matcher([text], [{ name: test }])
    const order: number[] = []
    yield* this.#texts.eachBlock(matcher.ways, (block, names) => matcher.add(block, names, order))
    return Float64Array.from(order)
  }

  /** In the order of the names, of one name by id. */
  *#eachOfNames(found: Found, key: RowKey, order: Float64Array, from: Place, take: Take): Generator<void> {
    const { places, placesRest } = this.#prepared.for(found.rows, key)
    const { test } = found
    const given = { ...found.rows.values, limit: ROWS_A_STEP }
    const pace = new Pace()
    let { at, after } = from
    while (at < order.length) {
      const name = order[at]! % NAME_IDS
      const rows: PlaceRow[] =
        after === undefined
          ? places.all({ ...given, names: namesIn(order, at, at + NAMES_A_STEP) })
          : placesRest.all({ ...given, name, last: after })
      for (const [id, parent, each, value, held] of rows) {
        if ((test === null || test(parent, each, held)) && !take(id, value, each)) return
        if (test !== null && pace.isDue()) yield
      }
      if (rows.length === ROWS_A_STEP) {
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
}

/** What goes down from a directory knows best where; of names the longest is the rarest, and a short one narrows nothing down. */
function bestOf(all: readonly Anchors[]): Anchors | null {
  const length = (name: AnchorName | undefined) => Math.max(name?.text.length ?? 0, name?.within?.length ?? 0)
  const weight = ({ tops, name }: Anchors) => (tops.length > 0 ? Infinity : length(name))
  const best = all.reduce<Anchors | null>((one, other) => (one && weight(one) >= weight(other) ? one : other), null)
  return best && weight(best) >= ANCHOR_MIN ? best : null
}

/** Whether what is found goes on below a directory. */
type Leads = (parent: number, name: number) => boolean

/** Takes what is found, until it wants no more. */
type Take = (id: number, value: number, name: number) => boolean

/** The part of what was kept that comes after a place, where that is certain. */
function following(
  kept: Kept | undefined,
  descending: boolean,
  after: Placed<number | string> | undefined,
  most: number,
): readonly Placed<number | string>[] | undefined {
  if (!kept) return undefined
  const isAfter = (each: Placed<number | string>, other: Placed<number | string> | undefined) =>
    other === undefined || (each.key === other.key ? each.id > other.id : each.key > other.key !== descending)
  const covers = kept.after === undefined || (after !== undefined && !isAfter(kept.after, after))
  if (!covers) return undefined
  const rest = after === undefined ? kept.placed : kept.placed.filter((each) => isAfter(each, after))
  return kept.isWhole || rest.length >= most ? rest : undefined
}

/** Ascending. */
function* sorted(numbers: readonly number[]): Generator<void, Float64Array> {
  let runs: Float64Array[] = []
  for (let from = 0; from < numbers.length; from += SORTED_A_STEP) {
    runs.push(Float64Array.from(numbers.slice(from, from + SORTED_A_STEP)).sort())
    if (numbers.length > SORTED_A_STEP) yield
  }
  while (runs.length > 1) {
    const merged: Float64Array[] = []
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* merge(runs[at]!, runs[at + 1] ?? new Float64Array()))
    runs = merged
  }
  return runs[0] ?? new Float64Array()
}

function* merge(a: Float64Array, b: Float64Array): Generator<void, Float64Array> {
  const both = new Float64Array(a.length + b.length)
  let [i, j] = [0, 0]
  for (let at = 0; at < both.length; at++) {
    both[at] = j >= b.length || (i < a.length && a[i]! <= b[j]!) ? a[i++]! : b[j++]!
    if ((at + 1) % (16 * SORTED_A_STEP) === 0) yield
  }
  return both
}

function namesIn(order: Float64Array, from: number, to: number): string {
  return JSON.stringify(Array.from(order.subarray(from, to), (each) => each % NAME_IDS))
}

/** In the order of names: at the start of a name, or after one entry of it. */
interface Place {
  readonly at: number
  readonly after?: number
}

function placeOf(order: Float64Array, after: Cursor | undefined): Place {
  if (!after) return { at: 0 }
  const at = firstAtLeast(order, after.key)
  return order[at] === after.key ? { at, after: after.id } : { at }
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
