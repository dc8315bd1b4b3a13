// What every request passes before it is run, in a fixed order: Host, Origin, state, token, route, type, length.
// The same for both implementations; the pages here are all a client without a token ever sees.
import { SpacedriveError, statusOf, toWire, type ErrorCode, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { isRoom } from '../descriptors/reserve.js'
import type { Level } from '../protocol/messages.js'
import type { Refuse } from '../protocol/prepared.js'
import { WORK } from '../protocol/work.js'
import { AcceptWatch } from './accept.js'
import { Access } from './auth.js'
import { Deadlines } from './deadlines.js'
import type { Connections, FrontSetup, FrontState } from './front.js'
import type { Gate, Seat } from './gate.js'
import { Guesses } from './guesses.js'
import { Shares, Working } from './idle.js'
import type { Head } from './head.js'
import { METRICS_TYPE } from './metrics.js'
import { Pace } from './pace.js'
import { names } from './ranges.js'
import { Resume } from './resume.js'
import { OWNER, Tokens, type Caller } from './tokens.js'
import { Strangers } from './strangers.js'
import { Streams } from './streams.js'
import { Together } from './together.js'
import { Unread } from './unread.js'

/** Who sends a request; asked for its address only while that matters. */
export interface From {
  readonly peer: string
  /** Called whenever it has shown a right token. */
  known(): void
  /** Called whenever it has shown none. */
  asked(): void
}

/** A whole answer outside JSON-RPC. */
export interface Page {
  readonly status: number
  readonly type:
    'application/json' | 'text/plain; charset=utf-8' | 'text/event-stream' | typeof METRICS_TYPE | ConsoleFile['type']
  readonly body: string
  /** Further headers, by name. */
  readonly headers: Readonly<Record<string, string>>
  /** The connection ends with this answer: its request is not worth reading to the end. */
  readonly close: boolean
  /** The body, where it has yet to come. */
  readonly later?: Promise<string>
}

/** A file of the console: what anybody may read, and a browser may keep as long as it asks whether it is still the same. */
export interface ConsoleFile {
  readonly type: (typeof CONSOLE_TYPES)[number]
  readonly body: string
  readonly etag: string
}

export const CONSOLE_TYPES = [
  'text/html; charset=utf-8',
  'text/css; charset=utf-8',
  'text/javascript; charset=utf-8',
] as const

/** Sent with every answer; none of them may be cached, sniffed, or read by another site. */
export const SECURITY_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const

/** Nothing of another site, nothing that stands in the page itself, and in nobody's frame. */
const CONSOLE_HEADERS = {
  ...SECURITY_HEADERS,
  'Cache-Control': 'no-cache',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const

/** What goes with an answer of this type, whatever it says. */
export function headersOf(type: Page['type']): Readonly<Record<string, string>> {
  return (CONSOLE_TYPES as readonly string[]).includes(type) ? CONSOLE_HEADERS : SECURITY_HEADERS
}

export class Desk {
  state: FrontState = 'starting'
  readonly setup: FrontSetup
  readonly access: Access
  readonly deadlines: Deadlines
  level: Level = 'normal'
  /** Set where the front cannot tell which HTTP connections are idle. */
  idleUnknown = false
  readonly accept: AcceptWatch
  readonly working = new Working()
  readonly together = new Together()
  /** Of the connections, between peers. */
  shares = new Shares()
  readonly strangers: Strangers
  /** Set where the front cannot tell who is one. */
  strangersUnknown = false
  readonly unread: Unread
  readonly guesses: Guesses
  readonly streams = new Streams()
  readonly resume: Resume
  readonly pace: Pace
  /** Requests and messages that were begun, and parts of them that were read or written. */
  begun = 0

  constructor(setup: FrontSetup) {
    this.setup = setup
    const fronts = setup.fronts ?? 1
    this.unread = new Unread(LIMITS.unreadBytesMax / fronts, setup.memoryShort)
    this.guesses = new Guesses((peer) => {
      const { count } = this.guesses
      setup.log('warn', 'many wrong tokens come from one address', { peer, wrongTokens: count })
    }, fronts)
    this.access = new Access(setup.token, setup.hostsAllowed, setup.tokens ?? new Tokens())
    this.resume = new Resume(() => this.lateMs)
    this.pace = new Pace(() => setup.crowded?.isThere() === true)
    this.deadlines = new Deadlines(setup.responseMs ?? LIMITS.responseMs)
    const { strangerMs = LIMITS.strangerMs, slots } = setup
    const part = () => setup.strangersPart ?? Math.floor(slots.ceiling('clients') / LIMITS.strangersShare / fronts)
    this.strangers = new Strangers(strangerMs, part)
    const { log, borrow = () => null, room = isRoom, work = () => 0 } = setup
    this.accept = new AcceptWatch({ log, borrow, room, work: () => this.begun + work() })
  }

  connections({ current, peak, accepted, refused, refusedBy }: Gate, idle: number): Connections {
    const { state, failures } = this.accept
    const strangers = this.strangersUnknown ? {} : { strangers: this.strangers.count }
    const counted = { current, peak, accepted, refused, refusedBy, idle, ...strangers }
    return { ...counted, accept: state, acceptFailures: failures, ...this.unread.told, wrongTokens: this.guesses.count }
  }

  get lateMs(): number {
    return this.setup.lateMs?.() ?? 0
  }

  /** The loop went on just now: what ran out of time meanwhile had no chance to be in time. */
  get wentOn(): boolean {
    return this.lateMs >= LIMITS.stallMs
  }

  get draining(): boolean {
    return this.state === 'draining'
  }

  get starved(): boolean {
    return this.accept.starved
  }

  /**
   * Answers end their connections: under high pressure none is kept for a request that may come. Only where idle ones cannot
   * be told from the others and closed: who works would lose its place to a flood of those who do not.
   */
  get ending(): boolean {
    return this.idleUnknown && (this.level === 'high' || this.level === 'critical')
  }

  /**
   * While more is asked than can be done, what would be refused anyway is not read first: all but one thing of whoever asks.
   *
   * @param isHeard whether it has something under way
   */
  refuser(isHeard: boolean): Refuse | null {
    const { crowded } = this.setup
    if (!crowded?.isThere()) return null
    this.pace.keep()
    let heard = isHeard
    return (operation, library) => {
      if (heard) return crowded.refuses(WORK[operation], library)
      heard = true
      return null
    }
  }

  /** Checks a POST /rpc: who asks, when its body may be read. */
  admitRpc(head: Head, seat: Seat, from: From): Caller | Page {
    this.begun += 1
    const caller = this.#admit(head, seat, from)
    return isPage(caller) ? caller : (checkBody(head) ?? caller)
  }

  /** Checks a WebSocket upgrade of GET /ws: who asks, when it may go ahead. */
  admitFeed(head: Head, seat: Seat, from: From): Caller | Page {
    return this.#admit(head, seat, from, true)
  }

  /** Checks a request for a file: who asks, when it may be looked for. */
  admitFile(method: string, head: Head, seat: Seat, from: From): Caller | Page {
    this.begun += 1
    const caller = this.#admit(head, seat, from)
    return isPage(caller) || isRead(method) ? caller : notAllowed(READS)
  }

  /** Checks a request for GET /events: who asks, when it may begin. */
  admitEvents(method: string, head: Head, seat: Seat, from: From): Caller | Page {
    this.begun += 1
    const unready = this.unready()
    if (unready && isOfBrowser(head)) return this.#checkSource(head, seat) ?? comeAgain(unready)
    const caller = this.#admit(head, seat, from)
    return isPage(caller) || method === 'GET' ? caller : notAllowed('GET')
  }

  /** Answers any request but those four. */
  answer(method: string, path: string, head: Head, seat: Seat, from: From): Page {
    this.begun += 1
    const page = this.#checkSource(head, seat)
    if (page) return page
    this.#greet(head, from)
    const reads = isRead(method)
    if (path === '/health') return reads ? this.#health() : notAllowed(READS)
    const unready = this.#checkState()
    if (unready) return unready
    const file = this.setup.console?.get(path)
    if (file) return reads ? consolePage(file, head) : notAllowed(READS)
    if (path === '/') return reads ? ABOUT : notAllowed(READS)
    const caller = this.#identify(head, seat, from)
    if (isPage(caller)) return caller
    if (path !== '/metrics' || !this.setup.metrics) return route(method, path)
    return caller.seesAll ? this.#metrics(method, this.setup.metrics) : PARTIAL
  }

  /** Why nothing new may begin now, or null. */
  unready(): SpacedriveError | null {
    if (this.state === 'serving') return null
    if (this.state === 'starting') return new SpacedriveError('STARTING', 'the daemon is starting')
    return new SpacedriveError('DRAINING', 'the daemon is stopping')
  }

  #checkSource(head: Head, seat: Seat): Page | null {
    if (seat.local) return head.origin === undefined ? null : FOREIGN
    if (head.hosts !== 1 || head.host === undefined) return HOSTLESS
    if (!this.access.hostAllowed(head.host)) return STRANGE_HOST
    return this.access.originAllowed(head) ? null : FOREIGN
  }

  #checkState(): Page | null {
    const error = this.unready()
    if (!error) return null
    return refusal(error, { headers: { 'Retry-After': '1' }, close: this.state === 'draining' })
  }

  #admit(head: Head, seat: Seat, from: From, upgrades = false): Caller | Page {
    return this.#checkSource(head, seat) ?? this.#checkState() ?? this.#identify(head, seat, from, upgrades)
  }

  /** Who shows a right token where none is asked for is known as well. */
  #greet(head: Head, from: From): void {
    if (this.strangers.count === 0) return
    const caller = head.authorization === undefined ? null : this.access.identify(head, false)
    if (caller === null || typeof caller === 'string') from.asked()
    else from.known()
  }

  #identify(head: Head, seat: Seat, from: From, upgrades = false): Caller | Page {
    if (seat.local) return OWNER
    const caller = this.access.identify(head, upgrades)
    if (caller === null || typeof caller === 'string') {
      from.asked()
      return caller === null ? TOKENLESS : this.#wrong(caller, from.peer)
    }
    from.known()
    return caller
  }

  #wrong(secret: string, peer: string): Page {
    const waitMs = this.guesses.wrong(peer, secret)
    if (waitMs === 0) return TOKENLESS
    const error = new SpacedriveError('TOO_MANY_ATTEMPTS', 'too many wrong tokens', { retryAfterMs: waitMs })
    return refusal(error, { headers: { 'Retry-After': String(Math.ceil(waitMs / 1_000)) } })
  }

  #metrics(method: string, text: () => string | Promise<string>): Page {
    if (!isRead(method)) return notAllowed(READS)
    const body = text()
    const page = { status: 200, type: METRICS_TYPE, headers: {}, close: false } as const
    return typeof body === 'string' ? { ...page, body } : { ...page, body: '', later: body }
  }

  #health(): Page {
    const stalls = this.setup.stalls?.() ?? []
    const ok = this.state === 'serving' && stalls.length === 0
    const stalled = stalls.length === 0 ? { status: 'ok' } : { status: 'stalled', stalls }
    const told = this.state === 'serving' ? stalled : { status: this.state }
    return {
      status: ok ? 200 : 503,
      type: 'application/json',
      body: JSON.stringify(told),
      headers: ok ? {} : { 'Retry-After': '1' },
      close: false,
    }
  }
}

