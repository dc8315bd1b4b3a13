// Those who have connected and shown no token yet. They have a small part of the connections and little time to ask for anything:
// whoever is known has a place outside of that part, so that no crowd of strangers takes the connections of those who work.
import { performance } from 'node:perf_hooks'
import { LIMITS } from '../base/limits.js'
import { Deadlines, Timed } from './deadlines.js'

export abstract class Stranger extends Timed {
  readonly since = performance.now()
  readonly peer: string
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
  readonly #max: () => number
  readonly #deadlines: Deadlines
  /** In the order in which they came. */
  readonly #all = new Set<Stranger>()
  readonly #ofPeer = new Map<string, Set<Stranger>>()

  /** @param max how many of them there may be now */
  constructor(ms: number, max: () => number) {
    this.#ms = ms
    this.#max = max
    this.#deadlines = new Deadlines(ms)
  }

  get count(): number {
    return this.#all.size
  }

  get max(): number {
    return this.#max()
  }

  /** True where one more would have no place: none is free, and nobody has to leave his. */
  full(peerOf: () => string): boolean {
    return this.#all.size >= this.max && this.#last(peerOf()) === null
  }

  enter(stranger: Stranger): void {
    if (this.#all.size >= this.max) this.#close(this.#last(stranger.peer))
    stranger.strangers = this
    this.#all.add(stranger)
    const theirs = this.#ofPeer.get(stranger.peer)
    if (theirs) theirs.add(stranger)
    else this.#ofPeer.set(stranger.peer, new Set([stranger]))
    this.#deadlines.add(stranger)
  }

  /** A whole request came, without a token: an answer may be followed by another request, as long as nobody needs the place. */
  asked(stranger: Stranger): void {
    this.#deadlines.remove(stranger)
  }

  /** It is known now, or gone. */
  leave(stranger: Stranger): void {
    if (!this.#all.delete(stranger)) return
    this.#deadlines.remove(stranger)
    const theirs = this.#ofPeer.get(stranger.peer)!
    theirs.delete(stranger)
    if (theirs.size === 0) this.#ofPeer.delete(stranger.peer)
  }

  stop(): void {
    this.#deadlines.stop()
  }

  /** Who is answered may read to the end, within the time that any answer has. */
  timeIsUp(stranger: Stranger): void {
    if (!stranger.busy || ++stranger.looks * this.#ms > LIMITS.responseMs) this.#close(stranger)
    else this.#deadlines.add(stranger)
  }

  /** Who leaves a full part to one more of `peer`: the eldest of the peer that has the most, or of all if it had its chance. */
  #last(peer: string): Stranger | null {
    let most = new Set<Stranger>()
    for (const each of this.#ofPeer.values()) if (each.size > most.size) most = each
    if (most.size > (this.#ofPeer.get(peer)?.size ?? 0) + 1) return first(most)
    const eldest = first(this.#all)
    const chance = eldest !== null && performance.now() - eldest.since >= LIMITS.strangerChanceMs
    return chance && !eldest.busy ? eldest : null
  }

  #close(stranger: Stranger | null): void {
    if (!stranger) return
    this.leave(stranger)
    stranger.hangUp()
  }
}

/** How many of so many connections strangers may have. */
export function strangersMax(connectionsMax: number): number {
  const least = Math.min(LIMITS.strangersMin, Math.max(LIMITS.strangersPage, Math.ceil(connectionsMax / 2)))
  return Math.max(1, Math.floor(connectionsMax / LIMITS.strangersShare), Math.min(least, connectionsMax - 1))
}

function first<Each>(all: Iterable<Each>): Each | null {
  for (const each of all) return each
  return null
}
