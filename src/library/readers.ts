// The further connections of one library, for reads that take more than one turn of the event loop: each sees the
// library as it was when the read began, while the first connection goes on writing.
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Lease, Ledger, LeaseHolder } from '../descriptors/ledger.js'
import { openConnection, shrinkMemory, type Connection } from './connection.js'
import { Search } from './search.js'

export interface Reader {
  readonly connection: Connection
  readonly search: Search
}

interface Slot {
  readonly reader: Reader
  /** Database and -wal. */
  readonly leases: Lease[]
  idleSince: number
}

const READERS_MAX = LIMITS.poolConnectionsMax - 1

export class Readers {
  readonly #database: string
  readonly #ledger: Ledger
  readonly #holder: LeaseHolder
  readonly #idle: Slot[] = []
  readonly #busy = new Map<Reader, Slot>()
  /** SQLite keeps the descriptor of a closed connection while another one is open, and uses it again. */
  readonly #parked: Lease[] = []

  /** Connections that other threads have, or may open. */
  elsewhere = 0
  #keptFree = 0
  /** For each of these its descriptor of the database, which SQLite keeps until the library is closed. */
  readonly #lent: Lease[] = []

  constructor(database: string, ledger: Ledger, holder: LeaseHolder) {
    this.#database = database
    this.#ledger = ledger
    this.#holder = holder
  }

  get count(): number {
    return this.#idle.length + this.#busy.size
  }

  /** Makes room for so many connections of other threads. Returns for how many there is. */
  share(count: number): number {
    // Those that are busy now are not replaced: the next time there is room.
    this.#keptFree = count
    if (count > 0) this.closeIdle(0)
    const most = Math.min(count, READERS_MAX - this.count)
    while (this.#lent.length < most) {
      const lease = this.#ledger.tryAcquire('libraries', 1, this.#holder)
      if (!lease) break
      this.#lent.push(lease)
    }
    return (this.elsewhere = Math.min(most, this.#lent.length))
  }

  /** A reader of one's own until it is given back, or null when there are four already or descriptors are short. */
  borrow(): Reader | null {
    const slot = this.#idle.pop() ?? this.#open()
    if (slot) this.#busy.set(slot.reader, slot)
    return slot?.reader ?? null
  }

  giveBack(reader: Reader): void {
    const slot = this.#busy.get(reader)!
    this.#busy.delete(reader)
    slot.idleSince = performance.now()
    this.#idle.push(slot)
  }

  /** Closes the readers idle for at least `ms`. Returns how many descriptors came free. */
  closeIdle(ms: number): number {
    const now = performance.now()
    let freed = 0
    for (const slot of this.#idle.splice(0)) {
      if (now - slot.idleSince < ms) this.#idle.push(slot)
      else freed += this.#close(slot)
    }
    return freed
  }

  giveBackMemory(): void {
    for (const { reader } of this.#idle) shrinkMemory(reader.connection)
  }

  /** Closes all; the leases are returned by `release`, after the library's last connection is closed. */
  close(): void {
    for (const slot of [...this.#idle.splice(0), ...this.#busy.values()]) this.#close(slot)
    this.#busy.clear()
  }

  release(): void {
    for (const lease of [...this.#parked.splice(0), ...this.#lent.splice(0)]) lease.release()
  }

  #open(): Slot | null {
    if (this.count + this.#keptFree >= READERS_MAX) return null
    const parked = this.#parked.pop()
    const { connection: price } = this.#ledger.prices
    const wanted = parked ? price - 1 : price
    const lease = this.#ledger.tryAcquire('libraries', wanted, this.#holder)
    if (!lease) {
      if (parked) this.#parked.push(parked)
      return null
    }
    const leases = parked ? [parked, lease] : [lease]
    try {
      const connection = openConnection(this.#database)
      return { reader: { connection, search: new Search(connection) }, leases, idleSince: performance.now() }
    } catch (error) {
      this.#park(leases)
      if (toWire(error).code === 'BUDGET_EXHAUSTED') return null
      throw error
    }
  }

  #close({ reader, leases }: Slot): number {
    reader.connection.close()
    this.#park(leases)
    return this.#ledger.prices.connection - 1
  }

  #park([kept, ...rest]: readonly Lease[]): void {
    for (const lease of rest) lease.release()
    kept!.shrink(1)
    this.#parked.push(kept!)
  }
}
