// Which libraries are asked for more than their shard can answer, and which other shards read them as well: decided here, for all
// threads that ask. The library's own shard goes on writing it alone, and keeps it open meanwhile. Who is asked is in spread.ts.
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Level } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import type { ShardOperation } from './lines.js'
import { placeOf } from './place.js'
import type { Reads } from './spread.js'

/** What needs the library for itself. */
export const ALONE: ReadonlySet<OperationName> = new Set(['libraries.close', 'libraries.delete', 'libraries.compact'])

export interface Shards {
  readonly count: number
  readonly level: Level
  /** Requests in flight of one shard, of all that ask; Infinity while it has no thread. */
  load(shard: number): number
  /** The part of the time since this was asked last in which a shard was not idle; 0 while it has no thread. */
  busy(shard: number): number
  /** What those that ask had read most since the last look. */
  reads(): readonly Reads[]
  /** By which other shards a library is read from now on. */
  tell(library: string, elsewhere: readonly number[]): void
  ask<T>(shard: number, operation: ShardOperation, params: unknown): Promise<T>
  log(level: 'info' | 'warn', message: string): void
}

interface Shared {
  readonly owner: number
  readonly elsewhere: Set<number>
  /** Looks in a row at which one shard would have been enough. */
  quiet: number
  ending: Promise<void> | null
  /** Settles when its own shard has said for how many it keeps the library open, which it may have to open first. */
  told: Promise<unknown>
}

export class Sharing {
  readonly #shards: Shards
  readonly #shared = new Map<string, Shared>()
  /** Looks in a row at which a library was too much for its shard. */
  #hot = new Map<string, number>()
  readonly #timer: NodeJS.Timeout | null

  constructor(shards: Shards) {
    this.#shards = shards
    this.#timer = shards.count > 1 ? setInterval(() => this.#look(), LIMITS.sharingLookMs).unref() : null
  }

  /** What has to be waited for before this may be asked; null for nothing. */
  before(operation: OperationName, library: string): Promise<void> | null {
    return this.#shared.has(library) && ALONE.has(operation) ? this.end(library) : null
  }

  /** Nobody but its own shard has it open when this resolves. */
  end(library: string): Promise<void> {
    const shared = this.#shared.get(library)
    if (!shared) return Promise.resolve()
    if (!shared.ending) {
      shared.ending = this.#end(library, shared)
      this.#tell(library, shared)
    }
    return shared.ending
  }

  /** A shard lost its thread, and with it what that had open. While a library is hot it is shared anew, with the next thread too. */
  lost(shard: number): void {
    for (const [library, { owner, elsewhere }] of this.#shared)
      if (owner === shard || elsewhere.has(shard)) void this.end(library)
  }

  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer)
    await Promise.all([...this.#shared.keys()].map((library) => this.end(library)))
  }

  #look(): void {
    const busy = Array.from({ length: this.#shards.count }, (_, shard) => this.#shards.busy(shard))
    const counts = new Map<string, number>()
    for (const [library, count] of this.#shards.reads()) counts.set(library, (counts.get(library) ?? 0) + count)
    const hottest = new Map<number, { library: string; count: number }>()
    for (const [library, count] of counts) {
      const owner = placeOf(library, this.#shards.count)
      if (count > (hottest.get(owner)?.count ?? 0)) hottest.set(owner, { library, count })
    }
    const before = this.#hot
    this.#hot = new Map()
    for (const [owner, { library }] of hottest) {
      if (this.#shared.has(library) || this.#shards.load(owner) < LIMITS.sharingInFlightMin) continue
      // Else it is whoever asks that cannot do more, and further threads would only take its core.
      if (busy[owner]! < LIMITS.sharingBusyMin) continue
      const looks = (before.get(library) ?? 0) + 1
      this.#hot.set(library, looks)
      if (looks >= LIMITS.sharingLooks && this.#shards.level === 'normal') void this.#begin(library, owner)
    }
    for (const [library, shared] of this.#shared) this.#endWhereQuiet(library, shared, busy)
  }

  /** Under pressure at once. */
  #endWhereQuiet(library: string, shared: Shared, busy: readonly number[]): void {
    const { level } = this.#shards
    const places = [shared.owner, ...shared.elsewhere]
    const load = sumOf(places, (each) => this.#shards.load(each))
    const enough = load < LIMITS.sharingInFlightMin || sumOf(places, (each) => busy[each]!) < LIMITS.sharingBusyEnd
    shared.quiet = enough ? shared.quiet + 1 : 0
    const pressed = level === 'high' || level === 'critical'
    if (pressed || shared.quiet * LIMITS.sharingLookMs > LIMITS.sharingQuietMs) void this.end(library)
  }

  async #begin(library: string, owner: number): Promise<void> {
    const shared: Shared = { owner, elsewhere: new Set(), quiet: 0, ending: null, told: Promise.resolve() }
    this.#shared.set(library, shared)
    try {
      const others = Array.from({ length: this.#shards.count }, (_, each) => each).filter((each) => each !== owner)
      // One writes, and one is left for what takes long.
      const wanted = Math.min(others.length, LIMITS.poolConnectionsMax - 2)
      const asked = { library, count: wanted }
      const telling = this.#shards.ask<{ path: string; count: number }>(owner, 'shard.share', asked)
      shared.told = telling.catch(() => null)
      const told = await telling
      // Its long searches have all its connections: it makes room, and is asked again while it is hot.
      if (told.count === 0 && !shared.ending) return void this.#shared.delete(library)
      others.sort((one, other) => this.#shards.load(one) - this.#shards.load(other))
      for (const each of others.slice(0, told.count)) await this.#open(library, told.path, shared, each)
      if (shared.elsewhere.size === 0) return await this.end(library)
      this.#shards.log('info', `library ${library} is read by ${1 + shared.elsewhere.size} shards`)
    } catch (error) {
      this.#shards.log('warn', `library ${library} is read by one shard only: ${toWire(error).message}`)
      await this.end(library)
    }
  }

  async #open(library: string, path: string, shared: Shared, shard: number): Promise<void> {
    if (shared.ending) return
    // Before the answer, so that an end that comes meanwhile closes it as well.
    const opening = this.#shards.ask<boolean>(shard, 'shard.copy', { library, path })
    if (!(await opening.catch(() => false)) || shared.ending) return
    shared.elsewhere.add(shard)
    this.#tell(library, shared)
  }

  #tell(library: string, { elsewhere, ending }: Shared): void {
    this.#shards.tell(library, ending ? [] : [...elsewhere])
  }

  async #end(library: string, shared: Shared): Promise<void> {
    // All that could have it: one may be opening it just now.
    const others = Array.from({ length: this.#shards.count }, (_, each) => each).filter((each) => each !== shared.owner)
    await Promise.all(others.map((each) => this.#shards.ask(each, 'shard.uncopy', { library }).catch(() => null)))
    // Told before it has opened the library for others it would do so afterwards, and keep it open for nobody.
    await shared.told
    await this.#shards.ask(shared.owner, 'shard.share', { library, count: 0 }).catch(() => null)
    this.#shared.delete(library)
  }
}

function sumOf(shards: readonly number[], of: (shard: number) => number): number {
  return shards.reduce((sum, shard) => sum + of(shard), 0)
}
