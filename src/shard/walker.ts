// Both ends of a walk that runs in a task thread: batches come one way, permission for the next goes the other.
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fromWire, SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Walker } from '../job/job.js'
import { readTextPlain } from '../scan/ground.js'
import type { SortNames } from '../scan/large.js'
import { lookAtPath, type Looked } from '../scan/explain.js'
import { decodeName, encodeNames } from '../scan/names.js'
import type { NativeDescent } from '../descriptors/native.js'
import type { Gatherer, ReadDirectory } from '../scan/read.js'
import { joinedBatches, walk, type Batch } from '../scan/walk.js'
import type { WalkRequest } from './lines.js'

/** `lent` comes first: how many descriptors the thread holds that now works for the other end. */
type FromTask = { lent: number } | { batch: Batch } | { looked: Looked } | { end: true } | { error: WireError }

/**
 * @param begin hands a port and the request to whoever has task threads
 * @param asked how often this thread was asked for anything so far: while it is not, what came meanwhile is one batch. A transaction
 *   of many entries costs less than many of few, since it writes each page once.
 */
export function walkElsewhere(begin: (port: MessagePort, options: WalkRequest) => void, asked = () => 0): Walker {
  return async function* (options, signal, balance) {
    const { port1, port2 } = new MessageChannel()
    const over = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
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
    begin(port2, { root, leftOut, rules, after, starts, stop: over.buffer as SharedArrayBuffer })
    let askedBefore = asked()
    try {
      while (!signal.aborted) {
        const next = arrived.shift()
        if (!next) await new Promise<void>((resolve) => (wake = resolve))
        else if ('lent' in next) giveBack = balance.lend(next.lent)
        else if ('error' in next) throw fromWire(next.error)
        else if ('batch' in next) {
          const batches = [next.batch]
          while (asked() === askedBefore && batches.length < LIMITS.walkAheadBatchesMax && isBatch(arrived[0]))
            batches.push((arrived.shift() as { batch: Batch }).batch)
          askedBefore = asked()
          for (let count = batches.length; count > 0; count--) port1.postMessage('next')
          const batch = joinedBatches(batches)
          // What was joined is copied, but for its runs.
          if (batches.length > 1) for (const each of batches) discard(columnsOf(each))
          yield batch
          discard(buffersOf(batch))
        } else return
      }
    } finally {
      giveBack()
      signal.removeEventListener('abort', stop)
      Atomics.store(over, 0, 1)
      port1.close()
    }
  }
}

function isBatch(message: FromTask | undefined): boolean {
  return message !== undefined && 'batch' in message
}

/** A look at one path in a task thread. */
export type Looker = (options: Omit<WalkRequest, 'stop'>) => Promise<Looked>

export function lookElsewhere(begin: (port: MessagePort, options: WalkRequest) => void): Looker {
  return (options) => {
    const { port1, port2 } = new MessageChannel()
    const over = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    return new Promise<Looked>((resolve, reject) => {
      port1.on('message', (message: FromTask) => {
        if ('looked' in message) resolve(message.looked)
        else if ('error' in message) reject(fromWire(message.error))
      })
      port1.on('close', () => reject(new SpacedriveError('SHARD_LOST', 'the looking thread ended')))
      begin(port2, { ...options, stop: over.buffer as SharedArrayBuffer })
    }).finally(() => {
      Atomics.store(over, 0, 1)
      port1.close()
    })
  }
}

/** The task thread's end: walks until the tree or the other end is through. */
export async function answerWalk(
  port: MessagePort,
  options: Omit<WalkRequest, 'stop'>,
  lent: number,
  read: ReadDirectory,
  native: NativeDescent | null = null,
  sortNames?: SortNames,
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
      for (const batch of walk({
        ...asked,
        ...how,
        root,
        gatherer: native ? gathererOf(native) : undefined,
        sortNames,
      })) {
        port.postMessage({ batch } satisfies FromTask, buffersOf(batch))
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

/** They go over to the other thread without being copied. */
function buffersOf(batch: Batch): ArrayBuffer[] {
  const ofRuns = batch.runs.flatMap((run) =>
    'directories' in run ? [run.directories.paths.buffer as ArrayBuffer] : [],
  )
  return [...columnsOf(batch), ...ofRuns]
}

function columnsOf({ names, kinds, sizes, mtimes, inodes }: Batch): ArrayBuffer[] {
  return [...new Set([names, kinds, sizes, mtimes, inodes].map((each) => each.buffer as ArrayBuffer))]
}

/**
 * Gives its memory back at once. What lived through a few batches would wait until all that is old is looked through: 10 to 40 MB of
 * a scan. The buffers are now those of new objects, which nobody has.
 */
function discard(buffers: ArrayBuffer[]): void {
  structuredClone(null, { transfer: buffers })
}

export function gathererOf(native: NativeDescent): Gatherer {
  const told = new Float64Array(2)
  const fill = patient((room: number) => native.fill(room, LIMITS.batchEntriesMax, told))
  return {
    begin(root, paths, weights) {
      native.begin(root, encodeNames(paths), Float64Array.from(weights))
    },
    fill(room) {
      const found = fill(room)
      return found === 0 ? 'through' : found === 1 ? 'full' : found
    },
    at: () => decodeName(native.at()),
    skip() {
      told[1]! += native.skip()
    },
    get count() {
      return told[0]!
    },
    get weight() {
      return told[1]!
    },
    take() {
      told.fill(0)
      const { directories, ...listing } = native.take()
      return { listing, directories }
    },
  }
}

/** How long a walk waits for a descriptor that somebody outside the ledger took. */
const PATIENCE_MS = 30_000
const PAUSE_MS = 20

/** A walk never takes a lack of descriptors for an unreadable directory: it waits, then fails as a whole. */
function patient<From, T>(read: (from: From) => T): (from: From) => T {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  return (from) => {
    for (let waited = 0; ; waited += PAUSE_MS) {
      try {
        return read(from)
      } catch (error) {
        const { code } = toWire(error)
        if (code !== 'BUDGET_EXHAUSTED' || waited >= PATIENCE_MS) throw error
        Atomics.wait(pause, 0, 0, PAUSE_MS)
      }
    }
  }
}
