// The directory trees of a library that are indexed, and the counts kept of each.
import { uuidv7 } from 'uuidv7'
import { SpacedriveError } from '../base/errors.js'
import { isWithin } from '../base/places.js'
import type { Covered, LocationItem, Mode } from '../protocol/messages.js'
import type { LocationRules } from '../protocol/operations.js'
import { decodeName, encodeName, isPrintable, printable } from '../scan/names.js'
import { isEmpty } from '../scan/rules.js'
import type { Connection } from './connection.js'

export interface Location {
  readonly id: number
  readonly uid: string
  readonly name: string
  /** Absolute, as in scan/names. */
  readonly path: string
  readonly addedAt: number
  readonly scannedAt: number | null
  readonly removing: boolean
  readonly watch: boolean
  /** Null where nothing is left out. */
  readonly rules: LocationRules | null
  /** What the last scan left out, by rule. */
  readonly leftOut: Readonly<Record<string, number>>
  readonly mode: Mode
}

/**
 * When the last whole scan began: whatever the index knows of a location was looked at since. And what its root was then, by which a
 * disk is told from another one that is mounted there.
 */
export interface Looked {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly root: string
}

/** Changes of the counts, added to a location in the transaction that makes them true. */
export interface Counts {
  files: number
  directories: number
  others: number
  bytes: number
}

interface Row {
  id: number
  uid: string
  name: string
  /** Text where it is valid UTF-8, else its bytes. */
  path: string | Buffer
  added_at: number
  scanned_at: number | null
  removing: number
  watch: number
  rules: string | null
  left_out: string | null
  mode: Mode
}

const COLUMNS = 'id, uid, name, path, added_at, scanned_at, removing, watch, mode, rules, left_out'

export class Locations {
  readonly #connection: Connection
  readonly #count
  readonly #one
  #known: Map<number, Location> | null = null

