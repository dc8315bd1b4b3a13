// Those who have connected over TCP and shown no token yet. They have little time to ask for anything. While there is room they take
// nobody's; when there is none, those beyond their part make it for the next, and nobody who is known does.
import { performance } from 'node:perf_hooks'
import { LIMITS } from '../base/limits.js'
import { Deadlines, Timed } from './deadlines.js'
import type { Idle } from './idle.js'

export abstract class Stranger extends Timed {
  readonly peer: string
  readonly since = performance.now()
  hasAsked = false
  /** How often its time was up while it was busy. */
  looks = 0
  strangers: Strangers | null = null

  constructor(peer: string) {
    super()
    this.peer = peer
  }

  /** Bytes of it wait to be read, or it reads an answer that is for everybody. */
  abstract get busy(): boolean
  /** Without a word: a browser connects in advance, and takes what it did not ask for as the answer to what it asks next. */
  abstract hangUp(): void

  override expire(): void {
    this.strangers?.timeIsUp(this)
  }
}

export class Strangers {
  readonly #ms: number
  readonly #part: () => number
  readonly #deadlines: Deadlines
  /** In the order in which they came. */
  readonly #all = new Set<Stranger>()

  /** @param part of the connections: as many of them have a place like anybody else */
  constructor(ms: number, part: () => number) {
    this.#ms = ms
    this.#part = part
    this.#deadlines = new Deadlines(ms)
  }

  get count(): number {
    return this.#all.size
  }

  enter(stranger: Stranger): void {
    stranger.strangers = this
    this.#all.add(stranger)
    this.#deadlines.add(stranger)
  }

  /** A whole request came, without a token: an answer may be followed by another request, as long as nobody needs the place. */
  asked(stranger: Stranger): void {
    stranger.hasAsked = true
    this.#deadlines.remove(stranger)
  }

  /** It is known now, or gone. */
  leave(stranger: Stranger): void {
    this.#deadlines.remove(stranger)
    this.#all.delete(stranger)
  }

  stop(): void {
    this.#deadlines.stop()
  }

  /** Who is answered may read to the end, within the time that any answer has. */
  timeIsUp(stranger: Stranger): void {
    if (stranger.busy && ++stranger.looks * this.#ms <= LIMITS.responseMs) return this.#deadlines.add(stranger)
    // The loop reads once more before: what was on its way is served.
    setImmediate(() => {
      if (!stranger.hasAsked) this.#close(stranger)
    })
  }

  /**
   * Those who make room for the next; null while they are no more than their part, and it is as well anybody's turn. Asking again
   * and again keeps nobody's place, nor does reading slowly.
   */
  idle(): Idle[] | null {
    const tooMany = this.#all.size - this.#part()
    if (tooMany <= 0) return null
    const now = performance.now()
    const idle: Idle[] = []
    for (const each of this.#eldest()) {
      const idleMs = now - each.since
      if (idleMs < LIMITS.strangerChanceMs || idle.length === tooMany) break
      if (this.#mayStay(each)) continue
      idle.push({ idleMs, peer: each.peer, close: () => this.#mayStay(each) || this.#close(each) })
    }
    return idle
  }

  #mayStay(stranger: Stranger): boolean {
    return performance.now() - stranger.since < this.#ms && stranger.busy
  }

  /** Enough to find as many as are closed at a time. */
  #eldest(): Stranger[] {
    const eldest: Stranger[] = []
    for (const each of this.#all) {
      if (eldest.length === LIMITS.giveWayClientsMax * LIMITS.giveWayClientsShare) break
      eldest.push(each)
    }
    return eldest
  }

  #close(stranger: Stranger): void {
    if (!this.#all.has(stranger)) return
    this.leave(stranger)
    stranger.hangUp()
  }
}
