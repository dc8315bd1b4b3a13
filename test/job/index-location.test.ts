// An index job that is interrupted anywhere goes on where it was, and ends with the same index.
import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { Balance } from '../../src/job/balance.js'
import { indexLocation } from '../../src/job/index-location.js'
import type { Library } from '../../src/library/library.js'
import {
  batchesOf,
  differences,
  identifyHere,
  index,
  indexed,
  integrity,
  rescan,
  run,
  Stage,
  totalsOf,
} from '../library/stage.js'

let restore = () => {}
test.afterEach.always(() => restore())

/** Small directories, a nest, and one that is larger than several batches. */
function plant(stage: Stage): void {
  for (let at = 0; at < 8; at++) {
    mkdirSync(join(stage.tree, `d${at}`, 'deep', 'deeper'), { recursive: true })
    for (let file = 0; file < 4; file++) writeFileSync(join(stage.tree, `d${at}`, 'deep', `f${file}`), 'x'.repeat(file))
  }
  mkdirSync(join(stage.tree, 'large'))
  for (let at = 0; at < 40; at++) writeFileSync(join(stage.tree, 'large', `n${at}`), '')
}

/** Between a first scan and a rescan: something of everything. */
function disturb(stage: Stage): void {
  const at = (path: string) => join(stage.tree, path)
  renameSync(at('d1/deep'), at('d6/moved'))
  renameSync(at('large/n7'), at('d0/n7'))
  rmSync(at('d3'), { recursive: true })
  for (let each = 20; each < 30; each++) rmSync(at(`large/n${each}`))
  writeFileSync(at('large/new'), 'new')
  writeFileSync(at('d0/deep/f1'), 'written')
  mkdirSync(at('d9'))
}

test.serial('a first scan interrupted after each of its commits goes on in a library opened anew', async (t) => {
  restore = batchesOf(9)
  using stage = new Stage()
  plant(stage)
  let library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, undefined)
  let runs = 0
  while (!(await run(library, library.jobs.get(job), { commits: 1 }))) {
    library = stage.reopen(library)
    if (++runs > 500) return t.fail('it does not end')
  }
  t.true(runs > 8, `${runs} interruptions`)
  t.deepEqual(differences(library, location.uid, stage.tree), [])
  t.is(integrity(library), 'ok')
  t.is(library.jobs.get(job).done, indexed(library, location.uid).size, 'nothing was stored twice')
})

test.serial('what a first scan has come to is found meanwhile, and after a crash as well', async (t) => {
  restore = batchesOf(9)
  using stage = new Stage()
  plant(stage)
  let library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, undefined)
  const isFound = async () => {
    const names = [...indexed(library, location.uid).keys()].filter((path) => path.endsWith('deeper'))
    t.is((await library.search({ query: 'deeper' })).total, names.length)
    return names.length
  }
  t.false(await run(library, library.jobs.get(job), { commits: 3 }))
  const first = await isFound()
  library = stage.reopen(library)
  t.is(await isFound(), first, 'an index that was made meanwhile stays')
  t.false(await run(library, library.jobs.get(job), { commits: 2 }))
  t.true((await isFound()) > first)
  t.true(await run(library, library.jobs.get(job)))
  t.is(await isFound(), 8)
  t.is(integrity(library), 'ok')

  const other = stage.open(stage.create('Other'))
  const added = other.addLocation(stage.tree, undefined)
  t.false(await run(other, other.jobs.get(added.job), { commits: 3 }))
  library = stage.reopen(other)
  t.is((await library.search({ query: 'deeper' })).total, first, 'one that was not is made by the first search')
})

test.serial('a rescan interrupted after each number of commits ends with the same index, ids and counts', async (t) => {
  restore = batchesOf(9)
  let ended = false
  for (let commits = 1; !ended; commits++) {
    using stage = new Stage()
    plant(stage)
    let library = stage.open(stage.create())
    const { location, job } = library.addLocation(stage.tree, undefined)
    await run(library, library.jobs.get(job))
    const before = indexed(library, location.uid)
    disturb(stage)
    const { id } = library.write(() => library.jobs.enqueue('index', location.uid, null))
    ended = await run(library, library.jobs.get(id), { commits })
    library = stage.reopen(library)
    if (!ended) t.true(await run(library, library.jobs.get(id)))
    t.deepEqual(differences(library, location.uid, stage.tree), [], `after ${commits}`)
    const after = indexed(library, location.uid)
    t.is(after.get('d6/moved/f2')?.id, before.get('d1/deep/f2')!.id, `after ${commits}`)
    t.is(after.get('d0/n7')?.id, before.get('large/n7')!.id, `after ${commits}`)
    t.is(integrity(library), 'ok')
    if (commits > 60) return t.fail('it does not end')
  }
})