  constructor(connection: Connection) {
    this.#connection = connection
    this.#count = connection.prepare<[number, number, number, number, number]>(
      `UPDATE location SET files = files + ?, directories = directories + ?, others = others + ?, bytes = bytes + ?
       WHERE id = ?`,
    )
    this.#one = connection.prepare<[id: number], Row>(`SELECT ${COLUMNS} FROM location WHERE id = ?`)
  }

  all(): Location[] {
    return [...this.#load().values()]
  }

  byId(id: number): Location | undefined {
    return this.#load().get(id)
  }

  get(uid: string): Location {
    const found = this.all().find((location) => location.uid === uid && !location.removing)
    if (!found) throw new SpacedriveError('LOCATION_NOT_FOUND', `no location ${uid} in this library`)
    return found
  }

  /** The location that a path lies in, itself included. */
  covering(path: string): Location | undefined {
    return this.all().find((location) => isWithin(path, location.path))
  }

  /** @throws LOCATION_EXISTS when one of the two would lie in the other */
  add(name: string, path: string, watch: boolean, mode: Mode = 'shallow'): Location {
    const other = this.all().find((each) => isWithin(path, each.path) || isWithin(each.path, path))
    if (other) {
      const how = other.path === path ? 'is a location already' : 'overlaps the location'
      const which = other.path === path ? '' : ` ${printable(other.path)}`
      const isAbove = other.path !== path && isWithin(other.path, path)
      const hint = isAbove ? 'Of what lies around it nothing is covered: remove that location first.' : undefined
      throw new SpacedriveError(
        'LOCATION_EXISTS',
        `${printable(path)} ${how}${which}`,
        hint === undefined ? {} : { hint },
      )
    }
    const uid = uuidv7()
    const stored = isPrintable(path) ? path : encodeName(path)
    const { lastInsertRowid } = this.#connection
      .prepare('INSERT INTO location (uid, name, path, mode, added_at, watch) VALUES (?, ?, ?, ?, ?, ?)')
      .run(uid, name, stored, mode, Date.now(), Number(watch))
    this.#reread(Number(lastInsertRowid))
    return this.get(uid)
  }

  rename(location: Location, name: string): void {
    this.#connection.prepare('UPDATE location SET name = ? WHERE id = ?').run(name, location.id)
    this.#reread(location.id)
  }

  setWatch(location: Location, watch: boolean): void {
    this.#connection.prepare('UPDATE location SET watch = ? WHERE id = ?').run(Number(watch), location.id)
    this.#reread(location.id)
  }

  setRules(location: Location, rules: LocationRules): void {
    const stored = isEmpty(rules) ? null : JSON.stringify(rules)
    this.#connection.prepare('UPDATE location SET rules = ? WHERE id = ?').run(stored, location.id)
    this.#reread(location.id)
  }

  setMode(location: Location, mode: Mode): void {
    this.#connection.prepare('UPDATE location SET mode = ? WHERE id = ?').run(mode, location.id)
    this.#reread(location.id)
  }

  markScanned(location: Location, leftOut: Readonly<Record<string, number>>): void {
    this.#connection
      .prepare('UPDATE location SET scanned_at = ?, left_out = ? WHERE id = ?')
      .run(Date.now(), JSON.stringify(leftOut), location.id)
    this.#reread(location.id)
  }

  looked(location: Location): Looked | null {
    const stored = this.#connection
      .prepare<[string], string>('SELECT value FROM meta WHERE key = ?')
      .pluck()
      .get(lookedKey(location))
    return stored === undefined ? null : (JSON.parse(stored) as Looked)
  }

  markLooked(location: Location, looked: Looked): void {
    this.#connection
      .prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)')
      .run(lookedKey(location), JSON.stringify(looked))
  }

  /** From now on it is gone for callers; its entries go in slices, also after a crash. */
  markRemoving(location: Location): void {
    this.#connection.prepare('UPDATE location SET removing = 1 WHERE id = ?').run(location.id)
    this.#reread(location.id)
  }

  delete(location: Location): void {
    this.#connection.prepare('DELETE FROM location WHERE id = ?').run(location.id)
    this.#connection.prepare('DELETE FROM meta WHERE key = ?').run(lookedKey(location))
    this.#reread(location.id)
  }

  addCounts(location: number, { files, directories, others, bytes }: Counts): void {
    this.#count.run(files, directories, others, bytes, location)
  }

  totals(): Counts {
    const sum = (column: string) => `coalesce(sum(${column}), 0) AS ${column}`
    const columns = ['files', 'directories', 'others', 'bytes'].map(sum).join(', ')
    return this.#connection.prepare<[], Counts>(`SELECT ${columns} FROM location`).get()!
  }

  entriesOf(location: Location): number {
    return this.#connection
      .prepare<[number], number>('SELECT files + directories + others FROM location WHERE id = ?')
      .pluck()
      .get(location.id)!
  }

  /** After a transaction that did not commit, and where another connection may have written. */
  forget(): void {
    this.#known = null
  }

  #load(): Map<number, Location> {
    this.#known ??= new Map(
      this.#connection
        .prepare<[], Row>(`SELECT ${COLUMNS} FROM location ORDER BY id`)
        .all()
        .map((row) => [row.id, fromRow(row)]),
    )
    return this.#known
  }

  /** One that was written, and may be gone meanwhile: there may be thousands of others. */
  #reread(id: number): void {
    const row = this.#one.get(id)
    if (row) this.#known?.set(id, fromRow(row))
    else this.#known?.delete(id)
  }
}

function lookedKey({ id }: Location): string {
  return `looked ${id}`
}

function fromRow(row: Row): Location {
  return {
    id: row.id,
    uid: row.uid,
    name: row.name,
    path: typeof row.path === 'string' ? row.path : decodeName(row.path),
    addedAt: row.added_at,
    scannedAt: row.scanned_at,
    removing: row.removing !== 0,
    watch: row.watch !== 0,
    rules: row.rules === null ? null : (JSON.parse(row.rules) as LocationRules),
    leftOut: row.left_out === null ? {} : (JSON.parse(row.left_out) as Record<string, number>),
    mode: row.mode,
  }
}

export function locationItem(library: string, location: Location, watched?: Covered): LocationItem {
  return {
    id: location.uid,
    library,
    name: location.name,
    path: printable(location.path),
    mode: location.mode,
    addedAt: new Date(location.addedAt).toISOString(),
    ...(location.scannedAt === null ? {} : { scannedAt: new Date(location.scannedAt).toISOString() }),
    watch: location.watch,
    ...(location.rules ? { rules: location.rules, leftOut: location.leftOut } : {}),
    ...(location.watch && watched ? { watched } : {}),
  }
}
