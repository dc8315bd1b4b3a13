// `start --location PATH`: sees to it that each path is a location, and shows its indexing.
import { setTimeout as sleep } from 'node:timers/promises'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { JobItem, LibraryItem } from '../protocol/messages.js'
import { covering, listLibraries, listLocations, listOf, USUAL_LIBRARY, type Asked, type Listed } from './choice.js'
import type { Desk } from './desk.js'
import { follow, isFinished, mustBeDone, openGauge, summary } from './progress.js'
import { safe } from './text.js'

interface Indexing {
  readonly job: string
  readonly leavesOut?: readonly string[]
}

/** Adds each path that no location covers, rescans those that one does. Rejects when `stop` is aborted meanwhile. */
export async function addRoots(desk: Desk, asked: Asked, roots: readonly string[], stop: AbortSignal): Promise<void> {
  if (roots.length === 0) return
  const library = await usualLibrary(asked)
  for (const root of roots) {
    const { job, leavesOut } = await indexJob(asked, library.id, root)
    for (const rule of leavesOut ?? []) desk.note(`leaves out ${safe(rule)}`)
    const gauge = openGauge(desk.terminal, 'indexing', false)
    const close = () => gauge.close()
    stop.addEventListener('abort', close)
    try {
      const pause = () => sleep(LIMITS.jobProgressMs, undefined, { signal: stop })
      const done = await follow(asked, { library: library.id, job }, (each) => stop.aborted || gauge.show(each), pause)
      gauge.close()
      mustBeDone(done)
      for (const line of summary(done, `indexed ${safe(root)}`)) desk.note(line)
    } finally {
      gauge.close()
      stop.removeEventListener('abort', close)
    }
  }
}

async function usualLibrary(asked: Asked): Promise<LibraryItem> {
  const libraries = await listLibraries(asked)
  const found = libraries.length === 1 ? libraries[0] : libraries.find(({ name }) => name === USUAL_LIBRARY)
  return found ?? asked.call<LibraryItem>('libraries.create', { name: USUAL_LIBRARY })
}

async function indexJob(asked: Asked, library: string, root: string): Promise<Indexing> {
  const covered = covering(await listLocations(asked, library), root)
  if (!covered) return asked.call<Indexing>('locations.add', { library, path: root })
  const { id } = covered.location
  try {
    return await asked.call<Indexing>('locations.rescan', { library, location: id })
  } catch (error) {
    const running =
      error instanceof SpacedriveError && error.code === 'JOB_STATE' ? await runningJob(asked, library, id) : undefined
    if (running === undefined) throw error
    return { job: running }
  }
}

/** After a kill the daemon resumes the job by itself; that one is followed. */
async function runningJob(asked: Asked, library: string, location: string): Promise<string | undefined> {
  const jobs = listOf(await asked.call<Listed<JobItem>>('jobs.list', { library }))
  return jobs.find((job) => job.location === location && !isFinished(job))?.id
}
