// Opening, keeping and losing a library: every fault has its code, nothing is lost, and every descriptor comes back.
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import Database from 'better-sqlite3'
import test from 'ava'
import { countOpen } from '../../src/descriptors/rlimit.js'
import { createFolder, filesOf, readLibraryJson } from '../../src/library/folder.js'
import { holdLock } from '../../src/library/lock.js'
import { SCHEMA_VERSION } from '../../src/library/schema.js'
import { asOrdinaryUser, canRun, inProcess } from '../scan/ordinary.js'
import { index, rescan, Stage } from './stage.js'

/** Opens a library in another process and tells the code of the failure, or what writing to it gave. */
const OPEN = `
  const { newLedger } = await load('test/library/stage.js')
  const { Library } = await load('src/library/library.js')
  const { countOpen } = await load('src/descriptors/rlimit.js')
  const { closeSync, openSync } = await import('node:fs')
  closeSync(openSync('/dev/null', 'r'))
  const ledger = newLedger()
  const before = countOpen()
  let opened = 'opened'
  try {
    const lease = ledger.tryAcquire('libraries', 4, { holder: 'test' })
    const library = Library.open(argument.id, argument.path, ledger, lease)
    try {
      library.write(() => library.locations.totals())
      library.jobs.enqueue('index', 'none', null)
      opened = 'written'
    } finally {
      library.close()
    }
  } catch (error) {
    opened = error.code
  }
  return { opened, used: ledger.use('libraries').used, leaked: countOpen() - before }`

interface Opened {
  opened: string
  used: number
  leaked: number
}

const HELD = `
  const { holdLock } = await load('src/library/lock.js')
  try { return holdLock(argument) === null ? 'locked' : 'held' } catch (error) { return error.code }`

test.serial(
  'a library that another process has open is LIBRARY_LOCKED, and free again when that one ends',
  async (t) => {
    using stage = new Stage()
    const made = stage.create()
    const library = stage.open(made)
    const refused = inProcess<Opened>([], OPEN, made)
    t.is(refused.opened, 'LIBRARY_LOCKED')
    t.deepEqual([refused.used, refused.leaked], [0, 0])
    stage.close(library)
    t.is(inProcess<Opened>([], OPEN, made).opened, 'written')
  },
)

test.serial('another thread of this process is kept out as well', async (t) => {
  using stage = new Stage()
  const path = filesOf(stage.create().path).lock
  const lock = holdLock(path)!
  const answer = async (): Promise<unknown> => {
    const code = `
        const { parentPort, workerData } = require('node:worker_threads')
        import(workerData.module).then(({ holdLock }) => {
          const lock = holdLock(workerData.path)
          parentPort.postMessage(lock === null ? 'locked' : 'held')
          lock?.release()
        })`
    const module = new URL('../../src/library/lock.js', import.meta.url).href
    const worker = new Worker(code, { eval: true, workerData: { module, path } })
    const exited = once(worker, 'exit')
    const [answered] = await once(worker, 'message')
    // What it has open itself is closed then: other tests count what is.
    await exited
    return answered
  }
  t.is(await answer(), 'locked')
  lock.release()
  t.is(await answer(), 'held')
})

test.serial('a failed open leaves no descriptor and no lease behind', (t) => {
  using stage = new Stage()
  const made = stage.create()
  stage.close(stage.open(made))
  writeFileSync(filesOf(made.path).database, 'no database at all, but some text\n'.repeat(100))
  const before = countOpen()
  for (let time = 0; time < 5; time++) t.throws(() => stage.open(made), { code: 'LIBRARY_DAMAGED' })
  t.is(countOpen(), before)
  t.is(stage.ledger.use('libraries').used, 0)
})

test.serial('a database of a newer version is LIBRARY_NEWER and left as it was', (t) => {
  using stage = new Stage()
  const made = stage.create()
  const database = new Database(filesOf(made.path).database)
  database.pragma('user_version = 99')
  database.close()
  const bytes = readFileSync(filesOf(made.path).database)
  t.throws(() => stage.open(made), { code: 'LIBRARY_NEWER' })
  t.deepEqual(readFileSync(filesOf(made.path).database), bytes)
})

