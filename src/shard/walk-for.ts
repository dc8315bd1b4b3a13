// The task thread's side of a walk: with the addon where it loads, else with Node's own functions.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { loadNative } from '../descriptors/native.js'
import { tellLoop } from '../descriptors/threads.js'
import { readDirectoryPlain } from '../scan/read.js'
import type { TaskSetup, WalkRequest } from './lines.js'
import { answerWalk } from './walker.js'

const { native, told } = Piscina.workerData as TaskSetup
tellLoop(told)
const read = (native ? loadNative()?.readDirectory : undefined) ?? readDirectoryPlain

export function walkFor({
  port,
  options,
  lent,
}: {
  port: MessagePort
  options: WalkRequest
  lent: number
}): Promise<void> {
  return answerWalk(port, options, lent, read)
}
