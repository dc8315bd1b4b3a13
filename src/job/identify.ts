// The job that has files read for the ids of what they hold. What is to be read stands in the library until it was, so that a run
// that is stopped anywhere, or killed, goes on with what is left.
import { setTimeout as sleep } from 'node:timers/promises'
import { LIMITS } from '../base/limits.js'
import type { Entry } from '../library/entries.js'
import type { Library } from '../library/library.js'
import type { JobRow } from '../library/jobs.js'
import type { Location } from '../library/locations.js'
import { TYPES } from '../scan/content-type.js'
import { CHANGED, type FilesRead, type FilesWanted } from '../scan/identify.js'
import type { Balance } from './balance.js'
import type { JobSetup } from './job.js'

/** Files read in another thread. On the signal it resolves with what was read by then. */
export type IdentifyFiles = (files: FilesWanted, signal: AbortSignal, balance: Balance) => Promise<FilesRead>

/** `gather`: from which entry on it is still to be seen which files were never read. */
interface Checkpoint {
  readonly gather: number | null
}

/** For a location whose files were not to be read before. */
export const GATHER_ALL = JSON.stringify({ gather: 0 } satisfies Checkpoint)

export async function identify(setup: JobSetup): Promise<void> {
  const { library, job, signal } = setup
  const location = library.locations.get(job.location!)
  library.indexInodes()
  await gather(setup, location)
  const reading = new Reading(setup, location, job.done + (await countWaiting(setup, location)))
  while (!signal.aborted) {
    await reading.drain()
    if (signal.aborted || !(await untilDue(library, location, signal))) return
  }
}

async function gather({ library, job, signal, breathe }: JobSetup, location: Location): Promise<void> {
  let from = job.checkpoint === null ? null : (JSON.parse(job.checkpoint) as Checkpoint).gather
  while (from !== null && !signal.aborted) {
    from = library.write(() => {
      const next = library.identities.gather(location.id, from!, location.mode === 'deep')
      const checkpoint = JSON.stringify({ gather: next } satisfies Checkpoint)
      library.jobs.writeProgress(job.id, { checkpoint, done: job.done, fraction: 0, failures: [] })
      return next
    })
    await breathe()
  }
}

async function countWaiting({ library, signal, breathe }: JobSetup, { id }: Location): Promise<number> {
  let total = 0
  for (let after: number | null = 0; after !== null && !signal.aborted; await breathe()) {
    const { count, last } = library.identities.count(id, after)
    total += count
    after = last
  }
  return total
}

/** A file that was being written is looked at again by the same job, if that is soon. */
async function untilDue(library: Library, { id }: Location, signal: AbortSignal): Promise<boolean> {
  const ms = library.identities.dueInMs(id)
  if (ms === null || ms > LIMITS.identifyWaitMs) return false
  await sleep(ms, undefined, { signal }).catch(() => {})
  return true
}

interface Batch {
  readonly entries: readonly Entry[]
  readonly read: Promise<FilesRead>
}

class Reading {
  readonly #setup: JobSetup
  readonly #location: Location
  readonly #total: number
  #done: number
  #bytes: number

  constructor(setup: JobSetup, location: Location, total: number) {
    this.#setup = setup
    this.#location = location
    this.#total = total
    this.#done = setup.job.done
    this.#bytes = setup.job.bytes ?? 0
  }

  /** Reads what waits, then what is due again. */
  async drain(): Promise<void> {
    const { identities } = this.#setup.library
    let after = 0
    await this.#readAll(() => {
      const next = identities.next(this.#location.id, after, LIMITS.identifyFilesMax)
      after = next.at(-1)?.id ?? after
      return next
    })
    const now = performance.now()
    // Each either is read or is due later, so that this comes to an end.
    for (let due = this.#due(now); due.length > 0 && !this.#setup.signal.aborted; due = this.#due(now)) {
      await this.#commit(this.#begin(due, this.#setup.signal))
    }
  }

  #due(now: number): Entry[] {
    return this.#setup.library.identities.due(this.#location.id, now, LIMITS.identifyFilesMax)
  }

  /** One batch is read while the one before it is written. */
  async #readAll(next: () => Entry[]): Promise<void> {
    const abort = new AbortController()
    const stop = () => abort.abort()
    this.#setup.signal.addEventListener('abort', stop)
    const ahead: Batch[] = []
    try {
      while (!this.#setup.signal.aborted) {
        while (ahead.length < LIMITS.identifyAheadMax) {
          const entries = next()
          if (entries.length === 0) break
          ahead.push(this.#begin(entries, abort.signal))
        }
        const first = ahead.shift()
        if (!first) return
        await this.#commit(first)
      }
    } finally {
      abort.abort()
      this.#setup.signal.removeEventListener('abort', stop)
      await Promise.allSettled(ahead.map(({ read }) => read))
    }
  }

  #begin(entries: readonly Entry[], signal: AbortSignal): Batch {
    const { library, identify: identifyFiles, balance } = this.#setup
    const media = this.#location.mode === 'deep'
    const read = identifyFiles({ ...wanted(library, entries), media }, signal, balance)
    // It is waited for in its turn, perhaps only after another one has failed.
    read.catch(() => {})
    return { entries, read }
  }

  async #commit({ entries, read }: Batch): Promise<void> {
    const { library, job, progressed, breathe } = this.#setup
    const result = await read
    if (result.count === 0) return
    library.note(() => this.#write(library, job, entries.slice(0, result.count), result))
    progressed()
    await breathe()
  }

  #write(library: Library, job: JobRow, entries: readonly Entry[], { ids, types, media, failures }: FilesRead): void {
    const { id: location } = this.#location
    const failed = new Map(failures.map((failure) => [failure.at, failure]))
    const seen = new Map(media?.map(({ at, ...each }) => [at, each]))
    const told = []
    for (const [at, entry] of entries.entries()) {
      const failure = failed.get(at)
      if (failure) library.identities.fail(location, entry, failure.code, failure.code === CHANGED)
      else if (library.identities.record(location, entry, ids[at]!, TYPES[types[at]!]!, seen.get(at)))
        this.#bytes += entry.size
      if (failure && !passes(failure.code)) told.push({ ...failure, path: library.entries.pathOfEntry(entry) })
      if (!failure || !passes(failure.code)) this.#done += 1
    }
    const total = Math.max(this.#total, this.#done)
    if (told.length > 0) {
      library.jobs.writeProgress(job.id, { checkpoint: null, done: this.#done, fraction: 0, failures: told })
    }
    library.jobs.writeRead(job.id, { done: this.#done, total, bytes: this.#bytes })
  }
}

/** A file that is written at this moment, or gone since it was indexed, is nothing a person has to mend. */
function passes(code: string): boolean {
  return code === CHANGED || code === 'FILE_NOT_FOUND' || code === 'ENOENT' || code === 'ENOTDIR'
}

export function wanted(library: Library, entries: readonly Entry[]): FilesWanted {
  return {
    paths: entries.map((entry) => library.entries.pathOfEntry(entry)),
    sizes: Float64Array.from(entries, ({ size }) => size),
    mtimes: Float64Array.from(entries, ({ mtime }) => mtime),
    inodes: BigUint64Array.from(entries, ({ inode }) => BigInt.asUintN(64, BigInt(inode))),
  }
}
