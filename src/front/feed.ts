// One WebSocket: requests in, answers and events out, every list of it bounded.
import { TOKEN_ENDED } from '../base/codes.js'
import { SpacedriveError, toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { UTF8_BYTES_MAX } from '../base/text.js'
import { encodeEvent, encodeGap } from '../protocol/codec.js'
import type { GiveUp, OnlyOnce, Reply, Request } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import { glance, glancePacked, type Prepared, type Refuse } from '../protocol/prepared.js'
import { runsOn } from '../protocol/work.js'
import type { Reading } from '../shard/events.js'
import type { Desk } from './desk.js'
import { barred, seenBy } from './exchange.js'
import type { Seat } from './gate.js'
import type { Bound, Caller } from './tokens.js'
import { giveSpare, takeSpare } from './spare.js'
import { Turn } from './turn.js'
import type { Reader } from './unread.js'

/** The socket, as far as a feed needs it. Not called any more once the feed is closed. */
export interface Wire {
  /** Whether messages are MessagePack, both ways, instead of text. */
  readonly packed: boolean
  /** Whether what is sent while a message is taken leaves together with what else is: nothing has to be collected then. */
  readonly gathers: boolean
  /** Whether what was sent may be written over when `send` returns. */
  readonly copies: boolean
  /** Text or its UTF-8; where messages are MessagePack, text that is to become it or what it is already. */
  send(message: string | Uint8Array): void
  /** Writes messages in order, in as few system calls as it can. */
  sendAll(messages: readonly (string | Uint8Array)[]): void
  /** Bytes that were sent but not taken by the kernel yet. */
  buffered(): number
  /** Says why, and lets what was sent before arrive. */
  close(code: number, reason: string): void
  /** Closes at once, and frees what is still buffered. */
  cut(): void
}

type Answer = (reply: Reply) => void

const MESSAGE_HEAD_BYTES = 10

/** At the end of this tick: the answers of a shard come together, for many feeds. */
const flushSoon = gathered(queueMicrotask)
/** What can wait for more. */
const flushPatiently = gathered((flush) => setTimeout(flush, LIMITS.refusalsGatherMs).unref())

/** Flushes all feeds that came by then in one go. @param later calls back then */
function gathered(later: (flush: () => void) => unknown): (feed: Feed) => void {
  let feeds: Feed[] = []
  const flush = () => {
    const all = feeds
    feeds = []
    for (const feed of all) feed.flush()
  }
  return (feed) => {
    if (feeds.length === 0) later(flush)
    feeds.push(feed)
  }
}

interface Subscription {
  readonly id: string
  readonly reading: Reading
  /** Of the last event that was sent or told as lost. */
  seq: number
}

export class Feed implements Reader, Bound {
  readonly since = performance.now()
  readonly peer: string
  readonly #desk: Desk
  readonly #seat: Seat
  readonly #wire: Wire
  readonly #caller: Caller
  /** These four are made when they are first needed: of very many clients most only sit there. */
  #turns: Set<FeedTurn> | null = null
  #subscriptions: Map<string, Subscription> | null = null
  /** Those that have events to be sent, in the order in which they are due. */
  #due: Set<Subscription> | null = null
  #subscribed = 0
  #inFlight = 0
  #outbox: (string | Uint8Array)[] | null = null
  /** Refusals and whose they are: made when they leave, for each text that waits is copied by the collector of garbage. */
  #refused: (Prepared | number)[] | null = null
  #outboxBytes = 0
  /** No fewer than the bytes that the kernel has yet to take: asked for only when that might be many. */
  #unsentMost = 0
  /** Whose message is being taken now. */
  #beginning: FeedTurn | null = null
  #open = true
  #flushes = false
  #flushesLater = false
  #usedAt = performance.now()
  #newcomer: OnlyOnce | null = null

  constructor(desk: Desk, seat: Seat, wire: Wire, peer: string, caller: Caller) {
    this.peer = peer
    this.#desk = desk
    this.#seat = seat
    this.#wire = wire
    this.#caller = caller
    caller.bind(this)
  }

  tokenEnded(): void {
    this.close(TOKEN_ENDED.code, TOKEN_ENDED.reason)
  }

  /** @param message bytes are MessagePack, and only looked at until this returns */
  message(message: string | Uint8Array): void {
    if (!this.#open) return
    const isBinary = typeof message !== 'string'
    if (isBinary !== this.#wire.packed) return this.close(1003, isBinary ? 'messages are text' : 'messages are binary')
    this.#desk.begun += 1
    this.#usedAt = performance.now()
    if (this.#inFlight > 0 && this.#refuseUnread(message)) return
    const turn = new FeedTurn(this, this.#desk)
    this.#beginning = turn
    turn.begin(message)
    this.#beginning = null
    if (turn.over) return
    if (this.#open) (this.#turns ??= new Set()).add(turn)
    else turn.abandon()
  }

  /** While more is asked than can be done, what would be refused anyway is not read first. */
  #refuseUnread(message: string | Uint8Array): boolean {
    const refuse = this.refuser()
    if (!refuse) return false
    const seen = typeof message === 'string' ? glance(message) : glancePacked(message)
    const refused = seen && refuse(seen.method, seen.library)
    if (!refused) return false
    this.#pushLater(refused, seen.id)
    return true
  }

  /** The same of what a glance is not enough for, as of each of a batch. */
  refuser(): Refuse | null {
    return this.#desk.refuser(this.#inFlight > 0)
  }

  /** Else it was closed, by either side. */
  get isOpen(): boolean {
    return this.#open
  }

  /** How long nothing was asked or answered, if it is so long; null while something is, or may come by subscription. */
  idleFor(leastMs: number): number | null {
    const idleMs = performance.now() - this.#usedAt
    // The socket of a closed one may not be asked for anything.
    if (idleMs < leastMs || !this.#open) return null
    const working = isFilled(this.#subscriptions) || isFilled(this.#turns) || this.#inFlight > 0
    return working || this.#buffered() > 0 ? null : idleMs
  }

  /** Ends the feed from our side. */
  close(code: number, reason: string): void {
    if (!this.#open) return
    this.flush()
    this.closed()
    this.#wire.close(code, reason)
  }

  unread(): number {
    return this.#open ? this.#buffered() : 0
  }

  /** Its client does not read. */
  cutOff(): void {
    if (!this.#open) return
    this.#desk.setup.log('warn', 'a WebSocket was cut: its client does not read')
    this.closed()
    this.#wire.cut()
  }

  /** The socket is gone, or about to be: subscriptions end, answers still to come are dropped. */
  closed(): void {
    this.#open = false
    this.#caller.free(this)
    this.#desk.unread.forget(this)
    for (const { reading } of this.#subscriptions?.values() ?? []) reading.end()
    this.#subscriptions = null
    this.#due = null
    for (const turn of this.#turns ?? []) turn.abandon()
    this.#turns = null
  }

  settled(turn: FeedTurn, text: string | Uint8Array | null): void {
    if (turn !== this.#beginning) {
      this.#turns?.delete(turn)
      this.#usedAt = performance.now()
    }
    if (text !== null) this.#push(text)
  }

  get memory(): ((length: number) => Buffer) | null {
    if (this.#wire.packed) return null
    return this.#wire.copies ? takeSpare : Buffer.allocUnsafe
  }

  run(request: Request, answer: Answer): GiveUp | void {
    const error = barred(request, this.#seat, this.#desk, this.#caller)
    if (error) answer({ ok: false, error: toWire(error) })
    else if (runsOn(request.operation) === 'feed') this.#runHere(request, answer)
    else return this.#dispatch(request, seenBy(this.#caller, request, answer))
  }

  #dispatch(request: Request, answer: Answer): GiveUp | void {
    if (this.#inFlight >= LIMITS.feedInFlightMax) return answer(busy('too many requests are in flight here'))
    if (this.#holds(LIMITS.feedBufferedBytesMax)) return answer(busy('earlier answers were not read yet'))
    this.#inFlight += 1
    // Counted until the answer comes, even when the client got TIMEOUT before: the work is still being done.
    const counted: Answer = (reply) => {
      this.#inFlight -= 1
      answer(reply)
    }
    try {
      return this.#desk.setup.dispatch(request, counted, this.#asker())
    } catch (error) {
      counted({ ok: false, error: toWire(error) })
    }
  }

  /** As long as others are counted by what they had, it is one of whom nothing is known: else who connects anew each time would be first. */
  #asker(): object {
    return this.#usedAt - this.since < LIMITS.queueServedMs ? (this.#newcomer ??= { onlyOnce: true }) : this
  }

  #runHere(request: Request, answer: Answer): void {
    if (request.operation === 'rpc.cancel') answer(this.#cancel((request.params as ParamsOf<'rpc.cancel'>).id))
    else if (request.operation === 'events.subscribe') this.#subscribe(request.params, answer)
    else answer(this.#unsubscribe((request.params as ParamsOf<'events.unsubscribe'>).subscription))
  }

  #cancel(id: string | number): Reply {
    const cancelled = this.#beginning?.cancel(id) || [...(this.#turns ?? [])].some((turn) => turn.cancel(id))
    return { ok: true, json: JSON.stringify({ cancelled }) }
  }

  #subscribe(filter: ParamsOf<'events.subscribe'>, answer: Answer): void {
    const subscriptions = (this.#subscriptions ??= new Map())
    if (subscriptions.size >= LIMITS.feedSubscriptionsMax) {
      const message = `one WebSocket may hold ${LIMITS.feedSubscriptionsMax} subscriptions`
      return answer(refused(new SpacedriveError('BAD_REQUEST', message, { hint: 'End one with events.unsubscribe.' })))
    }
    this.#subscribed += 1
    const id = String(this.#subscribed)
    const wake = () => this.#wake(subscription)
    const reading = this.#desk.setup.publisher.follow(filter, wake, this.#caller.libraries)
    const subscription: Subscription = { id, reading, seq: 0 }
    subscriptions.set(id, subscription)
    const { cursor, missed } = reading
    const told = filter.cursor === undefined ? {} : { missed }
    answer({ ok: true, json: JSON.stringify({ subscription: id, cursor, ...told }) })
    this.#wake(subscription)
  }

  #unsubscribe(id: string): Reply {
    const subscription = this.#subscriptions?.get(id)
    if (!subscription) {
      const hint = 'Use an id that events.subscribe gave on this WebSocket.'
      return refused(new SpacedriveError('BAD_REQUEST', 'there is no such subscription', { hint }))
    }
    this.#subscriptions!.delete(id)
    this.#due?.delete(subscription)
    subscription.reading.end()
    return { ok: true, json: 'true' }
  }

  #wake(subscription: Subscription): void {
    ;(this.#due ??= new Set()).add(subscription)
    this.#flushSoon()
  }

  /** The client has read on. */
  drained(): void {
    if (isFilled(this.#due)) this.#flushSoon()
  }

  /**
   * Only as far ahead of its reader that what it does not read costs little. Each subscription that is due gets an equal part of
   * the room; one that is not through comes last the next time.
   *
   * @returns how many characters that is
   */
  #takeEvents(due: Set<Subscription>, texts: (string | Uint8Array)[]): number {
    const room = LIMITS.feedEventsAheadBytes - this.#buffered()
    if (room <= 0) return 0
    const before = texts.length
    const share = Math.ceil(room / due.size)
    for (const subscription of [...due]) {
      const { lost, cursor, events, more } = subscription.reading.take(share)
      due.delete(subscription)
      if (lost > 0) texts.push(encodeGap(subscription.id, subscription.seq, lost, cursor))
      subscription.seq += lost
      for (const event of events) texts.push(encodeEvent(subscription.id, (subscription.seq += 1), event))
      if (more) due.add(subscription)
    }
    return texts.slice(before).reduce((sum, { length }) => sum + length, 0)
  }

  #buffered(): number {
    this.#unsentMost = this.#wire.buffered()
    return this.#outboxBytes + this.#unsentMost
  }

  /** Whether more bytes than this wait here. */
  #holds(bytes: number): boolean {
    return this.#outboxBytes + this.#unsentMost > bytes && this.#buffered() > bytes
  }

  /** What one tick brings leaves in one system call. */
  #push(text: string | Uint8Array): void {
    if (!this.#open) return
    if (this.#beginning && this.#wire.gathers && !this.#outbox && !this.#refused) return this.#send(text)
    if (this.#outbox) this.#outbox.push(text)
    else this.#outbox = [text]
    this.#outboxBytes += text.length
    this.#flushSoon()
    if (this.#holds(LIMITS.feedUnreadBytesMax)) this.cutOff()
  }

  /** What nobody is in a hurry for: to write it costs more than all else of it, so what comes in some time leaves as one. */
  #pushLater(refused: Prepared, id: number): void {
    if (this.#refused) this.#refused.push(refused, id)
    else this.#refused = [refused, id]
    this.#outboxBytes += refused.lengthMost
    if (this.#outboxBytes > LIMITS.answerCopyBytesMax) this.#flushSoon()
    else if (!this.#flushes && !this.#flushesLater) {
      this.#flushesLater = true
      flushPatiently(this)
    }
    if (this.#holds(LIMITS.feedUnreadBytesMax)) this.cutOff()
  }

  #send(text: string | Uint8Array): void {
    this.#wire.send(text)
    this.#wasSent(text)
    this.#sent(1, text.length)
    if (this.#holds(LIMITS.feedUnreadBytesMax)) this.cutOff()
  }

  #flushSoon(): void {
    if (this.#flushes) return
    this.#flushes = true
    flushSoon(this)
  }

  /** What was pushed and has not gone, and events behind it. */
  flush(): void {
    this.#flushes = this.#flushesLater = false
    if (!this.#open) return
    const texts = this.#refused ? [...this.#refusals(this.#refused), ...(this.#outbox ?? [])] : (this.#outbox ?? [])
    const chars = this.#outboxBytes
    this.#outbox = this.#refused = null
    this.#outboxBytes = 0
    const eventChars = isFilled(this.#due) ? this.#takeEvents(this.#due, texts) : 0
    if (texts.length === 0) return
    if (texts.length === 1) this.#wire.send(texts[0]!)
    else this.#wire.sendAll(texts)
    for (const text of texts) this.#wasSent(text)
    this.#sent(texts.length, chars + eventChars)
    if (isFilled(this.#due) && !this.#holds(LIMITS.feedEventsAheadBytes)) this.#flushLater()
  }

  #wasSent(text: string | Uint8Array): void {
    if (typeof text !== 'string' && this.#wire.copies && !this.#wire.packed) giveSpare(text)
  }

  #refusals(refused: readonly (Prepared | number)[]): (string | Uint8Array)[] {
    return Array.from({ length: refused.length / 2 }, (_, at) => {
      const [by, id] = [refused[2 * at] as Prepared, refused[2 * at + 1] as number]
      return this.#wire.packed ? by.packed(id) : by.text(id)
    })
  }

  /** After the others have had their turn of the loop. */
  #flushLater(): void {
    if (this.#flushes) return
    this.#flushes = true
    setImmediate(() => this.flush())
  }

  /** At worst the kernel has taken none of it, and every character has as many bytes as it can. */
  #sent(messages: number, chars: number): void {
    this.#unsentMost += MESSAGE_HEAD_BYTES * messages + UTF8_BYTES_MAX * chars
    if (this.#unsentMost > LIMITS.answerCopyBytesMax) this.#desk.unread.note(this, this.#buffered())
  }
}

class FeedTurn extends Turn {
  readonly #feed: Feed

  constructor(feed: Feed, desk: Desk) {
    super(desk)
    this.#feed = feed
  }

  protected override run(request: Request, answer: Answer): GiveUp | void {
    return this.#feed.run(request, answer)
  }

  override refuser(): Refuse | null {
    return this.#feed.refuser()
  }

  protected override settled(text: string | Uint8Array | null): void {
    this.#feed.settled(this, text)
  }

  protected override get memory(): ((length: number) => Buffer) | null {
    return this.#feed.memory
  }
}

function isFilled<All extends { readonly size: number }>(all: All | null): all is All {
  return all !== null && all.size > 0
}

function busy(message: string): Reply {
  return refused(new SpacedriveError('SHARD_BUSY', message))
}

function refused(error: SpacedriveError): Reply {
  return { ok: false, error: toWire(error) }
}
