// Threads of a daemon that die in every way a thread can die of, in the middle of a job.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { eventually, ROOT, type Loose } from '../harness/daemon.js'
import { atRest, backAtRest, isWritable } from '../harness/promise.js'
import { play, sameAsDisk } from '../harness/scene.js'

test.serial(
  'scenario 21: threads that throw, exit or run out of memory in the middle of a job: all comes back',
  async (t) => {
    await play(async (scene) => {
      const drill = scene.path('drill')
      const preload = `--require=${join(ROOT, 'test', 'harness', 'drill.cjs')}`
      const env = { DRILL: drill, NODE_OPTIONS: `${preload} --max-old-space-size=96` }
      const daemon = await scene.daemon({ args: ['--shards', '1'], env })
      const { library } = await daemon.index('library', scene.tree('small', 50))
      const rest = await atRest(daemon, [library])
      const root = scene.tree('tree', 8_000, 50)
      const { job } = await daemon.call('locations.add', { library, path: root })
      const known = async () => (await daemon.call('jobs.info', { library, job }).catch(() => null)) as Loose
      let crashes = 0
      for (const how of ['throw', 'exit', 'memory']) {
        for (const which of ['task', 'shard']) {
          const { restarts } = (await daemon.status()).shards[0]!
          await eventually('the job is known and its thread stands', 60_000, known)
          writeFileSync(drill, `${which} ${how}`)
          daemon.kill('SIGUSR2')
          if (which === 'shard') {
            crashes += 1
            await eventually(`the shard is replaced after ${how}`, 60_000, async () => {
              return (await daemon.status()).shards[0]!.restarts > restarts
            })
          }
          t.is(await daemon.call('core.ping'), 'pong')
        }
      }
      await eventually('the job is done', 60_000, async () => (await known())?.state === 'done')
      await sameAsDisk(daemon, library, root, scene.path('small'))
      await isWritable(daemon, library)
      const waits = [...daemon.log.matchAll(/next try in (\d+) ms/g)].map(([, ms]) => Number(ms))
      t.deepEqual(waits, [100, 200, 400], 'each time it waits longer')
      t.is(waits.length, crashes)
      await backAtRest(daemon, [library], rest)
      t.is((await daemon.stop()).code, 0)
    })
  },
)
