// The log on a disk that is full: lines are lost, and nothing else.
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { readFlight } from '../../src/descriptors/recorder.js'
import { eventually } from '../harness/daemon.js'
import { keepsPromise } from '../harness/promise.js'
import { play } from '../harness/scene.js'

const PAGE_BYTES = 4_096

const inNamespace = spawnSync('unshare', ['-m', 'true']).status === 0 ? test.serial : test.serial.skip
if (inNamespace !== test.serial) console.log('not run: the rest of scenario 46, because this user may not mount')

inNamespace('scenario 46: on a full disk lines are lost, told of afterwards, and nobody waits for them', async (t) => {
  await play(async (scene) => {
    const logs = join(scene.dataDir, 'logs')
    mkdirSync(logs, { recursive: true })
    const mount = 'mount -t tmpfs -o size=2m none "$0" && exec "$@"'
    const daemon = await scene.daemon({
      args: ['--statistics-ms', '1000'],
      through: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', mount, logs],
    })
    const seen = `/proc/${daemon.pid}/root${logs}`
    const { id: library } = await daemon.call('libraries.create', { name: 'library' })
    const sequence = () => readFlight(join(seen, 'flight.bin')).at(-1)!.sequence
    await keepsPromise(daemon, {
      libraries: [library],
      begin: () => void spawnSync('dd', ['if=/dev/zero', `of=${join(seen, 'ballast')}`, 'bs=512']),
      during: async () => {
        const from = sequence()
        await eventually('the last page is full, and seconds go on record', 60_000, async () => {
          t.is(await daemon.call('core.ping'), 'pong', 'nobody waits for the log')
          return statSync(join(seen, 'daemon.log')).size % PAGE_BYTES === 0 && sequence() >= from + 2
        })
        const lost = sequence() + 2
        await eventually('lines are lost', 30_000, () => sequence() >= lost)
      },
      end: () => rmSync(join(seen, 'ballast')),
      recovered: async () => daemon.log.includes('could not be written and were lost'),
    })
    const lines = daemon.log.split('\n').filter((line) => line.includes('could not be written and were lost'))
    t.is(lines.length, 1)
    t.true(JSON.parse(lines[0]!).lost > 0)
    t.is((await daemon.stop()).code, 0)
  })
})
