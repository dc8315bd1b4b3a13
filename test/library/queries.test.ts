// The query language against an oracle that looks at every entry; sorts and pages while entries come, go and change.
import { mkdirSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { fold } from '../../src/library/fold.js'
import type { Library } from '../../src/library/library.js'
import type { SearchParams } from '../../src/library/filters.js'
import type { FileItem } from '../../src/protocol/messages.js'
import { batchesOf, index, rescan, Stage } from './stage.js'

const M = 1024 ** 2
const THEN = Date.UTC(2024, 0, 15)

const FILES: readonly [path: string, bytes: number][] = [
  ['docs/Annual Report 2024.pdf', 3 * M],
  ['docs/report, annual.pdf', 10],
  ['docs/annual-draft-report.docx', 20],
  ['docs/old/Annual Report 2023.pdf', 2 * M],
  ['docs/old/report.log', 5],
  ['src/lib/test-a.ts', 1],
  ['src/lib/deep/er/test-b.ts', 2],
  ['src/lib/deep/er/testb.ts', 3],
  ['src/test-top.ts', 4],
  ['other/src/lib/test-c.ts', 5],
  ['other/xsrc/lib/test-d.ts', 6],
  ['img/IMG_0001.jpg', 100],
  ['img/img_0002.JPEG', 200],
  ['img/img_x.png', 300],
  ['img/a.jp', 1],
  ['.config/app/settings.json', 7],
  ['.config/app/.secret', 8],
  ['home/.hidden', 9],
  ['home/Übersicht é.txt', 11],
  ['home/U\u0308bersicht e\u0301 2.txt', 12],
  ['home/Straße.md', 13],
  ['home/STRASSE 2.md', 14],
  ['home/ＦＵＬＬ　ｗｉｄｔｈ.txt', 15],
  ['home/İstanbul ışık.txt', 16],
  ['home/Łódź.txt', 17],
  ['home/ŒUVRE æther ø.txt', 18],
  ['home/C++ (1).txt', 19],
  ["home/it's 100%.txt", 20],
  ['home/what?', 21],
  ['home/foo[1].txt', 22],
]

async function filled(stage: Stage): Promise<{ library: Library; uid: string }> {
  for (const [at, [path, bytes]] of FILES.entries()) {
    mkdirSync(join(stage.tree, dirname(path)), { recursive: true })
    writeFileSync(join(stage.tree, path), '')
    truncateSync(join(stage.tree, path), bytes)
    utimesSync(join(stage.tree, path), 1, (THEN - ((at * 7) % 30) * 86_400_000) / 1000)
  }
  const library = stage.open(stage.create())
  return { library, uid: await index(library, stage.tree) }
}

async function everything(library: Library, params: Omit<SearchParams, 'limit'>, limit = 7): Promise<FileItem[]> {
  const items: FileItem[] = []
  let cursor: string | undefined
  do {
    const page = await library.search({ ...params, limit, cursor })
    items.push(...page.items)
    cursor = page.cursor
  } while (cursor !== undefined)
  return items
}

type Passes = (name: string, path: string, item: FileItem) => boolean
const ends = (name: string, ...extensions: string[]) => extensions.some((each) => name.endsWith(`.${each}`))

/** Names and paths are folded, and paths begin in the location. */
const ASKED: Record<string, Passes> = {
  '': () => true,
  'annual report': (name) => name.includes('annual') && name.includes('report'),
  'report annual 2024': (name) => ['annual', 'report', '2024'].every((each) => name.includes(each)),
  '"annual report"': (name) => name.includes('annual report'),
  'annual report -draft': (name) => name.includes('annual') && name.includes('report') && !name.includes('draft'),
  '-2024 ext:pdf': (name) => ends(name, 'pdf') && !name.includes('2024'),
  '-test -docs': (name) => !name.includes('test') && !name.includes('docs'),
  '*.jp': (name) => ends(name, 'jp'),
  '*s*.t?t': (name) => /s.*\.t.t$/.test(name),
  're:[13].*\\.t': (name) => /[13].*\.t/.test(name),
  '*.jp?g': (name) => /^.*\.jp.g$/s.test(name),
  '*.{jpg,jpeg,png} img': (name) => /\.(jpg|jpeg|png)$/.test(name) && name.includes('img'),
  'img_[0-9]*': (name) => /^img_[0-9].*$/.test(name),
  'test-*': (name) => name.startsWith('test-'),
  '-test-* ext:ts': (name) => ends(name, 'ts') && !name.startsWith('test-'),
  're:^img_\\d+\\.jpe?g$': (name) => /^img_\d+\.jpe?g$/.test(name),
  're:^[A-Z]MG': (name) => /^[a-z]mg/.test(name),
  '-re:\\d re:^a': (name) => name.startsWith('a') && !/\d/.test(name),
  're:src/.*/test-': (_, path) => /src\/.*\/test-/.test(path),
  're:lib/test[^/]*$': (_, path) => /lib\/test[^/]*$/.test(path),
  'src/lib': (_, path) => path.includes('src/lib'),
  'src/lib/': (_, path) => path.includes('src/lib/'),
  'lib/test': (_, path) => path.includes('lib/test'),
  '/src/lib/test': (_, path) => path.includes('/src/lib/test'),
  'src/': (_, path) => path.includes('src/'),
  'src/ test -deep/': (name, path) => path.includes('src/') && name.includes('test') && !path.includes('deep/'),
  'src/lib kind:file size:>2': (_, path, item) => path.includes('src/lib') && item.kind === 'file' && item.size > 2,
  'src/**/test-*.ts': (_, path) => /\/src\/(.*\/)?test-[^/]*\.ts$/.test(path),
  'src/*.ts': (_, path) => /\/src\/[^/]*\.ts$/.test(path),
  'path:lib': (_, path) => path.includes('lib'),
  'path:d*p': (_, path) => /\/d[^/]*p(\/|$)/.test(path),
  '-path:lib ext:ts': (name, path) => ends(name, 'ts') && !path.includes('lib'),
  'is:hidden': (_, path) => path.includes('/.'),
  '-is:hidden kind:file': (_, path, item) => !path.includes('/.') && item.kind === 'file',
  'is:hidden ext:json': (name, path) => path.includes('/.') && ends(name, 'json'),
  '-kind:file': (_, __, item) => item.kind !== 'file',
  '-size:>10': (_, __, item) => item.kind !== 'file' || item.size <= 10,
  '-ext:ts,pdf -kind:directory': (name, _, item) => !ends(name, 'ts', 'pdf') && item.kind !== 'directory',
  'modified:<2024-01-05 kind:file': (_, __, item) =>
    item.kind === 'file' && Date.parse(item.modifiedAt) < new Date(2024, 0, 5).getTime(),
  '-modified:2024 kind:file': (_, __, item) => item.kind === 'file' && !item.modifiedAt.startsWith('2024'),
  '(1)': (name) => name.includes('(1)'),
  'C++': (name) => name.includes('c++'),
  "it's 100%": (name) => name.includes("it's") && name.includes('100%'),
  '"what?"': (name) => name === 'what?',
  'foo[1].txt': (name) => name === 'foo[1].txt',
  'nowhere ext:pdf': () => false,
  'no/where': () => false,
  '*.nothing': () => false,
}

test('every query finds what an oracle lets pass, in each order, however it is paged', async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage)
  const whole = await everything(library, { query: '' }, 1_000)
  const relative = (item: FileItem) => fold(`/${item.path.slice(stage.path.length + 1)}`)
  for (const [query, passes] of Object.entries(ASKED)) {
    const expected = whole.filter((item) => passes(fold(item.name), relative(item), item))
    const ids = expected.map(({ id }) => id).sort()
    for (const [sort, order] of SORTS) {
      const params = { query, syntax: 'filters', sort, order } as const
      const label = `${query} ${sort} ${order}`
      for (const limit of order === 'ascending' ? [1_000] : [5]) {
        const items = await everything(library, params, limit)
        t.deepEqual(items.map(({ id }) => id).sort(), ids, label)
        if (sort !== 'relevance')
          t.deepEqual(
            items.map(({ id }) => id),
            ordered(items, sort, order === 'descending'),
            label,
          )
      }
    }
    t.is((await library.search({ query, syntax: 'filters', limit: 1 })).total, expected.length, query)
    t.true(expected.length > 0 || /no/.test(query), query)
  }
})

