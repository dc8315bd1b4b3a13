// Walks a tree in one fixed order and yields what it finds in batches; writes nothing.
//
// The order is depth first, a directory before what it contains, siblings by name. It is the same at every run, so that
// a walk can go on after the last place that was stored: everything before that place is stored too.
import { errnoOf, fromSystem } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { LocationRules } from '../protocol/operations.js'
import { RULE_FILES, type Ground, type ReadText } from './ground.js'
import { hasChild, isLarge, partsOf, type Part, type SortNames, join } from './large.js'
import { decodeName, decodeNames, encodeName, encodeNames } from './names.js'
import {
  FOREIGN,
  KIND,
  KIND_MASK,
  type Directories,
  type Gatherer,
  type Large,
  type Listing,
  withoutLinks,
  type ReadDirectory,
} from './read.js'
import { Rules, type LeftOut, type RuleName, type Sifted } from './rules.js'

/** A place in a walk: this directory is complete, or complete up to and including the child `name`. */
export interface Place {
  readonly directory: string
  readonly name?: string
}

/** A run of children of one directory within a batch. */
export interface Run {
  /** Relative to the root, `/`-separated, '' for the root itself; names as in scan/names. */
  readonly directory: string
  readonly count: number
  /** False when more runs of the same directory follow. */
  readonly last: boolean
  /** Set, with a count of 0, when the directory could not be read: nothing may be concluded about its children. */
  readonly error?: { readonly code: string; readonly message: string }
  /** Set when only these names were looked for; what the run does not bring of them is not there. */
  readonly only?: readonly string[]
  /** The directory's own metadata, where nobody brings it among the children of its parent. */
  readonly self?: { readonly size: number; readonly mtime: number; readonly inode: bigint }
  /** With `self`: all that lies in the directory came before. */
  readonly whole?: true
  /** On the last run of a directory: what lies there and is left out by a rule. */
  readonly leftOut?: LeftOut
  /** Of a directory of which everything is brought, see `Directories`; where that is in several runs, on each of them. */
  readonly print?: number
  /** Something about the directory that is to be told among the failures, though it was read. */
  readonly note?: { readonly code: string; readonly message: string }
}

/** Directories that were read whole, in a row: for the many of few children, an object of each would cost more than the reading. */
export interface Stretch {
  readonly directories: Directories
}

export interface Batch extends Listing {
  /** In the order in which their children stand in the batch. */
  readonly runs: readonly (Run | Stretch)[]
  /** Estimated share of the tree that is done, 0 to 1. */
  readonly fraction: number
}

export interface WalkOptions {
  readonly root: Buffer
  /** Absolute paths not listed. */
  readonly leftOut: readonly string[]
  readonly rules?: LocationRules | null | undefined
  readonly after?: Place | undefined
  /** Directories to walk instead of the root, each with all that lies below it. */
  readonly starts?: readonly string[] | undefined
  readonly read: ReadDirectory
  readonly readText?: ReadText | undefined
  /** Goes down where nothing is left out, and sooner. */
  readonly gatherer?: Gatherer | undefined
  /** Sooner than `sortPlain`, and with less memory. */
  readonly sortNames?: SortNames | undefined
}

interface Pending {
  readonly path: string
  /** What holds in the directory above. */
  readonly above: Ground | null
  /** What this directory and everything below it counts for in the estimate of progress. */
  readonly weight: number
}

export function* walk(asked: WalkOptions): Generator<Batch> {
  const out = new Collector(asked.gatherer)
  const rules = new Rules({ ...asked, root: decodeName(asked.root) })
  const options = { ...asked, root: withoutLinks(asked.root) }
  const stack = begin(options, rules, out)
  const resumeAt = options.after?.directory.split('/') ?? []
  let resuming = options.after !== undefined
  for (let next = stack.pop(); next; next = stack.pop()) {
    const { path, weight } = next
    const place = resuming ? relation(path, options.after!.directory) : 'after'
    if (place === 'after') resuming = false
    if (options.gatherer && !resuming && rules.keepsAll(next.above, path)) {
      yield* gather(options, options.gatherer, treesFrom(next, stack, rules), out)
      continue
    }
    const entered = yield* enter(options, rules, next, place, out)
    if (!entered) {
      out.fraction += weight
      if (out.full) yield out.take()
      continue
    }
    const { below, ground } = entered
    const share = weight / (below.length + 1)
    out.fraction += share
    // An ancestor of the place where a walk goes on: its earlier subdirectories are stored already.
    const from = place === 'before' ? (resumeAt[path === '' ? 0 : path.split('/').length] ?? '') : ''
    for (const name of below.reverse()) {
      if (name >= from) stack.push({ path: path === '' ? name : `${path}/${name}`, above: ground, weight: share })
      else out.fraction += share
    }
  }
  if (!out.empty) yield out.take()
}

