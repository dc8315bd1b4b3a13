// Patterns as a .gitignore has them, matched as git matches them, in time that grows with the text and the pattern and no faster.
//
// A pattern that is a name or the end of one is compared; any other becomes a list of tokens, all of whose states are followed at
// once, so that nothing is ever tried twice.
import { LIMITS } from '../base/limits.js'

export interface Pattern {
  /** As it was written. */
  readonly text: string
  /** Counted from 1. */
  readonly line: number
  readonly isNegated: boolean
  readonly onlyDirectories: boolean
  /** Compared with the whole path below the place of the list, else with the name alone. */
  readonly ofPath: boolean
  readonly matches: (subject: string) => boolean
}

export interface Patterns {
  readonly list: readonly Pattern[]
  /** Lines that were passed over, because there are too many or they are too long. */
  readonly passedOver: number
  /** Some pattern needs the path. */
  readonly ofPaths: boolean
}

/** The lines of a file of patterns, each of whose bytes is one character (latin1). */
export function parseLines(text: string): Patterns {
  const lines = (text.startsWith(BYTE_ORDER_MARK) ? text.slice(BYTE_ORDER_MARK.length) : text).split('\n')
  const wanted: Pattern[] = []
  let passedOver = 0
  lines.forEach((raw, at) => {
    // git takes a CR for part of the end of a line only where a line feed follows.
    const text = trimmed(at < lines.length - 1 && raw.endsWith('\r') ? raw.slice(0, -1) : raw)
    if (text === '' || text.startsWith('#')) return
    if (text.length > LIMITS.patternCharsMax || wanted.length >= LIMITS.patternsOfFileMax) passedOver += 1
    else wanted.push(parsePattern(text, at + 1))
  })
  return { list: wanted, passedOver, ofPaths: wanted.some((each) => each.ofPath) }
}

export function patternsOf(globs: readonly string[]): Patterns {
  const list = globs.map((glob, at) => parsePattern(glob, at + 1))
  return { list, passedOver: 0, ofPaths: list.some((each) => each.ofPath) }
}

/**
 * The last one that matches decides.
 *
 * @param path below the place of the list; asked for only where a pattern needs it
 */
export function lastMatch(
  { list }: Patterns,
  name: string,
  path: () => string,
  isDirectory: boolean,
): Pattern | undefined {
  for (let at = list.length - 1; at >= 0; at--) {
    const pattern = list[at]!
    if (pattern.onlyDirectories && !isDirectory) continue
    if (pattern.matches(pattern.ofPath ? path() : name)) return pattern
  }
  return undefined
}

const BYTE_ORDER_MARK = '\xef\xbb\xbf'

/** Without the spaces at its end, as far as no backslash stands before them. */
function trimmed(line: string): string {
  let end = -1
  for (let at = 0; at < line.length; at++) {
    if (line[at] === ' ') end = end < 0 ? at : end
    else {
      if (line[at] === '\\' && ++at === line.length) return line
      end = -1
    }
  }
  return end < 0 ? line : line.slice(0, end)
}

function parsePattern(text: string, line: number): Pattern {
  const isNegated = text.startsWith('!')
  let glob = isNegated ? text.slice(1) : text
  const onlyDirectories = glob.endsWith('/')
  if (onlyDirectories) glob = glob.slice(0, -1)
  const ofPath = glob.includes('/')
  if (glob.startsWith('/')) glob = glob.slice(1)
  return { text, line, isNegated, onlyDirectories, ofPath, matches: matcher(glob, ofPath) }
}

function matcher(glob: string, ofPath: boolean): (subject: string) => boolean {
  if (glob === '') return () => false
  if (!SPECIAL.test(glob)) return (subject) => subject === glob
  const rest = glob.slice(1)
  if (!ofPath && glob.startsWith('*') && !SPECIAL.test(rest)) return (subject) => subject.endsWith(rest)
  const tokens = compile(glob)
  if (!tokens) return () => false
  return (subject) => follow(tokens, subject)
}

