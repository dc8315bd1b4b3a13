// The front on node:http and ws: the same protocol where no binary of uWebSockets.js loads. Slower, and it knows each connection.
import {
  createServer,
  IncomingMessage,
  type Server,
  type ServerOptions as HttpOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import { LIMITS } from '../base/limits.js'
import { packed } from '../protocol/codec.js'
import type { Level } from '../protocol/messages.js'
import { bareHost, clearSocketPath, httpUrl, listening, listeningShared, protectSocket } from './address.js'
import { chosenProtocol, SUBPROTOCOL_PACKED } from './auth.js'
import { headersOf, isPage, OVERSIZE, OVERSIZE_IGNORED, SECURITY_HEADERS, type Desk, type Page } from './desk.js'
import { loadNative } from '../descriptors/native.js'
import { doorOf } from './door.js'
import { Download, fileRequest, type FileRequest, type Sink } from './download.js'
import { Exchange, type RpcStatus } from './exchange.js'
import { Feed, type Wire } from './feed.js'
import type { Connections, Front, FrontState, HttpAddress, PairSource, Peer } from './front.js'
import { Gate, refusalBody, retryAfter, Seat, type Reason } from './gate.js'
import { Gathered } from './gathered.js'
import { idleFeed, LOCAL_PEER, type Idle } from './idle.js'
import { Room } from './room.js'
import { Head } from './head.js'
import { statusLine } from './status-line.js'
import { Stranger } from './strangers.js'
import { Stream, STREAM_HEADERS, streamRequest, type StreamRequest, type StreamSink } from './stream.js'
import type { Caller } from './tokens.js'
import type { Reader } from './unread.js'

export async function openNodeFront(desk: Desk): Promise<Front> {
  const front = new NodeFront(desk)
  await front.listen()
  return front
}

class Visitor {
  readonly seat: Seat
  readonly since = performance.now()
  readonly peer: string
  /** What its requests come from: of TLS, once hands were shaken, another than came in. */
  socket: Socket
  feed: Feed | null = null
  /** The answer to its last request. */
  latest: ServerResponse | null = null
  /** Requests that are not answered yet. */
  readonly unanswered = new Set<NodeExchange>()
  /** What came behind these, and is no request. */
  failure: NodeJS.ErrnoException | null = null
  usedAt = performance.now()
  /** Bytes of its socket up to the last whole request. */
  read = 0
  stranger: VisitingStranger | null = null

  constructor(seat: Seat, peer: string, socket: Socket) {
    this.seat = seat
    this.peer = peer
    this.socket = socket
  }

  get inFlight(): number {
    return this.unanswered.size
  }

  asked(): void {
    this.stranger?.strangers?.asked(this.stranger)
  }

  known(): void {
    this.stranger?.strangers?.leave(this.stranger)
    this.stranger = null
  }
}

class VisitingStranger extends Stranger {
  readonly #visitor: Visitor

  constructor(visitor: Visitor) {
    super(visitor.peer)
    this.#visitor = visitor
  }

  get busy(): boolean {
    return this.#visitor.inFlight > 0
  }

  hangUp(): void {
    this.#visitor.socket.destroy()
  }
}

class NodeFront implements Front {
  readonly kind = 'node'
  http: string | null = null
  socket: string | null = null
  readonly #desk: Desk
  readonly #gate: Gate
  readonly #room: Room
  readonly #servers: Server[] = []
  /** By the socket that came in. */
  readonly #visitors = new Map<Socket, Visitor>()
  readonly #feeds: WebSocketServer
  #pulse: NodeJS.Timeout | null = null
  #whenEmpty: (() => void) | null = null

  constructor(desk: Desk) {
    this.#desk = desk
    this.#room = new Room({
      idle: (idleMs) => this.#idle(idleMs),
      strangers: () => desk.strangers.idle(),
      count: () => this.#count(),
      newcomerIdleMs: desk.setup.newcomerIdleMs ?? LIMITS.newcomerIdleMs,
      tellOthers: desk.setup.wanted,
    })
    desk.shares = this.#room.shares
    this.#gate = new Gate(desk.setup.slots, desk, this.#room)
    // closeTimeout is newer than the types of ws.
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: true,
      maxPayload: LIMITS.bodyBytesMax,
      perMessageDeflate: false,
      closeTimeout: LIMITS.feedCloseMs,
      handleProtocols: (offered) => chosenProtocol(offered) || false,
    }
    this.#feeds = new WebSocketServer(options)
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
      if (http) await this.#listenTcp(http)
      if (socketPath !== null) await this.#listenUnix(socketPath)
    } catch (error) {
      this.#stopListening()
      throw error
    }
    this.#pulse = setInterval(() => this.#ping(), LIMITS.feedIdleMs / 2).unref()
  }

  get level(): Level {
    return this.#desk.level
  }

  set level(level: Level) {
    this.#desk.level = level
  }

  connections(): Connections {
    const idle = [...this.#visitors.values()].filter(({ inFlight }) => inFlight === 0).length
    return this.#desk.connections(this.#gate, idle)
  }

  giveWay({ count, idleMs }: { count: number; idleMs: number }): number {
    const leaving = [...this.#visitors.values()].filter(({ feed }) => feed?.isOpen === false).length
    return this.#room.giveWay({ count: count - leaving, idleMs })
  }

  makeRoom(peer: string): void {
    this.#room.wantedElsewhere(peer)
  }

  renewAccess(token: string, hostsAllowed: readonly string[]): void {
    this.#desk.access.renew(token, hostsAllowed)
  }

  #idle(idleMs: number): Idle[] {
    const now = performance.now()
    return [...this.#visitors.values()].flatMap((visitor) => {
      const { seat, peer, feed, usedAt } = visitor
      // On a control slot it is in nobody's way.
      if (seat.control > 0) return []
      const idle = feed
        ? idleFeed(feed, peer, idleMs)
        : asks(visitor)
          ? null
          : { idleMs: now - usedAt, peer, close: () => hangUp(visitor, usedAt) }
      return idle && idle.idleMs >= idleMs ? [idle] : []
    })
  }

  #count(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { peer, seat, feed } of this.#visitors.values()) {
      // One that was closed keeps its place until its peer closes as well: no more have to go for that.
      if (seat.control === 0 && feed?.isOpen !== false) counts.set(peer, (counts.get(peer) ?? 0) + 1)
    }
    return counts
  }

  peers(): Peer[] {
    const tcp = [...this.#visitors].filter(([, visitor]) => !visitor.seat.local)
    return tcp.map(([socket, { since, feed }]) => {
      return { remotePort: socket.remotePort ?? null, since, kind: feed ? 'ws' : 'http' }
    })
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#desk.state = 'draining'
    this.#stopListening()
    await this.#desk.deadlines.idle(deadlineMs)
    this.#desk.deadlines.stop()
    this.#desk.pace.stop()
    this.#desk.streams.end()
    for (const { feed, socket } of this.#visitors.values()) {
      if (feed) feed.close(1001, 'the daemon is stopping')
      else socket.destroy()
    }
    if (this.#visitors.size === 0) return
    const empty = new Promise<void>((resolve) => (this.#whenEmpty = resolve))
    const late = setTimeout(() => {
      for (const { socket } of this.#visitors.values()) socket.destroy()
    }, LIMITS.feedLeaveMs)
    await empty
    clearTimeout(late)
  }

  #stopListening(): void {
    if (this.#pulse) clearInterval(this.#pulse)
    this.#desk.accept.stop()
    this.#desk.strangers.stop()
    this.#desk.setup.certificate?.stop()
    this.#room.stop()
    for (const server of this.#servers.splice(0)) {
      server.close()
      server.closeIdleConnections()
    }
  }

  async #listenTcp({ host: given, port, address }: HttpAddress): Promise<void> {
    const host = bareHost(given)
    const secure = Boolean(this.#desk.setup.certificate)
    const { server, seat } = this.#server(false)
    if (this.#desk.setup.fronts === undefined)
      await listening(server, { host, port, exclusive: true }, `${host}:${port}`)
    else await listeningShared(server, address ?? host, port)
    const truePort = (server.address() as AddressInfo).port
    this.#desk.access.listening(host, truePort, secure)
    this.http = httpUrl(host, truePort, secure)
    this.#watchDoor(server, seat, this.http)
  }

  async #listenUnix(path: string): Promise<void> {
    clearSocketPath(path)
    const { server, seat } = this.#server(true)
    await listening(server, { path }, path)
    protectSocket(path)
    this.socket = path
    this.#watchDoor(server, seat, path)
  }

  #watchDoor(server: Server, seat: Seat, name: string): void {
    // Whatever accept meets: without a listener it would end the process.
    server.on('error', (error) => this.#desk.setup.log('debug', `${name}: ${error.message}`))
    const { fd } = (server as unknown as { _handle: { fd?: number } })._handle
    seat.door = doorOf(name, fd === undefined || fd < 0 ? null : fd, true)
    this.#desk.accept.add(seat.door)
  }

  #server(local: boolean): { server: Server; seat: Seat } {
    const { certificate } = this.#desk.setup
    const server = certificate && !local ? this.#tlsServer(certificate) : createServer(HTTP_OPTIONS)
    server.on('timeout', (socket: Socket) => this.#idled(socket))
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => this.#failed(error, socket))
    server.maxHeadersCount = LIMITS.httpHeadersMax
    server.on('request', (req, res) => this.#request(req, res))
    server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket as Socket, head))
    const seat = new Seat(this.#gate, local)
    this.#guard(server, seat)
    this.#servers.push(server)
    return { server, seat }
  }

  /** Who has not shaken hands yet is a client like any other: counted, and idle until something of it has come. */
  #tlsServer(certificate: PairSource): TlsServer {
    const { handshakeMs = LIMITS.handshakeMs, log } = this.#desk.setup
    const options = { ...HTTP_OPTIONS, ...TLS_OPTIONS, handshakeTimeout: handshakeMs }
    const server = createTlsServer({ ...options, ...certificate.pair })
    certificate.follow((pair) => server.setSecureContext({ ...TLS_OPTIONS, ...pair }))
    server.on('secureConnection', (socket) => {
      const visitor = this.#visitorOf(socket)
      if (!visitor) return void socket.destroy()
      visitor.socket = socket
      visitor.read = socket.bytesRead
    })
    server.on('tlsClientError', (error, socket) => {
      log('debug', 'no TLS was agreed upon', { error: error.message })
      socket.destroy()
    })
    return server
  }

  #visitorOf(socket: Socket): Visitor | undefined {
    // What a TLSSocket was made of, which it does not tell otherwise.
    return this.#visitors.get((socket as Socket & { _parent?: Socket })._parent ?? socket)
  }

  /** Puts the gate before node:http's own listener, which would otherwise read from a refused socket. */
  #guard(server: Server, listener: Seat): void {
    const serve = server.listeners('connection') as ((socket: Socket) => void)[]
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => {
      const seat = new Seat(this.#gate, listener.local)
      listener.door?.meet()
      const peer = listener.local ? localPeer(socket) : peerOf(socket)
      const reason = this.#gate.enter(seat, () => peer)
      if (reason !== null) refuseConnection(socket, reason, this.#desk, server)
      if (reason === 'starved' && listener.door) this.#desk.accept.rest(listener.door)
      if (reason !== null) return
      if (listener.door) this.#desk.accept.admitted(listener.door)
      const visitor = new Visitor(seat, peer, socket)
      if (!seat.local) this.#desk.strangers.enter((visitor.stranger = new VisitingStranger(visitor)))
      this.#visitors.set(socket, visitor)
      socket.once('close', () => this.#left(socket, visitor))
      for (const each of serve) each.call(server, socket)
    })
  }

  /** Idle for its time, by a clock that ran on while the loop stood still. */
  #idled(socket: Socket): void {
    if (this.#desk.wentOn) socket.setTimeout(LIMITS.httpIdleMs)
    else socket.destroy()
  }

  /** What node:http does where nobody listens; but who had no chance to be in time is given the time once more. */
  #failed(error: NodeJS.ErrnoException, socket: Socket): void {
    const visitor = this.#visitorOf(socket)
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && visitor && this.#desk.wentOn) return pardon(socket, visitor)
    // It would be taken for the answer to what came before, which may have been done.
    if (error.code?.startsWith('HPE_') && visitor && visitor.inFlight > 0 && socket.writable) {
      visitor.failure ??= error
      return void socket.pause()
    }
    if (socket.writable && !(visitor?.inFlight && visitor.latest?.headersSent)) {
      socket.write(`HTTP/1.1 ${statusLine(STATUS_BY_ERROR[error.code ?? ''] ?? 400)}\r\nConnection: close\r\n\r\n`)
    }
    socket.destroy(error)
  }

  #left(socket: Socket, visitor: Visitor): void {
    visitor.known()
    // Those whose answers stood behind another node:http does not close.
    for (const exchange of visitor.unanswered) exchange.closed()
    this.#visitors.delete(socket)
    this.#gate.leave(visitor.seat)
    if (this.#visitors.size === 0) this.#whenEmpty?.()
  }

  #request(req: IncomingMessage, res: ServerResponse): void {
    const visitor = this.#visitorOf(req.socket)
    if (!visitor) return void req.socket.destroy()
    visitor.latest = res
    const exchange = new NodeExchange(this.#desk, visitor, req, res)
    visitor.unanswered.add(exchange)
    res.once('close', () => {
      exchange.closed()
      answered(visitor, exchange)
      if (visitor.failure && visitor.inFlight === 0) this.#failed(visitor.failure, visitor.socket)
    })
    try {
      const head = readHead(req)
      const wanted = this.#desk.setup.files && fileRequest(req.method ?? '', pathOf(req), queryOf(req), head)
      const streamed = streamRequest(pathOf(req), queryOf(req), head)
      const admitted = wanted
        ? this.#desk.admitFile(req.method ?? '', head, visitor.seat, visitor)
        : streamed
          ? this.#desk.admitEvents(req.method ?? '', head, visitor.seat, visitor)
          : this.#admit(req, head, visitor)
      if (isPage(admitted)) exchange.tell(admitted)
      else if (streamed) exchange.stream(streamed, admitted)
      else if (wanted) exchange.send(wanted, admitted)
      else exchange.collect(admitted)
    } catch (error) {
      exchange.fail(error)
    }
  }

  #admit(req: IncomingMessage, head: Head, visitor: Visitor): Caller | Page {
    const method = req.method ?? ''
    const path = pathOf(req)
    return method === 'POST' && path === '/rpc'
      ? this.#desk.admitRpc(head, visitor.seat, visitor)
      : this.#desk.answer(method, path, head, visitor.seat, visitor)
  }

  #upgrade(req: IncomingMessage, socket: Socket, rest: Buffer): void {
    const visitor = this.#visitorOf(socket)
    if (!visitor) return void socket.destroy()
    socket.on('error', () => socket.destroy())
    const head = readHead(req)
    const upgrades = req.method === 'GET' && pathOf(req) === '/ws' && head.upgrade?.toLowerCase() === 'websocket'
    const admitted = upgrades
      ? this.#desk.admitFeed(head, visitor.seat, visitor)
      : this.#desk.answer(req.method ?? '', pathOf(req), head, visitor.seat, visitor)
    if (isPage(admitted)) return answerRaw(socket, admitted)
    this.#feeds.handleUpgrade(req, socket, rest, (ws) => this.#opened(ws, socket, visitor, admitted))
  }

  #opened(ws: WebSocket, socket: Socket, visitor: Visitor, caller: Caller): void {
    const feed = new Feed(this.#desk, visitor.seat, new NodeWire(ws, socket), visitor.peer, caller)
    visitor.feed = feed
    ws.on('message', (message, isBinary) => {
      feed.message(isBinary ? (message as Buffer) : (message as Buffer).toString('utf8'))
    })
    socket.on('drain', () => feed.drained())
    ws.on('close', () => feed.closed())
    // A message that breaks the protocol or its bounds: ws closes the socket with the matching code itself.
    ws.on('error', (error) => this.#desk.setup.log('debug', 'a WebSocket failed', { error: error.message }))
    heard.add(ws)
    ws.on('pong', () => heard.add(ws))
    ws.on('message', () => heard.add(ws))
  }

  /** Twice in the idle time: who was not heard since the last ping is gone. */
  #ping(): void {
    const { wentOn } = this.#desk
    for (const ws of this.#feeds.clients) {
      if (heard.delete(ws) || wentOn) ws.ping()
      else ws.terminate()
    }
  }
}

