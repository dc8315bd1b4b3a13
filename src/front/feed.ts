// One WebSocket: requests in, answers and events out, every list of it bounded.
import { SpacedriveError, toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { encodeEvent } from '../protocol/codec.js'
import type { GiveUp, Published, Reply, Request } from '../protocol/messages.js'
import { runsOn, type ParamsOf } from '../protocol/operations.js'
import type { Desk } from './desk.js'
import { barred, seenBy } from './exchange.js'
import type { Seat } from './gate.js'
import type { Bound, Caller } from './tokens.js'
import { Turn } from './turn.js'
import type { Reader } from './unread.js'

/** The socket, as far as a feed needs it. Not called any more once the feed is closed. */
export interface Wire {
  /** Writes messages in order, in as few system calls as it can. */
  send(texts: readonly string[]): void
  /** Bytes that were sent but not taken by the kernel yet. */
  buffered(): number
  /** Says why, and lets what was sent before arrive. */
  close(code: number, reason: string): void
  /** Closes at once, and frees what is still buffered. */
  cut(): void
}

type Answer = (reply: Reply) => void

/** The code that a WebSocket is closed with whose token does not hold any more. */
const ENDED = 4001

export class Feed implements Reader, Bound {
  readonly since = performance.now()
  readonly peer: string
  readonly #desk: Desk
  readonly #seat: Seat
  readonly #wire: Wire
  readonly #caller: Caller
  readonly #turns = new Set<FeedTurn>()
  readonly #subscriptions = new Map<string, () => void>()
  #subscribed = 0
  #inFlight = 0
  #outbox: string[] = []
  #outboxBytes = 0
  #open = true
  #usedAt = performance.now()

  constructor(desk: Desk, seat: Seat, wire: Wire, peer: string, caller: Caller) {
    this.peer = peer
    this.#desk = desk
    this.#seat = seat
    this.#wire = wire
    this.#caller = caller
    caller.bind(this)
  }

  tokenEnded(): void {
    this.close(ENDED, 'the token was revoked or has expired')
  }

  message(text: string): void {
    if (!this.#open) return
    this.#desk.begun += 1
    this.#usedAt = performance.now()
    const turn = new FeedTurn(this, this.#desk)
    this.#turns.add(turn)
    turn.begin(text)
  }

  /** How long nothing was asked or answered; null while something is, or may come by subscription. */
  get idleMs(): number | null {
    const busy = this.#subscriptions.size > 0 || this.#turns.size > 0 || this.#inFlight > 0 || this.#buffered() > 0
    return busy || !this.#open ? null : performance.now() - this.#usedAt
  }

  /** Ends the feed from our side. */
  close(code: number, reason: string): void {
    if (!this.#open) return
    this.#flush()
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
    for (const end of this.#subscriptions.values()) end()
    this.#subscriptions.clear()
    for (const turn of this.#turns) turn.abandon()
    this.#turns.clear()
  }

  settled(turn: FeedTurn, text: string | null): void {
    this.#turns.delete(turn)
    this.#usedAt = performance.now()
    if (text !== null) this.#push(text)
  }

  run(request: Request, answer: Answer): GiveUp | void {
    const error = barred(request, this.#seat, this.#desk, this.#caller)
    if (error) answer({ ok: false, error: toWire(error) })
    else if (runsOn(request.operation) === 'feed') this.#runHere(request, answer)
    else return this.#dispatch(request, seenBy(this.#caller, request, answer))
  }

  #dispatch(request: Request, answer: Answer): GiveUp | void {
    if (this.#inFlight >= LIMITS.feedInFlightMax) return answer(busy('too many requests are in flight here'))
    if (this.#buffered() > LIMITS.feedBufferedBytesMax) return answer(busy('earlier answers were not read yet'))
    this.#inFlight += 1
    // Counted until the answer comes, even when the client got TIMEOUT before: the work is still being done.
    const counted: Answer = (reply) => {
      this.#inFlight -= 1
      answer(reply)
    }
    try {
      return this.#desk.setup.dispatch(request, counted)
    } catch (error) {
      counted({ ok: false, error: toWire(error) })
    }
  }

  #runHere(request: Request, answer: Answer): void {
    if (request.operation === 'rpc.cancel') answer(this.#cancel((request.params as ParamsOf<'rpc.cancel'>).id))
    else if (request.operation === 'events.subscribe') this.#subscribe(request.params, answer)
    else answer(this.#unsubscribe((request.params as ParamsOf<'events.unsubscribe'>).subscription))
  }

  #cancel(id: string | number): Reply {
    const cancelled = [...this.#turns].some((turn) => turn.cancel(id))
    return { ok: true, json: JSON.stringify({ cancelled }) }
  }

  #subscribe(filter: ParamsOf<'events.subscribe'>, answer: Answer): void {
    if (this.#subscriptions.size >= LIMITS.feedSubscriptionsMax) {
      const message = `one WebSocket may hold ${LIMITS.feedSubscriptionsMax} subscriptions`
      return answer(refused(new SpacedriveError('BAD_REQUEST', message, { hint: 'End one with events.unsubscribe.' })))
    }
    this.#subscribed += 1
    const subscription = String(this.#subscribed)
    let seq = 0
    const deliver = (published: Published) => {
      seq += 1
      if (this.#subscriptions.has(subscription)) this.#deliver(subscription, seq, published)
    }
    const { cursor, kept, missed, end } = this.#desk.setup.publisher.subscribe(filter, deliver, this.#caller.libraries)
    this.#subscriptions.set(subscription, end)
    const told = filter.cursor === undefined ? {} : { missed }
    answer({ ok: true, json: JSON.stringify({ subscription, cursor, ...told }) })
    for (const published of kept) deliver(published)
  }

  #unsubscribe(subscription: string): Reply {
    const end = this.#subscriptions.get(subscription)
    if (!end) {
      const hint = 'Use an id that events.subscribe gave on this WebSocket.'
      return refused(new SpacedriveError('BAD_REQUEST', 'there is no such subscription', { hint }))
    }
    this.#subscriptions.delete(subscription)
    end()
    return { ok: true, json: 'true' }
  }

  /** Drops the event when the client reads too slowly; its number is spent, so that the gap shows. */
  #deliver(subscription: string, seq: number, published: Published): void {
    if (this.#buffered() <= LIMITS.feedBufferedBytesMax) this.#push(encodeEvent(subscription, seq, published))
  }

  #buffered(): number {
    return this.#outboxBytes + this.#wire.buffered()
  }

  /** Collects what one tick brings: the answers of a shard come together, and leave in one system call. */
  #push(text: string): void {
    if (!this.#open) return
    if (this.#outbox.length === 0) queueMicrotask(() => this.#flush())
    this.#outbox.push(text)
    this.#outboxBytes += text.length
    if (this.#buffered() > LIMITS.feedUnreadBytesMax) this.cutOff()
  }

  #flush(): void {
    if (!this.#open || this.#outbox.length === 0) return
    const texts = this.#outbox
    this.#outbox = []
    this.#outboxBytes = 0
    this.#wire.send(texts)
    this.#desk.unread.note(this, this.#wire.buffered())
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

  protected override settled(text: string | null): void {
    this.#feed.settled(this, text)
  }
}

function busy(message: string): Reply {
  return refused(new SpacedriveError('SHARD_BUSY', message))
}

function refused(error: SpacedriveError): Reply {
  return { ok: false, error: toWire(error) }
}
