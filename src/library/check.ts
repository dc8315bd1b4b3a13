// Reads a library through: every row of every table, whether the indexes lead to it, and whether what is kept of entries is true.
//
// `PRAGMA integrity_check` would hold its thread for seconds; this one stops every few milliseconds for whoever waits.
import { LIMITS } from '../base/limits.js'
import { KIND } from '../scan/read.js'
import { fromSqlite } from './cause.js'
import type { Connection } from './connection.js'
import { sumUpwards, tally, type Total } from './folders.js'
import { BLOCK_NAMES, displacedName } from './names.js'

export interface CheckStep {
  readonly done: number
  readonly total: number
}

const ROWS_A_STEP = 1_000

type EntryRow = [id: number, parent: number, name: number, location: number, kind: number, size: number]

/**
 * @returns what is wrong, in words; nothing where all is well
 * @throws what says nothing about the library, as a lack of descriptors
 */
export function* checkLibrary(connection: Connection, path: string): Generator<CheckStep, string[]> {
  const found: string[] = []
  const total = connection.prepare<[], number>('SELECT count(*) FROM entry').pluck().get()!
  for (const part of [checkTables, checkIndexes, checkEntries]) {
    try {
      for (const each of yield* part(connection, total)) tell(found, each)
    } catch (error) {
      const known = fromSqlite(error, path)
      if (known.code !== 'LIBRARY_DAMAGED') throw known
      tell(found, known.message)
    }
  }
  return found
}

/** Damage of a page shows when it is read. */
function* checkTables(connection: Connection, total: number): Generator<CheckStep, string[]> {
  const tables = connection
    .prepare<[], string>(`SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name`)
    .pluck()
    .all()
  for (const table of tables) {
    let row = 0
    const rows = connection.prepare(`SELECT * FROM "${table}"`).raw()
    for (const _ of rows.iterate()) if (++row % ROWS_A_STEP === 0) yield { done: 0, total }
  }
  return []
}

/** Each row by each index, and no more in an index than there are rows. */
function* checkIndexes(connection: Connection, total: number): Generator<CheckStep, string[]> {
  const found: string[] = []
  const indexes = connection
    .prepare<[], string>(`SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'entry' ORDER BY name`)
    .pluck()
    .all()
  for (const index of indexes) {
    const columns = (connection.pragma(`index_info(${index})`) as { name: string }[]).map(({ name }) => name)
    const same = [...columns, 'id'].map((column) => `other.${column} = entry.${column}`).join(' AND ')
    const lost = connection
      .prepare<[number], [id: number, found: number]>(
        `SELECT entry.id, EXISTS (SELECT 1 FROM entry AS other INDEXED BY ${index} WHERE ${same})
         FROM entry NOT INDEXED WHERE entry.id > ? ORDER BY entry.id LIMIT ${ROWS_A_STEP}`,
      )
      .raw()
    for (let rows = lost.all(0); rows.length > 0; rows = lost.all(rows.at(-1)![0])) {
      for (const [id, there] of rows) if (!there) tell(found, `entry ${id} is not in the index ${index}`)
      yield { done: 0, total }
    }
    // Without a condition SQLite would count by another index, or by the table.
    const listed = connection.prepare(`SELECT 1 FROM entry INDEXED BY ${index} WHERE ${columns[0]} > -9e18`).raw()
    let count = 0
    for (const _ of listed.iterate()) if (++count % ROWS_A_STEP === 0) yield { done: 0, total }
    if (count !== total) tell(found, `the index ${index} has ${count} rows of ${total}`)
    yield { done: 0, total }
  }
  return found
}

/** Whether each entry lies in a directory, has a name and a location, and what is counted of all of them. */
function* checkEntries(connection: Connection, total: number): Generator<CheckStep, string[]> {
  const found: string[] = []
  const totals = new Map<number, Total>()
  const parents = new Map<number, number>()
  const counted = new Map<number, number>()
  const names = countNames(connection)
  const rows = connection.prepare<[], EntryRow>('SELECT id, parent, name, location, kind, size FROM entry').raw()
  let done = 0
  for (const [id, parent, name, location, kind, size] of rows.iterate()) {
    if (kind === KIND.directory) parents.set(id, parent)
    if ((name < 0 ? displacedName(name) : name) >= names) tell(found, `entry ${id} has a name that is not there`)
    counted.set(location, (counted.get(location) ?? 0) + 1)
    if (parent > 0) {
      if (!totals.has(parent)) totals.set(parent, { bytes: 0, files: 0, directories: 0 })
      tally(totals.get(parent)!, kind, size)
    }
    if (++done % ROWS_A_STEP === 0) yield { done, total }
  }
  for (const directory of totals.keys())
    if (!parents.has(directory)) tell(found, `entries lie in ${directory}, which is no directory`)
  for (const each of wrongCounts(connection, counted)) tell(found, each)
  yield { done, total }
  for (const _ of sumUpwards(totals, parents)) yield { done, total }
  for (const each of yield* wrongFolders(connection, totals, { done, total })) tell(found, each)
  return found
}

function countNames(connection: Connection): number {
  const last = connection
    .prepare<[], [block: number, bytes: Buffer]>('SELECT block, bytes FROM names ORDER BY block DESC LIMIT 1')
    .raw()
    .get()
  if (!last) return 0
  const [block, bytes] = last
  return block * BLOCK_NAMES + bytes.reduce((sum, byte) => sum + Number(byte === 0), 0)
}

function wrongCounts(connection: Connection, counted: Map<number, number>): string[] {
  const kept = connection
    .prepare<[], [id: number, entries: number]>(
      'SELECT id, files + directories + others FROM location WHERE removing = 0',
    )
    .raw()
    .all()
  return kept
    .filter(([id, entries]) => (counted.get(id) ?? 0) !== entries)
    .map(([id, entries]) => `location ${id} counts ${entries} entries, and has ${counted.get(id) ?? 0}`)
}

/** Those of a location that is being removed are not kept true any more. */
function* wrongFolders(
  connection: Connection,
  truth: Map<number, Total>,
  step: CheckStep,
): Generator<CheckStep, string[]> {
  if (connection.prepare('SELECT 1 FROM location WHERE removing').get()) return []
  const found: string[] = []
  const rows = connection
    .prepare<[], [entry: number, bytes: number, files: number, directories: number]>(
      'SELECT entry, bytes, files, directories FROM folder',
    )
    .raw()
  let row = 0
  for (const [entry, bytes, files, directories] of rows.iterate()) {
    const total = truth.get(entry) ?? { bytes: 0, files: 0, directories: 0 }
    truth.delete(entry)
    if (total.bytes !== bytes || total.files !== files || total.directories !== directories)
      tell(found, `directory ${entry} is kept with ${bytes} bytes, and has ${total.bytes}`)
    if (++row % ROWS_A_STEP === 0) yield step
  }
  for (const [entry, { files, directories }] of truth)
    if (files + directories > 0) tell(found, `directory ${entry} is kept as empty, and is not`)
  return found
}

/** A few say that something is wrong; all of them could be millions. */
function tell(found: string[], words: string): void {
  if (found.length < LIMITS.jobFailuresKeptMax) found.push(words)
}
