// What rules leave out: compared with git itself where the rules are git's, by example where they are ours.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import type { LocationRules } from '../../src/protocol/operations.js'
import { decodeNames, encodeName } from '../../src/scan/names.js'
import { parseLines, patternsOf, lastMatch } from '../../src/scan/patterns.js'
import { readDirectoryPlain } from '../../src/scan/read.js'
import { describeRules } from '../../src/scan/rules.js'
import { runsIn, walk, type Batch, type WalkOptions } from '../../src/scan/walk.js'

function ground(t: ExecutionContext): string {
  const root = mkdtempSync(join(tmpdir(), 'rules-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  return root
}

/** Files by path; what ends in a slash is a directory. */
function plant(root: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    const bytes = encodeName(join(root, path))
    mkdirSync(path.endsWith('/') ? bytes : encodeName(dirname(join(root, path))), { recursive: true })
    if (!path.endsWith('/')) writeFileSync(bytes, text, 'latin1')
  }
}

function scan(root: string, rules: LocationRules, options: Partial<WalkOptions> = {}): Batch[] {
  return [...walk({ root: encodeName(root), leftOut: [], rules, read: readDirectoryPlain, ...options })]
}

function kept(batches: readonly Batch[]): string[] {
  return batches
    .flatMap((batch) => {
      const all = decodeNames(batch.names)
      return runsIn(batch).flatMap(({ directory, count }) =>
        all.splice(0, count).map((name) => (directory === '' ? name : `${directory}/${name}`)),
      )
    })
    .sort()
}

function counted(batches: readonly Batch[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const { leftOut } of batches.flatMap(runsIn))
    for (const [rule, count] of Object.entries(leftOut?.counts ?? {})) sum[rule] = (sum[rule] ?? 0) + count
  return sum
}

const GIT = ['-c', 'core.excludesFile=/dev/null', '-c', 'core.quotePath=false', '-c', 'safe.directory=*']

function git(cwd: string, ...args: string[]): string {
  return execFileSync('git', [...GIT, ...args], { cwd, encoding: 'latin1', stdio: ['ignore', 'pipe', 'ignore'] })
}

/** What git would not leave out, of a work tree in which nothing is tracked; directories as well. */
function keptByGit(root: string, all: readonly string[]): string[] {
  const input = all
    .map((path) => encodeName(path))
    .reduce((sum, path) => Buffer.concat([sum, path, Buffer.from([0])]), Buffer.alloc(0))
  let out = ''
  try {
    out = execFileSync('git', [...GIT, 'check-ignore', '-z', '--stdin', '--no-index'], {
      cwd: root,
      input,
      encoding: 'latin1',
      stdio: ['pipe', 'pipe', 'ignore'],
    })
  } catch (error) {
    // 1 says that nothing is ignored.
    if ((error as { status?: number }).status !== 1) throw error
  }
  const ignored = new Set(out.split('\0'))
  return all.filter((path) => !ignored.has(encodeName(path).toString('latin1'))).sort()
}

const LINES = [
  '*.log', '!keep.log', '/top', 'b/', 'a/b', 'a/**', '**/c', 'a/**/c', '*.[ch]', '[!a-c]', '[^ab]*', 'x?z', '\\!odd', '\\#odd', '#no',
  'sp ', 'sp\\ ', 'foo**', '**foo', 'a**b', '**', '/*', '!/a/', '!*/', '!b', 'a/*/c', '*/c', '[[:digit:]]*', '[[:upper:]x]', '[]-]', '[a',
  'a\\', 'x\\*z', '/a/b/', '!a/b/c', '**/b/', 'b/**', '***/c', 'a/***/c', '?', '??', '[a-', '[z-a]', '[\\]]', 'é', '?é', '[é]', '!', '/',
  'a//b', './a', 'c/', '*', '!c', '[[:nope:]]', '[[:alpha:]', 'foo/**/**/bar', '**/**/c', 'a[/]b', 'a\\/b', '\\a', 'x*z*', '*x*z', '\t', '!*.log',
] // prettier-ignore
const NAMES = ['a', 'b', 'c', 'keep.log', 'x.log', 'top', 'xyz', 'x*z', '!odd', '#odd', 'sp', 'sp ', 'foo', 'foobar', 'é', 'xé', '1', 'Q', ']', '-', 'd.h'] // prettier-ignore

const lines = fc.array(fc.constantFrom(...LINES), { minLength: 1, maxLength: 6 })
const name = fc.constantFrom(...NAMES)
const path = fc.array(name, { minLength: 1, maxLength: 4 })
const tree = fc.record({
  files: fc.array(path, { minLength: 1, maxLength: 12 }),
  ignores: fc.array(fc.record({ at: fc.array(name, { maxLength: 2 }), lines, crlf: fc.boolean() }), {
    minLength: 1,
    maxLength: 3,
  }),
  exclude: fc.option(lines, { nil: undefined }),
})

function grow(
  root: string,
  { files, ignores, exclude }: typeof tree extends fc.Arbitrary<infer T> ? T : never,
): string[] {
  const paths = new Set<string>()
  for (const parts of files) {
    for (let at = 1; at < parts.length; at++) paths.add(parts.slice(0, at).join('/'))
  }
  const leaves = files.map((parts) => parts.join('/')).filter((each) => !paths.has(each))
  for (const leaf of leaves) plant(root, { [leaf]: '' })
  for (const each of paths) mkdirSync(join(root, each), { recursive: true })
  for (const { at, lines, crlf } of ignores) {
    const directory = at.join('/')
    if (directory !== '' && !paths.has(directory)) continue
    writeFileSync(join(root, directory, '.gitignore'), Buffer.from(lines.join(crlf ? '\r\n' : '\n')))
    leaves.push(join(directory, '.gitignore'))
  }
  if (exclude) writeFileSync(join(root, '.git/info/exclude'), Buffer.from(exclude.join('\n')))
  return [...new Set([...paths, ...leaves])]
}

test('what git ignores is left out, and nothing else', (t) => {
  let runs = 0
  fc.assert(
    fc.property(tree, (grown) => {
      const root = ground(t)
      git(root, 'init', '-q')
      const all = grow(root, grown)
      const ours = kept(scan(root, { gitignore: true })).filter((each) => each !== '.git' && !each.startsWith('.git/'))
      t.deepEqual(ours, keptByGit(root, all))
      rmSync(root, { recursive: true, force: true })
      runs += 1
    }),
    { numRuns: Number(process.env['RULES_RUNS'] ?? 40) },
  )
  t.true(runs > 0)
})

test('a repository in a repository knows nothing of the outer one, a location nothing of what would leave all of it out', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, { '.gitignore': '*.log\n/out\n', 'inner/a.log': '', 'inner/b.tmp': '', 'out/c.log': '', 'out/d': '' })
  git(join(root, 'inner'), 'init', '-q')
  plant(root, { 'inner/.gitignore': '*.tmp\n' })
  const rules = { gitignore: true, noGit: true }
  t.deepEqual(kept(scan(root, rules)), ['inner', 'inner/a.log'])
  t.deepEqual(kept(scan(join(root, 'out'), rules)), ['c.log', 'd'], 'it was asked for by name')
  plant(root, { 'sub/x.log': '', 'sub/y': '' })
  t.deepEqual(kept(scan(join(root, 'sub'), rules)), ['y'], 'what holds above holds below')
})

