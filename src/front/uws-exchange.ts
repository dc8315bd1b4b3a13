// One request of HTTP to uWebSockets.js, and all that can be its answer: a page, JSON-RPC, a file, a stream of events.
// Nothing here may throw into it, for that aborts the process.
import type { HttpResponse } from 'uWebSockets.js'
import { LIMITS } from '../base/limits.js'
import { headersOf, OVERSIZE, OVERSIZE_IGNORED, type Desk, type Page } from './desk.js'
import type { Clients } from './clients.js'
import { Download, type FileRequest, type Sink } from './download.js'
import { Exchange, type RpcStatus } from './exchange.js'
import type { Seat } from './gate.js'
import { Gathered } from './gathered.js'
import { METRICS_TYPE } from './metrics.js'
import { giveSpare, takeSpare } from './spare.js'
import { statusLine } from './status-line.js'
import type { Leaving } from './together.js'
import { Stream, STREAM_HEADERS, type StreamRequest, type StreamSink } from './stream.js'
import type { Caller } from './tokens.js'
import type { Reader } from './unread.js'

/**
 * The headers of every answer as the value of one: writeHeader copies its value as it is, and each call of it costs as
 * much as everything the exchange does itself.
 */
const JSON_HEADERS = headerBlock('application/json')
const HEADERS: Readonly<Record<Page['type'], string>> = {
  'application/json': JSON_HEADERS,
  'text/plain; charset=utf-8': headerBlock('text/plain; charset=utf-8'),
  'text/event-stream': headerBlock('text/event-stream'),
  [METRICS_TYPE]: headerBlock(METRICS_TYPE),
  'text/html; charset=utf-8': headerBlock('text/html; charset=utf-8'),
  'text/css; charset=utf-8': headerBlock('text/css; charset=utf-8'),
  'text/javascript; charset=utf-8': headerBlock('text/javascript; charset=utf-8'),
}

/** The exchange that is writing inside `cork`, so that the function given to it needs no closure per request. */
let corked: UwsExchange | null = null

function writeCorked(): void {
  corked?.writeNow()
}

/** Connections that were closed so far. */
let closed = 0
/** Where one was closed while the end of a request was taken from it. */
let closedWhileTaken: Seat | null = null

/** Called while a connection is closed. */
export function noteClosed(): void {
  closed += 1
}

/**
 * Where an answer that is given while the end of its request is taken closes the connection, uWebSockets (20.30) goes on with what came
 * behind it, and to watch its socket anew aborts the process. That such a one is closed is told by that it has no address; one of the
 * unix socket never has, and is taken for it.
 */
export function isClosed(res: HttpResponse, seat: Seat): boolean {
  if (closedWhileTaken === null) return false
  const here = closedWhileTaken === seat
  closedWhileTaken = null
  return here && (seat.local || res.getRemoteAddress().byteLength === 0)
}

export class UwsExchange extends Exchange implements Reader, Leaving {
  readonly #res: HttpResponse
  #done = false
  /** Its body is being read: uWebSockets has more to read, and others to look at. */
  #isReading = false
  #page: Page | null = null
  #headOnly = false
  #status: RpcStatus = 200
  #text: string | Uint8Array = ''
  #body: Gathered | null = null
  #bodyBytes = 0
  /** Bytes of a long answer that is not read yet: they lie in memory whole until it is. */
  #unread = 0
  /** Among those in flight, or −1. */
  #slot = -1
  #download: Download | null = null
  #stream: Stream | null = null
  readonly #seat: Seat
  readonly #clients: Clients | null