/**
 * One that would rather speak another protocol, which is handed over where that is WebSocket. HTTP/2 is offered so by Java's client, and
 * by curl: it is answered as if it had not been, while node:http would hand over every request that names any.
 */
class Message extends IncomingMessage {
  declare private named: boolean

  get upgrade(): boolean {
    return this.named && (this.method === 'CONNECT' || this.headers.upgrade?.toLowerCase() === 'websocket')
  }

  set upgrade(named: boolean) {
    this.named = named
  }
}

const HTTP_OPTIONS: HttpOptions = {
  IncomingMessage: Message,
  // Ours to answer, as the other implementation has it too: before routing, and with a code.
  requireHostHeader: false,
  headersTimeout: LIMITS.httpHeadersMs,
  requestTimeout: LIMITS.httpRequestMs,
  keepAliveTimeout: LIMITS.httpIdleMs,
  connectionsCheckingInterval: 1_000,
}

const TLS_OPTIONS = {
  minVersion: 'TLSv1.2',
  ALPNProtocols: ['http/1.1'],
} as const

/** WebSockets that sent something, a pong included, since the last ping. */
const heard = new WeakSet<WebSocket>()

const STATUS_BY_ERROR: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
}

/** node:http does not look at this request again, so that its end is waited for here. */
function pardon(socket: Socket, visitor: Visitor): void {
  const { latest } = visitor
  const timer = setTimeout(() => {
    const begun = visitor.inFlight === 0 && (socket.bytesRead > visitor.read || latest === null)
    if (visitor.latest === latest && (begun || latest?.req.complete === false)) socket.destroy()
  }, LIMITS.httpHeadersMs)
  socket.once('close', () => clearTimeout(timer))
}

