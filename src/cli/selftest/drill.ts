// What the daemon promises, put to the test one after another on this machine: each ends in a verdict with what was measured.
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { SpacedriveError, toWire } from '../../base/errors.js'
import { startChild } from '../../descriptors/child.js'
import { readLimit } from '../../descriptors/rlimit.js'
import type { Diagnosis } from '../../doctor/examine.js'
import type { JobItem, LibraryInfo, Status } from '../../protocol/messages.js'
import { parsed } from '../client.js'
import { duration, grouped, plural } from '../text.js'
import type { Fates } from './crowd.js'
import { Guests } from './guests.js'
import { command, eventually, Subject, watched } from './subject.js'

/** In the order of the verdicts. */
export const PROMISES = {
  boot: 'boots with a tiny limit',
  refuse: 'refuses with a reason',
  serve: 'serves whom it admitted',
  bound: 'stays below its limit',
  work: 'writes and takes jobs meanwhile',
  exhausted: 'answers without a free descriptor',
  doctor: 'has a doctor that answers then',
  back: 'comes back to where it began',
  log: 'met no EMFILE under the flood',
  keep: 'loses nothing when it is killed',
  drain: 'drains when it is told to stop',
} as const
export type Promised = keyof typeof PROMISES

export interface Check {
  readonly name: string
  /** Null: it could not be tried on this machine, and `words` say why. */
  readonly ok: boolean | null
  readonly words: string
  readonly [measured: string]: unknown
}

const TINY = 64
const LIMIT = 256
const CROWD = 2_000
/** Descriptors that a process which connects needs for itself. */
const CROWD_OWN = 100
const GUESTS = 16
const LIBRARIES = 8
/** Files of the trees that are indexed. */
const SMALL = 300
const LARGE = 6_000
const CALM_MS = 1_500
const FLOOD_MS = 3_000
const CUT_MS = 1_000
/** Slower than this nobody would call it served. */
const SERVED_MS = 1_000
/** Of so many at once a kernel may forget some before the daemon hears of them. */
const IGNORED_SHARE = 0.01
const RECOVERED_MS = 2_000
const DRAINED_MS = 10_000
const WAIT_MS = 15_000

const CROWD_SCRIPT = fileURLToPath(new URL('./crowd.js', import.meta.url))

type Judged = readonly [ok: boolean | null, words: string, measured?: Record<string, unknown>]

export class Drill {
  readonly #place: string
  readonly #report: (check: Check) => void
  readonly #judged = new Set<Promised>()
  readonly #small: Tree
  readonly #large: string
  #subject: Subject | null = null
  #libraries: string[] = []
  #atBoot: { status: Status; count: number | null } | null = null

  /** @param place an empty directory of our own */
  constructor(place: string, report: (check: Check) => void) {
    this.#place = place
    this.#report = report
    this.#small = plant(join(place, 'small'), SMALL)
    this.#large = join(place, 'large')
  }

  async run(): Promise<void> {
    await this.#step(['boot'], () => this.#boot())
    await this.#step(['refuse', 'serve', 'bound', 'work'], () => this.#flood())
    await this.#step(['log'], () => this.#readLog())
    await this.#step(['exhausted', 'doctor'], () => this.#exhaust())
    await this.#step(['back'], () => this.#comeBack())
    await this.#step(['keep'], () => this.#kill())
    await this.#step(['drain'], () => this.#drain())
  }

  /** Whatever a step did not come to has failed, with the reason why. */
  async #step(promises: readonly Promised[], act: () => Promise<void>): Promise<void> {
    let why = 'it was not reached'
    try {
      await act()
    } catch (error) {
      why = toWire(error).message
    }
    for (const promised of promises) if (!this.#judged.has(promised)) this.#judge(promised, [false, why])
  }

