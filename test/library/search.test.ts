// Search against an oracle that reads every name: totals are exact, pages neither repeat nor leave out, anything typed is valid.
import { mkdirSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import fc from 'fast-check'
import { fold } from '../../src/library/fold.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import type { FileItem } from '../../src/protocol/messages.js'
import type { SearchFilters } from '../../src/protocol/operations.js'
import { encodeName } from '../../src/scan/names.js'
import type { ReadDirectory } from '../../src/scan/read.js'
import { directory, file, readerOf, type Node } from '../scan/tree.js'
import { index, rescan, Stage } from './stage.js'

const PIECES = [
  'a',
  'B',
  'foo',
  'Bar',
  '.txt',
  '_',
  '-',
  ' ',
  '%',
  '"',
  "'",
  '\\',
  'ü',
  'u\u0308',
  'Σ',
  'ς',
  'ß',
  '™',
  'ﬁ',
]
const ODD = ['😀', '💀', '中文', 'İ', 'ı', '\u202e', '*', '?', '[', '\udcff', '\n', '\ufeff', 'é', 'e\u0301', '1', '22']
const part = fc.constantFrom(...PIECES, ...ODD)
const name = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''))

/** The tree is made up, but its root must be a real directory: the job looks at it. */
async function filled(stage: Stage, names: readonly string[]): Promise<{ library: Library; uid: string }> {
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree, { read: listed(stage, namesTree(names)) })
  return { library, uid }
}

function namesTree(names: readonly string[]): Node {
  return directory(new Map(names.map((each, at) => [each, at % 5 === 4 ? directory() : file()])))
}

function listed(stage: Stage, tree: Node): ReadDirectory {
  const read = readerOf(tree)
  return (path) => read(Buffer.concat([Buffer.from('/root'), path.subarray(Buffer.byteLength(stage.tree))]))
}

interface Asked {
  readonly query: string
  readonly syntax?: 'text' | 'filters'
  readonly filters?: SearchFilters
}

async function all(library: Library, query: string, limit: number, filters = {}): Promise<FileItem[]> {
  return everyPage(library, { query, filters }, limit)
}

async function everyPage(library: Library, asked: Asked, limit: number): Promise<FileItem[]> {
  const items: FileItem[] = []
  let cursor: string | undefined
  do {
    const page = await library.search({ ...asked, limit, cursor })
    items.push(...page.items)
    cursor = page.cursor
    if (cursor !== undefined && page.items.length !== limit) throw new Error('a page that is not the last is full')
  } while (cursor !== undefined)
  return items
}

function trueName(item: FileItem): string {
  return item.nameBytes
    ? Buffer.from(item.nameBytes, 'base64').toString('latin1')
    : encodeName(item.name).toString('latin1')
}

function oracle(names: readonly string[], query: string): string[] {
  if (/[/\0]/.test(query)) return []
  return names.filter((each) => fold(each).includes(fold(query))).map((each) => encodeName(each).toString('latin1'))
}

test('any query finds exactly the names that contain it, however it is paged', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(name, { minLength: 1, maxLength: 150, selector: (each) => encodeName(each).toString('latin1') }),
      fc.array(fc.oneof(name, part, fc.string({ maxLength: 4 }), fc.string({ unit: 'binary', maxLength: 3 })), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.integer({ min: 1, max: 40 }),
      async (names, queries, limit) => {
        using stage = new Stage()
        const { library } = await filled(stage, names)
        const everything = [...names, 'tree']
        for (const query of [...queries, '', ...names.slice(0, 3).map((each) => each.slice(1))]) {
          const expected = oracle(everything, query)
          const { total } = await library.search({ query, limit: 1 })
          const items = await all(library, query, limit)
          t.is(total, expected.length, JSON.stringify(query))
          t.deepEqual(items.map(trueName).sort(), expected.sort(), JSON.stringify(query))
        }
      },
    ),
    { numRuns: 25, interruptAfterTimeLimit: 12_000 },
  )
})

test('every text a person may type is a query', async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage, [
    'plain',
    "o'clock",
    '100%',
    'a_b',
    'back\\slash',
    '"quoted"',
    'x'.repeat(255),
  ])
  const typed: [string, number][] = [
    ["'", 1],
    ['"', 1],
    ['%', 1],
    ['_', 1],
    ['\\', 1],
    ['*', 0],
    ['" OR 1=1 --', 0],
    ['NEAR(', 0],
    ['\0', 0],
    ['lain\0', 0],
    ['/', 0],
    ['x'.repeat(255), 1],
    ['x'.repeat(256), 0],
    ['x'.repeat(1000), 0],
    ['\ud800', 0],
    ['\udcff', 0],
    ['', 8],
  ]
  for (const [query, total] of typed) t.is((await library.search({ query })).total, total, JSON.stringify(query))
})

