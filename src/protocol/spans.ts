// Sizes, lengths and times as a person writes them: `>1M`, `10K..2M`, `>=90s`, `<30d`, `2026-01..2026-03`.
import { SpacedriveError } from '../base/errors.js'

/** A part of a query, and where in the query it begins. */
export interface Part {
  readonly text: string
  readonly at: number
}

export interface AmountSpan {
  /** Whole bytes, pixels or milliseconds, both included. */
  readonly min?: number | undefined
  readonly max?: number | undefined
}

export interface TimeSpan {
  /** ISO 8601, UTC; `before` itself is not included. */
  readonly after?: string | undefined
  readonly before?: string | undefined
}

/** What an amount is of: how it is read, and how one that makes no sense is told. */
interface Amounts {
  readonly name: 'size' | 'width' | 'height' | 'duration'
  readonly noun: string
  /** NaN for what is none. */
  readonly read: (text: string) => number
  readonly hint: string
}

const OPERATOR = /^(?:[<>]=?)?/
const BYTES = /^(\d+(?:\.\d+)?)(?:b|([kmgt])(?:i?b)?)?$/i
const PIXELS = /^(\d+)(?:px)?$/i
const LENGTH = /^(\d+(?:\.\d+)?)(ms|s|min|h)?$/i
const AGE = /^(\d{1,6})([hdwmy])$/
const DATE = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/
const UNITS = ['', 'k', 'm', 'g', 't']
const HOUR_MS = 3_600_000
const LENGTH_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: HOUR_MS }
const AGE_MS: Readonly<Record<string, number>> = { h: HOUR_MS, d: 24 * HOUR_MS, w: 7 * 24 * HOUR_MS }

/** @throws BAD_REQUEST that points at the part */
export function refuse({ at }: { readonly at: number }, message: string, hint: string): never {
  throw new SpacedriveError('BAD_REQUEST', message, { hint, position: at })
}

/** @param from, to in the text of the part; what is empty points at the last character before it */
export function slice({ text, at }: Part, from: number, to = text.length): Part {
  return { text: text.slice(from, to), at: at + Math.max(0, Math.min(from, text.length - 1)) }
}

const SIZE: Amounts = {
  name: 'size',
  noun: 'a size',
  read: (text) => {
    const [, number, unit = ''] = BYTES.exec(text) ?? []
    return Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase())
  },
  hint: 'Write a size like size:>1M, size:<=10K or size:1M..2G; K, M, G and T are powers of 1,024.',
}

const DURATION: Amounts = {
  name: 'duration',
  noun: 'a length of time',
  read: (text) => {
    const [, number, unit = 's'] = LENGTH.exec(text) ?? []
    return Number(number) * LENGTH_MS[unit.toLowerCase()]!
  },
  hint: 'Write a length like duration:>10min, duration:<=90s or duration:1h..2h; units are ms s min h, and s without one.',
}

const SIDE = (name: 'width' | 'height'): Amounts => ({
  name,
  noun: 'a number of pixels',
  read: (text) => Number(PIXELS.exec(text)?.[1]),
  hint: `Write pixels like ${name}:>1000 or ${name}:640..1920.`,
})

const AMOUNTS = { size: SIZE, duration: DURATION, width: SIDE('width'), height: SIDE('height') } as const

export function readAmount(value: Part, of: keyof typeof AMOUNTS): AmountSpan {
  const { name, hint } = AMOUNTS[of]
  const range = ends(value)
  if (range) return amountRange(value, range, AMOUNTS[of])
  const operator = OPERATOR.exec(value.text)![0]
  const amount = oneAmount(slice(value, operator.length), AMOUNTS[of])
  switch (operator) {
    case '>':
      return { min: Math.floor(amount) + 1 }
    case '>=':
      return { min: Math.ceil(amount) }
    case '<':
      return amount === 0 ? refuse(value, `${name}: nothing is less than 0`, hint) : { max: Math.ceil(amount) - 1 }
    case '<=':
      return { max: Math.floor(amount) }
    default:
      return { min: Math.ceil(amount), max: Math.floor(amount) }
  }
}

