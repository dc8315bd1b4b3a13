// Walks one tree for a shard; holds one directory at a time and no library.
import type { MessagePort } from 'node:worker_threads'
import type { WalkRequest } from '../src/shard/lines.js'
import { oneByOne, whole } from './load.js'

interface Task {
  readonly port: MessagePort
  readonly options: WalkRequest
  readonly lent: number
}

/** Null only asks whether this thread could be started. */
export default async function run(task: Task | null): Promise<void> {
  await oneByOne([
    () => import('piscina'),
    () => import('../src/descriptors/native.js'),
    () => import('../src/scan/read.js'),
    () => import('../src/scan/rules.js'),
    () => import('../src/scan/walk.js'),
  ])
  const { walkFor } = await whole(() => import('../src/shard/walk-for.js'))
  if (task) await walkFor(task)
}
