// Fronts in threads of their own, together with the one of the main thread, which keeps the unix socket: told, counted, drained and
// asked to give way as one. Each has a listener at the same port, among which the kernel divides who comes.
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Worker, type MessagePort } from 'node:worker_threads'
import type { Beats } from './base/beats.js'
import { fromWire, SpacedriveError, toWire, type WireError } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { goOn } from './base/wanted.js'
import { loadNative } from './descriptors/native.js'
import type { Ledger } from './descriptors/ledger.js'
import type { BaseThread } from './descriptors/names.js'
import { proveRoom } from './descriptors/reserve.js'
import { newTold } from './descriptors/threads.js'
import { bareHost, findFree } from './front/address.js'
import { FrontCounts, METRICS, type FromFront, type FrontThreadSetup, type ToFront } from './front/crossing.js'
import type { Connections, Front, FrontSetup, FrontState, HttpAddress, Pair, Peer } from './front/front.js'
import { together } from './front/sums.js'
import type { Tokens } from './front/tokens.js'
import type { Event, GiveUp, Level, Reply, Request, Stall, Status } from './protocol/messages.js'
import { EVENT_TYPES } from './protocol/words.js'
import type { LineShared } from './shard/asker.js'
import type { Events } from './shard/events.js'
import type { Askers } from './shard/router.js'
import type { Reads } from './shard/spread.js'

const ENTRY = fileURLToPath(new URL('../workers/front.js', import.meta.url))

/** Threads that may fail to load before a start gives up: Node takes a file that it could not open for one that is not there. */
const START_TRIES = 3
/** As TLS in Node wants them. */
const TICKET_KEYS_BYTES = 48

type Answer = (reply: Reply) => void

export interface FrontsSetup {
  readonly count: number
  readonly shards: number
  readonly ledger: Ledger
  readonly beats: Beats
  /** Of the first of them; the others follow. */
  readonly beat: number
  readonly events: Events
  readonly tokens: Tokens
  readonly dataDir: string
  /** Given when those that are not started yet are not to be. */
  readonly unwanted: AbortSignal | undefined
  readonly dispatch: (request: Request, answer: Answer) => GiveUp | void
  readonly metrics: () => string
  /** One of them ended, or there was an error in it that nobody caught. */
  readonly failed: (error: unknown) => void
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
}

interface Thread {
  readonly number: number
  readonly worker: Worker
  readonly ended: Promise<void>
  readonly counts: FrontCounts
  readonly base: Omit<BaseThread, 'ageMs' | 'price'> & { readonly startedAt: number }
  /** What it asked and has no answer to, by its numbers. */
  readonly asked: Map<number, GiveUp | void>
  replies: (number | string | null | WireError)[]
  events: Event[]
  /** As it told last. */
  reads: readonly Reads[]
  /** Who waits until it has heeded what it was told, by number. */
  readonly heeding: Map<number, () => void>
  isListening: boolean
  /** Why it has ended. */
  lost: Error | null
  /** Told when it has loaded, and then when it listens or cannot. */
  told: (message: FromFront) => void
  failed: (error: Error) => void
}

export class Fronts implements Front, Askers {
  readonly #setup: FrontsSetup
  readonly #threads: Thread[] = []
  #main: Front | undefined
  #http: string | null = null
  #heed = 1
  #sending = false
  #ending = false
  #gaveWay = 0
  #peak = 0

