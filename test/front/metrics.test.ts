// GET /metrics: text that Prometheus reads, for those who have the token.
import http from 'node:http'
import test from 'ava'
import { Pulse } from '../../src/base/pulse.js'
import { METRICS_TYPE, metricsText } from '../../src/front/metrics.js'
import { CLASSES, type ClassUse, type DescriptorClass, type Status } from '../../src/protocol/messages.js'
import { parseExposition } from './exposition.js'
import { kinds, withStage } from './stage.js'

// Asked before any test is declared: ava takes no test after a wait.
const fronts = await kinds()

const use: ClassUse = { used: 3, floor: 4, ceiling: 50, peak: 9, refused: 2, waited: 1 }

const status: Status = {
  pid: 1,
  version: 'a "quoted" \\ version\nof two lines',
  uptimeMs: 12_345,
  state: 'serving',
  front: 'uws',
  native: true,
  errorsSurvived: 0,
  events: { subscriptions: 3, published: 70, dropped: 11, coalesced: 12 },
  watching: { locations: 2, live: 92, polled: 8, reasons: ['a reason'] },
  lineProtocol: null,
  http: null,
  socket: null,
  limit: { softAtStart: 1_024, soft: 4_096, hard: Number.MAX_SAFE_INTEGER },
  descriptors: {
    open: 120,
    base: 30,
    budget: 4_000,
    reserveHeld: 15,
    highest: 251,
    reserve: 16,
    unaccounted: 2,
    level: 'high',
    since: '2026-01-02T03:04:05.000Z',
    pressure: 0.9,
    reason: 'many',
    free: 3_976,
    exhaustionSeconds: 90.5,
    classes: Object.fromEntries(CLASSES.map((name) => [name, use])) as Record<DescriptorClass, ClassUse>,
  },
  connections: {
    current: 5,
    max: 50,
    peak: 7,
    accepted: 1_000,
    refused: 12,
    refusedBy: { clients: 10, starved: 2 },
    accept: 'failing',
    acceptFailures: 3,
    unreadBytes: 4_096,
    unreadCut: 2,
    wrongTokens: 3,
  },
  pressure: {
    memory: {
      level: 'high',
      since: '2026-01-02T03:04:05.000Z',
      pressure: 0.9,
      reason: '900 of the 1000 MB',
      refused: 4,
    },
    loop: { level: 'normal', since: '2026-01-02T03:04:05.000Z', pressure: 0.1, reason: '10 ms', refused: 5 },
    queue: { level: 'normal', since: '2026-01-02T03:04:05.000Z', pressure: 0, reason: '0 ms', refused: 0 },
  },
  loop: { utilization: 0.1, delayMs: 1, stalls: 1, stalledMs: 5_012 },
  libraries: { known: 9, open: 4, connections: 6, opened: 9, evicted: 20, reopened: 1 },
  shards: [
    { id: 0, libraries: 3, inFlight: 2, queued: 1, restarts: 0, stalledMs: 0, givenUp: 4, overloaded: 5 },
    { id: 1, libraries: 1, inFlight: 0, queued: 0, restarts: 2, stalledMs: 0, givenUp: 4, overloaded: 5 },
  ],
  jobs: { running: 1, queued: 3 },
}

const pulse = new Pulse()

function valueOf(text: string, name: string, labels: Record<string, string> = {}): number | undefined {
  const samples = parseExposition(text).get(`spacedrive_${name}`)?.samples ?? []
  const wanted = Object.entries(labels)
  return samples.find((sample) => wanted.every(([key, value]) => sample.labels[key] === value))?.value
}

