// Show 1 by a model: after any changes of a real tree the index is as the disk, and what moved has kept its id and its tags; by
// rescans alone, and by what a watcher tells alone.
import assert from 'node:assert'
import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { Model, step, type Step } from '../harness/model.js'
import { addon, pursue } from '../harness/pursuit.js'
import { batchesOf, differences, index, indexed, integrity, rescan, Stage, totalsOf } from './stage.js'

if (!addon) console.log('not run: watching by inotify, because there is no inotify or no native addon')
const watching = addon ? test.serial : test.serial.skip

/** The same at every run; more of them, and others, where somebody looks for what is wrong: MODEL_RUNS, MODEL_SEED. */
const HOW = { numRuns: Number(process.env.MODEL_RUNS ?? 15), seed: Number(process.env.MODEL_SEED ?? 28) }

function roundsOf<T>(each: fc.Arbitrary<T>): fc.Arbitrary<T[][]> {
  return fc.array(fc.array(each, { minLength: 1, maxLength: 10 }), { minLength: 1, maxLength: 6 })
}

const BEGIN: readonly Step[] = [
  { what: 'nest', a: 0, b: 0, name: 'a' },
  { what: 'nest', a: 0, b: 1, name: 'b' },
  { what: 'nest', a: 0, b: 0, name: 'c' },
  { what: 'create', a: 0, b: 0, name: 'caf\udce9' },
]

function begun(root: string): Model {
  const model = new Model(root)
  for (const each of BEGIN) model.change(each)
  return model
}

/** The steps of a disk's clock, and no more: what was made before a scan by so much is proven by its birth. */
const BORN_BEFORE_MS = 10
Object.assign(LIMITS, { bornBeforeMs: BORN_BEFORE_MS })

async function byRescan(given: readonly (readonly Step[])[]): Promise<void> {
  using stage = new Stage()
  const model = begun(stage.tree)
  const library = stage.open(stage.create())
  await sleep(2 * BORN_BEFORE_MS)
  const location = await index(library, stage.tree)
  for (const [at, round] of given.entries()) {
    model.tag(library, location)
    model.look(library, location)
    for (const each of round) model.change(each)
    await sleep(2 * BORN_BEFORE_MS)
    await rescan(library, location)
    assert.deepEqual(differences(library, location, stage.tree), [], `round ${at}`)
    assert.deepEqual(model.judge(library, location, true, true), [], `round ${at}`)
  }
  assert.equal(integrity(library), 'ok')
  assert.deepEqual(totalsOf(library), [])
}

test.serial('by rescan alone', async (t) => {
  const restore = batchesOf(7)
  try {
    await fc.assert(fc.asyncProperty(roundsOf(step), byRescan), HOW)
    t.pass()
  } finally {
    restore()
  }
})

test.serial('by rescan alone, every directory of some children compared in slices', async (t) => {
  const restore = batchesOf(2, 2)
  try {
    await fc.assert(fc.asyncProperty(roundsOf(step), byRescan), {
      ...HOW,
      numRuns: Number(process.env.MODEL_RUNS ?? 4),
    })
    t.pass()
  } finally {
    restore()
  }
})

/** Whether something is told to the index after a change, and how much of what is to be told. */
interface Told extends Step {
  readonly steps: number
}

const told: fc.Arbitrary<Told> = fc
  .tuple(step, fc.constantFrom(0, 0, 0, 0, 1, 2))
  .map(([each, steps]) => ({ ...each, steps }))

async function byWatcher(given: readonly (readonly Told[])[], byNode = false): Promise<void> {
  await pursue(
    async (pursuit) => {
      const { library, location, stage } = pursuit
      const model = begun(stage.tree)
      await pursuit.catchUp()
      for (const [at, round] of given.entries()) {
        model.tag(library, location)
        model.look(library, location)
        let inOnePiece = true
        for (const each of round) {
          model.change(each)
          for (let steps = 0; steps < each.steps; steps++) {
            inOnePiece = false
            await pursuit.step()
          }
        }
        await pursuit.catchUp()
        assert.deepEqual(pursuit.differences(), [], `round ${at}`)
        assert.deepEqual(model.judge(library, location, inOnePiece), [], `round ${at}`)
      }
      assert.equal(pursuit.scans, 0, 'nothing was scanned')
      assert.deepEqual(totalsOf(library), [])
    },
    { isEmpty: true, byNode },
  )
}

watching('by a watcher alone', async (t) => {
  await fc.assert(
    fc.asyncProperty(roundsOf(told), (given) => byWatcher(given)),
    HOW,
  )
  t.pass()
})

const watchingByNode = process.platform === 'linux' ? test.serial : test.serial.skip

