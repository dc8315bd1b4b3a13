// GET /metrics: all that is known of the daemon, in Prometheus' text format 0.0.4. Everything is read when it is asked for, from
// where it is kept anyway, and without a descriptor. prom-client would count a second time, and its default collectors
// throw EMFILE when no descriptor is left.
import { getHeapStatistics } from 'node:v8'
import { DELAY_BOUNDS_SECONDS, type Pulse } from '../base/pulse.js'
import { LEVELS } from '../descriptors/ledger.js'
import { CAUSES, CLASSES, type ClassUse, type Status } from '../protocol/messages.js'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const ACCEPT_STATES = ['open', 'failing', 'spinning'] as const

type Labels = Readonly<Record<string, string | number | boolean>>
type Sample = readonly [Labels, number]
type Kind = 'counter' | 'gauge' | 'histogram'

export function metricsText(status: Status, pulse: Pulse): string {
  const page = new MetricsPage()
  addProcess(page, status)
  addDescriptors(page, status)
  addPressure(page, status)
  addConnections(page, status)
  addWork(page, status)
  addEvents(page, status)
  addLoop(page, pulse)
  return page.text
}

/** Writes families of samples. Names come without the prefix that all of them share. */
class MetricsPage {
  text = ''

  family(kind: Kind, name: string, help: string, samples: readonly Sample[]): void {
    this.#head(kind, name, help)
    for (const [labels, value] of samples) this.#sample(name, labels, value)
  }

  one(kind: Kind, name: string, help: string, value: number): void {
    this.family(kind, name, help, [[{}, value]])
  }

  /** @param buckets cumulative, the last one without a bound */
  histogram(name: string, help: string, bounds: readonly number[], buckets: readonly number[], sum: number): void {
    this.#head('histogram', name, help)
    buckets.forEach((count, at) => this.#sample(`${name}_bucket`, { le: number(bounds[at] ?? Infinity) }, count))
    this.#sample(`${name}_sum`, {}, sum)
    this.#sample(`${name}_count`, {}, buckets.at(-1) ?? 0)
  }

  #head(kind: Kind, name: string, help: string): void {
    this.text += `# HELP spacedrive_${name} ${help}\n# TYPE spacedrive_${name} ${kind}\n`
  }

  #sample(name: string, labels: Labels, value: number): void {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(String(text))}"`)
    this.text += `spacedrive_${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${number(value)}\n`
  }
}

function addProcess(page: MetricsPage, status: Status): void {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
  const heap = getHeapStatistics()
  const built = { version: status.version, node: process.version, front: status.front, native: status.native }
  page.family('gauge', 'build_info', 'What runs: always 1.', [[built, 1]])
  page.one('gauge', 'uptime_seconds', 'Since the daemon was started.', status.uptimeMs / 1_000)
  page.one('counter', 'errors_survived_total', 'Want of descriptors that nobody caught.', status.errorsSurvived)
  page.family('counter', 'process_cpu_seconds_total', 'CPU time of the whole process.', [
    [{ mode: 'user' }, userCPUTime / 1e6],
    [{ mode: 'system' }, systemCPUTime / 1e6],
  ])
  page.one('gauge', 'process_resident_memory_max_bytes', 'The most memory it ever held.', maxRSS * 1_024)
  page.one('gauge', 'heap_used_bytes', 'JavaScript heap of the main thread in use.', heap.used_heap_size)
  page.one('gauge', 'heap_size_bytes', 'JavaScript heap of the main thread.', heap.total_heap_size)
  page.one('gauge', 'heap_limit_bytes', 'What that heap may grow to.', heap.heap_size_limit)
  page.one('gauge', 'heap_external_bytes', 'Memory outside that heap which it holds.', heap.external_memory)
}

