// Groups of duplicates compared byte by byte, and hashes of whole files: what is found stands until a file changes.
import { appendFileSync, linkSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { Compare } from '../../src/job/compare.js'
import type { IdentifyFiles } from '../../src/job/identify.js'
import type { Library } from '../../src/library/library.js'
import type { DuplicateGroup } from '../../src/protocol/messages.js'
import { loadBlake3 } from '../../src/scan/blake3.js'
import { identifyHere, integrity, rescan, run, Stage, work } from '../library/stage.js'

const limits = LIMITS as { identifyFilesMax: number; identifyFreshMs: number; wholeBatchBytes: number }
const usual = { ...limits }
test.afterEach.always(() => Object.assign(limits, usual))
test.beforeEach(() => (limits.identifyFreshMs = 0))

/** Over 100 KiB, so that only samples of it make the id; the byte at 20,000 is in none of them. */
const LARGE = Buffer.alloc(200_000, 'x')
const BETWEEN = 20_000

function large(mark: string): Buffer {
  const bytes = Buffer.from(LARGE)
  bytes.write(mark, BETWEEN)
  return bytes
}

function put(stage: Stage, name: string, bytes: Buffer | string): void {
  writeFileSync(join(stage.tree, name), bytes)
  utimesSync(join(stage.tree, name), 1_000_000, 1_000_000)
}

/** Runs a job, or goes on with it. True when it came to its end. */
function workOn(library: Library, id: string, commits = Infinity, meanwhile = () => {}): Promise<boolean> {
  const files: IdentifyFiles = (...of) => {
    meanwhile()
    return identifyHere(...of)
  }
  return work(library, library.jobs.get(id), files, commits)
}

async function read(stage: Stage): Promise<{ library: Library; uid: string }> {
  const library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, { mode: 'content' })
  await run(library, library.jobs.get(job))
  await workOn(library, library.jobs.active('identify', location.uid)!.id)
  return { library, uid: location.uid }
}

async function groups(library: Library): Promise<readonly DuplicateGroup[]> {
  return (await library.duplicates.list({ limit: 100 })).items
}

function verify(library: Library, contentIds: readonly string[]): string {
  const checkpoint = JSON.stringify({ contentIds, at: 0, begun: false } satisfies Compare)
  return library.write(() => library.jobs.enqueue('compare', null, null, checkpoint)).id
}

async function verifyAll(library: Library, meanwhile?: () => void): Promise<string> {
  const job = verify(
    library,
    (await groups(library)).map(({ contentId }) => contentId),
  )
  await workOn(library, job, Infinity, meanwhile)
  return job
}

/** Names by the set they are in. */
function setsOf({ items }: DuplicateGroup): Record<string, string> {
  const sets: Record<string, string[]> = {}
  for (const { name, set = 'none' } of items) (sets[set] ??= []).push(name)
  return Object.fromEntries(Object.entries(sets).map(([set, names]) => [set, names.sort().join(' ')]))
}

test.serial('files of one id are told apart where they differ between the samples', async (t) => {
  using stage = new Stage()
  for (const name of ['a', 'b', 'c']) put(stage, name, large('1'))
  for (const name of ['d', 'e']) put(stage, name, large('2'))
  put(stage, 'f', large('3'))
  linkSync(join(stage.tree, 'a'), join(stage.tree, 'a again'))
  for (const name of ['small', 'small too']) put(stage, name, 'small')
  const { library } = await read(stage)
  const before = await groups(library)
  t.deepEqual(
    before.map(({ names, compared }) => [names, compared]),
    [
      [7, undefined],
      [2, undefined],
    ],
  )
  const job = library.jobs.item(library.jobs.get(await verifyAll(library)))
  t.like(job, { failureCount: 0, progress: { done: 9, total: 9, unit: 'files' } })
  const [first, second] = await groups(library)
  t.deepEqual(first!.compared!.sets, [4, 2, 1])
  t.is(first!.compared!.unread, 0)
  t.deepEqual(setsOf(first!), { 1: 'a a again b c', 2: 'd e', 3: 'f' })
  t.deepEqual(second!.compared!.sets, [2])
  t.is(integrity(library), 'ok')
})

