// Builds the native addon: npm runs this when the package is installed, scripts/setup.mjs in a clone. Where it cannot be built it
// says why in one line and succeeds, because the daemon runs without it.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const STAMP = join(ROOT, 'build', 'spacedrive.stamp')

/** What the addon is built from. Not the Node version: it uses Node-API 8 only, and one binary serves every Node. */
export function nativeFingerprint() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`)
  const sources = readdirSync(join(ROOT, 'native')).sort()
  for (const name of ['binding.gyp', ...sources.map((name) => join('native', name))]) {
    hash
      .update(name)
      .update('\0')
      .update(readFileSync(join(ROOT, name)))
  }
  return hash.digest('hex')
}

/** A build that failed counts as well: it would fail again, and every start would pay for it. */
export function nativeTried() {
  try {
    return readFileSync(STAMP, 'utf8') === nativeFingerprint()
  } catch {
    return false
  }
}

/**
 * node-gyp would download headers otherwise, or take those of another Node that npm was told of. Every Node that was installed as a
 * whole has its own beside it; the npm package `node` keeps them in a package of its own.
 */
export function buildEnvironment() {
  const home = resolve(process.execPath, '../..')
  const twin = `node-${process.platform}-${process.arch}`
  const nodedir = [home, join(home, 'node_modules', twin), resolve(home, '..', twin)].find(hasHeaders)
  return nodedir ? { ...process.env, npm_config_nodedir: nodedir } : process.env
}

function hasHeaders(nodedir) {
  try {
    const version = readFileSync(join(nodedir, 'include', 'node', 'node_version.h'), 'utf8')
    return /#define NODE_MAJOR_VERSION (\d+)/.exec(version)?.[1] === process.versions.node.split('.')[0]
  } catch {
    return false
  }
}

/** Resolves to null, or to the reason why there is no addon, in one line. */
async function buildNative() {
  rmSync(STAMP, { force: true })
  const { code, output } = await runNodeGyp()
  const problem = code === 0 ? null : reasonOf(output)
  mkdirSync(dirname(STAMP), { recursive: true })
  writeFileSync(STAMP, nativeFingerprint())
  return problem
}

/** Without what scripts/setup.mjs gives to better-sqlite3: the addon needs no header of V8, and no C++20 for it. */
function ownEnvironment() {
  const env = buildEnvironment()
  return { ...env, CXXFLAGS: (env.CXXFLAGS ?? '').replace('-include node_hooks.h', '') }
}

function runNodeGyp() {
  return new Promise((done) => {
    const child = spawn(process.execPath, [nodeGyp(), 'rebuild'], {
      cwd: ROOT,
      env: ownEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (bytes) => (output += bytes))
    child.stderr.on('data', (bytes) => (output += bytes))
    child.on('error', (error) => done({ code: 1, output: `error: ${error.message}` }))
    child.on('close', (code) => done({ code, output }))
  })
}

function nodeGyp() {
  return process.env.npm_config_node_gyp || createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
}

/** The compiler's first error says more than node-gyp's own, which only names the step that failed. */
function reasonOf(output) {
  const lines = output.split('\n')
  const line =
    lines.find((text) => /\b(fatal )?error: /.test(text)) ??
    lines.find((text) => text.includes('gyp ERR! stack Error')) ??
    lines.find((text) => text.includes('gyp ERR!'))
  return (line ?? 'node-gyp failed without a word').replace('gyp ERR! stack Error: ', '').trim().slice(0, 300)
}

async function main() {
  if (process.env.SPACEDRIVE_NATIVE === 'off') return
  const problem = await buildNative().catch((error) => error.message)
  if (problem) console.log(`spacedrive: runs without its native addon, which could not be built: ${problem}`)
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main()
