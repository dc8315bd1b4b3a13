// The doctor when it is needed: a daemon that hangs, that has nothing left, that was killed; and what the machine ran out of.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { fromSystem, SpacedriveError } from '../../src/base/errors.js'
import { paths } from '../../src/base/places.js'
import { answeringOf } from '../../src/doctor/daemons.js'
import type { Diagnosis } from '../../src/doctor/examine.js'
import { ground, type Ground } from '../doctor/ground.js'
import { kinds } from '../front/stage.js'
import { cli, eventually, LAUNCHER, type Loose, type Starting, type TestDaemon } from '../harness/daemon.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'

// The root of configuration is a directory of the test, so that what this machine is set to does not matter.
function doctor(dataDir: string, here: Ground, starting: Starting = {}): Diagnosis & { code: number | null } {
  const env = { SPACEDRIVE_DOCTOR_ROOT: here.root, HOME: '/home/ada', ...starting.env }
  const { code, out, err } = cli(['doctor', '--json', '--data-dir', dataDir], { ...starting, env })
  if (err !== '') throw new Error(err)
  return { ...JSON.parse(out), code }
}

function codes({ findings }: Diagnosis): string[] {
  return findings.map(({ code }) => code)
}

for (const front of await kinds()) {
  test.serial(
    `${front}: with every slot taken and not one descriptor free the doctor answers, and names what is full`,
    async (t) => {
      await play(async (scene) => {
        using here = ground()
        const daemon = await scene.daemon({ limit: '150:150', args: ['--front', front] })
        const before = await daemon.descriptorsAtRest()
        const { library, small } = await indexed(scene, daemon)
        await daemon.call('core.ping')
        const crowd: Socket[] = []
        const { reserve } = (await daemon.status()).descriptors
        // Who was idle for a second may have given way by the time it comes.
        const full = await eventually('it finds every slot taken', 60_000, async () => {
          crowd.push(...(await fill(daemon)))
          const found = doctor(scene.dataDir, here)
          // It gets in by a control slot; on a busy machine not always within its patience.
          return found.daemon?.pid === daemon.pid && codes(found).includes('CLASS_FULL') && found
        })
        t.is(full.code, 1)

        const most = daemon.descriptorCount
        daemon.limit(most)
        const nothing = doctor(scene.dataDir, here)
        const seen = nothing.processes.spacedrive.find(({ pid }) => pid === daemon.pid)
        // By the daemon itself where it could accept from its reserve, else by what the kernel tells of it.
        t.true(['serving', 'exhausted'].includes(seen!.answering), seen!.answering)
        // Idle ones give way meanwhile; of the reserve some may have been lent when it looked.
        const open = seen!.open ?? 0
        const left = daemon.descriptorCount
        t.true(open <= most && open >= left - reserve, `${open} of ${most}, and ${left} are left`)
        if (seen!.answering === 'exhausted') {
          t.true(codes(nothing).includes('DAEMON_EXHAUSTED'))
          t.true((seen!.kinds?.['sockets'] ?? 0) > 0, 'and says what it holds')
        }
        daemon.limit(150)
        for (const each of crowd) each.destroy()
        t.deepEqual(await atRest(daemon), before)
        await sameAsDisk(daemon, library, small)
        t.is((await daemon.stop()).code, 0)
      })
    },
  )
}