test('a work tree beside its repository has the same excludes', (t) => {
  const root = ground(t)
  mkdirSync(join(root, 'main'))
  git(join(root, 'main'), 'init', '-q')
  git(join(root, 'main'), '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '--allow-empty', '-m', 'first')
  git(join(root, 'main'), 'worktree', 'add', '-q', '../tree')
  writeFileSync(join(root, 'main/.git/info/exclude'), 'secret\n')
  plant(root, { 'tree/secret': '', 'tree/open': '' })
  t.deepEqual(kept(scan(join(root, 'tree'), { gitignore: true, noGit: true })), ['open'])
})

test('outside of a repository a .gitignore is a file like any other', (t) => {
  const root = ground(t)
  plant(root, { '.gitignore': '*\n', 'a.log': '' })
  t.deepEqual(kept(scan(root, { gitignore: true })), ['.gitignore', 'a.log'])
})

test('each rule leaves out what it says, and is counted', (t) => {
  const root = ground(t)
  plant(root, {
    '.DS_Store': '', '.hidden': '', '.git/HEAD': '', 'node_modules/x/y': '', 'a.txt~': '', 'photo.JPG': '', 'text.txt': '',
    'deep/lost+found/': '', 'deep/target': '', 'deep/.venv/lib': '', 'deep/photo.webp': '',
  }) // prettier-ignore
  const out = (rules: LocationRules) => {
    const all = kept(scan(root, {}))
    const left = new Set(kept(scan(root, rules)))
    return all.filter((path) => !left.has(path))
  }
  t.deepEqual(out({}), [])
  t.deepEqual(out({ noSystemFiles: true }), ['.DS_Store', 'a.txt~', 'deep/lost+found'])
  t.deepEqual(out({ noHidden: true }), ['.DS_Store', '.git', '.git/HEAD', '.hidden', 'deep/.venv', 'deep/.venv/lib'])
  t.deepEqual(out({ noGit: true }), ['.git', '.git/HEAD'])
  t.deepEqual(out({ noDevDirs: true }), [
    'deep/.venv',
    'deep/.venv/lib',
    'node_modules',
    'node_modules/x',
    'node_modules/x/y',
  ])
  t.deepEqual(
    out({ onlyImages: true }).filter((path) => path.includes('photo') || path === 'deep'),
    [],
  )
  t.deepEqual(
    counted(scan(root, { noSystemFiles: true, noHidden: true, noGit: true, noDevDirs: true, onlyImages: true })),
    {
      system: 3,
      git: 1,
      hidden: 1,
      dev: 2,
      images: 2,
    },
  )
})

test('rejected beats ignored, ignored beats accepted; own lines beat those of git', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, {
    '.gitignore': 'dist/\n*.log\n',
    'dist/a': '',
    'x.log': '',
    'y.log': '',
    'src/a.ts': '',
    'src/b.js': '',
    'z.md': '',
  })
  const found = (rules: LocationRules) => kept(scan(root, { gitignore: true, noGit: true, ...rules }))
  t.deepEqual(found({}), ['src', 'src/a.ts', 'src/b.js', 'z.md'])
  t.deepEqual(found({ ignore: ['!dist/', '!x.log', 'z.md'] }), [
    'dist',
    'dist/a',
    'src',
    'src/a.ts',
    'src/b.js',
    'x.log',
  ])
  t.deepEqual(found({ ignore: ['!*.log'], reject: ['y.*'] }), ['src', 'src/a.ts', 'src/b.js', 'x.log', 'z.md'])
  t.deepEqual(found({ accept: ['*.ts', '*.log', '*.md'], ignore: ['z.md'] }), ['src', 'src/a.ts'])
  t.deepEqual(found({ accept: ['src/'] }), ['src', 'src/a.ts', 'src/b.js'], 'all that lies in what it accepts')
  t.deepEqual(found({ accept: ['src/'], reject: ['*.js'] }), ['src', 'src/a.ts'])
})

