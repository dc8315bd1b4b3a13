// The statements that read what is found, one set for each set of conditions on rows.
import type { Rows, Value } from './conditions.js'
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, type EntryRow } from './entries.js'
import { KIND } from '../scan/read.js'
import { HELD } from './held.js'

/** Id, parent and name of an entry, what it is sorted by, and what it holds where that is asked for. */
export type PlaceRow = [id: number, parent: number, name: number, key: number, held: number]

/** Also its kind, and whether the conditions hold. */
export type WideRow = [...PlaceRow, kind: number, holds: number]

export type RowKey = 'none' | 'size' | 'modified'

/** Only files have a size. */
const KEYS: Record<RowKey, string> = {
  none: '0',
  size: `CASE entry.kind WHEN ${KIND.file} THEN entry.size ELSE -1 END`,
  modified: 'entry.mtime',
}
const SETS_KEPT = 32

type Given = Record<string, Value>
interface Statement<Row> {
  all(given: Given): Row[]
  get(given: Given): Row | undefined
}

export interface Statements {
  /** In all of `names`, a JSON array. */
  readonly count: Statement<number>
  readonly page: Statement<EntryRow>
  readonly places: Statement<PlaceRow>
  /** Of one name, after the entry `last`. */
  readonly rest: Statement<EntryRow>
  readonly placesRest: Statement<PlaceRow>
  /** Of whatever name, from the entry `first` to `last`. */
  readonly countBetween: Statement<number>
  readonly placesBetween: Statement<PlaceRow>
  /** Whether the conditions hold or not: of names, the roots of locations, the children after a name of a directory. */
  readonly wideOfNames: Statement<WideRow>
  /** Of all of `names`, whether conditions hold or not: how many entries, and id, parent and name of the directories. */
  readonly countNamed: Statement<number>
  readonly directories: Statement<PlaceRow>
  readonly wideRoots: Statement<WideRow>
  readonly wideChildren: Statement<WideRow>
}

export class Prepared {
  readonly #connection: Connection
  readonly #sets = new Map<string, Statements>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  for({ sql, asksHeld }: Rows, key: RowKey): Statements {
    const text = `${key} ${asksHeld} ${sql}`
    const known = this.#sets.get(text)
    if (known) return known
    const prepared = prepare(this.#connection, sql, `${KEYS[key]}, ${asksHeld ? HELD : 0}`)
    if (this.#sets.size >= SETS_KEPT) this.#sets.clear()
    this.#sets.set(text, prepared)
    return prepared
  }
}

function prepare(connection: Connection, conditions: string, key: string): Statements {
  // CROSS JOIN keeps the planner from walking all entries and looking each up among the names. In the order of the
  // names given, within one name by id: that is the order in which the joined loops run.
  const matching = `FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value WHERE ${conditions}`
  const rest = `FROM entry WHERE name = @name AND id > @last AND ${conditions} ORDER BY id LIMIT @limit`
  const between = `FROM entry WHERE id BETWEEN @first AND @last AND ${conditions}`
  const place = `entry.id, entry.parent, entry.name, ${key}`
  const wide = `${place}, entry.kind, ${conditions}`
  const rows = <Row>(sql: string) => lazily(() => connection.prepare<Given, Row>(sql).raw())
  const number = (sql: string) => lazily(() => connection.prepare<Given, number>(sql).pluck())
  return {
    count: number(`SELECT count(*) ${matching}`),
    page: rows(`SELECT ${ENTRY_COLUMNS} ${matching} LIMIT @limit`),
    places: rows(`SELECT ${place} ${matching} LIMIT @limit`),
    rest: rows(`SELECT ${ENTRY_COLUMNS} ${rest}`),
    placesRest: rows(`SELECT ${place} ${rest}`),
    countBetween: number(`SELECT count(*) ${between}`),
    placesBetween: rows(`SELECT ${place} ${between} ORDER BY id`),
    wideOfNames: rows(
      `SELECT ${wide} FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value WHERE entry.parent > 0`,
    ),
    countNamed: number(`SELECT count(*) FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value`),
    directories: rows(
      `SELECT entry.id, entry.parent, entry.name, 0, 0 FROM json_each(@names) AS found CROSS JOIN entry ON entry.name = found.value
       WHERE entry.parent > 0 AND entry.kind = ${KIND.directory}`,
    ),
    wideRoots: rows(`SELECT ${wide} FROM entry WHERE parent < 0`),
    wideChildren: rows(`SELECT ${wide} FROM entry WHERE parent = @parent AND name > @last ORDER BY name LIMIT @limit`),
  }
}

/** Most searches need few of them. */
function lazily<Row>(prepared: () => Statement<Row>): Statement<Row> {
  let statement: Statement<Row> | undefined
  return {
    all: (given) => (statement ??= prepared()).all(given),
    get: (given) => (statement ??= prepared()).get(given),
  }
}
