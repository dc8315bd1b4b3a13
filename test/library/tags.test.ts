// Tags: what they are called, how they lie below each other, and that they stay on what they were put on.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { LIMITS } from '../../src/base/limits.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import type { Tag } from '../../src/library/tags.js'
import { readDirectoryPlain, type ReadDirectory } from '../../src/scan/read.js'
import { failure } from '../scan/tree.js'
import { batchesOf, differences, index, integrity, rescan, Stage } from './stage.js'

function made(library: Library, name: string, more: { parent?: string; aliases?: string[] } = {}): Tag {
  return library.write(() => library.tags.create({ name, ...more }))
}

function updated(library: Library, name: string, change: Parameters<Library['tags']['update']>[1]): Tag {
  return library.write(() => library.tags.update(library.tags.get(name), change))
}

/** Names of the tags of an entry by its path, null where there is no such entry. */
function tagsAt(library: Library, path: string): string[] | null {
  return library.entries.at(path) ? (library.file({ path }).tags ?? []) : null
}

function put(library: Library, tag: string, ...paths: string[]): void {
  library.tag(library.tags.get(tag), { paths }, true)
}

/** What must hold whatever happened: no tag on what is not there, and counts that are true. */
function faults(library: Library): string[] {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    const orphans = database.prepare('SELECT count(*) FROM tagged WHERE entry NOT IN (SELECT id FROM entry)').pluck()
    const wrong = database
      .prepare('SELECT name FROM tag WHERE entries <> (SELECT count(*) FROM tagged WHERE tagged.tag = tag.id)')
      .pluck()
    return [...(orphans.get() === 0 ? [] : ['tags on entries that are gone']), ...wrong.all().map(String)]
  } finally {
    database.close()
  }
}

interface Ground {
  readonly library: Library
  readonly tree: string
  readonly uid: string
}

async function ground(stage: Stage, files: readonly string[]): Promise<Ground> {
  for (const file of files) {
    mkdirSync(join(stage.tree, file, '..'), { recursive: true })
    writeFileSync(join(stage.tree, file), file)
  }
  const library = stage.open(stage.create())
  return { library, tree: stage.tree, uid: await index(library, stage.tree) }
}

test('a name or alias means one tag of a library, whatever its case and accents', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const tag = made(library, 'Über  Arbeit', { aliases: ['Job', 'job', 'über arbeit'] })
  t.deepEqual(tag.aliases, ['Job'], 'an alias that says nothing new is left out')
  for (const name of ['uber arbeit', 'JOB', tag.uid]) t.is(library.tags.get(name).id, tag.id, name)
  t.throws(() => made(library, 'UBER arbeit'), { code: 'TAG_EXISTS', message: /"Über {2}Arbeit"/ })
  t.throws(() => made(library, 'new', { aliases: ['jöb'] }), { code: 'TAG_EXISTS', message: /alias of the tag "Über/ })
  t.throws(() => library.tags.get('new'), { code: 'TAG_NOT_FOUND' }, 'nothing of it is kept')
  made(library, 'private')
  t.throws(() => updated(library, 'private', { name: 'Job' }), { code: 'TAG_EXISTS' })
  t.is(library.tags.get('private').name, 'private')
})

test('a tag that nobody made is refused with those that were perhaps meant', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  made(library, 'Invoices', { aliases: ['bills'] })
  const error = t.throws(() => library.tags.get('invioces'), { code: 'TAG_NOT_FOUND' }) as Error & { hint: string }
  t.regex(error.hint, /"Invoices"/)
  t.regex((t.throws(() => library.tags.get('bilsl')) as Error & { hint: string }).hint, /"Invoices"/)
})

