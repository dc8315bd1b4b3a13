// What lies below each directory, kept in the transaction that changes it: so that the true size of any folder is one read.
//
// A change is noted with the directory it happened in. Before it is written, or before a directory moves, all that was noted is
// summed up towards the root, each directory once. A directory without a row has nothing in it.
//
// A row also keeps the print that a walk made of the directory's children, for as long as the entries are what the walk found:
// a directory of the same print need not be compared.
import { KIND } from '../scan/read.js'
import type { Connection } from './connection.js'
import { Inserts } from './inserts.js'

/** Of everything below a directory, itself left out. A file that has several names counts under each of them. */
export interface Total {
  bytes: number
  files: number
  directories: number
}

/** Directories whose parents are remembered: some 2 MB. At more they are forgotten, and asked for again. */
const PARENTS_KEPT = 20_000

/** Stands for the print that is there; where there is none it is one that no directory has. */
const KEPT = -1

export class Folders {
  readonly #total
  readonly #rows: Inserts<[entry: number, bytes: number, files: number, directories: number, print: number | null]>
  readonly #print
  readonly #setPrint
  readonly #delete
  readonly #parent
  readonly #parents = new Map<number, number>()
  /** What happened in a directory itself, or below it, that those above have yet to be told. */
  #noted = new Map<number, Total>()
  /** What has to be added to the rows. */
  #sums = new Map<number, Total>()
  /** Prints that have to be written, 0 for one that does not hold any more. */
  #prints = new Map<number, number>()

