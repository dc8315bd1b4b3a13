// The rules that hold for every file: layers, no orphans, no call that fails when descriptors run out, numbers said twice agree.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import test from 'ava'
import { LIMITS } from '../src/base/limits.js'

const ROOT = join(import.meta.dirname, '..', '..')

/** Lowest first: a folder imports itself and what stands before it. The names that are no folder are files of their own. */
const LAYERS = [
  'base',
  'config',
  'directory',
  'version',
  'protocol',
  'scan',
  'descriptors',
  'library',
  'job',
  'shard',
  'past',
  'workers',
  'front',
  'compat',
  'front-thread',
  'fronts',
  'console',
  'certificate',
  'discovery',
  'ports',
  'lock',
  'relief',
  'daemon',
  'client',
  'connect',
  'browser',
  'index',
  'doctor',
  'cli',
]
const ENTRIES = /^(src\/(index|browser)\.ts|src\/cli\/main\.ts|src\/cli\/selftest\/crowd\.ts|workers\/[^/]+\.ts)$/

/** Where a moment is stored or shown, ages count from it that a person asked for, or it is held against times of files, which know no other clock. Whatever waits, waits by `performance.now()`: a clock that is set ends nothing early. */
const DATED = new Set([
  'src/certificate.ts',
  'src/job/index-location.ts',
  'src/library/apply.ts',
  'src/library/backup.ts',
  'src/library/comparisons.ts',
  'src/library/filters.ts',
  'src/library/jobs.ts',
  'src/library/locations.ts',
  'src/library/tags.ts',
  'src/library/unverified.ts',
  'src/scan/identify.ts',
  'src/cli/watch.ts',
  'src/descriptors/names.ts',
  'src/descriptors/recorder.ts',
  'src/front/feed.ts',
  'src/front/front.ts',
  'src/front/node.ts',
  'src/front/tokens.ts',
  'src/cli/token.ts',
])

interface Source {
  /** Relative to the root, `/`-separated. */
  readonly path: string
  readonly text: string
}

const sources = [...readSources('src'), ...readSources('workers')]

/** What runs in the daemon's process. `start` does too, and loads all of it before it starts. */
const daemonSources = sources.filter(
  ({ path }) => !/^src\/(doctor|cli)\//.test(path) || ['src/cli/roots.ts', 'src/cli/guard.ts'].includes(path),
)

/** Files that may call what takes a descriptor. A new one needs a lease, or a reason why the boot or the reserve pays. */
const PAID_BY: Readonly<Record<string, string>> = {
  'src/base/log.ts': 'the boot, then the reserve',
  'src/base/whole.ts': 'the boot, or the lease of the library',
  'src/certificate.ts': 'the boot, then the reserve',
  'src/config.ts': 'the boot',
  'src/console.ts': 'the boot',
  'src/descriptors/held-file.ts': 'the boot',
  'src/descriptors/listener.ts': 'the boot',
  'src/descriptors/look.ts': 'the reserve, where there is no addon',
  'src/descriptors/memory-use.ts': 'the boot',
  'src/descriptors/node-watch.ts': 'the lease of the watching thread',
  'src/descriptors/recorder.ts': 'the boot; who reads it is a command',
  'src/descriptors/reserve.ts': 'it is what pays',
  'src/descriptors/rlimit.ts': 'the boot; later there is another way where this one fails',
  'src/directory.ts': 'the boot, then the reserve',
  'src/discovery.ts': 'the reserve',
  'src/library/before.ts': 'a lease of its own',
  'src/library/catalog.ts': 'the boot',
  'src/library/cause.ts': 'the lease of the library',
  'src/library/folder.ts': 'the lease of the library',
  'src/library/restore.ts': 'a lease of its own',
  'src/past.ts': 'the boot, then the reserve',
  'src/ports.ts': 'the boot',
  'src/scan/guard.ts': 'the lease of the job',
  'src/scan/read.ts': 'the lease of the job',
}
/** Where fs.watch may throw, which is taken for what it is. */
const WATCHES: ReadonlySet<string> = new Set(['src/descriptors/node-watch.ts'])
/** Files that may load others late: once, and at boot. */
const LOADED_AT_BOOT: Readonly<Record<string, string>> = {
  'src/base/zod.ts': 'with the file itself',
  'src/descriptors/native.ts': 'in the first call of a thread',
  'src/front/open.ts': 'when the front opens',
  'src/index.ts': 'when a daemon is opened in this process, before it serves',
  'src/scan/blake3.ts': 'in the first task of a thread, as a part of its start',
  'src/version.ts': 'with the file itself',
  'workers/front.ts': 'before it tells that it has loaded',
  'workers/shard.ts': 'in the first task of a thread, as a part of its start',
  'workers/watch.ts': 'in the first task of a thread, as a part of its start',
  'workers/task.ts': 'in the first task of a thread, as a part of its start',
}