  constructor(desk: Desk, seat: Seat, res: HttpResponse, clients: Clients | null) {
    super(desk, seat)
    this.#seat = seat
    this.#clients = clients
    this.#res = res
    // Before anything else: a handler that returns without it, and without an answer, aborts the process (L17).
    res.onAborted(() => this.#aborted())
  }

  get peer(): string {
    return peerOf(this.#res)
  }

  /** A HEAD request: the length of the answer is told, the answer itself is not sent. */
  headOnly(): void {
    this.#headOnly = true
  }

  send(request: FileRequest, caller: Caller): void {
    this.#slot = this.desk.working.begin()
    this.#headOnly = request.headOnly
    const sink = new UwsSink(this.#res, {
      refuse: (page) => this.refuse(page),
      begin: () => (this.#done = true),
      drained: () => this.#download?.drained(),
      done: () => this.#ended(),
    })
    this.#download = new Download(this.desk, this.desk.setup.files!, request, sink)
    this.#download.begin(this.#seat, caller)
  }

  /** Which connection it is can only be told of one that the loop begins to watch: not worth it where nobody is a stranger. */
  known(): void {
    if (this.desk.strangers.count === 0 || !this.#clients) return
    this.#watchAnew()
    this.#clients.identified()
  }

  asked(): void {
    if (this.desk.strangers.count === 0 || !this.#clients) return
    this.#watchAnew()
    this.#clients.asked()
  }

  /**
   * After this uWebSockets (20.30) closes it in ten seconds, whatever is written to it meanwhile. Only at the end of a body that somebody
   * reads, be it empty, does it let that be; who wants the body reads it instead.
   */
  #watchAnew(): void {
    this.#res.pause()
    this.#res.resume()
    this.#res.onData(() => undefined)
  }

  /** From now on it is known as one that is not idle because it is silent. */
  name(clients: Clients): void {
    this.#watchAnew()
    clients.upgraded()
  }

  stream(request: StreamRequest, caller: Caller): void {
    const sink = new UwsStreamSink(this.#res, {
      refuse: (page) => this.refuse(page),
      begin: () => (this.#done = true),
      drained: () => stream.drained(),
    })
    const stream = (this.#stream = new Stream(this.desk, sink))
    stream.begin(request, this.#seat, caller)
  }

  collect(caller: Caller): void {
    this.caller = caller
    this.#slot = this.desk.working.begin()
    this.#res.onData((chunk, isLast) => {
      const before = closed
      try {
        this.#isReading = true
        this.#received(chunk, isLast)
      } catch (error) {
        this.fail(error)
      } finally {
        this.#isReading = false
      }
      if (closed !== before) closedWhileTaken = this.#seat
    })
  }

  override refuse(page: Page): void {
    if (this.#done) return
    this.#page = page
    this.#cork()
  }

  /** In `cork`: everything of an answer leaves in one system call. */
  writeNow(): void {
    if (this.#page) this.#writePage(this.#page)
    else if (this.#status === 204) this.#writeNothing()
    else this.#writeText()
  }

  /** Past the deadline with the answer half written: the client does not read. */
  override expire(): void {
    if (!this.#done) super.expire()
    else this.cutOff()
  }

  protected override write(status: RpcStatus, text: string | Uint8Array): void {
    if (this.#done) return
    this.#status = status
    this.#text = text
    this.#done = true
    // uWebSockets ends a connection whose next request comes before the answer to this one, as it does where a shard is asked.
    const mayWait = this.isOfLibrary || !this.#isReading
    if (!mayWait || !this.desk.together.takes(this)) this.#cork()
  }

  protected override get memory(): (length: number) => Buffer {
    return takeSpare
  }

  leave(): void {
    try {
      this.#cork()
    } catch (error) {
      this.fail(error)
    }
  }

  #received(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#done) return
    this.desk.begun += 1
    this.#heard()
    this.#bodyBytes += chunk.byteLength
    if (this.#bodyBytes > LIMITS.bodyIgnoredBytesMax) return this.refuse(OVERSIZE)
    if (this.#bodyBytes > LIMITS.bodyBytesMax) {
      this.#body = null
      return isLast ? this.refuse(OVERSIZE_IGNORED) : undefined
    }
    // Most bodies come whole, and are read where they lie; uWebSockets takes the memory back when this returns.
    if (isLast && !this.#body) return this.take(new Uint8Array(chunk))
    this.#body ??= new Gathered()
    this.#body.add(new Uint8Array(chunk))
    if (isLast) this.take(this.#body.take())
  }

  #heard(): void {
    this.#ended()
    this.#slot = this.desk.working.begin()
  }

  #ended(): void {
    if (this.#slot >= 0) this.desk.working.end(this.#slot)
    this.#slot = -1
  }

  /** Answered with the end of the connection: under pressure, or because its peer has more than its share. */
  get #ending(): boolean {
    if (this.desk.ending) return true
    return this.desk.shares.contested && this.desk.shares.over(this.peer)
  }

  unread(): number {
    return this.#unread
  }

  cutOff(): void {
    this.#res.close()
  }

  #aborted(): void {
    this.#done = true
    this.desk.together.remove(this)
    this.desk.unread.forget(this)
    this.#ended()
    this.#download?.abandon()
    this.#stream?.abandon()
    this.abandon()
  }

  #cork(): void {
    this.#done = true
    this.#ended()
    const outer = corked
    corked = this
    this.#res.cork(writeCorked)
    corked = outer
  }

  #writePage({ status, type, headers, body, close: closes }: Page): void {
    const close = closes || this.#ending
    this.#res.writeStatus(statusLine(status))
    for (const name in headers) this.#res.writeHeader(name, headers[name] as string)
    this.#res.writeHeader('Content-Type', HEADERS[type])
    if (!this.#headOnly) this.#res.end(body, close)
    else if (close) this.#res.endWithoutBody(Buffer.byteLength(body), true)
    // Told the length, it closes whatever it is told besides (uWebSockets 20.30).
    else this.#res.writeHeader('Content-Length', String(Buffer.byteLength(body))).endWithoutBody()
  }

  #writeNothing(): void {
    this.#res.writeStatus(statusLine(204))
    // Given a second argument it closes, whatever that says.
    if (this.#ending) this.#res.endWithoutBody(undefined, true)
    else this.#res.endWithoutBody()
  }

  #writeText(): void {
    // uWebSockets writes `200 OK` by itself.
    if (this.#status !== 200) this.#res.writeStatus(statusLine(this.#status))
    this.#res.writeHeader('Content-Type', JSON_HEADERS)
    const text = this.#text
    if (text.length > LIMITS.answerCopyBytesMax)
      return this.#writeLong(typeof text === 'string' ? Buffer.from(text) : text)
    this.#res.end(text, this.#ending)
    if (typeof text !== 'string') giveSpare(text)
  }

  /** Stays in flight, under the same deadline, until the kernel has all of it. */
  #writeLong(bytes: Uint8Array): void {
    const { byteLength } = bytes
    const [, ended] = this.#res.tryEnd(bytes, byteLength)
    if (ended) return giveSpare(bytes)
    this.desk.deadlines.add(this)
    this.#res.onWritable((offset) => {
      this.desk.begun += 1
      const [ok, whole] = this.#res.tryEnd(bytes.subarray(offset), byteLength)
      if (whole) {
        giveSpare(bytes)
        this.#read()
      }
      return ok
    })
    // What is held of it is all of its memory, of which it may be little more than half.
    this.#unread = bytes.buffer.byteLength
    this.desk.unread.note(this, this.#unread)
  }

  #read(): void {
    this.desk.deadlines.remove(this)
    this.desk.unread.forget(this)
  }
}

/** What a download needs of its exchange. */
interface Downloading {
  refuse(page: Page): void
  begin(): void
  drained(): void
  done(): void
}

/** The body of a download, whose length is known: uWebSockets keeps nothing of it, and what the kernel did not take waits here. */
class UwsSink implements Sink {
  readonly #res: HttpResponse
  readonly #exchange: Downloading
  #length = 0
  /** Goes with the first bytes of the body. */
  #writeHead: (() => void) | null = null
  #rest: Buffer | null = null
  /** Where in the body the rest begins. */
  #restAt = 0

  constructor(res: HttpResponse, exchange: Downloading) {
    this.#res = res
    this.#exchange = exchange
  }

  refuse(page: Page): void {
    this.#exchange.refuse(page)
  }

  begin(status: number, headers: Readonly<Record<string, string>>, length: number, headOnly: boolean): void {
    this.#exchange.begin()
    this.#length = length
    const writeHead = () => {
      this.#res.writeStatus(statusLine(status))
      for (const name in headers) this.#res.writeHeader(name, headers[name] as string)
    }
    // One call of the system for both, and one packet where the file is small.
    if (length > 0 && !headOnly) {
      this.#writeHead = writeHead
      this.#res.onWritable((offset) => this.#writable(offset))
      return
    }
    this.#res.cork(() => {
      writeHead()
      if (status !== 304) this.#res.writeHeader('Content-Length', String(length))
      this.#res.endWithoutBody()
    })
  }

  write(bytes: Buffer): boolean {
    this.#restAt = this.#res.getWriteOffset()
    let taken = false
    this.#res.cork(() => {
      this.#writeHead?.()
      this.#writeHead = null
      taken = this.#try(bytes)
    })
    if (!taken) this.#rest = bytes
    return taken
  }

  unsent(): number {
    return this.#rest ? this.#rest.length - (this.#res.getWriteOffset() - this.#restAt) : 0
  }

  cut(): void {
    this.#res.close()
  }

  done(): void {
    this.#exchange.done()
  }

  #writable(offset: number): boolean {
    if (!this.#rest) return true
    if (!this.#try(this.#rest.subarray(offset - this.#restAt))) return false
    this.#rest = null
    this.#exchange.drained()
    return true
  }

  #try(bytes: Buffer): boolean {
    const [taken, whole] = this.#res.tryEnd(bytes, this.#length)
    return taken || whole
  }
}

