// Matches a pattern in one pass over a text, however the two are made: a machine that knows all ways through the pattern
// at once, and remembers each combination of them it met. What a name costs is its length, and never more than that
// times the size of the pattern.
import { CODE_POINT_MAX, type Characters, type Pattern, type Place, type Range } from '../protocol/pattern.js'
import { fold } from './fold.js'

/** Combinations remembered; at more all are forgotten and met again. */
const STATES_KEPT = 2_000
/** Ranges with more characters are folded end by end only: no script's letters are more. */
const FOLDED_MAX = 1_024
const UNITS = 0x10000
const END_OF_TEXT = -1

/** Ranges of UTF-16 units that lead to a next step; or a fork; or a place; or the end. */
type Step =
  | { readonly kind: 'units'; readonly ranges: readonly Range[]; next: number }
  | { readonly kind: 'fork'; next: number[] }
  | { readonly kind: 'place'; readonly place: Place['place']; next: number }
  | { readonly kind: 'found' }

/** Where a match may be at some place of a text. */
export interface State {
  /** A match lies behind, whatever follows. */
  readonly found: boolean
  /** None will come any more. */
  readonly lost: boolean
  readonly steps: readonly number[]
  readonly before: Before
  readonly next: (State | undefined)[]
  atEnd: boolean | undefined
}

type Before = 'start' | 'word' | 'other'

export class Automaton {
  readonly #steps: Step[] = []
  readonly #first: number
  /** Where a class of units begins; units of one class are told apart by no step. */
  readonly #bounds: number[]
  readonly #ascii = new Uint16Array(128)
  #states = new Map<string, State>()
  readonly #found: State = { found: true, lost: false, steps: [], before: 'other', next: [], atEnd: true }
  readonly #reached: number[] = []
  /** In which round a step was reached last. */
  readonly #seen: Uint32Array
  #round = 0
  /** Changes when the states were forgotten. */
  generation = 0

  /** @param pattern is looked for anywhere, unless it says where */
  constructor(pattern: Pattern) {
    this.#steps.push({ kind: 'found' })
    const body = this.#build(pattern, 0)
    this.#first = beginsAtStart(pattern) ? body : this.#anywhere(body)
    this.#seen = new Uint32Array(this.#steps.length)
    const ranges = this.#steps.flatMap((each) => (each.kind === 'units' ? each.ranges : []))
    const cuts = [...ranges, ...WORD_UNITS].flatMap(([from, to]) => [from, to + 1])
    this.#bounds = [...new Set([0, ...cuts])].filter((each) => each < UNITS).sort((a, b) => a - b)
    for (let unit = 0; unit < 128; unit++) this.#ascii[unit] = this.#lookUp(unit)
  }

  start(): State {
    return this.#state([this.#first], 'start')
  }

  test(text: string): boolean {
    return this.ends(this.run(this.start(), text))
  }

  /** Goes on from a state with more text. */
  run(from: State, text: string): State {
    let state = from
    for (let at = 0; at < text.length && !state.found && !state.lost; at++) {
      const unit = text.charCodeAt(at)
      const group = unit < 128 ? this.#ascii[unit]! : this.#lookUp(unit)
      state = state.next[group] ?? this.#advance(state, group)
    }
    return state
  }

