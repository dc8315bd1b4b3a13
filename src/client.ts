// A client of a running daemon over one WebSocket: calls typed by operation, events, and a connection that comes back.
// It runs in browsers as well, so that it knows of its connection only what `Line` says.
import { AWAY, fromWire, isErrorCode, SpacedriveError, TOKEN_ENDED, type WireError } from './base/codes.js'
import { pack, unpack } from './protocol/msgpack.js'
import type { Deliver, Event } from './protocol/messages.js'
import type { OperationName, ParamsOf } from './protocol/operations.js'
import type { Results } from './protocol/results.js'

export interface ConnectOptions {
  /** The daemon's token, as it stands in its file; its unix socket needs none. */
  readonly token?: string
  /**
   * How long a call goes on where the daemon is away, or refuses for the moment: until it is back, for as long as it says. 0 for
   * not at all. A try to connect has a second also where less is left.
   */
  readonly patienceMs?: number
  /**
   * How long the first connection is tried for, where the daemon is not there yet or refuses for the moment; `patienceMs` if absent,
   * 0 for one try. What no waiting mends, as a wrong token, is told at once.
   */
  readonly connectPatienceMs?: number
  /**
   * A connection over which nothing comes for so long is asked for an answer, and given up where that brings nothing for as long:
   * a machine or a network that vanished says nothing of it. As long one may take to be opened. 20 s by default.
   */
  readonly silentMs?: number
  /** How messages are written; `msgpack` for fewer bytes on the way, JSON by default. */
  readonly format?: 'json' | 'msgpack'
}

export interface CallOptions {
  /** For how long the answer is of use: after that no work is begun for it, and the call fails. A whole number, at most 30,000. */
  readonly timeoutMs?: number
  /** Gives the call up: it fails at once, and work that waits is not begun. What has begun may still complete. */
  readonly signal?: AbortSignal
}

/** An open WebSocket. */
export interface Line {
  /** False from when either side begins to close it. */
  readonly isOpen: boolean
  /** Grows with whatever comes by it: bytes, or messages where these are not told. */
  readonly received: number
  send(message: string | Uint8Array<ArrayBuffer>): void
  /** Resolves when it is closed, at the latest a second later. */
  close(): Promise<void>
}

/** Who hears of it from the moment it is open. */
export interface Hearer {
  heard(message: string | Uint8Array): void
  /** @param code with which the WebSocket was closed */
  lost(line: Line, code: number): void
}

/** @throws SpacedriveError: why there is none, in the daemon's own words where it said any */
export type OpenLine = (
  url: string,
  protocol: string,
  token: string | undefined,
  hearer: Hearer,
  /** Given when nobody wants it any more, or it takes too long: what is being opened ends then. */
  over: AbortSignal,
) => Promise<Line>

/** Of an answer, what its headers say. */
interface Headed {
  readonly retryAfter: string | null | undefined
  readonly date: string | null | undefined
  /** Of a redirection. */
  readonly leadsTo?: string | undefined
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: SpacedriveError): void
}

/** Of one call. */
interface Bounds {
  /** Aborted, with the error, when it is given up. */
  readonly over: AbortSignal
  /** For the daemon; undefined where it is not bounded. */
  leftMs(): number | undefined
}

interface Subscriber {
  readonly filter: ParamsOf<'events.subscribe'>
  readonly deliver: Deliver
  readonly ended: ((error: SpacedriveError) => void) | undefined
  /** The daemon's id of it, of the connection that is open now. */
  id: string | null
  seq: number
  /** Of the last event that came. */
  cursor: string
  /** Lost while there was no connection, to be told with the next event. */
  missed: number
  /** Ended by either side. */
  isOver: boolean
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: {
    readonly subscription: string
    readonly seq: number
    readonly cursor: string
    readonly event: Event
  }
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Partial<WireError> }
}

