// A daemon that is not one: real JSON-RPC over a real unix socket, answers from a table. And a terminal that remembers.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocketServer, type WebSocket } from 'ws'
import { fromSystem, toWire } from '../../src/base/errors.js'
import type { ClassUse, Descriptors, JobItem, LibraryItem, LocationItem, Status } from '../../src/protocol/messages.js'
import { run } from '../../src/cli/run.js'
import { Terminal, type Output } from '../../src/cli/terminal.js'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs one command line in this process. */
export async function cli(argv: readonly string[], env: Record<string, string> = {}): Promise<Said> {
  const [out, err] = [remembering(), remembering()]
  const code = await run(argv, new Terminal(out, err, env), env)
  return { code, out: out.text(), err: err.text() }
}

export function remembering(
  shape: { isTTY?: boolean; columns?: number; rows?: number } = {},
): Output & { text: () => string } {
  let all = ''
  return {
    ...shape,
    text: () => all,
    write: (text, written) => {
      all += text
      written?.()
      return true
    },
  }
}

export function temporary(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'sd-cli-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

type Answers = Record<string, (params: Record<string, unknown>) => unknown>

export class FakeDaemon {
  readonly dataDir: string
  readonly asked: { operation: string; params: Record<string, unknown> }[] = []
  readonly #answers: Answers
  readonly #server = createServer((incoming, outgoing) => void this.#answer(incoming, outgoing))
  readonly #sockets = new WebSocketServer({ noServer: true })
  /** When set, every request gets this HTTP answer. */
  refusal: { status: number; body: string } | undefined
  /** Runs once somebody subscribed. */
  onSubscribed: (() => void) | undefined

  private constructor(dataDir: string, answers: Answers) {
    this.dataDir = dataDir
    this.#answers = answers
  }

  static async open(answers: Answers = {}, pid: number = process.pid): Promise<FakeDaemon> {
    const fake = new FakeDaemon(mkdtempSync(join(tmpdir(), 'sd-fake-')), { ...usual(), ...answers })
    const socket = join(fake.dataDir, 'daemon.sock')
    await new Promise<void>((resolve) => fake.#server.listen(socket, resolve))
    fake.#server.on('upgrade', (request, stream, head) => {
      fake.#sockets.handleUpgrade(request, stream, head, (ws) => fake.#feed(ws))
    })
    const state = { pid, http: null, socket, argv: ['start'], startedAt: new Date().toISOString() }
    writeFileSync(join(fake.dataDir, 'daemon.json'), JSON.stringify(state))
    return fake
  }

  cli(...argv: string[]): Promise<Said> {
    return cli([...argv, '--data-dir', this.dataDir])
  }

  publish(event: object, seq: number): void {
    for (const ws of this.#sockets.clients) {
      ws.send(
        JSON.stringify({
          jsonrpc: '2.0',
          method: 'event',
          params: { subscription: '1', seq, cursor: `at.${seq}`, event },
        }),
      )
    }
  }

  /** Ends every feed, as a daemon that drains does. */
  endFeeds(): void {
    for (const ws of this.#sockets.clients) ws.close(1001)
  }

  paramsOf(operation: string): Record<string, unknown>[] {
    return this.asked.filter((each) => each.operation === operation).map(({ params }) => params)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ws of this.#sockets.clients) ws.terminate()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.dataDir, { recursive: true, force: true })
  }

  async #answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    if (this.refusal) return void outgoing.writeHead(this.refusal.status).end(this.refusal.body)
    outgoing.setHeader('content-type', 'application/json')
    outgoing.end(await this.#reply(Buffer.concat(chunks).toString()))
  }

  #feed(ws: WebSocket): void {
    ws.on('message', async (bytes: Buffer) => {
      ws.send(await this.#reply(bytes.toString()))
      this.onSubscribed?.()
    })
  }

  async #reply(text: string): Promise<string> {
    const { id, method, params } = JSON.parse(text) as { id: number; method: string; params: Record<string, unknown> }
    this.asked.push({ operation: method, params })
    const answer = this.#answers[method]
    try {
      if (!answer) throw new Error(`the fake daemon knows no ${method}`)
      return JSON.stringify({ jsonrpc: '2.0', id, result: (await answer(params)) ?? null })
    } catch (error) {
      const { message, ...data } = toWire(fromSystem(error))
      return JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32000, message, data } })
    }
  }
}

function usual(): Answers {
  return { 'events.subscribe': () => ({ subscription: '1', cursor: 'from.0' }), 'core.status': () => aStatus() }
}

export function aLibrary(name = 'Photos', id = `id-of-${name}`): LibraryItem {
  return { id, name, path: `/data/libraries/${id}.sdlibrary`, open: true }
}

