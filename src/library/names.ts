// The distinct names of a library: each stored once, 64 a block, found by hash.
//
// A name's id is its place. Names are only added, and only by the library's one writer; what was added is written with
// `flush`, in the same transaction. Full blocks get their trigrams with `seal`, later and many at a time, and so do names their
// hashes: those of few names would touch as many pages, and each commit of a scan would write a good part of the table.
import { LIMITS } from '../base/limits.js'
import { decodeNames, encodeNames } from '../scan/names.js'
import type { Connection } from './connection.js'
import { foldBlock } from './fold.js'
import { Inserts } from './inserts.js'
import { Hashes, hashOf, NameTable, PLACES } from './name-table.js'
import { BUCKETS, buildPostings, postingPlace } from './trigrams.js'

export const BLOCK_NAMES = 64
/** Blocks are kept as strings; at more the memory is emptied: what searches find in `/usr` are some 1,100. */
const BLOCKS_KEPT = 2_048
/** During a first scan, which looks at few names a second time that did not come lately. */
const BLOCKS_KEPT_MEANWHILE = 512
/** Blocks without trigrams are searched by reading them all: this many cost about two milliseconds. */
const UNSEALED_BLOCKS_MAX = 512
const SEALED_BLOCKS_MIN = 8
/** A segment is built in one go; this many blocks take some 100 ms. */
const SEGMENT_BLOCKS_MAX = 2048

export class Names {
  readonly #connection: Connection
  readonly #byHash
  readonly #hashRows: Inserts<[hash: number, name: number]>
  readonly #readHashed
  readonly #writeHashed
  readonly #readBlock
  readonly #writeBlock
  /** Those of the latest, and of those before them. */
  #recent = new Map<string, number>()
  #before = new Map<string, number>()
  /** Names without a hash on disk and, while `#complete`, all others. Filled as soon as `#next` is known. */
  readonly #table = new NameTable((id) => this.text(id))
  /** Whether every stored name is in the table, so that one that is not must be new. */
  #complete = false
  #blocks = new Map<number, string[]>()
  /** Up to which name all have a hash on disk, and the hashes of those from there on. */
  #hashed = 0
  #hashes = new Hashes()
  /** Some of these are being written, in the order of the table. */
  #writing: { readonly order: Float64Array; readonly end: number; at: number } | null = null
  /** Whether the database says up to where names have one. In a library of before, which does not, they all have. */
  #saysHashed = false
  /** The id of the next name; -1 until it is known. */
  #next = -1
  /** The last block, which is not full: written again whenever names joined it. */
  #open: string[] = []

  constructor(connection: Connection) {
    this.#connection = connection
    this.#byHash = connection.prepare<[number], number>('SELECT name FROM name_hash WHERE hash = ?').pluck()
    this.#hashRows = new Inserts(connection, 'INSERT OR IGNORE INTO name_hash (hash, name)')
    this.#readHashed = connection.prepare<[], number>(`SELECT value FROM meta WHERE key = 'namesHashed'`).pluck()
    this.#writeHashed = connection.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('namesHashed', ?)`)
    this.#readBlock = connection.prepare<[number], Buffer>('SELECT bytes FROM names WHERE block = ?').pluck()
    this.#writeBlock = connection.prepare<[number, Buffer]>('INSERT OR REPLACE INTO names (block, bytes) VALUES (?, ?)')
  }

