// Sizes and times as a person writes them: `>1M`, `10K..2M`, `<30d`, `2026-01..2026-03`.
import { SpacedriveError } from '../base/errors.js'

/** A part of a query, and where in the query it begins. */
export interface Part {
  readonly text: string
  readonly at: number
}

export interface SizeSpan {
  /** Bytes, both included. */
  readonly min?: number | undefined
  readonly max?: number | undefined
}

export interface TimeSpan {
  /** ISO 8601, UTC; `before` itself is not included. */
  readonly after?: string | undefined
  readonly before?: string | undefined
}

const SIZES = 'Write a size like size:>1M, size:<=10K or size:1M..2G; K, M, G and T are powers of 1,024.'
const TIMES =
  'Write a time like modified:<30d, modified:>1y, modified:2026-01 or modified:2026-01-15..2026-02-01; units are h d w m y.'
const OPERATOR = /^(?:[<>]=?)?/
const AMOUNT = /^(\d+(?:\.\d+)?)(?:b|([kmgt])(?:i?b)?)?$/i
const AGE = /^(\d{1,6})([hdwmy])$/
const DATE = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/
const UNITS = ['', 'k', 'm', 'g', 't']
const HOUR_MS = 3_600_000
const AGE_MS: Readonly<Record<string, number>> = { h: HOUR_MS, d: 24 * HOUR_MS, w: 7 * 24 * HOUR_MS }

/** @throws BAD_REQUEST that points at the part */
export function refuse({ at }: { readonly at: number }, message: string, hint: string): never {
  throw new SpacedriveError('BAD_REQUEST', message, { hint, position: at })
}

/** @param from, to in the text of the part; what is empty points at the last character before it */
export function slice({ text, at }: Part, from: number, to = text.length): Part {
  return { text: text.slice(from, to), at: at + Math.max(0, Math.min(from, text.length - 1)) }
}

export function readSize(value: Part): SizeSpan {
  const range = ends(value)
  if (range) return sizeRange(value, range)
  const operator = OPERATOR.exec(value.text)![0]
  const amount = slice(value, operator.length)
  const bytes = readBytes(amount)
  switch (operator) {
    case '>':
      return { min: Math.floor(bytes) + 1 }
    case '>=':
      return { min: Math.ceil(bytes) }
    case '<':
      return bytes === 0 ? refuse(value, 'size: nothing is smaller than 0 bytes', SIZES) : { max: Math.ceil(bytes) - 1 }
    case '<=':
      return { max: Math.floor(bytes) }
    default:
      return { min: Math.ceil(bytes), max: Math.floor(bytes) }
  }
}

function sizeRange(value: Part, [from, to]: readonly [Part, Part]): SizeSpan {
  const min = from.text === '' ? undefined : Math.ceil(readBytes(from))
  const max = to.text === '' ? undefined : Math.floor(readBytes(to))
  if (min === undefined && max === undefined) refuse(value, 'size: a range needs one end at least', SIZES)
  if (min !== undefined && max !== undefined && min > max) refuse(to, 'size: the range ends before it begins', SIZES)
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
}

function readBytes(amount: Part): number {
  const [, number, unit = ''] = AMOUNT.exec(amount.text) ?? []
  const bytes = Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase())
  if (number === undefined) refuse(amount, `size: ${JSON.stringify(amount.text)} is not a size`, SIZES)
  if (bytes > Number.MAX_SAFE_INTEGER) refuse(amount, 'size: no file is as large as that', SIZES)
  return bytes
}

/** @param now the moment from which ages count, in ms since 1970; dates are days of the local time zone */
export function readTime(value: Part, now: number): TimeSpan {
  const range = ends(value)
  if (range) return timeRange(value, range, now)
  const operator = OPERATOR.exec(value.text)![0]
  const moment = slice(value, operator.length)
  const age = AGE.exec(moment.text)
  if (age) return readAge(value, operator, before(now, Number(age[1]), age[2]!))
  const [start, end] = readDate(moment, now)
  switch (operator) {
    case '>':
      return span(end, undefined)
    case '>=':
      return span(start, undefined)
    case '<':
      return span(undefined, start)
    case '<=':
      return span(undefined, end)
    default:
      return span(start, end)
  }
}

/** Whether what was written means something else at another time. */
export function isRelative({ text }: Part): boolean {
  return /today|yesterday/.test(text) || AGE.test(text.replace(OPERATOR, ''))
}

