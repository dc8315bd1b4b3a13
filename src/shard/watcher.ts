// The main thread's side of watching: which locations are watched, the thread that does it, and what it costs. The thread lives
// while there is something to watch; without one, locations are scanned at intervals.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'
import { SpacedriveError, toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Lease, Ledger } from '../descriptors/ledger.js'
import { watcherPrice } from '../descriptors/planner.js'
import { loadNative } from '../descriptors/native.js'
import { proveRoom } from '../descriptors/reserve.js'
import { newTold, toldWatches, type Told } from '../descriptors/threads.js'
import type {
  Covered,
  FromWatcher,
  Outcome,
  ShardOperation,
  TaskSetup,
  ToWatcher,
  Watched,
  WatchedLocation,
  WatchRequest,
} from './lines.js'
import { printable } from '../scan/names.js'
import { Thread } from './tasks.js'
import type { Status } from '../protocol/messages.js'

const ENTRY = fileURLToPath(new URL('../../workers/watch.js', import.meta.url))

export interface WatcherSetup {
  readonly ledger: Ledger
  readonly native: boolean
  readonly leftOut: readonly string[]
  /** Asks the shard of a library. */
  readonly ask: (library: string, operation: ShardOperation, params: object) => Promise<unknown>
  /** How a location is watched from now on. */
  readonly tell: (location: WatchedLocation, covered: Covered) => void
  readonly log: (level: 'info' | 'warn', message: string) => void
}

interface Known {
  readonly location: WatchedLocation
  covered: Covered
  /** Why what changed could not be stored, told once and not at every try. */
  trouble: string | null
}

interface Watching {
  readonly thread: Thread
  readonly port: MessagePort
  readonly lease: Lease
  readonly told: Told
}

export class Watcher {
  readonly #setup: WatcherSetup
  /** By location. */
  readonly #known = new Map<string, Known>()
  #watching: Watching | null = null
  #starting: Promise<void> | null = null
  /** Of all that were ended so far. */
  #ending: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #again: NodeJS.Timeout | undefined
  #scanAt = 0
  /** Why there is no thread. */
  #problem: string | null = null

  constructor(setup: WatcherSetup) {
    this.#setup = setup
  }

