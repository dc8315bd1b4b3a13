// Applies what a watcher found to have changed, as a scan would; while a job of the location is unfinished, it comes again later.
import { inodeKey, plainInode } from '../scan/diff.js'
import type { Batch } from '../scan/walk.js'
import type { Applier } from '../library/apply.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import type { Event } from '../protocol/messages.js'
import { Changes } from './changes.js'
import { LIMITS } from '../base/limits.js'

export interface FollowerSetup {
  readonly publish: (event: Omit<Event, 'at'>) => void
  /** Has the jobs of a library taken up. */
  readonly takeUp: (library: Library) => void
  /** Files of a location may be due to be read. */
  readonly readSoon: (library: Library, location: string) => void
  readonly breathe: () => Promise<void>
}

export interface Found {
  readonly location: string
  readonly batch: Batch
  readonly rootInode: bigint
  readonly first: boolean
  readonly last: boolean
}

export interface Followed {
  /** `gone`: it is not watched any more; `doubt`: the index knows of another root. */
  readonly outcome: 'done' | 'busy' | 'doubt' | 'gone'
  /** Inodes of directories whose contents the index lacks. */
  readonly relist?: readonly (number | string)[]
}

/** Where directories are replaced all the time, what is missing goes all the same. */
const DEFERRED_MAX = 3

export class Follower {
  readonly #setup: FollowerSetup
  readonly #appliers = new WeakMap<Library, Map<number, Applier>>()
  /** By location, inodes of the directories whose contents its index lacks: also after a library was closed and opened again. */
  readonly #unlisted = new Map<string, Set<number | string>>()

  /** By location, how often in a row the end was put off. */
  readonly #deferred = new Map<string, number>()

  constructor(setup: FollowerSetup) {
    this.#setup = setup
  }

  async apply(library: Library, { location: uid, batch, rootInode, first, last }: Found): Promise<Followed> {
    const location = watchedOf(library, uid)
    if (!location) return { outcome: 'gone' }
    if (library.jobs.active('index', uid)) return { outcome: 'busy' }
    if (rootOf(library, location) !== inodeKey(plainInode(rootInode))) return { outcome: 'doubt' }
    const changes = new Changes(LIMITS.jobProgressMs, (event) => this.#setup.publish({ ...event, library: library.id }))
    const applier = this.#applierOf(library, location)
    try {
      if (first) {
        if (!this.#deferred.has(uid)) library.forgetMissing(location)
        applier.restart()
      }
      changes.add(
        library.commit(() => applier.apply(batch, () => {})),
        location,
      )
      while (applier.isMidway) {
        await this.#setup.breathe()
        if (!watchedOf(library, uid)) return { outcome: 'gone' }
        library.commit(() => applier.slice())
      }
      if (!last) return { outcome: 'done' }
      const relist = this.#takeUnlisted(uid)
      if (this.#isDeferred(uid, relist)) return { outcome: 'done', relist }
      return (await this.#finish(library, location, applier, changes))
        ? { outcome: 'done', relist }
        : { outcome: 'busy' }
    } finally {
      changes.flush()
      if (location.mode !== 'shallow') this.#setup.readSoon(library, uid)
    }
  }

  /** Has it scanned, by a scan that has yet to begin. */
  doubt(library: Library, uid: string): Followed {
    const location = watchedOf(library, uid)
    if (!location) return { outcome: 'gone' }
    const active = library.jobs.active('index', uid)
    if (active) return { outcome: active.started_at === null ? 'done' : 'busy' }
    library.write(() => library.jobs.enqueue('index', uid, library.locations.entriesOf(location)))
    this.#setup.takeUp(library)
    return { outcome: 'done' }
  }

  /** What is missing may lie in a directory that is yet to be listed; and whatever is asked for, something is told after it. */
  #isDeferred(uid: string, relist: readonly unknown[]): boolean {
    const times = this.#deferred.get(uid) ?? 0
    const isDeferred = relist.length > 0 && times < DEFERRED_MAX
    if (isDeferred) this.#deferred.set(uid, times + 1)
    else this.#deferred.delete(uid)
    return isDeferred
  }

  /** False when a job began meanwhile: what is missing is then its affair. */
  async #finish(library: Library, location: Location, applier: Applier, changes: Changes): Promise<boolean> {
    for (;;) {
      const applied = library.commit(() => applier.finishSlice())
      if (!applied) return true
      changes.add(applied, location)
      await this.#setup.breathe()
      if (!watchedOf(library, location.uid) || library.jobs.active('index', location.uid)) return false
    }
  }

  #applierOf(library: Library, location: Location): Applier {
    let appliers = this.#appliers.get(library)
    if (!appliers) this.#appliers.set(library, (appliers = new Map()))
    let applier = appliers.get(location.id)
    if (!applier) appliers.set(location.id, (applier = library.follower(location, this.#unlistedOf(location.uid))))
    return applier
  }

  #unlistedOf(uid: string): Set<number | string> {
    let unlisted = this.#unlisted.get(uid)
    if (!unlisted) this.#unlisted.set(uid, (unlisted = new Set()))
    return unlisted
  }

  #takeUnlisted(uid: string): (number | string)[] {
    const unlisted = this.#unlistedOf(uid)
    const inodes = [...unlisted]
    unlisted.clear()
    return inodes
  }
}

function watchedOf(library: Library, uid: string): Location | undefined {
  return library.locations.all().find((each) => each.uid === uid && each.watch && !each.removing)
}

function rootOf(library: Library, location: Location): number | string | undefined {
  const id = library.entries.rootOf(location)
  return id === undefined ? undefined : library.entries.byId(id)?.inode
}
