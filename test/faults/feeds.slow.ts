// Ten thousand WebSockets that come and go in every way: no count drifts, and the kernel has none more than the ledger.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { upgrades } from '../harness/upgrades.js'
import { eventually } from '../harness/daemon.js'
import { keepsPromise } from '../harness/promise.js'
import { play } from '../harness/scene.js'

const COUNT = 10_000
const WAVES = 4

for (const front of await kinds()) {
  test.serial(`scenario 43: ${front}: of 10,000 WebSockets not one is counted twice, or stays counted`, (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ args: ['--front', front, '--shards', '1'] })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const begun = performance.now()
      await keepsPromise(daemon, {
        libraries: [library],
        begin: () => undefined,
        during: async () => {
          for (let wave = 0; wave < WAVES; wave += 1) {
            t.is(await upgrades(daemon, COUNT / WAVES, 100), COUNT / WAVES)
            t.is(await daemon.call('core.ping'), 'pong')
            // The one that asks, and the one that was in before.
            await eventually('all slots are back', 60_000, async () => {
              const { connections, descriptors } = await daemon.status()
              t.true(connections.current >= 1, 'never more given back than taken')
              return connections.current <= 2 && descriptors.classes.clients.used === connections.current
            })
            await eventually(
              'no descriptor is left',
              60_000,
              async () => (await daemon.status()).descriptors.unaccounted === 0,
            )
          }
          const { accepted, refused } = (await daemon.status()).connections
          t.true(accepted >= COUNT && refused === 0, `${accepted} let in, ${refused} refused`)
        },
        end: () => undefined,
      })
      console.log(`${front}: ${COUNT} WebSockets in ${Math.round(performance.now() - begun)} ms`)
      t.is((await daemon.stop()).code, 0)
    }),
  )
}