test('tags lie below each other, and never below themselves', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  made(library, 'work')
  made(library, 'clients', { parent: 'work' })
  const acme = made(library, 'acme', { parent: 'clients' })
  t.deepEqual(library.tags.item(acme).path, ['work', 'clients', 'acme'])
  t.throws(() => updated(library, 'work', { parent: 'acme' }), { code: 'TAG_CYCLE' })
  t.throws(() => updated(library, 'work', { parent: 'work' }), { code: 'TAG_CYCLE' })
  updated(library, 'acme', { parent: null })
  updated(library, 'work', { parent: 'acme' })
  t.deepEqual(library.tags.item(library.tags.get('clients')).path, ['acme', 'work', 'clients'])
})

test('a tree of tags is bounded in depth, also when a part of it moves', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  made(library, 'a0')
  for (let at = 1; at < LIMITS.tagDepthMax; at++) made(library, `a${at}`, { parent: `a${at - 1}` })
  t.throws(() => made(library, 'deeper', { parent: `a${LIMITS.tagDepthMax - 1}` }), { code: 'BAD_REQUEST' })
  made(library, 'b0')
  made(library, 'b1', { parent: 'b0' })
  t.throws(() => updated(library, 'b0', { parent: `a${LIMITS.tagDepthMax - 2}` }), { code: 'BAD_REQUEST' })
  t.notThrows(() => updated(library, 'b0', { parent: `a${LIMITS.tagDepthMax - 3}` }))
})

test('a list goes through the tree in order, page by page, while tags come and go', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (const name of ['b', 'a', 'c'])
    for (const tag of [made(library, name)]) made(library, `${name}1`, { parent: tag.uid })
  made(library, 'a2', { parent: 'a' })
  const seen: string[] = []
  let cursor: string | undefined
  do {
    const page = library.tags.list(undefined, 2, cursor)
    seen.push(...page.items.map(({ name }) => name))
    if (seen.length === 4) library.write(() => library.tags.markDeleting(library.tags.get(seen.at(-1)!)))
    cursor = page.cursor
  } while (cursor !== undefined)
  t.deepEqual(seen, ['a', 'a1', 'a2', 'b', 'b1', 'c', 'c1'])
  t.deepEqual(
    library.tags.list('1', 10, undefined).items.map(({ name }) => name),
    ['a1', 'b1', 'c1'],
  )
  t.throws(() => library.tags.list(undefined, 2, 'nonsense'), { code: 'BAD_REQUEST' })
})

test('a tag that is made, changed or deleted leaves the others as if all were read, and they are not read again for it', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const first = made(library, 'm')
  for (const name of ['z', 'a', 'N', 'é', 'f', 'D']) made(library, name, { aliases: [`of ${name}`, name] })
  for (const name of ['y', 'b', 'K']) made(library, name, { parent: 'f' })
  t.is(library.tags.get('m'), first)
  const all = () => [library.tags.list(undefined, 100, undefined), library.tags.get('OF n'), library.tags.get('E')]
  const known = all()
  library.tags.forget()
  t.not(library.tags.get('m'), first)
  t.deepEqual(all(), known)
  const names = library.tags.list(undefined, 100, undefined).items.map(({ name }) => name)
  t.deepEqual(names, ['a', 'D', 'é', 'f', 'b', 'K', 'y', 'm', 'N', 'z'])

  const kept = library.tags.get('m')
  const change = (name: string, to: Parameters<typeof library.tags.update>[1]) =>
    library.note(() => library.tags.update(library.tags.get(name), to))
  change('z', { name: 'c', aliases: ['last'], colour: '#ABCDEF', description: 'it was' })
  change('c', { description: null })
  change('a', { parent: 'f' })
  change('K', { parent: null })
  change('N', { parent: 'b', aliases: [] })
  for (const name of ['f', 'D']) library.note(() => library.tags.markDeleting(library.tags.get(name)))
  for (const id of library.tags.deleting()) t.true(library.deleteTagSlice(id))
  made(library, 'z', { aliases: ['of f', 'of n'], parent: 'b' })
  t.is(library.tags.get('m'), kept)
  t.throws(() => library.tags.get('of D'), { code: 'TAG_NOT_FOUND' })
  const now = () => [...all(), library.tags.get('last'), library.tags.get('of F'), library.tags.some]
  const after = now()
  library.tags.forget()
  t.not(library.tags.get('m'), kept)
  t.deepEqual(now(), after)
  const paths = library.tags.list(undefined, 100, undefined).items.map(({ path }) => path.join(' > '))
  t.deepEqual(paths, ['a', 'b', 'b > N', 'b > z', 'c', 'é', 'K', 'm', 'y'])
})

