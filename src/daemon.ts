// The daemon: everything meets here, is built bottom-up and stopped in reverse.
import { realpathSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Beats, MAIN } from './base/beats.js'
import { fromSystem, fromWire, SpacedriveError, toWire } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { again } from './base/shortage.js'
import { openLog, type LogFile, type LogLevel } from './base/log.js'
import { goOn, whileWanted } from './base/wanted.js'
import { Certificate } from './certificate.js'
import { paths, type Address, type Config, type Paths } from './config.js'
import {
  noteDraining,
  prepareDirectory,
  strangerWarning,
  readOrMakeToken,
  readState,
  readTokens,
  unusable,
  writeState,
  writeTokens,
} from './directory.js'
import { readConsole } from './console.js'
import { discovery } from './discovery.js'
import { Audit } from './descriptors/audit.js'
import { Books } from './descriptors/books.js'
import { Ledger } from './descriptors/ledger.js'
import type { Named } from './descriptors/names.js'
import { giveBackSoon } from './descriptors/memory.js'
import { loadNative, nativeProblem } from './descriptors/native.js'
import { plan, squeeze, type Plan } from './descriptors/planner.js'
import { plausible, PRICES, surprises } from './descriptors/prices.js'
import { isRoom, lend, Reserve } from './descriptors/reserve.js'
import {
  countOpen,
  highestOpen,
  LiveLimit,
  openNumbers,
  raiseLimit,
  readLimit,
  setLimit,
  type LimitChange,
  type RaisedLimit,
} from './descriptors/rlimit.js'
import { Sights } from './descriptors/sights.js'
import { Beside } from './compat/beside.js'
import { thisDevice } from './compat/device.js'
import { openLines } from './compat/line-front.js'
import { tongueOf, type Here } from './compat/tongue.js'
import { borrowForAccept } from './front/accept.js'
import { Files } from './front/files.js'
import type { Connections, Front, FrontSetup } from './front/front.js'
import { openFront } from './front/open.js'
import { Fronts } from './fronts.js'
import { Lookout } from './front/lookout.js'
import { Tokens } from './front/tokens.js'
import { bootLines } from './front/status.js'
import type { Lock } from './library/lock.js'
import { takeLock } from './lock.js'
import { measureLibrary } from './library/measure.js'
import { sortIn } from './library/sorting.js'
import type { Deliver, Descriptors, GiveUp, LimitUse, Reply, Request, Stall, Status } from './protocol/messages.js'
import type { Reloaded } from './protocol/results.js'
import { checkParams, type OperationName, type ParamsOf } from './protocol/operations.js'
import { NAMED_EVENT } from './protocol/words.js'
import { runsOn } from './protocol/work.js'
import { leavePast, takePast } from './past.js'
import { Ports } from './ports.js'
import { Relief } from './relief.js'
import { deliverTo } from './shard/delivery.js'
import { Events } from './shard/events.js'
import { Pressed } from './shard/pressed.js'
import { Router } from './shard/router.js'
import { Tasks } from './shard/tasks.js'
import { Watcher } from './shard/watcher.js'
import { VERSION } from './version.js'

export interface Ready {
  readonly ready: true
  readonly pid: number
  readonly http: string | null
  readonly socket: string | null
  /** `HOST:PORT` for Spacedrive's own clients. */
  readonly lineProtocol: string | null
  readonly limit: LimitUse
  readonly connectionsMax: number
}

export interface StartOptions {
  /** False leaves the limits of the process as they are: for a host that embeds the daemon. */
  readonly raiseLimit?: boolean
  /** The daemon's whole share of descriptors; the soft limit if absent. */
  readonly descriptorsMax?: number
  /** False when there is no unix socket either. */
  readonly socket?: boolean
  /** Reads all settings again; without it `core.reload` reads the token only. Throws BAD_CONFIG. */
  readonly reread?: () => Config
  /** Given when it is to stop: a start that is under way ends then with CANCELLED. */
  readonly unwanted?: AbortSignal
  /** True in a process of somebody else's, who may open what they like beside the daemon. */
  readonly guest?: boolean
}

/** Settings that `core.reload` brings into force; the others wait for the next start. */
const LIVE = new Set<string>(['connectionsMax', 'nofile', 'hostsAllowed', 'logLevel'])
const NO_CONNECTIONS: Connections = {
  current: 0,
  peak: 0,
  accepted: 0,
  refused: 0,
  refusedBy: {},
  accept: 'open',
  acceptFailures: 0,
  unreadBytes: 0,
  unreadCut: 0,
  wrongTokens: 0,
}
/** What is said of work that a stop cut short, and to clients by a socket. */
const CUT_SHORT = new Set<string>(['DRAINING', 'SHARD_LOST'])
const CHECK_MS = 1_000
const HELD_WAIT_MS = 500
/** Descriptors a boot takes beside threads and listeners: loop internals that come with the first timer and port. */
const BOOT_MARGIN = 2