interface Entered {
  readonly below: string[]
  readonly ground: Ground | null
}

function* enter(
  options: WalkOptions,
  rules: Rules,
  next: Pending,
  place: 'before' | 'same' | 'after',
  out: Collector,
): Generator<Batch, Entered | null> {
  const { path } = next
  const read = readOrTell(options, rules, next, out)
  if (!read) return null
  const { listing, names, ground } = read
  if (isLarge(listing)) {
    const after = place === 'after' ? '' : place === 'same' ? options.after!.name : undefined
    const sift = (part: Listing, some: readonly string[]) => rules.sift(ground, path, part, some)
    return { below: yield* sendLarge(out, path, partsOf(listing, options.sortNames), sift, after), ground }
  }
  const sifted = rules.sift(ground, path, listing, names)
  if (place === 'after') yield* emit(out, path, listing, names, sifted)
  else if (place === 'same' && options.after!.name !== undefined) {
    yield* emit(out, path, listing, names, sifted, options.after!.name)
  }
  return { below: subdirectories(listing, names, sifted), ground }
}

/** It and those that come right after it, as long as nothing is left out in them either. */
function treesFrom(next: Pending, stack: Pending[], rules: Rules): Pending[] {
  const trees = [next]
  for (let more = stack.at(-1); more && rules.keepsAll(more.above, more.path); more = stack.at(-1)) {
    if (trees.length >= LIMITS.batchEntriesMax) break
    trees.push(stack.pop()!)
  }
  return trees
}

function* gather(
  { root, sortNames }: WalkOptions,
  gatherer: Gatherer,
  trees: readonly Pending[],
  out: Collector,
): Generator<Batch> {
  gatherer.begin(
    root,
    trees.map(({ path }) => path),
    trees.map(({ weight }) => weight),
  )
  for (;;) {
    const found = fillOrTell(gatherer, out)
    if (found === 'through') break
    if (typeof found === 'object') yield* sendWhole(out, gatherer.at(), found, sortNames)
    if (out.full) yield out.take()
  }
  if (out.full) yield out.take()
}

/** Where nothing is left out, and nobody needs to know what is entered. */
function* sendWhole(out: Collector, directory: string, { print, ...whole }: Large, sort?: SortNames): Generator<Batch> {
  for (const { listing, last } of partsOf(whole, sort)) {
    out.add({ directory, count: listing.kinds.length, last, ...(print === 0 ? {} : { print }) }, listing)
    if (out.full) yield out.take()
  }
}

function fillOrTell(gatherer: Gatherer, out: Collector): Large | 'full' | 'through' | 'unread' {
  try {
    return gatherer.fill(out.room)
  } catch (error) {
    tellUnread(gatherer.at(), error, out)
    gatherer.skip()
    return 'unread'
  }
}

function begin({ starts = [''] }: WalkOptions, rules: Rules, out: Collector): Pending[] {
  const weight = 1 / starts.length
  return starts.flatMap((path) => {
    try {
      return { path, above: rules.above(path), weight }
    } catch (error) {
      tellUnread(path, error, out)
      return []
    }
  })
}

/** Where `path` stands to the place at which a walk goes on: an ancestor of it ('before'), the 'same', or 'after' it. */
function relation(path: string, directory: string): 'before' | 'same' | 'after' {
  if (path === directory) return 'same'
  return path === '' || directory.startsWith(`${path}/`) ? 'before' : 'after'
}

