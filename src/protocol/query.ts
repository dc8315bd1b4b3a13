// The query language for people: `invoice ext:pdf size:>1M modified:<30d` is words to look for, and filters.
//
// A word that begins with the name of a filter and a colon is one, and a dash before anything asks for what it is not.
// Whatever stands between quotation marks is text as it was typed; so any text can be asked for.
import { LIMITS } from '../base/limits.js'
import { nearest } from '../base/near.js'
import type { SearchFilter, SearchFilters } from './operations.js'
import { CONTENT_KINDS, ENTRY_KINDS } from './words.js'
import { weightOf } from './pattern.js'
import { isOnPath, readPattern, type How } from './patterns.js'
import {
  bothAmounts,
  bothTimes,
  isRelative,
  readAmount,
  readTime,
  refuse,
  slice,
  type Part,
  type TimeSpan,
} from './spans.js'

export interface Term {
  readonly how: How
  /** A word or pattern with a slash is about the path. */
  readonly on: 'name' | 'path'
  readonly text: string
  /** It must not match. */
  readonly not: boolean
  /** Where in the query it begins. */
  readonly at: number
}

export interface Query {
  readonly terms: readonly Term[]
  readonly filters: SearchFilters
  /** Whether it means something else at another time. */
  readonly relative: boolean
  /** Where a value stands that only the library can read. */
  readonly places: ReadonlyMap<string, number>
}

interface Reading {
  readonly terms: Term[]
  filters: SearchFilters
  relative: boolean
  weight: number
  readonly places: Map<string, number>
  readonly now: number
}

/** Those after which a filter stands. */
type Word =
  | 'ext'
  | 'kind'
  | 'type'
  | 'path'
  | 'size'
  | 'modified'
  | 'width'
  | 'height'
  | 'duration'
  | 'taken'
  | 'location'
  | 'tag'
  | 'is'

const BLANK = /\s+/y
const FILTER =
  /(ext|kind|type|path|size|modified|width|height|duration|taken|location|tag|is|created|accessed|re|glob):("(.*?)"(?=\s|$)|\S*)/sy
const QUOTED = /"(.*?)"(?=\s|$)/sy
const PLAIN = /\S+/y
const QUOTE = 'To look for it as a text put it between quotation marks.'

/**
 * @param now the moment from which ages count, in ms since 1970
 * @throws BAD_REQUEST with the position of what makes no sense, in UTF-16 units from the start of the query
 */
export function readQuery(query: string, now: number): Query {
  const reading: Reading = { terms: [], filters: {}, relative: false, weight: 0, places: new Map(), now }
  for (let at = skipBlank(query, 0); at < query.length; at = skipBlank(query, at)) at = readPiece(query, at, reading)
  return reading
}

function skipBlank(query: string, at: number): number {
  return at + (matchAt(BLANK, query, at)?.[0].length ?? 0)
}

/** @returns where the piece ends */
function readPiece(query: string, from: number, reading: Reading): number {
  const not = /^-[^\s-]/.test(query.slice(from, from + 2))
  const at = not ? from + 1 : from
  return readFilter(query, at, not, reading) ?? readQuoted(query, at, not, reading) ?? readWord(query, at, not, reading)
}

function readFilter(query: string, at: number, not: boolean, reading: Reading): number | undefined {
  const found = matchAt(FILTER, query, at)
  if (!found) return undefined
  const [whole, name = '', value = '', quoted] = found
  const start = at + name.length + 1
  if (value === '' || quoted === '') refuse({ at: start - 1 }, `${name}: has no value`, QUOTE)
  if (quoted === undefined && value.startsWith('"'))
    refuse({ at: start }, `${name}: the quotation mark is not closed`, QUOTE)
  if (name === 'created' || name === 'accessed')
    refuse({ at }, `${name}: the index does not keep when a file was ${name}`, `Use modified: instead. ${QUOTE}`)
  const part = quoted === undefined ? { text: value, at: start } : { text: quoted, at: start + 1 }
  if (name === 're') addTerm('regex', part, not, reading)
  else if (name === 'glob') addTerm('glob', part, not, reading)
  else if (name === 'path' && !isDirectory(part, quoted !== undefined)) addPath(part, not, reading)
  else addFilter(name as Word, part, not, reading)
  return at + whole.length
}

