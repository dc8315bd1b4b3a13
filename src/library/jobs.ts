// The jobs of a library as they are stored: what makes background work survive a crash.
import { uuidv7 } from 'uuidv7'
import { SpacedriveError, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { JobDescriptors, JobItem, JobKind, JobState } from '../protocol/messages.js'
import { printable } from '../scan/names.js'
import type { Connection } from './connection.js'

export interface JobRow {
  readonly number: number
  readonly id: string
  readonly kind: JobKind
  readonly state: JobState
  readonly location: string | null
  readonly checkpoint: string | null
  readonly done: number
  readonly total: number | null
  readonly fraction: number | null
  readonly failure_count: number
  readonly failures: string
  readonly created_at: number
  readonly started_at: number | null
  readonly finished_at: number | null
  readonly error: string | null
  readonly descriptors: string | null
  readonly left_out: string | null
  readonly bytes: number | null
}

export interface Progress {
  readonly checkpoint: string | null
  readonly done: number
  readonly fraction: number
  readonly failures: readonly { path: string; code: string; message: string }[]
  /** What rules left out, by rule, of all that was done so far. */
  readonly leftOut?: Readonly<Record<string, number>>
}

/** What `done` and `total` count. */
const UNITS: Readonly<Record<JobKind, JobItem['progress']['unit']>> = {
  index: 'entries',
  identify: 'files',
  compare: 'files',
  hash: 'files',
  backup: 'bytes',
  check: 'entries',
}

const NOTHING_TAKEN: JobDescriptors = { taken: 0, returned: 0, left: 0 }

export class Jobs {
  readonly #library: string
  readonly #connection: Connection
  /** Why jobs that had begun stand in line again. Only in memory: on a full disk nothing else can be noted. */
  readonly #waiting = new Map<string, WireError>()
  /** Stops that could not be written, and why: the states that they are in, whatever the database says. */
  readonly #unwritten = new Map<string, { readonly state: 'paused' | 'cancelled'; readonly why: WireError }>()
  readonly #byId
  readonly #unfinished
  readonly #progress

  constructor(library: string, connection: Connection) {
    this.#library = library
    this.#connection = connection
    this.#byId = connection.prepare<[string], JobRow>('SELECT * FROM job WHERE id = ?')
    this.#unfinished = connection
      .prepare<[limit: number], string>(
        `SELECT id FROM job WHERE state IN ('queued', 'running') ORDER BY number LIMIT ?`,
      )
      .pluck()
    this.#progress = connection.prepare(
      `UPDATE job SET checkpoint = coalesce(?, checkpoint), done = ?, fraction = ?, failure_count = failure_count + ?,
       failures = CASE WHEN ? = 0 THEN failures ELSE ? END WHERE id = ?`,
    )
  }

  /** @param location its uid, null for a job of the whole library */
  enqueue(kind: JobKind, location: string | null, total: number | null, checkpoint: string | null = null): JobRow {
    const id = uuidv7()
    this.#connection
      .prepare(
        'INSERT INTO job (id, kind, state, location, total, checkpoint, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, kind, 'queued', location, total, checkpoint, Date.now())
    this.#connection
      .prepare(
        `DELETE FROM job WHERE state IN ('done', 'failed', 'cancelled')
         AND number <= (SELECT max(number) FROM job) - ${LIMITS.jobsKeptMax}`,
      )
      .run()
    return this.get(id)
  }

  get(id: string): JobRow {
    const row = this.#byId.get(id)
    if (!row) throw new SpacedriveError('JOB_NOT_FOUND', `no job ${id} in this library`)
    return this.#seen(row)
  }

  /** Newest first; `before` is the number of the last row of the page before. */
  list(limit: number, before: number): JobRow[] {
    return this.#connection
      .prepare<[number, number], JobRow>('SELECT * FROM job WHERE number < ? ORDER BY number DESC LIMIT ?')
      .all(before, limit)
      .map((row) => this.#seen(row))
  }

  /** Those that should run or go on, oldest first: their ids, for there may be many, and they are asked for at every change. */
  unfinished(): string[] {
    return this.#unfinished.all(-1).filter((id) => !this.#unwritten.has(id))
  }

  /** Whether there are any. */
  get areUnfinished(): boolean {
    return this.#unfinished.all(1 + this.#unwritten.size).some((id) => !this.#unwritten.has(id))
  }

  /** The jobs that have yet to finish with a location, oldest first. */
  activeOf(location: string): JobRow[] {
    return this.#connection
      .prepare<[string], JobRow>(
        `SELECT * FROM job WHERE location = ? AND state IN ('queued', 'running', 'paused') ORDER BY number`,
      )
      .all(location)
      .map((row) => this.#seen(row))
      .filter(({ state }) => state !== 'cancelled')
  }

  /** The one of a kind that has yet to finish with a location, if there is one. */
  active(kind: JobKind, location: string): JobRow | undefined {
    return this.activeOf(location).find((each) => each.kind === kind)
  }

  /** The one of a kind for the whole library that has yet to finish. */
  ofLibrary(kind: JobKind): JobRow | undefined {
    return this.#connection
      .prepare<[JobKind], JobRow>(
        `SELECT * FROM job WHERE state IN ('queued', 'running') AND kind = ? AND location IS NULL ORDER BY number`,
      )
      .all(kind)
      .find(({ id }) => !this.#unwritten.has(id))
  }

  /** Within the transaction of the rows it covers. */
  writeProgress(id: string, { checkpoint, done, fraction, failures, leftOut = {} }: Progress): void {
    const kept = failures.length === 0 ? '' : this.#failuresWith(id, failures)
    this.#progress.run(checkpoint, done, fraction, failures.length, failures.length, kept, id)
    if (Object.keys(leftOut).length > 0)
      this.#connection.prepare('UPDATE job SET left_out = ? WHERE id = ?').run(JSON.stringify(leftOut), id)
  }

  /** Of a job that knows what it has before it: how much that is, and of what it has read so far. */
  writeRead(id: string, { done, total, bytes }: { done: number; total: number; bytes: number }): void {
    this.#connection
      .prepare('UPDATE job SET done = ?, total = ?, fraction = ?, bytes = ? WHERE id = ?')
      .run(done, total, total === 0 ? 1 : Math.min(1, done / total), bytes, id)
  }

  /** A job that comes again and again: of those of its kind and location that are done, the list keeps the last. */
  forgetDone(kind: JobKind, location: string): void {
    this.#connection
      .prepare(
        `DELETE FROM job WHERE kind = :kind AND location = :location AND state = 'done' AND failure_count = 0
         AND number < (SELECT max(number) FROM job WHERE kind = :kind AND location = :location AND state = 'done')`,
      )
      .run({ kind, location })
  }

  /** What a job met is no fault of its own and will pass. */
  wait(id: string, why: WireError): void {
    try {
      this.setState(id, 'queued')
    } finally {
      this.#waiting.set(id, why)
    }
  }

  /** It stands in line as it is, and says why it does not begin. */
  explain(id: string, why: WireError): void {
    this.#waiting.set(id, why)
  }

  /** It has stopped, and that cannot be written down yet. */
  stopUnwritten(id: string, state: 'paused' | 'cancelled', why: WireError): void {
    this.#waiting.delete(id)
    this.#unwritten.set(id, { state, why })
  }

  /** Once it is written, or where the job goes on as it is written. */
  forgetUnwritten(id: string): void {
    this.#unwritten.delete(id)
  }

  setState(id: string, state: JobState, error?: WireError): void {
    this.#waiting.delete(id)
    const finished = state === 'done' || state === 'failed' || state === 'cancelled'
    this.#connection
      .prepare(
        `UPDATE job SET state = ?, started_at = CASE WHEN ? THEN coalesce(started_at, ?) ELSE started_at END,
         finished_at = ?, error = ?, fraction = CASE WHEN ? THEN 1 ELSE fraction END,
         total = CASE WHEN ? THEN done ELSE total END WHERE id = ?`,
      )
      .run(
        state,
        state === 'running' ? 1 : 0,
        Date.now(),
        finished ? Date.now() : null,
        error ? JSON.stringify(error) : null,
        state === 'done' ? 1 : 0,
        state === 'done' ? 1 : 0,
        id,
      )
  }

  /** Adds what one run took to what those before it did. */
  addDescriptors(id: string, { taken, returned, left, leaks = [] }: JobDescriptors): void {
    const { descriptors } = this.get(id)
    const before = descriptors === null ? NOTHING_TAKEN : (JSON.parse(descriptors) as JobDescriptors)
    const all = [...(before.leaks ?? []), ...leaks].slice(-LIMITS.jobLeaksKeptMax)
    const sum: JobDescriptors = {
      taken: before.taken + taken,
      returned: before.returned + returned,
      left: before.left + left,
      ...(all.length > 0 ? { leaks: all.map((leak) => ({ ...leak, path: printable(leak.path) })) } : {}),
    }
    this.#connection.prepare('UPDATE job SET descriptors = ? WHERE id = ?').run(JSON.stringify(sum), id)
  }

  item(row: JobRow): JobItem {
    const time = (at: number) => new Date(at).toISOString()
    const waiting = this.#waiting.get(row.id)
    const unwritten = this.#unwritten.get(row.id)?.why
    return {
      id: row.id,
      library: this.#library,
      kind: row.kind,
      state: waiting ? 'queued' : row.state,
      progress: {
        done: row.done,
        unit: UNITS[row.kind],
        ...(row.bytes === null ? {} : { bytes: row.bytes }),
        ...(row.total === null ? {} : { total: row.total }),
        ...(row.fraction === null ? {} : { fraction: row.fraction }),
      },
      failures: JSON.parse(row.failures) as JobItem['failures'],
      failureCount: row.failure_count,
      ...(row.left_out === null ? {} : { leftOut: JSON.parse(row.left_out) as Record<string, number> }),
      ...(row.location === null ? {} : { location: row.location }),
      createdAt: time(row.created_at),
      ...(row.started_at === null ? {} : { startedAt: time(row.started_at) }),
      ...(row.finished_at === null ? {} : { finishedAt: time(row.finished_at) }),
      ...(row.error === null ? {} : { error: JSON.parse(row.error) as WireError }),
      ...(waiting ? { waiting } : {}),
      ...(unwritten ? { unwritten } : {}),
      ...(row.descriptors === null ? {} : { descriptors: JSON.parse(row.descriptors) as JobDescriptors }),
    }
  }

  #seen(row: JobRow): JobRow {
    const { state = row.state } = this.#unwritten.get(row.id) ?? {}
    return state === row.state ? row : { ...row, state }
  }

  #failuresWith(id: string, failures: Progress['failures']): string {
    const kept = JSON.parse(this.get(id).failures) as JobItem['failures']
    for (const { path, code, message } of failures.slice(0, LIMITS.jobFailuresKeptMax - kept.length)) {
      kept.push({ path: printable(path), code, message: printable(message) })
    }
    return JSON.stringify(kept)
  }
}