function readOrTell({ root, read }: WalkOptions, rules: Rules, { path, above }: Pending, out: Collector) {
  try {
    const listing = read(bytesOf(root, path))
    const names = isLarge(listing) ? RULE_FILES.filter((name) => hasChild(listing, name)) : decodeNames(listing.names)
    const ground = rules.enter(above, path, names)
    tellPassedOver(ground, above, path, out)
    return { listing, names, ground }
  } catch (error) {
    tellUnread(path, error, out)
    return null
  }
}

/** A lack of descriptors says nothing about a directory: the walk ends there, and may go on later. */
function tellUnread(path: string, error: unknown, out: Collector): void {
  if (fromSystem(error).code === 'BUDGET_EXHAUSTED') throw error
  out.add({ directory: path, count: 0, last: true, error: failureOf(error) })
}

export function failureOf(error: unknown): { code: string; message: string } {
  return { code: errnoOf(error) ?? 'EIO', message: (error as Error).message }
}

const SLASH = Buffer.from('/')

function bytesOf(root: Buffer, path: string): Buffer {
  return path === '' ? root : Buffer.concat([root, SLASH, encodeName(path)])
}

/** Comes right before what else there is of the directory. */
function tellPassedOver(ground: Ground | null, above: Ground | null, path: string, out: Collector): void {
  for (const { file, patterns } of ground && ground !== above ? ground.sources : []) {
    if (patterns.passedOver === 0 || above?.sources.some((source) => source.file === file)) continue
    const message = `${file} has more, or longer, patterns than hold here: ${patterns.passedOver} were passed over`
    out.add({ directory: path, count: 0, last: false, note: { code: 'E2BIG', message } })
  }
}

/** Those that are entered, by name. */
export function subdirectories({ kinds }: Listing, names: readonly string[], sifted: Sifted | null): string[] {
  const found: string[] = []
  for (let at = 0; at < kinds.length; at++) {
    const kind = kinds[at]!
    if ((kind & KIND_MASK) === KIND.directory && !(kind & FOREIGN) && sifted?.kept[at] !== 0) found.push(names[at]!)
  }
  return found.sort(byUnit)
}

function byUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * A directory of very many children, part by part. Those that are entered are returned, by name.
 *
 * @param after the names that go out; undefined where none does
 */
function* sendLarge(
  out: Collector,
  directory: string,
  parts: Iterable<Part>,
  sift: (listing: Listing, names: readonly string[]) => Sifted | null,
  after: string | undefined,
): Generator<Batch, string[]> {
  const below: string[] = []
  const left: string[] = []
  const counts: Partial<Record<RuleName, number>> = {}
  for (const { listing, names, last } of parts) {
    const sifted = sift(listing, names)
    for (const each of subdirectories(listing, names, sifted)) below.push(each)
    if (after === undefined) continue
    for (const each of sifted?.leftOut.names ?? []) left.push(each)
    for (const [rule, count] of Object.entries(sifted?.leftOut.counts ?? {}) as [RuleName, number][])
      counts[rule] = (counts[rule] ?? 0) + count
    const kept = names.flatMap((name, at) => (sifted?.kept[at] !== 0 && name > after ? [at] : []))
    if (kept.length === 0 && !last) continue
    const leftOut = last && left.length > 0 ? { leftOut: { names: left, counts } } : {}
    const run = { directory, count: kept.length, last, ...leftOut }
    out.add(run, kept.length === names.length ? listing : pick(listing, names, kept))
    if (out.full) yield out.take()
  }
  return below
}

/** A small directory goes out whole; a large one in slices by name, each of which is a place to go on from. */
export function* emit(
  out: Collector,
  directory: string,
  listing: Listing,
  names: readonly string[],
  sifted: Sifted | null,
  after?: string,
): Generator<Batch> {
  const count = names.length
  if (!sifted && after === undefined && count <= LIMITS.batchEntriesMax) {
    out.add({ directory, count, last: true }, listing)
  } else {
    const order = names
      .map((_, at) => at)
      .filter((at) => sifted?.kept[at] !== 0 && (after === undefined || names[at]! > after))
    order.sort((a, b) => byUnit(names[a]!, names[b]!))
    let from = 0
    do {
      const slice = order.slice(from, from + LIMITS.batchEntriesMax)
      from += slice.length
      const last = from >= order.length
      const leftOut = last && sifted ? { leftOut: sifted.leftOut } : {}
      out.add({ directory, count: slice.length, last, ...leftOut }, pick(listing, names, slice))
      if (out.full) yield out.take()
    } while (from < order.length)
  }
  if (out.full) yield out.take()
}

