// Watched locations in a real daemon: what changes on disk is in the index soon after, under the same ids, also after a restart.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { eventually, type Loose, type TestDaemon } from '../harness/daemon.js'
import { play, sameAsDisk } from '../harness/scene.js'

test.serial('what is made, changed, renamed, moved and deleted in a watched location is in the index', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const root = scene.tree('tree', 60, 20)
    const library = await watched(daemon, root)
    const at = (...names: string[]) => join(root, ...names)
    const idOf = async (path: string) => (await daemon.call('files.get', { library, path })).id

    const ids = { file: await idOf(at('d0', 'file 1.txt')), directory: await idOf(at('d1')) }
    mkdirSync(at('new', 'deep', 'deeper'), { recursive: true })
    writeFileSync(at('new', 'deep', 'deeper', 'file'), 'text')
    writeFileSync(at('d0', 'file 0.txt'), 'longer than before')
    renameSync(at('d0', 'file 1.txt'), at('d2', 'moved.txt'))
    renameSync(at('d1'), at('new', 'moved directory'))
    rmSync(at('d0', 'file 2.txt'))
    await settled(daemon, library, root)
    t.is(await idOf(at('d2', 'moved.txt')), ids.file)
    t.is(await idOf(at('new', 'moved directory')), ids.directory)

    rmSync(at('new'), { recursive: true })
    await settled(daemon, library, root)
    t.is((await daemon.call('jobs.list', { library })).items.filter((each: Loose) => each.state !== 'done').length, 0)
  })
})

/** A library with one watched location, which is as on disk. */
async function watched(daemon: TestDaemon, path: string): Promise<string> {
  const { id: library } = await daemon.call('libraries.create', { name: 'watched' })
  const { location, job } = await daemon.call('locations.add', { library, path, watch: true })
  await daemon.jobDone(library, job)
  await eventually('all of it is watched', 10_000, async () => {
    const [{ id, watch, watched: how }] = await daemon.call('locations.list', { library })
    const idle = (await daemon.call('jobs.list', { library })).items.every((each: Loose) => each.state === 'done')
    return id === location && watch && how?.state === 'watched' && idle
  })
  return library
}

async function settled(daemon: TestDaemon, library: string, root: string): Promise<void> {
  const same = () =>
    sameAsDisk(daemon, library, root).then(
      () => true,
      () => false,
    )
  await eventually('the index is as the disk', 10_000, same).catch(() => sameAsDisk(daemon, library, root))
}
