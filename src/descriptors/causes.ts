// What presses on the daemon beside descriptors: memory, a main loop that is late, and what waits for the shards. Each has a level of
// its own, for each asks for something else (`shard/pressed.ts` says what); idle clients are asked for nothing, as that would help
// none of them. Every look starts from nothing, and of what comes and goes only counts what stood for a second: what is refused
// because of a level does not keep it up.
import { LIMITS } from '../base/limits.js'
import { Standing } from '../base/standing.js'
import { CAUSES, type Cause, type CauseState, type Level } from '../protocol/messages.js'
import type { Ledger } from './ledger.js'
import { heapShare } from './memory.js'
import type { MemoryUse } from './memory-use.js'
import { levelOf, LEVELS_AT, type LevelChange, type Reading } from './pressure.js'

export interface Looks {
  memory(): MemoryUse | null
  /** Of each shard and each front in a thread of its own, the share of its heap that is used. */
  heaps(): readonly { readonly thread: string; readonly share: number }[]
  /** How late the timers of the loops that serve clients came since the last look, at least. */
  lateMs(): number
  /** How long the oldest of those waits that are to be begun soon. */
  waitedMs(): number
  /** Whether so much is asked that it is refused. */
  isCrowded(): boolean
}

export interface CauseChange extends LevelChange {
  readonly cause: Cause
}

const CALM: Reading = { pressure: 0, reason: '' }

export class Causes {
  readonly #ledger: Ledger
  readonly #looks: Looks
  readonly #late = new Standing()
  readonly #waited = new Standing()
  readonly #crowded = new Standing()
  readonly #states: Record<Cause, CauseState>

  constructor(ledger: Ledger, looks: Looks) {
    this.#ledger = ledger
    this.#looks = looks
    const since = new Date().toISOString()
    const calm = () => ({ level: 'normal' as Level, since, ...CALM })
    this.#states = { memory: calm(), loop: calm(), queue: calm() }
  }

  /** Looks at each again; needs no descriptor, and is called at equal intervals. Returns the levels that changed. */
  check(): CauseChange[] {
    const readings = { memory: this.#memory(), loop: this.#loop(), queue: this.#queue() }
    const changes = CAUSES.flatMap((cause) => this.#take(cause, readings[cause]))
    this.#ledger.causes = { memory: this.level('memory'), loop: this.level('loop'), queue: this.level('queue') }
    return changes
  }

  level(cause: Cause): Level {
    return this.#states[cause].level
  }

  get states(): Record<Cause, CauseState> {
    return this.#states
  }

  #take(cause: Cause, reading: Reading): CauseChange[] {
    const { level: before, since } = this.#states[cause]
    const level = levelOf(reading.pressure, before)
    const changed = level !== before
    this.#states[cause] = { ...reading, level, since: changed ? new Date().toISOString() : since }
    return changed ? [{ cause, level, before, ...reading }] : []
  }

  #memory(): Reading {
    const heaps = [{ thread: 'the main thread', share: heapShare() }, ...this.#looks.heaps()]
    const readings = heaps.map(({ thread, share }) => ({
      pressure: share,
      reason: `${percent(share)} of the heap of ${thread} is in use`,
    }))
    const use = this.#looks.memory()
    if (use) readings.unshift(byMemory(use))
    return readings.reduce((worst, each) => (each.pressure > worst.pressure ? each : worst))
  }

  #loop(): Reading {
    const ms = Math.round(this.#late.look(this.#looks.lateMs()))
    return { pressure: pressureOf(ms, LIMITS.loopLateMs), reason: `each turn of the main loop takes ${ms} ms too long` }
  }

  #queue(): Reading {
    const ms = Math.round(this.#waited.look(this.#looks.waitedMs()))
    const pressure = pressureOf(ms, LIMITS.queueWaitedMs)
    // Those that are begun did not wait for long then, because others are refused.
    const crowded = this.#crowded.look(this.#looks.isCrowded() ? LEVELS_AT.critical : 0)
    if (crowded > pressure) return { pressure: crowded, reason: 'more is asked of a shard than it can do' }
    return { pressure, reason: `whoever asks a shard waits for ${ms} ms` }
  }
}

function byMemory({ used, most, of }: MemoryUse): Reading {
  const reason = `${megabytes(used)} of the ${megabytes(most)} MB of memory of ${of === 'machine' ? 'the machine' : 'the control group'} are in use`
  return { pressure: used / most, reason }
}

/** In straight lines: nothing, then what enters each level at its bound, and whole at twice the last one. */
function pressureOf(ms: number, [elevated, high, critical]: readonly [number, number, number]): number {
  const points: readonly (readonly [number, number])[] = [
    [0, 0],
    [elevated, LEVELS_AT.elevated],
    [high, LEVELS_AT.high],
    [critical, LEVELS_AT.critical],
    [2 * critical, 1],
  ]
  for (let at = 1; at < points.length; at++) {
    const [[from, low], [to, up]] = [points[at - 1]!, points[at]!]
    if (ms <= to) return low + ((up - low) * (ms - from)) / (to - from)
  }
  return 1
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`
}

function megabytes(bytes: number): string {
  return String(Math.round(bytes / (1 << 20)))
}
