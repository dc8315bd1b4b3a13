// What Spacedrive's interface asks for before it shows anything: its settings, devices, volumes and spaces. A server keeps none of
// them; it answers with what is true of it, so that the interface goes on to libraries and files.
import { z } from '../base/zod.js'
import { maybe, method, nothing, ofLibrary, text, type Method } from './asking.js'
import { uuidOf } from './device.js'
import { wrong } from './envelope.js'
import { EVENT_NAMES, NOISY } from './event-names.js'
import { NETWORK, osName } from './of-libraries.js'
import { allTags } from './of-tags.js'
import { EPOCH, LIBRARY_SETTINGS, type Shape } from './shapes.js'

const settings = method(nothing, async ({ dataDir }) => ({
  version: 1,
  data_dir: dataDir,
  log_level: 'info',
  telemetry_enabled: false,
  preferences: { theme: 'system', language: 'en' },
  job_logging: { enabled: false, log_directory: '', max_file_size: 0, include_debug: false, log_ephemeral_jobs: false },
  services: {
    networking_enabled: false,
    volume_monitoring_enabled: false,
    fs_watcher_enabled: true,
    statistics_listener_enabled: false,
  },
  logging: { main_filter: 'info' },
  proxy_pairing: {
    auto_accept_vouched: false,
    auto_vouch_to_all: false,
    vouch_signature_max_age: 0,
    vouch_response_timeout: 0,
    vouch_queue_retry_limit: 0,
  },
  spacebot: { enabled: false, base_url: '', auth_token: null, default_agent_id: '', default_sender_name: '' },
}))

const librarySettings = ofLibrary(nothing, async ({ ask, library }) => {
  await ask('libraries.info', { library })
  return LIBRARY_SETTINGS
})

const devices = method(nothing, async ({ device }) => [
  {
    id: device.id,
    name: device.name,
    slug: device.slug,
    os: osName(),
    os_version: null,
    hardware_model: null,
    cpu_model: null,
    cpu_architecture: process.arch,
    cpu_cores_physical: null,
    cpu_cores_logical: null,
    cpu_frequency_mhz: null,
    memory_total_bytes: null,
    form_factor: 'Server',
    manufacturer: null,
    gpu_models: null,
    boot_disk_type: null,
    boot_disk_capacity_bytes: null,
    swap_total_bytes: null,
    network_addresses: [],
    capabilities: {},
    is_online: true,
    last_seen_at: EPOCH,
    sync_enabled: false,
    created_at: EPOCH,
    updated_at: EPOCH,
    is_current: true,
    is_paired: false,
    is_connected: false,
    connection_method: null,
  },
])

function spaceOf(library: string): Shape {
  const id = uuidOf(`spacedrive space ${library}`)
  const times = { created_at: EPOCH, updated_at: EPOCH }
  return { id, name: 'All Files', icon: 'Planet', color: '#3B82F6', order: 0, ...times }
}

const spaces = ofLibrary(nothing, async ({ library }) => ({ spaces: [spaceOf(library)] }))
const space = ofLibrary(nothing, async ({ library }) => ({ space: spaceOf(library) }))

/** One space for a library: its overview, its locations, its tags. */
const layout = ofLibrary(nothing, async (asked) => {
  const { ask, library } = asked
  const one = spaceOf(library)
  const locations = await ask('locations.list', { library })
  const tags = await allTags(asked)
  return {
    id: one['id'],
    space: one,
    space_items: [spaceEntry(one, null, 'Overview', 0)],
    groups: [
      groupShape(
        one,
        'Locations',
        0,
        locations.map(({ id }) => ({ Location: { location_id: id } })),
      ),
      groupShape(
        one,
        'Tags',
        1,
        tags.map(({ id }) => ({ Tag: { tag_id: id } })),
      ),
    ],
  }
})

function groupShape(one: Shape, name: 'Locations' | 'Tags', order: number, kinds: readonly unknown[]): Shape {
  const id = uuidOf(`${String(one['id'])} ${name}`)
  const group = { id, space_id: one['id'], name, group_type: name, is_collapsed: false, order, created_at: EPOCH }
  return { group, items: kinds.map((kind, at) => spaceEntry(one, id, kind, at)) }
}

function spaceEntry(one: Shape, group: string | null, kind: unknown, order: number): Shape {
  const id = uuidOf(`${String(one['id'])} ${JSON.stringify(kind)}`)
  return { id, space_id: one['id'], group_id: group, item_type: kind, order, created_at: EPOCH, resolved_file: null }
}

const events = method(nothing, async () => ({
  all_events: EVENT_NAMES,
  noisy_events: NOISY,
  event_info: EVENT_NAMES.map((variant) => ({ variant, is_noisy: NOISY.includes(variant), description: '' })),
}))

const echo = method(z.object({ message: text, count: z.number().nullish() }), async ({ payload }) => ({
  echo: payload.message,
  count: payload.count ?? 1,
  extension_works: true,
}))

function always(answer: unknown): Method {
  return () => Promise.resolve(answer)
}

/** In words, where Spacedrive would speak to other devices. */
function off(what: string): Method {
  return () => Promise.reject(wrong(`${what} is not enabled: this daemon speaks to no other device`))
}

const unsafe = method(z.object({ confirm: z.unknown().optional(), reason: maybe }), () =>
  Promise.reject(wrong('a daemon is not reset over the wire; delete libraries one by one')),
)

/** Whatever would be asked of a network that is not there. */
export const OFF: readonly [pattern: RegExp, method: Method][] = [
  [/^network\./, off('networking')],
  [/^sync\./, off('sync')],
  [/^volumes\./, off('the care of volumes')],
]

export const OF_INTERFACE: Readonly<Record<string, Method>> = {
  'config.app.get': settings,
  'config.library.get': librarySettings,
  'core.events.list': events,
  'core.reset': unsafe,
  'devices.list': devices,
  'volumes.list': always({ volumes: [] }),
  'spaces.list': spaces,
  'spaces.get': space,
  'spaces.get_layout': layout,
  'locations.suggested': always({ locations: [] }),
  'jobs.remote.all_devices': always({ jobs_by_device: {} }),
  'jobs.remote.for_device': always({ jobs: [] }),
  'models.whisper.list': always({ models: [], total_downloaded_size: 0 }),
  'network.status': always(NETWORK),
  'network.devices.list': always({ devices: [], total: 0, connected: 0 }),
  'network.pair.status': always({ sessions: [] }),
  'sync.activity': always({ currentState: 'Uninitialized', peers: [], errorCount: 0 }),
  'sync.eventLog': always({ events: [] }),
  'test.ping': echo,
}