  #judge(promised: Promised, [ok, words, measured = {}]: Judged): void {
    this.#judged.add(promised)
    this.#report({ name: PROMISES[promised], ok, words, ...measured })
  }

  async #boot(): Promise<void> {
    const subject = await Subject.start(join(this.#place, 'tiny'), TINY)
    const { open } = (await subject.status()).descriptors
    const library = await create(subject, 'one')
    await index(subject, library, this.#small)
    const { code, signal } = await subject.end('SIGTERM')
    const words = `limit ${TINY}: ready after ${duration(subject.readyMs)}, ${open} open, ended with ${code ?? signal}`
    this.#judge('boot', [open < TINY && code === 0, words, { limit: TINY, readyMs: subject.readyMs, open, code }])
  }

  async #flood(): Promise<void> {
    const subject = (this.#subject = await Subject.start(join(this.#place, 'data'), LIMIT))
    this.#atBoot = { status: await subject.status(), count: subject.count() }
    for (let at = 0; at < LIBRARIES; at += 1) this.#libraries.push(await create(subject, `library ${at}`))
    const [library] = this.#libraries as [string]
    await index(subject, library, this.#small)

    const asked = { library, path: this.#small.directories[0]! }
    const guests = new Guests(subject.url, subject.token, GUESTS, 'files.list', asked)
    const most = new Most(subject)
    try {
      await sleep(CALM_MS / 3)
      guests.take()
      await sleep(CALM_MS)
      const calm = guests.take()
      await this.#underFlood(subject)
      this.#judgeServed(calm, guests.take())
    } finally {
      await guests.stop()
      this.#judgeMost(await most.end(subject))
    }
  }

  async #underFlood(subject: Subject): Promise<void> {
    const count = Math.min(CROWD, readLimit().hard - CROWD_OWN)
    const crowd = new Crowd(subject, count)
    const begun = performance.now()
    let jobs: Job[] = []
    try {
      await eventually('the crowd is told', WAIT_MS, async () => {
        // Whoever is silent for long loses the place when others press.
        await subject.call('core.ping')
        // None of it shows a token, so that some are let in and then have to make room for others of it.
        return (await crowd.fates()).open < LIMIT
      })
      jobs = await this.#work(subject)
      await sleep(Math.max(0, FLOOD_MS - (performance.now() - begun)))
      this.#judgeRefused(count, await crowd.fates())
    } finally {
      await crowd.leave()
    }
    await this.#judgeWork(subject, jobs, begun)
  }

  #judgeRefused(count: number, fates: Fates): void {
    const { refused, open, answered, dismissed, ignored, strange } = fates
    const words = [
      `${grouped(count)} connections: ${grouped(open + answered + dismissed)} let in`,
      `${grouped(refused)} told why and when to come back`,
      ...(ignored > 0 ? [`${grouped(ignored)} closed without a word`] : []),
      ...(strange > 0 ? [`${grouped(strange)} told nonsense`] : []),
    ].join(', ')
    const ok = refused > 0 && strange === 0 && ignored <= count * IGNORED_SHARE
    this.#judge('refuse', [ok, words, { connections: count, ...fates }])
  }

  #judgeServed(calm: Awaited<ReturnType<Guests['take']>>, crowded: typeof calm): void {
    const { answers, failures, p99Ms } = crowded
    const ok = failures.length === 0 && answers > 0 && p99Ms < SERVED_MS
    const failed = failures.length > 0 ? `${failures.length} failed (${failures[0]})` : 'none failed'
    const words = `${grouped(answers)} answers, ${failed}, p99 ${duration(p99Ms)}, was ${duration(calm.p99Ms)} before`
    this.#judge('serve', [ok, words, { answers, failures: failures.length, p99Ms, calmP99Ms: calm.p99Ms }])
  }

  #judgeMost(most: number): void {
    this.#judge('bound', [most < LIMIT, `${most} open at the most, limit ${LIMIT}`, { most, limit: LIMIT }])
  }

  /** Every library is opened, written, and given something to index; whose turn comes is the daemon's to say. */
  async #work(subject: Subject): Promise<Job[]> {
    const jobs: Job[] = []
    for (const [at, library] of this.#libraries.entries()) {
      await subject.call('libraries.rename', { library, name: `renamed ${at}` })
      if (at === 0) continue
      const { job } = await subject.call<{ job: string }>('locations.add', { library, path: this.#small.path })
      jobs.push({ library, job })
    }
    return jobs
  }

  async #judgeWork(subject: Subject, jobs: readonly Job[], begun: number): Promise<void> {
    for (const { library, job } of jobs) await done(subject, library, job)
    const counted = await Promise.all(this.#libraries.map((library) => entriesOf(subject, library)))
    const ms = performance.now() - begun
    const ok = counted.every((entries) => entries === this.#small.entries)
    const words = `${plural(counted.length, 'library', 'libraries')} written, ${plural(jobs.length, 'job')} accepted and done within ${duration(ms)}`
    const lost = `${counted.join(', ')} entries are indexed, not ${this.#small.entries} each`
    this.#judge('work', [ok, ok ? words : lost, { libraries: counted.length, jobs: jobs.length, ms }])
  }

  async #exhaust(): Promise<void> {
    const subject = this.#running()
    // Cold, so that asking for it takes descriptors.
    await subject.call('libraries.close', { library: this.#libraries.at(-1) })
    const { open } = (await subject.status()).descriptors
    if (!subject.limit(open)) {
      const words = 'not tried: the limit of a running process is cut by prlimit (util-linux), which is not here'
      for (const promised of ['exhausted', 'doctor'] as const) this.#judge(promised, [null, words])
      return
    }
    try {
      const said = await this.#askExhausted(subject, CUT_MS)
      this.#judgeDoctor(subject)
      subject.limit(LIMIT)
      const recoveredMs = await this.#recovery(subject)
      const ok = said.length > 0 && recoveredMs < RECOVERED_MS
      const words = `limit cut to the ${open} that were open: ${said.join(', ')}; newcomers served ${duration(recoveredMs)} after it ended`
      this.#judge('exhausted', [ok, words, { open, said, recoveredMs }])
    } finally {
      subject.limit(LIMIT)
    }
  }

  /** What the daemon says over a connection that it has, to what it can do and to what needs descriptors. */
  async #askExhausted(subject: Subject, ms: number): Promise<string[]> {
    const said = new Set<string>()
    const until = performance.now() + ms
    while (performance.now() < until) {
      if ((await subject.callOnce<string>('core.ping')) !== 'pong') throw new SpacedriveError('INTERNAL', 'no pong')
      const library = this.#libraries.at(-1)!
      const outcome = await subject.callOnce('libraries.info', { library }).then(
        () => 'served',
        (error: unknown) => toWire(error).code,
      )
      said.add(outcome)
      await sleep(100)
    }
    if (said.has('INTERNAL')) throw new SpacedriveError('INTERNAL', 'what is short was not told')
    return [...said]
  }

  #judgeDoctor(subject: Subject): void {
    const begun = performance.now()
    const { status, stdout } = command(subject, ['doctor', '--json'], WAIT_MS)
    const ms = performance.now() - begun
    const diagnosis = parsed(stdout) as Partial<Diagnosis> | null
    const seen = diagnosis?.processes?.spacedrive.find(({ pid }) => pid === subject.ready.pid)
    const words = seen
      ? `it says after ${duration(ms)}: ${diagnosis?.verdict}`
      : `it ended with ${status} and did not name the daemon`
    this.#judge('doctor', [seen !== undefined, words, { ms, exit: status, verdict: diagnosis?.verdict }])
  }

  async #recovery(subject: Subject): Promise<number> {
    const begun = performance.now()
    const { url } = subject
    await eventually('a newcomer is served', WAIT_MS, () =>
      fetch(new URL('/health', url), { headers: { connection: 'close' } }).then(
        async (answer) => (await answer.text()) !== '' && answer.ok,
        () => false,
      ),
    )
    return performance.now() - begun
  }

  async #comeBack(): Promise<void> {
    const subject = this.#running()
    for (const library of this.#libraries) await subject.call('libraries.close', { library })
    subject.leave()
    const boot = this.#atBoot!
    const begun = performance.now()
    const differs = async () => difference(boot, { status: await subject.status(), count: subject.count() })
    let left = await differs()
    while (left !== '' && performance.now() - begun < WAIT_MS) {
      await sleep(100)
      left = await differs()
    }
    const { open } = boot.status.descriptors
    const words = left === '' ? `${plural(open, 'descriptor')} as after the boot, in every class` : left
    this.#judge('back', [left === '', words, { open, ms: performance.now() - begun }])
  }

  async #readLog(): Promise<void> {
    const lines = this.#running().log.split('\n')
    const found = lines.filter((line) => /EMFILE|ENFILE|too many open files/i.test(line))
    const words = found.length === 0 ? `none in ${plural(lines.length - 1, 'line')} of its log` : found[0]!
    this.#judge('log', [found.length === 0, words, { lines: lines.length - 1, found: found.length }])
  }

  async #kill(): Promise<void> {
    const before = this.#running()
    const large = plant(this.#large, LARGE)
    const [library] = this.#libraries as [string]
    const { job } = await before.call<{ job: string }>('locations.add', { library, path: large.path })
    await eventually('it indexes', WAIT_MS, async () => {
      const { state, progress } = await before.call<JobItem>('jobs.info', { library, job })
      return state === 'done' || progress.done > 0
    })
    await before.end('SIGKILL')
    const subject = (this.#subject = await Subject.start(join(this.#place, 'data'), LIMIT))
    await done(subject, library, job)
    const counted = await Promise.all(this.#libraries.map((each) => entriesOf(subject, each)))
    const missing = counted.filter((count, at) => count !== this.#small.entries + (at === 0 ? large.entries : 0))
    await subject.call('libraries.rename', { library, name: 'written to afterwards' })
    const total = counted.reduce((sum, count) => sum + count, 0)
    const words = `ready again after ${duration(subject.readyMs)}, the job went on, ${grouped(total)} entries as on the disk`
    const lost = `${plural(missing.length, 'library', 'libraries')} with another number of entries than the disk`
    this.#judge('keep', [
      missing.length === 0,
      missing.length === 0 ? words : lost,
      { readyMs: subject.readyMs, total },
    ])
  }

  async #drain(): Promise<void> {
    const subject = this.#running()
    const [library] = this.#libraries as [string]
    const locations = await subject.call<{ id: string; path: string }[]>('locations.list', { library })
    const location = locations.find(({ path }) => path === this.#large)!.id
    await scanning(subject, library, location)
    const begun = performance.now()
    const { code, signal } = await subject.end('SIGTERM')
    const ms = performance.now() - begun
    const words = `with a job running: ended with ${code ?? signal} after ${duration(ms)}`
    this.#judge('drain', [code === 0 && ms < DRAINED_MS, words, { code, ms }])
  }

  #running(): Subject {
    if (this.#subject) return this.#subject
    throw new SpacedriveError('NO_DAEMON', 'there was no daemon to try it with')
  }
}