  text(id: number): string {
    if (id < 0) return `${this.text(displacedName(id))}${DISPLACED}`
    const block = Math.floor(id / BLOCK_NAMES)
    return (this.#blocks.get(block) ?? this.#load(block))[id % BLOCK_NAMES] ?? ''
  }

  find(name: string): number | undefined {
    if (this.#next < 0) this.#begin()
    return this.#find(name, hashOf(name))
  }

  /** The id of a name, which is added if it is new; within a transaction that ends with `flush`. */
  idOf(name: string): number {
    if (this.#next < 0) this.#begin()
    const hash = hashOf(name)
    return this.#find(name, hash) ?? this.#add(name, hash)
  }

  /** Most that are new are known to be so by their hash alone; of those that come again, most came lately. */
  #find(name: string, hash: number): number | undefined {
    if (this.#complete && !this.#table.has(hash)) return undefined
    const recent = this.#recent.get(name)
    if (recent !== undefined) return recent
    const id = this.#before.get(name) ?? this.#lookUp(name, hash)
    if (id === undefined) return undefined
    if (this.#recent.size >= LIMITS.namesRecentMax) {
      this.#before = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(name, id)
    return id
  }

  /**
   * Writes the block that is not full yet; it is written again when more names join it.
   *
   * @param most so many names may go without a hash on disk for now
   */
  flush(most: number = LIMITS.namesUnhashedMax): void {
    if (this.#open.length > 0) this.#write(this.#fullBlocks())
    const isFull = this.#table.size >= LIMITS.namesTabledMax
    if (isFull) this.#complete = false
    if (isFull || this.#hashes.length >= most) this.#writing ??= this.#inOrder()
    if (this.#writing) this.#writeHashes()
  }

  /** Forgets what is remembered: after a transaction that did not commit, and to give memory back. */
  forget(): void {
    this.#recent = new Map()
    this.#before = new Map()
    this.#complete = false
    this.#blocks = new Map()
    this.#table.clear()
    this.#hashes = new Hashes()
    this.#writing = null
    this.#hashRows.forget()
    this.#next = -1
    this.#open = []
  }

  /**
   * Whether so many blocks wait for their trigrams that searches would feel it. In a first scan they take some milliseconds more, and each
   * name is indexed once.
   */
  wantsSeal(inFirstScan: boolean): boolean {
    const most = inFirstScan ? SEGMENT_BLOCKS_MAX : UNSEALED_BLOCKS_MAX
    return this.#next >= 0 && this.#fullBlocks() - this.#sealed() >= most
  }

  /**
   * Gives full blocks their trigrams, in a transaction of its own. Small segments are built anew together with the new
   * blocks, so that few segments remain and each name is indexed a few times at the most.
   */
  seal(): void {
    if (this.#next < 0) this.#begin()
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
        this.#connection
          .prepare('DELETE FROM posting WHERE place BETWEEN ? AND ?')
          .run(postingPlace(segment.id, 0), postingPlace(segment.id, BUCKETS - 1))
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

  /** How many there are. */
  get count(): number {
    if (this.#next < 0) this.#begin()
    return this.#next
  }

  /**
   * Gives some names their hashes, so that whoever opens the library next need not read them.
   *
   * @returns whether the first `count` names all have one
   */
  hash(count: number): boolean {
    if (this.#next < 0) this.#begin()
    if (this.#hashed >= count) return true
    this.#connection.transaction(() => {
      this.#writing ??= this.#inOrder()
      this.#writeHashes()
    })()
    return this.#hashed >= count
  }

  /** Of all that have none on disk: in the order of the table there, so that each of its pages is touched once. */
  #inOrder(): { order: Float64Array; end: number; at: number } {
    return { order: this.#hashes.inOrder(), end: this.#next, at: 0 }
  }

  #writeHashes(): void {
    const writing = this.#writing!
    const { order, end } = writing
    for (const until = Math.min(order.length, writing.at + LIMITS.hashesACommitMax); writing.at < until; writing.at++) {
      const each = order[writing.at]!
      this.#hashRows.add(Math.floor(each / PLACES), this.#hashed + (each % PLACES))
    }
    this.#hashRows.flush()
    if (writing.at < order.length) return
    this.#writeHashed.run(end)
    this.#writing = null
    this.#hashes.drop(order.length)
    this.#hashed = end
    if (!this.#complete) this.#tableUnhashed()
  }

  #tableUnhashed(): void {
    this.#table.clear()
    for (let at = 0; at < this.#hashes.length; at++) this.#table.add(this.#hashes.at(at), this.#hashed + at)
  }

  #writeSegment(first: number, last: number): void {
    const { lastInsertRowid } = this.#connection
      .prepare('INSERT INTO segment (first, last) VALUES (?, ?)')
      .run(first, last)
    const rows = this.#connection
      .prepare<[number, number], Buffer>('SELECT bytes FROM names WHERE block BETWEEN ? AND ? ORDER BY block')
      .pluck()
      .iterate(first, last)
    const blocks = Array.from(rows, (bytes) => Buffer.from(foldBlock(bytes), 'utf8'))
    const insert = this.#connection.prepare('INSERT INTO posting (place, lists) VALUES (?, ?)')
    const segment = Number(lastInsertRowid)
    for (const { bucket, lists } of buildPostings({ first, blocks })) insert.run(postingPlace(segment, bucket), lists)
  }

  #begin(): void {
    const last = this.#connection.prepare<[], number | null>('SELECT max(block) FROM names').pluck().get() ?? null
    const names = last === null ? [] : this.#load(last)
    this.#next = last === null ? 0 : last * BLOCK_NAMES + names.length
    this.#open = names.length < BLOCK_NAMES ? names : []
    const hashed = this.#readHashed.get()
    this.#saysHashed = hashed !== undefined
    this.#hashed = hashed ?? this.#next
    this.#complete = this.#hashed === 0
    for (let id = this.#hashed; id < this.#next; id++) this.#hashes.push(hashOf(this.text(id)))
    this.#tableUnhashed()
  }

  #load(block: number): string[] {
    // The last block is ahead of the database until it is flushed, and goes on growing afterwards.
    if (this.#open.length > 0 && block === this.#fullBlocks()) return this.#open
    const bytes = this.#readBlock.get(block)
    const names = bytes ? decodeNames(bytes) : []
    return this.#keep(block, names)
  }

  #keep(block: number, names: string[]): string[] {
    if (this.#blocks.size >= (this.#complete ? BLOCKS_KEPT_MEANWHILE : BLOCKS_KEPT)) this.#blocks.clear()
    this.#blocks.set(block, names)
    return names
  }

  #lookUp(name: string, hash: number): number | undefined {
    const known = this.#table.find(name, hash)
    if (known !== undefined || this.#complete) return known
    return this.#byHash.all(hash).find((id) => this.text(id) === name)
  }

  #add(name: string, hash: number): number {
    const id = this.#next
    if (!this.#saysHashed) this.#writeHashed.run(id)
    this.#saysHashed = true
    this.#hashes.push(hash)
    this.#table.add(hash, id)
    if (this.#open.length === 0) this.#keep(this.#fullBlocks(), this.#open)
    this.#open.push(name)
    this.#next += 1
    if (this.#open.length === BLOCK_NAMES) {
      this.#write(Math.floor(id / BLOCK_NAMES))
      this.#open = []
    }
    return id
  }

  #write(block: number): void {
    this.#writeBlock.run(block, encodeNames(this.#open))
  }

  #fullBlocks(): number {
    return Math.floor(this.#next / BLOCK_NAMES)
  }

  #sealed(): number {
    return (this.#connection.prepare<[], number | null>('SELECT max(last) FROM segment').pluck().get() ?? -1) + 1
  }
}

/** Ends the name of an entry whose place something of another kind has taken, and of which it is not known yet where it is. */
export const DISPLACED = '\0'

/** The name under which such an entry is kept, and the way back. */
export function displacedName(name: number): number {
  return -1 - name
}
