// The real daemon as a child process: started through the launcher, spoken to over its sockets, watched through /proc.
import assert from 'node:assert'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import type { Event, Status } from '../../src/protocol/messages.js'

export const ROOT = join(import.meta.dirname, '..', '..', '..')
export const LAUNCHER = join(ROOT, 'bin', 'spacedrive')
const READY_MS = 60_000
const GONE_MS = 30_000
/** Longer than anything may take to be given back: uWebSockets.js keeps a WebSocket that it closes for up to 16 s. */
const GIVEN_BACK_MS = 20_000
/** What does not change for so long, while the loop of the daemon turns, stays; or for so much longer, while it does not. */
const STILL_MS = 150
const STILL_TURNS = 2
const STILL_MS_MAX = 3_000
const LET_IN_MS = 20_000
/** A look that comes late is not the last one. */
const LOOKS_MIN = 3

/** What a call came to, as loosely as the assertions look at it. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Loose = any

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Starting {
  /** `SOFT:HARD` for prlimit. */
  readonly limit?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A command that runs the launcher: `['unshare', '-m', …]`; the launcher and its arguments follow it. */
  readonly through?: readonly string[]
}

/** An answer that was an error, by its code: ours, or the number where the standard has one. */
export class Refusal extends Error {
  readonly code: string
  readonly number: number
  readonly status: number
  /** As it came: code, hint, retryable, class. */
  readonly data: Loose

  constructor(method: string, status: number, error: Loose) {
    super(`${method}: ${error.message}`)
    this.data = error.data ?? {}
    this.code = error.data?.code ?? String(error.code)
    this.number = error.code
    this.status = status
  }
}

const running = new Set<ChildProcess>()
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))

/** One command of the CLI, to its end. */
export function cli(args: readonly string[], { limit, env = {}, through = [] }: Starting = {}) {
  const [command, ...rest] = [...limited(limit), ...through, LAUNCHER, ...args] as [string, ...string[]]
  const ended = spawnSync(command, rest, { encoding: 'utf8', env: { ...cleanEnv(), ...env }, timeout: 60_000 })
  return { code: ended.status, out: ended.stdout, err: ended.stderr }
}

/** Started, ready or not; for boots that are to fail, or be looked at on the way. */
export function launch(dataDir: string, { limit, args = [], env = {}, through = [] }: Starting = {}) {
  const words = ['start', '--data-dir', dataDir, '--http', '127.0.0.1:0', '--json', ...args]
  const [command, ...rest] = [...limited(limit), ...through, LAUNCHER, ...words] as [string, ...string[]]
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...cleanEnv(), ...env } })
  running.add(child)
  const said = { out: '', err: '' }
  child.stdout.on('data', (bytes) => (said.out += bytes))
  child.stderr.on('data', (bytes) => (said.err += bytes))
  const exited = new Promise<Exit>((resolve) =>
    child.on('close', (code, signal) => {
      running.delete(child)
      resolve({ code, signal })
    }),
  )
  return { child, said, exited }
}

