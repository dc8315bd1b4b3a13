// What a search asks for: the query's own filters and those beside it, brought together, in the terms of the tables.
import { SpacedriveError } from '../base/errors.js'
import { ENTRY_KINDS, type ParamsOf, type SearchFilters } from '../protocol/operations.js'
import { readQuery } from '../protocol/query.js'
import { bothSizes, bothTimes } from '../protocol/spans.js'
import { normalize, type Entries } from './entries.js'
import { fold } from './fold.js'
import { isWithin, type Locations } from './locations.js'
import type { Filters } from './search.js'

export type SearchParams = Omit<ParamsOf<'search.files'>, 'library'>

export interface Wanted {
  readonly text: string
  /** Null where nothing can pass. */
  readonly filters: SearchFilters | null
  readonly cursor: string | undefined
  /** Makes of a cursor of the search what the client gets. */
  readonly seal: (cursor: string) => string
}

/**
 * Ages count from the moment the first page was asked for: the cursor carries it, so that all pages are of one search.
 *
 * @throws BAD_REQUEST
 */
export function wantedBy({ query, syntax, filters = {}, cursor }: SearchParams): Wanted {
  if (syntax !== 'filters') return { text: query, filters, cursor, seal: (each) => each }
  const [inner, moment] = cursor?.split('.') ?? []
  const now = moment === undefined ? Date.now() : Number(moment)
  const foreign = Number.isNaN(new Date(now).getTime())
  const read = readQuery(query, foreign ? 0 : now)
  if (foreign || (read.relative && cursor !== undefined && moment === undefined))
    throw new SpacedriveError('BAD_REQUEST', 'not a cursor of this search')
  const seal = (each: string) => (read.relative ? `${each}.${now}` : each)
  return { text: read.text, filters: bothOf(read.filters, filters), cursor: inner, seal }
}

/** Filters under which passes what passes both; null where nothing can. */
export function bothOf(one: SearchFilters, other: SearchFilters): SearchFilters | null {
  const kind = same(one.kind, other.kind)
  const location = same(one.location, other.location)
  const extensions = bothEndings(one.extensions, other.extensions)
  const path = innerOf(one.path, other.path)
  if (kind === null || location === null || path === null || extensions?.length === 0) return null
  const size = bothSizes(one.size ?? {}, other.size)
  const modified = bothTimes(one.modified ?? {}, other.modified)
  return { kind, location, extensions, size, modified, path }
}

function same<T>(one: T | undefined, other: T | undefined): T | null | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return one === other ? one : null
}

/** Of "gz" and "tar.gz" the longer satisfies both. */
function bothEndings(one: string[] | undefined, other: string[] | undefined): string[] | undefined {
  if (one === undefined || other === undefined) return one ?? other
  const ends = (a: string, b: string) => a === b || a.endsWith(`.${b}`)
  const longer = (a: string, b: string) => (ends(a, b) ? [a] : ends(b, a) ? [b] : [])
  return [...new Set(one.flatMap((a) => other.flatMap((b) => longer(fold(a), fold(b)))))]
}

function innerOf(one: string | undefined, other: string | undefined): string | null | undefined {
  if (one === undefined || other === undefined) return one ?? other
  const [a, b] = [normalize(one), normalize(other)]
  return isWithin(a, b) ? a : isWithin(b, a) ? b : null
}

/** @throws LOCATION_NOT_FOUND, FILE_NOT_FOUND */
export function rowFilters(filters: SearchFilters, locations: Locations, entries: Entries): Filters {
  const { kind, location, extensions, size, modified, path } = filters
  return {
    kind: kind && ENTRY_KINDS.indexOf(kind),
    location: location === undefined ? undefined : locations.get(location).id,
    extensions: extensions?.map(fold),
    size: isOpen(size) ? undefined : size,
    modified: isOpen(modified)
      ? undefined
      : { after: microseconds(modified?.after), before: microseconds(modified?.before) },
    below: path === undefined ? undefined : directoriesAt(path, locations, entries),
  }
}

function isOpen(span: object | undefined): boolean {
  return span === undefined || Object.values(span).every((end) => end === undefined)
}

function microseconds(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time) * 1_000
}

/** The directory at a path; above the locations, what stands for the parent of each that lies below it. */
function directoriesAt(given: string, locations: Locations, entries: Entries): number[] {
  const path = normalize(given)
  const location = locations.covering(path)
  if (location) {
    const id = entries.idAt(location, path.slice(location.path === '/' ? 1 : location.path.length + 1))
    if (id !== undefined) return [id]
  }
  const below = locations.all().filter((each) => isWithin(each.path, path))
  if (location === undefined && below.length > 0) return below.map((each) => -each.id)
  throw new SpacedriveError('FILE_NOT_FOUND', `${given} is not in this library's index`)
}
