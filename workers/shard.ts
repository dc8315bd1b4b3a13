// One thread, many libraries. The one task this thread gets lasts until the shard is drained.
import type { MessagePort } from 'node:worker_threads'
import { oneByOne, whole } from './load.js'

export default async function serve(task: { port: MessagePort }): Promise<void> {
  await oneByOne([
    () => import('piscina'),
    () => import('../src/protocol/work.js'),
    () => import('../src/descriptors/reserve.js'),
    () => import('../src/descriptors/ledger.js'),
    () => import('../src/scan/content-type.js'),
    () => import('../src/scan/rules.js'),
    () => import('../src/library/search.js'),
    () => import('../src/library/apply.js'),
    () => import('../src/library/held.js'),
    () => import('../src/library/comparisons.js'),
    () => import('../src/library/library.js'),
    () => import('../src/library/pool.js'),
    () => import('../src/job/identify.js'),
    () => import('../src/scan/whole.js'),
    () => import('../src/job/wholes.js'),
    () => import('../src/job/compare.js'),
    () => import('../src/job/runner.js'),
    () => import('../src/job/follow.js'),
    () => import('../src/shard/walker.js'),
    () => import('../src/shard/explain.js'),
    () => import('../src/library/copy.js'),
    () => import('../src/shard/copies.js'),
  ])
  const shard = await whole(() => import('../src/shard/serve.js'))
  return shard.serve(task)
}
