// One thread, many libraries: unpack, call, pack. The one task this thread gets lasts until the shard is drained.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { tellLoop } from '../src/descriptors/threads.js'
import type { ShardSetup, ToShard } from '../src/shard/lines.js'
import { Shard } from '../src/shard/shard.js'

export default function serve({ port }: { port: MessagePort }): Promise<void> {
  return new Promise((resolve) => {
    const setup = Piscina.workerData as ShardSetup
    tellLoop(setup.told)
    const shard = new Shard(setup, (message, transfer) => port.postMessage(message, transfer))
    port.on('message', (message: ToShard) => shard.receive(message))
    port.on('close', resolve)
  })
}
