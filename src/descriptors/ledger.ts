// Who may hold how many descriptors: one SharedArrayBuffer that every thread reads and writes with compare-and-swap.
//
//   budget = soft limit − process base − held reserve
//   pot    = budget − Σ floors, lent to whoever asks, up to the ceiling of the class
//
//   words:  head │ class 0 │ … │ class 4 │ column of thread 0 │ column of thread 1 │ …   each in cache lines of its own
//
// What a class holds above its floor comes out of the pot. A thread's column says how much of each class it holds, so
// that what a dead thread held can be given back. A thread may die between two of these steps; `heal` re-derives the sums.
//
// What a thread gives back it keeps at hand, up to a few of each class, and takes again from there: then no cache line goes
// to and fro between threads for it. That stock is in `used` and out of the pot, but nobody counts it as held, and whoever
// finds no room takes everybody's first, so that nobody is refused for it. It is not filled while anybody waits.
//
// Nobody waits for ever for somebody who waits:
//   1. A lease is all or nothing.
//   2. Classes are waited for in one order, libraries before jobs: who holds descriptors of a job does not wait for a
//      library. All other classes are taken at once or not at all, so that nobody waits for them.
//   3. Who holds a library and waits for a job's descriptors wants no more than the floor of the class. So those who hold
//      that class come to their end without another lease, and then the floor alone is enough.
//   4. Who waits for no more than the floor is not overtaken once it has waited for a while, by no thread. What is above
//      the floor is lent, and goes to who asks when there is some.
import assert from 'node:assert'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { CAUSES, CLASSES, type Cause, type ClassUse, type DescriptorClass, type Level } from '../protocol/messages.js'
import type { Plan } from './planner.js'
import { MEASURED, PRICES, type Prices } from './prices.js'
import { refill } from './reserve.js'
import type { Told } from './threads.js'

/** 64 bytes: what different threads write to lies this far apart, or they would take the line from each other. */
const LINE = 16
const POT = LINE
const HEAD_WORDS = 3 * LINE
const CLASS_WORDS = LINE
/** A line more than it needs: the buffer begins anywhere in one. */
const COLUMN_WORDS = 2 * LINE
const THREADS_MAX = LIMITS.ledgerThreadsMax
const COLUMNS_AT = HEAD_WORDS + CLASSES.length * CLASS_WORDS

const EPOCH = 0
const WAITERS = 1
const WANTED = 2
/** 1 when whoever wants has asked before, and waits. */
const URGENT = 3
/** From here on written by the main thread only, and read by all. */
const POT_TOTAL = 2 * LINE
const BUDGET = POT_TOTAL + 1
const RESERVE = POT_TOTAL + 2
const BASE = POT_TOTAL + 3
const LEVEL = POT_TOTAL + 4
const PRESSURE = POT_TOTAL + 5
const ASKED = POT_TOTAL + 6
/** Whether leases remember where they were taken. */
const TRACING = POT_TOTAL + 7
/** How many descriptors of the reserve are missing. */
const RESERVE_MISSING = POT_TOTAL + 8
/** From here on the prices that were measured, in the order of `MEASURED`. */
const PRICES_AT = POT_TOTAL + 9
/** The levels of what else presses, three bits each, in the order of `CAUSES`; then how often each refused somebody. */
const CAUSES_AT = PRICES_AT + MEASURED.length
const REFUSED_FOR_AT = CAUSES_AT + 1
assert(REFUSED_FOR_AT + CAUSES.length <= HEAD_WORDS)
const CAUSE_BITS = 3
const CAUSE_MASK = 2 ** CAUSE_BITS - 1
/** Frames of a stack that say where. */
const TRACED_FRAMES = 8

const USED = 0
const FLOOR = 1
const CEILING = 2
const PEAK = 3
const REFUSED = 4
const WAITED = 5
const TICKETS = 6
/** Threads that have somebody in this class who is not to be overtaken. */
const STARVING = 7

/** In a column: what it holds of each class, then the tickets of those not to be overtaken, then odd while it changes sums. */
const TICKET = CLASSES.length
const CHANGING = 2 * CLASSES.length
/** Since when the least recently used of what it could give is idle. */
const IDLE_SINCE = CHANGING + 1
/** Then what it keeps at hand of each class; of control nothing, which is nobody's to keep. */
const STOCK = IDLE_SINCE + 1

