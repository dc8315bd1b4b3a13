// What a power cut or a careless hand leaves of a library: it recovers, or is told as damaged; nothing is deleted, others go on, and no
// thread waits for what is no file.
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { eventually, within, type Loose, type Refusal, type TestDaemon } from '../harness/daemon.js'
import { isWritable, keepsPromise } from '../harness/promise.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'

const TORN: readonly [what: string, tear: (database: string) => void][] = [
  [
    'its -wal is cut off in the middle',
    (path) => truncateSync(`${path}-wal`, (statSync(`${path}-wal`).size >> 1) + 1_234),
  ],
  ['its -wal is empty', (path) => truncateSync(`${path}-wal`, 0)],
  ['the end of its -wal is torn', (path) => scribble(`${path}-wal`, statSync(`${path}-wal`).size - 2_000)],
  ['its -shm is missing', (path) => rmSync(`${path}-shm`)],
  ['its -shm is nonsense', (path) => writeFileSync(`${path}-shm`, Buffer.alloc(32_768, 0x5a))],
]

for (const [what, tear] of TORN) {
  test.serial(
    `scenario 35: after a power cut ${what}: the library is there, and its index becomes whole`,
    async (t) => {
      await play(async (scene) => {
        const { library, path, root, other } = await killed(scene)
        tear(join(path, 'library.db'))
        const daemon = await scene.daemon()
        t.is((await daemon.call('libraries.info', { library })).problem, undefined)
        await becomesWhole(daemon, library, root)
        for (const each of [library, other]) await isWritable(daemon, each)
        t.is((await daemon.stop()).code, 0)
        t.is(integrityOf(path), 'ok')
      })
    },
  )
}

test.serial(
  'scenario 35: a torn page of the database is told when it is met, and stays as it is for whoever mends it',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const { library } = await daemon.index('library', scene.tree('tree', 1_000))
      const { id: other } = await daemon.call('libraries.create', { name: 'other' })
      const { path } = await daemon.call('libraries.info', { library })
      await daemon.stop()
      const database = join(path, 'library.db')
      const whole = readFileSync(database)
      for (let page = 5; page * 4_096 < whole.length; page += 2) scribble(database, page * 4_096)
      const torn = readFileSync(database)

      const again = await scene.daemon({ args: ['--shards', '1'] })
      const codes = new Set<string>()
      for (const query of ['f', 'file 77', 'd3']) codes.add(await again.codeOf('search.files', { library, query }))
      codes.add(await again.codeOf('files.list', { library, path: scene.path('tree', 'd5') }))
      t.true(codes.has('LIBRARY_DAMAGED'), [...codes].join())
      t.false(codes.has('INTERNAL'))
      await isWritable(again, other)
      t.is((await again.status()).shards[0]!.restarts, 0, 'one damaged library ends no thread')
      await again.stop()
      t.true(readFileSync(database).equals(torn), 'nobody mended it behind one’s back')
      writeFileSync(database, whole)
      const third = await scene.daemon()
      await sameAsDisk(third, library, scene.path('tree'))
      await isWritable(third, library)
      t.is((await third.stop()).code, 0)
    })
  },
)

const REPLACED: readonly [what: string, make: (path: string, elsewhere: string) => void][] = [
  ['a directory', (path) => mkdirSync(path)],
  ['a symbolic link', (path, elsewhere) => symlinkSync(elsewhere, path)],
  ['a pipe', (path) => void spawnSync('mkfifo', [path])],
  ['nonsense', (path) => writeFileSync(path, 'no database at all '.repeat(1_000))],
]

test.serial(
  'scenario 36: a file of a library that is something else: told at once, left alone, and well again when it is back',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ args: ['--shards', '1'] })
      const { library } = await daemon.index('library', scene.tree('tree', 50))
      const { id: other } = await daemon.call('libraries.create', { name: 'other' })
      const { path } = await daemon.call('libraries.info', { library })
      for (const file of ['library.db', 'library.db-wal', 'library.db-shm', 'lock', 'library.json']) {
        for (const [what, make] of REPLACED) {
          // SQLite makes these two anew from whatever it finds in their place.
          if (what === 'nonsense' && /-wal|-shm|lock/.test(file)) continue
          const [target, elsewhere] = [join(path, file), scene.path('elsewhere')]
          let mode = 0
          await keepsPromise(daemon, {
            libraries: [library, other],
            begin: () => {
              if (lstatSync(target, { throwIfNoEntry: false })) renameSync(target, elsewhere)
              make(target, elsewhere)
              mode = lstatSync(target).mode
            },
            during: async () => {
              const asked: Promise<Refusal> = daemon.call('libraries.info', { library }).catch((error) => error)
              const refusal = await within(60_000, `${file} as ${what} is told`, asked)
              t.is(
                refusal.code,
                file === 'lock' ? 'READ_ONLY' : 'LIBRARY_DAMAGED',
                `${file} as ${what}: ${refusal.message}`,
              )
              t.true(refusal.message.includes(file), refusal.message)
              t.is((await daemon.call('libraries.info', { library: other })).entries, 0, 'the thread is free')
              t.is(lstatSync(target).mode, mode, 'what is there stays')
            },
            end: () => {
              rmSync(target, { recursive: true })
              if (lstatSync(elsewhere, { throwIfNoEntry: false })) renameSync(elsewhere, target)
            },
          })
        }
      }
      await sameAsDisk(daemon, library, scene.path('tree'))
      t.is((await daemon.stop()).code, 0)
    })
  },
)

/** A daemon that was killed in the middle of an index, so that there is a -wal with something in it. */
async function killed(scene: Scene): Promise<{ library: string; path: string; root: string; other: string }> {
  const root = scene.tree('tree', 3_000, 100)
  const daemon = await scene.daemon()
  const { id: other } = await daemon.call('libraries.create', { name: 'other' })
  const { id: library, path } = await daemon.call('libraries.create', { name: 'library' })
  await daemon.call('locations.add', { library, path: root })
  const begun = async () => (await daemon.call('libraries.info', { library })).files > 500
  await eventually('a batch is committed', 60_000, begun)
  await daemon.stop('SIGKILL')
  return { library, path, root, other }
}

/** The job goes on by itself; where its row went with the torn commits, or the location, it is asked for again. */
async function becomesWhole(daemon: TestDaemon, library: string, root: string): Promise<void> {
  await eventually('no job is under way', 60_000, async () => {
    const { items } = await daemon.call('jobs.list', { library })
    return items.every((job: Loose) => job.state === 'done')
  })
  const [location]: Loose[] = await daemon.call('locations.list', { library })
  const { job } = location
    ? await daemon.call('locations.rescan', { library, location: location.id })
    : await daemon.call('locations.add', { library, path: root })
  await daemon.jobDone(library, job)
  await sameAsDisk(daemon, library, root)
}

function integrityOf(folder: string): unknown {
  const database = new Database(join(folder, 'library.db'), { readonly: true })
  try {
    return database.pragma('integrity_check', { simple: true })
  } finally {
    database.close()
  }
}

function scribble(path: string, at: number): void {
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.alloc(1_000, 0x5a), 0, 1_000, at)
  closeSync(file)
}
