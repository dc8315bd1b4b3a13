// What one run of a job takes and gives back in descriptors, and what it leaves behind: that is named, and taken back later.
import { fstatSync } from 'node:fs'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Lease, Ledger } from '../descriptors/ledger.js'
import type { JobDescriptors } from '../protocol/messages.js'
import { openGuarded, type GuardedFile } from '../scan/guard.js'

/** Descriptors bought all at once for files of a job, and the files opened under them. */
export interface JobLease extends Disposable {
  readonly count: number
  /** @throws BUDGET_EXHAUSTED when as many are open as were bought; else as `openGuarded` does */
  open(path: string): GuardedFile
  /** Closes what is open under it, and returns it. */
  release(): void
}

export class Balance {
  readonly #ledger: Ledger
  readonly #job: string
  readonly #held = new Set<Holding>()
  #taken = 0
  #returned = 0

  constructor(ledger: Ledger, job: string) {
    this.#ledger = ledger
    this.#job = job
  }

  /** All or nothing, waited for in line. @throws BUDGET_EXHAUSTED when the class could never hold that many, or on the signal */
  async acquire(count: number, path: string, signal?: AbortSignal): Promise<JobLease> {
    const holder = { holder: `job ${this.#job}`, path }
    const lease = await this.#ledger.acquire('jobs', count, holder, LIMITS.jobLeaseWaitMs, signal)
    const holding = new Holding(lease, path, () => {
      this.#returned += count
      this.#held.delete(holding)
    })
    this.#taken += count
    this.#held.add(holding)
    return holding
  }

  /** A thread works for this job, and with it what the thread holds; until the returned function is called. */
  lend(count: number): () => void {
    this.#taken += count
    return () => (this.#returned += count)
  }

  /** How it stands now; called at the end of the run. */
  sum(): JobDescriptors {
    const left = [...this.#held].reduce((sum, { count }) => sum + count, 0)
    return { taken: this.#taken, returned: this.#returned, left, ...(left > 0 ? { leaks: this.#leaks() } : {}) }
  }

  #leaks(): NonNullable<JobDescriptors['leaks']> {
    return [...this.#held].slice(0, LIMITS.jobLeaksKeptMax).map(({ count, path, lease }) => {
      const where = lease.where()
      return { path, count, ...(where ? { where: [...where] } : {}) }
    })
  }

  /** Closes what was left open, if it is still what was opened, and gives the leases back. Returns how many that were. */
  takeBack(): number {
    const left = [...this.#held]
    for (const holding of left) holding.release()
    return left.reduce((sum, { count }) => sum + count, 0)
  }
}

class Holding implements JobLease {
  readonly count: number
  readonly path: string
  readonly lease: Lease
  readonly #ended: () => void
  readonly #open = new Set<GuardedFile>()
  #isReleased = false

  constructor(lease: Lease, path: string, ended: () => void) {
    this.count = lease.count
    this.path = path
    this.lease = lease
    this.#ended = ended
  }

  open(path: string): GuardedFile {
    if (this.#isReleased || this.#open.size >= this.count) {
      throw new SpacedriveError('BUDGET_EXHAUSTED', `the lease for ${this.path} covers ${this.count} files`, {
        class: 'jobs',
      })
    }
    const { fd, stat, close: closeFile } = openGuarded(path)
    const close = () => {
      if (this.#open.delete(file)) closeFile()
    }
    const file: GuardedFile = { fd, stat, close, [Symbol.dispose]: close }
    this.#open.add(file)
    return file
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    for (const file of this.#open) if (isStill(file)) file.close()
    this.lease.release()
    this.#ended()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** A job that closed the number past its lease no longer owns it. */
function isStill({ fd, stat }: GuardedFile): boolean {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true })
    return dev === stat.dev && ino === stat.ino
  } catch {
    return false
  }
}
