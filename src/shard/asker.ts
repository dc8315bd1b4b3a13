// One thread's lines to all shards: what it asked and has no answer to, what waits its turn, and who is refused where a shard has more
// to do than it can. What comes in one turn of the loop goes to each shard in few messages.
import type { MessagePort } from 'node:worker_threads'
import type { Beats } from '../base/beats.js'
import { fromWire, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { STREAM, type Covered, type GiveUp, type Reply } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import { preparedError, type Prepared } from '../protocol/prepared.js'
import { WORK, type WorkClass } from '../protocol/work.js'
import { Ahead, newAhead } from './ahead.js'
import { GivenUp, newGivenUp } from './given-up.js'
import { Kept, newWritten } from './kept.js'
import {
  MAY_TAKE_LONG,
  type FromShard,
  type LineMemory,
  type Requests,
  type SharedRead,
  type ShardOperation,
  type ToShard,
} from './lines.js'
import { LongAnswersRead } from './long-answers.js'
import { Patience } from './patience.js'
import { Queue, type Refused, type Waiting } from './queue.js'

type Answer = (reply: Reply) => void

/** What the daemon asks of a shard that may wait for others. */
const OWN_JOBS: ReadonlySet<ShardOperation> = new Set<ShardOperation>(['shard.takeUp', 'shard.changes', 'shard.doubt'])

export const GIVEN_UP: Reply = {
  ok: false,
  error: toWire(new SpacedriveError('TIMEOUT', 'it was not begun: nobody waited for it any more')),
}

/** Not thrown: to find out where it was made would cost more than all else of a refusal, when there is the least time for it. */
const OVERLOADED = toWire(new SpacedriveError('OVERLOADED', ''))

/** What a shard answers of which it says neither a result nor an error: it came to it too late. */
const TOO_LATE: WireError = OVERLOADED

/** Of a line that is not connected. */
const NO_LONG_ANSWERS = new LongAnswersRead(new SharedArrayBuffer(0))

export interface AskerSetup {
  readonly shards: number
  /** Which of those who ask this one is, as `Ahead` counts them. */
  readonly line: number
  readonly beats: Beats
  /** False where it is known that a library is yet to be opened. */
  readonly isOpen: (library: string) => boolean
}

/** The line to one shard. */
export interface Line {
  /** Of the shard. */
  readonly number: number
  port: MessagePort | null
  givenUp: GivenUp
  longAnswers: LongAnswersRead
  ahead: Ahead
  kept: Kept
  /** With fewer in flight one more is sent at once; none while the shard is behind, and then it is told apart who is next. */
  atOnceMax: number
  readonly queue: Queue
  readonly patience: Patience
  /** Since when it is, by the clock of `patience`, and how many of these it had begun then. */
  behind: { readonly sinceMs: number; readonly begunBefore: number }
  /** What is told to those that are refused unread, once it was needed. */
  unread: Prepared | null
  /** Requests under way that may go on for many turns, of those that were told apart. */
  long: number
  /** Mutations under way. */
  writes: number
  /** Refused because they waited for too long, or too many did. */
  overloaded: number
  /** Not sent, for nobody waited for them any more. */
  gone: number
  /** Requests by number, in the order they came. */
  readonly inFlight: Map<number, Answer>
  outgoing: Requests
  /** For how long each of these may be left unbegun, in milliseconds, up to the last that has a bound; 0 for none. */
  mayWaitMs: number[]
  /** What only the main thread tells. */
  know: string[]
  covered: [string, Covered][]
  unwanted: string[]
  /** What its last thread died of, and when there may be another. */
  lost: { readonly why: string; readonly retryAfterMs: number }
}

/** What a thread and a shard have in common besides the port. */
export interface LineShared extends LineMemory {
  readonly ahead: SharedArrayBuffer
  readonly written: SharedArrayBuffer
}

/** A shard is late, or comes to each soon but somebody is refused who would read or write. */
export type WhyFilesWait = 'late' | 'crowd'

export class Asker {
  readonly lines: readonly Line[]
  readonly #setup: AskerSetup
  #next = 1
  #sending = false
  /** Set while any shard is behind. */
  #looking: NodeJS.Timeout | undefined

  constructor(setup: AskerSetup) {
    this.#setup = setup
    this.lines = Array.from({ length: setup.shards }, (_, number) => ({
      number,
      port: null,
      givenUp: new GivenUp(newGivenUp()),
      longAnswers: NO_LONG_ANSWERS,
      ahead: new Ahead(newAhead(1)),
      kept: new Kept(newWritten()),
      atOnceMax: LIMITS.shardInFlightMax,
      queue: new Queue(),
      patience: new Patience(),
      behind: { sinceMs: 0, begunBefore: 0 },
      unread: null,
      long: 0,
      writes: 0,
      overloaded: 0,
      gone: 0,
      inFlight: new Map(),
      outgoing: [],
      mayWaitMs: [],
      know: [],
      covered: [],
      unwanted: [],
      lost: { why: '', retryAfterMs: LIMITS.shardRestartMs },
    }))
  }
  /** @param shared as the thread at the other end has it, and nobody had before */
  connect(line: Line, port: MessagePort, { givenUp, longAnswers, ahead, written }: LineShared): void {
    // The numbers of a lost thread's requests say nothing to the next one, and would stay for long.
    line.givenUp = new GivenUp(givenUp)
    line.longAnswers = new LongAnswersRead(longAnswers)
    line.ahead = new Ahead(ahead, this.#setup.line)
    line.kept = new Kept(written)
    line.port = port
  }

  /** Its callers get a retryable error, and so does whoever asks until it is connected again. */
  lose(line: Line, lost: Line['lost']): void {
    line.lost = lost
    line.kept = new Kept(newWritten())
    line.port?.close()
    line.port = null
    line.outgoing = []
    line.mayWaitMs = []
    line.unwanted = []
    const callers = [...line.inFlight.values(), ...line.queue.clear().map(({ answer }) => answer)]
    line.inFlight.clear()
    for (const answer of callers) answer({ ok: false, error: toWire(lostError(line)) })
  }

  /** What waits is sent, for nothing else is asked any more. */
  close(): void {
    clearInterval(this.#looking)
    for (const line of this.lines) for (const waiting of line.queue.clear()) this.#hand(line, waiting)
  }

  /** More is asked of some shard than it can do. */
  get isCrowded(): boolean {
    return this.#looking !== undefined && this.lines.some(({ queue }) => queue.isCrowd)
  }

  /**
   * Files of this shard are not sent: it refuses others, or is late where some shard was for a second. Nor is any file while readers
   * are refused, for then the thread that refuses them has no time for it.
   */
  filesWait(line: Line, isOld: boolean): WhyFilesWait | null {
    const isLooking = this.#looking !== undefined
    const isCrowd = isLooking && (line.queue.isCrowd || this.lines.some(({ queue }) => queue.newestFirst))
    if (isCrowd && line.ahead.ms < LIMITS.interactiveBegunMs) return 'crowd'
    return isCrowd || (isOld && this.waitedMs(line) >= LIMITS.queueWaitedMs[0]) ? 'late' : null
  }

  /** How long who asks this shard waits for it to begin: as the oldest did so far, or as one will that asks now. */
  waitedMs({ port, ahead, atOnceMax, queue, patience }: Line): number {
    if (!port) return 0
    if (atOnceMax > 0) return ahead.ms
    return Math.max(0, ahead.ms, patience.at(performance.now()) - queue.oldest)
  }

  /** Answers that are kept are given back: memory is short. */
  forgetKept(): void {
    for (const { kept } of this.lines) kept.forget()
  }

  /**
   * So many ask this of the shard that one more, of who has something under way already, is refused before anything else of it is
   * looked at.
   *
   * @returns what answers it; null where it may be looked at
   */
  refuseUnread(line: Line, of: WorkClass): Prepared | null {
    if (!line.queue.hasEnough(of)) return null
    line.queue.refusedElsewhere(of)
    line.overloaded += 1
    // While many come at once nothing else sees that the shard needs more.
    if (line.overloaded % REFUSED_EACH === 0 && this.#refill(line)) this.send(line)
    return (line.unread ??= preparedError({ ...OVERLOADED, message: unreadWords(line.number) }, comeAgainMs))
  }

  /** @throws SHARD_LOST, SHARD_BUSY */
  enqueue(line: Line, operation: ShardOperation, params: unknown, answer: Answer, caller?: object): GiveUp {
    if (!line.port) throw lostError(line)
    const isWrite = workOf(operation) === 'mutation'
    // What many will take is not known by what was asked before: that may have been reads, which are done in no time.
    if (isWrite && line.writes >= LIMITS.shardBehindMin && line.atOnceMax > 0) this.#fellBehind(line)
    if (line.inFlight.size >= line.atOnceMax) return this.#tellApart(line, operation, params, answer, caller)
    const number = this.#give(line, operation, params, isWrite ? counted(line, 'writes', answer) : answer)
    const { givenUp } = line
    return () => givenUp.add(number)
  }

  /** @throws SpacedriveError as it came */
  ask<T>(line: Line, operation: ShardOperation, params: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = (reply: Reply) => (reply.ok ? resolve(JSON.parse(reply.json) as T) : reject(fromWire(reply.error)))
      this.enqueue(line, operation, params, answer)
    })
  }

  received(line: Line, { replies }: FromShard): void {
    if (replies) answerSome(line.inFlight, replies, line.longAnswers)
    if (line.atOnceMax === 0 && this.#refill(line)) this.send(line)
  }

  /** When this turn is over, with what else comes in it. */
  sendSoon(): void {
    if (this.#sending) return
    this.#sending = true
    setImmediate(() => {
      this.#sending = false
      for (const line of this.lines) this.send(line)
    })
  }

  send(line: Line): void {
    post(line)
    const { ahead } = line
    const isBehind = ahead.count > LIMITS.shardBehindMin && ahead.ms > LIMITS.shardBehindMs
    if (line.port && isBehind && line.atOnceMax > 0) this.#fellBehind(line)
  }

  /** @returns the number by which the shard knows it */
  #give(line: Line, operation: ShardOperation, params: unknown, answer: Answer): number {
    const number = this.#next++
    line.inFlight.set(number, answer)
    line.outgoing.push(number, operation, params)
    if (line.outgoing.length < 3 * LIMITS.shardSentAtOnce) this.sendSoon()
    else post(line)
    return number
  }

  /** Of a shard that is behind: sent at once only if that leaves it few to begin, else it waits with others of its class. */
  #tellApart(line: Line, operation: ShardOperation, params: unknown, answer: Answer, caller?: object): GiveUp {
    const { queue, givenUp } = line
    const count = line.inFlight.size + queue.length
    if (count >= LIMITS.shardInFlightMax) {
      const retry = { retryAfterMs: 1000 }
      throw new SpacedriveError('SHARD_BUSY', `shard ${line.number} has ${count} requests in flight`, retry)
    }
    const asked = operation === 'shard.read' ? (params as SharedRead).operation : operation
    const of = caller === STREAM ? 'stream' : workOf(asked)
    const long = MAY_TAKE_LONG.has(asked) && this.#isOpen(params)
    const told = of === 'mutation' ? counted(line, 'writes', answer) : answer
    const common = { of, long, operation, params, caller: caller ?? null }
    const waiting = { ...common, answer: told, since: 0, gone: false, number: 0 }
    if (of === 'control' || (queue.length === 0 && this.#mayBeSent(line, long))) this.#hand(line, waiting)
    else this.#wait(line, waiting)
    return () => {
      if (waiting.number > 0) givenUp.add(waiting.number)
      else waiting.gone = true
    }
  }

  /** Where it is yet to be opened a request waits for descriptors, and nobody should wait for it. */
  #isOpen(params: unknown): boolean {
    return this.#setup.isOpen((params as { library: string }).library)
  }

  #mayBeSent(line: Line, long: boolean): boolean {
    return room(line) > 0 && (!long || longMayBegin(line))
  }

  #hand(line: Line, waiting: Waiting, answer = waiting.answer): void {
    const { operation, params, long } = waiting
    waiting.number = this.#give(line, operation, params, long ? counted(line, 'long', answer) : answer)
  }

  /** Of a crowd: whom the shard comes to too late is refused by it. */
  #handRead(line: Line, waiting: Waiting, mayWaitMs: number): void {
    const { answer } = waiting
    const toldWhy = (reply: Reply) => answer(reply.ok || reply.error !== TOO_LATE ? reply : this.#tooLate(line))
    while (line.mayWaitMs.length < line.outgoing.length / 3) line.mayWaitMs.push(0)
    line.mayWaitMs.push(Math.max(1, mayWaitMs))
    this.#hand(line, waiting, toldWhy)
  }

  #tooLate(line: Line): Reply {
    line.overloaded += 1
    line.queue.refusedElsewhere('interactive')
    return { ok: false, error: overloaded(`shard ${line.number} did not begin it: too many others were before it`) }
  }

  #wait(line: Line, waiting: Waiting): void {
    const now = performance.now()
    waiting.since = line.patience.at(now)
    const refused = line.queue.add(waiting, eachMs(line, waiting.since), now)
    if (refused) this.#overload(line, refused)
    this.#refill(line)
  }

  /** Sends as many of those that wait as there is room for, but not one by one. @returns false where there was nothing to do */
  #refill(line: Line): boolean {
    const { queue } = line
    if (queue.length === 0 || 2 * room(line) < line.ahead.most) return false
    if (line.outgoing.length === 0) line.ahead.refilled()
    const now = line.patience.at(performance.now())
    let left = room(line)
    for (; left > 0; left--) {
      const waiting = queue.next(longMayBegin(line), now)
      if (!waiting) break
      if (waiting.gone) leaveOut(line, waiting)
      else if (queue.newestFirst && waiting.of === 'interactive')
        this.#handRead(line, waiting, LIMITS.interactiveBegunMs - (now - waiting.since))
      else this.#hand(line, waiting)
    }
    // Those left are too old to be begun, and stand in the way of who would be in time.
    if (left > 0 && queue.length > 0 && queue.newestFirst) this.#refuseOld(line, now)
    return true
  }

  #fellBehind(line: Line): void {
    line.atOnceMax = 0
    line.patience.begin(performance.now())
    line.behind = { sinceMs: line.patience.ms, begunBefore: line.ahead.begunSoFar }
    this.#looking ??= setInterval(() => this.#lookAtQueues(), LIMITS.queueLookMs)
  }

  #lookAtQueues(): void {
    const now = performance.now()
    const behind = this.lines.filter(({ atOnceMax }) => atOnceMax === 0)
    for (const line of behind) {
      const { patience, queue, ahead } = line
      patience.look(now, ahead.begunSoFar, this.#setup.beats.silentMs(line.number + 1))
      this.#refuseOld(line, patience.ms, now)
      this.#refill(line)
      if (queue.isCalm && 2 * ahead.ms < LIMITS.shardBehindMs) line.atOnceMax = LIMITS.shardInFlightMax
    }
    if (behind.some(({ atOnceMax }) => atOnceMax === 0)) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }

  /** @param now by the clock of `patience`, and by one that never stands */
  #refuseOld(line: Line, now: number, time = performance.now()): void {
    for (const refused of line.queue.expire(now, time)) this.#overload(line, refused)
  }

  #overload(line: Line, { waiting, why, place: at }: Refused): void {
    if (waiting.gone) return leaveOut(line, waiting)
    line.overloaded += 1
    const words = why === 'age' ? 'too many others wait, and it for too long' : 'too many others wait'
    const message = `shard ${line.number} did not begin it: ${words}, as number ${at} of its class`
    waiting.answer({ ok: false, error: overloaded(message) })
  }
}