test.serial(
  'a daemon that is alive and answers nobody is named, with how to end it; --fix mends what can be',
  async (t) => {
    await play(async (scene) => {
      using here = ground()
      const daemon = await scene.daemon()
      daemon.kill('SIGSTOP')
      const { findings, processes, code } = doctor(scene.dataDir, here)
      const stopped = findings.find(
        (each) => each.code === 'DAEMON_STOPPED' && each.message.includes(`pid ${daemon.pid},`),
      )
      t.is(stopped?.mend.command, `kill -CONT ${daemon.pid}`)
      t.is(stopped?.severity, 'problem')
      t.is(code, 1)
      t.is(processes.spacedrive.find(({ pid }) => pid === daemon.pid)?.answering, 'stopped')
      const env = { SPACEDRIVE_DOCTOR_ROOT: here.root }
      t.is(cli(['doctor', '--fix', '--dry-run', '--data-dir', scene.dataDir], { env }).code, 0)
      t.is(doctor(scene.dataDir, here).processes.spacedrive.find(({ pid }) => pid === daemon.pid)?.answering, 'stopped')
      const fixed = cli(['doctor', '--fix', '--yes', '--data-dir', scene.dataDir], { env })
      t.is(fixed.code, 0, fixed.err)
      t.is(await daemon.call('core.ping'), 'pong')
      t.is((await daemon.stop()).code, 0)
    })
  },
)

test('a stuck daemon is told from one that is young, that drains, or that is out of descriptors', async (t) => {
  const each = { pid: 4, parent: 1, uid: 1, name: 'node', argv: [], open: 50, state: 'running' as const, ageMs: 60_000 }
  const limit = { soft: 1000, hard: 1000 }
  const silent = () => Promise.reject(new SpacedriveError('TIMEOUT', 'no answer'))
  const dataDir = mkdtempSync(join(tmpdir(), 'sd-'))
  t.teardown(() => rmSync(dataDir, { recursive: true }))
  const where = paths(dataDir)
  const of = async (changed: object, ask: () => Promise<Loose> = silent) =>
    (await answeringOf({ ...each, ...changed }, where, limit, ask)).answering
  t.is(await of({}), 'stuck')
  t.is(await of({ ageMs: 2_000 }), 'starting')
  t.is(await of({ open: 999 }), 'exhausted')
  t.is(await of({ state: 'stopped' }), 'stopped')
  t.is(await of({}, () => Promise.reject(new SpacedriveError('DRAINING', 'no'))), 'draining')
  t.is(await of({}, () => Promise.resolve({ pid: 5 })), 'stuck', 'another process answers at its socket')
  t.is(await of({}, () => Promise.resolve({ pid: 4, state: 'serving' })), 'serving')
  for (const pid of [4, 5]) {
    writeFileSync(where.state, JSON.stringify({ pid, socket: null, draining: true }))
    t.is(await of({}), pid === 4 ? 'draining' : 'stuck')
  }
  const own = fromSystem(Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }))
  await t.throwsAsync(
    of({}, () => Promise.reject(own)),
    { message: /this process has no descriptor left/ },
  )
})

test.serial(
  'scenario 45: what a killed daemon left is known by asking and by its lock, also when its pid is in use again',
  async (t) => {
    await play(async (scene) => {
      using here = ground()
      const first = await scene.daemon()
      const { library, small } = await indexed(scene, first)
      const left = codes(doctor(scene.dataDir, here))
      t.false(left.includes('STALE_SOCKET') || left.includes('STALE_STATE'), 'nothing of a living daemon is stale')
      first.kill('SIGKILL')
      await first.exited
      const state = JSON.parse(readFileSync(`${scene.dataDir}/daemon.json`, 'utf8'))
      t.true(existsSync(state.socket))
      for (const pid of [state.pid, process.pid]) {
        writeFileSync(`${scene.dataDir}/daemon.json`, JSON.stringify({ ...state, pid }))
        const found = doctor(scene.dataDir, here)
        t.true(
          codes(found).includes('STALE_SOCKET') && codes(found).includes('STALE_STATE'),
          `${pid}: ${codes(found).join()}`,
        )
        t.is(found.daemon, null)
        t.true(codes(found).includes('LAST_RUN_CUT'))
        t.is(found.flight.last?.pid, state.pid, 'what the recorder held survived')
      }
      t.is(cli(['status', '--data-dir', scene.dataDir]).code, 3)
      const second = await scene.daemon()
      t.deepEqual(
        codes(doctor(scene.dataDir, here)).filter((code) => code.startsWith('STALE')),
        [],
      )
      await sameAsDisk(second, library, small)
      second.kill('SIGKILL')
      await second.exited
      const fixed = cli(['doctor', '--fix', '--yes', '--data-dir', scene.dataDir], {
        env: { SPACEDRIVE_DOCTOR_ROOT: here.root },
      })
      t.is(fixed.code, 0, fixed.err)
      t.false(existsSync(state.socket) || existsSync(`${scene.dataDir}/daemon.json`))
      const third = await scene.daemon()
      const before = await third.descriptorsAtRest()
      writeFileSync(`${small}/later.txt`, '')
      await writable(third, library)
      await sameAsDisk(third, library, small)
      t.deepEqual(await atRest(third), before)
      t.is((await third.stop()).code, 0)
      const stopped = doctor(scene.dataDir, here)
      t.false(codes(stopped).includes('LAST_RUN_CUT'))
      t.is(stopped.flight.events.at(-1)?.kind, 'stop')
    })
  },
)

