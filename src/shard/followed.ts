// One watched location, between its tree and whoever has its index: what changed is told a batch at a time, each after the last
// one was answered.
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Batch } from '../scan/walk.js'
import type { WatchedTree } from '../scan/watched-tree.js'
import type { FromWatcher, Outcome, Telling } from './lines.js'

/** Of all that is told by this thread: a location that is watched anew is not answered what was meant for it before. */
let tellings = 0

interface Look {
  readonly batches: Generator<Batch>
  next: Batch | undefined
  first: boolean
}

export class Followed {
  readonly tree: WatchedTree
  readonly #key: string
  readonly #send: (message: FromWatcher) => void
  /** The batches of one look, and the next of them. */
  #look: Look | null = null
  #isWaiting = false
  #notBefore = 0
  #pauseMs: number = LIMITS.watchAgainMs
  /** Tells answers to what is under way from those to what was given up. */
  #number = 0

  constructor(key: string, tree: WatchedTree, send: (message: FromWatcher) => void) {
    this.#key = key
    this.tree = tree
    this.#send = send
  }

  step(until: number): void {
    try {
      this.tree.work(until)
      if (!this.#isWaiting && performance.now() >= this.#notBefore) this.#tellNext()
    } catch (error) {
      // Somebody outside the ledger took the last descriptors.
      if (toWire(error).code !== 'BUDGET_EXHAUSTED') throw error
      this.#giveUp()
    }
  }

  answered({ number, outcome, relist }: Outcome): void {
    if (number !== this.#number) return
    this.#isWaiting = false
    if (outcome === 'doubt') this.tree.doubt()
    if (outcome !== 'done') return this.#giveUp()
    this.#pauseMs = LIMITS.watchAgainMs
    this.tree.relist(relist)
    if (!this.#look) this.tree.isUnsure = false
    else if (!this.#look.next) {
      this.#look = null
      this.tree.told(true)
    }
    this.step(performance.now() + LIMITS.watchSliceMs)
  }

  #giveUp(): void {
    this.#look = null
    this.tree.told(false)
    this.#notBefore = performance.now() + this.#pauseMs
    this.#pauseMs = Math.min(2 * this.#pauseMs, LIMITS.watchAgainMsMax)
  }

  #tellNext(): void {
    // In doubt since: what was under way is part of what is to be scanned.
    if (this.#look && this.tree.isInDoubt) this.#look = null
    if (this.#look) return this.#tellBatch(this.#look)
    if (this.tree.isUnsure) return this.#post({ doubt: true })
    if (!this.tree.isReady) return
    if (!this.tree.isWhereItWas()) return this.tree.doubt()
    const batches = this.tree.changes()
    const next = batches.next().value as Batch | undefined
    if (!next) return this.tree.told(true)
    this.#look = { batches, next, first: true }
    this.#tellBatch(this.#look)
  }

  #tellBatch(look: Look): void {
    const batch = look.next!
    look.next = look.batches.next().value as Batch | undefined
    const { rootInode } = this.tree
    this.#post({ changes: { batch, rootInode: rootInode!, first: look.first, last: look.next === undefined } })
    look.first = false
  }

  #post(what: Telling): void {
    this.#number = ++tellings
    this.#isWaiting = true
    this.#send({ told: { key: this.#key, number: this.#number, ...what } })
  }
}