test('what is below a deleted tag moves up, its name is free, and nothing has it any more', async (t) => {
  using stage = new Stage()
  const { library, tree } = await ground(stage, ['one', 'two'])
  made(library, 'work')
  const tag = made(library, 'clients', { parent: 'work' })
  made(library, 'acme', { parent: 'clients' })
  put(library, 'clients', join(tree, 'one'), join(tree, 'two'))
  library.write(() => library.tags.markDeleting(tag))
  t.deepEqual(tagsAt(library, join(tree, 'one')), [], 'before its end already')
  t.deepEqual(library.tags.item(library.tags.get('acme')).path, ['work', 'acme'])
  t.not(made(library, 'clients').id, tag.id)
  t.deepEqual(library.tags.deleting(), [tag.id])
  while (!library.deleteTagSlice(tag.id));
  t.deepEqual(library.tags.deleting(), [])
  t.deepEqual(tagsAt(library, join(tree, 'one')), [])
  t.deepEqual(faults(library), [])
})

test('what is tagged is counted, and what is not in the index is told', async (t) => {
  using stage = new Stage()
  const { library, tree } = await ground(stage, ['one', 'two'])
  const tag = made(library, 'work')
  const paths = ['one', 'two', 'three'].map((name) => join(tree, name))
  t.like(library.tag(tag, { paths }, true), { entries: 2, changed: 2, missing: [paths[2]!] })
  t.like(library.tag(tag, { paths }, true), { entries: 2, changed: 0 })
  t.is(library.tags.item(tag).entries, 2)
  const id = library.file({ path: paths[0]! }).id
  t.like(library.tag(tag, { ids: [id, id] }, false), { entries: 1, changed: 1, missing: [] })
  t.is(library.tags.item(tag).entries, 1)
  t.throws(() => library.tag(tag, { ids: ['987'] }, true), { code: 'FILE_NOT_FOUND' })
})

test('a tag stays on what is moved and renamed, below a directory that moves too', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['a/one', 'a/b/two'])
  for (const name of ['file', 'below', 'folder']) made(library, name)
  put(library, 'file', join(tree, 'a/one'))
  put(library, 'below', join(tree, 'a/b/two'))
  put(library, 'folder', join(tree, 'a/b'))
  renameSync(join(tree, 'a/one'), join(tree, 'eins'))
  renameSync(join(tree, 'a'), join(tree, 'c'))
  await rescan(library, uid)
  t.deepEqual(tagsAt(library, join(tree, 'eins')), ['file'])
  t.deepEqual(tagsAt(library, join(tree, 'c/b')), ['folder'])
  t.deepEqual(tagsAt(library, join(tree, 'c/b/two')), ['below'])
  t.deepEqual(faults(library), [])
})

