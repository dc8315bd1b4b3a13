// What jobs that read files to their ends have in common: batches of a bounded number of bytes, and what becomes of each file.
import { LIMITS } from '../base/limits.js'
import type { Entry } from '../library/entries.js'
import type { FileFailure, FilesRead } from '../scan/identify.js'
import { wanted } from './identify.js'
import type { JobSetup } from './job.js'

/** As many of them as are read between two commits; one at least. */
export function batchOf(entries: readonly Entry[]): readonly Entry[] {
  let bytes = 0
  const end = entries.findIndex(({ size }, at) => at > 0 && (bytes += size) > LIMITS.wholeBatchBytes)
  return end < 0 ? entries : entries.slice(0, end)
}

export class Wholes {
  readonly #setup: JobSetup
  readonly #total: number
  #done: number
  #bytes: number

  /** @param total files, with those that were done before */
  constructor(setup: JobSetup, total: number) {
    this.#setup = setup
    this.#total = total
    this.#done = setup.job.done
    this.#bytes = setup.job.bytes ?? 0
  }

  get done(): number {
    return this.#done
  }

  skip(): void {
    this.#done += 1
  }

  read(entries: readonly Entry[], whole: 'hash' | 'compare'): Promise<FilesRead> {
    const { library, identify, signal, balance } = this.#setup
    return identify({ ...wanted(library, entries), whole }, signal, balance)
  }

  /** Notes what became of them, in one transaction. @param note true for one that is done with; a failure always is */
  commit(
    entries: readonly Entry[],
    failures: readonly FileFailure[],
    checkpoint: string | null,
    note: (entry: Entry, at: number) => boolean,
  ): void {
    const { library, job, progressed } = this.#setup
    const failed = new Map(failures.map((each) => [each.at, each]))
    library.note(() => {
      const told = []
      for (const [at, entry] of entries.entries()) {
        const isNoted = note(entry, at)
        const failure = failed.get(at)
        if (failure) told.push({ ...failure, path: library.entries.pathOfEntry(entry) })
        if (!failure && !isNoted) continue
        this.#done += 1
        if (!failure) this.#bytes += entry.size
      }
      if (told.length > 0 || checkpoint !== null)
        library.jobs.writeProgress(job.id, { checkpoint, done: this.#done, fraction: 0, failures: told })
      const total = Math.max(this.#total, this.#done)
      library.jobs.writeRead(job.id, { done: this.#done, total, bytes: this.#bytes })
    })
    progressed()
  }
}
