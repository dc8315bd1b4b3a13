// `spacedrive status`: how the daemon is doing, on one screen.
import type { Command } from 'commander'
import {
  CAUSES,
  CLASSES,
  type Cause,
  type CauseState,
  type ClassUse,
  type DescriptorClass,
  type Status,
} from '../protocol/messages.js'
import type { Desk } from './desk.js'
import { table, type Column } from './table.js'
import { coverageWords, duration, fitted, grouped, minute, plural, safe } from './text.js'

const CLASS_COLUMNS: readonly Column[] = [
  { title: 'class' },
  ...['used', 'floor', 'ceiling', 'peak', 'refused', 'waited'].map((title) => ({ title, right: true })),
]

const SHARD_COLUMNS: readonly Column[] = [
  { title: 'shard' },
  ...['libraries', 'in flight', 'queued', 'refused', 'restarts'].map((title) => ({ title, right: true })),
]

export function addStatus(program: Command, desk: Desk): void {
  program
    .command('status')
    .description('how the daemon is doing: limit, descriptors, connections, shards, jobs')
    .action(async () => {
      const status = await desk.client.call<Status>('core.status')
      await desk.answer(status, () => statusLines(status, desk.terminal.columns))
    })
}

export function statusLines(status: Status, columnsMax: number): string[] {
  const { descriptors, connections, libraries, limit, jobs } = status
  const facts: [string, string][] = [
    ['address', status.http === null ? 'off' : `${status.http} (front ${status.front})`],
    ['socket', status.socket ?? 'off'],
    ...linesFacts(status.lineProtocol),
    ['limit', limitWords(limit)],
    [
      'descriptors',
      `${grouped(descriptors.open)} open, budget ${grouped(descriptors.budget)}, reserve ${descriptors.reserve}`,
    ],
    ['pressure', pressureWords(descriptors)],
    ['', descriptors.reason],
    ['', `${grouped(descriptors.free)} numbers free, ${grouped(descriptors.unaccounted)} unaccounted`],
    ...leakFacts(descriptors.leak),
    ...causeFacts(status.pressure),
    [
      'connections',
      `${grouped(connections.current)} of ${grouped(connections.max)}, peak ${grouped(connections.peak)}`,
    ],
    [
      '',
      `${grouped(connections.accepted)} accepted, ${grouped(connections.refused)} refused${acceptWords(connections)}`,
    ],
    [
      'libraries',
      `${grouped(libraries.known)} known, ${grouped(libraries.open)} open, ${grouped(libraries.connections)} connections`,
    ],
    [
      '',
      `opened ${plural(libraries.opened, 'time')}, ${grouped(libraries.evicted)} closed to make room, ${grouped(libraries.reopened)} of them too early`,
    ],
    ...stallFacts(status.loop),
    ['jobs', `${grouped(jobs.running)} running, ${grouped(jobs.queued)} queued`],
    ...watchedFacts(status.watching),
  ]
  const title = `spacedrive ${status.version}, pid ${status.pid}, ${status.state ?? 'serving'}, up ${duration(status.uptimeMs)}`
  return [
    title,
    ...facts.map(([name, words]) => fitted(`${name.padEnd(13)}${safe(words)}`, columnsMax)),
    ...(status.native === false ? ['addon        not loaded: limits cannot be raised'] : []),
    '',
    ...classLines(descriptors.classes, columnsMax),
    '',
    ...table(SHARD_COLUMNS, status.shards.map(shardRow), columnsMax),
  ]
}

/** A daemon of before says nothing of it. */
function linesFacts(lineProtocol: Status['lineProtocol'] | undefined): [string, string][] {
  return lineProtocol ? [['lines', `${lineProtocol} (line protocol)`]] : []
}

function watchedFacts(watching: Status['watching'] | undefined): [string, string][] {
  if (!watching || watching.locations === 0) return []
  const { locations, reasons } = watching
  return [
    ['watched', `${plural(locations, 'location')}, ${coverageWords(watching)}`],
    ...reasons.map((reason): [string, string] => ['', reason]),
  ]
}

function leakFacts(leak: Status['descriptors']['leak']): [string, string][] {
  if (!leak) return []
  const { growth, withinMs, at, likeliest } = leak
  return [
    ['leak', `${plural(growth, 'descriptor')} within ${duration(withinMs)}, ${minute(at)}`],
    ['', `likeliest of ${likeliest.holder}: ${likeliest.why}`],
  ]
}

const CAUSE_NAMES: Readonly<Record<Cause, string>> = { memory: 'memory', loop: 'main loop', queue: 'queues' }

/** What presses, or did and refused somebody. A daemon of before says nothing of it. */
export function causeFacts(pressure: Status['pressure'] | undefined): [string, string][] {
  if (!pressure) return []
  return CAUSES.flatMap((cause): [string, string][] => {
    const { level, reason, refused } = pressure[cause]
    if (level === 'normal' && refused === 0) return []
    const words = refused === 0 ? '' : `, ${grouped(refused)} refused so far`
    const told: [string, string] = [CAUSE_NAMES[cause], `${pressureWords(pressure[cause])}${words}`]
    return level === 'normal' ? [told] : [told, ['', reason]]
  })
}

function pressureWords({ level, since, pressure }: CauseState): string {
  return `${level} since ${minute(since)} (${Math.round(100 * pressure)} %)`
}

/** A daemon of before says nothing of it. */
function stallFacts({ stalls = 0, stalledMs }: Status['loop']): [string, string][] {
  if (stalls === 0) return []
  return [['stalls', `${grouped(stalls)}, the last time for ${duration(stalledMs)}`]]
}

function acceptWords({ accept, acceptFailures }: Status['connections']): string {
  if (accept === 'failing') return `; accepting fails (${grouped(acceptFailures)} times)`
  return accept === 'spinning' ? '; the loop turns in vain' : ''
}

export function limitWords({ softAtStart, soft, hard }: Status['limit']): string {
  return `${grouped(soft)} (${grouped(softAtStart)} at start, hard limit ${grouped(hard)})`
}

export function classLines(classes: Record<DescriptorClass, ClassUse>, columnsMax: number): string[] {
  const known = CLASSES.filter((name) => classes[name] !== undefined)
  return table(
    CLASS_COLUMNS,
    known.map((name) => classRow(name, classes[name])),
    columnsMax,
  )
}

function classRow(name: string, use: ClassUse): string[] {
  return [name, use.used, use.floor, use.ceiling, use.peak, use.refused, use.waited].map(cell)
}

function shardRow(shard: Status['shards'][number]): string[] {
  return [shard.id, shard.libraries, shard.inFlight, shard.queued, shard.overloaded ?? 0, shard.restarts ?? 0].map(cell)
}

function cell(value: string | number): string {
  return typeof value === 'number' ? grouped(value) : value
}