/** What a header may hold, and a sub-protocol. */
const TOKEN = /^[\x21-\x7e]+$/
/** Values within values of an answer in MessagePack: far more than any has. */
const DEPTH_MAX = 100
/** What a daemon reads of one message, in bytes and, of MessagePack, in values within values: for more it ends the connection. */
export const MESSAGE_BYTES_MAX = 1 << 20
export const MESSAGE_DEPTH_MAX = 64
/** Calls that are under way at a time, others wait here: it refuses more, and `core.*` is to have room beside them. */
export const UNDER_WAY_MAX = 192
const PATIENCE_MS = 10_000
const SILENT_MS = 20_000
const SILENT_MS_MIN = 100
/** What a try to connect has at least, however little patience is left. */
const TRY_MS = 1_000
/** A timer for longer, as for `Infinity`, would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5_000
/** By less than two, so that whoever waits for a daemon that restarts does not sleep for as long again when it is back. */
const RETRY_GROWTH = 1.5
/**
 * Refusals that are tried again, and tries when patience ends: so many at once, then one for every ten calls. A daemon that has too
 * much to do gets no more of it.
 */
const RETRIES_MAX = 10
const RETRIES_A_CALL = 0.1
/** Codes of a daemon that has not begun the work. */
const NOT_BEGUN = new Set<string>([
  'STARTING',
  'DRAINING',
  'CONNECTION_LIMIT',
  'SHARD_BUSY',
  'OVERLOADED',
  'BUDGET_EXHAUSTED',
  'LIBRARY_LOCKED',
])
/** What a second time does no harm. */
export const READS = /^core\.(?!reload|shutdown)|\.(list|info|get|files|explain|leftOut|discover)$/

export class Client {
  readonly #url: string
  readonly #token: string | undefined
  readonly #isPacked: boolean
  readonly #waiting = new Map<number, Waiting>()
  readonly #subscribers = new Set<Subscriber>()
  readonly #openLine: OpenLine
  #line: Line | null = null
  #opening: Promise<void> | null = null
  readonly #patienceMs: number
  readonly #connectPatienceMs: number
  readonly #silentMs: number
  /** Looks whether anything comes by the connection that is open. */
  #pulse: ReturnType<typeof setInterval> | undefined
  /** While the daemon is away, calls and subscribers all wait for this. */
  #pause: Promise<void> | null = null
  #pauseMs = RETRY_MS_MIN
  #isComingBack = false
  #retries = RETRIES_MAX
  #underWay = 0
  /** Those that wait until fewer are, in their order. */
  readonly #inLine = new Set<() => void>()
  readonly #closed = new AbortController()
  #next = 1

