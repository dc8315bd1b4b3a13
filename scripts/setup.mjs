// Brings a clone to where it runs: installs packages, builds the addon, compiles. Does only what is missing, and says what and why.
// Uses nothing but Node, because it runs before anything is installed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildEnvironment, nativeTried } from './native.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const LOCK_FILE = join(ROOT, 'package-lock.json')
const PACKAGES_STAMP = join(ROOT, 'node_modules', '.spacedrive-setup.json')
const BUILD_STAMP = join(ROOT, 'dist', '.spacedrive-setup.json')
const SOURCES = ['src', 'workers', 'test', 'tsconfig.json']
const SETUP_LOCK = join(ROOT, 'dist', '.setup-lock')
/** Compiling better-sqlite3 on a slow machine takes a few minutes; a lock older than this is of a process that is gone. */
const LOCK_AGE_MS_MAX = 30 * 60_000

class SetupError extends Error {}

/**
 * Resolves when everything is there. A run that finds nothing to do starts no process and takes no lock.
 * Every step removes its stamp first and writes it last, so that a run that was interrupted is made up for by the next.
 */
export async function setup() {
  // Each relies on what the stages before it left, and on nothing of its own stage: compilers of one core each run side by side.
  const stages = [[packagesStep], [abiStep, nativeStep, buildStep]]
  if (stages.flat().every((step) => step() === null)) return
  const unlock = await lock()
  try {
    for (const steps of stages) {
      const ended = await Promise.allSettled(steps.map(take))
      const failed = ended.find(({ status }) => status === 'rejected')
      if (failed) throw failed.reason
    }
  } finally {
    unlock()
  }
}

async function take(step) {
  const todo = step()
  if (!todo) return
  console.error(`setup: ${todo.what}, because ${todo.why}`)
  await todo.run()
}

// Each step answers null when there is nothing to do.

function packagesStep() {
  const why = packagesProblem()
  if (why === null) return null
  const ci = existsSync(LOCK_FILE)
  const command = ci ? 'ci' : 'install'
  return {
    what: `npm ${command}`,
    why,
    async run() {
      rmSync(PACKAGES_STAMP, { force: true })
      await npm([command, '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'])
      writeJson(PACKAGES_STAMP, { lock: lockHash(), abi: null })
    },
  }
}

function packagesProblem() {
  if (!existsSync(join(ROOT, 'node_modules'))) return 'node_modules is missing'
  const stamp = readJson(PACKAGES_STAMP)
  if (stamp?.lock === lockHash()) return null
  const missing = firstMissingPackage()
  if (missing) return missing
  // Installed by hand, or the lock file changed in nothing that concerns packages.
  writeJson(PACKAGES_STAMP, { lock: lockHash(), abi: stamp?.abi ?? null })
  return null
}

/** Compares what the lock file asks for with what npm wrote down last; null when all is there. */
function firstMissingPackage() {
  const installed = readJson(join(ROOT, 'node_modules', '.package-lock.json'))?.packages
  if (!installed) return 'an installation was interrupted'
  const wanted = readJson(LOCK_FILE)?.packages
  if (!wanted) return 'there is no readable lock file'
  for (const [path, { version, optional }] of Object.entries(wanted)) {
    if (path === '') continue
    const have = installed[path]?.version
    if (have !== version && !(optional && have === undefined)) {
      return `the lock file asks for ${path.replace(/^node_modules\//, '')} ${version} and ${have ?? 'none'} is installed`
    }
  }
  return null
}

/** better-sqlite3 is the one package with something to compile. It is compiled for one Node ABI; the addon is not. */
function abiStep() {
  const stamp = readJson(PACKAGES_STAMP)
  if (!stamp || stamp.abi === process.versions.modules) return null
  return {
    what: 'npm rebuild better-sqlite3, unless it loads (a minute or two where it must be compiled)',
    why: stamp.abi
      ? `it was compiled for Node ABI ${stamp.abi} and this is ${process.versions.modules}`
      : 'nobody noted that it was compiled for this Node',
    async run() {
      if (!(await sqliteLoads())) await npm(['rebuild', 'better-sqlite3'])
      if (!(await sqliteLoads())) throw new SetupError('better-sqlite3 does not load although it was just compiled')
      writeJson(PACKAGES_STAMP, { ...stamp, abi: process.versions.modules })
    },
  }
}

async function sqliteLoads() {
  const script = "new (require('better-sqlite3'))(':memory:').close()"
  return (await run(process.execPath, ['-e', script], { stdio: 'ignore' })) === 0
}

function nativeStep() {
  if (process.env.SPACEDRIVE_NATIVE === 'off' || nativeTried()) return null
  return {
    what: 'building the native addon',
    why: 'it was not built from these sources yet',
    // In a process of its own: one that is interrupted has built nothing, rather than failed for good.
    run: () => run(process.execPath, [join(ROOT, 'scripts', 'native.mjs')]),
  }
}

function buildStep() {
  const stamp = readJson(BUILD_STAMP)
  const sources = listSources()
  const listing = listingHash(sources)
  if (stamp?.listing === listing) return null
  const content = contentHash(sources)
  if (stamp?.content === content) {
    writeJson(BUILD_STAMP, { listing, content }) // a checkout changed times, not sources
    return null
  }
  return {
    what: 'compiling (tsc -p .)',
    why: stamp ? 'sources changed since the last time' : 'dist is missing or incomplete',
    async run() {
      rmSync(BUILD_STAMP, { force: true })
      prune(sources)
      const code = await run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'])
      if (code !== 0) throw new SetupError('the sources do not compile')
      writeJson(BUILD_STAMP, { listing, content })
    },
  }
}

// Both hashes cover the lock file: another compiler or other types can make another result of the same sources.

