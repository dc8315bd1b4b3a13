// Walks one tree for a shard; holds one directory at a time and no library.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { loadNative } from '../src/descriptors/native.js'
import { tellLoop } from '../src/descriptors/threads.js'
import { readDirectoryPlain } from '../src/scan/read.js'
import type { TaskSetup, WalkRequest } from '../src/shard/lines.js'
import { answerWalk } from '../src/shard/walker.js'

const { native, told } = Piscina.workerData as TaskSetup
tellLoop(told)
const read = (native ? loadNative()?.readDirectory : undefined) ?? readDirectoryPlain

interface Task {
  readonly port: MessagePort
  readonly options: WalkRequest
  readonly lent: number
}

/** Null only asks whether this thread could be started. */
export default async function run(task: Task | null): Promise<void> {
  if (task) await answerWalk(task.port, task.options, task.lent, read)
}
