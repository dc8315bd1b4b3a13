// The thread's side of a shard's ports: unpack, call, pack.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { giveBackSoon } from '../descriptors/memory.js'
import { tellLoop } from '../descriptors/threads.js'
import type { ShardSetup, ToShard } from './lines.js'
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
    port.on('close', resolve)
    giveBackSoon()
  })
}

function open(shard: Shard, { port, givenUp }: NonNullable<ToShard['line']>): void {
  const line = shard.open(givenUp, (message) => port.postMessage(message))
  port.on('message', (message: ToShard) => shard.receive(message, line))
}
