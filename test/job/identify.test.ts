// Files get ids, lose them when they change, keep them when they move, and a run that is stopped anywhere loses none.
import { appendFileSync, linkSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { SpacedriveError } from '../../src/base/errors.js'
import { LIMITS } from '../../src/base/limits.js'
import { GATHER_ALL, type IdentifyFiles } from '../../src/job/identify.js'
import { filesOf as filesOfFolder } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import type { FileItem, Mode } from '../../src/protocol/messages.js'
import { identifyHere, integrity, rescan, run, Stage, work } from '../library/stage.js'

const limits = LIMITS as { identifyFilesMax: number; identifyFreshMs: number }
const usual = { ...limits }
test.afterEach.always(() => Object.assign(limits, usual))
test.beforeEach(() => (limits.identifyFreshMs = 0))

function put(stage: Stage, name: string, bytes: string, at = 1_000_000): void {
  writeFileSync(join(stage.tree, name), bytes)
  utimesSync(join(stage.tree, name), at, at)
}

async function indexed(stage: Stage, mode: Mode = 'content'): Promise<{ library: Library; uid: string }> {
  const library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, { mode })
  await run(library, library.jobs.get(job))
  library.write(() => library.jobs.setState(job, 'done'))
  return { library, uid: location.uid }
}

/** Runs the job that waits, if there is one, or goes on with it. True when it came to its end. */
async function read(
  library: Library,
  uid: string,
  files: IdentifyFiles = identifyHere,
  commits = Infinity,
): Promise<boolean> {
  const job = library.jobs.active('identify', uid)
  if (!job) return true
  return await work(library, job, files, commits)
}

function itemOf(stage: Stage, library: Library, name: string): FileItem {
  return library.entries.getByPath(join(stage.tree, name))
}

test.serial('every file with content gets its id, type and kind; equal files the same; empty ones none', async (t) => {
  using stage = new Stage()
  put(stage, 'hello.txt', 'Hello World')
  put(stage, 'copy', 'Hello World')
  put(stage, 'empty', '')
  writeFileSync(join(stage.tree, 'picture.txt'), Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))
  utimesSync(join(stage.tree, 'picture.txt'), 1_000_000, 1_000_000)
  const { library, uid } = await indexed(stage)
  t.is(itemOf(stage, library, 'hello.txt').contentId, undefined)
  t.is(itemOf(stage, library, 'picture.txt').contentKind, 'text', 'a guess by its name')
  t.true(await read(library, uid))
  t.is(itemOf(stage, library, 'hello.txt').contentId, 'a97b8437b726c542')
  t.is(itemOf(stage, library, 'copy').contentId, 'a97b8437b726c542')
  t.is(itemOf(stage, library, 'empty').contentId, undefined)
  t.like(itemOf(stage, library, 'picture.txt'), { mime: 'image/png', contentKind: 'image' })
  const [job] = library.jobs.list(1, Number.MAX_SAFE_INTEGER)
  t.deepEqual(library.jobs.item(job!).progress, { done: 3, total: 3, bytes: 30, unit: 'files', fraction: 1 })
})

test.serial(
  'a file that was written loses its id at once, a moved one keeps it, and a deleted one takes it along',
  async (t) => {
    using stage = new Stage()
    mkdirSync(join(stage.tree, 'below'))
    for (const name of ['written', 'moved', 'deleted', 'replaced', 'untouched']) put(stage, name, name)
    const { library, uid } = await indexed(stage)
    await read(library, uid)
    const before = itemOf(stage, library, 'moved')
    appendFileSync(join(stage.tree, 'written'), '!')
    renameSync(join(stage.tree, 'moved'), join(stage.tree, 'below', 'new name'))
    rmSync(join(stage.tree, 'deleted'))
    // The same size and time, but another file.
    put(stage, 'other', 'Replaced')
    renameSync(join(stage.tree, 'other'), join(stage.tree, 'replaced'))
    const kept = itemOf(stage, library, 'untouched').contentId
    await rescan(library, uid)
    t.is(itemOf(stage, library, 'written').contentId, undefined)
    t.is(itemOf(stage, library, 'replaced').contentId, undefined)
    t.like(itemOf(stage, library, 'below/new name'), { id: before.id, contentId: before.contentId! })
    t.is(itemOf(stage, library, 'untouched').contentId, kept)
    let asked = 0
    const counting: IdentifyFiles = (files, ...rest) => {
      asked += files.paths.length
      return identifyHere(files, ...rest)
    }
    t.true(await read(library, uid, counting))
    t.is(asked, 2)
    for (const name of ['written', 'replaced']) t.regex(itemOf(stage, library, name).contentId!, /^[0-9a-f]{16}$/)
    t.is(contents(library), 4)
    t.is(integrity(library), 'ok')
  },
)

