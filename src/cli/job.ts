// `spacedrive job …`: what a library is doing in the background.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { JobDescriptors, JobItem } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import { chooseLibrary, listOf, type Listed } from './choice.js'
import type { Desk } from './desk.js'
import { openFeed } from './feed.js'
import { table, type Column } from './table.js'
import { grouped, minute, plural, safe } from './text.js'

interface JobOptions {
  readonly library?: string
}

/** Events tell when to look; this is for one that was dropped. */
const LOOK_MS = 2_000

const COLUMNS: readonly Column[] = [
  { title: 'id' },
  { title: 'kind' },
  { title: 'state' },
  { title: 'done', right: true },
  { title: 'created' },
]

const CHANGES = [
  ['pause', 'jobs.pause', 'stop a job after its current batch; it can be resumed'],
  ['resume', 'jobs.resume', 'let a paused job go on where it stopped'],
  ['cancel', 'jobs.cancel', 'end a job; what it has done stays'],
] as const satisfies readonly (readonly [string, OperationName, string])[]

export function addJob(program: Command, desk: Desk): void {
  const job = program.command('job').description('list, watch and steer background jobs')
  command(job, 'list', 'list the jobs of a library').action((options: JobOptions) => list(desk, options))
  command(job, 'info', 'what a job has done so far')
    .argument('<JOB>')
    .action((id: string, options: JobOptions) => info(desk, id, options))
  command(job, 'watch', 'show the progress of a job until it ends')
    .argument('<JOB>')
    .action((id: string, options: JobOptions) => watchJob(desk, id, options))
  for (const [name, operation, words] of CHANGES) {
    command(job, name, words)
      .argument('<JOB>')
      .action((id: string, options: JobOptions) => change(desk, operation, id, options))
  }
}

function command(job: Command, name: string, words: string): Command {
  return job.command(name).description(words).option('--library <LIBRARY>', 'name or id of the library')
}

async function list(desk: Desk, options: JobOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const jobs = await allJobs(desk, library.id)
  if (jobs.length === 0 && !desk.json) return desk.note('no job yet')
  await desk.answer(jobs, () => table(COLUMNS, jobs.map(row), desk.terminal.listColumns))
}

/** A library remembers a bounded number of jobs, so that all of them are a few pages. */
async function allJobs(desk: Desk, library: string): Promise<JobItem[]> {
  const jobs: JobItem[] = []
  let cursor: string | undefined
  do {
    const params = { library, ...(cursor === undefined ? {} : { cursor }) }
    const page = await desk.client.call<Listed<JobItem> & { cursor?: string }>('jobs.list', params)
    jobs.push(...listOf(page))
    cursor = page.cursor
  } while (cursor !== undefined)
  return jobs
}

function row(job: JobItem): string[] {
  return [job.id, job.kind, job.state, grouped(job.progress.done), minute(job.createdAt)]
}

async function info(desk: Desk, id: string, options: JobOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const job = await desk.client.call<JobItem>('jobs.info', { library: library.id, job: id })
  await desk.answer(job, () => jobLines(job))
}

export function jobLines(job: JobItem): string[] {
  const { done, total, unit, fraction } = job.progress
  const share = fraction ?? (total ? done / total : undefined)
  const percent = share === undefined || job.state === 'done' ? '' : `, about ${Math.floor(share * 100)} %`
  const facts: [string, string | undefined][] = [
    ['job', job.id],
    ['kind', job.kind],
    ['state', job.state],
    ['because of', job.waiting && `${job.waiting.code}: ${job.waiting.message}`],
    ['not written', job.unwritten && `${job.unwritten.code}: ${job.unwritten.message}`],
    ['progress', `${grouped(done)} ${unit}${percent}`],
    ['location', job.location],
    ['created', minute(job.createdAt)],
    ['started', job.startedAt && minute(job.startedAt)],
    ['finished', job.finishedAt && minute(job.finishedAt)],
    ['error', job.error && `${job.error.code}: ${job.error.message}`],
    ['descriptors', job.descriptors && descriptorWords(job.descriptors)],
    ['failures', job.failureCount > 0 ? plural(job.failureCount, 'path') : undefined],
  ]
  const known = facts.filter(([, words]) => words !== undefined)
  const failures = job.failures.map(({ code, path, message }) => `  ${code} ${safe(path)}: ${safe(message)}`)
  const leaks = job.descriptors?.leaks?.flatMap(leakLines) ?? []
  return [...known.map(([name, words]) => `${name.padEnd(13)}${safe(words!)}`), ...leaks, ...failures]
}

function descriptorWords({ taken, returned, left }: JobDescriptors): string {
  return `${grouped(taken)} taken, ${grouped(returned)} returned${left > 0 ? `, ${grouped(left)} left behind` : ''}`
}

function leakLines({ path, count, where = [] }: NonNullable<JobDescriptors['leaks']>[number]): string[] {
  return [`  left ${grouped(count)} for ${safe(path)}`, ...where.map((frame) => `    taken at ${safe(frame)}`)]
}

async function change(desk: Desk, operation: OperationName, id: string, options: JobOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const result = await desk.client.call<Partial<JobItem> | null>(operation, { library: library.id, job: id })
  await desk.answer(result, () => [`job ${safe(id)}: ${result?.state ?? 'asked'}`])
  if (result?.unwritten)
    desk.note(`not written down yet (${result.unwritten.code}): a daemon that starts before it is goes on with the job`)
}

async function watchJob(desk: Desk, id: string, options: JobOptions): Promise<void> {
  const { DOING, summary, watch } = await import('./progress.js')
  const library = await chooseLibrary(desk.client, options.library)
  const bell = new Bell()
  const filter = { types: ['job.changed'], library: library.id }
  const feed = await openFeed(desk.client.socket, filter, () => bell.ring())
  try {
    const pause = () => Promise.race([bell.rung(), sleep(LOOK_MS, undefined, { ref: false }), feed.closed])
    const ref = { library: library.id, job: id }
    const { kind } = await desk.client.call<JobItem>('jobs.info', ref)
    const job = await watch(desk, ref, DOING[kind], pause)
    await desk.answer(job, () => summary(job, `job ${safe(id)} is done`))
  } finally {
    feed.close()
  }
}

/** Many rings before anybody listens are one. */
class Bell {
  #rung = false
  #wake: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  async rung(): Promise<void> {
    if (!this.#rung) await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#rung = false
  }
}