function addDescriptors(page: MetricsPage, { limit, descriptors }: Status): void {
  const { highest } = descriptors
  page.family('gauge', 'descriptors_limit', 'The limit of this process on open descriptors.', [
    [{ bound: 'soft' }, limit.soft],
    [{ bound: 'hard' }, limit.hard],
    [{ bound: 'soft_at_start' }, limit.softAtStart],
  ])
  page.one('gauge', 'descriptors_open', 'Open now, as the kernel counts.', descriptors.open)
  if (highest !== null)
    page.one('gauge', 'descriptors_highest', 'The highest number of an open one; the limit bounds it.', highest)
  page.one('gauge', 'descriptors_base', 'Held by the process itself.', descriptors.base)
  page.one('gauge', 'descriptors_budget', 'To be lent to all classes together.', descriptors.budget)
  page.family('gauge', 'descriptors_reserve', 'Held back for getting out of trouble.', [
    [{ kind: 'wanted' }, descriptors.reserve],
    [{ kind: 'held' }, descriptors.reserveHeld],
  ])
  page.one('gauge', 'descriptors_unaccounted', 'Open, and nobody says whose.', descriptors.unaccounted)
  page.family(
    'gauge',
    'descriptors_level',
    'Pressure: 1 for the level that holds, 0 for the others.',
    LEVELS.map((level) => [{ level }, level === descriptors.level ? 1 : 0]),
  )
  page.one('gauge', 'descriptors_pressure_ratio', '1 when nothing is left.', descriptors.pressure)
  page.one('gauge', 'descriptors_free', 'Numbers below the soft limit that are not open.', descriptors.free)
  page.one(
    'gauge',
    'descriptors_exhaustion_seconds',
    'Until the budget is full if use goes on growing as it does; +Inf: not in sight.',
    descriptors.exhaustionSeconds ?? Infinity,
  )
  addClasses(page, descriptors.classes)
}

function addClasses(page: MetricsPage, classes: Status['descriptors']['classes']): void {
  const each = (key: keyof ClassUse) => CLASSES.map((name): Sample => [{ class: name }, classes[name][key]])
  page.family('gauge', 'descriptors_used', 'Lent to a class now.', each('used'))
  page.family('gauge', 'descriptors_floor', 'Guaranteed to a class.', each('floor'))
  page.family('gauge', 'descriptors_ceiling', 'The most a class may be lent.', each('ceiling'))
  page.family('gauge', 'descriptors_peak', 'The most a class was ever lent.', each('peak'))
  page.family('counter', 'descriptors_refused_total', 'Times a class was given none.', each('refused'))
  page.family('counter', 'descriptors_waited_total', 'Times somebody had to wait for some.', each('waited'))
}

function addPressure(page: MetricsPage, { pressure }: Status): void {
  page.family(
    'gauge',
    'pressure_level',
    'Of what presses beside descriptors: 1 for the level that holds, 0 for the others.',
    CAUSES.flatMap((cause) =>
      LEVELS.map((level): Sample => [{ cause, level }, level === pressure[cause].level ? 1 : 0]),
    ),
  )
  const each = (key: 'pressure' | 'refused') => CAUSES.map((cause): Sample => [{ cause }, pressure[cause][key]])
  page.family('gauge', 'pressure_ratio', 'The same as a number: 1 when nothing is left.', each('pressure'))
  page.family('counter', 'pressure_refused_total', 'Requests refused because of it.', each('refused'))
}

function addConnections(page: MetricsPage, { connections }: Status): void {
  page.one('gauge', 'connections', 'Client connections open now.', connections.current)
  page.one('gauge', 'connections_max', 'Client connections that may be open.', connections.max)
  page.one('gauge', 'connections_peak', 'The most that were ever open.', connections.peak)
  page.one('counter', 'connections_accepted_total', 'Connections let in.', connections.accepted)
  page.family(
    'counter',
    'connections_refused_total',
    'Connections told to come back later, by the reason they were told.',
    Object.entries(connections.refusedBy).map(([reason, count]) => [{ reason }, count]),
  )
  page.family(
    'gauge',
    'connections_accept',
    'Whether newcomers can be accepted: 1 for the state that holds.',
    ACCEPT_STATES.map((state) => [{ state }, state === connections.accept ? 1 : 0]),
  )
  page.one(
    'counter',
    'connections_accept_failures_total',
    'Looks that found accept failing.',
    connections.acceptFailures,
  )
  page.one('gauge', 'answers_unread_bytes', 'Of long answers, what clients have not read.', connections.unreadBytes)
  page.one('counter', 'answers_unread_cut_total', 'Clients cut because too much was unread.', connections.unreadCut)
  page.one('counter', 'wrong_tokens_total', 'Requests with a token that is none.', connections.wrongTokens)
}

