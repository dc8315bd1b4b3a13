// Runs the jobs of one thread: a few at a time, the others wait in their libraries' databases.
import { SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import type { RunningJob } from '../descriptors/names.js'
import { fromSqlite } from '../library/cause.js'
import type { Library } from '../library/library.js'
import type { Pool } from '../library/pool.js'
import type { Event, JobItem } from '../protocol/messages.js'
import { printable } from '../scan/names.js'
import { Balance } from './balance.js'
import { Changes, Throttled } from './changes.js'
import { Due } from './due.js'
import type { IdentifyFiles } from './identify.js'
import type { Walker, Work } from './job.js'
import { KINDS } from './kinds.js'
import { Unwritten, type StopReason } from './unwritten.js'

export interface RunnerSetup {
  readonly ledger: Ledger
  readonly pool: Pool
  readonly walk: Walker
  readonly identify: IdentifyFiles
  readonly leftOut: readonly string[]
  readonly publish: (event: Omit<Event, 'at'>) => void
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  readonly breathe: () => Promise<void>
  /** Why none may begin now, or null: jobs then wait in line, and those that run go on. */
  readonly heldUp?: (waitedMs: number) => SpacedriveError | null
  /** A run came to its end, whatever that was. */
  readonly ended?: (library: Library) => void
  /** What a job of any kind does, where a test has it do something else. */
  readonly work?: Work
  /** `LIMITS.jobLeakGraceMs` unless a test wants to see it pass. */
  readonly leakGraceMs?: number
}

interface Waiting {
  readonly library: string
  readonly job: string
}

interface Running extends Waiting {
  readonly abort: AbortController
  /** The library by name and the directory by path, once it is begun. */
  on: { readonly library: string; readonly path: string } | undefined
  /** Resolves when the run has ended, whatever its end. */
  ended: Promise<void>
}

export class Runner {
  readonly #setup: RunnerSetup
  readonly #waiting: Waiting[] = []
  readonly #running = new Map<string, Running>()
  /** What jobs were put back in line for, told once and not at every try. */
  readonly #reasons = new Map<string, string>()
  /** Jobs that are tried again after a while. */
  readonly #retries = new Map<string, NodeJS.Timeout>()
  readonly #due: Due
  readonly #unwritten: Unwritten
  #stopped = false
  /** Runs that are over and left something, with when it is taken back. */
  readonly #left = new Map<Balance, NodeJS.Timeout>()
  /** Since when the line stands still because of pressure, and what presses. */
  #heldUpSince: number | null = null
  #heldUpBy: WireError | null = null

  constructor(setup: RunnerSetup) {
    this.#setup = setup
    this.#due = new Due({
      find: (id) => setup.pool.find(id),
      takeUp: (library) => this.takeUp(library),
      log: (level, message) => setup.log(level, message),
    })
    this.#unwritten = new Unwritten({
      pool: setup.pool,
      written: (library, job) => {
        this.#mark(library)
        this.#tell(library, job)
      },
    })
  }

  /** Those that wait for something to pass are in line as well. */
  get counts(): { running: number; queued: number } {
    return { running: this.#running.size, queued: this.#waiting.length + this.#retries.size }
  }

  /** What runs now, and on which directory. */
  running(): RunningJob[] {
    return [...this.#running.values()].flatMap(({ job, on }) => (on ? [{ job, ...on }] : []))
  }

  /** Takes up the jobs a library has left; those that wait or run already are left alone. */
  takeUp(library: Library): void {
    this.#unwritten.applyTo(library)
    const waiting = new Set(this.#waiting.map(({ job }) => job))
    for (const id of library.jobs.unfinished()) {
      if (this.#running.has(id) || waiting.has(id)) continue
      this.#forgetRetry(id)
      this.#waiting.push({ library: library.id, job: id })
    }
    this.#mark(library)
    this.#startNext()
    const why = this.#heldUpBy
    if (why === null) return
    for (const { library: id, job } of this.#waiting) if (id === library.id) library.jobs.explain(job, why)
  }

  /** Files of a location may be due to be read. */
  readSoon(library: Library, location: string): void {
    this.#due.soon(library, location)
  }

  /**
   * Where that cannot be written down, it has stopped all the same, and says so.
   *
   * @throws JOB_STATE when the job has ended, or is in that state already
   */
  stop(library: Library, job: string, reason: StopReason): Promise<JobItem> {
    return library.during(() =>
      this.#stop(library, job, reason, (error) => this.#keepStopped(library, job, reason, error)),
    )
  }

  /** For what is about to build on it. @throws JOB_STATE as above, and what keeps it from being written: then it goes on */
  cancel(library: Library, job: string): Promise<JobItem> {
    return library.during(() => this.#stop(library, job, 'cancelled', (error) => this.#goOnWith(library, error)))
  }

  #keepStopped(library: Library, job: string, reason: StopReason, error: unknown): void {
    const why = toWire(fromSqlite(error, library.path))
    if (!why.retryable || library.failure) return this.#goOnWith(library, error)
    const message = `job ${job} of library "${library.name}" is ${reason}, which is not written yet: ${why.message}`
    this.#setup.log('warn', message, { code: why.code, job, library: library.id })
    this.#unwritten.keep(library, job, reason, why)
  }

  /** It was not stopped, and is in no line any more. */
  #goOnWith(library: Library, error: unknown): never {
    this.takeUp(library)
    throw error
  }

  async #stop(
    library: Library,
    job: string,
    reason: StopReason,
    unwritable: (error: unknown) => void,
  ): Promise<JobItem> {
    const { state } = library.jobs.get(job)
    const allowed = state === 'queued' || state === 'running' || (state === 'paused' && reason === 'cancelled')
    if (!allowed) throw new SpacedriveError('JOB_STATE', `the job is ${state}`)
    const at = this.#waiting.findIndex((each) => each.job === job)
    if (at >= 0) this.#waiting.splice(at, 1)
    const running = this.#running.get(job)
    running?.abort.abort(reason)
    await running?.ended
    // It may have come to its end before it saw the signal.
    const now = library.jobs.get(job).state
    if (now === 'queued' || now === 'running' || now === 'paused')
      try {
        library.note(() => library.jobs.setState(job, reason))
        this.#unwritten.forget(library, job)
      } catch (error) {
        unwritable(error)
      }
    this.#forgetRetry(job)
    this.#mark(library)
    return this.#tell(library, job)
  }

  resume(library: Library, job: string): JobItem {
    const { state } = library.jobs.get(job)
    if (state !== 'paused') throw new SpacedriveError('JOB_STATE', `the job is ${state}, only a paused one can go on`)
    // Where it was never written that it is paused, it is written as it is now to be.
    if (!this.#unwritten.forget(library, job)) library.note(() => library.jobs.setState(job, 'queued'))
    this.takeUp(library)
    return this.#tell(library, job)
  }

  /** Stops what runs on a location and waits for it, so that the location can go. */
  async stopOf(library: Library, location: string): Promise<void> {
    for (const { id } of library.jobs.activeOf(location)) await this.cancel(library, id)
  }

  /** Everything stops at its last checkpoint and goes on after the next start. */
  async stopAll(): Promise<void> {
    this.#stopped = true
    this.#due.stop()
    this.#waiting.length = 0
    const running = [...this.#running.values()]
    for (const { abort } of running) abort.abort()
    await Promise.all(running.map(({ ended }) => ended))
    this.#unwritten.stop()
    for (const balance of this.#left.keys()) this.#takeBack(balance)
  }

  /** Called at intervals: what held the line up may be over. */
  goOn(): void {
    this.#startNext()
  }

  #mayBegin(): boolean {
    const since = (this.#heldUpSince ??= performance.now())
    const why = this.#setup.heldUp?.(performance.now() - since) ?? null
    this.#heldUpBy = why && toWire(why)
    if (why) return false
    this.#heldUpSince = null
    return true
  }

  #startNext(): void {
    const room = () => !this.#stopped && this.#running.size < LIMITS.jobsRunningMax && this.#waiting.length > 0
    while (room() && this.#mayBegin()) {
      const next = this.#waiting.shift()!
      const running: Running = { ...next, abort: new AbortController(), on: undefined, ended: Promise.resolve() }
      this.#running.set(next.job, running)
      running.ended = this.#run(running).finally(() => {
        this.#running.delete(next.job)
        this.#startNext()
      })
    }
  }

  async #run(running: Running): Promise<void> {
    const { pool, log } = this.#setup
    const { signal } = running.abort
    try {
      await pool.hold(running.library, (library) => this.#runIn(library, running))
    } catch (error) {
      const wire = toWire(error)
      log('warn', `job ${running.job} could not be begun: ${wire.message}`, {
        code: wire.code,
        job: running.job,
        library: running.library,
      })
      // A job never fails for lack of descriptors: it waits in line and is tried again.
      if (wire.retryable && !signal.aborted) this.#again(running)
    }
  }

  async #runIn(library: Library, running: Running): Promise<void> {
    const { job, abort } = running
    const { signal } = abort
    const { log } = this.#setup
    const balance = new Balance(this.#setup.ledger, job)
    const told = new Throttled(LIMITS.jobProgressMs, () => this.#tell(library, job))
    const changes = new Changes(LIMITS.jobProgressMs, (event) => this.#setup.publish({ ...event, library: library.id }))
    // Cancelled or paused while it waited in line for its next try: then it is not this run's any more.
    const { state, kind } = library.jobs.get(job)
    if (state !== 'queued' && state !== 'running') return
    const work = this.#setup.work ?? KINDS[kind]
    try {
      library.note(() => library.jobs.setState(job, 'running'))
      this.#tell(library, job)
      running.on = workOf(library, job)
      await work({
        library,
        job: library.jobs.get(job),
        walk: this.#setup.walk,
        identify: this.#setup.identify,
        leftOut: this.#setup.leftOut,
        signal,
        balance,
        committed: (applied, location) => {
          changes.add(applied, location)
          told.soon()
        },
        progressed: () => told.soon(),
        breathe: this.#setup.breathe,
      })
      this.#reasons.delete(job)
      if (!signal.aborted) this.#done(library, job)
    } catch (error) {
      const wire = toWire(fromSqlite(error, library.path))
      if (this.#reasons.get(job) !== wire.code)
        log('warn', `job ${job} of library "${library.name}": ${wire.message}`, {
          code: wire.code,
          job,
          library: library.id,
        })
      // Where the disk failed it goes on when the library is opened again.
      if (signal.aborted || library.failure) return
      if (wire.retryable) this.#wait(library, job, wire)
      else library.note(() => library.jobs.setState(job, 'failed', wire))
    } finally {
      told.stop()
      changes.flush()
      this.#close(library, job, balance)
      if (!library.failure) {
        this.#mark(library)
        this.#tell(library, job)
        this.#setup.ended?.(library)
      }
    }
  }

  /** It may have left another job to be done, at once or in a while. */
  #done(library: Library, job: string): void {
    library.note(() => library.jobs.setState(job, 'done'))
    this.takeUp(library)
    const { location } = library.jobs.get(job)
    if (location !== null) this.#due.soon(library, location)
  }

  /** For lack of descriptors, threads or space no job fails: it stands in line again, with the reason. */
  #wait(library: Library, job: string, why: WireError): void {
    this.#reasons.set(job, why.code)
    this.#again({ library: library.id, job })
    try {
      library.note(() => library.jobs.wait(job, why))
    } catch {
      // On a full disk it stays `running` in the database, which is as good: a start takes it up as well.
    }
  }

  /** What the run took goes with the job; what it left is named now and taken back after a while. */
  #close(library: Library, job: string, balance: Balance): void {
    const { log, leakGraceMs = LIMITS.jobLeakGraceMs } = this.#setup
    const sum = balance.sum()
    try {
      if (sum.taken > 0 && !library.failure) library.note(() => library.jobs.addDescriptors(job, sum))
    } catch {
      // On a full disk the job stands in line again and has said why.
    }
    if (sum.left === 0) return
    log('warn', `job ${job} of library "${library.name}" left ${sum.left} descriptors`, {
      ...sum,
      job,
      library: library.id,
    })
    this.#left.set(balance, setTimeout(() => this.#takeBack(balance), leakGraceMs).unref())
  }

  #takeBack(balance: Balance): void {
    clearTimeout(this.#left.get(balance))
    this.#left.delete(balance)
    const count = balance.takeBack()
    if (count > 0) this.#setup.log('info', `${count} descriptors that a job had left were taken back`)
  }

  #again(waiting: Waiting): void {
    this.#forgetRetry(waiting.job)
    const retry = setTimeout(() => {
      this.#retries.delete(waiting.job)
      const here = this.#running.has(waiting.job) || this.#waiting.some(({ job }) => job === waiting.job)
      if (this.#stopped || here) return
      this.#waiting.push({ library: waiting.library, job: waiting.job })
      this.#startNext()
    }, AGAIN_MS).unref()
    this.#retries.set(waiting.job, retry)
  }

  /** A library that was opened meanwhile has had its jobs taken up: a retry would open it again for nothing. */
  #forgetRetry(job: string): void {
    clearTimeout(this.#retries.get(job))
    this.#retries.delete(job)
  }

  /** A hint for the next start, without which everything goes on until then. */
  #mark(library: Library): void {
    try {
      library.markUnfinished(library.jobs.areUnfinished)
    } catch (error) {
      this.#setup.log('warn', `library "${library.name}": ${toWire(error).message}`)
    }
  }

  #tell(library: Library, job: string): JobItem {
    const item = library.jobs.item(library.jobs.get(job))
    this.#setup.publish({ type: 'job.changed', library: library.id, job: item })
    return item
  }
}

const AGAIN_MS = 1000

/** A job of no location works on the library itself. */
function workOf(library: Library, job: string): { library: string; path: string } {
  const { location } = library.jobs.get(job)
  const path = location === null ? library.path : library.locations.get(location).path
  return { library: library.name, path: printable(path) }
}
