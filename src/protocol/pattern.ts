// What a glob or a regular expression asks of a text, as a tree. It is kept to what can be matched in one pass over the
// text: no part of it looks back at what another found.

export type Pattern =
  | { readonly kind: 'text'; readonly text: string }
  | Characters
  | { readonly kind: 'all'; readonly parts: readonly Pattern[] }
  | { readonly kind: 'any'; readonly parts: readonly Pattern[] }
  | { readonly kind: 'repeat'; readonly part: Pattern; readonly min: number; readonly max: number }
  | Place

/** One character out of these ranges of code points, or none of them. */
export interface Characters {
  readonly kind: 'one'
  readonly ranges: readonly Range[]
  readonly negated: boolean
}

/** Matches no character: `edge` is where a word begins or ends, `within` everywhere else. */
export interface Place {
  readonly kind: 'at'
  readonly place: 'start' | 'end' | 'edge' | 'within'
}

/** Both included. */
export type Range = readonly [from: number, to: number]

export const CODE_POINT_MAX = 0x10ffff
const SLASH = 0x2f
export const ANY: Pattern = { kind: 'one', ranges: [], negated: true }
export const START: Pattern = { kind: 'at', place: 'start' }
export const END: Pattern = { kind: 'at', place: 'end' }
export const DIGITS: readonly Range[] = [[0x30, 0x39]]
export const BLANKS: readonly Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x3000, 0x3000],
]
/** Of a word are letters without accents, digits, the underscore, and whatever is not ASCII. */
export const WORDS: readonly Range[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
  [0x80, CODE_POINT_MAX],
]

export function text(value: string): Pattern {
  return { kind: 'text', text: value }
}

export function all(parts: readonly Pattern[]): Pattern {
  return parts.length === 1 ? parts[0]! : { kind: 'all', parts }
}

export function any(parts: readonly Pattern[]): Pattern {
  return parts.length === 1 ? parts[0]! : { kind: 'any', parts }
}

export function repeat(part: Pattern, min: number, max: number): Pattern {
  return { kind: 'repeat', part, min, max }
}

/** How many states a machine for it needs, about. */
export function weightOf(pattern: Pattern): number {
  switch (pattern.kind) {
    case 'text':
      return pattern.text.length
    case 'all':
      return sumOf(pattern.parts)
    case 'any':
      return sumOf(pattern.parts) + 1
    case 'repeat':
      return (weightOf(pattern.part) + 1) * (pattern.max === Infinity ? pattern.min + 1 : pattern.max)
    case 'one':
      return 5
    case 'at':
      return 1
  }
}

function sumOf(parts: readonly Pattern[]): number {
  return parts.reduce((sum, each) => sum + weightOf(each), 0)
}

/** Whether it asks for a slash, which only paths have. */
export function hasSlash(pattern: Pattern): boolean {
  if (pattern.kind === 'text') return pattern.text.includes('/')
  if (pattern.kind === 'one')
    return !pattern.negated && pattern.ranges.some(([from, to]) => from === SLASH && to === SLASH)
  if (pattern.kind === 'repeat') return hasSlash(pattern.part)
  return pattern.kind !== 'at' && pattern.parts.some(hasSlash)
}
