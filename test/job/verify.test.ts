// Directories that could not be read: the index keeps what lies in them, says so, and reads just them when they can be read again.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Verifier } from '../../src/job/verify.js'
import type { Library } from '../../src/library/library.js'
import { readDirectoryPlain, type ReadDirectory } from '../../src/scan/read.js'
import { differences, index, indexed, newLedger, rescan, Stage, walkHere } from '../library/stage.js'

/** Fails in one place until it is mended, and remembers what was read. */
class Reader {
  readonly read: ReadDirectory
  failing: string | null
  code: string
  readonly reads: string[] = []

  constructor(failing: string | null, code = 'EACCES') {
    this.failing = failing
    this.code = code
    this.read = (path) => {
      this.reads.push(path.toString())
      if (this.failing !== null && path.toString().endsWith(this.failing)) {
        throw Object.assign(new Error(`${this.code}: made up, open`), { code: this.code })
      }
      return readDirectoryPlain(path)
    }
  }
}

function verifierOf(library: Library, reader: Reader): Verifier {
  return new Verifier({
    ledger: newLedger(),
    walk: walkHere(reader.read),
    leftOut: [],
    hold: (_, work) => work(library),
    publish: () => {},
    breathe: () => Promise.resolve(),
    log: () => {},
  })
}

function grow(stage: Stage): void {
  for (const path of ['a/in/deep', 'b', 'c']) mkdirSync(join(stage.tree, path), { recursive: true })
  for (const path of ['a/in/1', 'a/in/deep/2', 'b/3']) writeFileSync(join(stage.tree, path), 'x')
}

for (const code of ['EACCES', 'EIO', 'ESTALE']) {
  test(`a directory that cannot be read for ${code} keeps its entries and is told, then read again alone`, async (t) => {
    using stage = new Stage()
    grow(stage)
    const library = stage.open(stage.create())
    const uid = await index(library, stage.tree)
    const location = library.locations.get(uid)
    const before = new Map(indexed(library, uid))
    t.is(library.unverifiedOf(location), undefined)

    const reader = new Reader('/a/in', code)
    rmSync(join(stage.tree, 'a/in/1'))
    writeFileSync(join(stage.tree, 'a/in/4'), 'xx')
    await rescan(library, uid, { read: reader.read })
    t.deepEqual([...indexed(library, uid).keys()].sort(), [...before.keys()].sort(), 'nothing is concluded')
    const told = library.unverifiedOf(library.locations.get(uid))!
    t.is(told.count, 1)
    t.like(told.first[0], { path: join(stage.tree, 'a/in'), code, tries: 1 })

    const verifier = verifierOf(library, reader)
    await verifier.round(library.id)
    t.like(library.unverifiedOf(location)!.first[0], { since: told.first[0]!.since, tries: 2 })

    reader.failing = null
    reader.reads.length = 0
    await verifier.round(library.id)
    t.is(library.unverifiedOf(location), undefined)
    t.deepEqual(reader.reads, [join(stage.tree, 'a/in'), join(stage.tree, 'a/in/deep')], 'and nothing else')
    t.deepEqual(differences(library, uid, stage.tree), [])
    t.is(indexed(library, uid).get('a/in/deep/2')!.id, before.get('a/in/deep/2')!.id)
    await verifier.close()
  })
}

test('a want of descriptors marks nothing, and what was marked is tried again later', async (t) => {
  using stage = new Stage()
  grow(stage)
  const library = stage.open(stage.create())
  const reader = new Reader('/a/in')
  const uid = await index(library, stage.tree, { read: reader.read })
  const location = library.locations.get(uid)
  t.is(library.unverifiedOf(location)!.count, 1)
  reader.code = 'EMFILE'
  const verifier = verifierOf(library, reader)
  await verifier.round(library.id)
  t.like(library.unverifiedOf(location)!.first[0], { code: 'EACCES', tries: 1 })
  reader.failing = null
  await verifier.round(library.id)
  t.deepEqual(differences(library, uid, stage.tree), [])
  await verifier.close()
})

test('it is known by what it is, not by its path; once it is gone nothing is left of it', async (t) => {
  using stage = new Stage()
  grow(stage)
  const library = stage.open(stage.create())
  const reader = new Reader('/in')
  const uid = await index(library, stage.tree, { read: reader.read })
  renameSync(join(stage.tree, 'a/in'), join(stage.tree, 'c/in'))
  await rescan(library, uid, { read: reader.read })
  const location = library.locations.get(uid)
  t.like(library.unverifiedOf(location)!.first[0], { path: join(stage.tree, 'c/in'), tries: 2 })
  rmSync(join(stage.tree, 'c/in'), { recursive: true })
  await rescan(library, uid, { read: reader.read })
  t.is(library.unverifiedOf(location), undefined)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test('while it runs a scan that is asked for goes first', async (t) => {
  using stage = new Stage()
  grow(stage)
  const library = stage.open(stage.create())
  const reader = new Reader('/a/in')
  const uid = await index(library, stage.tree, { read: reader.read })
  library.write(() => library.jobs.enqueue('index', uid, null))
  reader.failing = null
  reader.reads.length = 0
  const verifier = verifierOf(library, reader)
  await verifier.round(library.id)
  t.deepEqual(reader.reads, [])
  t.is(library.unverifiedOf(library.locations.get(uid))!.count, 1)
  await verifier.close()
})

test('what a rule leaves out from now on goes at the next scan though it is there, what it lets in comes', async (t) => {
  using stage = new Stage()
  grow(stage)
  mkdirSync(join(stage.tree, '.git'))
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const ids = new Map(indexed(library, uid))
  const ruled = async (rules: object) => {
    library.write(() => library.locations.setRules(library.locations.get(uid), rules))
    const job = await rescan(library, uid)
    return { job, paths: [...indexed(library, uid).keys()].sort() }
  }
  const first = await ruled({ reject: ['in'], noGit: true })
  t.deepEqual(first.paths, ['', 'a', 'b', 'b/3', 'c'])
  t.deepEqual(library.jobs.item(first.job).leftOut, { reject: 1, git: 1 })
  t.deepEqual(library.locations.get(uid).leftOut, { reject: 1, git: 1 })
  const second = await ruled({})
  t.deepEqual(second.paths, [...ids.keys()].sort())
  t.is(indexed(library, uid).get('b/3')!.id, ids.get('b/3')!.id)
  t.is(library.locations.get(uid).rules, null)
  t.deepEqual(differences(library, uid, stage.tree), [])
})
