// How near the descriptors are to their end, in one number and in words: by the budget, by the numbers the kernel has left
// below the limit, and by what the whole machine has open. Every look starts from nothing, so that no level can stick.
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { CLASSES, type Cause, type Level, type PressureState } from '../protocol/messages.js'
import { HeldFile } from './held-file.js'
import { isAtLeast, type Ledger } from './ledger.js'
import { loadNative } from './native.js'
import { countOpen, readLimit } from './rlimit.js'

/** Levels by pressure, whatever makes it: entered at this share, left ten points below it. */
export const LEVELS_AT = { critical: 0.95, high: 0.85, elevated: 0.7 } as const
const ENTERED_AT = Object.entries(LEVELS_AT) as readonly [Level, number][]
/** Below this share nobody is asked to give way. */
export const ELEVATED_AT = LEVELS_AT.elevated
const HYSTERESIS = 0.1
/** Idle times are whole up to elevated and a tenth from critical on. */
const SHRINK_FROM = ELEVATED_AT
const SHRINK_TO = LEVELS_AT.critical
const SHRUNK = 0.1
const NEARLY = 0.01

/** One way to look at it. Above 1 more is held than there is, as after the limit was cut. */
export interface Reading {
  readonly pressure: number
  readonly reason: string
}

export interface LevelChange extends Reading {
  readonly level: Level
  readonly before: Level
}

export class Pressure {
  readonly #ledger: Ledger
  readonly #machine: MachineFiles
  #reading: Reading = { pressure: 0, reason: '' }
  #since = new Date()
  #free = 0
  #worst = 0
  #worstAt = 0

  /** Opened at boot, with everything else that the process itself holds. */
  constructor(ledger: Ledger, machine: MachineFiles) {
    this.#ledger = ledger
    this.#machine = machine
  }

