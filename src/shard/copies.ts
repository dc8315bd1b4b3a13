// The libraries of other shards that are read here as well, because they are asked for more than one shard can answer.
import { basename } from 'node:path'
import type { Lease, Ledger } from '../descriptors/ledger.js'
import { Copy } from '../library/copy.js'
import { FOLDER_ENDING } from '../library/folder.js'
import type { ParamsOf } from '../protocol/operations.js'
import type { SharedRead } from './lines.js'

/** The descriptor of the database is held by the library's own shard: SQLite keeps it open until that closes. */
const WRITE_AHEAD_LOG = 1

export class Copies {
  readonly #ledger: Ledger
  readonly #copies = new Map<string, { readonly copy: Copy; readonly lease: Lease }>()
  readonly #reading = new Set<Copy>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  get count(): number {
    return this.#copies.size
  }

  /** @returns false where descriptors are short */
  open(id: string, path: string): boolean {
    if (this.#copies.has(id)) return true
    const holder = `library ${basename(path, FOLDER_ENDING)}`
    const lease = this.#ledger.tryAcquire('libraries', WRITE_AHEAD_LOG, { holder, path })
    if (!lease) return false
    try {
      this.#copies.set(id, { copy: new Copy(id, path), lease })
      return true
    } catch (error) {
      lease.release()
      throw error
    }
  }

  close(id: string): void {
    const open = this.#copies.get(id)
    if (!open) return
    this.#copies.delete(id)
    this.#reading.delete(open.copy)
    open.copy.close()
    open.lease.release()
  }

  closeAll(): void {
    for (const id of [...this.#copies.keys()]) this.close(id)
  }

  /** Undefined where the library's own shard is to be asked, be it for an error: what is wrong is for that to say. */
  read({ operation, params }: SharedRead): unknown {
    const open = this.#copies.get((params as { library: string }).library)
    if (!open) return undefined
    const { copy } = open
    try {
      this.#reading.add(copy)
      copy.beginRead()
      if (operation === 'files.get') return copy.file(params as ParamsOf<'files.get'>)
      if (operation === 'files.list') return copy.list(params as ParamsOf<'files.list'>)
      return copy.search(params as ParamsOf<'search.files'>)
    } catch {
      return undefined
    }
  }

  /** What was read in this turn was of one snapshot; the next is of another. */
  endTurn(): void {
    for (const copy of this.#reading) copy.endRead()
    this.#reading.clear()
  }
}
