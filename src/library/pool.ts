// The open libraries of one thread, least recently used first: opens what is asked for, closes idle ones to make room.
import { basename } from 'node:path'
import type { Lease, LeaseHolder, Ledger } from '../descriptors/ledger.js'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { giveBackMemory, GivingBack } from '../descriptors/memory.js'
import { idleShare } from '../descriptors/pressure.js'
import { FOLDER_ENDING } from './folder.js'
import { Library } from './library.js'

export interface PoolObserver {
  opened(library: Library): void
  closed(library: Library): void
  /** The disk failed under it; it is closed now, and opens again only when a person asks. */
  failed?(library: Library, why: SpacedriveError): void
}

export class Pool {
  readonly #ledger: Ledger
  readonly #observer: PoolObserver
  /** Where each library of this thread lies, open or not. */
  readonly #paths = new Map<string, string>()
  /** In order of use, oldest first. */
  readonly #open = new Map<string, Library>()
  readonly #opening = new Map<string, Promise<Library>>()
  /** Whose disk failed, until they are opened by `open`. */
  readonly #failed = new Map<string, SpacedriveError>()
  /** Handed out in this turn of the event loop: whoever asked has yet to begin with them. */
  readonly #handedOut = new Set<Library>()
  /** The last of `#open`: moving it there again would change nothing. */
  #latest: Library | undefined
  /** Closed to make room, and when; oldest first. */
  readonly #evicted = new Map<string, number>()
  readonly #givingBack = new GivingBack()
  #openedCount = 0
  #evictedCount = 0
  /** Descriptors of leases that are waited for here, and what asks for room for them again and again. */
  #waitingFor = 0
  #again: NodeJS.Timeout | undefined
  #reopenedCount = 0
  #closing = false

  constructor(ledger: Ledger, observer: PoolObserver) {
    this.#ledger = ledger
    this.#observer = observer
  }

  know(id: string, path: string): void {
    this.#paths.set(id, path)
  }

  pathOf(id: string): string {
    const path = this.#paths.get(id)
    if (path === undefined) throw new SpacedriveError('LIBRARY_NOT_FOUND', `no library ${id}`)
    return path
  }

  /** The library if it is open: the fast way, without a promise. */
  peek(id: string): Library | undefined {
    const library = this.#open.get(id)
    if (!library) return undefined
    if (library.failure) throw library.failure
    if (this.#latest !== library) {
      this.#open.delete(id)
      this.#open.set(id, library)
      this.#latest = library
    }
    library.usedAt = performance.now()
    return library
  }

  /**
   * Opens it if need be; callers that ask at the same time share one open.
   *
   * @param check a person asked for it: one whose disk failed is checked, and opens if nothing is wrong with it
   */
  async get(id: string, check = false): Promise<Library> {
    const library = this.peek(id)
    if (library) {
      this.#keepThisTurn(library)
      return library
    }
    const failure = this.#failed.get(id)
    if (failure && !check) throw failure
    let opening = this.#opening.get(id)
    if (!opening) {
      opening = this.#openLibrary(id, check).finally(() => this.#opening.delete(id))
      this.#opening.set(id, opening)
    }
    return opening
  }

