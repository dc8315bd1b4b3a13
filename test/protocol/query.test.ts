// The query language: what is a filter, what is text, and that an error points at the character.
import test from 'ava'
import fc from 'fast-check'
import { SpacedriveError } from '../../src/base/errors.js'
import { LIMITS } from '../../src/base/limits.js'
import { PARAMS } from '../../src/protocol/operations.js'
import { readQuery, type Query } from '../../src/protocol/query.js'

/** A day with a month before it that is too short for its date. */
const NOW = new Date(2026, 2, 31, 15, 30).getTime()
const HOUR = 3_600_000

function read(query: string): Query {
  return readQuery(query, NOW)
}

function day(year: number, month: number, date: number): string {
  return new Date(year, month - 1, date).toISOString()
}

function wordsOf(query: string): string[] {
  return read(query).terms.map(({ text, not }) => `${not ? '-' : ''}${text}`)
}

const WORDS: [string, string[]][] = [
  ['', []],
  ['  two  words ', ['two', 'words']],
  ['"', ['"']],
  ['""', []],
  ['say "hi" loud', ['say', 'hi', 'loud']],
  ['"say  hi" loud', ['say  hi', 'loud']],
  ['"open end', ['"open', 'end']],
  ['12" disk', ['12"', 'disk']],
  ['a"b c"', ['a"b', 'c"']],
  ['""x"" y', ['"x"', 'y']],
  ['"ext:pdf"', ['ext:pdf']],
  ['"size: large"', ['size: large']],
  ['"  a  "', ['  a  ']],
  ['"a"b c" d', ['a"b c', 'd']],
  ['next:pdf', ['next:pdf']],
  ['Ext:pdf', ['Ext:pdf']],
  ['a,ext:pdf', ['a,ext:pdf']],
  ['http://host note: x', ['http://host', 'note:', 'x']],
  ["o'clock 100% a_b \\ [", ["o'clock", '100%', 'a_b', '\\', '[']],
  ['\0\n\ud800', ['\0', '\ud800']],
  ['report -draft', ['report', '-draft']],
  ['-"old draft" a-b', ['-old draft', 'a-b']],
  ['"-draft" - -- --json', ['-draft', '-', '--', '--json']],
  ['a AND (b OR c) NOT d', ['a', 'AND', '(b', 'OR', 'c)', 'NOT', 'd']],
]

for (const [query, words] of WORDS) {
  test(`${JSON.stringify(query)} is only words`, (t) => {
    t.deepEqual(wordsOf(query), words)
    t.deepEqual(read(query).filters, {})
    t.false(read(query).relative)
  })
}

const BESIDE: [string, string[]][] = [
  ['invoice ext:pdf', ['invoice']],
  ['ext:pdf  invoice', ['invoice']],
  [' ext:pdf ', []],
  ['annual  ext:pdf  report', ['annual', 'report']],
  ['"annual " ext:pdf " report"', ['annual ', ' report']],
]

for (const [query, words] of BESIDE) {
  test(`the words of ${JSON.stringify(query)} are ${JSON.stringify(words)}`, (t) => {
    t.deepEqual(wordsOf(query), words)
    t.deepEqual(read(query).filters.extensions, ['pdf'])
  })
}

test('a dash before a filter asks for what it is not, as often as one likes', (t) => {
  t.deepEqual(read('-ext:log,tmp -kind:directory -size:>1M -is:hidden -path:/a -path:/b').filters, {
    not: [
      { extensions: ['log', 'tmp'] },
      { kind: 'directory' },
      { size: { min: 1024 ** 2 + 1 } },
      { hidden: true },
      { path: '/a' },
      { path: '/b' },
    ],
  })
  t.true(read('x -modified:<1d').relative)
  const many = Array.from({ length: LIMITS.filtersNotMax }, (_, at) => `-ext:e${at}`).join(' ')
  t.is(read(many).filters.not?.length, LIMITS.filtersNotMax)
  t.throws(() => read(`${many} -ext:more`), { code: 'BAD_REQUEST' })
})

test('types are read like extensions, whatever their case, and is: knows two words', (t) => {
  t.deepEqual(read('type:image -type:Video,TEXT is:duplicate').filters, {
    contentKinds: ['image'],
    duplicate: true,
    not: [{ contentKinds: ['video', 'text'] }],
  })
  t.deepEqual(read('-is:duplicate').filters, { not: [{ duplicate: true }] })
})

