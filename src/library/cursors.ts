// Where a page ended, as what a client hands back; of a search the last entry's key in the order, and its id. Each has the mark of
// its list, so that no page is made of the place of another.
import { SpacedriveError } from '../base/errors.js'
import { fnv } from '../base/hash.js'
import type { SearchSort } from './search.js'

export interface Cursor {
  /** Where names are sorted the number of the name, which is one for ever. */
  readonly key: number
  readonly id: number
}

export function cursorOf(sort: SearchSort, descending: boolean, { key, id }: Cursor): string {
  const text = sort === 'relevance' ? `${key} ${id}` : `${key} ${id} ${orderOf(sort, descending)}`
  return Buffer.from(text).toString('base64url')
}

/** @throws BAD_REQUEST */
export function readCursor(cursor: string, sort: SearchSort, descending: boolean): Cursor {
  const [key, id, order, ...rest] = Buffer.from(cursor, 'base64url').toString().split(' ')
  const read = { key: numberIn(key), id: numberIn(id) }
  const wanted = sort === 'relevance' ? undefined : orderOf(sort, descending)
  if (rest.length > 0 || order !== wanted || !Number.isSafeInteger(read.id) || !Number.isFinite(read.key))
    throw foreign('search')
  return read
}

/** Of a list, by all that makes it this one: the library first, since ids and places of one may be those of another. */
export function markOf(...list: unknown[]): string {
  return (fnv(JSON.stringify(list)) >>> 0).toString(36)
}

/** Of a list whose places are words or numbers. */
export function writePlace(place: unknown, mark: string): string {
  return `${Buffer.from(JSON.stringify(place)).toString('base64url')}.${mark}`
}

/** @throws BAD_REQUEST where it is no cursor, or one of another list */
export function readPlace<Place>(cursor: string, isPlace: (value: unknown) => value is Place, mark: string): Place {
  const [written = '', ...rest] = cursor.split('.')
  try {
    const place: unknown = JSON.parse(Buffer.from(written, 'base64url').toString())
    if (rest.length === 1 && rest[0] === mark && isPlace(place)) return place
  } catch {
    // Told below: a cursor that does not parse is as foreign as one of another shape.
  }
  throw foreign('list')
}

export function foreign(what: 'list' | 'search'): SpacedriveError {
  const hint = 'Ask with the parameters of the page it came with, or without it for the first page.'
  return new SpacedriveError('BAD_REQUEST', `not a cursor of this ${what}`, { hint })
}

function numberIn(text: string | undefined): number {
  return text === undefined || text === '' ? Number.NaN : Number(text)
}

function orderOf(sort: SearchSort, descending: boolean): string {
  return `${sort}${descending ? '-' : '+'}`
}
