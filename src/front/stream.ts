// GET /events: events as Server-Sent Events, for curl and for browsers. One request is one subscription, with its filter in the
// query; who comes back with Last-Event-ID has what happened meanwhile, or is told how much of it is gone.
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { gapOf } from '../protocol/codec.js'
import type { Published } from '../protocol/messages.js'
import { PARAMS, type ParamsOf } from '../protocol/operations.js'
import type { Reading } from '../shard/events.js'
import { refusal, SECURITY_HEADERS, type Desk, type Page } from './desk.js'
import { barred } from './exchange.js'
import type { Seat } from './gate.js'
import type { Head } from './head.js'
import type { Streaming } from './streams.js'
import type { Bound, Caller } from './tokens.js'
import type { Reader } from './unread.js'

export const STREAM_HEADERS = { ...SECURITY_HEADERS, 'Content-Type': 'text/event-stream' } as const

export interface StreamRequest {
  readonly query: string
  /** Of the last event that came. */
  readonly lastEventId: string | undefined
}

/** Null where the path is another's. @param query without the `?` */
export function streamRequest(path: string, query: string, { lastEventId }: Head): StreamRequest | null {
  return path === '/events' ? { query, lastEventId } : null
}

/** The response, as far as a stream needs it. Nothing here is called once the client is gone. */
export interface StreamSink {
  refuse(page: Page): void
  /** Status 200 and STREAM_HEADERS. */
  begin(): void
  /** False when not all of it was taken: `Stream.drained` is called when it is. */
  write(text: string): boolean
  /** The last of it. */
  end(): void
  cut(): void
}

/** A cursor of no run: what came after it cannot be told. */
const STRANGE = 'none.0'

/** A comment, which no client looks at. */
const BEAT = ':\n\n'

export class Stream implements Reader, Bound, Streaming {
  readonly #desk: Desk
  readonly #sink: StreamSink
  #caller: Caller | null = null
  #reading: Reading | null = null
  #seq = 0
  #due = false
  #flushes = false
  /** What the last write brought, of which a part was not taken yet. */
  #unsent = 0
  #over = false

  constructor(desk: Desk, sink: StreamSink) {
    this.#desk = desk
    this.#sink = sink
  }

  begin(request: StreamRequest, seat: Seat, caller: Caller): void {
    const filter = filterOf(request)
    const error =
      filter instanceof SpacedriveError
        ? filter
        : barred({ operation: 'events.subscribe', params: filter }, seat, this.#desk, caller)
    if (error) return this.#sink.refuse(refusal(error, { close: true }))
    this.#caller = caller
    caller.bind(this)
    this.#desk.streams.add(this)
    const wanted = filter as ParamsOf<'events.subscribe'>
    const reading = (this.#reading = this.#desk.setup.publisher.follow(wanted, () => this.#wake(), caller.libraries))
    this.#sink.begin()
    this.#write(opening(reading, wanted))
    this.#wake()
  }

  /** The client is gone. */
  abandon(): void {
    this.#close(() => undefined)
  }

  /** What was written is taken. */
  drained(): void {
    if (this.#over) return
    this.#unsent = 0
    this.#desk.unread.forget(this)
    this.#desk.begun += 1
    // Something is written either way: only that empties the buffer of uWebSockets.
    if (this.#due) this.#flush()
    else this.#write(BEAT)
  }

  beat(): void {
    if (this.#unsent === 0) this.#write(BEAT)
  }

  end(): void {
    this.#close(() => this.#sink.end())
  }

  tokenEnded(): void {
    this.end()
  }

  unread(): number {
    return this.#unsent
  }

  cutOff(): void {
    this.#close(() => this.#sink.cut())
  }

  #wake(): void {
    this.#due = true
    if (this.#flushes) return
    this.#flushes = true
    queueMicrotask(() => this.#flushNow())
  }

  #flushNow(): void {
    this.#flushes = false
    if (!this.#over && this.#due && this.#unsent === 0) this.#flush()
  }

  #flush(): void {
    const { lost, cursor, events, more } = this.#reading!.take(LIMITS.feedEventsAheadBytes)
    this.#due = more
    const gap = lost > 0 ? `event: gap\nid: ${cursor}\ndata: {${gapOf(this.#seq, lost, cursor)}}\n\n` : ''
    this.#seq += lost + events.length
    this.#write(gap + events.map(eventText).join(''))
    if (!more || this.#unsent > 0 || this.#flushes) return
    this.#flushes = true
    // After the others have had their turn of the loop.
    setImmediate(() => this.#flushNow())
  }

  #write(text: string): void {
    if (this.#over || text === '' || this.#sink.write(text)) return
    this.#unsent = text.length
    this.#desk.unread.note(this, text.length)
  }

  #close(last: () => void): void {
    if (this.#over) return
    this.#over = true
    this.#reading?.end()
    this.#caller?.free(this)
    this.#desk.streams.remove(this)
    this.#desk.unread.forget(this)
    last()
  }
}

function filterOf({ query, lastEventId }: StreamRequest): ParamsOf<'events.subscribe'> | SpacedriveError {
  const asked: Record<string, unknown> = {}
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === 'types') asked[key] = [...((asked[key] as string[] | undefined) ?? []), ...value.split(',')]
    else if (Object.hasOwn(asked, key)) return wrong(`${key} is given twice`)
    else asked[key] = value
  }
  if (lastEventId !== undefined && lastEventId !== '') asked['cursor'] = isCursor(lastEventId) ? lastEventId : STRANGE
  const checked = PARAMS['events.subscribe'].safeParse(asked)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  const at = issue?.path.join('.') ?? ''
  return wrong(`${at === '' ? '' : `${at}: `}${issue?.message ?? 'wrong parameters'}`)
}

/** A browser cannot be talked out of an id that somebody else gave it, and comes to no stream again that refuses it. */
function isCursor(id: string): boolean {
  return PARAMS['events.subscribe'].shape.cursor.safeParse(id).success
}

function wrong(message: string): SpacedriveError {
  const hint = 'The query takes what events.subscribe takes, types with commas between them; see docs/protocol.md.'
  return new SpacedriveError('BAD_REQUEST', message, { hint })
}

/** Always with an id: by the letter of the standard an event without one, where it is the first of a stream, makes the last one empty. */
function opening({ cursor, missed }: Reading, filter: ParamsOf<'events.subscribe'>): string {
  const told = filter.cursor === undefined ? { cursor } : { cursor, missed }
  return `retry: ${LIMITS.streamRetryMs}\nevent: subscribed\nid: ${cursor}\ndata: ${JSON.stringify(told)}\n\n`
}

function eventText({ event: { type }, cursor, json }: Published): string {
  return `event: ${type}\nid: ${cursor}\ndata: ${json}\n\n`
}
