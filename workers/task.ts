// Walks a tree or reads files for a shard; holds one directory or file at a time and no library.
import type { MessagePort } from 'node:worker_threads'
import type { TaskWork } from '../src/shard/lines.js'
import { oneByOne, whole } from './load.js'

interface Task {
  readonly port: MessagePort
  readonly work: TaskWork
  readonly lent: number
  readonly reads: number
}

/** Null only asks whether this thread could be started. */
export default async function run(task: Task | null): Promise<void> {
  await oneByOne([
    () => import('piscina'),
    () => import('../src/descriptors/native.js'),
    () => import('../src/scan/read.js'),
    () => import('../src/scan/content-type.js'),
    () => import('../src/scan/rules.js'),
    () => import('../src/scan/walk.js'),
    () => import('../src/scan/guard.js'),
    () => import('../src/scan/blake3.js'),
    () => import('../src/scan/identify.js'),
    () => import('../src/scan/whole.js'),
    () => import('../src/scan/explain.js'),
  ])
  const { workFor } = await whole(() => import('../src/shard/work-for.js'))
  if (task) await workFor(task)
}
