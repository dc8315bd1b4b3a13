// The flaws of upstream's search, one by one (UPSTREAM.md 4.5), each with what is right, in a real daemon.
import { mkdirSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import type { FileItem } from '../../src/protocol/messages.js'
import type { TestDaemon } from '../harness/daemon.js'
import { play, type Scene } from '../harness/scene.js'

interface Stored {
  readonly daemon: TestDaemon
  readonly library: string
  readonly location: string
  readonly root: string
}

/** A daemon that has indexed files of these names and sizes. */
async function stored(scene: Scene, files: Readonly<Record<string, number>>): Promise<Stored> {
  const root = scene.path('files')
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), '')
    truncateSync(join(root, path), bytes)
  }
  const daemon = await scene.daemon()
  const { library, location } = await daemon.index('upstream', root)
  return { daemon, library, location, root }
}

async function found(
  { daemon, library }: Stored,
  query: string,
  more: object = {},
): Promise<{ total: number; names: string[] }> {
  const { total, items } = await daemon.call('search.files', { library, query, syntax: 'filters', ...more })
  return { total, names: (items as FileItem[]).map(({ name }) => name) }
}

test.serial('upstream 4.5.1: every sign that people have in names can be searched for', async (t) => {
  await play(async (scene) => {
    const names = [
      'report.pdf',
      'my-file',
      "it's",
      'C++',
      'foo (1)',
      'say "hi"',
      '100%',
      'me@home',
      'AND',
      'this OR that',
      'NOT me',
    ]
    const files = await stored(scene, Object.fromEntries(names.map((each) => [each, 1])))
    for (const name of names) {
      for (const syntax of ['text', 'filters']) {
        const { names: all } = await found(files, name, { syntax })
        t.is(all[0], name, `${syntax}: ${name}`)
      }
      const { names: phrase } = await found(files, `"${name}"`)
      t.deepEqual(phrase, [name])
    }
    for (const sign of [...'.-\'"()+%@*', 'NOT', 'NEAR(', '" OR 1=1 --', ' ', '\\'])
      await t.notThrowsAsync(found(files, sign, { syntax: 'text' }), sign)
  })
})

test.serial('upstream 4.5.2: a part of a name is found wherever in it it stands', async (t) => {
  await play(async (scene) => {
    const files = await stored(scene, { vacation_photo: 1, 'photo.jpg': 1, myphotos: 1, phot: 1 })
    t.deepEqual((await found(files, 'photo')).names, ['photo.jpg', 'vacation_photo', 'myphotos'])
    t.deepEqual((await found(files, 'acation_ph')).names, ['vacation_photo'])
    t.deepEqual((await found(files, 'o_p')).names, [])
  })
})

test.serial(
  'upstream 4.5.3: after a rename the old name finds nothing, nor does that of what was deleted',
  async (t) => {
    await play(async (scene) => {
      const files = await stored(scene, { 'before.txt': 1, 'deleted.txt': 1, 'stays.txt': 1 })
      const { daemon, library, location, root } = files
      const { items } = await daemon.call('search.files', { library, query: 'before' })
      renameSync(join(root, 'before.txt'), join(root, 'after.txt'))
      rmSync(join(root, 'deleted.txt'))
      const { job } = await daemon.call('locations.rescan', { library, location })
      await daemon.jobDone(library, job)
      t.is((await found(files, 'before')).total, 0)
      t.is((await found(files, 'deleted')).total, 0)
      t.deepEqual((await found(files, 'txt')).names.toSorted(), ['after.txt', 'stays.txt'])
      const { items: after } = await daemon.call('search.files', { library, query: 'after' })
      t.is(after[0].id, items[0].id, 'it is the same entry')
    })
  },
)

test.serial('upstream 4.5.4: the best comes first, and a sort is obeyed whatever is searched for', async (t) => {
  await play(async (scene) => {
    const files = await stored(scene, { 'my note.txt': 30, note: 10, 'notes.txt': 40, footnote: 20 })
    t.deepEqual((await found(files, 'note')).names, ['note', 'notes.txt', 'my note.txt', 'footnote'])
    const sorted = async (sort: string, order: string) => (await found(files, 'note', { sort, order })).names
    t.deepEqual(await sorted('name', 'ascending'), ['footnote', 'my note.txt', 'note', 'notes.txt'])
    t.deepEqual(await sorted('name', 'descending'), ['notes.txt', 'note', 'my note.txt', 'footnote'])
    t.deepEqual(await sorted('size', 'ascending'), ['note', 'footnote', 'my note.txt', 'notes.txt'])
    t.deepEqual(await sorted('size', 'descending'), ['notes.txt', 'my note.txt', 'footnote', 'note'])
    for (const [at, name] of ['notes.txt', 'note', 'footnote', 'my note.txt'].entries())
      utimesSync(join(files.root, name), 1, 1_600_000_000 + at)
    const { job } = await files.daemon.call('locations.rescan', { library: files.library, location: files.location })
    await files.daemon.jobDone(files.library, job)
    t.deepEqual(await sorted('modified', 'ascending'), ['notes.txt', 'note', 'footnote', 'my note.txt'])
    t.deepEqual(await sorted('modified', 'descending'), ['my note.txt', 'footnote', 'note', 'notes.txt'])
  })
})

