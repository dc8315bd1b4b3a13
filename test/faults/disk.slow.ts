// Disks that are full, read-only or broken: told by their cause, nothing committed is lost, and what passes passes by itself.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { eventually, type Loose, type Refusal, type TestDaemon } from '../harness/daemon.js'
import { atRest, isWritable, keepsPromise } from '../harness/promise.js'
import { play, type Scene } from '../harness/scene.js'
import { shimProblem } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: scenarios 30 (quota), 31 and 33, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial
const namespaces = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
if (!namespaces)
  console.log('not run: scenarios 29 to 32, because no file system can be mounted in a namespace of its own')
const mounted = namespaces ? test.serial : test.serial.skip

mounted(
  'scenario 29: the disk is full: reads go on, writes and jobs say so, and the job goes on alone when there is space',
  async (t) => {
    await play(async (scene) => {
      const daemon = await onTmpfs(scene, 'size=6m', scene.dataDir)
      const { library } = await daemon.index('first', scene.tree('small', 200))
      const big = scene.tree('big', 12_000, 400)
      const ballast = inside(daemon, 'ballast')
      let job = ''
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          await daemon.call('libraries.open', { library })
          leaveFree(ballast, 300)
          ;({ job } = await daemon.call('locations.add', { library, path: big }))
          await eventually('the job has met the end of the disk', 60_000, async () => {
            const item: Loose = await daemon.call('jobs.info', { library, job })
            return item.state === 'queued' && item.waiting?.code === 'DISK_FULL'
          })
          fill(ballast)
        },
        during: async () => {
          const refusal: Refusal = await daemon.call('libraries.create', { name: 'another' }).catch((error) => error)
          t.is(refusal.code, 'DISK_FULL', refusal.message)
          t.is(refusal.data.retryable, true)
          t.is((await daemon.call('search.files', { library, query: 'small' })).total, 1, 'what was indexed is read')
          t.true((await daemon.call('libraries.info', { library })).files >= 200)
        },
        end: () => rmSync(ballast),
        recovered: async () => (await daemon.call('jobs.info', { library, job })).state === 'done',
        recoveryMs: 60_000,
      })
      t.is((await daemon.call('libraries.info', { library })).files, 12_200)
      t.deepEqual(leftovers(daemon), [])
      t.is((await daemon.stop()).code, 0)
    })
  },
)

mounted(
  'scenario 29: on a full disk jobs are paused and cancelled, and that is written when there is space',
  async (t) => {
    await play(async (scene) => {
      const daemon = await onTmpfs(scene, 'size=6m', scene.dataDir)
      const { library } = await daemon.index('first', scene.tree('small', 200))
      const ballast = inside(daemon, 'ballast')
      const roots = ['one', 'two'].map((name) => scene.tree(name, 12_000, 400))
      await daemon.call('libraries.open', { library })
      leaveFree(ballast, 300)
      const adding = roots.map((path): Promise<Loose> => daemon.call('locations.add', { library, path }))
      const jobs: string[] = (await Promise.all(adding)).map(({ job }) => job)
      const [paused, cancelled] = jobs as [string, string]
      const item = (job: string): Promise<Loose> => daemon.call('jobs.info', { library, job })
      await eventually('the jobs have met the end of the disk', 60_000, async () => {
        const items = await Promise.all(jobs.map(item))
        return items.every(({ waiting }) => waiting?.code === 'DISK_FULL')
      })
      fill(ballast)
      for (const [operation, job, state] of [
        ['jobs.pause', paused, 'paused'],
        ['jobs.cancel', cancelled, 'cancelled'],
      ] as const) {
        // What is small may find a place in what the database has already.
        const told = await daemon.call(operation, { library, job })
        t.is(told.state, state)
        if (told.unwritten) t.is(told.unwritten.code, 'DISK_FULL')
      }
      await sleep(2_500)
      t.like(await item(paused), { state: 'paused' })
      t.like(await item(cancelled), { state: 'cancelled' })
      t.deepEqual((await daemon.status()).jobs, { running: 0, queued: 0 })
      rmSync(ballast)
      await eventually('it is written', 60_000, async () => {
        const items = await Promise.all(jobs.map(item))
        return items.every(({ unwritten }) => unwritten === undefined)
      })
      t.is((await daemon.call('jobs.resume', { library, job: paused })).state, 'queued')
      await daemon.jobDone(library, paused)
      t.is((await item(cancelled)).state, 'cancelled')
      t.is((await daemon.stop()).code, 0)
    })
  },
)

