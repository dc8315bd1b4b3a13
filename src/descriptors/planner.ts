// How a number of descriptors is divided: the itemised sum that boot prints, the ledger enforces, and `plan` works out for a
// deployment that does not exist yet.
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { CLASSES, type DescriptorClass } from '../protocol/messages.js'
import { ELEVATED_AT } from './pressure.js'
import { PRICES, type Prices } from './prices.js'

export interface Share {
  readonly floor: number
  readonly ceiling: number
}

export interface Plan {
  /** Held by the process itself: runtime, threads, listeners, log and lock. */
  readonly base: number
  /** Really held, and released only to get out of trouble. */
  readonly reserve: number
  readonly budget: number
  readonly classes: Readonly<Record<DescriptorClass, Share>>
}

/** One line of the sum. */
export interface Item {
  readonly name: string
  readonly each: number
  readonly count: number
  readonly descriptors: number
}

interface Wanted {
  readonly soft: number
  readonly base: number
  /** Clients to admit at the most, or 'auto': whatever is not promised to others. */
  readonly connectionsMax: number | 'auto'
  readonly prices?: Prices
}

const RESERVE_LEAST = 2
/** Of the budget, at the most. */
const LIBRARIES_SHARE = 0.6
const JOBS_SHARE = 0.25
/** The daemon's own files: log, lock, flight recorder. */
const OWN_FILES = 3
/** By which libuv sheds who cannot be accepted: of each loop that has streams of Node, as that of the main thread has anyway. */
const ACCEPT_SPARE = 1

/**
 * Divides what is left under the soft limit. Floors are guaranteed; what no floor covers is the pot, lent to whoever asks.
 *
 * @throws LIMIT_TOO_LOW when not even one library, one job and a few clients fit
 */
export function plan({ soft, base, connectionsMax, prices = PRICES }: Wanted): Plan {
  const reserve = reserveFor(soft)
  const budget = soft - base - reserve
  const floors = floorsFor(budget, prices)
  if (connectionsMax !== 'auto') floors.clients = Math.min(floors.clients, connectionsMax)
  const promised = sumOf(floors)
  if (promised > budget) {
    const needed = base + reserve + promised
    throw new SpacedriveError('LIMIT_TOO_LOW', `the descriptor limit is ${soft}, and at least ${needed} are needed`)
  }
  const pot = budget - promised
  const share = (name: DescriptorClass, most: number): Share => ({
    floor: floors[name],
    ceiling: Math.max(floors[name], Math.min(floors[name] + pot, Math.floor(most))),
  })
  return {
    base,
    reserve,
    budget,
    classes: {
      control: { floor: floors.control, ceiling: floors.control },
      clients: share('clients', connectionsMax === 'auto' ? budget : connectionsMax),
      libraries: share('libraries', budget * LIBRARIES_SHARE),
      jobs: share('jobs', Math.max(budget * JOBS_SHARE, prices.taskThread + 4)),
      watches: share('watches', Math.max(watcherPrice(prices), budget * 0.01)),
    },
  }
}

/**
 * The same where the limit was cut under what a boot needs: nothing is promised that is not there, what is held stays held.
 * The floors are served in the order of the classes, so that the doctor gets in as long as anybody does.
 */
export function squeeze({ soft, base, connectionsMax, prices = PRICES }: Wanted): Plan {
  const reserve = Math.max(0, Math.min(RESERVE_LEAST, soft - base))
  const budget = Math.max(1, soft - base - reserve)
  const floors = floorsFor(budget, prices)
  let left = budget
  const shares = CLASSES.map((name) => {
    const most = name === 'clients' && connectionsMax !== 'auto' ? Math.min(floors[name], connectionsMax) : floors[name]
    const floor = Math.min(left, most)
    left -= floor
    return [name, { floor, ceiling: floor }] as const
  })
  return { base, reserve, budget, classes: Object.fromEntries(shares) as Plan['classes'] }
}

/** What a process itself holds, before it serves anybody. */
export interface Process {
  /** Open before the daemon opens anything: by Node, and what it was started with. */
  readonly runtime: number
  readonly shards: number
  /** Threads that face the clients, each with a listener: 1 is the main thread. */
  readonly fronts?: number
  /** What serves in these threads. */
  readonly front?: 'uws' | 'node'
  /** Files of the system that tell of the machine and of memory: not every system has the same. */
  readonly sights: number
  /** Ports and sockets that are listened on. */
  readonly listeners: number
  readonly native: boolean
}

export function baseItems(
  { runtime, sights, shards, fronts = 1, front = 'uws', listeners, native }: Process,
  prices: Prices = PRICES,
): Item[] {
  const each = prices.taskThread + (front === 'node' ? ACCEPT_SPARE : 0)
  const threads = fronts > 1 ? [item('front threads', each, fronts)] : []
  return [
    item('Node.js, as it is run here', 1, runtime),
    // Without the addon the limit is read from a file that is kept open.
    item('log, lock and records', 1, OWN_FILES + sights + (native ? 0 : 1)),
    item('listeners', prices.listener, listeners + fronts - 1),
    ...threads,
    item('shard threads', prices.taskThread, shards),
  ]
}

