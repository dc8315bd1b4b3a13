// A watched and indexed tree in one thread: inotify, diff and apply as they are, so that every step between two of them can be
// the one at which something changes.
import assert from 'node:assert'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { LIMITS } from '../../src/base/limits.js'
import { openInotify } from '../../src/descriptors/inotify.js'
import { NodeWatch, openNodeWatch } from '../../src/descriptors/node-watch.js'
import { loadNative } from '../../src/descriptors/native.js'
import { Follower } from '../../src/job/follow.js'
import type { Library } from '../../src/library/library.js'
import type { LocationRules } from '../../src/protocol/operations.js'
import { readDirectoryPlain, type Listing } from '../../src/scan/read.js'
import { IN, Watch, type Events, type Kernel } from '../../src/scan/watch.js'
import { WatchedTree } from '../../src/scan/watched-tree.js'
import { Followed } from '../../src/shard/followed.js'
import type { FromWatcher } from '../../src/shard/lines.js'
import { differences, index, indexed, rescan, Stage } from '../library/stage.js'

/** Null where nothing can be watched. */
export const addon = process.platform === 'linux' ? loadNative() : null

/** A watched and indexed tree, step by step. */
export class Pursuit {
  readonly stage: Stage
  readonly library: Library
  readonly location: string
  readonly watch: Watch
  readonly followed: Followed
  /** Scans that doubt made necessary. */
  scans = 0
  readonly #follower: Follower
  watchesMax = Infinity
  /** No directory can be opened. */
  failing = false
  failures = 0
  /** Nothing is heard of the kernel. */
  deaf = false
  /** Called between any two looks at the disk: what may change there, may change then. */
  meanwhile: () => void = () => {}
  /** Events come between two turns of the loop. */
  turns = false
  readonly #kernel: Kernel
  readonly #leftOut: readonly string[]
  #overflow = false
  #opened = 0
  readonly #known = new Set<number>()
  #told: FromWatcher['told'][] = []

  static async begin(
    stage: Stage,
    kernel: Kernel,
    watchesMax: number,
    leftOut: readonly string[],
    rules: LocationRules = {},
  ): Promise<Pursuit> {
    const library = stage.open(stage.create())
    const location = await index(library, stage.tree, { leftOut, rules })
    library.write(() => library.locations.setWatch(library.locations.get(location), true))
    const pursuit = new Pursuit(stage, library, location, kernel, leftOut)
    pursuit.watchesMax = watchesMax
    pursuit.turns = kernel instanceof NodeWatch
    await pursuit.catchUp()
    pursuit.scans = 0
    return pursuit
  }

