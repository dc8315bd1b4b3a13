// The guard: what SQLite has locked in this process is not opened by anybody else in it, by no name and in no thread.
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import test from 'ava'
import type { SpacedriveError } from '../../src/base/errors.js'
import { loadNative } from '../../src/descriptors/native.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import {
  isLive,
  markLive,
  openGuarded,
  openGuardedLater,
  readGuarded,
  SEEN_LENGTH,
  type FileOpener,
  type FileReader,
} from '../../src/scan/guard.js'
import { Stage } from '../library/stage.js'
import { ROOT } from '../harness/daemon.js'

const codeOf = (work: () => unknown): string => {
  try {
    work()
    return 'opened'
  } catch (error) {
    return (error as SpacedriveError).code
  }
}

/** What another process gets that asks for the write lock. */
function elsewhere(database: string): string {
  const script = `
    const database = new (require('better-sqlite3'))(process.argv[1], { timeout: 0 })
    try { database.exec('BEGIN IMMEDIATE; ROLLBACK'); console.log('got the lock') } catch (error) { console.log(error.code) }`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script, database], { cwd: ROOT, encoding: 'utf8' })
  return stdout.trim() || stderr
}

/** Both tries of another process to write, before and after `meanwhile`, while this one is in the middle of a write. */
function whileWriting(library: Library, database: string, meanwhile: () => void): [before: string, after: string] {
  return library.write(() => {
    library.locations.add('a write', '/nowhere', false)
    const before = elsewhere(database)
    meanwhile()
    return [before, elsewhere(database)]
  })
}

test.serial('without the guard: one open and close by another name, and another process writes into our write', (t) => {
  using stage = new Stage()
  const made = stage.create()
  const library = stage.open(made)
  const { database } = filesOf(made.path)
  const link = join(stage.tree, 'a file like any other')
  linkSync(`${database}-shm`, link)
  const seen = whileWriting(library, database, () => closeSync(openSync(link, 'r')))
  t.deepEqual(seen, ['SQLITE_BUSY', 'got the lock'])
})

test.serial('with it: refused by every name, and the locks hold', (t) => {
  using stage = new Stage()
  const made = stage.create()
  const library = stage.open(made)
  const { database, lock } = filesOf(made.path)
  const names: string[] = []
  for (const [at, file] of [database, `${database}-shm`, lock].entries()) {
    names.push(file, join(stage.tree, `hard ${at}`), join(stage.tree, `soft ${at}`), `${stage.tree}/../tree/hard ${at}`)
    linkSync(file, join(stage.tree, `hard ${at}`))
    symlinkSync(file, join(stage.tree, `soft ${at}`))
  }
  const seen = whileWriting(library, database, () => {
    for (const name of names)
      t.is(
        codeOf(() => openGuarded(name)),
        'PATH_REFUSED',
        name,
      )
  })
  t.deepEqual(seen, ['SQLITE_BUSY', 'SQLITE_BUSY'])
  stage.close(library)
  using file = openGuarded(join(stage.tree, 'hard 0'))
  t.true(file.fd > 2, 'closed, it is a file like any other')
})

test.serial(
  'what takes the place of a file between a look and its read is not read, and closed only where that does no harm',
  (t) => {
    const native = loadNative()!
    using stage = new Stage()
    const made = stage.create()
    const library = stage.open(made)
    const { database } = filesOf(made.path)
    const path = join(stage.tree, 'file')
    const swapped = (by: () => void) => {
      writeFileSync(path, 'as it was')
      const lookAtFile: FileReader['lookAtFile'] = (file, seen) => {
        native.lookAtFile(file, seen)
        rmSync(path)
        by()
      }
      const reader = { lookAtFile, readParts: native.readParts }
      const seen = new BigInt64Array(SEEN_LENGTH)
      const read = () => readGuarded(reader, Buffer.from(path), seen, () => Float64Array.of(0, 9), Buffer.alloc(9))
      const before = native.count()
      return [codeOf(read), native.count() - before]
    }
    writeFileSync(join(stage.tree, 'other'), 'as it is.')
    t.deepEqual(
      swapped(() => renameSync(join(stage.tree, 'other'), path)),
      ['PATH_REFUSED', 0],
    )
    const seen = whileWriting(library, database, () =>
      t.deepEqual(
        swapped(() => linkSync(database, path)),
        ['PATH_REFUSED', 1],
        'the descriptor waits until the library is closed',
      ),
    )
    t.deepEqual(seen, ['SQLITE_BUSY', 'SQLITE_BUSY'])
    stage.close(library)
    const before = native.count()
    openGuarded(path).close()
    t.is(native.count(), before - 1)
  },
)