/**
 * Resolves when the daemon serves.
 *
 * @throws LIMIT_TOO_LOW, ALREADY_RUNNING, ADDRESS_IN_USE, BAD_CONFIG, READ_ONLY, DISK_FULL, CANCELLED; nothing stays open then
 */
export async function startDaemon(config: Config, options: StartOptions = {}): Promise<Daemon> {
  const daemon = new Daemon(config, options)
  try {
    await daemon.start()
    return daemon
  } catch (error) {
    await daemon.close({ hurry: true })
    throw error
  }
}

export class Daemon {
  /** Resolves after any shutdown, also one that a client asked for. */
  readonly stopped: Promise<void>
  #config: Config
  readonly #options: StartOptions
  readonly #paths: Paths
  /** What Spacedrive's clients are told of this machine. */
  readonly #here: Here
  readonly #startedAt = performance.now()
  readonly #events = new Events()
  readonly #reserve = new Reserve()
  readonly #lookout: Lookout
  #beats = Beats.create(1)
  #limit: RaisedLimit = { softAtStart: 0, soft: 0, hard: 0, problem: null }
  #live: LiveLimit | undefined
  #lines: string[] = []
  readonly #books = new Books()
  /** Descriptors of a host process that gave the daemon a share. */
  #hostOpen = 0
  #lock: Lock | undefined
  #logFile: LogFile | undefined
  #ledger: Ledger | undefined
  #audit: Audit | undefined
  #sights: Sights | undefined
  #relief: Relief | undefined
  #pressed: Pressed | undefined
  #tasks: Tasks | undefined
  #router: Router | undefined
  #watcher: Watcher | undefined
  #ports: Ports | undefined
  #front: Front | undefined
  /** Those in threads of their own. */
  #fronts: Fronts | undefined
  /** Told of an error after which the daemon should end, where it is not thrown in this thread. */
  faulted: (error: unknown) => void = (error) => {
    if (!this.survives(error)) void this.close()
  }
  #timers: NodeJS.Timeout[] = []
  #state: Status['state'] = 'starting'
  #certificate: Certificate | null = null
  #token = ''
  readonly #tokens = new Tokens((tokens) => {
    using _file = lend('doctor')
    writeTokens(this.#paths.tokens, tokens)
  })
  /** By the program in whose process it is, and not answered yet. */
  readonly #asked = new Set<Promise<Reply>>()
  #closing: Promise<void> | undefined
  #hurry: () => void = () => {}
  #resolveStopped: () => void = () => {}

  constructor(config: Config, options: StartOptions) {
    this.#config = config
    this.#options = options
    this.#paths = paths(config.dataDir)
    this.#here = { device: thisDevice(config.dataDir), dataDir: config.dataDir }
    this.#lookout = this.#openLookout()
    this.stopped = new Promise((resolve) => (this.#resolveStopped = resolve))
  }

  async start(): Promise<void> {
    const atStart = openNumbers()
    const { unwanted } = this.#options
    if (this.#options.descriptorsMax !== undefined) this.#hostOpen = countOpen()
    this.#limit = this.#raiseLimit()
    this.#books.begin(this.#hostOpen)
    this.#books.book('Node.js, as it is run here')
    this.#live = new LiveLimit(this.#limit)
    prepareDirectory(this.#paths)
    sortIn(this.#paths.dataDir)
    this.#lock = takeLock(this.#paths)
    const past = takePast(this.#paths.events)
    if (past) this.#events.goOn(past)
    this.#logFile = this.#openLog()
    this.#tokens.load(readTokens(this.#paths.tokens) ?? [])
    this.#sights = new Sights()
    this.#lookout.record(this.#paths.flight)
    this.#books.book('log, lock and records')
    const shards = this.#shardCount()
    const ledger = (this.#ledger = Ledger.create(this.#planWithin(this.#usable(), this.#expectedBase(shards))))
    this.#measureLibrary(ledger)
    if (this.#config.traceLeases) ledger.trace()
    this.#audit = new Audit(ledger, this.#hostOpen)
    const files = new Files(ledger)
    this.#pressed = new Pressed(
      ledger,
      (...asked) => this.#router?.filesWait(...asked) ?? null,
      () => files.bytesRead,
    )
    this.#relief = this.#openRelief(ledger, this.#sights)
    this.#audit.begin(atStart)
    this.#beats = Beats.create(1 + shards + this.#config.fronts)
    this.#front = await this.#openFront(ledger, shards, files)
    goOn(unwanted)
    const listening = this.#fronts ? 'listeners and front threads' : 'listeners'
    this.#books.book(listening, this.#listeners(), ledger.totals().used)
    this.#reserve.fill(ledger.totals().reserve)
    this.#books.leaveOut(this.#reserve.count)
    await whileWanted(unwanted, this.#openShards(ledger, shards))
    const settled = await this.#settle(ledger)
    goOn(unwanted)
    this.#lines = bootLines(this.#limit, this.#books.items, settled, nativeProblem(), this.#frontLine())
    const stranger = strangerWarning(this.#config.dataDir)
    if (stranger !== null) this.#lines = [...this.#lines, `warning: ${stranger}`]
    for (const line of this.#lines) {
      const warning = line.replace(/^warning: /, '')
      this.#log(warning === line ? 'info' : 'warn', warning)
    }
    this.#watch(ledger)
    this.#lookout.start()
    this.#writeState()
    this.#state = 'serving'
    if (this.#front) this.#front.state = 'serving'
    giveBackSoon()
    this.#log('info', 'ready', { ...this.ready })
  }

  get ready(): Ready {
    const { softAtStart, soft, hard } = this.#limit
    return {
      ready: true,
      pid: process.pid,
      http: this.#front?.http ?? null,
      socket: this.#front?.socket ?? null,
      lineProtocol: this.#front?.lines?.address ?? null,
      limit: { softAtStart, soft, hard },
      connectionsMax: this.#ledger?.use('clients').ceiling ?? 0,
    }
  }

  /** Limits, the division of the budget, and warnings, for people. */
  get bootLines(): readonly string[] {
    return this.#lines
  }

  /**
   * Any operation a client has, without a socket.
   *
   * @throws SpacedriveError, BAD_REQUEST for wrong parameters, CLOSED of one that is closed or on its way, or came to its end before
   * the answer
   */
  async call<Name extends OperationName>(operation: Name, params: unknown = {}): Promise<unknown> {
    this.#mustBeOpen()
    const request: Request = { operation, params: checkParams(operation, params) }
    // The JSON of a long one is there for as long as this takes.
    const answer = new Promise<Reply>((resolve) =>
      this.#dispatch(request, (reply) => resolve(reply.ok ? { ok: true, json: reply.json } : reply)),
    )
    this.#asked.add(answer)
    const reply = await answer.finally(() => this.#asked.delete(answer))
    if (reply.ok) return JSON.parse(reply.json)
    // Whoever goes by `retryable` would ask a daemon that is closed for ever.
    if (CUT_SHORT.has(reply.error.code)) this.#mustBeOpen()
    throw fromWire(reply.error)
  }

  /** @throws SpacedriveError, BAD_REQUEST for a filter that a client would be refused, CLOSED of one that is closed or on its way */
  subscribe(filter: ParamsOf<'events.subscribe'>, deliver: Deliver): () => void {
    this.#mustBeOpen()
    return deliverTo(this.#events, checkParams('events.subscribe', filter), deliver)
  }

  /**
   * Drains: answers in flight finish, jobs stop at their checkpoints, libraries close. Calling again with `hurry` cuts
   * the waiting short; nothing committed is lost either way.
   */
  close({ hurry = false }: { hurry?: boolean } = {}): Promise<void> {
    if (hurry) this.#hurry()
    this.#closing ??= this.#close(hurry)
    return this.#closing
  }

  /** Told of an error that nobody caught, by whoever owns the process. False where the daemon should end. */
  survives(error: unknown): boolean {
    return this.#lookout.survives(error)
  }

  async #close(hurry: boolean): Promise<void> {
    this.#log('info', hurry ? 'stopping' : 'draining')
    this.#state = 'draining'
    const hurried = new Promise<void>((resolve) => (this.#hurry = resolve))
    const spare = lend('drain')
    const soon = (work: Promise<unknown> | undefined) => Promise.race([work, hurried])
    const isMine = this.#lock && readState(this.#paths.state).pid === process.pid
    if (isMine) noteDraining(this.#paths.state)
    for (const timer of this.#timers) clearInterval(timer)
    this.#relief?.stop()
    this.#router?.endLasting()
    if (this.#front) this.#front.state = 'draining'
    const drainMs = hurry ? 0 : LIMITS.drainMs / 2
    await soon(Promise.all([this.#front?.drain(drainMs), this.#answered(drainMs)]))
    await this.#front?.drain(0)
    await this.#fronts?.close()
    const [allTold] = await Promise.all([
      this.#router?.close(hurry ? 1_000 : LIMITS.drainMs / 2),
      this.#watcher?.close(),
    ])
    await this.#tasks?.close()
    this.#sights?.close()
    if (this.#lock) this.#storeTokenUses(() => this.#tokens.storeUses())
    this.#log('info', 'stopped')
    this.#lookout.stop()
    if (this.#lock) this.#leave(this.#lock, allTold !== false)
    spare[Symbol.dispose]()
    this.#reserve.close()
    this.#live?.close()
    this.#logFile?.close()
    this.#resolveStopped()
  }

  /** What the program itself asked has its answer, or is too late. */
  async #answered(deadlineMs: number): Promise<void> {
    let late: NodeJS.Timeout | undefined
    const isLate = new Promise((resolve) => (late = setTimeout(resolve, deadlineMs)))
    await Promise.race([Promise.allSettled(this.#asked), isLate])
    clearTimeout(late)
  }

  /** Nothing is published any more. @param allTold false where something may have happened that no event tells of */
  #leave(lock: Lock, allTold: boolean): void {
    const { state, events } = this.#paths
    // Another daemon may have it by now, if the directory was moved away under this one.
    const { pid = process.pid } = readState(state)
    if (pid === process.pid) {
      if (allTold) this.#leavePast(events)
      rmSync(state, { force: true })
    }
    lock.release()
  }

  #leavePast(path: string): void {
    try {
      leavePast(path, this.#events.past(LIMITS.eventsStoredBytesMax))
    } catch (error) {
      this.#logFile?.log('warn', `the last events could not be stored for the next start: ${toWire(error).message}`)
    }
  }

  #raiseLimit(): RaisedLimit {
    checkNofile(this.#config)
    if (this.#options.raiseLimit !== false)
      return raiseLimit(this.#config.nofile === null ? {} : { cap: this.#config.nofile })
    const { soft, hard } = readLimit()
    return { softAtStart: soft, soft, hard, problem: null }
  }

  #openLog(): LogFile {
    try {
      const file = again(() => openLog(this.#paths.logs, this.#config.logLevel))
      file.hear((level, message, fields) => this.#tellLine(level, message, fields))
      return file
    } catch (error) {
      throw unusable(this.#paths.dataDir, error)
    }
  }

  /** What the daemon may use of the soft limit: no more than it was allowed, and of a host's no more than its share. */
  #usable(): number {
    const most = Math.min(this.#limit.soft, this.#config.nofile ?? LIMITS.softMax, LIMITS.softMax)
    // The host's own descriptors are no part of the share, and leave less of the limit.
    return Math.min(this.#options.descriptorsMax ?? LIMITS.softMax, most - this.#hostOpen)
  }

  /** @param base descriptors of the process that the ledger does not lend */
  #planWithin(soft: number, base: number): Plan {
    const { connectionsMax } = this.#config
    try {
      return plan({ soft, base, connectionsMax, prices: this.#ledger?.prices ?? PRICES })
    } catch (error) {
      const { nofile, names } = this.#config
      const { message } = fromSystem(error)
      const hint = this.#options.descriptorsMax
        ? 'Give the daemon a larger share with maxDescriptors.'
        : nofile !== null && nofile <= this.#limit.hard
          ? `${names.nofile}: leave that out, or give it more than ${nofile}.`
          : `Raise the hard limit, with \`sudo prlimit --pid $$ --nofile=${LIMITS.softRecommended}:${LIMITS.softRecommended}\` in this shell, and start again.`
      throw new SpacedriveError('LIMIT_TOO_LOW', message, { cause: error, hint })
    }
  }

  /** A thread a core, but no more than the limit can feed. */
  #shardCount(): number {
    if (this.#config.shards !== 'auto') return this.#config.shards
    return Math.max(
      1,
      Math.min(availableParallelism(), Math.floor(this.#usable() / LIMITS.shardDescriptors), LIMITS.shardsMax),
    )
  }

  async #openFront(ledger: Ledger, shards: number, files: Files): Promise<Front | undefined> {
    const socketPath = this.#options.socket === false ? null : this.#paths.socket
    const { tlsCert, tlsKey } = this.#config
    const ports = (this.#ports = new Ports(this.#paths.ports, (level, message) => this.#log(level, message)))
    const http = this.#config.http && (await ports.again('http', this.#config.http))
    const lineProtocol = this.#config.lineProtocol && (await ports.again('lineProtocol', this.#config.lineProtocol))
    if (!http && !socketPath && !lineProtocol) return undefined
    this.#token = readOrMakeToken(this.#paths.token)
    if (http && tlsCert !== null && tlsKey !== null) {
      this.#certificate = new Certificate({ cert: tlsCert, key: tlsKey }, (...said) => this.#log(...said))
    }
    const setup: FrontSetup = {
      implementation: this.#config.front,
      http,
      certificate: this.#certificate,
      socketPath,
      token: this.#token,
      tokens: this.#tokens,
      hostsAllowed: this.#config.hostsAllowed,
      slots: ledger,
      dispatch: (request, answer, caller) => this.#dispatch(request, answer, caller),
      crowded: {
        isThere: () => this.#router?.isCrowded ?? false,
        refuses: (of, library) => this.#router?.refuseUnread(of, library) ?? null,
      },
      publisher: this.#events,
      files,
      tongue: (text) => tongueOf(text, this.#here),
      console: readConsole(),
      metrics: () => this.#lookout.metrics(),
      borrow: borrowForAccept,
      // What the reserve lacks it takes first.
      room: (count) => isRoom(count + ledger.reserveMissing),
      work: () => this.#router?.messages ?? 0,
      lateMs: () => this.#lookout.lateMs(),
      memoryShort: () => ledger.causes.memory === 'critical',
      stalls: () => this.#stalls(),
      log: (level, message, fields) => this.#log(level, message, fields),
    }
    const front = this.#config.fronts > 1 ? await this.#openFronts(ledger, shards, setup) : await openFront(setup)
    return lineProtocol ? await this.#withLines(front, setup, lineProtocol) : front
  }

  async #openFronts(ledger: Ledger, shards: number, setup: FrontSetup): Promise<Fronts> {
    const fronts = (this.#fronts = new Fronts({
      count: this.#config.fronts,
      shards,
      ledger,
      beats: this.#beats,
      beat: 1 + shards,
      events: this.#events,
      tokens: this.#tokens,
      dataDir: this.#config.dataDir,
      unwanted: this.#options.unwanted,
      dispatch: (request, answer) => this.#dispatch(request, answer),
      metrics: () => this.#lookout.metrics(),
      failed: (error) => this.faulted(error),
      log: (level, message, fields) => this.#log(level, message, fields),
    }))
    await fronts.open(setup, openFront)
    return fronts
  }

  async #withLines(front: Front, setup: FrontSetup, where: Address): Promise<Front> {
    try {
      return new Beside(front, await openLines(setup, where, this.#here, this.#logFile!.hear))
    } catch (error) {
      await front.drain(0)
      throw error
    }
  }

  #stalls(): Stall[] {
    const { stood, turningMs } = this.#lookout
    const main = stood ? [{ thread: 'main', stoodMs: Math.round(stood.stoodMs) }] : []
    return [...main, ...(this.#router?.stalls(turningMs) ?? []), ...(this.#fronts?.stalls(turningMs) ?? [])]
  }

  #openLookout(): Lookout {
    return new Lookout({
      status: () => this.#status(),
      beat: () => this.#beats.beat(MAIN),
      statisticsMs: this.#config.statisticsMs,
      // Past `#log`, by which the lookout hears what all others say.
      log: (level, message, fields) => this.#logFile?.log(level, message, fields),
    })
  }

  #openRelief(ledger: Ledger, sights: Sights): Relief {
    return new Relief({
      ledger,
      sights,
      lookout: this.#lookout,
      events: this.#events,
      unaccounted: () => this.#audit!.unaccounted(),
      front: () => this.#front,
      fronts: () => this.#fronts,
      router: () => this.#router,
      tasks: () => this.#tasks,
    })
  }

  async #openShards(ledger: Ledger, shards: number): Promise<void> {
    const native = loadNative() !== null
    this.#tasks = new Tasks(ledger, Math.min(LIMITS.taskThreadsMax, shards), { native }, (message) =>
      this.#log('warn', message),
    )
    // Walks meet real paths.
    const leftOut = [realpathSync(this.#paths.dataDir)]
    const watcher = (this.#watcher = new Watcher({
      ledger,
      native,
      leftOut,
      ask: (library, operation, params) => this.#router!.askOf(library, operation, params),
      tell: (location, covered) => this.#router!.tellCovered(location, covered),
      log: (level, message) => this.#log(level, message),
    }))
    this.#events.subscribe({ types: ['library.deleted'] }, ({ library }) => watcher.unwatchLibrary(library!))
    this.#router = new Router({
      shards,
      beats: this.#beats,
      ledger,
      tasks: this.#tasks,
      events: this.#events,
      libraries: this.#paths.libraries,
      deleted: join(this.#paths.dataDir, 'deleted'),
      leftOut,
      watch: (location) => watcher.watch(location),
      askers: this.#fronts,
      log: (level, message, fields) => this.#log(level, message, fields),
    })
    await this.#router.open(() => this.#measureThread(ledger, shards))
  }

  #listeners(): number {
    const { http, lineProtocol } = this.#config
    return (http ? this.#config.fronts : 0) + (lineProtocol ? 1 : 0) + (this.#options.socket === false ? 0 : 1)
  }

  /** Before threads and listeners are there: what is open now, and what they will cost. */
  #expectedBase(shards: number): number {
    const listeners = this.#listeners()
    const threads = shards + (this.#config.fronts > 1 ? this.#config.fronts : 0)
    const ahead = listeners * PRICES.listener + threads * PRICES.taskThread + BOOT_MARGIN
    return this.#books.counted - this.#hostOpen + ahead
  }

  /** In a host's process other threads may open and close meanwhile: there the expected prices stand. */
  #measureLibrary(ledger: Ledger): void {
    if (this.#options.guest) return
    ledger.prices = { ...ledger.prices, ...measureLibrary(join(this.#paths.dataDir, 'prices.scratch')) }
  }

  #measureThread(ledger: Ledger, shards: number): void {
    this.#books.book('shard threads', shards, ledger.totals().used)
    const { descriptors } = this.#books.items.at(-1)!
    const taskThread = plausible('taskThread', Math.ceil(descriptors / shards))
    if (!this.#options.guest) ledger.prices = { ...ledger.prices, taskThread }
    for (const line of surprises(ledger.prices)) this.#log('warn', line)
  }

  /** With everything up, what the process itself holds is measured, and the budget follows. */
  async #settle(ledger: Ledger): Promise<Plan> {
    const base = countOpen() - this.#hostOpen - this.#reserve.count - ledger.totals().used
    this.#books.close('timers and ports', base)
    const settled = this.#planWithin(this.#usable(), base)
    ledger.configure(settled)
    this.#reserve.fill(settled.reserve)
    await this.#audit!.settle(() => this.#named())
    return settled
  }

  #watch(ledger: Ledger): void {
    const check = () => {
      this.#audit?.check()
      void this.#watchHolders()
      this.#storeTokenUses(() => this.#tokens.look())
    }
    const look = () => {
      ledger.reserveMissing = this.#reserve.fill()
      this.#followLimit(ledger)
    }
    this.#relief!.begin()
    this.#timers = [
      setInterval(check, CHECK_MS),
      setInterval(look, LIMITS.limitCheckMs),
      setInterval(() => this.#logFile?.rotate(() => lend('log')), CHECK_MS),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  /** Of what a host program opens beside the daemon nobody here can tell whether it is too much. */
  async #watchHolders(): Promise<void> {
    if (this.#options.guest) return
    try {
      const leak = await this.#audit!.watch(() => this.#named())
      if (!leak || this.#state !== 'serving') return
      const { growth, likeliest } = leak
      this.#log('warn', `${growth} descriptors more that nobody accounts for, likeliest of ${likeliest.holder}`, {
        ...leak,
      })
      this.#events.publish({ type: 'descriptors.leak', at: new Date().toISOString(), ...leak })
    } catch (error) {
      // Without the addon a look needs a descriptor itself; the count goes on without.
      this.#log('debug', `descriptors could not be looked at: ${toWire(error).message}`)
    }
  }

  /** A limit that was changed from outside is followed: a raise is used at once, after a cut idle holders give way. */
  #followLimit(ledger: Ledger): void {
    const change = this.#live?.look()
    if (!change) return
    this.#limit = { ...this.#limit, ...change.after }
    this.#tellLimit(change, this.#divide(ledger))
  }

  /** What the limit leaves now, as the settings are now. */
  #divide(ledger: Ledger): Plan {
    const next = this.#planAfterCut(ledger.totals().base)
    ledger.configure(next)
    ledger.reserveMissing = this.#reserve.fill(next.reserve)
    this.#relief!.checkDescriptors()
    return next
  }

  /** As far as it goes: a daemon that runs does not end because it was given less than a boot needs. */
  #planAfterCut(base: number): Plan {
    try {
      return this.#planWithin(this.#usable(), base)
    } catch (error) {
      this.#log('warn', `${toWire(error).message}; what is open stays open, and as much as fits is served`)
      const { connectionsMax } = this.#config
      return squeeze({ soft: this.#usable(), base, connectionsMax, prices: this.#ledger!.prices })
    }
  }

  /** All of it or, where a setting is wrong, nothing. */
  #reload(): Reloaded | Promise<Reloaded> {
    using _file = lend('doctor')
    const next = this.#options.reread?.() ?? this.#config
    const token = this.#front ? readOrMakeToken(this.#paths.token) : this.#token
    const renew = this.#certificate?.prepare()
    const keys = Object.keys(next) as (keyof Config)[]
    const changed = keys.filter((key) => key !== 'names' && !isDeepStrictEqual(next[key], this.#config[key]))
    const taken: string[] = changed.filter((key) => LIVE.has(key))
    const reloaded = { taken, waiting: changed.filter((key) => !LIVE.has(key)) }
    const { connectionsMax, nofile, hostsAllowed, logLevel, names } = next
    if (taken.includes('nofile')) this.#setLimit(next)
    this.#config = Object.freeze({ ...this.#config, connectionsMax, nofile, hostsAllowed, logLevel, names })
    this.#logFile!.level = logLevel
    this.#front?.renewAccess(token, hostsAllowed)
    if (token !== this.#token) taken.push('token')
    if (renew?.()) taken.push('certificate')
    this.#token = token
    this.#divide(this.#ledger!)
    this.#followLimit(this.#ledger!)
    this.#log('info', 'settings were read again', { ...reloaded })
    return this.#fronts ? this.#fronts.heeded().then(() => reloaded) : reloaded
  }

  /** What it then is, a look at the limit finds. */
  #setLimit(config: Config): void {
    checkNofile(config)
    const problem = this.#options.raiseLimit === false ? null : setLimit(config.nofile)
    if (problem) this.#log('warn', problem)
  }

  #tellLimit({ before, after }: LimitChange, { budget, reserve }: Plan): void {
    const cut = after.soft < before.soft
    const line =
      after.soft === before.soft
        ? `the hard descriptor limit was changed from ${before.hard} to ${after.hard}`
        : `the descriptor limit was ${cut ? 'cut' : 'raised'} from ${before.soft} to ${after.soft}`
    this.#log(cut ? 'warn' : 'info', line, {
      hard: after.hard,
      budget,
      reserve,
      open: countOpen(),
      highest: highestOpen(),
    })
    this.#events.publish({ type: 'descriptors.limit', at: new Date().toISOString(), before, after })
  }

  #createToken(asked: ParamsOf<'tokens.create'>): unknown {
    const known = new Set(this.#router!.list().map(({ id }) => id))
    const unknown = asked.libraries?.find((id) => !known.has(id))
    if (unknown !== undefined) throw new SpacedriveError('LIBRARY_NOT_FOUND', `no library ${unknown}`)
    const made = this.#tokens.create(asked)
    this.#log('info', `a token "${made.name}" was made`, { id: made.id, scope: made.scope })
    return this.#fronts ? this.#fronts.tokensChanged().then(() => made) : made
  }

  #revokeToken(given: string): unknown {
    const revoked = this.#revoke(given)
    this.#log('info', 'a token was revoked', { id: revoked.token })
    return this.#fronts ? this.#fronts.tokensChanged().then(() => revoked) : revoked
  }

  /** Holds at once in all threads, also where it cannot be stored. */
  #revoke(given: string): { token: string } {
    try {
      return this.#tokens.revoke(given)
    } catch (error) {
      void this.#fronts?.tokensChanged()
      throw error
    }
  }

  /** When each was last used is worth no failure. */
  #storeTokenUses(store: () => void): void {
    try {
      store()
    } catch (error) {
      this.#log('debug', `the tokens could not be stored: ${toWire(error).message}`)
    }
  }

  #frontLine(): string {
    if (!this.#front) return 'none'
    const { fronts } = this.#config
    const kind = this.#front.kind === 'uws' ? 'uWebSockets.js' : 'node:http'
    return fronts > 1 ? `${kind} in ${fronts} threads` : kind
  }

  /** Who asks in this process asks this daemon: no other comes in its place. */
  #mustBeOpen(): void {
    if (this.#closing) throw new SpacedriveError('CLOSED', 'this daemon is closed')
  }

  #unready(): SpacedriveError | null {
    if (this.#state === 'serving') return null
    const code = this.#state === 'starting' ? 'STARTING' : 'DRAINING'
    return new SpacedriveError(code, `the daemon is ${this.#state}`, { retryAfterMs: 1000 })
  }

  #dispatch(request: Request, answer: (reply: Reply) => void, caller?: object): GiveUp | void {
    const where = runsOn(request.operation)
    const unready = this.#unready()
    if (unready) return answer({ ok: false, error: toWire(unready) })
    const refused = this.#pressed!.refuses(request, caller)
    if (refused) return answer({ ok: false, error: refused })
    if (where === 'library' || where === 'place') return this.#router!.request(request, answer, caller)
    if (where === 'feed') {
      const error = new SpacedriveError('BAD_REQUEST', `${request.operation} needs a WebSocket`, {
        hint: 'Ask over GET /ws.',
      })
      return answer({ ok: false, error: toWire(error) })
    }
    this.#askHere(request, answer)
  }

  /** Answered before this returns where nothing has to be waited for. */
  #askHere({ operation, params }: Request, answer: (reply: Reply) => void): void {
    const refuse = (error: unknown) => answer({ ok: false, error: toWire(error) })
    let value: unknown
    try {
      value = this.#core[operation]?.(params as never)
    } catch (error) {
      return refuse(error)
    }
    if (value instanceof Promise) value.then((later) => answer({ ok: true, json: JSON.stringify(later) }), refuse)
    else answer({ ok: true, json: JSON.stringify(value) })
  }

  readonly #core: { readonly [Name in OperationName]?: (params: ParamsOf<Name>) => unknown } = {
    'core.ping': () => 'pong',
    'core.status': () => this.#status(),
    'core.descriptors': () => this.#descriptors(),
    'core.reload': () => this.#reload(),
    'core.shutdown': () => {
      setImmediate(() => void this.close())
      return { draining: true }
    },
    'tokens.create': (asked) => this.#createToken(asked),
    'tokens.list': () => this.#tokens.list(),
    'tokens.revoke': ({ token }) => this.#revokeToken(token),
    'rpc.discover': discovery,
    'libraries.list': () => this.#router!.list(),
  }

  #status(): Status {
    const ledger = this.#ledger!
    const { softAtStart, soft, hard } = this.#limit
    const { budget, base, reserve } = ledger.totals()
    const front = this.#front
    return {
      pid: process.pid,
      version: VERSION,
      uptimeMs: Math.round(performance.now() - this.#startedAt),
      state: this.#state,
      front: front?.kind ?? 'none',
      native: loadNative() !== null,
      errorsSurvived: this.#lookout.errorsSurvived,
      http: front?.http ?? null,
      socket: front?.socket ?? null,
      lineProtocol: front?.lines?.address ?? null,
      limit: { softAtStart, soft, hard },
      descriptors: {
        open: countOpen(),
        base,
        budget,
        reserve,
        reserveHeld: this.#reserve.count,
        highest: highestOpen(),
        unaccounted: this.#audit!.unaccounted(),
        exhaustionSeconds: this.#lookout.exhaustionSeconds,
        ...this.#relief!.descriptors,
        classes: ledger.uses(),
        ...(this.#audit!.leak ? { leak: this.#audit!.leak } : {}),
      },
      pressure: this.#relief!.causes,
      connections: {
        ...(front?.connections() ?? NO_CONNECTIONS),
        max: ledger.use('clients').ceiling,
      },
      loop: this.#lookout.loop,
      watching: this.#watcher!.sum(),
      events: this.#fronts?.events(this.#events.use) ?? this.#events.use,
      ...this.#router!.counts(this.#lookout.turningMs),
    }
  }

  async #descriptors(): Promise<Descriptors> {
    const { softAtStart, soft, hard } = this.#limit
    // The addon needs no descriptor to list them; Node does, and at exhaustion that is one of the reserve.
    using _listing = loadNative() ? undefined : lend('doctor')
    const described = await this.#audit!.describe(() => this.#named())
    return { limit: { softAtStart, soft, hard }, classes: this.#ledger!.uses(), ...described }
  }

  async #named(): Promise<Named> {
    // Asked first: what this thread holds is to be as fresh as what is looked at next.
    const { leases, jobs, untold } = await this.#router!.held(HELD_WAIT_MS)
    const { lock, logs, flight, libraries } = this.#paths
    const url = this.#front?.http ?? null
    const used = (name: 'clients' | 'control') => this.#ledger!.use(name).used
    return {
      leases: [...this.#ledger!.held(), ...leases],
      threads: [...this.#router!.threads(), ...(this.#fronts?.threads() ?? [])],
      libraries,
      files: new Map([
        [lock, 'lock'],
        [logs, 'log'],
        [`${logs}.1`, 'log'],
        [flight, 'flight recorder'],
      ]),
      reserve: [...this.#reserve.held],
      doors: {
        address: url,
        port: url === null ? null : Number(new URL(url).port || (url.startsWith('https:') ? 443 : 80)),
        socket: this.#front?.socket ?? null,
        ...(this.#front?.lines ? { lines: this.#front.lines } : {}),
        clients: used('clients') + used('control'),
        peers: () => this.#front?.peers() ?? [],
      },
      jobs,
      untold,
    }
  }

  /** For the command line: where this daemon is, and how it was started. */
  #writeState(): void {
    const { pid, http, socket, lineProtocol } = this.ready
    this.#ports?.keep({ http, lineProtocol })
    const argv = process.argv.slice(2)
    writeState(this.#paths.state, { pid, http, socket, argv, startedAt: new Date().toISOString() })
  }

  #tellLine(level: LogLevel, message: string, { library, ...fields }: Readonly<Record<string, unknown>>): void {
    if (level === 'debug') return
    const of = typeof library === 'string' ? { library } : {}
    const line = { type: NAMED_EVENT, at: new Date().toISOString(), ...of, level, message }
    try {
      this.#events.publish({ ...line, fields })
    } catch {
      // Something in it is not JSON.
      this.#events.publish(line)
    }
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>): void {
    this.#logFile?.log(level, message, fields)
    this.#lookout.heard(level, message)
  }
}

/** Before it is set: with too few not even the rest of the program can be loaded. */
function checkNofile({ nofile, names }: Config): void {
  if (nofile === null || nofile >= LIMITS.hardFloor) return
  const message = `${names.nofile}: ${nofile} is less than the ${LIMITS.hardFloor} that are needed`
  throw new SpacedriveError('LIMIT_TOO_LOW', message, { hint: 'Leave that out, or give it more.' })
}