function readQuoted(query: string, at: number, not: boolean, reading: Reading): number | undefined {
  const found = matchAt(QUOTED, query, at)
  if (!found) return undefined
  if (found[1] !== '') addTerm('text', { text: found[1]!, at: at + 1 }, not, reading)
  return at + found[0].length
}

function readWord(query: string, at: number, not: boolean, reading: Reading): number {
  const [text] = matchAt(PLAIN, query, at)!
  addTerm(isGlob(text) ? 'glob' : 'text', { text, at }, not, reading)
  return at + text.length
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}

function addTerm(how: How, part: Part, not: boolean, reading: Reading): void {
  pushTerm({ how, on: isOnPath({ how, ...part }) ? 'path' : 'name', ...part, not }, reading)
}

/** Whatever it is, it is looked for in the path. */
function addPath(part: Part, not: boolean, reading: Reading): void {
  pushTerm({ how: isGlob(part.text) ? 'glob' : 'text', on: 'path', ...part, not }, reading)
}

function pushTerm(term: Term, reading: Reading): void {
  if (reading.terms.length >= LIMITS.termsMax)
    refuse(
      term,
      `more than ${LIMITS.termsMax} words`,
      'Look for fewer, or put what belongs together into quotation marks.',
    )
  if (term.how !== 'text') weigh(term, reading)
  reading.terms.push(term)
}

/** All patterns are asked of each name: together they are bounded. */
function weigh(term: Term, reading: Reading): void {
  reading.weight += weightOf(readPattern(term))
  if (reading.weight > LIMITS.patternWeightMax)
    refuse(term, 'the pattern is too large', 'Count fewer repetitions, or look for a simpler one.')
}

function isGlob(text: string): boolean {
  return /[*?]/.test(text)
}

/** Everything below it is meant then. */
function isDirectory({ text }: Part, quoted: boolean): boolean {
  return text.startsWith('/') && (quoted || !isGlob(text))
}

function addFilter(name: Word, value: Part, not: boolean, reading: Reading): void {
  const filter = READ[name](value, reading)
  reading.relative ||= (name === 'modified' || name === 'taken') && isRelative(value)
  if (not) addNot(filter, value, reading)
  else reading.filters = { ...reading.filters, ...joined(name, value, filter, reading.filters) }
}

function addNot(filter: SearchFilter, value: Part, reading: Reading): void {
  const { not = [] } = reading.filters
  if (not.length >= LIMITS.filtersNotMax)
    refuse(value, `more than ${LIMITS.filtersNotMax} filters with a dash`, 'Ask for fewer at a time.')
  reading.filters = { ...reading.filters, not: [...not, filter] }
}

/** Spans of one kind narrow each other down; of the other filters a second is refused rather than guessed at. */
function joined(name: Word, value: Part, filter: SearchFilter, before: SearchFilter): SearchFilter {
  for (const key of ['size', 'width', 'height', 'durationMs'] as const)
    if (filter[key]) return { [key]: bothAmounts(filter[key], before[key]) }
  for (const key of ['modified', 'taken'] as const)
    if (filter[key]) return { [key]: bothTimes(filter[key], before[key]) }
  if (filter.tags) return { tags: moreTags(value, filter.tags, before.tags) }
  const twice = Object.keys(filter).some((key) => before[key as keyof SearchFilter] !== undefined)
  const lists: Partial<Record<Word, string>> = { ext: 'ext:pdf,docx', type: 'type:image,video' }
  const hint = lists[name] ? `Write all of them into one: ${lists[name]}` : `Leave one ${name}: out. ${QUOTE}`
  return twice ? refuse(value, `${name}: is there already`, hint) : filter
}

function moreTags(value: Part, tags: string[], before: string[] = []): string[] {
  if (before.length < LIMITS.tagsSoughtMax) return [...before, ...tags]
  return refuse(value, `more than ${LIMITS.tagsSoughtMax} tags`, 'Ask for fewer at a time.')
}

