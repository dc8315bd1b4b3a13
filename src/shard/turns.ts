// What a shard was asked: begun in the order in which it came, for so long in one turn of the thread's loop, and answered in few
// messages. What it has still before it is told in shared memory to those that ask.
import { SpacedriveError, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { Ahead } from './ahead.js'
import { GivenUp } from './given-up.js'
import { MAY_TAKE_LONG, type FromShard, type LineMemory, type Requests, type ShardOperation } from './lines.js'
import { LongAnswers } from './long-answers.js'

/** What is done with what was asked. */
export interface Work {
  /** @returns a result, or a promise of one. @throws whatever refuses it */
  run(operation: ShardOperation, params: unknown): unknown
  /** Those that came together are begun, as many as there was time for. */
  ended(): void
  refused(error: unknown): WireError
  /** One was not begun, for nobody waits for it any more. */
  leftOut(): void
  /** There is an answer to be taken from here, soon. */
  answered(): void
  /** And now, while it goes on. */
  tell(): void
}

/** To one of those that ask. */
interface Line {
  readonly number: number
  readonly givenUp: GivenUp
  readonly longAnswers: LongAnswers
  readonly send: (message: FromShard) => void
  replies: Replies
}

type Replies = NonNullable<FromShard['replies']>

/** Requests that came together, of which those before `at` were begun. */
interface Came {
  readonly line: Line
  readonly requests: Requests
  readonly mayWaitMs: readonly number[]
  readonly clockMs: number
  at: number
}

const NO_BOUNDS: readonly number[] = []
/** The clock is looked at after so many elements of a list of requests, four of these. */
const CLOCK_EACH = 12

export class Turns {
  /** How often anything was asked so far. */
  asked = 0
  /** Whether what is begun came with others. */
  several = false
  readonly #ahead: Ahead
  readonly #work: Work
  /** Of all that ask; the first is the main thread. */
  readonly #lines: Line[] = []
  /** What came when it had been at requests for long enough, in its order. */
  #pending: Came[] = []
  /** By which what came grows older. It goes on for a turn at most while one thing is done that takes longer. */
  #clockMs = 0
  #clockAt = 0
  /** For how long it was at requests since it last let others have a turn. */
  #workedMs = 0
  #goingOn = false
  /** What was begun last, where more was there already: since when, and how many. */
  #sliceAt = 0
  #sliceCount = 0
  /** Of those that may go on for many turns, how many are not answered yet. */
  #long = 0

  constructor(ahead: SharedArrayBuffer, work: Work) {
    this.#ahead = new Ahead(ahead)
    this.#work = work
  }

  /** For one more thread that asks; the first is the main one. @returns its number here */
  open({ givenUp, longAnswers }: LineMemory, send: (message: FromShard) => void): number {
    return (
      this.#lines.push({
        number: this.#lines.length,
        givenUp: new GivenUp(givenUp),
        longAnswers: new LongAnswers(longAnswers),
        send,
        replies: [],
      }) - 1
    )
  }

  take(from: number, requests: Requests, mayWaitMs = NO_BOUNDS): void {
    this.asked += 1
    this.#lookAtClock()
    this.#pending.push({ line: this.#lines[from]!, requests, mayWaitMs, clockMs: this.#clockMs, at: 0 })
    if (this.#pending.length === 1 && this.#workedMs < LIMITS.shardTurnMs) this.#begin()
    if (this.#pending.length > 0) this.#goOnSoon()
  }

  /** The main thread's, which go with what else it is told. */
  takeReplies(): Replies {
    const main = this.#lines[0]!
    const { replies } = main
    if (replies.length > 0) main.replies = []
    return replies
  }

  answerOthers(): void {
    for (let at = 1; at < this.#lines.length; at++) {
      const line = this.#lines[at]!
      if (line.replies.length === 0) continue
      line.send({ replies: line.replies })
      line.replies = []
    }
  }

  /**
   * Node hands a thread a thousand messages in one turn of its loop, and while more come there is no end to it: what takes many
   * turns would stand still. So what comes after so much work waits for the next turn.
   */
  #goOnSoon(): void {
    if (this.#goingOn) return
    this.#goingOn = true
    setImmediate(() => {
      this.#goingOn = false
      this.#workedMs = 0
      while (this.#pending.length > 0 && this.#workedMs < LIMITS.shardTurnMs) this.#begin()
      if (this.#pending.length > 0) this.#goOnSoon()
    })
  }

  /** Those that came first, as many as there is time for in this turn. */
  #begin(): void {
    const came = this.#pending[0]!
    const { line, requests, mayWaitMs } = came
    const since = this.#lookAtClock()
    // Those that were over in the turn in which they began are answered by now.
    this.#ahead.long = this.#long
    // What it did for others meanwhile belongs to what these waited for.
    if (this.#sliceCount > 0) this.#ahead.took(since - this.#sliceAt, this.#sliceCount)
    this.several = requests.length > 3
    const untilMs = since + LIMITS.shardTurnMs - this.#workedMs
    const from = came.at
    let toldMs = since
    do {
      const number = requests[came.at] as number
      const bound = mayWaitMs[came.at / 3]
      if (bound && this.#clockMs - came.clockMs > bound) this.#tooLate(line, number)
      else this.#answer(line, number, requests[came.at + 1] as ShardOperation, requests[came.at + 2])
      came.at += 3
      if (came.at % CLOCK_EACH !== 0) continue
      const now = this.#lookAtClock()
      if (now >= untilMs) break
      if (now < toldMs + LIMITS.shardAnswersMs) continue
      toldMs = now
      this.#work.tell()
    } while (came.at < requests.length)
    this.#work.ended()
    if (came.at === requests.length) this.#pending.shift()
    this.#began(line, (came.at - from) / 3, since)
  }

  #lookAtClock(): number {
    const now = performance.now()
    this.#clockMs += Math.min(now - this.#clockAt, LIMITS.shardTurnMs)
    this.#clockAt = now
    return now
  }

  #began(line: Line, count: number, since: number): void {
    const ms = performance.now() - since
    this.#workedMs += ms
    this.#ahead.begun(count, line.number)
    if (this.#pending.length === 0) {
      this.#ahead.took(ms, count)
      this.#sliceCount = 0
    } else {
      this.#sliceAt = since
      this.#sliceCount = count
    }
  }

  #answer(line: Line, number: number, operation: ShardOperation, params: unknown): void {
    if (line.givenUp.has(number)) return this.#leaveOut(line, number)
    try {
      const result = this.#work.run(operation, params)
      if (!(result instanceof Promise)) return this.#reply(line, number, result)
      if (MAY_TAKE_LONG.has(operation)) this.#untilAnswered(result)
      result.then(
        (value) => this.#reply(line, number, value),
        (error: unknown) => this.#refuse(line, number, error),
      )
    } catch (error) {
      this.#refuse(line, number, error)
    }
  }

  #untilAnswered(result: Promise<unknown>): void {
    const answered = () => {
      this.#long -= 1
      if (this.#long < this.#ahead.long) this.#ahead.long = this.#long
    }
    this.#long += 1
    result.then(answered, answered)
  }

  /** Its caller has gone or was told TIMEOUT: answered only to be counted. */
  #leaveOut(line: Line, number: number): void {
    this.#work.leftOut()
    this.#refuse(line, number, new SpacedriveError('TIMEOUT', 'it was not begun: nobody waited for it any more'))
  }

  #reply({ longAnswers, replies }: Line, number: number, value: unknown): void {
    const json = JSON.stringify(value ?? null)
    const at = longAnswers.write(json)
    if (at < 0) replies.push(number, json, null)
    else replies.push(number, at, longAnswers.length)
    this.#work.answered()
  }

  /** With neither a result nor an error. */
  #tooLate({ replies }: Line, number: number): void {
    replies.push(number, null, null)
    this.#work.answered()
  }

  #refuse(line: Line, number: number, error: unknown): void {
    const wire = this.#work.refused(error)
    line.replies.push(number, null, wire)
    this.#work.answered()
  }
}
