// bin/spacedrive: what it passes on, and how it explains what it refuses.
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'

const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'spacedrive')
const MAIN =
  'console.log(JSON.stringify({ args: process.argv.slice(2), noted: process.env.SPACEDRIVE_LIMIT_AT_START }))'

/** A package of its own whose CLI only tells what reached it; in a path with a space. */
function packaged(built = true): { root: string; launcher: string } & Disposable {
  const scratch = mkdtempSync(join(tmpdir(), 'sd-launcher-'))
  const root = join(scratch, 'the package')
  const launcher = join(root, 'bin', 'spacedrive')
  mkdirSync(dirname(launcher), { recursive: true })
  copyFileSync(LAUNCHER, launcher)
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  if (built) {
    mkdirSync(join(root, 'dist', 'src', 'cli'), { recursive: true })
    writeFileSync(join(root, 'dist', 'src', 'cli', 'main.js'), MAIN)
  }
  return { root, launcher, [Symbol.dispose]: () => rmSync(scratch, { recursive: true, force: true }) }
}

function launch(limit: string, launcher: string, args: string[], env: NodeJS.ProcessEnv = {}) {
  const all = { ...process.env, SPACEDRIVE_NODE: process.execPath, ...env }
  const { status, stdout, stderr } = spawnSync('prlimit', [`--nofile=${limit}`, launcher, ...args], {
    encoding: 'utf8',
    env: all,
    cwd: tmpdir(),
  })
  return { status, stdout, lines: stderr.split('\n').slice(0, -1) }
}

test('the limit is noted before Node raises it, also when one was noted before', (t) => {
  using pack = packaged()
  const { status, stdout } = launch('100:300', pack.launcher, ['start', 'a b', '*'], {
    SPACEDRIVE_LIMIT_AT_START: '1:2',
  })
  t.is(status, 0)
  t.deepEqual(JSON.parse(stdout), { args: ['start', 'a b', '*'], noted: '100:300' })
})

test('it is found through links of links, absolute and relative', (t) => {
  using pack = packaged()
  mkdirSync(join(pack.root, 'some where'))
  symlinkSync(pack.launcher, join(pack.root, 'some where', 'absolute'))
  symlinkSync('some where/absolute', join(pack.root, 'relative'))
  t.is(launch('100:300', join(pack.root, 'relative'), ['status']).status, 0)
})

test('a limit of 64 starts Node, a soft limit of 24 under a high hard one too', (t) => {
  using pack = packaged()
  t.is(launch('64:64', pack.launcher, ['start']).status, 0)
  t.is(launch('24:300', pack.launcher, ['start']).status, 0)
})

test('a hard limit of 24 is explained in one sentence and a hint, exit code 78', (t) => {
  using pack = packaged()
  for (const args of [['start'], ['--data-dir', 'x', 'start'], ['status']]) {
    const { status, stdout, lines } = launch('24:24', pack.launcher, args)
    t.is(status, 78)
    t.is(stdout, '')
    t.is(lines.length, 2)
    t.regex(lines[0] ?? '', /^error LIMIT_TOO_LOW: .*\b24\b/)
    t.regex(lines[1] ?? '', /^hint: /)
  }
})

test('commands other than start run under a limit at which the daemon does not', (t) => {
  using pack = packaged()
  t.is(launch('40:40', pack.launcher, ['status']).status, 0)
  t.is(launch('40:40', LAUNCHER, ['--help']).status, 0)
  t.is(launch('40:40', pack.launcher, ['start']).status, 78)
})

test('a Node that is missing, too old or not Node is refused with exit code 78', (t) => {
  using pack = packaged()
  const old = join(pack.root, 'old')
  writeFileSync(old, '#!/bin/sh\necho v18.20.0\n')
  chmodSync(old, 0o755)
  for (const node of [join(pack.root, 'missing'), old, '/bin/false']) {
    const { status, lines } = launch('300:300', pack.launcher, ['start'], { SPACEDRIVE_NODE: node })
    t.is(status, 78)
    t.regex(lines[0] ?? '', /^error BAD_CONFIG: /)
    t.is(lines.length, 2)
  }
})

test('what Node says of options it refuses is told', (t) => {
  using pack = packaged()
  const { status, lines } = launch('300:300', pack.launcher, ['start'], { NODE_OPTIONS: '--nonsense' })
  t.is(status, 78)
  t.regex(lines[0] ?? '', /^error BAD_CONFIG: .*--nonsense is not allowed in NODE_OPTIONS\.$/)
  t.regex(lines[1] ?? '', /^hint: look at NODE_OPTIONS, or /)
  t.is(lines.length, 2)
})

test('a clone that was not built says how to build it', (t) => {
  using pack = packaged(false)
  const { status, lines } = launch('300:300', pack.launcher, ['start'])
  t.is(status, 78)
  t.regex(lines[1] ?? '', /npm run build/)
})
