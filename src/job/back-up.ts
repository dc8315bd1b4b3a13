// The job that copies a library while it is used. What it made when it was interrupted is thrown away, and it begins again.
import { PRICES } from '../descriptors/prices.js'
import { isWritten } from '../library/backup.js'
import { noter, type Work } from './job.js'

/** What its checkpoint says. */
export interface BackUp {
  readonly to: string
}

export const backUp: Work = async (setup) => {
  const { library, job, signal, balance } = setup
  const { to } = JSON.parse(job.checkpoint!) as BackUp
  if (isWritten(to, library.path)) return
  using _lease = await balance.acquire(PRICES.library, to, signal)
  await library.backUp(to, { job: job.id, signal, progressed: noter(setup) })
}
