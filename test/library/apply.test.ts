// The index against the disk: whatever happens to a tree between two scans, the next one makes them equal.
import {
  closeSync,
  futimesSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import type { Library } from '../../src/library/library.js'
import { readDirectoryPlain, type ReadDirectory } from '../../src/scan/read.js'
import { failure } from '../scan/tree.js'
import { decodeNames } from '../../src/scan/names.js'
import { pick } from '../../src/scan/walk.js'
import { batchesOf, differences, disk, index, indexed, integrity, rescan, run, Stage, totalsOf } from './stage.js'

let restore = () => {}
test.afterEach(() => restore())

/** One random change of the tree; the numbers choose among what is there. */
interface Step {
  readonly what:
    'create' | 'mkdir' | 'write' | 'rename' | 'over' | 'swap' | 'into' | 'delete' | 'link' | 'symlink' | 'become'
  readonly a: number
  readonly b: number
  readonly name: string
}

const step = fc.record<Step>({
  what: fc.constantFrom(
    'create',
    'mkdir',
    'write',
    'rename',
    'over',
    'swap',
    'into',
    'delete',
    'link',
    'symlink',
    'become',
  ),
  a: fc.nat(1000),
  b: fc.nat(1000),
  name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'ä', '💀', "it's", 'x'.repeat(255)),
})

function change(root: string, { what, a, b, name }: Step): void {
  const known = [...disk(root)]
    .filter(([path]) => path !== '')
    .map(([path, line]) => ({ path: join(root, path), line }))
  const places = [root, ...known.filter(({ line }) => line.kind === 1).map(({ path }) => path)]
  const one = known[a % Math.max(1, known.length)]?.path
  const other = known[b % Math.max(1, known.length)]?.path
  const place = join(places[a % places.length]!, name)
  try {
    if (what === 'create') writeFileSync(place, 'x'.repeat(b % 50))
    else if (what === 'mkdir') mkdirSync(place)
    else if (what === 'symlink') symlinkSync('nowhere', place)
    else if (!one || !other) return
    else if (what === 'write') writeFileSync(one, 'y'.repeat(b % 70))
    else if (what === 'rename') renameSync(one, join(places[b % places.length]!, name))
    else if (what === 'over') renameSync(one, other)
    else if (what === 'into') renameSync(one, join(other, name))
    else if (what === 'link') linkSync(one, join(places[b % places.length]!, name))
    else if (what === 'delete') rmSync(one, { recursive: true })
    else if (what === 'swap') {
      renameSync(one, `${root}/swapped away`)
      renameSync(other, one)
      renameSync(`${root}/swapped away`, other)
    } else {
      const wasDirectory = lstatSync(one).isDirectory()
      rmSync(one, { recursive: true })
      if (wasDirectory) writeFileSync(one, '')
      else mkdirSync(one)
    }
  } catch {
    // Not every change is possible on every tree: a directory into itself, a name that is taken.
  }
}

test.serial('after any changes a rescan makes index, disk and counts equal', async (t) => {
  restore = batchesOf(7)
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 5 }),
      async (rounds) => {
        using stage = new Stage()
        const library = stage.open(stage.create())
        for (const path of ['a/b/c', 'a/d', 'e']) mkdirSync(join(stage.tree, path), { recursive: true })
        for (const path of ['a/b/c/1', 'a/d/2', 'e/3', '4']) writeFileSync(join(stage.tree, path), path)
        const uid = await index(library, stage.tree)
        t.deepEqual(differences(library, uid, stage.tree), [])
        for (const round of rounds) {
          for (const each of round) change(stage.tree, each)
          await rescan(library, uid)
          t.deepEqual(differences(library, uid, stage.tree), [], JSON.stringify(round))
        }
        t.is(integrity(library), 'ok')
      },
    ),
    { numRuns: 60, interruptAfterTimeLimit: 15_000 },
  )
})