/** In one message. */
function post(line: Line): void {
  const nothing = line.outgoing.length === 0 && line.know.length + line.covered.length + line.unwanted.length === 0
  if (!line.port || nothing) return
  const message: ToShard = {
    ...(line.outgoing.length > 0 ? { requests: line.outgoing } : {}),
    ...(line.mayWaitMs.length > 0 ? { mayWaitMs: line.mayWaitMs } : {}),
    ...(line.know.length > 0 ? { know: line.know } : {}),
    ...(line.covered.length > 0 ? { covered: line.covered } : {}),
    ...(line.unwanted.length > 0 ? { unwanted: line.unwanted } : {}),
  }
  line.ahead.sent(line.outgoing.length / 3)
  line.outgoing = []
  line.mayWaitMs = []
  line.know = []
  line.covered = []
  line.unwanted = []
  line.port.postMessage(message)
}

function workOf(operation: ShardOperation): WorkClass {
  if (operation in WORK) return WORK[operation as OperationName]
  return OWN_JOBS.has(operation) ? 'job' : 'control'
}

/**
 * In one go not more than the loop can spare: of answers of three megabytes forty may come at once. The others have another turn.
 *
 * @param asked by number, from which who is answered goes
 * @param replies number, result as JSON or null, error or null; …; with neither it was not begun, for it had waited too long
 * @param longAnswers where those lie of which it is told where and how long
 */