test('signs of a glob make one, re: an expression, a slash asks for the path', (t) => {
  const told = (query: string) =>
    read(query).terms.map(({ how, on, text, not }) => `${not ? '-' : ''}${how} ${on} ${text}`)
  t.deepEqual(told('*.jp?g "*.jpg" -*.tmp'), ['glob name *.jp?g', 'text name *.jpg', '-glob name *.tmp'])
  t.deepEqual(told('src/lib src/**/*.ts "a b/c"'), ['text path src/lib', 'glob path src/**/*.ts', 'text path a b/c'])
  t.deepEqual(told('re:^a.c$ -re:x/y re:"a b" re:[^/]x'), [
    'regex name ^a.c$',
    '-regex path x/y',
    'regex name a b',
    'regex name [^/]x',
  ])
  t.deepEqual(told('glob:img_[0-9] glob:"a {b,c}"'), ['glob name img_[0-9]', 'glob name a {b,c}'])
  t.deepEqual(told('path:docs path:no* path:"a b" path:/x/*.c'), [
    'text path docs',
    'glob path no*',
    'text path a b',
    'glob path /x/*.c',
  ])
  t.deepEqual(read('path:"/a*b"').filters, { path: '/a*b' })
  t.deepEqual(
    told('foo[1] a{b} c++ (1) $x ^y'),
    ['foo[1]', 'a{b}', 'c++', '(1)', '$x', '^y'].map((each) => `text name ${each}`),
  )
})

test('patterns are bounded together, whatever they look like', (t) => {
  const pattern = `re:(a|b){60}`
  t.is(read(pattern).terms.length, 1)
  t.throws(() => read(`${pattern} ${pattern} ${pattern}`), { code: 'BAD_REQUEST' })
  t.is(read(`re:${'x'.repeat(500)} ${'word '.repeat(20)}`).terms.length, 21)
})

test('so many words and no more', (t) => {
  const words = Array.from({ length: LIMITS.termsMax }, (_, at) => `w${at}`).join(' ')
  t.is(read(words).terms.length, LIMITS.termsMax)
  const error = t.throws(() => read(`${words} more`), { instanceOf: SpacedriveError, code: 'BAD_REQUEST' })
  t.is(error?.position, words.length + 1)
})

const M = 1024 ** 2
const SIZES: [string, { min?: number; max?: number }][] = [
  ['0', { min: 0, max: 0 }],
  ['4096', { min: 4096, max: 4096 }],
  ['10B', { min: 10, max: 10 }],
  ['>1M', { min: M + 1 }],
  ['>=1M', { min: M }],
  ['<1m', { max: M - 1 }],
  ['<=1MiB', { max: M }],
  ['>1.5KB', { min: 1537 }],
  ['>1.3K', { min: 1332 }],
  ['<1.3K', { max: 1331 }],
  ['1K..1M', { min: 1024, max: M }],
  ['..1G', { max: 1024 ** 3 }],
  ['1T..', { min: 1024 ** 4 }],
  ['1.5K..2.5K', { min: 1536, max: 2560 }],
  ['>1M size:<2M', { min: M + 1, max: 2 * M - 1 }],
  ['>1M size:>2M', { min: 2 * M + 1 }],
]

for (const [value, { min, max }] of SIZES) {
  test(`size:${value}`, (t) => {
    t.deepEqual(read(`x size:${value}`).filters, { size: { min, max } })
    t.false(read(`x size:${value}`).relative)
  })
}

const AMOUNTS: [query: string, filters: object][] = [
  ['width:>1000', { width: { min: 1001 } }],
  ['height:640..1920px', { height: { min: 640, max: 1920 } }],
  ['width:640 width:<=1000', { width: { min: 640, max: 640 } }],
  ['duration:>10min', { durationMs: { min: 600_001 } }],
  ['duration:1.5s', { durationMs: { min: 1_500, max: 1_500 } }],
  ['duration:90..2h', { durationMs: { min: 90_000, max: 7_200_000 } }],
  ['taken:2026-07', { taken: { after: '2026-07-01T00:00:00', before: '2026-08-01T00:00:00' } }],
  ['taken:2024-02-29..', { taken: { after: '2024-02-29T00:00:00' } }],
  ['taken:>=2026 taken:<2026-02', { taken: { after: '2026-01-01T00:00:00', before: '2026-02-01T00:00:00' } }],
  ['-taken:2026', { not: [{ taken: { after: '2026-01-01T00:00:00', before: '2027-01-01T00:00:00' } }] }],
]

for (const [query, filters] of AMOUNTS) {
  test(query, (t) => {
    const asked = JSON.parse(JSON.stringify(read(query).filters)) as object
    t.deepEqual(asked, filters)
    const params = { library: 'l', query: '', filters: asked }
    t.notThrows(() => PARAMS['search.files'].parse(params))
  })
}