test.serial(
  'entries keep their ids when files and directories are renamed and moved, also into each other',
  async (t) => {
    using stage = new Stage()
    const library = stage.open(stage.create())
    const at = (path: string) => join(stage.tree, path)
    for (const path of ['one/deep', 'two']) mkdirSync(at(path), { recursive: true })
    for (const path of ['one/file', 'one/deep/leaf', 'two/other']) writeFileSync(at(path), path)
    const uid = await index(library, stage.tree)
    const before = indexed(library, uid)
    renameSync(at('one/deep/leaf'), at('leaf renamed'))
    renameSync(at('one'), at('two/one moved'))
    renameSync(at('two/other'), at('two/one moved/deep/other'))
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    const after = indexed(library, uid)
    const moves: [string, string][] = [
      ['one', 'two/one moved'],
      ['one/deep', 'two/one moved/deep'],
      ['one/file', 'two/one moved/file'],
      ['one/deep/leaf', 'leaf renamed'],
      ['two/other', 'two/one moved/deep/other'],
    ]
    for (const [from, to] of moves) t.is(after.get(to)?.id, before.get(from)!.id, to)
    t.is(library.entries.getByPath(at('two/one moved/deep/other')).path, at('two/one moved/deep/other'))
  },
)

test.serial('a directory turned inside out keeps its ids and makes no circle', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const at = (path: string) => join(stage.tree, path)
  mkdirSync(at('outer/inner'), { recursive: true })
  writeFileSync(at('outer/inner/file'), '')
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid)
  renameSync(at('outer/inner'), at('inner'))
  renameSync(at('outer'), at('inner/outer'))
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
  t.is(indexed(library, uid).get('inner/outer')?.id, before.get('outer')!.id)
})

test.serial('a hard link is another entry, and neither of the two is taken for a move', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  writeFileSync(join(stage.tree, 'first'), 'text')
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid).get('first')!.id
  linkSync(join(stage.tree, 'first'), join(stage.tree, 'second'))
  await rescan(library, uid)
  const after = indexed(library, uid)
  t.is(after.get('first')!.id, before)
  t.not(after.get('second')!.id, before)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test.serial('a new file that got the inode of a deleted one is a new entry', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  writeFileSync(join(stage.tree, 'old'), 'old text')
  utimesSync(join(stage.tree, 'old'), 1, 1)
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid).get('old')!
  rmSync(join(stage.tree, 'old'))
  writeFileSync(join(stage.tree, 'new'), 'other')
  await rescan(library, uid)
  t.not(indexed(library, uid).get('new')!.id, before.id)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

/** A disk's clock goes in steps; what was made before the scan by so much is proven by its birth. */
const BORN_BEFORE_MS = 20

/** A tree that was indexed a moment after it was made. False where the disk does not tell when that was. */
async function grown({ tree }: Stage, library: Library, paths: readonly string[]): Promise<string | false> {
  restore = batchesOf(LIMITS.batchEntriesMax)
  Object.assign(LIMITS, { bornBeforeMs: BORN_BEFORE_MS })
  for (const path of paths) writeFileSync(join(tree, path), 'text')
  // As a copy, or what was unpacked: its time says nothing of when it was made.
  utimesSync(join(tree, paths[0]!), 1, 1)
  await sleep(2 * BORN_BEFORE_MS)
  const uid = await index(library, tree)
  return lstatSync(tree, { bigint: true }).birthtimeNs > 0n && uid
}