test('a file that is deleted and restored has its tags again, whatever became of its inode', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['d/one', 'd/e/two', 'other'])
  for (const name of ['x', 'y', 'dir']) made(library, name)
  put(library, 'x', join(tree, 'd/one'), join(tree, 'd/e/two'), join(tree, 'other'))
  put(library, 'y', join(tree, 'd/one'))
  put(library, 'dir', join(tree, 'd/e'))
  rmSync(join(tree, 'd'), { recursive: true })
  await rescan(library, uid)
  t.is(tagsAt(library, join(tree, 'd/one')), null)
  t.is(library.tags.item(library.tags.get('x')).entries, 1)
  t.deepEqual(faults(library), [])
  for (const file of ['d/new', 'd/one', 'd/e/two']) {
    mkdirSync(join(tree, file, '..'), { recursive: true })
    writeFileSync(join(tree, file), 'restored')
  }
  await rescan(library, uid)
  t.deepEqual(tagsAt(library, join(tree, 'd/one')), ['x', 'y'])
  t.deepEqual(tagsAt(library, join(tree, 'd/e/two')), ['x'])
  t.deepEqual(tagsAt(library, join(tree, 'd/e')), ['dir'])
  t.deepEqual(tagsAt(library, join(tree, 'd/new')), [])
  rmSync(join(tree, 'd/one'))
  mkdirSync(join(tree, 'd/one'))
  await rescan(library, uid)
  t.deepEqual(tagsAt(library, join(tree, 'd/one')), [], 'a directory of that name is another thing')
  t.deepEqual(faults(library), [])
  t.is(integrity(library), 'ok')
})

test('what is saved by replacing it keeps its tags', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['text'])
  made(library, 'draft')
  put(library, 'draft', join(tree, 'text'))
  writeFileSync(join(tree, 'text.new'), 'longer than before')
  renameSync(join(tree, 'text.new'), join(tree, 'text'))
  await rescan(library, uid)
  t.deepEqual(tagsAt(library, join(tree, 'text')), ['draft'])
})

test('a directory that cannot be read, or is not there because its disk is not, keeps all tags', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['a/one', 'a/two', 'b'])
  made(library, 'work')
  put(library, 'work', join(tree, 'a/one'), join(tree, 'a/two'), join(tree, 'a'))
  const read: ReadDirectory = (path, ...more) => {
    if (String(path).endsWith('/a')) throw failure('EIO')
    return readDirectoryPlain(path, ...more)
  }
  await rescan(library, uid, { read })
  t.is(library.tags.item(library.tags.get('work')).entries, 3)
  renameSync(tree, `${tree}-away`)
  await t.throwsAsync(rescan(library, uid), { code: 'PATH_REFUSED' })
  mkdirSync(tree)
  await t.throwsAsync(rescan(library, uid), { code: 'PATH_REFUSED', message: /mounted/ })
  t.is(library.tags.item(library.tags.get('work')).entries, 3)
  rmSync(tree, { recursive: true })
  renameSync(`${tree}-away`, tree)
  await rescan(library, uid)
  t.deepEqual(tagsAt(library, join(tree, 'a/one')), ['work'])
})

test.serial('a location that is removed and added again has its tags again', async (t) => {
  using stage = new Stage()
  const files = Array.from({ length: 40 }, (_, at) => `d${at % 4}/f${at}`)
  const { library, tree, uid } = await ground(stage, files)
  const restore = batchesOf(3)
  t.teardown(restore)
  made(library, 'work')
  put(library, 'work', tree, ...files.map((file) => join(tree, file)))
  for (let round = 0; round < 2; round++) {
    const location = library.locations.all()[0]!
    library.write(() => library.locations.markRemoving(location))
    t.throws(
      () => put(library, 'work', join(tree, 'd0')),
      { code: 'FILE_NOT_FOUND' },
      'what goes is not tagged any more',
    )
    while (!library.removeSlice(location));
    t.is(library.tags.item(library.tags.get('work')).entries, 0)
    t.deepEqual(faults(library), [])
    await index(library, tree)
    t.is(library.tags.item(library.tags.get('work')).entries, 41)
  }
  t.throws(() => library.locations.get(uid), { code: 'LOCATION_NOT_FOUND' })
  t.deepEqual(tagsAt(library, tree), ['work'])
  t.deepEqual(faults(library), [])
})