function answered(visitor: Visitor, exchange: NodeExchange): void {
  visitor.unanswered.delete(exchange)
  visitor.usedAt = performance.now()
  visitor.read = visitor.socket.bytesRead
}

/** A request is in flight, or has come in part. */
function asks({ inFlight, read, socket }: Visitor): boolean {
  return inFlight > 0 || socket.bytesRead > read
}

/** Unless it asked again since. */
function hangUp(visitor: Visitor, usedAt: number): void {
  if (!asks(visitor) && visitor.usedAt === usedAt) visitor.socket.destroy()
}

/** An IPv4 client of a socket that listens on both is named as IPv4. */
function peerOf({ remoteAddress = '' }: Socket): string {
  return remoteAddress.replace(/^::ffff:/i, '')
}

/** The process at the other end of a unix socket; without the addon all are one. */
function localPeer(socket: Socket): string {
  const { fd = -1 } = (socket as unknown as { _handle: { fd?: number } | null })._handle ?? {}
  return loadNative()?.peers(Int32Array.of(fd))[0] || LOCAL_PEER
}

/**
 * The answer fits the socket's empty buffer, so it is with the kernel when the descriptor is closed, on the spot. Over TLS there is
 * nothing to say it in.
 */
function refuseConnection(socket: Socket, reason: Reason, desk: Desk, server: Server): void {
  socket.on('error', () => undefined)
  if ('setSecureContext' in server) return void socket.destroy()
  const headers = { 'Retry-After': retryAfter(desk), 'Content-Type': 'application/json' }
  socket.write(rawAnswer(503, headers, refusalBody(reason)))
  socket.destroy()
}

