// Who gives way when connections are short: clients without a request in flight, the longest idle first, and those of a peer that
// holds more than its share before the others.
import { performance } from 'node:perf_hooks'
import { LIMITS } from '../base/limits.js'
import type { Feed } from './feed.js'

/** A client that could be closed now. */
export interface Idle {
  readonly idleMs: number
  readonly peer: string
  /** Unless it turns out to be busy by now, or gone. */
  close(): void
}

/** Whoever is at the other end of a unix socket, where that cannot be told. */
export const LOCAL_PEER = 'unix socket'

export const GIVEN_WAY = 'idle, and others need the connection'

/** Null for one that is not, or for less than `leastMs`. There may be very many: it makes as little as can be. */
export function idleFeed(feed: Feed, peer: string, leastMs: number): Idle | null {
  const idleMs = feed.idleFor(leastMs)
  return idleMs === null ? null : new IdleFeed(feed, peer, idleMs)
}

class IdleFeed implements Idle {
  readonly idleMs: number
  readonly peer: string
  readonly #feed: Feed

  constructor(feed: Feed, peer: string, idleMs: number) {
    this.#feed = feed
    this.peer = peer
    this.idleMs = idleMs
  }

  close(): void {
    if (this.#feed.idleFor(this.idleMs) !== null) this.#feed.close(1013, GIVEN_WAY)
  }
}

/** Closes at most `count`, and returns how many that is. The loop reads once more before: what was on its way is served. */
export function closeIdle(idle: readonly Idle[], count: number): number {
  const chosen = longest(idle, count)
  setImmediate(() => {
    for (const each of chosen) each.close()
  })
  return chosen.length
}

/** The longest idle of any number. */
function longest(idle: readonly Idle[], count: number): Idle[] {
  let chosen: Idle[] = []
  let leastMs = -Infinity
  const trim = () => (chosen = chosen.sort((one, other) => other.idleMs - one.idleMs).slice(0, count))
  for (const each of idle) {
    if (each.idleMs <= leastMs) continue
    chosen.push(each)
    if (chosen.length < 2 * count) continue
    leastMs = trim().at(-1)?.idleMs ?? Infinity
  }
  return trim()
}

const SLOTS = 256

/** When the requests in flight were last heard of, in steps: what a front without a view of its connections knows of them. */
export class Working {
  count = 0
  readonly #counts = new Int32Array(SLOTS)

  begin(): number {
    const slot = Math.floor(performance.now() / LIMITS.workingStepMs)
    this.#counts[slot % SLOTS]! += 1
    this.count += 1
    return slot
  }

  end(slot: number): void {
    this.#counts[slot % SLOTS]! -= 1
    this.count -= 1
  }

  /** Whether a request in flight was last heard of about so long ago. */
  any(agoMs: number, slackMs: number): boolean {
    if (this.count === 0) return false
    const now = performance.now()
    const from = Math.floor((now - agoMs - slackMs) / LIMITS.workingStepMs)
    const to = Math.floor((now - agoMs + slackMs) / LIMITS.workingStepMs)
    if (to - from >= SLOTS) return true
    for (let slot = Math.max(0, from); slot <= to; slot += 1) if (this.#counts[slot % SLOTS]! > 0) return true
    return false
  }
}

export interface Weighed {
  readonly over: Map<string, number>
  /** Connections that those below their share were refused since the last time. */
  readonly wanted: number
}

/**
 * Who may have how many while not all can be served. A peer that is alone may have everything; once another was refused, each
 * is due the same part, and who has more gets no further connection and gives way.
 */
export class Shares {
  #until = 0
  #counts = new Map<string, number>()
  /** The most that were held at a time since it is contested: what is to be divided. Less is held while some give way. */
  #most = 0
  /** Peers that were refused lately: when, and how often since they were weighed last. */
  readonly #waiting = new Map<string, { at: number; times: number }>()

  /** Peers that were refused lately, let in since or not: they want more than they have. */
  readonly #contending = new Map<string, number>()

  get contested(): boolean {
    return this.#until > 0 && performance.now() < this.#until && this.#peers > 1
  }

  refused(peer: string): void {
    const before = this.#waiting.get(peer)
    if (this.#waiting.size >= LIMITS.sharePeersMax && !before) return
    this.#waiting.set(peer, { at: performance.now(), times: (before?.times ?? 0) + 1 })
    if (this.#contending.size < LIMITS.sharePeersMax) this.#contending.set(peer, performance.now())
  }

  entered(peer: string): void {
    this.#waiting.delete(peer)
    this.#counts.set(peer, (this.#counts.get(peer) ?? 0) + 1)
  }

  /** What the peers hold now. Those above their share are named, with how many they have too many, if anybody below waits. */
  weigh(counts: Map<string, number>): Weighed {
    const now = performance.now()
    const held = [...counts.values()].reduce((sum, count) => sum + count, 0)
    this.#most = this.contested ? Math.max(this.#most, held) : held
    this.#counts = counts
    for (const [peer, { at }] of this.#waiting) if (now - at > LIMITS.shareWaitMs) this.#waiting.delete(peer)
    for (const [peer, at] of this.#contending) if (now - at > LIMITS.shareWaitMs) this.#contending.delete(peer)
    const share = this.#share
    const over = new Map([...counts].filter(([, count]) => count > share).map(([peer, count]) => [peer, count - share]))
    const below = [...this.#waiting].filter(([peer]) => this.#of(peer) < share)
    const wanted = below.reduce((sum, [peer, { times }]) => sum + Math.min(times, share - this.#of(peer)), 0)
    for (const each of this.#waiting.values()) each.times = 0
    if (below.length === 0) return { over: new Map(), wanted }
    if (over.size > 0) this.#until = now + LIMITS.shareWaitMs
    return { over, wanted }
  }

  /** True for a peer that has its share or more, while another waits. */
  full(peer: string): boolean {
    return this.contested && this.#of(peer) >= this.#share
  }

  /** True for a peer with no more than its share, while only those wait that have theirs: they take the places of their own. */
  spares(peer: string): boolean {
    if (this.#peers < 2 || this.#waiting.size === 0) return false
    const share = this.#share
    return this.#of(peer) <= share && [...this.#waiting.keys()].every((each) => this.#of(each) > share)
  }

  over(peer: string): boolean {
    return this.contested && this.#of(peer) > this.#share
  }

  #of(peer: string): number {
    return this.#counts.get(peer) ?? 0
  }

  get #peers(): number {
    return new Set([...this.#counts.keys(), ...this.#waiting.keys()]).size
  }

  /** Who wants less than an equal part leaves the rest of it to the others: one that works alone costs those who contend nothing. */
  get #share(): number {
    const peers = new Set([...this.#counts.keys(), ...this.#waiting.keys()])
    const wanted = [...peers].map((peer) => (this.#contending.has(peer) ? Infinity : this.#of(peer)))
    let rest = this.#most
    let left = wanted.length
    for (const count of wanted.sort((one, other) => one - other)) {
      if (count > rest / left) break
      rest -= count
      left -= 1
    }
    return Math.max(1, Math.floor(rest / Math.max(1, left)))
  }
}