test('names that are not UTF-8 are matched by their bytes', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, { '.gitignore': '\xff*\n?\xe9\n', '\udcffab': '', 'a\udce9': '', b: '' })
  t.deepEqual(kept(scan(root, { gitignore: true, noGit: true })), ['b'])
})

test('rules that are there and cannot be read are not the same as none', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, { 'in/.gitignore': '*.log\n', 'in/a.log': '', 'in/deep/b.log': '', out: '' })
  const failing = (code: string) => (path: Buffer) => {
    if (path.toString().endsWith('in/.gitignore')) throw Object.assign(new Error(`${code}: made up`), { code })
    return null
  }
  for (const code of ['EACCES', 'EIO']) {
    const found = scan(root, { gitignore: true, noGit: true }, { readText: failing(code) })
    t.deepEqual(kept(found), ['in', 'out'], 'nothing is concluded of the directory')
    const [run] = found.flatMap(runsIn).filter(({ error }) => error)
    t.is(run?.directory, 'in')
    t.is(run?.error?.code, code)
    t.true(run?.error?.message.includes('in/.gitignore'))
  }
  t.throws(() => scan(root, { gitignore: true }, { readText: failing('EMFILE') }), { code: 'EMFILE' })
})

test('a .gitignore that is a link or a directory has no rules, as for git', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, { rules: '*.log\n', 'a.log': '', 'b/.gitignore/x': '', 'b/c.log': '' })
  symlinkSync('rules', join(root, '.gitignore'))
  t.true(kept(scan(root, { gitignore: true, noGit: true })).includes('a.log'))
  t.true(kept(scan(root, { gitignore: true, noGit: true })).includes('b/c.log'))
})