test('a part of a path is found from the few directories above it, or from the few names that begin so', async (t) => {
  using stage = new Stage()
  const many = Array.from({ length: 120 }, (_, at) => `x/lib/test-${at}`)
  const deep = [
    'x/lib/testing/lib/test/deep',
    'lib/xlib/test/1',
    'lib/xlib/testlib/test/2',
    'x/lib2/test',
    'lib/tes/t',
    'lib/rare',
  ]
  const twice = ['test/lib/test/lib/test/lib/3', 'testlib/testlib/testlib/4', 'tests/lib.d/test']
  for (const path of [...many, ...deep, ...twice]) {
    mkdirSync(join(stage.tree, dirname(path)), { recursive: true })
    writeFileSync(join(stage.tree, path), '')
  }
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  const whole = await everything(library, { query: '' }, 1_000)
  const asked = [
    'lib/test',
    'x/lib/test',
    'tree/lib',
    'tree/test',
    'lib/test/lib',
    'testlib/testlib',
    'lib/rare',
    'lib/t',
  ]
  for (const query of [...asked, 'lib/test/', 'est/lib']) {
    const ids = whole.filter(({ path }) => path.slice(stage.path.length).includes(query)).map(({ id }) => id)
    t.true(ids.length > 0, query)
    const found = await everything(library, { query, syntax: 'filters' }, 50)
    t.deepEqual(found.map(({ id }) => id).sort(), ids.sort(), query)
  }
})

