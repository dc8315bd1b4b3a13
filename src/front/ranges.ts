// What of a file an answer holds: ranges and conditions as RFC 9110 has them, decided from what the file is now.
import { LIMITS } from '../base/limits.js'
import type { FileStat } from '../scan/guard.js'

/** Bytes from `start` until before `end`. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** Of the request, as it came. */
export interface Conditions {
  readonly range: string | undefined
  readonly ifRange: string | undefined
  readonly ifMatch: string | undefined
  readonly ifNoneMatch: string | undefined
  readonly ifModifiedSince: string | undefined
  readonly ifUnmodifiedSince: string | undefined
}

/** A body is these parts in order: bytes of the answer's own, and spans of the file. */
export interface FileAnswer {
  readonly status: 200 | 206 | 304 | 412 | 416
  readonly headers: Readonly<Record<string, string>>
  readonly parts: readonly (Buffer | Span)[]
  readonly length: number
}

/** Another content has another: whoever writes changes size or time, and who replaces the file its inode. */
export function etagOf({ ino, size, mtimeNs }: FileStat): string {
  return `"${ino.toString(36)}-${size.toString(36)}-${mtimeNs.toString(36)}"`
}

/** @param boundary of several ranges; what it answers must not occur in the file, which something random does not */
export function answerFor(stat: FileStat, conditions: Conditions, type: string, boundary: () => string): FileAnswer {
  const size = Number(stat.size)
  const modifiedAt = new Date(milliseconds(stat)).toUTCString()
  const etag = etagOf(stat)
  const own = { ETag: etag, 'Last-Modified': modifiedAt, 'Accept-Ranges': 'bytes' }
  if (isAnother(stat, etag, conditions)) return { status: 412, headers: own, parts: [], length: 0 }
  if (isUnchanged(stat, etag, conditions)) return { status: 304, headers: own, parts: [], length: 0 }
  const spans = isSame(stat, etag, conditions.ifRange) ? readRanges(conditions.range, size) : null
  if (spans === null) return whole(own, type, size)
  if (spans.length === 0)
    return { status: 416, headers: { ...own, 'Content-Range': `bytes */${size}` }, parts: [], length: 0 }
  return spans.length === 1 ? one(own, type, size, spans[0]!) : several(own, type, size, spans, boundary())
}

type Headers = Readonly<Record<string, string>>

function whole(headers: Headers, type: string, size: number): FileAnswer {
  return { status: 200, headers: { ...headers, 'Content-Type': type }, parts: [{ start: 0, end: size }], length: size }
}

function one(headers: Headers, type: string, size: number, span: Span): FileAnswer {
  const told = { ...headers, 'Content-Type': type, 'Content-Range': rangeOf(span, size) }
  return { status: 206, headers: told, parts: [span], length: span.end - span.start }
}

function several(headers: Headers, type: string, size: number, spans: readonly Span[], boundary: string): FileAnswer {
  const parts = spans.flatMap((span, at): (Buffer | Span)[] => {
    const head = `--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${rangeOf(span, size)}\r\n\r\n`
    return [Buffer.from(at === 0 ? head : `\r\n${head}`), span]
  })
  parts.push(Buffer.from(`\r\n--${boundary}--\r\n`))
  const length = parts.reduce((sum, part) => sum + lengthOf(part), 0)
  return {
    status: 206,
    headers: { ...headers, 'Content-Type': `multipart/byteranges; boundary=${boundary}` },
    parts,
    length,
  }
}

function lengthOf(part: Buffer | Span): number {
  return Buffer.isBuffer(part) ? part.length : part.end - part.start
}

function rangeOf({ start, end }: Span, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`
}

/** Than the one of which the client wants the rest, or nothing. `If-Match` decides where both are there; a weak one matches none. */
function isAnother(stat: FileStat, etag: string, { ifMatch, ifUnmodifiedSince }: Conditions): boolean {
  if (ifMatch !== undefined) return !ifMatch.split(',').some((each) => ['*', etag].includes(each.trim()))
  return ifUnmodifiedSince !== undefined && wholeSeconds(stat) > Date.parse(ifUnmodifiedSince)
}

/** `If-None-Match` decides where both are there. */
function isUnchanged(stat: FileStat, etag: string, { ifNoneMatch, ifModifiedSince }: Conditions): boolean {
  if (ifNoneMatch !== undefined) return names(ifNoneMatch, ['*', etag])
  const since = ifModifiedSince === undefined ? NaN : Date.parse(ifModifiedSince)
  return wholeSeconds(stat) <= since
}

/** Whether an `If-None-Match` has one of these, weak or not. */
export function names(ifNoneMatch: string, etags: readonly string[]): boolean {
  return ifNoneMatch.split(',').some((each) => etags.includes(each.trim().replace(/^W\//, '')))
}

/** Whether the ranges still mean what the client has the rest of. */
function isSame(stat: FileStat, etag: string, ifRange: string | undefined): boolean {
  if (ifRange === undefined) return true
  return /^(W\/)?"/.test(ifRange) ? ifRange === etag : Date.parse(ifRange) === wholeSeconds(stat)
}

/** HTTP's times have no parts of a second. */
function wholeSeconds(stat: FileStat): number {
  return Math.floor(milliseconds(stat) / 1000) * 1000
}

function milliseconds({ mtimeNs }: FileStat): number {
  return Number(mtimeNs / 1_000_000n)
}

/** Null for what means the whole file, empty where none of the ranges is in it. Those that touch or overlap become one. */
export function readRanges(header: string | undefined, size: number): Span[] | null {
  const list = /^bytes=(.+)$/i.exec(header?.trim() ?? '')?.[1]
  if (list === undefined) return null
  const texts = list.split(',')
  if (texts.length > LIMITS.fileRangesMax) return null
  const asked = texts.map((text) => readRange(text.trim(), size))
  if (asked.includes('wrong')) return null
  const spans = asked.filter((each) => typeof each === 'object')
  return spans.some((span, at) => spans.some((other, place) => place !== at && touches(span, other)))
    ? joined(spans)
    : spans
}

function readRange(text: string, size: number): Span | 'wrong' | 'outside' {
  const [, first, last] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? []
  if (first === undefined || last === undefined || first + last === '') return 'wrong'
  if (first === '')
    return Number(last) === 0 || size === 0 ? 'outside' : { start: Math.max(0, size - Number(last)), end: size }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return 'wrong'
  return start >= size ? 'outside' : { start, end: last === '' ? size : Math.min(size, Number(last) + 1) }
}

function touches(one: Span, other: Span): boolean {
  return one.start <= other.end && other.start <= one.end
}

function joined(spans: readonly Span[]): Span[] {
  const together: Span[] = []
  for (const span of spans.toSorted((one, other) => one.start - other.start)) {
    const last = together.at(-1)
    if (last && touches(last, span))
      together[together.length - 1] = { start: last.start, end: Math.max(last.end, span.end) }
    else together.push(span)
  }
  return together
}
