// Watches directories until its port is closed; holds one inotify instance, one directory at a time, and no library.
import type { MessagePort } from 'node:worker_threads'
import { whole } from './load.js'

/** Null only asks whether this thread could be started. */
export default async function run(task: { readonly port: MessagePort } | null): Promise<void> {
  const { watchFor } = await whole(() => import('../src/shard/watch-for.js'))
  if (task) await watchFor(task.port)
}
