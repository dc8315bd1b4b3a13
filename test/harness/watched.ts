// A library with one watched location, and what is to be seen of it.
import { eventually, type Loose, type TestDaemon } from './daemon.js'
import { disk, sameAsDisk } from './scene.js'

export interface WatchedLibrary {
  readonly library: string
  readonly location: string
  readonly root: string
}

/** Watched, and as on disk. */
export async function watched(daemon: TestDaemon, root: string): Promise<WatchedLibrary> {
  const { id: library } = await daemon.call('libraries.create', { name: 'watched' })
  const { location, job } = await daemon.call('locations.add', { library, path: root, watch: true })
  await daemon.jobDone(library, job)
  await isWatched(daemon, { library, location, root })
  return { library, location, root }
}

/** All that can be watched is, and whatever that made necessary to scan was scanned. */
export async function isWatched(daemon: TestDaemon, { library }: WatchedLibrary): Promise<void> {
  await eventually('it is watched', 60_000, async () => {
    const [{ watch, watched: how }] = await daemon.call('locations.list', { library })
    return watch && how?.state === 'watched' && (await idle(daemon, library))
  })
}

/** By `ms` from now, and then it stays so. */
export async function settled(daemon: TestDaemon, { library, root }: WatchedLibrary, ms = 60_000): Promise<void> {
  const same = async () => {
    // Cheaper to ask for than all of them.
    const { entries } = await daemon.call('libraries.info', { library })
    if (entries !== disk(root).size + 1) return false
    return await sameAsDisk(daemon, library, root).then(
      () => idle(daemon, library),
      () => false,
    )
  }
  await eventually('the index is as the disk', ms, same).catch(() => sameAsDisk(daemon, library, root))
}

export async function jobsOf(daemon: TestDaemon, library: string): Promise<Loose[]> {
  return (await daemon.call('jobs.list', { library, limit: 1000 })).items
}

async function idle(daemon: TestDaemon, library: string): Promise<boolean> {
  return (await jobsOf(daemon, library)).every(({ state }) => state !== 'queued' && state !== 'running')
}
