// From `start` to `stop` with the real daemon, as a person at a shell would.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import type { Descriptors, FileItem, Status } from '../../src/protocol/messages.js'
import { isAlive } from '../../src/cli/stop.js'
import { forgetTurn, loaded, waiting } from '../../src/cli/turn.js'
import { temporary } from './fake.js'

const MAIN = join(import.meta.dirname, '../../src/cli/main.js')
const NPM_START = join(import.meta.dirname, '../../../scripts/start.mjs')

interface Place {
  readonly dataDir: string
  readonly tree: string
}

function place(t: ExecutionContext): Place {
  const made = temporary()
  t.teardown(() => made[Symbol.dispose]())
  const tree = join(made.path, 'tree')
  mkdirSync(join(tree, 'folder'), { recursive: true })
  writeFileSync(join(tree, 'folder', 'report-2024.pdf'), 'pdf')
  writeFileSync(join(tree, 'empty'), '')
  return { dataDir: join(made.path, 'data'), tree }
}

function cli({ dataDir }: Place, ...argv: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...argv, '--data-dir', dataDir], {
    encoding: 'utf8',
  })
  return { code: status, out: stdout, err: stderr }
}

function json<Value>(where: Place, ...argv: string[]): Value {
  const { code, out, err } = cli(where, ...argv, '--json')
  if (code !== 0) throw new Error(`exit ${code}: ${err}`)
  return JSON.parse(out) as Value
}

interface Running {
  readonly child: ChildProcess
  readonly pid: number
  readonly exited: Promise<number | null>
  out(): string
  err(): string
  /** Resolves once stdout or stderr holds the text. */
  said(text: string): Promise<void>
}

function start(t: ExecutionContext, { dataDir }: Place, ...argv: string[]): Running {
  const child = spawn(process.execPath, [MAIN, 'start', '--http', '127.0.0.1:0', '--data-dir', dataDir, ...argv])
  t.teardown(() => child.kill('SIGKILL'))
  const texts = { out: '', err: '' }
  const looks = new Set<() => void>()
  const remember = (key: 'out' | 'err') => (bytes: Buffer) => {
    texts[key] += bytes.toString()
    for (const look of looks) look()
  }
  child.stdout.on('data', remember('out'))
  child.stderr.on('data', remember('err'))
  const exited = new Promise<number | null>((resolve) => child.on('close', resolve))
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => (texts.out + texts.err).includes(text) && resolve()
      looks.add(look)
      look()
      void exited.then((code) => reject(new Error(`exit ${code}: ${texts.err}`)))
    })
  return { child, pid: child.pid!, exited, out: () => texts.out, err: () => texts.err, said }
}

test('start, index, list, search, look at the descriptors, stop', async (t) => {
  const where = place(t)
  const daemon = start(t, where, '--json')
  await daemon.said('"ready":true')

  json(where, 'library', 'create', 'Files')
  const added = json<{ outcome: { state: string } }>(where, 'location', 'add', where.tree)
  t.is(added.outcome.state, 'done')
  const listed = json<{ items: FileItem[] }>(where, 'ls', where.tree)
  t.deepEqual(listed.items.map(({ name }) => name).toSorted(), ['empty', 'folder'])
  const found = json<{ total: number; items: FileItem[] }>(where, 'search', 'report')
  t.is(found.total, 1)
  t.is(found.items[0]?.path, join(where.tree, 'folder', 'report-2024.pdf'))
  t.is(json<Status>(where, 'status').pid, daemon.pid)
  const held = json<Descriptors>(where, 'fds')
  t.true(held.holders.length > 0)
  for (const argv of [['status'], ['fds'], ['job', 'list'], ['library', 'info'], ['logs']]) {
    t.is(cli(where, ...argv).code, 0, argv.join(' '))
  }

  t.like(cli(where, 'stop'), { code: 0, out: `stopped, pid ${daemon.pid}\n` })
  t.is(await daemon.exited, 0)
  t.is(daemon.out().trimEnd().split('\n').length, 1, 'nothing but the ready line on stdout')
  t.is(cli(where, 'status').code, 3)
})

test('start --location indexes, says so, and drains at a signal', async (t) => {
  const where = place(t)
  const daemon = start(t, where, '--location', where.tree)
  await daemon.said('Ctrl-C stops')
  // What was written before it, but to the other stream, may be read after it.
  await daemon.said('  token')
  t.regex(daemon.out(), /^ {2}address {2}http:\/\/127\.0\.0\.1:\d+$/m)
  t.regex(daemon.err(), /^indexed .+: \d+ entries in /m)
  t.is(json<{ name: string }[]>(where, 'library', 'list')[0]?.name, 'My Library')
  daemon.child.kill('SIGTERM')
  t.is(await daemon.exited, 0)
  t.regex(daemon.err(), /^draining…$/m)
})

