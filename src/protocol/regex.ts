// Reads a regular expression: what JavaScript's say, without what would make a match take more than one pass.
import {
  ANY,
  BLANKS,
  CODE_POINT_MAX,
  DIGITS,
  END,
  START,
  WORDS,
  all,
  any,
  repeat,
  text,
  type Pattern,
  type Range,
} from './pattern.js'
import { PartReader, refuse, type Part } from './spans.js'

/** The longest name there is: more of anything never matches. */
const REPEAT_MAX = 255
const HINT =
  'A regular expression is written like re:^img_\\d+\\.jpe?g$; put a backslash before a sign that is meant as it is.'
const ESCAPED: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v' }
const SETS: Readonly<Record<string, readonly [ranges: readonly Range[], negated: boolean]>> = {
  d: [DIGITS, false],
  D: [DIGITS, true],
  w: [WORDS, false],
  W: [WORDS, true],
  s: [BLANKS, false],
  S: [BLANKS, true],
}
const COUNTED = /\{(\d{1,4})(?:(,)(\d{1,4})?)?\}/y
const CODED = /\\(?:x([\da-f]{2})|u([\da-f]{4})|u\{([\da-f]{1,6})\})/iy

/** @throws BAD_REQUEST that points at what makes no sense */
export function readRegex(part: Part): Pattern {
  const reader = new Reader(part)
  const pattern = reader.choice()
  if (!reader.isDone) reader.refuse('nothing is opened that this closes')
  return pattern
}

class Reader extends PartReader {
  get isDone(): boolean {
    return this.at >= this.text.length
  }

  refuse(message: string, at = this.at): never {
    const place = Math.min(at, Math.max(0, this.text.length - 1))
    return refuse({ at: this.start + place }, `re: ${message}`, HINT)
  }

  choice(): Pattern {
    const parts = [this.#sequence()]
    while (this.take('|')) parts.push(this.#sequence())
    return any(parts)
  }

  #sequence(): Pattern {
    const parts: Pattern[] = []
    while (!this.isDone && !'|)'.includes(this.#next)) parts.push(this.#repeated())
    return all(parts)
  }

  #repeated(): Pattern {
    const from = this.at
    const part = this.#atom()
    const count = this.#count()
    if (!count) return part
    if (part.kind === 'at') this.refuse('there is nothing here to repeat', from)
    this.take('?')
    if (!this.isDone && '*+?'.includes(this.#next)) this.refuse('this repeats what is repeated already')
    return repeat(part, ...count)
  }

  #count(): [number, number] | undefined {
    if (this.take('*')) return [0, Infinity]
    if (this.take('+')) return [1, Infinity]
    if (this.take('?')) return [0, 1]
    const found = this.#match(COUNTED)
    if (!found) return undefined
    const min = Number(found[1])
    const max = found[2] === undefined ? min : found[3] === undefined ? Infinity : Number(found[3])
    if (min > REPEAT_MAX || (max > REPEAT_MAX && max !== Infinity))
      this.refuse(`no name is longer than ${REPEAT_MAX} characters`, this.at - found[0].length)
    if (max < min) this.refuse('the count ends before it begins', this.at - found[0].length)
    return [min, max]
  }

  #atom(): Pattern {
    const next = this.#next
    switch (next) {
      case '(':
        return this.#group()
      case '[':
        return this.#set()
      case '\\':
        return this.#escape()
      case '*':
      case '+':
      case '?':
        return this.refuse('there is nothing here to repeat')
    }
    const character = this.character()
    if (character === '.') return ANY
    if (character === '^') return START
    return character === '$' ? END : text(character)
  }

  #group(): Pattern {
    const from = this.at
    this.take('(')
    if (this.take('?') && !this.take(':') && !this.#match(/<[a-z_]\w*>/iy))
      this.refuse('what looks ahead or back is not known here', from)
    const pattern = this.choice()
    if (!this.take(')')) this.refuse('this bracket is not closed', from)
    return pattern
  }

  #escape(): Pattern {
    const from = this.at
    const set = SETS[this.text[from + 1] ?? '']
    if (set) {
      this.at += 2
      return { kind: 'one', ranges: set[0], negated: set[1] }
    }
    if (this.take('\\b')) return { kind: 'at', place: 'edge' }
    if (this.take('\\B')) return { kind: 'at', place: 'within' }
    return text(String.fromCodePoint(this.#escaped()))
  }

  /** Of a backslash and what follows. */
  #escaped(): number {
    const from = this.at
    const coded = this.#match(CODED)
    if (coded) {
      const code = Number.parseInt(coded[1] ?? coded[2] ?? coded[3]!, 16)
      return code > CODE_POINT_MAX ? this.refuse('there is no such character', from) : code
    }
    this.take('\\')
    if (this.isDone) this.refuse('nothing follows the backslash', from)
    const character = this.character()
    if (/[1-9k]/.test(character)) this.refuse('what was found before cannot be asked for again', from)
    if (/[a-z0]/i.test(character) && !(character in ESCAPED)) this.refuse(`\\${character} is not known`, from)
    return (ESCAPED[character] ?? character).codePointAt(0)!
  }

  #set(): Pattern {
    const from = this.at
    this.take('[')
    const negated = this.take('^')
    const ranges: Range[] = []
    while (!this.take(']')) {
      if (this.isDone) this.refuse('this bracket is not closed', from)
      ranges.push(...this.#member(from))
    }
    if (ranges.length === 0 && !negated) this.refuse('nothing is in these brackets', from)
    return { kind: 'one', ranges, negated }
  }

  #member(opened: number): readonly Range[] {
    const from = this.at
    const set = this.#next === '\\' ? SETS[this.text[from + 1] ?? ''] : undefined
    if (set) {
      this.at += 2
      return set[1] ? complement(set[0]) : set[0]
    }
    const first = this.#memberCode(opened)
    if (this.#next !== '-' || this.text[this.at + 1] === ']' || this.at + 1 >= this.text.length) return [[first, first]]
    this.take('-')
    const last = this.#memberCode(opened)
    if (last < first) this.refuse('the range ends before it begins', from)
    return [[first, last]]
  }

  #memberCode(opened: number): number {
    if (this.isDone) this.refuse('this bracket is not closed', opened)
    return this.#next === '\\' ? this.#escaped() : this.character().codePointAt(0)!
  }

  get #next(): string {
    return this.text[this.at] ?? ''
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text) ?? undefined
    if (found) this.at += found[0].length
    return found
  }
}

function complement(ranges: readonly Range[]): Range[] {
  const rest: Range[] = []
  let from = 0
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (first > from) rest.push([from, first - 1])
    from = last + 1
  }
  if (from <= CODE_POINT_MAX) rest.push([from, CODE_POINT_MAX])
  return rest
}
