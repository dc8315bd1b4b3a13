// Programs that a daemon starts: the limit it was given itself, and none of its descriptors.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test from 'ava'
import { softForChildren } from '../../src/descriptors/child.js'
import { eventually, LAUNCHER, TestDaemon, type Exit } from '../harness/daemon.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'

const PARENT = join(import.meta.dirname, '..', 'harness', 'parent.js')
/** What a shell or a supervisor left open in us, at a number that Node does not look at. */
const LEFTOVER = 77

test.serial(
  'scenario 47: a helper has descriptors 0, 1 and 2 only, and the limit that the daemon was given',
  async (t) => {
    await play(async (scene) => {
      const parent = await startParent(scene, '300:2000')
      const { daemon } = parent
      const before = await daemon.descriptorsAtRest()
      const small = scene.tree('small', 50)
      const { library } = await daemon.index('small', small)
      t.is(Number(limitsOf(daemon.pid)[0]), 2000, 'the daemon raised itself')
      t.true(readdirSync(`/proc/${daemon.pid}/fd`).includes(String(LEFTOVER)), 'and has what its own parent left it')

      for (let at = 0; at < 5; at++) {
        const pid = Number(await parent.tell('sleep 60'))
        await eventually('the helper runs', 10_000, () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n')
        // Its loader may still have a library open; what it was given by mistake would stay.
        await eventually('it has 0, 1 and 2 only', 10_000, () => fdsOf(pid).join() === '0,1,2')
        t.deepEqual(limitsOf(pid), ['300', '2000'])
        t.is(await daemon.call('core.ping'), 'pong')
        t.is(await parent.tell(''), 'ended')
      }

      t.deepEqual(await atRest(daemon), before)
      writeFileSync(join(small, 'later.txt'), '')
      await writable(daemon, library)
      await sameAsDisk(daemon, library, small)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

test.serial('a detached daemon gets nothing that the shell of its command had open', async (t) => {
  await play(async (scene) => {
    const path = scene.path('leftover')
    writeFileSync(path, '')
    const words = ['start', '--detach', '--json', '--data-dir', scene.dataDir, '--http', 'off']
    const leftover = openSync(path, 'r')
    const started = spawnSync('prlimit', ['--nofile=300:2000', LAUNCHER, ...words], {
      encoding: 'utf8',
      stdio: stdioWith(leftover),
    })
    closeSync(leftover)
    t.is(started.status, 0, started.stderr)
    const { pid, limit } = JSON.parse(started.stdout)
    try {
      t.deepEqual(limit, { softAtStart: 300, soft: 2000, hard: 2000 })
      const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      t.false(targets.includes(path))
    } finally {
      t.is(spawnSync(LAUNCHER, ['stop', '--data-dir', scene.dataDir]).status, 0)
    }
  })
})

test('where the launcher noted no limit, or nonsense, a helper gets one that select() can live with', (t) => {
  t.is(softForChildren({}), '1024')
  t.is(softForChildren({ SPACEDRIVE_LIMIT_AT_START: ':20000' }), '1024')
  t.is(softForChildren({ SPACEDRIVE_LIMIT_AT_START: '256:unlimited' }), '256')
  t.is(softForChildren({ SPACEDRIVE_LIMIT_AT_START: 'unlimited:unlimited' }), 'unlimited')
})

interface Parent {
  readonly daemon: TestDaemon
  /** Says a line to it and waits for the line it answers. */
  tell(line: string): Promise<string>
}

async function startParent(scene: Scene, limit: string): Promise<Parent> {
  const leftover = openSync('/dev/null', 'r')
  const child = spawn('prlimit', [`--nofile=${limit}`, process.execPath, PARENT, scene.dataDir], {
    stdio: stdioWith(leftover, 'pipe'),
    env: { ...process.env, SPACEDRIVE_LIMIT_AT_START: limit },
  })
  closeSync(leftover)
  const exited = new Promise<Exit>((resolve) => child.on('close', (code, signal) => resolve({ code, signal })))
  const lines = createInterface({ input: child.stdout! })
  const next = async () => String((await once(lines, 'line', { signal: AbortSignal.timeout(30_000) }))[0])
  const ready = JSON.parse(await next())
  const daemon = scene.adopt(new TestDaemon(scene.dataDir, { said: { out: '', err: '' }, exited }, ready))
  return {
    daemon,
    tell: (line) => {
      const answer = next()
      child.stdin!.write(`${line}\n`)
      return answer
    },
  }
}

/** As many as it takes for the last to have the number of the leftover; the others are not open in the child. */
function stdioWith(leftover: number, first: 'pipe' | 'ignore' = 'ignore'): ('pipe' | 'ignore' | number)[] {
  const between = Array.from({ length: LEFTOVER - 3 }, () => 'ignore' as const)
  return [first, 'pipe', 'pipe', ...between, leftover]
}

function fdsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).sort()
}

function limitsOf(pid: number): string[] {
  return /^Max open files\s+(\S+)\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))!.slice(1, 3)
}
