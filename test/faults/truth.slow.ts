// What is short is said as what it is, all the way up, and nothing is concluded from it.
import { readdirSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { eventually, ROOT, type Loose, type Refusal, type TestDaemon } from '../harness/daemon.js'
import { isWritable, keepsPromise } from '../harness/promise.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'
import { shimProblem, TAKING, type Call, type Failing, type Shim } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: scenarios 17, 18, 22 and 37, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

shimmed('scenario 17: no descriptor to be had inside of commits, checkpoints and sorts: none is needed', async (t) => {
  await withLibrary(async ({ scene, daemon, shim, library }) => {
    const big = scene.tree('big', 3_000, 300)
    let failed = 0
    await keepsPromise(daemon, {
      libraries: [library],
      begin: async () => {
        await daemon.call('libraries.open', { library })
        for (const path of ['.sdlibrary/', 'etilqs', '.db-journal']) shim.fail({ calls: 'open', path, errno: 'EMFILE' })
      },
      during: async () => {
        const { job } = await daemon.call('locations.add', { library, path: big })
        await daemon.jobDone(library, job)
        failed = shim.counts().open.failed
        // One that takes long tries to get a connection of its own, and does without.
        t.is((await daemon.call('search.files', { library, query: 'file 29' })).total, 112)
      },
      end: () => shim.clear(),
    })
    t.is(failed, 0, 'nothing was opened')
  })
})

shimmed('scenario 17: a spilling sort and VACUUM meet EMFILE as SQLite comes, and not as we open it', async (t) => {
  await play(async (scene) => {
    const shim = scene.shim()
    shim.fail({ calls: 'open', path: 'etilqs', errno: 'EMFILE' })
    const env = {
      ...process.env,
      ...shim.env,
      DIST: pathToFileURL(join(ROOT, 'dist')).href,
      DIRECTORY: scene.directory,
    }
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', SPILL], {
      cwd: ROOT,
      encoding: 'utf8',
      env,
    })
    t.deepEqual(JSON.parse(stdout || stderr), {
      plain: ['BUDGET_EXHAUSTED', 'BUDGET_EXHAUSTED'],
      ours: ['done', 'done'],
      whole: 'ok',
    })
  })
})

shimmed(
  'scenario 18: the files of the whole machine are used up: said so, and nothing of it is put down to us',
  async (t) => {
    await withLibrary(async ({ daemon, shim, library, location, other }) => {
      let job = ''
      await keepsPromise(daemon, {
        libraries: [library, other],
        begin: async () => {
          await daemon.call('libraries.open', { library })
          shim.fail({ calls: TAKING.filter((call) => call !== 'accept'), errno: 'ENFILE' })
        },
        during: async () => {
          const refusal: Refusal = await daemon.call('libraries.info', { library: other }).catch((error) => error)
          t.is(refusal.code, 'BUDGET_EXHAUSTED', refusal.message)
          t.is(refusal.data.class, 'machine')
          t.regex(refusal.message, /machine/)
          t.regex(refusal.data.hint, /fs\.file-max/)
          const made: Refusal = await daemon.call('libraries.create', { name: 'new' }).catch((error) => error)
          t.is(made.code, 'BUDGET_EXHAUSTED', made.message)
          t.is((await daemon.call('libraries.info', { library })).files, 200, 'what is open is served')
          ;({ job } = await daemon.call('locations.rescan', { library, location }))
          await waits(daemon, library, job, 'machine')
        },
        end: () => shim.clear(),
        recovered: async () => (await daemon.call('jobs.info', { library, job })).state === 'done',
        recoveryMs: 60_000,
      })
      t.notRegex(daemon.log, /LIBRARY_DAMAGED|uncaught/i)
    })
  },
)

const STARTS: readonly [what: string, full: string, failing: Omit<Failing, 'errno'> & { errno: Failing['errno'] }][] = [
  [
    'its loop gets no descriptor',
    'process',
    { calls: ['epoll', 'eventfd', 'pipe'] as Call[], thread: 'others', errno: 'EMFILE' },
  ],
  ['the user may have no further thread', 'threads', { calls: 'thread', errno: 'EAGAIN' }],
]
for (const [what, full, failing] of STARTS) {
  shimmed(
    `scenario 22: a thread cannot start because ${what}: the job waits with the reason, and never fails`,
    async (t) => {
      await withLibrary(async ({ daemon, shim, library, location }) => {
        let job = ''
        await keepsPromise(daemon, {
          libraries: [library],
          begin: () => void shim.fail(failing),
          during: async () => {
            ;({ job } = await daemon.call('locations.rescan', { library, location }))
            await waits(daemon, library, job, full)
            const tried = shim.counts()
            await eventually('it is tried again', 60_000, () => failures(shim) > failures(tried))
            t.not((await daemon.call('jobs.info', { library, job })).state, 'failed')
          },
          end: () => shim.clear(),
          recovered: async () => (await daemon.call('jobs.info', { library, job })).state === 'done',
          recoveryMs: 60_000,
        })
        const done: Loose = await daemon.call('jobs.info', { library, job })
        t.is(done.error, undefined)
        t.is(done.waiting, undefined)
      })
    },
  )
}