test('case, accents and the two forms of sigma do not count, and compatibility letters are found by their plain ones', async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage, ['Übersicht.md', 'cafe\u0301', 'ΟΔΟΣ', 'ΟΔΟΣΑ', 'Foo™', 'ﬁne', 'İstanbul'])
  for (const [query, total] of [
    ['ubersicht', 1],
    ['ÜBERSICHT.MD', 1],
    ['CAFÉ', 1],
    ['ΟΔΟΣ', 2],
    ['οδος', 2],
    ['οδοσ', 2],
    ['footm', 1],
    ['FOO™', 1],
    ['fine', 1],
    ['istanbul', 1],
  ] as const)
    t.is((await library.search({ query })).total, total, query)
})

test('the whole name comes before its start, that before the start of a word, that before the rest; shorter names first', async (t) => {
  using stage = new Stage()
  const names = ['xnotes', 'my-notes', 'notes.txt', 'notes', 'old notes', 'notes-2024.txt', 'footnotes.pdf']
  const { library } = await filled(stage, names)
  const found = (await library.search({ query: 'notes' })).items.map((item) => item.name)
  t.deepEqual(found, ['notes', 'notes.txt', 'notes-2024.txt', 'my-notes', 'old notes', 'xnotes', 'footnotes.pdf'])
})

test('the filters of kind and location count and page like the whole', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const uids: string[] = []
  for (const root of ['one', 'two']) {
    for (let at = 0; at < 30; at++) mkdirSync(join(stage.path, root, `dir match ${at}`), { recursive: true })
    for (let at = 0; at < 50; at++) writeFileSync(join(stage.path, root, `file match ${at}`), '')
    uids.push(await index(library, join(stage.path, root)))
  }
  const [one] = uids as [string, string]
  for (const [filters, total] of [
    [{}, 160],
    [{ kind: 'directory' }, 60],
    [{ kind: 'symlink' }, 0],
    [{ location: one }, 80],
    [{ kind: 'file', location: one }, 50],
  ] as const) {
    const items = await all(library, 'match', 7, filters)
    t.is((await library.search({ query: 'match', filters, limit: 1 })).total, total)
    t.is(new Set(items.map((item) => item.id)).size, total)
    for (const item of items) {
      if ('kind' in filters) t.is(item.kind, filters.kind)
      if ('location' in filters) t.is(item.location, filters.location)
    }
  }
  await t.throwsAsync(library.search({ query: 'match', filters: { location: 'nowhere' } }), {
    code: 'LOCATION_NOT_FOUND',
  })
})

test('pages neither repeat nor leave out what was there, while entries are added between them', async (t) => {
  using stage = new Stage()
  for (let at = 0; at < 60; at++) writeFileSync(join(stage.tree, `page ${at}.txt`), '')
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const before = (await all(library, 'page', 60)).map((item) => item.id)
  const seen: string[] = []
  let cursor: string | undefined
  let added = 0
  do {
    const page = await library.search({ query: 'page', limit: 7, cursor })
    seen.push(...page.items.map((item) => item.id))
    cursor = page.cursor
    for (const text of [`page ${1000 + added}.txt`, `a page ${added}`, `page${added}`])
      writeFileSync(join(stage.tree, text), '')
    added += 1
    await rescan(library, uid)
  } while (cursor !== undefined)
  t.is(new Set(seen).size, seen.length)
  t.deepEqual(
    before.filter((id) => !seen.includes(id)),
    [],
  )
})

test("a cursor that is none, or another listing's, is a bad request", async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage, ['a', 'b'])
  for (const cursor of [
    'x',
    '!!',
    Buffer.from('1 2 3').toString('base64url'),
    Buffer.from('a b').toString('base64url'),
  ])
    await t.throwsAsync(library.search({ query: 'a', cursor }), { code: 'BAD_REQUEST' }, cursor)
})