test.serial(
  'a file that was moved and then written keeps its id and its tags, and what has its inode later does not',
  async (t) => {
    using stage = new Stage()
    const at = (name: string) => join(stage.tree, name)
    const library = stage.open(stage.create())
    const uid = await grown(stage, library, ['unpacked', 'written', 'linked', 'gone'])
    if (uid === false) return t.pass()
    const before = indexed(library, uid)
    const tag = library.write(() => library.tags.create({ name: 'kept' }))
    library.write(() =>
      library.tagged.add(
        [...before.values()].map(({ id }) => id),
        tag.id,
      ),
    )
    for (const name of ['unpacked', 'written']) {
      renameSync(at(name), at(`${name} elsewhere`))
      writeFileSync(at(`${name} elsewhere`), 'another text')
    }
    linkSync(at('linked'), at('link'))
    writeFileSync(at('link'), 'written by its other name')
    rmSync(at('gone'))
    // File systems give the inode away again.
    writeFileSync(at('new'), 'new')
    await rescan(library, uid)
    const after = indexed(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    for (const name of ['unpacked', 'written']) t.is(after.get(`${name} elsewhere`)!.id, before.get(name)!.id, name)
    t.is(after.get('linked')!.id, before.get('linked')!.id)
    const old = new Set([...before.values()].map(({ id }) => id))
    for (const name of ['link', 'new']) t.false(old.has(after.get(name)!.id), name)
    t.deepEqual(library.tagged.of(library.entries.at(at('written elsewhere'))!), [tag.id])
    t.deepEqual(library.tagged.of(library.entries.at(at('new'))!), [])
  },
)

test.serial('on another disk an inode and a birth say nothing, nor does a scan that did not see all', async (t) => {
  using stage = new Stage()
  const at = (name: string) => join(stage.tree, name)
  const library = stage.open(stage.create())
  mkdirSync(at('closed'))
  const uid = await grown(stage, library, ['one', 'two', 'closed/three'])
  if (uid === false) return t.pass()
  const looked = () => library.locations.looked(library.locations.get(uid))!
  const first = looked()
  await sleep(2)
  const { id } = await rescan(library, uid, { read: failing('/closed', 'EACCES') })
  t.is(library.jobs.get(id).failure_count, 1)
  t.deepEqual(looked(), first, 'what lies in it was not seen')
  await rescan(library, uid)
  t.true(looked().at > first.at)
  const before = indexed(library, uid)
  renameSync(stage.tree, `${stage.tree}.other`)
  mkdirSync(stage.tree)
  renameSync(`${stage.tree}.other/one`, at('one elsewhere'))
  writeFileSync(at('one elsewhere'), 'another text')
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
  t.not(indexed(library, uid).get('one elsewhere')!.id, before.get('one')!.id)
  t.not(looked().root, first.root)
})

for (const code of ['EACCES', 'EIO', 'ENAMETOOLONG', 'ENOENT', 'ENOTDIR']) {
  test.serial(`nothing is deleted below a directory that cannot be read for ${code}`, async (t) => {
    using stage = new Stage()
    const library = stage.open(stage.create())
    for (const path of ['closed/deep', 'open']) mkdirSync(join(stage.tree, path), { recursive: true })
    for (const path of ['closed/a', 'closed/deep/b', 'open/c']) writeFileSync(join(stage.tree, path), '')
    const uid = await index(library, stage.tree)
    const before = [...indexed(library, uid).keys()].sort()
    const job = await rescan(library, uid, { read: failing('/closed', code) })
    t.deepEqual([...indexed(library, uid).keys()].sort(), before)
    t.is(job.state, 'done')
    t.is(job.failure_count, 1)
    t.like(library.jobs.item(job).failures[0], { path: join(stage.tree, 'closed'), code })
  })
}

for (const code of ['EMFILE', 'ENFILE']) {
  test.serial(
    `${code} fails the scan as retryable, deletes nothing, and the scan goes on from its checkpoint`,
    async (t) => {
      restore = batchesOf(2)
      using stage = new Stage()
      const library = stage.open(stage.create())
      for (const path of ['a', 'b', 'c']) mkdirSync(join(stage.tree, path))
      for (const path of ['a/1', 'b/2', 'c/3']) writeFileSync(join(stage.tree, path), '')
      const uid = await index(library, stage.tree)
      const before = [...indexed(library, uid).keys()].sort()
      const job = library.write(() => library.jobs.enqueue('index', uid, null))
      const error = await t.throwsAsync(run(library, job, { read: failing('/b', code) }))
      t.is((error as { code?: string }).code, code)
      t.deepEqual([...indexed(library, uid).keys()].sort(), before)
      t.true(await run(library, library.jobs.get(job.id)))
      t.deepEqual(differences(library, uid, stage.tree), [])
      t.is(library.jobs.get(job.id).failure_count, 0)
    },
  )
}

test.serial('the location itself gone, or no directory any more, is refused and its index kept', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  writeFileSync(join(stage.tree, 'kept'), '')
  const uid = await index(library, stage.tree)
  const before = [...indexed(library, uid).keys()]
  renameSync(stage.tree, `${stage.tree} away`)
  const rescanned = () => rescan(library, uid)
  await t.throwsAsync(rescanned(), { code: 'PATH_REFUSED' })
  writeFileSync(stage.tree, 'a file now')
  await t.throwsAsync(rescanned(), { code: 'PATH_REFUSED' })
  await t.throwsAsync(rescan(library, uid, { read: failing('', 'EACCES') }), { code: 'PATH_REFUSED' })
  t.deepEqual([...indexed(library, uid).keys()], before)
})

