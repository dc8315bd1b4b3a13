// The task thread's side of its work: with the addon where it loads, else with Node's own functions.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { loadNative } from '../descriptors/native.js'
import { tellLoop } from '../descriptors/threads.js'
import { loadBlake3 } from '../scan/blake3.js'
import { readDirectoryPlain } from '../scan/read.js'
import { answerIdentify } from './identifier.js'
import type { TaskSetup, TaskWork } from './lines.js'
import { answerWalk } from './walker.js'

const { native, told } = Piscina.workerData as TaskSetup
tellLoop(told)
const addon = native ? loadNative() : null
const Gatherer = addon?.Gatherer
const read = addon?.readDirectory ?? readDirectoryPlain
/** An addon that was built before has none. */
const reader = addon?.readParts ? addon : null
/** Some 5 ms of the start, also of a thread that only walks: later there may be no descriptor for it. */
const blake3 = await loadBlake3()

export async function workFor({
  port,
  work,
  lent,
  reads,
}: {
  port: MessagePort
  work: TaskWork
  lent: number
  /** Directories at a time that a walk has descriptors for. */
  reads: number
}): Promise<void> {
  if ('walk' in work) {
    // An addon that was built before has none.
    const gatherer = Gatherer ? new Gatherer() : null
    const isTwo = reads > 1 && gatherer?.beginAhead() === true
    // Then also of a path that is longer than the system takes one.
    const list = isTwo ? (path: Buffer) => gatherer!.list(path) : read
    return await answerWalk(port, work.walk, lent, list, gatherer)
  }
  answerIdentify(port, work.identify, lent, blake3, reader)
}