/** One line each, so that lint can be seen to find each. */
const UNSAFE = [
  'process.memoryUsage()',
  'process.memoryUsage.rss()',
  'process.availableMemory()',
  'os.cpus()',
  'os.userInfo()',
  'os.networkInterfaces()',
  "fs.watch('.')",
  "fs.promises.open('.')",
  "import { cpus } from 'node:os'",
  "import { userInfo } from 'os'",
  "import { networkInterfaces } from 'node:os'",
  "import { watch } from 'node:fs'",
  "import { promises } from 'fs'",
  "import { memoryUsage } from 'node:process'",
  "import { availableMemory } from 'process'",
  "import { lookup } from 'node:dns'",
  "import { resolve } from 'dns/promises'",
  "import { open } from 'node:fs/promises'",
]

test('a shard, of which there are as many as cores, loads no schemas: what it is asked was checked', (t) => {
  t.true(loadedBy('src/daemon.ts', sources).has('src/base/zod.ts'))
  for (const thread of ['workers/shard.ts', 'workers/task.ts', 'workers/watch.ts'])
    t.false(loadedBy(thread, sources).has('src/base/zod.ts'), thread)
})

test('no file imports from a layer above its own', (t) => {
  t.true(sources.length > 0)
  t.deepEqual(upwardImports(sources), [])
})

test('every file is imported by another, or is an entry', (t) => {
  t.deepEqual(orphans(sources), [])
})

test('nothing calls what fails when no descriptor is left, and no path of one machine is written down', (t) => {
  t.deepEqual(sources.filter(({ path }) => !WATCHES.has(path)).flatMap(bannedIn), [])
})

