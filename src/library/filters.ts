// What a search asks for: the query's own words and filters and those beside it, in the terms of the tables.
import { refuse } from '../protocol/spans.js'
import { SpacedriveError } from '../base/errors.js'
import { isWithin, normalize } from '../base/places.js'
import type { ParamsOf, SearchFilter, SearchFilters } from '../protocol/operations.js'
import { ENTRY_KINDS } from '../protocol/words.js'
import type { Results } from '../protocol/results.js'
import { readQuery, type Query, type Term } from '../protocol/query.js'
import { KIND } from '../scan/read.js'
import { negated, type Condition } from './conditions.js'
import { foreign, markOf } from './cursors.js'
import type { Entries } from './entries.js'
import { fold } from './fold.js'
import type { Locations } from './locations.js'
import { Inherited } from './places.js'
import type { Page, Wanted } from './search.js'
import { hasKind, headerSays, isDuplicate, type MediaSpan } from './held.js'
import type { Identities } from './identities.js'
import { hasTag } from './tagged.js'
import type { Tags } from './tags.js'
import { soughtBy } from './terms.js'
import { relativeTo } from '../scan/names.js'

export type SearchParams = Omit<ParamsOf<'search.files'>, 'library'>

/** Where a filter looks up what it names. */
export interface Among {
  readonly id: string
  readonly locations: Locations
  readonly entries: Entries
  readonly tags: Tags
  readonly identities: Identities
}

export interface Asked {
  readonly wanted: Wanted
  readonly cursor: string | undefined
  /** Makes of a cursor of the search what the client gets. */
  readonly seal: (cursor: string) => string
}

/**
 * Ages count from the moment the first page was asked for: the cursor carries it, so that all pages are of one search.
 *
 * @throws BAD_REQUEST, LOCATION_NOT_FOUND, FILE_NOT_FOUND
 */
export function askedBy(params: SearchParams, among: Among): Asked {
  const { query, syntax = 'text', filters = {}, cursor } = params
  const mark = markOf(among.id, syntax, query, filters)
  const [inner, of, moment, ...rest] = cursor?.split('.') ?? []
  if (cursor !== undefined && (of !== mark || rest.length > 0)) throw foreign('search')
  if (syntax === 'text') {
    if (moment !== undefined) throw foreign('search')
    const terms: Term[] = [{ how: 'text', on: 'name', text: query, not: false, at: 0 }]
    return { wanted: wantedBy(params, terms, [filters], among), cursor: inner, seal: (each) => `${each}.${mark}` }
  }
  const now = moment === undefined ? Date.now() : Number(moment)
  if (Number.isNaN(new Date(now).getTime())) throw foreign('search')
  const read = readQuery(query, now)
  if (cursor !== undefined && read.relative !== (moment !== undefined)) throw foreign('search')
  const seal = (each: string) => (read.relative ? `${each}.${mark}.${now}` : `${each}.${mark}`)
  return { wanted: wantedBy(params, read.terms, [located(read, among), filters], among), cursor: inner, seal }
}

export type FoundItems = Results['search.files']

/** A page as the client gets it. */
export function foundItems({ total, entries: found, cursor }: Page, entries: Entries, seal: Asked['seal']): FoundItems {
  const items = found.map((entry) => entries.item(entry))
  return { total, items, ...(cursor === undefined ? {} : { cursor: seal(cursor) }) }
}

function wantedBy(
  { sort = 'relevance', order }: SearchParams,
  terms: readonly Term[],
  filters: readonly SearchFilters[],
  among: Among,
): Wanted {
  const descending = order === undefined ? sort === 'size' || sort === 'modified' : order === 'descending'
  if (sort === 'relevance' && descending)
    throw new SpacedriveError('BAD_REQUEST', 'relevance has no other direction', {
      hint: 'Sort by name, size or modified to turn the order round.',
    })
  const { words, conditions } = soughtBy(terms, among.locations)
  return {
    words,
    conditions: [...conditions, ...filters.flatMap((each) => conditionsOf(each, among))],
    sort,
    descending,
    key: JSON.stringify([terms, filters]),
  }
}

/** In a query a location may be called by its name, and it is told where stands what there is not. */
function located({ filters, places }: Query, { locations, tags }: Among): SearchFilters {
  const idOf = (given: string): string => {
    const name = fold(given)
    const found = locations.all().filter((each) => !each.removing && (each.uid === given || fold(each.name) === name))
    if (found.length === 1) return found[0]!.uid
    const how = found.length === 0 ? 'no location' : 'more than one location'
    return refuse(
      { at: places.get(given) ?? 0 },
      `location: ${how} of this library is called ${JSON.stringify(given)}`,
      'Give the name or the id of one: `spacedrive location list` shows both.',
    )
  }
  const tagId = (given: string): string => {
    try {
      return tags.get(given).uid
    } catch (error) {
      if (!(error instanceof SpacedriveError)) throw error
      throw new SpacedriveError(error.code, `tag: ${error.message}`, {
        hint: error.hint,
        position: places.get(given) ?? 0,
      })
    }
  }
  const one = <Filter extends SearchFilter>(each: Filter): Filter => ({
    ...each,
    ...(each.location === undefined ? {} : { location: idOf(each.location) }),
    ...(each.tags === undefined ? {} : { tags: each.tags.map(tagId) }),
  })
  return { ...one(filters), ...(filters.not ? { not: filters.not.map(one) } : {}) }
}

function conditionsOf({ not = [], ...filter }: SearchFilters, among: Among): Condition[] {
  return [...each(filter, among).flat(), ...not.flatMap((one) => each(one, among).map(([first]) => negated(first)))]
}