const SPECIAL = /[*?[\\]/

/** One character; any but a slash; any number of those; any number of whatever; or whole directories, also none. */
type Token = string | 'any' | 'star' | 'all' | 'directories' | ((code: number) => boolean)

/** Null where it can match nothing, as an unfinished class. A single character stands for itself. */
function compile(glob: string): readonly Token[] | null {
  const tokens: Token[] = []
  for (let at = 0; at < glob.length; at++) {
    const char = glob[at]!
    if (char === '?') tokens.push('any')
    else if (char === '*') at = compileStars(glob, at, tokens)
    else if (char === '[') {
      const read = readClass(glob, at + 1)
      if (!read) return null
      tokens.push(read.holds)
      at = read.end
    } else if (char !== '\\') tokens.push(char)
    else if (++at < glob.length) tokens.push(glob[at]!)
    else return null
  }
  return tokens
}

/** Two stars between slashes are directories, at the end whatever is there; anywhere else they are one. Returns the last place used. */
function compileStars(glob: string, from: number, tokens: Token[]): number {
  let end = from
  while (glob[end + 1] === '*') end += 1
  const alone = end > from && (from === 0 || glob[from - 1] === '/')
  const next = glob[end + 1]
  if (alone && next === undefined) tokens.push('all')
  else if (alone && next === '/') {
    tokens.push('directories')
    return end + 1
  } else tokens.push('star')
  return end
}

const SLASH = 47

interface Class {
  readonly holds: (code: number) => boolean
  readonly end: number
}

/** What stands in brackets; `from` is after the first. */
function readClass(glob: string, from: number): Class | null {
  const isNegated = glob[from] === '!' || glob[from] === '^'
  const ranges: [number, number][] = []
  const named: ((code: number) => boolean)[] = []
  let before = -1
  let at = isNegated ? from + 1 : from
  do {
    if (at >= glob.length) return null
    const char = glob[at]!
    if (char === '-' && before >= 0 && at + 1 < glob.length && glob[at + 1] !== ']') {
      at += glob[at + 1] === '\\' ? 2 : 1
      if (at >= glob.length) return null
      ranges.push([before, glob.charCodeAt(at)])
      before = -1
    } else if (char === '[' && glob[at + 1] === ':') {
      const close = glob.indexOf(']', at + 2)
      if (close < 0) return null
      if (close - at > 2 && glob[close - 1] === ':') {
        const holds = CLASSES[glob.slice(at + 2, close - 1)]
        if (!holds) return null
        named.push(holds)
        at = close
        before = -1
      } else ranges.push([(before = 91), 91])
    } else {
      if (char === '\\') at += 1
      if (at >= glob.length) return null
      before = glob.charCodeAt(at)
      ranges.push([before, before])
    }
    at += 1
  } while (glob[at] !== ']')
  const isIn = (code: number) =>
    ranges.some(([low, high]) => code >= low && code <= high) || named.some((holds) => holds(code))
  return { holds: (code) => code !== SLASH && isIn(code) !== isNegated, end: at }
}

function ascii(pattern: RegExp): (code: number) => boolean {
  return (code) => code < 128 && pattern.test(String.fromCharCode(code))
}

const CLASSES: Readonly<Record<string, (code: number) => boolean>> = {
  __proto__: null as never,
  alnum: ascii(/[a-z0-9]/i),
  alpha: ascii(/[a-z]/i),
  blank: ascii(/[ \t]/),
  cntrl: (code) => code < 32 || code === 127,
  digit: ascii(/[0-9]/),
  graph: ascii(/[!-~]/),
  lower: ascii(/[a-z]/),
  print: ascii(/[ -~]/),
  punct: ascii(/[!-/:-@[-`{-~]/),
  space: ascii(/[ \t\n\v\f\r]/),
  upper: ascii(/[A-Z]/),
  xdigit: ascii(/[0-9a-f]/i),
}

/** Every state that the text may have led to so far, at each step. */
function follow(tokens: readonly Token[], text: string): boolean {
  let now: number[] = []
  let next: number[] = []
  const reached = new Int32Array(tokens.length + 1)
  const add = (states: number[], state: number, step: number) => {
    for (let at = state; reached[at] !== step; at++) {
      reached[at] = step
      states.push(at)
      const token = tokens[at]
      if (token !== 'star' && token !== 'all' && token !== 'directories') return
    }
  }
  add(now, 0, 1)
  for (let at = 0; at < text.length && now.length > 0; at++) {
    const code = text.charCodeAt(at)
    const step = at + 2
    for (const state of now) {
      const token = tokens[state]
      if (token === undefined) continue
      if (token === 'all' || (token === 'star' && code !== SLASH)) add(next, state, step)
      else if (token === 'directories') {
        // Within a directory: what follows begins only after its slash.
        if (reached[state] !== step) {
          reached[state] = step
          next.push(state)
        }
        if (code === SLASH) add(next, state + 1, step)
      } else if (holds(token, code)) add(next, state + 1, step)
    }
    now = next
    next = []
  }
  return now.includes(tokens.length)
}

function holds(token: Token, code: number): boolean {
  if (typeof token === 'function') return token(code)
  if (token === 'any') return code !== SLASH
  return token !== 'star' && token.charCodeAt(0) === code
}
