// Who may hold how many descriptors: one SharedArrayBuffer that every thread reads and writes with compare-and-swap.
//
//   budget = soft limit − process base − held reserve
//   pot    = budget − Σ floors, lent to whoever asks, up to the ceiling of the class
//
//   words:  head (16) │ class 0 (8) │ … │ class 4 (8) │ column of thread 0 (8) │ column of thread 1 (8) │ …
//
// What a class holds above its floor comes out of the pot. A thread's column says how much of each class it holds, so
// that what a dead thread held can be given back. A thread may die between two of these steps; `heal` re-derives the pot.
import assert from 'node:assert'
import { SpacedriveError } from '../base/errors.js'
import { CLASSES, type ClassUse, type DescriptorClass, type Level } from '../protocol/messages.js'
import type { Plan } from './planner.js'
import { refill } from './reserve.js'
import type { Told } from './threads.js'

const HEAD_WORDS = 16
const CLASS_WORDS = 8
const COLUMN_WORDS = 8
const THREADS_MAX = 256
const COLUMNS_AT = HEAD_WORDS + CLASSES.length * CLASS_WORDS

const EPOCH = 0
const POT = 1
const POT_TOTAL = 2
const WAITERS = 3
const WANTED = 4
const BUDGET = 5
const RESERVE = 6
const BASE = 7
const LEVEL = 8
const PRESSURE = 9
const ASKED = 10
/** How many descriptors of the reserve are missing. */
const RESERVE_MISSING = 11
/** From the end of the head: whether leases remember where they were taken. */
const TRACING = 15
/** Frames of a stack that say where. */
const TRACED_FRAMES = 8

const USED = 0
const FLOOR = 1
const CEILING = 2
const PEAK = 3
const REFUSED = 4
const WAITED = 5

export const LEVELS: readonly Level[] = ['normal', 'elevated', 'high', 'critical']

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
  release(): void
}

interface Held {
  readonly id: string
  readonly class: DescriptorClass
  readonly by: LeaseHolder
  readonly since: number
  readonly trace: Error | null
}

interface Waiter {
  readonly wants: number
  deadline: number
  readonly settle: (got: boolean) => void
}

export class Ledger {
  readonly shared: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #column: number
  readonly #thread: number
  readonly #held = new Map<OpenLease, Held>()
  #leases = 0
  readonly #waiters = new Map<DescriptorClass, Waiter[]>()
  #watching = false

  /** The first ledger of a process; other threads attach to its `shared`. */
  static create(plan: Plan): Ledger {
    const words = COLUMNS_AT + THREADS_MAX * COLUMN_WORDS
    const ledger = new Ledger(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT), 0)
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
    const taken = this.#take(CLASSES.indexOf(descriptorClass), count)
    if (!taken) Atomics.add(this.#words, classAt(CLASSES.indexOf(descriptorClass)) + REFUSED, 1)
    return taken
  }

  give(descriptorClass: DescriptorClass, count: number): void {
    this.#give(CLASSES.indexOf(descriptorClass), count)
  }