test.serial('upstream 4.5.5: every filter holds together with a text, and so does a location', async (t) => {
  await play(async (scene) => {
    const files = await stored(scene, {
      'a/match.pdf': 100,
      'a/match.txt': 5,
      'b/match.pdf': 5,
      'b/.match.pdf': 200,
      'a/other.pdf': 9,
    })
    utimesSync(join(files.root, 'a/match.txt'), 1, 1_000_000_000)
    const { daemon, library } = files
    const { job } = await daemon.call('locations.rescan', { library, location: files.location })
    await daemon.jobDone(library, job)
    const elsewhere = scene.path('elsewhere')
    mkdirSync(elsewhere)
    writeFileSync(join(elsewhere, 'match.pdf'), '')
    const added = await daemon.call('locations.add', { library, path: elsewhere })
    await daemon.jobDone(library, added.job)
    const { id: tag } = await daemon.call('tags.create', { library, name: 'red' })
    await daemon.call('tags.apply', { library, tag, paths: [join(files.root, 'b/match.pdf')] })
    for (const [query, total] of [
      ['match', 5],
      ['match ext:pdf', 4],
      ['match size:>50', 2],
      ['match modified:<2002', 1],
      ['match -is:hidden', 4],
      ['match is:hidden', 1],
      [`match path:${files.root}/a`, 2],
      ['match location:elsewhere', 1],
      ['match location:files', 4],
      ['match tag:red', 1],
      ['match -tag:red ext:pdf', 3],
      ['match kind:directory', 0],
      ['match ext:pdf size:>50 -is:hidden location:files', 1],
    ] as const)
      t.is((await found(files, query)).total, total, query)
    t.is((await found(files, 'match', { filters: { location: added.location, extensions: ['pdf'] } })).total, 1)
  })
})

test.serial('upstream 4.5.6: the total is what all pages hold, filters and directories included', async (t) => {
  await play(async (scene) => {
    const many = Object.fromEntries(
      Array.from({ length: 230 }, (_, at) => [`match ${at}/match ${at}.${at % 2 ? 'pdf' : 'txt'}`, at]),
    )
    const files = await stored(scene, many)
    for (const [query, total] of [
      ['match', 460],
      ['match kind:directory', 230],
      ['match ext:pdf', 115],
      ['match ext:pdf size:>=100', 65],
    ] as const) {
      const ids = new Set<string>()
      let cursor: string | undefined
      do {
        const page = await files.daemon.call('search.files', {
          library: files.library,
          query,
          syntax: 'filters',
          limit: 50,
          cursor,
        })
        t.is(page.total, total, query)
        for (const { id } of page.items) ids.add(id)
        cursor = page.cursor
      } while (cursor !== undefined)
      t.is(ids.size, total, query)
    }
  })
})

test.serial(
  'upstream 4.5.7: a page is as long as was asked for, and what follows it is told; "a" with a filter finds parts of names',
  async (t) => {
    await play(async (scene) => {
      const files = await stored(scene, { 'alpha.txt': 1, 'beta.txt': 2, 'gamma.pdf': 3, 'xyz.txt': 4 })
      const { daemon, library } = files
      const asked = { library, query: 'a ext:txt', syntax: 'filters', limit: 1 }
      const first = await daemon.call('search.files', asked)
      t.deepEqual([first.total, first.items.length], [2, 1])
      const second = await daemon.call('search.files', { ...asked, cursor: first.cursor })
      t.deepEqual([second.total, second.items.length, second.cursor], [2, 1, undefined])
      t.deepEqual(
        [...first.items, ...second.items].map(({ name }: FileItem) => name),
        ['alpha.txt', 'beta.txt'],
      )
      await t.throwsAsync(daemon.call('search.files', { ...asked, limit: 0 }))
      await t.throwsAsync(daemon.call('search.files', { ...asked, limit: 1_001 }))
    })
  },
)
