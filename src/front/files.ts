// Files of locations, opened to be sent: a few at a time, each under a lease, and read by threads that are not the main one.
import { read, readlinkSync, realpath } from 'node:fs'
import { promisify } from 'node:util'
import { SpacedriveError } from '../base/errors.js'
import { Few } from '../base/few.js'
import { LIMITS } from '../base/limits.js'
import type { Ledger } from '../descriptors/ledger.js'
import { openGuardedLater, type OpenFile } from '../scan/guard.js'
import { decodeName, printable } from '../scan/names.js'

/** Open until it is closed, which its holder does whenever the client does not read on at once. */
export interface SentFile {
  readonly stat: OpenFile['stat']
  /** So many bytes from there, or fewer where the file ends. */
  read(at: number, length: number): Promise<Buffer>
  close(): Promise<void>
}

export class Files {
  readonly #ledger: Ledger
  readonly #few = new Few(LIMITS.filesOpenMax)

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
   * @throws BUDGET_EXHAUSTED, and what `openGuarded` does; PATH_REFUSED where a link leads elsewhere by now
   */
  async open(path: Buffer): Promise<SentFile> {
    await this.#few.enter()
    try {
      return await this.#openOne(path)
    } catch (error) {
      this.#few.leave()
      throw error
    }
  }

  async #openOne(path: Buffer): Promise<SentFile> {
    const holder = { holder: 'a client that reads a file', path: printable(decodeName(path)) }
    const lease = await this.#ledger.acquire('jobs', 1, holder, LIMITS.libraryLeaseWaitMs)
    try {
      const file = await openGuardedLater(path)
      const close = async () => {
        await file.close().finally(() => lease.release())
        this.#few.leave()
      }
      try {
        await checkPlace(file, path)
      } catch (error) {
        await file.close()
        throw error
      }
      return { stat: file.stat, read: (at, length) => readPart(file.fd, at, length), close }
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
const realpathLater = promisify(
  realpath.native as (path: Buffer, options: typeof BYTES, done: (error: Error | null, real: Buffer) => void) => void,
)
const BYTES = { encoding: 'buffer' } as const

/** The file that is open lies at this path and nowhere else: no directory of it has become a link since it was indexed. */
async function checkPlace({ fd }: OpenFile, path: Buffer): Promise<void> {
  const linux = process.platform === 'linux'
  // Of an open descriptor the kernel knows it by itself: there is no disk to wait for, and a thread for it would cost ten times as much.
  const real = linux ? readlinkSync(`/proc/self/fd/${fd}`, BYTES) : await realpathLater(path, BYTES)
  if (real.equals(path)) return
  throw new SpacedriveError('PATH_REFUSED', `${printable(decodeName(path))} is elsewhere by now`, {
    hint: 'A directory of its path has moved or has become a link: scan the location again.',
  })
}

async function readPart(fd: number, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length)
  const { bytesRead } = await readLater(fd, buffer, 0, length, at)
  return buffer.subarray(0, bytesRead)
}
