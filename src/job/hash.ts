// The job that reads files to their ends for the hash of every byte.
import { LIMITS } from '../base/limits.js'
import type { Entry } from '../library/entries.js'
import { DIGEST_BYTES } from '../scan/whole.js'
import type { JobSetup, Work } from './job.js'
import { batchOf, Wholes } from './wholes.js'

/** What its checkpoint says: entries, of which the first `done` of the job are done with. */
export interface Hash {
  readonly entries: readonly number[]
}

export const hash: Work = async (setup) => {
  const { library, job, signal, breathe } = setup
  const { entries: ids } = JSON.parse(job.checkpoint!) as Hash
  const wholes = new Wholes(setup, ids.length)
  while (wholes.done < ids.length && !signal.aborted) {
    const next = library.entries.byId(ids[wholes.done]!)
    if (next) await some(setup, wholes, ids)
    // It is gone, and its hash is nothing anybody waits for.
    else wholes.skip()
    await breathe()
  }
}

/** Up to the next one that is gone. */
async function some({ library, signal }: JobSetup, wholes: Wholes, ids: readonly number[]): Promise<void> {
  const entries = ids.slice(wholes.done, wholes.done + LIMITS.identifyFilesMax).map((id) => library.entries.byId(id))
  const end = entries.indexOf(undefined)
  const files = batchOf((end < 0 ? entries : entries.slice(0, end)) as Entry[])
  const { count, digests, failures } = await wholes.read(files, 'hash')
  if (count === 0 && !signal.aborted) throw new Error('nothing was read')
  const failed = new Set(failures.map(({ at }) => at))
  wholes.commit(files.slice(0, count), failures, null, (entry, at) => {
    if (!failed.has(at))
      library.identities.recordHash(entry, digests!.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES))
    return true
  })
}