function answerRaw(socket: Socket, page: Page): void {
  const headers = { ...page.headers, 'Content-Type': page.type, ...headersOf(page.type) }
  socket.end(rawAnswer(page.status, headers, page.body), () => socket.destroy())
}

function rawAnswer(status: number, headers: Readonly<Record<string, string>>, body: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = `Content-Length: ${Buffer.byteLength(body)}\r\n`
  return `HTTP/1.1 ${statusLine(status)}\r\n${lines.join('')}${length}Connection: close\r\n\r\n${body}`
}

function pathOf(req: IncomingMessage): string {
  const url = req.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

function queryOf(req: IncomingMessage): string {
  const url = req.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? '' : url.slice(query + 1)
}

function readHead(req: IncomingMessage): Head {
  const head = new Head()
  const { rawHeaders } = req
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    head.take((rawHeaders[index] as string).toLowerCase(), rawHeaders[index + 1] as string)
  }
  return head
}

class NodeExchange extends Exchange implements Reader {
  readonly #peer: string
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  #done = false
  #download: Download | null = null
  #stream: Stream | null = null
  readonly #seat: Seat

  constructor(desk: Desk, { seat, peer }: Visitor, req: IncomingMessage, res: ServerResponse) {
    super(desk, seat)
    this.#seat = seat
    this.#peer = peer
    this.#req = req
    this.#res = res
    res.on('error', () => undefined)
  }

