// One message from a client until its answer: runs its calls, waits for the last, and gives up at the deadline.
import { SpacedriveError, toWire } from '../base/errors.js'
import { answerMessage, decode, encodeError, encodeReply, type Call, type Decoded } from '../protocol/codec.js'
import type { GiveUp, Reply, Request } from '../protocol/messages.js'
import { Timed, type Deadlines } from './deadlines.js'
import type { Resume } from './resume.js'

type Answer = (reply: Reply) => void

const TIMEOUT: Reply = {
  ok: false,
  error: toWire(new SpacedriveError('TIMEOUT', 'no answer came before the response deadline')),
}

export abstract class Turn extends Timed {
  readonly #deadlines: Deadlines
  readonly #resume: Resume
  /** Answers of the calls that have not come yet, and those that have: each takes only its first reply. */
  #answers: Answer[] = []
  #giveUps: GiveUp[] = []
  #settled = false
  #late = false

  constructor({ deadlines, resume }: { readonly deadlines: Deadlines; readonly resume: Resume }) {
    super()
    this.#deadlines = deadlines
    this.#resume = resume
  }

  /** Runs one call; calls `answer` perhaps before it returns, perhaps too late. */
  protected abstract run(request: Request, answer: Answer): GiveUp | void

  /** The text that answers the message; null when it held only notifications. `late` when a call ran out of time. */
  protected abstract settled(text: string | null, late: boolean): void

  begin(text: string): void {
    if (this.#resume.holds) this.#resume.hold(() => this.#begin(text))
    else this.#begin(text)
  }

  #begin(text: string): void {
    if (this.#settled) return
    const decoded = decode(text)
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
    this.#late = true
    this.#giveUp()
    for (const answer of this.#answers) answer(TIMEOUT)
  }

  #giveUp(): void {
    for (const giveUp of this.#giveUps) giveUp()
    this.#giveUps = []
  }

  #single({ id, request, error }: Call): void {
    if (error) return this.#settle(id === undefined ? null : encodeError(id, error))
    const answer: Answer = (reply) => {
      if (!this.#settled) this.#settle(id === undefined ? null : encodeReply(id, reply))
    }
    if (request) this.#attempt(request, answer)
  }

  #batch(decoded: Decoded): void {
    const run = (request: Request, answer: Answer) => this.#attempt(request, firstOnly(answer))
    answerMessage(decoded, run, (text) => {
      if (!this.#settled) this.#settle(text)
    })
  }

  #attempt(request: Request, answer: Answer): void {
    this.#answers.push(answer)
    try {
      const giveUp = this.run(request, answer)
      if (giveUp && !this.#settled) this.#giveUps.push(giveUp)
    } catch (error) {
      answer({ ok: false, error: toWire(error) })
    }
  }

  #settle(text: string | null): void {
    this.#settled = true
    this.#deadlines.remove(this)
    this.settled(text, this.#late)
  }
}

function firstOnly(answer: Answer): Answer {
  let answered = false
  return (reply) => {
    if (answered) return
    answered = true
    answer(reply)
  }
}
