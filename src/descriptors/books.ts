// What the process itself holds, item by item as it boots: what was opened since the last entry is what the next one costs.
import type { Item } from './planner.js'
import { countOpen } from './rlimit.js'

export class Books {
  readonly #items: Item[] = []
  #counted = 0

  get items(): readonly Item[] {
    return this.#items
  }

  /** What was open at the last entry, whoever holds it. */
  get counted(): number {
    return this.#counted
  }

  /** @param open of a host's, which are nothing of ours */
  begin(open: number): void {
    this.#counted = open
  }

  /** So many were opened since the last entry that are no part of these books. */
  leaveOut(count: number): void {
    this.#counted += count
  }

  /** @param lent so many of what is open are leases: clients may come as soon as somebody listens */
  book(name: string, count = 1, lent = 0): void {
    const open = countOpen() - lent
    this.#enter(name, count, open - this.#counted)
    this.#counted = open
  }

  /** With everything up: what `total` has beyond all entries is the last one. */
  close(name: string, total: number): void {
    const rest = total - this.#items.reduce((sum, { descriptors }) => sum + descriptors, 0)
    this.#enter(name, rest, rest)
  }

  #enter(name: string, count: number, descriptors: number): void {
    if (descriptors !== 0) this.#items.push({ name, each: descriptors / count, count, descriptors })
  }
}
