// The numbers of new entries: one source for a library, so that two scans of it at a time never give one number twice.
import type { Connection } from './connection.js'

export class Ids {
  readonly #read
  readonly #write
  #next: number | null = null

  constructor(connection: Connection) {
    this.#read = connection.prepare<[], number>(`SELECT value FROM meta WHERE key = 'nextEntry'`).pluck()
    this.#write = connection.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('nextEntry', ?)`)
  }

  take(): number {
    this.#next ??= this.#read.get() ?? 1
    return this.#next++
  }

  /** In the transaction whose rows carry the numbers. */
  flush(): void {
    if (this.#next !== null) this.#write.run(this.#next)
  }

  /** After a transaction that did not commit: its numbers are free. */
  forget(): void {
    this.#next = null
  }
}
