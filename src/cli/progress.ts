// A job as it goes along: a bar on a terminal, a line every few seconds elsewhere.
import { setTimeout as sleep } from 'node:timers/promises'
import progress from 'cli-progress'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { JobItem, JobKind } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import type { Asked } from './choice.js'
import type { Desk } from './desk.js'
import { EXIT, Exit, SIGNALS } from './failure.js'
import type { Terminal } from './terminal.js'
import { duration, fitted, grouped, plural, safe } from './text.js'

/** The rate is that of this last while: the first seconds of a walk say little about the rest. */
const RATE_WINDOW_MS = 5_000
const BAR_STEPS = 1_000

export interface JobRef {
  readonly library: string
  readonly job: string
}

export function isFinished({ state }: JobItem): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled'
}

/**
 * Follows a job to its end. A daemon that is short of something for a moment is asked again.
 *
 * @param pause what to wait for between two looks
 */
export async function follow(
  asked: Asked,
  ref: JobRef,
  show: (job: JobItem) => void,
  pause: () => Promise<unknown> = () => sleep(LIMITS.jobProgressMs),
): Promise<JobItem> {
  let answeredAt = performance.now()
  for (;;) {
    try {
      const job = await asked.call<JobItem>('jobs.info', ref)
      answeredAt = performance.now()
      show(job)
      if (isFinished(job)) return job
    } catch (error) {
      if (!mayPass(error) || performance.now() - answeredAt > LIMITS.responseMs) throw error
    }
    await pause()
  }
}

function mayPass(error: unknown): boolean {
  return error instanceof SpacedriveError && error.retryable && error.code !== 'NO_DAEMON' && error.code !== 'DRAINING'
}

/**
 * Asks for a job, or for what may begin one; Ctrl-C leaves it to the daemon, and says so.
 *
 * @throws what the daemon answered; Exit
 */
export function begin<Begun>(
  { terminal, client }: Pick<Desk, 'terminal' | 'client'>,
  operation: OperationName,
  params: Readonly<Record<string, unknown>> & { readonly library: string },
): Promise<Begun> {
  const jobs = `\`spacedrive job list --library ${safe(params.library)}\``
  const said = () => terminal.note(`the daemon may have begun it all the same: ${jobs} tells\n`)
  return unlessLeft(client.call<Begun>(operation, params), said)
}

/**
 * Shows a job until it is done; Ctrl-C leaves the job to itself.
 *
 * @throws as `mustBeDone`
 */
export async function watch(
  { terminal, client, json }: Pick<Desk, 'terminal' | 'client' | 'json'>,
  ref: JobRef,
  label: string,
  pause?: () => Promise<unknown>,
): Promise<JobItem> {
  const gauge = openGauge(terminal, label, json)
  const said = () => {
    gauge.close()
    terminal.note(`the job goes on; \`spacedrive job watch ${asNamed(ref)}\` follows it\n`)
  }
  try {
    const following = follow(client, ref, (each) => gauge.show(each), pause)
    const job = await unlessLeft(following, said)
    mustBeDone(job)
    return job
  } finally {
    gauge.close()
  }
}

/** @throws Exit at Ctrl-C, once that is said; nobody waits for the work any more */
async function unlessLeft<Value>(work: Promise<Value>, said: () => void): Promise<Value> {
  let leave!: () => void
  const left = new Promise<never>((_resolve, reject) => {
    leave = () => {
      said()
      reject(new Exit(EXIT.interrupted))
    }
  })
  process.once('SIGINT', leave)
  try {
    return await Promise.race([left, work])
  } finally {
    process.removeListener('SIGINT', leave)
  }
}

/** As a command names it: of several libraries it has to be told which. */
function asNamed({ library, job }: JobRef): string {
  return safe(`${job} --library ${library}`)
}

/** What became of the job, in one line, and a second where something could not be read. */
export function summary(job: JobItem, label: string): string[] {
  const ms = Math.max(1, Date.parse(job.finishedAt ?? '') - Date.parse(job.startedAt ?? job.createdAt))
  const { done, unit } = job.progress
  const rate = `${grouped((done / ms) * 1_000)} ${unit}/s`
  const lines = [`${label}: ${counted(job)} in ${duration(ms)} (${rate})`]
  if (job.failureCount > 0) {
    lines.push(
      `${grouped(job.failureCount)} could not be read: \`spacedrive job info ${asNamed({ library: job.library, job: job.id })}\` names them`,
    )
  }
  return lines
}

/** @throws what the job failed with; a cancelled one counts as failed */
export function mustBeDone(job: JobItem): void {
  if (job.state === 'cancelled') throw new SpacedriveError('CANCELLED', 'the job was cancelled')
  if (job.state !== 'failed') return
  const { code, message, hint } = job.error ?? { code: 'INTERNAL', message: 'the job failed', hint: undefined }
  throw new SpacedriveError(code, message, hint === undefined ? {} : { hint })
}