function addWork(page: MetricsPage, { libraries, shards, jobs, watching }: Status): void {
  page.one('gauge', 'libraries', 'Libraries known.', libraries.known)
  page.one('gauge', 'libraries_open', 'Libraries open now.', libraries.open)
  page.one('gauge', 'library_connections', 'Database connections of open libraries.', libraries.connections)
  page.one('counter', 'libraries_opened_total', 'Opens of a library that was closed.', libraries.opened)
  page.one('counter', 'libraries_evicted_total', 'Libraries closed to make room.', libraries.evicted)
  page.one('counter', 'libraries_reopened_total', 'Of those, asked for again soon after.', libraries.reopened)
  const each = (key: 'libraries' | 'inFlight' | 'queued' | 'restarts' | 'givenUp' | 'overloaded') =>
    shards.map((shard): Sample => [{ shard: shard.id }, shard[key]])
  page.family('gauge', 'shard_libraries', 'Libraries a shard has open.', each('libraries'))
  page.family('gauge', 'shard_in_flight', 'Requests a shard has not answered.', each('inFlight'))
  page.family('gauge', 'shard_queued', 'Requests not sent to a shard yet.', each('queued'))
  page.family('counter', 'shard_restarts_total', 'Times the thread of a shard was replaced.', each('restarts'))
  page.family('counter', 'shard_given_up_total', 'Requests not begun: nobody waited for them.', each('givenUp'))
  page.family('counter', 'shard_overloaded_total', 'Requests refused with OVERLOADED.', each('overloaded'))
  page.family(
    'gauge',
    'shard_stalled_seconds',
    'How long the loop of a shard has not turned, from five seconds on.',
    shards.map((shard): Sample => [{ shard: shard.id }, shard.stalledMs / 1_000]),
  )
  page.one('gauge', 'jobs_running', 'Jobs that run now.', jobs.running)
  page.one('gauge', 'jobs_queued', 'Jobs that wait in line.', jobs.queued)
  page.one('gauge', 'watched_locations', 'Locations whose changes are followed.', watching.locations)
  page.family('gauge', 'watched_directories', 'Directories of those: told by the system, or read at intervals.', [
    [{ how: 'live' }, watching.live],
    [{ how: 'polled' }, watching.polled],
  ])
}

function addEvents(page: MetricsPage, { events }: Status): void {
  page.one('gauge', 'event_subscriptions', 'Subscriptions to events.', events.subscriptions)
  page.one('counter', 'events_published_total', 'Events that happened.', events.published)
  page.one('counter', 'events_dropped_total', 'Went by unread, summed over subscriptions.', events.dropped)
  page.one('counter', 'events_coalesced_total', 'Progress not sent, as there was later one.', events.coalesced)
}

function addLoop(page: MetricsPage, pulse: Pulse): void {
  const { active, idle } = pulse.totals()
  page.one('gauge', 'event_loop_utilization_ratio', 'Of the last second, busy.', pulse.last.utilization)
  page.family('counter', 'event_loop_seconds_total', 'Time of the main thread, busy and waiting.', [
    [{ state: 'active' }, active / 1_000],
    [{ state: 'idle' }, idle / 1_000],
  ])
  page.one('counter', 'event_loop_stalls_total', 'Times it stood still for two seconds or more.', pulse.stalls)
  page.histogram(
    'event_loop_delay_seconds',
    'How late timers of the main thread came.',
    DELAY_BOUNDS_SECONDS,
    pulse.buckets,
    pulse.delaySecondsSum,
  )
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
