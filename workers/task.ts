// Walks a tree or reads files for a shard; holds one directory or file at a time and no library.
import type { LookInto } from '../src/scan/identify.js'
import type { Task } from '../src/shard/work-for.js'
import { oneByOne, whole } from './load.js'

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
  if (task) await workFor(task, loadLookInto)
}

/** By the descriptor with which the thread will then read files. */
async function loadLookInto(): Promise<LookInto> {
  await oneByOne([
    () => import('../src/scan/media/header.js'),
    () => import('../src/scan/media/boxes.js'),
    () => import('../src/scan/media/images.js'),
    () => import('../src/scan/media/matroska.js'),
    () => import('../src/scan/media/sounds.js'),
    () => import('../src/scan/media.js'),
  ])
  return (await whole(() => import('../src/scan/look-into.js'))).lookInto
}
