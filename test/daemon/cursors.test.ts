// The cursor of a listing belongs to it: any other takes none of it, be it one of the same kind, order or place.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { eventually } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

type Asked = readonly [method: string, params: Record<string, unknown>]

test('a cursor is refused by every listing but its own', async (t) => {
  await play(async (scene) => {
    const root = scene.path('tree')
    for (const directory of ['one', 'two']) {
      mkdirSync(join(root, directory), { recursive: true })
      for (let at = 0; at < 3; at++) writeFileSync(join(root, directory, `.file ${at}`), `the same ${at}`)
    }
    const daemon = await scene.daemon()
    const lists: Asked[] = []
    for (const name of ['first', 'second']) {
      const { id: library } = await daemon.call('libraries.create', { name })
      const rules = { reject: ['*0', '*1'] }
      for (const directory of ['one', 'two']) {
        const add = { library, path: join(root, directory), mode: 'content' }
        const { job } = await daemon.call('locations.add', add)
        await daemon.jobDone(library, job)
      }
      await eventually('all was read', 10_000, async () => {
        return (await daemon.call('duplicates.list', { library })).total === 3 || undefined
      })
      for (const tag of ['a b', 'a c']) await daemon.call('tags.create', { library, name: tag })
      lists.push(
        ['files.list', { library, path: join(root, 'one') }],
        ['files.list', { library, path: join(root, 'two') }],
        ['files.list', { library, path: join(root, 'two'), sort: 'size' }],
        ['search.files', { library, query: 'file' }],
        ['search.files', { library, query: 'fil' }],
        ['search.files', { library, query: 'file', filters: { size: { min: 1 } } }],
        ['search.files', { library, query: 'file', syntax: 'filters' }],
        ['search.files', { library, query: 'file modified:<9d', syntax: 'filters' }],
        ['search.files', { library, query: 'file', sort: 'size' }],
        ['search.files', { library, query: 'file', sort: 'size', order: 'ascending' }],
        ['tags.list', { library }],
        ['tags.list', { library, query: 'a' }],
        ['duplicates.list', { library }],
        ['duplicates.list', { library, minSize: 2 }],
        ['jobs.list', { library }],
      )
      for (const directory of ['one', 'two']) {
        const path = join(root, directory)
        const { id: other } = await daemon.call('libraries.create', { name: `${name} ${directory}` })
        const { job } = await daemon.call('locations.add', { library: other, path, rules })
        await daemon.jobDone(other, job)
        lists.push(['files.leftOut', { library: other, path }])
      }
    }
    const cursors: string[] = []
    for (const [method, params] of lists) cursors.push((await daemon.call(method, { ...params, limit: 1 })).cursor)
    for (const [at, [method, params]] of lists.entries()) {
      const page = await daemon.call(method, { ...params, limit: 1, cursor: cursors[at] })
      t.is(page.items.length, 1, `${method} ${JSON.stringify(params)}`)
      for (const [other, cursor] of cursors.entries())
        if (other !== at)
          t.is(
            await daemon.codeOf(method, { ...params, limit: 1, cursor }),
            'BAD_REQUEST',
            `${method} ${JSON.stringify(params)} with that of ${lists[other]}`,
          )
    }
  })
})