test.serial('a program that took the place of the socket, or its number, is not ended and not removed', async (t) => {
  await play(async (scene) => {
    using here = ground()
    mkdirSync(scene.dataDir, { mode: 0o700 })
    const socket = `${scene.dataDir}/daemon.sock`
    const foreign = createServer((peer) => peer.end('HTTP/1.1 418 no\r\nContent-Length: 0\r\n\r\n'))
    await new Promise<void>((resolve) => foreign.listen(socket, resolve))
    writeFileSync(`${scene.dataDir}/daemon.json`, JSON.stringify({ pid: process.pid, http: null, socket, argv: [] }))
    try {
      // In a process of its own, so that this one can answer.
      const found = spawn(LAUNCHER, ['doctor', '--json', '--data-dir', scene.dataDir], {
        env: { ...process.env, SPACEDRIVE_DOCTOR_ROOT: here.root },
      })
      let out = ''
      found.stdout.on('data', (bytes) => (out += bytes))
      await once(found, 'close')
      const mends = (JSON.parse(out) as Diagnosis).findings.map(({ mend }) => mend)
      t.deepEqual(
        mends.filter(({ remove, kill }) => remove === socket || kill?.pid === process.pid),
        [],
      )
    } finally {
      foreign.close()
    }
  })
})

/** Looks like a daemon from outside, listens, and has spent its last descriptor: it can accept nobody. */
const SPENT = `
  import { openSync } from 'node:fs'
  import { createServer } from 'node:net'
  const socket = process.argv.at(-1) + '/daemon.sock'
  createServer().listen(socket, () => {
    try { for (;;) openSync('/dev/null') } catch {}
    process.stdout.write('spent')
  })
`

test.serial(
  'a daemon that can accept nobody any more is read from the kernel: how many of what, and how to give it room',
  async (t) => {
    await play(async (scene) => {
      using here = ground()
      const entry = scene.path('package', 'dist', 'src', 'cli', 'main.js')
      mkdirSync(dirname(entry), { recursive: true })
      writeFileSync(entry, SPENT)
      writeFileSync(scene.path('package', 'package.json'), '{ "name": "spacedrive", "type": "module" }')
      mkdirSync(scene.dataDir, { mode: 0o700 })
      const words = ['--nofile=64:128', process.execPath, entry, 'start', '--data-dir', scene.dataDir]
      const spent = spawn('prlimit', words, { stdio: ['ignore', 'pipe', 'ignore'] })
      try {
        await once(spent.stdout, 'data')
        // Node raised it to the hard limit, and all of that is in use.
        const { findings, processes, code } = doctor(scene.dataDir, here)
        const found = findings.find((each) => each.message.includes(`pid ${spent.pid},`))
        t.is(found?.code, 'DAEMON_EXHAUSTED')
        t.regex(found?.message ?? '', /holds 1\d\d of 128 descriptors/)
        t.regex(found?.mend.command ?? '', new RegExp(`^sudo prlimit --pid ${spent.pid} --nofile=512:512 `))
        const seen = processes.spacedrive.find(({ pid }) => pid === spent.pid)
        t.like(seen, { answering: 'exhausted', soft: 128, dataDir: scene.dataDir })
        // More where a number above the limit was inherited.
        t.true((seen?.open ?? 0) >= 128)
        t.true((seen?.kinds?.['/dev/null'] ?? 0) > 90)
        t.is(code, 1)
      } finally {
        spent.kill('SIGKILL')
        await once(spent, 'close')
      }
    })
  },
)