test.serial(
  'a run stopped after each of its commits goes on in a library opened anew, and reads no file twice',
  async (t) => {
    limits.identifyFilesMax = 3
    {
      using stage = new Stage()
      for (let at = 0; at < 20; at++) put(stage, `f${at}`, `content ${at}`)
      const indexedLibrary = await indexed(stage)
      let { library } = indexedLibrary
      let runs = 0
      while (!(await read(library, indexedLibrary.uid, identifyHere, 1))) {
        library = stage.reopen(library)
        if (++runs > 50) return t.fail('it does not end')
      }
      t.true(runs >= 6, `${runs} interruptions`)
      for (let at = 0; at < 20; at++) t.truthy(itemOf(stage, library, `f${at}`).contentId, `f${at}`)
      const [job] = library.jobs.list(1, Number.MAX_SAFE_INTEGER)
      t.is(job!.done, 20)
      t.is(integrity(library), 'ok')
    }
  },
)

test.serial(
  'a location that was shallow has all its files read once that is asked for, and none when they are known',
  async (t) => {
    using stage = new Stage()
    for (let at = 0; at < 5; at++) put(stage, `f${at}`, `content ${at}`)
    const { library, uid } = await indexed(stage, 'shallow')
    t.is(library.jobs.active('identify', uid), undefined)
    t.false(library.identities.used)
    library.write(() => {
      library.locations.setMode(library.locations.get(uid), 'content')
      library.jobs.enqueue('identify', uid, null, GATHER_ALL)
    })
    t.true(await read(library, uid))
    for (let at = 0; at < 5; at++) t.truthy(itemOf(stage, library, `f${at}`).contentId)
    await rescan(library, uid)
    t.is(library.jobs.active('identify', uid), undefined, 'nothing changed, nothing is read')
  },
)

test.serial('a file that cannot be read is told with its reason, and is read by the next scan', async (t) => {
  using stage = new Stage()
  for (const name of ['good', 'bad']) put(stage, name, name)
  const { library, uid } = await indexed(stage)
  const refusing: IdentifyFiles = async (files, ...rest) => {
    const result = await identifyHere(files, ...rest)
    const at = files.paths.findIndex((path) => path.endsWith('/bad'))
    return { ...result, failures: at < 0 ? [] : [{ at, code: 'EACCES', message: 'may not be read' }] }
  }
  t.true(await read(library, uid, refusing))
  const [job] = library.jobs.list(1, Number.MAX_SAFE_INTEGER)
  t.like(library.jobs.item(job!), { failureCount: 1, progress: { done: 2, total: 2 } })
  t.like(library.jobs.item(job!).failures[0], { path: join(stage.tree, 'bad'), code: 'EACCES' })
  t.truthy(itemOf(stage, library, 'good').contentId)
  t.is(itemOf(stage, library, 'bad').contentId, undefined)
  await rescan(library, uid)
  t.true(await read(library, uid))
  t.truthy(itemOf(stage, library, 'bad').contentId)
})

test.serial('a lack of descriptors fails the run and no file: nothing was forgotten', async (t) => {
  using stage = new Stage()
  for (let at = 0; at < 5; at++) put(stage, `f${at}`, `content ${at}`)
  const { library, uid } = await indexed(stage)
  const short: IdentifyFiles = () =>
    Promise.reject(new SpacedriveError('BUDGET_EXHAUSTED', 'no descriptor', { class: 'jobs' }))
  await t.throwsAsync(read(library, uid, short), { code: 'BUDGET_EXHAUSTED' })
  t.true(await read(library, uid))
  for (let at = 0; at < 5; at++) t.truthy(itemOf(stage, library, `f${at}`).contentId)
})

