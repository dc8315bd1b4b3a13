// A library on a real disk for one test, the tree it indexes, and the truth about both to compare.
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { uuidv7 } from 'uuidv7'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { Balance } from '../../src/job/balance.js'
import { indexLocation } from '../../src/job/index-location.js'
import type { IdentifyFiles } from '../../src/job/identify.js'
import type { Walker } from '../../src/job/job.js'
import { KINDS } from '../../src/job/kinds.js'
import { createFolder, filesOf } from '../../src/library/folder.js'
import { Library } from '../../src/library/library.js'
import type { JobRow } from '../../src/library/jobs.js'
import type { LocationRules } from '../../src/protocol/operations.js'
import { loadBlake3 } from '../../src/scan/blake3.js'
import { lookInto } from '../../src/scan/look-into.js'
import { readFiles } from '../../src/shard/identifier.js'
import { decodeName, encodeName } from '../../src/scan/names.js'
import { kindOf, microseconds, readDirectoryPlain, type ReadDirectory } from '../../src/scan/read.js'
import { walk } from '../../src/scan/walk.js'
import { loadNative } from '../../src/descriptors/native.js'
import { gathererOf } from '../../src/shard/walker.js'
import { wrongTotals } from '../harness/totals.js'

const native = loadNative()

export class Stage {
  readonly path = mkdtempSync(join(tmpdir(), 'sd-stage-'))
  readonly libraries = join(this.path, 'libraries')
  readonly tree = join(this.path, 'tree')
  readonly ledger = newLedger()
  readonly #open = new Set<Library>()

  constructor() {
    mkdirSync(this.libraries)
    mkdirSync(this.tree)
  }

  create(name = 'Test'): { id: string; path: string } {
    const id = uuidv7()
    return { id, path: createFolder(this.libraries, id, name) }
  }

  open({ id, path }: { id: string; path: string }): Library {
    const lease = this.ledger.tryAcquire('libraries', PRICES.library, { holder: 'a test', path })!
    const library = Library.open(id, path, this.ledger, lease)
    this.#open.add(library)
    return library
  }

  close(library: Library): void {
    this.#open.delete(library)
    library.close()
  }

  /** As a crash leaves it: another object over the same files, nothing said in between. */
  reopen(library: Library): Library {
    this.close(library)
    return this.open(library)
  }