/** Paths relative to the root, with what tells a changed file from an unchanged one without reading it. */
function listSources() {
  const found = []
  const visit = (path) => {
    const stat = statSync(join(ROOT, path), { throwIfNoEntry: false })
    if (!stat) return
    if (stat.isDirectory()) for (const name of readdirSync(join(ROOT, path)).sort()) visit(join(path, name))
    else if (/\.(ts|json)$/.test(path)) found.push({ path, mark: `${stat.size} ${stat.mtimeMs}` })
  }
  SOURCES.forEach(visit)
  return found
}

function listingHash(sources) {
  return sha256(`${lockHash()}\n` + sources.map(({ path, mark }) => `${path} ${mark}\n`).join(''))
}

function contentHash(sources) {
  const hash = createHash('sha256').update(`${lockHash()}\n`)
  for (const { path } of sources) hash.update(`${path}\0`).update(readFileSync(join(ROOT, path)))
  return hash.digest('hex')
}

/** Removes what was compiled from sources that are gone: ava would still run such a test. */
function prune(sources) {
  const kept = new Set(sources.map(({ path }) => path.replace(/\.ts$/, '')))
  const dist = join(ROOT, 'dist')
  for (const folder of ['src', 'workers', 'test']) {
    if (!existsSync(join(dist, folder))) continue
    for (const path of readdirSync(join(dist, folder), { recursive: true })) {
      const compiled = /^(.*?)(\.d\.ts|\.js)$/.exec(join(folder, path))
      if (compiled && !kept.has(compiled[1])) rmSync(join(dist, compiled[0]))
    }
  }
}

// Only one set-up of a clone runs at a time; a lock is a file with the pid of whoever holds it, put in place in one step.

async function lock() {
  mkdirSync(dirname(SETUP_LOCK), { recursive: true })
  const mine = `${SETUP_LOCK}.${process.pid}`
  writeFileSync(mine, String(process.pid))
  try {
    let told = false
    while (!tryLock(mine)) {
      const holder = lockHolder()
      if (holder === null) continue
      if (!told) console.error(`setup: waiting, because another set-up runs (process ${holder})`)
      told = true
      await new Promise((done) => setTimeout(done, 200))
    }
  } finally {
    rmSync(mine, { force: true })
  }
  return () => {
    if (lockHolder() === process.pid) rmSync(SETUP_LOCK, { force: true })
  }
}

function tryLock(mine) {
  try {
    linkSync(mine, SETUP_LOCK)
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    breakDeadLock()
    return false
  }
}

function breakDeadLock() {
  const holder = lockHolder()
  if (holder === null || isAlive(holder)) return
  // Renamed before it is judged again: another set-up may have broken it and taken its own meanwhile.
  const aside = `${SETUP_LOCK}.${process.pid}.dead`
  try {
    renameSync(SETUP_LOCK, aside)
    if (Number(readFileSync(aside, 'utf8')) !== holder) linkSync(aside, SETUP_LOCK)
    unlinkSync(aside)
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error
  }
}

function lockHolder() {
  try {
    return Number(readFileSync(SETUP_LOCK, 'utf8'))
  } catch {
    return null
  }
}

function isAlive(pid) {
  const age = Date.now() - (statSync(SETUP_LOCK, { throwIfNoEntry: false })?.mtimeMs ?? 0)
  if (age > LOCK_AGE_MS_MAX) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** The npm that runs us, else the one on PATH, always with this Node: what it compiles must fit. */
async function npm(args) {
  const self = process.env.npm_execpath
  const [command, first] = self?.endsWith('.js') ? [process.execPath, [self]] : ['npm', []]
  const code = await run(command, [...first, ...args])
  if (code === null) throw new SetupError('npm is missing: install it beside Node')
  if (code !== 0) throw new SetupError(`npm ${args[0]} failed; its own message stands above`)
}

/** What better-sqlite3 is compiled with: see native/node_hooks.h. Named by search path, because a path may hold a space. */
function mendedEnvironment(env) {
  if (Number(process.versions.node.split('.')[0]) < 24) return env
  const searched = [join(ROOT, 'native'), ...(env.CPLUS_INCLUDE_PATH ? [env.CPLUS_INCLUDE_PATH] : [])].join(delimiter)
  return { ...env, CPLUS_INCLUDE_PATH: searched, CXXFLAGS: `${env.CXXFLAGS ?? ''} -include node_hooks.h`.trim() }
}

/** Resolves to the exit code, or null where there is no such command. */
function run(command, args, { stdio = ['ignore', 2, 'inherit'] } = {}) {
  const built = mendedEnvironment(buildEnvironment())
  const env = { ...built, PATH: dirname(process.execPath) + delimiter + (built.PATH ?? '') }
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd: ROOT, env, stdio })
    let interrupted = false
    const stop = (signal) => {
      interrupted = true
      child.kill(signal)
    }
    process.once('SIGINT', stop).once('SIGTERM', stop)
    child.on('error', (error) => (error.code === 'ENOENT' ? done(null) : failed(error)))
    // Waits for the child even then, so that the lock is held for as long as something is being written.
    child.on('close', (code) => {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      if (interrupted) failed(new SetupError('interrupted; the next run goes on from here'))
      else done(code ?? 1)
    })
  })
}

function lockHash() {
  return existsSync(LOCK_FILE) ? sha256(readFileSync(LOCK_FILE)) : 'none'
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

function writeJson(path, value) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(value))
  renameSync(`${path}.${process.pid}`, path)
}

/** For the scripts that begin with `setup()`: says what failed in one line and returns false. */
export async function setupOrExplain() {
  try {
    await setup()
    return true
  } catch (error) {
    console.error(error instanceof SetupError ? `setup: failed: ${error.message}` : error)
    return false
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!(await setupOrExplain())) process.exitCode = 1
}
