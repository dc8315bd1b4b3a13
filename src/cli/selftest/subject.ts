// The daemon that is put to the test: a process of its own with a limit of its own, in a directory that nobody else uses.
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { SpacedriveError } from '../../base/errors.js'
import { paths, type Paths } from '../../base/places.js'
import { runChild, startChild } from '../../descriptors/child.js'
import type { Status } from '../../protocol/messages.js'
import type { OperationName } from '../../protocol/operations.js'
import { Client, parsed } from '../client.js'
import type { Ready } from '../detach.js'
import { ask, askAgain, oneConnection, requestOf, type Line } from './line.js'

const LAUNCHER = fileURLToPath(new URL('../../../../bin/spacedrive', import.meta.url))
/** Both limits, so that the daemon cannot raise itself again. */
const LIMITED = 'ulimit -n "$0" && exec "$@"'
const READY_MS = 15_000
const GONE_MS = 12_000

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Every process that was started here and has not ended. */
const running = new Set<ChildProcess>()

export function endAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

export function watched(child: ChildProcess): ChildProcess {
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

export class Subject {
  readonly ready: Ready
  readonly readyMs: number
  readonly paths: Paths
  readonly token: string
  readonly #child: ChildProcess
  readonly #exited: Promise<Exit>
  readonly #line: Line
  /** The unix socket, which answers `core.*` also when every client slot is taken. */
  readonly #control: Client

  /** @throws what it failed with, if it is not ready in time */
  static async start(dataDir: string, limit: number): Promise<Subject> {
    const begun = performance.now()
    const child = launch(dataDir, limit)
    const exited = new Promise<Exit>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })))
    const ready = await readyOf(child, exited)
    return new Subject(paths(dataDir), child, exited, ready, performance.now() - begun)
  }

  private constructor(place: Paths, child: ChildProcess, exited: Promise<Exit>, ready: Ready, readyMs: number) {
    this.paths = place
    this.#child = child
    this.#exited = exited
    this.ready = ready
    this.readyMs = readyMs
    this.token = readFileSync(place.token, 'utf8').trim()
    this.#line = { url: this.url, token: this.token, agent: oneConnection() }
    this.#control = new Client(ready.socket ?? place.socket)
  }

  get url(): string {
    return this.ready.http!
  }

  /** As one of its clients, over a connection that is kept. */
  call<Result>(operation: OperationName, params: object = {}): Promise<Result> {
    return askAgain<Result>(this.#line, requestOf(operation, params))
  }

  callOnce<Result>(operation: OperationName, params: object = {}): Promise<Result> {
    return ask<Result>(this.#line, requestOf(operation, params))
  }

  status(): Promise<Status> {
    return this.#control.call<Status>('core.status')
  }

  /** Open descriptors; null where only the daemon itself can tell. */
  count(): number | null {
    if (process.platform !== 'linux') return null
    try {
      return readdirSync(`/proc/${this.ready.pid}/fd`).length
    } catch {
      return null // not ours to look at, or gone
    }
  }

  /** Cuts or raises its soft limit while it runs; false where this system has no command for that. */
  limit(soft: number): boolean {
    return runChild('prlimit', ['--pid', String(this.ready.pid), `--nofile=${soft}:`]).status === 0
  }

  get log(): string {
    return readFileSync(this.paths.logs, 'utf8')
  }

  /** Gives up the place among the clients. */
  leave(): void {
    this.#line.agent.destroy()
  }

  async end(signal: NodeJS.Signals): Promise<Exit> {
    this.leave()
    this.#control.close()
    this.#child.kill(signal)
    return await within(GONE_MS, `the daemon has ended after ${signal}`, this.#exited)
  }
}

/** Runs a command of this program, for the same data directory, to its end. */
export function command({ paths: { dataDir } }: Subject, words: readonly string[], ms: number) {
  return runChild(LAUNCHER, ['--data-dir', dataDir, ...words], ms)
}

function launch(dataDir: string, limit: number): ChildProcess {
  const words = ['start', '--data-dir', dataDir, '--http', '127.0.0.1:0', '--statistics-ms', '1000', '--json']
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('SPACEDRIVE_'))
  const front = process.env['SPACEDRIVE_FRONT']
  return watched(
    startChild('/bin/sh', ['-c', LIMITED, String(limit), LAUNCHER, ...words], {
      cwd: join(dataDir, '..'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...Object.fromEntries(kept),
        SPACEDRIVE_NODE: process.execPath,
        ...(front === undefined ? {} : { SPACEDRIVE_FRONT: front }),
      },
    }),
  )
}

async function readyOf(child: ChildProcess, exited: Promise<Exit>): Promise<Ready> {
  let out = ''
  let err = ''
  child.stderr?.on('data', (bytes: Buffer) => (err += bytes.toString()))
  const ready = new Promise<Ready>((resolve) => {
    child.stdout?.on('data', (bytes: Buffer) => {
      out += bytes.toString()
      const line = out.split('\n').find((each) => each.includes('"ready":true'))
      if (line !== undefined) resolve(parsed(line) as unknown as Ready)
    })
  })
  const ended = exited.then(({ code, signal }): never => {
    throw new SpacedriveError('INTERNAL', `the daemon ended with ${code ?? signal}: ${err.trim().split('\n').at(-2)}`)
  })
  return await within(READY_MS, 'the daemon serves', Promise.race([ready, ended]))
}

export function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SpacedriveError('TIMEOUT', `waited ${ms / 1_000} s, and not yet: ${what}`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

const ASK_MS = 50

/** Asks again until the answer is truthy. */
export async function eventually<T>(what: string, ms: number, ask: () => Promise<T> | T): Promise<NonNullable<T>> {
  const end = performance.now() + ms
  for (;;) {
    const got = await ask()
    if (got) return got
    if (performance.now() > end) throw new SpacedriveError('TIMEOUT', `waited ${ms / 1_000} s, and not yet: ${what}`)
    await sleep(ASK_MS)
  }
}
