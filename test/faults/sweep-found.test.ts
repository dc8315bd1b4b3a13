// What the exhaustion sweep found at boots and starts of threads, each for itself: one open fails, once.
import test from 'ava'
import { kinds } from '../front/stage.js'
import { eventually, launch, within } from '../harness/daemon.js'
import { play } from '../harness/scene.js'
import { Shim, shimProblem } from '../harness/shim.js'

const fronts = await kinds()
const problem = shimProblem()
if (problem) console.log(`not run: opens that fail at a boot, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

shimmed('a boot asks again for what it would else do without, and replaces a thread that could not load', async (t) => {
  await play(async (scene) => {
    const plain = await scene.daemon()
    const base = await plain.descriptorsAtRest()
    t.is((await plain.stop()).code, 0)
    for (const [thread, ...paths] of [
      ['main', 'logs/daemon.log', 'file-nr', 'flight.bin', 'prices.scratch-wal'],
      ['others', 'piscina/dist/abort.js'],
      ['others', 'src/library/pool.js'],
    ] as const) {
      const what = paths.join()
      const shim = new Shim(scene.path(`shim ${paths[0].replaceAll('/', ' ')}`))
      const rules = paths.map((path) => shim.fail({ calls: 'open', path, errno: 'EMFILE', once: true, thread }))
      const daemon = await scene.daemon({ env: shim.env })
      for (const [at, { failed }] of rules.entries()) t.is(failed, 1, paths[at])
      t.is((await daemon.status()).libraries.known, 0)
      t.deepEqual(await daemon.descriptorsAtRest(base), base, what)
      t.is((await daemon.stop()).code, 0)
      shim.close()
    }
  })
})

for (const front of fronts) {
  shimmed(
    `${front}: a boot asks again for a listener that met the limit, and says so if it meets it always`,
    async (t) => {
      await play(async (scene) => {
        const daemonOf = (shim: Shim) => scene.daemon({ env: shim.env, args: ['--front', front] })
        const plain = scene.shim()
        const first = await daemonOf(plain)
        const base = await first.descriptorsAtRest()
        const sockets = plain.counts().socket.calls
        t.is((await first.stop()).code, 0)
        for (let after = 0; after < sockets; after++) {
          const shim = new Shim(scene.path(`shim of socket ${after}`))
          const rule = shim.fail({ calls: 'socket', errno: 'EMFILE', after, once: true })
          const daemon = await daemonOf(shim)
          t.is(rule.failed, 1, `socket ${after}`)
          t.deepEqual(await daemon.descriptorsAtRest(base), base, `socket ${after}`)
          t.is((await daemon.stop()).code, 0)
          shim.close()
        }
        const shim = scene.shim()
        shim.fail({ calls: 'socket', errno: 'EMFILE', after: sockets - 1 })
        const { said, exited } = launch(scene.dataDir, { env: shim.env, args: ['--front', front] })
        t.is((await within(60_000, 'it ends', exited)).code, 75, said.err)
        t.regex(said.err, /^error BUDGET_EXHAUSTED: cannot listen on .*daemon\.sock.*\nhint: .*\n$/)
      })
    },
  )
}

shimmed('a boot waits for a thread that could not be started at once, however long its successors take', async (t) => {
  await play(async (scene) => {
    const args = ['--shards', '1']
    const plain = scene.shim()
    const first = await scene.daemon({ env: plain.env, args })
    const base = await first.descriptorsAtRest()
    const threads = plain.counts().thread.calls
    t.is((await first.stop()).code, 0)
    const shim = scene.shim()
    // The thread of the shard is the last one of a boot.
    const rule = shim.fail({ calls: 'thread', errno: 'EAGAIN', after: threads - 1, times: 5 })
    const daemon = await scene.daemon({ env: shim.env, args })
    t.is(rule.failed, 5)
    t.is(daemon.log.match(/shard 0 was lost: /g)?.length, 5)
    t.deepEqual(await daemon.descriptorsAtRest(base), base)
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('a program that cannot be loaded whole says so in one sentence, and to try again', async (t) => {
  await play(async (scene) => {
    for (const path of [
      'dist/src/cli/table.js',
      'commander/lib/help.js',
      'cli-progress/lib/single-bar.js',
      'uuidv7/package.json',
      ...(fronts.includes('uws') ? ['uWebSockets.js/package.json'] : []),
    ]) {
      const shim = new Shim(scene.path(`shim ${path.replaceAll('/', ' ')}`))
      const rule = shim.fail({ calls: 'open', path, errno: 'EMFILE', once: true })
      const { said, exited } = launch(scene.dataDir, { env: shim.env, args: ['--front', fronts[0]!] })
      t.is((await within(60_000, `it ends: ${path}`, exited)).code, 75, said.err)
      t.is(rule.failed, 1, path)
      t.regex(said.err, /^error BUDGET_EXHAUSTED: .*\nhint: .*\n$/, path)
      shim.close()
    }
  })
})

shimmed('a task thread that could not load leaves nothing open, and its job is done all the same', async (t) => {
  await play(async (scene) => {
    const shim = new Shim(scene.path('shim'))
    const daemon = await scene.daemon({ env: shim.env })
    const base = await daemon.descriptorsAtRest()
    const rule = shim.fail({ calls: 'open', path: 'src/scan/read.js', errno: 'EMFILE', once: true, thread: 'others' })
    const { library } = await daemon.index('library', scene.tree('tree', 20))
    t.is(rule.failed, 1)
    await daemon.call('libraries.close', { library })
    daemon.hangUp()
    await eventually('the task thread is gone', 30_000, async () => {
      const { classes } = (await daemon.status()).descriptors
      return classes.jobs.used === 0
    })
    t.deepEqual(await daemon.descriptorsAtRest(base), base)
    t.is((await daemon.stop()).code, 0)
    shim.close()
  })
})
