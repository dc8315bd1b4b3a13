// What waits for one shard, by class of work: who is next, who has waited too long, and who stands back because it has more in
// line than others. A shard is given no more than it begins in a moment, so that this order is the one that counts.
import { LIMITS } from '../base/limits.js'
import type { Reply } from '../protocol/messages.js'
import type { WorkClass } from '../protocol/operations.js'
import type { ShardOperation } from './lines.js'

/** What is asked of a shard, and by whom. */
export interface Asked {
  readonly of: WorkClass
  /** Goes on over many turns of the shard: no more than so many of these are begun at a time. */
  readonly long: boolean
  readonly operation: ShardOperation
  readonly params: unknown
  readonly answer: (reply: Reply) => void
  /** Whose it is, where shares are kept. */
  readonly caller: object | null
}

export interface Waiting extends Asked {
  since: number
  /** Nobody waits for it any more. */
  gone: boolean
  /** By which the shard knows it, once it was sent. */
  number: number
}

/** Why somebody is refused, and where it stood. */
export interface Refused {
  readonly waiting: Waiting
  readonly why: 'age' | 'full'
  readonly place: number
}

/** Turns of the classes while all of them wait: half for who looks at a screen, a third for those who write. */
const TURNS: readonly Lane[] = [
  'quick',
  'mutation',
  'long',
  'quick',
  'stream',
  'mutation',
  'quick',
  'long',
  'mutation',
  'job',
]

type Lane = 'quick' | 'long' | 'mutation' | 'stream' | 'job'

export class Queue {
  /** The interactive ones: what is done in one turn, and what is not. */
  readonly #quick = new Shares()
  readonly #long = new Shares()
  readonly #mutation = new Line()
  readonly #stream = new Line()
  readonly #job = new Line()
  #turn = 0
  /** The newest first: the oldest have waited so long that their callers are the likeliest to have gone. */
  #newestFirst = false

  get length(): number {
    return this.#quick.length + this.#long.length + this.#mutation.length + this.#stream.length + this.#job.length
  }

  get newestFirst(): boolean {
    return this.#newestFirst
  }

  /** Who is refused for it: itself, or one that is worth less. */
  add(waiting: Waiting): Refused | null {
    if (waiting.of === 'interactive') {
      const shares = waiting.long ? this.#long : this.#quick
      shares.add(waiting)
      const all = this.#quick.length + this.#long.length
      return all > LIMITS.interactiveWaitingMax ? refused(shares.worst(), 'full', all) : null
    }
    const line = this.#line(waiting.of)
    if (waiting.of === 'mutation' && line.length >= LIMITS.mutationsWaitingMax)
      return { waiting, why: 'full', place: line.length + 1 }
    line.push(waiting)
    if (waiting.of === 'stream' && line.length > LIMITS.streamsWaitingMax) return refused(line.shift(), 'full', 1)
    return null
  }