interface Job {
  readonly library: string
  readonly job: string
}

interface Tree {
  readonly path: string
  readonly directories: readonly string[]
  /** Files, directories and the root. */
  readonly entries: number
}

function plant(path: string, files: number, perDirectory = 50): Tree {
  const directories = Array.from({ length: files / perDirectory }, (_, at) => join(path, `directory ${at}`))
  for (const [at, directory] of directories.entries()) {
    mkdirSync(directory, { recursive: true })
    for (let file = 0; file < perDirectory; file += 1) writeFileSync(join(directory, `file ${at}-${file}.txt`), '')
  }
  return { path, directories, entries: files + directories.length + 1 }
}

async function create(subject: Subject, name: string): Promise<string> {
  return (await subject.call<{ id: string }>('libraries.create', { name })).id
}

/** A location is scanned once after a start in any case, and then refuses another scan. */
async function scanning(subject: Subject, library: string, location: string): Promise<void> {
  await subject.call('locations.rescan', { library, location }).catch((error: unknown) => {
    if (toWire(error).code !== 'JOB_STATE') throw error
  })
}

/** @throws unless every entry of the tree is in the index afterwards */
async function index(subject: Subject, library: string, tree: Tree): Promise<void> {
  const { job } = await subject.call<{ job: string }>('locations.add', { library, path: tree.path })
  await done(subject, library, job)
  const entries = await entriesOf(subject, library)
  if (entries !== tree.entries)
    throw new SpacedriveError('INTERNAL', `${entries} entries were indexed of ${tree.entries}`)
}

