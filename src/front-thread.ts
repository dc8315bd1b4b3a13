// A front in a thread of its own: clients come to it by the shared port, and what they ask of libraries goes straight to the shards.
// The rest (what is of the whole daemon, and what is made or ended) is asked of the main thread, which also tells it what happens.
import type { MessagePort } from 'node:worker_threads'
import { Beats, MAIN } from './base/beats.js'
import { SpacedriveError, toWire } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { Pulse } from './base/pulse.js'
import { thisDevice } from './compat/device.js'
import { tongueOf } from './compat/tongue.js'
import { Ledger } from './descriptors/ledger.js'
import { giveBackMemory, GivingBack, heapShare } from './descriptors/memory.js'
import { isRoom } from './descriptors/reserve.js'
import { tellLoop } from './descriptors/threads.js'
import { borrowForAccept } from './front/accept.js'
import { FrontCounts, METRICS, type FromFront, type FrontThreadSetup, type ToFront } from './front/crossing.js'
import { Files } from './front/files.js'
import type { Front, FrontSetup, HttpAddress, Pair, PairSource } from './front/front.js'
import { openFront } from './front/open.js'
import { Tokens, type StoredToken } from './front/tokens.js'
import type { GiveUp, Reply, Request, Stall } from './protocol/messages.js'
import { runsOn } from './protocol/work.js'
import { answerSome, Asker } from './shard/asker.js'
import { Events } from './shard/events.js'
import { attempt } from './shard/kept.js'
import type { FromShard } from './shard/lines.js'
import { placeOf } from './shard/place.js'
import { Pressed } from './shard/pressed.js'
import { ALONE } from './shard/sharing.js'
import { Spread } from './shard/spread.js'

type Answer = (reply: Reply) => void

const PONG: Reply = { ok: true, json: '"pong"' }
const TOKENS_LOOK_MS = 1_000

export class FrontThread {
  readonly #setup: FrontThreadSetup
  readonly #port: MessagePort
  readonly #ledger: Ledger
  readonly #beats: Beats
  readonly #counts: FrontCounts
  readonly #events: Events
  readonly #tokens = new Tokens((tokens) => this.#tellUses(tokens))
  readonly #asker: Asker
  readonly #spread: Spread
  /** It told the main thread that something was read. */
  #toldReads = false
  readonly #files: Files
  readonly #pressed: Pressed
  readonly #givingBack = new GivingBack()
  readonly #pulse = new Pulse((stoodMs) => this.#turned(stoodMs))
  /** Libraries that can be asked, and whether each is open; what is not here the main thread knows. */
  readonly #catalog = new Map<string, boolean>()
  #front: Front | undefined
  readonly #certificate: ToldPair | null
  #token: string
  #hostsAllowed: readonly string[]
  /** What was asked of the main thread, by number. */
  readonly #forwarded = new Map<number, Answer>()
  #next = 1
  #requests: unknown[] = []
  #logs: unknown[] = []
  #sending = false
  /** Messages that came so far. */
  #messages = 0
  #timers: NodeJS.Timeout[] = []

