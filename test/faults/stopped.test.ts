// A client that holds many connections and does nothing any more: others get in, and who works stays.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { eventually } from '../harness/daemon.js'
import { mostDescriptors, Workers } from '../harness/load.js'
import { Newcomers } from '../harness/newcomers.js'
import { party, type Held } from '../harness/party.js'
import { keepsPromise } from '../harness/promise.js'
import { punctually } from '../harness/punctual.js'
import { play } from '../harness/scene.js'

const LIMIT = 384
const HELD = 200

for (const front of await kinds()) {
  test(
    `scenario 42: ${front}: a client that is stopped while it holds 200 connections gives way to those who come`,
    punctually((t) =>
      play(async (scene) => {
        const args = ['--front', front, '--shards', '1', '--max-connections', '220']
        const daemon = await scene.daemon({ args, limit: `${LIMIT}:${LIMIT}` })
        const { id: library } = await daemon.call('libraries.create', { name: 'library' })
        let held: Held
        let workers: Workers
        await keepsPromise(daemon, {
          libraries: [library],
          begin: async () => {
            held = party(
              daemon,
              [
                { manner: 'asking', count: HELD / 2 },
                { manner: 'feed', count: HELD / 2 },
              ],
              '127.0.0.3',
            )
            await eventually('it holds them', 30_000, async () => (await daemon.status()).connections.current >= HELD)
            workers = new Workers(daemon, 5, 'core.ping', {}, 50)
            held.stop()
          },
          during: async () => {
            const { max } = (await daemon.status()).connections
            t.true(max < HELD + 100, `only ${max} may be in`)
            const newcomers = new Newcomers(daemon, 100)
            const most = await mostDescriptors(daemon, () =>
              eventually('100 newcomers are in', 90_000, () => newcomers.all).then(() => undefined),
            )
            t.true(most < LIMIT, `${most} descriptors were open`)
            t.true(newcomers.refused.length > 0)
            t.deepEqual([...new Set(newcomers.refused)], ['HTTP/1.1 503 Service Unavailable'])
            const { latenciesMs, failures } = workers.take()
            t.deepEqual(failures.slice(0, 3), [])
            t.true(latenciesMs.length > 0)
            newcomers.leave()
            await workers.stop()
          },
          end: () => held.leave(),
        })
        t.false(/EMFILE|ENFILE/.test(daemon.log))
        t.is((await daemon.stop()).code, 0)
      }),
    ),
  )
}