test.serial('a library.json of a newer format is LIBRARY_NEWER', (t) => {
  using stage = new Stage()
  const made = stage.create()
  const json = readLibraryJson(made.path)
  writeFileSync(filesOf(made.path).json, JSON.stringify({ ...json, format: 99 }))
  t.throws(() => stage.open(made), { code: 'LIBRARY_NEWER' })
})

const damages: [string, (path: string) => void][] = [
  ['a database of garbage', (path) => writeFileSync(filesOf(path).database, Buffer.alloc(8192, 'garbage'))],
  ['a database of no bytes', (path) => truncateSync(filesOf(path).database, 0)],
  ['a database that is cut off', (path) => truncateSync(filesOf(path).database, 5000)],
  ['a missing database', (path) => rmSync(filesOf(path).database)],
  ['a directory for a database', (path) => (rmSync(filesOf(path).database), mkdirSync(filesOf(path).database))],
  ['a pipe for a database', (path) => (rmSync(filesOf(path).database), fifo(filesOf(path).database))],
  ['a library.json of half a line', (path) => truncateSync(filesOf(path).json, 20)],
  ['a library.json of no bytes', (path) => truncateSync(filesOf(path).json, 0)],
  ['a library.json that is a list', (path) => writeFileSync(filesOf(path).json, '[]')],
  ['a library.json of another id', (path) => rewrite(filesOf(path).json, { id: 'another' })],
  ['a missing library.json', (path) => rmSync(filesOf(path).json)],
  ['a pipe for a library.json', (path) => (rmSync(filesOf(path).json), fifo(filesOf(path).json))],
  ['a directory for a library.json', (path) => (rmSync(filesOf(path).json), mkdirSync(filesOf(path).json))],
  ['no folder at all', (path) => rmSync(path, { recursive: true })],
]

function fifo(path: string): void {
  execFileSync('mkfifo', [path])
}

function rewrite(path: string, change: object): void {
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...change }))
}

for (const [damage, make] of damages) {
  test.serial(`${damage} is LIBRARY_DAMAGED at once, and nothing is made in its place`, (t) => {
    using stage = new Stage()
    const made = stage.create()
    make(made.path)
    const before = countOpen()
    const found = existsSync(made.path) ? execFileSync('ls', ['-l', made.path], { encoding: 'utf8' }) : ''
    t.throws(() => stage.open(made), { code: 'LIBRARY_DAMAGED' })
    t.is(countOpen(), before)
    t.is(stage.ledger.use('libraries').used, 0)
    const left = existsSync(made.path) ? execFileSync('ls', ['-l', made.path], { encoding: 'utf8' }) : ''
    t.deepEqual(linesWithoutLock(left), linesWithoutLock(found))
  })
}

function linesWithoutLock(listing: string): string[] {
  return listing.split('\n').filter((line) => !/ lock$|^total/.test(line))
}

test.serial('a folder that this user may not write is READ_ONLY, whether it was opened before or never', (t) => {
  using stage = new Stage()
  for (const openedBefore of [true, false]) {
    const made = stage.create()
    if (openedBefore) stage.close(stage.open(made))
    chmodSync(made.path, 0o555)
    for (const file of [filesOf(made.path).database, filesOf(made.path).lock])
      if (existsSync(file)) chmodSync(file, 0o444)
    const told = asOrdinaryUser<Opened>(OPEN, made)
    t.deepEqual(told, { ...told, opened: 'READ_ONLY', used: 0, leaked: 0 }, String(openedBefore))
    chmodSync(made.path, 0o700)
  }
})

/** Fails the n-th openat of one path with EMFILE, as if another thread had held the last descriptor just then. */
function withEmfile(path: string, when: string): string[] {
  return [
    'strace',
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-P',
    path,
    '-e',
    'trace=openat',
    '-e',
    `inject=openat:error=EMFILE:when=${when}`,
  ]
}