export function answerSome(
  asked: Map<number, Answer>,
  replies: readonly (number | string | null | WireError)[],
  longAnswers = NO_LONG_ANSWERS,
  from = 0,
): void {
  let chars = 0
  for (let at = from; at < replies.length; at += 3) {
    if (chars >= LIMITS.answeredCharsMax) return void setImmediate(() => answerSome(asked, replies, longAnswers, at))
    const number = replies[at] as number
    // None where the shard was lost meanwhile: its callers were told so.
    const answer = asked.get(number)
    asked.delete(number)
    const json = replies[at + 1] as string | number | null
    if (typeof json === 'number') {
      const length = replies[at + 2] as number
      chars += length
      if (answer) longAnswers.tell(json, length, answer)
      else longAnswers.free(json)
      continue
    }
    chars += json?.length ?? 0
    answer?.(
      json === null ? { ok: false, error: (replies[at + 2] as WireError | null) ?? TOO_LATE } : { ok: true, json },
    )
  }
}

/** After so many that are refused unread it is looked whether the shard needs more. */
const REFUSED_EACH = 8

/** So many say how fast a shard is: of fewer one may be a library that was opened. */
const BEGUN_ENOUGH = 32

/** How long a shard that is behind took for one of ours since it is; 0 while that is not known. @param nowMs by the clock of `patience` */
function eachMs({ ahead, behind }: Line, nowMs: number): number {
  const begun = (ahead.begunSoFar - behind.begunBefore) | 0
  return begun < BEGUN_ENOUGH ? 0 : (nowMs - behind.sinceMs) / begun
}

