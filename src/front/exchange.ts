// One HTTP request of POST /rpc: from its whole body to its answer, whichever implementation carries the bytes.
import { isUtf8 } from 'node:buffer'
import { SpacedriveError, toWire } from '../base/errors.js'
import type { GiveUp, LibraryItem, OnlyOnce, Reply, Request } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import type { Refuse } from '../protocol/prepared.js'
import { runsOn } from '../protocol/work.js'
import { BROKEN, NOT_UTF8, type Desk, type Page } from './desk.js'
import type { Seat } from './gate.js'
import type { Caller } from './tokens.js'
import { Turn } from './turn.js'

/** 204 when there was nothing to answer, 504 when all that was asked ran out of time. */
export type RpcStatus = 200 | 204 | 504

export abstract class Exchange extends Turn implements OnlyOnce {
  readonly onlyOnce = true
  protected readonly desk: Desk
  readonly #seat: Seat
  /** It asks for something of a library. */
  protected isOfLibrary = false
  /** Set before its body is taken. */
  protected caller!: Caller

  constructor(desk: Desk, seat: Seat) {
    super(desk)
    this.desk = desk
    this.#seat = seat
  }

  /** Writes a whole answer, now: nothing else is written to this request. @param text or its UTF-8, in memory that came from `memory` */
  protected abstract write(status: RpcStatus, text: string | Uint8Array): void
  /** Nothing where it was answered already, or nobody waits any more. */
  abstract refuse(page: Page): void

  /** Once all of it is there. */
  tell(page: Page): void {
    if (!page.later) return this.refuse(page)
    page.later.then(
      (body) => this.refuse({ ...page, body }),
      (error: unknown) => this.fail(error),
    )
  }

  /** A fault of ours. Whatever has become of the response, nothing is thrown into the server. */
  fail(error: unknown): void {
    this.desk.setup.log('error', 'a request could not be answered', { error: String(error) })
    try {
      this.refuse(BROKEN)
    } catch {
      // The response was upgraded or ended already: there is nobody left to tell.
    }
  }

  /** Takes the whole body, and does not keep the bytes. */
  take(body: Uint8Array): void {
    const text = textOf(body)
    // What is no UTF-8 was read as this character; looking for it costs next to nothing where all are of one byte.
    if (text.includes('\ufffd') && !isUtf8(body)) return this.refuse(NOT_UTF8)
    const tongue = this.desk.setup.tongue?.(text) ?? null
    if (tongue) this.beginWith(tongue)
    else this.begin(text)
  }

  protected override run(request: Request, answer: (reply: Reply) => void): GiveUp | void {
    const where = runsOn(request.operation)
    this.isOfLibrary ||= where === 'library'
    const error =
      (where === 'feed' ? refusedOverHttp(request) : null) ?? barred(request, this.#seat, this.desk, this.caller)
    if (error) answer({ ok: false, error: toWire(error) })
    else return this.desk.setup.dispatch(request, seenBy(this.caller, request, answer), this)
  }

  override refuser(): Refuse | null {
    return this.desk.refuser(false)
  }

  protected override settled(text: string | Uint8Array | null, late: boolean): void {
    if (text === null) this.write(204, '')
    else this.write(late ? 504 : 200, text)
  }
}

/** Of bytes that are taken for UTF-8. A Buffer over them first costs three times as much. */
export function textOf(bytes: Uint8Array): string {
  return utf8Slice.call(bytes, 0, bytes.length)
}

const { utf8Slice } = Buffer.prototype as unknown as { utf8Slice(this: Uint8Array, from: number, to: number): string }

function refusedOverHttp(request: Request): SpacedriveError {
  const hint = HINTS_OVER_HTTP[request.operation] ?? 'Connect to GET /ws by WebSocket.'
  return new SpacedriveError('BAD_REQUEST', `${request.operation} is not served over HTTP`, { hint })
}

/** What does the same there. */
const HINTS_OVER_HTTP: Partial<Record<OperationName, string>> = {
  'events.subscribe': 'Connect to GET /ws by WebSocket, or read GET /events.',
  'events.unsubscribe':
    'Close the connection of GET /events to end it; a subscription ends on the WebSocket it was made on.',
  'rpc.cancel': 'Close the connection of a request to give it up, or ask over GET /ws by WebSocket.',
}

/** Why this connection may not run this request now, or null. */
export function barred(request: Request, seat: Seat, desk: Desk, caller: Caller): SpacedriveError | null {
  if (desk.state !== 'serving') return desk.unready()
  const refusal = caller.refuses(request)
  if (refusal) return refusal
  if (seat.mayRun(request.operation)) return null
  return new SpacedriveError('CONNECTION_LIMIT', 'every client connection is taken: only core.* is answered here now', {
    retryAfterMs: 1_000,
  })
}

/** The answer that names libraries names only those that the caller may see. */
export function seenBy(
  { libraries }: Caller,
  { operation }: Request,
  answer: (reply: Reply) => void,
): (reply: Reply) => void {
  if (libraries === null || operation !== 'libraries.list') return answer
  return (reply) => {
    if (!reply.ok) return answer(reply)
    const seen = (JSON.parse(reply.json) as LibraryItem[]).filter(({ id }) => libraries.has(id))
    answer({ ok: true, json: JSON.stringify(seen) })
  }
}
