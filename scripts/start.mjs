// `npm start -- [PATH] [flags]`: sets up what is missing, then runs the daemon in the foreground, with PATH as a location.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setupOrExplain } from './setup.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
/** Flags that take no value: what follows any other flag is its value and not PATH. */
const SWITCHES = new Set([
  '--json',
  '--detach',
  '--help',
  '-h',
  '--version',
  '--line-protocol-remote',
  '--trace-leases',
])
/** Of one Ctrl-C under npm two or three signals arrive here, from the terminal and from npm, within a few milliseconds. */
const SAME_PRESS_MS = 400

if (await setupOrExplain()) process.exitCode = await start(startArguments(process.argv.slice(2)))
else process.exitCode = 1

/** npm runs scripts in the package's directory, so a relative PATH is meant from where npm was called. */
function startArguments(given) {
  const at = given.findIndex((word, index) => !word.startsWith('-') && !isValueOf(given[index - 1]))
  if (at < 0) return given
  const path = resolve(process.env.INIT_CWD ?? process.cwd(), given[at])
  return ['--location', path, ...given.filter((word, index) => index !== at && word !== '--')]
}

function isValueOf(flag) {
  if (flag === undefined || flag === '--' || !flag.startsWith('-')) return false
  return !flag.includes('=') && !flag.startsWith('--no-') && !SWITCHES.has(flag)
}

/**
 * The daemon takes a second signal for "hurry", so each press must reach it once. It runs in a session of its own, where the
 * terminal's Ctrl-C does not reach it, and gets every press from here.
 */
function start(args) {
  const child = spawn(join(ROOT, 'bin', 'spacedrive'), ['start', ...args], {
    stdio: 'inherit',
    detached: true,
    env: { ...process.env, SPACEDRIVE_NODE: process.execPath },
  })
  let lastPress = -Infinity
  const press = (signal) => {
    const now = performance.now()
    if (now - lastPress > SAME_PRESS_MS) child.kill(signal)
    lastPress = now
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, press)
  process.on('SIGWINCH', () => child.kill('SIGWINCH')) // the progress bar's width
  process.on('exit', () => child.kill('SIGTERM')) // nothing is left behind when this process fails; no effect on one that has ended

  return new Promise((done) => {
    child.on('error', (error) => {
      console.error(`error INTERNAL: bin/spacedrive cannot be run: ${error.message}`)
      done(1)
    })
    child.on('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]))
  })
}