  /** @param longMayBegin one more of those that go on for many turns may be begun */
  next(longMayBegin: boolean): Waiting | null {
    for (let tries = 0; tries < TURNS.length; tries++) {
      const lane = TURNS[this.#turn]!
      this.#turn = (this.#turn + 1) % TURNS.length
      if (lane === 'long' && !longMayBegin) continue
      const waiting = this.#take(lane)
      if (waiting) return waiting
    }
    return null
  }

  /** Those that have waited for too long, which are out of it then. Called at intervals. */
  expire(now: number): Refused[] {
    this.#judge(now)
    const out: Refused[] = []
    const born = now - LIMITS.queueAgeMs
    for (const waiting of this.#mutation.before(born)) out.push({ waiting, why: 'age', place: out.length + 1 })
    for (const lane of [this.#quick, this.#long])
      for (const waiting of lane.before(born)) out.push({ waiting, why: 'age', place: lane.length + 1 })
    return out
  }

  /** All of them, with nothing left. */
  clear(): Waiting[] {
    const all: Waiting[] = []
    for (const lane of [this.#quick, this.#long, this.#mutation, this.#stream, this.#job])
      all.push(...lane.before(Infinity))
    return all
  }

  /**
   * By what waits now, each time anew: it cannot stay so when nothing waits. A few who wait long are a slow machine or slow
   * questions, and are served in their order.
   */
  #judge(now: number): void {
    const count = this.#quick.length + this.#long.length
    if (this.#newestFirst) this.#newestFirst = count > LIMITS.newestFirstCount / 2
    else {
      const oldest = Math.min(this.#quick.oldest, this.#long.oldest)
      this.#newestFirst = count > LIMITS.newestFirstCount && now - oldest > LIMITS.newestFirstMs
    }
  }

  #take(lane: Lane): Waiting | undefined {
    if (lane === 'quick') return this.#quick.take(this.#newestFirst)
    if (lane === 'long') return this.#long.take(this.#newestFirst)
    return this.#line(lane).shift()
  }

  #line(of: Exclude<WorkClass, 'interactive'>): Line {
    if (of === 'mutation') return this.#mutation
    return of === 'stream' ? this.#stream : this.#job
  }
}

function refused(waiting: Waiting | undefined, why: Refused['why'], place: number): Refused | null {
  return waiting ? { waiting, why, place } : null
}

/**
 * Those of one caller stand the further back the more it has in line: the first with the first of all others, the next two
 * behind these, then four, and so on. Who asks one thing at a time never waits behind who asks a thousand.
 */
class Shares {
  readonly #ranks: Line[] = Array.from({ length: 10 }, () => new Line())
  readonly #counts = new Map<object, number>()
  length = 0

  add(waiting: Waiting): void {
    const { caller } = waiting
    const count = caller === null ? 0 : (this.#counts.get(caller) ?? 0)
    if (caller !== null) this.#counts.set(caller, count + 1)
    this.#ranks[Math.min(this.#ranks.length - 1, 31 - Math.clz32(count + 1))]!.push(waiting)
    this.length += 1
  }

  take(newest: boolean): Waiting | undefined {
    if (this.length === 0) return undefined
    const rank = this.#ranks.find((each) => each.length > 0)!
    return this.#out(newest ? rank.pop() : rank.shift())
  }

  /** The oldest of those that stand the furthest back. */
  worst(): Waiting | undefined {
    return this.#out(this.#ranks.findLast((each) => each.length > 0)?.shift())
  }

  before(born: number): Waiting[] {
    if (this.length === 0) return []
    const all = this.#ranks.flatMap((rank) => rank.before(born))
    for (const each of all) this.#out(each)
    return all
  }

  get oldest(): number {
    if (this.length === 0) return Infinity
    return Math.min(...this.#ranks.map((rank) => rank.oldest))
  }

  #out(waiting: Waiting | undefined): Waiting | undefined {
    if (!waiting) return undefined
    this.length -= 1
    const { caller } = waiting
    if (caller === null) return waiting
    const count = this.#counts.get(caller)! - 1
    if (count > 0) this.#counts.set(caller, count)
    else this.#counts.delete(caller)
    return waiting
  }
}

/** In the order of coming, taken from either end. */
class Line {
  #waiting: Waiting[] = []
  #head = 0

  get length(): number {
    return this.#waiting.length - this.#head
  }

  get oldest(): number {
    return this.#waiting[this.#head]?.since ?? Infinity
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
  }

  shift(): Waiting | undefined {
    if (this.length === 0) return undefined
    const first = this.#waiting[this.#head]!
    this.#head += 1
    // Now and then what was taken is let go, which costs each but little.
    if (this.#head > 64 && this.#head > this.#waiting.length / 2) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  pop(): Waiting | undefined {
    return this.length === 0 ? undefined : this.#waiting.pop()
  }

  /** Takes out those that came before. */
  before(born: number): Waiting[] {
    const out: Waiting[] = []
    while (this.oldest < born) out.push(this.shift()!)
    return out
  }
}
