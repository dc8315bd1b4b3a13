// The front on uWebSockets.js. Its objects stay here and in uws-exchange.ts; what throws into it aborts the process.
import { statSync, unlinkSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  WebSocket,
  us_listen_socket,
  us_socket_context_t,
} from 'uWebSockets.js'
import { LIMITS } from '../base/limits.js'
import { packed } from '../protocol/codec.js'
import type { Level } from '../protocol/messages.js'
import { bareHost, clearSocketPath, httpUrl, listenAgain, protectSocket } from './address.js'
import { chosenProtocol, splitProtocols, SUBPROTOCOL_PACKED } from './auth.js'
import { isPage, type Desk, type Page } from './desk.js'
import { loadNative } from '../descriptors/native.js'
import { Clients } from './clients.js'
import { doorOf, listenerSince, listeningNow } from './door.js'
import { fileRequest } from './download.js'
import { textOf } from './exchange.js'
import { Feed, type Wire } from './feed.js'
import type { Connections, Front, FrontState, Peer } from './front.js'
import { Gate, refusalBody, retryAfter, Seat, type Reason } from './gate.js'
import { idleFeed, LOCAL_PEER, type Idle } from './idle.js'
import { Room } from './room.js'
import { Head } from './head.js'
import { statusLine } from './status-line.js'
import { streamRequest, type StreamRequest } from './stream.js'
import type { Caller } from './tokens.js'
import { isClosed, noteClosed, peerOf, UwsExchange } from './uws-exchange.js'

export type Uws = typeof import('uWebSockets.js')

/** What uWebSockets calls LIBUS_LISTEN_EXCLUSIVE_PORT: without it a second daemon shares our port (L19). */
const EXCLUSIVE_PORT = 1
/** SO_REUSEPORT: the kernel divides those who come among all sockets of this user that listen there. */
const SHARED_PORT = 0

export async function openUwsFront(uws: Uws, desk: Desk): Promise<Front> {
  const front = new UwsFront(uws, desk)
  await front.listen()
  return front
}

interface Socket {
  feed: Feed | null
  peer: string
  /** Where its slot is counted: uWebSockets does not tell `filter` when an upgraded socket closes (L26). */
  readonly seat: Seat
  readonly caller: Caller
  readonly protocol: string
}

class UwsFront implements Front {
  readonly kind = 'uws'
  http: string | null = null
  socket: string | null = null
  readonly #uws: Uws
  readonly #desk: Desk
  readonly #gate: Gate
  readonly #room: Room
  /** Null where single HTTP connections cannot be told apart: only WebSockets give way then. */
  readonly #clients: Clients | null
  readonly #apps: TemplatedApp[] = []
  readonly #listeners: us_listen_socket[] = []
  #socketInode: number | null = null
  readonly #feeds = new Map<Feed, Seat>()
  readonly #tcp: Seat
  readonly #unix: Seat
  #tcpCount = 0