function amountRange(value: Part, [from, to]: readonly [Part, Part], amounts: Amounts): AmountSpan {
  const { name, hint } = amounts
  const min = from.text === '' ? undefined : Math.ceil(oneAmount(from, amounts))
  const max = to.text === '' ? undefined : Math.floor(oneAmount(to, amounts))
  if (min === undefined && max === undefined) refuse(value, `${name}: a range needs one end at least`, hint)
  if (min !== undefined && max !== undefined && min > max) refuse(to, `${name}: the range ends before it begins`, hint)
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
}

function oneAmount(part: Part, { name, noun, read, hint }: Amounts): number {
  const amount = read(part.text)
  if (Number.isNaN(amount)) refuse(part, `${name}: ${JSON.stringify(part.text)} is not ${noun}`, hint)
  if (amount > Number.MAX_SAFE_INTEGER) refuse(part, `${name}: no file has as much as that`, hint)
  return amount
}

/** Filters by time. */
type Dated = 'modified' | 'taken'

function timesHint(name: Dated): string {
  return `Write a time like ${name}:<30d, ${name}:>1y, ${name}:2026-01 or ${name}:2026-01-15..2026-02-01; units are h d w m y.`
}

/** @param now the moment from which ages count, in ms since 1970; dates are days of the local time zone */
export function readTime(value: Part, now: number, name: Dated): TimeSpan {
  const range = ends(value)
  if (range) return timeRange(value, range, now, name)
  const operator = OPERATOR.exec(value.text)![0]
  const moment = slice(value, operator.length)
  const age = AGE.exec(moment.text)
  if (age) return readAge(value, operator, before(now, Number(age[1]), age[2]!), name)
  const [start, end] = readDate(moment, now, name)
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

function readAge(value: Part, operator: string, then: number, name: Dated): TimeSpan {
  const age = value.text.slice(operator.length)
  if (operator === '') refuse(value, `${name}: younger or older than ${age}?`, timesHint(name))
  if (Number.isNaN(then)) refuse(value, `${name}: that is longer ago than any calendar goes`, timesHint(name))
  return operator.startsWith('<') ? span(then, undefined) : span(undefined, then)
}

function timeRange(value: Part, [from, to]: readonly [Part, Part], now: number, name: Dated): TimeSpan {
  const start = from.text === '' ? undefined : readDate(from, now, name)[0]
  const end = to.text === '' ? undefined : readDate(to, now, name)[1]
  if (start === undefined && end === undefined)
    refuse(value, `${name}: a range needs one end at least`, timesHint(name))
  if (start !== undefined && end !== undefined && start >= end)
    refuse(to, `${name}: the range ends before it begins`, timesHint(name))
  return span(start, end)
}

/** A year, a month or a day: its first moment, and the first one after it. */
function readDate(date: Part, now: number, name: Dated): [number, number] {
  const today = new Date(now)
  const [year, month, day] = [today.getFullYear(), today.getMonth(), today.getDate()]
  if (date.text === 'today') return [midnight(year, month, day), midnight(year, month, day + 1)]
  if (date.text === 'yesterday') return [midnight(year, month, day - 1), midnight(year, month, day)]
  return readCalendar(date, name)
}

function readCalendar(date: Part, name: Dated): [number, number] {
  const found = DATE.exec(date.text)
  if (!found) refuse(date, `${name}: ${JSON.stringify(date.text)} is not a time`, timesHint(name))
  const [year, month, day] = [Number(found[1]), Number(found[2] ?? 1) - 1, Number(found[3] ?? 1)]
  const start = midnight(year, month, day)
  if (new Date(start).getMonth() !== month || new Date(start).getDate() !== day)
    refuse(date, `${name}: there is no ${date.text} in the calendar`, timesHint(name))
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

export function bothAmounts(one: AmountSpan, other: AmountSpan = {}): AmountSpan {
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