/** What a deployment holds when all of it is in use at once. */
export interface Deployment {
  readonly libraries: number
  readonly clients: number
  /** Further connections of each library, for reads that take long. */
  readonly readers: number
  /** Jobs that run at a time. */
  readonly jobs: number
}

export interface Planned {
  /** The least limit that holds the deployment without pressure. */
  readonly total: number
  /** They add up to the total. */
  readonly items: readonly Item[]
  readonly plan: Plan
}

/**
 * The least limit under which all of a deployment is held at once, within floors and ceilings, and nobody is asked to give way.
 *
 * @throws LIMIT_TOO_LOW when even 1,048,576 are not enough
 */
export function planFor(deployment: Deployment, base: readonly Item[], prices: Prices = PRICES): Planned {
  const held = base.reduce((sum, { descriptors }) => sum + descriptors, 0)
  const needs = needsOf(deployment, prices)
  let total = held + RESERVE_LEAST + sumOf(needs)
  for (let short = 1; short > 0; total += short) {
    if (total > LIMITS.softMax) throw tooMuch(total)
    short = shortage({ soft: total, base: held, prices }, needs)
  }
  const made = plan({ soft: total, base: held, connectionsMax: 'auto', prices })
  return { total, items: itemsOf(deployment, base, made, prices), plan: made }
}

/** Whether all of a deployment is held at once under a limit, without pressure. */
export function holds(soft: number, base: readonly Item[], deployment: Deployment, prices: Prices = PRICES): boolean {
  const held = base.reduce((sum, { descriptors }) => sum + descriptors, 0)
  return shortage({ soft, base: held, prices }, needsOf(deployment, prices)) === 0
}

function needsOf(deployment: Deployment, prices: Prices): Record<DescriptorClass, number> {
  const { libraries, clients, readers, jobs } = deployment
  return {
    control: 0,
    clients,
    libraries: libraries * (prices.library + readers * prices.connection),
    jobs: jobs * (prices.taskThread + prices.threadStart),
    watches: 0,
  }
}

/** How many descriptors more are needed at the least; 0 when all is there. More budget may raise floors, so ask again. */
function shortage(
  { soft, base, prices }: Pick<Required<Wanted>, 'soft' | 'base' | 'prices'>,
  needs: Record<DescriptorClass, number>,
): number {
  const budget = soft - base - reserveFor(soft)
  const floors = floorsFor(budget, prices)
  const guaranteed = CLASSES.reduce((sum, name) => sum + Math.max(floors[name], needs[name]), 0)
  const calm = Math.floor(sumOf(needs) / ELEVATED_AT) + 1
  const ofShare = (name: DescriptorClass, share: number) =>
    needs[name] > floors[name] ? Math.ceil(needs[name] / share) : 0
  const jobs = needs.jobs > prices.taskThread + 4 ? ofShare('jobs', JOBS_SHARE) : 0
  return Math.max(0, Math.max(guaranteed, calm, ofShare('libraries', LIBRARIES_SHARE), jobs) - budget)
}

function itemsOf(deployment: Deployment, base: readonly Item[], made: Plan, prices: Prices): Item[] {
  const { libraries, clients, readers, jobs } = deployment
  const parts = [
    ...base,
    item('held reserve', 1, made.reserve),
    item('control connections', 1, made.classes.control.floor),
    item('clients', 1, clients),
    item('open libraries', prices.library, libraries),
    item('further readers', prices.connection, libraries * readers),
    item('jobs: threads that walk', prices.taskThread + prices.threadStart, jobs),
  ]
  const rest = made.base + made.reserve + made.budget - parts.reduce((sum, { descriptors }) => sum + descriptors, 0)
  return [...parts, item('room below pressure, and for floors', 1, rest)]
}

function item(name: string, each: number, count: number): Item {
  return { name, each, count, descriptors: each * count }
}

function tooMuch(total: number): SpacedriveError {
  return new SpacedriveError(
    'LIMIT_TOO_LOW',
    `at least ${total} are needed, and no limit is raised past ${LIMITS.softMax}`,
    {
      hint: 'Divide it among several daemons, each with a data directory of its own.',
    },
  )
}

/** Two in the tiny profile; more buys nothing past a few dozen. */
function reserveFor(soft: number): number {
  return Math.max(RESERVE_LEAST, Math.min(16, Math.floor(soft / 64)))
}

function floorsFor(budget: number, prices: Prices): Record<DescriptorClass, number> {
  const part = (share: number, least: number, most: number) =>
    Math.max(least, Math.min(most, Math.floor(budget * share)))
  return {
    control: 4,
    clients: part(0.1, 4, 1024),
    libraries: part(0.1, prices.library + prices.connection, 1024),
    jobs: part(0.05, prices.taskThread + prices.threadStart, 64),
    watches: 1,
  }
}

/** The thread that watches, at its start: with the inotify instance, and the directory it reads. */
export function watcherPrice({ taskThread, threadStart, watcher, directory }: Prices): number {
  return taskThread + threadStart + watcher + directory
}

function sumOf(counts: Record<DescriptorClass, number>): number {
  return CLASSES.reduce((sum, name) => sum + counts[name], 0)
}
