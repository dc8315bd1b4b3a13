import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { SpacedriveError } from '../../src/base/errors.js'
import { tagLines } from '../../src/cli/tag.js'
import { Terminal } from '../../src/cli/terminal.js'
import { columnsOf } from '../../src/cli/text.js'
import type { TagItem } from '../../src/protocol/messages.js'
import { aLibrary, aLocation, FakeDaemon, remembering } from './fake.js'

function aTag(path: string[], changes: Partial<TagItem> = {}): TagItem {
  const name = path.at(-1)!
  const same = { id: `id-of-${name}`, library: 'id-of-Photos', aliases: [], createdAt: '2026-01-02T03:04:05Z' }
  return { ...same, name, path, entries: 0, contents: 0, ...changes }
}

const TREE = [
  aTag(['private'], { aliases: ['home'], description: 'nobody else’s' }),
  aTag(['work'], { colour: '#d0021b', entries: 12_345 }),
  aTag(['work', 'clients', '\u001b[31mAcme'], { colour: '#4a90e2' }),
]

test('tags are listed as a tree, with colour only on a terminal', (t) => {
  const plain = tagLines(TREE, new Terminal(remembering(), remembering()))
  t.is(plain[0], 'tag               entries  colour   aliases  description')
  t.is(plain[2], 'work               12,345  #d0021b')
  t.true(plain[3]!.startsWith('    \\x1b[31mAcme'), 'what would colour by itself does not')
  const shown = (env: Record<string, string>) =>
    tagLines(TREE, new Terminal(remembering({ isTTY: true, columns: 80 }), remembering(), env))
  t.true(shown({ COLORTERM: 'truecolor' })[2]!.startsWith('\u001b[38;2;208;2;27m●\u001b[0m work'))
  t.true(shown({})[2]!.startsWith('\u001b[38;5;161m●\u001b[0m work'))
  t.deepEqual(shown({ NO_COLOR: '1' }), plain)
})

test('a tree of tags keeps to the width of the terminal', (t) => {
  const long = aTag(['x'.repeat(100)], { aliases: ['y'.repeat(100)], description: 'z'.repeat(500), colour: '#000000' })
  const terminal = new Terminal(remembering({ isTTY: true, columns: 80 }), remembering(), { NO_COLOR: '1' })
  for (const line of tagLines([...TREE, long], terminal)) t.true(columnsOf(line) <= 80, line)
})

test('what is to be taken away from a tag is sent as nothing, what is not named is not sent', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'tags.update': () => aTag(['work']),
    'tags.create': () => aTag(['work', 'new']),
  })
  await daemon.cli('tag', 'update', 'job', '--no-colour', '--no-parent', '--alias', 'a', '--alias', 'b')
  const library = 'id-of-Photos'
  t.deepEqual(daemon.paramsOf('tags.update'), [
    { library, tag: 'job', colour: null, parent: null, aliases: ['a', 'b'] },
  ])
  const { code, out } = await daemon.cli('tag', 'create', 'new', '--parent', 'work', '--color', '#ABCDEF')
  t.is(code, 0)
  t.is(out, 'created the tag "work" > "new"\n')
  t.deepEqual(daemon.paramsOf('tags.create'), [{ library, name: 'new', parent: 'work', colour: '#ABCDEF' }])
})

test('more paths than one request takes are sent in several, and what is in none is told at the end', async (t) => {
  const count = LIMITS.tagEntriesMax + 5
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/srv')],
    'tags.apply': ({ paths }) => {
      const missing = (paths as string[]).filter((path) => path.includes('gone'))
      if (missing.length === (paths as string[]).length) throw new SpacedriveError('FILE_NOT_FOUND', 'none')
      return { tag: 'id-of-work', entries: (paths as string[]).length - missing.length, changed: 1, missing }
    },
  })
  const paths = Array.from({ length: count }, (_, at) => `/srv/${at < 1_000 ? at : `gone${at}`}`)
  const { code, out, err } = await daemon.cli('tag', 'apply', 'work', ...paths)
  t.deepEqual(
    daemon.paramsOf('tags.apply').flatMap(({ paths: sent }) => sent),
    paths,
  )
  t.is(code, 1)
  t.is(out, '"work" is on 1,000 entries, 999 had it before\n')
  t.is(err, `${[1_000, 1_001, 1_002, 1_003, 1_004].map((at) => `not in the index: /srv/gone${at}\n`).join('')}`)
})

test('what has a tag is searched for without a word, and listed below a directory', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/srv')],
    'search.files': () => ({ total: 0, items: [] }),
  })
  t.is((await daemon.cli('search', '--tag', 'work', '--tag', 'job')).code, 0)
  t.is((await daemon.cli('ls', '/srv/a', '--tag', 'work')).code, 0)
  t.like(daemon.paramsOf('search.files'), [
    { query: '', filters: { tags: ['work', 'job'] } },
    { query: '', filters: { tags: ['work'], path: '/srv/a' }, sort: 'name' },
  ])
  const { code, err } = await daemon.cli('search')
  t.is(code, 2)
  t.regex(err, /missing required argument 'QUERY'/)
})
