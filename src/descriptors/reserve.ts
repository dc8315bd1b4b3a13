// Descriptors that are really held, so that they are there when nothing else is: lent to get out of trouble, then taken back
// before anybody else gets one. With the addon there is one reserve for all threads; without it the main thread has its own.
import { closeSync, openSync } from 'node:fs'
import { loadNative } from './native.js'

/** What a part of the reserve may be lent for, and how many descriptors each use has at a time at the most. */
const USES = {
  /** A connection is accepted to be told why it is refused. */
  accept: 1,
  /** A listener is set aside for the rest of a turn of the loop, in which enough were accepted. */
  turn: 1,
  /** A shard stops its jobs at their checkpoints and closes its libraries. */
  checkpoint: 2,
  /** The log begins a new file. */
  log: 1,
  /** Descriptors are listed where the addon cannot do it; settings are read again. */
  doctor: 1,
  /** The daemon stops: its state is read and removed. */
  drain: 2,
} as const

export type ReserveUse = keyof typeof USES

const NUMBERS = Object.keys(USES) as ReserveUse[]

/** Descriptors of the reserve that are free for whoever borrowed them, until it is disposed of. */
export interface Loan extends Disposable {
  /** None where the reserve is empty, or lent already. */
  readonly count: number
}

/** Frees descriptors of the reserve for opens that must not fail. Any thread may ask; without the addon only the main one gets. */
export function lend(use: ReserveUse): Loan {
  const most = USES[use]
  const number = NUMBERS.indexOf(use)
  const store = loadNative() ?? plain
  const count = store.reserveLend(number, most, most)
  let over = count === 0
  return {
    count,
    [Symbol.dispose]: () => {
      if (over) return
      over = true
      store.reserveReturn(number, count)
    },
  }
}

/**
 * Opens what is missing of the process's reserve, from any thread.
 *
 * @returns how many could not be opened; null where this thread cannot, having no addon and no reserve of its own
 */
export function refill(): number | null {
  const native = loadNative()
  if (native) return native.reserveRefill()
  return plain.isUsed ? plain.reserveRefill() : null
}

/** One daemon's part of the reserve. */
export class Reserve {
  #target = 0
  #missing = 0

  /** Opens what is missing; what cannot be opened now is tried at the next call. Returns how many those are. */
  fill(count = this.#target): number {
    const store = loadNative() ?? plain
    this.#missing = store.reserveResize(count - this.#target)
    this.#target = count
    return this.missing
  }

  /** How many somebody else has by now. */
  get missing(): number {
    return Math.min(this.#missing, this.#target)
  }

  /** How many of the daemon's are held. */
  get count(): number {
    return this.#target - this.missing
  }

  /** The numbers of the whole process's reserve. */
  get held(): readonly number[] {
    return [...(loadNative() ?? plain).reserveList()]
  }

  close(): void {
    this.fill(0)
  }
}

/** The same in JavaScript, for the thread that loads this module. */
class PlainReserve {
  readonly #held: number[] = []
  readonly #lent = NUMBERS.map(() => 0)
  #target = 0

  get isUsed(): boolean {
    return this.#target > 0
  }

  reserveResize(by: number): number {
    this.#target = Math.max(0, this.#target + by)
    return this.reserveRefill()
  }

  reserveRefill(): number {
    while (this.#held.length > 0 && this.#there > this.#target) closeSync(this.#held.shift()!)
    try {
      while (this.#there < this.#target) this.#held.push(openSync('/dev/null', 'r'))
    } catch {
      // Exhausted: the reserve is as full as it can be.
    }
    return Math.max(0, this.#target - this.#there)
  }

  reserveLend(use: number, count: number, most: number): number {
    const given = Math.min(count, most - this.#lent[use]!, this.#held.length)
    for (const fd of this.#held.splice(0, given)) closeSync(fd)
    this.#lent[use]! += given
    return given
  }

  reserveReturn(use: number, count: number): number {
    this.#lent[use]! -= count
    return this.reserveRefill()
  }

  reserveList(): readonly number[] {
    return this.#held
  }

  get #there(): number {
    return this.#held.length + this.#lent.reduce((sum, each) => sum + each, 0)
  }
}

const plain = new PlainReserve()

/**
 * Proves that `count` descriptors can be had, for opens that take their ground away when they fail half way.
 *
 * @throws EMFILE or ENFILE, as openSync does
 */
export function proveRoom(count: number): void {
  const probes: number[] = []
  try {
    while (probes.length < count) probes.push(openSync('/dev/null', 'r'))
  } finally {
    for (const probe of probes) closeSync(probe)
  }
}

/** Whether so many more could be opened at this moment. */
export function isRoom(count = 1): boolean {
  try {
    proveRoom(count)
    return true
  } catch {
    return false
  }
}
