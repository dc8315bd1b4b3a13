// One tree of watched directories: what is known to have changed in it, and a look at just that, in batches as a walk has them.
//
// A directory is first watched and then read, so that nothing that is made in between is missed. Where it cannot be known what
// changed (the kernel's queue overflowed, more changed than is remembered), the whole tree is in doubt: every watch is proven
// again, and then the tree is to be scanned.
import { createHash } from 'node:crypto'
import { lstatSync, type BigIntStats } from 'node:fs'
import { errnoOf, fromSystem } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { LocationRules } from '../protocol/operations.js'
import { inodeKey, plainInode } from './diff.js'
import { staleIn, type Ground, type ReadText } from './ground.js'
import { decodeNames, encodeName, joined } from './names.js'
import { lookAt, microseconds, type Listing, type ReadDirectory } from './read.js'
import { Rules } from './rules.js'
import { Collector, emit, failureOf, pick, subdirectories, type Batch } from './walk.js'
import { remoteAt } from './remote.js'
import { IN, POLLED, type Bound, type Watch } from './watch.js'

export interface Directory {
  readonly tree: WatchedTree
  /** Null for the root, and for one that was moved away and has not arrived. */
  parent: Directory | null
  name: string
  below: Map<string, Directory> | null
  /** The number of its watch, or `POLLED`. */
  watch: number
  gone: boolean
  /** Of what lay there when it was last read; '' before. */
  inode: number | string
  /** Of one that is polled: what it looked like. */
  print: string
  /** It could not be read: it is tried again as if it were polled. */
  unread: boolean
  /** What holds in it, as of when it was last read. */
  ground: Ground | null
}

/** What changed in one directory. */
interface Dirt {
  /** Null stands for all of them. */
  names: Set<string> | null
  /** Also everything below it. */
  deep: boolean
}

export interface TreeSetup {
  readonly watch: Watch
  /** Absolute, as in scan/names. */
  readonly root: string
  readonly leftOut: readonly string[]
  readonly rules?: LocationRules | null | undefined
  readonly read: ReadDirectory
  readonly readText?: ReadText | undefined
  /** The kind of file system a path is on, as statfs has it. */
  readonly fileSystem?: (path: Buffer) => number
}

/** Looks in vain before the whole tree is in doubt. */
const ASTRAY_MAX = 20

/** How the directories of a tree are watched. */
export interface Coverage {
  /** `starting` while watches are set up or proven, until whoever is to scan it was told, `absent` while the root itself is not there. */
  readonly state: 'starting' | 'watched' | 'absent'
  readonly live: number
  readonly polled: number
}

interface Read {
  readonly listing: Listing
  readonly names: readonly string[]
  readonly ground: Ground | null
}

/** It is there, and may not be read. */
interface Unread {
  readonly error: { readonly code: string; readonly message: string }
}

interface Polling {
  readonly left: Directory[]
  /** Told at the end of a round, all at once: what was moved from one to another is then seen in both. */
  readonly changed: Directory[]
  full: boolean
  spentMs: number
}

export class WatchedTree {
  readonly #setup: TreeSetup
  readonly #rules: Rules
  readonly #root: Directory
  readonly #rootBytes: Buffer
  #identity: Identity | null = null
  readonly #dirty = new Map<Directory, Dirt>()
  #dirtyNames = 0
  /** Moves of which one half has been seen, by cookie, and how often it was waited for the other. */
  readonly #moving = new Map<number, { directory: Directory | null; waited: boolean }>()
  /** Directories whose watch may be of another one. */
  readonly #suspects = new Set<Directory>()
  /** Directories whose watches are yet to be set up or proven; null when all are. */
  #unproven: Directory[] | null
  /** All watches were proven, and nobody was told yet that the tree is to be scanned. */
  isUnsure = false
  /** What is being told, in case it has to be told again. */
  #flying: [Directory, Dirt][] = []
  /** Directories by inode, as far as they were read. */
  readonly #byInode = new Map<number | string, Directory>()
  #polling: Polling | null = null
  #pollAt = performance.now() + LIMITS.watchPollMs
  #size = 1
  /** The kind of file system, where others may change what is on it and the kernel here does not hear of it. */
  remote: string | null = null
  /** Directories that have a watch; kept by who gives them out. */
  live = 0
  /** How often in a row something was not where it should be. */
  #astray = 0