function readAge(value: Part, operator: string, then: number): TimeSpan {
  const age = value.text.slice(operator.length)
  if (operator === '') refuse(value, `modified: younger or older than ${age}?`, TIMES)
  if (Number.isNaN(then)) refuse(value, 'modified: that is longer ago than any calendar goes', TIMES)
  return operator.startsWith('<') ? span(then, undefined) : span(undefined, then)
}

function timeRange(value: Part, [from, to]: readonly [Part, Part], now: number): TimeSpan {
  const start = from.text === '' ? undefined : readDate(from, now)[0]
  const end = to.text === '' ? undefined : readDate(to, now)[1]
  if (start === undefined && end === undefined) refuse(value, 'modified: a range needs one end at least', TIMES)
  if (start !== undefined && end !== undefined && start >= end)
    refuse(to, 'modified: the range ends before it begins', TIMES)
  return span(start, end)
}

/** A year, a month or a day: its first moment, and the first one after it. */
function readDate(date: Part, now: number): [number, number] {
  const today = new Date(now)
  const [year, month, day] = [today.getFullYear(), today.getMonth(), today.getDate()]
  if (date.text === 'today') return [midnight(year, month, day), midnight(year, month, day + 1)]
  if (date.text === 'yesterday') return [midnight(year, month, day - 1), midnight(year, month, day)]
  return readCalendar(date)
}

function readCalendar(date: Part): [number, number] {
  const found = DATE.exec(date.text)
  if (!found) refuse(date, `modified: ${JSON.stringify(date.text)} is not a time`, TIMES)
  const [year, month, day] = [Number(found[1]), Number(found[2] ?? 1) - 1, Number(found[3] ?? 1)]
  const start = midnight(year, month, day)
  if (new Date(start).getMonth() !== month || new Date(start).getDate() !== day)
    refuse(date, `modified: there is no ${date.text} in the calendar`, TIMES)
  if (found[3] !== undefined) return [start, midnight(year, month, day + 1)]
  return [start, found[2] === undefined ? midnight(year + 1, 0, 1) : midnight(year, month + 1, 1)]
}

/** Of the local time zone, whose days need not have 24 hours. */
function midnight(year: number, month: number, day: number): number {
  const date = new Date(2000, 0, 1)
  return date.setFullYear(year, month, day)
}

/** Months and years go back by the calendar, to the last day of a month that is too short. */
function before(now: number, count: number, unit: string): number {
  const ms = AGE_MS[unit]
  if (ms !== undefined) return new Date(now - count * ms).getTime()
  const date = new Date(now)
  const day = date.getDate()
  date.setMonth(date.getMonth() - count * (unit === 'y' ? 12 : 1))
  if (date.getDate() !== day) date.setDate(0)
  return date.getTime()
}

function span(after: number | undefined, end: number | undefined): TimeSpan {
  return {
    ...(after === undefined ? {} : { after: new Date(after).toISOString() }),
    ...(end === undefined ? {} : { before: new Date(end).toISOString() }),
  }
}

/** The two sides of `A..B`, either of which may be empty. */
function ends(value: Part): [Part, Part] | undefined {
  const at = value.text.indexOf('..')
  return at < 0 ? undefined : [slice(value, 0, at), slice(value, at + 2)]
}

export function bothSizes(one: SizeSpan, other: SizeSpan = {}): SizeSpan {
  return { min: chosen(one.min, other.min, Math.max), max: chosen(one.max, other.max, Math.min) }
}

export function bothTimes(one: TimeSpan, other: TimeSpan = {}): TimeSpan {
  const later = (a: string, b: string) => (Date.parse(a) > Date.parse(b) ? a : b)
  const sooner = (a: string, b: string) => (Date.parse(a) < Date.parse(b) ? a : b)
  return { after: chosen(one.after, other.after, later), before: chosen(one.before, other.before, sooner) }
}

function chosen<T>(one: T | undefined, other: T | undefined, choose: (one: T, other: T) => T): T | undefined {
  return one === undefined || other === undefined ? (one ?? other) : choose(one, other)
}

/** Reads a pattern in a query sign by sign. */
export class PartReader {
  protected readonly text: string
  /** Where in the query it begins. */
  protected readonly start: number
  protected at = 0

  constructor({ text, at }: Part) {
    this.text = text
    this.start = at
  }

  /** Whether this comes next; then it is read. */
  protected take(wanted: string): boolean {
    if (!this.text.startsWith(wanted, this.at)) return false
    this.at += wanted.length
    return true
  }

  protected character(): string {
    const character = String.fromCodePoint(this.text.codePointAt(this.at)!)
    this.at += character.length
    return character
  }
}