shimmed(
  'scenario 37: no descriptor in the middle of recovery and of a check: never called damaged, nothing deleted',
  async (t) => {
    await play(async (scene) => {
      const root = scene.tree('tree', 2_000, 100)
      const first = await scene.daemon()
      const { id: library, path } = await first.call('libraries.create', { name: 'library' })
      await first.call('locations.add', { library, path: root })
      await eventually(
        'the index has begun',
        60_000,
        async () => (await first.call('libraries.info', { library })).entries > 1,
      )
      await first.stop('SIGKILL')
      spawnSync('mkdir', [join(path, 'disk.failed')])
      const left = readdirSync(path).sort()
      t.true(left.includes('library.db-wal'), 'there is something to recover')

      // The start itself meets it first, as it reads the catalog.
      const shim = scene.shim()
      const rule = shim.fail({ calls: 'open', path: 'library.json', errno: 'EMFILE', times: 5 })
      const daemon = await scene.daemon({ env: shim.env })
      t.is(rule.failed, 5)
      t.is((await daemon.call('libraries.list'))[0].problem.code, 'DISK_FAILED')
      shim.clear()
      const codes: string[] = []
      for (let after = 0; codes.at(-1) !== 'answered'; after++) {
        shim.fail({ calls: 'open', path: '.sdlibrary/', errno: 'EMFILE', after, times: 40 })
        const code = (await daemon.codeOf('libraries.open', { library })).split(' ')[0]!
        shim.clear()
        codes.push(code)
        if (code === 'answered') break
        t.is(code, 'BUDGET_EXHAUSTED', `after ${after}`)
        for (const name of left) t.true(readdirSync(path).includes(name), `${name} is still there after ${after}`)
      }
      t.true(codes.length > 3, codes.join())
      t.log(`${codes.length - 1} opens were refused`)
      await eventually('the job went on', 60_000, async () => {
        const { items } = await daemon.call('jobs.list', { library })
        return items.every((job: Loose) => job.state === 'done')
      })
      await sameAsDisk(daemon, library, root)
      await isWritable(daemon, library)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

interface WithLibrary {
  readonly scene: Scene
  readonly daemon: TestDaemon
  readonly shim: Shim
  readonly library: string
  readonly location: string
  /** Another one, with nothing in it. */
  readonly other: string
}

function withLibrary(act: (given: WithLibrary) => Promise<void>): Promise<void> {
  return play(async (scene) => {
    const shim = scene.shim()
    const daemon = await scene.daemon({ env: shim.env })
    const { library, location } = await daemon.index('library', scene.tree('tree', 200))
    const { id: other } = await daemon.call('libraries.create', { name: 'other' })
    await act({ scene, daemon, shim, library, location, other })
    await daemon.stop()
  })
}

async function waits(daemon: TestDaemon, library: string, job: string, full: string): Promise<void> {
  await eventually(`the job waits for want of ${full}`, 60_000, async () => {
    const item: Loose = await daemon.call('jobs.info', { library, job })
    return item.state === 'queued' && item.waiting?.code === 'BUDGET_EXHAUSTED' && item.waiting.class === full
  })
}

function failures(counts: Shim | ReturnType<Shim['counts']>): number {
  const counted =
    'counts' in counts && typeof counts.counts === 'function' ? counts.counts() : (counts as ReturnType<Shim['counts']>)
  return Object.values(counted).reduce((sum, { failed }) => sum + failed, 0)
}

const SPILL = `
  import Database from 'better-sqlite3'
  const { openConnection } = await import(process.env.DIST + '/src/library/connection.js')
  const { fromSqlite } = await import(process.env.DIST + '/src/library/cause.js')
  const plain = new Database(process.env.DIRECTORY + '/plain.db')
  plain.pragma('journal_mode = WAL')
  new Database(process.env.DIRECTORY + '/ours.db').exec('PRAGMA journal_mode = WAL; CREATE TABLE three (four)').close()
  const ours = openConnection(process.env.DIRECTORY + '/ours.db')
  const told = { plain: [], ours: [] }
  for (const [name, database] of [['plain', plain], ['ours', ours]]) {
    database.exec('CREATE TABLE one (two); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO one SELECT hex(randomblob(500)) FROM n')
    for (const sql of ['SELECT two FROM one ORDER BY two', 'VACUUM']) {
      try {
        const statement = database.prepare(sql)
        statement.reader ? statement.get() : statement.run()
        told[name].push('done')
      } catch (error) { told[name].push(fromSqlite(error, database.name).code) }
    }
  }
  told.whole = plain.pragma('integrity_check', { simple: true })
  console.log(JSON.stringify(told))`
