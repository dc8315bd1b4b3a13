// The daemon and its libraries.
import { z } from '../base/zod.js'
import type { LibraryItem } from '../protocol/messages.js'
import { VERSION } from '../version.js'
import { maybe, method, nothing, ofLibrary, text, truth, type Ask, type Asked, type Method } from './asking.js'
import { wrong } from './envelope.js'
import { EPOCH, LIBRARY_SETTINGS, libraryShape, statisticsShape, type Shape } from './shapes.js'

/** What it answers opens the library; so of a list only those that are open are counted. */
async function statisticsOf(ask: Ask, library: string): Promise<Shape> {
  const [counted, { total }] = await Promise.all([
    ask('libraries.info', { library }),
    ask('tags.list', { library, limit: 1 }),
  ])
  return statisticsShape(counted, total)
}

const list = method(z.object({ include_stats: truth }), async ({ ask, payload }) => {
  const shapes: Shape[] = []
  for (const library of await ask('libraries.list')) {
    const isCounted = payload.include_stats === true && library.open
    shapes.push(libraryShape(library, isCounted ? await statisticsOf(ask, library.id) : null))
  }
  return shapes
})

const one = ofLibrary(nothing, async ({ ask, library }) => {
  const { id, name, path, locations } = await ask('libraries.info', { library })
  const statistics = await statisticsOf(ask, library)
  const since = locations.map(({ addedAt }) => addedAt).sort()[0] ?? EPOCH
  const times = { created_at: since, updated_at: statistics['updated_at'] }
  return { id, name, description: null, path, ...times, settings: LIBRARY_SETTINGS, statistics }
})

const create = method(z.object({ name: text, path: maybe }), async ({ ask, payload }) => {
  if (payload.path) throw wrong('libraries lie in the data directory; leave `path` out')
  const { id, name, path } = await ask('libraries.create', { name: payload.name })
  return { library_id: id, name, path }
})

const open = method(z.object({ path: text }), async ({ ask, payload }) => {
  const known = (await ask('libraries.list')).find(({ path }) => path === payload.path)
  if (!known) throw wrong('no library of this daemon lies there')
  const { id, name, path } = await ask('libraries.open', { library: known.id })
  return { library_id: id, name, path }
})

const rename = method(z.object({ library_id: maybe, new_name: text }), async (asked) => {
  const { ask, payload } = asked
  const { id, name } = await nameOf(asked, payload.library_id)
  await ask('libraries.rename', { library: id, name: payload.new_name })
  return { library_id: id, old_name: name, new_name: payload.new_name }
})

const remove = method(z.object({ library_id: maybe, delete_data: truth }), async (asked) => {
  const { ask, payload } = asked
  const { id, name } = await nameOf(asked, payload.library_id)
  await ask('libraries.delete', { library: id, data: payload.delete_data === true })
  return { library_id: id, name }
})

async function nameOf(asked: Asked<unknown>, given: string | null | undefined): Promise<LibraryItem> {
  const library = given ?? asked.library
  const known = (await asked.ask('libraries.list')).find(({ id }) => id === library)
  if (!known) throw wrong(`no library ${library}`)
  return known
}

const status = method(nothing, async ({ ask, device, dataDir }) => {
  const [{ uptimeMs, watching }, libraries] = await Promise.all([ask('core.status'), ask('libraries.list')])
  const service = (running: boolean) => ({ running, details: null })
  return {
    version: VERSION,
    built_at: '',
    library_count: libraries.length,
    device_info: {
      id: device.id,
      name: device.name,
      slug: device.slug,
      os: osName(),
      hardware_model: null,
      created_at: EPOCH,
    },
    libraries: libraries.map((each) => libraryShape(each, null)),
    services: {
      location_watcher: service(watching.locations > 0),
      networking: service(false),
      volume_monitor: service(false),
      file_sharing: service(false),
    },
    network: NETWORK,
    system: {
      uptime: { secs: Math.floor(uptimeMs / 1_000), nanos: (uptimeMs % 1_000) * 1_000_000 },
      data_directory: dataDir,
      instance_name: null,
      current_library: libraries[0]?.name ?? null,
    },
  }
})

export function osName(): string {
  return process.platform === 'darwin' ? 'MacOS' : process.platform === 'linux' ? 'Linux' : 'Other'
}

export const NETWORK = {
  running: false,
  node_id: null,
  addresses: [],
  paired_devices: 0,
  connected_devices: 0,
  version: VERSION,
  relay_url: null,
} as const

export const OF_LIBRARIES: Readonly<Record<string, Method>> = {
  'core.status': status,
  'libraries.list': list,
  'libraries.info': one,
  'libraries.create': create,
  'libraries.open': open,
  'libraries.rename': rename,
  'libraries.delete': remove,
}