async function entriesOf(subject: Subject, library: string): Promise<number> {
  return (await subject.call<LibraryInfo>('libraries.info', { library })).entries
}

async function done(subject: Subject, library: string, job: string): Promise<void> {
  const ended = await eventually('the index is made', WAIT_MS, async () => {
    const found = await subject.call<JobItem>('jobs.info', { library, job })
    return ['done', 'failed', 'cancelled'].includes(found.state) ? found : null
  })
  if (ended.state !== 'done') throw new SpacedriveError('INTERNAL', `a job ${ended.state}: ${ended.error?.message}`)
}

interface Look {
  readonly status: Status
  readonly count: number | null
}

/** What is open now and was not at the boot, in words; empty when nothing is. */
function difference(boot: Look, now: Look): string {
  const classes = Object.entries(now.status.descriptors.classes).flatMap(([name, { used }]) => {
    const before = boot.status.descriptors.classes[name as 'clients'].used
    return used === before ? [] : [`${name} ${used}, was ${before}`]
  })
  const { open, unaccounted } = now.status.descriptors
  if (open !== boot.status.descriptors.open) classes.push(`${open} open, was ${boot.status.descriptors.open}`)
  if (now.count !== boot.count) classes.push(`the kernel counts ${now.count}, was ${boot.count}`)
  if (unaccounted !== 0) classes.push(`${unaccounted} unaccounted`)
  return classes.join('; ')
}

