// The rules that hold for every file: layers, no orphans, no call that fails when descriptors run out, numbers said twice agree.
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import test from 'ava'
import { LIMITS } from '../src/base/limits.js'

const ROOT = join(import.meta.dirname, '..', '..')

/** Lowest first: a folder imports itself and what stands before it. The names that are no folder are files of their own. */
const LAYERS = [
  'base',
  'config',
  'version',
  'protocol',
  'scan',
  'descriptors',
  'library',
  'job',
  'shard',
  'workers',
  'front',
  'daemon',
  'client',
  'index',
  'doctor',
  'cli',
]
const ENTRIES = /^(src\/index\.ts|src\/cli\/main\.ts|src\/cli\/selftest\/crowd\.ts|workers\/[^/]+\.ts)$/

interface Source {
  /** Relative to the root, `/`-separated. */
  readonly path: string
  readonly text: string
}

const sources = [...readSources('src'), ...readSources('workers')]

test('no file imports from a layer above its own', (t) => {
  t.true(sources.length > 0)
  t.deepEqual(upwardImports(sources), [])
})

test('every file is imported by another, or is an entry', (t) => {
  t.deepEqual(orphans(sources), [])
})

test('nothing calls what fails when no descriptor is left, and no path of one machine is written down', (t) => {
  t.deepEqual(sources.flatMap(bannedIn), [])
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
  const calls = ['process.memoryUsage.rss()', 'os.cpus().length', "import { watch } from 'node:fs'", "'/home/me/x'"]
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
  /\bmemoryUsage\b/,
  /\bcpus\(\)/,
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

/** A type alone starts nothing. */
function startsProcesses(text: string): boolean {
  const code = withoutComments(text).replace(/\bimport\s+type\b[^;']*'[^']*'/g, '')
  return /['"`](?:node:)?(?:child_process|cluster)['"`]/.test(code)
}

/** Crude: a line comment begins a line or follows a space, so that the `//` of a URL stays. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}