  constructor(openLine: OpenLine, url: string, options: ConnectOptions) {
    const { token, patienceMs = PATIENCE_MS, connectPatienceMs = patienceMs, format = 'json' } = options
    this.#silentMs = Math.min(Math.max(options.silentMs ?? SILENT_MS, SILENT_MS_MIN), TIMER_MS_MAX)
    this.#openLine = openLine
    // Of a program in JavaScript it may be anything, a URL for one.
    this.#url = String(url)
    this.#isPacked = format === 'msgpack'
    this.#token = token?.trim()
    if (this.#token && !TOKEN.test(this.#token))
      throw new SpacedriveError('UNAUTHORIZED', 'the token holds characters that no token has')
    this.#patienceMs = patienceMs
    this.#connectPatienceMs = connectPatienceMs
  }

  /** @throws SpacedriveError: why there is no connection, at once where that is for good, else within `connectPatienceMs` */
  async open(): Promise<void> {
    try {
      await this.#patiently(this.#connectPatienceMs, null, () => Promise.resolve())
    } catch (error) {
      await this.close()
      throw error
    }
  }

  #open(): Promise<void> {
    if (this.#closed.signal.aborted) return Promise.reject(closedHere())
    if (this.#line?.isOpen) return Promise.resolve()
    this.#opening ??= this.#connect().finally(() => (this.#opening = null))
    return this.#opening
  }

  /** What is being opened goes on for others who have more patience. */
  async #openWithin(ms: number, over: AbortSignal | undefined): Promise<void> {
    const end = new AbortController()
    const late = sleep(Math.max(TRY_MS, ms), end.signal, over).then(() => Promise.reject(this.#unanswered()))
    await Promise.race([this.#open(), late]).finally(() => end.abort())
  }

  #unanswered(): SpacedriveError {
    return new SpacedriveError('NO_DAEMON', `${this.#url}: nobody answered in time`)
  }

  /**
   * Connects again first where the connection was lost. What the daemon has not begun is asked again within the client's patience,
   * and so is what only reads. Any other call in flight when the connection is lost fails, since nobody can tell whether it was
   * done.
   *
   * @throws SpacedriveError with the daemon's code; NO_DAEMON when it is not there, CANCELLED or TIMEOUT as `options` have it, CLOSED
   * from `close` on
   */
  async call<Name extends OperationName>(
    operation: Name,
    params?: ParamsOf<Name>,
    options: CallOptions = {},
  ): Promise<Results[Name]> {
    this.#retries = Math.min(RETRIES_MAX, this.#retries + RETRIES_A_CALL)
    const asked = (bounds?: Bounds) => {
      const ask = () => this.#send(operation, params ?? {}, undefined, bounds) as Promise<Results[Name]>
      return this.#patiently(this.#patienceMs, operation, ask, bounds)
    }
    return options.timeoutMs === undefined && options.signal === undefined ? asked() : bounded(options, asked)
  }

  /** @param operation null for what comes before any: to connect, to subscribe */
  async #patiently<Result>(
    patienceMs: number,
    operation: OperationName | null,
    ask: () => Promise<Result>,
    bounds?: Bounds,
  ): Promise<Result> {
    const waitsInLine = operation !== null && !operation.startsWith('core.')
    const isHarmless = operation === null || READS.test(operation)
    let until: number | null = null
    for (let tries = 0; ; tries++) {
      let isAsked = false
      const attempt = async () => {
        bounds?.over.throwIfAborted()
        until ??= performance.now() + patienceMs
        if (!this.#line?.isOpen)
          await this.#openWithin(patienceMs === 0 ? Infinity : until - performance.now(), bounds?.over)
        bounds?.over.throwIfAborted()
        isAsked = true
        return await ask()
      }
      try {
        return await (waitsInLine ? this.#inTurn(attempt, bounds?.over) : attempt())
      } catch (error) {
        if (bounds?.over.aborted) throw error
        if (!isAsked && this.#closed.signal.aborted) throw closedHere()
        const leftMs = (until ?? 0) - performance.now()
        if (!this.#mayRetry(error, isAsked, isHarmless)) throw error
        if (!(await this.#waitFor(error, isAsked, tries, leftMs, bounds))) throw error
      }
    }
  }

  async #inTurn<Result>(attempt: () => Promise<Result>, over: AbortSignal | undefined): Promise<Result> {
    if (this.#underWay < UNDER_WAY_MAX) this.#underWay += 1
    else await this.#turn(over)
    try {
      return await attempt()
    } finally {
      const [next] = this.#inLine
      // Its place goes on to that one.
      if (next) next()
      else this.#underWay -= 1
    }
  }

  #turn(over: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = () => {
        forget()
        this.#inLine.delete(begin)
        resolve()
      }
      this.#inLine.add(begin)
      const forget = whenAborted(over, () => {
        this.#inLine.delete(begin)
        reject(over!.reason as SpacedriveError)
      })
    })
  }

  #mayRetry(error: unknown, isAsked: boolean, isHarmless: boolean): error is SpacedriveError {
    if (!(error instanceof SpacedriveError) || !error.retryable) return false
    if (!isAsked || NOT_BEGUN.has(error.code)) return true
    return isHarmless && ['NO_DAEMON', 'SHARD_LOST'].includes(error.code)
  }

  /** False where there is no time left for it, or where too much was asked again already. */
  async #waitFor(
    { code, retryAfterMs = 0 }: SpacedriveError,
    isAsked: boolean,
    tries: number,
    leftMs: number,
    bounds?: Bounds,
  ): Promise<boolean> {
    // All who wait come by one connection, and who has no time for the next try makes one at the end of it.
    if (!isAsked || AWAY.has(code)) {
      if (leftMs <= retryAfterMs) return false
      const isInTime = (await this.#untilPause(leftMs, retryAfterMs, bounds)) || bounds?.over.aborted === true
      return isInTime || this.#spendRetry()
    }
    // Who is refused for longer than its deadline is told so, not that it is late.
    const waitMs = Math.max(retryAfterMs, jittered(Math.min(RETRY_MS_MIN * 2 ** tries, RETRY_MS_MAX)))
    if (waitMs > Math.min(leftMs, bounds?.leftMs() ?? Infinity) || !this.#spendRetry()) return false
    await sleep(waitMs, this.#closed.signal, bounds?.over)
    return true
  }

  #spendRetry(): boolean {
    if (this.#retries < 1) return false
    this.#retries -= 1
    return true
  }

  /**
   * Longer each time; whoever comes while it lasts waits for its end, and for its own time. Clients that were all refused at once do
   * not come back at once.
   */
  #paused(atLeastMs = 0, over?: AbortSignal): Promise<unknown> {
    const { signal } = this.#closed
    if (!this.#pause) {
      this.#pause = sleep(jittered(this.#pauseMs), signal).then(() => void (this.#pause = null))
      this.#pauseMs = Math.min(RETRY_GROWTH * this.#pauseMs, RETRY_MS_MAX)
    }
    if (atLeastMs === 0) return this.#pause
    return Promise.all([this.#pause, sleep(atLeastMs + jittered(RETRY_MS_MIN), signal, over)])
  }

  async #untilPause(leftMs: number, atLeastMs: number, bounds?: Bounds): Promise<boolean> {
    const end = new AbortController()
    const late = sleep(leftMs, end.signal, bounds?.over).then(() => true)
    const isLate = await Promise.race([this.#paused(atLeastMs, end.signal).then(() => false), late])
    end.abort()
    return !isLate
  }

  /**
   * Events from now on, or from the filter's cursor, also over connections to come: what happened while there was none is brought
   * by the next, as far as the daemon keeps it. What was lost is told with the next event; one that was started anew cannot tell.
   *
   * @param ended told why, where the daemon refuses to go on with it: a token that was revoked, say
   * @returns ends the subscription
   */
  async subscribe(
    filter: ParamsOf<'events.subscribe'>,
    deliver: Deliver,
    ended?: (error: SpacedriveError) => void,
  ): Promise<() => Promise<void>> {
    const cursor = filter.cursor ?? ''
    const subscriber: Subscriber = { filter, deliver, ended, id: null, seq: 0, cursor, missed: 0, isOver: false }
    await this.#patiently(this.#patienceMs, null, () => this.#subscribe(subscriber))
    return async () => {
      subscriber.isOver = true
      this.#subscribers.delete(subscriber)
      if (subscriber.id !== null) await this.#unsubscribe(subscriber.id)
    }
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#line?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #connect(): Promise<void> {
    if (this.#line) this.#lost(this.#line)
    const protocol = this.#isPacked ? 'spacedrive.v1.msgpack' : 'spacedrive.v1'
    let line: Line | null = null
    const hearer: Hearer = {
      heard: (message) => {
        // What still comes by a connection that was given up comes by the next as well, or is answered to nobody.
        if (this.#line !== line) return
        try {
          this.#receive(this.#read(message))
        } catch {
          // No daemon says that: whatever is there is asked no more.
          if (line) this.#giveUp(line)
        }
      },
      lost: (gone, code) => this.#lost(gone, code),
    }
    const { signal } = this.#closed
    line = await this.#inTime((over) => this.#openLine(this.#url, protocol, this.#token, hearer, over))
    if (signal.aborted) {
      await line.close()
      throw closedHere()
    }
    this.#line = line
    this.#feelFor(line)
    this.#pauseMs = RETRY_MS_MIN
    // Their questions go before any other.
    for (const each of this.#subscribers) void this.#resubscribe(each, line)
  }

  async #inTime(open: (over: AbortSignal) => Promise<Line>): Promise<Line> {
    const over = new AbortController()
    const giveUp = () => over.abort()
    const forget = whenAborted(this.#closed.signal, giveUp)
    const late = setTimeout(giveUp, this.#silentMs)
    try {
      return await open(over.signal)
    } catch (error) {
      throw over.signal.aborted ? this.#unanswered() : error
    } finally {
      clearTimeout(late)
      forget()
    }
  }

  #feelFor(line: Line): void {
    let silences = 0
    let received = -1
    let lookedAt = performance.now()
    const look = () => {
      const now = performance.now()
      // Of a process that stood still nothing was read meanwhile.
      const isLate = now - lookedAt > 2 * this.#silentMs
      lookedAt = now
      silences = line.received !== received || isLate ? 0 : silences + 1
      received = line.received
      if (silences === 1) void this.#send('core.ping', {}).catch(() => null)
      if (silences === 2) this.#giveUp(line)
    }
    this.#pulse = setInterval(look, this.#silentMs)
  }

  #giveUp(line: Line): void {
    this.#lost(line)
    void line.close()
  }

  async #subscribe(subscriber: Subscriber): Promise<void> {
    const again = subscriber.cursor === '' ? {} : { cursor: subscriber.cursor }
    const params = { ...subscriber.filter, ...again }
    // What comes right behind the answer belongs to it already.
    await this.#send('events.subscribe', params, (result) => {
      const { subscription, cursor, missed = 0 } = result as Results['events.subscribe']
      Object.assign(subscriber, { id: subscription, seq: 0 })
      // Counted from the same cursor until an event comes, however often the connection is lost before.
      subscriber.missed = missed ?? Infinity
      if (subscriber.cursor === '') subscriber.cursor = cursor
      if (subscriber.isOver) void this.#unsubscribe(subscription)
      else this.#subscribers.add(subscriber)
    })
  }

  /** Who is refused for the moment asks again while this connection lasts, and by the next; who is refused for good is told. */
  async #resubscribe(subscriber: Subscriber, line: Line): Promise<void> {
    while (this.#line === line && !subscriber.isOver) {
      try {
        return await this.#subscribe(subscriber)
      } catch (error) {
        if (isFinal(error)) return this.#end(subscriber, error)
        if (this.#line === line) await this.#paused(waitOf(error))
      }
    }
  }

  #end(subscriber: Subscriber, error: SpacedriveError): void {
    if (subscriber.isOver) return
    subscriber.isOver = true
    this.#subscribers.delete(subscriber)
    apart(() => subscriber.ended?.(error))
  }

  async #unsubscribe(subscription: string): Promise<void> {
    await this.#send('events.unsubscribe', { subscription }).catch(() => null)
  }

  /** @param taken gets the result before any later message is read */
  #send(method: string, params: unknown, taken?: (result: unknown) => void, bounds?: Bounds): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#next++
      const timeoutMs = bounds?.leftMs()
      this.#write({ jsonrpc: '2.0', id, method, params, ...(timeoutMs === undefined ? {} : { timeoutMs }) })
      const over = bounds?.over
      const forget = whenAborted(over, () => {
        this.#waiting.delete(id)
        // Nobody waits for an answer to this either.
        this.#write({ jsonrpc: '2.0', method: 'rpc.cancel', params: { id } })
        reject(over!.reason as SpacedriveError)
      })
      this.#waiting.set(id, {
        resolve: (result) => (forget(), taken?.(result), resolve(result)),
        reject: (error) => (forget(), reject(error)),
      })
    })
  }

