// What was found when files of one content were compared byte by byte. Of a file that changes it goes with its identity.
import type { Connection } from './connection.js'
import { ENTRY_COLUMNS, toEntry, type Entry, type EntryRow } from './entries.js'
import type { Identities, Seen } from './identities.js'

export class Comparisons {
  readonly #identities: Identities
  readonly #left
  readonly #names
  readonly #record
  readonly #forget

  constructor(connection: Connection, identities: Identities) {
    this.#identities = identities
    this.#left = connection
      .prepare<[bigint, number, number], EntryRow>(
        `SELECT ${ENTRY_COLUMNS} FROM ${NAMES_OF}
         CROSS JOIN entry ON entry.id = identity.entry AND entry.mtime = identity.mtime
         WHERE content.cid = ? AND identity.entry > ?
         AND NOT EXISTS (SELECT 1 FROM compared WHERE compared.entry = identity.entry) ORDER BY identity.entry LIMIT ?`,
      )
      .raw()
    this.#names = connection.prepare<[bigint], number>(`SELECT count(*) FROM ${NAMES_OF} WHERE content.cid = ?`).pluck()
    this.#record = connection.prepare('INSERT OR REPLACE INTO compared (entry, first, at) VALUES (?, ?, ?)')
    this.#forget = connection.prepare(
      `DELETE FROM compared WHERE (@first IS NULL OR first = @first) AND entry IN (
         SELECT entry FROM ${NAMES_OF} WHERE content.cid = @cid)`,
    )
  }

  /** Those of one content that were not compared yet, after this one. */
  left(cid: bigint, after: number, most: number): Entry[] {
    return this.#left.all(BigInt.asIntN(64, cid), after, most).map(toEntry)
  }

  namesOf(cid: bigint): number {
    return this.#names.get(BigInt.asIntN(64, cid)) ?? 0
  }

  /**
   * @param first the one it is equal to, 0 where it could not be read
   * @returns false where the index knows it by now as something else
   */
  record(seen: Seen, first: number): boolean {
    if (!this.#identities.isStill(seen)) return false
    this.#record.run(seen.id, first, Date.now())
    return true
  }

  /** They are compared anew: all of a content, or those equal to one. */
  forget(cid: bigint, first: number | null = null): void {
    this.#forget.run({ cid: BigInt.asIntN(64, cid), first })
  }
}

const NAMES_OF = 'content CROSS JOIN identity ON identity.content = content.id'