test('ages of pictures count from the moment of the search', (t) => {
  t.true(read('taken:<30d').relative)
  t.false(read('taken:2026').relative)
})

const TIMES: [string, { after?: string; before?: string }, boolean][] = [
  ['<30d', { after: new Date(NOW - 30 * 24 * HOUR).toISOString() }, true],
  ['>2w', { before: new Date(NOW - 14 * 24 * HOUR).toISOString() }, true],
  ['<=12h', { after: new Date(NOW - 12 * HOUR).toISOString() }, true],
  ['<1m', { after: new Date(2026, 1, 28, 15, 30).toISOString() }, true],
  ['>1y', { before: new Date(2025, 2, 31, 15, 30).toISOString() }, true],
  ['today', { after: day(2026, 3, 31), before: day(2026, 4, 1) }, true],
  ['yesterday', { after: day(2026, 3, 30), before: day(2026, 3, 31) }, true],
  ['yesterday..', { after: day(2026, 3, 30) }, true],
  ['2026', { after: day(2026, 1, 1), before: day(2027, 1, 1) }, false],
  ['2025-12', { after: day(2025, 12, 1), before: day(2026, 1, 1) }, false],
  ['2024-02-29', { after: day(2024, 2, 29), before: day(2024, 3, 1) }, false],
  ['2026-01-15..2026-02-01', { after: day(2026, 1, 15), before: day(2026, 2, 2) }, false],
  ['..2026-01', { before: day(2026, 2, 1) }, false],
  ['<2026-01', { before: day(2026, 1, 1) }, false],
  ['<=2026-01', { before: day(2026, 2, 1) }, false],
  ['>2026-01', { after: day(2026, 2, 1) }, false],
  ['>=2026-01', { after: day(2026, 1, 1) }, false],
  ['>=2026-01 modified:<2026-02', { after: day(2026, 1, 1), before: day(2026, 2, 1) }, false],
]

for (const [value, { after, before }, relative] of TIMES) {
  test(`modified:${value}`, (t) => {
    t.deepEqual(read(`modified:${value}`).filters, { modified: { after, before } })
    t.is(read(`modified:${value}`).relative, relative)
  })
}

test('the other filters, and all of them in one', (t) => {
  t.deepEqual(read('ext:.PDF,tar.gz').filters, { extensions: ['pdf', 'tar.gz'] })
  t.deepEqual(read('kind:directory').filters, { kind: 'directory' })
  t.deepEqual(read('path:/srv/docs').filters, { path: '/srv/docs' })
  t.deepEqual(read('path:"/srv/my docs" x').filters, { path: '/srv/my docs' })
  t.deepEqual(read('is:hidden location:"my photos"').filters, { hidden: true, location: 'my photos' })
  const { terms, filters } = read('invoice ext:pdf,docx size:>1M modified:<30d kind:file path:/srv/docs')
  t.deepEqual(
    terms.map(({ text }) => text),
    ['invoice'],
  )
  t.deepEqual(Object.keys(filters).sort(), ['extensions', 'kind', 'modified', 'path', 'size'])
  t.true(PARAMS['search.files'].safeParse({ library: 'a', query: 'invoice', filters }).success)
})

