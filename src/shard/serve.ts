// The thread's side of a shard's port: unpack, call, pack.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { tellLoop } from '../descriptors/threads.js'
import type { ShardSetup, ToShard } from './lines.js'
import { Shard } from './shard.js'

export function serve({ port }: { port: MessagePort }): Promise<void> {
  return new Promise((resolve) => {
    const setup = Piscina.workerData as ShardSetup
    tellLoop(setup.told)
    const shard = new Shard(setup, (message, transfer) => port.postMessage(message, transfer))
    port.on('message', (message: ToShard) => shard.receive(message))
    port.on('close', resolve)
  })
}
