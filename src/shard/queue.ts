// What waits for one shard, by class of work: who is next, who has waited too long, and who stands back because it has more in
// line than others. A shard is given no more than it begins in a moment, so that this order is the one that counts.
import { LIMITS } from '../base/limits.js'
import type { OnlyOnce, Reply } from '../protocol/messages.js'
import type { WorkClass } from '../protocol/work.js'
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

/** Turns of the classes while all of them wait: more than half for who looks at a screen, a fifth for those who write. */
const TURNS: readonly Exclude<WorkClass, 'control'>[] = [
  'interactive',
  'mutation',
  'interactive',
  'stream',
  'interactive',
  'mutation',
  'interactive',
  'interactive',
  'job',
  'interactive',
  'stream',
  'interactive',
  'mutation',
  'interactive',
]

const MUTATION_EVERY = TURNS.length / TURNS.filter((of) => of === 'mutation').length

export class Queue {
  /** The interactive ones: what is done in one turn, and what is not. */
  readonly #quick = new Shares()
  readonly #long = new Shares()
  readonly #mutation = new Line()
  readonly #stream = new Line()
  readonly #job = new Line()
  #turn = 0
  readonly #readers = new Crowd()
  readonly #writers = new Crowd()
  readonly #served = new Served()

  get length(): number {
    return this.#quick.length + this.#long.length + this.#mutation.length + this.#stream.length + this.#job.length
  }

  get newestFirst(): boolean {
    return this.#readers.isThere
  }

  get isCalm(): boolean {
    return this.length === 0 && !this.#readers.isThere && !this.#writers.isThere
  }

  get isCrowd(): boolean {
    return this.#readers.isThere || this.#writers.isThere
  }