/** What of a job its bar shows. */
export type Shown = Pick<JobItem, 'state' | 'progress' | 'waiting'>

export interface Gauge {
  show(job: Shown): void
  close(): void
}

/** @param quiet says nothing unless a person is looking: stderr is no terminal and stdout is for a program */
export function openGauge(terminal: Terminal, label: string, quiet: boolean): Gauge {
  if (terminal.stderr.isTTY) return openBar(terminal, label)
  return quiet ? { show: () => undefined, close: () => undefined } : openLines(terminal, label)
}

function openBar(terminal: Terminal, label: string): Gauge {
  const bar = new progress.SingleBar({
    stream: terminal.stderr as NodeJS.WritableStream,
    format: '{label} {bar} {percent} {details}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 16,
    hideCursor: true,
    clearOnComplete: true,
    // It would swallow the first Ctrl-C; whoever opened the bar closes it.
    gracefulExit: false,
  })
  const rate = new Rate()
  const shown = fitted(safe(label), 16)
  // A second stop would clear the line that others have written on since.
  const close = () => {
    if (bar.isActive) bar.stop()
    for (const signal of SIGNALS) process.removeListener(signal, ended)
  }
  const ended = (signal: NodeJS.Signals) => {
    close()
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  }
  // They end the command as ever, but give the terminal its cursor back first.
  for (const signal of SIGNALS) process.on(signal, ended)
  bar.start(BAR_STEPS, 0, { label: shown, percent: '', details: 'starting' })
  return {
    show: (job) => {
      const fraction = fractionOf(job)
      const percent = fraction === undefined ? '' : `${Math.floor(fraction * 100)}%`
      bar.update(Math.round((fraction ?? 0) * BAR_STEPS), { label: shown, percent, details: rate.words(job) })
    },
    close,
  }
}

function openLines(terminal: Terminal, label: string): Gauge {
  const rate = new Rate()
  let printedAt = performance.now()
  let printed = ''
  return {
    show: (job) => {
      const words = rate.words(job)
      if (performance.now() - printedAt < LIMITS.cliProgressLineMs) return
      printedAt = performance.now()
      const fraction = fractionOf(job)
      const percent = fraction === undefined ? '' : `, ${Math.floor(fraction * 100)} %`
      const line = `${safe(label)}: ${words}${percent}\n`
      // A job that waits says the same until it goes on.
      if (line !== printed) terminal.note(line)
      printed = line
    },
    close: () => undefined,
  }
}

function fractionOf({ progress: { done, total, fraction } }: Shown): number | undefined {
  const known = fraction ?? (total ? done / total : undefined)
  return known === undefined ? undefined : Math.min(1, Math.max(0, known))
}

/** How much of it is done, in its own unit. */
function counted({ progress: { done, unit } }: Shown): string {
  return plural(done, ONE[unit], unit)
}

const ONE = { entries: 'entry', files: 'file', bytes: 'byte' } as const

/** What a job does, as its bar is labelled. */
export const DOING: Readonly<Record<JobKind, string>> = {
  index: 'indexing',
  identify: 'identifying',
  compare: 'comparing',
  hash: 'hashing',
  backup: 'copying',
  check: 'checking',
}

interface Sample {
  readonly at: number
  readonly done: number
  readonly fraction: number | undefined
}

/** How fast a job goes, and from that how long it still takes. */
class Rate {
  #samples: Sample[] = []

  words(job: Shown): string {
    const now: Sample = { at: performance.now(), done: job.progress.done, fraction: fractionOf(job) }
    this.#samples = [...this.#samples.filter(({ at }) => now.at - at <= RATE_WINDOW_MS), now]
    const first = this.#samples[0]!
    const words = [counted(job)]
    const why = job.waiting ? `: ${job.waiting.code}` : ''
    if (job.state === 'queued' || job.state === 'paused') return `${words[0]}, ${job.state}${why}`
    const ms = now.at - first.at
    if (ms > 0) words.push(`${grouped(((now.done - first.done) / ms) * 1_000)}/s`)
    const left = leftMs(first, now)
    if (left !== undefined) words.push(`${duration(Math.max(1_000, left))} left`)
    return words.join(', ')
  }
}

function leftMs(first: Sample, now: Sample): number | undefined {
  if (first.fraction === undefined || now.fraction === undefined) return undefined
  const gained = now.fraction - first.fraction
  return gained > 0 && now.fraction < 1 ? ((1 - now.fraction) / gained) * (now.at - first.at) : undefined
}