test('a removal that a crash interrupts loses no tag', async (t) => {
  using stage = new Stage()
  const { library, tree } = await ground(stage, ['a/one', 'b/two', 'c/three'])
  made(library, 'work')
  put(library, 'work', ...['a/one', 'b/two', 'c/three'].map((file) => join(tree, file)))
  const location = library.locations.all()[0]!
  library.write(() => library.locations.markRemoving(location))
  library.removeSlice(location)
  const again = stage.reopen(library)
  while (!again.removeSlice(again.locations.all()[0]!));
  await index(again, tree)
  t.is(again.tags.item(again.tags.get('work')).entries, 3)
  t.deepEqual(faults(again), [])
})

test.serial('what waits for an entry to come back is bounded', async (t) => {
  const limits = LIMITS as { tagsKeptMax: number; tagsForgottenAtOnce: number }
  const before = { ...limits }
  t.teardown(() => Object.assign(limits, before))
  Object.assign(limits, { tagsKeptMax: 10, tagsForgottenAtOnce: 4 })
  using stage = new Stage()
  const files = Array.from({ length: 30 }, (_, at) => `f${at}`)
  const { library, tree, uid } = await ground(stage, files)
  made(library, 'work')
  put(library, 'work', ...files.map((file) => join(tree, file)))
  for (const file of files) rmSync(join(tree, file))
  await rescan(library, uid)
  const entries = () => library.tags.item(library.tags.get('work')).entries
  t.is(entries(), 0)
  for (const file of files) writeFileSync(join(tree, file), 'again')
  await rescan(library, uid)
  t.true(entries() > 5 && entries() <= 10, `${entries()} came back`)
  t.deepEqual(faults(library), [])
  t.deepEqual(differences(library, uid, tree), [])
})

test('a transaction that fails leaves nothing of a tag behind in memory', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['one'])
  made(library, 'work')
  t.throws(() =>
    library.write(() => {
      library.tags.create({ name: 'vain' })
      library.tagged.add([library.entries.at(join(tree, 'one'))!.id], library.tags.get('work').id)
      throw new Error('a full disk')
    }),
  )
  t.throws(() => library.tags.get('vain'), { code: 'TAG_NOT_FOUND' })
  t.deepEqual(tagsAt(library, join(tree, 'one')), [])
  rmSync(join(tree, 'one'))
  await rescan(library, uid)
  t.deepEqual(faults(library), [])
})

test('a search finds what has a tag or one below it, with words and without', async (t) => {
  using stage = new Stage()
  const files = Array.from({ length: 30 }, (_, at) => `d${at % 3}/file ${at}.${at % 2 ? 'txt' : 'pdf'}`)
  const { library, tree } = await ground(stage, files)
  for (const [name, parent] of [['work'], ['acme', 'work'], ['urgent'], ['none']] as const)
    made(library, name, parent ? { parent } : {})
  const path = (at: number) => join(tree, files[at]!)
  put(library, 'work', path(1), path(2))
  put(library, 'acme', path(3), path(4))
  put(library, 'urgent', path(4), path(5), join(tree, 'd0'))
  const found = async (query: string, more: object = {}) => {
    const { total, items } = await library.search({ query, syntax: 'filters', ...more })
    t.is(total, items.length, query)
    return items
      .map(({ name }) => name.replace(/^file (\d+).*/, '$1'))
      .sort((a, b) => a.localeCompare(b))
      .join()
  }
  t.is(await found('tag:work'), '1,2,3,4')
  t.is(await found('tag:acme'), '3,4')
  t.is(await found('tag:WORK ext:txt'), '1,3')
  t.is(await found('file tag:work'), '1,2,3,4')
  t.is(await found('tag:work tag:urgent'), '4')
  t.is(await found('tag:work -tag:urgent'), '1,2,3')
  t.is(await found('tag:urgent kind:directory'), 'd0')
  t.is(await found('tag:none'), '')
  t.is(await found('tag:urgent', { filters: { path: join(tree, 'd2') } }), '5')
  t.is((await found('-tag:work')).split(',').length, 31 + 3 - 4)
  for (const sort of ['name', 'size', 'modified'] as const) t.is(await found('tag:work', { sort }), '1,2,3,4', sort)
  const pages: string[] = []
  let cursor: string | undefined
  do {
    const page = await library.search({
      query: '',
      filters: { tags: ['work'] },
      limit: 1,
      ...(cursor ? { cursor } : {}),
    })
    t.is(page.total, 4)
    pages.push(...page.items.map(({ name }) => name))
    cursor = page.cursor
  } while (cursor)
  t.is(new Set(pages).size, 4)
  library.tag(library.tags.get('work'), { paths: [path(1)] }, false)
  t.is(await found('tag:work'), '2,3,4', 'no answer of before')
  const error = await t.throwsAsync(library.search({ query: 'file  tag:wrok', syntax: 'filters' }), {
    code: 'TAG_NOT_FOUND',
  })
  t.like(error, { position: 10 })
  t.regex((error as Error & { hint: string }).hint, /"work"/)
})

