// Makes room for newcomers: when they are refused for want of a connection, idle ones are given up for the next, a few at a time
// and once in a while, so that a flood cannot make refusing dear.
import { performance } from 'node:perf_hooks'
import { LIMITS } from '../base/limits.js'
import { closeIdle, Shares, type Idle, type Weighed } from './idle.js'

export interface RoomSetup {
  /** Clients without a request in flight, idle for so long. */
  readonly idle: (idleMs: number) => Idle[]
  /** Those among them who have shown no token, if they make room before the others do. */
  readonly strangers?: () => Idle[] | null
  /** How many connections each peer has. */
  readonly count: () => Map<string, number>
  readonly newcomerIdleMs: number
  /** Told of those that are refused, where other fronts could make room for them as well. */
  readonly tellOthers?: ((peer: string) => void) | undefined
}

export class Room {
  readonly shares = new Shares()
  readonly #setup: RoomSetup
  #at = -Infinity
  /** So many were refused since room was made last. */
  #wanted = 0
  /** Peers that were refused since, where others are told. */
  readonly #untold = new Set<string>()
  #timer: NodeJS.Timeout | null = null

  constructor(setup: RoomSetup) {
    this.#setup = setup
  }

  /** In the accept loop, for each that is refused: only noted there. */
  wanted(peer: string): void {
    if (this.#setup.tellOthers && this.#untold.size < LIMITS.sharePeersMax) this.#untold.add(peer)
    this.wantedElsewhere(peer)
  }

  /** Refused by another front of this daemon: the kernel chooses to which one who comes. */
  wantedElsewhere(peer: string): void {
    this.shares.refused(peer)
    this.#wanted += 1
    this.recount()
  }

  /** Nobody says when a peer leaves: who was refused for what it held, and holds no more, is let in when it comes again. */
  recount(): void {
    if (this.#timer) return
    const waitMs = Math.max(0, this.#at + LIMITS.makeRoomMs - performance.now())
    this.#timer = setTimeout(() => this.#make(), waitMs).unref()
  }

  giveWay({ count, idleMs }: { count: number; idleMs: number }): number {
    return count > 0 ? closeIdle(this.#setup.idle(idleMs), count) : 0
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
  }

  #make(): void {
    this.#timer = null
    this.#at = performance.now()
    for (const peer of this.#untold) this.#setup.tellOthers?.(peer)
    this.#untold.clear()
    const weighed = this.shares.weigh(this.#setup.count())
    const owed = this.#reclaim(weighed)
    if (weighed.over.size === 0) {
      if (this.#wanted > 0) this.#giveUpIdle()
      this.#wanted = 0
    }
    // Those with a request in flight are idle a moment later.
    if (owed) this.#timer = setTimeout(() => this.#make(), LIMITS.makeRoomMs).unref()
  }

  /** From each peer above its share what the others came for, idle or not for long. True if some of them still owe. */
  #reclaim({ over, wanted }: Weighed): boolean {
    if (over.size === 0) return false
    const idle = this.#setup.idle(0)
    for (const [peer, tooMany] of over) {
      const theirs = idle.filter((each) => each.peer === peer)
      const closed = closeIdle(theirs, Math.min(tooMany, Math.max(batch(tooMany), wanted)))
      over.set(peer, tooMany - closed)
    }
    return [...over.values()].some((tooMany) => tooMany > 0)
  }

  #giveUpIdle(): void {
    const strangers = this.#setup.strangers?.() ?? null
    const all = strangers ?? this.#setup.idle(this.#setup.newcomerIdleMs)
    const idle = all.filter(({ peer }) => !this.shares.spares(peer))
    closeIdle(idle, strangers ? Math.min(this.#wanted, LIMITS.giveWayClientsMax) : batch(idle.length))
  }
}

/** As nginx does it. */
function batch(count: number): number {
  return Math.max(1, Math.min(LIMITS.giveWayClientsMax, Math.floor(count / LIMITS.giveWayClientsShare)))
}
