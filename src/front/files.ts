// Files of locations, opened to be sent: a few at a time, each under a lease, and read by threads that are not the main one.
import { read } from 'node:fs'
import { promisify } from 'node:util'
import { Few } from '../base/few.js'
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import { loadNative } from '../descriptors/native.js'
import { openGuardedLater, type FileStat, type OpenFile } from '../scan/guard.js'
import { decodeName, printable } from '../scan/names.js'

/** Open until it is closed, which its holder does whenever the client does not read on at once. */
export interface SentFile {
  readonly stat: FileStat
  /** So many bytes from there, or fewer where the file ends, or where what came with its opening does. */
  read(at: number, length: number): Promise<Buffer>
  close(): Promise<void>
}

export class Files {
  readonly #ledger: Ledger
  readonly #native = loadNative()
  readonly #few = new Few(LIMITS.filesOpenMax)
  /** So far. */
  bytesRead = 0

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Somebody waits in line: who has a file open for long is to close it now and then. */
  get areWanted(): boolean {
    return this.#few.isWanted
  }

  /**
   * Waits in line where many are open.
   *
   * @param path true bytes, absolute, without symbolic links
   * @param first bytes from its beginning that are likely to be read
   * @param isWanted asked when its turn has come
   * @returns null where it is not wanted any more
   * @throws BUDGET_EXHAUSTED, and what `openGuarded` does; PATH_REFUSED where a link leads elsewhere by now
   */
  async open(path: Buffer, first: number, isWanted: () => boolean): Promise<SentFile | null> {
    await this.#few.enter()
    if (!isWanted()) {
      this.#few.leave()
      return null
    }
    try {
      return await this.#openOne(path, first)
    } catch (error) {
      this.#few.leave()
      throw error
    }
  }

  async #openOne(path: Buffer, first: number): Promise<SentFile> {
    const holder = { holder: 'a client that reads a file', path: printable(decodeName(path)) }
    const lease = await this.#ledger.acquire('jobs', 1, holder, LIMITS.libraryLeaseWaitMs)
    try {
      const file = await openGuardedLater(path, this.#native, first)
      const close = async () => {
        await file.close().finally(() => lease.release())
        this.#few.leave()
      }
      const read = async (at: number, length: number) => {
        const part = await readPart(file, at, length)
        this.bytesRead += part.length
        return part
      }
      return { stat: file.stat, read, close }
    } catch (error) {
      lease.release()
      throw error
    }
  }
}

const readLater = promisify(read) as (
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>

async function readPart({ fd, first }: OpenFile, at: number, length: number): Promise<Buffer> {
  if (at < first.length || fd < 0) return first.subarray(at, at + length)
  const buffer = Buffer.allocUnsafeSlow(length)
  const { bytesRead } = await readLater(fd, buffer, 0, length, at)
  return buffer.subarray(0, bytesRead)
}
