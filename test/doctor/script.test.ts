// scripts/fix-file-descriptors.sh: the diagnosis without Node. Under dash, which knows POSIX and little else, with real daemons and a faked macOS.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { eventually, ROOT, type TestDaemon } from '../harness/daemon.js'
import { play, stateOf, type Scene } from '../harness/scene.js'

const SCRIPT = join(ROOT, 'scripts', 'fix-file-descriptors.sh')
const isThere = (command: string) => spawnSync(command, ['-c', ':']).error === undefined
const SHELLS = ['dash', 'bash'].filter(isThere)

function run(words: readonly string[], env: NodeJS.ProcessEnv = {}, input: readonly string[] = []) {
  const [command = '', ...rest] = [...words, SCRIPT, ...input]
  const { status, stdout, stderr } = spawnSync(command, rest, { encoding: 'utf8', env: { ...process.env, ...env } })
  return { code: status, out: stdout, err: stderr, lines: stdout.split('\n') }
}

test('shellcheck has nothing to say', (t) => {
  const checked = spawnSync('shellcheck', [SCRIPT], { encoding: 'utf8' })
  if (checked.error) t.log('not run: there is no shellcheck here')
  else t.is(checked.stdout, '')
  t.true(SHELLS.length > 0)
})

test('its bounds are those of the daemon, and the package ships it', (t) => {
  const text = readFileSync(SCRIPT, 'utf8')
  const bound = (name: string) => Number(new RegExp(`^${name}=(\\d+)`, 'm').exec(text)?.[1])
  t.is(bound('enough'), LIMITS.softWarn)
  t.is(bound('wanted'), LIMITS.softRecommended)
  t.is(bound('most'), LIMITS.softMax)
  t.is(bound('floor'), LIMITS.hardFloor)
  t.is(bound('listed'), LIMITS.doctorHungryMax)
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  t.true(files.includes('scripts/fix-file-descriptors.sh'))
})

for (const shell of SHELLS) {
  test.serial(`${shell}: limits, a daemon that answers, the hungriest others and what to do`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '400:400' })
      const { code, out, err, lines } = run(['prlimit', '--nofile=700:4000', shell])
      t.is(err, '')
      t.is(code, 1, 'a hard limit of 4000 needs mending')
      t.regex(out, /^ {2}this shell {4}soft 700, hard 4000$/m)
      const at = lines.findIndex((line) => line.startsWith(`  pid ${daemon.pid} `))
      t.regex(lines[at] ?? '', /\d+ open of 400, user \d+$/)
      if (isThere('curl')) t.regex(lines[at + 1] ?? '', /^ +it answers$/)
      t.regex(out, /^! the hard limit is 4000; 10000 serve well, 65536 are recommended:$/m)
      t.true(lines.filter((line) => /^ +\d+ {2}pid \d+/.test(line)).length <= LIMITS.doctorHungryMax)
      t.deepEqual(
        lines.filter((line) => line.length > 80),
        [],
      )
      t.regex(out, /^verdict\n {2}not well: /m)
    })
  })

  test.serial(`${shell}: a daemon that is stopped or near its limit is named with the command`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '400:400' })
      // Below what it cannot give back: at a cut it lets go of all the rest.
      daemon.limit(24)
      const near = after(run([shell]).lines, daemon)
      t.regex(near, /^! the daemon, pid \d+, holds \d+ of its \d+ descriptors:$/m)
      daemon.limit(400)
      daemon.kill('SIGSTOP')
      await eventually('it has stopped', 20_000, () => stateOf(daemon) === 'T')
      const { code, lines } = run([shell])
      t.is(code, 1)
      t.true(
        after(lines, daemon).startsWith(
          `! the daemon, pid ${daemon.pid}, was stopped by a signal and answers nobody:\n    kill -CONT ${daemon.pid}\n`,
        ),
      )
      daemon.kill('SIGCONT')
    })
  })
}

test('a question or a wrong word is answered, and nothing else done', (t) => {
  t.is(run(['sh'], {}, ['--help']).code, 0)
  const { code, lines } = run(['sh'], {}, ['frobnicate'])
  t.is(code, 2)
  t.true(lines.length < 6)
})

test('on macOS it asks launchctl, sysctl, ps and lsof', async (t) => {
  await play(async (scene) => {
    const path = fakeMac(scene, '256            unlimited')
    const low = run(['prlimit', '--nofile=256:70000', 'dash'], { PATH: path })
    // Where the hard limit cannot be that high, the same under the one that is here.
    const { code, out, err } = low.err === '' ? low : run(['prlimit', '--nofile=256:9000', 'dash'], { PATH: path })
    t.is(err, '')
    t.is(code, 1)
    t.regex(out, /^ {2}launchd {7}soft 256, hard unlimited$/m)
    t.regex(out, /^ {2}one process {3}at most 138240$/m)
    t.regex(out, /^ {2}all of them {3}270000 of 276480 open$/m)
    t.regex(out, /^ {2}pid 501 {7}3 open of a limit that is not told, user 501$/m)
    t.regex(out, /^! the daemon, pid 501, was stopped by a signal/m)
    t.regex(out, /^ +2 {2}pid 502 {5}Some/m)
    t.regex(out, /sudo sysctl -w kern\.maxfiles=552960/)
    t.regex(out, /launchctl limit maxfiles 65536|ulimit -n 65536/)
    t.notRegex(out, /limits\.d|inotify/)
  })
})

/** Its commands, before those of this machine. */
function fakeMac(scene: Scene, limit: string): string {
  const bin = scene.path('bin')
  mkdirSync(bin)
  const command = (name: string, body: string) => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  command('uname', 'echo Darwin')
  command('launchctl', `printf '\\tmaxfiles    ${limit}\\n'`)
  command('sysctl', 'case $2 in kern.maxfiles) echo 276480 ;; kern.num_files) echo 270000 ;; *) echo 138240 ;; esac')
  command(
    'ps',
    `echo '  501   501 T       /usr/local/bin/node /opt/spacedrive/dist/src/cli/main.js start --data-dir /nowhere'
echo '  502     7 S       /Applications/Some.app/Some'`,
  )
  command('lsof', "printf 'p501\\nfcwd\\nftxt\\nf0\\nf1\\nf22\\np502\\nfrtd\\nf0\\nf1\\n'")
  return `${bin}:${process.env['PATH']}`
}

/** What is said after the line of a daemon. */
function after(lines: readonly string[], { pid }: TestDaemon): string {
  return lines.slice(lines.findIndex((line) => line.startsWith(`  pid ${pid} `)) + 1).join('\n')
}