test('the wall clock is written down and shown, and decides nothing', (t) => {
  const asking = sources.filter(({ text }) => /\bDate\.now\(/.test(text)).map(({ path }) => path)
  t.deepEqual(
    asking.filter((path) => !DATED.has(path)),
    [],
  )
})

test('one file starts processes, so that all of them are started clean', (t) => {
  const starting = sources.filter(({ text }) => startsProcesses(text)).map(({ path }) => path)
  t.deepEqual(starting, ['src/descriptors/child.ts'])
  t.true(startsProcesses("const { spawn } = await import('child_process')"))
  t.true(startsProcesses("import {\n  spawn,\n  type ChildProcess,\n} from 'node:child_process'"))
  t.false(startsProcesses("import type { ChildProcess } from 'node:child_process'"))
})

test('below the libraries files are opened by one function, which refuses what SQLite has locked', (t) => {
  t.deepEqual(sources.filter(({ path }) => GUARDED.test(path)).flatMap(openingIn), [])
  const bad = {
    path: 'src/job/hash.ts',
    text: "import { lstatSync, openSync } from 'node:fs'\nimport 'node:fs/promises'",
  }
  t.deepEqual(openingIn(bad), ['src/job/hash.ts: openSync', 'src/job/hash.ts: node:fs/promises'])
})

test('what takes a descriptor is called in few files, each with what pays for it', (t) => {
  const found = daemonSources.filter((source) => takersIn(source).length > 0).map(({ path }) => path)
  t.deepEqual(found.sort(), Object.keys(PAID_BY).sort())
  const bad = { path: 'src/front/new.ts', text: "import {\n  readFile,\n  statSync,\n} from 'node:fs'" }
  t.deepEqual(takersIn(bad), ['readFile'])
  t.deepEqual(takersIn({ ...bad, text: "import { open } from 'node:fs/promises'" }), ['open', 'node:fs/promises'])
  t.deepEqual(takersIn({ ...bad, text: "import * as fs from 'fs'" }), ['* as fs'])
  t.deepEqual(takersIn({ ...bad, text: "import { statSync } from 'node:fs'" }), [])
})

test('nothing is loaded once the daemon serves', (t) => {
  const late = daemonSources.filter((source) => loadsIn(source).length > 0).map(({ path }) => path)
  t.deepEqual(late.sort(), Object.keys(LOADED_AT_BOOT).sort())
  const start = withoutComments(sources.find(({ path }) => path === 'src/cli/start.ts')!.text)
  t.true(start.indexOf('await startDaemon(') > start.lastIndexOf('import('), 'start loads all before it starts')
  for (const text of ["await import('./late.js')", 'require(name)', 'createRequire(import.meta.url)']) {
    t.is(loadsIn({ path: 'src/shard/new.ts', text }).length, 1, text)
  }
  t.deepEqual(loadsIn({ path: 'src/shard/new.ts', text: "type Late = typeof import('./late.js')" }), [])
})

test('lint refuses each call that fails when no descriptor is left', (t) => {
  const place = mkdtempSync(join(tmpdir(), 'sd-'))
  t.teardown(() => rmSync(place, { recursive: true }))
  mkdirSync(join(place, 'src'))
  copyFileSync(join(ROOT, '.oxlintrc.json'), join(place, '.oxlintrc.json'))
  writeFileSync(join(place, 'src', 'bad.ts'), UNSAFE.join('\n'))
  const lint = join(ROOT, 'node_modules', 'oxlint', 'bin', 'oxlint')
  const { stdout } = spawnSync(process.execPath, [lint, '--format', 'unix'], { cwd: place, encoding: 'utf8' })
  const found = new Set([...stdout.matchAll(/^.*bad\.ts:(\d+):.*no-restricted-/gm)].map(([, line]) => Number(line)))
  for (const [at, line] of UNSAFE.entries()) t.true(found.has(at + 1), `${line}: ${stdout}`)
})

test('the checks above find what they are for', (t) => {
  const bad: Source[] = [
    { path: 'src/base/low.ts', text: "import type { High } from '../scan/high.js'" },
    { path: 'src/scan/high.ts', text: "export * from '../base/low.js'\nconst more = await import('../cli/main.js')" },
    { path: 'src/config.ts', text: "import { plain } from './protocol/codec.js'" },
    { path: 'src/cli/main.ts', text: "import { startDaemon } from '../daemon.js'" },
    { path: 'src/front/open.ts', text: "import {\n  startDaemon,\n} from '../daemon.js'" },
    { path: 'workers/shard.ts', text: "import '../src/front/open.js'" },
  ]
  t.deepEqual(upwardImports(bad), [
    'src/base/low.ts → src/scan/high.ts',
    'src/scan/high.ts → src/cli/main.ts',
    'src/config.ts → src/protocol/codec.ts',
    'src/front/open.ts → src/daemon.ts',
    'workers/shard.ts → src/front/open.ts',
  ])
  t.deepEqual(orphans(bad), ['src/config.ts'])
  const calls = [
    'process.memoryUsage.rss()',
    'os.cpus().length',
    "await import('node:dns')",
    'userInfo().uid',
    "import { watch } from 'node:fs'",
    "'/home/me/x'",
  ]
  for (const text of calls) t.is(bannedIn({ path: 'src/base/low.ts', text }).length, 1, text)
  t.deepEqual(bannedIn({ path: 'src/base/low.ts', text: '// never os.cpus()\n/* nor process.memoryUsage() */' }), [])
})

test('the launcher refuses below the same limit as the daemon', (t) => {
  const launcher = readFileSync(join(ROOT, 'bin', 'spacedrive'), 'utf8')
  t.is(/^start_floor=(\d+)/m.exec(launcher)?.[1], String(LIMITS.hardFloor))
})

test('the notices name every package that is installed with ours, in its version', (t) => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const rows = readFileSync(join(ROOT, 'NOTICE.md'), 'utf8').split('\n')
  for (const [name, version] of Object.entries<string>({ ...dependencies, ...optionalDependencies })) {
    t.true(
      rows.some((row) => row.startsWith(`| ${name} `) && row.includes(` ${version} `)),
      `${name} ${version}`,
    )
  }
})

function readSources(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => posix.join(folder, path.replaceAll('\\', '/')))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

/** What a file loads, and what that loads: types are not loaded. */
function loadedBy(path: string, files: readonly Source[]): Set<string> {
  const loaded = new Set([path])
  for (const each of loaded) {
    const { text = '' } = files.find((file) => file.path === each) ?? {}
    for (const target of importsOf({ path: each, text: text.replace(/^import type [^;]*?from '.*'$/gm, '') }))
      loaded.add(target)
  }
  return loaded
}

function upwardImports(files: readonly Source[]): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((target) => !mayImport(layerOf(file.path), layerOf(target)))
      .map((target) => `${file.path} → ${target}`),
  )
}

function mayImport(from: string, to: string): boolean {
  if (from === 'config') return to === 'base'
  return LAYERS.indexOf(to) <= LAYERS.indexOf(from)
}