  /** Whether there is a match when the text ends here. */
  ends(state: State): boolean {
    return (state.atEnd ??= this.#closure(state, END_OF_TEXT).includes(0))
  }

  #lookUp(unit: number): number {
    let low = 0
    let high = this.#bounds.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#bounds[middle]! <= unit) low = middle
      else high = middle - 1
    }
    return low
  }

  #advance(state: State, group: number): State {
    const unit = this.#bounds[group]!
    const reached = this.#closure(state, unit)
    const next: number[] = []
    let found = false
    for (const each of reached) {
      const step = this.#steps[each]!
      if (step.kind === 'found') found = true
      else if (step.kind === 'units' && holds(step.ranges, unit)) next.push(step.next)
    }
    const then = found ? this.#found : this.#state(next, isWordUnit(unit) ? 'word' : 'other')
    state.next[group] = then
    return then
  }

  /** Whether a match is complete, whatever follows: past no place, for that depends on it. */
  #isFoundAt(steps: readonly number[]): boolean {
    const left = [...steps]
    const seen = new Set(left)
    for (let at = left.pop(); at !== undefined; at = left.pop()) {
      const step = this.#steps[at]!
      if (step.kind === 'found') return true
      if (step.kind !== 'fork') continue
      for (const each of step.next) if (!seen.has(each) && seen.add(each)) left.push(each)
    }
    return false
  }

  /** Every step that can be reached without taking the unit that follows; valid until the next call. */
  #closure({ steps, before }: State, follows: number): readonly number[] {
    const reached = this.#reached
    reached.length = 0
    this.#round += 1
    for (const each of steps) this.#reach(each)
    for (let at = 0; at < reached.length; at++) {
      const step = this.#steps[reached[at]!]!
      if (step.kind === 'fork') for (const each of step.next) this.#reach(each)
      else if (step.kind === 'place' && isAt(step.place, before, follows)) this.#reach(step.next)
    }
    return reached
  }

  #reach(step: number): void {
    if (this.#seen[step] === this.#round) return
    this.#seen[step] = this.#round
    this.#reached.push(step)
  }

  #state(steps: readonly number[], before: Before): State {
    const sorted = [...new Set(steps)].sort((a, b) => a - b)
    const key = `${before} ${sorted.join()}`
    const known = this.#states.get(key)
    if (known) return known
    if (this.#states.size >= STATES_KEPT) {
      this.#states = new Map()
      this.generation += 1
    }
    const state = this.#isFoundAt(sorted)
      ? this.#found
      : { found: false, lost: sorted.length === 0, steps: sorted, before, next: [], atEnd: undefined }
    this.#states.set(key, state)
    return state
  }

  /** Adds the steps of a part, and what follows it, and returns the first. */
  #build(pattern: Pattern, next: number): number {
    switch (pattern.kind) {
      case 'text':
        return [...fold(pattern.text)]
          .flatMap((each) => each.split(''))
          .reduceRight((after, unit) => this.#units([[unit.charCodeAt(0), unit.charCodeAt(0)]], after), next)
      case 'all':
        return pattern.parts.reduceRight((after, each) => this.#build(each, after), next)
      case 'any':
        return this.#add({ kind: 'fork', next: pattern.parts.map((each) => this.#build(each, next)) })
      case 'repeat':
        return this.#repeat(pattern.part, pattern.min, pattern.max, next)
      case 'one':
        return this.#one(pattern, next)
      case 'at':
        return this.#add({ kind: 'place', place: pattern.place, next })
    }
  }

  #repeat(part: Pattern, min: number, max: number, next: number): number {
    let first = next
    if (max === Infinity) {
      const loop: Step = { kind: 'fork', next: [] }
      first = this.#add(loop)
      loop.next = [this.#build(part, first), next]
    } else {
      for (let count = min; count < max; count++)
        first = this.#add({ kind: 'fork', next: [this.#build(part, first), next] })
    }
    for (let count = 0; count < min; count++) first = this.#build(part, first)
    return first
  }

  /** Characters past the first plane are two units. */
  #one(characters: Characters, next: number): number {
    const { single, double, folded } = partsOf(characters)
    const ways = [this.#units(single, next)]
    for (const [from, to] of double) ways.push(...this.#pairs(from, to, next))
    for (const each of folded) ways.push(this.#build({ kind: 'text', text: each }, next))
    return ways.length === 1 ? ways[0]! : this.#add({ kind: 'fork', next: ways })
  }

  #pairs(from: number, to: number, next: number): number[] {
    const ways: number[] = []
    const [first, last] = [halves(from), halves(to)]
    const pair = (high: Range, low: Range) => ways.push(this.#units([high], this.#units([low], next)))
    if (first[1] === 0xdc00 && last[1] === 0xdfff) pair([first[0], last[0]], [0xdc00, 0xdfff])
    else if (first[0] === last[0]) pair([first[0], first[0]], [first[1], last[1]])
    else {
      pair([first[0], first[0]], [first[1], 0xdfff])
      if (last[0] - first[0] > 1) pair([first[0] + 1, last[0] - 1], [0xdc00, 0xdfff])
      pair([last[0], last[0]], [0xdc00, last[1]])
    }
    return ways
  }

  #anywhere(body: number): number {
    const loop: Step = { kind: 'fork', next: [] }
    const first = this.#add(loop)
    loop.next = [body, this.#units([[0, UNITS - 1]], first)]
    return first
  }

  #units(ranges: readonly Range[], next: number): number {
    return this.#add({ kind: 'units', ranges, next })
  }

  #add(step: Step): number {
    return this.#steps.push(step) - 1
  }
}

