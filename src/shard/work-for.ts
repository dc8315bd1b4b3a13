// The task thread's side of its work: with the addon where it loads, else with Node's own functions.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { loadNative } from '../descriptors/native.js'
import { tellLoop } from '../descriptors/threads.js'
import { loadBlake3 } from '../scan/blake3.js'
import type { LookInto } from '../scan/identify.js'
import { readDirectoryPlain } from '../scan/read.js'
import { answerIdentify, refuseIdentify } from './identifier.js'
import type { TaskSetup, TaskWork } from './lines.js'
import { answerWalk } from './walker.js'

export interface Task {
  readonly port: MessagePort
  readonly work: TaskWork
  readonly lent: number
  /** Directories or files at a time that it has descriptors for. */
  readonly reads: number
}

const { native, told } = Piscina.workerData as TaskSetup
tellLoop(told)
const addon = native ? loadNative() : null
const Descent = addon?.Descent
const read = addon?.readDirectory ?? readDirectoryPlain
/** An addon that was built before has none. */
const reader = addon?.readParts ? addon : null
/** Some 5 ms of the start, also of a thread that only walks: later there may be no descriptor for it. */
const blake3 = await loadBlake3()

let lookInto: LookInto | null = null

/** @param loadLookInto what only few libraries want is loaded when it is wanted */
export async function workFor({ port, work, lent, reads }: Task, loadLookInto: () => Promise<LookInto>): Promise<void> {
  if ('walk' in work) {
    // An addon that was built before has none.
    const descent = Descent ? new Descent() : null
    const isTwo = reads > 1 && descent?.beginAhead() === true
    // Then also of a path that is longer than the system takes one.
    const list = isTwo ? (path: Buffer) => descent!.list(path) : read
    return await answerWalk(port, work.walk, lent, list, descent, addon?.sortNames)
  }
  try {
    if (work.identify.files.media) lookInto ??= await loadLookInto()
  } catch (error) {
    refuseIdentify(port, error)
    // What Node could not load it will not try again in this thread.
    throw error
  }
  const { files } = work.identify
  const identify = reads > 1 ? { ...work.identify, files: { ...files, beside: true } } : work.identify
  answerIdentify(port, identify, lent, { blake3, reader, lookInto })
}
