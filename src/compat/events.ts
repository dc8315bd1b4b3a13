// What happens here, told as Spacedrive tells it: translated once for all who follow, in order, and the last of it kept for who comes.
import { LIMITS } from '../base/limits.js'
import { isWithin } from '../base/places.js'
import { z, type Infer } from '../base/zod.js'
import type { Dispatch, Event, JobItem } from '../protocol/messages.js'
import type { Publisher } from '../front/front.js'
import { askBy, checkedFilter, maybe, truth, type Ask } from './asking.js'
import { EVENT_NAMES } from './event-names.js'
import { locationShapes } from './of-work.js'
import { allTags } from './of-tags.js'
import { fileShape, jobName, pathIn, progressOf, sdPath, tagShape, type Shape } from './shapes.js'
import type { Here } from './tongue.js'

/** One event of theirs, with what a filter looks at. */
export interface Told {
  readonly name: string
  /** As it is sent. */
  readonly line: string
  readonly library: string | null
  readonly job: string | null
  readonly resource: string | null
  /** Empty where it may concern any path. */
  readonly paths: readonly string[]
}

const filter = z.object({
  library_id: maybe,
  job_id: maybe,
  device_id: maybe,
  resource_type: maybe,
  path_scope: z.unknown().optional(),
  include_descendants: truth,
})

export type Wanted = (told: Told) => boolean

/** @throws Malformed, BAD_REQUEST for a path that is not of this machine */
export function wantedBy(types: readonly string[], asked: unknown, { device }: Here): Wanted {
  const wanted = checkedFilter(filter, asked)
  const { path_scope: scope, include_descendants: isDeep } = wanted
  const path = scope == null ? null : pathIn(scope, device)
  // A line may name a quarter of a million, and each event is held against it for each who follows.
  const names = types.length === 0 ? null : new Set(types.filter((each) => EVENT_NAMES.includes(each)))
  return (told) =>
    (names === null || names.has(told.name)) &&
    concerns(told, wanted) &&
    (path === null || told.paths.length === 0 || told.paths.some((each) => isIn(each, path, isDeep === true)))
}

function concerns(told: Told, { library_id, job_id, resource_type }: Infer<typeof filter>): boolean {
  // What went or moved is told by this alone, of whatever kind it was.
  if (resource_type != null && told.resource !== resource_type && told.name !== REFRESH.name) return false
  if (library_id != null && told.library !== null && told.library !== library_id) return false
  return job_id == null || told.job === null || told.job === job_id
}

/** Without what is below: the directory itself, or what lies in it. */
function isIn(path: string, scope: string, isDeep: boolean): boolean {
  if (isDeep) return isWithin(path, scope)
  return path === scope || (isWithin(path, scope) && path.lastIndexOf('/') <= Math.max(1, scope.length))
}

export const REFRESH = told('Refresh', null)
export const SHUTDOWN = told('CoreShutdown', null)

type Following = (told: Told) => void

export class Interpreter {
  readonly #here: Here
  readonly #ask: Ask
  readonly #followers = new Set<Following>()
  #recent: { readonly told: Told; readonly at: number }[] = []
  #waiting = 0
  #last: Promise<void> = Promise.resolve()
  readonly #end: () => void
  /** What jobs were last heard of to be, by id: theirs tell what changed, ours what is. */
  readonly #jobs = new Map<string, JobItem['state']>()
  readonly #libraries = new Map<string, { name: string; path: string }>()

  constructor(publisher: Publisher, dispatch: Dispatch, here: Here) {
    this.#here = here
    this.#ask = askBy((request, answer) => void dispatch(request, answer))
    this.#end = publisher.subscribe({}, (event) => this.#take(event))
  }

