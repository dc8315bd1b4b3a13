// Both ends of a walk that runs in a task thread: batches come one way, permission for the next goes the other.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fromWire, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Walker } from '../job/job.js'
import { readTextPlain } from '../scan/ground.js'
import { lookAtPath, type Looked } from '../scan/explain.js'
import { decodeName, decodeNames } from '../scan/names.js'
import type { NativeGatherer } from '../descriptors/native.js'
import type { Gatherer, ReadDirectory } from '../scan/read.js'
import { walk, type Batch } from '../scan/walk.js'
import type { WalkRequest } from './lines.js'

/** `lent` comes first: how many descriptors the thread holds that now works for the other end. */
type FromTask = { lent: number } | { batch: Batch } | { looked: Looked } | { end: true } | { error: WireError }

/** @param begin hands a port and the request to whoever has task threads */
export function walkElsewhere(begin: (port: MessagePort, options: WalkRequest) => void): Walker {
  return async function* (options, signal, balance) {
    const { port1, port2 } = new MessageChannel()
    const arrived: FromTask[] = []
    let wake = () => {}
    let giveBack = () => {}
    const arrive = (message: FromTask) => {
      arrived.push(message)
      wake()
    }
    port1.on('message', arrive)
    port1.on('close', () => arrive({ error: toWire(new SpacedriveError('SHARD_LOST', 'the walking thread ended')) }))
    const stop = () => wake()
    signal.addEventListener('abort', stop)
    const { root, leftOut, rules, after, starts } = options
    begin(port2, { root, leftOut, rules, after, starts })
    try {
      while (!signal.aborted) {
        const next = arrived.shift()
        if (!next) await new Promise<void>((resolve) => (wake = resolve))
        else if ('lent' in next) giveBack = balance.lend(next.lent)
        else if ('error' in next) throw fromWire(next.error)
        else if ('batch' in next) {
          yield next.batch
          port1.postMessage('next')
        } else return
      }
    } finally {
      giveBack()
      signal.removeEventListener('abort', stop)
      port1.close()
    }
  }
}

/** A look at one path in a task thread. */
export type Looker = (options: WalkRequest) => Promise<Looked>

export function lookElsewhere(begin: (port: MessagePort, options: WalkRequest) => void): Looker {
  return (options) => {
    const { port1, port2 } = new MessageChannel()
    return new Promise<Looked>((resolve, reject) => {
      port1.on('message', (message: FromTask) => {
        if ('looked' in message) resolve(message.looked)
        else if ('error' in message) reject(fromWire(message.error))
      })
      port1.on('close', () => reject(new SpacedriveError('SHARD_LOST', 'the looking thread ended')))
      begin(port2, options)
    }).finally(() => port1.close())
  }
}

/** The task thread's end: walks until the tree or the other end is through. */
export async function answerWalk(
  port: MessagePort,
  options: WalkRequest,
  lent: number,
  read: ReadDirectory,
  native: NativeGatherer | null = null,
): Promise<void> {
  let ahead = 0
  let closed = false
  let wake = () => {}
  port.on('message', () => {
    ahead -= 1
    wake()
  })
  port.on('close', () => {
    closed = true
    wake()
  })
  try {
    const { look, ...asked } = options
    const root = Buffer.from(asked.root)
    port.postMessage({ lent } satisfies FromTask)
    const how = { read: patient(read), readText: patient(readTextPlain) }
    if (look) {
      const looked = lookAtPath({ ...asked, ...look, ...how, root: decodeName(root) })
      port.postMessage({ looked } satisfies FromTask)
    } else
      for (const batch of walk({ ...asked, ...how, root, gatherer: native ? gathererOf(native) : undefined })) {
        const { names, kinds, sizes, mtimes, inodes } = batch
        const buffers = new Set([names, kinds, sizes, mtimes, inodes].map((each) => each.buffer as ArrayBuffer))
        port.postMessage({ batch } satisfies FromTask, [...buffers])
        ahead += 1
        await nextTurn()
        while (ahead >= LIMITS.walkAheadBatchesMax && !closed) await new Promise<void>((resolve) => (wake = resolve))
        if (closed) return
      }
    port.postMessage({ end: true } satisfies FromTask)
  } catch (error) {
    port.postMessage({ error: toWire(error) } satisfies FromTask)
  } finally {
    native?.end()
    port.close()
  }
}

export function gathererOf(native: NativeGatherer): Gatherer {
  const told = new Float64Array(3)
  const read = patient((path) => native.read(path, LIMITS.batchEntriesMax, told))
  return {
    read(path) {
      const found = read(path)
      if (typeof found === 'object' && 'names' in found) return found
      const below = typeof found === 'string' ? found.split('\0') : [...decodeNames(found), '']
      below.pop()
      return { count: told[0]!, print: told[1]!, inode: told[2]!, below }
    },
    take: () => native.take(),
    ahead: (path) => native.ahead(path),
  }
}

/** How long a walk waits for a descriptor that somebody outside the ledger took. */
const PATIENCE_MS = 30_000
const PAUSE_MS = 20

/** A walk never takes a lack of descriptors for an unreadable directory: it waits, then fails as a whole. */
function patient<T>(read: (path: Buffer) => T): (path: Buffer) => T {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  return (path) => {
    for (let waited = 0; ; waited += PAUSE_MS) {
      try {
        return read(path)
      } catch (error) {
        const { code } = toWire(error)
        if (code !== 'BUDGET_EXHAUSTED' || waited >= PATIENCE_MS) throw error
        Atomics.wait(pause, 0, 0, PAUSE_MS)
      }
    }
  }
}
