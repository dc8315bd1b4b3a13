// One message from a client until its answer: runs its calls, waits for the last, and gives up at the deadline.
import { SpacedriveError, toWire, type ErrorCode } from '../base/errors.js'
import {
  answerMessage,
  decode,
  decodePacked,
  encodeError,
  encodeLongReply,
  encodeReply,
  type Call,
  type Decoded,
  type Refusing,
  type Id,
} from '../protocol/codec.js'
import type { GiveUp, Reply, Request } from '../protocol/messages.js'
import type { Refuse } from '../protocol/prepared.js'
import { isLasting } from '../protocol/work.js'
import { Timed, type Deadlines } from './deadlines.js'
import type { Resume } from './resume.js'

type Answer = (reply: Reply) => void

/**
 * A message that is not JSON-RPC: asks for as many operations as it needs, then tells the text that answers it, once. Must not
 * throw. Past the deadline whatever it asks is refused with TIMEOUT, so that it tells soon.
 */
export type Tongue = (ask: (request: Request, answer: Answer) => void, tell: (text: string) => void) => void

/** One call whose answer has not come, as far as its turn knows. */
interface Running {
  readonly id: Id | undefined
  /** Takes only the first reply. */
  readonly answer: Answer
  giveUp: GiveUp | void
  timer: NodeJS.Timeout | undefined
  readonly lasts: boolean
}

const TIMEOUT = refused('TIMEOUT', 'no answer came before the response deadline')
const TIMEOUT_OF_ITS_OWN = refused('TIMEOUT', 'no answer came within its timeoutMs')
const CANCELLED = refused('CANCELLED', 'its client cancelled the request')

/** Shared, and never added to. */
const NONE: Running[] = []

export abstract class Turn extends Timed implements Refusing {
  readonly #deadlines: Deadlines
  readonly #resume: Resume
  /** The calls of this message that were not answered at once. */
  #running: Running[] = NONE
  #settled = false
  /** Whatever is asked now is too late. */
  #late = false

  constructor({ deadlines, resume }: { readonly deadlines: Deadlines; readonly resume: Resume }) {
    super()
    this.#deadlines = deadlines
    this.#resume = resume
  }

  /** Runs one call; calls `answer` perhaps before it returns, perhaps too late. */
  protected abstract run(request: Request, answer: Answer): GiveUp | void

  /**
   * The text that answers the message, or its UTF-8 where there is `memory` for that; null when it held only notifications. `late` when
   * all of its calls ran out of time.
   */
  protected abstract settled(text: string | Uint8Array | null, late: boolean): void

  /** Memory for a long answer as UTF-8; null where it is wanted as text. */
  protected get memory(): ((length: number) => Buffer) | null {
    return null
  }

  /** What of it may not even be looked at now; null where all may. */
  refuser(): Refuse | null {
    return null
  }

  /** True once nothing is to be answered any more. */
  get over(): boolean {
    return this.#settled
  }

