// One connection of the line protocol: a request a line, or what comes before the client closes its side; a line an answer.
// When every line that came is answered it ends, as in Spacedrive; only who follows events or the log stays.
import { isUtf8 } from 'node:buffer'
import type { Socket } from 'node:net'
import { toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { LogFile } from '../base/log.js'
import type { GiveUp, OnlyOnce, Reply, Request } from '../protocol/messages.js'
import type { Desk } from '../front/desk.js'
import { barred } from '../front/exchange.js'
import { Gathered } from '../front/gathered.js'
import type { Seat } from '../front/gate.js'
import { OWNER } from '../front/tokens.js'
import { Turn } from '../front/turn.js'
import type { Reader } from '../front/unread.js'
import { failed, readEnvelope, refused, type Envelope } from './envelope.js'
import { REFRESH, SHUTDOWN, wantedBy, type Interpreter } from './events.js'
import { logGap, logWanted } from './logs.js'
import { answerBy, malformed, type Here } from './tongue.js'

export interface LineSetup {
  readonly desk: Desk
  readonly seat: Seat
  readonly interpreter: Interpreter
  readonly hear: LogFile['hear']
  readonly here: Here
}

interface Following {
  readonly isOfEvents: boolean
  /** Says that something was not sent. */
  readonly gap: () => string
  readonly end: () => void
}

const HTTP = /^[A-Z]{3,20} \S+ HTTP\/\d/

export class Line implements Reader {
  readonly since = performance.now()
  readonly #setup: LineSetup
  readonly #socket: Socket
  /** Whole lines that wait, and one that is not whole. */
  readonly #came = new Gathered()
  #turn: LineTurn | null = null
  #following: Following | null = null
  /** Something was not sent, for its client did not read. */
  #hasGap = false
  #answered = false
  /** The client has closed its side. */
  #isHalf = false
  #isEnding = false
  #at = performance.now()

  constructor(setup: LineSetup, socket: Socket) {
    this.#setup = setup
    this.#socket = socket
    socket.setNoDelay(true)
    // Whoever follows says nothing: one that vanished is found by the kernel's own questions.
    socket.setKeepAlive(true, LIMITS.feedIdleMs)
    socket.on('data', (part: Buffer) => this.#read(part))
    socket.on('end', () => this.#half())
    socket.on('drain', () => this.#drained())
    socket.on('close', () => this.#closed())
  }

  get isFollowing(): boolean {
    return this.#following !== null
  }

  /** How long it was not asked or answered; null while something is at work, or it follows. */
  get idleMs(): number | null {
    return this.#turn || this.#following ? null : performance.now() - this.#at
  }

  unread(): number {
    return this.#socket.writableLength
  }

  cutOff(): void {
    this.#socket.destroy()
  }

  /** Called once in a while: who takes longer than there is time for is told, and closed. */
  look(now: number): void {
    if (this.#following && this.#isHalf) this.#feel()
    const passedMs = now - this.#at
    if (this.#isEnding) {
      const isRead = this.#socket.writableFinished
      if (passedMs > (isRead ? LIMITS.lineCloseMs : LIMITS.responseMs)) this.#socket.destroy()
    } else if (!this.#turn && !this.#following && passedMs > LIMITS.lineMs) {
      this.#refuse(failed('ReadError', `no whole line came within ${LIMITS.lineMs} ms`))
    }
  }

  /**
   * Of a connection whose other side is closed the loop is told nothing more, not even that it broke, and reading goes on saying
   * that it ended. Nothing at all is written: where it broke that fails.
   */
  #feel(): void {
    if (this.#socket.writableLength === 0) this.#socket.write('')
  }

  /** The daemon stops. */
  stop(): void {
    if (this.#following?.isOfEvents) this.#write(SHUTDOWN.line)
    if (!this.#turn && !this.#isEnding) this.#refuseRest()
    this.#socket.destroySoon()
  }

  #read(part: Buffer): void {
    if (this.#isEnding) return
    this.#setup.desk.begun += 1
    this.#came.add(part)
    this.#next()
    if (!this.#isEnding && this.#came.length > LIMITS.bodyBytesMax) this.#tooMuch()
  }

  /** While one is answered the rest is left to the kernel; of a line that is not whole there is no end to wait for. */
  #tooMuch(): void {
    if (this.#turn) return void this.#socket.pause()
    this.#refuse(failed('RequestTooLarge', `a line may hold ${LIMITS.bodyBytesMax} bytes`))
  }

  /** What came before it is the last request, whole or not. */
  #half(): void {
    this.#isHalf = true
    if (this.#following && this.#came.isWhole) return this.#end()
    this.#next()
  }

  #next(): void {
    while (!this.#turn && !this.#isEnding) {
      const line = this.#came.takeLine() ?? (this.#isHalf && this.#came.length > 0 ? this.#came.take() : null)
      if (!line) break
      this.#take(line)
    }
    if (this.#turn || this.#isEnding) return
    if (this.#socket.isPaused()) this.#socket.resume()
    if (!this.#following && (this.#isHalf || (this.#answered && this.#came.length === 0))) this.#end()
  }

  #take(line: Buffer): void {
    if (!isUtf8(line)) return this.#refuse(failed('SerializationError', 'the line is not UTF-8'))
    const text = line.toString('utf8').trim()
    if (text === '') return
    // A page of some site can have a browser send this; nothing of what follows is looked at.
    if (HTTP.test(text)) return this.#refuse(failed('SecurityError', 'this port speaks lines of JSON, not HTTP'))
    try {
      this.#answer(readEnvelope(text))
    } catch (error) {
      this.#refuse(malformed(error))
    }
  }

  /** Lines that came whole and were not begun, as far as their client reads on. */
  #refuseRest(): void {
    const unready = this.#setup.desk.unready()
    if (!unready) return
    const line = refused(toWire(unready))
    while (this.#socket.writable && this.#came.takeLine()) this.#write(line)
  }

  #answer(envelope: Envelope): void {
    switch (envelope.tag) {
      case 'Subscribe':
        return this.#follow(envelope)
      case 'Unsubscribe':
        this.#unfollow()
        return this.#refuse('"Unsubscribed"')
      case 'SubscribeLogs':
        return this.#followLog(envelope)
      case 'UnsubscribeLogs':
        this.#unfollow()
        return this.#refuse('"LogsUnsubscribed"')
      default:
        // Who asks once is as one over HTTP: else each of many connections would be taken for a client that had nothing yet.
        this.#turn = new LineTurn(this, this.#setup, this.#answered)
        return this.#turn.beginWith(answerBy(envelope, this.#setup.here))
    }
  }

  /** A second one on a connection takes the place of the first. */
  #follow({ types, filter }: Extract<Envelope, { tag: 'Subscribe' }>): void {
    const { desk, interpreter, here } = this.#setup
    const unready = desk.unready()
    if (unready) return this.#refuse(refused(toWire(unready)))
    const wanted = wantedBy(types, filter, here)
    this.#unfollow()
    const { recent, end } = interpreter.follow((told) => {
      if (wanted(told)) this.#send(told.line)
    })
    this.#following = { isOfEvents: true, gap: () => REFRESH.line, end }
    this.#write('"Subscribed"')
    for (const told of recent) if (wanted(told)) this.#send(told.line)
  }

  #followLog({ filter }: Extract<Envelope, { tag: 'SubscribeLogs' }>): void {
    const heard = logWanted(filter, (line) => this.#send(line))
    this.#unfollow()
    this.#write('"LogsSubscribed"')
    this.#following = { isOfEvents: false, gap: logGap, end: this.#setup.hear(heard) }
  }

  #unfollow(): void {
    this.#following?.end()
    this.#following = null
    this.#hasGap = false
  }

  /** Who does not read misses some, and is told so as soon as there is room. */
  #send(line: string): void {
    if (this.#socket.writableLength > LIMITS.feedBufferedBytesMax) this.#hasGap = true
    else this.#write(line)
  }

  #drained(): void {
    this.#setup.desk.unread.forget(this)
    if (!this.#hasGap || !this.#following) return
    this.#hasGap = false
    this.#write(this.#following.gap())
  }

  answered(text: string): void {
    this.#turn = null
    this.#answered = true
    this.#at = performance.now()
    this.#write(text)
    if (this.#came.length === 0) this.#next()
    // What is answered at once would keep the loop for as many lines as have come.
    else setImmediate(() => this.#next())
  }

  #write(line: string): void {
    if (!this.#socket.writable) return
    this.#socket.write(`${line}\n`)
    const { writableLength: unread } = this.#socket
    if (unread > LIMITS.feedUnreadBytesMax) this.#socket.destroy()
    else this.#setup.desk.unread.note(this, unread)
  }

  #refuse(line: string): void {
    this.#write(line)
    this.#end()
  }

  /** What comes now is read and forgotten: a socket closed with something unread would take the answer along. */
  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#at = performance.now()
    this.#unfollow()
    this.#came.clear()
    this.#socket.resume()
    this.#socket.end()
  }

  #closed(): void {
    this.#turn?.abandon()
    this.#turn = null
    this.#unfollow()
    this.#isEnding = true
    this.#setup.desk.unread.forget(this)
  }
}

class LineTurn extends Turn implements OnlyOnce {
  readonly onlyOnce = true
  readonly #line: Line
  readonly #setup: LineSetup
  readonly #asksMore: boolean

  /** @param asksMore of a connection that has asked before */
  constructor(line: Line, setup: LineSetup, asksMore: boolean) {
    super(setup.desk)
    this.#line = line
    this.#setup = setup
    this.#asksMore = asksMore
  }

  protected override run(request: Request, answer: (reply: Reply) => void): GiveUp | void {
    const { desk, seat } = this.#setup
    const error = barred(request, seat, desk, OWNER)
    if (error) answer({ ok: false, error: toWire(error) })
    else return desk.setup.dispatch(request, answer, this.#asksMore ? this.#line : this)
  }

  protected override settled(text: string | null): void {
    this.#line.answered(text ?? '')
  }
}
