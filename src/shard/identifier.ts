// Both ends of reading files for what they hold in a task thread: a list goes there, and what became of each comes back.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { fromSystem, fromWire, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import type { IdentifyFiles } from '../job/identify.js'
import type { Blake3 } from '../scan/blake3.js'
import { identifyFiles, type FilesRead, type FilesWanted, type LookInto } from '../scan/identify.js'
import { isFar, type FileReader } from '../scan/guard.js'
import { compareFiles, hashFiles } from '../scan/whole.js'
import type { IdentifyRequest } from './lines.js'

/** `lent` comes first: how many descriptors the thread holds that now works for the other end. */
type FromTask = { lent: number } | { read: FilesRead } | { error: WireError }

const NOTHING_READ: FilesRead = { count: 0, ids: new BigUint64Array(), types: new Uint8Array(), failures: [] }

/** @param begin hands a port and the request to whoever has task threads */
export function identifyElsewhere(begin: (port: MessagePort, request: IdentifyRequest) => void): IdentifyFiles {
  return (files, signal, balance) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return resolve(NOTHING_READ)
      const { port1, port2 } = new MessageChannel()
      const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
      let giveBack = () => {}
      const end = (settle: () => void) => {
        giveBack()
        giveBack = () => {}
        Atomics.store(stop, 0, 1)
        signal.removeEventListener('abort', aborted)
        port1.close()
        settle()
      }
      const aborted = () => end(() => resolve(NOTHING_READ))
      signal.addEventListener('abort', aborted)
      port1.on('message', (message: FromTask) => {
        if ('lent' in message) giveBack = balance.lend(message.lent)
        else if ('error' in message) end(() => reject(fromWire(message.error)))
        else end(() => resolve(message.read))
      })
      port1.on('close', () => end(() => reject(new SpacedriveError('SHARD_LOST', 'the reading thread ended'))))
      begin(port2, { files, stop: stop.buffer as SharedArrayBuffer, far: files.paths.some(isFar) })
    })
}

/** What a task thread reads files with. */
export interface Reading {
  readonly blake3: Blake3
  readonly reader: FileReader | null
  readonly lookInto: LookInto | null
}

/** The task thread's end. */
export function answerIdentify(
  port: MessagePort,
  { files, stop }: IdentifyRequest,
  lent: number,
  reading: Reading,
): void {
  const stopped = new Int32Array(stop)
  try {
    port.postMessage({ lent } satisfies FromTask)
    const read = readFiles(files, reading, () => Atomics.load(stopped, 0) !== 0)
    port.postMessage({ read } satisfies FromTask)
  } catch (error) {
    port.postMessage({ error: toWire(error) } satisfies FromTask)
  } finally {
    port.close()
  }
}

/** As they are wanted. */
export function readFiles(files: FilesWanted, { blake3, reader, lookInto }: Reading, stop: () => boolean): FilesRead {
  if (files.whole === 'compare') return compareFiles(files, stop)
  if (files.whole === 'hash') return hashFiles(files, blake3, stop)
  return identifyFiles(files, blake3, stop, reader, files.media ? lookInto : null)
}

/** Told where the thread lacks what it would read with; its other end is to try again. */
export function refuseIdentify(port: MessagePort, error: unknown): void {
  port.postMessage({ error: toWire(fromSystem(error)) } satisfies FromTask)
  port.close()
}