  /** @param message bytes are MessagePack, and not looked at any more when this returns */
  begin(message: string | Uint8Array): void {
    if (!this.#resume.holds) return this.#begin(message)
    const kept = typeof message === 'string' ? message : new Uint8Array(message)
    this.#resume.hold(() => this.#begin(kept))
  }

  beginWith(tongue: Tongue): void {
    if (this.#resume.holds) this.#resume.hold(() => this.#speak(tongue))
    else this.#speak(tongue)
  }

  #speak(tongue: Tongue): void {
    if (this.#settled) return
    const ask = (request: Request, answer: Answer) => {
      if (this.#settled) return
      if (this.#late) answer(TIMEOUT)
      else this.#attempt(request, firstOnly(answer), { id: undefined })
    }
    tongue(ask, (text) => {
      if (!this.#settled) this.#settle(text, false)
    })
    if (!this.#settled) this.#deadlines.add(this)
  }

  #begin(message: string | Uint8Array): void {
    if (this.#settled) return
    const decoded = typeof message === 'string' ? decode(message, this) : decodePacked(message, this)
    const only = decoded.calls[0]
    if (decoded.batch || !only) this.#batch(decoded)
    else this.#single(only)
    if (!this.#settled) this.#deadlines.add(this)
  }

  /** The client is gone: whatever answers come are dropped. */
  abandon(): void {
    this.#settled = true
    this.#deadlines.remove(this)
    this.#giveUp()
  }

  override expire(): void {
    const lasts = this.#running.some((each) => each.lasts)
    this.#late = !lasts
    for (const running of this.#running) if (!running.lasts) end(running, TIMEOUT)
    if (lasts && !this.#settled) this.#deadlines.add(this)
  }

  /** Ends the call of this id, if its answer has not gone out; one of a batch that has it already keeps it. */
  cancel(id: Id): boolean {
    const running = this.#settled ? undefined : this.#running.find((each) => each.id === id)
    if (running) end(running, CANCELLED)
    return running !== undefined
  }

  #giveUp(): void {
    for (const { giveUp, timer } of this.#running) {
      clearTimeout(timer)
      giveUp?.()
    }
    this.#running = NONE
  }

  #single(call: Call): void {
    const { id, request, error, refused } = call
    if (error) return this.#settle(id === undefined ? null : encodeError(id, error), false)
    if (refused) return this.#settle(id === undefined ? null : refused.text(id), false)
    const answer: Answer = (reply) => {
      if (!this.#settled) this.#settle(id === undefined ? null : this.#encode(id, reply), isLate(reply))
    }
    if (request) this.#attempt(request, answer, call)
  }

  #encode(id: Id, reply: Reply): string | Uint8Array {
    const bytes = reply.ok ? reply.bytes : undefined
    const memory = bytes ? this.memory : null
    return bytes && memory ? encodeLongReply(id, bytes, memory) : encodeReply(id, reply)
  }

  #batch(decoded: Decoded): void {
    let inTime = decoded.calls.some(({ request }) => !request)
    const run = (request: Request, answer: Answer, call: Call) => {
      const take: Answer = (reply) => {
        inTime ||= !isLate(reply)
        answer(reply)
      }
      this.#attempt(request, firstOnly(take), call)
    }
    answerMessage(decoded, run, (text) => {
      if (!this.#settled) this.#settle(text, !inTime)
    })
  }

  #attempt(request: Request, answer: Answer, { id, timeoutMs }: Call): void {
    try {
      const giveUp = this.run(request, answer)
      if (this.#settled) return
      const running: Running = {
        id,
        answer,
        giveUp,
        timer: undefined,
        lasts: isLasting(request.operation, request.params),
      }
      if (this.#running === NONE) this.#running = [running]
      else this.#running.push(running)
      if (timeoutMs !== undefined) running.timer = setTimeout(() => this.#timeOut(running), timeoutMs)
    } catch (error) {
      answer({ ok: false, error: toWire(error) })
    }
  }

  #timeOut(running: Running): void {
    if (!this.#settled) end(running, TIMEOUT_OF_ITS_OWN)
  }

  #settle(text: string | Uint8Array | null, late: boolean): void {
    this.#settled = true
    for (const { timer } of this.#running) if (timer) clearTimeout(timer)
    // All have their answer: nothing is left to give up when the connection closes.
    this.#running = NONE
    this.#deadlines.remove(this)
    this.settled(text, late)
  }
}

function end(running: Running, reply: Reply): void {
  const { answer, giveUp, timer } = running
  clearTimeout(timer)
  running.giveUp = undefined
  giveUp?.()
  answer(reply)
}

function isLate(reply: Reply): boolean {
  return reply === TIMEOUT || reply === TIMEOUT_OF_ITS_OWN
}

function refused(code: ErrorCode, message: string): Reply {
  return { ok: false, error: toWire(new SpacedriveError(code, message)) }
}

function firstOnly(answer: Answer): Answer {
  let answered = false
  return (reply) => {
    if (answered) return
    answered = true
    answer(reply)
  }
}
