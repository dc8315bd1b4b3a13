// The folded text of names, block by block, and which blocks may contain what is looked for.
import type { Connection } from './connection.js'
import { guessLine } from '../scan/content-type.js'
import { decodeName } from '../scan/names.js'
import { foldBlock } from './fold.js'
import { BLOCK_NAMES } from './names.js'
import { Pace } from './pace.js'
import { Postings, trigramsOf } from './trigrams.js'

/** Folded blocks kept: some 8 MB. */
const TEXTS_KEPT = 4_096
/** Blocks kept name by name. */
const PARTED_KEPT = 512
/** Blocks read in one go. */
const BLOCKS_A_STEP = 256
const DOT = 0x2e

/** Names of one block, each ending in NUL; what takes long about them is done in steps. */
export type TakeBlock = (block: number, text: string) => void | Generator<void>

/** Texts of which a name must contain all, in one of several ways; none narrow nothing down. */
export type Ways = readonly (readonly string[])[]

export class Texts {
  readonly #postings: Postings
  readonly #segments
  readonly #blocks
  readonly #block
  readonly #texts = new Map<number, string>()
  readonly #parted = new Map<number, string[]>()
  readonly #dots = new Map<number, Uint8Array>()
  readonly #guesses = new Map<number, Uint8Array>()

  constructor(connection: Connection) {
    this.#postings = new Postings(connection)
    this.#segments = connection.prepare<[], { id: number; first: number; last: number }>(
      'SELECT id, first, last FROM segment ORDER BY first',
    )
    this.#blocks = connection.prepare<[number, number], { block: number; bytes: Buffer }>(
      'SELECT block, bytes FROM names WHERE block BETWEEN ? AND ? ORDER BY block',
    )
    this.#block = connection.prepare<[number], Buffer>('SELECT bytes FROM names WHERE block = ?').pluck()
  }

  /**
   * Hands over every block that may hold a name that contains all texts of one of the ways.
   *
   * @param only no other blocks; where it is given, the ways narrow nothing down
   */
  *eachBlock(ways: Ways, take: TakeBlock, only?: ReadonlySet<number>): Generator<void> {
    if (only) return yield* this.#readOnly(only, take)
    const codes = ways.map(codesOf)
    const readsAll = codes.some((each) => each.length === 0)
    let unsealed = 0
    for (const { id, first, last } of this.#segments.all()) {
      unsealed = last + 1
      if (readsAll) yield* this.#readAll(first, last, take)
      else yield* this.#readSome(first, this.#candidates(id, codes), take)
    }
    yield* this.#readAll(unsealed, Number.MAX_SAFE_INTEGER, take)
  }

  /** The folded text of one name; for those who ask for many, near each other. */
  folded(name: number): string {
    const block = Math.floor(name / BLOCK_NAMES)
    return (this.#parted.get(block) ?? this.#part(block))[name % BLOCK_NAMES] ?? ''
  }

  /** Whether a name begins with a dot: as it is, for what folds to one is none. */
  isDotted(name: number): boolean {
    const block = Math.floor(name / BLOCK_NAMES)
    return (this.#dots.get(block) ?? this.#findDots(block))[name % BLOCK_NAMES] === 1
  }

  /** What is guessed by a name, as `guessLine` has it: by the name as it is. */
  guessed(name: number): number {
    const block = Math.floor(name / BLOCK_NAMES)
    return (this.#guesses.get(block) ?? this.#guess(block))[name % BLOCK_NAMES]!
  }

  /** Forgets the blocks that go on growing. */
  forgetOpen(): void {
    this.#parted.clear()
    this.#dots.clear()
    this.#guesses.clear()
  }

  *#readSome(first: number, blocks: Iterable<number>, take: TakeBlock): Generator<void> {
    const pace = new Pace()
    for (const block of blocks) {
      const more = take(first + block, this.#text(first + block))
      if (more) yield* more
      if (pace.isDue()) yield
    }
  }

  /** Also of blocks that go on growing, of which nothing may be kept. */
  *#readOnly(blocks: Iterable<number>, take: TakeBlock): Generator<void> {
    const pace = new Pace()
    for (const block of blocks) {
      const bytes = this.#block.get(block)
      const more = bytes && take(block, foldBlock(bytes))
      if (more) yield* more
      if (pace.isDue()) yield
    }
  }

  #candidates(segment: number, ways: readonly (readonly number[])[]): Iterable<number> {
    if (ways.length === 1) return this.#postings.candidates(segment, ways[0]!)
    return new Set(ways.flatMap((codes) => this.#postings.candidates(segment, codes)))
  }

  /** A block that has its trigrams is full and never changes again, so its text may be kept. */
  #text(block: number): string {
    const known = this.#texts.get(block)
    if (known !== undefined) return known
    const text = foldBlock(this.#block.get(block)!)
    if (this.#texts.size >= TEXTS_KEPT) this.#texts.clear()
    this.#texts.set(block, text)
    return text
  }

  #part(block: number): string[] {
    const bytes = this.#block.get(block)
    const names = bytes ? foldBlock(bytes).split('\0') : []
    if (this.#parted.size >= PARTED_KEPT) this.#parted.clear()
    this.#parted.set(block, names)
    return names
  }

  #findDots(block: number): Uint8Array {
    const bytes = this.#block.get(block)
    const dots = new Uint8Array(BLOCK_NAMES)
    for (let at = 0, name = 0; bytes && at < bytes.length; name++) {
      if (bytes[at] === DOT) dots[name] = 1
      at = bytes.indexOf(0, at) + 1
    }
    if (this.#dots.size >= TEXTS_KEPT) this.#dots.clear()
    this.#dots.set(block, dots)
    return dots
  }

  #guess(block: number): Uint8Array {
    const bytes = this.#block.get(block)
    const lines = new Uint8Array(BLOCK_NAMES)
    for (let at = 0, name = 0; bytes && at < bytes.length; name++) {
      const end = bytes.indexOf(0, at)
      lines[name] = guessLine(decodeName(bytes.subarray(at, end)))
      at = end + 1
    }
    if (this.#guesses.size >= TEXTS_KEPT) this.#guesses.clear()
    this.#guesses.set(block, lines)
    return lines
  }

  *#readAll(first: number, last: number, take: TakeBlock): Generator<void> {
    const pace = new Pace()
    for (let from = first; from <= last; from += BLOCKS_A_STEP) {
      const step = this.#blocks.all(from, Math.min(last, from + BLOCKS_A_STEP - 1))
      for (const { block, bytes } of step) {
        const more = take(block, foldBlock(bytes))
        if (more) yield* more
        if (pace.isDue()) yield
      }
      if (step.length < BLOCKS_A_STEP) return
    }
  }
}

/** Whether the trigrams of such ways leave anything out. */
export function narrows(ways: Ways): boolean {
  return ways.every((texts) => texts.some((text) => Buffer.byteLength(text) >= 3))
}

function codesOf(texts: readonly string[]): number[] {
  return texts.length === 1
    ? trigramsOf(Buffer.from(texts[0]!, 'utf8'))
    : [...new Set(texts.flatMap((text) => trigramsOf(Buffer.from(text, 'utf8'))))]
}
