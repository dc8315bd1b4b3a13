// The shim itself: it sees what Node and SQLite ask of the system, lets just what is named fail, and says how often.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, type TestDaemon } from './daemon.js'
import { play, type Scene } from './scene.js'
import { CALLS, shimProblem, type Shim } from './shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: tests that let system calls fail, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

test('both halves name the calls in one order', (t) => {
  const source = readFileSync(join(ROOT, 'test', 'harness', 'shim.c'), 'utf8')
  const [, list] = /enum call \{([^}]*)\}/.exec(source)!
  const names = [...list!.matchAll(/CALL_(\w+)/g)].map(([, name]) => name!)
  t.deepEqual(names, [...CALLS])
})

shimmed('it counts the calls of Node and of SQLite, and lets nothing fail by itself', async (t) => {
  await playShimmed(async ({ daemon, shim, scene }) => {
    t.is(shim.attached, daemon.pid)
    const before = shim.counts()
    await daemon.index('library', scene.tree('tree', 50))
    const after = shim.counts()
    for (const call of ['open', 'read', 'write', 'truncate', 'lock', 'fsync'] as const) {
      t.true(after[call].calls > before[call].calls, call)
    }
    for (const call of ['accept', 'socket', 'eventfd', 'epoll', 'thread'] as const) t.true(after[call].calls > 0, call)
    t.true(CALLS.every((call) => after[call].failed === 0))
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('SQLite’s own calls fail by path, and pass again when told so', async (t) => {
  await playShimmed(async ({ daemon, shim }) => {
    const { id: library } = await daemon.call('libraries.create', { name: 'library' })
    for (const errno of ['EMFILE', 'EACCES'] as const) {
      const rule = shim.fail({ calls: 'open', path: 'library.db-wal', errno })
      t.notRegex(await daemon.codeOf('libraries.open', { library }), /^answered/)
      t.true(rule.failed > 0)
      t.regex(rule.last, /library\.db-wal$/)
      shim.clear()
    }
    t.is((await daemon.call('libraries.open', { library })).open, true)
    t.is(shim.counts().open.failed > 0, true)
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('only the Nth, from the Nth on, so many, by chance, and in which thread', async (t) => {
  await playShimmed(async ({ daemon, shim }) => {
    const { id: library } = await daemon.call('libraries.create', { name: 'library' })
    const opens = async () => {
      await daemon.call('libraries.open', { library }).catch(() => null)
      await daemon.call('libraries.close', { library })
    }
    const path = 'library.json'
    const rules = [
      shim.fail({ calls: 'open', path, errno: 'EIO', after: 2, once: true, thread: 'others' }),
      shim.fail({ calls: 'open', path, errno: 'EIO', thread: 'main' }),
    ]
    for (let at = 0; at < 6; at++) await opens()
    t.deepEqual([rules[0]!.matched, rules[0]!.failed, rules[1]!.matched], [6, 1, 0])
    shim.clear()

    const last = shim.fail({ calls: ['open', 'socket'], path, errno: 'EIO', after: 4 })
    for (let at = 0; at < 6; at++) await opens()
    t.deepEqual([last.matched, last.failed], [6, 2])
    shim.clear()

    const few = shim.fail({ calls: 'open', path, errno: 'EIO', times: 3 })
    for (let at = 0; at < 6; at++) await opens()
    t.is(few.failed, 3)
    shim.clear()

    const chance = shim.fail({ calls: 'open', path, errno: 'EIO', probability: 0.5, seed: 7 })
    for (let at = 0; at < 40; at++) await opens()
    t.true(chance.failed > 5 && chance.failed < 35, String(chance.failed))
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('it is gone from the environment of Node: what a daemon starts is not touched', async (t) => {
  await play(async (scene) => {
    const shim = scene.shim()
    const script = `
      const { execFileSync } = require('node:child_process')
      const names = JSON.parse(execFileSync(process.execPath, ['-p', 'JSON.stringify(Object.keys(process.env))']))
      console.log(JSON.stringify(names.filter((name) => /PRELOAD|SHIM/.test(name))))`
    const env = { ...process.env, ...shim.env }
    t.deepEqual(JSON.parse(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', env })), [])
    t.true(shim.attached > 0)
  })
})

interface Shimmed {
  readonly scene: Scene
  readonly shim: Shim
  readonly daemon: TestDaemon
}

function playShimmed(act: (shimmed: Shimmed) => Promise<void>): Promise<void> {
  return play(async (scene) => {
    const shim = scene.shim()
    await act({ scene, shim, daemon: await scene.daemon({ env: shim.env }) })
  })
}
