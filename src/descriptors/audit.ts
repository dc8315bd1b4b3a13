// Holds the ledger against the kernel: how many descriptors are open, who holds each, and which nobody accounts for.
import { LIMITS } from '../base/limits.js'
import type { Descriptors, Holder, Leak } from '../protocol/messages.js'
import { Leaks } from './leaks.js'
import type { Ledger } from './ledger.js'
import { Ages, inSlices, look, lookAgain, type Seen } from './look.js'
import { Base, nameAll, type Name, type Named } from './names.js'
import { countOpen } from './rlimit.js'

/** A look may cost this share of the main thread's time, and costs about this much for each descriptor, a client that is counted less. */
const LOOK_SHARE = 0.01
const LOOK_MS_EACH = 0.004
const LOOK_MS_CLIENT = 0.001

/** Asked twice by a look that finds somebody without a name: before it, and after. */
export type AskNamed = () => Promise<Named>

interface Looked {
  readonly seen: readonly Seen[]
  readonly unaccounted: readonly Seen[]
  readonly names: ReadonlyMap<number, Name>
  readonly named: Named
}

export class Audit {
  readonly #ledger: Ledger
  readonly #host: number
  readonly #base = new Base()
  readonly #leaks = new Leaks()
  readonly #ages = new Ages()
  #running: Promise<Looked> | null = null
  #next: Promise<Looked> | null = null
  #atStart: ReadonlySet<number> = new Set()
  #looking = false
  #lookedAt = -Infinity
  #lookCostMs = 0
  #driftThen = 0
  #leak: (Leak & { at: string }) | null = null

  /** @param host descriptors that were open before, and are somebody else's */
  constructor(ledger: Ledger, host = 0) {
    this.#ledger = ledger
    this.#host = host
  }

  /** Open descriptors that neither base, reserve nor a lease explains. */
  unaccounted(): number {
    return Math.max(0, this.#drift(), this.#leaks.settled(performance.now()).length)
  }

  /** The last alarm, for as long as there is something left of what it was about. */
  get leak(): (Leak & { at: string }) | null {
    return this.unaccounted() > 0 ? this.#leak : null
  }

  /** Looks again; needs no descriptor. */
  check(): void {
    this.#ledger.heal()
  }

  /** What is open before the daemon opens anything came with the process. */
  begin(open: readonly number[]): void {
    this.#atStart = new Set(open)
  }

  /** What is open now and nobody else's belongs to the process itself from now on. */
  async settle(ask: AskNamed): Promise<void> {
    const named = await ask()
    const { seen } = await look()
    // What came with the process is as old as the process.
    for (const one of seen) if (this.#atStart.has(one.fd)) one.since = 0
    const names = await nameAll(this.#ages.tell(seen), this.#base, named)
    this.#base.note(
      seen.filter(({ fd }) => !names.has(fd)),
      this.#atStart,
      this.#host > 0 ? 'host program' : 'inherited',
    )
    this.#driftThen = this.#drift()
  }

  /**
   * Called every second: a look at everything when the count has grown past what the ledger explains, and else now and then,
   * because a lease that is not used up hides as many. Returns a leak to raise an alarm about.
   *
   * @throws EMFILE without the addon, when there is none left to look with
   */
  async watch(ask: AskNamed): Promise<Leak | null> {
    if (this.#looking || !this.#isDue()) return null
    this.#looking = true
    try {
      const { unaccounted, named } = await this.#looked(ask, false)
      const leak = this.#leaks.consider(unaccounted, named, performance.now())
      if (leak) this.#leak = { ...leak, at: new Date().toISOString() }
      return leak
    } finally {
      this.#looking = false
    }
  }

  async describe(ask: AskNamed): Promise<Omit<Descriptors, 'limit' | 'classes'>> {
    const { seen, names, unaccounted: nameless } = await this.#looked(ask, true)
    this.#leaks.keep(nameless)
    const holders: Holder[] = []
    const unaccounted: Descriptors['unaccounted'] = []
    const now = performance.now()
    await inSlices(seen, ({ fd, target, peer, since }) => {
      const name = names.get(fd)
      const seenMs = Math.round(now - since)
      if (name) holders.push({ fd, ...name, ageMs: name.ageMs ?? seenMs })
      else unaccounted.push({ fd, target, ageMs: seenMs, ...(peer === '' ? {} : { peer }) })
    })
    return { open: seen.length, highest: seen.at(-1)?.fd ?? 0, holders, unaccounted }
  }

  #drift(): number {
    const { base, reserve, used } = this.#ledger.totals()
    return countOpen() - this.#host - base - reserve - used
  }

  #isDue(): boolean {
    const since = performance.now() - this.#lookedAt
    if (since < this.#lookCostMs / LOOK_SHARE) return false
    if (since >= LIMITS.lookMs) return true
    return this.#drift() > this.#driftThen || this.#leaks.doubtful
  }

  /** One look at a time; whoever comes meanwhile shares the next. */
  #looked(ask: AskNamed, whole: boolean): Promise<Looked> {
    if (!this.#running) {
      this.#running = this.#look(ask, whole).finally(() => (this.#running = null))
      return this.#running
    }
    this.#next ??= this.#running
      .catch(() => null)
      .then(() => {
        this.#next = null
        return this.#looked(ask, true)
      })
    return this.#next
  }

  /** @param whole or clients are counted, and looked at one by one only where they are more than were let in */
  async #look(ask: AskNamed, whole: boolean): Promise<Looked> {
    const asked = await ask()
    const { seen, clients } = await look(asked.doors.port, whole ? null : this.#ages)
    const before = clients > asked.doors.clients ? both(asked, await ask()) : asked
    const aged = this.#ages.tell(seen)
    this.#lookCostMs = seen.length * LOOK_MS_EACH + clients * LOOK_MS_CLIENT
    this.#lookedAt = performance.now()
    this.#driftThen = this.#drift()
    if (clients > before.doors.clients) return this.#look(ask, true)
    const names = await nameAll(aged, this.#base, besides(before, clients))
    if (names.size === seen.length) return { seen, unaccounted: [], names, named: before }
    // Some were opened since the threads were asked: what those have closed meanwhile is in the first answer. Some are gone, and
    // what they took of a lease is that of those which came in their place.
    const named = both(before, await ask())
    const still = [...(await lookAgain(aged.filter(({ client }) => !client))), ...aged.filter(({ client }) => client)]
    const all = await nameAll(still, this.#base, besides(named, clients))
    const left = new Set(await lookAgain(still.filter(({ fd }) => !all.has(fd))))
    const open = seen.filter((one) => all.has(one.fd) || left.has(one))
    return { seen: open, unaccounted: [...left], names: all, named }
  }
}

/** What is left to name others by when so many clients were counted. */
function besides(named: Named, clients: number): Named {
  return { ...named, doors: { ...named.doors, clients: named.doors.clients - clients } }
}

/** A lease that one of the two answers has is one that was held at some time between them. */
function both(before: Named, after: Named): Named {
  const leases = new Map([...before.leases, ...after.leases].map((lease) => [lease.id, lease]))
  const clients = Math.max(before.doors.clients, after.doors.clients)
  return {
    ...after,
    leases: [...leases.values()],
    doors: { ...after.doors, clients },
    untold: Math.max(before.untold, after.untold),
  }
}
