// Looks at the whole daemon once a second, and keeps what it sees: in the flight recorder, in the log at intervals and in words
// when the level changes, for GET /metrics, and as the forecast of when the budget is full. Opens nothing after the boot.
import { getHeapStatistics } from 'node:v8'
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { Pulse, type Stood } from '../base/pulse.js'
import { again } from '../base/shortage.js'
import { Forecast } from '../descriptors/forecast.js'
import { Recorder, type Flight } from '../descriptors/recorder.js'
import { CLASSES, type Cause, type ClassUse, type Level, type Status } from '../protocol/messages.js'
import { metricsText } from './metrics.js'

const LOOK_MS = 1_000

type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void

export interface LookoutSetup {
  readonly status: () => Status
  /** Called each time that the loop is seen to turn. */
  readonly beat: () => void
  readonly statisticsMs: number
  readonly log: Log
}

export class Lookout {
  readonly #setup: LookoutSetup
  readonly #pulse = new Pulse((stoodMs) => this.#turned(stoodMs))
  readonly #forecast = new Forecast()
  #recorder: Recorder | null = null
  #timers: NodeJS.Timeout[] = []
  #before: Status | null = null
  errorsSurvived = 0
  #survivedAt = -Infinity

  constructor(setup: LookoutSetup) {
    this.#setup = setup
  }

  /** At boot, while descriptors are to be had. Without a recorder the daemon runs all the same. */
  record(path: string): void {
    try {
      this.#recorder = again(() => Recorder.open(path))
      this.#recorder.note('start', '')
    } catch (error) {
      this.#setup.log('warn', `there is no flight recorder: ${toWire(error).message}`)
    }
  }

