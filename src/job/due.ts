// Sees to it that files which are due to be read get a job: after a scan, after changes that were followed, and when one that
// could not be read is to be tried again.
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'

/** The job for what waits in a location; false where nothing does, or one has it already. In a transaction of the caller's. */
export function enqueueIdentify(library: Library, location: Location, checkpoint: string | null = null): boolean {
  const { jobs } = library
  const isDue = checkpoint !== null || library.identities.dueInMs(location.id) === 0
  if (!isDue || jobs.active('identify', location.uid)) return false
  jobs.forgetDone('identify', location.uid)
  jobs.enqueue('identify', location.uid, null, checkpoint)
  return true
}

export interface DueSetup {
  /** The library, if it is open. */
  readonly find: (id: string) => Library | undefined
  readonly takeUp: (library: Library) => void
  readonly log: (level: 'warn', message: string) => void
}

export class Due {
  readonly #setup: DueSetup
  /** By location. */
  readonly #timers = new Map<string, NodeJS.Timeout>()
  #stopped = false

  constructor(setup: DueSetup) {
    this.#setup = setup
  }

  /** After a moment, by which more may have come. */
  soon(library: Library, location: string, ms: number = LIMITS.identifyDelayMs): void {
    if (this.#stopped || this.#timers.has(location) || !library.identities.used) return
    const timer = setTimeout(() => {
      this.#timers.delete(location)
      this.#look(library.id, location)
    }, ms)
    this.#timers.set(location, timer.unref())
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  /** A library that was closed meanwhile is looked at when it is opened. */
  #look(id: string, uid: string): void {
    const library = this.#setup.find(id)
    if (!library || library.failure) return
    try {
      const location = library.locations.all().find((each) => each.uid === uid && !each.removing)
      if (location && location.mode !== 'shallow') this.#lookAt(library, location)
    } catch (error) {
      this.#setup.log('warn', `files of "${library.name}" wait to be read: ${toWire(error).message}`)
      this.soon(library, uid, LIMITS.identifyAgainMsMax)
    }
  }

  #lookAt(library: Library, location: Location): void {
    // At its end it comes here again.
    if (library.jobs.activeOf(location.uid).length > 0) return
    const ms = library.identities.dueInMs(location.id)
    if (ms === null) return
    if (ms > 0) return this.soon(library, location.uid, ms)
    if (library.write(() => enqueueIdentify(library, location))) this.#setup.takeUp(library)
  }
}