  /** @throws SpacedriveError for what no daemon would read: with it all that is under way would fail */
  #write(message: object): void {
    if (this.#isPacked && isDeeper(message, MESSAGE_DEPTH_MAX))
      throw new SpacedriveError('BAD_REQUEST', `values lie more than ${MESSAGE_DEPTH_MAX} deep`)
    const written = this.#isPacked ? pack(message) : JSON.stringify(message)
    if (isLarger(written, MESSAGE_BYTES_MAX))
      throw new SpacedriveError('REQUEST_TOO_LARGE', `a message may hold ${MESSAGE_BYTES_MAX} bytes`)
    this.#line?.send(written)
  }

  #read(message: string | Uint8Array): Message {
    return (typeof message === 'string' ? JSON.parse(message) : unpack(message, DEPTH_MAX)) as Message
  }

  #receive({ id, method, params, result, error }: Message): void {
    if (method === 'event' && params) return this.#deliver(params)
    const waiting = this.#waiting.get(id ?? 0)
    this.#waiting.delete(id ?? 0)
    if (error) waiting?.reject(errorOf(error))
    else waiting?.resolve(result)
  }

  #deliver({ subscription, seq, cursor, event }: NonNullable<Message['params']>): void {
    for (const subscriber of this.#subscribers) {
      if (subscriber.id !== subscription) continue
      const missed = subscriber.missed + Math.max(0, seq - subscriber.seq - 1)
      Object.assign(subscriber, { seq, cursor, missed: 0 })
      apart(() => subscriber.deliver(event, missed, cursor))
    }
  }

  #lost(line: Line, code?: number): void {
    if (this.#line !== line) return
    this.#line = null
    clearInterval(this.#pulse)
    for (const subscriber of this.#subscribers) subscriber.id = null
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    const gone = this.#closed.signal.aborted ? closedHere() : lostBy(code)
    for (const { reject } of waiting) reject(gone)
    if (!this.#closed.signal.aborted && this.#subscribers.size > 0) void this.#comeBack()
  }

  /** For its subscribers' sake, between the same pauses as calls. As the connection did, this keeps the process alive. */
  async #comeBack(): Promise<void> {
    if (this.#isComingBack) return
    this.#isComingBack = true
    for (let waitMs = 0; !this.#closed.signal.aborted && this.#subscribers.size > 0 && !this.#line?.isOpen;) {
      await this.#paused(waitMs)
      try {
        await this.#open()
      } catch (error) {
        if (isFinal(error)) for (const each of [...this.#subscribers]) this.#end(each, error)
        waitMs = waitOf(error)
      }
    }
    this.#isComingBack = false
  }
}

/** No waiting mends it, and the daemon has said so. */
function isFinal(error: unknown): error is SpacedriveError {
  return error instanceof SpacedriveError && !error.retryable && error.code !== 'CLOSED'
}

function waitOf(error: unknown): number {
  return error instanceof SpacedriveError ? (error.retryAfterMs ?? 0) : 0
}

/** Of an answer that is not in a daemon's words: what stands before it speaks, or something else in its place. */
export function refusedBy(url: string, status: number, { retryAfter, date, leadsTo }: Headed): SpacedriveError {
  const said = `${url} answered ${status}`
  if (status === 401) return new SpacedriveError('UNAUTHORIZED', said)
  if (status === 403)
    return new SpacedriveError('FORBIDDEN', said, {
      hint: 'No daemon said that: ask whoever runs what stands before it.',
    })
  if (leadsTo)
    return new SpacedriveError('BAD_CONFIG', said, {
      hint: `Give the address of the daemon: this one leads to ${leadsTo}.`,
    })
  const retryAfterMs = waitSaid(retryAfter ?? '', date ?? '')
  return new SpacedriveError('NO_DAEMON', said, retryAfterMs > 0 ? { retryAfterMs } : {})
}

/** Seconds, or a date by the clock of whoever answered. */
function waitSaid(retryAfter: string, date: string): number {
  return /^\d+$/.test(retryAfter) ? 1_000 * Number(retryAfter) : Date.parse(retryAfter) - Date.parse(date)
}

function lostBy(code: number | undefined): SpacedriveError {
  if (code === TOKEN_ENDED.code) return new SpacedriveError('UNAUTHORIZED', TOKEN_ENDED.reason)
  return new SpacedriveError('NO_DAEMON', 'the connection was lost')
}

function closedHere(): SpacedriveError {
  return new SpacedriveError('CLOSED', 'this client is closed')
}

function isDeeper(value: unknown, than: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return than === 0 || Object.values(value).some((each) => isDeeper(each, than - 1))
}

/** A UTF-16 unit takes three bytes at most. */
function isLarger(message: string | Uint8Array, than: number): boolean {
  if (message.length > than || typeof message !== 'string') return message.length > than
  return 3 * message.length > than && new TextEncoder().encode(message).length > than
}

/** Calls what is another's: what it throws is not thrown into the reading of the connection, which would not go on. */
function apart(call: () => void): void {
  try {
    call()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/** Ends early when one of the signals is given. */
function sleep(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      for (const forget of listening) forget()
      resolve()
    }
    const timer = setTimeout(end, Math.min(ms, TIMER_MS_MAX))
    const listening = signals.map((signal) => whenAborted(signal, end))
    if (signals.some((signal) => signal?.aborted)) end()
  })
}

/** Whom each signal ends. */
const endings = new WeakMap<AbortSignal, ReturnType<typeof noneYet>>()

function noneYet() {
  const waiting = new Set<() => void>()
  const handleEvent = () => {
    for (const end of waiting) end()
  }
  return { waiting, handleEvent }
}

/**
 * By one listener for all who wait with one signal: of more than ten Node warns as of a leak, and any number of calls may have the
 * same.
 *
 * @param end must not throw
 * @returns has it forgotten
 */
function whenAborted(signal: AbortSignal | undefined, end: () => void): () => void {
  if (!signal) return () => undefined
  const ending = endings.get(signal) ?? noneYet()
  const { waiting } = ending
  endings.set(signal, ending)
  if (waiting.size === 0) signal.addEventListener('abort', ending)
  waiting.add(end)
  return () => {
    if (waiting.delete(end) && waiting.size === 0) signal.removeEventListener('abort', ending)
  }
}

function jittered(ms: number): number {
  return ms * (0.5 + Math.random())
}

function errorOf({ message, data }: NonNullable<Message['error']>): SpacedriveError {
  const code = isErrorCode(data?.code) ? data.code : 'BAD_REQUEST'
  return fromWire({ retryable: false, hint: '', ...data, code, message })
}

/** As the daemon has it (`LIMITS.responseMs`), to whom only what is left of it is told. */
export const CALL_MS_MAX = 30_000

function bounded<Result>(
  { timeoutMs, signal }: CallOptions,
  work: (bounds: Bounds) => Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const until = performance.now() + (timeoutMs ?? 0)
    const over = new AbortController()
    const giveUp = (error: SpacedriveError) => {
      over.abort(error)
      reject(error)
    }
    const cancel = () => giveUp(new SpacedriveError('CANCELLED', 'the call was given up'))
    const late = () => giveUp(new SpacedriveError('TIMEOUT', `no answer came within ${timeoutMs} ms`))
    if (timeoutMs !== undefined && !(Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= CALL_MS_MAX)) {
      const message = `timeoutMs must be a whole number from 1 to ${CALL_MS_MAX}`
      return giveUp(new SpacedriveError('BAD_REQUEST', message))
    }
    if (signal?.aborted) return cancel()
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs)
    const forget = whenAborted(signal, cancel)
    const leftMs = () => (timeoutMs === undefined ? undefined : Math.max(1, Math.ceil(until - performance.now())))
    void work({ over: over.signal, leftMs })
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer)
        forget()
      })
  })
}
