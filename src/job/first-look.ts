// Has what nobody watches scanned once after a start, when its library is first opened: it may have changed while no daemon ran.
// Directories that are as they were are not compared again.
import { lstatSync } from 'node:fs'
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import { encodeName } from '../scan/names.js'

export interface FirstLookSetup {
  /** The library, if it is open. */
  readonly peek: (id: string) => Library | undefined
  readonly takeUp: (library: Library) => void
  readonly log: (level: 'warn', message: string) => void
}

export class FirstLook {
  readonly #setup: FirstLookSetup
  /** Locations that were scanned, or are to be, since this thread began: one id of each location of its libraries. */
  readonly #looked = new Set<string>()
  /** By library. */
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(setup: FirstLookSetup) {
    this.#setup = setup
  }

  /** Somebody else has it scanned. */
  looked(location: string): void {
    this.#looked.add(location)
  }

  /** In a moment: whoever asked for the library is answered first. */
  opened(library: Library): void {
    if (this.#timers.has(library.id) || this.#left(library).length === 0) return
    const timer = setTimeout(() => {
      this.#timers.delete(library.id)
      this.#look(library)
    }, LIMITS.firstLookDelayMs)
    this.#timers.set(library.id, timer.unref())
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  #left(library: Library): Location[] {
    return library.locations
      .all()
      .filter(
        ({ uid, removing, watch, scannedAt }) => !removing && !watch && scannedAt !== null && !this.#looked.has(uid),
      )
  }

  /** A library that was closed meanwhile is looked at when it is opened again. */
  #look({ id, name }: Library): void {
    try {
      const library = this.#setup.peek(id)
      if (!library) return
      for (const location of this.#left(library).filter(isThere)) {
        if (!library.jobs.active('index', location.uid))
          library.write(() => library.jobs.enqueue('index', location.uid, library.locations.entriesOf(location)))
        this.#looked.add(location.uid)
      }
      this.#setup.takeUp(library)
    } catch (error) {
      this.#setup.log('warn', `"${name}" was not looked at after the start: ${toWire(error).message}`)
    }
  }
}

/** A disk that is not mounted is looked for again when the library is opened the next time, and is no failure until then. */
function isThere({ path }: Location): boolean {
  return lstatSync(encodeName(path), { throwIfNoEntry: false })?.isDirectory() === true
}