test('what is found in sealed, merged and not yet sealed names is the same', async (t) => {
  using stage = new Stage()
  // Enough names for several seals: 64 a block, a segment from 64 blocks on.
  const words = ['report', 'invoice', 'Übersicht', 'photo', 'draft', 'note', 'ΟΔΟΣ', '中文']
  const nameAt = (at: number) => `${words[at % words.length]}-${(at * 7919) % 100_003}${at % 3 ? '.txt' : ''}`
  const library = stage.open(stage.create())
  const parts: string[][] = [[], [], [], []]
  for (let at = 0; at < 22_000; at++) parts[at < 5_000 ? 0 : at < 10_500 ? 1 : at < 21_000 ? 2 : 3]!.push(nameAt(at))
  const known: string[] = []
  let uid = ''
  const segments: number[] = []
  for (const more of parts) {
    known.push(...more)
    const read = listed(stage, directory(new Map(known.map((each) => [each, file()]))))
    if (uid === '') uid = await index(library, stage.tree, { read })
    else await rescan(library, uid, { read })
    segments.push(segmentsOf(library))
    for (const query of ['report-1', 'BERSICHT', '-99', 'οδοσ', '中文-5', 'e-77', '3.txt', 'zzz', 'oto-4242']) {
      const expected = oracle(known, query).length
      t.is((await library.search({ query, limit: 1 })).total, expected, query)
    }
    for (const extensions of [['txt'], ['t'], ['nothing'], ['txt', 'pdf']]) {
      const ends = (each: string) => extensions.some((ending) => each.endsWith(`.${ending}`))
      for (const query of ['', 'report-1', 'zzz']) {
        const expected = known.filter((each) => ends(each) && each.includes(query)).length
        const { total } = await library.search({ query, limit: 1, filters: { extensions } })
        t.is(total, expected, `${query} ${extensions.join()}`)
      }
    }
  }
  t.true(Math.max(...segments) >= 1)
})

const EXTENSIONS = ['pdf', 'PDF', 'docx', 'tar.gz', 'gz', 'c']
/** A Monday in the past, so that whatever is asked of it today is answered alike. */
const THEN = new Date(2024, 0, 15, 12).getTime()
const DAY = 86_400_000

/** Files of many names, sizes and times in directories two deep; what was written is what the oracle knows. */
function varied(tree: string): void {
  for (let at = 0; at < 240; at++) {
    const folder = join(tree, `part ${at % 3}`, `deep ${at % 4}`)
    mkdirSync(folder, { recursive: true })
    const path = join(folder, `${at % 2 ? 'report' : 'note'} ${at % 60}.${EXTENSIONS[at % EXTENSIONS.length]}`)
    writeFileSync(path, '')
    truncateSync(path, (at * 37) % 5_000)
    utimesSync(path, THEN / 1000, (THEN - (at % 100) * DAY) / 1000)
  }
  for (const hidden of ['.pdf', 'pdf', 'a.pdfx']) writeFileSync(join(tree, hidden), '')
}

function passes(item: FileItem, { kind, extensions, size, modified, path }: SearchFilters): boolean {
  const at = Date.parse(item.modifiedAt)
  const ends = (each: string) => item.name.length > each.length + 1 && fold(item.name).endsWith(`.${fold(each)}`)
  return (
    (kind === undefined || item.kind === kind) &&
    (extensions === undefined || extensions.some(ends)) &&
    ((size?.min ?? size?.max) === undefined ||
      (item.kind === 'file' && item.size >= (size?.min ?? 0) && item.size <= (size?.max ?? Infinity))) &&
    at >= (modified?.after === undefined ? -Infinity : Date.parse(modified.after)) &&
    at < (modified?.before === undefined ? Infinity : Date.parse(modified.before)) &&
    (path === undefined || item.path.startsWith(`${path}/`))
  )
}

test('every filter, and several at once, count and page exactly what an oracle lets pass, in the order of the whole', async (t) => {
  using stage = new Stage()
  varied(stage.tree)
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  const after = new Date(THEN - 40 * DAY).toISOString()
  const before = new Date(THEN - 10 * DAY).toISOString()
  const filters: SearchFilters[] = [
    { extensions: ['pdf'] },
    { extensions: ['gz'] },
    { extensions: ['tar.gz', 'docx'] },
    { extensions: ['c'] },
    { extensions: ['none'] },
    { size: { min: 1_000 } },
    { size: { max: 0 } },
    { size: { min: 100, max: 3_000 } },
    { size: {} },
    { modified: { after } },
    { modified: { before } },
    { modified: { after, before } },
    { path: join(stage.tree, 'part 1') },
    { path: join(stage.tree, 'part 1', 'deep 2') },
    { path: stage.tree },
    { path: join(stage.tree, '.pdf') },
    { kind: 'directory', path: join(stage.tree, 'part 2') },
    {
      kind: 'file',
      extensions: ['pdf', 'docx'],
      size: { min: 500 },
      modified: { after },
      path: join(stage.tree, 'part 0'),
    },
  ]
  for (const query of ['', 'no', 'report', 'deep', 'zzz']) {
    const whole = await all(library, query, 1_000)
    for (const each of filters) {
      const expected = whole.filter((item) => passes(item, each)).map((item) => item.path)
      const label = `${query} ${JSON.stringify(each)}`
      t.is((await library.search({ query, filters: each, limit: 1 })).total, expected.length, label)
      t.deepEqual(
        (await all(library, query, 7, each)).map((item) => item.path),
        expected,
        label,
      )
    }
    t.true(query === 'zzz' || whole.length > 0)
  }
})