watchingByNode('by fs.watch alone, where there is no addon', async (t) => {
  await fc.assert(
    fc.asyncProperty(roundsOf(told), (given) => byWatcher(given, true)),
    { ...HOW, numRuns: Number(process.env.MODEL_RUNS ?? 5) },
  )
  t.pass()
})

// What the model found; each of them was wrong once.

test.serial(
  'a new directory with the inode of one that is gone is another one, and so is what lies in it',
  async (t) => {
    await byRescan([
      [change('delete', 0, 0), change('mkdir', 0, 0, 'a')],
      [change('over', 0, 39)],
      [change('nest', 0, 450, 'a')],
      [change('become', 1, 0), change('nest', 0, 1, 'a')],
    ])
    t.pass()
  },
)

test.serial(
  'what has gone from its place to another keeps its id, though something of another kind took it',
  async (t) => {
    await byRescan([[change('swap', 53, 462), change('create', 0, 0, 'a')]])
    using stage = new Stage()
    const at = (path: string) => join(stage.tree, path)
    mkdirSync(at('data/deep'), { recursive: true })
    writeFileSync(at('data/deep/file'), 'text')
    const library = stage.open(stage.create())
    const uid = await index(library, stage.tree)
    const before = indexed(library, uid)
    renameSync(at('data'), at('moved'))
    symlinkSync('moved', at('data'))
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    for (const path of ['', '/deep', '/deep/file'])
      t.is(indexed(library, uid).get(`moved${path}`)?.id, before.get(`data${path}`)!.id, path)
  },
)

test.serial(
  'of what is displaced a scan that was given up leaves nothing behind, and its tags wait at its path',
  async (t) => {
    using stage = new Stage()
    const at = (path: string) => join(stage.tree, path)
    mkdirSync(at('a/deep'), { recursive: true })
    mkdirSync(at('b'))
    const library = stage.open(stage.create())
    const uid = await index(library, stage.tree)
    const tag = library.write(() => library.tags.create({ name: 'kept' }))
    library.write(() => library.tagged.add([library.entries.at(at('a/deep'))!.id], tag.id))
    rmSync(at('a'), { recursive: true })
    writeFileSync(at('a'), 'text')
    const gone = ['a', 'a/deep'].map((path) => library.entries.at(at(path))!.id)
    const given = await rescan(library, uid, { commits: 1 })
    const found = async (params: object) => {
      const { total, items: page } = await library.search({ query: '', ...params } as never)
      return [total, ...page.map(({ path }) => path.slice(stage.tree.length)).sort()]
    }
    t.deepEqual(
      await found({ filters: { kind: 'directory' } }),
      [2, '', '/b'],
      'neither it nor what lies in it has a path',
    )
    t.deepEqual(await found({ filters: { kind: 'directory' }, sort: 'size' }), [2, '', '/b'])
    t.deepEqual(await found({ query: 'deep' }), [0])
    for (const id of gone) t.throws(() => library.entries.get({ id: String(id) }), { code: 'FILE_NOT_FOUND' })
    library.jobs.setState(given.id, 'cancelled')
    const { items } = library.entries.list({ path: stage.tree }, 'name', 10, undefined, library.entriesVersion)!
    t.deepEqual(
      items.map(({ name, kind }) => `${name} ${kind}`),
      ['a file', 'b directory'],
    )
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    rmSync(at('a'))
    mkdirSync(at('a/deep'), { recursive: true })
    await rescan(library, uid)
    t.deepEqual(library.tagged.of(library.entries.at(at('a/deep'))!), [tag.id])
  },
)

watching('a directory that is moved aside and made anew takes what lay in it along', async (t) => {
  await byWatcher([[{ ...change('rotate', 0, 0, 'aside of a'), steps: 0 }]])
  t.pass()
})

test.serial(
  'a directory that was unpacked with an old time is the same one after a move, though all in it was written',
  async (t) => {
    using stage = new Stage()
    const at = (path: string) => join(stage.tree, path)
    mkdirSync(at('old/deep'), { recursive: true })
    utimesSync(at('old'), 1, 1_000_000)
    const library = stage.open(stage.create())
    const uid = await index(library, stage.tree)
    const before = indexed(library, uid)
    renameSync(at('old'), at('new'))
    writeFileSync(at('new/deep/file'), 'text')
    writeFileSync(at('new/file'), 'text')
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    for (const path of ['', '/deep']) t.is(indexed(library, uid).get(`new${path}`)?.id, before.get(`old${path}`)!.id)
  },
)

function change(what: Step['what'], a: number, b: number, name = 'a'): Step {
  return { what, a, b, name }
}