  constructor(connection: Connection) {
    this.#total = connection
      .prepare<[number], [bytes: number, files: number, directories: number]>(
        'SELECT bytes, files, directories FROM folder WHERE entry = ?',
      )
      .raw()
    this.#rows = new Inserts(
      connection,
      'INSERT INTO folder (entry, bytes, files, directories, print)',
      `ON CONFLICT DO UPDATE SET
       bytes = bytes + excluded.bytes, files = files + excluded.files, directories = directories + excluded.directories,
       print = CASE excluded.print WHEN ${KEPT} THEN folder.print ELSE excluded.print END`,
    )
    this.#print = connection.prepare<[number], number | null>('SELECT print FROM folder WHERE entry = ?').pluck()
    this.#setPrint = connection.prepare<[number, number]>('UPDATE folder SET print = nullif(?, 0) WHERE entry = ?')
    this.#delete = connection.prepare<[number]>('DELETE FROM folder WHERE entry = ?')
    this.#parent = connection.prepare<[number], number>('SELECT parent FROM entry WHERE id = ?').pluck()
  }

  /** As of the last commit. */
  totalOf(directory: number): Total {
    const row = this.#total.get(directory)
    return row ? { bytes: row[0], files: row[1], directories: row[2] } : nothing()
  }

  /**
   * To be added to: what changed among the children of a directory. Good until the next `move`, `leave` or `flush`. The print that
   * was kept of it holds no longer.
   */
  changesIn(directory: number): Total {
    this.#prints.set(directory, 0)
    return this.#notedIn(directory)
  }

  /** What its children are is said by this print, see `Gathered`; until something changes among them. */
  keepPrint(directory: number, print: number): void {
    this.#prints.set(directory, print)
  }

  /**
   * Undefined where none is kept that holds.
   *
   * @param stored what its row has, for who read that in this transaction
   */
  printOf(directory: number, stored?: number | null): number | undefined {
    const print = this.#prints.get(directory) ?? (stored === undefined ? this.#print.get(directory) : stored) ?? 0
    return print > 0 ? print : undefined
  }

  #notedIn(directory: number): Total {
    let changes = this.#noted.get(directory)
    if (!changes) this.#noted.set(directory, (changes = nothing()))
    return changes
  }

  /** A new directory: spares asking for its parent. */
  enter(directory: number, parent: number): void {
    if (this.#parents.size >= PARENTS_KEPT) this.#parents.clear()
    this.#parents.set(directory, parent)
  }

  /** A directory that is deleted, and is empty by now; to be called while its entry is still there. */
  leave(directory: number, parent: number): void {
    const left = this.#noted.get(directory)
    if (left) add(this.changesIn(parent), left)
    this.#noted.delete(directory)
    this.#sums.delete(directory)
    this.#prints.delete(directory)
    this.#parents.delete(directory)
    this.#delete.run(directory)
  }

  /** A directory goes elsewhere with all that is below it; to be called while its entry is still where it was. */
  move(directory: number, from: number, to: number): void {
    this.#sumUp()
    const total = this.totalOf(directory)
    add(total, this.#sums.get(directory) ?? nothing())
    add(this.changesIn(from), total, -1)
    add(this.changesIn(to), total)
    // What moves out is taken off all those above by the way things were.
    this.#sumUp()
    this.enter(directory, to)
  }

  /** In the transaction of the entries. */
  flush(): void {
    this.#sumUp()
    for (const [directory, sum] of this.#sums) {
      if (isNothing(sum)) continue
      const print = this.#prints.get(directory) ?? KEPT
      this.#rows.add(directory, sum.bytes, sum.files, sum.directories, print === 0 ? null : print)
      this.#prints.delete(directory)
    }
    this.#rows.flush()
    for (const [directory, print] of this.#prints) this.#setPrint.run(print, directory)
    this.#sums = new Map()
    this.#prints = new Map()
  }

  /** After a transaction that did not commit. */
  forget(): void {
    this.#noted = new Map()
    this.#sums = new Map()
    this.#prints = new Map()
    this.#rows.forget()
    this.#parents.clear()
  }

  /** Those below come first as far as they are younger than those above; else it takes another round. */
  #sumUp(): void {
    // In a library that is damaged a directory may lie in itself.
    for (let round = 0; this.#noted.size > 0 && round < DEPTH_MAX; round++) {
      for (const directory of Float64Array.from(this.#noted.keys()).sort().reverse()) {
        const changes = this.#noted.get(directory)!
        this.#noted.delete(directory)
        if (isNothing(changes)) continue
        const parent = this.#parentOf(directory)
        if (parent > 0) add(this.#notedIn(parent), changes)
        const sum = this.#sums.get(directory)
        if (sum) add(sum, changes)
        else this.#sums.set(directory, changes)
      }
    }
    this.#noted.clear()
  }

  #parentOf(directory: number): number {
    const known = this.#parents.get(directory)
    if (known !== undefined) return known
    const parent = this.#parent.get(directory) ?? 0
    this.enter(directory, parent)
    return parent
  }
}

/** Reckons the totals of all directories from the entries, instead of what is stored. */
export function reckonFolders(connection: Connection): Map<number, Total> {
  const totals = new Map<number, Total>()
  const parents = new Map<number, number>()
  const totalOf = (directory: number) => {
    let total = totals.get(directory)
    if (!total) totals.set(directory, (total = nothing()))
    return total
  }
  const rows = connection
    .prepare<[], [id: number, parent: number, kind: number, size: number]>('SELECT id, parent, kind, size FROM entry')
    .raw()
  for (const [id, parent, kind, size] of rows.iterate()) {
    if (kind === KIND.directory) parents.set(id, parent)
    if (parent > 0) tally(totalOf(parent), kind, size)
  }
  const steps = sumUpwards(totals, parents)
  while (!steps.next().done);
  return totals
}

/** More than a path has names. */
const DEPTH_MAX = 4_096
const DIRECTORIES_A_STEP = 1_000

/** What lies right in each directory is added to those above it, in steps of some milliseconds. */
export function* sumUpwards(totals: Map<number, Total>, parents: Map<number, number>): Generator<void, void> {
  const directly = [...totals].map(([directory, total]) => [directory, { ...total }] as const)
  for (const [at, [directory, total]] of directly.entries()) {
    if (at % DIRECTORIES_A_STEP === 0) yield
    let depth = 0
    // In a library that is damaged a directory may lie in itself.
    for (let above = parents.get(directory) ?? 0; above > 0 && depth < DEPTH_MAX; above = parents.get(above) ?? 0) {
      depth += 1
      if (!totals.has(above)) totals.set(above, nothing())
      add(totals.get(above)!, total)
    }
  }
}

/** For a library that was made before they were kept: a second for a million entries. */
export function fillFolders(connection: Connection): void {
  const insert = connection.prepare(
    'INSERT OR REPLACE INTO folder (entry, bytes, files, directories) VALUES (?, ?, ?, ?)',
  )
  for (const [directory, { bytes, files, directories }] of reckonFolders(connection))
    insert.run(directory, bytes, files, directories)
}

/** Counts one entry among the children of its directory. */
export function tally(total: Total, kind: number, size: number, sign: 1 | -1 = 1): void {
  if (kind === KIND.file) {
    total.files += sign
    total.bytes += sign * size
  } else if (kind === KIND.directory) total.directories += sign
}

function add(sum: Total, part: Total, sign: 1 | -1 = 1): void {
  sum.bytes += sign * part.bytes
  sum.files += sign * part.files
  sum.directories += sign * part.directories
}

function isNothing({ bytes, files, directories }: Total): boolean {
  return bytes === 0 && files === 0 && directories === 0
}

function nothing(): Total {
  return { bytes: 0, files: 0, directories: 0 }
}