  start(): void {
    this.#pulse.start()
    this.#timers = [
      setInterval(() => this.#look(), LOOK_MS),
      setInterval(() => this.#tell('info', 'statistics'), this.#setup.statisticsMs),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  /** Seconds until the budget is full, or null: not in sight. */
  get exhaustionSeconds(): number | null {
    return this.#forecast.seconds
  }

  /** The loop over the last second, and how it stood still before. */
  get loop(): Status['loop'] {
    const { last, stalls, stood } = this.#pulse
    return { ...last, stalls, stalledMs: Math.round(stood?.stoodMs ?? 0) }
  }

  /** How the loop stood still, for some seconds after it went on. */
  get stood(): Stood | null {
    const lateMs = this.#pulse.lateMs()
    if (lateMs >= LIMITS.stallMs) return { stoodMs: lateMs, agoMs: 0 }
    const { stood } = this.#pulse
    return stood && stood.agoMs < LIMITS.stallToldMs ? stood : null
  }

  /** How long it has turned since it stood still last. */
  get turningMs(): number {
    return this.#pulse.stood?.agoMs ?? Infinity
  }

  lateMs(): number {
    return this.#pulse.lateMs()
  }

  #turned(stoodMs: number | null): void {
    this.#setup.beat()
    if (stoodMs === null) return
    const words = `the main thread stood still for ${Math.round(stoodMs)} ms: nobody was served`
    this.#setup.log('warn', words)
    this.#recorder?.mustNote('warning', words)
  }

  metrics(): string {
    return metricsText(this.#setup.status(), this.#pulse)
  }

  /** @param of descriptors, or what else presses */
  levelChanged(
    of: 'descriptor' | Cause,
    { level, before, reason }: { level: Level; before: Level; reason: string },
  ): void {
    this.#recorder?.note('level', `${of === 'descriptor' ? '' : `${of} `}${before} → ${level}: ${reason}`)
    this.#tell(level === 'normal' ? 'info' : 'warn', `${of} level is ${level}, was ${before}: ${reason}`)
  }

  /** How late the loop was at least, since this was asked last. */
  takeLeastMs(): number {
    return this.#pulse.takeLeastMs()
  }

  /** What goes to the log goes here too if it matters: the log may be what fails. */
  heard(level: 'debug' | 'info' | 'warn' | 'error', message: string): void {
    if (level === 'warn') this.#recorder?.note('warning', message)
    if (level === 'error') this.#recorder?.note('error', message)
  }

  /** An error that nobody caught: false where it is more than want of descriptors, and the daemon should end. */
  survives(error: unknown): boolean {
    const { code, message } = toWire(error)
    if (code !== 'BUDGET_EXHAUSTED') {
      const stack = error instanceof Error ? error.stack : undefined
      this.#setup.log('error', `nobody caught this, the daemon ends: ${message}`, { stack })
      this.#recorder?.mustNote('fault', message)
      return false
    }
    this.errorsSurvived += 1
    const now = performance.now()
    if (now - this.#survivedAt < LIMITS.survivedLogMs) return true
    this.#survivedAt = now
    const words = `nobody caught this, and the daemon goes on: ${message}`
    this.#setup.log('warn', words, { times: this.errorsSurvived, stack: (error as Error).stack })
    this.#recorder?.note('error', words)
    return true
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#pulse.stop()
    this.#recorder?.mustNote('stop', '')
    this.#recorder?.close()
  }

  /** One line for a person, and the same and more as fields. */
  #tell(level: 'info' | 'warn', begin: string): void {
    try {
      const status = this.#setup.status()
      const words = `${begin}; ${statisticsWords(status, this.#pulse)}`
      this.#setup.log(level, words, statisticsFields(status, this.#pulse))
    } catch (error) {
      this.#setup.log(level, `${begin}; not counted: ${toWire(error).message}`)
    }
  }

  #look(): void {
    this.#pulse.beat()
    try {
      const status = this.#setup.status()
      const { unaccounted, budget } = status.descriptors
      this.#forecast.add(performance.now() / 1_000, used(status) + unaccounted, budget)
      this.#recorder?.sample(flightOf(status, this.#pulse))
      const refused = refusedSince(this.#before, status)
      if (refused) this.#recorder?.note('refusal', refused)
      this.#before = status
    } catch (error) {
      // Without the addon an old kernel cannot count when nothing can be opened. The next second tries again.
      this.#recorder?.note('error', `not counted: ${toWire(error).message}`)
    }
  }
}

function flightOf(status: Status, pulse: Pulse): Flight {
  const { limit, descriptors, connections, libraries, shards, jobs } = status
  return {
    level: descriptors.level,
    exhaustionSeconds: descriptors.exhaustionSeconds,
    classes: descriptors.classes,
    open: descriptors.open,
    soft: limit.soft,
    budget: descriptors.budget,
    reserve: descriptors.reserve,
    unaccounted: descriptors.unaccounted,
    clients: connections.current,
    clientsRefused: connections.refused,
    libraries: libraries.open,
    connections: libraries.connections,
    inFlight: inFlight(shards),
    waiting: shards.reduce((sum, { queued }) => sum + queued, 0),
    jobsRunning: jobs.running,
    jobsQueued: jobs.queued,
    loopUtilization: pulse.last.utilization,
    loopDelayMs: pulse.last.delayMs,
    heapBytes: getHeapStatistics().used_heap_size,
  }
}

function used({ descriptors }: Pick<Status, 'descriptors'>): number {
  return CLASSES.reduce((sum, name) => sum + descriptors.classes[name].used, 0)
}

function inFlight(shards: Status['shards']): number {
  return shards.reduce((sum, shard) => sum + shard.inFlight, 0)
}

/** `clients 12, libraries 1`, or nothing. */
function refusedSince(before: Status | null, now: Status): string {
  const refused = CLASSES.flatMap((name) => {
    const more = now.descriptors.classes[name].refused - (before?.descriptors.classes[name].refused ?? 0)
    return more > 0 ? [`${name} ${more}`] : []
  })
  return refused.join(', ')
}

function statisticsWords({ descriptors, connections, libraries, shards, jobs }: Status, { last }: Pulse): string {
  const { open, budget, level, exhaustionSeconds, unaccounted } = descriptors
  const lent = used({ descriptors })
  const share = Math.round((lent / budget) * 100)
  return [
    `${open} descriptors open, ${lent} of ${budget} lent (${share} %), ${level}`,
    ...(exhaustionSeconds === null ? [] : [`full in about ${Math.ceil(exhaustionSeconds)} s`]),
    ...(unaccounted > 0 ? [`${unaccounted} unaccounted`] : []),
    `${connections.current} of ${connections.max} connections, ${connections.refused} refused so far`,
    `${libraries.open} of ${libraries.known} libraries open`,
    `${inFlight(shards)} requests in flight, ${jobs.running} jobs running`,
    `loop ${Math.round(last.utilization * 100)} % busy`,
  ].join('; ')
}

function statisticsFields(status: Status, { last }: Pulse): Record<string, unknown> {
  const { limit, connections, libraries, jobs } = status
  const { classes, level: descriptorLevel, ...descriptors } = status.descriptors
  const ofEach = (key: keyof ClassUse) => Object.fromEntries(CLASSES.map((name) => [name, classes[name][key]]))
  return {
    limit: limit.soft,
    ...descriptors,
    // `level` is that of the line itself.
    descriptorLevel,
    used: ofEach('used'),
    refused: ofEach('refused'),
    connections,
    libraries,
    inFlight: inFlight(status.shards),
    jobs,
    loop: last,
    heapBytes: getHeapStatistics().used_heap_size,
  }
}
