// The distinct names of a library: each stored once, found by hash, folded into blocks of 64 for the search.
//
// Rows are only added, and only by the library's one writer. What was added goes to the `fold` table with `flush`, in
// the same transaction; full blocks get their trigrams with `seal`, later and many at a time.
import { encodeName, decodeName, isPrintable } from '../scan/names.js'
import type { Connection } from './connection.js'
import { fold } from './fold.js'
import { buildPostings } from './trigrams.js'

export const BLOCK_NAMES = 64
/** Names remembered with their ids: some 25 MB. At more the memory is emptied and the index asked. */
const REMEMBERED_MAX = 200_000
/** Blocks without trigrams are searched by reading them all: this many cost about half a millisecond. */
const UNSEALED_BLOCKS_MAX = 256
const SEALED_BLOCKS_MIN = 64
/** A segment is built in one go; this many blocks take some 100 ms. */
const SEGMENT_BLOCKS_MAX = 2048

export type NameText = string | Buffer

export function nameFrom(text: NameText): string {
  return typeof text === 'string' ? text : decodeName(text)
}

export class Names {
  readonly #connection: Connection
  readonly #byHash
  readonly #insert
  readonly #writeFold
  #remembered = new Map<string, number>()
  /** Whether every stored name is remembered, so that one that is not must be new. */
  #complete = false
  #next = -1
  #block: string[] = []

  constructor(connection: Connection) {
    this.#connection = connection
    this.#byHash = connection.prepare<[number], { id: number; text: NameText }>(
      'SELECT id, text FROM name WHERE hash = ?',
    )
    this.#insert = connection.prepare<[number, number, NameText]>('INSERT INTO name (id, hash, text) VALUES (?, ?, ?)')
    this.#writeFold = connection.prepare<[number, Buffer]>('INSERT OR REPLACE INTO fold (block, text) VALUES (?, ?)')
  }

  find(name: string): number | undefined {
    return this.#remembered.get(name) ?? (this.#complete ? undefined : this.#lookUp(name, hashOf(name)))
  }

  /** The id of a name, which is added if it is new; within a transaction that ends with `flush`. */
  idOf(name: string): number {
    const known = this.#remembered.get(name)
    if (known !== undefined) return known
    if (this.#next < 0) this.#load()
    const hash = hashOf(name)
    const id = (this.#complete ? undefined : this.#lookUp(name, hash)) ?? this.#add(name, hash)
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear()
    if (this.#remembered.size === 0 && id > 0) this.#complete = false
    this.#remembered.set(name, id)
    return id
  }

  /** Writes the block that is not full yet; it is written again when more names join it. */
  flush(): void {
    if (this.#block.length > 0) this.#writeBlock((this.#next - 1) >> 6)
  }

  /** Forgets what is remembered: after a transaction that did not commit, and to give memory back. */
  forget(): void {
    this.#remembered = new Map()
    this.#complete = false
    this.#next = -1
    this.#block = []
  }

  /** Whether so many blocks wait for their trigrams that searches would feel it. */
  get wantsSeal(): boolean {
    return this.#next >= 0 && this.#fullBlocks() - this.#sealed() >= UNSEALED_BLOCKS_MAX
  }

  /**
   * Gives full blocks their trigrams, in a transaction of its own. Small segments are built anew together with the new
   * blocks, so that few segments remain and each name is indexed a few times at the most.
   */
  seal(): void {
    if (this.#next < 0) this.#load()
    const last = this.#fullBlocks() - 1
    let first = this.#sealed()
    if (last - first + 1 < SEALED_BLOCKS_MIN) return
    this.#connection.transaction(() => {
      const segments = this.#connection
        .prepare<[], { id: number; first: number; last: number }>(
          'SELECT id, first, last FROM segment ORDER BY first DESC',
        )
        .all()
      for (const segment of segments) {
        if (segment.last - segment.first >= 2 * (last - first) || last - segment.first >= SEGMENT_BLOCKS_MAX) break
        this.#connection.prepare('DELETE FROM posting WHERE segment = ?').run(segment.id)
        this.#connection.prepare('DELETE FROM segment WHERE id = ?').run(segment.id)
        first = segment.first
      }
      while (first <= last) {
        const end = Math.min(last, first + SEGMENT_BLOCKS_MAX - 1)
        this.#writeSegment(first, end)
        first = end + 1
      }
    })()
  }

  #writeSegment(first: number, last: number): void {
    const { lastInsertRowid } = this.#connection
      .prepare('INSERT INTO segment (first, last) VALUES (?, ?)')
      .run(first, last)
    const blocks = this.#connection
      .prepare<[number, number], Buffer>('SELECT text FROM fold WHERE block BETWEEN ? AND ? ORDER BY block')
      .pluck()
      .all(first, last)
    const insert = this.#connection.prepare('INSERT INTO posting (segment, bucket, lists) VALUES (?, ?, ?)')
    for (const { bucket, lists } of buildPostings({ first, blocks })) insert.run(lastInsertRowid, bucket, lists)
  }

  #load(): void {
    const last = this.#connection.prepare<[], number | null>('SELECT max(id) FROM name').pluck().get() ?? null
    this.#next = last === null ? 0 : last + 1
    this.#complete = last === null
    const started = this.#next % BLOCK_NAMES
    if (started === 0) return
    const texts = this.#connection
      .prepare<[number], NameText>('SELECT text FROM name WHERE id >= ? ORDER BY id')
      .pluck()
      .all(this.#next - started)
    this.#block = texts.map((text) => fold(nameFrom(text)))
  }

  #lookUp(name: string, hash: number): number | undefined {
    for (const { id, text } of this.#byHash.iterate(hash)) {
      if (nameFrom(text) === name) return id
    }
    return undefined
  }

  #add(name: string, hash: number): number {
    const id = this.#next
    this.#insert.run(id, hash, isPrintable(name) ? name : encodeName(name))
    this.#next += 1
    this.#block.push(fold(name))
    if (this.#block.length === BLOCK_NAMES) {
      this.#writeBlock(id >> 6)
      this.#block = []
    }
    return id
  }

  #writeBlock(block: number): void {
    this.#writeFold.run(block, Buffer.from(`${this.#block.join('\0')}\0`, 'utf8'))
  }

  #fullBlocks(): number {
    return this.#next >> 6
  }

  #sealed(): number {
    return (this.#connection.prepare<[], number | null>('SELECT max(last) FROM segment').pluck().get() ?? -1) + 1
  }
}

/** FNV-1a over UTF-16 units: cheap, and a collision costs one comparison. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  return hash >>> 0
}