  /** Failed libraries that other threads read: they stay open until those were told to stop. */
  failedElsewhere(): string[] {
    const libraries = [...this.#open.values()].filter((each) => each.failure && each.sharedBy > 0)
    return libraries.map(({ id }) => id)
  }

  /** The library if it is open, also one that failed; it does not count as used. */
  find(id: string): Library | undefined {
    return this.#open.get(id)
  }

  /** Runs work that spans several turns; the library stays open meanwhile. */
  async hold<T>(id: string, work: (library: Library) => Promise<T>): Promise<T> {
    const library = await this.get(id)
    try {
      return await library.during(() => work(library))
    } finally {
      if (library.failure) this.closeFailed()
    }
  }

  /** Libraries whose disk failed are closed when nobody works on them any more. */
  closeFailed(): void {
    for (const library of [...this.#open.values()]) {
      if (library.failure && !inUse(library)) this.#close(library)
    }
  }

  /**
   * The same for work that needs `count` descriptors more. What is not there at once is waited for together with what the
   * library itself costs, while nothing is held: two that hold a library each would wait for each other.
   */
  async holdWith<T>(
    id: string,
    count: number,
    holder: LeaseHolder,
    work: (library: Library, lease: Lease) => T,
  ): Promise<T> {
    let library = await this.get(id)
    let lease = this.#whilePinned(library, () => this.#leaseNow(count, holder))
    if (!lease) {
      const both = await this.lease(this.#ledger.prices.library + count, holder)
      lease = both.split(count)
      try {
        library = this.#openWith(id, both)
      } catch (error) {
        lease.release()
        throw error
      }
    }
    return this.#whilePinned(library, () => work(library, lease))
  }

  #whilePinned<T>(library: Library, work: () => T): T {
    library.pins += 1
    try {
      return work()
    } finally {
      library.pins -= 1
    }
  }

  /** By work that spans several turns, or by other threads. */
  isInUse(id: string): boolean {
    const library = this.#open.get(id)
    return library !== undefined && inUse(library)
  }

  /** @returns false when it was not open */
  close(id: string): boolean {
    const library = this.#open.get(id)
    if (!library) return false
    if (inUse(library)) {
      throw new SpacedriveError('JOB_STATE', `library "${library.name}" has work running`, {
        hint: 'Wait until its jobs are done, or pause them.',
      })
    }
    this.#close(library)
    return true
  }

  forget(id: string): void {
    this.#paths.delete(id)
  }

  /** One library gives way: the least recently used of those idle for `idleMs`, one that was closed too early last of all. */
  makeRoom(idleMs = 0): boolean {
    const library = this.#idlest(idleMs)
    if (!library) return false
    this.#evict(library)
    return true
  }

  /** Closes what was not used for a while, the sooner the higher the pressure; called at intervals. */
  closeIdle(): void {
    this.closeFailed()
    const now = performance.now()
    const share = idleShare(this.#ledger.pressure)
    for (const library of [...this.#open.values()]) {
      library.shrink(LIMITS.poolReaderIdleMs * share)
      if (!inUse(library) && now - library.usedAt > LIMITS.libraryIdleMs * share) this.#close(library)
    }
  }

  /** Another thread cannot get what it needs: a library gives way if it is the idlest of all, or if that was not enough. */
  makeRoomElsewhere(urgent: boolean): void {
    const idleMs = this.#tellIdle()
    if (idleMs !== null && (urgent || !this.#ledger.idlerElsewhere(idleMs))) this.makeRoom()
  }

  /** Idle readers, then idle libraries give back what is asked of all threads; above the budget all that are not in use. */
  giveWay(): void {
    if (this.#givingBack.isDue(this.#ledger.causes.memory)) this.#giveBackMemory()
    this.#tellIdle()
    if (this.#ledger.askedBack === 0) return
    for (const library of this.#open.values()) this.#ledger.gaveBack(library.shrink(0))
    const idleMs = this.#ledger.pressure > 1 ? 0 : LIMITS.libraryRestMs
    while (this.#ledger.askedBack > 0 && this.makeRoom(idleMs)) this.#ledger.gaveBack(this.#ledger.prices.library)
  }

  #giveBackMemory(): void {
    for (const library of this.#open.values()) library.giveBackMemory()
    giveBackMemory()
  }

  /** Closes all, whoever uses them; nothing opens any more. */
  closeAll(): void {
    this.#closing = true
    for (const library of [...this.#open.values()]) this.#close(library)
  }

  get counts(): { open: number; opened: number; evicted: number; reopened: number } {
    return {
      open: this.#open.size,
      opened: this.#openedCount,
      evicted: this.#evictedCount,
      reopened: this.#reopenedCount,
    }
  }

  get connections(): number {
    let connections = 0
    for (const library of this.#open.values()) connections += library.connections
    return connections
  }

  /** Buys `count` descriptors of the libraries' class; idle libraries give way, here first, then in other threads. */
  async lease(count: number, holder: LeaseHolder): Promise<Lease> {
    const now = this.#leaseNow(count, holder)
    if (now) return now
    this.#waitingFor += count
    this.#ledger.want()
    // What became idle since, here or elsewhere, may have been given to somebody else: asking once is not enough.
    this.#again ??= setInterval(() => this.#makeRoomForWaiting() || this.#ledger.want(true), LIMITS.libraryRoomAgainMs)
    try {
      return await this.#ledger.acquire('libraries', count, holder, LIMITS.libraryLeaseWaitMs)
    } finally {
      this.#waitingFor -= count
      if (this.#waitingFor === 0) clearInterval(this.#again)
      if (this.#waitingFor === 0) this.#again = undefined
    }
  }

  /** Closes as many idle libraries as those who wait here are short of. False when that was not enough. */
  #makeRoomForWaiting(): boolean {
    let short = this.#waitingFor - this.#ledger.room('libraries')
    while (short > 0 && this.makeRoom()) short -= this.#ledger.prices.library
    return short <= 0
  }

  /** Closes idle libraries for it, but no more than it needs: where others are first in line, closing more helps nobody. */
  #leaseNow(count: number, holder: LeaseHolder): Lease | null {
    for (let freed = 0; ; freed += this.#ledger.prices.library) {
      const lease = this.#ledger.tryAcquire('libraries', count, holder, true)
      if (lease || freed >= count || this.#othersFirst() || !this.makeRoom()) return lease
    }
  }

  /** What another thread has not used for much longer goes before what was used here: no thread keeps what others lack. */
  #othersFirst(): boolean {
    const idleMs = this.#tellIdle()
    return idleMs === null || this.#ledger.idlerElsewhere(idleMs + LIMITS.libraryRestMs)
  }

  #tellIdle(): number | null {
    const idlest = this.#idlest(0)
    const idleMs = idlest ? performance.now() - idlest.usedAt : null
    this.#ledger.tellIdle(idleMs)
    return idleMs
  }

  async #openLibrary(id: string, check: boolean): Promise<Library> {
    const path = this.pathOf(id)
    const lease = await this.lease(this.#ledger.prices.library, {
      holder: `library ${basename(path, FOLDER_ENDING)}`,
      path,
    })
    return this.#openWith(id, lease, check)
  }

  /** Somebody who needed more than the library may have opened it while its lease was waited for. */
  #openWith(id: string, lease: Lease, check = false): Library {
    let path
    try {
      path = this.pathOf(id)
      const open = this.peek(id)
      if (open) {
        lease.release()
        this.#keepThisTurn(open)
        return open
      }
      if (this.#closing) throw new SpacedriveError('DRAINING', 'the daemon is stopping')
    } catch (error) {
      lease.release()
      throw error
    }
    const library = Library.open(id, path, this.#ledger, lease, check)
    this.#failed.delete(id)
    this.#openedCount += 1
    this.#noticeReopened(library)
    this.#open.set(id, library)
    this.#latest = library
    this.#keepThisTurn(library)
    this.#observer.opened(library)
    return library
  }

  /** Promises take a few steps to reach whoever asked; an open that comes in between must not close it again. */
  #keepThisTurn(library: Library): void {
    if (this.#handedOut.size === 0) setImmediate(() => this.#endTurn())
    this.#handedOut.add(library)
  }

  /** What was handed out is idle by now, unless it is held: the next in line may have its descriptors. */
  #endTurn(): void {
    this.#handedOut.clear()
    if (this.#waitingFor > 0 && !this.#othersFirst()) this.#makeRoomForWaiting()
  }

  /** First among those that may go, then among those that were asked for again soon after they had gone. */
  #idlest(idleMs: number): Library | undefined {
    const now = performance.now()
    let kept: Library | undefined
    for (const library of this.#open.values()) {
      if (now - library.usedAt < idleMs) break
      if (inUse(library) || this.#handedOut.has(library)) continue
      if (library.keptUntil <= now) return library
      kept ??= library
    }
    return kept
  }

  #evict(library: Library): void {
    this.#evictedCount += 1
    this.#evicted.delete(library.id)
    this.#evicted.set(library.id, performance.now())
    if (this.#evicted.size > LIMITS.librariesEvictedMax) this.#evicted.delete(this.#evicted.keys().next().value!)
    this.#close(library)
  }

  #noticeReopened(library: Library): void {
    const at = this.#evicted.get(library.id)
    if (at === undefined) return
    this.#evicted.delete(library.id)
    const now = performance.now()
    if (now - at > LIMITS.libraryReopenedMs) return
    this.#reopenedCount += 1
    library.keptUntil = now + LIMITS.libraryKeptMs
  }

  #close(library: Library): void {
    this.#open.delete(library.id)
    if (this.#latest === library) this.#latest = undefined
    library.close()
    this.#observer.closed(library)
    if (!library.failure) return
    this.#failed.set(library.id, library.failure)
    this.#observer.failed?.(library, library.failure)
  }
}

function inUse(library: Library): boolean {
  return library.pins > 0 || library.sharedBy > 0
}
