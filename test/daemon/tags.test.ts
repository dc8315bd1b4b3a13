// Tags in a real daemon: what is told of them, and that neither a kill nor what is watched loses one.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { eventually, sleep, type Loose, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'
import { settled, watched } from '../harness/watched.js'

const TAGS = ['tags.changed']

test.serial('tags are told of as they change, counted, and shown with a file', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const { library } = await daemon.index('library', scene.tree('tree', 20, 10))
    const told = await listen(daemon, library)
    const [one, two] = ['d0/file 0.txt', 'd1/file 10.txt'].map((name) => scene.path('tree', name)) as [string, string]
    const work = await daemon.call('tags.create', { library, name: 'work', colour: '#D0021B', aliases: ['job'] })
    t.is(work.colour, '#d0021b')
    const clients = await daemon.call('tags.create', { library, name: 'clients', parent: 'job' })
    t.is(clients.parent, work.id)
    await daemon.call('tags.update', { library, tag: 'clients', description: 'who pays' })
    const { changed, missing } = await daemon.call('tags.apply', { library, tag: 'clients', paths: [one, two, '/no'] })
    t.deepEqual([changed, missing], [2, ['/no']])
    const file = await daemon.call('files.get', { library, path: one })
    t.deepEqual(file.tags, ['clients'])
    await daemon.call('tags.apply', { library, tag: work.id, ids: [file.id] })
    await daemon.call('tags.remove', { library, tag: 'job', ids: [file.id] })
    await daemon.call('tags.remove', { library, tag: 'job', ids: [file.id] })
    t.is(await daemon.codeOf('tags.update', { library, tag: 'work', parent: 'clients' }), 'TAG_CYCLE')
    t.is(await daemon.codeOf('tags.create', { library, name: 'JOB' }), 'TAG_EXISTS')
    t.is(await daemon.codeOf('tags.create', { library, name: 'a', colour: 'red' }), '-32602')
    const { total, items } = await daemon.call('tags.list', { library })
    t.is(total, 2)
    t.deepEqual(
      items.map(({ name, path, entries }: Loose) => [name, path.length, entries]),
      [
        ['work', 1, 0],
        ['clients', 2, 2],
      ],
    )
    await daemon.call('tags.delete', { library, tag: 'clients' })
    t.is((await daemon.call('files.get', { library, path: one })).tags, undefined)
    t.deepEqual(await told(7), [
      ['created', work.id, undefined],
      ['created', clients.id, undefined],
      ['updated', clients.id, undefined],
      ['applied', clients.id, 2],
      ['applied', work.id, 1],
      ['removed', work.id, 1],
      ['deleted', clients.id, undefined],
    ])
  })
})

test.serial('kills at any moment of scans, removals and deletions lose no tag', async (t) => {
  await play(async (scene) => {
    const root = scene.tree('tree', 600, 30)
    const paths = Array.from({ length: 600 }, (_, at) => join(root, `d${Math.floor(at / 30)}`, `file ${at}.txt`))
    let daemon = await scene.daemon()
    const { library, ...indexed } = await daemon.index('library', root)
    let { location } = indexed
    await daemon.call('tags.create', { library, name: 'work' })
    await daemon.call('tags.apply', { library, tag: 'work', paths })
    const killed = async (work: (daemon: TestDaemon) => Promise<unknown>) => {
      const asked = work(daemon).catch(() => undefined)
      await sleep(Math.random() * 60)
      await daemon.stop('SIGKILL')
      await asked
      daemon = await scene.daemon()
    }
    const scanned = async () => {
      const [kept] = await daemon.call('locations.list', { library })
      location = kept?.id ?? (await eventually('it can be added', 30_000, () => added().catch(() => undefined)))
      const { items } = await daemon.call('jobs.list', { library })
      for (const job of items) await daemon.jobEnded(library, job.id)
      await daemon.jobDone(library, (await daemon.call('locations.rescan', { library, location })).job)
    }
    const added = async () => (await daemon.call('locations.add', { library, path: root })).location as string
    renameSync(join(root, 'd1'), join(root, 'moved'))
    rmSync(join(root, 'd0'), { recursive: true })
    await killed((each) => each.call('locations.rescan', { library, location }))
    await scanned()
    renameSync(join(root, 'moved'), join(root, 'd1'))
    mkdirSync(join(root, 'd0'))
    for (let at = 0; at < 30; at++) writeFileSync(paths[at]!, 'restored')
    await scanned()
    t.is(await entriesOf(daemon, library, 'work'), 600)
    await killed((each) => each.call('locations.remove', { library, location }))
    await scanned()
    t.is(await entriesOf(daemon, library, 'work'), 600)
    await killed((each) => each.call('tags.delete', { library, tag: 'work' }))
    await daemon.call('tags.delete', { library, tag: 'work' }).catch(() => undefined)
    await daemon.call('tags.create', { library, name: 'work' })
    t.is(await entriesOf(daemon, library, 'work'), 0)
    await eventually('nothing has the tag that was deleted', 30_000, async () => {
      return (await daemon.call('files.get', { library, path: paths[0] })).tags === undefined
    })
  })
})

test.serial('in a watched location tags stay on what moves, and come back with what is restored', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const tree = await watched(daemon, scene.tree('tree', 40, 20))
    const { library, root } = tree
    const at = (...names: string[]) => join(root, ...names)
    await daemon.call('tags.create', { library, name: 'work' })
    await daemon.call('tags.apply', { library, tag: 'work', paths: [at('d0', 'file 0.txt'), at('d0', 'file 1.txt')] })
    const tagsOf = async (path: string) => (await daemon.call('files.get', { library, path })).tags
    renameSync(at('d0', 'file 0.txt'), at('d1', 'moved.txt'))
    rmSync(at('d0', 'file 1.txt'))
    await settled(daemon, tree)
    t.deepEqual(await tagsOf(at('d1', 'moved.txt')), ['work'])
    t.is(await entriesOf(daemon, library, 'work'), 1)
    writeFileSync(at('d0', 'file 1.txt'), 'restored')
    await settled(daemon, tree)
    t.deepEqual(await tagsOf(at('d0', 'file 1.txt')), ['work'])
  })
})

async function entriesOf(daemon: TestDaemon, library: string, name: string): Promise<number> {
  const { items } = await daemon.call('tags.list', { library })
  return items.find((tag: Loose) => tag.name === name).entries
}

/** Resolves to what was told of tags once there is so much of it. */
async function listen({ port, token }: TestDaemon, library: string): Promise<(count: number) => Promise<unknown[][]>> {
  const feed = new WebSocket(`ws://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${token}`])
  const told: unknown[][] = []
  const subscribed = new Promise<void>((resolve, reject) => {
    feed.on('error', reject)
    feed.on('open', () => {
      feed.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: { types: TAGS, library } }))
    })
    feed.on('message', (bytes) => {
      const { id, params } = JSON.parse(String(bytes)) as Loose
      if (id === 1) resolve()
      else told.push([params.event.change, params.event.tag, params.event.entries])
    })
  })
  await subscribed
  return async (count) => {
    await eventually('all of it is told', 30_000, () => told.length >= count)
    feed.terminate()
    return told
  }
}
