// Directories that could not be read: the index keeps what it knew of them, says so, and they are tried again.
import { LIMITS } from '../base/limits.js'
import { printable } from '../scan/names.js'
import type { Connection } from './connection.js'

export interface UnverifiedRow {
  readonly entry: number
  readonly location: number
  readonly since: number
  readonly tried_at: number
  readonly tries: number
  readonly code: string
  readonly message: string
}

export class Unverified {
  readonly #note
  readonly #verify
  readonly #any
  readonly #of
  readonly #next
  readonly #count
  readonly #list
  readonly #forget

  constructor(connection: Connection) {
    this.#note = connection.prepare<[number, number, number, number, string, string]>(
      `INSERT INTO unverified (entry, location, since, tried_at, tries, code, message) VALUES (?, ?, ?, ?, 1, ?, ?)
       ON CONFLICT DO UPDATE SET tried_at = excluded.tried_at, tries = tries + 1, code = excluded.code,
         message = excluded.message`,
    )
    this.#verify = connection.prepare<[number]>('DELETE FROM unverified WHERE entry = ?')
    this.#any = connection.prepare<[], number>('SELECT 1 FROM unverified LIMIT 1').pluck()
    this.#of = connection.prepare<[number], UnverifiedRow>('SELECT * FROM unverified WHERE entry = ?')
    this.#next = connection
      .prepare<[number, number], number>('SELECT entry FROM unverified WHERE location = ? ORDER BY tried_at LIMIT ?')
      .pluck()
    this.#count = connection.prepare<[number], number>('SELECT count(*) FROM unverified WHERE location = ?').pluck()
    this.#list = connection.prepare<[number, number], UnverifiedRow>(
      'SELECT * FROM unverified WHERE location = ? ORDER BY since, entry LIMIT ?',
    )
    this.#forget = connection.prepare<[number]>('DELETE FROM unverified WHERE location = ?')
  }

  /** It could not be read; again, if that is known already. */
  note(entry: number, location: number, code: string, message: string): void {
    const now = Date.now()
    this.#note.run(entry, location, now, now, code, printable(message))
  }

  /** It was read, or is gone. */
  verify(entry: number): void {
    this.#verify.run(entry)
  }

  get any(): boolean {
    return this.#any.get() !== undefined
  }

  of(entry: number): UnverifiedRow | undefined {
    return this.#of.get(entry)
  }

  /** Entries of a location, those first that were not tried for the longest. */
  next(location: number): number[] {
    return this.#next.all(location, LIMITS.unverifiedAtOnceMax)
  }

  count(location: number): number {
    return this.#count.get(location)!
  }

  /** Those that are so for the longest. */
  first(location: number, most: number): UnverifiedRow[] {
    return this.#list.all(location, most)
  }

  forget(location: number): void {
    this.#forget.run(location)
  }
}