  [Symbol.dispose](): void {
    for (const library of this.#open) library.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}

export function newLedger(soft = 2_000): Ledger {
  return Ledger.create(plan({ soft, base: 0, connectionsMax: 'auto' }))
}

/** Until the returned function is called; small batches give small trees many boundaries. */
export function batchesOf(entries: number, compareWholeMax: number = LIMITS.compareWholeMax): () => void {
  const before = { ...LIMITS }
  Object.assign(LIMITS, { batchEntriesMax: entries, compareWholeMax })
  return () => void Object.assign(LIMITS, before)
}

export interface Indexing {
  readonly read?: ReadDirectory
  readonly leftOut?: readonly string[]
  readonly rules?: LocationRules
  /** Stops after so many commits, as an interruption would. */
  readonly commits?: number
  /** Between two batches. */
  readonly meanwhile?: () => void
}

/** A walk in this thread. */
export function walkHere(read: ReadDirectory = readDirectoryPlain): Walker {
  return async function* (options, signal) {
    // As a task thread does, which reads by the addon where it is built.
    const gatherer = native && read === readDirectoryPlain ? gathererOf(new native.Descent()) : undefined
    for (const batch of walk({ ...options, read, gatherer, sortNames: native?.sortNames })) {
      if (signal.aborted) return
      yield batch
    }
  }
}

/** Files read in this thread. */
export const identifyHere: IdentifyFiles = async (files, signal) =>
  readFiles(files, { blake3: await loadBlake3(), reader: null, lookInto }, () => signal.aborted)

/** Runs an index job, or goes on with it. True when it came to its end. */
export async function run(library: Library, job: JobRow, indexing: Indexing = {}): Promise<boolean> {
  const abort = new AbortController()
  let left = indexing.commits ?? Infinity
  if (left <= 0) return false
  await indexLocation({
    library,
    job,
    walk: walkHere(indexing.read),
    identify: identifyHere,
    leftOut: indexing.leftOut ?? [],
    signal: abort.signal,
    balance: new Balance(newLedger(), job.id),
    committed: () => {
      left -= 1
      if (left <= 0) abort.abort()
    },
    progressed: () => {},
    breathe: () => {
      indexing.meanwhile?.()
      return Promise.resolve()
    },
  })
  if (!abort.signal.aborted) library.jobs.setState(job.id, 'done')
  return !abort.signal.aborted
}

/** Runs a job that walks nothing, or goes on with it. True when it came to its end. */
export async function work(
  library: Library,
  job: JobRow,
  files: IdentifyFiles = identifyHere,
  commits = Infinity,
): Promise<boolean> {
  const abort = new AbortController()
  let left = commits
  await KINDS[job.kind]({
    library,
    job,
    walk: () => {
      throw new Error('it walks nothing')
    },
    identify: files,
    leftOut: [],
    signal: abort.signal,
    balance: new Balance(newLedger(), job.id),
    committed: () => {},
    progressed: () => {
      left -= 1
      if (left <= 0) abort.abort()
    },
    breathe: () => Promise.resolve(),
  })
  if (abort.signal.aborted) return false
  library.write(() => library.jobs.setState(job.id, 'done'))
  return true
}

/** Adds the location and indexes it; returns its uid. */
export async function index(library: Library, path: string, indexing: Indexing = {}): Promise<string> {
  const { location, job } = library.addLocation(path, { rules: indexing.rules })
  await run(library, library.jobs.get(job), indexing)
  return location.uid
}

export async function rescan(library: Library, uid: string, indexing: Indexing = {}): Promise<JobRow> {
  const job = library.write(() => library.jobs.enqueue('index', uid, null))
  await run(library, job, indexing)
  return library.jobs.get(job.id)
}

export interface Line {
  readonly kind: number
  readonly size: number
  readonly mtime: number
  readonly inode: number | string
}

/** What the disk holds: by path from `root` on, the root itself as ''. */
export function disk(root: string): Map<string, Line> {
  const found = new Map<string, Line>()
  const look = (relative: string): void => {
    const path = relative === '' ? encodeName(root) : encodeName(`${root}/${relative}`)
    const stat = lstatSync(path, { bigint: true })
    const inode = stat.ino <= Number.MAX_SAFE_INTEGER ? Number(stat.ino) : String(stat.ino)
    found.set(relative, { kind: kindOf(stat), size: Number(stat.size), mtime: microseconds(stat.mtimeNs), inode })
    if (!stat.isDirectory()) return
    for (const name of readdirSync(path, { encoding: 'buffer' })) {
      look(relative === '' ? decodeName(name) : `${relative}/${decodeName(name)}`)
    }
  }
  look('')
  return found
}

/** What the index holds, read from its tables and not through the code under test. */
export function indexed(library: Library, uid: string): Map<string, Line & { id: number }> {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    const names = new Map<number, string>()
    for (const { block, bytes } of database
      .prepare<[], { block: number; bytes: Buffer }>('SELECT * FROM names')
      .all()) {
      let start = 0
      for (let at = 0; start < bytes.length; at++) {
        const end = bytes.indexOf(0, start)
        names.set(block * 64 + at, decodeName(bytes.subarray(start, end)))
        start = end + 1
      }
    }
    const location = library.locations.get(uid)
    type Row = Line & { id: number; parent: number; name: number }
    const rows = database.prepare<[number], Row>('SELECT * FROM entry WHERE location = ?').all(location.id)
    const byId = new Map(rows.map((row) => [row.id, row]))
    const pathOf = (row: Row, depth = 0): string => {
      if (row.parent < 0) return ''
      if (depth > 5_000) throw new Error('a circle of entries')
      const parent = byId.get(row.parent)
      if (!parent) throw new Error(`entry ${row.id} has no parent`)
      const above = pathOf(parent, depth + 1)
      return above === '' ? names.get(row.name)! : `${above}/${names.get(row.name)!}`
    }
    return new Map(rows.map((row) => [pathOf(row), row]))
  } finally {
    database.close()
  }
}

/** Differences in words, none when index and disk are equal and the counts are true. */
export function differences(library: Library, uid: string, root: string): string[] {
  const told: string[] = []
  const there = disk(root)
  const known = indexed(library, uid)
  for (const [path, line] of there) {
    const entry = known.get(path)
    if (!entry) told.push(`${path}: not in the index`)
    else
      for (const key of ['kind', 'size', 'mtime', 'inode'] as const) {
        if (entry[key] !== line[key]) told.push(`${path}: ${key} ${entry[key]}, on disk ${line[key]}`)
      }
  }
  for (const path of known.keys()) if (!there.has(path)) told.push(`${path}: not on disk`)
  told.push(...untrueTotals(library, root, there))
  const lines = [...there.values()]
  const files = lines.filter((line) => line.kind === 0)
  const counts = {
    entries: lines.length,
    files: files.length,
    directories: lines.filter((line) => line.kind === 1).length,
    bytes: files.reduce((sum, line) => sum + line.size, 0),
  }
  const info = library.info()
  for (const key of ['entries', 'files', 'directories', 'bytes'] as const) {
    if (info[key] !== counts[key]) told.push(`count of ${key}: ${info[key]}, true is ${counts[key]}`)
  }
  return told.slice(0, 20)
}

/** What is told of each directory against what the disk holds below it, hard links counted under each name. */
function untrueTotals(library: Library, root: string, there: Map<string, Line>): string[] {
  const totals = new Map<string, { bytes: number; files: number; directories: number }>()
  for (const [path, { kind }] of there) if (kind === 1) totals.set(path, { bytes: 0, files: 0, directories: 0 })
  for (const [path, { kind, size }] of there) {
    for (let above = path; above !== '';) {
      above = above.includes('/') ? above.slice(0, above.lastIndexOf('/')) : ''
      const total = totals.get(above)!
      if (kind === 0) total.files += 1
      if (kind === 0) total.bytes += size
      if (kind === 1) total.directories += 1
    }
  }
  return [...totals].flatMap(([path, total]) => {
    const said = JSON.stringify(totalAt(library, path === '' ? root : `${root}/${path}`))
    const truth = JSON.stringify(total)
    return said === truth ? [] : [`${path}: total ${said}, on disk ${truth}`]
  })
}

function totalAt(library: Library, path: string): unknown {
  try {
    return library.entries.getByPath(path).total
  } catch (error) {
    return (error as Error).message
  }
}

/** Whether what is stored of each directory is what the entries of the index come to. */
export function totalsOf(library: Library): string[] {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    return wrongTotals(database)
  } finally {
    database.close()
  }
}

export function integrity(library: Library): string {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    return String(database.pragma('integrity_check', { simple: true }))
  } finally {
    database.close()
  }
}
