// 5,000 libraries within 512 descriptors: one after another in a circle, and all at once.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { uuidv7 } from 'uuidv7'
import { LIMITS } from '../../src/base/limits.js'
import { createFolder } from '../../src/library/folder.js'
import type { Status } from '../../src/protocol/messages.js'
import { eventually, type Loose, type TestDaemon } from '../harness/daemon.js'
import { mostDescriptors, quantile } from '../harness/load.js'
import { atRest } from '../harness/rest.js'
import { Scene } from '../harness/scene.js'

const COUNT = 5_000
const LIMIT = 512
const CLIENTS = 16

const scene = new Scene()
const libraries: string[] = []

test.before(() => {
  const folder = join(scene.dataDir, 'libraries')
  mkdirSync(folder, { recursive: true })
  for (let at = 0; at < COUNT; at++) {
    const id = uuidv7()
    createFolder(folder, id, `library ${at}`)
    libraries.push(id)
  }
})
test.after.always(() => scene.end())

test.serial(
  'scenario 23: 5,000 libraries in a circle stay within their class, and none is closed too early',
  async (t) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    const boot = await daemon.descriptorsAtRest()
    const latencies: number[] = []
    let next = 0
    const client = async () => {
      while (next < COUNT) {
        const library = libraries[next++]!
        const begun = performance.now()
        t.is((await daemon.callOnceLetIn('libraries.info', { library })).id, library)
        latencies.push(performance.now() - begun)
      }
    }
    const most = await mostDescriptors(daemon, async () => {
      await Promise.all(Array.from({ length: CLIENTS }, client))
    })
    t.true(most < LIMIT, `${most} descriptors`)
    const { libraries: told, descriptors } = (await daemon.status()) as Status
    const { peak, ceiling } = descriptors.classes.libraries
    t.true(peak <= ceiling, `${peak} of ${ceiling}`)
    // A circle this long never comes back to one that is open: each is opened once, and closed once at the most.
    t.is(told.opened, COUNT)
    t.true(told.evicted <= COUNT)
    t.is(told.reopened, 0)
    t.log(
      `p50 ${quantile(latencies, 0.5).toFixed(1)} ms, p99 ${quantile(latencies, 0.99).toFixed(1)} ms of ${COUNT} cold opens`,
    )
    await ends(t, daemon, boot)
  },
)

test.serial(
  'scenario 24: 5,000 libraries asked for at once, twice each: opened once, or refused to try again',
  async (t) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    const boot = await daemon.descriptorsAtRest()
    const guest = daemon.call('core.ping')
    const outcomes = new Map<string, number>()
    // Side by side: the second asks while the first is answered, and not for one that was closed again since.
    const twice = libraries.flatMap((library) => [library, library])
    const batches = Array.from({ length: twice.length / LIMITS.batchRequestsMax }, (_, at) =>
      batch(daemon, twice.slice(at * LIMITS.batchRequestsMax, (at + 1) * LIMITS.batchRequestsMax)),
    )
    t.is(await guest, 'pong')
    t.is(await daemon.watch('core.ping'), 'pong', 'control answers meanwhile')
    for (const outcome of (await Promise.all(batches)).flat()) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    t.log(JSON.stringify([...outcomes]))
    const allowed = ['answered', 'BUDGET_EXHAUSTED true', 'SHARD_BUSY true', 'OVERLOADED true', 'TIMEOUT true']
    t.deepEqual(
      [...outcomes.keys()].filter((each) => !allowed.includes(each)),
      [],
    )
    t.true((outcomes.get('answered') ?? 0) >= 100)
    const { libraries: told, descriptors } = (await daemon.status()) as Status
    t.true(told.opened <= COUNT, `${told.opened} opened for ${COUNT} libraries: callers share one open`)
    t.true(descriptors.classes.libraries.peak <= descriptors.classes.libraries.ceiling)
    await eventually('nothing is in flight', 60_000, async () =>
      ((await daemon.status()) as Status).shards.every(({ inFlight }) => inFlight === 0),
    )
    await ends(t, daemon, boot)
  },
)

/** Code and whether to try again, or that there was an answer, for each. */
async function batch(daemon: TestDaemon, ids: readonly string[]): Promise<string[]> {
  const calls = ids.map((library, id) => ({ jsonrpc: '2.0', id, method: 'libraries.info', params: { library } }))
  const { body } = await daemon.ask('/rpc', { method: 'POST', body: JSON.stringify(calls), agent: false })
  const replies = JSON.parse(body) as Loose[]
  return replies.map(({ error }) => (error ? `${error.data?.code} ${error.data?.retryable}` : 'answered'))
}

/** Alive, none lost, each can be written to, and what is open is what was open at the start. */
async function ends(t: ExecutionContext, daemon: TestDaemon, boot: readonly string[]): Promise<void> {
  const listed: Loose[] = await daemon.call('libraries.list')
  t.is(listed.length, COUNT)
  t.deepEqual(
    listed.filter(({ problem }) => problem),
    [],
  )
  for (const library of [libraries[0], libraries[COUNT - 1]]) {
    await daemon.call('libraries.rename', { library, name: `renamed ${Math.random()}` })
  }
  t.false(/EMFILE|SQLITE_CANTOPEN/.test(daemon.log))
  t.deepEqual(await atRest(daemon, boot), boot)
  t.is((await daemon.stop()).code, 0)
}