/** The most descriptors that were open at a time. */
class Most {
  #most = 0
  readonly #timer: NodeJS.Timeout

  constructor(subject: Subject) {
    this.#timer = setInterval(() => this.#see(subject.count() ?? 0), 5)
  }

  /** With what the daemon's own books say, where this system does not let others count. */
  async end(subject: Subject): Promise<number> {
    clearInterval(this.#timer)
    const { descriptors } = await subject.status()
    if (this.#most > 0) return this.#most
    const peaks = Object.values(descriptors.classes).reduce((sum, { peak }) => sum + peak, 0)
    return Math.max(descriptors.open, Math.min(peaks, descriptors.budget) + descriptors.base + descriptors.reserve)
  }

  #see(count: number): void {
    this.#most = Math.max(this.#most, count)
  }
}

class Crowd {
  readonly #child: ChildProcess
  readonly #lines: Interface

  constructor(subject: Subject, count: number) {
    const words = [CROWD_SCRIPT, new URL(subject.url).port, String(count)]
    this.#child = watched(startChild(process.execPath, words, { stdio: ['pipe', 'pipe', 'ignore'] }))
    this.#lines = createInterface({ input: this.#child.stdout! })
  }

  async fates(): Promise<Fates> {
    this.#child.stdin!.write('\n')
    const [line] = (await once(this.#lines, 'line')) as [string]
    return JSON.parse(line) as Fates
  }

  async leave(): Promise<void> {
    const gone = once(this.#child, 'exit')
    this.#child.stdin!.end()
    await gone
  }
}
