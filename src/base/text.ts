// Numbers, times and names as a person reads them on a terminal.

/** Bytes of UTF-8 for one unit of UTF-16, at most: what takes four is two of these. */
export const UTF8_BYTES_MAX = 3

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`
}

/** 1234567 → 1,234,567. By hand: loading the locale data costs more than a whole command. */
export function grouped(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ',')
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`
}

/** A moment in local time, to the minute. */
export function minute(time: string | number): string {
  const at = new Date(time)
  if (Number.isNaN(at.getTime())) return '-'
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`
}

/** The same, to the millisecond. */
export function millisecond(time: string | number): string {
  const at = new Date(time)
  if (Number.isNaN(at.getTime())) return '-'
  return `${minute(time)}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

function two(count: number): string {
  return String(count).padStart(2, '0')
}

// Control characters move the cursor or worse; the bidirectional ones make a name look like another.
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** A text that may come from the disk, made harmless for a terminal. */
export function safe(text: string): string {
  return text.replace(UNSAFE, escaped)
}

function escaped(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x20-\x7e]*$/
const ZERO_WIDTH = /^\p{Mark}|^[\u200b-\u200d]/u
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|^\p{Emoji_Presentation}|^[\u{20000}-\u{3fffd}]/u

/** Columns a text takes up on a terminal. */
export function columnsOf(text: string): number {
  if (ASCII.test(text)) return text.length
  let columns = 0
  for (const character of text) columns += columnsOfOne(character)
  return columns
}

function columnsOfOne(character: string): number {
  if (ZERO_WIDTH.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}

/** Cuts a text to a number of columns. Of a path both ends matter, so it is the middle that goes. */
export function fitted(text: string, columnsMax: number): string {
  if (columnsOf(text) <= columnsMax) return text
  if (columnsMax < 1) return ''
  const characters = [...text]
  const tail = taken(characters.toReversed(), Math.floor((columnsMax - 1) / 2)).toReversed()
  const head = taken(characters, columnsMax - 1 - columnsOf(tail.join('')))
  return `${head.join('')}…${tail.join('')}`
}

function taken(characters: readonly string[], columnsMax: number): string[] {
  const kept: string[] = []
  let left = columnsMax
  for (const character of characters) {
    left -= columnsOfOne(character)
    if (left < 0) break
    kept.push(character)
  }
  return kept
}