export function aLocation(path: string, library = 'id-of-Photos'): LocationItem {
  return {
    id: `location-of-${path}`,
    library,
    name: 'a location',
    path,
    mode: 'shallow',
    addedAt: '2026-01-02T03:04:05Z',
    watch: false,
  }
}

export function aJob(changes: Partial<JobItem> = {}): JobItem {
  return {
    id: 'job-1',
    library: 'id-of-Photos',
    kind: 'index',
    state: 'done',
    progress: { done: 12_345, total: 12_345, unit: 'entries' },
    failures: [],
    failureCount: 0,
    createdAt: '2026-01-02T03:04:05.000Z',
    startedAt: '2026-01-02T03:04:05.000Z',
    finishedAt: '2026-01-02T03:04:06.000Z',
    ...changes,
  }
}

export function aStatus(changes: Partial<Status> = {}): Status {
  return {
    pid: process.pid,
    version: '0.1.0',
    uptimeMs: 4_000_000,
    state: 'serving',
    front: 'uws',
    native: true,
    errorsSurvived: 0,
    events: { subscriptions: 0, published: 0, dropped: 0, coalesced: 0 },
    watching: { locations: 0, live: 0, polled: 0, reasons: [] },
    http: 'http://127.0.0.1:8080',
    lineProtocol: null,
    socket: `/${'long/'.repeat(25)}daemon.sock`,
    limit: { softAtStart: 1_024, soft: 1_048_576, hard: 1_048_576 },
    descriptors: {
      open: 1_040_000,
      base: 40,
      budget: 1_048_500,
      reserveHeld: 4,
      highest: 60,
      reserve: 32,
      unaccounted: 0,
      level: 'critical',
      since: '2026-01-02T03:04:05.000Z',
      pressure: 0.987,
      reason: `1,034,869 of the 1,048,500 descriptors of the budget are in use: ${'clients 1000000, '.repeat(8)}`,
      free: 13_576,
      exhaustionSeconds: null,
      classes: classes(),
    },
    connections: {
      current: 1_000_000,
      max: 1_000_000,
      peak: 1_000_000,
      accepted: 123_456_789,
      refused: 123_456_789,
      refusedBy: { clients: 123_456_789 },
      accept: 'failing',
      acceptFailures: 1_000_000,
      unreadBytes: 0,
      unreadCut: 0,
      wrongTokens: 0,
    },
    pressure: {
      memory: {
        level: 'critical',
        since: '2026-01-02T03:04:05.000Z',
        pressure: 0.987,
        reason: `1034869 of the 1048500 MB of memory of the control group are in use${', and more'.repeat(8)}`,
        refused: 123_456_789,
      },
      loop: { level: 'normal', since: '2026-01-02T03:04:05.000Z', pressure: 0, reason: '0 ms', refused: 0 },
      queue: { level: 'normal', since: '2026-01-02T03:04:05.000Z', pressure: 0, reason: '0 ms', refused: 1 },
    },
    loop: { utilization: 1, delayMs: 5_000, stalls: 1, stalledMs: 5_012 },
    libraries: {
      known: 1_000_000,
      open: 250_000,
      connections: 1_000_000,
      opened: 123_456_789,
      evicted: 99_999_999,
      reopened: 9_999_999,
    },
    shards: [
      {
        id: 0,
        libraries: 125_000,
        inFlight: 10_000,
        queued: 10_000,
        restarts: 3,
        stalledMs: 0,
        givenUp: 4,
        overloaded: 5,
      },
    ],
    jobs: { running: 128, queued: 1_000_000 },
    ...changes,
  }
}

export function someDescriptors(): Descriptors {
  const holder = (fd: number, name: string, detail: string) => ({
    fd,
    class: 'libraries' as const,
    holder: name,
    detail,
    ageMs: 61_000,
  })
  return {
    limit: { softAtStart: 1_024, soft: 20_000, hard: 20_000 },
    open: 60,
    highest: 63,
    classes: classes(),
    holders: [
      holder(20, 'library Photos', `/${'deep/'.repeat(30)}library.db`),
      holder(21, 'library Photos', `/${'deep/'.repeat(30)}library.db-wal`),
      { fd: 3, class: 'base', holder: 'node', detail: 'epoll', ageMs: 120_000 },
    ],
    unaccounted: [{ fd: 63, target: `/${'lost/'.repeat(30)}`, ageMs: 90_000 }],
  }
}

function classes(): Status['descriptors']['classes'] {
  const use: ClassUse = {
    used: 1_000_000,
    floor: 1_000_000,
    ceiling: 1_000_000,
    peak: 1_000_000,
    refused: 99_999_999,
    waited: 9_999_999,
  }
  return { control: use, clients: use, libraries: use, jobs: use, watches: use }
}