function beginsAtStart(pattern: Pattern): boolean {
  if (pattern.kind === 'all') return pattern.parts.length > 0 && beginsAtStart(pattern.parts[0]!)
  if (pattern.kind === 'any') return pattern.parts.every(beginsAtStart)
  return pattern.kind === 'at' && pattern.place === 'start'
}

const WORD_UNITS: readonly Range[] = [
  [0x30, 0x39],
  [0x5f, 0x5f],
  [0x61, 0x7a],
  [0x80, UNITS - 1],
]

function isWordUnit(unit: number): boolean {
  return holds(WORD_UNITS, unit)
}

function holds(ranges: readonly Range[], unit: number): boolean {
  return ranges.some(([from, to]) => unit >= from && unit <= to)
}

function isAt(place: Place['place'], before: Before, follows: number): boolean {
  if (place === 'start') return before === 'start'
  if (place === 'end') return follows === END_OF_TEXT
  const isEdge = (before === 'word') !== (follows !== END_OF_TEXT && isWordUnit(follows))
  return isEdge === (place === 'edge')
}

function halves(codePoint: number): [high: number, low: number] {
  const text = String.fromCodePoint(codePoint)
  return [text.charCodeAt(0), text.charCodeAt(1)]
}

interface Parts {
  /** Of one unit. */
  readonly single: readonly Range[]
  /** Of two. */
  readonly double: readonly Range[]
  /** What a character is folded to where that is not one character. */
  readonly folded: readonly string[]
}

/** What a set is in texts that are folded. */
function partsOf({ ranges, negated }: Characters): Parts {
  const folded = ranges.flatMap(foldRange)
  const texts = folded.filter((each) => typeof each === 'string')
  const within = merged(folded.filter((each) => typeof each !== 'string'))
  const wanted = negated ? outside(within) : within
  // Halves of a character are none: the whole is one of those past the first plane.
  const single = wanted.flatMap((each) => [...cut(each, 0, 0xd7ff), ...cut(each, 0xe000, UNITS - 1)])
  return { single, double: wanted.flatMap((each) => cut(each, UNITS, CODE_POINT_MAX)), folded: negated ? [] : texts }
}

function foldRange([from, to]: Range): (Range | string)[] {
  const found: (Range | string)[] = [[from, to]]
  // Capitals among many.
  const [start, end] = to - from < FOLDED_MAX ? [from, to] : [Math.max(from, 0x41), Math.min(to, 0x5a)]
  for (let each = start; each <= end; each++) {
    const text = fold(String.fromCodePoint(each))
    const code = text.codePointAt(0)
    if (code === undefined || code === each) continue
    if (String.fromCodePoint(code) === text) found.push([code, code])
    else found.push(text)
  }
  return found
}

function merged(ranges: readonly Range[]): Range[] {
  const result: [number, number][] = []
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1)
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else result.push([from, to])
  }
  return result
}

function outside(ranges: readonly Range[]): Range[] {
  const rest: Range[] = []
  let from = 0
  for (const [first, last] of ranges) {
    if (first > from) rest.push([from, first - 1])
    from = last + 1
  }
  if (from <= CODE_POINT_MAX) rest.push([from, CODE_POINT_MAX])
  return rest
}

function cut([from, to]: Range, least: number, most: number): Range[] {
  const [first, last] = [Math.max(from, least), Math.min(to, most)]
  return first <= last ? [[first, last]] : []
}