test('a tag on what a file holds is on every copy, wherever it goes and whenever it comes', async (t) => {
  using stage = new Stage()
  const { library, tree, uid } = await ground(stage, ['one', 'd/copy', 'other', 'unread'])
  const location = library.locations.get(uid).id
  const holds = (name: string, cid: bigint) => {
    const entry = library.entries.at(join(tree, name))!
    library.write(() => {
      library.identities.want(location, entry.id)
      t.true(library.identities.record(location, entry, cid, { kind: 'text', mime: 'text/plain' }))
    })
  }
  const big = 0xfedc_ba98_7654_3210n
  for (const name of ['one', 'd/copy']) holds(name, big)
  holds('other', 7n)
  for (const name of ['work', 'acme']) made(library, name, name === 'acme' ? { parent: 'work' } : {})
  const acme = library.tags.get('acme')
  const named = { paths: ['one', 'unread', 'gone'].map((name) => join(tree, name)) }
  t.like(library.tag(acme, named, true, 'content'), { entries: 1, changed: 1, missing: named.paths.slice(1) })
  t.like(library.tag(acme, { paths: [join(tree, 'd/copy')] }, true, 'content'), { changed: 0 })
  t.throws(() => library.tag(acme, { paths: [join(tree, 'unread')] }, true, 'content'), { code: 'FILE_NOT_FOUND' })
  put(library, 'work', join(tree, 'other'), join(tree, 'one'))
  t.deepEqual(tagsAt(library, join(tree, 'd/copy')), ['acme'])
  t.deepEqual(tagsAt(library, join(tree, 'one')), ['acme', 'work'])
  t.like(library.tags.item(acme), { entries: 0, contents: 1 })
  const found = async (query: string) => {
    const { total, items } = await library.search({ query, syntax: 'filters' })
    t.is(total, items.length)
    return items
      .map(({ name }) => name)
      .sort()
      .join()
  }
  t.is(await found('tag:acme'), 'copy,one')
  t.is(await found('tag:work'), 'copy,one,other')
  t.is(await found('copy tag:work'), 'copy')
  t.is(await found('-tag:acme kind:file'), 'other,unread')

  rmSync(join(tree, 'one'))
  rmSync(join(tree, 'd/copy'))
  await rescan(library, uid)
  t.is(await found('tag:acme'), '')
  writeFileSync(join(tree, 'again'), 'again')
  await rescan(library, uid)
  holds('again', big)
  t.is(await found('tag:acme'), 'again')
  writeFileSync(join(tree, 'again'), 'something else')
  await rescan(library, uid)
  t.is(await found('tag:acme'), '', 'what it held, it holds no more')
  holds('again', big)
  library.tag(acme, { paths: [join(tree, 'again')] }, false, 'content')
  t.is(library.tags.item(acme).contents, 0)
  t.deepEqual(tagsAt(library, join(tree, 'again')), [])
  library.tag(acme, { paths: [join(tree, 'again')] }, true, 'content')
  library.write(() => library.tags.markDeleting(acme))
  while (!library.deleteTagSlice(acme.id));
  t.deepEqual(tagsAt(library, join(tree, 'again')), [])
})
