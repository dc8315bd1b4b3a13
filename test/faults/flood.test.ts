// More connections than the limit allows, while admitted clients work: nobody who was let in notices, nothing is left over.
import { spawnSync } from 'node:child_process'
import test from 'ava'
import { eventually, sleep } from '../harness/daemon.js'
import { crowd, mostDescriptors, Workers } from '../harness/load.js'
import { punctually } from '../harness/punctual.js'
import { play } from '../harness/scene.js'

const LIMIT = 256
/** Fewer where this machine's hard limit does not let one process connect so often. */
const CONNECTIONS = Math.min(5_000, hardLimit() - 500)

test.serial(
  'scenario 7: a flood of twenty times the limit is told so, admitted clients go on, and all comes back',
  punctually(async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
      const { library } = await daemon.index('library', scene.tree('tree', 500))
      await daemon.call('libraries.close', { library })
      daemon.hangUp()
      const rest = async () => {
        const { connections, descriptors } = await daemon.status()
        return connections.current === 1 && descriptors.classes.jobs.used === 0
      }
      await eventually('only the looking client is left', 30_000, rest)
      const before = { status: await daemon.status(), fds: await daemon.descriptorsAtRest() }

      const workers = new Workers(daemon, 50, 'files.list', { library, path: scene.path('tree', 'd1') }, 10)
      await eventually('50 clients are in', 30_000, async () => (await daemon.status()).connections.current >= 51)
      let looks = 0
      /** Connections that came, but for those that were made to look. */
      const met = async () => {
        const { accepted, refused } = (await daemon.status()).connections
        return accepted + refused - looks++
      }
      const already = await met()
      const most = await mostDescriptors(daemon, async () => {
        const flood = crowd(daemon, CONNECTIONS)
        try {
          // Of those who ask some are answered, and then have to leave for others: nobody of them shows a token.
          const settled = async () => (await flood.fates()).open < LIMIT
          await eventually('those who do not fit are refused, or let in and gone', 90_000, settled)
          // Whom the kernel forgot when its queue was full comes to its mind again some seconds later.
          await eventually('all were met', 90_000, async () => (await met()) - already >= CONNECTIONS)
          t.is((await daemon.watch('core.ping')) as string, 'pong', 'the unix socket still gets in')
          await sleep(1_000)
          const fates = await flood.fates()
          t.is(fates.strange, 0, fates.example)
          t.true(fates.refused > 0)
          const { max } = (await daemon.status()).connections
          await eventually('no more are held than may be', 30_000, async () => (await flood.fates()).held <= max)
        } finally {
          await flood.leave()
        }
      })
      t.true(most < LIMIT, `${most} descriptors were open`)
      const { latenciesMs, failures } = workers.take()
      t.deepEqual(failures.slice(0, 3), [])
      t.true(latenciesMs.length > 50)
      await workers.stop()
      await eventually(
        'the flood and the workers are gone',
        30_000,
        async () => (await daemon.status()).connections.current === 1,
      )
      await daemon.call('libraries.close', { library }, { agent: false })

      await eventually('only the looking client is left', 30_000, rest)
      const after = await daemon.status()
      for (const name of ['control', 'clients', 'libraries', 'jobs', 'watches'] as const) {
        t.is(after.descriptors.classes[name].used, before.status.descriptors.classes[name].used, name)
      }
      await eventually(
        'nobody is unaccounted for',
        30_000,
        async () => (await daemon.status()).descriptors.unaccounted === 0,
      )
      t.deepEqual(await daemon.descriptorsAtRest(before.fds), before.fds)
      t.false(/EMFILE|ENFILE/.test(daemon.log))
      t.is((await daemon.stop()).code, 0)
    })
  }),
)

function hardLimit(): number {
  return Number(spawnSync('prlimit', ['--nofile', '--noheadings', '--output=HARD'], { encoding: 'utf8' }).stdout)
}