test.serial(
  'one that changed meanwhile, or is gone, is told as that; a change after it takes back what was said',
  async (t) => {
    using stage = new Stage()
    for (const name of ['a', 'b', 'c', 'd']) put(stage, name, large('1'))
    const { library, uid } = await read(stage)
    let looks = 0
    const id = await verifyAll(library, () => {
      if (looks++ > 0) return
      appendFileSync(join(stage.tree, 'b'), '!')
      rmSync(join(stage.tree, 'd'))
    })
    const { failures, failureCount } = library.jobs.item(library.jobs.get(id))
    t.is(failureCount, 2)
    t.deepEqual(failures.map(({ path, code }) => [path.slice(stage.tree.length + 1), code]).sort(), [
      ['b', 'CHANGED'],
      ['d', 'FILE_NOT_FOUND'],
    ])
    t.deepEqual(setsOf((await groups(library))[0]!), { 0: 'b d', 1: 'a c' })
    await rescan(library, uid)
    t.deepEqual(setsOf((await groups(library))[0]!), { 1: 'a c' })
    renameSync(join(stage.tree, 'c'), join(stage.tree, 'moved'))
    await rescan(library, uid)
    t.deepEqual(setsOf((await groups(library))[0]!), { 1: 'a moved' }, 'a move changes nothing')
    put(stage, 'moved', large('2'))
    utimesSync(join(stage.tree, 'moved'), 2_000_000, 2_000_000)
    await rescan(library, uid)
    await workOn(library, library.jobs.active('identify', uid)!.id)
    t.deepEqual(setsOf((await groups(library))[0]!), { 1: 'a', none: 'moved' })
  },
)

test.serial('where the first of them changes in the middle the others are compared with the next', async (t) => {
  limits.identifyFilesMax = 3
  using stage = new Stage()
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  for (const name of names) put(stage, name, large('1'))
  const { library } = await read(stage)
  const [group] = await groups(library)
  // Its order is that of the index, and the first of it is what the others are compared with.
  const [model] = group!.items
  let looks = 0
  const id = await verifyAll(library, () => {
    if (++looks === 3) appendFileSync(model!.path, '!')
  })
  t.is(library.jobs.get(id).failure_count, 1)
  const sets = setsOf((await groups(library))[0]!)
  t.deepEqual(sets, { 0: model!.name, 1: names.filter((name) => name !== model!.name).join(' ') })
})

test.serial('a comparison stopped after each of its commits goes on in a library opened anew', async (t) => {
  limits.identifyFilesMax = 3
  using stage = new Stage()
  for (let at = 0; at < 12; at++) put(stage, `f${at}`, large(String(at % 3)))
  for (let at = 0; at < 5; at++) put(stage, `s${at}`, 'small')
  let { library } = await read(stage)
  const ids = (await groups(library)).map(({ contentId }) => contentId)
  const id = verify(library, ids)
  let runs = 0
  while (!(await workOn(library, id, 1))) {
    library = stage.reopen(library)
    if (++runs > 50) return t.fail('it does not end')
  }
  t.true(runs > 5, `${runs} interruptions`)
  const [first, second] = await groups(library)
  t.deepEqual(first!.compared!.sets, [4, 4, 4])
  t.deepEqual(second!.compared!.sets, [5])
  t.is(library.jobs.get(id).done, 17)
})

test.serial('more contents than are told apart are left without a word', async (t) => {
  using stage = new Stage()
  const count = LIMITS.compareSetsMax + 3
  for (let at = 0; at < count; at++) put(stage, `f${at}`, large(String.fromCharCode(65 + at)))
  const { library } = await read(stage)
  await verifyAll(library)
  const [group] = await groups(library)
  t.is(group!.compared!.sets.length, LIMITS.compareSetsMax)
  t.is(group!.items.filter(({ set }) => set === undefined).length, 3)
})

test.serial('a hash is kept until its file changes, and is made of what was never read before as well', async (t) => {
  limits.identifyFilesMax = 2
  using stage = new Stage()
  const names = ['a', 'b', 'c', 'gone', 'empty']
  for (const name of names) put(stage, name, name === 'empty' ? '' : `content of ${name}`)
  let library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree)
  await run(library, library.jobs.get(job))
  const entries = names.map((name) => library.entries.at(join(stage.tree, name))!.id)
  const { id } = library.write(() => library.jobs.enqueue('hash', null, 5, JSON.stringify({ entries })))
  rmSync(join(stage.tree, 'gone'))
  let runs = 0
  while (!(await workOn(library, id, 1))) {
    library = stage.reopen(library)
    if (++runs > 20) return t.fail('it does not end')
  }
  const hashOf = (name: string) => library.file({ path: join(stage.tree, name) }).hash
  const blake3 = await loadBlake3()
  for (const name of ['a', 'b', 'c'])
    t.is(hashOf(name), Buffer.from(blake3.digest(Buffer.from(`content of ${name}`))).toString('hex'))
  t.is(hashOf('empty'), 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262')
  t.like(library.jobs.item(library.jobs.get(id)), { failureCount: 1, progress: { done: 5 } })
  const before = hashOf('a')
  appendFileSync(join(stage.tree, 'b'), '!')
  renameSync(join(stage.tree, 'a'), join(stage.tree, 'moved'))
  await rescan(library, location.uid)
  t.is(hashOf('moved'), before)
  t.is(hashOf('b'), undefined)
  rmSync(join(stage.tree, 'c'))
  await rescan(library, location.uid)
  t.is(integrity(library), 'ok')
})
