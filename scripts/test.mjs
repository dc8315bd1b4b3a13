// `npm test [-- FILE...]`: sets up what is missing, then lint, format and every test (or the files named). Ends with one line,
// `N passed, N failed`, in which lint and format count as one test each; exits 0 only when nothing failed.
// `npm run test:faults`: the same for the slow fault tests alone, the files named `*.slow.ts`.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { setupOrExplain } from './setup.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
/** ava gives up on a test that does nothing for 3 minutes; this is for the case that ava itself hangs. */
const SILENCE_MS_MAX = 8 * 60_000
/** They ask every daemon of this machine how it is, and would be a client more of those in which other tests count. */
const ALONE = [
  'doctor/doctor.test',
  'doctor/script.test',
  'faults/doctor.test',
  'faults/hog.slow',
  'faults/selftest.slow',
]
const SLOW_AT_ONCE = 3
/** They begin first, so that no core waits for one of them at the end. */
const SLOWEST = [
  'faults/disk.slow',
  'faults/sweep.slow',
  'faults/holders.slow',
  'faults/stall.slow',
  'faults/many.slow',
]

const count = { passed: 0, failed: 0 }
const [mode, ...named] = process.argv[2] === '--slow' ? process.argv.slice(2) : ['', ...process.argv.slice(2)]
if (await setupOrExplain()) await (mode === '--slow' && named.length === 0 ? runSlow() : runAll(named))
else count.failed++
console.log(`${count.passed} passed, ${count.failed} failed`)
process.exitCode = count.failed === 0 ? 0 : 1

async function runAll(files) {
  if (files.length > 0) return await runTests(files.map(compiledOf))
  const [alone, others] = partedBy(isAmong(ALONE), compiledTests('.test.js'))
  await Promise.all([checkSources(), runInTurn(alone)])
  await runTests(others)
}

async function checkSources() {
  await check('lint', 'oxlint/bin/oxlint', [])
  await check('format', 'prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.'])
}

/** Each in a run of its own, and some at a time: they wait for most of theirs, and each has the daemons that it exhausts to itself. */
async function runSlow() {
  const [alone, others] = partedBy(isAmong(ALONE), compiledTests('.slow.js'))
  if (others.length === 0) count.failed++
  const waiting = partedBy(isAmong(SLOWEST), others).flat()
  await Promise.all(Array.from({ length: SLOW_AT_ONCE }, () => runInTurn(waiting)))
  await runInTurn(alone)
}

function isAmong(names) {
  const files = new Set(names.map((name) => join('dist', 'test', `${name}.js`)))
  return (file) => files.has(file)
}

function partedBy(is, files) {
  return [files.filter(is), files.filter((file) => !is(file))]
}

/** What a file says is printed when it is through: two at a time would not be understood. */
async function runInTurn(waiting) {
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    const lines = []
    await runTests([file], (line) => lines.push(line))
    console.log(lines.join('\n'))
  }
}

function compiledTests(ending) {
  return readdirSync(join(ROOT, 'dist', 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending))
    .sort()
    .map((path) => join('dist', 'test', path))
}

async function check(name, tool, args) {
  const lines = []
  const code = await runTool(tool, args, (line) => lines.push(line))
  if (code === 0) count.passed++
  else count.failed++
  console.log(code === 0 ? `  ✔ ${name}` : `${lines.join('\n')}\n  ✘ [fail]: ${name}`)
}

/**
 * Counts by ava's own marks, one line per test, and one for each file that crashed, hung or held no test. Its TAP output would be
 * easier to read for a machine, but that reporter dies of a test that times out or exits (ava 7.0.0).
 */
async function runTests(files, say = console.log) {
  const marks = { '✔': 0, '✘': 0 }
  const code = await runTool('ava/entrypoints/cli.mjs', files, (line) => {
    const [, mark] = /^ {2}([✔✘]) /.exec(line) ?? []
    if (mark) marks[mark]++
    say(line)
  })
  count.passed += marks['✔']
  count.failed += marks['✘'] || (code === 0 ? 0 : 1)
}

/** Test files may be named as they are written or as they are compiled. */
function compiledOf(file) {
  const path = relative(ROOT, resolve(process.env.INIT_CWD ?? process.cwd(), file))
  return path.startsWith('test') ? join('dist', path).replace(/\.ts$/, '.js') : path
}

/** Resolves to the exit code once every line was given to `print`. */
function runTool(tool, args, print) {
  const child = spawn(process.execPath, [join(ROOT, 'node_modules', tool), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TERM: 'dumb', NO_COLOR: '1', FORCE_COLOR: undefined }, // plain marks to count by
  })
  const silence = setTimeout(() => {
    print(`  ✘ ${tool} said nothing for ${SILENCE_MS_MAX / 60_000} minutes and was stopped`)
    child.kill('SIGKILL')
  }, SILENCE_MS_MAX)
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      silence.refresh()
      print(line)
    })
  }
  return new Promise((done, failed) => {
    child.on('error', failed)
    child.on('exit', (code) => {
      clearTimeout(silence)
      const end = () => {
        child.stdout.destroy()
        child.stderr.destroy()
        done(code ?? 1)
      }
      // A process that a failed test left behind may hold the pipes open for ever.
      child.once('close', end)
      setTimeout(end, 2_000).unref()
    })
  })
}
