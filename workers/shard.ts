// One thread, many libraries. The one task this thread gets lasts until the shard is drained.
import type { MessagePort } from 'node:worker_threads'
import { whole } from './load.js'

export default async function serve(task: { port: MessagePort }): Promise<void> {
  const shard = await whole(() => import('../src/shard/serve.js'))
  return shard.serve(task)
}