  /** @returns what happened a moment ago, and what ends it */
  follow(following: Following): { readonly recent: readonly Told[]; readonly end: () => void } {
    this.#followers.add(following)
    const since = performance.now() - LIMITS.compatReplayMs
    const recent = this.#recent.filter(({ at }) => at >= since).map(({ told: each }) => each)
    return { recent, end: () => this.#followers.delete(following) }
  }

  stop(): void {
    this.#end()
    this.#followers.clear()
  }

  /** One after the other: what is asked for one event must not be overtaken by the next. */
  #take(event: Event): void {
    if (this.#waiting >= LIMITS.compatEventsWaitingMax) return this.#tell(REFRESH)
    this.#waiting += 1
    this.#last = this.#last
      .then(() => this.#translate(event))
      // Its library may be closed or gone by now: what it was cannot be told, but that something was.
      .catch(() => this.#tell(REFRESH))
      .then(() => void (this.#waiting -= 1))
  }

  #tell(each: Told): void {
    this.#recent.push({ told: each, at: performance.now() })
    if (this.#recent.length > LIMITS.compatReplayEvents) this.#recent.shift()
    for (const following of this.#followers) following(each)
  }

  async #translate(event: Event): Promise<void> {
    const [group] = event.type.split('.')
    // Theirs know a library when it is there.
    if (event.type === 'library.copying') return
    if (group === 'library') return this.#ofLibrary(event)
    if (group === 'job') return this.#ofJob(event)
    // The others have to be asked for: not while nobody listens.
    const isWorth = group === 'location' || group === 'entries' || group === 'tags'
    if (!isWorth) return
    if (this.#followers.size === 0) return this.#tell(REFRESH)
    if (group === 'location') return this.#ofLocation(event)
    if (group === 'tags') return this.#ofTag(event)
    return this.#ofEntries(event)
  }

  async #ofLibrary({ type, library: id = '', ...event }: Event): Promise<void> {
    const { name, path } = await this.#libraryOf(id, event)
    const where = { library: id }
    switch (type) {
      case 'library.created':
        return this.#tell(told('LibraryCreated', { id, name, path, source: 'Manual' }, where))
      case 'library.opened':
        return this.#tell(told('LibraryOpened', { id, name, path }, where))
      case 'library.closed':
        return this.#tell(told('LibraryClosed', { id, name }, where))
      case 'library.deleted':
        this.#libraries.delete(id)
        return this.#tell(told('LibraryDeleted', { id, name, deleted_data: false }, where))
      case 'library.failed': {
        const { code = '', message = '' } = (event['error'] ?? {}) as { code?: string; message?: string }
        return this.#tell(told('LibraryLoadFailed', { id, path, error: message, error_type: code }, where))
      }
      default:
        return this.#tell(resource('library', { id, name, path, stats: null }, id))
    }
  }

  async #libraryOf(
    id: string,
    { name, path }: Readonly<Record<string, unknown>>,
  ): Promise<{ name: string; path: string }> {
    if (!this.#libraries.has(id) && typeof path !== 'string') {
      for (const each of await this.#ask('libraries.list')) this.#libraries.set(each.id, each)
    }
    const before = this.#libraries.get(id) ?? { name: '', path: '' }
    const known = {
      name: typeof name === 'string' ? name : before.name,
      path: typeof path === 'string' ? path : before.path,
    }
    this.#libraries.set(id, known)
    return known
  }

  #ofJob({ library = '', ...event }: Event): void {
    const job = event['job'] as JobItem
    const before = this.#jobs.get(job.id)
    this.#jobs.delete(job.id)
    const isOver = job.state === 'done' || job.state === 'failed' || job.state === 'cancelled'
    if (!isOver) this.#jobs.set(job.id, job.state)
    if (this.#jobs.size > LIMITS.compatJobsKnownMax) this.#jobs.delete(this.#jobs.keys().next().value!)
    for (const [name, more] of jobNews(job, before)) {
      const body = { job_id: job.id, job_type: jobName(job.kind), device_id: this.#here.device.id, ...more }
      this.#tell(told(name, body, { library, job: job.id }))
    }
  }

  async #ofLocation({ type, library = '', ...event }: Event): Promise<void> {
    const location = event['location'] as string
    const path = (event['path'] as string | undefined) ?? ''
    const where = { library_id: library, location_id: location }
    if (type === 'location.removed') {
      this.#tell(told('LocationRemoved', where, { library }))
      return this.#tell(gone('location', location, library))
    }
    if (type === 'location.added') this.#tell(told('LocationAdded', { ...where, path }, { library }))
    const { device } = this.#here
    const shapes = await locationShapes({ ask: this.#ask, library, device })
    const shape = shapes.find(({ id }) => id === location)
    if (shape) this.#tell(resource('location', shape, library))
  }

  async #ofTag({ library = '', ...event }: Event): Promise<void> {
    const tag = event['tag'] as string
    if (event['change'] === 'deleted') return this.#tell(gone('tag', tag, library))
    const found = (await allTags({ ask: this.#ask, library })).find(({ id }) => id === tag)
    if (found) this.#tell(resource('tag', tagShape(found, this.#here.device), library))
    // Which files it is on now is not told.
    if (event['change'] === 'applied' || event['change'] === 'removed') this.#tell(REFRESH)
  }

  /** What changed is told by directory; few enough are asked for as they are now, of many it is told that they changed. */
  async #ofEntries({ library = '', ...event }: Event): Promise<void> {
    const count = (name: string) => Number(event[name] ?? 0)
    const directories = (event['directories'] as readonly string[] | undefined) ?? []
    this.#tell(told('FilesModified', { library_id: library, paths: directories }, { library, paths: directories }))
    const fresh = count('added') + count('changed')
    const isFew = fresh <= LIMITS.compatChangesMax && directories.length < LIMITS.directoriesToldMax
    if (isFew && fresh > 0) this.#tell(await this.#files(library, directories))
    if (!isFew || count('moved') + count('removed') > 0) this.#tell(REFRESH)
  }

  async #files(library: string, directories: readonly string[]): Promise<Told> {
    const { device } = this.#here
    const files: Shape[] = []
    for (const path of directories) {
      const page = await this.#ask('files.list', { library, path, sort: 'modified', limit: LIMITS.compatChangesMax })
      for (const file of page.items) files.push(fileShape(file, device))
    }
    const metadata = metadataOf(directories.map((path) => sdPath(path, device)))
    const body = { resource_type: 'file', resources: files, metadata }
    return told('ResourceChangedBatch', body, { library, resource: 'file', paths: directories })
  }
}

/** What is new about a job, each as the name of an event and what only that one says. */
function jobNews(job: JobItem, before: JobItem['state'] | undefined): [string, Shape][] {
  const progress = progressOf(job)
  switch (job.state) {
    case 'queued':
      return before === undefined ? [['JobQueued', {}]] : before === 'paused' ? [['JobResumed', {}]] : []
    case 'paused':
      return [['JobPaused', {}]]
    case 'cancelled':
      return [['JobCancelled', {}]]
    case 'failed':
      return [['JobFailed', { error: job.error?.message ?? '' }]]
    case 'done':
      return [...started(before), ['JobCompleted', { output: { type: 'Success' } }]]
    case 'running':
      return [...started(before), ['JobProgress', { progress, message: null, generic_progress: progressShape(job) }]]
  }
}

function started(before: JobItem['state'] | undefined): [string, Shape][] {
  if (before === 'running') return []
  return [[before === 'paused' ? 'JobResumed' : 'JobStarted', {}]]
}

function progressShape(job: JobItem): Shape {
  const { done, total, bytes, unit } = job.progress
  return {
    percentage: progressOf(job),
    phase: jobName(job.kind),
    current_path: null,
    message: `${done} ${unit}`,
    completion: { completed: done, total: total ?? 0, bytes_completed: bytes ?? null, total_bytes: null },
    performance: { rate: 0, estimated_remaining: null, elapsed: null, error_count: job.failureCount, warning_count: 0 },
  }
}

function metadataOf(affected: readonly Shape[]): Shape {
  return { no_merge_fields: ['sd_path'], alternate_ids: [], affected_paths: affected }
}

function resource(type: string, shape: Shape, library: string): Told {
  const body = { resource_type: type, resource: shape, metadata: metadataOf([]) }
  return told('ResourceChanged', body, { library, resource: type })
}

function gone(type: string, id: string, library: string): Told {
  return told('ResourceDeleted', { resource_type: type, resource_id: id }, { library, resource: type })
}

function told(name: string, body: Shape | null, more: Partial<Omit<Told, 'name' | 'line'>> = {}): Told {
  const line = JSON.stringify({ Event: body === null ? name : { [name]: body } })
  return { name, line, library: null, job: null, resource: null, paths: [], ...more }
}
