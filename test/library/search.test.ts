// Search against an oracle that reads every name: totals are exact, pages neither repeat nor leave out, anything typed is valid.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import fc from 'fast-check'
import { fold } from '../../src/library/fold.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import type { FileItem } from '../../src/protocol/messages.js'
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

async function all(library: Library, query: string, limit: number, filters = {}): Promise<FileItem[]> {
  const items: FileItem[] = []
  let cursor: string | undefined
  do {
    const page = await library.search({ query, limit, filters, cursor })
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
  }
  t.true(Math.max(...segments) >= 1)
})

function segmentsOf(library: Library): number {
  const database = new Database(filesOf(library.path).database, { readonly: true })
  try {
    return database.prepare<[], number>('SELECT count(*) FROM segment').pluck().get()!
  } finally {
    database.close()
  }
}
