// Task threads that are ended while they start, in a process that goes on.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { MessageChannel } from 'node:worker_threads'
import test from 'ava'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import type { TaskWork } from '../../src/shard/lines.js'
import { Tasks } from '../../src/shard/tasks.js'
import { openTargets } from '../harness/open.js'

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip
onLinux('closed at any moment of a start, they leave no file open that they were loading', async (t) => {
  const ledger = Ledger.create(plan({ soft: 1024, base: 20, connectionsMax: 'auto' }))
  // It never comes to that, or is refused: there is no such tree.
  const work = { walk: { root: Buffer.from('/nowhere') } } as unknown as TaskWork
  const closedAfter = async (ms: number) => {
    const tasks = new Tasks(ledger, 1, { native: true }, () => {})
    const { port1, port2 } = new MessageChannel()
    tasks.run(port2, work)
    await new Promise((resolve) => setTimeout(resolve, ms))
    await tasks.close()
    port1.close()
  }
  await closedAfter(0)
  const before = openFiles()
  for (let ms = 0; ms < 240; ms += 4) {
    await closedAfter(ms)
    t.deepEqual(openFiles(), before, `closed after ${ms} ms`)
  }
  t.is(ledger.use('jobs').used, 0)
})

onLinux('closed while a thread is ending, they wait until its descriptors are closed', async (t) => {
  const ledger = Ledger.create(plan({ soft: 1024, base: 20, connectionsMax: 'auto' }))
  const refused = { walk: { root: Buffer.from('/nowhere') } } as unknown as TaskWork
  const closed = async () => {
    const tasks = new Tasks(ledger, 1, { native: true }, () => {})
    const { port1, port2 } = new MessageChannel()
    tasks.run(port2, refused)
    port1.on('message', () => {})
    await once(port1, 'close')
    tasks.giveWay()
    const { used } = ledger.use('jobs')
    await tasks.close()
    return used
  }
  await closed()
  const before = openTargets()
  for (let round = 0; round < 5; round++) {
    t.true((await closed()) > 0, 'what it cost is lent until it has ended')
    t.deepEqual(openTargets(), before)
    t.is(ledger.use('jobs').used, 0)
  }
})

onLinux('what a thread reads beside is lent as long as it has not ended', async (t) => {
  const ledger = Ledger.create(plan({ soft: 1024, base: 20, connectionsMax: 'auto' }))
  const tree = mkdtempSync(join(tmpdir(), 'sd-tasks-'))
  writeFileSync(join(tree, 'file'), '')
  const tasks = new Tasks(ledger, 1, { native: true }, () => {})
  const { port1, port2 } = new MessageChannel()
  const stop = new SharedArrayBuffer(4)
  tasks.run(port2, { walk: { root: Buffer.from(tree), leftOut: [], after: undefined, stop } })
  // The thread hangs: it waits for permission to go on behind each batch, which nobody gives.
  const [{ lent }] = (await once(port1, 'message')) as [{ lent: number }]
  const { taskThread, directory } = ledger.prices
  t.is(lent, taskThread + (availableParallelism() < 2 ? 1 : 2) * directory)
  let isOver = false
  const closing = tasks.close().then(() => (isOver = true))
  const held = new Set<number>()
  while (!isOver) {
    held.add(ledger.use('jobs').used)
    await setImmediate()
  }
  await closing
  held.add(ledger.use('jobs').used)
  t.deepEqual([...held], [lent, 0])
  port1.close()
  rmSync(tree, { recursive: true })
})

test.serial('a task that is not run because they close is no failure to be told', async (t) => {
  const ledger = Ledger.create(plan({ soft: 1024, base: 20, connectionsMax: 'auto' }))
  const said: string[] = []
  const tasks = new Tasks(ledger, 1, { native: true }, (message) => said.push(message))
  const { port1, port2 } = new MessageChannel()
  tasks.run(port2, { walk: { root: Buffer.from('/nowhere') } } as unknown as TaskWork)
  port1.on('message', () => {})
  const closed = once(port1, 'close')
  await tasks.close()
  await closed
  t.deepEqual(said, [])
})

function openFiles(): string[] {
  return openTargets().filter((target) => target.endsWith('.js'))
}