test.serial('names of one file are one file, however many there are and in which order they go', async (t) => {
  using stage = new Stage()
  put(stage, 'one', 'same')
  put(stage, 'two', 'same')
  for (const name of ['one b', 'one c']) linkSync(join(stage.tree, 'one'), join(stage.tree, name))
  const { library, uid } = await indexed(stage)
  await read(library, uid)
  t.is(filesOf(library), 2)
  rmSync(join(stage.tree, 'one'))
  await rescan(library, uid)
  t.is(filesOf(library), 2)
  rmSync(join(stage.tree, 'one b'))
  rmSync(join(stage.tree, 'one c'))
  await rescan(library, uid)
  t.is(filesOf(library), 1)
  rmSync(join(stage.tree, 'two'))
  await rescan(library, uid)
  t.is(contents(library), 0)
})

test.serial('a location that is removed takes what was known of its files along', async (t) => {
  using stage = new Stage()
  for (const name of ['a', 'b']) put(stage, name, 'same')
  const { library, uid } = await indexed(stage)
  await read(library, uid)
  t.is(filesOf(library), 2)
  const location = library.locations.get(uid)
  library.write(() => library.locations.markRemoving(location))
  while (!library.removeSlice(location));
  t.is(contents(library), 0)
  t.false(library.identities.used && library.identities.dueInMs(location.id) !== null)
})

test.serial('duplicates come by the space they waste, page by page, and names of one file are no waste', async (t) => {
  using stage = new Stage()
  mkdirSync(join(stage.tree, 'below'))
  for (let group = 0; group < 7; group++) {
    for (let copy = 0; copy < 2 + (group % 3); copy++) put(stage, `g${group} c${copy}`, `${group}`.repeat(10 + group))
  }
  put(stage, 'alone', 'nobody else holds this')
  put(stage, 'linked', 'one file, three names')
  for (const name of ['l2', 'l3']) linkSync(join(stage.tree, 'linked'), join(stage.tree, name))
  const { library, uid } = await indexed(stage)
  await read(library, uid)
  const all = await library.duplicates.list({ limit: 100 })
  const waste = all.items.map((group) => group.waste)
  t.deepEqual(
    waste,
    [...waste].sort((a, b) => b - a),
  )
  // Group g has 2 + g % 3 files of 10 + g bytes.
  t.deepEqual(waste, [45, 36, 28, 22, 16, 13, 10])
  t.is(all.total, 7)
  t.is(
    all.waste,
    waste.reduce((sum, each) => sum + each, 0),
  )
  for (const group of all.items) {
    t.is(group.items.length, group.files)
    t.is(group.names, group.files)
    t.true(group.items.every(({ contentId, size }) => contentId === group.contentId && size === group.size))
  }
  const paged: string[] = []
  let cursor: string | undefined
  do {
    const page = await library.duplicates.list({ limit: 2, cursor })
    paged.push(...page.items.map(({ contentId }) => contentId))
    cursor = page.cursor
  } while (cursor !== undefined)
  t.deepEqual(
    paged,
    all.items.map(({ contentId }) => contentId),
  )
  t.is((await library.duplicates.list({ limit: 100, minSize: 15 })).items.length, 2)
  await t.throwsAsync(library.duplicates.list({ limit: 1, cursor: 'x' }), { code: 'BAD_REQUEST' })
})

function ask(library: Library, sql: string): number {
  const connection = new Database(filesOfFolder(library.path).database, { readonly: true })
  try {
    return connection.prepare<[], number>(sql).pluck().get()!
  } finally {
    connection.close()
  }
}

function contents(library: Library): number {
  return rowsOf(library, 'content')
}

function rowsOf(library: Library, table: 'content' | 'media'): number {
  return ask(library, `SELECT count(*) FROM ${table}`)
}

/** Of the only content there is. */
function filesOf(library: Library): number {
  return ask(library, 'SELECT files FROM content')
}

