// The query language for people: `invoice ext:pdf size:>1M modified:<30d` is a text to look for, and filters.
//
// A word that begins with the name of a filter and a colon is one. Everything else is the text, as it was typed, and so
// is whatever stands between quotation marks; so any text can be asked for.
import { LIMITS } from '../base/limits.js'
import { ENTRY_KINDS, type SearchFilters } from './operations.js'
import { bothSizes, bothTimes, isRelative, readSize, readTime, refuse, slice, type Part } from './spans.js'

export interface Query {
  readonly text: string
  readonly filters: SearchFilters
  /** Whether it means something else at another time. */
  readonly relative: boolean
}

interface Piece {
  readonly end: number
  /** Of what is text. */
  readonly text: string
  readonly blank?: boolean
  readonly filter?: { readonly name: FilterName; readonly value: Part }
}

type FilterName = 'ext' | 'kind' | 'path' | 'size' | 'modified'

const FILTER = /(ext|kind|path|size|modified):("(.*?)"(?=\s|$)|\S*)/sy
const QUOTED = /"(.*?)"(?=\s|$)/sy
const WORD = /(\s+)|\S+/y
const QUOTE = 'To look for it as a text put it between quotation marks.'

/**
 * @param now the moment from which ages count, in ms since 1970
 * @throws BAD_REQUEST with the position of what makes no sense, in UTF-16 units from the start of the query
 */
export function readQuery(query: string, now: number): Query {
  const pieces = piecesOf(query)
  let filters: SearchFilters = {}
  let relative = false
  for (const { filter } of pieces) {
    if (!filter) continue
    filters = { ...filters, ...FILTERS[filter.name](filter.value, filters, now) }
    relative ||= filter.name === 'modified' && isRelative(filter.value)
  }
  return { text: textOf(pieces), filters, relative }
}

function piecesOf(query: string): Piece[] {
  const pieces: Piece[] = []
  for (let at = 0; at < query.length; at = pieces.at(-1)!.end) {
    pieces.push(filterAt(query, at) ?? quotedAt(query, at) ?? wordAt(query, at))
  }
  return pieces
}

function filterAt(query: string, at: number): Piece | undefined {
  const found = matchAt(FILTER, query, at)
  if (!found) return undefined
  const [whole, name = '', value = '', quoted] = found
  const start = at + name.length + 1
  if (value === '' || quoted === '') refuse({ at: start - 1 }, `${name}: has no value`, QUOTE)
  if (quoted === undefined && value.startsWith('"'))
    refuse({ at: start }, `${name}: the quotation mark is not closed`, QUOTE)
  const part = quoted === undefined ? { text: value, at: start } : { text: quoted, at: start + 1 }
  return { end: at + whole.length, text: '', filter: { name: name as FilterName, value: part } }
}

function quotedAt(query: string, at: number): Piece | undefined {
  const found = matchAt(QUOTED, query, at)
  return found && { end: at + found[0].length, text: found[1]! }
}

function wordAt(query: string, at: number): Piece {
  const [text, blank] = matchAt(WORD, query, at)!
  return { end: at + text.length, text, blank: blank !== undefined }
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}

/** A filter takes the space around it along; what stood on both sides of it is joined by one. */
function textOf(pieces: readonly Piece[]): string {
  const runs = ['']
  for (const [at, { text, blank, filter }] of pieces.entries()) {
    if (filter) runs.push('')
    else if (!blank || (!pieces[at - 1]?.filter && !pieces[at + 1]?.filter)) runs.push(runs.pop()! + text)
  }
  return runs.filter((run) => run !== '').join(' ')
}

const FILTERS: Record<FilterName, (value: Part, before: SearchFilters, now: number) => SearchFilters> = {
  ext: (value, before) => ({ extensions: once(value, 'ext', before.extensions) ?? extensionsIn(value) }),
  kind: (value, before) => ({ kind: once(value, 'kind', before.kind) ?? kindIn(value) }),
  path: (value, before) => ({ path: once(value, 'path', before.path) ?? pathIn(value) }),
  size: (value, before) => ({ size: bothSizes(readSize(value), before.size) }),
  modified: (value, before, now) => ({ modified: bothTimes(readTime(value, now), before.modified) }),
}

function once(value: Part, name: FilterName, before: unknown): undefined {
  if (before === undefined) return undefined
  const hint = name === 'ext' ? 'Write all of them into one: ext:pdf,docx' : `Leave one ${name}: out. ${QUOTE}`
  return refuse(value, `${name}: is there already`, hint)
}

function extensionsIn(value: Part): string[] {
  const extensions: string[] = []
  let from = 0
  for (const text of value.text.split(',')) {
    const part = slice(value, from, from + text.length)
    const extension = text.replace(/^\./, '').toLowerCase()
    if (/^$|^\.|[/\0]/.test(extension))
      refuse(part, `ext: ${JSON.stringify(text)} is not an extension`, 'Write extensions like ext:pdf or ext:pdf,docx')
    if (extensions.length === LIMITS.extensionsMax)
      refuse(part, `ext: more than ${LIMITS.extensionsMax} extensions`, 'Ask for fewer at a time.')
    extensions.push(extension)
    from += text.length + 1
  }
  return extensions
}

function kindIn(value: Part): (typeof ENTRY_KINDS)[number] {
  const kind = ENTRY_KINDS.find((each) => each === value.text)
  return kind ?? refuse(value, `kind: ${JSON.stringify(value.text)} is not a kind`, `One of ${ENTRY_KINDS.join(', ')}.`)
}

function pathIn(value: Part): string {
  if (value.text.startsWith('/') && !value.text.includes('\0')) return value.text
  return refuse(
    value,
    `path: ${JSON.stringify(value.text)} is not absolute`,
    'Write the whole path of a directory: path:/srv/docs, or path:"/srv/my docs"',
  )
}