  constructor(setup: FrontsSetup) {
    this.#setup = setup
    setup.events.subscribe({ types: [...EVENT_TYPES] }, (event) => this.#published(event))
  }

  /**
   * Starts the threads, then has one after the other listen.
   *
   * @param open the front of the main thread, without an address of its own
   * @throws ADDRESS_IN_USE, BUDGET_EXHAUSTED, BAD_CONFIG, CANCELLED; the threads that were started are to be closed then
   */
  async open(setup: FrontSetup, open: (setup: FrontSetup) => Promise<Front>): Promise<void> {
    const { http, ...rest } = setup
    checkMachine()
    this.#main = await open({ ...rest, http: null })
    try {
      await this.#openThreads(setup, http!)
    } catch (error) {
      await this.#main.drain(0)
      throw error
    }
  }

  async #openThreads(setup: FrontSetup, http: { host: string; port: number }): Promise<void> {
    const pair = setup.certificate ? shared(setup.certificate.pair) : null
    for (let number = 0; number < this.#setup.count; number++) {
      goOn(this.#setup.unwanted)
      await this.#start(number, setup, pair)
    }
    const host = bareHost(http.host)
    const free = await findFree(host, http.port)
    for (const thread of this.#threads) await this.#listen(thread, { host, ...free })
    setup.certificate?.follow((next) => this.#tell({ pair: shared(next) }))
  }

  /** Each is to have ended when this resolves. Connections that are left end with it. */
  async close(): Promise<void> {
    this.#ending = true
    for (const thread of this.#threads.splice(0)) {
      post(thread, { end: true })
      const late = setTimeout(() => void thread.worker.terminate(), LIMITS.frontEndMs)
      await thread.ended
      clearTimeout(late)
      this.#setup.ledger.reclaim(threadOf(thread.number))
    }
  }

  get count(): number {
    return this.#setup.count
  }

  connect(asker: number, shard: number, port: MessagePort, shared: LineShared): void {
    const thread = this.#threads[asker]
    if (thread) thread.worker.postMessage({ shard: { number: shard, port, ...shared } } satisfies ToFront, [port])
    else port.close()
  }

  lost(shard: number, lost: { readonly why: string; readonly retryAfterMs: number }): void {
    this.#tell({ lost: { number: shard, ...lost } })
  }

  catalog(libraries: readonly (readonly [library: string, open: boolean])[]): void {
    this.#tell({ catalog: libraries })
  }

  /** What the threads have under way at a shard beside the main one. */
  load(shard: number): ReturnType<FrontCounts['line']> {
    const sum = { inFlight: 0, queued: 0, overloaded: 0, givenUp: 0 }
    for (const { counts } of this.#threads) {
      const line = counts.line(shard)
      for (const name of ['inFlight', 'queued', 'overloaded', 'givenUp'] as const) sum[name] += line[name]
    }
    return sum
  }

  reads(): readonly Reads[] {
    return this.#threads.flatMap(({ reads }) => reads)
  }

  spread(library: string, shards: readonly number[]): void {
    this.#tell({ spread: { library, shards } })
  }

  waitedMs(shard: number): number {
    return Math.max(0, ...this.#threads.map(({ counts }) => counts.waitedMs(shard)))
  }

  get isCrowded(): boolean {
    return this.#threads.some(({ counts }) => counts.isCrowded)
  }

  /** Of each the used share of its heap. */
  heaps(): { thread: string; share: number }[] {
    return this.#threads.map(({ number, counts }) => ({ thread: `front ${number}`, share: counts.heap }))
  }

  /** How late the latest of their loops is. */
  get lateMs(): number {
    return Math.max(0, ...this.#threads.map(({ counts }) => counts.lateMs))
  }

  /** Subscriptions there, and what their readers missed. */
  events(main: Status['events']): Status['events'] {
    const sum = { ...main }
    for (const { counts } of this.#threads) {
      const { subscriptions, dropped, coalesced } = counts.events
      sum.subscriptions += subscriptions
      sum.dropped += dropped
      sum.coalesced += coalesced
    }
    return sum
  }

  threads(): BaseThread[] {
    const price = this.#setup.ledger.prices.taskThread
    return this.#threads.map(({ base: { startedAt, ...base } }) => ({
      ...base,
      price,
      ageMs: Math.round(performance.now() - startedAt),
    }))
  }

  /** Those whose loop does not turn. @param sinceMs no longer ago than this, for whoever looks stood still himself */
  stalls(sinceMs: number): Stall[] {
    return this.#threads.flatMap(({ number }) => {
      const stoodMs = Math.round(Math.min(sinceMs, this.#setup.beats.silentMs(this.#setup.beat + number)))
      return stoodMs >= LIMITS.stallMs ? [{ thread: `front ${number}`, stoodMs }] : []
    })
  }

  /** Tokens were made or revoked. Resolves when all threads go by it. */
  async tokensChanged(): Promise<void> {
    this.#tell({ tokens: this.#setup.tokens.stored() })
    await this.heeded()
  }

  /** Resolves when all threads have heeded what they were told before. */
  async heeded(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => this.#toldAndHeeded(thread, {})))
  }

  get kind(): Front['kind'] {
    return this.#main!.kind
  }

  get http(): string | null {
    return this.#http
  }

  get socket(): string | null {
    return this.#main!.socket
  }

  get state(): FrontState {
    return this.#main!.state
  }

  set state(state: FrontState) {
    this.#main!.state = state
    this.#tell({ state })
  }

  get level(): Level {
    return this.#main!.level
  }

  set level(level: Level) {
    this.#main!.level = level
    this.#tell({ level })
  }

  connections(): Connections {
    const parts = this.#threads.map(({ counts }) => counts.connections)
    const sum = together(this.#main!.connections(), ...parts)
    this.#peak = Math.max(this.#peak, sum.current, this.#setup.ledger.use('clients').peak)
    const fronts = parts.map(({ current, accepted }) => ({ current, accepted }))
    return { ...sum, peak: this.#peak, fronts }
  }

  /** Told is what was closed since the last time: the threads close on their own time. */
  giveWay({ count, idleMs }: { count: number; idleMs: number }): number {
    const closed = this.#main!.giveWay({ count, idleMs })
    const left = count - closed
    const each = Math.ceil(left / Math.max(1, this.#threads.length))
    if (left > 0) this.#tell({ giveWay: { count: each, idleMs } })
    const before = this.#gaveWay
    this.#gaveWay = this.#threads.reduce((sum, { counts }) => sum + counts.gaveWaySoFar, 0)
    return closed + this.#gaveWay - before
  }

  renewAccess(token: string, hostsAllowed: readonly string[]): void {
    this.#main!.renewAccess(token, hostsAllowed)
    this.#tell({ access: { token, hostsAllowed } })
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all([
      this.#main?.drain(deadlineMs),
      ...this.#threads.map((thread) => this.#toldAndHeeded(thread, { drain: deadlineMs })),
    ])
  }

  /** Those of the threads are not told apart. */
  peers(): Peer[] {
    return this.#main!.peers()
  }

  async #start(number: number, setup: FrontSetup, pair: Pair | null): Promise<void> {
    for (let tries = 1; ; tries++) {
      const thread = this.#launch(number, setup, pair)
      this.#threads.push(thread)
      try {
        return void (await next(thread))
      } catch (error) {
        if (tries >= START_TRIES) throw error
        await thread.ended
        // It may be closed by now, and nobody would end another one.
        if (this.#ending) throw error
        this.#threads.pop()
        this.#setup.log('warn', toWire(error).message)
      }
    }
  }

  #launch(number: number, { token, hostsAllowed, console = new Map() }: FrontSetup, pair: Pair | null): Thread {
    const { ledger, beats, beat, count, shards, events, tokens, dataDir } = this.#setup
    const counts = FrontCounts.create(shards)
    const told = newTold()
    const workerData: FrontThreadSetup = {
      number,
      fronts: count,
      implementation: this.kind,
      pair,
      shards,
      ledger: ledger.shared,
      thread: threadOf(number),
      beats: beats.shared,
      beat: beat + number,
      told,
      counts: counts.shared,
      events: events.shared,
      token,
      tokens: tokens.stored(),
      hostsAllowed,
      console,
      dataDir,
    }
    // libuv leaks a descriptor of a loop that it could not open whole (Node 20).
    proveRoom(ledger.prices.taskThread + ledger.prices.threadStart)
    // The addon opens the files that are sent, and Node would say of each that it closes that nobody had opened it.
    const worker = new Worker(ENTRY, { workerData, trackUnmanagedFds: false })
    const thread: Thread = {
      number,
      worker,
      ended: new Promise((resolve) => worker.once('exit', () => resolve())),
      counts,
      base: { holder: `front ${number}`, told, startedAt: performance.now() },
      asked: new Map(),
      replies: [],
      events: [],
      reads: [],
      heeding: new Map(),
      isListening: false,
      lost: null,
      told: () => undefined,
      failed: () => undefined,
    }
    worker.on('message', (message: FromFront) => this.#receive(thread, message))
    worker.on('error', (error: Error) => this.#lose(thread, error))
    worker.on('exit', () => this.#lose(thread, new Error('it ended')))
    return thread
  }

  async #listen(thread: Thread, where: HttpAddress): Promise<void> {
    post(thread, { listen: where })
    const { http, failed } = await next(thread)
    if (failed) throw fromWire(failed)
    thread.isListening = true
    this.#http = http!
  }

  #receive(thread: Thread, message: FromFront): void {
    const { requests, gaveUp, reads, logs, used, wanted, heeded, uncaught } = message
    if (message.loaded || message.http !== undefined || message.failed) thread.told(message)
    for (let at = 0; logs && at < logs.length; at += 3) {
      this.#setup.log(logs[at] as 'info', logs[at + 1] as string, logs[at + 2] as Record<string, unknown>)
    }
    if (reads) thread.reads = reads
    if (used) this.#setup.tokens.used(used)
    if (wanted !== undefined) this.#wanted(thread, wanted)
    for (const number of gaveUp ?? []) thread.asked.get(number)?.()
    for (let at = 0; requests && at < requests.length; at += 3) {
      const operation = requests[at + 1] as Request['operation'] | typeof METRICS
      this.#ask(thread, requests[at] as number, operation, requests[at + 2] as Request['params'])
    }
    if (heeded !== undefined) thread.heeding.get(heeded)?.()
    if (uncaught) this.#caught(thread, uncaught)
  }

  #ask(
    thread: Thread,
    number: number,
    operation: Request['operation'] | typeof METRICS,
    params: Request['params'],
  ): void {
    const answer: Answer = (reply) => {
      thread.asked.delete(number)
      thread.replies.push(number, reply.ok ? reply.json : null, reply.ok ? null : reply.error)
      this.#sendSoon()
    }
    if (operation === METRICS) return answer({ ok: true, json: JSON.stringify(this.#setup.metrics()) })
    let isAnswered = false
    const giveUp = this.#setup.dispatch({ operation, params }, (reply) => {
      isAnswered = true
      answer(reply)
    })
    if (!isAnswered) thread.asked.set(number, giveUp)
  }

  /** Whoever is refused by one may find room at another, which the kernel has yet to choose for it. */
  #wanted(by: Thread, peer: string): void {
    for (const thread of this.#threads) if (thread !== by) post(thread, { wanted: peer })
  }

  #published(event: Event): void {
    for (const thread of this.#threads) thread.events.push(event)
    this.#sendSoon()
  }

  /** What one turn of the loop brought, in one message to each. */
  #sendSoon(): void {
    if (this.#sending) return
    this.#sending = true
    queueMicrotask(() => {
      this.#sending = false
      for (const thread of this.#threads) {
        const { events, replies } = thread
        if (events.length + replies.length === 0) continue
        thread.events = []
        thread.replies = []
        post(thread, { ...(events.length > 0 ? { events } : {}), ...(replies.length > 0 ? { replies } : {}) })
      }
    })
  }

  #tell(message: ToFront): void {
    for (const thread of this.#threads) post(thread, message)
  }

  /** Also when the thread has gone, which then heeds nothing any more. */
  async #toldAndHeeded(thread: Thread, message: ToFront): Promise<void> {
    const heed = this.#heed++
    const heeded = new Promise<void>((resolve) => thread.heeding.set(heed, resolve))
    post(thread, { ...message, heed })
    await Promise.race([heeded, thread.ended])
    thread.heeding.delete(heed)
  }

  #caught({ number }: Thread, { stack, ...wire }: NonNullable<FromFront['uncaught']>): void {
    const error = fromWire(wire)
    error.message = `front ${number}: ${error.message}`
    if (stack !== undefined) error.stack = stack
    this.#setup.failed(error)
  }

  /** Its clients are lost, and its port is no more than a part: as when the main thread fails, the daemon ends. */
  #lose(thread: Thread, error: Error): void {
    thread.lost ??= error
    thread.failed(error)
    if (this.#ending || !thread.isListening) return
    thread.isListening = false
    this.#setup.failed(new SpacedriveError('INTERNAL', `front ${thread.number} was lost: ${toWire(error).message}`))
  }
}

/** Who was at one of them comes back to any, until there is another certificate. */
function shared(pair: Pair): Pair {
  return { ...pair, ticketKeys: randomBytes(TICKET_KEYS_BYTES) }
}

function post({ worker }: Thread, message: ToFront): void {
  worker.postMessage(message)
}

/** What it tells next; rejects where it ends instead, or has. */
function next(thread: Thread): Promise<FromFront> {
  return new Promise((resolve, reject) => {
    thread.told = resolve
    thread.failed = (error) => {
      const wire = toWire(error)
      reject(
        new SpacedriveError(wire.code, `front ${thread.number} could not be started: ${wire.message}`, {
          cause: error,
        }),
      )
    }
    // While it waited for the others.
    if (thread.lost) thread.failed(thread.lost)
  })
}

/** In the ledger: from the end, for shards are numbered from the beginning. */
function threadOf(front: number): number {
  return LIMITS.ledgerThreadsMax - 1 - front
}

function checkMachine(): void {
  if (process.platform !== 'linux') throw unfit('only Linux divides the clients of a port among several listeners')
  if (!loadNative()) throw unfit('the native addon is not loaded')
}

function unfit(why: string): SpacedriveError {
  return new SpacedriveError('BAD_CONFIG', `fronts: ${why}`, {
    hint: 'Start with `--fronts 1`, or without that setting.',
  })
}