const OWN_USER_SPACE = ['unshare', '-U', '-r', 'sh', '-c']
const mayUnshare = spawnSync('unshare', ['-U', '-r', 'test', '-w', '/proc/sys/user/max_inotify_watches']).status === 0

/** Watches three directories with one instance, in a user namespace that allows as few as is said, while the doctor looks. */
function watching(settings: string): string[] {
  const watcher = `const { watch } = require('node:fs'); for (const path of ['/', '/usr', '/etc']) watch(path, () => {}); console.log('watching'); setInterval(() => {}, 1e6)`
  const script = `node=$1; code=$2; shift 2; ${settings}; "$node" -e "$code" >"$SEEN" & watcher=$!; while ! [ -s "$SEEN" ]; do sleep 0.1; done; "$@"; status=$?; kill $watcher; exit $status`
  return [...OWN_USER_SPACE, script, 'sh', process.execPath, watcher]
}

for (const [number, code, settings, words] of [
  [26, 'INOTIFY_WATCHES', 'echo 3 >/proc/sys/user/max_inotify_watches', /no space left/],
  [27, 'INOTIFY_INSTANCES', 'echo 1 >/proc/sys/user/max_inotify_instances', /too many open files/],
] as const) {
  test.serial(
    `scenario ${number}: the doctor tells ${code} as what it is, with the setting that mends it`,
    async (t) => {
      if (!mayUnshare) {
        t.log('not run: no user namespace can be made here')
        t.pass()
        return
      }
      await play(async (scene) => {
        using here = ground()
        const starting: Starting = { through: watching(settings), env: { SEEN: scene.path('seen') } }
        const { findings, watches, code: exit } = doctor(scene.dataDir, here, starting)
        const found = findings.find((each) => each.code === code)
        t.regex(found?.message ?? '', words)
        t.regex(
          found?.mend.file?.text ?? '',
          /^fs\.inotify\.max_user_watches = \d+\nfs\.inotify\.max_user_instances = \d+$/m,
        )
        t.true(watches!.instances >= 1 && watches!.watches >= 3)
        t.is(exit, 1)
      })
    },
  )
}

async function indexed(scene: Scene, daemon: TestDaemon): Promise<{ library: string; small: string }> {
  const small = scene.tree('small', 60)
  return { small, library: (await daemon.index('small', small)).library }
}

/** Connections until one is refused, perhaps without a word: every slot of the class clients is taken. */
/** So many at once as there is room for: for one more, idle ones would make room. */
async function fill(daemon: TestDaemon): Promise<Socket[]> {
  const { current, max } = (await daemon.watch('core.status')).connections
  // Who asks for this has a place itself, and leaves.
  const wanted = Array.from({ length: max - current + 1 }, () => take(daemon))
  return (await Promise.all(wanted)).filter((socket) => socket !== null)
}

async function take({ port }: TestDaemon): Promise<Socket | null> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const told = new Promise<string>((resolve) => {
    socket.once('data', (bytes) => resolve(String(bytes)))
    socket.once('close', () => resolve(''))
  })
  socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  return (await told).startsWith('HTTP/1.1 200') ? socket : null
}
