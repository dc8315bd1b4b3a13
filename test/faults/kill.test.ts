// The daemon is killed while it indexes, again and again: it goes on by itself and the index becomes what the disk is.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { killedWhileIndexing } from '../harness/killed.js'
import { atRest, backAtRest, isWritable } from '../harness/promise.js'
import { play } from '../harness/scene.js'

test.serial(
  'scenario 34: six kills at random moments of indexing 5,000 files: each start goes on unasked, nothing is lost or doubled',
  async (t) => {
    await play(async (scene) => {
      const root = scene.tree('tree', 5_000, 50)
      const verdict = await killedWhileIndexing(scene, { root, kills: 6, momentMsMax: 60 })
      t.is(verdict.kills, 6)
      t.is(verdict.integrity.filter((each) => each !== 'ok').length, 0, verdict.integrity.join())
      t.true(verdict.resumed > 0, 'at least one kill hit a job that ran')
    })
  },
)

test.serial(
  'scenario 34: the socket, the pid and the locks that a killed daemon leaves are no hindrance',
  async (t) => {
    await play(async (scene) => {
      const killed = await scene.daemon()
      const rest = await atRest(killed, [])
      const { library } = await killed.index('library', scene.tree('tree', 50))
      await killed.call('libraries.open', { library })
      await killed.stop('SIGKILL')
      const left = readdirSync(scene.dataDir)
      for (const name of ['daemon.sock', 'daemon.json', 'daemon.lock']) t.true(left.includes(name), name)
      const state = () => JSON.parse(readFileSync(join(scene.dataDir, 'daemon.json'), 'utf8')) as { pid: number }
      // By now the pid may be that of anybody: it is not taken for a daemon.
      writeFileSync(join(scene.dataDir, 'daemon.json'), JSON.stringify({ ...state(), pid: process.pid }))
      const daemon = await scene.daemon()
      t.is(state().pid, daemon.pid)
      t.is(await daemon.watch('core.ping'), 'pong')
      await isWritable(daemon, library)
      await backAtRest(daemon, [library], rest)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

test.serial('scenario 34: a kill while libraries are created leaves whole libraries or none', async (t) => {
  await play(async (scene) => {
    const told: string[] = []
    for (let round = 0; round < 3; round++) {
      const daemon = await scene.daemon()
      const creating = Array.from({ length: 20 }, async (_, at) => {
        const { id } = await daemon.call('libraries.create', { name: `library ${round} ${at}` })
        told.push(id)
      })
      setTimeout(() => daemon.kill('SIGKILL'), 10 + Math.random() * 80)
      await Promise.allSettled(creating)
      await daemon.exited
      daemon.hangUp()
    }
    const daemon = await scene.daemon()
    const listed: { id: string; problem?: unknown }[] = await daemon.call('libraries.list')
    t.deepEqual(
      listed.filter((each) => each.problem),
      [],
    )
    for (const id of told) t.is((await daemon.call('libraries.info', { library: id })).entries, 0)
    t.deepEqual(
      readdirSync(join(scene.dataDir, 'libraries')).filter((name) => !name.endsWith('.sdlibrary')),
      [],
    )
    await daemon.stop()
  })
})

test.serial(
  'scenario 34: a tree that changed while the daemon was dead is told right by the job that goes on, or by a rescan',
  async (t) => {
    await play(async (scene) => {
      const root = scene.tree('tree', 2_000, 50)
      const verdict = await killedWhileIndexing(scene, {
        root,
        kills: 3,
        momentMsMax: 40,
        between: (round) => writeFileSync(join(root, `d${round}`, `new ${round}`), 'new'),
        rescan: true,
      })
      t.true(verdict.integrity.every((each) => each === 'ok'))
    })
  },
)
