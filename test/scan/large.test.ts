// Directories of very many children: the same order whoever sorts them, the same rules, and parts that may go to another thread.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { hasChild, partsOf, sortPlain } from '../../src/scan/large.js'
import { decodeNames, encodeName } from '../../src/scan/names.js'
import { readDirectoryPlain } from '../../src/scan/read.js'
import { gathererOf } from '../../src/shard/walker.js'
import { walk, type Batch, type WalkOptions } from '../../src/scan/walk.js'
import { directory, file, readerOf, runsOf, type Node } from './tree.js'

const native = loadNative()
const BATCH = LIMITS.batchEntriesMax
const ROOT = Buffer.from('/root')

test.afterEach.always(() => batchesOf(BATCH))

function batchesOf(entries: number): void {
  ;(LIMITS as { batchEntriesMax: number }).batchEntriesMax = entries
}

function batches(tree: Node, options: Partial<WalkOptions> = {}): Batch[] {
  const sortNames = native?.sortNames
  return [...walk({ root: ROOT, leftOut: [], read: readerOf(tree), sortNames, ...options })]
}

/** Whole characters of each length, some that are no text, and pieces of them: alone and in any order. */
const bytes = fc.constantFrom(
  ...['61', '62', '2e', 'c3a9', 'e282ac', 'ee8080', 'efbfbd', 'ed9fbf', 'f09f9880', 'f48fbfbf'],
  ...['80', 'ff', 'eda080', 'c080', 'f09f', 'e282', 'e08080', 'f5808080', 'f4908080'],
)
const anyNames = fc
  .array(fc.array(bytes, { minLength: 1, maxLength: 4 }), { maxLength: 40 })
  .map((names) => Buffer.from(names.map((name) => `${name.join('')}00`).join(''), 'hex'))

const sorting = native ? test : test.skip

sorting('the addon sorts names as they are compared as strings, bytes that are no text included', (t) => {
  fc.assert(
    fc.property(anyNames, (names) => {
      t.deepEqual(native!.sortNames(names), sortPlain(names))
    }),
    { numRuns: 500 },
  )
  t.throws(() => native!.sortNames(Buffer.from('no end')), { code: 'EINVAL' })
})

test.serial('parts are in the order of their names, and bring what was read of each', (t) => {
  batchesOf(7)
  fc.assert(
    fc.property(anyNames, (names) => {
      const all = decodeNames(names)
      const listing = {
        names,
        kinds: new Uint8Array(all.length),
        sizes: Float64Array.from(all.keys()),
        mtimes: Float64Array.from(all.keys(), (at) => at * 2),
        inodes: BigUint64Array.from(all.keys(), (at) => BigInt(at * 3)),
      }
      const parts = [...partsOf(listing)]
      const told = parts.flatMap(({ names: some }) => some)
      t.deepEqual(
        told,
        [...all].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
      )
      for (const { listing: part, names: some } of parts)
        for (const [at, name] of some.entries()) {
          const place = part.sizes[at]!
          t.is(all[place], name)
          t.deepEqual([part.mtimes[at], part.inodes[at]], [place * 2, BigInt(place * 3)])
        }
    }),
    { numRuns: 100 },
  )
})

test('a child is found by its name, whole', (t) => {
  const names = (...some: string[]) => ({ names: Buffer.concat(some.map((name) => encodeName(`${name}\0`))) })
  t.true(hasChild(names('.git', 'a'), '.git'))
  t.true(hasChild(names('a', '.git'), '.git'))
  t.false(hasChild(names('.gitignore', 'x.git', '.gi'), '.git'))
  t.false(hasChild(names(), '.git'))
})

test.serial('what is left out of a large directory is told with its last part, all of it', (t) => {
  const children = new Map<string, Node>([['.gitignore', file()]])
  for (let at = 0; at < 40; at++)
    children.set(`${at % 3 === 0 ? '.' : ''}n${at}`, at % 5 === 0 ? directory({ x: file() }) : file())
  const tree = directory({ many: directory(children) })
  const rules = { noHidden: true, ignore: ['n7'] }
  const told = (entries: number) => {
    batchesOf(entries)
    const runs = batches(tree, { rules }).flatMap((batch) => runsOf(batch, decodeNames))
    const of = runs.filter(({ run }) => run.directory === 'many')
    t.deepEqual(
      of.map(({ run }) => [run.last, run.leftOut !== undefined]),
      of.map((_, at) => [at === of.length - 1, at === of.length - 1]),
    )
    const { names, counts } = of.at(-1)!.run.leftOut!
    return {
      kept: of.flatMap((each) => each.names).sort(),
      names: [...names].sort(),
      counts,
      all: runs.flatMap((each) => each.names).sort(),
    }
  }
  t.deepEqual(told(4), told(1_000))
})

test.serial('what a repository ignores is left out of a large directory of it', (t) => {
  batchesOf(4)
  const root = mkdtempSync(join(tmpdir(), 'sd-large-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  mkdirSync(join(root, '.git'))
  writeFileSync(join(root, '.gitignore'), 'n1*')
  for (let at = 0; at < 20; at++) writeFileSync(join(root, `n${at}`), '')
  const options = { root: Buffer.from(root), leftOut: [], read: readDirectoryPlain, rules: { gitignore: true } }
  const found = [...walk(options)].flatMap((batch) => runsOf(batch, decodeNames))
  const named = found.flatMap(({ names }) => names)
  t.is(named.filter((name) => name.startsWith('n')).length, 9)
  t.is(found.find(({ run }) => run.leftOut)?.run.leftOut?.counts.gitignore, 11)
})

test.serial('every part may be transferred to another thread, also one of a few children', (t) => {
  batchesOf(10)
  const root = mkdtempSync(join(tmpdir(), 'sd-large-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  for (let at = 0; at < 23; at++) writeFileSync(join(root, `n${at}`), '')
  const gatherer = native ? gathererOf(new native.Descent()) : undefined
  for (const after of [undefined, { directory: '', name: 'n7' }])
    for (const batch of walk({ root: Buffer.from(root), leftOut: [], read: readDirectoryPlain, gatherer, after })) {
      const { names, kinds, sizes, mtimes, inodes } = batch
      const buffers = new Set([names, kinds, sizes, mtimes, inodes].map((each) => each.buffer as ArrayBuffer))
      const before = names.length
      const sent = structuredClone({ names, kinds, sizes, mtimes, inodes }, { transfer: [...buffers] })
      t.deepEqual([sent.names.length, names.length], [before, 0])
    }
})
