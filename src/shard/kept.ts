// What was read of libraries is kept by the thread that asked for it, until anything is written to the library: who asks for the same
// again is answered without its shard. Shards tell in shared memory, before and after, that they write.
import { toWire } from '../base/errors.js'
import { fnv } from '../base/hash.js'
import { LIMITS } from '../base/limits.js'
import type { GiveUp, Reply, Request } from '../protocol/messages.js'
import { WORK } from '../protocol/work.js'

/** Libraries of one shard that fall into one of these are written together, as far as is told here. A power of two. */
const SLOTS = 1024
const BEGUN = 0
const ENDED = 1
const WORDS = 2
/** What was asked lately leaves a mark in one of these: to keep what is asked once would cost more than it saves. A power of two. */
const MARKS = 16_384
/** What a key and its place take beside the text, in characters. */
const ENTRY_CHARS = 100
/** Instead of a version: something is being written. */
const WRITING = null

type Answer = (reply: Reply) => void

export function newWritten(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOTS * WORDS * Int32Array.BYTES_PER_ELEMENT)
}

/** What one shard tells of the libraries that are its own. */
export class Written {
  readonly #words: Int32Array

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
  }

  /** Whatever may change what is read of the library, between these two. */
  begin(library: string): void {
    Atomics.add(this.#words, slotOf(library) + BEGUN, 1)
  }

  end(library: string): void {
    Atomics.add(this.#words, slotOf(library) + ENDED, 1)
  }

  /** Another one after whatever was written, and none meanwhile. */
  versionOf(slot: number): number | null {
    const begun = Atomics.load(this.#words, slot + BEGUN)
    return Atomics.load(this.#words, slot + ENDED) === begun ? begun : WRITING
  }
}

/** Of one library. */
interface Answers {
  readonly slot: number
  /** At which they hold. */
  version: number | null
  jsons: Map<string, string>
  chars: number
  /** Changes that were asked for here and are not answered: whoever asked may expect to find them. */
  changing: number
}

export class Kept {
  readonly #written: Written
  readonly #libraries = new Map<string, Answers>()
  readonly #marks = new Int32Array(MARKS)
  #chars = 0

  /** @param written as one shard has it, and none had before */
  constructor(written: SharedArrayBuffer) {
    this.#written = new Written(written)
  }

  /**
   * Answers by what is kept, or has it asked. A change that could not be asked for is answered too, so that what is kept holds again.
   *
   * @throws what `ask` throws, of a read
   */
  through(request: Request, library: string, answer: Answer, ask: (answer: Answer) => GiveUp | void): GiveUp | void {
    if (WORK[request.operation] === 'mutation') return attempt(this.changing(library, answer), ask)
    const key = keyOf(request)
    if (key === null) return ask(answer)
    const json = this.find(library, key)
    return json === undefined ? ask(this.keeping(library, key, answer)) : answer({ ok: true, json })
  }

  /** A result as JSON, if it was asked for since anything was written. */
  find(library: string, key: string): string | undefined {
    const answers = this.#libraries.get(library)
    if (!answers || answers.changing > 0 || answers.version === WRITING) return undefined
    return answers.version === this.#written.versionOf(answers.slot) ? answers.jsons.get(key) : undefined
  }

  /** To be asked with. What comes is kept, if the same was asked a while ago and nothing was written in between. */
  keeping(library: string, key: string, answer: Answer): Answer {
    const { slot } = this.#of(library)
    const version = this.#written.versionOf(slot)
    if (version === WRITING || !this.#wasAsked(slot, key)) return answer
    return (reply) => {
      if (reply.ok) this.#keep(library, key, version, reply.json)
      answer(reply)
    }
  }

  /** Nothing that is kept of the library answers anybody here until this is answered. */
  changing(library: string, answer: Answer): Answer {
    const answers = this.#of(library)
    answers.changing += 1
    return (reply) => {
      answers.changing -= 1
      answer(reply)
    }
  }

  /** Changes were asked for here and are not answered. */
  isChanging(library: string): boolean {
    return (this.#libraries.get(library)?.changing ?? 0) > 0
  }

  /** Gives back what it keeps. */
  forget(): void {
    this.#empty()
  }

  /** As far as can be told, and no others asked so many things in between. */
  #wasAsked(slot: number, key: string): boolean {
    const mark = hashOf(key, slot)
    const at = mark & (MARKS - 1)
    if (this.#marks[at] === mark) return true
    this.#marks[at] = mark
    return false
  }

  #of(library: string): Answers {
    let answers = this.#libraries.get(library)
    if (answers) return answers
    if (this.#libraries.size >= LIMITS.keptLibrariesMax) this.#empty()
    answers = { slot: slotOf(library), version: WRITING, jsons: new Map(), chars: 0, changing: 0 }
    this.#libraries.set(library, answers)
    return answers
  }

  #keep(library: string, key: string, version: number, json: string): void {
    const chars = json.length + ENTRY_CHARS
    if (chars > LIMITS.keptCharsMax) return
    if (this.#chars + chars > LIMITS.keptCharsMax) this.#empty()
    const answers = this.#of(library)
    if (version !== this.#written.versionOf(answers.slot)) return
    if (version !== answers.version) this.#forget(answers)
    answers.version = version
    if (answers.jsons.has(key)) return
    answers.jsons.set(key, json)
    answers.chars += chars
    this.#chars += chars
  }

  #empty(): void {
    for (const [library, answers] of this.#libraries) {
      this.#forget(answers)
      if (answers.changing === 0) this.#libraries.delete(library)
    }
  }

  #forget(answers: Answers): void {
    this.#chars -= answers.chars
    answers.chars = 0
    answers.jsons = new Map()
  }
}

/** Whoever asks is told of an error that is thrown, as of any other. */
export function attempt(answer: Answer, ask: (answer: Answer) => GiveUp | void): GiveUp | void {
  try {
    return ask(answer)
  } catch (error) {
    answer({ ok: false, error: toWire(error) })
  }
}

/** The key of what may be kept: so far a file by its id or its path, which is asked more often than anything is written. */
export function keyOf({ operation, params }: Request): string | null {
  if (operation !== 'files.get') return null
  const { id, path } = params as { id?: string; path?: string }
  if (id !== undefined) return id
  // An answer to an id is only ever one of digits.
  return path?.startsWith('/') ? path : null
}

function slotOf(library: string): number {
  return (hashOf(library) & (SLOTS - 1)) * WORDS
}

/** FNV-1a, its upper half in the lower. */
function hashOf(text: string, seed = 0): number {
  const hash = fnv(text, seed)
  return hash ^ (hash >>> 15)
}