/** The caret stands under the position. */
const WRONG: [string, string][] = [
  ['a size:', '      ^'],
  ['size: large', '    ^'],
  ['size:big', '     ^'],
  ['size:>x', '      ^'],
  ['size:>', '     ^'],
  ['size:1M..x', '         ^'],
  ['size:..', '     ^'],
  ['size:5M..1M', '         ^'],
  ['size:1..2..3', '        ^'],
  ['size:<0', '     ^'],
  ['size:-1', '     ^'],
  ['size:9999999T', '     ^'],
  ['size:1e3', '     ^'],
  ['modified:30d', '         ^'],
  ['modified:<30x', '          ^'],
  ['modified:soon', '         ^'],
  ['modified:2026-13', '         ^'],
  ['modified:2026-02-30', '         ^'],
  ['modified:2026-02..2026-01', '                  ^'],
  ['modified:<999999y', '         ^'],
  ['modified:<30d..1d', '         ^'],
  ['width:wide', '      ^'],
  ['height:1.5', '       ^'],
  ['width:<0', '      ^'],
  ['duration:1m', '         ^'],
  ['duration:2h..1h', '             ^'],
  ['taken:soon', '      ^'],
  ['taken:30d', '      ^'],
  ['kind:folder', '     ^'],
  ['ext:pdf,,docx', '        ^'],
  ['ext:pdf,', '       ^'],
  ['ext:a/b', '    ^'],
  ['ext:..', '    ^'],
  ['ext:pdf ext:docx', '            ^'],
  ['kind:file kind:file', '               ^'],
  ['x -size:big', '        ^'],
  ['is:odd', '   ^'],
  ['kind:image', '     ^'],
  ['a type:imag', '       ^'],
  ['type:image,odd', '           ^'],
  ['type:image,', '          ^'],
  ['type:', '    ^'],
  ['type:image type:code', '                ^'],
  ['is:', '  ^'],
  ['re:', '  ^'],
  ['x re:a(b', '      ^'],
  ['re:a)b', '    ^'],
  ['re:*a', '   ^'],
  ['re:a**', '     ^'],
  ['re:a++', '     ^'],
  ['re:[a', '   ^'],
  ['re:[z-a]', '    ^'],
  ['re:a{3,2}', '    ^'],
  ['re:a{256}', '    ^'],
  ['re:(?=a)b', '   ^'],
  ['re:(a)\\1', '      ^'],
  ['re:\\q', '   ^'],
  ['re:a\\', '    ^'],
  ['re:"a b(" x', '       ^'],
  ['re:(x{200}){200}', '   ^'],
  ['*.{a,b', '  ^'],
  ['*[z-a]', ' ^'],
  ['a created:today', '  ^'],
  ['a -accessed:today', '   ^'],
  ['path:"', '     ^'],
  ['path:""', '    ^'],
  ['path:"/a b', '     ^'],
]

for (const [query, caret] of WRONG) {
  test(`what makes no sense is pointed at: ${query}`, (t) => {
    const error = t.throws(() => read(query), { instanceOf: SpacedriveError, code: 'BAD_REQUEST' })!
    t.is(`${' '.repeat(error.position!)}^`, caret, error.message)
    t.not(error.hint, '')
  })
}

test('so many extensions and no more', (t) => {
  const names = Array.from({ length: LIMITS.extensionsMax + 1 }, (_, at) => `e${at}`)
  t.is(read(`ext:${names.slice(1).join(',')}`).filters.extensions?.length, LIMITS.extensionsMax)
  t.throws(() => read(`ext:${names.join(',')}`), { code: 'BAD_REQUEST' })
})

const piece = fc.constantFrom(
  ...[
    'ext:',
    'size:',
    'modified:',
    'duration:',
    'taken:',
    'kind:',
    'type:',
    'image',
    'duplicate',
    'path:',
    'location:',
    'is:',
    'hidden',
    '-',
    're:',
    'glob:',
    '*',
    '[',
    ']',
    '(',
    ')',
    '{',
    '}',
    '\\',
    '|',
    'file',
    '/',
    '"',
    ' ',
    '  ',
    '..',
    '>',
    '<=',
    ',',
    '.',
    '\0',
    ':',
  ],
  ...['1', '30', '9999999', 'M', 'd', 'y', '2026', '-', '02', '31', 'today', 'pdf', '\ud800', '😀', '\n', 'ü'],
)

test('whatever is typed is read, or refused with a position inside of it', (t) => {
  const typed = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary', maxLength: 30 }),
  )
  fc.assert(
    fc.property(typed, (query) => {
      try {
        const { filters } = read(query)
        return PARAMS['search.files'].safeParse({ library: 'a', query, filters }).success || isOld(filters)
      } catch (error) {
        if (!(error instanceof SpacedriveError) || error.code !== 'BAD_REQUEST') throw error
        return error.position! >= 0 && error.position! < query.length && Number.isInteger(error.position)
      }
    }),
    { numRuns: Number(process.env.QUERY_RUNS ?? 5_000), seed: Number(process.env.QUERY_SEED ?? 1) },
  )
  t.pass()
})

/** Of years that have other than four digits the protocol's own form of time knows nothing. */
function isOld({ modified }: Query['filters']): boolean {
  return [modified?.after, modified?.before].some((time) => time !== undefined && /^[+-]/.test(time))
}

test('any text between quotation marks is taken as it is', (t) => {
  const quotable = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((text) => !/"(\s|$)/.test(text))
  fc.assert(
    fc.property(quotable, fc.boolean(), (text, filtered) => {
      t.deepEqual(wordsOf(`"${text}"${filtered ? ' ext:pdf' : ''}`), [text])
    }),
    { numRuns: 1_000, seed: 1 },
  )
})
