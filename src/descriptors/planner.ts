// How a number of descriptors is divided: the itemised sum that boot prints and the ledger enforces.
import { SpacedriveError } from '../base/errors.js'
import { CLASSES, type DescriptorClass } from '../protocol/messages.js'
import { PRICES } from './prices.js'

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

const RESERVE_LEAST = 2

interface Wanted {
  readonly soft: number
  readonly base: number
  /** Clients to admit at the most, or 'auto': whatever is not promised to others. */
  readonly connectionsMax: number | 'auto'
}

/**
 * Divides what is left under the soft limit. Floors are guaranteed; what no floor covers is the pot, lent to whoever asks.
 *
 * @throws LIMIT_TOO_LOW when not even one library, one job and a few clients fit
 */
export function plan({ soft, base, connectionsMax }: Wanted): Plan {
  const reserve = reserveFor(soft)
  const budget = soft - base - reserve
  const floors = floorsFor(budget)
  const promised = CLASSES.reduce((sum, name) => sum + floors[name], 0)
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
      libraries: share('libraries', budget * 0.6),
      jobs: share('jobs', Math.max(budget * 0.25, PRICES.taskThread + 4)),
      watches: share('watches', Math.max(2, budget * 0.01)),
    },
  }
}

/**
 * The same where the limit was cut under what a boot needs: nothing is promised that is not there, what is held stays held.
 * The floors are served in the order of the classes, so that the doctor gets in as long as anybody does.
 */
export function squeeze({ soft, base, connectionsMax }: Wanted): Plan {
  const reserve = Math.max(0, Math.min(RESERVE_LEAST, soft - base))
  const budget = Math.max(1, soft - base - reserve)
  const floors = floorsFor(budget)
  let left = budget
  const shares = CLASSES.map((name) => {
    const most = name === 'clients' && connectionsMax !== 'auto' ? Math.min(floors[name], connectionsMax) : floors[name]
    const floor = Math.min(left, most)
    left -= floor
    return [name, { floor, ceiling: floor }] as const
  })
  return { base, reserve, budget, classes: Object.fromEntries(shares) as Plan['classes'] }
}

/** Two in the tiny profile; more buys nothing past a few dozen. */
function reserveFor(soft: number): number {
  return Math.max(RESERVE_LEAST, Math.min(16, Math.floor(soft / 64)))
}

function floorsFor(budget: number): Record<DescriptorClass, number> {
  const part = (share: number, least: number, most: number) =>
    Math.max(least, Math.min(most, Math.floor(budget * share)))
  return {
    control: 4,
    clients: part(0.1, 4, 1024),
    libraries: part(0.1, PRICES.library + PRICES.connection, 1024),
    jobs: part(0.05, PRICES.taskThread + 2, 64),
    watches: 1,
  }
}