test.serial(
  'an empty directory in the place of the location is a disk that is not mounted; one with files is the location',
  async (t) => {
    using stage = new Stage()
    const library = stage.open(stage.create())
    writeFileSync(join(stage.tree, 'kept'), '')
    const uid = await index(library, stage.tree)
    const before = [...indexed(library, uid).keys()]
    renameSync(stage.tree, `${stage.tree} mounted`)
    mkdirSync(stage.tree)
    await t.throwsAsync(rescan(library, uid), { code: 'PATH_REFUSED' })
    await t.throwsAsync(rescan(library, uid), { code: 'PATH_REFUSED' })
    t.deepEqual([...indexed(library, uid).keys()], before)
    writeFileSync(join(stage.tree, 'other'), '')
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
  },
)

test.serial('a child whose metadata cannot be read keeps its entry and all below it', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  mkdirSync(join(stage.tree, 'd'))
  writeFileSync(join(stage.tree, 'd', 'inside'), '')
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid)
  const unread: ReadDirectory = (path) => {
    const listing = readDirectoryPlain(path)
    if (path.toString().endsWith('/tree')) listing.kinds.fill(3 | 0x40)
    return listing
  }
  await rescan(library, uid, { read: unread })
  t.deepEqual(indexed(library, uid), before)
})

test.serial('a child that a directory names twice, because it changed meanwhile, is one entry', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (let at = 0; at < 50; at++) {
    mkdirSync(join(stage.tree, `d${at}`))
    writeFileSync(join(stage.tree, `d${at}`, 'file'), 'x'.repeat(at))
  }
  const doubled: ReadDirectory = (path) => {
    const listing = readDirectoryPlain(path)
    const names = decodeNames(listing.names)
    const order = names.map((_, at) => at)
    return pick(listing, names, [...order, ...order])
  }
  const { location, job } = library.addLocation(stage.tree, { mode: 'content' })
  t.true(await run(library, library.jobs.get(job), { read: doubled }))
  t.deepEqual(differences(library, location.uid, stage.tree), [])
  t.deepEqual(totalsOf(library), [])
  t.is(library.info().entries, 101)
  t.is(library.identities.count(location.id, 0).count, 49, 'an empty file is not read')
  t.is(integrity(library), 'ok')
  writeFileSync(join(stage.tree, 'd7', 'file'), 'other')
  await rescan(library, location.uid)
  t.deepEqual(differences(library, location.uid, stage.tree), [])
})

test.serial('what a scan found missing and is back before its end stays, with its id', async (t) => {
  restore = batchesOf(1)
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (const path of ['a', 'b', 'c']) mkdirSync(join(stage.tree, path))
  for (const path of ['a/file', 'c/last']) writeFileSync(join(stage.tree, path), 'text')
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid).get('a/file')!.id
  renameSync(join(stage.tree, 'a', 'file'), join(stage.path, 'aside'))
  let batches = 0
  const meanwhile = () => {
    batches += 1
    if (batches === 3) renameSync(join(stage.path, 'aside'), join(stage.tree, 'a', 'file'))
  }
  await rescan(library, uid, { meanwhile })
  t.true(batches >= 3)
  t.is(indexed(library, uid).get('a/file')?.id, before)
})

test.serial(
  'a directory that takes the name of another while they are walked is not taken for unchanged',
  async (t) => {
    restore = batchesOf(2)
    using stage = new Stage()
    const library = stage.open(stage.create())
    for (const path of ['p', 'p/a', 'p/b']) mkdirSync(join(stage.tree, path))
    for (const path of ['p/a/one', 'p/b/two']) writeFileSync(join(stage.tree, path), path)
    const uid = await index(library, stage.tree)
    const before = indexed(library, uid).get('p/a/one')!.id
    let batches = 0
    const meanwhile = () => {
      batches += 1
      // The directory above was found unchanged, and what lies in it is yet to be read.
      if (batches !== 2) return
      rmSync(join(stage.tree, 'p', 'b'), { recursive: true })
      renameSync(join(stage.tree, 'p', 'a'), join(stage.tree, 'p', 'b'))
    }
    await rescan(library, uid, { meanwhile })
    t.is(indexed(library, uid).get('p/b/one')?.id, before)
  },
)