test('every figure is there, in base units and under one prefix', (t) => {
  const text = metricsText(status, pulse)
  for (const name of parseExposition(text).keys()) t.regex(name, /^spacedrive_[a-z_]+$/)
  const value = (name: string, labels?: Record<string, string>) => valueOf(text, name, labels)
  t.is(value('uptime_seconds'), 12.345)
  t.is(value('descriptors_limit', { bound: 'soft' }), 4_096)
  t.is(value('descriptors_open'), 120)
  t.is(value('descriptors_highest'), 251)
  t.is(value('descriptors_reserve', { kind: 'held' }), 15)
  t.is(value('descriptors_exhaustion_seconds'), 90.5)
  t.is(value('descriptors_level', { level: 'high' }), 1)
  t.is(value('descriptors_level', { level: 'normal' }), 0)
  for (const name of CLASSES) {
    t.is(value('descriptors_used', { class: name }), 3)
    t.is(value('descriptors_refused_total', { class: name }), 2)
  }
  t.is(value('pressure_level', { cause: 'memory', level: 'high' }), 1)
  t.is(value('pressure_level', { cause: 'loop', level: 'high' }), 0)
  t.is(value('pressure_ratio', { cause: 'memory' }), 0.9)
  t.is(value('pressure_refused_total', { cause: 'loop' }), 5)
  t.is(value('connections_refused_total', { reason: 'clients' }), 10)
  t.is(value('connections_accept', { state: 'failing' }), 1)
  t.is(value('connections_accept_failures_total'), 3)
  t.is(value('answers_unread_bytes'), 4_096)
  t.is(value('answers_unread_cut_total'), 2)
  t.is(value('shard_given_up_total', { shard: '1' }), 4)
  t.is(value('event_loop_stalls_total'), 0)
  t.is(value('shard_restarts_total', { shard: '1' }), 2)
  t.is(value('library_connections'), 6)
  t.is(value('libraries_evicted_total'), 20)
  t.is(value('jobs_queued'), 3)
  t.is(value('watched_directories', { how: 'polled' }), 8)
  t.is(value('events_dropped_total'), 11)
  t.is(value('events_coalesced_total'), 12)
  t.true(value('process_cpu_seconds_total', { mode: 'user' })! > 0)
  t.true(value('heap_used_bytes')! > 1e6)
})

test('labels are escaped, and what is not in sight is infinite', (t) => {
  const calm = { ...status, descriptors: { ...status.descriptors, exhaustionSeconds: null, highest: null } }
  const text = metricsText(calm, pulse)
  const [sample] = parseExposition(text).get('spacedrive_build_info')!.samples
  t.is(sample!.labels['version'], status.version)
  t.is(valueOf(text, 'descriptors_exhaustion_seconds'), Infinity)
  t.is(valueOf(text, 'descriptors_highest'), undefined)
})

test('the parser of these tests finds what is wrong', (t) => {
  const head = '# HELP a_total some help\n# TYPE a_total counter\n'
  t.notThrows(() => parseExposition(`${head}a_total{b="c"} 1\n`))
  const wrong = [
    `${head}a_total 1`,
    `${head}a_total 1 \n`,
    `${head}a_total one\n`,
    `${head}a_total{b=c} 1\n`,
    `${head}a_total{b="c"d="e"} 1\n`,
    `${head}a_total{b="\\q"} 1\n`,
    `${head}a_total 1\na_total 2\n`,
    `${head}b_total 1\n`,
    `${head}\n`,
    head,
    '# TYPE a_total counter\na_total 1\n',
    '# HELP a some help\n# TYPE a counter\na 1\n',
    '# HELP a some help\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
  ]
  for (const text of wrong) t.throws(() => parseExposition(text), undefined, text)
})

for (const kind of fronts) {
  const options = { metrics: () => metricsText(status, pulse) }

  test(`${kind}: the page needs the token, and its type names the version of the format`, (t) =>
    withStage(kind, options, async ({ ask }) => {
      t.is((await ask({ path: '/metrics', token: null })).status, 401)
      const page = await ask({ path: '/metrics' })
      t.is(page.status, 200)
      t.is(page.headers['content-type'], METRICS_TYPE)
      t.is(page.headers['cache-control'], 'no-store')
      t.true(parseExposition(page.body).size > 30)
      t.is((await ask({ path: '/metrics?name=a', unix: true })).status, 200)
    }))

  test(`${kind}: HEAD tells the length and sends nothing, on a connection that goes on; others are refused`, (t) =>
    withStage(kind, { metrics: () => 'a 1\n' }, async ({ ask, front }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const head = await ask({ path: '/metrics', method: 'HEAD', agent })
      t.deepEqual([head.status, head.headers['content-length'], head.body], [200, '4', ''])
      const page = await ask({ path: '/metrics', agent })
      t.deepEqual([page.status, page.headers['content-length'], page.body], [200, '4', 'a 1\n'])
      t.is((await ask({ path: '/nope', method: 'HEAD', agent })).body, '')
      t.is(front.connections().accepted, 1)
      const posted = await ask({ path: '/metrics', method: 'POST', body: '' })
      t.is(posted.status, 405)
      t.is(posted.headers['allow'], 'GET, HEAD')
      agent.destroy()
    }))
}