  constructor(setup: FrontThreadSetup, port: MessagePort) {
    this.#setup = setup
    this.#port = port
    this.#ledger = new Ledger(setup.ledger, setup.thread)
    this.#files = new Files(this.#ledger)
    this.#pressed = new Pressed(
      this.#ledger,
      (library, isOld) => (this.#catalog.has(library) ? this.#asker.filesWait(this.#lineOf(library), isOld) : null),
      () => this.#files.bytesRead,
    )
    this.#beats = new Beats(setup.beats)
    this.#counts = new FrontCounts(setup.counts)
    this.#events = new Events(setup.events)
    this.#tokens.load(setup.tokens)
    this.#certificate = setup.pair && new ToldPair(setup.pair)
    this.#token = setup.token
    this.#hostsAllowed = setup.hostsAllowed
    this.#asker = new Asker({
      shards: setup.shards,
      line: 1 + setup.number,
      beats: this.#beats,
      isOpen: (library) => this.#catalog.get(library) !== false,
    })
    // The main thread hears of it by the library's own shard.
    this.#spread = new Spread(this.#asker, (library) => this.#spread.tell(library, []))
    tellLoop(setup.told)
    port.on('message', (message: ToFront) => this.#receive(message))
    port.postMessage({ loaded: true } satisfies FromFront)
  }

  /** Told of an error that nobody caught: the main thread says what becomes of the daemon. */
  uncaught(error: unknown): void {
    const stack = error instanceof Error ? error.stack : undefined
    this.#post({ uncaught: { ...toWire(error), stack } })
  }

  #receive(message: ToFront): void {
    this.#messages += 1
    const { replies, events, shard, lost, listen, drain } = message
    if (replies) answerSome(this.#forwarded, replies)
    for (const event of events ?? []) {
      this.#notice(event)
      this.#events.publish(event)
    }
    if (message.catalog) for (const [library, open] of message.catalog) this.#catalog.set(library, open)
    if (shard) this.#connect(shard)
    if (lost) this.#lose(lost)
    if (message.spread) this.#spread.tell(message.spread.library, message.spread.shards)
    if (message.access) this.#renew(message.access)
    if (message.pair) this.#certificate?.renew(message.pair)
    if (message.tokens) this.#tokens.follow(message.tokens)
    if (message.state && this.#front) this.#front.state = message.state
    if (message.level && this.#front) this.#front.level = message.level
    if (message.giveWay) this.#counts.gaveWay(this.#front?.giveWay(message.giveWay) ?? 0)
    if (message.wanted !== undefined) this.#front?.makeRoom?.(message.wanted)
    if (listen) void this.#listen(listen)
    if (drain !== undefined) void this.#drain(drain, message.heed)
    else if (message.heed !== undefined) this.#post({ heeded: message.heed })
    if (message.end) void this.#end()
  }

  async #listen(where: HttpAddress): Promise<void> {
    try {
      this.#front = await openFront(this.#frontSetup(where))
      // Where libuv accepts, the loop has one more by now.
      tellLoop(this.#setup.told)
      this.#pulse.start()
      this.#beats.beat(this.#setup.beat)
      this.#timers = [
        setInterval(() => {
          this.#count()
          this.#tellReads()
          this.#tokens.storeUses()
        }, LIMITS.frontCountMs),
        setInterval(() => this.#tokens.look(), TOKENS_LOOK_MS),
      ]
      for (const timer of this.#timers) timer.unref()
      this.#post({ http: this.#front.http! })
    } catch (error) {
      this.#post({ failed: toWire(error) })
    }
  }

  #frontSetup(http: HttpAddress): FrontSetup {
    const { fronts, implementation, console, dataDir } = this.#setup
    const here = { device: thisDevice(dataDir), dataDir }
    return {
      implementation,
      http,
      certificate: this.#certificate,
      socketPath: null,
      token: this.#token,
      tokens: this.#tokens,
      hostsAllowed: this.#hostsAllowed,
      fronts,
      wanted: (peer) => this.#post({ wanted: peer }),
      slots: this.#ledger,
      dispatch: (request, answer, caller) => this.#dispatch(request, answer, caller),
      crowded: {
        isThere: () => this.#asker.isCrowded,
        refuses: (of, library) =>
          this.#catalog.has(library) ? this.#asker.refuseUnread(this.#lineOf(library), of) : null,
      },
      publisher: this.#events,
      files: this.#files,
      tongue: (text) => tongueOf(text, here),
      console,
      metrics: () => this.#metrics(),
      borrow: borrowForAccept,
      // What the reserve lacks it takes first.
      room: (count) => isRoom(count + this.#ledger.reserveMissing),
      work: () => this.#messages,
      lateMs: () => this.#pulse.lateMs(),
      memoryShort: () => this.#ledger.causes.memory === 'critical',
      stalls: () => this.#stalls(),
      log: (...line) => this.#log(...line),
    }
  }

  #dispatch(request: Request, answer: Answer, caller?: object): GiveUp | void {
    const { operation, params } = request
    if (operation === 'core.ping') return answer(PONG)
    const refused = this.#pressed.refuses(request, caller)
    if (refused) return answer({ ok: false, error: refused })
    const library = params['library'] as string
    const isOf = runsOn(operation) === 'library' && this.#catalog.has(library)
    if (!isOf) return attempt(answer, (told) => this.#forward(operation, params, told))
    const line = this.#lineOf(library)
    const ask = (told: Answer) =>
      ALONE.has(operation) ? this.#forward(operation, params, told) : this.#spread.ask(line, request, told, caller)
    return attempt(answer, (told) => line.kept.through(request, library, told, ask))
  }

  #lineOf(library: string): Asker['lines'][number] {
    return this.#asker.lines[placeOf(library, this.#setup.shards)]!
  }

  #forward(operation: string, params: unknown, answer: Answer): GiveUp {
    if (this.#forwarded.size >= LIMITS.forwardedMax) {
      const message = `the main thread has ${this.#forwarded.size} requests in flight`
      throw new SpacedriveError('SHARD_BUSY', message, { retryAfterMs: 1_000 })
    }
    const number = this.#next++
    this.#forwarded.set(number, answer)
    this.#requests.push(number, operation, params)
    this.#sendSoon()
    return () => this.#post({ gaveUp: [number] })
  }

  #metrics(): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('the main thread did not answer')), LIMITS.responseMs)
      const answer: Answer = (reply) => {
        clearTimeout(late)
        if (reply.ok) resolve(JSON.parse(reply.json) as string)
        else reject(new SpacedriveError(reply.error.code, reply.error.message))
      }
      this.#forward(METRICS, {}, answer)
    })
  }

  #notice({ type, library }: { readonly type: string; readonly library?: string }): void {
    if (library === undefined) return
    if (type === 'library.created') this.#catalog.set(library, false)
    else if (type === 'library.opened') this.#catalog.set(library, true)
    else if (type === 'library.deleted' || type === 'library.failed') this.#catalog.delete(library)
    else if (type === 'library.closed' && this.#catalog.has(library)) this.#catalog.set(library, false)
  }

  #connect({ number, port, ...shared }: NonNullable<ToFront['shard']>): void {
    const line = this.#asker.lines[number]!
    this.#asker.connect(line, port, shared)
    port.on('message', (message: FromShard) => {
      this.#messages += 1
      this.#asker.received(line, message)
    })
  }

  #lose({ number, ...lost }: NonNullable<ToFront['lost']>): void {
    this.#asker.lose(this.#asker.lines[number]!, lost)
    for (const library of this.#catalog.keys())
      if (placeOf(library, this.#setup.shards) === number) this.#catalog.set(library, false)
  }

  #renew({ token, hostsAllowed }: NonNullable<ToFront['access']>): void {
    this.#token = token
    this.#hostsAllowed = hostsAllowed
    this.#front?.renewAccess(token, hostsAllowed)
  }

  async #drain(deadlineMs: number, heed: number | undefined): Promise<void> {
    await this.#front?.drain(deadlineMs)
    this.#count()
    if (heed !== undefined) this.#post({ heeded: heed })
  }

  /** Nothing of it is left open then, and the thread ends: one that has connections still could not. */
  async #end(): Promise<void> {
    await this.#front?.drain(0)
    for (const timer of this.#timers) clearInterval(timer)
    this.#pulse.stop()
    this.#asker.close()
    for (const { port } of this.#asker.lines) port?.close()
    this.#port.close()
  }

  /** With what it was told of its own, and of the others what they say themselves. */
  #stalls(): Stall[] {
    const { stood } = this.#pulse
    const turningMs = stood?.agoMs ?? Infinity
    const { number, shards } = this.#setup
    const mine =
      stood && stood.agoMs < LIMITS.stallToldMs ? [{ thread: `front ${number}`, stoodMs: stood.stoodMs }] : []
    const others = [
      { thread: 'main', place: MAIN, fromMs: LIMITS.stallMs },
      ...Array.from({ length: shards }, (_, shard) => ({
        thread: `shard ${shard}`,
        place: shard + 1,
        fromMs: LIMITS.shardStallMs,
      })),
    ]
    const silent = others.flatMap(({ thread, place, fromMs }) => {
      const stoodMs = Math.min(turningMs, this.#beats.silentMs(place))
      return stoodMs >= fromMs ? [{ thread, stoodMs }] : []
    })
    return [...mine, ...silent].map(({ thread, stoodMs }) => ({ thread, stoodMs: Math.round(stoodMs) }))
  }

  #turned(stoodMs: number | null): void {
    this.#beats.beat(this.#setup.beat)
    if (stoodMs === null) return
    const { number } = this.#setup
    this.#log('warn', `front ${number} stood still for ${Math.round(stoodMs)} ms: nobody was served there`)
  }

  #count(): void {
    if (!this.#front) return
    const lines = this.#asker.lines.map(({ inFlight, queue, outgoing, overloaded, gone }) => ({
      inFlight: inFlight.size + queue.length,
      queued: outgoing.length / 3 + queue.length,
      overloaded,
      givenUp: gone,
    }))
    this.#counts.write(this.#front.connections(), this.#events.use, lines)
    const { isCrowded } = this.#asker
    const waitedMs = this.#asker.lines.map((line) => this.#asker.waitedMs(line))
    this.#counts.press({ lateMs: this.#pulse.takeLeastMs(), isCrowded, heap: heapShare(), waitedMs })
    if (!this.#givingBack.isDue(this.#ledger.causes.memory)) return
    this.#asker.forgetKept()
    giveBackMemory()
  }

  #tellReads(): void {
    const reads = this.#spread.takeHottest()
    if (reads.length > 0 || this.#toldReads) this.#post({ reads })
    this.#toldReads = reads.length > 0
  }

  #tellUses(tokens: readonly StoredToken[]): void {
    const used = tokens.flatMap(({ id, usedAt }) => (usedAt === undefined ? [] : [[id, Date.parse(usedAt)] as const]))
    if (used.length > 0) this.#post({ used })
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown> = {}): void {
    this.#logs.push(level, message, fields)
    this.#sendSoon()
  }

  /** What is asked of the main thread in one turn goes there together, after the figures it may be asked for. */
  #sendSoon(): void {
    if (this.#sending) return
    this.#sending = true
    setImmediate(() => {
      this.#sending = false
      this.#count()
      this.#tokens.storeUses()
      const [requests, logs] = [this.#requests, this.#logs]
      this.#requests = []
      this.#logs = []
      this.#post({ ...(requests.length > 0 ? { requests } : {}), ...(logs.length > 0 ? { logs } : {}) })
    })
  }

  #post(message: FromFront): void {
    this.#port.postMessage(message)
  }
}

/** The main thread looks after the files. */
class ToldPair implements PairSource {
  pair: Pair
  #take: (pair: Pair) => void = () => undefined

  constructor(pair: Pair) {
    this.pair = asBuffers(pair)
  }

  follow(take: (pair: Pair) => void): void {
    this.#take = take
  }

  renew(pair: Pair): void {
    this.pair = asBuffers(pair)
    this.#take(this.pair)
  }

  stop(): void {
    this.#take = () => undefined
  }
}

/** They come as plain bytes. */
function asBuffers({ cert, key, ticketKeys }: Pair): Pair {
  const keys = ticketKeys && { ticketKeys: Buffer.from(ticketKeys) }
  return { cert: Buffer.from(cert), key: Buffer.from(key), ...keys }
}