  /** Over all locations. */
  sum(): Status['watching'] {
    const covered = [...this.#known.values()].map((known) => known.covered)
    return {
      locations: covered.length,
      live: covered.reduce((sum, { live }) => sum + live, 0),
      polled: covered.reduce((sum, { polled }) => sum + polled, 0),
      reasons: [...new Set(covered.flatMap(({ reason }) => reason ?? []))],
    }
  }

  /** Told again by a shard whenever it opens a library; the shard may be another than before. */
  watch(watched: Watched): void {
    if (watched.root === null) return this.unwatch(watched.location)
    const location: WatchedLocation = watched
    const known = this.#known.get(location.location)
    if (known && isSame(known.location, location)) return this.#setup.tell(location, known.covered)
    if (known) this.unwatch(location.location)
    this.#known.set(location.location, { location, covered: this.#uncovered(), trouble: null })
    this.#post({ watch: this.#toWatch(location) })
    this.#startSoon()
  }

  unwatch(location: string): void {
    if (!this.#known.delete(location)) return
    this.#post({ unwatch: location })
    if (this.#known.size === 0) void this.#end()
  }

  unwatchLibrary(library: string): void {
    for (const { location } of this.#known.values()) if (location.library === library) this.unwatch(location.location)
  }

  /** Ends the thread as a crash would. For tests and drills. */
  async crash(): Promise<void> {
    await this.#watching?.thread.crash()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#again)
    this.#known.clear()
    await this.#starting
    void this.#end()
    await this.#ending
  }

  #uncovered(): Covered {
    return { state: 'starting', live: 0, polled: 0, ...(this.#problem === null ? {} : { reason: this.#problem }) }
  }

  #toWatch({ location, root, rules }: WatchedLocation): WatchRequest {
    return { key: location, root, leftOut: this.#setup.leftOut, rules: rules ?? null }
  }

  #post(message: ToWatcher): void {
    this.#watching?.port.postMessage(message)
  }

  #startSoon(): void {
    if (this.#watching || this.#starting || this.#isClosed || this.#known.size === 0) return
    clearTimeout(this.#again)
    this.#starting = this.#start()
      .catch((error: unknown) => this.#without(toWire(error).message))
      .finally(() => (this.#starting = null))
  }

  /** Tried again after a while; until then what is on disk is found by scanning. */
  #without(why: string): void {
    if (this.#problem !== why) this.#setup.log('warn', `locations are not watched but scanned at intervals: ${why}`)
    this.#problem = why
    for (const known of this.#known.values()) this.#cover(known, this.#uncovered())
    if (performance.now() >= this.#scanAt) {
      this.#scanAt = performance.now() + LIMITS.watchScanMs
      for (const { location } of this.#known.values()) this.#ask(location, 'shard.doubt', {}).catch(() => {})
    }
    if (this.#isClosed) return
    this.#again = setTimeout(() => this.#startSoon(), LIMITS.watchPollMs).unref()
  }

  async #start(): Promise<void> {
    const { ledger, native, log } = this.#setup
    const price = watcherPrice(ledger.prices)
    const told = newTold()
    const lease = ledger.tryAcquire('watches', price, { holder: 'watching thread', told })
    if (!lease) throw noRoom(ledger, price)
    let thread: Thread | undefined
    try {
      proveRoom(lease.count)
      thread = new Thread(ENTRY, { native, told } satisfies TaskSetup)
      const failed = new Promise<never>((_, reject) => thread!.on('error', reject))
      failed.catch(() => {})
      await Promise.race([thread.run(null), failed])
      lease.shrink(price - ledger.prices.threadStart)
    } catch (error) {
      if (thread) await thread.end(() => lease.release())
      else lease.release()
      throw error
    }
    this.#problem = null
    log('info', 'watching directories')
    this.#run(thread, lease, told)
  }

  #run(thread: Thread, lease: Lease, told: Told): void {
    const { port1, port2 } = new MessageChannel()
    const watching = (this.#watching = { thread, port: port1, lease, told })
    port1.on('message', (message: FromWatcher) => this.#receive(message))
    for (const { location } of this.#known.values()) this.#post({ watch: this.#toWatch(location) })
    thread.run({ port: port2 }, { transferList: [port2] }).then(
      () => this.#lose(watching, 'it ended'),
      (error: unknown) => this.#lose(watching, toWire(error).message),
    )
    if (this.#known.size === 0) void this.#end()
  }

  async #lose(watching: Watching, why: string): Promise<void> {
    if (this.#watching !== watching) return
    this.#setup.log('warn', `the watching thread was lost: ${why}`)
    await this.#end(false)
    if (this.#known.size > 0 && !this.#isClosed) this.#without(`the thread was lost: ${why}`)
  }

  async #end(again = true): Promise<void> {
    const watching = this.#watching
    if (!watching) return
    this.#watching = null
    const ended = this.#destroy(watching)
    this.#ending = Promise.all([this.#ending, ended])
    await ended
    // Something to watch may have come meanwhile.
    if (again) this.#startSoon()
  }

  /** However the thread ends, its instance is closed when nobody uses it any more, and then what it cost is given back. */
  async #destroy({ thread, port, lease, told }: Watching): Promise<void> {
    port.close()
    const over = () => {
      const instance = toldWatches(told)
      if (instance >= 0) loadNative()?.watchClose(instance)
      lease.release()
    }
    if (await thread.end(over)) return
    this.#setup.log('warn', 'the watching thread does not end: it waits for a file system that does not answer')
  }

  #receive({ coverage, told }: FromWatcher): void {
    for (const { key, ...covered } of coverage ?? []) {
      const known = this.#known.get(key)
      if (known) this.#cover(known, covered)
    }
    if (told) void this.#pass(told)
  }

  #cover(known: Known, covered: Covered): void {
    known.covered = covered
    this.#setup.tell(known.location, covered)
  }

  /** What changed goes to the shard that has the index, and its answer back. */
  async #pass({ key, number, changes }: NonNullable<FromWatcher['told']>): Promise<void> {
    const known = this.#known.get(key)
    if (!known) return
    const { location } = known
    const answer = (outcome: Outcome['outcome'], relist: readonly (number | string)[] = []) =>
      this.#post({ answer: { key, number, outcome, relist } })
    try {
      const { outcome, relist = [] } = await (changes
        ? this.#ask(location, 'shard.changes', changes)
        : this.#ask(location, 'shard.doubt', {}))
      known.trouble = null
      if (outcome === 'gone') this.unwatch(key)
      else answer(outcome, relist)
    } catch (error) {
      const { code, message, retryable } = toWire(error)
      if (known.trouble !== code)
        this.#setup.log('warn', `what changed in ${printable(location.root)} could not be stored: ${message}`)
      known.trouble = code
      // What a lost thread had still to ask for is not known.
      if (code === 'SHARD_LOST') answer('doubt')
      else if (retryable || code === 'INTERNAL') answer('busy')
      // It is watched again when its library can be opened again.
      else this.unwatch(key)
    }
  }

  #ask({ library, location }: WatchedLocation, operation: ShardOperation, params: object) {
    return this.#setup.ask(library, operation, { library, location, ...params }) as Promise<{
      outcome: Outcome['outcome'] | 'gone'
      relist?: readonly (number | string)[]
    }>
  }
}

function isSame(a: WatchedLocation, b: WatchedLocation): boolean {
  return a.root === b.root && JSON.stringify(a.rules ?? null) === JSON.stringify(b.rules ?? null)
}

function noRoom(ledger: Ledger, price: number): SpacedriveError {
  const { used, ceiling } = ledger.use('watches')
  const message = `the thread needs ${price} descriptors, of the class "watches" ${used} of ${ceiling} are in use`
  return new SpacedriveError('BUDGET_EXHAUSTED', message, { class: 'watches' })
}