/** Requests of this thread in flight; no shard without a thread is asked before another. */
export function loadOf({ port, inFlight, queue }: Line): number {
  return port ? inFlight.size + queue.length : Infinity
}

/** How many more may be sent to a shard that is behind. */
function room({ ahead, outgoing }: Line): number {
  return ahead.most - ahead.count - outgoing.length / 3
}

/** Most of them are over at once: many are sent ahead as long as few turn out to be long. */
function longMayBegin({ ahead, long }: Line): boolean {
  return long < (ahead.long < LIMITS.longAtOnceMax ? LIMITS.longAheadMax : LIMITS.longAtOnceMax)
}

function overloaded(message: string): WireError {
  return { ...OVERLOADED, message, retryAfterMs: comeAgainMs() }
}

/** At random, so that those who are refused together do not come back together. */
export function comeAgainMs(): number {
  return Math.round(1_000 + Math.random() * (LIMITS.overloadedRetryMs - 1_000))
}

function unreadWords(shard: number): string {
  return `shard ${shard} did not look at it: too many others wait, and one of yours`
}

/** One of these until it is answered. */
function counted(line: Line, as: 'long' | 'writes', answer: Answer): Answer {
  line[as] += 1
  return (reply) => {
    line[as] -= 1
    answer(reply)
  }
}

/** Answered only to be counted. */
function leaveOut(line: Line, { answer }: Waiting): void {
  line.gone += 1
  answer(GIVEN_UP)
}

function lostError({ number, lost: { why, retryAfterMs } }: Line): SpacedriveError {
  return new SpacedriveError('SHARD_LOST', `shard ${number} is being replaced: ${why}`, { retryAfterMs })
}
