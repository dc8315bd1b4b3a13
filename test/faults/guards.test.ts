// The guards of the databases, on every path that opens one: the silent read-only open, and locks lost by our own reading.
import { spawnSync } from 'node:child_process'
import { linkSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { holdLock } from '../../src/library/lock.js'
import { ROOT, type Refusal } from '../harness/daemon.js'
import { keepsPromise } from '../harness/promise.js'
import { play } from '../harness/scene.js'
import { shimProblem, type Rule } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: scenarios 15 and 16, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

shimmed('scenario 15: EMFILE once, on any open of a library: none comes back read-only', async (t) => {
  await play(async (scene) => {
    const shim = scene.shim()
    const daemon = await scene.daemon({ env: shim.env })
    const { library } = await daemon.index('library', scene.tree('tree', 50))
    let met = 0
    // The first open meets it, then the second, until there are no more.
    for (let after = 0, failed = 1; failed > 0; after++) {
      let rule: Rule | undefined
      await keepsPromise(daemon, {
        libraries: [library],
        begin: () =>
          void (rule = shim.fail({ calls: 'open', path: '.sdlibrary/', errno: 'EMFILE', after, once: true })),
        during: async () => {
          t.regex(await daemon.codeOf('libraries.rename', { library, name: 'kept' }), /^(answered|BUDGET_EXHAUSTED)/)
        },
        end: () => shim.clear(),
      })
      failed = rule!.failed
      met += failed
    }
    t.true(met >= 5, `${met} opens met it: library.json, lock, database, log, shared memory`)
    t.notRegex(daemon.log, /READONLY|readonly database/)
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('scenario 15: the landmine itself: SQLite alone hands out a connection that cannot write', async (t) => {
  await play(async (scene) => {
    const path = scene.path('mine.db')
    new Database(path).exec('CREATE TABLE one (two)').close()
    const shim = scene.shim()
    shim.fail({ calls: 'open', path: 'mine.db', errno: 'EMFILE', once: true })
    const env = { ...process.env, ...shim.env, MINE: path }
    const { stdout } = spawnSync(process.execPath, ['-e', LANDMINE], { cwd: ROOT, encoding: 'utf8', env })
    t.deepEqual(JSON.parse(stdout), { readonly: false, begun: true, written: 'SQLITE_READONLY' })
  })
})

shimmed(
  'scenario 16: no descriptor for -wal, -shm, lock or another connection: a typed error, and the next try works',
  async (t) => {
    await play(async (scene) => {
      const shim = scene.shim()
      const daemon = await scene.daemon({ env: shim.env })
      const { library } = await daemon.index('library', scene.tree('tree', 50))
      for (const path of ['library.db-wal', 'library.db-shm', 'library.db', '.sdlibrary/lock', 'library.json']) {
        await keepsPromise(daemon, {
          libraries: [library],
          begin: () => void shim.fail({ calls: 'open', path, errno: 'EMFILE', thread: 'others' }),
          during: async () => {
            const error: Refusal = await daemon.call('libraries.info', { library }).catch((thrown) => thrown)
            t.is(error.code, 'BUDGET_EXHAUSTED', `${path}: ${error.message}`)
            t.is(error.data.class, 'process', path)
            t.is(error.data.retryable, true, path)
          },
          end: () => shim.clear(),
        })
      }
      t.is((await daemon.stop()).code, 0)
    })
  },
)

shimmed(
  'scenario 16: a long search without a descriptor for its own connection is answered on the first one',
  async (t) => {
    await play(async (scene) => {
      const shim = scene.shim()
      const daemon = await scene.daemon({ env: shim.env })
      const { library } = await daemon.index('library', scene.tree('tree', 50))
      await daemon.call('libraries.open', { library })
      const rule = shim.fail({ calls: 'open', path: 'library.db', errno: 'EMFILE' })
      t.is((await daemon.call('search.files', { library, query: 'f' })).total, 50)
      t.true(rule.failed > 0)
      shim.clear()
      t.is((await daemon.call('search.files', { library, query: 'f' })).total, 50)
      t.is((await daemon.status()).libraries.connections, 2, 'now it has one of its own')
      t.is((await daemon.stop()).code, 0)
    })
  },
)

test.serial(
  'scenario 38: a location full of names of our own databases is indexed, and their locks hold',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const root = scene.path('trap')
      mkdirSync(root)
      const { id: library, path } = await daemon.call('libraries.create', { name: 'library' })
      await daemon.call('libraries.open', { library })
      for (const file of ['library.db', 'library.db-shm', 'library.db-wal', 'lock', 'library.json']) {
        linkSync(join(path, file), join(root, `hard ${file}`))
        symlinkSync(join(path, file), join(root, `soft ${file}`))
      }
      await keepsPromise(daemon, {
        libraries: [library],
        begin: () => undefined,
        during: async () => {
          await daemon.call('libraries.open', { library })
          const { job } = await daemon.call('locations.add', { library, path: root })
          await daemon.jobDone(library, job)
          t.is((await daemon.call('search.files', { library, query: 'library.db' })).total, 6)
          t.is(holdLock(join(path, 'lock')), null, 'another process does not get in')
          const foreign = new Database(join(path, 'library.db'), { timeout: 0 })
          // It would have the database to itself for this.
          t.is(
            codeOf(() => foreign.pragma('journal_mode = DELETE')),
            'SQLITE_BUSY',
          )
          foreign.close()
        },
        end: () => undefined,
      })
      t.is((await daemon.stop()).code, 0)
    })
  },
)

function codeOf(work: () => unknown): string {
  try {
    return `answered ${String(work())}`
  } catch (error) {
    return (error as { code: string }).code
  }
}

const LANDMINE = `
  const path = process.env.MINE
  const database = new (require('better-sqlite3'))(path)
  const told = { readonly: database.readonly }
  database.exec('BEGIN IMMEDIATE')
  told.begun = true
  try { database.pragma('user_version = 1'); told.written = 'yes' } catch (error) { told.written = error.code }
  console.log(JSON.stringify(told))`