/** For the bench of what the ledger costs (bench/ledger.mjs): nothing is counted, nothing refused. */
const OFF = process.env['SPACEDRIVE_BENCH_LEDGER'] === 'off'

const INDEX: Readonly<Record<DescriptorClass, number>> = { control: 0, clients: 1, libraries: 2, jobs: 3, watches: 4 }
/** In the order in which they may be waited for. */
const WAITED_FOR: readonly DescriptorClass[] = ['libraries', 'jobs']

export const LEVELS: readonly Level[] = ['normal', 'elevated', 'high', 'critical']

export function isAtLeast(level: Level, least: Level): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(least)
}

/** Who holds a lease, in words for people; `path` is the file, directory or folder whose descriptors it covers. */
export interface LeaseHolder {
  readonly holder: string
  readonly path?: string
  /** Of a lease for a thread: what its event loop holds, once it told. */
  readonly told?: Told
}

export interface HeldLease extends LeaseHolder {
  /** Names it among all threads. */
  readonly id: string
  readonly class: DescriptorClass
  readonly count: number
  readonly ageMs: number
  /** Where it was taken, with `--trace-leases`. */
  readonly where?: readonly string[]
}

/** Descriptors bought before an open and returned after the close. */
export interface Lease extends Disposable {
  readonly count: number
  /** Gives back what the open turned out not to need. */
  shrink(count: number): void
  /** Makes two of it: `count` go to a lease of their own. */
  split(count: number): Lease
  release(): void
  /** The stack that took it, with `--trace-leases`. */
  where(): readonly string[] | null
}

interface Waiter {
  readonly wants: number
  readonly ticket: number
  readonly since: number
  deadline: number
  readonly settle: (got: boolean) => void
}

export class Ledger {
  readonly shared: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #column: number
  readonly #thread: number
  /** The newest of this thread's leases; each knows the next older one. */
  #newest: OpenLease | null = null
  /** By class; each in the order they came. */
  readonly #lines: readonly Waiter[][] = CLASSES.map(() => [])
  #leases = 0
  #watching = false