for (const [how, opener] of [
  ['by the addon', loadNative()],
  ['without it', null],
] as const) {
  test.serial(
    `a file that is sent, ${how}: its first bytes, and no descriptor where there are no others`,
    async (t) => {
      using stage = new Stage()
      const path = Buffer.from(join(stage.tree, 'file'))
      writeFileSync(path, 'as it was')
      const before = loadNative()!.count()
      for (const first of [0, 3, 9, 20]) {
        const file = await openGuardedLater(path, opener, first)
        t.is(file.stat.size, 9n)
        t.is(file.first.toString(), opener ? 'as it was'.slice(0, first) : '')
        t.is(loadNative()!.count() - before, file.fd < 0 ? 0 : 1)
        t.is(file.fd < 0, opener !== null && first >= 9)
        await file.close()
        t.is(loadNative()!.count(), before)
      }
      mkdirSync(join(stage.tree, 'sub'))
      symlinkSync(join(stage.tree, 'sub'), join(stage.tree, 'way'))
      writeFileSync(join(stage.tree, 'sub', 'one'), '')
      const codes = await Promise.all(
        ['way/one', 'none', 'sub'].map((name) => codeOfLater(Buffer.from(join(stage.tree, name)), opener)),
      )
      t.deepEqual(codes, ['PATH_REFUSED', 'FILE_NOT_FOUND', 'PATH_REFUSED'])
      t.is(await codeOfLater(Buffer.from(join(stage.tree, 'sub/one')), opener), 'opened')
      t.is(loadNative()!.count(), before)
    },
  )
}

const codeOfLater = (path: Buffer, opener: FileOpener | null): Promise<string> =>
  openGuardedLater(path, opener, 100)
    .then((file) => file.close())
    .then(
      () => 'opened',
      (error: SpacedriveError) => error.code,
    )

test.serial('what takes the place of a file that is sent, between a look and its opening, is not sent', async (t) => {
  const native = loadNative()!
  using stage = new Stage()
  const made = stage.create()
  const library = stage.open(made)
  const { database } = filesOf(made.path)
  const path = join(stage.tree, 'file')
  const swapped = async (by: () => void): Promise<[code: string, left: number]> => {
    rmSync(path, { force: true })
    writeFileSync(path, 'as it was')
    const before = native.count()
    const openFile: FileOpener['openFile'] = (...asked) => {
      rmSync(path)
      by()
      native.openFile(...asked)
    }
    const code = await codeOfLater(Buffer.from(path), { openFile })
    return [code, native.count() - before]
  }
  writeFileSync(join(stage.tree, 'other'), 'as it is.')
  t.deepEqual(await swapped(() => renameSync(join(stage.tree, 'other'), path)), ['PATH_REFUSED', 0])
  t.deepEqual(await swapped(() => undefined), ['FILE_NOT_FOUND', 0])
  t.deepEqual(
    await swapped(() => linkSync(database, path)),
    ['PATH_REFUSED', 1],
    'the descriptor waits until the library is closed',
  )
  t.deepEqual(
    whileWriting(library, database, () =>
      t.is(
        codeOf(() => openGuarded(path)),
        'PATH_REFUSED',
      ),
    ),
    ['SQLITE_BUSY', 'SQLITE_BUSY'],
  )
  stage.close(library)
  const before = native.count()
  t.is(await codeOfLater(Buffer.from(path), native), 'opened')
  t.is(native.count(), before - 1)
})

