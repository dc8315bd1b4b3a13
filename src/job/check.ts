// The job that reads a library through; what is wrong with it is told as its failures.
import { noter, type Work } from './job.js'

export const check: Work = async (setup) => {
  const { library, job, signal, breathe } = setup
  const found = await library.check(signal, noter(setup), breathe)
  if (signal.aborted) return
  const failures = found.map((message) => ({ path: library.path, code: 'LIBRARY_DAMAGED', message }))
  const { done } = library.jobs.get(job.id)
  library.note(() => library.jobs.writeProgress(job.id, { checkpoint: null, done, fraction: 1, failures }))
}