/** What a browser sends for its EventSource. */
function isOfBrowser({ accept }: Head): boolean {
  return accept?.includes('text/event-stream') === true
}

/**
 * An EventSource that is answered with anything but a stream never asks again; one whose stream has ended does. No line of it is empty:
 * by the letter of the standard that would be an event without an id, and its last one forgotten.
 */
function comeAgain({ message }: SpacedriveError): Page {
  const body = `retry: ${LIMITS.streamRetryMs}\n: ${message}\n`
  return { status: 200, type: 'text/event-stream', body, headers: {}, close: true }
}

function consolePage({ type, body, etag }: ConsoleFile, { ifNoneMatch }: Head): Page {
  const isKept = ifNoneMatch !== undefined && names(ifNoneMatch, [etag])
  return { status: isKept ? 304 : 200, type, body: isKept ? '' : body, headers: { ETag: etag }, close: false }
}

export function isPage(answer: Caller | Page): answer is Page {
  return 'status' in answer
}

function checkBody(head: Head): Page | null {
  if (!isJson(head.contentType)) return UNTYPED
  if (head.contentEncoding !== undefined && !/^identity$/i.test(head.contentEncoding)) return ENCODED
  return Number(head.contentLength ?? 0) > LIMITS.bodyIgnoredBytesMax ? OVERSIZE : null
}