  /** When the oldest of those came that are to be begun soon: jobs wait however long, and what takes long waits for its like. */
  get oldest(): number {
    return Math.min(this.#quick.oldest, this.#mutation.oldest, this.#stream.oldest)
  }

  /** A crowd of the class, of which enough wait: one more of who has something under way may be refused before it is looked at. */
  hasEnough(of: WorkClass): boolean {
    if (of === 'interactive')
      return this.#readers.isThere && this.#quick.length + this.#long.length >= this.#readersEnough
    return of === 'mutation' && this.#writers.isThere && this.#mutation.length >= this.#writersEnough
  }

  /** As many as were begun lately in the time that one may wait: the newest are first, and more would only grow too old behind them. */
  get #readersEnough(): number {
    const most = LIMITS.queueCrowdEnough
    return Math.max(most / 4, Math.min(most, this.#readers.begunIn(LIMITS.interactiveAgeMs)))
  }

  /** As many as were begun lately in half the time that one may wait: more only to grow too old behind these would be too many. */
  get #writersEnough(): number {
    return Math.max(LIMITS.queueCrowdEnough, this.#writers.begunIn(LIMITS.mutationAgeMs / 2))
  }

  /** One more was refused that is not in line: before it was looked at, or by the shard. */
  refusedElsewhere(of: WorkClass): void {
    if (of === 'mutation') this.#writers.refused += 1
    else this.#readers.refused += 1
  }

  /**
   * Who is refused for it: itself, or one that is worth less.
   *
   * @param eachMs how long the shard takes for one
   * @param time by a clock that never stands
   */
  add(waiting: Waiting, eachMs = 0, time = 0): Refused | null {
    if (waiting.of === 'interactive') {
      const shares = waiting.long ? this.#long : this.#quick
      shares.add(waiting, this.newestFirst ? this.#back(waiting) : 0)
      const all = this.#quick.length + this.#long.length
      this.#readers.foresee(all, eachMs, time)
      return all > LIMITS.interactiveWaitingMax ? refused(shares.worst(), 'full', all) : null
    }
    const line = this.#line(waiting.of)
    if (waiting.of === 'mutation' && line.length >= LIMITS.mutationsWaitingMax)
      return { waiting, why: 'full', place: line.length + 1 }
    line.push(waiting)
    if (waiting.of === 'mutation') this.#writers.foresee(line.length, this.#ofTurns(eachMs), time)
    if (waiting.of === 'stream' && line.length > LIMITS.streamsWaitingMax) return refused(line.shift(), 'full', 1)
    return null
  }

  /**
   * @param longMayBegin one more of those that go on for many turns may be begun
   * @param now by the clock by which they grow older: of a crowd of readers nobody is begun who is to be refused for its age
   */
  next(longMayBegin: boolean, now = -Infinity): Waiting | null {
    for (let tries = 0; tries < TURNS.length; tries++) {
      const of = TURNS[this.#turn]!
      this.#turn = (this.#turn + 1) % TURNS.length
      const waiting = of === 'interactive' ? this.#takeReader(longMayBegin, now) : this.#line(of).shift()
      if (waiting && of === 'mutation') this.#writers.begun += 1
      if (waiting) return waiting
    }
    return null
  }

  /**
   * Those that are out of it then: who waited for too long in a crowd, and whom nobody waits for any more. Where few wait nobody is
   * refused, for it would only come again. Called at intervals while there are any, or a crowd was there.
   *
   * @param now by the clock by which they grow older
   * @param time by one that never stands
   */
  expire(now: number, time = now): Refused[] {
    const readers = this.#quick.length + this.#long.length
    const manyReaders = this.#readers.look(readers, now - Math.min(this.#quick.oldest, this.#long.oldest), time)
    if (!manyReaders) this.#served.clear()
    const manyWriters = this.#writers.look(this.#mutation.length, now - this.#mutation.oldest, time)
    const out: Refused[] = []
    for (const waiting of this.#mutation.before(manyWriters ? now - LIMITS.mutationAgeMs : -Infinity))
      out.push({ waiting, why: 'age', place: out.length + 1 })
    for (const lane of [this.#quick, this.#long])
      for (const waiting of lane.before(manyReaders ? now - LIMITS.interactiveAgeMs : -Infinity))
        out.push({ waiting, why: 'age', place: lane.length + 1 })
    for (const { waiting } of out) (waiting.of === 'mutation' ? this.#writers : this.#readers).refused += 1
    return out
  }

  /** All of them, with nothing left. */
  clear(): Waiting[] {
    const all: Waiting[] = []
    for (const lane of [this.#quick, this.#long, this.#mutation, this.#stream, this.#job])
      all.push(...lane.before(Infinity))
    return all
  }

  /** Of both kinds the one that stands first, as if they were in one line. */
  #takeReader(longMayBegin: boolean, now: number): Waiting | undefined {
    const [quick, long] = [this.#quick, this.#long]
    const born = this.newestFirst ? now - LIMITS.interactiveAgeMs : null
    const isLong = longMayBegin && long.length > 0 && (quick.length === 0 || long.isBefore(quick, born))
    const lane = isLong ? long : quick
    const waiting = born === null ? lane.takeFirst() : lane.takeNewest(born)
    if (!waiting) return undefined
    this.#readers.begun += 1
    if (born !== null) this.#served.add(waiting.caller)
    return waiting
  }

  /** By how much was begun for it lately. */
  #back({ caller, since }: Waiting): number {
    this.#served.look(this.#quick.once + this.#long.once + (isOfOne(caller) ? 1 : 0), since)
    return this.#served.quarters(caller)
  }

  /** In how long a mutation is begun: behind a crowd of readers only its own turns are left to it. */
  #ofTurns(eachMs: number): number {
    return this.#readers.isThere ? eachMs * MUTATION_EVERY : eachMs
  }

  #line(of: WorkClass): Line {
    if (of === 'mutation') return this.#mutation
    return of === 'stream' ? this.#stream : this.#job
  }
}

/**
 * More of a class than can be served in time. Found by how many wait for how long, and from then on by how many are refused of how
 * many: a lower number of those who wait would hold on to a crowd that comes back only because it was refused.
 */
class Crowd {
  refused = 0
  begun = 0
  /** Of those that waited, as was counted last. */
  #begunInSecond = Infinity
  #since = 0
  #until = -Infinity
  #countedFrom = 0

  get isThere(): boolean {
    return this.#until > -Infinity
  }

  /** As many as lately. */
  begunIn(ms: number): number {
    return (this.#begunInSecond * ms) / 1_000
  }

  look(count: number, oldestMs: number, now: number): boolean {
    if (this.isThere) this.#count(now)
    if (!this.isThere && count > LIMITS.queueCrowdMin && oldestMs > LIMITS.queueCrowdMs) this.#begin(now)
    return this.isThere
  }

  /** Of so many there will be enough left when one has waited for as long: it is not waited for that, while all are read in vain. */
  foresee(count: number, eachMs: number, now: number): void {
    if (!this.isThere && (count - LIMITS.queueCrowdMin) * eachMs > LIMITS.queueCrowdMs) this.#begin(now, 1_000 / eachMs)
  }

  /** @param begunInSecond no fewer than are begun, as far as is known */
  #begin(now: number, begunInSecond = Infinity): void {
    this.#since = this.#countedFrom = now
    this.#until = now + LIMITS.queueCrowdLeftMs
    this.refused = this.begun = 0
    this.#begunInSecond = begunInSecond
  }

  #count(now: number): void {
    const countedMs = now - this.#countedFrom
    if (countedMs >= LIMITS.queueCrowdLeftMs / 2) {
      this.#begunInSecond = (1_000 * this.begun) / countedMs
      if (2 * this.refused > this.begun) this.#until = now + LIMITS.queueCrowdLeftMs
      this.#countedFrom = now
      this.refused = this.begun = 0
    }
    if (now >= this.#until || now - this.#since > LIMITS.queueCrowdTrustedMs) this.#until = -Infinity
  }
}

function refused(waiting: Waiting | undefined, why: Refused['why'], place: number): Refused | null {
  return waiting ? { waiting, why, place } : null
}

/** Behind whose second request in line stand all others that come within so long; behind its fourth those within three times that. */
const STAND_BACK_MS = 25
const RANKS = 10
const BACK_MS = Array.from({ length: RANKS }, (_, rank) => STAND_BACK_MS * (2 ** rank - 1))

/**
 * Those of one caller stand the further back the more it has in line, as if they had come later: who asks one thing at a time does not
 * wait behind who asks a thousand, and who asks two does not wait for ever. In a crowd, where there is not enough for all, they stand
 * also the further back the more of its was begun lately: who asks little is served before who asks on and on.
 */
class Shares {
  readonly #ranks: Line[] = Array.from({ length: RANKS }, () => new Line())
  readonly #counts = new Map<object, number>()
  length = 0
  /** How many callers are of those that ask only once. */
  once = 0

  /** @param back so many ranks further than for what it has in line */
  add(waiting: Waiting, back: number): void {
    const { caller } = waiting
    const count = caller === null ? 0 : (this.#counts.get(caller) ?? 0)
    if (caller !== null) this.#counts.set(caller, count + 1)
    if (count === 0 && isOfOne(caller)) this.once += 1
    this.#ranks[Math.min(RANKS - 1, 31 - Math.clz32(count + 1) + back)]!.push(waiting)
    this.length += 1
  }

  takeFirst(): Waiting | undefined {
    return this.length === 0 ? undefined : this.#out(this.#ranks[this.#first(null)]!.shift())
  }

  /** None that came before. */
  takeNewest(born: number): Waiting | undefined {
    if (this.length === 0) return undefined
    const rank = this.#ranks[this.#first(born)]!
    return rank.newest < born ? undefined : this.#out(rank.pop())
  }

  /** Neither of them is empty. @param born with it the newest are first, and whoever came before it is behind all others */
  isBefore(other: Shares, born: number | null): boolean {
    return this.#standing(this.#first(born), born) < other.#standing(other.#first(born), born)
  }

  #first(born: number | null): number {
    let first = 0
    for (let rank = 1; rank < RANKS; rank++) if (this.#standing(rank, born) < this.#standing(first, born)) first = rank
    return first
  }

  /** The less the further in front. */
  #standing(rank: number, born: number | null): number {
    const line = this.#ranks[rank]!
    if (born === null) return BACK_MS[rank]! + line.oldest
    return line.newest < born ? Infinity : BACK_MS[rank]! - line.newest
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
    const count = caller === null ? 0 : this.#counts.get(caller)! - 1
    if (count === 0 && isOfOne(caller)) this.once -= 1
    if (caller === null) return waiting
    if (count > 0) this.#counts.set(caller, count)
    else this.#counts.delete(caller)
    return waiting
  }
}

/** How much was begun lately, by caller. */
class Served {
  #lately = new Lately()
  #before = new Lately()
  #since = -Infinity

  /** @param once so many wait that ask only once */
  look(once: number, now: number): void {
    if (now - this.#since > LIMITS.queueServedMs) {
      this.#before = this.#lately
      this.#lately = new Lately()
      this.#since = now
    }
    if (once > this.#lately.onceMost) this.#lately.onceMost = once
  }

  add(caller: object | null): void {
    const { counts } = this.#lately
    if (isOfOne(caller)) this.#lately.ofOnce += 1
    else counts.set(caller, (counts.get(caller) ?? 0) + 1)
    this.#lately.all += 1
  }

  clear(): void {
    if (this.#lately.all + this.#before.all === 0) return
    this.#lately = new Lately()
    this.#before = new Lately()
  }

  /** In quarters of what is usual for a client. Those of whom nothing is known have each an equal part of what all of them had. */
  quarters(caller: object | null): number {
    const [lately, before] = [this.#lately, this.#before]
    const all = lately.all + before.all
    if (all === 0) return 0
    const most = Math.max(lately.onceMost, before.onceMost)
    const once = most === 0 ? 0 : most + ONCE_MORE
    const clients = Math.max(lately.counts.size, before.counts.size) + once
    const own = isOfOne(caller)
      ? (lately.ofOnce + before.ofOnce) / Math.max(1, once)
      : (lately.counts.get(caller) ?? 0) + (before.counts.get(caller) ?? 0)
    return Math.floor((USUAL_QUARTERS * own * clients) / all)
  }
}

class Lately {
  readonly counts = new Map<object, number>()
  all = 0
  /** Of all that was begun what was asked by those that ask only once, and the most of these that waited at a time. */
  ofOnce = 0
  onceMost = 0
}

const USUAL_QUARTERS = 4

/** Those that ask only once are asked by so many more clients than wait at a time: who asks now and then seldom waits. */
const ONCE_MORE = 16

/** Nobody's, or of one that asks only once. */
function isOfOne(caller: object | null): caller is null | OnlyOnce {
  return caller === null || 'onlyOnce' in caller
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

  get newest(): number {
    return this.length === 0 ? -Infinity : this.#waiting.at(-1)!.since
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

  /** Takes out those that came before, and the oldest whom nobody waits for any more. */
  before(born: number): Waiting[] {
    const out: Waiting[] = []
    while (this.oldest < born || this.#waiting[this.#head]?.gone) out.push(this.shift()!)
    return out
  }
}