  /** A lease now, or null; a null is counted as a refusal unless `quiet`. */
  tryAcquire(descriptorClass: DescriptorClass, count: number, by: LeaseHolder, quiet = false): Lease | null {
    const index = CLASSES.indexOf(descriptorClass)
    const waiting = this.#waiters.get(descriptorClass)
    if (waiting?.length || !this.#take(index, count)) {
      if (!quiet) Atomics.add(this.#words, classAt(index) + REFUSED, 1)
      return null
    }
    return this.#lease(descriptorClass, count, by)
  }

  /**
   * A lease as soon as there is room, all or nothing; callers of one thread and class are served in order.
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
    const index = CLASSES.indexOf(descriptorClass)
    const at = classAt(index)
    const now = this.tryAcquire(descriptorClass, count, by, true)
    if (now) return now
    const possible = count <= Atomics.load(this.#words, at + CEILING)
    if (possible) {
      Atomics.add(this.#words, at + WAITED, 1)
      if (await this.#wait(descriptorClass, count, waitMs, signal)) return this.#lease(descriptorClass, count, by)
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
    const at = classAt(CLASSES.indexOf(descriptorClass))
    const word = (offset: number) => Atomics.load(this.#words, at + offset)
    return {
      used: word(USED),
      floor: word(FLOOR),
      ceiling: word(CEILING),
      peak: word(PEAK),
      refused: word(REFUSED),
      waited: word(WAITED),
    }
  }

  uses(): Record<DescriptorClass, ClassUse> {
    return Object.fromEntries(CLASSES.map((name) => [name, this.use(name)])) as Record<DescriptorClass, ClassUse>
  }

  totals(): { budget: number; reserve: number; base: number; used: number; pot: number } {
    const used = CLASSES.reduce((sum, _, index) => sum + Atomics.load(this.#words, classAt(index) + USED), 0)
    const word = (at: number) => Atomics.load(this.#words, at)
    return { budget: word(BUDGET), reserve: word(RESERVE), base: word(BASE), used, pot: word(POT) }
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

  /** Told by who watches the reserve: while some of it is missing, what is returned goes there before anybody gets it. */
  set reserveMissing(count: number) {
    Atomics.store(this.#words, RESERVE_MISSING, count)
  }

  get reserveMissing(): number {
    return Atomics.load(this.#words, RESERVE_MISSING)
  }

  /** What this thread holds by lease, with names. Sockets are only counted and do not appear. */
  held(): HeldLease[] {
    return [...this.#held].map(([lease, { id, class: name, by, since, trace }]) => ({
      id,
      class: name,
      count: lease.count,
      ageMs: Math.round(performance.now() - since),
      ...by,
      ...(trace ? { where: framesOf(trace) } : {}),
    }))
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
    let returned = 0
    CLASSES.forEach((_, index) => {
      const held = Atomics.exchange(this.#words, COLUMNS_AT + thread * COLUMN_WORDS + index, 0)
      if (held > 0) this.#lower(index, held)
      returned += Math.max(0, held)
    })
    if (returned > 0) this.#wake()
    return returned
  }

  /**
   * Corrects the pot if a thread died halfway through a step. Called at intervals by the main thread: it acts only when
   * two looks in a row find the same difference with no lease taken or returned in between.
   */
  heal(before: { epoch: number; drift: number } | null): { epoch: number; drift: number } {
    const epoch = Atomics.load(this.#words, EPOCH)
    const pot = Atomics.load(this.#words, POT)
    const lent = CLASSES.reduce((sum, _, index) => {
      const at = classAt(index)
      return sum + above(Atomics.load(this.#words, at + USED), Atomics.load(this.#words, at + FLOOR))
    }, 0)
    const drift = Atomics.load(this.#words, POT_TOTAL) - lent - pot
    if (drift !== 0 && before?.drift === drift && before.epoch === epoch) {
      Atomics.compareExchange(this.#words, POT, pot, pot + drift)
    }
    return { epoch, drift }
  }

  /** Asks every thread to give back idle libraries; they hear of it through `onWanted`. */
  want(): void {
    Atomics.add(this.#words, WANTED, 1)
    Atomics.notify(this.#words, WANTED)
  }

  /** Calls back in this thread each time any thread cannot get what it needs; ends with the signal. */
  async onWanted(callback: () => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const seen = Atomics.load(this.#words, WANTED)
      // A bounded wait: an unbounded one would hold the thread's event loop for ever.
      const { async: isAsync, value } = Atomics.waitAsync(this.#words, WANTED, seen, 1000)
      const outcome = isAsync ? await value : value
      if (!signal.aborted && outcome !== 'timed-out') callback()
    }
  }

  #take(index: number, count: number): boolean {
    const at = classAt(index)
    const floor = Atomics.load(this.#words, at + FLOOR)
    for (;;) {
      const used = Atomics.load(this.#words, at + USED)
      if (used + count > Atomics.load(this.#words, at + CEILING)) return false
      // The pot first: whoever fails here has taken nothing that another thread could have seen.
      const fromPot = above(used + count, floor) - above(used, floor)
      if (fromPot > 0 && !this.#takeFromPot(fromPot)) return false
      if (Atomics.compareExchange(this.#words, at + USED, used, used + count) === used) {
        Atomics.add(this.#words, this.#column + index, count)
        if (used + count > Atomics.load(this.#words, at + PEAK)) this.#raisePeak(at + PEAK, used + count)
        return true
      }
      if (fromPot > 0) Atomics.add(this.#words, POT, fromPot)
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
    if (Atomics.load(this.#words, RESERVE_MISSING) > 0) this.reserveMissing = refill() ?? this.reserveMissing
    Atomics.sub(this.#words, this.#column + index, count)
    this.#lower(index, count)
    this.#wake()
  }

  #lower(index: number, count: number): void {
    const at = classAt(index)
    const used = Atomics.sub(this.#words, at + USED, count)
    assert(used >= count, 'more was returned than was lent')
    const floor = Atomics.load(this.#words, at + FLOOR)
    const toPot = above(used, floor) - above(used - count, floor)
    if (toPot > 0) Atomics.add(this.#words, POT, toPot)
  }

  #wake(): void {
    Atomics.add(this.#words, EPOCH, 1)
    if (Atomics.load(this.#words, WAITERS) > 0) Atomics.notify(this.#words, EPOCH)
  }

  #lease(descriptorClass: DescriptorClass, count: number, by: LeaseHolder): Lease {
    const lease = new OpenLease(count, (returned, last) => {
      if (last) this.#held.delete(lease)
      this.#give(CLASSES.indexOf(descriptorClass), returned)
    })
    const trace = Atomics.load(this.#words, TRACING) === 1 ? new Error('taken here') : null
    this.#leases += 1
    const id = `${this.#thread}.${this.#leases}`
    this.#held.set(lease, { id, class: descriptorClass, by, since: performance.now(), trace })
    return lease
  }

  #wait(descriptorClass: DescriptorClass, count: number, waitMs: number, signal?: AbortSignal): Promise<boolean> {
    return new Promise((settle) => {
      const line = this.#waiters.get(descriptorClass) ?? []
      this.#waiters.set(descriptorClass, line)
      const waiter: Waiter = { wants: count, deadline: performance.now() + waitMs, settle }
      line.push(waiter)
      signal?.addEventListener('abort', () => {
        waiter.deadline = 0
        this.#wake()
      })
      // Who watches already sleeps until the nearest deadline it knows of; this one may be nearer.
      if (this.#watching) this.#wake()
      else void this.#watch()
    })
  }

  /** Serves the lines of this thread until they are empty: once at each release anywhere, and at each deadline. */
  async #watch(): Promise<void> {
    if (this.#watching) return
    this.#watching = true
    Atomics.add(this.#words, WAITERS, 1)
    while (this.#waiters.size > 0) {
      const epoch = Atomics.load(this.#words, EPOCH)
      let next = Infinity
      for (const [name, line] of this.#waiters) next = Math.min(next, this.#serve(name, line))
      if (this.#waiters.size === 0) break
      const { async: isAsync, value } = Atomics.waitAsync(this.#words, EPOCH, epoch, Math.max(1, next))
      if (isAsync) await value
    }
    Atomics.sub(this.#words, WAITERS, 1)
    this.#watching = false
  }

  #serve(name: DescriptorClass, line: Waiter[]): number {
    const index = CLASSES.indexOf(name)
    const now = performance.now()
    while (line[0] && (line[0].deadline <= now || this.#take(index, line[0].wants))) {
      line[0].settle(line[0].deadline > now)
      line.shift()
    }
    // Those behind the first cannot overtake it, but their time may run out before it is served.
    for (const late of line.filter((waiter) => waiter.deadline <= now)) {
      line.splice(line.indexOf(late), 1)
      late.settle(false)
    }
    if (line.length === 0) this.#waiters.delete(name)
    return Math.min(...line.map((waiter) => waiter.deadline - now), Infinity)
  }
}

class OpenLease implements Lease {
  #count: number
  readonly #giveBack: (count: number, last: boolean) => void

  constructor(count: number, giveBack: (count: number, last: boolean) => void) {
    assert(count > 0)
    this.#count = count
    this.#giveBack = giveBack
  }

  get count(): number {
    return this.#count
  }

  shrink(count: number): void {
    assert(count <= this.#count, 'a lease does not grow')
    const returned = this.#count - count
    this.#count = count
    if (returned > 0) this.#giveBack(returned, count === 0)
  }

  release(): void {
    this.shrink(0)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** Without the ledger's own, which are the same for all. */
function framesOf({ stack = '' }: Error): string[] {
  const frames = stack.split('\n').map((line) => line.trim().replace(/^at (async )?/, ''))
  return frames.filter((frame) => !frame.includes('/descriptors/ledger.')).slice(1, TRACED_FRAMES + 1)
}

function classAt(index: number): number {
  return HEAD_WORDS + index * CLASS_WORDS
}

function above(used: number, floor: number): number {
  return Math.max(0, used - floor)
}