  /** The first ledger of a process; other threads attach to its `shared`. */
  static create(plan: Plan): Ledger {
    const words = COLUMNS_AT + THREADS_MAX * COLUMN_WORDS
    const ledger = new Ledger(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT), 0)
    ledger.prices = PRICES
    ledger.configure(plan)
    return ledger
  }

  /** @param thread a small number no other live thread of this process uses; 0 is the main thread */
  constructor(shared: SharedArrayBuffer, thread: number) {
    assert(thread >= 0 && thread < THREADS_MAX)
    this.shared = shared
    this.#thread = thread
    this.#words = new Int32Array(shared)
    this.#column = COLUMNS_AT + thread * COLUMN_WORDS
  }

  /**
   * Sets budget, floors and ceilings; what is held stays held, and the pot may fall below zero until it is returned. Other
   * threads go on taking and returning meanwhile, so the pot is changed by a difference and never overwritten.
   */
  configure(plan: Plan): void {
    const floors = CLASSES.reduce((sum, name) => sum + plan.classes[name].floor, 0)
    assert(floors <= plan.budget, 'the floors fit the budget')
    this.#gather()
    let returned = 0
    CLASSES.forEach((name, index) => {
      const at = classAt(index)
      const { floor, ceiling } = plan.classes[name]
      const used = Atomics.load(this.#words, at + USED)
      returned += above(used, Atomics.exchange(this.#words, at + FLOOR, floor)) - above(used, floor)
      Atomics.store(this.#words, at + CEILING, ceiling)
    })
    Atomics.store(this.#words, BUDGET, plan.budget)
    Atomics.store(this.#words, RESERVE, plan.reserve)
    Atomics.store(this.#words, BASE, plan.base)
    const before = Atomics.exchange(this.#words, POT_TOTAL, plan.budget - floors)
    Atomics.add(this.#words, POT, plan.budget - floors - before + returned)
    this.#wake()
  }

  /** Takes at once or not at all, and counts a refusal. For holders that are only counted, such as client sockets. */
  take(descriptorClass: DescriptorClass, count: number): boolean {
    const index = INDEX[descriptorClass]
    const taken = this.#take(index, count)
    if (!taken) Atomics.add(this.#words, classAt(index) + REFUSED, 1)
    return taken
  }

  give(descriptorClass: DescriptorClass, count: number): void {
    this.#give(INDEX[descriptorClass], count)
  }

  /** A lease now, or null; a null is counted as a refusal unless `quiet`. */
  tryAcquire(descriptorClass: DescriptorClass, count: number, by: LeaseHolder, quiet = false): Lease | null {
    const index = INDEX[descriptorClass]
    if (this.#wouldOvertake(index) || !this.#take(index, count)) {
      if (!quiet) Atomics.add(this.#words, classAt(index) + REFUSED, 1)
      return null
    }
    return this.#lease(index, count, by)
  }

  /**
   * A lease as soon as there is room, all or nothing; callers of one thread and class are served in order, and whoever wants
   * no more than the floor is not overtaken by other threads for long.
   *
   * @throws BUDGET_EXHAUSTED after `waitMs` or when the signal is aborted, or at once when the class could never hold that many
   */
  async acquire(
    descriptorClass: DescriptorClass,
    count: number,
    by: LeaseHolder,
    waitMs: number,
    signal?: AbortSignal,
  ): Promise<Lease> {
    const index = INDEX[descriptorClass]
    const at = classAt(index)
    const now = this.tryAcquire(descriptorClass, count, by, true)
    if (now) return now
    const possible = count <= Atomics.load(this.#words, at + CEILING)
    if (possible) {
      this.#assertOrder(descriptorClass, count)
      Atomics.add(this.#words, at + WAITED, 1)
      if (await this.#wait(index, count, waitMs, signal)) return this.#lease(index, count, by)
    }
    Atomics.add(this.#words, at + REFUSED, 1)
    const { used, ceiling } = this.use(descriptorClass)
    const waited = possible ? ` after ${waitMs} ms` : ''
    throw new SpacedriveError(
      'BUDGET_EXHAUSTED',
      `${by.holder} needs ${count} descriptors of the class "${descriptorClass}": ${used} of ${ceiling} are in use${waited}`,
      { retryAfterMs: 1000, class: descriptorClass },
    )
  }

  use(descriptorClass: DescriptorClass): ClassUse {
    const at = classAt(INDEX[descriptorClass])
    const word = (offset: number) => Atomics.load(this.#words, at + offset)
    return {
      used: this.#heldAndStocked(INDEX[descriptorClass]).held,
      floor: word(FLOOR),
      ceiling: word(CEILING),
      peak: word(PEAK),
      refused: word(REFUSED),
      waited: word(WAITED),
    }
  }

  /** The most that may be held of a class now. */
  ceiling(descriptorClass: DescriptorClass): number {
    return Atomics.load(this.#words, classAt(INDEX[descriptorClass]) + CEILING)
  }

  /** How many more of a class could be had at once. */
  room(descriptorClass: DescriptorClass): number {
    const { used, floor, ceiling } = this.use(descriptorClass)
    return Math.max(0, Math.min(ceiling - used, above(floor, used) + Math.max(0, this.totals().pot)))
  }

  uses(): Record<DescriptorClass, ClassUse> {
    return Object.fromEntries(CLASSES.map((name) => [name, this.use(name)])) as Record<DescriptorClass, ClassUse>
  }

  totals(): { budget: number; reserve: number; base: number; used: number; pot: number } {
    const word = (at: number) => Atomics.load(this.#words, at)
    let used = 0
    let pot = word(POT)
    CLASSES.forEach((_, index) => {
      const { held, stocked } = this.#heldAndStocked(index)
      const floor = word(classAt(index) + FLOOR)
      used += held
      pot += above(held + stocked, floor) - above(held, floor)
    })
    return { budget: word(BUDGET), reserve: word(RESERVE), base: word(BASE), used, pot }
  }

  get level(): Level {
    return LEVELS[Atomics.load(this.#words, LEVEL)] ?? 'critical'
  }

  set level(level: Level) {
    Atomics.store(this.#words, LEVEL, LEVELS.indexOf(level))
  }

  /** Of the whole budget, as the last look found it; above 1 more is held than there is. */
  get pressure(): number {
    return Atomics.load(this.#words, PRESSURE) / 1000
  }

  set pressure(pressure: number) {
    Atomics.store(this.#words, PRESSURE, Math.round(1000 * pressure))
  }

  /** The levels of what presses beside descriptors, as the last look found them. */
  get causes(): Record<Cause, Level> {
    const word = Atomics.load(this.#words, CAUSES_AT)
    const level = (at: number) => LEVELS[(word >> (at * CAUSE_BITS)) & CAUSE_MASK] ?? 'critical'
    return { memory: level(0), loop: level(1), queue: level(2) }
  }

  set causes(levels: Record<Cause, Level>) {
    const word = CAUSES.reduce((sum, cause, at) => sum | (LEVELS.indexOf(levels[cause]) << (at * CAUSE_BITS)), 0)
    Atomics.store(this.#words, CAUSES_AT, word)
  }

  /** Any of these is above normal. */
  get isPressed(): boolean {
    return Atomics.load(this.#words, CAUSES_AT) !== 0
  }

  /** Somebody was refused because of it. */
  refusedFor(cause: Cause): void {
    Atomics.add(this.#words, REFUSED_FOR_AT + CAUSES.indexOf(cause), 1)
  }

  /** How often, in all threads. */
  refusedForSoFar(cause: Cause): number {
    return Atomics.load(this.#words, REFUSED_FOR_AT + CAUSES.indexOf(cause)) >>> 0
  }

  /** How many descriptors the idle holders of all threads are to give back; each look sets it anew. */
  askBack(count: number): void {
    Atomics.store(this.#words, ASKED, count)
  }

  /** What of that is still wanted. */
  get askedBack(): number {
    return Math.max(0, Atomics.load(this.#words, ASKED))
  }

  /** Some of it was given back. */
  gaveBack(count: number): void {
    Atomics.sub(this.#words, ASKED, count)
  }

  /** What an open costs, the same for every thread. */
  get prices(): Prices {
    const measured = MEASURED.map((name, at) => [name, Atomics.load(this.#words, PRICES_AT + at)])
    return { ...PRICES, ...Object.fromEntries(measured) }
  }

  set prices(prices: Prices) {
    MEASURED.forEach((name, at) => Atomics.store(this.#words, PRICES_AT + at, prices[name]))
  }

  /** Told by who watches the reserve: while some of it is missing, what is returned goes there before anybody gets it. */
  set reserveMissing(count: number) {
    Atomics.store(this.#words, RESERVE_MISSING, count)
  }

  get reserveMissing(): number {
    return Atomics.load(this.#words, RESERVE_MISSING)
  }

  /** What this thread holds by lease, with names. Sockets are only counted and do not appear. */
  held(): HeldLease[] {
    const now = performance.now()
    const held: HeldLease[] = []
    for (let lease = this.#newest; lease; lease = lease.older) {
      const { number, index, count, by, since } = lease
      const where = lease.where()
      const id = `${this.#thread}.${number}`
      held.push({
        id,
        class: CLASSES[index]!,
        count,
        ageMs: Math.round(now - since),
        ...by,
        ...(where ? { where } : {}),
      })
    }
    return held.reverse()
  }

  /** What a thread holds of all classes, whether it can be asked for what or not. */
  heldBy(thread: number): number {
    const column = COLUMNS_AT + thread * COLUMN_WORDS
    return CLASSES.reduce((sum, _, index) => sum + Atomics.load(this.#words, column + index), 0)
  }

  /** From now on each lease of any thread remembers the stack that took it. */
  trace(): void {
    Atomics.store(this.#words, TRACING, 1)
  }

  /** Gives back everything a thread that died held, and clears its column. Returns how many descriptors that was. */
  reclaim(thread: number): number {
    const column = COLUMNS_AT + thread * COLUMN_WORDS
    let returned = 0
    CLASSES.forEach((_, index) => {
      const held = Atomics.exchange(this.#words, column + index, 0)
      if (held > 0) this.#lower(index, held)
      returned += Math.max(0, held)
      this.#unstock(column, index)
      if (Atomics.exchange(this.#words, column + TICKET + index, 0) !== 0)
        Atomics.sub(this.#words, classAt(index) + STARVING, 1)
    })
    Atomics.store(this.#words, column + CHANGING, 0)
    Atomics.store(this.#words, column + IDLE_SINCE, 0)
    this.#wake()
    return returned
  }

  /**
   * Corrects what a thread left that died halfway through a step: what a class has in use is what the columns hold, who is not to
   * be overtaken in it has a ticket there, and the pot is what is not lent. Called at intervals by the main thread; acts only where no living thread is halfway, and tells
   * whether there was anything to correct.
   */
  heal(): boolean {
    const before = this.#changes()
    if (before === null) return false
    const uses = CLASSES.map((_, index) => this.#sumOf(index) + this.#sumOf(STOCK + index))
    const lent = uses.reduce(
      (sum, used, index) => sum + above(used, Atomics.load(this.#words, classAt(index) + FLOOR)),
      0,
    )
    const pot = Atomics.load(this.#words, POT_TOTAL) - lent
    const sums = uses.map((used, index) => [classAt(index) + USED, used] as const)
    const starving = uses.map((_, index) => [classAt(index) + STARVING, this.#ticketsOf(index)] as const)
    const wrong = [...sums, ...starving, [POT, pot] as const]
      .map(([at, right]) => ({ at, right, found: Atomics.load(this.#words, at) }))
      .filter(({ right, found }) => right !== found)
    if (wrong.length === 0 || this.#changes() !== before) return false
    for (const { at, right, found } of wrong) Atomics.compareExchange(this.#words, at, found, right)
    this.#wake()
    return true
  }

  /** What all threads together have changed so far, or null while one is halfway. */
  #changes(): number | null {
    let sum = 0
    for (let at = COLUMNS_AT + CHANGING; at < this.#words.length; at += COLUMN_WORDS) {
      const changes = Atomics.load(this.#words, at)
      if (changes & 1) return null
      sum = (sum + changes) | 0
    }
    return sum
  }

  /** Of one word of all columns. */
  #sumOf(offset: number): number {
    let sum = 0
    for (let at = COLUMNS_AT + offset; at < this.#words.length; at += COLUMN_WORDS) sum += Atomics.load(this.#words, at)
    return sum
  }

  /** What threads hold of a class and what they keep at hand of it. */
  #heldAndStocked(index: number): { held: number; stocked: number } {
    const at = classAt(index) + USED
    for (let tries = 1; ; tries++) {
      const used = Atomics.load(this.#words, at)
      const stocked = this.#sumOf(STOCK + index)
      // Both of one moment; where threads change the sum all the time, nearly of one.
      if (tries === 3 || Atomics.load(this.#words, at) === used) return { held: Math.max(0, used - stocked), stocked }
    }
  }

  #ticketsOf(index: number): number {
    let tickets = 0
    for (let at = COLUMNS_AT + TICKET + index; at < this.#words.length; at += COLUMN_WORDS) {
      if (Atomics.load(this.#words, at) !== 0) tickets += 1
    }
    return tickets
  }

  /** Tells the other threads for how long the idlest of what this one could give back is idle; null when it has nothing. */
  tellIdle(ms: number | null): void {
    Atomics.store(this.#words, this.#column + IDLE_SINCE, ms === null ? 0 : (monotonicMs() - ms) | 1)
  }

  /** Whether another thread has something that is idle for longer, by what it last told. */
  idlerElsewhere(ms: number): boolean {
    const since = monotonicMs() - ms
    for (let at = COLUMNS_AT + IDLE_SINCE; at < this.#words.length; at += COLUMN_WORDS) {
      const other = Atomics.load(this.#words, at)
      if (other !== 0 && at !== this.#column + IDLE_SINCE && ((other - since) | 0) < 0) return true
    }
    return false
  }

  /**
   * Asks the other threads to give back idle libraries; they hear of it through `onWanted`.
   *
   * @param urgent not only the one that has the idlest: it may be busy
   */
  want(urgent = false): void {
    Atomics.store(this.#words, URGENT, urgent ? 1 : 0)
    Atomics.add(this.#words, WANTED, 1)
    Atomics.notify(this.#words, WANTED)
  }

  /** Calls back in this thread each time any thread cannot get what it needs; ends with the signal. */
  async onWanted(callback: (urgent: boolean) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const seen = Atomics.load(this.#words, WANTED)
      // A bounded wait: an unbounded one would hold the thread's event loop for ever.
      const { async: isAsync, value } = Atomics.waitAsync(this.#words, WANTED, seen, 1000)
      const outcome = isAsync ? await value : value
      if (!signal.aborted && outcome !== 'timed-out') callback(Atomics.load(this.#words, URGENT) === 1)
    }
  }

  #take(index: number, count: number): boolean {
    if (OFF) return true
    const words = this.#words
    // Only this thread writes to its column, and others read it when this one is at rest or dead: plain writes are enough.
    words[this.#column + CHANGING]! += 1
    const at = classAt(index)
    const taken =
      this.#takeStocked(words, index, count) ||
      this.#takeCounted(words, at, count) ||
      (this.#gather() && this.#takeCounted(words, at, count))
    if (taken) words[this.#column + index]! += count
    words[this.#column + CHANGING]! += 1
    return taken
  }

  #takeStocked(words: Int32Array, index: number, count: number): boolean {
    const at = this.#column + STOCK + index
    const stocked = Atomics.load(words, at)
    return stocked >= count && Atomics.compareExchange(words, at, stocked, stocked - count) === stocked
  }

  /** Keeps at hand what was given back, unless somebody else may want it. */
  #keep(words: Int32Array, index: number, count: number): boolean {
    if (index === INDEX.control || words[LEVEL] !== 0 || Atomics.load(words, WAITERS) > 0) return false
    const at = this.#column + STOCK + index
    if (Atomics.load(words, at) + count > LIMITS.leaseStockMax) return false
    Atomics.add(words, at, count)
    return true
  }

  /** Puts back what all threads keep at hand, of every class, for the pot is one. Tells whether there was any. */
  #gather(): boolean {
    let found = false
    for (let column = COLUMNS_AT; column < this.#words.length; column += COLUMN_WORDS) {
      for (let index = 0; index < CLASSES.length; index++) {
        if (this.#unstock(column, index)) found = true
      }
    }
    return found
  }

  #unstock(column: number, index: number): boolean {
    const at = column + STOCK + index
    if (Atomics.load(this.#words, at) === 0) return false
    const stocked = Atomics.exchange(this.#words, at, 0)
    if (stocked > 0) this.#lower(index, stocked)
    return stocked > 0
  }

  #takeCounted(words: Int32Array, at: number, count: number): boolean {
    const floor = words[at + FLOOR]!
    for (;;) {
      const used = Atomics.load(words, at + USED)
      if (used + count > words[at + CEILING]!) return false
      // The pot first: whoever fails here has taken nothing that another thread could have seen.
      const fromPot = above(used + count, floor) - above(used, floor)
      if (fromPot > 0 && !this.#takeFromPot(fromPot)) return false
      if (Atomics.compareExchange(words, at + USED, used, used + count) === used) {
        if (used + count > words[at + PEAK]!) this.#raisePeak(at + PEAK, used + count)
        return true
      }
      if (fromPot > 0) Atomics.add(words, POT, fromPot)
    }
  }

  #takeFromPot(count: number): boolean {
    for (;;) {
      const pot = Atomics.load(this.#words, POT)
      if (pot < count) return false
      if (Atomics.compareExchange(this.#words, POT, pot, pot - count) === pot) return true
    }
  }

  #raisePeak(at: number, reached: number): void {
    for (;;) {
      const peak = Atomics.load(this.#words, at)
      if (peak >= reached || Atomics.compareExchange(this.#words, at, peak, reached) === peak) return
    }
  }

  #give(index: number, count: number): void {
    if (OFF) return
    const words = this.#words
    if (words[RESERVE_MISSING]! > 0) this.reserveMissing = refill() ?? this.reserveMissing
    words[this.#column + CHANGING]! += 1
    words[this.#column + index]! -= count
    if (!this.#keep(words, index, count)) this.#lower(index, count)
    words[this.#column + CHANGING]! += 1
    // Whoever begins to wait is counted first and looks then: it sees what was returned, or is seen here.
    if (Atomics.load(words, WAITERS) > 0) this.#wake()
  }

  #lower(index: number, count: number): void {
    const at = classAt(index)
    const used = Atomics.sub(this.#words, at + USED, count)
    assert(used >= count, 'more was returned than was lent')
    const floor = this.#words[at + FLOOR]!
    const toPot = above(used, floor) - above(used - count, floor)
    if (toPot > 0) Atomics.add(this.#words, POT, toPot)
  }

  #wake(): void {
    Atomics.add(this.#words, EPOCH, 1)
    Atomics.notify(this.#words, EPOCH)
  }

  #lease(index: number, count: number, by: LeaseHolder): Lease {
    const lease = new OpenLease(index, count, by, this.#owner)
    lease.number = ++this.#leases
    if (this.#words[TRACING] === 1) lease.trace = new Error('taken here')
    lease.older = this.#newest
    if (this.#newest) this.#newest.newer = lease
    this.#newest = lease
    return lease
  }

  readonly #owner: Owner = {
    giveBack: (lease, returned) => {
      if (lease.count === 0) this.#unlink(lease)
      this.#give(lease.index, returned)
    },
    divide: ({ index, by }, count) => this.#lease(index, count, by),
  }

  /** A list instead of a Set: that cost as much as the counting itself. */
  #unlink({ older, newer }: OpenLease): void {
    if (older) older.newer = newer
    if (newer) newer.older = older
    else this.#newest = older
  }

  /** Of this thread whoever waits, of another whoever has waited for long. */
  #wouldOvertake(index: number): boolean {
    return this.#lines[index]!.length > 0 || Atomics.load(this.#words, classAt(index) + STARVING) > 0
  }

  #assertOrder(descriptorClass: DescriptorClass, count: number): void {
    const place = WAITED_FOR.indexOf(descriptorClass)
    assert(place >= 0, `nobody waits for descriptors of the class ${descriptorClass}`)
    for (const [other, name] of WAITED_FOR.entries()) {
      const holds = this.#words[this.#column + INDEX[name]]! > 0
      assert(!holds || other <= place, `a thread that holds ${name} does not wait for ${descriptorClass}`)
      assert(
        !holds || other === place || count <= this.use(descriptorClass).floor,
        'who holds waits for the floor only',
      )
    }
  }

  #wait(index: number, count: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const since = performance.now()
      const ticket = Atomics.add(this.#words, classAt(index) + TICKETS, 1) + 1
      const end = () => {
        waiter.deadline = 0
        this.#wake()
      }
      const settle = (got: boolean) => {
        // It may be the daemon's own, and outlives all who wait.
        signal?.removeEventListener('abort', end)
        resolve(got)
      }
      const waiter: Waiter = { wants: count, ticket, since, deadline: since + waitMs, settle }
      this.#lines[index]!.push(waiter)
      signal?.addEventListener('abort', end)
      // Who watches already sleeps until the nearest deadline it knows of; this one may be nearer.
      if (this.#watching) this.#wake()
      else void this.#watch()
    })
  }

  /** Serves the lines of this thread until they are empty: once at each release anywhere, and at each deadline. */
  async #watch(): Promise<void> {
    this.#watching = true
    Atomics.add(this.#words, WAITERS, 1)
    for (;;) {
      const epoch = Atomics.load(this.#words, EPOCH)
      const next = Math.min(
        ...this.#lines.map((line, index) => (line.length > 0 ? this.#serve(index, line) : Infinity)),
      )
      if (next === Infinity) break
      const { async: isAsync, value } = Atomics.waitAsync(this.#words, EPOCH, epoch, Math.max(1, next))
      if (isAsync) await value
    }
    Atomics.sub(this.#words, WAITERS, 1)
    this.#watching = false
  }

  /** @returns ms until there is something to do again even if nothing is returned; Infinity when nobody waits any more */
  #serve(index: number, line: Waiter[]): number {
    const now = performance.now()
    const floor = this.#words[classAt(index) + FLOOR]!
    let blocked = false
    for (const waiter of [...line]) {
      const late = waiter.deadline <= now
      // The thread may have stood still: who is late gets a last try, unless it was told to stop waiting.
      const served =
        waiter.deadline !== 0 && !blocked && this.#isFirst(index, waiter.ticket) && this.#take(index, waiter.wants)
      // Those behind it cannot overtake it, but their time may run out before it is served.
      if (!late && !served) blocked ||= waiter.wants <= floor
      else {
        line.splice(line.indexOf(waiter), 1)
        waiter.settle(served)
      }
    }
    return Math.min(this.#publish(index, line, floor, now), ...line.map((waiter) => waiter.deadline - now))
  }

  /** Tells the other threads of the first one here that is not to be overtaken. Returns when the next look is due. */
  #publish(index: number, line: readonly Waiter[], floor: number, now: number): number {
    const first = line.find((waiter) => waiter.wants <= floor)
    const due = first ? first.since + LIMITS.leaseOvertakenMs - now : Infinity
    const ticket = first && due <= 0 ? first.ticket : 0
    const words = this.#words
    const before = words[this.#column + TICKET + index]!
    if (before === ticket) return due > 0 ? due : Infinity
    words[this.#column + CHANGING]! += 1
    Atomics.store(words, this.#column + TICKET + index, ticket)
    if ((before === 0) !== (ticket === 0)) Atomics.add(words, classAt(index) + STARVING, ticket === 0 ? -1 : 1)
    words[this.#column + CHANGING]! += 1
    // It was somebody else's turn before.
    this.#wake()
    return due > 0 ? due : Infinity
  }

  #isFirst(index: number, ticket: number): boolean {
    if (Atomics.load(this.#words, classAt(index) + STARVING) === 0) return true
    for (let at = COLUMNS_AT + TICKET + index; at < this.#words.length; at += COLUMN_WORDS) {
      const other = Atomics.load(this.#words, at)
      if (other !== 0 && ((other - ticket) | 0) < 0) return false
    }
    return true
  }
}

interface Owner {
  giveBack(lease: OpenLease, returned: number): void
  divide(lease: OpenLease, count: number): Lease
}

class OpenLease implements Lease {
  readonly index: number
  readonly by: LeaseHolder
  readonly since = performance.now()
  /** Names it in its thread. */
  number = 0
  trace: Error | null = null
  older: OpenLease | null = null
  newer: OpenLease | null = null
  #count: number
  readonly #owner: Owner

  constructor(index: number, count: number, by: LeaseHolder, owner: Owner) {
    assert(count > 0)
    this.index = index
    this.by = by
    this.#count = count
    this.#owner = owner
  }

  get count(): number {
    return this.#count
  }

  shrink(count: number): void {
    assert(count <= this.#count, 'a lease does not grow')
    const returned = this.#count - count
    this.#count = count
    if (returned > 0) this.#owner.giveBack(this, returned)
  }

  split(count: number): Lease {
    assert(count < this.#count, 'something stays')
    this.#count -= count
    return this.#owner.divide(this, count)
  }

  release(): void {
    this.shrink(0)
  }

  where(): readonly string[] | null {
    return this.trace && framesOf(this.trace)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** Without the ledger's own, which are the same for all. */
function framesOf({ stack = '' }: Error): string[] {
  const frames = stack.split('\n').map((line) => line.trim().replace(/^at (async )?/, ''))
  return frames.filter((frame) => !frame.includes('/src/descriptors/ledger.')).slice(1, TRACED_FRAMES + 1)
}

/** The same in all threads, unlike `performance.now()`, and not what somebody sets; 32 bits of it. */
function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return (seconds * 1000 + Math.floor(nanoseconds / 1e6)) | 0
}

function classAt(index: number): number {
  return HEAD_WORDS + index * CLASS_WORDS
}

function above(used: number, floor: number): number {
  return Math.max(0, used - floor)
}