test('a second daemon on the same data directory names the first and exits 1', async (t) => {
  const where = place(t)
  const daemon = start(t, where, '--json')
  await daemon.said('"ready":true')
  const { code, err } = cli(where, 'start', '--http', '127.0.0.1:0')
  t.is(code, 1)
  t.regex(err, /^error ALREADY_RUNNING: .+\nhint: /m)
  t.true(err.includes(String(daemon.pid)))
})

test('a detached daemon is ready when the command returns, and restarts with its arguments', (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  const first = json<{ pid: number; http: string }>(
    where,
    'start',
    '--detach',
    '--http',
    '127.0.0.1:0',
    '--shards',
    '1',
  )
  t.is(json<Status>(where, 'status').pid, first.pid)
  const second = json<{ pid: number; http: string }>(where, 'restart')
  t.not(second.pid, first.pid)
  t.is(json<Status>(where, 'status').shards.length, 1)
  t.is(cli(where, 'stop').code, 0)
})

test('a detached start, a restart and the status tell where lines are served', (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  const argv = ['start', '--detach', '--http', '127.0.0.1:0', '--shards', '1', '--line-protocol', '127.0.0.1:0']
  const told = (said: ReturnType<typeof cli>) => /^ *lines +(127\.0\.0\.1:[1-9]\d*)/m.exec(said.out)?.[1]
  const first = told(cli(where, ...argv))
  t.truthy(first)
  t.is(told(cli(where, 'status')), first)
  t.is(json<Status>(where, 'status').lineProtocol, first!)
  t.is(told(cli(where, 'restart')), first)
  t.is(json<{ lineProtocol: string }>(where, 'restart').lineProtocol, first!)
})

test('a restart looks at the settings before it stops what serves', (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  const { pid } = json<{ pid: number }>(where, 'start', '--detach', '--http', '127.0.0.1:0', '--shards', '1')
  writeFileSync(join(where.dataDir, 'config.json'), '{"htp": "off"}')
  const { code, err } = cli(where, 'restart')
  t.is(code, 78)
  t.regex(err, /^error BAD_CONFIG: .*config\.json: htp/)
  t.is(json<Status>(where, 'status').pid, pid)
})

test('a restart that fails after what served was stopped says that nothing serves any more', (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  const { pid } = json<{ pid: number }>(where, 'start', '--detach', '--http', '127.0.0.1:0', '--shards', '1')
  // A file where the folder of the libraries should be: only the next daemon itself finds out.
  rmSync(join(where.dataDir, 'libraries'), { recursive: true })
  writeFileSync(join(where.dataDir, 'libraries'), '')
  const { code, err } = cli(where, 'restart')
  t.not(code, 0)
  t.true(err.startsWith(`the daemon with pid ${pid} was stopped, and no other runs`), err)
  t.is(cli(where, 'status').code, 3)
})

test('a restart whose next daemon does not come as far as to load stops nothing', async (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  const { pid } = json<{ pid: number }>(where, 'start', '--detach', '--http', '127.0.0.1:0', '--shards', '1')
  const pidFile = join(where.dataDir, '..', 'pid')
  const ends = `if (!process.argv.includes('restart')) process.exit(7)`
  const stays = `import { writeFileSync } from 'node:fs'
    if (!process.argv.includes('restart')) {
      writeFileSync(${JSON.stringify(pidFile)}, String(process.pid))
      await new Promise((resolve) => setTimeout(resolve, 1e9))
    }`
  const restart = (script: string) => {
    const first = ['--import', `data:text/javascript,${encodeURIComponent(script)}`]
    const child = spawn(process.execPath, [...first, MAIN, 'restart', '--data-dir', where.dataDir])
    t.teardown(() => child.kill('SIGKILL'))
    return child
  }
  const failing = restart(ends)
  let said = ''
  failing.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
  await once(failing, 'close')
  t.regex(said, /^error INTERNAL: the daemon ended with exit code 7/)
  const waits = restart(stays)
  const exited = once(waits, 'exit')
  while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await sleep(5)
  waits.kill('SIGTERM')
  t.deepEqual(await exited, [143, null])
  t.false(isAlive(Number(readFileSync(pidFile, 'utf8'))))
  t.like(json<Status>(where, 'status'), { pid, state: 'serving' })
})