const SORTS = [
  ['relevance', undefined],
  ['name', 'ascending'],
  ['name', 'descending'],
  ['size', 'ascending'],
  ['size', 'descending'],
  ['modified', 'ascending'],
  ['modified', 'descending'],
] as const

/** What is the same stays as it is: of those only the numbers inside count. */
function ordered(items: readonly FileItem[], sort: 'name' | 'size' | 'modified', descending: boolean): string[] {
  const key = (item: FileItem) =>
    sort === 'name'
      ? fold(item.name)
      : sort === 'size'
        ? item.kind === 'file'
          ? item.size
          : -1
        : Date.parse(item.modifiedAt)
  const sign = descending ? -1 : 1
  const compared = (a: FileItem, b: FileItem) => (key(a) === key(b) ? 0 : key(a) < key(b) ? -sign : sign)
  return items.toSorted(compared).map(({ id }) => id)
}

test('a phrase comes first, then words where words begin, then the rest', async (t) => {
  using stage = new Stage()
  for (const name of ['annual report', 'annual report.pdf', 'my annual report', 'report, annual', 'biannual reports'])
    writeFileSync(join(stage.tree, name), '')
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  const { items } = await library.search({ query: 'annual report', syntax: 'filters' })
  t.deepEqual(
    items.map(({ name }) => name),
    ['annual report', 'annual report.pdf', 'my annual report', 'biannual reports', 'report, annual'],
  )
})

test('people find names however they spell them', async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage)
  for (const [query, total] of [
    ['ubersicht', 2],
    ['ÜBERSICHT É', 2],
    ['U\u0308BERSICHT', 2],
    ['strasse', 2],
    ['straße', 2],
    ['STRAẞE', 2],
    ['full width', 1],
    ['ｆｕｌｌ', 1],
    ['istanbul isik', 1],
    ['İSTANBUL', 1],
    ['ISTANBUL IŞIK', 1],
    ['lodz', 1],
    ['Łódź', 1],
    ['oeuvre aether o', 1],
    ['re:^über', 2],
    ['*übers*', 2],
    ['glob:str[aä]ße*', 2],
  ] as const)
    t.is((await library.search({ query, syntax: 'filters' })).total, total, query)
})

test('a location is called by its name, and one that is none is pointed at', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (const name of ['one', 'two']) {
    mkdirSync(join(stage.path, name))
    writeFileSync(join(stage.path, name, 'match'), '')
  }
  const uid = await index(library, join(stage.path, 'one'))
  await index(library, join(stage.path, 'two'))
  const found = (query: string) => library.search({ query, syntax: 'filters' })
  t.is((await found('match')).total, 2)
  for (const query of ['match location:one', 'match location:ONE', `match location:${uid}`, 'match -location:two']) {
    const { items } = await found(query)
    t.deepEqual(
      items.map(({ location }) => location),
      [uid],
      query,
    )
  }
  await t.throwsAsync(found('match location:three'), { code: 'BAD_REQUEST' })
  const error = await found('match location:three').catch((thrown: { position?: number }) => thrown)
  t.is((error as { position?: number }).position, 15)
})