export async function startDaemon(dataDir: string, starting: Starting = {}): Promise<TestDaemon> {
  const launched = launch(dataDir, starting)
  const ready = await new Promise<Loose>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready in time: ${launched.said.err}`)), READY_MS)
    launched.child.stdout.on('data', () => {
      const lines = launched.said.out.split('\n').slice(0, -1)
      const line = lines.find((each) => each.includes('"ready":true'))
      if (!line) return
      clearTimeout(timer)
      resolve(JSON.parse(line))
    })
    void launched.exited.then(({ code, signal }) => {
      clearTimeout(timer)
      reject(new Error(`exited ${code ?? signal}: ${launched.said.err}`))
    })
  })
  return new TestDaemon(dataDir, launched, ready)
}

export class TestDaemon {
  readonly dataDir: string
  readonly pid: number
  readonly ready: Loose
  readonly url: URL
  readonly token: string
  readonly exited: Promise<Exit>
  readonly said: { out: string; err: string }
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 4 })

  constructor(dataDir: string, { said, exited }: Pick<ReturnType<typeof launch>, 'said' | 'exited'>, ready: Loose) {
    this.dataDir = dataDir
    this.said = said
    this.exited = exited
    this.ready = ready
    this.pid = ready.pid
    this.url = new URL(ready.http)
    this.token = procRead(this.pid, `root${dataDir}/token`).trim()
  }

  get port(): number {
    return Number(this.url.port)
  }

  /** @throws Refusal */
  async call(method: string, params: unknown = {}, asking: Asking = {}): Promise<Loose> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const answer = await this.ask('/rpc', { ...asking, method: 'POST', body })
    const reply = parsed(answer.body)
    if (!reply) throw new Error(`${method}: HTTP ${answer.status} ${answer.body.slice(0, 200)}`)
    if (reply.error) throw new Refusal(method, answer.status, reply.error)
    // Refused before it was read: the whole answer is the error.
    if (reply.code) throw new Refusal(method, answer.status, { message: reply.message, data: reply })
    return reply.result
  }

  /** Over the unix socket and without a kept connection: what looks does not count as a client of the port. */
  watch(method: string, params: unknown = {}): Promise<Loose> {
    return this.call(method, params, { agent: false, socketPath: `/proc/${this.pid}/root${this.ready.socket}` })
  }

  /** The code of the error that a call must end in; anything else is returned whole, to show in the assertion. */
  async codeOf(method: string, params: unknown = {}, asking: Asking = {}): Promise<string> {
    try {
      return `answered ${JSON.stringify(await this.call(method, params, asking)).slice(0, 300)}`
    } catch (error) {
      if (error instanceof Refusal) return error.code
      throw error
    }
  }

  ask(path: string, asking: Asking = {}): Promise<Answer> {
    const { method = 'GET', body, token = this.token, agent = this.#agent, socketPath } = asking
    const where = socketPath ? { socketPath } : { host: this.url.hostname, port: this.port }
    const headers: Record<string, string | number> = { ...(token === null ? {} : { authorization: `Bearer ${token}` }) }
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (body !== undefined) headers['content-length'] = Buffer.byteLength(body)
    return new Promise((resolve, reject) => {
      const options = { ...where, method, path, agent, headers: { ...headers, ...asking.headers } }
      const request = http.request(options, (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('error', reject)
        response.on('end', () => {
          const { statusCode = 0, headers: answered } = response
          resolve({ status: statusCode, headers: answered, body: Buffer.concat(parts).toString() })
        })
      })
      request.setTimeout(40_000, () => request.destroy(new Error(`${path}: no answer in time`)))
      request.on('error', (error: NodeJS.ErrnoException) => {
        // The daemon closed an idle connection while this process was busy making trees: not an answer, nothing was asked.
        const stale = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code!)
        if (stale) this.#askAgain(path, asking).then(resolve, reject)
        else reject(error)
      })
      request.end(body)
    })
  }

  /** Who gave way to others comes again until there is room. */
  async #askAgain(path: string, asking: Asking): Promise<Answer> {
    const until = performance.now() + LET_IN_MS
    for (;;) {
      const answer = await this.ask(path, asking)
      const isRefused = answer.status === 503 && parsed(answer.body)?.code === 'CONNECTION_LIMIT'
      if (!isRefused || performance.now() > until) return answer
      await sleep(100)
    }
  }

  status(): Promise<Status> {
    return this.watch('core.status') as Promise<Status>
  }

  /** The same by a client of the port that was refused for the moment, or whose library was: asked again until it is let in. */
  async callOnceLetIn(method: string, params: unknown = {}): Promise<Loose> {
    const { answer } = await eventually(`${method} is let in`, LET_IN_MS, () =>
      this.call(method, params).then(
        (answer: Loose) => ({ answer }),
        (error: unknown) => {
          if (error instanceof Refusal && error.data.retryable) return null
          throw error
        },
      ),
    )
    return answer
  }

  /** A library with one indexed directory. */
  async index(name: string, path: string): Promise<{ library: string; location: string; job: string }> {
    const { id: library } = await this.call('libraries.create', { name })
    const { location, job } = await this.call('locations.add', { library, path })
    await this.jobDone(library, job)
    return { library, location, job }
  }

  async jobDone(library: string, job: string, ms = 60_000): Promise<Loose> {
    const ended = await this.jobEnded(library, job, ms)
    assert.equal(ended.state, 'done', JSON.stringify(ended.error))
    return ended
  }

  async jobEnded(library: string, job: string, ms = 60_000): Promise<Loose> {
    return await eventually(`the job ${job} has ended`, ms, async () => {
      const found = await this.callOnceLetIn('jobs.info', { library, job })
      return ['done', 'failed', 'cancelled'].includes(found.state) && found
    })
  }

  /** Every entry of a library by its path, asked for page by page; fails on one that comes twice. */
  async entries(library: string): Promise<Map<string, Loose>> {
    const found = new Map<string, Loose>()
    for (const { path } of await this.call('locations.list', { library })) await this.#below(library, path, found)
    return found
  }

  async #below(library: string, path: string, found: Map<string, Loose>): Promise<void> {
    let cursor: string | undefined
    do {
      const page = await this.call('files.list', { library, path, limit: 1000, ...(cursor ? { cursor } : {}) })
      for (const item of page.items) {
        assert(!found.has(item.path), `${item.path} is listed twice`)
        found.set(item.path, item)
        if (item.kind === 'directory') await this.#below(library, item.path, found)
      }
      cursor = page.cursor
    } while (cursor)
  }

  /** Open descriptors as the kernel has them: what each points to, without numbers that differ from run to run. */
  descriptors(): string[] {
    const folder = `/proc/${this.pid}/fd`
    const targets = readdirSync(folder).flatMap((fd) => {
      try {
        const target = readlinkSync(join(folder, fd))
          .replace(/\[\d+\]/, '')
          .replace(/^\/proc\/\d+\//, '/proc/self/')
        // libuv's spare for accept: it takes / where /dev/null cannot be opened for the moment.
        return [target === '/' ? '/dev/null' : target]
      } catch {
        return []
      }
    })
    return targets.sort()
  }

  /**
   * The same once it has stopped changing: a connection that was just closed is gone a moment later. With `like`, once it is
   * as that again, or has differed for as long as nothing may take to be given back.
   */
  async descriptorsAtRest(like?: readonly string[]): Promise<string[]> {
    const until = performance.now() + GIVEN_BACK_MS
    let found: string[] = []
    let since = { at: 0, turns: 0 }
    await eventually('descriptors are at rest', 2 * GIVEN_BACK_MS, async () => {
      const before = found.join()
      found = this.descriptors()
      if (found.join() === like?.join()) return true
      if (found.join() !== before) since = { at: performance.now(), turns: this.#turns }
      else if (this.#isStill(since) && (!like || performance.now() > until)) return true
      await sleep(STILL_MS)
      return false
    })
    return found
  }

  /** On a busy machine a daemon may not have come to close what it will: time alone says nothing. */
  #isStill({ at, turns }: { at: number; turns: number }): boolean {
    const ms = performance.now() - at
    return ms >= STILL_MS_MAX || (ms >= STILL_MS && this.#turns - turns >= STILL_TURNS)
  }

  /** How often its main thread waited for something to do, which it does after a turn of its loop; a pulse wakes it. */
  get #turns(): number {
    return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(procRead(this.pid, 'status'))?.[1])
  }

  get descriptorCount(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  get cpuSeconds(): number {
    const words = procRead(this.pid, 'stat').split(') ')[1]!.split(' ')
    return (Number(words[11]) + Number(words[12])) / 100
  }

  get log(): string {
    return procRead(this.pid, `root${this.dataDir}/logs/daemon.log`)
  }

  /** Cuts or raises the soft limit of the running daemon. */
  limit(soft: number): void {
    const { status, stderr } = spawnSync('prlimit', ['--pid', String(this.pid), `--nofile=${soft}:`])
    assert.equal(status, 0, stderr.toString())
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.#agent.destroy()
    this.kill(signal)
    return await within(GONE_MS, 'the daemon is gone', this.exited)
  }

  /** Closes the connections that calls keep, so that descriptors can be compared. */
  hangUp(): void {
    this.#agent.destroy()
  }
}

export interface Asking {
  readonly method?: string
  readonly body?: string | Buffer
  /** Null sends none. */
  readonly token?: string | null
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: http.Agent | false
  readonly socketPath?: string
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export type { Event }

/** Asks again until the answer is truthy. */
export async function eventually<T>(
  what: string,
  ms: number,
  ask: () => Promise<T> | T,
): Promise<Exclude<T, null | undefined | false | 0 | ''>> {
  const end = performance.now() + ms
  for (let looks = 1; ; looks++) {
    const got = await ask()
    if (got) return got as Exclude<T, null | undefined | false | 0 | ''>
    if (performance.now() > end && looks >= LOOKS_MIN) throw new Error(`waited ${ms} ms, and not yet: ${what}`)
    await sleep(25)
  }
}

export function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms, and not yet: ${what}`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

export function parsed(text: string): Loose {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function limited(limit: string | undefined): string[] {
  return limit === undefined ? [] : ['prlimit', `--nofile=${limit}`]
}

/** What a test runner's shell says about other daemons must not reach this one. */
function cleanEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^SPACEDRIVE_|^NODE_/.test(name))
  const front = process.env['SPACEDRIVE_FRONT']
  return { ...Object.fromEntries(kept), ...(front ? { SPACEDRIVE_FRONT: front } : {}) }
}

/** By way of /proc, so that a daemon in a mount namespace of its own can be read as well. */
function procRead(pid: number, path: string): string {
  return readFileSync(`/proc/${pid}/${path}`, 'utf8')
}