/** What one filter asks of an entry: the first decides, and what comes after it holds as well and is sooner found out. */
type Asks = readonly [Condition, ...Condition[]]

function each(filter: SearchFilter, among: Among): Asks[] {
  return Object.entries(filter).flatMap(([key, value]) => {
    if (value === undefined) return []
    // The key belongs to the value: both come from the same filter.
    const read = FILTERS[key as keyof SearchFilter] as (value: unknown, among: Among) => Condition | Asks | null
    const asks = read(value, among)
    if (asks === null) return []
    return [Array.isArray(asks) ? (asks as unknown as Asks) : [asks as Condition]]
  })
}

/** What each filter asks of an entry; null where it asks for nothing. */
const FILTERS: {
  readonly [Key in keyof Required<SearchFilter>]: (
    value: NonNullable<SearchFilter[Key]>,
    among: Among,
  ) => Condition | Asks | null
} = {
  kind: (kind) => ({ row: (bind) => `entry.kind = ${bind(ENTRY_KINDS.indexOf(kind))}` }),
  location: (uid, { locations }) => {
    const { id } = locations.get(uid)
    return { row: (bind) => `entry.location = ${bind(id)}` }
  },
  extensions: (extensions) => {
    const endings = extensions.map((each) => `.${fold(each)}`)
    // What is only an extension, like ".bashrc", has none.
    const ends = (name: string, ending: string) => name.length > ending.length && name.endsWith(ending)
    return { name: (name) => endings.some((each) => ends(name, each)), ways: endings.map((each) => [each]) }
  },
  size: ({ min, max }) => {
    if (min === undefined && max === undefined) return null
    return {
      row: (bind) =>
        allIn([
          `entry.kind = ${KIND.file}`,
          min !== undefined && `entry.size >= ${bind(min)}`,
          max !== undefined && `entry.size <= ${bind(max)}`,
        ]),
    }
  },
  modified: ({ after, before }) => {
    if (after === undefined && before === undefined) return null
    return {
      row: (bind) =>
        allIn([
          after !== undefined && `entry.mtime >= ${bind(microseconds(after))}`,
          before !== undefined && `entry.mtime < ${bind(microseconds(before))}`,
        ]),
    }
  },
  width: ({ min, max }, among) => says({ column: 'width', from: min, to: max }, among),
  height: ({ min, max }, among) => says({ column: 'height', from: min, to: max }, among),
  durationMs: ({ min, max }, among) => says({ column: 'ms', from: min, to: max }, among),
  taken: ({ after, before }, among) => says({ column: 'taken', from: after, before }, among),
  path: (path, among) => below(directoriesAt(path, among)),
  tags: (given, { tags, locations }) => {
    const wanted = given.map((each) => {
      const group = tags.withBelow(tags.get(each)).map(({ id }) => id)
      return { tags: group, ...tags.countsOf(group) }
    })
    const [few] = wanted.toSorted((a, b) => a.entries + a.contents - b.entries - b.contents)
    const { files, directories, others } = locations.totals()
    const pays = (few!.entries + few!.contents) * TAGGED_SHARE < files + directories + others
    return hasTag(wanted, pays ? few! : null)
  },
  hidden: (hidden) => (hidden ? HIDDEN : negated(HIDDEN)),
  contentKinds: (kinds, { identities }) => hasKind(new Set(kinds), identities.used),
  duplicate: (duplicate, { identities, locations }) => {
    const { files, directories, others } = locations.totals()
    const few = identities.duplicatesMost(Math.floor((files + directories + others) / COPIED_SHARE))
    return duplicate ? isDuplicate(few) : negated(isDuplicate(false))
  },
}

/** With more than one in so many it is faster to look at every entry. */
const TAGGED_SHARE = 4
/** The same of those whose headers were read. */
const SEEN_SHARE = 4
/** With more contents of several files than one in so many entries. */
const COPIED_SHARE = 32

function says(span: MediaSpan, { identities, locations }: Among): Condition | null {
  if (span.from === undefined && span.to === undefined && span.before === undefined) return null
  const { files, directories, others } = locations.totals()
  return headerSays(span, identities.seenMost(Math.floor((files + directories + others) / SEEN_SHARE)))
}

const HIDDEN: Condition = {
  place: (places) => {
    const isDotted = (parent: number, name: number) => parent >= 0 && places.texts.isDotted(name)
    const above = new Inherited(
      places,
      () => false,
      (hidden, _, [parent, name]) => hidden || isDotted(parent, name),
    )
    return (parent, name) => above.of(parent) || isDotted(parent, name)
  },
}

/** @param tops directories, and in negative numbers locations whose roots count as well */
function below(tops: readonly number[]): Condition {
  return {
    place: (places) => {
      const inside = new Inherited(
        places,
        (root) => tops.includes(root),
        (above, directory) => above || tops.includes(directory),
      )
      return (parent) => inside.of(parent)
    },
    anchors: { tops },
  }
}

function allIn(parts: readonly (string | false)[]): string {
  return parts.filter((each) => each !== false).join(' AND ')
}

function microseconds(time: string): number {
  return Date.parse(time) * 1_000
}

/** The directory at a path; above the locations, what stands for the parent of each that lies below it. */
function directoriesAt(given: string, { locations, entries }: Among): number[] {
  const path = normalize(given)
  const location = locations.covering(path)
  if (location) {
    const id = entries.idAt(location, relativeTo(location.path, path))
    if (id !== undefined) return [id]
  }
  const inside = locations.all().filter((each) => isWithin(each.path, path))
  if (location === undefined && inside.length > 0) return inside.map((each) => -each.id)
  throw new SpacedriveError('FILE_NOT_FOUND', `${given} is not in this library's index`)
}
