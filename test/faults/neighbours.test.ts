// Two daemons that want the same: the second gives way and names the first.
import test from 'ava'
import { listenerOf } from '../../src/descriptors/listener.js'
import { kinds } from '../front/stage.js'
import { launch } from '../harness/daemon.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk } from '../harness/scene.js'

for (const front of await kinds()) {
  test.serial(
    `scenario 44: ${front}: a second daemon on the port or the data directory refuses to start and names the first`,
    async (t) => {
      await play(async (scene) => {
        const first = await scene.daemon({ args: ['--front', front] })
        const before = await first.descriptorsAtRest()
        const small = scene.tree('small', 50)
        const { library } = await first.index('small', small)

        const samePort = launch(scene.path('other'), { args: ['--front', front, '--http', `127.0.0.1:${first.port}`] })
        const sameData = launch(scene.dataDir, { args: ['--front', front] })
        t.is(await first.call('core.ping'), 'pong')
        for (const [{ said, exited }, code] of [
          [samePort, 'ADDRESS_IN_USE'],
          [sameData, 'ALREADY_RUNNING'],
        ] as const) {
          t.is((await exited).code, 1)
          const [line = '', hint = ''] = said.err.split('\n')
          t.true(line.startsWith(`error ${code}: `), line)
          t.true(line.includes(`pid ${first.pid}`), line)
          t.regex(hint, /^hint: /)
        }

        // Clients of the port all reached the first: nobody was shared out to the second.
        for (let at = 0; at < 20; at++) {
          t.is((await first.call('core.status', {}, { agent: false })).pid, first.pid)
        }
        await writable(first, library)
        await sameAsDisk(first, library, small)
        t.deepEqual(await atRest(first), before)
        t.is((await first.stop()).code, 0)
      })
    },
  )
}

test('of a port on which nobody listens nobody is named', (t) => {
  t.is(listenerOf(1), null)
})