test('the next daemon of a restart that is killed before its turn ends, and has done nothing', async (t) => {
  const where = place(t)
  const argv = ['start', '--http', '127.0.0.1:0', '--data-dir', where.dataDir]
  const child = spawn(process.execPath, [MAIN, ...argv], {
    env: waiting(process.env),
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await loaded(child)
  t.false(existsSync(where.dataDir))
  forgetTurn(child)
  t.deepEqual(await once(child, 'exit'), [0, null])
  t.false(existsSync(where.dataDir))
})

test.serial('a signal while a start is waited for ends the daemon as well', async (t) => {
  const where = place(t)
  const pidFile = join(where.dataDir, '..', 'pid')
  // Loaded by the daemon before anything of ours: it never serves.
  const forever = `import { writeFileSync } from 'node:fs'
    if (!process.argv.includes('--detach')) {
      writeFileSync(${JSON.stringify(pidFile)}, String(process.pid))
      await new Promise((resolve) => setTimeout(resolve, 1e9))
    }`
  const argv = ['start', '--detach', '--http', '127.0.0.1:0', '--data-dir', where.dataDir]
  const child = spawn(process.execPath, [
    '--import',
    `data:text/javascript,${encodeURIComponent(forever)}`,
    MAIN,
    ...argv,
  ])
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  while (!existsSync(pidFile) || readFileSync(pidFile, 'utf8') === '') await sleep(5)
  const pid = Number(readFileSync(pidFile, 'utf8'))
  t.true(isAlive(pid))
  child.kill('SIGINT')
  t.deepEqual(await exited, [130, null])
  t.false(isAlive(pid))
})

test('a port that was picked is kept over restarts, and where it is taken another is, which is told', async (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  // Nobody else on this machine listens at this address, or comes from it.
  const lines = ['--line-protocol', '127.0.0.85:0']
  const first = json<{ http: string }>(where, 'start', '--detach', '--http', '127.0.0.85:0', '--fronts', '2', ...lines)
  const port = Number(new URL(first.http).port)
  const { lineProtocol } = JSON.parse(readFileSync(join(where.dataDir, 'ports.json'), 'utf8')) as Record<string, number>
  t.is(json<{ http: string }>(where, 'restart').http, first.http)
  t.is(cli(where, 'stop').code, 0)
  const second = json<{ http: string }>(where, 'start', '--detach', '--http', '127.0.0.85:0', ...lines)
  t.is(second.http, first.http)
  t.true(await answers(lineProtocol!))
  t.is(cli(where, 'stop').code, 0)

  const other = createServer().listen(port, '127.0.0.85')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const third = json<{ http: string }>(where, 'start', '--detach', '--http', '127.0.0.85:0')
  t.not(third.http, first.http)
  t.regex(readFileSync(join(where.dataDir, 'logs', 'daemon.log'), 'utf8'), /another port is picked than before/)
  t.is(json<{ http: string }>(where, 'restart').http, third.http, 'the one that was picked last is kept from then on')
  writeFileSync(join(where.dataDir, 'ports.json'), JSON.stringify({ http: port }))
  const { code, err } = cli(where, 'restart')
  t.is(code, 0)
  t.true(err.includes(`it was at ${third.http} before`), err)
})

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.85')
    socket.on('connect', () => (socket.destroy(), resolve(true)))
    socket.on('error', () => resolve(false))
  })
}

test('a detached daemon that cannot start passes its reason on', (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  mkdirSync(where.dataDir, { recursive: true, mode: 0o700 })
  // A file where the folder of the libraries should be: only the daemon itself finds out.
  writeFileSync(join(where.dataDir, 'libraries'), '')
  const { code, out, err } = cli(where, 'start', '--detach', '--http', '127.0.0.1:0')
  t.not(code, 0)
  t.is(out, '')
  t.regex(err, /^error [A-Z_]+: .+\nhint: .+\n$/)
  t.true(readFileSync(join(where.dataDir, 'logs', 'start.log'), 'utf8').length > 0)
})

test('a detached start where nothing can be written says that of the data directory', (t) => {
  const where = place(t)
  mkdirSync(where.dataDir, { recursive: true, mode: 0o700 })
  symlinkSync(join(where.tree, 'gone', 'logs'), join(where.dataDir, 'logs'))
  const { code, err } = cli(where, 'start', '--detach', '--http', 'off')
  t.is(code, 78)
  t.regex(err, /^error BAD_CONFIG: the data directory .+\nhint: .+\n$/)
})

