// Where a page ended, as what a client hands back; of a search the last entry's key in the order, and its id.
import { SpacedriveError } from '../base/errors.js'
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
    throw new SpacedriveError('BAD_REQUEST', 'not a cursor of this search')
  return read
}

/** Of a list whose places are words or numbers. */
export function writePlace(place: unknown): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/** @throws BAD_REQUEST where it is no cursor, or one of another list */
export function readPlace<Place>(cursor: string, isPlace: (value: unknown) => value is Place, list: string): Place {
  try {
    const place: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (isPlace(place)) return place
  } catch {
    // Told below: a cursor that does not parse is as foreign as one of another shape.
  }
  throw new SpacedriveError('BAD_REQUEST', `not a cursor of this ${list}`)
}

function numberIn(text: string | undefined): number {
  return text === undefined || text === '' ? Number.NaN : Number(text)
}

function orderOf(sort: SearchSort, descending: boolean): string {
  return `${sort}${descending ? '-' : '+'}`
}