/** A body without a length: what the kernel did not take is kept by uWebSockets, and goes with what is written next. */
class UwsStreamSink implements StreamSink {
  readonly #res: HttpResponse
  readonly #exchange: Pick<Downloading, 'refuse' | 'begin' | 'drained'>

  constructor(res: HttpResponse, exchange: Pick<Downloading, 'refuse' | 'begin' | 'drained'>) {
    this.#res = res
    this.#exchange = exchange
  }

  refuse(page: Page): void {
    this.#exchange.refuse(page)
  }

  begin(): void {
    this.#exchange.begin()
    this.#res.cork(() => {
      this.#res.writeStatus(statusLine(200))
      for (const [name, value] of Object.entries(STREAM_HEADERS)) this.#res.writeHeader(name, value)
    })
    this.#res.onWritable(() => {
      this.#exchange.drained()
      return true
    })
  }

  write(text: string): boolean {
    let taken = false
    this.#res.cork(() => (taken = this.#res.write(text)))
    return taken
  }

  end(): void {
    // Not with `close`: uWebSockets would write the header that says so into the body, and no client could read its end.
    this.#res.cork(() => this.#res.end())
  }

  cut(): void {
    this.#res.close()
  }
}

function headerBlock(type: Page['type']): string {
  const further = Object.entries(headersOf(type)).map(([name, value]) => `\r\n${name}: ${value}`)
  return type + further.join('')
}

/** An IPv4 client of a socket that listens on both is named as IPv4. Those that come from one address share the text. */
export function peerOf(socket: { getRemoteAddressAsText(): ArrayBuffer }): string {
  const address = Buffer.from(socket.getRemoteAddressAsText()).toString('latin1')
  if (address === latestAddress) return latestPeer
  latestAddress = address
  latestPeer = address.includes('.') ? address.slice(address.lastIndexOf(':') + 1) : address
  return latestPeer
}

let latestAddress = ''
let latestPeer = ''
