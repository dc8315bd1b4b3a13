// Which names a search is about, and how well each fits.
//
// A name ranks by how what is looked for sits in it: the whole name, its start, the start of a word, anywhere; where it
// holds the words only apart from each other after all that. Then shorter names come first, then older ones. That order
// is one number a name.
import { allOf, type Condition } from './conditions.js'
import { BLOCK_NAMES } from './names.js'
import { Pace } from './pace.js'
import type { Ways } from './texts.js'

export const NAME_IDS = 2 ** 32
const RANK = { whole: 0, start: 1, word: 2, inside: 3, words: 4, apart: 5 } as const
const LENGTHS = 2 ** 12
/** More ways than this are not looked up: those of one part of the search alone narrow it down as well. */
const WAYS_MAX = 64

type NameTest = (name: string) => boolean

export class Matcher {
  /** The longest word. */
  readonly #needle: string
  readonly #words: readonly string[]
  readonly #phrase: string
  readonly #test: NameTest | null
  /** Whether one name may take milliseconds. */
  readonly #isSlow: boolean
  /** What every name that matches contains: sooner found in a block than its names are told apart. */
  readonly #probe: string
  readonly ways: Ways

  /** @param words folded; all of them are in the name */
  constructor(words: readonly string[], conditions: readonly Condition[]) {
    this.#words = words
    this.#needle = words.reduce((longest, each) => (each.length > longest.length ? each : longest), '')
    this.#phrase = words.join(' ')
    const others = words.filter((each) => each !== this.#needle)
    const named = conditions.filter((each) => 'name' in each)
    const tests = named.map(({ name }) => name)
    this.#test = allOf(others.length > 0 ? [(name) => others.every((each) => name.includes(each)), ...tests] : tests)
    this.#isSlow = named.some(({ isSlow }) => isSlow)
    const texts = named.flatMap(({ text }) => (text === undefined || text.includes('\0') ? [] : [text]))
    this.#probe = texts.reduce((longest, each) => (each.length > longest.length ? each : longest), this.#needle)
    this.ways = together([[words], ...named.flatMap(({ ways }) => (ways ? [ways] : []))])
  }

  /** Whether every name there is matches. */
  get isOpen(): boolean {
    return this.#needle === '' && this.#test === null
  }

  /** Appends the order of each name of a block that matches; in steps where a name may take long. */
  add(block: number, text: string, order: number[]): void | Generator<void> {
    if (this.#isSlow) return this.#addSlowly(block, text, order)
    const needle = this.#needle
    const { length } = needle
    let name = block * BLOCK_NAMES
    let start = 0
    for (let at = text.indexOf(needle); at >= 0 && at < text.length; at = text.indexOf(needle, start)) {
      for (; start <= at; name++) {
        const end = text.indexOf('\0', start)
        if (end >= at + length) {
          if (this.#test === null || this.#test(text.slice(start, end)))
            order.push(this.#orderOf(text, start, at, end) + name)
          start = end + 1
          name++
          break
        }
        start = end + 1
      }
      if (start >= text.length) return
    }
  }

  *#addSlowly(block: number, text: string, order: number[]): Generator<void> {
    const pace = new Pace()
    const probe = this.#probe
    let name = block * BLOCK_NAMES
    let start = 0
    for (let at = text.indexOf(probe); at >= 0 && at < text.length; at = text.indexOf(probe, start)) {
      let end = text.indexOf('\0', start)
      for (; end < at; end = text.indexOf('\0', start)) {
        start = end + 1
        name += 1
      }
      const each = text.slice(start, end)
      if (this.matches(each)) order.push(this.orderOf(each, name))
      start = end + 1
      name += 1
      if (pace.isDue()) yield
    }
  }

  matches(name: string): boolean {
    return name.includes(this.#needle) && (this.#test === null || this.#test(name))
  }

  /** Of a name that matches, and its number. */
  orderOf(text: string, name: number): number {
    return this.#orderOf(text, 0, text.indexOf(this.#needle), text.length) + name
  }

  #orderOf(text: string, start: number, at: number, end: number): number {
    const rank =
      this.#words.length > 1
        ? this.#rankOfWords(text.slice(start, end))
        : rankOf(text, start, at, end, this.#needle.length)
    return (rank * LENGTHS + Math.min(end - start, LENGTHS - 1)) * NAME_IDS
  }

  #rankOfWords(name: string): number {
    const at = name.indexOf(this.#phrase)
    if (at >= 0) return rankOf(name, 0, at, name.length, this.#phrase.length)
    return this.#words.every((word) => startsWord(name, word)) ? RANK.words : RANK.apart
  }
}

function rankOf(text: string, start: number, at: number, end: number, length: number): number {
  if (at > start) return isWord(text.charCodeAt(at - 1)) ? RANK.inside : RANK.word
  return end - start === length ? RANK.whole : RANK.start
}

function startsWord(name: string, word: string): boolean {
  for (let at = name.indexOf(word); at >= 0; at = name.indexOf(word, at + 1))
    if (at === 0 || !isWord(name.charCodeAt(at - 1))) return true
  return false
}

function isWord(unit: number): boolean {
  return unit >= 0x80 || (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39)
}

/** Ways in which one of each is fulfilled; where these would be too many, what narrows down the least is left out. */
function together(parts: readonly Ways[]): Ways {
  let ways: Ways = [[]]
  for (const part of [...parts].sort((a, b) => a.length - b.length)) {
    if (ways.length * part.length > WAYS_MAX) break
    ways = ways.flatMap((one) => part.map((other) => [...one, ...other]))
  }
  return ways
}
