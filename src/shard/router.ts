// The main thread's side of the shards: which library is where, what is in flight, and what happens when a thread dies.
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { uuidv7 } from 'uuidv7'
import type { Beats } from '../base/beats.js'
import { fromWire, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import { jobMayBegin } from '../descriptors/pressure.js'
import type { BaseThread } from '../descriptors/names.js'
import { newTold, type Told } from '../descriptors/threads.js'
import type { Cataloged } from '../library/catalog.js'
import type { Covered, Event, GiveUp, LibraryItem, Reply, Request, Stall, Status } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import type { Prepared } from '../protocol/prepared.js'
import { isLasting, runsOn, type WorkClass } from '../protocol/work.js'
import type { Events } from './events.js'
import {
  COUNTS,
  type FromShard,
  type Held,
  type ShardOperation,
  type ShardSetup,
  type ToShard,
  type Watched,
  type WatchedLocation,
} from './lines.js'
import { newAhead } from './ahead.js'
import { Asker, GIVEN_UP, loadOf, type Line, type LineShared, type WhyFilesWait } from './asker.js'
import { newGivenUp } from './given-up.js'
import { newLongAnswers } from './long-answers.js'
import { attempt, newWritten } from './kept.js'
import { Lasting } from './lasting.js'
import { placeOf } from './place.js'
import { Sharing } from './sharing.js'
import { Spread, type Reads } from './spread.js'
import { Thread, type Tasks } from './tasks.js'

const ENTRY = fileURLToPath(new URL('../../workers/shard.js', import.meta.url))
/** Of those who ask the shards, the main thread. */
const MAIN_LINE = 0
/** Numbers of threads in the ledger; 0 is the main one, and the last are those of fronts. */
const SHARD_THREADS_MAX = LIMITS.ledgerThreadsMax - 1 - LIMITS.frontsMax
/** Crashes further apart than this do not add up to a longer wait. */
const CRASH_MEMORY_MS = 60_000
/** Threads a place may lose before a start gives up. */
const START_TRIES = 4
/** A start waits for a successor no longer than this; it comes later where the last one took long to end. */
const START_WAIT_MS = 5_000
const TAKE_UP_MS = 1_000
/** What can be asked of a library that is known to be damaged: to look again, and to go. */
const WITH_A_PROBLEM: ReadonlySet<OperationName> = new Set(['libraries.open', 'libraries.delete'])

/** Told of each shard by a port of its own, and of what is asked of it. */
export interface Askers {
  readonly count: number
  connect(asker: number, shard: number, port: MessagePort, shared: LineShared): void
  lost(shard: number, lost: Line['lost']): void
  /** What there is when the daemon begins to serve; from then on events tell. */
  catalog(libraries: readonly (readonly [library: string, open: boolean])[]): void
  /** How long who asks a shard by one of them waits, at most. */
  waitedMs(shard: number): number
  /** One of them refuses because of too many. */
  readonly isCrowded: boolean
  load(shard: number): Pick<Status['shards'][number], 'inFlight' | 'queued' | 'overloaded' | 'givenUp'>
  /** What they had read most lately, each of them. */
  reads(): readonly Reads[]
  /** By which shards a library is read beside its own. */
  spread(library: string, shards: readonly number[]): void
}

export interface RouterSetup {
  readonly shards: number
  readonly ledger: Ledger
  readonly tasks: Tasks
  readonly events: Events
  readonly beats: Beats
  readonly libraries: string
  readonly deleted: string
  readonly leftOut: readonly string[]
  readonly watch: (location: Watched) => void
  /** Other threads that ask the shards. */
  readonly askers?: Askers | undefined
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
}

const NOTHING_HELD: Held = { leases: [], jobs: [] }

type Answer = (reply: Reply) => void

interface Place {
  readonly number: number
  readonly counts: SharedArrayBuffer
  readonly line: Line
  readonly told: Told
  /** What its thread held when it last answered. */
  held: Held
  startedAt: number
  pool: Thread | null
  /** Until what its lost thread held is back. */
  ending: Promise<void> | null
  thread: number
  /** Libraries that are being made, and those that a lost thread did not come to the end of. */
  readonly making: Set<string>
  halfMade: string[]
  /** Libraries with unfinished jobs that are yet to be opened, and how many are being opened for that. */
  readonly toTakeUp: Set<string>
  takingUp: number
  restarts: number
  /** Told when it has a thread again. */
  started: () => void
  crashedAt: number
  waitMs: number
}

export class Router {
  readonly #setup: RouterSetup
  readonly #places: Place[]
  readonly #asker: Asker
  readonly #beats: Beats
  readonly #sharing: Sharing
  readonly #spread: Spread
  readonly #lasting = new Lasting()
  /** What was asked for last is what is asked for next, as a rule. */
  #latest: { readonly library: string; readonly place: Place } | null = null
  readonly #catalog = new Map<string, Cataloged & { open: boolean }>()
  /** Messages that came from shards so far. */
  messages = 0
  #threads = 0
  #closing = false

  constructor(setup: RouterSetup) {
    this.#setup = setup
    this.#beats = setup.beats
    this.#sharing = new Sharing({
      count: setup.shards,
      get level() {
        return setup.ledger.level
      },
      load: (shard) => loadOf(this.#asker.lines[shard]!) + (setup.askers?.load(shard).inFlight ?? 0),
      busy: (shard) => this.#places[shard]!.pool?.busy() ?? 0,
      reads: () => [...this.#spread.takeHottest(), ...(setup.askers?.reads() ?? [])],
      tell: (library, shards) => {
        this.#spread.tell(library, shards)
        setup.askers?.spread(library, shards)
      },
      ask: (shard, operation, params) => this.#asker.ask(this.#asker.lines[shard]!, operation, params),
      log: setup.log,
    })
    this.#asker = new Asker({
      shards: setup.shards,
      line: MAIN_LINE,
      beats: setup.beats,
      isOpen: (library) => this.#catalog.get(library)?.open !== false,
    })
    this.#spread = new Spread(this.#asker, (library) => void this.#sharing.end(library))
    this.#places = this.#asker.lines.map((line) => ({
      number: line.number,
      counts: new SharedArrayBuffer(COUNTS.words * Int32Array.BYTES_PER_ELEMENT),
      line,
      told: newTold(),
      held: NOTHING_HELD,
      startedAt: 0,
      pool: null,
      ending: null,
      thread: 0,
      making: new Set(),
      halfMade: [],
      toTakeUp: new Set(),
      takingUp: 0,
      restarts: 0,
      started: () => {},
      crashedAt: -Infinity,
      waitMs: LIMITS.shardRestartMs,
    }))
  }

  /**
   * Starts the threads, reads the catalog, and has unfinished jobs taken up.
   *
   * @param started all threads are up, and none has opened anything yet
   */
  async open(started: () => void): Promise<void> {
    for (const place of this.#places) this.#start(place)
    const found = await this.#askPatiently<Cataloged[]>(this.#places[0]!, 'shard.catalog')
    // Who serves has all threads: one that is still being replaced would refuse the first who ask.
    for (const place of this.#places) await this.#askPatiently(place, 'shard.held')
    started()
    for (const each of found) this.#catalog.set(each.id, { ...each, open: false })
    for (const place of this.#places) this.#tellCatalog(place)
    const usable = [...this.#catalog.values()].filter(({ problem }) => !problem)
    this.#setup.askers?.catalog(usable.map(({ id, open }) => [id, open]))
    this.#takeUpUnfinished(this.#places)
  }

  /** A thread that was lost while it started is replaced like any other, and its successor is asked once it is there. */
  async #askPatiently<T>(place: Place, operation: ShardOperation): Promise<T> {
    for (let tries = 1; ; tries++) {
      await this.#threadOf(place)
      try {
        return await this.#ask<T>(place, operation, {})
      } catch (error) {
        if (toWire(error).code !== 'SHARD_LOST' || tries >= START_TRIES) throw error
      }
    }
  }

  #threadOf(place: Place): Promise<void> | undefined {
    if (place.line.port || this.#closing) return undefined
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, START_WAIT_MS)
      place.started = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  request(request: Request, answer: Answer, caller?: object): GiveUp | void {
    try {
      return this.#route(request, answer, caller)
    } catch (error) {
      answer({ ok: false, error: toWire(error) })
    }
  }

  /** More is asked of some shard than it can do. */
  get isCrowded(): boolean {
    return this.#asker.isCrowded || this.#setup.askers?.isCrowded === true
  }

  /** As the asker's, by library. */
  filesWait(library: string, isOld: boolean): WhyFilesWait | null {
    return this.#catalog.has(library) ? this.#asker.filesWait(this.#placeOf(library).line, isOld) : null
  }

  /** How long the longest waits of those that ask any shard. */
  get waitedMs(): number {
    const others = this.#setup.askers
    const waits = this.#asker.lines.map((line) =>
      Math.max(this.#asker.waitedMs(line), others?.waitedMs(line.number) ?? 0),
    )
    return Math.max(0, ...waits)
  }

  /** Of each shard the used share of its heap. */
  heaps(): { thread: string; share: number }[] {
    return this.#places.map(({ number, counts }) => {
      return { thread: `shard ${number}`, share: new Int32Array(counts)[COUNTS.heap]! / 1_000 }
    })
  }

  forgetKept(): void {
    this.#asker.forgetKept()
  }

  /** As the asker's, by library. */
  refuseUnread(of: WorkClass, library: string): Prepared | null {
    return this.#catalog.has(library) ? this.#asker.refuseUnread(this.#placeOf(library).line, of) : null
  }

  /** Shards whose loop does not turn. @param sinceMs no longer ago than this, for whoever looks stood still himself */
  stalls(sinceMs: number): Stall[] {
    return this.#places.flatMap(({ number }) => {
      const stoodMs = this.#stalledMs(number, sinceMs)
      return stoodMs > 0 ? [{ thread: `shard ${number}`, stoodMs }] : []
    })
  }

  #stalledMs(number: number, sinceMs: number): number {
    const silentMs = Math.round(Math.min(sinceMs, this.#beats.silentMs(number + 1)))
    return silentMs >= LIMITS.shardStallMs ? silentMs : 0
  }

  list(): LibraryItem[] {
    return [...this.#catalog.values()].map(({ id, name, path, open, problem }) => ({
      id,
      name,
      path,
      open,
      ...(problem ? { problem } : {}),
    }))
  }

  counts(sinceMs = Infinity): Pick<Status, 'libraries' | 'shards' | 'jobs'> {
    const words = this.#places.map((place) => new Int32Array(place.counts))
    const sum = (at: number) => words.reduce((total, each) => total + each[at]!, 0)
    return {
      libraries: {
        known: this.#catalog.size,
        open: sum(COUNTS.libraries),
        connections: sum(COUNTS.connections),
        evicted: sum(COUNTS.evicted),
        reopened: sum(COUNTS.reopened),
        opened: sum(COUNTS.opened),
      },
      shards: this.#places.map(({ number, restarts, line: { inFlight, outgoing, queue, gone, overloaded } }, at) => {
        const others = this.#setup.askers?.load(number)
        return {
          id: number,
          libraries: words[at]![COUNTS.libraries]!,
          inFlight: inFlight.size + queue.length + (others?.inFlight ?? 0),
          queued: outgoing.length / 3 + queue.length + (others?.queued ?? 0),
          restarts,
          stalledMs: this.#stalledMs(number, sinceMs),
          givenUp: gone + words[at]![COUNTS.givenUp]! + (others?.givenUp ?? 0),
          overloaded: overloaded + (others?.overloaded ?? 0),
        }
      }),
      jobs: { running: sum(COUNTS.running), queued: sum(COUNTS.queued) },
    }
  }

  /**
   * Leases and jobs of all shards, by name. Of a shard that does not answer in time it is what it said last; `untold` is how
   * many descriptors such shards hold beyond that.
   */
  async held(waitMs: number): Promise<Held & { readonly untold: number }> {
    const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), waitMs).unref())
    const untold = await Promise.all(this.#places.map((place) => this.#askHeld(place, late)))
    return {
      leases: this.#places.flatMap(({ held }) => held.leases),
      jobs: this.#places.flatMap(({ held }) => held.jobs),
      untold: untold.reduce((sum, count) => sum + count, 0),
    }
  }

  /** The threads of the shards, which are part of the process's base. */
  threads(): BaseThread[] {
    const live = this.#places.filter((place) => place.pool)
    return live.map(({ number, told, startedAt }) => {
      return {
        holder: `shard ${number}`,
        told,
        price: this.#setup.ledger.prices.taskThread,
        ageMs: Math.round(performance.now() - startedAt),
      }
    })
  }

  async #askHeld(place: Place, late: Promise<null>): Promise<number> {
    const held = await Promise.race([this.#ask<Held>(place, 'shard.held', {}).catch(() => null), late])
    if (held) {
      place.held = held
      return 0
    }
    const known = place.held.leases.reduce((sum, { count }) => sum + count, 0)
    return Math.max(0, this.#setup.ledger.heldBy(place.thread) - known)
  }

  /** Jobs stop at their checkpoints, libraries close, threads end; threads that do not are ended after the deadline. @returns whether all did */
  async close(deadlineMs: number): Promise<boolean> {
    this.#closing = true
    for (const place of this.#places) place.started()
    this.#asker.close()
    const ended = new AbortController()
    const late = sleep(deadlineMs, false, ended).catch(() => false)
    await Promise.race([this.#sharing.close(), late])
    const inOrder = await Promise.all(
      this.#places.map(async (place) => {
        const drained = this.#ask(place, 'shard.drain', {}).then(
          () => true,
          () => false,
        )
        const isDrained = await Promise.race([drained, late])
        if (!isDrained) await this.#loaded(place, drained)
        place.line.port?.close()
        const { thread, number } = place
        const isOver = await place.pool?.end(() => this.#setup.ledger.reclaim(thread))
        if (isOver === false)
          this.#setup.log('warn', `shard ${number} does not end: it waits for a disk, or is at work still`)
        await place.ending
        return isDrained
      }),
    )
    ended.abort()
    return inOrder.every(Boolean)
  }

  /** Ends a shard's thread as a crash would. For tests and drills. */
  async crash(number: number): Promise<void> {
    await this.#places[number]!.pool?.crash()
  }

  #route(request: Request, answer: Answer, caller?: object): GiveUp | void {
    if (runsOn(request.operation) === 'place') return this.#make(request, answer, caller)
    const id = request.params['library'] as string
    const known = this.#catalog.get(id)
    if (!known) throw new SpacedriveError('LIBRARY_NOT_FOUND', `no library ${id}`)
    if (known.problem && !WITH_A_PROBLEM.has(request.operation)) throw fromWire(known.problem)
    const owner = this.#placeOf(id)
    return owner.line.kept.through(request, id, answer, (told) => {
      const before = this.#sharing.before(request.operation, id)
      const ask = (late: Answer) => this.#spread.ask(owner.line, request, late, caller)
      return before ? this.#afterwards(before, ask, told) : ask(told)
    })
  }

  #make({ operation, params }: Request, answer: Answer, caller?: object): GiveUp {
    const id = uuidv7()
    const place = this.#placeOf(id)
    const made: Answer = (reply) => {
      place.making.delete(id)
      answer(reply)
    }
    const ask = (late: Answer) => this.#enqueue(place, operation, { ...params, id }, late, caller)
    if (!isLasting(operation, params)) {
      const giveUp = ask(made)
      place.making.add(id)
      return giveUp
    }
    const giveUp = this.#lasting.begin(id, made, (late) => {
      const notBegun = ask(late)
      return () => {
        notBegun()
        place.line.unwanted.push(id)
        this.#asker.sendSoon()
      }
    })
    place.making.add(id)
    return giveUp
  }

  /** What takes as long as it takes ends now, for a stop does not wait for it. */
  endLasting(): void {
    this.#lasting.end(new SpacedriveError('DRAINING', 'the daemon is stopping'))
  }

  #afterwards(before: Promise<void>, ask: (answer: Answer) => GiveUp, answer: Answer): GiveUp {
    let given = false
    let giveUp: GiveUp = () => undefined
    void before.then(() => {
      if (given) return answer(GIVEN_UP)
      giveUp = attempt(answer, ask) ?? giveUp
    })
    return () => {
      given = true
      giveUp()
    }
  }

  #placeOf(library: string): Place {
    if (library !== this.#latest?.library)
      this.#latest = { library, place: this.#places[placeOf(library, this.#places.length)]! }
    return this.#latest.place
  }

  #enqueue({ line }: Place, operation: ShardOperation, params: unknown, answer: Answer, caller?: object): GiveUp {
    return this.#asker.enqueue(line, operation, params, answer, caller)
  }

  /** Asks the shard of a library on behalf of the daemon. @throws SpacedriveError as it came */
  async askOf<T>(library: string, operation: ShardOperation, params: unknown): Promise<T> {
    if (!this.#catalog.has(library)) throw new SpacedriveError('LIBRARY_NOT_FOUND', `no library ${library}`)
    return await this.#ask<T>(this.#placeOf(library), operation, params)
  }

  /** Tells the shard of a library how a location of it is watched. */
  tellCovered({ library, location }: WatchedLocation, covered: Covered): void {
    this.#placeOf(library).line.covered.push([location, covered])
    this.#asker.sendSoon()
  }

  #ask<T>({ line }: Place, operation: ShardOperation, params: unknown): Promise<T> {
    return this.#asker.ask<T>(line, operation, params)
  }

  #receive(place: Place, message: FromShard): void {
    this.messages += 1
    this.#asker.received(place.line, message)
    const { events, logs, tasks, watch, unshare } = message
    for (const event of events ?? []) this.#noticeAndPublish(event)
    for (let at = 0; logs && at < logs.length; at += 3) {
      this.#setup.log(logs[at] as 'info', logs[at + 1] as string, logs[at + 2] as Record<string, unknown>)
    }
    for (const { port, work } of tasks ?? []) this.#setup.tasks.run(port, work)
    for (const location of watch ?? []) this.#setup.watch(location)
    for (const library of unshare ?? []) void this.#sharing.end(library)
  }

  #noticeAndPublish(event: Event): void {
    const known = this.#catalog.get(event.library!)
    if (event.type === 'library.copying') this.#lasting.goesOn(event.library!)
    else if (event.type === 'library.created') {
      const { library: id, name, path } = event as unknown as { library: string; name: string; path: string }
      this.#catalog.set(id, { id, name, path, unfinished: false, open: false })
    } else if (known && (event.type === 'library.opened' || event.type === 'library.renamed')) {
      const { problem: _mended, ...rest } = known
      this.#catalog.set(known.id, { ...rest, name: event['name'] as string, open: true })
    } else if (known && event.type === 'library.closed') known.open = false
    else if (known && event.type === 'library.failed') {
      this.#catalog.set(known.id, { ...known, unfinished: false, problem: event['error'] as WireError })
    } else if (known && event.type === 'library.deleted') this.#catalog.delete(known.id)
    this.#setup.events.publish(event)
  }

  /** A thread that is ended while it loads leaves the files open that it was reading. */
  async #loaded({ number, pool }: Place, answered: Promise<boolean>): Promise<void> {
    const until = performance.now() + LIMITS.drainMs
    while (pool && !this.#beats.isThere(number + 1) && performance.now() < until) {
      if (await Promise.race([answered.then(() => true), sleep(LIMITS.queueLookMs, false)])) return
    }
  }

  #start(place: Place): void {
    this.#threads = (this.#threads % SHARD_THREADS_MAX) + 1
    place.thread = this.#threads
    place.held = NOTHING_HELD
    place.told.fill(0)
    this.#beats.leave(place.number + 1)
    place.startedAt = performance.now()
    const { port1, port2 } = new MessageChannel()
    const shared: LineShared = {
      givenUp: newGivenUp(),
      longAnswers: newLongAnswers(),
      ahead: newAhead(1 + (this.#setup.askers?.count ?? 0)),
      written: newWritten(),
    }
    const workerData: ShardSetup = {
      ledger: this.#setup.ledger.shared,
      thread: place.thread,
      counts: place.counts,
      beats: this.#beats.shared,
      beat: place.number + 1,
      ...shared,
      told: place.told,
      libraries: this.#setup.libraries,
      deleted: this.#setup.deleted,
      leftOut: this.#setup.leftOut,
    }
    const pool = this.#startThread(place, workerData)
    if (!pool) return port1.close()
    // A thread that cannot start is no task's failure: without this it would end the process.
    pool.on('error', (error: unknown) => this.#lose(place, pool, toWire(error).message))
    place.pool = pool
    this.#asker.connect(place.line, port1, shared)
    place.started()
    port1.on('message', (message: FromShard) => this.#receive(place, message))
    this.#connectAskers(place, shared)
    pool.run({ port: port2 }, { transferList: [port2] }).then(
      () => this.#lose(place, pool, 'ended'),
      (error: unknown) => this.#lose(place, pool, toWire(error).message),
    )
  }

  #connectAskers({ number, line }: Place, shared: LineShared): void {
    const { askers } = this.#setup
    for (let asker = 0; askers && asker < askers.count; asker++) {
      const { port1, port2 } = new MessageChannel()
      const own = { givenUp: newGivenUp(), longAnswers: newLongAnswers() }
      line.port!.postMessage({ line: { port: port2, ...own } } satisfies ToShard, [port2])
      askers.connect(asker, number, port1, { ...shared, ...own })
    }
  }

  /** Null when the system lets no thread be started; then it is tried again later, as after a crash. */
  #startThread(place: Place, workerData: ShardSetup): Thread | null {
    try {
      return new Thread(ENTRY, workerData)
    } catch (error) {
      this.#lose(place, null, toWire(error).message)
      return null
    }
  }

  /** Its callers get a retryable error, its leases come back, and after a while another thread takes its place. */
  #lose(place: Place, pool: Thread | null, why: string): void {
    if (place.pool !== pool) return
    if (this.#closing) return this.#asker.lose(place.line, { why, retryAfterMs: LIMITS.shardRestartMs })
    this.#setup.log('error', `shard ${place.number} was lost: ${why}`)
    this.#beats.leave(place.number + 1)
    place.pool = null
    place.halfMade.push(...place.making)
    const now = performance.now()
    place.waitMs =
      now - place.crashedAt < CRASH_MEMORY_MS
        ? Math.min(2 * place.waitMs, LIMITS.shardRestartMsMax)
        : LIMITS.shardRestartMs
    place.crashedAt = now
    const lost = { why, retryAfterMs: place.waitMs }
    this.#asker.lose(place.line, lost)
    this.#setup.askers?.lost(place.number, lost)
    this.#forgetOpen(place)
    this.#sharing.lost(place.number)
    place.ending = this.#bury(place, pool).catch((error: unknown) =>
      this.#setup.log('error', `shard ${place.number}: ${toWire(error).message}`),
    )
  }

  /** It is replaced when its descriptors are closed. */
  async #bury(place: Place, pool: Thread | null): Promise<void> {
    const { thread, number, waitMs } = place
    const over = () => {
      const returned = this.#setup.ledger.reclaim(thread)
      this.#setup.log('info', `shard ${number}: ${returned} descriptors came back, next try in ${waitMs} ms`)
      if (!this.#closing) setTimeout(() => this.#replace(place), waitMs)
    }
    if (pool) await pool.end(over)
    else over()
  }

  #replace(place: Place): void {
    if (this.#closing) return
    place.restarts += 1
    this.#start(place)
    this.#tellCatalog(place)
    this.#sweep(place)
    this.#takeUpUnfinished([place])
  }

  /** What the lost thread was making: nobody was told of it. Where that fails the next start does it. */
  #sweep(place: Place): void {
    const libraries = place.halfMade
    place.halfMade = []
    if (libraries.length > 0 && place.line.port) this.#ask(place, 'shard.sweep', { libraries }).catch(() => null)
  }

  #forgetOpen(place: Place): void {
    new Int32Array(place.counts).fill(0)
    for (const each of this.#catalog.values()) {
      if (each.open && this.#placeOf(each.id) === place) {
        each.open = false
        // It may have been in the middle of a job; opening it again takes the job up.
        this.#catalog.set(each.id, { ...each, unfinished: true })
      }
    }
  }

  #tellCatalog(place: Place): void {
    for (const { id, path } of this.#catalog.values()) {
      if (this.#placeOf(id) === place) place.line.know.push(id, path)
    }
    this.#asker.send(place.line)
  }

  #takeUpUnfinished(places: readonly Place[]): void {
    for (const known of this.#catalog.values()) {
      const place = this.#placeOf(known.id)
      if (!known.unfinished || known.problem || !places.includes(place)) continue
      this.#catalog.set(known.id, { ...known, unfinished: false })
      place.toTakeUp.add(known.id)
    }
    for (const place of places) this.#takeUpNext(place)
  }

  /** A few at a time, and none under pressure: a start under load does not open everything at once. */
  #takeUpNext(place: Place): void {
    if (this.#closing || !place.line.port) return
    if (!jobMayBegin(this.#setup.ledger.level, 0)) return this.#takeUpLater(place)
    for (const id of place.toTakeUp) {
      if (place.takingUp >= LIMITS.takeUpAtOnceMax) return
      place.toTakeUp.delete(id)
      const known = this.#catalog.get(id)
      // Opening takes its jobs up; one that is open has had that.
      if (known && !known.open && !known.problem) this.#takeUp(place, known)
    }
  }

  #takeUpLater(place: Place): void {
    if (place.toTakeUp.size > 0) setTimeout(() => this.#takeUpNext(place), TAKE_UP_MS).unref()
  }

  /** Tried again while that can help: jobs that were begun wait for descriptors, they are not forgotten. */
  #takeUp(place: Place, { id, name }: Cataloged): void {
    place.takingUp += 1
    this.#ask(place, 'shard.takeUp', { library: id })
      .finally(() => (place.takingUp -= 1))
      .then(
        () => this.#takeUpNext(place),
        (error: unknown) => {
          const { code, message, retryable } = toWire(error)
          this.#setup.log('warn', `library "${name}" has jobs to go on with, but: ${message}`)
          if (retryable && this.#catalog.has(id)) place.toTakeUp.add(id)
          // A lost shard's successor goes on by itself.
          if (code !== 'SHARD_LOST') this.#takeUpLater(place)
        },
      )
  }
}