if (canRun('strace', '-qq', '-o', '/dev/null', 'true')) {
  for (const [file, when] of [
    ['library.db', '1'],
    ['library.db', '1..2'],
    ['library.db-wal', '1'],
    ['library.db-shm', '1'],
    ['lock', '1'],
    ['library.json', '1'],
    ['library.db', '1..4'],
  ] as const) {
    test.serial(
      `EMFILE at the open of ${file} (${when}) gives a library that writes, or a failure that may be tried again`,
      (t) => {
        using stage = new Stage()
        const made = stage.create()
        stage.close(stage.open(made))
        const told = inProcess<Opened>(withEmfile(join(made.path, file), when), OPEN, made)
        t.true(['written', 'BUDGET_EXHAUSTED'].includes(told.opened), told.opened)
        t.is(told.used, 0)
        t.is(told.leaked, 0)
        t.is(inProcess<Opened>([], OPEN, made).opened, 'written')
      },
    )
  }

  test.serial('a lock whose open met EMFILE is asked for again, and is never held beside its holder', (t) => {
    using stage = new Stage()
    const path = join(stage.path, 'lock')
    holdLock(path)!.release()
    t.is(inProcess<string>(withEmfile(path, '1'), HELD, path), 'held')
    t.is(inProcess<string>(withEmfile(path, '1+'), HELD, path), 'BUDGET_EXHAUSTED')
    const lock = holdLock(path)!
    t.not(inProcess<string>(withEmfile(path, '1'), HELD, path), 'held')
    lock.release()
  })
}

test.serial('a page that is damaged while the library is open is told as such, and nothing is deleted', async (t) => {
  using stage = new Stage()
  const made = stage.create()
  let library = stage.open(made)
  for (let at = 0; at < 500; at++) writeFileSync(join(stage.tree, `file ${at}`), '')
  const uid = await index(library, stage.tree)
  stage.close(library)
  const bytes = readFileSync(filesOf(made.path).database)
  bytes.fill(0x5a, 4096 * 4)
  writeFileSync(filesOf(made.path).database, bytes)
  const error = await t.throwsAsync(async () => {
    library = stage.open(made)
    await rescan(library, uid)
  })
  t.is((error as { code?: string }).code, 'LIBRARY_DAMAGED')
  t.true(existsSync(filesOf(made.path).database))
})

test.serial('two libraries of one name get two folders, and names that are no file names get one that is', (t) => {
  using stage = new Stage()
  const folders = ['Same', 'Same', '../up', '.hidden', 'a/b\0c', 'é'.repeat(200), '💀'.repeat(60), 'COM1?', ' '].map(
    (name, at) => createFolder(stage.libraries, `id-${at}`, name),
  )
  t.is(new Set(folders).size, folders.length)
  for (const [at, folder] of folders.entries()) {
    t.true(folder.startsWith(`${stage.libraries}/`) && !folder.slice(stage.libraries.length + 1).includes('/'))
    t.is(readLibraryJson(folder).id, `id-${at}`)
  }
})