test('patterns past the bounds are passed over, and that is told', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  const many = Array.from({ length: 10_100 }, (_, at) => `none${at}`)
  plant(root, { '.gitignore': ['*.log', 'x'.repeat(2_000), ...many].join('\n'), 'a.log': '', b: '' })
  const found = scan(root, { gitignore: true, noGit: true })
  t.deepEqual(kept(found), ['b'])
  const notes = found.flatMap(runsIn).flatMap(({ note }) => note ?? [])
  t.is(notes.length, 1)
  t.regex(notes[0]!.message, /102 were passed over/)
})

test('no pattern takes longer than the text and itself', (t) => {
  // Each of them doubles its work with every character where matching goes back.
  const hard = [
    '*a'.repeat(200) + '*b',
    '**/'.repeat(300) + 'b',
    '[a-z]*'.repeat(100) + '!',
    '?*'.repeat(250) + '/b',
    '*/'.repeat(400) + 'b',
  ]
  const text = 'a'.repeat(255)
  const path = `${'a/'.repeat(500)}a`
  for (const glob of hard) {
    const patterns = patternsOf([glob])
    t.is(
      lastMatch(patterns, text, () => path, false),
      undefined,
      glob.slice(0, 10),
    )
  }
  t.truthy(lastMatch(patternsOf(['*a'.repeat(200)]), text, () => path, false))
})

test('lines are read as git reads them', (t) => {
  const texts = (text: string) => parseLines(text).list.map((each) => each.text)
  t.deepEqual(texts('\xef\xbb\xbfa\r\n# no\n\nb  \nc\\ \nd\r'), ['a', 'b', 'c\\ ', 'd\r'])
})

test('rules are told in words', (t) => {
  t.deepEqual(describeRules('/tree', ['/tree/data'], { noHidden: true, reject: ['a', 'b'], onlyImages: true }), [
    'other file systems mounted below it (mount points are kept)',
    "/tree/data, which is spacedrive's own",
    'hidden files',
    'a, b',
    'files that are not images',
  ])
})

test('a walk goes on after any place under rules as without', (t) => {
  const root = ground(t)
  git(root, 'init', '-q')
  plant(root, {
    '.gitignore': '*.log\n',
    'a/x': '',
    'a/x.log': '',
    'b/.gitignore': '!x.log\n',
    'b/x.log': '',
    'b/c/x.log': '',
    'd/x.log': '',
  })
  const rules = { gitignore: true, noGit: true }
  const all = kept(scan(root, rules))
  t.deepEqual(all, ['a', 'a/x', 'b', 'b/c', 'b/c/x.log', 'b/x.log', 'd'])
  const rest = kept(scan(root, rules, { after: { directory: 'b' } }))
  t.deepEqual(rest, ['b/c/x.log'])
})
