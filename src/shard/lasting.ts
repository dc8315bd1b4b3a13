// Operations that take as long as they take. While one goes on nobody is told that it is late; one that stands still is.
import { SpacedriveError, toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { GiveUp, Reply } from '../protocol/messages.js'

type Answer = (reply: Reply) => void

interface Going {
  readonly timer: NodeJS.Timeout
  readonly end: (error: SpacedriveError) => void
}

export class Lasting {
  readonly #stillMsMax: number
  readonly #going = new Map<string, Going>()

  /** @param stillMsMax what is not told to go on for so long has ended in TIMEOUT */
  constructor(stillMsMax: number = LIMITS.responseMs) {
    this.#stillMsMax = stillMsMax
  }

  /**
   * @param id of what is being made
   * @param ask begins it
   * @returns as `ask`
   */
  begin(id: string, answer: Answer, ask: (answer: Answer) => GiveUp): GiveUp {
    let isAnswered = false
    const once: Answer = (reply) => {
      this.#forget(id)
      if (isAnswered) return
      isAnswered = true
      answer(reply)
    }
    const giveUp = ask(once)
    const end = (error: SpacedriveError) => {
      giveUp()
      once({ ok: false, error: toWire(error) })
    }
    const still = () => end(new SpacedriveError('TIMEOUT', `nothing came of it for ${this.#stillMsMax / 1_000} s`))
    this.#going.set(id, { timer: setTimeout(still, this.#stillMsMax).unref(), end })
    return () => {
      this.#forget(id)
      giveUp()
    }
  }

  goesOn(id: string): void {
    this.#going.get(id)?.timer.refresh()
  }

  /** All that go on now. */
  end(error: SpacedriveError): void {
    for (const { end } of [...this.#going.values()]) end(error)
  }

  #forget(id: string): void {
    clearTimeout(this.#going.get(id)?.timer)
    this.#going.delete(id)
  }
}