  constructor(stage: Stage, library: Library, location: string, kernel: Kernel, leftOut: readonly string[]) {
    this.stage = stage
    this.library = library
    this.location = location
    this.#kernel = kernel
    this.#leftOut = leftOut
    this.watch = new Watch({
      add: (path) => this.#add(path),
      remove: (number) => {
        this.#known.delete(number)
        kernel.remove(number)
      },
      read: () => this.#read(),
    })
    const { rules } = library.locations.get(location)
    const read = (path: Buffer) => this.#open(path)
    const tree = new WatchedTree({ watch: this.watch, root: stage.tree, leftOut, rules, read })
    this.followed = new Followed(location, tree, ({ told }) => this.#told.push(told))
    this.#follower = new Follower({
      publish: () => {},
      takeUp: () => {},
      readSoon: () => {},
      breathe: () => Promise.resolve(),
    })
  }

  #open(path: Buffer): Listing {
    this.meanwhile()
    this.#opened += 1
    if (!this.failing) return this.#listed(path)
    this.failures += 1
    throw Object.assign(new Error('EMFILE: made up, open'), { code: 'EMFILE', syscall: 'open' })
  }

  #listed(path: Buffer): Listing {
    const listing = readDirectoryPlain(path)
    this.meanwhile()
    return listing
  }

  overflow(): void {
    this.#overflow = true
  }

  #add(path: Buffer): number {
    this.meanwhile()
    const number = this.#kernel.add(path)
    this.meanwhile()
    if (this.#known.has(number)) return number
    if (this.#known.size >= this.watchesMax) {
      this.#kernel.remove(number)
      throw Object.assign(new Error('ENOSPC: made up'), { code: 'ENOSPC' })
    }
    this.#known.add(number)
    return number
  }

  #read(): Events | null {
    if (this.#overflow) {
      this.#overflow = false
      return { watches: Int32Array.of(-1), masks: Uint32Array.of(IN.overflow), cookies: Uint32Array.of(0), names: [''] }
    }
    const events = this.#kernel.read()
    if (!events) this.meanwhile()
    return this.deaf ? null : events
  }

  /** One tick, and what it tells is stored; more may come of it. True when nothing came. */
  async step(): Promise<boolean> {
    for (let turn = 0; this.turns && turn < 3; turn++) await nextTurn()
    this.watch.listen()
    this.followed.step(performance.now() + 5)
    const told = this.#told.splice(0)
    for (const each of told) await this.#store(each!)
    return told.length === 0
  }

  /**
   * Until nothing is left to tell, for three ticks: the halves of a move that left the tree are waited for. And until all that is
   * polled was read twice, so at least in one whole round, however many ticks that takes.
   */
  async catchUp(): Promise<void> {
    let openedBefore = this.#opened
    for (let quiet = 0, steps = 0; quiet < 3 || !this.#isPolled(openedBefore); steps++) {
      if (steps > 20_000) throw new Error('it does not come to rest')
      const nothing = await this.step()
      quiet = nothing && this.followed.tree.coverage.state !== 'starting' ? quiet + 1 : 0
      if (quiet === 0) openedBefore = this.#opened
    }
  }

  #isPolled(openedBefore: number): boolean {
    const { state, polled } = this.followed.tree.coverage
    return state === 'absent' || LIMITS.watchPollMs > 0 || this.#opened - openedBefore >= 2 * polled
  }

  async #store({ number, changes }: NonNullable<FromWatcher['told']>): Promise<void> {
    if (!changes) {
      this.scans += 1
      await rescan(this.library, this.location, { leftOut: this.#leftOut })
      return this.followed.answered({ number, outcome: 'done', relist: [] })
    }
    const found = { location: this.location, ...structuredClone(changes) }
    const { outcome, relist = [] } = await this.#follower.apply(this.library, found)
    assert(outcome !== 'gone')
    this.followed.answered({ number, outcome, relist })
  }

  differences(): string[] {
    return differences(this.library, this.location, this.stage.tree)
  }

  idOf(path: string): number | undefined {
    return indexed(this.library, this.location).get(path)?.id
  }
}

export interface Ground {
  readonly watchesMax?: number
  /** A directory in the tree. */
  readonly leftOut?: string
  readonly rules?: LocationRules
  /** Nothing is there to begin with. */
  readonly isEmpty?: boolean
  /** By fs.watch, as without the addon. */
  readonly byNode?: boolean
}

export async function pursue(
  act: (pursuit: Pursuit, at: (path: string) => string) => Promise<void>,
  { watchesMax = Infinity, leftOut, rules, isEmpty = false, byNode = false }: Ground = {},
): Promise<void> {
  using stage = new Stage()
  const at = (path: string) => join(stage.tree, path)
  const directories = isEmpty ? 0 : 6
  for (let each = 0; each < directories; each++) mkdirSync(at(`d${each}/deep/deeper`), { recursive: true })
  for (let each = 0; each < directories; each++) writeFileSync(at(`d${each}/deep/file ${each}`), 'x'.repeat(each))
  if (leftOut !== undefined) mkdirSync(at(leftOut))
  const inotify = byNode ? openNodeWatch() : openInotify(addon!)
  try {
    await act(await Pursuit.begin(stage, inotify, watchesMax, leftOut === undefined ? [] : [at(leftOut)], rules), at)
  } finally {
    inotify.close()
  }
}

export function triedAgainAtOnce(): Disposable {
  const limits = LIMITS as { watchAgainMs: number; watchAgainMsMax: number }
  const { watchAgainMs, watchAgainMsMax } = limits
  Object.assign(limits, { watchAgainMs: 0, watchAgainMsMax: 0 })
  return { [Symbol.dispose]: () => void Object.assign(limits, { watchAgainMs, watchAgainMsMax }) }
}

/** Rounds of polling come one after the other, until the end of the block. */
export function polledEvery(ms: number): Disposable {
  const limits = LIMITS as { watchPollMs: number; watchPollRest: number }
  const { watchPollMs, watchPollRest } = limits
  Object.assign(limits, { watchPollMs: ms, watchPollRest: 0 })
  return { [Symbol.dispose]: () => void Object.assign(limits, { watchPollMs, watchPollRest }) }
}