test.serial('missing entries of a scan that was given up prove nothing to the next one', async (t) => {
  restore = batchesOf(1)
  using stage = new Stage()
  let library = stage.open(stage.create())
  for (const path of ['a', 'b']) mkdirSync(join(stage.tree, path))
  for (const path of ['a/file', 'b/other']) writeFileSync(join(stage.tree, path), 'text')
  const uid = await index(library, stage.tree)
  const before = indexed(library, uid).get('a/file')!.id
  renameSync(join(stage.tree, 'a', 'file'), join(stage.path, 'aside'))
  const given = await rescan(library, uid, { commits: 2 })
  library.jobs.setState(given.id, 'cancelled')
  renameSync(join(stage.path, 'aside'), join(stage.tree, 'a', 'file'))
  library = stage.reopen(library)
  await rescan(library, uid)
  t.is(indexed(library, uid).get('a/file')?.id, before)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test.serial('a directory moved into its own successor between the halves of a scan makes no circle', async (t) => {
  restore = batchesOf(1)
  using stage = new Stage()
  let library = stage.open(stage.create())
  const at = (path: string) => join(stage.tree, path)
  for (const path of ['photos', 'a']) mkdirSync(at(path))
  writeFileSync(at('photos/one'), '')
  const uid = await index(library, stage.tree)
  renameSync(at('photos'), join(stage.path, 'aside'))
  const job = await rescan(library, uid, { commits: 1 })
  mkdirSync(at('photos'))
  renameSync(join(stage.path, 'aside'), at('photos/old'))
  library = stage.reopen(library)
  await run(library, library.jobs.get(job.id))
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test.serial('a directory that vanished turned up as a mount point does not bring its old content along', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  mkdirSync(join(stage.tree, 'was'))
  writeFileSync(join(stage.tree, 'was', 'inside'), '')
  const uid = await index(library, stage.tree)
  renameSync(join(stage.tree, 'was'), join(stage.tree, 'mount'))
  // Inodes are only unique on one device: the root of another may have the number of what was removed here.
  const mounted: ReadDirectory = (path) => {
    const listing = readDirectoryPlain(path)
    if (path.toString().endsWith('/tree')) listing.kinds[0]! |= 0x80
    return listing
  }
  await rescan(library, uid, { read: mounted })
  t.deepEqual([...indexed(library, uid).keys()].sort(), ['', 'mount'])
})

test.serial('a whole tree that went is deleted in slices, and the counts follow', async (t) => {
  restore = batchesOf(50)
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (let directory = 0; directory < 12; directory++) {
    mkdirSync(join(stage.tree, 'gone', `${directory}`, 'deep'), { recursive: true })
    for (let file = 0; file < 20; file++)
      writeFileSync(join(stage.tree, 'gone', `${directory}`, 'deep', `${file}`), 'x')
  }
  writeFileSync(join(stage.tree, 'stays'), '')
  const uid = await index(library, stage.tree)
  rmSync(join(stage.tree, 'gone'), { recursive: true })
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test.serial('times before 1970, after 2262 and past every calendar are stored, and told as a date', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  const times: Record<string, number> = { old: -1.5, late: 9_300_000_000 }
  for (const [name, seconds] of Object.entries(times)) {
    const file = openSync(join(stage.tree, name), 'w')
    futimesSync(file, seconds, seconds)
    closeSync(file)
  }
  const far: ReadDirectory = (path) => {
    const listing = readDirectoryPlain(path)
    listing.mtimes[0] = 9.2e18
    return listing
  }
  const uid = await index(library, stage.tree)
  t.deepEqual(differences(library, uid, stage.tree), [])
  await rescan(library, uid, { read: far })
  const { items } = library.entries.list({ path: stage.tree }, 'name', 10, undefined, library.entriesVersion)!
  t.is(items.length, 2)
  for (const { modifiedAt } of items) t.regex(modifiedAt, /^[+-]?\d+-\d\d-\d\dT/)
})

function failing(ending: string, code: string): ReadDirectory {
  return (path) => {
    if (path.toString().endsWith(`/tree${ending}`)) throw failure(code)
    return readDirectoryPlain(path)
  }
}
