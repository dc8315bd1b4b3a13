// Locations, and the jobs that read them.
import { LIMITS } from '../base/limits.js'
import { z } from '../base/zod.js'
import type { FileItem, JobItem, LocationItem } from '../protocol/messages.js'
import { MODES } from '../protocol/words.js'
import { collected, maybe, ofLibrary, nothing, text, truth, type Asked, type Method } from './asking.js'
import { wrong } from './envelope.js'
import { jobShape, jobStatus, locationShape, pathIn, sdPath, type Shape } from './shapes.js'

export async function locationShapes(asked: Pick<Asked, 'ask' | 'library' | 'device'>): Promise<Shape[]> {
  const { ask, library } = asked
  const [locations, { items: jobs }] = await Promise.all([
    ask('locations.list', { library }),
    ask('jobs.list', { library, limit: LIMITS.pageMax }),
  ])
  const shapes: Shape[] = []
  for (const location of locations) {
    const job = jobs.find((each) => each.state === 'running' && each.location === location.id)
    shapes.push(locationShape(location, await totalOf(asked, location), job, asked.device))
  }
  return shapes
}

/** Nothing where its root is not indexed yet. */
async function totalOf(
  { ask, library }: Pick<Asked, 'ask' | 'library'>,
  { path }: LocationItem,
): Promise<FileItem['total']> {
  try {
    return (await ask('files.get', { library, path })).total
  } catch {
    return undefined
  }
}

const list = ofLibrary(nothing, async (asked) => ({ locations: await locationShapes(asked) }))

const add = ofLibrary(
  z.object({ path: z.unknown(), name: maybe, mode: maybe }),
  async ({ ask, library, device, payload }) => {
    const { name } = payload
    const path = pathIn(payload.path, device)
    const mode = modeOf(payload.mode)
    const { location, job } = await ask('locations.add', {
      library,
      path,
      mode,
      watch: true,
      ...(name ? { name } : {}),
    })
    return { location_id: location, path: sdPath(path, device), name: name ?? null, job_id: job }
  },
)

/** Theirs go as far as ours can; a location that is not indexed at all there is none. */
function modeOf(named: string | null | undefined): string {
  const mode = (named ?? 'shallow').toLowerCase()
  if ((MODES as readonly string[]).includes(mode)) return mode
  return mode === 'none' ? 'shallow' : 'content'
}

const remove = ofLibrary(z.object({ location_id: text }), async ({ ask, library, payload }) => {
  const { location_id: location } = payload
  const known = (await ask('locations.list', { library })).find(({ id }) => id === location)
  await ask('locations.remove', { library, location })
  return { location_id: location, path: known?.path ?? null }
})

const rescan = ofLibrary(z.object({ location_id: text, full_rescan: truth }), async ({ ask, library, payload }) => {
  const { location_id: location, full_rescan: full } = payload
  const { job } = await ask('locations.rescan', { library, location })
  const known = (await ask('locations.list', { library })).find(({ id }) => id === location)
  return { location_id: location, location_path: known?.path ?? '', job_id: job, full_rescan: full ?? false }
})

const update = ofLibrary(z.object({ id: text, name: maybe }), async ({ ask, library, payload }) => {
  const { id: location, name } = payload
  if (!name) throw wrong('of a location only its name can be changed here')
  await ask('locations.update', { library, location, name })
  return { id: location }
})

const deepen = ofLibrary(z.object({ id: text, index_mode: maybe }), async ({ ask, library, payload }) => {
  const { id: location, index_mode: mode } = payload
  const { job } = await ask('locations.update', { library, location, mode: modeOf(mode ?? 'deep') })
  return { location_id: location, job_id: job ?? '' }
})

async function jobsOf({ ask, library }: Asked<unknown>): Promise<JobItem[]> {
  return (await collected((paging) => ask('jobs.list', { library, ...paging }), LIMITS.compatListMax)).found
}

const listJobs = ofLibrary(z.object({ status: maybe }), async (asked) => {
  const { status } = asked.payload
  const jobs = (await jobsOf(asked)).filter((job) => !status || jobStatus(job) === status)
  return { jobs: jobs.map((job) => jobShape(job, asked.device)) }
})

const active = ofLibrary(nothing, async (asked) => {
  const jobs = (await jobsOf(asked)).filter(({ state }) => state === 'running' || state === 'paused')
  const count = (state: string) => jobs.filter((job) => job.state === state).length
  const shapes = jobs.map((job) => jobShape(job, asked.device))
  return { jobs: shapes, running_count: count('running'), paused_count: count('paused') }
})

const named = z.object({ job_id: text })

const job = ofLibrary(named, async ({ ask, library, device, payload }) =>
  jobShape(await ask('jobs.info', { library, job: payload.job_id }), device),
)

function steer(operation: 'jobs.pause' | 'jobs.resume' | 'jobs.cancel'): Method {
  return ofLibrary(named, async ({ ask, library, payload }) => {
    await ask(operation, { library, job: payload.job_id })
    return { job_id: payload.job_id, success: true }
  })
}

export const OF_WORK: Readonly<Record<string, Method>> = {
  'locations.list': list,
  'locations.add': add,
  'locations.remove': remove,
  'locations.rescan': rescan,
  'locations.update': update,
  'locations.enable_indexing': deepen,
  'jobs.list': listJobs,
  'jobs.active': active,
  'jobs.info': job,
  'jobs.pause': steer('jobs.pause'),
  'jobs.resume': steer('jobs.resume'),
  'jobs.cancel': steer('jobs.cancel'),
}
