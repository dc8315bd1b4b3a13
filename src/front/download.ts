// One file on its way to a client. While the client does not read on, no descriptor is open for it, and what waits is one part.
import { randomBytes } from 'node:crypto'
import { SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { STREAM, type FileItem, type GiveUp, type Reply } from '../protocol/messages.js'
import { Timed } from './deadlines.js'
import { refusalOf, SECURITY_HEADERS, type Desk, type Page } from './desk.js'
import { barred } from './exchange.js'
import type { Bound, Caller } from './tokens.js'
import type { Files, SentFile } from './files.js'
import type { Seat } from './gate.js'
import { answerFor, etagOf, type Conditions, type Span } from './ranges.js'
import type { Head } from './head.js'
import type { Reader } from './unread.js'

export interface FileRequest {
  readonly library: string
  readonly id: string
  readonly headOnly: boolean
  /** To be saved instead of shown. */
  readonly saves: boolean
  readonly conditions: Conditions
}

const ROUTE = /^\/libraries\/([\w.-]{1,100})\/files\/([\w.-]{1,100})$/

/** Null where the path is another's. @param query without the `?` */
export function fileRequest(method: string, path: string, query: string, head: Head): FileRequest | null {
  const [, library, id] = ROUTE.exec(path) ?? []
  if (library === undefined || id === undefined) return null
  const { ifRange, ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = head
  const range = method === 'GET' ? head.range : undefined
  const conditions = { range, ifRange, ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince }
  return { library, id, headOnly: method === 'HEAD', saves: new URLSearchParams(query).has('download'), conditions }
}

/** The response, as far as a download needs it. Nothing here is called once the client is gone. */
export interface Sink {
  /** A whole answer. */
  refuse(page: Page): void
  /** Status and headers; with `length` 0, or of a HEAD request, the end. */
  begin(status: number, headers: Readonly<Record<string, string>>, length: number, headOnly: boolean): void
  /** The next bytes of the body. False when not all of them were taken: `Download.drained` is called when they are. */
  write(bytes: Buffer): boolean
  /** Bytes that were not taken yet. */
  unsent(): number
  cut(): void
  /** The last call: nothing more is sent. */
  done(): void
}

/** What a page of this daemon could do, a file of its locations cannot: it runs no script, and reads nothing from here. */
const FILE_HEADERS = {
  ...SECURITY_HEADERS,
  'Cache-Control': 'private, no-cache',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; sandbox",
}

export class Download extends Timed implements Reader, Bound {
  readonly #desk: Desk
  readonly #files: Files
  readonly #request: FileRequest
  readonly #sink: Sink
  #giveUp: GiveUp | void = undefined
  #caller: Caller | null = null
  #path: Buffer = Buffer.alloc(0)
  #file: SentFile | null = null
  #etag = ''
  #begun = false
  #over = false
  #drained: (() => void) | null = null

  constructor(desk: Desk, files: Files, request: FileRequest, sink: Sink) {
    super()
    this.#desk = desk
    this.#files = files
    this.#request = request
    this.#sink = sink
  }

  begin(seat: Seat, caller: Caller): void {
    const { library, id } = this.#request
    const request = { operation: 'files.get', params: { library, id } } as const
    const error = barred(request, seat, this.#desk, caller)
    if (error) return this.#fail(error)
    this.#caller = caller
    caller.bind(this)
    this.#desk.deadlines.add(this)
    const answer = (reply: Reply) => {
      if (this.#over) return
      if (!reply.ok) this.#refuse(reply.error)
      else void this.#send(JSON.parse(reply.json) as FileItem).catch((thrown: unknown) => this.#fail(thrown))
    }
    this.#giveUp = this.#desk.setup.dispatch(request, answer, STREAM)
  }

  /** The client is gone. */
  abandon(): void {
    this.#end(() => undefined)
  }

  /** What `write` did not take whole is taken. */
  drained(): void {
    this.#moved()
    this.#drained?.()
  }

  /** The client has not read for the time of an answer. */
  override expire(): void {
    if (this.#begun) this.#end(() => this.#sink.cut())
    else this.#fail(new SpacedriveError('TIMEOUT', 'the file could not be read before the response deadline'))
  }

  tokenEnded(): void {
    this.cutOff()
  }

  unread(): number {
    return this.#over ? 0 : this.#sink.unsent()
  }

  cutOff(): void {
    this.#end(() => this.#sink.cut())
  }

  async #send(item: FileItem): Promise<void> {
    if (item.kind !== 'file')
      throw new SpacedriveError('PATH_REFUSED', `${item.path} is no file`, { hint: 'Ask for a file.' })
    this.#path = Buffer.from(item.pathBytes ?? item.path, item.pathBytes === undefined ? 'utf8' : 'base64')
    try {
      const file = await this.#open(this.#likely(item))
      if (!file || this.#over) return
      const { stat } = file
      const type = typeOf(item)
      const answer = answerFor(stat, this.#request.conditions, type, () => randomBytes(18).toString('base64url'))
      const named =
        answer.status === 200 || answer.status === 206 ? { 'Content-Disposition': this.#disposition(item) } : {}
      this.#begun = true
      this.#sink.begin(
        answer.status,
        { ...FILE_HEADERS, ...answer.headers, ...named },
        answer.length,
        this.#request.headOnly,
      )
      if (!this.#request.headOnly) for (const part of answer.parts) await this.#part(part)
    } finally {
      await this.#close()
    }
    this.#end(() => undefined)
  }

  /** Of a whole file its first part, where that is all the client can have asked for. */
  #likely({ size }: FileItem): number {
    const { range, ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = this.#request.conditions
    const conditions = range ?? ifMatch ?? ifNoneMatch ?? ifModifiedSince ?? ifUnmodifiedSince
    return this.#request.headOnly || conditions !== undefined ? 0 : Math.min(size, LIMITS.filePartBytes)
  }

  #disposition({ name }: FileItem): string {
    const plain = name.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_')
    const encoded = encodeURIComponent(name.toWellFormed()).replaceAll(
      /['()*]/g,
      (each) => `%${each.charCodeAt(0).toString(16)}`,
    )
    return `${this.#request.saves ? 'attachment' : 'inline'}; filename="${plain}"; filename*=UTF-8''${encoded}`
  }

  async #part(part: Buffer | Span): Promise<void> {
    if (Buffer.isBuffer(part)) return this.#write(part)
    for (let at = part.start; at < part.end && !this.#over;) {
      const file = await this.#open()
      if (!file) return
      const bytes = await file.read(at, Math.min(LIMITS.filePartBytes, part.end - at))
      // Shorter by now: what was promised cannot be sent.
      if (bytes.length === 0) return this.#end(() => this.#sink.cut())
      at += bytes.length
      await this.#write(bytes)
      // Where the disk is slower than all who read, no `write` ever has to wait, and none of these would make room before its end.
      if (this.#files.areWanted) await this.#close()
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#over) return
    this.#moved()
    if (this.#sink.write(bytes)) return
    this.#desk.unread.note(this, bytes.length)
    const drained = new Promise<void>((resolve) => (this.#drained = resolve))
    await this.#close()
    await drained
    this.#desk.unread.forget(this)
  }

  /** A file that is another by now is not sent as the rest of the one before. Null where the client has gone before it was its turn. */
  async #open(first = 0): Promise<SentFile | null> {
    if (this.#file) return this.#file
    const file = await this.#files.open(this.#path, first, () => !this.#over)
    if (!file) return null
    const etag = etagOf(file.stat)
    if (this.#etag !== '' && this.#etag !== etag) {
      await file.close()
      throw new SpacedriveError('FILE_NOT_FOUND', 'the file was changed while it was sent')
    }
    this.#etag = etag
    return (this.#file = file)
  }

  async #close(): Promise<void> {
    const file = this.#file
    this.#file = null
    await file?.close()
  }

  /** Its time begins anew. */
  #moved(): void {
    this.#desk.begun += 1
    if (this.#over) return
    this.#desk.deadlines.renew(this)
  }

  #fail(thrown: unknown): void {
    if (this.#begun) return this.#end(() => this.#sink.cut())
    this.#refuse(toWire(thrown))
  }

  #refuse(error: WireError): void {
    const seconds = Math.ceil((error.retryAfterMs ?? 1_000) / 1_000)
    const headers = error.retryable ? { 'Retry-After': String(seconds) } : {}
    this.#end(() => this.#sink.refuse(refusalOf(error, { headers })))
  }

  #end(last: () => void): void {
    if (this.#over) return
    this.#over = true
    this.#desk.deadlines.remove(this)
    this.#desk.unread.forget(this)
    this.#giveUp?.()
    this.#caller?.free(this)
    last()
    this.#sink.done()
    this.#drained?.()
  }
}

function typeOf({ mime = 'application/octet-stream' }: FileItem & { mime?: string }): string {
  return /^text\/[^;]+$/.test(mime) ? `${mime}; charset=utf-8` : mime
}