export function pick(listing: Listing, names: readonly string[], order: readonly number[]): Listing {
  return {
    // A copy: what is small lies in memory that it shares with others, and could not be transferred to another thread.
    names: new Uint8Array(encodeNames(order.map((at) => names[at]!))),
    kinds: Uint8Array.from(order, (at) => listing.kinds[at]!),
    sizes: Float64Array.from(order, (at) => listing.sizes[at]!),
    mtimes: Float64Array.from(order, (at) => listing.mtimes[at]!),
    inodes: BigUint64Array.from(order, (at) => listing.inodes[at]!),
  }
}

/** Gathers listings until a batch is worth sending. */
export class Collector {
  fraction = 0
  #runs: (Run | Stretch)[] = []
  #listings: Listing[] = []
  #count = 0
  readonly #gatherer: Gatherer | undefined

  constructor(gatherer?: Gatherer) {
    this.#gatherer = gatherer
  }

  add(run: Run, listing?: Listing): void {
    this.#takeGathered()
    this.#runs.push(run)
    if (listing) this.#listings.push(listing)
    // A run costs something even when it is empty: a tree of empty directories must not become one batch.
    this.#count += run.count + 1
  }

  /** What the gatherer may have gathered when it is to be taken. */
  get room(): number {
    return LIMITS.batchEntriesMax - this.#count
  }

  get full(): boolean {
    return this.room <= (this.#gatherer?.count ?? 0)
  }

  get empty(): boolean {
    return this.#runs.length === 0 && (this.#gatherer?.count ?? 0) === 0
  }

  take(): Batch {
    this.#takeGathered()
    const [only, ...others] = this.#listings
    const columns = only && others.length === 0 && this.#gatherer ? only : joinedColumns(this.#listings)
    const { names, kinds, sizes, mtimes, inodes } = columns
    const fraction = Math.min(1, this.fraction)
    const batch = { runs: this.#runs, fraction, names, kinds, sizes, mtimes, inodes }
    this.#runs = []
    this.#listings = []
    this.#count = 0
    return batch
  }

  #takeGathered(): void {
    const { count, weight } = this.#gatherer ?? { count: 0, weight: 0 }
    if (count === 0 && weight === 0) return
    const { listing, directories } = this.#gatherer!.take()
    this.fraction += weight
    this.#count += count
    if (count === 0) return
    this.#runs.push({ directories })
    this.#listings.push(listing)
  }
}

/** The run of one directory of a stretch. */
export function runOf({ counts, prints, inodes }: Directories, at: number, directory: string): Run {
  const print = inodes[at] === 0 ? 0 : prints[at]!
  return { directory, count: counts[at]!, last: true, ...(print === 0 ? {} : { print }) }
}

/** The path of its last directory. */
export function lastIn({ paths }: Directories): string {
  return decodeName(paths.subarray(paths.lastIndexOf(0, -2) + 1, -1))
}

/** One after the other, as if they had come by themselves. */
export function runsIn({ runs }: Batch): Run[] {
  return runs.flatMap((run) => {
    if (!('directories' in run)) return run
    return decodeNames(run.directories.paths).map((path, at) => runOf(run.directories, at, path))
  })
}

/** Of batches that follow each other. */
export function joinedBatches(batches: readonly Batch[]): Batch {
  if (batches.length === 1) return batches[0]!
  const runs = batches.flatMap((batch) => batch.runs)
  return { ...joinedColumns(batches), runs, fraction: batches.at(-1)!.fraction }
}

function joinedColumns(listings: readonly Listing[]): Listing {
  const all = <Key extends keyof Listing>(key: Key) => listings.map((each) => each[key])
  return {
    names: join(Uint8Array, all('names')),
    kinds: join(Uint8Array, all('kinds')),
    sizes: join(Float64Array, all('sizes')),
    mtimes: join(Float64Array, all('mtimes')),
    inodes: join(BigUint64Array, all('inodes')),
  }
}