if (canRun('unshare', '-m', 'true')) {
  test.serial('a full disk is DISK_FULL, loses nothing, and work goes on when there is space again', (t) => {
    using stage = new Stage()
    const told = inProcess<{ code: string; again: string; integrity: string; differences: string[] }>(
      ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"', stage.libraries],
      `
      const { Stage, index, rescan, differences, integrity } = await load('test/library/stage.js')
      const { createFolder } = await load('src/library/folder.js')
      const { writeFileSync } = await import('node:fs')
      const child = await import('node:child_process')
      const stage = new Stage()
      const id = 'full'
      const path = createFolder(argument, id, 'Full')
      let library = stage.open({ id, path })
      for (let at = 0; at < 200; at++) writeFileSync(stage.tree + '/first ' + at, '')
      const uid = await index(library, stage.tree)
      writeFileSync(argument + '/ballast', Buffer.alloc(900 * 1024))
      try { for (let at = 0; ; at++) writeFileSync(argument + '/ballast ' + at, Buffer.alloc(16 * 1024)) } catch {}
      for (let at = 0; at < 6000; at++) writeFileSync(stage.tree + '/second with a longer name ' + at, '')
      let code = 'none'
      try { await rescan(library, uid) } catch (error) { code = error.code }
      execute('rm -f ' + argument + '/ballast*')
      let again = 'done'
      try {
        library = stage.reopen(library)
        await rescan(library, uid)
      } catch (error) { again = error.code + ' ' + error.message }
      const told = { code, again, integrity: integrity(library), differences: differences(library, uid, stage.tree) }
      stage[Symbol.dispose]()
      return told
      function execute(command) { child.execSync(command) }`,
      stage.libraries,
    )
    t.deepEqual(told, { code: 'DISK_FULL', again: 'done', integrity: 'ok', differences: [] })
  })

  test.serial('a search in a first scan that filled the disk is refused, and works when there is space again', (t) => {
    using stage = new Stage()
    const told = inProcess<{ scan: string; searches: string[]; found: number }>(
      ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"', stage.libraries],
      `
      const { Stage, index } = await load('test/library/stage.js')
      const { createFolder } = await load('src/library/folder.js')
      const { writeFileSync, rmSync } = await import('node:fs')
      const stage = new Stage()
      const id = 'first'
      const path = createFolder(argument, id, 'First')
      const library = stage.open({ id, path })
      for (let at = 0; at < 6000; at++) writeFileSync(stage.tree + '/a name that takes some room ' + at, '')
      writeFileSync(argument + '/ballast', Buffer.alloc(1900 * 1024))
      const search = () => library.search({ query: 'room' })
      const code = (work) => work.then(() => 'none', (error) => error.code)
      const scan = await code(index(library, stage.tree))
      const searches = [await code(search()), await code(search())]
      rmSync(argument + '/ballast')
      const { total } = await search()
      stage[Symbol.dispose]()
      return { scan, searches, found: total }`,
      stage.libraries,
    )
    t.like(told, { scan: 'DISK_FULL', searches: ['DISK_FULL', 'DISK_FULL'] })
    t.true(told.found > 0)
  })
}

test('a new library is a whole database in WAL mode, in the current version, with its own id and name', (t) => {
  using stage = new Stage()
  const made = [stage.create('One'), stage.create('Another')]
  for (const [at, { id, path }] of made.entries()) {
    const database = new Database(filesOf(path).database)
    t.is(database.pragma('journal_mode', { simple: true }), 'wal')
    t.is(database.pragma('integrity_check', { simple: true }), 'ok')
    t.is(database.pragma('user_version', { simple: true }), SCHEMA_VERSION)
    t.deepEqual(database.prepare('SELECT key, value FROM meta ORDER BY key').raw().all(), [
      ['id', id],
      ['name', at === 0 ? 'One' : 'Another'],
    ])
    database.close()
    const library = stage.open({ id, path })
    t.deepEqual(library.jobs.unfinished(), [])
    stage.close(library)
  }
})

test('of many locations only the one that was written is read again, and a write that failed leaves none changed', (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const [kept, changed] = ['kept', 'changed'].map((name) => {
    mkdirSync(join(stage.tree, name), { recursive: true })
    return library.addLocation(join(stage.tree, name)).location
  })
  const known = library.locations.get(kept!.uid)
  library.write(() => {
    library.locations.rename(changed!, 'renamed')
    library.locations.setWatch(changed!, true)
    library.locations.markScanned(changed!, { '.cache': 2 })
  })
  const now = library.locations.get(changed!.uid)
  t.is(library.locations.get(kept!.uid), known)
  t.like(now, { name: 'renamed', watch: true, leftOut: { '.cache': 2 } })
  t.throws(() =>
    library.write(() => {
      library.locations.rename(changed!, 'never')
      library.locations.delete(kept!)
      throw new Error('it failed')
    }),
  )
  t.deepEqual(
    library.locations.all().map(({ name }) => name),
    ['kept', 'renamed'],
  )
  library.write(() => library.locations.delete(changed!))
  t.deepEqual(
    library.locations.all().map(({ name }) => name),
    ['kept'],
  )
  stage.close(library)
})
