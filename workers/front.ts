// A front for the clients of the shared port, until it is told to end; holds their connections and no library.
import { parentPort, workerData } from 'node:worker_threads'
import type { FrontThreadSetup } from '../src/front/crossing.js'
import { oneByOne, whole } from './load.js'

await oneByOne([
  () => import('../src/protocol/operations.js'),
  () => import('../src/descriptors/reserve.js'),
  () => import('../src/descriptors/ledger.js'),
  () => import('../src/shard/asker.js'),
  () => import('../src/front/uws.js'),
  () => import('../src/front/node.js'),
])
const { FrontThread } = await whole(() => import('../src/front-thread.js'))
const thread = new FrontThread(workerData as FrontThreadSetup, parentPort!)
// Ended by an error, with connections open, it would end the process in the middle of everything.
process.on('uncaughtException', (error) => thread.uncaught(error))