  /** Looks again; needs no descriptor. Returns the level when it changed. */
  check(): LevelChange | null {
    const before = this.#ledger.level
    this.#reading = this.#read()
    const level = levelOf(this.#reading.pressure, before)
    this.#ledger.pressure = this.#reading.pressure
    this.#ledger.level = level
    this.#remember(level)
    if (level === before) return null
    this.#since = new Date()
    return { level, before, ...this.#reading }
  }

  get state(): PressureState {
    const { pressure, reason } = this.#reading
    return { level: this.#ledger.level, since: this.#since.toISOString(), pressure, reason, free: this.#free }
  }

  /** The most it was since it was normal, while that is not long ago. */
  get worst(): number {
    return this.#worst
  }

  #remember(level: Level): void {
    const now = performance.now()
    const { pressure } = this.#reading
    const over = level === 'normal' || now - this.#worstAt > LIMITS.pressureWorstMs
    if (pressure < this.#worst && !over) return
    this.#worst = pressure
    this.#worstAt = now
  }

  #read(): Reading {
    const ledger = byBudget(this.#ledger)
    const numbers = numbersFree(ledger.pressure, this.#ledger.totals().budget)
    this.#free = numbers?.free ?? 0
    const readings = [ledger]
    if (numbers) readings.push(byNumbers(this.#ledger, numbers))
    const machine = this.#machine.read()
    if (machine) readings.push(byMachine(machine))
    const pressure = Math.max(...readings.map((each) => each.pressure))
    // Where two say nearly the same, the plainer one tells why.
    return { pressure, reason: readings.find((each) => each.pressure >= pressure - NEARLY)!.reason }
  }
}

/** Open files of all processes together, read through one descriptor that is kept: at exhaustion none could be opened. */
export class MachineFiles {
  readonly #file: HeldFile | null

  constructor(path = '/proc/sys/fs/file-nr') {
    this.#file = process.platform === 'linux' ? HeldFile.open(path) : null
  }

  /** Null where the system does not say. */
  read(): { open: number; most: number } | null {
    const [, open, free, most] = /^(\d+)\s+(\d+)\s+(\d+)/.exec(this.#file?.text() ?? '') ?? []
    return Number(most) ? { open: Number(open) - Number(free), most: Number(most) } : null
  }

  close(): void {
    this.#file?.close()
  }
}

export function levelOf(pressure: number, before: Level): Level {
  for (const [level, at] of ENTERED_AT) {
    if (pressure >= at || (before === level && pressure >= at - HYSTERESIS)) return level
  }
  return 'normal'
}

/** What is left of an idle time: all of it without pressure, then less in a straight line. */
export function idleShare(pressure: number): number {
  const along = (pressure - SHRINK_FROM) / (SHRINK_TO - SHRINK_FROM)
  return 1 - (1 - SHRUNK) * Math.max(0, Math.min(1, along))
}

/** What is asked of idle holders at a pressure. */
export interface Asked {
  /** Clients idle for this long are asked first. */
  readonly clientIdleMs: number
  /** Clients closed at the most; fewer where fewer were idle for so long. */
  readonly clients: number
  /** Descriptors wanted back in all, from clients, readers, libraries and caches in this order. */
  readonly descriptors: number
}

/**
 * Elevated asks only those idle for long, a few at a time; high asks for what brings it below high; critical for all that
 * brings it back to normal, and goes on asking on the way there. Above the budget, idle is who did not ask just now.
 *
 * @param worst the most it was lately
 * @param idle clients without a request in flight
 */
export function askedAt(
  { level, pressure, worst }: { level: Level; pressure: number; worst: number },
  budget: number,
  idle: number,
): Asked | null {
  if (level === 'normal') return null
  const batch = Math.max(1, Math.min(LIMITS.giveWayClientsMax, Math.floor(idle / LIMITS.giveWayClientsShare)))
  const urgent = Math.max(pressure, worst) >= SHRINK_TO
  const clientIdleMs = Math.round(LIMITS.httpIdleMs * idleShare(urgent ? SHRINK_TO : pressure))
  if (level === 'elevated' && !urgent) return { clientIdleMs, clients: batch, descriptors: 0 }
  const target = leftBelow(urgent ? 'elevated' : 'high')
  const descriptors = Math.max(0, Math.ceil((pressure - target) * budget) + 1)
  const clients = urgent ? Math.max(batch, descriptors) : batch
  return { clientIdleMs: worst > 1 ? LIMITS.clientRestMs : clientIdleMs, clients, descriptors }
}

/** Under high pressure a job waits; so long that it would never run, it may take what its class is guaranteed. */
export function jobMayBegin(level: Level, waitedMs: number): boolean {
  if (level === 'high') return waitedMs >= LIMITS.jobPressureWaitMs
  return level !== 'critical'
}

const JOB_AGAIN_MS = 1_000

/** Why something may not begin. */
export const CAUSE_WORDS: Readonly<Record<Cause, string>> = {
  memory: 'memory is short',
  loop: 'the main thread is late',
  queue: 'too much is asked of the shards',
}

/**
 * Why no job may begin now, or null. Of descriptors and memory a critical lack holds it up however long it lasts. What is late is so
 * for whoever waits, and perhaps because of other programs: behind that a job waits no longer than it does at high pressure.
 */
export function jobHeldUp(ledger: Ledger, waitedMs: number): SpacedriveError | null {
  if (!jobMayBegin(ledger.level, waitedMs)) {
    const message = 'descriptors are short: no job begins until the pressure is over'
    return new SpacedriveError('BUDGET_EXHAUSTED', message, { class: 'jobs', retryAfterMs: JOB_AGAIN_MS })
  }
  const { memory, loop, queue } = ledger.causes
  if (!jobMayBegin(memory, waitedMs)) return heldUp('memory')
  if (waitedMs >= LIMITS.jobPressureWaitMs) return null
  if (isAtLeast(loop, 'high')) return heldUp('loop')
  return isAtLeast(queue, 'high') ? heldUp('queue') : null
}

function heldUp(cause: Cause): SpacedriveError {
  return new SpacedriveError('OVERLOADED', `${CAUSE_WORDS[cause]}: no job begins until that is over`, {
    retryAfterMs: JOB_AGAIN_MS,
  })
}

function leftBelow(level: Exclude<Level, 'normal'>): number {
  return LEVELS_AT[level] - HYSTERESIS
}

function byBudget(ledger: Ledger): Reading {
  const { used, budget } = ledger.totals()
  const uses = ledger.uses()
  const by = CLASSES.filter((name) => uses[name].used > 0).map((name) => `${name} ${uses[name].used}`)
  const reason = `${used} of the ${budget} descriptors of the budget are in use${by.length ? `: ${by.join(', ')}` : ''}`
  return { pressure: used / budget, reason }
}

/** As much as the budget says while all is accounted for; more when somebody outside the ledger takes from it. */
function byNumbers(ledger: Ledger, { free, soft }: { free: number; soft: number }): Reading {
  const { used, budget } = ledger.totals()
  const reason = `${free} of the ${soft} descriptor numbers are free, while the ledger has lent only ${used} of its ${budget}`
  return { pressure: 1 - free / budget, reason }
}

function byMachine({ open, most }: { open: number; most: number }): Reading {
  const reason = `the machine, not this daemon: all processes together have ${open} of ${most} files open`
  return { pressure: open / most, reason }
}

/**
 * Descriptor numbers below the limit that an open could get. The limit bounds numbers, not counts: what lies above it
 * (inherited, or opened before a cut) takes none of them, and is told apart only where that matters.
 */
function numbersFree(known: number, budget: number): { free: number; soft: number } | null {
  try {
    const { soft } = readLimit()
    const free = soft - countOpen()
    const tight = 1 - free / budget >= Math.max(leftBelow('elevated'), known + NEARLY)
    const native = tight ? loadNative() : null
    return { soft, free: native ? soft - native.list().filter((fd) => fd < soft).length : Math.max(0, free) }
  } catch {
    return null // without the addon, counting may itself need a descriptor
  }
}
