// Watched locations in a real daemon: what changes on disk is in the index soon after, under the same ids, also after a restart.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Chance, disturb } from '../harness/churn.js'
import { eventually, type TestDaemon } from '../harness/daemon.js'
import { play, sameAsDisk } from '../harness/scene.js'
import { isWatched, jobsOf, settled, watched } from '../harness/watched.js'

test.serial('what is made, changed, renamed, moved and deleted in a watched location is in the index', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const tree = await watched(daemon, scene.tree('tree', 60, 20))
    const { library, root } = tree
    const at = (...names: string[]) => join(root, ...names)
    const idOf = async (path: string) => (await daemon.call('files.get', { library, path })).id
    const scans = (await jobsOf(daemon, library)).length

    const ids = { file: await idOf(at('d0', 'file 1.txt')), directory: await idOf(at('d1')) }
    mkdirSync(at('new', 'deep', 'deeper'), { recursive: true })
    writeFileSync(at('new', 'deep', 'deeper', 'file'), 'text')
    writeFileSync(at('d0', 'file 0.txt'), 'longer than before')
    renameSync(at('d0', 'file 1.txt'), at('d2', 'moved.txt'))
    renameSync(at('d1'), at('new', 'moved directory'))
    rmSync(at('d0', 'file 2.txt'))
    await settled(daemon, tree)
    t.is(await idOf(at('d2', 'moved.txt')), ids.file)
    t.is(await idOf(at('new', 'moved directory')), ids.directory)

    rmSync(at('new'), { recursive: true })
    await settled(daemon, tree)
    t.is((await jobsOf(daemon, library)).length, scans, 'without a scan')
  })
})

test.serial(
  'thousands of random changes as fast as they can be made end in an index that is as the disk',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const tree = await watched(daemon, scene.tree('tree', 100, 10))
      const scans = (await jobsOf(daemon, tree.library)).length
      const chance = new Chance(26)
      for (let burst = 0; burst < 10; burst++) {
        for (let change = 0; change < 20; change++) disturb(tree.root, chance)
        await settled(daemon, tree)
      }
      t.is((await jobsOf(daemon, tree.library)).length, scans, 'by what was watched alone')
      // Directories that move faster than they can be looked at put the tree in doubt, which a scan answers.
      for (let change = 0; change < 1_500; change++) disturb(tree.root, chance)
      await settled(daemon, tree)
      await sameAsDisk(daemon, tree.library, tree.root)
    })
  },
)

test.serial('what changed while the daemon was down is found at its start, and watched from then on', async (t) => {
  await play(async (scene) => {
    const first = await scene.daemon()
    const tree = await watched(first, scene.tree('tree', 60, 20))
    const plain = { ...(await first.index('unwatched', scene.tree('plain', 60, 20))), root: scene.path('plain') }
    const idOf = async (daemon: TestDaemon, path: string) =>
      (await daemon.call('files.get', { library: plain.library, path })).id
    const moved = await idOf(first, join(plain.root, 'd0', 'file 1.txt'))
    await first.stop()
    renameSync(join(tree.root, 'd0'), join(tree.root, 'd1', 'moved'))
    writeFileSync(join(tree.root, 'meanwhile'), 'text')
    renameSync(join(plain.root, 'd0', 'file 1.txt'), join(plain.root, 'd1', 'moved'))
    rmSync(join(plain.root, 'd2'), { recursive: true })

    const second = await scene.daemon()
    await second.call('libraries.open', { library: plain.library })
    await isWatched(second, tree)
    await settled(second, tree)
    writeFileSync(join(tree.root, 'd1', 'moved', 'later'), 'text')
    await settled(second, tree)
    // How much is watched is told now and then only.
    const live = async () => (await second.call('locations.list', { library: tree.library }))[0].watched
    await eventually('all of it is told to be watched', 10_000, async () => (await live()).live === 4)
    t.deepEqual(await live(), { state: 'watched', live: 4, polled: 0 })

    await settled(second, plain)
    t.is(await idOf(second, join(plain.root, 'd1', 'moved')), moved, 'also where it is not watched, under the same id')
  })
})

test.serial('watching costs a thread and one descriptor, and what ends it gives both back', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const { library, location } = await daemon.index('library', scene.tree('tree', 40, 20))
    const used = async () => (await daemon.status()).descriptors.classes.watches.used
    t.is(await used(), 0)
    for (const end of ['locations.update', 'locations.remove'] as const) {
      await daemon.call('locations.update', { library, location, watch: true })
      await eventually('it is watched', 30_000, async () => (await daemon.status()).watching.live === 3)
      const held = await daemon.call('core.descriptors')
      t.deepEqual(held.unaccounted, [])
      t.true(held.holders.some((each: { detail: string; class: string }) => each.class === 'watches'))
      await daemon.call(end, { library, location, ...(end === 'locations.update' ? { watch: false } : {}) })
      await eventually('the thread has ended', 30_000, async () => (await used()) === 0)
    }
    t.false(daemon.descriptors().includes('anon_inode:inotify'))
    t.deepEqual((await daemon.status()).watching, { locations: 0, live: 0, polled: 0, reasons: [] })
  })
})

test.serial(
  'without the addon fs.watch watches, for one descriptor as well, which ends with the last location',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ env: { SPACEDRIVE_NATIVE: 'off' } })
      const tree = await watched(daemon, scene.tree('tree', 40, 20))
      const at = (...names: string[]) => join(tree.root, ...names)
      const { id } = await daemon.call('files.get', { library: tree.library, path: at('d0', 'file 3.txt') })
      renameSync(at('d0', 'file 3.txt'), at('d1', 'moved'))
      mkdirSync(at('new', 'deep'), { recursive: true })
      renameSync(at('d1'), at('new', 'deep', 'd1'))
      await settled(daemon, tree)
      writeFileSync(at('new', 'deep', 'd1', 'later'), 'text')
      await settled(daemon, tree)
      t.is((await daemon.call('files.get', { library: tree.library, path: at('new', 'deep', 'd1', 'moved') })).id, id)
      await eventually('all of it is told to be watched', 10_000, async () => {
        const { live, polled } = (await daemon.status()).watching
        return live === 5 && polled === 0
      })
      t.deepEqual((await daemon.call('core.descriptors')).unaccounted, [])
      await daemon.call('locations.remove', { library: tree.library, location: tree.location })
      const used = async () => (await daemon.status()).descriptors.classes.watches.used
      await eventually('the thread has ended', 30_000, async () => (await used()) === 0)
      t.false(daemon.descriptors().includes('anon_inode:inotify'))
    })
  },
)
