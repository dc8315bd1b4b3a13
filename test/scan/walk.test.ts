// The walk: one fixed order, so that it can go on after any place it reached, and failures that stay what they are.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { decodeNames } from '../../src/scan/names.js'
import { FOREIGN, readDirectoryPlain, type ReadDirectory } from '../../src/scan/read.js'
import { runsIn, walk, type Batch, type Place, type WalkOptions } from '../../src/scan/walk.js'
import { asOrdinaryUser } from './ordinary.js'
import { directory, failure, file, pathsOf, readerOf, runsOf, type Node } from './tree.js'

const BATCH = LIMITS.batchEntriesMax
const ROOT = Buffer.from('/root')

test.afterEach(() => batchesOf(BATCH))

/** Small batches make every boundary reachable by small trees. */
function batchesOf(entries: number): void {
  ;(LIMITS as { batchEntriesMax: number }).batchEntriesMax = entries
}

function batches(read: ReadDirectory, options: Partial<WalkOptions> = {}): Batch[] {
  return [...walk({ root: ROOT, leftOut: [], read, ...options })]
}

function paths(found: readonly Batch[]): string[] {
  return found.flatMap((batch) =>
    runsOf(batch, decodeNames).flatMap(({ run, names }) =>
      names.map((name) => (run.directory === '' ? name : `${run.directory}/${name}`)),
    ),
  )
}

/** Where an index that stored this batch stands: as library/apply writes it down. */
function placesIn(batch: Batch): Place[] {
  return runsOf(batch, decodeNames)
    .filter(({ run }) => !run.error)
    .map(({ run, names }) =>
      run.last ? { directory: run.directory } : { directory: run.directory, name: names.at(-1)! },
    )
}

const names = fc.uniqueArray(
  fc.oneof(
    fc.constantFrom('a', 'b', 'B', 'a.b', 'a-', 'a b', 'é', '💀', '\udc80x'),
    fc.stringMatching(/^[a-z!-]{1,3}$/),
  ),
  { maxLength: 9 },
)

function trees(depth: number): fc.Arbitrary<Node> {
  return names.chain((each) =>
    fc
      .tuple(...each.map(() => (depth === 0 ? fc.constant(null) : fc.option(trees(depth - 1), { freq: 2 }))))
      .map((below) => directory(new Map(each.map((name, at) => [name, below[at] ?? file()])))),
  )
}

test.serial('a walk finds every path once, whatever the size of its batches', (t) => {
  fc.assert(
    fc.property(trees(3), fc.integer({ min: 1, max: 12 }), (tree, size) => {
      batchesOf(size)
      t.deepEqual(paths(batches(readerOf(tree))).sort(), pathsOf(tree).sort())
    }),
    { numRuns: 200 },
  )
})

test.serial('a walk that goes on after any place it reached yields exactly the rest, in the same order', (t) => {
  fc.assert(
    fc.property(trees(2), fc.integer({ min: 1, max: 7 }), (tree, size) => {
      batchesOf(size)
      const whole = batches(readerOf(tree))
      const listed = whole.flatMap((batch) => runsOf(batch, decodeNames))
      const places = whole.flatMap(placesIn)
      places.forEach((after, at) => {
        const rest = batches(readerOf(tree), { after }).flatMap((batch) => runsOf(batch, decodeNames))
        const { directory: stopped } = after
        // The rest of a directory that was cut is the same whether it is told in one run or in several.
        const told = (runs: typeof listed) =>
          runs.flatMap(({ run, names }) => names.map((name) => `${run.directory}/${name}`))
        const inside = told(rest).filter((path) => path.slice(0, path.lastIndexOf('/')) === stopped)
        t.deepEqual(told(rest), told(listed.slice(at + 1)), JSON.stringify(after))
        if (after.name === undefined) t.deepEqual(inside, [])
      })
    }),
    { numRuns: 150 },
  )
})

test.serial('a directory comes before what it contains, and siblings by name', (t) => {
  const tree = directory({
    z: directory({ b: file() }),
    'a-': directory({ c: file() }),
    a: directory({ q: directory({ deep: file() }), d: file() }),
    file: file(),
  })
  const order = batches(readerOf(tree)).flatMap((batch) => runsIn(batch).map((run) => run.directory))
  t.deepEqual(order, ['', 'a', 'a/q', 'a-', 'z'])
})