test('a path above the locations finds what all of them hold, one that is in none is not found', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (const name of ['one', 'two', 'other']) {
    mkdirSync(join(stage.path, 'roots', name), { recursive: true })
    writeFileSync(join(stage.path, 'roots', name, 'match'), '')
  }
  await index(library, join(stage.path, 'roots', 'one'))
  await index(library, join(stage.path, 'roots', 'two'))
  const found = (path: string, query = 'match') => library.search({ query, filters: { path } })
  t.is((await found(join(stage.path, 'roots'))).total, 2)
  t.is((await found('/')).total, 2)
  t.is((await found(`${stage.path}/./roots//one/`)).total, 1)
  t.is((await found(join(stage.path, 'roots'), 'one')).total, 1)
  t.is((await found(join(stage.path, 'roots', 'one'), 'one')).total, 0)
  for (const path of [join(stage.path, 'roots', 'other'), join(stage.path, 'roots', 'one', 'gone')])
    await t.throwsAsync(found(path), { code: 'FILE_NOT_FOUND' })
})

test('of one name more entries than are looked at in one step are counted and paged below a directory', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const folders = (count: number) =>
    directory(new Map(Array.from({ length: count }, (_, at) => [`${at}`, directory({ same: file() })] as const)))
  const tree = directory({ few: folders(20), many: folders(10_005), same: file(), zsame: file() })
  await index(library, stage.tree, { read: listed(stage, tree) })
  for (const [folder, total] of [
    ['few', 20],
    ['many', 10_005],
  ] as const) {
    const filters = { path: join(stage.tree, folder) }
    const items = await all(library, 'same', 1_000, filters)
    t.is((await library.search({ query: 'same', filters, limit: 1 })).total, total)
    t.is(items.length, total)
    t.is(new Set(items.map((item) => item.id)).size, total)
    t.true(items.every((item) => item.path.startsWith(`${filters.path}/`)))
  }
  t.is((await all(library, 'same', 1_000, { path: stage.tree })).length, 10_027)
})

test('pages under filters neither repeat nor leave out what was there, while entries are added between them', async (t) => {
  using stage = new Stage()
  for (const [at, folder] of ['in', 'out'].entries()) {
    mkdirSync(join(stage.tree, folder))
    for (let each = 0; each < 60; each++)
      writeFileSync(join(stage.tree, folder, `page ${each}.${each % 3 ? 'pdf' : 'txt'}`), 'x'.repeat(each % 2 || at))
  }
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const query = `page ext:pdf size:>0 path:${join(stage.tree, 'in')} modified:<1y`
  const asked = { query, syntax: 'filters' } as const
  const before = (await everyPage(library, asked, 100)).map((item) => item.id)
  t.is(before.length, 20)
  const seen: string[] = []
  let cursor: string | undefined
  let added = 0
  do {
    const page = await library.search({ ...asked, limit: 3, cursor })
    t.is(page.total, 20 + 2 * added)
    seen.push(...page.items.map((item) => item.id))
    cursor = page.cursor
    for (const text of [
      `in/page ${1000 + added}.pdf`,
      `in/a page ${added}.pdf`,
      `in/page${added}.txt`,
      `out/page${added}.pdf`,
    ])
      writeFileSync(join(stage.tree, text), 'x')
    added += 1
    await rescan(library, uid)
  } while (cursor !== undefined && added < 40)
  t.is(cursor, undefined)
  t.is(new Set(seen).size, seen.length)
  t.deepEqual(
    before.filter((id) => !seen.includes(id)),
    [],
  )
})