test.serial('what was written this moment is not taken for settled: the same job looks again', async (t) => {
  using stage = new Stage()
  put(stage, 'new', 'Hello World')
  const { library, uid } = await indexed(stage)
  let asked = 0
  const counting: IdentifyFiles = (...args) => {
    limits.identifyFreshMs = asked++ === 0 ? 3_600_000 : 0
    return identifyHere(...args)
  }
  t.true(await read(library, uid, counting))
  t.is(asked, 2)
  t.is(itemOf(stage, library, 'new').contentId, 'a97b8437b726c542')
  const [job] = library.jobs.list(1, Number.MAX_SAFE_INTEGER)
  t.like(library.jobs.item(job!), { failureCount: 0, progress: { done: 1, total: 1 } })
})

/** A picture that is nothing but its header. */
function picture(width: number, height: number): string {
  const sides = Buffer.alloc(8)
  sides.writeUInt32BE(width, 0)
  sides.writeUInt32BE(height, 4)
  return `\x89PNG\r\n\x1a\n\0\0\0\rIHDR${sides.toString('latin1')}`
}

function putBytes(stage: Stage, name: string, bytes: string): void {
  writeFileSync(join(stage.tree, name), Buffer.from(bytes, 'latin1'))
  utimesSync(join(stage.tree, name), 1_000_000, 1_000_000)
}

test.serial(
  'in a deep location headers are read too; what they say goes when the file changes, and moves with it',
  async (t) => {
    using stage = new Stage()
    mkdirSync(join(stage.tree, 'below'))
    for (const [at, name] of ['moved', 'written', 'deleted', 'untouched'].entries())
      putBytes(stage, `${name}.png`, picture(640 + at, 480))
    put(stage, 'text', 'no picture')
    putBytes(stage, 'silent.png', '\x89PNG\r\n\x1a\n')
    const { library, uid } = await indexed(stage, 'deep')
    await read(library, uid)
    const media = (name: string) => itemOf(stage, library, name).media
    t.deepEqual(media('moved.png'), { width: 640, height: 480 })
    t.deepEqual(
      library.entries.list({ path: stage.tree }, 'name', 10, undefined, library.version)!.items.at(-1)!.media,
      {
        width: 641,
        height: 480,
      },
    )
    for (const name of ['text', 'silent.png']) t.is(media(name), undefined)
    renameSync(join(stage.tree, 'moved.png'), join(stage.tree, 'below', 'moved'))
    putBytes(stage, 'written.png', `${picture(1, 2)}more`)
    rmSync(join(stage.tree, 'deleted.png'))
    await rescan(library, uid)
    t.deepEqual(media('below/moved'), { width: 640, height: 480 })
    t.is(media('written.png'), undefined)
    await read(library, uid)
    t.deepEqual(media('written.png'), { width: 1, height: 2 })
    t.deepEqual(media('untouched.png'), { width: 643, height: 480 })
    t.is(rowsOf(library, 'media'), 4, 'one for each picture, also for the one that says nothing')
    t.is(integrity(library), 'ok')
  },
)

test.serial(
  'what becomes deep has only the headers read that were not, and loses nothing that was known',
  async (t) => {
    using stage = new Stage()
    putBytes(stage, 'a.png', picture(640, 480))
    putBytes(stage, 'b.png', picture(640, 480))
    put(stage, 'text', 'no picture')
    const { library, uid } = await indexed(stage)
    await read(library, uid)
    const before = itemOf(stage, library, 'a.png')
    t.is(before.media, undefined)
    const entry = library.entries.byText(before.id)!
    library.write(() => library.identities.recordHash(entry, new Uint8Array(32)))
    library.write(() => {
      library.locations.setMode(library.locations.get(uid), 'deep')
      library.jobs.enqueue('identify', uid, null, GATHER_ALL)
    })
    const asked: string[] = []
    await read(library, uid, (files, ...rest) => {
      asked.push(...files.paths)
      return identifyHere(files, ...rest)
    })
    t.deepEqual(
      asked,
      ['a.png', 'b.png'].map((name) => join(stage.tree, name)),
    )
    t.deepEqual(itemOf(stage, library, 'a.png'), { ...before, media: { width: 640, height: 480 } })
    t.is(library.identities.hashOf(entry), '00'.repeat(32))
    t.is(contents(library), 2)
    const location = library.locations.get(uid)
    library.write(() => library.locations.markRemoving(location))
    while (!library.removeSlice(location));
    t.is(rowsOf(library, 'media'), 0)
  },
)
