// What a job is given to work with, whatever its kind.
import { LIMITS } from '../base/limits.js'
import type { Applied } from '../library/apply.js'
import type { JobRow } from '../library/jobs.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import type { Batch, WalkOptions } from '../scan/walk.js'
import type { Balance } from './balance.js'
import type { IdentifyFiles } from './identify.js'

/** A walk in another thread, batch by batch; it reads ahead by a few. What a batch brings is gone when the next one is asked for. */
export type Walker = (options: Omit<WalkOptions, 'read'>, signal: AbortSignal, balance: Balance) => AsyncIterable<Batch>

export interface JobSetup {
  readonly library: Library
  readonly job: JobRow
  readonly walk: Walker
  readonly identify: IdentifyFiles
  readonly leftOut: readonly string[]
  /** Aborted when the job is paused, cancelled, or the thread drains. */
  readonly signal: AbortSignal
  readonly balance: Balance
  /** After each commit that changed entries. */
  readonly committed: (applied: Applied, location: Location) => void
  /** After each commit of progress that changed none. */
  readonly progressed: () => void
  /** Lets waiting requests of this thread go first. */
  readonly breathe: () => Promise<void>
}

/**
 * Runs to the end, or until the signal; what is committed by then stays, and the same job goes on later from there. What it
 * throws ends it as failed, unless that is retryable: then it stands in line again.
 */
export type Work = (setup: JobSetup) => Promise<void>

/** Notes how far a job is, now and then: for one that writes nothing else. */
export function noter({ library, job, progressed }: JobSetup): (done: number, total: number) => void {
  let noted = 0
  return (done, total) => {
    if (done < total && performance.now() - noted < LIMITS.jobProgressMs) return
    noted = performance.now()
    const fraction = total === 0 ? 1 : done / total
    library.note(() => library.jobs.writeProgress(job.id, { checkpoint: null, done, fraction, failures: [] }))
    progressed()
  }
}