/** A simple form of another site cannot send this type without asking first, which we never grant. */
function isJson(contentType: string | undefined): boolean {
  if (contentType === 'application/json') return true
  return contentType !== undefined && /^application\/json\s*(;|$)/i.test(contentType)
}

function route(method: string, path: string): Page {
  if (path === '/rpc') return notAllowed('POST')
  if (path !== '/ws') return refuse('NOT_FOUND', 'there is nothing at this path')
  return method === 'GET' ? NOT_UPGRADED : notAllowed('GET')
}

interface RefusalOptions {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly close?: boolean
}

export function refusal(error: SpacedriveError, options?: RefusalOptions): Page {
  return refusalOf(toWire(error), options)
}

/** Of one that crossed a thread as data: to make an error of it would cost more than all else, and most that are refused at once are that. */
export function refusalOf(wire: WireError, options: RefusalOptions = {}): Page {
  return {
    status: options.status ?? statusOf(wire.code),
    type: 'application/json',
    body: JSON.stringify(wire),
    headers: options.headers ?? {},
    close: options.close ?? false,
  }
}

function refuse(code: ErrorCode, message: string, options?: RefusalOptions): Page {
  return refusal(new SpacedriveError(code, message), options)
}

/** Whoever looks whether a daemon is there may do so without its answer. */
const READS = 'GET, HEAD'

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