/** `src/scan/walk.ts` → scan, `src/daemon.ts` → daemon, `workers/shard.ts` → workers. */
function layerOf(path: string): string {
  // The one thread that is a front.
  if (path === 'workers/front.ts') return 'front-thread'
  const [folder = '', name = ''] = path.split('/')
  const layer = folder === 'src' ? name.replace(/\.ts$/, '') : folder
  if (!LAYERS.includes(layer)) throw new Error(`${path} is in no layer: add its folder to LAYERS where it belongs`)
  return layer
}

function orphans(files: readonly Source[]): string[] {
  const imported = new Set(files.flatMap((file) => importsOf(file).filter((target) => target !== file.path)))
  return files.map(({ path }) => path).filter((path) => !ENTRIES.test(path) && !imported.has(path))
}

function importsOf({ path, text }: Source): string[] {
  return [...withoutComments(text).matchAll(/(?:\bfrom\s|\bimport\s|\bimport\()\s*'(\.[^']+)'/g)]
    .map(([, target = '']) => posix.join(dirname(path), target).replace(/\.js$/, '.ts'))
    .filter((target) => target.endsWith('.ts'))
}

/** What works on the files of other people. `library/` alone opens its own, and `scan/guard.ts` all others. */
const GUARDED = /^(src\/(job|scan|shard|front)|workers)\/(?!guard\.ts)/
const OPENING =
  /\b(open|openSync|openAsBlob|readFile|readFileSync|createReadStream|createWriteStream|writeFile|writeFileSync|appendFileSync|copyFile|copyFileSync|cpSync|truncateSync|opendirSync)\b/g

function openingIn({ path, text }: Source): string[] {
  const code = withoutComments(text)
  const named = [...code.matchAll(/import\s*\{([^}]*)\}\s*from 'node:fs'/g)].flatMap(
    ([, names]) => names!.match(OPENING) ?? [],
  )
  return [...named, ...(code.match(/node:fs\/promises|\bfs\.\w+/g) ?? [])].map((name) => `${path}: ${name}`)
}

const BANNED = [
  /\b(?:memoryUsage|availableMemory|userInfo|networkInterfaces)\b/,
  /\bcpus\b/,
  /['"`](?:node:)?dns(?:\/promises)?['"`]/,
  /\bfs\.watch\b|\bimport\s*\{[^}]*\bwatch\b[^}]*\}\s*from 'node:fs'/,
  /['"`]\/(?:home|root|Users|work|var\/folders)\b/,
  /\bregistry\.[a-z]+js\.|\bregistry\.yarn/,
]

function bannedIn({ path, text }: Source): string[] {
  const code = withoutComments(text)
  return BANNED.flatMap((pattern) => {
    const found = pattern.exec(code)
    return found ? [`${path}: ${found[0]}`] : []
  })
}

/** Functions of node:fs that take a descriptor, and ways to get at them that this check cannot see through. */
const TAKING =
  /^(open|openSync|openAsBlob|opendir|opendirSync|readFile|readFileSync|writeFile|writeFileSync|appendFile|appendFileSync|readdir|readdirSync|copyFile|copyFileSync|cp|cpSync|truncate|truncateSync|createReadStream|createWriteStream|watch)$/

function takersIn({ text }: Source): string[] {
  const imports = [
    ...withoutComments(text).matchAll(/import\s+(?!type\b)([^;'"]*?)\s*from '((?:node:)?fs(?:\/promises)?)'/g),
  ]
  return imports.flatMap(([, names = '', from = '']) => [
    ...(names.startsWith('{') ? namesOf(names).filter((name) => TAKING.test(name)) : [names]),
    ...(from.endsWith('/promises') ? [from] : []),
  ])
}

/** `{ a, type B, c as d }` → a, c. */
function namesOf(braces: string): string[] {
  const names = braces.replace(/[{}\s]+/g, ' ').split(',')
  return names.map((name) => name.trim().split(' ')[0] ?? '').filter((name) => name !== '' && name !== 'type')
}

function loadsIn({ text }: Source): string[] {
  const code = withoutComments(text)
    .replace(/\btypeof import\(/g, '')
    .replace(/\bimport\s*\{[^}]*\}\s*from/g, '')
  return code.match(/\bimport\s*\(|\brequire\s*\(|\bcreateRequire\s*\(/g) ?? []
}

/** A type alone starts nothing. */
function startsProcesses(text: string): boolean {
  const code = withoutComments(text).replace(/\bimport\s+type\b[^;']*'[^']*'/g, '')
  return /['"`](?:node:)?(?:child_process|cluster)['"`]/.test(code)
}

/** Crude: a line comment begins a line or follows a space, so that the `//` of a URL stays. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}
