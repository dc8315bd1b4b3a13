// The job that compares the files of some groups of duplicates byte by byte. What was found of each stands in the library as soon as
// it was, so that a run that is stopped anywhere goes on with those that are left.
import { LIMITS } from '../base/limits.js'
import type { Entry } from '../library/entries.js'
import { VERDICT } from '../scan/whole.js'
import type { JobSetup, Work } from './job.js'
import { batchOf, Wholes } from './wholes.js'

/** What its checkpoint says. */
export interface Compare {
  readonly contentIds: readonly string[]
  /** The group that is compared, and whether what was known of it before is forgotten. */
  readonly at: number
  readonly begun: boolean
  /** Up to which entry they were compared with the first of those that are left. */
  readonly model?: number
  readonly after?: number
}

export const compare: Work = async (setup) => {
  const { library, job, signal } = setup
  const start = JSON.parse(job.checkpoint!) as Compare
  const { contentIds } = start
  const groups = contentIds.map((each) => BigInt(`0x${each}`))
  const total = groups.reduce((sum, cid) => sum + library.comparisons.namesOf(cid), 0)
  const comparison = new Comparison(setup, total, start)
  for (let { at, begun } = start; at < groups.length && !signal.aborted; at++, begun = false) {
    if (!begun) comparison.begin(groups[at]!, { contentIds, at, begun: true })
    await comparison.run(groups[at]!)
  }
}

class Comparison {
  readonly #setup: JobSetup
  readonly #wholes: Wholes
  #place: Compare

  constructor(setup: JobSetup, total: number, place: Compare) {
    this.#setup = setup
    this.#place = place
    this.#wholes = new Wholes(setup, total)
  }

  begin(cid: bigint, place: Compare): void {
    this.#place = place
    const { library, job } = this.#setup
    library.write(() => {
      library.comparisons.forget(cid)
      const progress = { checkpoint: JSON.stringify(place), done: this.#wholes.done, fraction: 0, failures: [] }
      library.jobs.writeProgress(job.id, progress)
    })
  }

  /** One set after the other: all that are equal to the first of those that are left. */
  async run(cid: bigint): Promise<void> {
    const { library, signal } = this.#setup
    for (let sets = 0; sets < LIMITS.compareSetsMax && !signal.aborted;) {
      const [model] = library.comparisons.left(cid, 0, 1)
      if (!model) return
      if (await this.#oneSet(cid, model)) sets += 1
    }
  }

  /** False where the first could not be read, or changed: then nothing is known of those that were equal to it. */
  async #oneSet(cid: bigint, model: Entry): Promise<boolean> {
    const { signal } = this.#setup
    const { model: before, after: reached = model.id } = this.#place
    for (let after = before === model.id ? reached : model.id; ;) {
      const { others, isLast } = this.#after(cid, after)
      const files = [model, ...others]
      const { count, verdicts, failures } = await this.#wholes.read(files, 'compare')
      if (signal.aborted || count === 0) return false
      const failed = new Set(failures.map(({ at }) => at))
      const isRead = verdicts![0] === VERDICT.equal
      after = others.at(-1)?.id ?? after
      this.#place = { ...this.#place, model: model.id, after }
      this.#wholes.commit(files, failures, JSON.stringify(this.#place), (entry, at) => {
        if (at === 0) return isRead ? isLast && this.#record(entry, model.id) : this.#lose(cid, entry)
        if (failed.has(at)) return this.#record(entry, 0)
        return verdicts![at] === VERDICT.equal && this.#record(entry, model.id)
      })
      await this.#setup.breathe()
      if (!isRead || isLast) return isRead
    }
  }

  #after(cid: bigint, after: number): { others: readonly Entry[]; isLast: boolean } {
    const most = LIMITS.identifyFilesMax - 1
    const left = this.#setup.library.comparisons.left(cid, after, most)
    const others = batchOf(left)
    return { others, isLast: others.length === left.length && left.length < most }
  }

  #record(entry: Entry, first: number): boolean {
    return this.#setup.library.comparisons.record(entry, first)
  }

  #lose(cid: bigint, model: Entry): boolean {
    this.#setup.library.comparisons.forget(cid, model.id)
    return this.#record(model, 0)
  }
}