test('of a data directory that is none is told what it is', (t) => {
  const { dataDir, tree } = place(t)
  const told = (path: string, code: string, words: RegExp) => {
    for (const argv of [['start'], ['start', '--detach']]) {
      const said = cli({ dataDir: path, tree }, ...argv)
      t.is(said.code, 78, path)
      t.regex(said.err, new RegExp(`^error ${code}: .+\nhint: .+\n$`))
      t.regex(said.err, words)
    }
    t.is(cli({ dataDir: path, tree }, 'status').code, 3, path)
  }
  told(join(tree, 'empty'), 'BAD_CONFIG', /is none: ENOTDIR.+\nhint: Name a directory/)
  told(join(tree, 'empty', 'below'), 'BAD_CONFIG', /is none: ENOTDIR.+\nhint: Name a directory/)
  symlinkSync(dataDir, join(tree, 'dangling'))
  told(join(tree, 'dangling'), 'BAD_CONFIG', /is a link to .+, which is not there\nhint: Make that directory/)
  symlinkSync('circle', join(tree, 'circle'))
  told(join(tree, 'circle'), 'BAD_CONFIG', /is none: ELOOP.+\nhint: Name a directory/)
  if (existsSync('/proc/self')) told('/proc/nowhere', 'BAD_CONFIG', /cannot be used/)
})

const isRoot = process.getuid?.() === 0 ? test : test.skip
isRoot("root is told that a data directory is another user's", (t) => {
  const where = place(t)
  t.teardown(() => cli(where, 'stop'))
  mkdirSync(where.dataDir, { mode: 0o700 })
  chownSync(where.dataDir, 65_534, 65_534)
  const { code, err } = cli(where, 'start', '--detach', '--http', 'off', '--shards', '1')
  t.is(code, 0)
  t.regex(err, /^warning: the data directory belongs to another user \(65534\)/m)
  t.regex(readFileSync(join(where.dataDir, 'logs', 'daemon.log'), 'utf8'), /belongs to another user \(65534\)/)
  const { findings } = JSON.parse(cli(where, 'doctor', '--json').out) as {
    findings: { code: string; mend: { command: string } }[]
  }
  t.regex(findings.find((each) => each.code === 'DIRECTORY_OWNER')!.mend.command, /^sudo -u '#65534' spacedrive start/)
})

const mounts = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
const alone = mounts ? test : test.skip
alone('a daemon that does not start for want of room says so, also where its words had none', (t) => {
  const { tree } = place(t)
  const start = `${process.execPath} ${MAIN} start --detach --http off --data-dir`
  const fill = 'mount -t tmpfs -o size=1m none "$0" && { head -c 2M /dev/zero >"$0/full" 2>/dev/null || :; }'
  const { status, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', `${fill}; ${start} "$0/data"`, tree], {
    encoding: 'utf8',
  })
  t.is(status, 1)
  t.regex(stderr, /^error DISK_FULL: .+\nhint: .+\n$/)
})

const full = existsSync('/dev/full') ? test : test.skip
full('a disk that is full takes no output: a command says so, a daemon goes on', async (t) => {
  const where = place(t)
  const out = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(out))
  const argv = [MAIN, 'plan', '--json']
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8', stdio: ['ignore', out, 'pipe'] })
  t.is(status, 1)
  t.regex(stderr, /^error DISK_FULL: .+\nhint: .+\n$/)
  const help = spawnSync(process.execPath, [MAIN, '--help'], { encoding: 'utf8', stdio: ['ignore', out, 'pipe'] })
  t.is(help.status, 1)
  t.regex(help.stderr, /^error DISK_FULL: .+\nhint: .+\n$/)

  const daemon = [MAIN, 'start', '--http', 'off', '--data-dir', where.dataDir, '--location', where.tree]
  const child = spawn(process.execPath, daemon, { stdio: ['ignore', out, out] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  for (let code: number | null = 3; code !== 0;) {
    if (child.exitCode !== null) return t.fail(`it ended with ${child.exitCode}`)
    await sleep(50)
    code = cli(where, 'status').code
  }
  child.kill('SIGTERM')
  t.deepEqual(await ended, [0, null])
})

test('no signal has Node listen for a debugger', async (t) => {
  const where = place(t)
  const daemon = start(t, where)
  await daemon.said('spacedrive is ready')
  daemon.child.kill('SIGUSR1')
  t.is(cli(where, 'status').code, 0)
  daemon.child.kill('SIGTERM')
  t.is(await daemon.exited, 0)
  t.notRegex(daemon.err(), /debugger/i)
})

// Serial: the others' processes wait only so long while this one has the thread.
test.serial('npm start: what follows a flag without a value is the path', (t) => {
  const where = place(t)
  const help = cli(where, 'start', '--help').out
  const switches = [...help.matchAll(/^ +(--[a-z-]+) +[a-z]/gm)].map(([, name]) => name!)
  t.true(switches.includes('--trace-leases'))
  for (const each of ['--json', ...switches]) {
    const { stderr } = spawnSync(process.execPath, [NPM_START, each, join(where.tree, 'gone')], { encoding: 'utf8' })
    t.regex(stderr, /^error PATH_REFUSED: .+gone does not exist$/m, each)
  }
})
