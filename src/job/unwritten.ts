// Stops of jobs that could not be written down, as on a full disk: in this process they hold all the same, the job says so, and each
// is written as soon as that is possible. A start before that knows nothing of them and goes on with the job.
import { toWire, type WireError } from '../base/errors.js'
import type { Library } from '../library/library.js'
import type { Pool } from '../library/pool.js'

/** What a stop asked for; without a reason a job keeps its state and goes on after the next start. */
export type StopReason = 'paused' | 'cancelled'

interface Stop {
  readonly library: string
  readonly job: string
  readonly reason: StopReason
  readonly why: WireError
}

export interface UnwrittenSetup {
  readonly pool: Pool
  /** After one was written. */
  readonly written: (library: Library, job: string) => void
}

const AGAIN_MS = 1_000

export class Unwritten {
  readonly #setup: UnwrittenSetup
  /** By job. */
  readonly #stops = new Map<string, Stop>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  #stopped = false

  constructor(setup: UnwrittenSetup) {
    this.#setup = setup
  }

  keep(library: Library, job: string, reason: StopReason, why: WireError): void {
    const stop = { library: library.id, job, reason, why }
    this.#stops.set(job, stop)
    library.jobs.stopUnwritten(job, reason, why)
    this.#tryAgain(stop)
  }

  /** One that was closed meanwhile has read its jobs from the disk again. */
  applyTo(library: Library): void {
    for (const { library: id, job, reason, why } of this.#stops.values())
      if (id === library.id) library.jobs.stopUnwritten(job, reason, why)
  }

  /** It was written, or is not to be any more. @returns false where there was none */
  forget(library: Library, job: string): boolean {
    library.jobs.forgetUnwritten(job)
    return this.#drop(job)
  }

  /** At the end: what can be written is. */
  stop(): void {
    this.#stopped = true
    for (const stop of [...this.#stops.values()]) {
      clearTimeout(this.#timers.get(stop.job))
      const library = this.#setup.pool.find(stop.library)
      try {
        if (library && !library.failure) this.#write(library, stop)
      } catch {
        // The next start goes on with the job, as was told.
      }
    }
  }

  #tryAgain(stop: Stop): void {
    clearTimeout(this.#timers.get(stop.job))
    this.#timers.set(stop.job, setTimeout(() => void this.#writeIn(stop), AGAIN_MS).unref())
  }

  async #writeIn(stop: Stop): Promise<void> {
    const isDue = () => !this.#stopped && this.#stops.get(stop.job) === stop
    try {
      await this.#setup.pool.hold(stop.library, async (library) => isDue() && this.#write(library, stop))
    } catch (error) {
      const { code } = toWire(error)
      if (code === 'LIBRARY_NOT_FOUND' || code === 'JOB_NOT_FOUND') this.#drop(stop.job)
      else if (isDue()) this.#tryAgain(stop)
    }
  }

  #write(library: Library, { job, reason }: Stop): void {
    library.note(() => library.jobs.setState(job, reason))
    this.forget(library, job)
    this.#setup.written(library, job)
  }

  #drop(job: string): boolean {
    clearTimeout(this.#timers.get(job))
    this.#timers.delete(job)
    return this.#stops.delete(job)
  }
}