  unread(): number {
    return this.#res.writableFinished ? 0 : this.#res.writableLength
  }

  cutOff(): void {
    this.#req.socket.destroy()
  }

  /** Answered, or nobody is there to be. */
  closed(): void {
    this.#done = true
    this.desk.unread.forget(this)
    this.#download?.abandon()
    this.#stream?.abandon()
    this.abandon()
  }

  send(request: FileRequest, caller: Caller): void {
    const sink = new NodeSink(this.#res, {
      refuse: (page) => this.refuse(page),
      begin: () => {
        this.#done = true
        this.#keepAlive()
      },
      drained: () => this.#download?.drained(),
    })
    this.#download = new Download(this.desk, this.desk.setup.files!, request, sink)
    this.#download.begin(this.#seat, caller)
    this.#req.resume()
  }

  stream(request: StreamRequest, caller: Caller): void {
    const sink = new NodeStreamSink(this.#res, {
      refuse: (page) => this.refuse(page),
      begin: () => (this.#done = true),
      drained: () => stream.drained(),
    })
    const stream = (this.#stream = new Stream(this.desk, sink))
    stream.begin(request, this.#seat, caller)
    this.#req.resume()
  }

  collect(caller: Caller): void {
    this.caller = caller
    const body = new Gathered()
    let bytes = 0
    this.#req.on('data', (part: Buffer) => {
      this.desk.begun += 1
      if (this.#done) return
      bytes += part.length
      if (bytes > LIMITS.bodyIgnoredBytesMax) return this.refuse(OVERSIZE)
      if (bytes > LIMITS.bodyBytesMax) body.clear()
      else body.add(part)
    })
    this.#req.on('end', () => {
      if (this.#done) return
      if (bytes > LIMITS.bodyBytesMax) this.refuse(OVERSIZE_IGNORED)
      else this.take(body.take())
    })
  }

  override refuse(page: Page): void {
    const further = page.close ? { ...page.headers, Connection: 'close' } : page.headers
    this.#end(page.status, { ...further, 'Content-Type': page.type, ...headersOf(page.type) }, page.body)
    if (!page.close) this.#req.resume()
  }

  protected override write(status: RpcStatus, text: string | Uint8Array): void {
    if (status === 204) this.#end(status, SECURITY_HEADERS, '')
    else this.#end(status, { 'Content-Type': 'application/json', ...SECURITY_HEADERS }, text)
  }

  protected override get memory(): (length: number) => Buffer {
    return Buffer.allocUnsafe
  }

  /** Past the deadline with the answer half written: the client does not read. */
  override expire(): void {
    if (!this.#done) super.expire()
    else this.cutOff()
  }

  #keepAlive(): void {
    if (this.desk.ending || this.desk.shares.over(this.#peer)) this.#res.shouldKeepAlive = false
  }

  #end(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array): void {
    if (this.#done) return
    this.#done = true
    this.#keepAlive()
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    this.#res.writeHead(status, status === 204 ? headers : { ...headers, 'Content-Length': bytes.byteLength })
    this.#res.end(bytes)
    // In flight until the kernel has all of it, under the same deadline; `close` comes either way.
    if (this.#res.writableFinished) return
    this.desk.deadlines.add(this)
    this.desk.unread.note(this, bytes.byteLength)
  }
}

interface Downloading {
  refuse(page: Page): void
  begin(): void
  drained(): void
}

class NodeSink implements Sink {
  readonly #res: ServerResponse
  readonly #exchange: Downloading
  #left = 0

  constructor(res: ServerResponse, exchange: Downloading) {
    this.#res = res
    this.#exchange = exchange
    res.on('drain', () => exchange.drained())
  }

  refuse(page: Page): void {
    this.#exchange.refuse(page)
  }

  begin(status: number, headers: Readonly<Record<string, string>>, length: number, headOnly: boolean): void {
    this.#exchange.begin()
    this.#left = length
    this.#res.writeHead(status, status === 304 ? headers : { ...headers, 'Content-Length': length })
    if (headOnly || length === 0) this.#res.end()
  }

  /** The last bytes are taken when the kernel has them: until then somebody must look after the time. */
  write(bytes: Buffer): boolean {
    this.#left -= bytes.length
    if (this.#left > 0) return this.#res.write(bytes)
    this.#res.end(bytes, () => this.#exchange.drained())
    return this.#res.writableFinished
  }

  unsent(): number {
    return this.#res.writableFinished ? 0 : this.#res.writableLength
  }

  cut(): void {
    this.#res.destroy()
  }

  done(): void {
    // `close` of the response says the same.
  }
}

class NodeStreamSink implements StreamSink {
  readonly #res: ServerResponse
  readonly #exchange: Downloading

  constructor(res: ServerResponse, exchange: Downloading) {
    this.#res = res
    this.#exchange = exchange
    res.on('drain', () => exchange.drained())
  }

  refuse(page: Page): void {
    this.#exchange.refuse(page)
  }

  begin(): void {
    this.#exchange.begin()
    this.#res.shouldKeepAlive = false
    this.#res.writeHead(200, STREAM_HEADERS)
  }

  write(text: string): boolean {
    return this.#res.write(text)
  }

  end(): void {
    this.#res.end()
  }

  cut(): void {
    this.#res.destroy()
  }
}

class NodeWire implements Wire {
  readonly gathers = false
  readonly copies = false
  readonly packed: boolean
  readonly #ws: WebSocket
  readonly #socket: Socket

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws
    this.#socket = socket
    this.packed = ws.protocol === SUBPROTOCOL_PACKED
  }

  send(message: string | Uint8Array): void {
    this.#ws.send(this.packed ? packed(message) : message, { binary: this.packed })
  }

  sendAll(texts: readonly (string | Uint8Array)[]): void {
    this.#socket.cork()
    for (const text of texts) this.send(text)
    this.#socket.uncork()
  }

  buffered(): number {
    return this.#ws.bufferedAmount
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }

  cut(): void {
    this.#ws.terminate()
  }
}
