// Directories that could not be read are tried again, with all that lies below them and nothing else, until they can be.
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import type { Event } from '../protocol/messages.js'
import { encodeName, relativeTo } from '../scan/names.js'
import { Balance } from './balance.js'
import { Changes } from './changes.js'
import type { Walker } from './job.js'

export interface VerifierSetup {
  readonly ledger: Ledger
  readonly walk: Walker
  readonly leftOut: readonly string[]
  /** Opens the library if need be, and keeps it open meanwhile. */
  readonly hold: (library: string, work: (library: Library) => Promise<void>) => Promise<void>
  readonly publish: (event: Omit<Event, 'at'>) => void
  readonly breathe: () => Promise<void>
  readonly log: (message: string) => void
}

interface Turn {
  readonly timer: NodeJS.Timeout
  /** Doubled at each round that brought nothing. */
  readonly pauseMs: number
}

export class Verifier {
  readonly #setup: VerifierSetup
  readonly #turns = new Map<string, Turn>()
  readonly #stop = new AbortController()
  readonly #running = new Map<string, Promise<void>>()

  constructor(setup: VerifierSetup) {
    this.#setup = setup
  }

  /** Called when a library opens, and when something in it could not be read; the pause of one that waits already stays. */
  consider(library: Library): void {
    if (this.#turns.has(library.id) || this.#running.has(library.id) || !library.unverified.any) return
    this.#wait(library.id, LIMITS.unverifiedMs)
  }

  forget(library: string): void {
    clearTimeout(this.#turns.get(library)?.timer)
    this.#turns.delete(library)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    for (const library of [...this.#turns.keys()]) this.forget(library)
    await Promise.all(this.#running.values())
  }

  /** Tries now what is to be tried; for tests and for whoever mended something. */
  async round(id: string, pauseMs: number = LIMITS.unverifiedMs): Promise<void> {
    if (this.#running.has(id) || this.#stop.signal.aborted) return
    this.forget(id)
    const run = this.#round(id, pauseMs).finally(() => this.#running.delete(id))
    this.#running.set(id, run)
    await run
  }

  async #round(id: string, pauseMs: number): Promise<void> {
    let left = true
    let gained = false
    try {
      await this.#setup.hold(id, async (library) => {
        for (const location of library.locations.all()) gained = (await this.#tryAll(library, location)) || gained
        left = library.unverified.any
      })
    } catch (error) {
      const { code, message } = toWire(error)
      if (code === 'LIBRARY_NOT_FOUND') return
      this.#setup.log(`what could not be read is not tried again yet: ${message}`)
    }
    if (left && !this.#stop.signal.aborted)
      this.#wait(id, gained ? LIMITS.unverifiedMs : Math.min(2 * pauseMs, LIMITS.unverifiedMsMax))
  }

  #wait(id: string, pauseMs: number): void {
    if (this.#stop.signal.aborted) return
    const timer = setTimeout(() => void this.round(id, pauseMs), pauseMs).unref()
    this.#turns.set(id, { timer, pauseMs })
  }

  /** True when some of it could be read. A scan that is unfinished does the same, and so does whoever watches. */
  async #tryAll(library: Library, location: Location): Promise<boolean> {
    const before = library.unverified.count(location.id)
    if (before === 0 || location.watch || isBusy(library, location)) return false
    const starts = library.unverified.next(location.id).flatMap((id) => relativePath(library, location, id))
    if (starts.length > 0) await this.#walk(library, location, starts)
    return library.unverified.count(location.id) < before
  }

  async #walk(library: Library, location: Location, starts: readonly string[]): Promise<void> {
    const { walk, leftOut, ledger, publish, breathe } = this.#setup
    const applier = library.applier(location, false)
    const changes = new Changes(LIMITS.jobProgressMs, (event) => publish({ ...event, library: library.id }))
    const ended = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, ended.signal])
    const options = { root: encodeName(location.path), leftOut, rules: location.rules, starts }
    library.write(() => library.forgetMissing(location))
    try {
      for await (const batch of walk(options, signal, new Balance(ledger, 'directories tried again'))) {
        if (isBusy(library, location)) return ended.abort()
        changes.add(
          library.commit(() => applier.apply(batch, () => {})),
          location,
        )
        await breathe()
      }
      while (!signal.aborted && !isBusy(library, location)) {
        const applied = library.commit(() => applier.finishSlice())
        if (!applied) return
        changes.add(applied, location)
        await breathe()
      }
    } finally {
      changes.flush()
    }
  }
}

function isBusy(library: Library, { uid }: Location): boolean {
  const now = library.locations.all().find((each) => each.uid === uid)
  return !now || now.removing || library.jobs.active('index', uid) !== undefined
}

function relativePath(library: Library, location: Location, id: number): string[] {
  const path = library.entries.directoryPath(id)
  if (path === '') return []
  return [relativeTo(location.path, path)]
}