/** What each word with a colon asks for. */
const READ: Record<Word, (value: Part, reading: Reading) => SearchFilter> = {
  ext: (value) => ({ extensions: extensionsIn(value) }),
  kind: (value) => ({ kind: kindIn(value) }),
  type: (value) => ({ contentKinds: contentKindsIn(value) }),
  path: (value) => ({ path: pathIn(value) }),
  size: (value) => ({ size: readAmount(value, 'size') }),
  modified: (value, { now }) => ({ modified: readTime(value, now, 'modified') }),
  width: (value) => ({ width: readAmount(value, 'width') }),
  height: (value) => ({ height: readAmount(value, 'height') }),
  duration: (value) => ({ durationMs: readAmount(value, 'duration') }),
  taken: (value, { now }) => ({ taken: byClock(readTime(value, now, 'taken')) }),
  location: (value, { places }) => {
    places.set(value.text, value.at)
    return { location: value.text }
  },
  tag: (value, { places }) => {
    places.set(value.text, value.at)
    return { tags: [value.text] }
  },
  is: (value) => {
    const found = Object.hasOwn(IS, value.text) ? IS[value.text] : undefined
    const known = Object.keys(IS).map((each) => `is:${each}`)
    return found ?? refuse(value, `is: ${JSON.stringify(value.text)} is not known`, `There is ${known.join(', ')}.`)
  },
}

/** A camera's clock is taken for that of the daemon's time zone, wherever it was. */
function byClock({ after, before }: TimeSpan): TimeSpan {
  const clock = (time: string) => {
    const moment = new Date(time)
    return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
  }
  return {
    ...(after === undefined ? {} : { after: clock(after) }),
    ...(before === undefined ? {} : { before: clock(before) }),
  }
}

const IS: Record<string, SearchFilter> = { hidden: { hidden: true }, duplicate: { duplicate: true } }

/** What stands between commas. */
function listed({ text, at }: Part): Part[] {
  let from = 0
  return text.split(',').map((each) => {
    const part = slice({ text, at }, from, from + each.length)
    from += each.length + 1
    return part
  })
}

function extensionsIn(value: Part): string[] {
  const extensions: string[] = []
  for (const part of listed(value)) {
    const { text } = part
    const extension = text.replace(/^\./, '').toLowerCase()
    if (/^$|^\.|[/\0]/.test(extension))
      refuse(part, `ext: ${JSON.stringify(text)} is not an extension`, 'Write extensions like ext:pdf or ext:pdf,docx')
    if (extensions.length === LIMITS.extensionsMax)
      refuse(part, `ext: more than ${LIMITS.extensionsMax} extensions`, 'Ask for fewer at a time.')
    extensions.push(extension)
  }
  return extensions
}

function contentKindsIn(value: Part): ContentKinds {
  return [...new Set(listed(value).map(contentKindIn))]
}

type ContentKinds = NonNullable<SearchFilter['contentKinds']>

function contentKindIn(part: Part): ContentKinds[number] {
  const kind = CONTENT_KINDS.find((each) => each === part.text.toLowerCase())
  if (kind !== undefined) return kind
  const [meant] = nearest(part.text.toLowerCase(), CONTENT_KINDS, 1)
  const all = `There is ${CONTENT_KINDS.join(', ')}.`
  return refuse(
    part,
    `type: ${JSON.stringify(part.text)} is not a type`,
    meant === undefined ? all : `Did you mean type:${meant}? ${all}`,
  )
}

function kindIn(value: Part): (typeof ENTRY_KINDS)[number] {
  const kind = ENTRY_KINDS.find((each) => each === value.text)
  if (kind) return kind
  const held = CONTENT_KINDS.find((each) => each === value.text)
  const hint = held ? `Write type:${held} for what files hold.` : `One of ${ENTRY_KINDS.join(', ')}.`
  return refuse(value, `kind: ${JSON.stringify(value.text)} is not a kind`, hint)
}

function pathIn(value: Part): string {
  if (!value.text.includes('\0')) return value.text
  return refuse(
    value,
    `path: ${JSON.stringify(value.text)} is not a path`,
    'Write the path of a directory: path:/srv/docs',
  )
}