mounted(
  'scenario 29: the disk of the log is full: nothing else stops, and lines come again when there is space',
  async (t) => {
    await play(async (scene) => {
      mkdirSync(join(scene.dataDir, 'logs'), { recursive: true })
      const daemon = await onTmpfs(scene, 'size=256k', join(scene.dataDir, 'logs'))
      const { library } = await daemon.index('library', scene.tree('tree', 200))
      const ballast = inside(daemon, 'logs', 'ballast')
      await keepsPromise(daemon, {
        libraries: [library],
        begin: () => fill(ballast),
        during: async () => {
          for (let at = 0; at < 20; at++) await daemon.codeOf('libraries.info', { library: `none ${at}` })
          const { id } = await daemon.call('libraries.create', { name: 'made meanwhile' })
          await daemon.call('libraries.delete', { library: id, data: true })
        },
        end: () => rmSync(ballast),
      })
      t.is((await daemon.stop()).code, 0)
      t.is(daemon.said.err.includes('Error'), false, daemon.said.err)
    })
  },
)

mounted('scenario 30: no inode is left: said so, and not that space is missing', async (t) => {
  await play(async (scene) => {
    const daemon = await onTmpfs(scene, 'size=20m,nr_inodes=80', scene.dataDir)
    const { library } = await daemon.index('library', scene.tree('tree', 200))
    mkdirSync(inside(daemon, 'full'))
    await keepsPromise(daemon, {
      libraries: [library],
      begin: () => {
        for (let at = 0; makeFile(inside(daemon, 'full', String(at))); at++);
      },
      during: async () => {
        for (const [method, params] of [
          ['libraries.create', { name: 'another' }],
          ['libraries.info', { library }],
        ] as const) {
          const refusal: Refusal = await daemon.call(method, params).catch((error) => error)
          t.is(refusal.code, 'DISK_FULL', `${method}: ${refusal.message}`)
          t.regex(refusal.message + refusal.data.hint, /inode/)
        }
      },
      end: () => rmSync(inside(daemon, 'full'), { recursive: true }),
    })
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed(
  'scenario 30: where nothing can be written jobs are stopped all the same, and that is written later',
  async (t) => {
    await withLibrary(async ({ scene, daemon, shim, library }) => {
      const roots = ['one', 'two'].map((name) => scene.tree(name, 12_000, 400))
      const adding = roots.map((path): Promise<Loose> => daemon.call('locations.add', { library, path }))
      const [paused, cancelled] = (await Promise.all(adding)).map(({ job }) => job) as [string, string]
      shim.fail({ calls: ['write', 'truncate', 'allocate'], path: '.sdlibrary/', errno: 'EDQUOT' })
      const item = (id: string): Promise<Loose> => daemon.call('jobs.info', { library, job: id })
      for (const id of [paused, cancelled])
        await eventually('it waits for room', 60_000, async () => (await item(id)).waiting?.code === 'DISK_FULL')
      t.like(await daemon.call('jobs.pause', { library, job: paused }), {
        state: 'paused',
        unwritten: { code: 'DISK_FULL' },
      })
      const told = await daemon.call('jobs.cancel', { library, job: cancelled })
      t.like(told, { state: 'cancelled', unwritten: { code: 'DISK_FULL' } })
      await sleep(2_500)
      t.like(await item(paused), { state: 'paused', unwritten: { code: 'DISK_FULL' } })
      t.deepEqual((await daemon.status()).jobs, { running: 0, queued: 0 })
      shim.clear()
      for (const id of [paused, cancelled])
        await eventually('it is written', 60_000, async () => (await item(id)).unwritten === undefined)
      t.like(await item(paused), { state: 'paused' })
      t.like(await item(cancelled), { state: 'cancelled' })
    })
  },
)

shimmed(
  'scenario 30: where nothing can be written a library in which a job waits for room can be deleted',
  async (t) => {
    await withLibrary(async ({ scene, daemon, shim, library }) => {
      const { job } = await daemon.call('locations.add', { library, path: scene.tree('one', 12_000, 400) })
      shim.fail({ calls: ['write', 'truncate', 'allocate'], path: '.sdlibrary/', errno: 'EDQUOT' })
      await eventually('it waits for room', 60_000, async () => {
        return (await daemon.call('jobs.info', { library, job })).waiting?.code === 'DISK_FULL'
      })
      await daemon.call('libraries.delete', { library, data: true })
      t.deepEqual(await daemon.call('libraries.list'), [])
      shim.clear()
      await sleep(2_500)
      t.deepEqual((await daemon.status()).jobs, { running: 0, queued: 0 })
      t.deepEqual(await daemon.call('libraries.list'), [])
    })
  },
)

shimmed('scenario 30: the quota of the user is used up: said so', async (t) => {
  await withLibrary(async ({ scene, daemon, shim, library }) => {
    const more = scene.tree('more', 300)
    let job = ''
    await keepsPromise(daemon, {
      libraries: [library],
      begin: async () => {
        await daemon.call('libraries.open', { library })
        shim.fail({ calls: ['write', 'truncate', 'allocate'], path: '.sdlibrary/', errno: 'EDQUOT' })
      },
      during: async () => {
        const refusal: Refusal = await daemon.call('libraries.rename', { library, name: 'no' }).catch((error) => error)
        t.is(refusal.code, 'DISK_FULL', refusal.message)
        t.regex(refusal.message + refusal.data.hint, /quota/)
        shim.clear()
        ;({ job } = await daemon.call('locations.add', { library, path: more }))
        await daemon.jobDone(library, job)
      },
      end: () => shim.clear(),
    })
  })
})

mounted(
  'scenario 31: remounted read-only under closed libraries: typed, nobody exits, and it is over with the mount',
  async (t) => {
    await play(async (scene) => {
      const libraries = join(scene.dataDir, 'libraries')
      mkdirSync(libraries, { recursive: true })
      const daemon = await onTmpfs(scene, 'size=20m', libraries)
      const { library } = await daemon.index('library', scene.tree('tree', 200))
      await keepsPromise(daemon, {
        libraries: [library],
        begin: () => remount(daemon, libraries, 'ro'),
        during: async () => {
          for (const [method, params] of [
            ['libraries.info', { library }],
            ['libraries.create', { name: 'another' }],
          ] as const) {
            const refusal: Refusal = await daemon.call(method, params).catch((error) => error)
            t.is(refusal.code, 'READ_ONLY', `${method}: ${refusal.message}`)
            t.regex(refusal.message, /read-only/)
          }
        },
        end: () => remount(daemon, libraries, 'rw'),
      })
      t.is((await daemon.stop()).code, 0)
    })
  },
)

shimmed(
  'scenario 31: the file system turns read-only under an open library: reads go on, its job waits and goes on alone',
  async (t) => {
    await withLibrary(async ({ scene, daemon, shim, library }) => {
      const more = scene.tree('more', 300)
      const { job: before } = await daemon.call('locations.add', { library, path: more })
      await daemon.jobDone(library, before)
      const [{ id: location }] = (await daemon.call('locations.list', { library })) as Loose[]
      writeFileSync(join(scene.path('tree'), 'new'), '')
      let job = ''
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          await daemon.call('libraries.open', { library })
          ;({ job } = await daemon.call('locations.rescan', { library, location }))
          shim.fail({ calls: ['write', 'truncate', 'fsync'], path: '.sdlibrary/', errno: 'EROFS' })
          shim.fail({ calls: 'open', path: '.probe', errno: 'EROFS' })
        },
        during: async () => {
          t.is(await daemon.codeOf('locations.update', { library, location, name: 'no' }), 'READ_ONLY')
          t.is((await daemon.call('libraries.info', { library })).open, true)
        },
        end: () => shim.clear(),
        recovered: async () => (await daemon.call('jobs.info', { library, job })).state === 'done',
        recoveryMs: 60_000,
      })
      t.is((await daemon.call('libraries.info', { library })).files, 501)
    })
  },
)

mounted(
  'scenario 32: /dev/shm, /var/tmp and the temporary directory are full: nothing of ours needs them',
  async (t) => {
    await play(async (scene) => {
      const full = scene.path('full')
      mkdirSync(full)
      const mount = ['/dev/shm', '/var/tmp', full].map(
        (path) => `mount -t tmpfs -o size=4k,nr_inodes=2 none ${path} && echo > ${path}/x`,
      )
      const daemon = await scene.daemon({
        through: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', `${mount.join(' && ')} && exec "$@"`, 'sh'],
        env: { TMPDIR: full, SQLITE_TMPDIR: full, TEMP: full, TMP: full },
      })
      t.is(
        spawnSync('nsenter', ['-t', String(daemon.pid), '-m', 'touch', '/dev/shm/y', '/var/tmp/y', `${full}/y`]).status,
        1,
      )
      const { library } = await daemon.index('library', scene.tree('tree', 3_000, 300))
      const { total } = await daemon.call('search.files', { library, query: 'f' })
      t.is(total, 3_000)
      await isWritable(daemon, library)
      await atRest(daemon, [library])
      t.is((await daemon.stop()).code, 0)
    })
  },
)

for (const [calls, what] of [
  ['fsync', 'an fsync fails'],
  ['write', 'a write fails'],
] as const) {
  shimmed(`scenario 33: ${what} with EIO: that library is left alone until somebody asks, others go on`, async (t) => {
    await play(async (scene) => {
      const shim = scene.shim()
      const daemon = await scene.daemon({ env: shim.env })
      const { library } = await daemon.index('broken', scene.tree('tree', 200))
      const { library: other } = await daemon.index('whole', scene.tree('others', 200))
      const rest = await atRest(daemon, [library, other])
      const more = scene.tree('more', 2_000, 200)
      const { path } = await daemon.call('libraries.info', { library })
      const rule = shim.fail({ calls, path: 'broken.sdlibrary/library.db', errno: 'EIO' })
      const added: Loose = await daemon.call('locations.add', { library, path: more }).catch((error) => error)
      await eventually('the library is listed with its problem', 60_000, async () => {
        const listed: Loose[] = await daemon.call('libraries.list')
        const found = listed.find(({ id }) => id === library)
        return found.problem?.code === 'DISK_FAILED' && !found.open
      })
      t.true(rule.failed > 0)
      // Not blindly again: nothing is written, synced or opened there, whatever is asked.
      const { failed } = rule
      const opened = shim.fail({ calls: 'open', path: 'broken.sdlibrary/', errno: 'EIO' })
      for (const method of ['libraries.info', 'locations.list', 'jobs.list']) {
        t.is(await daemon.codeOf(method, { library }), 'DISK_FAILED', method)
      }
      t.deepEqual([rule.failed, opened.failed], [failed, 0])
      await isWritable(daemon, other)
      t.true(existsSync(join(path, 'disk.failed')))
      shim.clear()
      t.is((await daemon.stop()).code, 0)

      const again = await scene.daemon()
      t.is(await again.codeOf('libraries.info', { library }), 'DISK_FAILED', 'a start does not forget')
      await isWritable(again, other)
      t.is((await again.call('libraries.open', { library })).open, true)
      t.false(existsSync(join(path, 'disk.failed')))
      const { items } = await again.call('jobs.list', { library, limit: 1 })
      await again.jobDone(library, items[0].id)
      if (added.job) t.is(items[0].id, added.job, 'the job it was closed under goes on')
      else t.is(added.code, 'DISK_FAILED')
      await isWritable(again, library)
      t.is((await atRest(again, [library, other])).length, rest.length)
      t.is((await again.stop()).code, 0)
    })
  })
}

shimmed('scenario 33: a read that fails with EIO is told, and the next may work', async (t) => {
  await withLibrary(async ({ daemon, shim, library }) => {
    await keepsPromise(daemon, {
      libraries: [library],
      begin: () => void shim.fail({ calls: 'read', path: '.sdlibrary/library.db', errno: 'EIO' }),
      during: async () => {
        t.is(await daemon.codeOf('libraries.info', { library }), 'DISK_FAILED')
      },
      end: () => shim.clear(),
    })
  })
})

interface WithLibrary {
  readonly scene: Scene
  readonly daemon: TestDaemon
  readonly shim: ReturnType<Scene['shim']>
  readonly library: string
}

function withLibrary(act: (given: WithLibrary) => Promise<void>): Promise<void> {
  return play(async (scene) => {
    const shim = scene.shim()
    const daemon = await scene.daemon({ env: shim.env })
    const { library } = await daemon.index('library', scene.tree('tree', 200))
    await act({ scene, daemon, shim, library })
    await daemon.stop()
  })
}

function onTmpfs(scene: Scene, options: string, at: string): Promise<TestDaemon> {
  mkdirSync(at, { recursive: true })
  const mount = `mount -t tmpfs -o ${options} none "$0" && exec "$@"`
  return scene.daemon({ through: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', mount, at] })
}

function remount(daemon: TestDaemon, path: string, how: 'ro' | 'rw'): void {
  const words = ['-t', String(daemon.pid), '-m', 'mount', '-o', `remount,${how}`, path]
  const { status, stderr } = spawnSync('nsenter', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

/** A path of the data directory as the daemon sees it. */
function inside(daemon: TestDaemon, ...names: string[]): string {
  return join(`/proc/${daemon.pid}/root${daemon.dataDir}`, ...names)
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=4k'])
}

function leaveFree(path: string, kib: number): void {
  fill(path)
  spawnSync('truncate', ['-s', `-${kib}K`, path])
}

function makeFile(path: string): boolean {
  try {
    writeFileSync(path, '')
    return true
  } catch {
    return false
  }
}

/** What a failed creation or a probe may have left. */
function leftovers(daemon: TestDaemon): string[] {
  const names = readdirSync(inside(daemon, 'libraries'), { recursive: true, encoding: 'utf8' })
  return names.filter((name) => /\.new-|\.probe-/.test(name))
}
