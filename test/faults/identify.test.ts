// Files that are read for their ids, by a real daemon: killed in the middle, without descriptors, and where some may not be read.
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { FileItem } from '../../src/protocol/messages.js'
import { eventually, ROOT, type Loose, type TestDaemon } from '../harness/daemon.js'
import { play, type Scene } from '../harness/scene.js'
import { Shim, shimProblem } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: files that cannot be opened, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

const DIRECTORIES = 30

/** Files at rest: some equal, one large. */
function plant(scene: Scene, each: number): string {
  const root = scene.path('files')
  for (let at = 0; at < DIRECTORIES; at++) {
    mkdirSync(join(root, `d${at}`), { recursive: true })
    for (let file = 0; file < each; file++) write(join(root, `d${at}`, `f${file}`), `content ${at % 3} ${file}`)
  }
  write(join(root, 'large'), 'x'.repeat(200_000))
  return root
}

function write(path: string, bytes: string): void {
  writeFileSync(path, bytes)
  utimesSync(path, 1_000_000, 1_000_000)
}

async function add(daemon: TestDaemon, root: string): Promise<{ library: string; location: string }> {
  const { id: library } = await daemon.call('libraries.create', { name: 'read' })
  const { location, job } = await daemon.call('locations.add', { library, path: root, mode: 'content' })
  await daemon.jobDone(library, job)
  return { library, location }
}

/** Waits until every file has an id. */
async function allRead(daemon: TestDaemon, library: string, count: number): Promise<void> {
  await eventually('every file has its id', 90_000, async () => (await ids(daemon, library)).length === count)
}

async function ids(daemon: TestDaemon, library: string): Promise<string[]> {
  const found: string[] = []
  let cursor: string | undefined
  do {
    const filters = { kind: 'file' }
    const page = await daemon.call('search.files', {
      library,
      query: '',
      filters,
      limit: 1_000,
      ...(cursor ? { cursor } : {}),
    })
    for (const { contentId } of page.items as FileItem[]) if (contentId) found.push(contentId)
    cursor = page.cursor
  } while (cursor)
  return found
}

test.serial(
  'a daemon that is killed while it reads goes on unasked, and every file has its id in the end',
  async (t) => {
    await play(async (scene) => {
      const root = plant(scene, 30)
      let daemon = await scene.daemon()
      const { library } = await add(daemon, root)
      for (let kills = 0; kills < 2; kills++) {
        await daemon.stop('SIGKILL')
        daemon = await scene.daemon()
      }
      await allRead(daemon, library, DIRECTORIES * 30 + 1)
      t.is(new Set(await ids(daemon, library)).size, 3 * 30 + 1)
      const { total, waste, items } = await daemon.call('duplicates.list', { library })
      t.is(total, 90)
      t.is(items.length, 90)
      const sum = (items as { waste: number }[]).reduce((before, each) => before + each.waste, 0)
      t.is(waste, sum)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

shimmed('descriptors that run out at any point of reading cost no file its id', async (t) => {
  await play(async (scene) => {
    const root = plant(scene, 10)
    const shim = new Shim(scene.path('shim'))
    const daemon = await scene.daemon({ env: shim.env })
    for (const [at, after] of [0, 1, 2, 5, 150, 299, 300].entries()) {
      const rule = shim.fail({
        calls: 'open',
        path: `${root}/`,
        errno: at % 2 ? 'ENFILE' : 'EMFILE',
        after: after + DIRECTORIES,
        times: 3,
      })
      const { library } = await add(daemon, root)
      await allRead(daemon, library, DIRECTORIES * 10 + 1)
      const { items } = await daemon.call('jobs.list', { library })
      const [job] = items.filter(({ kind }: Loose) => kind === 'identify')
      t.is(job.failureCount, 0, `after ${after}`)
      rule.end()
      shim.clear()
      await daemon.call('libraries.delete', { library, data: true })
    }
    t.is((await daemon.stop()).code, 0)
    shim.close()
  })
})

shimmed('a file that may not be read is named with the reason, and has its id after the next scan', async (t) => {
  await play(async (scene) => {
    const root = plant(scene, 2)
    const shim = new Shim(scene.path('shim'))
    const daemon = await scene.daemon({ env: shim.env })
    const rule = shim.fail({ calls: 'open', path: '/d7/f1', errno: 'EACCES' })
    const { library, location } = await add(daemon, root)
    await allRead(daemon, library, DIRECTORIES * 2)
    await eventually('the file is named', 30_000, async () => {
      const { items } = await daemon.call('jobs.list', { library })
      return items.some(({ failures }: Loose) =>
        failures.some(({ path, code }: Loose) => path === join(root, 'd7', 'f1') && code === 'EACCES'),
      )
    })
    t.true(rule.failed > 0)
    rule.end()
    await daemon.jobDone(library, (await daemon.call('locations.rescan', { library, location })).job)
    await allRead(daemon, library, DIRECTORIES * 2 + 1)
    t.is((await daemon.stop()).code, 0)
    shim.close()
  })
})

test.serial('what changes in a watched location is read, and what holds the same is found', async (t) => {
  await play(async (scene) => {
    const root = plant(scene, 1)
    const daemon = await scene.daemon()
    const { id: library } = await daemon.call('libraries.create', { name: 'watched' })
    const { location } = await daemon.call('locations.add', { library, path: root, watch: true })
    const changed = await daemon.call('locations.update', { library, location, mode: 'content' })
    t.is(changed.mode, 'content')
    await allRead(daemon, library, DIRECTORIES + 1)
    writeFileSync(join(root, 'd0', 'new'), 'Hello World')
    writeFileSync(join(root, 'd1', 'f0'), 'Hello World')
    await daemon.call('locations.update', { library, location, mode: 'deep' })
    const picture = readFileSync(join(ROOT, 'test', 'scan', 'media', 'taken.jpg'))
    writeFileSync(join(root, 'd1', 'picture'), picture)
    await eventually('what its header says is known', 60_000, async () => {
      const { items } = await daemon.call('search.files', {
        library,
        query: 'height:>16 taken:2026',
        syntax: 'filters',
      })
      return items.some(({ name, media }: Loose) => name === 'picture' && media.width === 16)
    })
    await eventually('both are known to hold the same', 60_000, async () => {
      const { items } = await daemon.call('duplicates.list', { library })
      return items.some(({ contentId, files }: Loose) => contentId === 'a97b8437b726c542' && files === 2)
    })
    t.is((await daemon.stop()).code, 0)
  })
})
