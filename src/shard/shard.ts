// The worker side of a shard: one thread, the libraries placed on it, and what can be asked of them.
import { accessSync, constants, realpathSync, renameSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { MessagePort } from 'node:worker_threads'
import { Beats, MAIN } from '../base/beats.js'
import { errnoOf, fromSystem, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { isWithin } from '../base/places.js'
import { Ledger } from '../descriptors/ledger.js'
import { jobHeldUp } from '../descriptors/pressure.js'
import { lend } from '../descriptors/reserve.js'
import type { BackUp } from '../job/back-up.js'
import type { Compare } from '../job/compare.js'
import type { Hash } from '../job/hash.js'
import { FirstLook } from '../job/first-look.js'
import { Follower, type Found as ChangesOf } from '../job/follow.js'
import { enqueueIdentify } from '../job/due.js'
import { GATHER_ALL } from '../job/identify.js'
import { Runner } from '../job/runner.js'
import { backupPlace, usualPlace } from '../library/backup.js'
import { Verifier } from '../job/verify.js'
import { readCatalog } from '../library/catalog.js'
import { loadSqlite } from '../library/connection.js'
import { fromSqlite } from '../library/cause.js'
import { markOf, readPlace, writePlace } from '../library/cursors.js'
import { createFolder, makePlace } from '../library/folder.js'
import type { Library } from '../library/library.js'
import { locationItem, type Location } from '../library/locations.js'
import { Pool } from '../library/pool.js'
import { removeAside, restoreFolder } from '../library/restore.js'
import type { Covered, Event, LocationItem, Mode } from '../protocol/messages.js'
import type { Indexing, Results } from '../protocol/results.js'
import type { OperationName, ParamsOf } from '../protocol/operations.js'
import { runsOn } from '../protocol/work.js'
import { decodeName, encodeName, printable } from '../scan/names.js'
import { KIND } from '../scan/read.js'
import { describeRules } from '../scan/rules.js'
import { Explainer } from './explain.js'
import { Copies } from './copies.js'
import { Written } from './kept.js'
import { identifyElsewhere } from './identifier.js'
import { deleteTag, tagOperations } from './tags.js'
import {
  COUNTS,
  type FromShard,
  type Held,
  type ShardOperation,
  type ShardSetup,
  type SharedRead,
  type LineMemory,
  type ToShard,
  type Watched,
} from './lines.js'
import { Turns } from './turns.js'
import { lookElsewhere, walkElsewhere } from './walker.js'

type LibraryOperation = Extract<OperationName, `${string}.${string}`>
/** With the id that the router gave it. */
type Created = ParamsOf<'libraries.create'> & { readonly id: string }
type InLibrary = (library: Library, params: never) => unknown

const IDLE_CHECK_MS = 1_000
/** With more open libraries than this their connections are counted at intervals, not with each message. */
const COUNTED_AT_ONCE_MAX = 256
/** File systems that only look like files: what is read there never ends or is never the same. */
const PSEUDO_FILE_SYSTEMS = new Map([
  [0x9fa0, 'proc'],
  [0x62656572, 'sysfs'],
])

export class Shard {
  readonly #setup: ShardSetup
  readonly #send: (message: FromShard, transfer?: MessagePort[]) => void
  readonly #ledger: Ledger
  readonly #pool: Pool
  readonly #runner: Runner
  readonly #follower: Follower
  readonly #explainer: Explainer
  readonly #verifier: Verifier
  readonly #firstLook: FirstLook
  readonly #counts: Int32Array
  readonly #beats: Beats
  readonly #turns: Turns
  readonly #written: Written
  #mainStands = false
  readonly #ended = new AbortController()
  readonly #timers: readonly NodeJS.Timeout[]
  #events: Event[] = []
  #logs: unknown[] = []
  #watch: Watched[] = []
  #unshare: string[] = []
  readonly #copies: Copies
  /** How watched locations are watched, as the watcher said last. */
  readonly #covered = new Map<string, Covered>()
  #flushing = false
  /** Libraries that are being deleted. */
  readonly #leaving = new Set<string>()
  /** Libraries that are being made of a copy. */
  readonly #copying = new Map<string, { readonly stop: AbortController; readonly end: Promise<unknown> }>()
  /** Libraries whose reads of this turn share a snapshot, which pays from the second request on. */
  readonly #reading = new Set<Library>()

  constructor(setup: ShardSetup, send: (message: FromShard, transfer?: MessagePort[]) => void) {
    loadSqlite()
    this.#setup = setup
    this.#send = send
    this.#ledger = new Ledger(setup.ledger, setup.thread)
    this.#counts = new Int32Array(setup.counts)
    this.#beats = new Beats(setup.beats)
    this.#turns = new Turns(setup.ahead, {
      run: (operation, params) => this.#run(operation, params),
      ended: () => this.#endReads(),
      refused: (error) => this.#refused(error),
      leftOut: () => (this.#counts[COUNTS.givenUp]! += 1),
      answered: () => this.#flushSoon(),
      tell: () => this.#flush(),
    })
    this.#written = new Written(setup.written)
    this.open(setup, send)
    this.#pool = new Pool(this.#ledger, {
      opened: (library) => this.#opened(library),
      closed: (library) => this.#closed(library),
      failed: (library, why) => this.#failed(library, why),
    })
    this.#copies = new Copies(this.#ledger)
    this.#runner = new Runner({
      ledger: this.#ledger,
      pool: this.#pool,
      walk: walkElsewhere(
        (port, walk) => this.#send({ tasks: [{ port, work: { walk } }] }, [port]),
        () => this.#turns.asked,
      ),
      identify: identifyElsewhere((port, identify) => this.#send({ tasks: [{ port, work: { identify } }] }, [port])),
      leftOut: setup.leftOut,
      publish: (event) => this.#publish(event),
      log: (...line) => this.#log(...line),
      breathe: () => nextTurn(),
      ended: (library) => this.#verifier.consider(library),
      heldUp: (waitedMs) => jobHeldUp(this.#ledger, waitedMs),
    })
    const look = lookElsewhere((port, walk) => this.#send({ tasks: [{ port, work: { walk } }] }, [port]))
    this.#explainer = new Explainer(look, setup.leftOut)
    this.#verifier = new Verifier({
      ledger: this.#ledger,
      walk: walkElsewhere((port, walk) => this.#send({ tasks: [{ port, work: { walk } }] }, [port])),
      leftOut: setup.leftOut,
      hold: (library, work) => this.#pool.hold(library, work),
      publish: (event) => this.#publish(event),
      breathe: () => nextTurn(),
      log: (message) => this.#log('info', message),
    })
    this.#follower = new Follower({
      publish: (event) => this.#publish(event),
      takeUp: (library) => this.#runner.takeUp(library),
      readSoon: (library, location) => this.#runner.readSoon(library, location),
      breathe: () => nextTurn(),
    })
    this.#firstLook = new FirstLook({
      peek: (id) => this.#pool.peek(id),
      takeUp: (library) => this.#runner.takeUp(library),
      log: (...line) => this.#log(...line),
    })
    void this.#ledger.onWanted((urgent) => this.#pool.makeRoomElsewhere(urgent), this.#ended.signal)
    this.#timers = [
      setInterval(() => this.#pool.closeIdle(), IDLE_CHECK_MS),
      setInterval(() => this.#lookAtPressure(), LIMITS.pressureCheckMs),
      setInterval(() => this.#lookAtMain(), LIMITS.pressureCheckMs),
    ]
    // From now on it is silent where it does not turn, be it before the first look.
    this.#beats.beat(setup.beat)
  }

  /** For one more thread that asks; the first is the main one. @returns its number here */
  open(shared: LineMemory, send: (message: FromShard) => void): number {
    return this.#turns.open(shared, send)
  }

  receive({ know, covered, unwanted, requests, mayWaitMs }: ToShard, from = 0): void {
    for (const [location, how] of covered ?? []) this.#covered.set(location, how)
    for (let at = 0; know && at < know.length; at += 2) this.#pool.know(know[at]!, know[at + 1]!)
    for (const library of unwanted ?? []) this.#copying.get(library)?.stop.abort()
    if (requests) this.#turns.take(from, requests, mayWaitMs)
  }

  #endReads(): void {
    for (const library of this.#reading) library.endRead()
    this.#reading.clear()
    this.#copies.endTurn()
  }

  #run(operation: ShardOperation, params: unknown): unknown {
    if (isInternal(operation)) return this.#internal[operation](params as never)
    if (runsOn(operation) === 'place') return this.#make(params as Created)
    this.#refuseLeaving(params as { library: string })
    if (operation === 'libraries.close') return this.#close(params as ParamsOf<'libraries.close'>)
    if (operation === 'libraries.delete') return this.#delete(params as ParamsOf<'libraries.delete'>)
    const read = IN_LIBRARY[operation]
    const work = read ?? this.#inLibrary[operation]
    if (!work) throw new SpacedriveError('INTERNAL', `${operation} is no operation of a shard`)
    const { library: id } = params as { library: string }
    if (operation === 'libraries.open') return this.#pool.get(id, true).then((opened) => work(opened, params as never))
    const library = this.#pool.peek(id)
    if (library && read && (this.#turns.several || MANY_READS.has(operation))) {
      this.#reading.add(library)
      library.beginRead()
    }
    if (library) return work(library, params as never)
    return this.#pool.get(id).then((opened) => work(opened, params as never))
  }

  /** Its clients only: what a watcher found, or a job that ends, is let come to its end. */
  #refuseLeaving({ library }: { readonly library: string }): void {
    if (this.#leaving.has(library))
      throw new SpacedriveError('LIBRARY_NOT_FOUND', `library ${library} is being deleted`)
  }

  readonly #internal = {
    'shard.catalog': () => readCatalog(this.#setup.libraries),
    'shard.held': (): Held => ({ leases: this.#ledger.held(), jobs: this.#runner.running() }),
    'shard.takeUp': ({ library }: { library: string }) => this.#pool.get(library).then(() => null),
    'shard.changes': ({ library, ...found }: { library: string } & ChangesOf) =>
      this.#pool.hold(library, (held) => this.#follower.apply(held, found)),
    'shard.doubt': ({ library, location }: { library: string; location: string }) =>
      this.#pool.hold(library, async (held) => this.#follower.doubt(held, location)),
    'shard.share': async ({ library: id, count }: { library: string; count: number }) => {
      const library = count > 0 ? await this.#pool.get(id) : this.#pool.find(id)
      const shared = library?.share(count) ?? 0
      if (shared === 0) this.#pool.closeFailed()
      return { path: library?.path, count: shared }
    },
    'shard.copy': ({ library, path }: { library: string; path: string }) => this.#copies.open(library, path),
    'shard.uncopy': ({ library }: { library: string }) => this.#copies.close(library),
    'shard.read': (asked: SharedRead) => this.#copies.read(asked),
    'shard.sweep': ({ libraries }: { libraries: readonly string[] }) => this.#sweep(libraries),
    'shard.drain': async () => {
      this.#ended.abort()
      for (const timer of this.#timers) clearInterval(timer)
      this.#firstLook.stop()
      using _spare = lend('checkpoint')
      for (const { stop } of this.#copying.values()) stop.abort()
      const copying = [...this.#copying.values()].map(({ end }) => end)
      await Promise.all([this.#runner.stopAll(), this.#verifier.close(), ...copying])
      this.#copies.closeAll()
      this.#pool.closeAll()
      return null
    },
  }

  /** Operations that need more than the library. */
  readonly #inLibrary: Partial<Record<OperationName, InLibrary>> = {
    'libraries.rename': async (library: Library, { name }: ParamsOf<'libraries.rename'>) => {
      const by = { holder: `renaming library ${library.name}`, path: library.path }
      await this.#pool.holdWith(library.id, 1, by, (held, lease) => held.rename(name, lease))
      this.#publish({ type: 'library.renamed', library: library.id, name })
      return { id: library.id, name, path: library.path }
    },
    'libraries.backup': (library: Library, { to }: ParamsOf<'libraries.backup'>) => this.#backUp(library, to),
    'libraries.check': (library: Library) => this.#check(library),
    'duplicates.verify': (library: Library, params: ParamsOf<'duplicates.verify'>) =>
      this.#verifyDuplicates(library, params),
    'files.hash': (library: Library, params: ParamsOf<'files.hash'>) => this.#hash(library, params),
    'libraries.compact': (library: Library) => ({ library: library.id, ...library.compact() }),
    'libraries.info': (library: Library) => ({ ...library.info(), locations: this.#locationsOf(library) }),
    'locations.list': (library: Library) => this.#locationsOf(library),
    'locations.add': (library: Library, params: ParamsOf<'locations.add'>) => this.#addLocation(library, params),
    'locations.remove': async (library: Library, { location: uid }: ParamsOf<'locations.remove'>) => {
      const location = library.locations.get(uid)
      await this.#pool.hold(library.id, async () => {
        await this.#runner.stopOf(library, uid)
        library.write(() => library.locations.markRemoving(location))
        this.#unfollow(library, uid)
        await this.#removeSlices(library, location)
      })
      return { location: uid }
    },
    'locations.rescan': (library: Library, { location: uid }: ParamsOf<'locations.rescan'>) => {
      const location = library.locations.get(uid)
      this.#firstLook.looked(uid)
      const active = library.jobs.active('index', uid)
      if (active?.state === 'queued' && active.checkpoint === null) return { location: uid, job: active.id }
      if (active) {
        throw new SpacedriveError('JOB_STATE', `job ${active.id} of this location is ${active.state}`, {
          hint: active.state === 'paused' ? 'Resume or cancel it first.' : 'Wait until it is done, or cancel it.',
        })
      }
      const job = library.write(() => library.jobs.enqueue('index', uid, library.locations.entriesOf(location)))
      this.#runner.takeUp(library)
      return { location: uid, job: job.id, leavesOut: this.#rulesOf(location) }
    },
    ...tagOperations({ hold: (id, work) => this.#pool.hold(id, work), publish: (event) => this.#publish(event) }),
    'locations.update': (library: Library, params: ParamsOf<'locations.update'>) =>
      this.#pool.hold(library.id, async () => {
        const job = params.mode === undefined ? null : await this.#setMode(library, params.location, params.mode)
        const item = await (params.rules === undefined
          ? this.#updateLocation(library, params)
          : this.#updateRules(library, params))
        return { ...(job === null ? {} : { job }), ...item }
      }),
    'files.explain': (library: Library, params: ParamsOf<'files.explain'>) =>
      this.#pool.hold(library.id, (held) => this.#explainer.explain(held, params)),
    'files.leftOut': (library: Library, params: ParamsOf<'files.leftOut'>) =>
      this.#pool.hold(library.id, (held) => this.#explainer.leftOut(held, params)),
    'jobs.pause': (library: Library, { job }: ParamsOf<'jobs.pause'>) => this.#runner.stop(library, job, 'paused'),
    'jobs.cancel': (library: Library, { job }: ParamsOf<'jobs.cancel'>) => this.#runner.stop(library, job, 'cancelled'),
    'jobs.resume': (library: Library, { job }: ParamsOf<'jobs.resume'>) => this.#runner.resume(library, job),
  }

  #updateLocation(library: Library, { location: uid, name, watch, rules }: ParamsOf<'locations.update'>): LocationItem {
    const location = library.locations.get(uid)
    library.write(() => {
      if (name !== undefined) library.locations.rename(location, name)
      if (watch !== undefined) library.locations.setWatch(location, watch)
      if (rules !== undefined) library.locations.setRules(location, rules)
    })
    const changed = library.locations.get(uid)
    if (watch !== undefined || (rules !== undefined && changed.watch)) this.#follow(library, changed)
    this.#publish({ type: 'location.changed', library: library.id, location: uid })
    return this.#locationItem(library, changed)
  }

  /** What a scan under other rules had come to is worth nothing: it ends, and one begins that makes the new ones true. */
  async #updateRules(library: Library, params: ParamsOf<'locations.update'>): Promise<LocationItem & Indexing> {
    const { location: uid } = params
    for (let active = library.jobs.active('index', uid); active; active = library.jobs.active('index', uid))
      await this.#runner.cancel(library, active.id)
    const item = this.#updateLocation(library, params)
    const location = library.locations.get(uid)
    const job = library.write(() => library.jobs.enqueue('index', uid, library.locations.entriesOf(location)))
    this.#runner.takeUp(library)
    return { ...item, location: uid, job: job.id, leavesOut: this.#rulesOf(location) }
  }

  #rulesOf({ path, rules }: Location): string[] {
    return describeRules(path, this.#setup.leftOut, rules)
  }

  /** From now on what changes is read or not; files that were never read are read by the job whose id this returns. */
  async #setMode(library: Library, uid: string, mode: Mode): Promise<string | null> {
    const location = library.locations.get(uid)
    if (location.mode === mode) return null
    const active = library.jobs.active('identify', location.uid)
    if (active) await this.#runner.cancel(library, active.id)
    library.write(() => {
      library.locations.setMode(location, mode)
      if (mode !== 'shallow') enqueueIdentify(library, location, GATHER_ALL)
    })
    this.#runner.takeUp(library)
    return library.jobs.active('identify', location.uid)?.id ?? null
  }

  #make(made: Created): Promise<unknown> {
    const { from } = made
    return from === undefined ? this.#create(made) : this.#restore({ ...made, from })
  }

  async #create({ id, name }: Created): Promise<unknown> {
    const { libraries } = this.#setup
    using _lease = await this.#pool.lease(1, { holder: `creating library ${name}`, path: libraries })
    return this.#made(id, name, createFolder(libraries, id, name))
  }

  async #restore({ id, name, from }: Created & { readonly from: string }): Promise<unknown> {
    const stop = new AbortController()
    const copy = this.#copy(id, name, from, stop.signal)
    this.#copying.set(id, { stop, end: copy.catch(() => null) })
    try {
      await copy
    } finally {
      this.#copying.delete(id)
    }
    // What it had to do goes on, and what it watched is watched again.
    const { path } = await this.#pool.get(id)
    return { id, name, path }
  }

  async #copy(id: string, name: string, from: string, signal: AbortSignal): Promise<void> {
    const { libraries } = this.#setup
    using _lease = await this.#pool.lease(this.#ledger.prices.library, {
      holder: `creating library ${name}`,
      path: libraries,
    })
    let publishedAt = -Infinity
    const progressed = (done: number, total: number) => {
      if (performance.now() - publishedAt < LIMITS.jobProgressMs && done < total) return
      publishedAt = performance.now()
      this.#publish({ type: 'library.copying', library: id, name, progress: { done, total, unit: 'bytes' } })
    }
    this.#made(id, name, await restoreFolder(libraries, { id, name, from, signal, progressed }))
  }

  #made(id: string, name: string, path: string): Results['libraries.create'] {
    this.#pool.know(id, path)
    this.#publish({ type: 'library.created', library: id, name, path })
    return { id, name, path }
  }

  async #sweep(ids: readonly string[]): Promise<null> {
    const { libraries } = this.#setup
    using _lease = await this.#pool.lease(1, { holder: 'removing what was not made', path: libraries })
    for (const id of ids) await removeAside(libraries, id)
    return null
  }

  #backUp(library: Library, to?: string): unknown {
    const data = dirname(this.#setup.deleted)
    const backups = join(data, 'backups')
    const path = to === undefined ? usualPlace(backups, library.path) : backupPlace(to, { data, backups })
    const job = library.write(() => {
      const { id } = library.jobs.enqueue('backup', null, null)
      const checkpoint = JSON.stringify({ to: path } satisfies BackUp)
      library.jobs.writeProgress(id, { checkpoint, done: 0, fraction: 0, failures: [] })
      return id
    })
    this.#runner.takeUp(library)
    return { library: library.id, job, path }
  }

  /** One at a time: a second one would find the same. */
  #check(library: Library): unknown {
    const running = library.jobs.ofLibrary('check')
    const { id } = running ?? library.write(() => library.jobs.enqueue('check', null, null))
    this.#runner.takeUp(library)
    return { library: library.id, job: id }
  }

  #verifyDuplicates(library: Library, { contentIds }: ParamsOf<'duplicates.verify'>): unknown {
    const checkpoint: Compare = { contentIds: [...new Set(contentIds)], at: 0, begun: false }
    const { id } = library.write(() => library.jobs.enqueue('compare', null, null, JSON.stringify(checkpoint)))
    this.#runner.takeUp(library)
    return { library: library.id, job: id }
  }

  #hash(library: Library, named: ParamsOf<'files.hash'>): unknown {
    const { entries, missing } = library.named(named, ({ kind }) => kind === KIND.file)
    if (entries.length === 0)
      throw new SpacedriveError('FILE_NOT_FOUND', `${missing[0]} is no file of this library's index`)
    const checkpoint = JSON.stringify({ entries: entries.map(({ id }) => id) } satisfies Hash)
    const { id } = library.write(() => library.jobs.enqueue('hash', null, entries.length, checkpoint))
    this.#runner.takeUp(library)
    return { library: library.id, job: id, files: entries.length, missing }
  }

  #close({ library: id }: ParamsOf<'libraries.close'>): unknown {
    this.#pool.pathOf(id)
    return { library: id, closed: this.#pool.close(id) }
  }

  async #delete({ library: id, data }: ParamsOf<'libraries.delete'>): Promise<unknown> {
    const path = this.#pool.pathOf(id)
    // Before anything of it is ended.
    if (data !== true) makePlace(this.#setup.deleted)
    using _leaving = this.#leave(id)
    const library = await this.#pool.get(id).catch(nullIfUnusable)
    if (library) await this.#cancelJobs(library)
    // Bought first: between the close and the end of its folder nobody may open it again.
    using _lease = await this.#pool.lease(1, { holder: `deleting ${basename(path)}`, path })
    await this.#endWork(id)
    this.#pool.close(id)
    const kept = data === true ? null : join(this.#setup.deleted, `${id} ${basename(path)}`)
    try {
      if (kept === null) rmSync(path, { recursive: true, force: true })
      else renameSync(path, kept)
    } catch (error) {
      throw fromSystem(error)
    }
    this.#pool.forget(id)
    this.#verifier.forget(id)
    this.#publish({ type: 'library.deleted', library: id })
    return { library: id, path: kept }
  }

  #leave(id: string): Disposable {
    this.#leaving.add(id)
    return { [Symbol.dispose]: () => void this.#leaving.delete(id) }
  }

  /** Cancels its jobs, those that begin meanwhile too, and waits for who reads it; not for ever. */
  async #endWork(id: string): Promise<void> {
    const until = performance.now() + LIMITS.libraryFreeMs
    for (;;) {
      const library = this.#pool.find(id)
      if (library && !library.failure) await this.#cancelJobs(library)
      if (!this.#pool.isInUse(id) || performance.now() >= until) return
      if (library && library.sharedBy > 0) {
        this.#unshare.push(id)
        this.#flushSoon()
      }
      await sleep(LIMITS.libraryFreeLookMs)
    }
  }

  async #cancelJobs(library: Library): Promise<void> {
    for (const job of library.jobs.unfinished())
      try {
        await this.#runner.stop(library, job, 'cancelled')
      } catch (error) {
        // It ended while another one was stopped.
        if (toWire(error).code !== 'JOB_STATE') throw error
      }
  }

  #addLocation(library: Library, { path, name, watch, mode, rules }: ParamsOf<'locations.add'>): unknown {
    const real = this.#locatable(path)
    const { location, job } = library.addLocation(real, { name, watch, mode, rules })
    this.#firstLook.looked(location.uid)
    if (watch) this.#follow(library, location)
    this.#publish({ type: 'location.added', library: library.id, location: location.uid, path: printable(real) })
    this.#runner.takeUp(library)
    return { location: location.uid, job, leavesOut: this.#rulesOf(location) }
  }

  /** @throws PATH_REFUSED for anything that is not a directory people keep files in */
  #locatable(path: string): string {
    const refuse = (why: string, hint?: string) => {
      throw new SpacedriveError('PATH_REFUSED', `${printable(path)} ${why}`, hint === undefined ? {} : { hint })
    }
    if (!path.startsWith('/')) return refuse('is not an absolute path')
    if (path.includes('\0')) return refuse('holds a NUL')
    try {
      const real = decodeName(realpathSync.native(encodeName(path), { encoding: 'buffer' }))
      const bytes = encodeName(real)
      if (!statSync(bytes).isDirectory()) return refuse('is not a directory')
      accessSync(bytes, constants.R_OK | constants.X_OK)
      const pseudo = PSEUDO_FILE_SYSTEMS.get(statfsSync(bytes).type)
      if (pseudo) return refuse(`lies on the pseudo file system ${pseudo}`)
      const own = this.#setup.leftOut.find((each) => isWithin(real, each))
      if (own)
        return refuse(`lies in spacedrive's own directory ${own}`, 'Name a directory outside the data directory.')
      return real
    } catch (error) {
      const reasons: Record<string, string> = {
        ENOENT: 'does not exist',
        ENOTDIR: 'is not a directory',
        EACCES: 'may not be read by this user',
        EPERM: 'may not be read by this user',
        EIO: 'cannot be read: its disk reported an error',
        ELOOP: 'is a loop of symbolic links',
        ENAMETOOLONG: 'is too long',
      }
      const why = reasons[errnoOf(error) ?? '']
      if (why) return refuse(why)
      throw fromSystem(error)
    }
  }

  /** The only place where it can be said while it lasts: logs and answers go by way of the main thread. */
  #lookAtMain(): void {
    this.#beats.beat(this.#setup.beat)
    const silentMs = this.#beats.silentMs(MAIN)
    const stands = silentMs >= LIMITS.stallMs
    if (stands && !this.#mainStands && this.#setup.beat === MAIN + 1) sayAtOnce(silentMs)
    this.#mainStands = stands
  }

  #lookAtPressure(): void {
    this.#pool.giveWay()
    this.#runner.goOn()
    this.#unshare = this.#pool.failedElsewhere()
    if (this.#unshare.length > 0) this.#flushSoon()
    this.#count(true)
  }

  /** What is read of it from now on is of another time: its folder may have been another one in between. */
  #closed({ id }: Library): void {
    this.#written.begin(id)
    this.#written.end(id)
    this.#publish({ type: 'library.closed', library: id })
  }

  #opened(library: Library): void {
    library.writes = {
      begin: () => this.#written.begin(library.id),
      end: () => this.#written.end(library.id),
    }
    this.#publish({ type: 'library.opened', library: library.id, name: library.name })
    this.#runner.takeUp(library)
    for (const location of library.locations.all().filter((each) => !each.removing)) {
      if (location.watch) this.#follow(library, location)
      if (location.mode !== 'shallow') this.#readAgain(library, location)
    }
    this.#verifier.consider(library)
    this.#firstLook.opened(library)
    for (const location of library.locations.all().filter((each) => each.removing))
      this.#goOn(library, 'removing a location', () => this.#removeSlices(library, location))
    for (const tag of library.tags.deleting()) this.#goOn(library, 'deleting a tag', () => deleteTag(library, tag))
  }

  /** With what a stop interrupted. */
  #goOn(library: Library, what: string, work: () => Promise<void>): void {
    this.#pool
      .hold(library.id, work)
      .catch((error: unknown) => this.#log('warn', `${what} of "${library.name}": ${toWire(error).message}`))
  }

  /** What could not be read was not for a reason of an earlier time, perhaps of an earlier start. */
  #readAgain(library: Library, location: Location): void {
    try {
      if (library.identities.used) library.write(() => library.identities.hurry(location.id))
    } catch (error) {
      this.#log('warn', `library "${library.name}": ${toWire(error).message}`)
    }
    this.#runner.readSoon(library, location.uid)
  }

  #locationsOf(library: Library): LocationItem[] {
    const kept = library.locations.all().filter((each) => !each.removing)
    return kept.map((each) => this.#locationItem(library, each))
  }

  #locationItem(library: Library, location: Location): LocationItem {
    const unverified = library.unverifiedOf(location)
    return {
      ...locationItem(library.id, location, this.#covered.get(location.uid)),
      ...(unverified ? { unverified } : {}),
    }
  }

  /** Whoever watches is told of it again whenever the library opens. */
  #follow(library: Library, location: Location): void {
    const { uid, path, watch, rules } = location
    this.#markWatched(library)
    if (!watch) return this.#unfollow(library, uid)
    this.#watch.push({ library: library.id, location: uid, root: path, rules })
    this.#flushSoon()
  }

  #unfollow(library: Library, location: string): void {
    this.#covered.delete(location)
    this.#markWatched(library)
    this.#watch.push({ library: library.id, location, root: null })
    this.#flushSoon()
  }

  /** A hint for the next start, without which all is well until then. */
  #markWatched(library: Library): void {
    try {
      library.markWatched()
    } catch (error) {
      this.#log('warn', `library "${library.name}": ${toWire(error).message}`)
    }
  }

  #failed(library: Library, why: SpacedriveError): void {
    this.#log('error', `library "${library.name}" was closed, because its disk failed: ${why.message}`)
    this.#publish({ type: 'library.failed', library: library.id, error: toWire(why) })
  }

  async #removeSlices(library: Library, location: Location): Promise<void> {
    while (!library.removeSlice(location)) await nextTurn()
    this.#publish({ type: 'location.removed', library: library.id, location: location.uid })
  }

  #publish(event: Omit<Event, 'at'>): void {
    this.#events.push({ ...event, at: new Date().toISOString() } as Event)
    this.#flushSoon()
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown> = {}): void {
    this.#logs.push(level, message, fields)
    this.#flushSoon()
  }

  #refused(error: unknown): WireError {
    const wire = toWire(fromSqlite(error, 'the database of the library'))
    if (wire.code === 'INTERNAL')
      this.#log('error', wire.message, { stack: error instanceof Error ? error.stack : undefined })
    if (wire.code === 'DISK_FAILED') this.#pool.closeFailed()
    return wire
  }

  /** One message for all that this turn brought. */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    if (!this.#flushing) return
    this.#flushing = false
    const replies = this.#turns.takeReplies()
    const message: FromShard = {
      ...(replies.length > 0 ? { replies } : {}),
      ...(this.#events.length > 0 ? { events: this.#events } : {}),
      ...(this.#logs.length > 0 ? { logs: this.#logs } : {}),
      ...(this.#watch.length > 0 ? { watch: this.#watch } : {}),
      ...(this.#unshare.length > 0 ? { unshare: this.#unshare } : {}),
    }
    this.#watch = []
    this.#unshare = []
    this.#events = []
    this.#logs = []
    this.#count()
    if (Object.keys(message).length > 0) this.#send(message)
    this.#turns.answerOthers()
  }

  #count(all = false): void {
    const { open, opened, evicted, reopened } = this.#pool.counts
    const { running, queued } = this.#runner.counts
    this.#counts[COUNTS.libraries] = open
    if (all || open <= COUNTED_AT_ONCE_MAX)
      this.#counts[COUNTS.connections] = this.#pool.connections + this.#copies.count
    this.#counts[COUNTS.opened] = opened
    this.#counts[COUNTS.evicted] = evicted
    this.#counts[COUNTS.reopened] = reopened
    this.#counts[COUNTS.running] = running
    this.#counts[COUNTS.queued] = queued
  }
}

/** Operations of so many reads that a snapshot pays for a single one. */
const MANY_READS: ReadonlySet<ShardOperation> = new Set(['files.list', 'search.files'])

/** Operations that need nothing but the library they are asked of. */
const IN_LIBRARY: Partial<Record<LibraryOperation, InLibrary>> = {
  'libraries.open': (library: Library) => ({ id: library.id, name: library.name, path: library.path, open: true }),
  'files.get': (library: Library, params: ParamsOf<'files.get'>) => library.file(params),
  'files.list': (library: Library, params: ParamsOf<'files.list'>) => library.list(params),
  'search.files': (library: Library, params: ParamsOf<'search.files'>) => library.search(params),
  'tags.list': (library: Library, { query, limit, cursor }: ParamsOf<'tags.list'>) =>
    library.tags.list(query, limit ?? LIMITS.pageDefault, cursor),
  'duplicates.list': (library: Library, { location, limit, ...more }: ParamsOf<'duplicates.list'>) => {
    const within = location === undefined ? {} : { location: library.locations.get(location).id }
    return library.during(() => library.duplicates.list({ ...more, ...within, limit: limit ?? LIMITS.pageDefault }))
  },
  'jobs.list': (library: Library, { limit, cursor }: ParamsOf<'jobs.list'>) => {
    const most = limit ?? LIMITS.pageDefault
    const mark = markOf(library.id, 'jobs')
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : readPlace(cursor, isNumber, mark)
    const rows = library.jobs.list(most + 1, before)
    const items = rows.slice(0, most).map((row) => library.jobs.item(row))
    return rows.length > most ? { items, cursor: writePlace(rows[most - 1]!.number, mark) } : { items }
  },
  'jobs.info': (library: Library, { job }: ParamsOf<'jobs.info'>) => library.jobs.item(library.jobs.get(job)),
}

/** A library that cannot be opened because of what it is can still go; one that another process uses cannot. */
function nullIfUnusable(error: unknown): null {
  const { code } = toWire(error)
  if (code === 'LIBRARY_DAMAGED' || code === 'LIBRARY_NEWER' || code === 'DISK_FAILED') return null
  throw error
}

/** Where nobody reads it, it is not said. */
function sayAtOnce(silentMs: number): void {
  try {
    writeSync(2, `spacedrive: the main thread has stood still for ${silentMs} ms, and nobody is served\n`)
  } catch {
    // A pipe that is full or closed: the log tells of it afterwards.
  }
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function isInternal(operation: ShardOperation): operation is Extract<ShardOperation, `shard.${string}`> {
  return operation.startsWith('shard.')
}