test('a cursor of one order is foreign to every other', async (t) => {
  using stage = new Stage()
  const { library } = await filled(stage)
  for (const [sort, order] of SORTS) {
    const { cursor } = await library.search({ query: '', sort, order, limit: 1 })
    for (const [other, direction] of SORTS) {
      const asked = library.search({ query: '', sort: other, order: direction, limit: 1, cursor })
      if (sort === other && order === direction) await asked
      else await t.throwsAsync(asked, { code: 'BAD_REQUEST' }, `${sort} ${other}`)
    }
  }
  await t.throwsAsync(library.search({ query: '', order: 'descending' }), { code: 'BAD_REQUEST' })
})

/** What happens to the tree between two pages; nothing of it touches what is to be found. */
const change = fc.record({
  kind: fc.constantFrom('add', 'rename', 'delete', 'grow'),
  which: fc.nat({ max: 29 }),
  to: fc.nat({ max: 99 }),
})

test('pages in any order neither skip nor repeat what stays, while other entries come, go and change', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...SORTS),
      fc.constantFrom('page', 'page ext:txt', 'p*', 're:^page', 'tree/', 'page kind:file', '-zzz page'),
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.array(change, { minLength: 1, maxLength: 6 }), { minLength: 3, maxLength: 12 }),
      async ([sort, order], query, limit, rounds) => {
        using stage = new Stage()
        const stays = new Set<string>()
        for (let at = 0; at < 30; at++) {
          for (const name of [`page ${at * 3}.txt`, `page ${at * 3 + 1} moves.txt`]) {
            writeFileSync(join(stage.tree, name), 'x'.repeat((at * 7) % 11))
            utimesSync(join(stage.tree, name), 1, THEN / 1000 + ((at * 5) % 13))
          }
          stays.add(join(stage.tree, `page ${at * 3}.txt`))
        }
        const library = stage.open(stage.create())
        const uid = await index(library, stage.tree)
        const seen: string[] = []
        let cursor: string | undefined
        for (let round = 0; ; round++) {
          const page = await library.search({ query, syntax: 'filters', sort, order, limit, cursor })
          seen.push(...page.items.map(({ path }) => path).filter((path) => stays.has(path)))
          cursor = page.cursor
          if (cursor === undefined) break
          const changes = rounds[round]
          if (!changes) continue
          for (const each of changes) apply(stage.tree, each)
          await rescan(library, uid)
        }
        t.deepEqual(seen.toSorted(), [...stays].toSorted(), `${query} ${sort} ${order}`)
      },
    ),
    { numRuns: 10, seed: Number(process.env.PAGES_SEED ?? 1) },
  )
})

function apply(tree: string, { kind, which, to }: { kind: string; which: number; to: number }): void {
  const path = join(tree, `page ${which * 3 + 1} moves.txt`)
  try {
    if (kind === 'add') writeFileSync(join(tree, `page new ${to}.txt`), 'x'.repeat(to % 11))
    else if (kind === 'rename') renameSync(path, join(tree, `page ${to * 3 + 2} moved.txt`))
    else if (kind === 'delete') rmSync(path, { force: true })
    else writeFileSync(path, 'x'.repeat(to % 11), { flag: 'r+' })
  } catch (error) {
    // It moved or went before.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

test('while an index job runs each search finds exactly what is stored by then, in every order', async (t) => {
  using stage = new Stage()
  for (let at = 0; at < 12; at++) {
    mkdirSync(join(stage.tree, `part ${at}`))
    for (let each = 0; each < 25; each++) writeFileSync(join(stage.tree, `part ${at}`, `match ${each}.txt`), '')
  }
  const library = stage.open(stage.create())
  const asked: Promise<{ stored: number; total: number; items: readonly FileItem[] }>[] = []
  const back = batchesOf(20)
  try {
    const meanwhile = () => {
      const stored = library.info().files
      for (const [sort, order] of SORTS)
        asked.push(
          library
            .search({ query: 'match ext:txt', syntax: 'filters', sort, order, limit: 1_000 })
            .then((page) => ({ stored, ...page })),
        )
    }
    await index(library, stage.tree, { meanwhile })
  } finally {
    back()
  }
  const answers = await Promise.all(asked)
  t.true(
    answers.some(({ total }) => total > 0 && total < 300),
    'results while it ran',
  )
  for (const { stored, total, items } of answers) {
    t.is(items.length, total)
    t.true(total >= stored && total <= 300, `${total} of ${stored}`)
    t.is(new Set(items.map(({ id }) => id)).size, total)
  }
  t.is((await library.search({ query: 'match ext:txt', syntax: 'filters', limit: 1 })).total, 300)
})
