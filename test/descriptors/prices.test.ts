// Prices that are measured reach every thread, and leases that are bought at the peak give back the rest.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import test from 'ava'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { plausible, PRICES, surprises } from '../../src/descriptors/prices.js'
import { measureLibrary } from '../../src/library/measure.js'
import { Tasks } from '../../src/shard/tasks.js'
import { eventually } from '../harness/daemon.js'

const newLedger = () => Ledger.create(plan({ soft: 1024, base: 30, connectionsMax: 'auto' }))

test.serial(
  'what a library costs is counted around real opens, leaves nothing behind, and is what is expected',
  (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'sd-prices-'))
    try {
      t.like(measureLibrary(join(directory, 'scratch')), { library: PRICES.library, connection: PRICES.connection })
      t.deepEqual(readdirSync(directory), [])
      mkdirSync(join(directory, 'taken'))
      t.like(measureLibrary(join(directory, 'taken', 'no', 'such')), { library: PRICES.library })
    } finally {
      rmSync(directory, { recursive: true })
    }
  },
)

test('a ledger in another thread sees the prices of the first', (t) => {
  const first = newLedger()
  const other = new Ledger(first.shared, 7)
  t.deepEqual(other.prices, PRICES)
  first.prices = { ...PRICES, taskThread: 9, library: 5 }
  t.like(other.prices, { taskThread: 9, library: 5, connection: PRICES.connection, directory: PRICES.directory })
})

test('a difference is told, and a count that others fell into is not believed', (t) => {
  t.deepEqual(surprises(PRICES), [])
  t.deepEqual(surprises({ ...PRICES, library: 5 }), [
    `an open library costs 5 descriptors here, ${PRICES.library} were expected`,
  ])
  t.is(plausible('library', PRICES.library + 1), PRICES.library + 1)
  for (const absurd of [-4, 0, PRICES.library - 1, 100]) t.is(plausible('library', absurd), PRICES.library)
})

test('a task thread is paid for at its peak, and what it does not need then is given back', async (t) => {
  const ledger = newLedger()
  const { taskThread, threadStart, directory } = PRICES
  const tasks = new Tasks(ledger, 1, { native: true }, () => {})
  await walk(tasks, import.meta.dirname)
  t.is(ledger.use('jobs').peak, taskThread + threadStart)
  // What was lent for a second directory comes back when the thread is through, a moment after the last batch.
  const isAtRest = () => ledger.use('jobs').used === taskThread + directory
  await eventually('the thread holds no more than it needs', 10_000, isAtRest)
  await walk(tasks, import.meta.dirname)
  await eventually('once a thread, not once a walk', 10_000, isAtRest)
  await tasks.close()
  t.is(ledger.use('jobs').used, 0)
})

function walk(tasks: Tasks, root: string): Promise<void> {
  const { port1, port2 } = new MessageChannel()
  return new Promise<void>((resolve, reject) => {
    port1.on('message', (message: { batch?: unknown; end?: true; error?: unknown }) => {
      if (message.batch) port1.postMessage('next')
      if (message.error) reject(new Error(JSON.stringify(message.error)))
      if (message.end) resolve()
    })
    tasks.run(port2, {
      walk: { root: Buffer.from(root), leftOut: [], after: undefined, stop: new SharedArrayBuffer(4) },
    })
  }).finally(() => port1.close())
}
