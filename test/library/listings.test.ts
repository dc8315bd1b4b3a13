// A directory of more children than are put in order in one turn: the same order, page by page, whatever else is done meanwhile.
import { mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { Library } from '../../src/library/library.js'
import { PARAMS } from '../../src/protocol/operations.js'
import { index, rescan, Stage } from './stage.js'

const limits = LIMITS as { listAtOnceMax: number; listingKeptMs: number; searchSliceMs: number }
const before = { ...LIMITS }
test.beforeEach(() => Object.assign(limits, before))

const COUNT = 3_000
const SORTS = ['name', 'size', 'modified'] as const
type Sort = (typeof SORTS)[number]

/** Of children some are called alike but for their case, are of one size, or of one time. */
function plant(stage: Stage): void {
  for (let at = 0; at < COUNT; at++) {
    const name = `${at % 3 === 0 ? 'Ä' : at % 3 === 1 ? 'a' : 'Á'}${(at * 7_919) % 1_009} ${at}`
    writeFileSync(join(stage.tree, name), 'x'.repeat(at % 40))
    utimesSync(join(stage.tree, name), at % 100, at % 100)
  }
  mkdirSync(join(stage.tree, 'a directory'))
  writeFileSync(join(stage.tree, 'a directory', 'child'), 'x'.repeat(20))
}

/** Indexed, with a directory of so many that it is put in order apart. */
async function planted(stage: Stage) {
  plant(stage)
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  limits.listAtOnceMax = 10
  return { library, uid }
}

async function pages(library: Library, path: string, sort: Sort, between = async (_page: number) => {}) {
  const names: string[] = []
  let cursor: string | undefined
  for (let page = 0; ; page++) {
    const told = await library.list({ path, sort, limit: 700, cursor })
    names.push(...told.items.map(({ name }) => name))
    cursor = told.cursor
    if (cursor === undefined) return names
    await between(page)
  }
}

test.serial('it is in the order in which fewer would be, with and without a connection of its own', async (t) => {
  using stage = new Stage()
  const { library } = await planted(stage)
  for (const sort of SORTS) {
    limits.listAtOnceMax = COUNT + 1
    const at = library.list({ path: stage.tree, sort })
    t.false(at instanceof Promise)
    const truth = await pages(library, stage.tree, sort)
    t.is(new Set(truth).size, COUNT + 1)
    limits.listAtOnceMax = 10
    // What was kept of the others is for these entries only.
    library.write(() => {})
    limits.searchSliceMs = 0
    const asked = library.list({ path: stage.tree, sort })
    t.true(asked instanceof Promise)
    let turns = 0
    void Promise.resolve(asked).finally(() => (turns = -turns))
    while (turns >= 0 && turns < 10_000) {
      turns += 1
      await nextTurn()
    }
    t.true(turns < -5, `others had ${-turns} turns`)
    t.deepEqual(await pages(library, stage.tree, sort), truth)
    library.write(() => {})
    library.shrink(0)
    const all = []
    for (let lease; (lease = stage.ledger.tryAcquire('libraries', 1, { holder: 'a test' }));) all.push(lease)
    t.deepEqual(await pages(library, stage.tree, sort), truth)
    t.is(library.connections, 1)
    for (const lease of all) lease.release()
  }
})

test.serial('however many wait for one order, others have their turns between their pages', async (t) => {
  using stage = new Stage()
  const { library } = await planted(stage)
  limits.searchSliceMs = 0
  let turn = 0
  const turns: number[] = []
  const ask = async () => {
    await library.list({ path: stage.tree, limit: 10 })
    turns.push(turn)
  }
  let over = false
  const all = Promise.all(Array.from({ length: 50 }, ask)).finally(() => (over = true))
  for (; !over; turn += 1) await nextTurn()
  await all
  t.is(turns.length, 50)
  t.true(new Set(turns).size > 25, `they were answered in ${new Set(turns).size} turns`)
})

test.serial('who goes through it finds none twice and none left out, while entries come, go and change', async (t) => {
  using stage = new Stage()
  const { library, uid } = await planted(stage)
  const truth = await pages(library, stage.tree, 'size')
  const [gone, moved, grown] = [truth[1_500]!, truth[2_200]!, truth[2_900]!]
  const told = await pages(library, stage.tree, 'size', async (page) => {
    if (page === 0) {
      rmSync(join(stage.tree, gone))
      renameSync(join(stage.tree, moved), join(stage.tree, 'a directory', moved))
      writeFileSync(join(stage.tree, grown), 'x'.repeat(10_000))
      await rescan(library, uid)
    }
    writeFileSync(join(stage.tree, 'a directory', `new ${page}`), '')
    await rescan(library, uid)
  })
  t.deepEqual(
    told,
    truth.filter((name) => name !== gone && name !== moved),
  )
  t.is((await pages(library, stage.tree, 'size'))[0], grown, 'who begins anew has what is there now')
  // What is kept for too long is forgotten: a page goes on behind its place in the order of now.
  const first = await library.list({ path: stage.tree, limit: 700 })
  limits.listingKeptMs = 0
  library.write(() => {})
  const second = await library.list({ path: stage.tree, limit: 700, cursor: first.cursor })
  t.deepEqual(
    [...first.items, ...second.items].map(({ name }) => name),
    (await pages(library, stage.tree, 'name')).slice(0, 1_400),
  )
})

test.serial('many that ask at a time have it put in order once', async (t) => {
  using stage = new Stage()
  const { library } = await planted(stage)
  let orders = 0
  const { entries } = library
  const order = entries.order.bind(entries)
  entries.order = (...asked) => {
    orders += 1
    return order(...asked)
  }
  const all = await Promise.all(Array.from({ length: 20 }, () => library.list({ path: stage.tree, limit: 10 })))
  t.is(orders, 1)
  for (const each of all) t.deepEqual(each, all[0])
  await t.throwsAsync(async () => library.list({ path: join(stage.tree, 'nothing') }), { code: 'FILE_NOT_FOUND' })
})

test.serial('what is no directory has no listing, and is not taken for an empty one', async (t) => {
  using stage = new Stage()
  plant(stage)
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  const path = join(stage.tree, 'a directory', 'child')
  const { id } = library.file({ path })
  for (const asked of [{ path }, { parent: id }])
    await t.throwsAsync(async () => library.list(asked), { code: 'FILE_NOT_FOUND', message: /is no directory$/ })
})

test.serial('tags leave orders as they are, and what was found for words; changed entries do not', async (t) => {
  using stage = new Stage()
  const { library, uid } = await planted(stage)
  const asked = { path: stage.tree, sort: 'size', limit: 5 } as const
  const first = await library.list(asked)
  const { total } = await library.search({ query: 'child' })
  const tag = library.note(() => library.tags.create({ name: 'seen' }))
  t.is((await library.search({ query: 'child tag:seen', syntax: 'filters' })).total, 0)
  library.tag(tag, { paths: [join(stage.tree, 'a directory', 'child')] }, true)
  const again = library.list(asked)
  if (again instanceof Promise) return t.fail('it was put in order anew')
  t.deepEqual(again, first)
  t.is(
    (await library.search({ query: 'child tag:seen', syntax: 'filters' })).total,
    1,
    'what was found for a tag holds no longer',
  )
  writeFileSync(join(stage.tree, first.items[4]!.name), 'x'.repeat(10_000))
  writeFileSync(join(stage.tree, 'another child'), '')
  await rescan(library, uid)
  const changed = library.list(asked)
  t.true(changed instanceof Promise)
  t.is((await changed).items[0]!.id, first.items[4]!.id)
  t.is((await library.search({ query: 'child' })).total, total + 1)
})

test.serial(
  'a cursor is of its list alone, and one that is given is always taken, whatever the last name is',
  async (t) => {
    using stage = new Stage()
    mkdirSync(join(stage.tree, 'd'))
    const longest = [1, 0xe4, 0xc4].map((byte) => Buffer.alloc(255, byte))
    for (const directory of [stage.tree, join(stage.tree, 'd')]) {
      for (const name of ['a', 'B', 'z']) writeFileSync(join(directory, name), name)
      for (const name of longest) writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), name]), '')
    }
    const library = stage.open(stage.create())
    await index(library, stage.tree)
    for (const listAtOnceMax of [100, 2]) {
      limits.listAtOnceMax = listAtOnceMax
      library.write(() => {})
      for (const sort of SORTS) {
        const ids = new Set<string>()
        let cursor: string | undefined
        do {
          const page = await library.list({ path: stage.tree, sort, limit: 1, cursor })
          ids.add(page.items[0]!.id)
          cursor = page.cursor
          if (cursor === undefined) break
          const parsed = PARAMS['files.list'].safeParse({ library: 'x', path: stage.tree, cursor })
          t.true(parsed.success, `${sort} ${cursor.length}`)
          for (const other of SORTS.filter((each) => each !== sort))
            t.throws(() => library.list({ path: stage.tree, sort: other, cursor }), { code: 'BAD_REQUEST' })
          t.throws(() => library.list({ path: join(stage.tree, 'd'), sort, cursor }), { code: 'BAD_REQUEST' })
        } while (ids.size < 20)
        t.is(ids.size, 7)
      }
    }
  },
)