test('the filters of the query and those beside it all hold', async (t) => {
  using stage = new Stage()
  varied(stage.tree)
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const count = async (query: string, filters: SearchFilters = {}) =>
    (await library.search({ query, syntax: 'filters', filters, limit: 1 })).total
  const whole = await all(library, 'report', 1_000)
  const expected = (filters: SearchFilters) => whole.filter((item) => passes(item, filters)).length
  const path = join(stage.tree, 'part 1')
  for (const [query, filters, both] of [
    ['report ext:pdf', { size: { min: 900 } }, { extensions: ['pdf'], size: { min: 900 } }],
    ['report size:>=900', { size: { min: 100, max: 2_000 } }, { size: { min: 900, max: 2_000 } }],
    ['report ext:gz,pdf', { extensions: ['tar.gz', 'docx'] }, { extensions: ['tar.gz'] }],
    [`report path:"${path}"`, { path: stage.tree }, { path }],
    [`report path:"${stage.tree}"`, { path }, { path }],
    ['report kind:file', { kind: 'file', location: uid }, { kind: 'file' }],
  ] as [string, SearchFilters, SearchFilters][]) {
    t.is(await count(query, filters), expected(both), query)
    t.true(expected(both) > 0, query)
  }
  t.is(await count('report kind:file', { kind: 'directory' }), 0)
  t.is(await count('report ext:pdf', { extensions: ['docx'] }), 0)
  t.is(await count(`report path:"${path}"`, { path: join(stage.tree, 'part 2') }), 0)
  t.is(await count('report size:>5M size:<1M'), 0)
  t.is((await library.search({ query: 'report ext:pdf' })).total, 0, 'plain text, as long as nobody asks for filters')
  await t.throwsAsync(library.search({ query: 'a size:x', syntax: 'filters' }), { code: 'BAD_REQUEST' })
})

test('ages count from the first page on, and a cursor that does not say when is foreign', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  // So old by the moment in the cursor, and younger by no clock.
  const moment = THEN + 30 * DAY
  for (let at = 0; at < 9; at++) {
    writeFileSync(join(stage.tree, `old ${at}`), '')
    utimesSync(join(stage.tree, `old ${at}`), 1, (THEN - at * DAY) / 1000)
  }
  await index(library, stage.tree)
  const asked = { query: 'old modified:>5d', syntax: 'filters', limit: 4 } as const
  const first = await library.search(asked)
  t.is(first.total, 9)
  const [place, mark, from] = first.cursor!.split('.')
  t.true(Math.abs(Number(from) - Date.now()) < DAY)
  const earlier = await library.search({ ...asked, cursor: `${place}.${mark}.${THEN}` })
  t.is(earlier.total, 3, 'older than five days by the moment in the cursor')
  t.is((await library.search({ ...asked, cursor: `${place}.${mark}.${moment}` })).total, 9)
  for (const cursor of [place!, `${place}.${mark}`, `${place}.${mark}.x`, `${place}.${mark}.9e99`])
    await t.throwsAsync(library.search({ ...asked, cursor }), { code: 'BAD_REQUEST' }, cursor)
  t.regex((await library.search({ ...asked, query: 'old' })).cursor!, /^[^.]+\.[^.]+$/)
})

function segmentsOf(library: Library): number {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    return database.prepare<[], number>('SELECT count(*) FROM segment').pluck().get()!
  } finally {
    database.close()
  }
}

test('of many long searches a few go on at a time, each tells the truth, and one that fails leaves its turn to the next', async (t) => {
  using stage = new Stage()
  const { library } = await filled(
    stage,
    Array.from({ length: 3_000 }, (_, at) => `${at} of many`),
  )
  // By size everything is looked at, in steps.
  const sorted = { query: 'of', sort: 'size', limit: 10 } as const
  let most = 0
  const asked = Array.from({ length: 40 }, async (_, at) => {
    const found = library.search({ ...sorted, query: `${at} of`, ...(at % 4 === 3 ? { cursor: 'none of its' } : {}) })
    const { total } = await found
    most = Math.max(most, library.connections)
    return total
  })
  const ended = await Promise.allSettled(asked)
  for (const [at, each] of ended.entries()) {
    if (at % 4 === 3) t.like(each, { status: 'rejected', reason: { code: 'BAD_REQUEST' } })
    else
      t.like(each, {
        status: 'fulfilled',
        value: ((await library.search({ query: `${at} of` })) as { total: number }).total,
      })
  }
  t.true(most > 1 && most <= 5)
  t.is((await library.search(sorted)).total, 3_000)
})
