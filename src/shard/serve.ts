// The thread's side of a shard's ports: unpack, call, pack.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { LIMITS } from '../base/limits.js'
import { giveBackSoon, heapShare } from '../descriptors/memory.js'
import { tellLoop } from '../descriptors/threads.js'
import { COUNTS, type ShardSetup, type ToShard } from './lines.js'
import { Shard } from './shard.js'

export function serve({ port }: { port: MessagePort }): Promise<void> {
  return new Promise((resolve) => {
    const setup = Piscina.workerData as ShardSetup
    tellLoop(setup.told)
    const shard = new Shard(setup, (message, transfer) => port.postMessage(message, transfer))
    port.on('message', (message: ToShard) => {
      if (message.line) open(shard, message.line)
      shard.receive(message)
    })
    const counts = new Int32Array(setup.counts)
    setInterval(() => (counts[COUNTS.heap] = Math.round(1_000 * heapShare())), LIMITS.pressureCheckMs).unref()
    port.on('close', resolve)
    giveBackSoon()
  })
}

function open(shard: Shard, { port, ...shared }: NonNullable<ToShard['line']>): void {
  const line = shard.open(shared, (message) => port.postMessage(message))
  port.on('message', (message: ToShard) => shard.receive(message, line))
}