  constructor(uws: Uws, desk: Desk) {
    this.#uws = uws
    this.#desk = desk
    const native = loadNative()
    this.#clients = native && process.platform === 'linux' ? new Clients(native, desk.working, desk.strangers) : null
    desk.idleUnknown = desk.strangersUnknown = this.#clients === null
    this.#room = new Room({
      idle: (idleMs) => this.#idle(idleMs),
      strangers: () => desk.strangers.idle(),
      count: () => this.#clients?.count([...this.#feeds.keys()].map(({ peer }) => peer)) ?? new Map(),
      newcomerIdleMs: desk.setup.newcomerIdleMs ?? LIMITS.newcomerIdleMs,
      tellOthers: desk.setup.wanted,
    })
    desk.shares = this.#room.shares
    this.#gate = new Gate(desk.setup.slots, desk, this.#room)
    this.#tcp = new Seat(this.#gate, false)
    // uWebSockets names no connection, so all of the socket share one seat. A slot of either class is as good as another:
    // whoever leaves first gives back the control slot.
    this.#unix = new Seat(this.#gate, true)
  }

  get state(): FrontState {
    return this.#desk.state
  }

  set state(state: FrontState) {
    this.#desk.state = state
  }

  async listen(): Promise<void> {
    const { http, socketPath } = this.#desk.setup
    try {
      if (http) await this.#listenTcp(bareHost(http.host), http.port)
      if (socketPath !== null) await this.#listenUnix(socketPath)
    } catch (error) {
      this.#shut()
      throw error
    }
  }

  get level(): Level {
    return this.#desk.level
  }

  set level(level: Level) {
    this.#desk.level = level
  }

  connections(): Connections {
    const { current, control } = this.#gate
    return this.#desk.connections(this.#gate, Math.max(0, current + control - this.#desk.working.count))
  }

  giveWay(asked: { count: number; idleMs: number }): number {
    return this.#room.giveWay(asked)
  }

  makeRoom(peer: string): void {
    this.#room.wantedElsewhere(peer)
  }

  renewAccess(token: string, hostsAllowed: readonly string[]): void {
    this.#desk.access.renew(token, hostsAllowed)
  }

  #idle(idleMs: number): Idle[] {
    const slackMs = LIMITS.workingStepMs + LIMITS.acceptLookMs + this.#desk.accept.latestMs
    const idle = this.#clients?.idle(idleMs, slackMs) ?? []
    for (const feed of this.#feeds.keys()) {
      const one = idleFeed(feed, feed.peer, idleMs)
      if (one) idle.push(one)
    }
    return idle
  }

  peers(): Peer[] {
    const feeds = [...this.#feeds].filter(([, seat]) => seat === this.#tcp)
    const peers: Peer[] = feeds.map(([feed]) => ({ remotePort: null, since: feed.since, kind: 'ws' }))
    while (peers.length < this.#tcpCount) peers.push({ remotePort: null, since: null, kind: 'http' })
    return peers
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#desk.state = 'draining'
    // Only while it is ours: after the first drain another daemon may listen at the same path.
    if (this.socket !== null && this.#listeners.length > 0) removeSocket(this.socket, this.#socketInode)
    this.#stopListening()
    await this.#desk.deadlines.idle(deadlineMs)
    // What was answered just now has not left yet, nor has what uWebSockets gathers while it reads.
    await nextTurn()
    this.#desk.together.flush()
    this.#desk.streams.end()
    const feeds = [...this.#feeds.keys()]
    for (const feed of feeds) feed.close(1001, 'the daemon is stopping')
    // When a peer has closed its side uWebSockets does not tell.
    if (feeds.length > 0) await sleep(LIMITS.feedLeaveMs)
    this.#shut()
  }

  #shut(): void {
    this.#stopListening()
    for (const app of this.#apps.splice(0)) app.close()
    this.#desk.deadlines.stop()
    this.#desk.pace.stop()
  }

  #stopListening(): void {
    this.#desk.accept.stop()
    this.#desk.strangers.stop()
    this.#room.stop()
    for (const listener of this.#listeners.splice(0)) this.#uws.us_listen_socket_close(listener)
  }

  async #listenTcp(host: string, port: number): Promise<void> {
    const app = this.#app(this.#tcp)
    const before = listeningNow()
    const isShared = this.#desk.setup.fronts !== undefined
    const options = isShared ? SHARED_PORT : EXCLUSIVE_PORT
    // The others that share the port listen there: why it cannot be had is asked of another.
    const asked = { host, port: isShared ? 0 : port }
    const listener = await listenAgain(() => listenTcp(app, host, port, options), asked, `${host}:${port}`)
    const truePort = this.#uws.us_socket_local_port(listener)
    this.#desk.access.listening(host, truePort)
    this.http = httpUrl(host, truePort)
    if (this.#clients) this.#clients.port = truePort
    this.#watchDoor(this.#tcp, this.http, listener, before)
  }

  async #listenUnix(path: string): Promise<void> {
    clearSocketPath(path)
    const app = this.#app(this.#unix)
    const before = listeningNow()
    const listener = await listenAgain(() => listenUnix(app, path), { path }, path)
    protectSocket(path)
    this.socket = path
    this.#socketInode = statSync(path).ino
    this.#watchDoor(this.#unix, path, listener, before)
  }

  #watchDoor(seat: Seat, name: string, listener: us_listen_socket, before: ReadonlySet<number>): void {
    this.#listeners.push(listener)
    seat.door = doorOf(name, listenerSince(before), false)
    this.#desk.accept.add(seat.door)
  }

  #app(seat: Seat): TemplatedApp {
    const app = this.#uws.App()
    this.#apps.push(app)
    app.filter(this.#filter(seat))
    app.post('/rpc', (res, req) => this.#rpc(res, req, seat))
    app.ws<Socket>('/ws', {
      maxPayloadLength: LIMITS.bodyBytesMax,
      idleTimeout: LIMITS.feedIdleMs / 1_000,
      // Never reached: the feed closes itself before. A message dropped on the way would be an answer that never comes.
      maxBackpressure: 4 * LIMITS.feedUnreadBytesMax,
      upgrade: (res, req, context) => this.#upgrade(res, req, context, seat),
      open: (ws) => this.#upgraded(ws),
      message: (ws, message, isBinary) => this.#message(ws, message, isBinary),
      drain: (ws) => ws.getUserData().feed?.drained(),
      close: (ws) => this.#closed(ws),
    })
    app.any('/*', (res, req) => this.#page(res, req, seat))
    return app
  }

  /** Called inside the accept loop: a refused socket is answered and closed before the next is accepted (L16). */
  #filter(seat: Seat): (res: HttpResponse, change: Number) => void {
    let refusing = false
    return (res, change) => {
      if (Number(change) > 0) {
        const reason = this.#enter(seat, res)
        if (reason === null) return
        refusing = true
        refuseConnection(res, reason, this.#desk)
        refusing = false
      } else if (!refusing) {
        noteClosed()
        this.#leave(seat)
        this.#clients?.left()
      }
    }
  }

  #enter(seat: Seat, res: HttpResponse): Reason | null {
    seat.door?.meet()
    const reason = this.#gate.enter(seat, () => (seat.local ? this.#localPeer() : peerOf(res)))
    if (reason !== null) return reason
    if (seat === this.#tcp) this.#tcpCount += 1
    this.#clients?.entered(seat.local ? null : peerOf(res))
    if (seat.door) this.#desk.accept.admitted(seat.door)
    return null
  }

  #localPeer(): string {
    return this.#clients?.localPeer() ?? LOCAL_PEER
  }

  #leave(seat: Seat): void {
    this.#gate.leave(seat)
    if (seat === this.#tcp) this.#tcpCount -= 1
  }

  #rpc(res: HttpResponse, req: HttpRequest, seat: Seat): void {
    const exchange = new UwsExchange(this.#desk, seat, res, this.#clients)
    try {
      readHead(req)
      if (isClosed(res, seat) || head.isAmbiguous) return cut(res)
      const admitted = this.#desk.admitRpc(head, seat, exchange)
      if (isPage(admitted)) exchange.refuse(admitted)
      else exchange.collect(admitted)
    } catch (error) {
      exchange.fail(error)
    }
  }

  #page(res: HttpResponse, req: HttpRequest, seat: Seat): void {
    const exchange = new UwsExchange(this.#desk, seat, res, this.#clients)
    try {
      const method = req.getMethod().toUpperCase()
      const path = req.getUrl()
      const head = readHead(req)
      if (isClosed(res, seat) || head.isAmbiguous) return cut(res)
      const streamed = streamRequest(path, req.getQuery() ?? '', head)
      if (streamed)
        return this.#stream(exchange, streamed, this.#desk.admitEvents(method, head, seat, exchange), method)
      const wanted = this.#desk.setup.files && fileRequest(method, path, req.getQuery() ?? '', head)
      const admitted = wanted
        ? this.#desk.admitFile(method, head, seat, exchange)
        : this.#desk.answer(method, path, head, seat, exchange)
      if (wanted && !isPage(admitted)) return exchange.send(wanted, admitted)
      if (method === 'HEAD') exchange.headOnly()
      exchange.tell(admitted as Page)
    } catch (error) {
      exchange.fail(error)
    }
  }

  #stream(exchange: UwsExchange, request: StreamRequest, admitted: Caller | Page, method: string): void {
    if (isPage(admitted)) {
      if (method === 'HEAD') exchange.headOnly()
      return exchange.refuse(admitted)
    }
    if (this.#clients) exchange.name(this.#clients)
    exchange.stream(request, admitted)
  }

  #upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t, seat: Seat): void {
    const exchange = new UwsExchange(this.#desk, seat, res, this.#clients)
    try {
      const { protocols, key, extensions, isAmbiguous } = readHead(req)
      if (isClosed(res, seat) || isAmbiguous) return cut(res)
      const caller = this.#desk.admitFeed(head, seat, exchange)
      // A client that is refused its WebSocket has no other use for the connection.
      if (isPage(caller)) return exchange.refuse({ ...caller, close: true })
      const protocol = chosenProtocol(splitProtocols(protocols))
      const socket: Socket = { feed: null, seat, peer: seat.local ? LOCAL_PEER : peerOf(res), caller, protocol }
      if (this.#clients) {
        exchange.name(this.#clients)
        if (seat.local) socket.peer = this.#localPeer()
      }
      res.upgrade(socket, key ?? '', protocol, extensions ?? '', context)
    } catch (error) {
      exchange.fail(error)
    }
  }

  #upgraded(ws: WebSocket<Socket>): void {
    const socket = ws.getUserData()
    socket.feed = new Feed(this.#desk, socket.seat, new UwsWire(ws, socket.protocol), socket.peer, socket.caller)
    this.#feeds.set(socket.feed, socket.seat)
  }

  #message(ws: WebSocket<Socket>, message: ArrayBuffer, isBinary: boolean): void {
    const { feed } = ws.getUserData()
    try {
      const bytes = new Uint8Array(message)
      feed?.message(isBinary ? bytes : textOf(bytes))
    } catch (error) {
      this.#desk.setup.log('error', 'a message could not be answered', { error: String(error) })
      feed?.close(1011, 'the message could not be answered')
    }
  }

  #closed(ws: WebSocket<Socket>): void {
    const { feed, seat } = ws.getUserData()
    this.#leave(seat)
    if (!feed) return
    this.#feeds.delete(feed)
    try {
      feed.closed()
    } catch (error) {
      this.#desk.setup.log('error', 'a subscription could not be ended', { error: String(error) })
    }
  }
}

interface OptionalListen {
  listen(host: string, port: number, options: number, cb: (listener: us_listen_socket | false) => void): void
}

/** Both call back before they return. */
function listenTcp(app: TemplatedApp, host: string, port: number, options: number): us_listen_socket | false {
  let listener: us_listen_socket | false = false
  // The overload of host, port and options is missing from the types, not from the addon.
  const optional = app as unknown as OptionalListen
  optional.listen(host, port, options, (each) => (listener = each))
  return listener
}

function listenUnix(app: TemplatedApp, path: string): us_listen_socket | false {
  let listener: us_listen_socket | false = false
  app.listen_unix((each) => {
    listener = each
  }, path)
  return listener
}

/** Corked, one write: uncorked, the same answer costs six times the CPU under a flood. The socket is closed on return. */
function refuseConnection(res: HttpResponse, reason: Reason, desk: Desk): void {
  res.cork(() => {
    res.writeStatus(statusLine(503)).writeHeader('Retry-After', retryAfter(desk))
    res.writeHeader('Content-Type', 'application/json').end(refusalBody(reason), true)
  })
}

/** Only while it is this front's own: where the directory was moved away, another daemon may listen at that path. */
function removeSocket(path: string, inode: number | null): void {
  try {
    if (statSync(path).ino === inode) unlinkSync(path)
  } catch {
    // Gone already, which is all that was wanted.
  }
}

/** One for all requests: a head is read and judged before the next can arrive. Six getHeader calls cost more than the pass. */
const head = new Head()

function takeHeader(name: string, value: string): void {
  head.take(name, value)
}

function readHead(req: HttpRequest): Head {
  head.clear()
  req.forEach(takeHeader)
  return head
}

/**
 * With two lengths of a body, an empty one, or a transfer encoding that uWebSockets only takes for chunks, what follows may be the end of
 * this request to whoever stands between and the beginning of the next to us. An answer would let the rest of what came be parsed;
 * node:http refuses it itself.
 */
function cut(res: HttpResponse): void {
  res.close()
}

class UwsWire implements Wire {
  /** uWebSockets corks a socket while it hands out what came from it. */
  readonly gathers = true
  readonly copies = true
  readonly packed: boolean
  readonly #ws: WebSocket<Socket>

  constructor(ws: WebSocket<Socket>, protocol: string) {
    this.#ws = ws
    this.packed = protocol === SUBPROTOCOL_PACKED
  }

  send(message: string | Uint8Array): void {
    if (this.packed) this.#ws.send(packed(message), true)
    else this.#ws.send(message, false)
  }

  sendAll(texts: readonly (string | Uint8Array)[]): void {
    this.#ws.cork(() => texts.forEach((text) => this.send(text)))
  }

  buffered(): number {
    return this.#ws.getBufferedAmount()
  }

  /**
   * The slot comes back with this call, the descriptor when the peer closes its side: at once as a rule, within 16 s at
   * worst (uWebSockets' time for a closing handshake). Only a client with the token can make us wait.
   */
  close(code: number, reason: string): void {
    this.#ws.end(code, reason)
  }

  cut(): void {
    this.#ws.close()
  }
}
