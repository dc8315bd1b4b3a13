// A loop that does not turn: noticed while it stands, told afterwards, and nobody pays for it who had no part in it.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { eventually, parsed, sleep, type Loose, type TestDaemon } from '../harness/daemon.js'
import { Intruder } from '../harness/intruder.js'
import { party, type Held } from '../harness/party.js'
import { keepsPromise } from '../harness/promise.js'
import { play } from '../harness/scene.js'

const COUNT = 20

for (const front of await kinds()) {
  /** By a clock that runs on they are past their time afterwards, by how long the loop turned they are far from it. */
  const [IDLE_MS, STALL_MS] = front === 'node' ? [5_000, 7_500] : [500, 5_000]

  test(`scenario 40: ${front}: the main loop stands for ${STALL_MS / 1_000} s: noticed, told, stale work is shed and nobody times out`, (t) =>
    play(async (scene) => {
      const intruder = new Intruder(scene)
      const daemon = await scene.daemon({ args: ['--front', front, '--shards', '1'], env: intruder.env })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      let idle: Held
      let stood = 0
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          idle = party(daemon, [
            { manner: 'asking', count: COUNT },
            { manner: 'feed', count: COUNT },
          ])
          await eventually('all are in', 60_000, async () => (await daemon.status()).connections.current >= 2 * COUNT)
          await sleep(IDLE_MS)
          intruder.begin('stand')
          await eventually('it stands', 60_000, () => intruder.stands('stand'))
          stood = performance.now()
        },
        during: async () => {
          const kept = party(daemon, [{ manner: 'asking', count: COUNT, body: create('kept') }])
          const gone = party(daemon, [{ manner: 'asking', count: COUNT, body: create('gone'), leaves: true }])
          for (const each of [kept, gone]) await each.fates()
          await sleep(500)
          await gone.leave()
          const noticed = () => /the main thread has stood still for \d+ ms/.test(daemon.said.err)
          await eventually('it is noticed while it stands', 60_000, noticed)
          // Asked while it stands, so that it is read in the first moment after.
          const asked = daemon.ask('/health', { agent: false })
          await sleep(Math.max(200, STALL_MS - (performance.now() - stood)))
          intruder.end('stand')
          const health = await asked
          t.is(health.status, 503)
          t.like(parsed(health.body), { status: 'stalled', stalls: [{ thread: 'main' }] })
          t.true(parsed(health.body).stalls[0].stoodMs > STALL_MS - 1_000, health.body)
          await eventually('who waited is served', 60_000, async () => answered(await kept.fates()) === COUNT)
          await sleep(1_000)
          const fates = await idle.fates()
          t.is(
            fates.reduce((sum, { closed }) => sum + closed, 0),
            0,
            `nobody timed out: ${JSON.stringify(fates)}`,
          )
          const names = await namesOf(daemon)
          t.is(names.filter((name) => name.startsWith('kept')).length, COUNT)
          t.deepEqual(
            names.filter((name) => name.startsWith('gone')),
            [],
            'work of those who had gone was not begun',
          )
          const { loop } = await daemon.status()
          t.true(loop.stalls >= 1 && loop.stalledMs > STALL_MS - 1_000, JSON.stringify(loop))
          const inLog = () => /the main thread stood still for \d+ ms/.test(daemon.log)
          await eventually('the log has it', 60_000, inLog)
          await kept.leave()
        },
        end: () => idle.leave(),
        recovered: async () => (await daemon.ask('/health')).status === 200,
        recoveryMs: 30_000,
      })
      t.is((await daemon.stop()).code, 0)
    }))

  test(`scenario 40: ${front}: a shard stands: told while it does, and what nobody waits for any more is not begun`, (t) =>
    play(async (scene) => {
      const intruder = new Intruder(scene)
      const daemon = await scene.daemon({ args: ['--front', front, '--shards', '1'], env: intruder.env })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          intruder.begin('hang')
          await eventually('it hangs', 60_000, () => intruder.stands('hang'))
        },
        during: async () => {
          const gone = party(daemon, [
            { manner: 'asking', count: COUNT, body: create('gone') },
            { manner: 'feed', count: 1, body: create('gone'), times: COUNT },
          ])
          const kept = party(daemon, [{ manner: 'asking', count: COUNT, body: create('kept') }])
          const waits = async () => (await daemon.status()).shards[0]!.inFlight >= 3 * COUNT
          await eventually('all wait', 60_000, waits)
          await gone.leave()
          const stalled = await eventually('it is told', 60_000, async () => {
            t.is(await daemon.call('core.ping'), 'pong')
            const { status, body } = await daemon.ask('/health', { agent: false })
            return status === 503 && parsed(body)
          })
          t.like(stalled, { status: 'stalled', stalls: [{ thread: 'shard 0' }] })
          t.true((await daemon.status()).shards[0]!.stalledMs >= 5_000)
          intruder.end('hang')
          await eventually('who waited is served', 60_000, async () => answered(await kept.fates()) === COUNT)
          const names = await namesOf(daemon)
          t.deepEqual(
            names.filter((name) => name.startsWith('gone')),
            [],
          )
          // Some may still wait in line behind others' writes.
          const left = async () => (await daemon.status()).shards[0]!.givenUp === 2 * COUNT
          await eventually('all that nobody waits for was left out', 10_000, left)
          await kept.leave()
        },
        end: () => undefined,
        recovered: async () => (await daemon.ask('/health')).status === 200,
      })
      t.is((await daemon.stop()).code, 0)
    }))
}

function create(name: string): string {
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'libraries.create', params: { name: `${name} NUMBER` } })
}

function answered(fates: readonly { said: Record<string, number> }[]): number {
  return fates.reduce((sum, { said }) => sum + (said['HTTP/1.1 200 OK'] ?? 0), 0)
}

async function namesOf(daemon: TestDaemon): Promise<string[]> {
  const listed: Loose[] = await daemon.call('libraries.list')
  return listed.map(({ name }) => name)
}