test.serial('a directory larger than a batch comes in slices by name, of which only the last says so', (t) => {
  batchesOf(10)
  const many = Array.from({ length: 35 }, (_, at) => `n${String((at * 17) % 35).padStart(2, '0')}`)
  const tree = directory({
    big: directory(new Map(many.map((name) => [name, file()]))),
    small: directory({ x: file() }),
  })
  const slices = batches(readerOf(tree))
    .flatMap((batch) => runsOf(batch, decodeNames))
    .filter(({ run }) => run.directory === 'big')
  t.deepEqual(
    slices.map(({ run }) => [run.count, run.last]),
    [
      [10, false],
      [10, false],
      [10, false],
      [5, true],
    ],
  )
  t.deepEqual(
    slices.flatMap((slice) => slice.names),
    [...many].sort(),
  )
})

test.serial('batches keep to their bound, and even empty directories fill them', (t) => {
  batchesOf(20)
  const tree = directory(new Map(Array.from({ length: 90 }, (_, at) => [`d${at}`, directory()])))
  const all = batches(readerOf(tree))
  t.true(all.length > 4)
  for (const { runs } of all) t.true(runs.length <= 20)
})

test.serial('the share that is done only grows, and never past one', (t) => {
  fc.assert(
    fc.property(trees(3), (tree) => {
      batchesOf(3)
      const fractions = batches(readerOf(tree)).map(({ fraction }) => fraction)
      t.deepEqual(
        [...fractions].sort((a, b) => a - b),
        fractions,
      )
      for (const each of fractions) t.true(each >= 0 && each <= 1)
    }),
    { numRuns: 100 },
  )
})

test.serial('what is left out is neither listed nor entered, at the root and deeper, also when a walk goes on', (t) => {
  const own = () => directory({ secret: file() })
  const tree = directory({ data: own(), home: directory({ data: own(), docs: directory({ x: file() }) }), top: file() })
  const leftOut = ['/root/data', '/root/home/data', '/elsewhere/docs']
  t.deepEqual(paths(batches(readerOf(tree), { leftOut })).sort(), ['home', 'home/docs', 'home/docs/x', 'top'])
  const rest = batches(readerOf(tree), { leftOut, after: { directory: 'home' } })
  t.deepEqual(paths(rest), ['home/docs/x'])
})

test.serial('an unreadable directory is told once, with its reason, and its siblings are walked', (t) => {
  const tree = directory({
    a: directory({ x: file() }),
    closed: { ...directory({ y: file() }), error: 'EACCES' },
    z: directory({ w: file() }),
  })
  const all = batches(readerOf(tree))
  t.deepEqual(paths(all).sort(), ['a', 'a/x', 'closed', 'z', 'z/w'])
  const failed = all.flatMap((batch) => runsIn(batch).filter((run) => run.error))
  t.deepEqual(
    failed.map(({ directory, count, last, error }) => [directory, count, last, error!.code]),
    [['closed', 0, true, 'EACCES']],
  )
})

for (const code of ['EMFILE', 'ENFILE']) {
  test.serial(
    `${code} is nobody's property of a directory: the walk fails as a whole, and goes on from its last place`,
    (t) => {
      const tree = directory({ a: directory({ x: file() }), b: directory({ y: file() }) })
      const read = readerOf(tree)
      let failing = true
      const short: ReadDirectory = (path) => {
        if (failing && path.toString().endsWith('/b')) throw failure(code)
        return read(path)
      }
      t.throws(() => batches(short), { code })
      failing = false
      t.deepEqual(paths(batches(short, { after: { directory: 'a' } })), ['b/y'])
    },
  )
}

test.serial('a directory on another device is listed and not entered', (t) => {
  const tree = directory({ here: directory({ x: file() }), mount: directory({ y: file() }) })
  const read = readerOf(tree)
  const mounted: ReadDirectory = (path) => {
    const listing = read(path)
    if (path.equals(ROOT)) listing.kinds[1]! |= FOREIGN
    return listing
  }
  t.deepEqual(paths(batches(mounted)).sort(), ['here', 'here/x', 'mount'])
})