  constructor(setup: TreeSetup) {
    this.#setup = setup
    this.#rules = new Rules(setup)
    this.#rootBytes = encodeName(setup.root)
    this.#root = this.#make(null, '')
    this.#unproven = [this.#root]
    setup.watch.add(this)
  }

  get coverage(): Coverage {
    const state = this.#unproven || this.isUnsure ? 'starting' : this.#identity ? 'watched' : 'absent'
    return { state, live: this.live, polled: this.#size - this.live }
  }

  /** What was told so far, but not to its end, is worth nothing. */
  get isInDoubt(): boolean {
    return this.#unproven !== null || this.isUnsure || this.#identity === null
  }

  get rootInode(): bigint | null {
    return this.#identity?.ino ?? null
  }

  /** There is something to tell, and it would be told whole. */
  get isReady(): boolean {
    return this.#dirty.size > 0 && this.#moving.size === 0 && !this.isInDoubt
  }

  /** What happened in a directory of this tree. */
  happened(directory: Directory, mask: number, cookie: number, name: string): void {
    if (mask & IN.unmount) return this.doubt()
    if (mask & (IN.deleteSelf | IN.moveSelf)) return directory === this.#root ? this.doubt() : undefined
    if (name === '') return this.#touch(directory)
    this.#touch(directory, name)
    if (this.#setup.rules?.gitignore && (name === '.gitignore' || name === '.git')) this.#smear(directory, null, true)
    if (mask & IN.directory) this.#directoryHappened(directory, mask, cookie, name)
    else if (mask & IN.movedFrom) this.#moving.set(cookie, { directory: null, waited: false })
    else if (mask & IN.movedTo) this.#moving.delete(cookie)
  }

  /** After all that has happened so far was taken in. */
  settle(): void {
    for (const [cookie, move] of this.#moving) {
      if (!move.waited) move.waited = true
      else {
        // It left the tree.
        this.#moving.delete(cookie)
        if (move.directory) this.#drop(move.directory)
      }
    }
    for (const directory of this.#suspects) if (this.#prove(directory)) this.#suspects.delete(directory)
    if (this.#suspects.size > 0) this.#miss()
  }

  suspect(directory: Directory): void {
    this.#suspects.add(directory)
  }

  /** Nobody knows what changed. */
  doubt(): void {
    this.#forgetDirt()
    this.#flying = []
    this.#polling = null
    this.#suspects.clear()
    this.#unproven = [this.#root]
  }

  /** Proves watches and polls, until it is done or late. */
  work(until: number): void {
    while (this.#unproven && performance.now() < until) this.#proveNext(this.#unproven)
    if (!this.#unproven && !this.#polling && performance.now() >= this.#pollAt) this.#beginPoll()
    while (this.#polling && performance.now() < until) this.#pollNext(this.#polling)
  }

  /** Was told: either it is known now, or it is to be told again. */
  told(done: boolean): void {
    const flying = this.#flying
    this.#flying = []
    if (done) this.#astray = 0
    else for (const [directory, dirt] of flying) if (!directory.gone) this.#smear(directory, dirt.names, dirt.deep)
  }

  /**
   * The index lacks what lies in these directories, or them: wherever they are by now. One that is not known yet will be told
   * whole when it is. Something is told in any case: the end of what was told before waits for it.
   */
  relist(inodes: readonly (number | string)[]): void {
    if (inodes.length > 0) this.#touch(this.#root)
    for (const inode of inodes) {
      const directory = this.#byInode.get(inode)
      if (!directory) continue
      this.#smear(directory, null, true)
      if (directory.parent) this.#touch(directory.parent, directory.name)
    }
  }

  /** Looks at what changed, parents first. Call `told` when the batches have arrived, or have not. */
  *changes(): Generator<Batch> {
    const out = new Collector()
    const stack = this.#takeDirt()
    const whole = new Map<Directory, boolean>()
    for (let next = stack.pop(); next; next = stack.pop()) {
      const [directory, dirt] = next
      const before = whole.get(directory)
      if (directory.gone || before || (before === false && !dirt.deep)) continue
      if (dirt.names !== null && this.#knowsRules(directory)) this.#tellSome(directory, dirt, out)
      else {
        whole.set(directory, dirt.deep)
        yield* this.#tellWhole(directory, dirt, out, stack)
      }
      if (out.full) yield out.take()
    }
    if (!out.empty) yield out.take()
  }

  /** What lies at the root is what was watched; else nothing may be concluded. */
  isWhereItWas(): boolean {
    return isSame(statOf(this.#rootBytes), this.#identity)
  }

  end(): void {
    this.#drop(this.#root)
    for (const { directory } of this.#moving.values()) if (directory) this.#drop(directory)
  }

  #directoryHappened(parent: Directory, mask: number, cookie: number, name: string): void {
    const there = parent.below?.get(name)
    if (mask & IN.movedFrom) {
      if (there) this.#detach(there)
      this.#moving.set(cookie, { directory: there ?? null, waited: false })
    } else if (mask & IN.movedTo) {
      const moved = this.#moving.get(cookie)?.directory
      this.#moving.delete(cookie)
      this.#arrive(parent, name, moved ?? null, there)
    } else if (mask & IN.create) this.#arrive(parent, name, null, there)
    else if (mask & IN.delete) {
      if (there) this.#drop(there)
    } else if (there && there.watch === POLLED) this.#smear(there, null, false)
  }

  #arrive(parent: Directory, name: string, moved: Directory | null, there: Directory | undefined): void {
    if (!moved && there) return void this.#suspects.add(there)
    if (there) this.#drop(there)
    if (!moved) return this.#grow(parent, name)
    if (this.#isLeftOut(parent, name)) return this.#drop(moved)
    // What was read already is later than this: since then it went away again, and `parent` into it.
    if (isWithin(parent, moved)) {
      this.#drop(moved)
      return this.doubt()
    }
    moved.parent = parent
    moved.name = name
    ;(parent.below ??= new Map()).set(name, moved)
    this.#suspects.add(moved)
    // Other rules may hold there.
    if (this.#setup.rules) this.#smear(moved, null, true)
  }

  #grow(parent: Directory, name: string): void {
    if (!this.#isLeftOut(parent, name)) this.#smear(this.#make(parent, name), null, false)
  }

  #isLeftOut(parent: Directory, name: string): boolean {
    const { leftOut, rules } = this.#setup
    if (leftOut.length === 0 && !rules) return false
    const above = this.#pathOf(parent)
    return above !== null && this.#rules.judge(parent.ground, above)?.(name, true) != null
  }

  #make(parent: Directory | null, name: string): Directory {
    const made: Directory = {
      tree: this,
      parent,
      name,
      below: null,
      watch: POLLED,
      gone: false,
      inode: '',
      print: '',
      unread: false,
      ground: null,
    }
    if (parent) {
      ;(parent.below ??= new Map()).set(name, made)
      this.#size += 1
    }
    return made
  }

  #detach(directory: Directory): void {
    directory.parent?.below?.delete(directory.name)
    directory.parent = null
  }

  #drop(directory: Directory): void {
    this.#detach(directory)
    const stack = [directory]
    for (let next = stack.pop(); next; next = stack.pop()) {
      next.gone = true
      this.#setup.watch.unbind(next)
      this.#dirty.delete(next)
      this.#forget(next)
      this.#size -= 1
      for (const child of next.below?.values() ?? []) stack.push(child)
    }
  }

  /** Relative to the root; null for one that is on its way from one place to another, or gone. */
  #pathOf(directory: Directory): string | null {
    const names: string[] = []
    let at = directory
    for (; at.parent; at = at.parent) names.push(at.name)
    return at === this.#root ? names.reverse().join('/') : null
  }

  #touch(directory: Directory, name?: string): void {
    this.#smear(directory, new Set(name === undefined ? [] : [name]), false)
  }

  #smear(directory: Directory, names: ReadonlySet<string> | null, deep: boolean): void {
    let dirt = this.#dirty.get(directory)
    if (!dirt) this.#dirty.set(directory, (dirt = { names: new Set(), deep: false }))
    dirt.deep ||= deep
    if (names === null) dirt.names = null
    if (!dirt.names) return
    const before = dirt.names.size
    for (const name of names ?? []) dirt.names.add(name)
    this.#dirtyNames += dirt.names.size - before
    if (dirt.names.size > LIMITS.watchNamesMax) dirt.names = null
    if (this.#dirtyNames + this.#dirty.size > LIMITS.watchDirtMax) this.doubt()
  }

  #forgetDirt(): void {
    this.#dirty.clear()
    this.#dirtyNames = 0
  }

  /** As a stack: what is to come first is last. */
  #takeDirt(): [Directory, Dirt][] {
    const taken = [...this.#dirty]
      .map(([directory, dirt]) => ({ path: this.#pathOf(directory), directory, dirt }))
      .filter(({ path }) => path !== null)
      .sort((a, b) => (a.path! < b.path! ? 1 : -1))
      .map(({ directory, dirt }): [Directory, Dirt] => [directory, dirt])
    this.#forgetDirt()
    this.#flying = [...taken]
    return taken
  }

  #tellSome(directory: Directory, dirt: Dirt, out: Collector): void {
    if (this.#isOutdated(directory)) return
    const names = [...dirt.names!]
    const path = this.#pathOf(directory)
    if (path === null) return this.#goAstray(directory, dirt)
    const here = encodeName(joined(this.#setup.root, path))
    const listing = lookAt(here, names.map(encodeName), this.#identity!.dev)
    const there = decodeNames(listing.names)
    const sifted = this.#rules.sift(directory.ground, path, listing, there)
    // Looked at last: where the directory itself went meanwhile, what lies there is another's, and its own is not missing from it.
    const self = statOf(here)
    if (!self || !this.#isIt(directory, self)) return this.#goAstray(directory, dirt)
    const run = { directory: path, last: true, only: names, self: metadata(self) }
    if (!sifted) return out.add({ ...run, count: there.length }, listing)
    const kept = there.map((_, at) => at).filter((at) => sifted.kept[at] !== 0)
    out.add({ ...run, count: kept.length, leftOut: sifted.leftOut }, pick(listing, there, kept))
  }

  #isIt(directory: Directory, { dev, ino }: BigIntStats): boolean {
    return dev === this.#identity?.dev && (directory.inode === '' || directory.inode === inodeKey(plainInode(ino)))
  }

  /** Where it could not be read yet, it is not known what holds there. */
  #knowsRules(directory: Directory): boolean {
    return !this.#setup.rules || directory.ground !== null
  }

  /** Where a file of rules is not what it was, all that it holds for is read again. */
  #isOutdated(directory: Directory): boolean {
    const stale = directory.ground && staleIn(directory.ground)
    if (!stale) return false
    let top = directory
    while (top.parent?.ground?.sources.includes(stale)) top = top.parent
    this.#smear(top, null, true)
    return true
  }

  *#tellWhole(directory: Directory, dirt: Dirt, out: Collector, stack: [Directory, Dirt][]): Generator<Batch> {
    const { deep } = dirt
    const path = this.#pathOf(directory)
    const before = directory.watch
    const read = this.#readWatched(directory)
    if (path === null || read === 'gone') return this.#goAstray(directory, dirt)
    if ('error' in read) return out.add({ directory: path, count: 0, last: true, error: read.error })
    const { listing, names, sifted, self, fresh } = read
    yield* emit(out, path, listing, names, sifted)
    out.add({ directory: path, count: 0, last: true, only: [], self: metadata(self), whole: true })
    const replaced = before !== POLLED && before !== directory.watch
    const below = deep || replaced ? [...(directory.below?.values() ?? [])] : fresh
    for (const child of below.sort(byNameDown)) {
      const more: [Directory, Dirt] = [child, { names: null, deep: deep || replaced }]
      stack.push(more)
      this.#flying.push(more)
    }
  }

  /** Watched first, then read. Where another took its place meanwhile, it is not known which of the two was watched, or read. */
  #readWatched(directory: Directory) {
    const path = this.#pathOf(directory)
    if (path === null) return 'gone'
    const here = encodeName(joined(this.#setup.root, path))
    const before = statOf(here)
    if (!before || this.#bind(directory, here) === 'gone') return 'gone'
    // From here on its watch tells of every change.
    const self = statOf(here)
    const read = self && this.#read(here, directory.parent, path)
    if (!read || read === 'gone' || !isSame(before, self) || !isSame(self, statOf(here))) return 'gone'
    directory.unread = 'error' in read
    if ('error' in read) return read
    const { listing, names } = read
    directory.ground = read.ground
    const sifted = this.#rules.sift(read.ground, path, listing, names)
    this.#know(directory, inodeKey(plainInode(self.ino)))
    directory.print = directory.watch === POLLED ? printOf(listing, self) : ''
    return { listing, names, sifted, self, fresh: this.#reconcile(directory, subdirectories(listing, names, sifted)) }
  }

  /** With the rules that hold there. @throws BUDGET_EXHAUSTED */
  #read(here: Buffer, above: Directory | null, path: string): Read | Unread | 'gone' {
    try {
      const listing = this.#setup.read(here)
      const names = decodeNames(listing.names)
      return { listing, names, ground: this.#rules.enter(above?.ground ?? null, path, names) }
    } catch (error) {
      if (fromSystem(error).code === 'BUDGET_EXHAUSTED') throw error
      const errno = errnoOf(error)
      return errno === 'ENOENT' || errno === 'ENOTDIR' ? 'gone' : { error: failureOf(error) }
    }
  }

  #know(directory: Directory, inode: number | string): void {
    this.#forget(directory)
    directory.inode = inode
    this.#byInode.set(inode, directory)
  }

  #forget(directory: Directory): void {
    if (this.#byInode.get(directory.inode) === directory) this.#byInode.delete(directory.inode)
  }

  #bind(directory: Directory, path: Buffer): Bound {
    return this.remote === null ? this.#setup.watch.bind(directory, path) : 'refused'
  }

  /** It is on its way to another place, of which an event will tell; or something lies over it, of which none will. */
  #goAstray(directory: Directory, dirt: Dirt): void {
    if (directory.gone) return
    this.#smear(directory, dirt.names, dirt.deep)
    this.#miss()
  }

  #miss(): void {
    this.#astray += 1
    if (this.#astray > ASTRAY_MAX) this.doubt()
  }

  /** Makes the directories below one those that are there; returns the new ones. */
  #reconcile(directory: Directory, names: readonly string[]): Directory[] {
    const there = new Set(names)
    for (const [name, child] of directory.below ?? []) if (!there.has(name)) this.#drop(child)
    return names.filter((name) => !directory.below?.has(name)).map((name) => this.#make(directory, name))
  }

  /**
   * The watch of a directory that was moved, or seems to be there twice, is of what lies at its path. False while that is not
   * known, because the directory or one above it is on its way to another place.
   */
  #prove(directory: Directory): boolean {
    if (directory.gone) return true
    const path = this.#pathOf(directory)
    if (path === null) return false
    const bound = this.#bind(directory, encodeName(joined(this.#setup.root, path)))
    if (bound === 'gone') return false
    if (bound !== 'same') this.#smear(directory, null, true)
    return true
  }

  #proveNext(unproven: Directory[]): void {
    const directory = unproven.at(-1)
    if (!directory) return this.#proven()
    if (directory === this.#root) this.#meetRoot()
    if (!this.#identity) for (const child of this.#root.below?.values() ?? []) this.#drop(child)
    const there = !directory.gone && this.#identity !== null && this.#readWatched(directory) !== 'gone'
    unproven.pop()
    // It is on its way to another place: there it is proven, and all below it, when it is told.
    if (!there && !directory.gone && directory !== this.#root) this.#smear(directory, null, true)
    if (there) for (const child of directory.below?.values() ?? []) unproven.push(child)
  }

  #meetRoot(): void {
    this.#identity = identityOf(this.#rootBytes)
    this.remote = this.#identity && remoteAt(this.#rootBytes, this.#setup.fileSystem)
  }

  #proven(): void {
    this.#unproven = null
    this.#pollAt = performance.now() + LIMITS.watchPollMs
    if (this.#identity) this.isUnsure = true
  }

  #beginPoll(): void {
    if (this.#identity ? !this.isWhereItWas() : statOf(this.#rootBytes)) return this.doubt()
    this.#polling = { left: this.#identity ? this.#polled() : [], changed: [], full: false, spentMs: 0 }
  }

  #polled(): Directory[] {
    const found: Directory[] = []
    const stack = [this.#root]
    for (let next = stack.pop(); next; next = stack.pop()) {
      if (next.watch === POLLED || next.unread) found.push(next)
      for (const child of next.below?.values() ?? []) stack.push(child)
    }
    return found
  }

  #pollNext(polling: Polling): void {
    const begun = performance.now()
    const directory = polling.left.at(-1)
    if (!directory) {
      this.#polling = null
      this.#pollAt = begun + Math.max(LIMITS.watchPollMs, polling.spentMs * LIMITS.watchPollRest)
      for (const each of polling.changed) if (!each.gone) this.#smear(each, null, false)
      return
    }
    if (!directory.gone && this.#looksOther(directory, polling)) polling.changed.push(directory)
    polling.left.pop()
    polling.spentMs += performance.now() - begun
  }

  /** It is tried whether it can be watched by now; else it is read. */
  #looksOther(directory: Directory, polling: Polling): boolean {
    const path = this.#pathOf(directory)
    if (path === null) return false
    const here = encodeName(joined(this.#setup.root, path))
    if (!polling.full) {
      const bound = this.#bind(directory, here)
      if (bound === 'new') return true
      polling.full = bound === 'full'
    }
    const self = statOf(here)
    const read = self && this.#read(here, directory.parent, path)
    return read !== null && read !== 'gone' && !('error' in read) && printOf(read.listing, self!) !== directory.print
  }
}

function isWithin(directory: Directory, other: Directory): boolean {
  for (let at: Directory | null = directory; at; at = at.parent) if (at === other) return true
  return false
}

function byNameDown(a: Directory, b: Directory): number {
  return a.name < b.name ? 1 : -1
}

function statOf(path: Buffer): BigIntStats | null {
  try {
    const stat = lstatSync(path, { bigint: true })
    return stat.isDirectory() ? stat : null
  } catch {
    return null
  }
}

interface Identity {
  readonly dev: bigint
  readonly ino: bigint
}

function isSame(a: Identity | null, b: Identity | null): boolean {
  return a !== null && a.ino === b?.ino && a.dev === b.dev
}

function identityOf(path: Buffer): Identity | null {
  const stat = statOf(path)
  return stat && { dev: stat.dev, ino: stat.ino }
}

function metadata({ size, mtimeNs, ino }: BigIntStats): { size: number; mtime: number; inode: bigint } {
  return { size: Number(size), mtime: microseconds(mtimeNs), inode: ino }
}

function printOf({ names, kinds, sizes, mtimes, inodes }: Listing, { size, mtimeNs }: BigIntStats): string {
  const hash = createHash('sha1').update(`${size} ${mtimeNs}`)
  for (const { buffer, byteOffset, byteLength } of [names, kinds, sizes, mtimes, inodes]) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  }
  return hash.digest('base64')
}