test.serial(
  'a thread that ends while files are opened for it leaves no descriptor of those it never heard of',
  async (t) => {
    using stage = new Stage()
    const path = join(stage.tree, 'file')
    writeFileSync(path, 'more than is read at first')
    const before = loadNative()!.count()
    const addon = new URL('../../src/descriptors/native.js', import.meta.url).href
    const heard = new Int32Array(new SharedArrayBuffer(4))
    const script = `
    const { parentPort, workerData: { addon, path, heard } } = require('node:worker_threads')
    import(addon).then(({ loadNative }) => {
      const native = loadNative()
      const seen = new BigInt64Array(6)
      native.lookAtFile(Buffer.from(path), seen)
      for (let at = 0; at < ${EACH}; at++)
        native.openFile(Buffer.from(path), seen, Buffer.alloc(1), (error, fd) => Atomics.add(heard, 0, 1))
      parentPort.postMessage('begun')
    })`
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(script, { eval: true, workerData: { addon, path, heard } })
      await once(worker, 'message')
      await worker.terminate()
    }
    t.true(heard[0]! < 10 * EACH, `${heard[0]} were told of, and there is nothing to be seen`)
    t.is(loadNative()!.count() - before, heard[0]!)
  },
)

const EACH = 200

test.serial('a library does not open over a file that is being read, and opens when that is over', (t) => {
  using stage = new Stage()
  const made = stage.create()
  linkSync(filesOf(made.path).database, join(stage.tree, 'link'))
  const file = openGuarded(join(stage.tree, 'link'))
  const again = openGuarded(join(stage.tree, 'link'))
  t.is(
    codeOf(() => stage.open(made)),
    'LIBRARY_LOCKED',
  )
  file.close()
  t.is(
    codeOf(() => stage.open(made)),
    'LIBRARY_LOCKED',
    'there is another reader',
  )
  again.close()
  t.is(
    codeOf(() => stage.open(made)),
    'opened',
  )
  t.is(stage.ledger.use('libraries').used, PRICES.library, 'the failed opens gave their leases back')
})

test.serial('every thread of the process sees the same', async (t) => {
  using stage = new Stage()
  const made = stage.create()
  const library = stage.open(made)
  linkSync(filesOf(made.path).database, join(stage.tree, 'link'))
  const guard = new URL('../../src/scan/guard.js', import.meta.url).href
  const script = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.guard).then(({ openGuarded, isLive }) => {
      let code = 'opened'
      try { openGuarded(workerData.link).close() } catch (error) { code = error.code }
      parentPort.postMessage([code, isLive(workerData.link)])
    })`
  const ask = async () => {
    const worker = new Worker(script, { eval: true, workerData: { guard, link: join(stage.tree, 'link') } })
    return (await once(worker, 'message'))[0] as unknown
  }
  t.deepEqual(await ask(), ['PATH_REFUSED', true])
  stage.close(library)
  t.deepEqual(await ask(), ['opened', false])
})

test.serial('what is read is a regular file, and what is none does not hold up the thread', (t) => {
  using stage = new Stage()
  const path = (name: string) => join(stage.tree, name)
  writeFileSync(path('file'), 'text')
  mkdirSync(path('directory'))
  symlinkSync(path('file'), path('link'))
  t.is(spawnSync('mkfifo', [path('pipe')]).status, 0)
  // To open the pipe would wait for a writer, who never comes.
  for (const name of ['directory', 'link', 'pipe'])
    t.is(
      codeOf(() => openGuarded(path(name))),
      'PATH_REFUSED',
      name,
    )
  t.is(
    codeOf(() => openGuarded('/dev/null')),
    'PATH_REFUSED',
  )
  t.is(
    codeOf(() => openGuarded(path('none'))),
    'FILE_NOT_FOUND',
  )
  using file = openGuarded(Buffer.from(path('file')))
  const bytes = Buffer.alloc(8)
  t.is(readSync(file.fd, bytes), 4)
  t.is(file.stat.size, 4n)
})

test.serial('what is marked twice is free after both are gone, and marks leave nothing behind', (t) => {
  using stage = new Stage()
  const paths = Array.from({ length: 400 }, (_, at) => join(stage.tree, String(at)))
  for (const path of paths) writeFileSync(path, '')
  for (let round = 0; round < 3; round++) {
    const one = markLive(paths)
    const other = markLive(paths.slice(0, 10))
    one.release()
    t.deepEqual(paths.filter((path) => isLive(path)).length, 10)
    other.release()
    t.false(paths.some((path) => isLive(path)))
    for (const path of paths) openGuarded(path).close()
  }
})
