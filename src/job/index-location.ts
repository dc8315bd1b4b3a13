// The job that makes the index of a location equal to the disk: the same for a first scan, a rescan, and one that goes
// on after a crash.
import { lstatSync } from 'node:fs'
import { fromSystem, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { giveBackMemory } from '../descriptors/memory.js'
import { rootSign } from '../library/apply.js'
import type { Entry } from '../library/entries.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import type { JobRow } from '../library/jobs.js'
import { encodeName, joined, printable } from '../scan/names.js'
import { microseconds } from '../scan/read.js'
import { inodeKey, plainInode } from '../scan/diff.js'
import { runOf, type Batch, type Place, type Run } from '../scan/walk.js'
import { enqueueIdentify } from './due.js'
import type { JobSetup } from './job.js'

/** Where an interrupted job goes on; `fresh` tells that the scan began on an empty location. */
interface Checkpoint {
  readonly fresh: boolean
  readonly place: Place | null
  readonly walked: boolean
  /** When the scan began, in milliseconds since 1970; null once something that the index knows could not be looked at. */
  readonly since?: number | null
  /** What the root was then, see `rootSign`. */
  readonly root?: string | null
}

/**
 * Runs to the end, or until the signal; then what is committed stays, and the same job can go on later.
 *
 * @throws PATH_REFUSED when the location itself cannot be read: nothing is concluded from that
 */
export async function indexLocation(setup: JobSetup): Promise<void> {
  const { library, job, walk, leftOut, signal, balance, committed, breathe } = setup
  const location = library.locations.get(job.location!)
  const start = readCheckpoint(job, library, location)
  const applier = library.applier(location, start.fresh)
  const left = job.left_out === null ? {} : (JSON.parse(job.left_out) as Record<string, number>)
  const root = readRoot(location)
  const reached = (place: Place | null, walked: boolean): string => {
    const since = applier.wasBlind ? null : (start.since ?? null)
    return JSON.stringify({ ...start, place, walked, since } satisfies Checkpoint)
  }
  const replaced = inodeKey(root.inode) !== storedRoot(library, location)?.inode
  if (!replaced || start.place) library.write(() => applier.updateRoot(root))
  // The root is an entry too, and no batch brings it.
  let done = Math.max(1, job.done)
  if (!start.walked) {
    const { rules } = location
    const options = { root: encodeName(location.path), leftOut, rules, after: start.place ?? undefined }
    for await (const batch of walk(options, signal, balance)) {
      const first = refuseUnreadableRoot(batch, location)
      if (first && replaced) {
        if (first.count === 0 && library.locations.entriesOf(location) > 1) throw emptied(location)
        library.write(() => applier.updateRoot(root))
      }
      const applied = library.commit(() =>
        applier.apply(batch, (sofar, place) => {
          done += sofar.entries
          for (const [rule, count] of Object.entries(sofar.leftOut)) left[rule] = (left[rule] ?? 0) + count
          const checkpoint = place && reached(place, false)
          const { fraction } = batch
          library.jobs.writeProgress(job.id, {
            checkpoint,
            done,
            fraction,
            leftOut: Object.keys(sofar.leftOut).length > 0 ? left : {},
            failures: sofar.failures.map((each) => ({ ...each, path: joined(location.path, each.path) })),
          })
        }),
      )
      if (start.fresh) library.indexNamesFrom(done)
      committed(applied, location)
      await breathe()
      while (applier.isMidway && !signal.aborted) {
        library.commit(() => applier.slice())
        await breathe()
      }
      if (signal.aborted) return
    }
    // A walk that is stopped while it waits for its next batch ends like one that is through.
    if (signal.aborted) return
    library.write(() =>
      library.jobs.writeProgress(job.id, { checkpoint: reached(null, true), done, fraction: 1, failures: [] }),
    )
  }
  for (;;) {
    const applied = library.commit(() => applier.finishSlice())
    if (!applied) break
    committed(applied, location)
    await breathe()
    if (signal.aborted) return
  }
  library.write(() => {
    library.locations.markScanned(location, left)
    const { since = null, root: sign = null } = start
    if (since !== null && sign !== null && !applier.wasBlind && sign === rootSign(location))
      library.locations.markLooked(location, { at: since, root: sign })
    library.identities.hurry(location.id)
    if (library.locations.get(location.uid).mode !== 'shallow') enqueueIdentify(library, location)
  })
  // The walk leaves as much as the end of the scan needs.
  const isLarge = done >= LIMITS.scanLargeMin
  if (isLarge) giveBackMemory()
  for (const _ of library.settle()) {
    await breathe()
    if (signal.aborted) return
  }
  if (isLarge) giveBackMemory()
}

function readCheckpoint(job: JobRow, library: Library, location: Location): Checkpoint {
  if (job.checkpoint !== null) return JSON.parse(job.checkpoint) as Checkpoint
  library.forgetMissing(location)
  return {
    fresh: location.scannedAt === null && library.locations.entriesOf(location) === 1,
    place: null,
    walked: false,
    since: Date.now(),
    root: rootSign(location),
  }
}

function storedRoot(library: Library, location: Location): Entry | undefined {
  const id = library.entries.rootOf(location)
  return id === undefined ? undefined : library.entries.byId(id)
}

function readRoot(location: Location): { size: number; mtime: number; inode: number | bigint } {
  try {
    const stat = lstatSync(encodeName(location.path), { bigint: true })
    if (!stat.isDirectory())
      throw new SpacedriveError('PATH_REFUSED', `${printable(location.path)} is no directory any more`)
    return { size: Number(stat.size), mtime: microseconds(stat.mtimeNs), inode: plainInode(stat.ino) }
  } catch (error) {
    throw unreadable(location, error)
  }
}

/** The run that lists the root itself, if this batch brings it. */
function refuseUnreadableRoot(batch: Batch, location: Location): Run | undefined {
  const root = rootIn(batch)
  if (root?.error) throw unreadable(location, Object.assign(new Error(root.error.message), { code: root.error.code }))
  return root
}

function rootIn({ runs }: Batch): Run | undefined {
  for (const run of runs) {
    if (!('directories' in run)) {
      if (run.directory === '') return run
    } else {
      const at = run.directories.depths.indexOf(~0)
      if (at >= 0) return runOf(run.directories, at, '')
    }
  }
  return undefined
}

/** Another directory than the one that was indexed, and nothing in it: what a mount point is without its disk. */
function emptied(location: Location): SpacedriveError {
  const message = `${printable(location.path)} is empty and another directory than the one that was indexed: is its disk mounted?`
  return new SpacedriveError('PATH_REFUSED', message, {
    hint: 'Mount the disk and rescan; its index is kept as it was. If it is to be empty, remove the location.',
  })
}

/** The index stays as it is: an unmounted disk is not an empty one. */
function unreadable(location: Location, error: unknown): SpacedriveError {
  const known = fromSystem(error)
  if (known.code === 'BUDGET_EXHAUSTED' || known.code === 'PATH_REFUSED') return known
  return new SpacedriveError('PATH_REFUSED', `${printable(location.path)} cannot be read: ${known.message}`, {
    cause: error,
    hint: 'Mount or restore the directory and rescan; its index is kept as it was.',
  })
}