test.serial('a walk goes on where the place it stopped at has vanished, and where all before it has', (t) => {
  const whole = directory({ a: directory({ x: file() }), b: directory({ y: file() }), c: directory({ z: file() }) })
  const left = directory({ c: whole.children!.get('c')! })
  t.deepEqual(paths(batches(readerOf(whole), { after: { directory: 'b' } })), ['c/z'])
  t.deepEqual(paths(batches(readerOf(left), { after: { directory: 'b' } })), ['c/z'])
  t.deepEqual(paths(batches(readerOf(left), { after: { directory: 'a/deep/er' } })), ['c/z'])
  t.deepEqual(paths(batches(readerOf(directory()), { after: { directory: 'b' } })), [])
})

const readers: [string, ReadDirectory][] = [['plain', readDirectoryPlain]]
const native = loadNative()
if (native) readers.push(['native', native.readDirectory])

for (const [label, read] of readers) {
  test.serial(
    `on a disk the ${label} reader walks through loops of symlinks, long names and names that are no UTF-8`,
    (t) => {
      using dir = scratch()
      mkdirSync(join(dir.path, 'a', 'b'), { recursive: true })
      symlinkSync('..', join(dir.path, 'a', 'b', 'up'))
      symlinkSync('self', join(dir.path, 'self'))
      writeFileSync(join(dir.path, 'n'.repeat(255)), '')
      const broken = Buffer.concat([Buffer.from(`${dir.path}/`), Buffer.of(0xff, 0xfe)])
      mkdirSync(broken)
      writeFileSync(Buffer.concat([broken, Buffer.from('/inside')]), '')
      const found = paths(batches(read, { root: Buffer.from(dir.path) })).sort()
      const expected = ['a', 'a/b', 'a/b/up', 'self', 'n'.repeat(255), '\udcff\udcfe', '\udcff\udcfe/inside']
      t.deepEqual(found, expected.sort())
    },
  )

  test.serial(`a path past the ${label} reader's 4,096 bytes is a failure of that directory and of no other`, (t) => {
    using dir = scratch()
    const before = process.cwd()
    t.teardown(() => process.chdir(before))
    process.chdir(dir.path)
    for (let depth = 0; depth < 24; depth++) {
      mkdirSync('d'.repeat(200))
      process.chdir('d'.repeat(200))
    }
    process.chdir(before)
    mkdirSync(join(dir.path, 'z'))
    writeFileSync(join(dir.path, 'z', 'found'), '')
    const all = batches(read, { root: Buffer.from(dir.path) })
    const errors = all.flatMap(runsIn).flatMap((run) => (run.error ? [run.error.code] : []))
    t.true(errors.every((code) => code === 'ENAMETOOLONG'))
    t.true(errors.length <= 1)
    t.true(paths(all).includes('z/found'))
    t.true(paths(all).length >= 20)
  })
}

test.serial('a directory that may not be read is told as EACCES by a process without the power to overrule it', (t) => {
  using dir = scratch()
  mkdirSync(join(dir.path, 'closed', 'inside'), { recursive: true })
  mkdirSync(join(dir.path, 'open', 'inside'), { recursive: true })
  chmodSync(join(dir.path, 'closed'), 0)
  const told = asOrdinaryUser<{ directory: string; code: string | null }[]>(
    `
    const { walk } = await load('src/scan/walk.js')
    const { readDirectoryPlain } = await load('src/scan/read.js')
    const options = { root: Buffer.from(argument), leftOut: [], read: readDirectoryPlain }
    return [...walk(options)].flatMap(({ runs }) =>
      runs.map(({ directory, error }) => ({ directory, code: error?.code ?? null })))`,
    dir.path,
  )
  t.deepEqual(told, [
    { directory: '', code: null },
    { directory: 'closed', code: 'EACCES' },
    { directory: 'open', code: null },
    { directory: 'open/inside', code: null },
  ])
})

function scratch(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'sd-walk-'))
  return { path, [Symbol.dispose]: () => execFileSync('rm', ['-rf', path]) } // paths past 4,096 bytes are beyond rmSync
}
