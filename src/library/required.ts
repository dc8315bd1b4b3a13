// The texts that whatever matches a pattern must contain, by which the index of trigrams narrows a search down.
import type { Characters, Pattern } from '../protocol/pattern.js'
import { fold } from './fold.js'
import type { Ways } from './texts.js'

/** Several spellings are looked up, more are not. */
const SPELLINGS_MAX = 32
const CHARACTERS_MAX = 8
/** Shorter texts are in no index. */
const BYTES_MIN = 3
const NOTHING: Ways = [[]]

interface Required {
  /** All texts that match, where they are few. */
  readonly exact: readonly string[] | null
  /** What else each match contains. */
  readonly ways: Ways
}

export function waysOf(pattern: Pattern): Ways {
  return flat(requiredBy(pattern, BYTES_MIN), BYTES_MIN)
}

/** A text that whatever matches contains, however short it is; '' where there is none. */
export function textOf(pattern: Pattern): string {
  const [way, other] = flat(requiredBy(pattern, 1), 1)
  return way && !other ? way.reduce((longest, each) => (each.length > longest.length ? each : longest), '') : ''
}

/** @param least shorter texts are left out */
function requiredBy(pattern: Pattern, least: number): Required {
  switch (pattern.kind) {
    case 'text':
      return exactly([fold(pattern.text)])
    case 'at':
      return exactly([''])
    case 'one':
      return charactersOf(pattern)
    case 'any':
      return anyOf(
        pattern.parts.map((each) => requiredBy(each, least)),
        least,
      )
    case 'all':
      return inOrder(
        pattern.parts.map((each) => requiredBy(each, least)),
        least,
      )
    case 'repeat':
      return repeated(requiredBy(pattern.part, least), pattern.min, pattern.max, least)
  }
}

function exactly(texts: readonly string[]): Required {
  return { exact: texts, ways: NOTHING }
}

function charactersOf({ ranges, negated }: Characters): Required {
  const count = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0)
  if (negated || count > CHARACTERS_MAX) return { exact: null, ways: NOTHING }
  const characters = ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, at) => from + at))
  return exactly([...new Set(characters.map((each) => fold(String.fromCodePoint(each))))])
}

function anyOf(parts: readonly Required[], least: number): Required {
  const texts = parts.flatMap(({ exact }) => exact ?? [])
  if (parts.every(({ exact }) => exact) && texts.length <= SPELLINGS_MAX) return exactly([...new Set(texts)])
  const ways = parts.flatMap((each) => flat(each, least))
  return { exact: null, ways: ways.length > SPELLINGS_MAX || ways.some((each) => each.length === 0) ? NOTHING : ways }
}

function repeated(part: Required, min: number, max: number, least: number): Required {
  if (part.exact && min === 0 && max === 1) return exactly([...new Set(['', ...part.exact])])
  if (min === 0) return { exact: null, ways: NOTHING }
  const once = inOrder(
    Array.from({ length: Math.min(min, SPELLINGS_MAX) }, () => part),
    least,
  )
  return min === max && min <= SPELLINGS_MAX ? once : { exact: null, ways: flat(once, least) }
}

function inOrder(parts: readonly Required[], least: number): Required {
  let ways = NOTHING
  let run: readonly string[] = ['']
  let isWhole = true
  for (const part of parts) {
    ways = both(ways, part.ways)
    if (part.exact && run.length * part.exact.length <= SPELLINGS_MAX) run = crossed(run, part.exact)
    else {
      // What follows begins anew.
      ways = both(ways, spelled(run, least))
      run = part.exact ?? ['']
      isWhole = false
    }
  }
  return isWhole ? { exact: run, ways } : { exact: null, ways: both(ways, spelled(run, least)) }
}

function crossed(one: readonly string[], other: readonly string[]): string[] {
  return one.flatMap((a) => other.map((b) => a + b))
}

function flat({ exact, ways }: Required, least: number): Ways {
  return exact ? both(ways, spelled(exact, least)) : ways
}

function spelled(texts: readonly string[], least: number): Ways {
  return texts.some((each) => Buffer.byteLength(each) < least) ? NOTHING : texts.map((each) => [each])
}

/** Where both together would be too many, the one that is narrower stays. */
function both(one: Ways, other: Ways): Ways {
  if (one.length * other.length <= SPELLINGS_MAX) return one.flatMap((a) => other.map((b) => [...a, ...b]))
  return one.length <= other.length ? one : other
}