function notAllowed(allow: string): Page {
  return refuse('BAD_REQUEST', `this path answers ${allow} only`, { status: 405, headers: { Allow: allow } })
}

const OVERSIZE_WORDS = `a request may hold ${LIMITS.bodyBytesMax} bytes`
export const OVERSIZE = refuse('REQUEST_TOO_LARGE', OVERSIZE_WORDS, { close: true })
/** When all of it has come and is forgotten: whose connection is closed while it sends finds that out instead of why. */
export const OVERSIZE_IGNORED = refuse('REQUEST_TOO_LARGE', OVERSIZE_WORDS)
export const NOT_UTF8 = refuse('BAD_REQUEST', 'the request is not UTF-8')
export const BROKEN = refuse('INTERNAL', 'the request could not be answered', { close: true })
const HOSTLESS = refuse('BAD_REQUEST', 'a request needs exactly one Host header')
const STRANGE_HOST = refuse('FORBIDDEN_ORIGIN', 'the Host header does not name this daemon')
const FOREIGN = refuse('FORBIDDEN_ORIGIN', 'pages of other sites may not ask')
const TOKENLESS = refuse('UNAUTHORIZED', 'the token is missing or wrong', {
  headers: { 'WWW-Authenticate': 'Bearer realm="spacedrive", Basic realm="spacedrive"' },
})
const PARTIAL = refuse('FORBIDDEN', 'the figures are of all libraries, and the token is for some only')
const UNTYPED = refuse('BAD_REQUEST', 'the body must be sent as application/json', { status: 415 })
const ENCODED = refuse('BAD_REQUEST', 'the body must be sent without a Content-Encoding', { status: 415 })
const NOT_UPGRADED = refuse('BAD_REQUEST', 'this path speaks WebSocket only', {
  status: 426,
  headers: { Upgrade: 'websocket' },
})

const ABOUT: Page = {
  status: 200,
  type: 'text/plain; charset=utf-8',
  body: [
    'spacedrive, a file-library daemon',
    '',
    'GET /health   whether it is serving; needs no token',
    'POST /rpc     JSON-RPC 2.0, single or batch',
    'GET /ws       the same over WebSocket, and events',
    'GET /events   the events alone, as Server-Sent Events',
    'GET /metrics  the figures of this daemon, for Prometheus',
    'GET /libraries/LIBRARY/files/ID  the bytes of a file',
    '',
    'Send `Authorization: Bearer TOKEN` with the token in DATA_DIR/token.',
    '',
  ].join('\n'),
  headers: {},
  close: false,
}
