// Settings that change while the daemon runs: what is taken over, what waits for a restart, and that a mistake changes nothing.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { kinds } from '../front/stage.js'
import { cli } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

for (const front of await kinds()) {
  test.serial(`${front}: config.json and token are read again; nobody is disconnected`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '1024:4096', args: ['--front', front] })
      const config = (settings: object) => writeFileSync(join(scene.dataDir, 'config.json'), JSON.stringify(settings))
      const reload = () => daemon.call('core.reload')
      const { id } = await daemon.call('libraries.create', { name: 'library' })
      t.deepEqual(await reload(), { taken: [], waiting: [] })

      config({ connectionsMax: 3, nofile: 2048, hostsAllowed: ['files.example'], shards: 1 })
      t.is((await daemon.ask('/health', { headers: { host: 'files.example' } })).status, 403)
      t.deepEqual(await reload(), { taken: ['connectionsMax', 'nofile', 'hostsAllowed'], waiting: ['shards'] })
      const { connections, limit, descriptors } = await daemon.status()
      t.is(connections.max, 3)
      t.like(limit, { soft: 2048, hard: 4096 })
      t.is(descriptors.base + descriptors.reserve + descriptors.budget, 2048)
      t.is((await daemon.ask('/health', { headers: { host: 'files.example' } })).status, 200)

      config({ nofile: 4, hostsAllowed: [] })
      t.is(await daemon.codeOf('core.reload'), 'LIMIT_TOO_LOW')
      await t.throwsAsync(reload(), { message: /config\.json: nofile: 4 is less than/ })
      config({ nofile: 'many' })
      t.is(await daemon.codeOf('core.reload'), 'BAD_CONFIG')
      t.is((await daemon.status()).connections.max, 3)
      t.is((await daemon.ask('/health', { headers: { host: 'files.example' } })).status, 200)

      config({})
      writeFileSync(join(scene.dataDir, 'token'), `${'n'.repeat(43)}\n`)
      t.deepEqual((await reload()).taken, ['connectionsMax', 'nofile', 'hostsAllowed', 'token'])
      t.is(await daemon.codeOf('core.ping'), 'UNAUTHORIZED')
      t.is((await daemon.ask('/health', { headers: { host: 'files.example' } })).status, 403)
      const said = cli(['status', '--data-dir', scene.dataDir, '--json'])
      t.like(JSON.parse(said.out).limit, { soft: 4096 })
      t.is(cli(['library', 'info', id, '--data-dir', scene.dataDir]).code, 0)
      t.regex(cli(['reload', '--data-dir', scene.dataDir]).out, /^nothing has changed$/m)
      t.is((await daemon.stop()).code, 0)
    })
  })
}