test.serial(
  'the files of a library as a crash leaves them, at any commit, are whole and go on to the same end',
  async (t) => {
    restore = batchesOf(9)
    using stage = new Stage()
    plant(stage)
    const made = stage.create()
    const library = stage.open(made)
    const { location, job } = library.addLocation(stage.tree, undefined)
    const copies: string[] = []
    const meanwhile = () => {
      const copy = join(stage.path, `crash ${copies.length}.sdlibrary`)
      // Database and -wal as they are at this moment, the index of the -wal not: that is memory, gone with its process.
      cpSync(made.path, copy, { recursive: true, filter: (path) => !path.endsWith('-shm') && !path.endsWith('/lock') })
      copies.push(copy)
    }
    await run(library, library.jobs.get(job), { meanwhile })
    t.true(copies.length > 5)
    for (const path of copies) {
      const copy = stage.open({ id: made.id, path })
      t.is(integrity(copy), 'ok')
      t.deepEqual(totalsOf(copy), [])
      const row = copy.jobs.get(job)
      if (row.state !== 'done') t.true(await run(copy, row))
      t.deepEqual(differences(copy, location.uid, stage.tree), [])
      stage.close(copy)
    }
  },
)

test.serial('a walk stopped while it waits for its next batch is not taken for one that is through', async (t) => {
  restore = batchesOf(9)
  using stage = new Stage()
  plant(stage)
  const library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, undefined)
  const abort = new AbortController()
  await indexLocation({
    library,
    job: library.jobs.get(job),
    // As the one over threads does: nothing has arrived yet, and then it is told to stop.
    walk: async function* (_, signal) {
      setTimeout(() => abort.abort(), 5)
      await once(signal, 'abort')
    },
    leftOut: [],
    signal: abort.signal,
    balance: new Balance(stage.ledger, job),
    committed: () => {},
    identify: identifyHere,
    progressed: () => {},
    breathe: () => Promise.resolve(),
  })
  t.true(await run(library, library.jobs.get(job)))
  t.deepEqual(differences(library, location.uid, stage.tree), [])
})

test.serial('a tree that changes while it is first read is made right by the next scan', async (t) => {
  restore = batchesOf(5)
  using stage = new Stage()
  plant(stage)
  const library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, undefined)
  let at = 0
  const meanwhile = () => {
    at += 1
    writeFileSync(join(stage.tree, `d${at % 8}`, `late ${at}`), '')
    if (at === 3) renameSync(join(stage.tree, 'd7'), join(stage.tree, 'd0', 'earlier'))
    if (at === 4) rmSync(join(stage.tree, 'large', 'n3'))
    if (at % 8 === 6) at += 1
  }
  await run(library, library.jobs.get(job), { meanwhile })
  const again = library.write(() => library.jobs.enqueue('index', location.uid, null))
  await run(library, again)
  t.deepEqual(differences(library, location.uid, stage.tree), [])
})

test.serial('two locations of one library that are scanned at the same time are both whole', async (t) => {
  restore = batchesOf(9)
  using stage = new Stage()
  plant(stage)
  const other = join(stage.path, 'other')
  cpSync(stage.tree, other, { recursive: true })
  const library = stage.open(stage.create())
  const both = [stage.tree, other].map((path) => ({ path, ...library.addLocation(path, undefined) }))
  await Promise.all(both.map(({ job }) => run(library, library.jobs.get(job))))
  for (const { path, location } of both) t.deepEqual(missing(library, location.uid, path), [])
  // A third comes while one is being read again, and gets numbers of its own as well.
  const third = join(stage.path, 'third')
  cpSync(stage.tree, third, { recursive: true })
  for (let at = 0; at < 30; at++) writeFileSync(join(other, 'large', `later${at}`), '')
  await Promise.all([rescan(library, both[1]!.location.uid), index(library, third)])
  t.deepEqual(missing(library, both[1]!.location.uid, other), [])
  t.deepEqual(missing(library, library.locations.all()[2]!.uid, third), [])
})

/** The counts that `differences` compares as well are those of the whole library, here of several trees. */
function missing(library: Library, location: string, tree: string): string[] {
  return differences(library, location, tree).filter((each) => !each.startsWith('count of '))
}
