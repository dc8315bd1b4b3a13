// The addon's gatherer: what a walk finds by it, with or without a thread that reads ahead, is what it finds without.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { decodeNames } from '../../src/scan/names.js'
import { readDirectoryPlain } from '../../src/scan/read.js'
import { runsIn, walk, type Place, type Run } from '../../src/scan/walk.js'
import { gathererOf } from '../../src/shard/walker.js'
import { batchesOf } from '../library/stage.js'
import { runsOf } from './tree.js'

const native = loadNative()

function scratch(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'sd-gather-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

function grow(path: string, depth: number): void {
  for (let at = 0; at < 7; at++) writeFileSync(join(path, `file ${at}`), 'x'.repeat(at))
  symlinkSync('nowhere', join(path, 'link'))
  linkSync(join(path, 'file 1'), join(path, 'other name'))
  if (depth === 0) return
  for (const name of ['a', 'b', 'a-', 'é', '💀', '\uffee', 'empty']) {
    mkdirSync(join(path, name))
    if (name !== 'empty') grow(join(path, name), depth - 1)
  }
  const broken = Buffer.concat([Buffer.from(`${path}/`), Buffer.of(0xff, 0x41)])
  mkdirSync(broken)
  writeFileSync(Buffer.concat([broken, Buffer.from('/below')]), '')
}

interface Found {
  readonly path: string
  readonly row: readonly unknown[]
}

function found(path: string, how: 'plain' | 'gathered' | 'ahead', leftOut: string[] = [], after?: Place): Found[] {
  const addon = how === 'plain' ? null : new native!.Descent()
  if (how === 'ahead') addon!.beginAhead()
  const gatherer = addon ? gathererOf(addon) : undefined
  const rows: Found[] = []
  for (const batch of walk({ root: Buffer.from(path), leftOut, read: readDirectoryPlain, gatherer, after })) {
    let at = 0
    for (const { run, names } of runsOf(batch, decodeNames)) {
      const here = names.map((name) => {
        const row = [batch.kinds[at], batch.sizes[at], batch.mtimes[at], batch.inodes[at]]
        at += 1
        return { path: `${run.directory}/${name}`, row }
      })
      rows.push({ path: `${run.directory}/`, row: [run.last, run.error?.code] })
      // The order within a directory is that of the disk.
      rows.push(...here.sort((a, b) => (a.path < b.path ? -1 : 1)))
    }
  }
  addon?.end()
  return rows
}

const ways = native ? (['gathered', 'ahead'] as const) : []

test('a walk finds the same, in the same order, by whatever reads for it', (t) => {
  if (!native) return t.pass()
  using dir = scratch()
  grow(dir.path, 2)
  mkdirSync(join(dir.path, 'many'))
  for (let at = 0; at <= LIMITS.batchEntriesMax; at++) writeFileSync(join(dir.path, 'many', `${at}`), '')
  const leftOut = [join(dir.path, 'a', 'b'), join(dir.path, 'b', 'é', 'a', 'file 1')]
  const after = { directory: 'a/é', name: 'file 3' }
  for (const how of ways) {
    t.deepEqual(found(dir.path, how), found(dir.path, 'plain'), how)
    t.deepEqual(found(dir.path, how, leftOut), found(dir.path, 'plain', leftOut), how)
    t.deepEqual(found(dir.path, how, [], after), found(dir.path, 'plain', [], after), how)
  }
})

test.serial('a directory that becomes a link while what lies below it is still to be read leads nowhere else', (t) => {
  if (process.platform !== 'linux') return t.pass()
  const restore = batchesOf(2)
  t.teardown(restore)
  for (const how of ['plain', ...(native ? ['listed'] : []), ...ways]) {
    using dir = scratch()
    const [tree, elsewhere] = [join(dir.path, 'tree'), join(dir.path, 'elsewhere')]
    for (let at = 0; at < 60; at++) mkdirSync(join(tree, 'a', `${at}`), { recursive: true })
    for (const path of [join(tree, 'a', 'z'), join(elsewhere, 'z')]) mkdirSync(path, { recursive: true })
    writeFileSync(join(elsewhere, 'z', 'secret'), '')
    const addon = how === 'gathered' || how === 'ahead' ? new native!.Descent() : null
    if (how === 'ahead') addon!.beginAhead()
    const gatherer = addon ? gathererOf(addon) : undefined
    const read = how === 'listed' ? native!.readDirectory : readDirectoryPlain
    const names: string[] = []
    const errors = new Set<string>()
    for (const batch of walk({ root: Buffer.from(tree), leftOut: [], read, gatherer })) {
      // It was read itself, and some of what lies there: what is left is reached through it.
      if (names.includes('0') && existsSync(join(tree, 'a', '0'))) {
        renameSync(join(tree, 'a'), join(dir.path, 'gone'))
        symlinkSync(elsewhere, join(tree, 'a'))
      }
      names.push(...decodeNames(batch.names))
      for (const { error } of runsIn(batch)) if (error) errors.add(error.code)
    }
    addon?.end()
    t.false(names.includes('secret'), how)
    t.true(errors.has('ENOTDIR'), how)
  }
})

test('a root below a link is read as any other', (t) => {
  using dir = scratch()
  grow(join(dir.path, '.'), 1)
  const beside = `${dir.path}-link`
  symlinkSync(join(dir.path, '..'), beside)
  t.teardown(() => rmSync(beside))
  const path = join(beside, basename(dir.path))
  for (const how of ['plain', ...ways] as const) t.deepEqual(found(path, how), found(dir.path, 'plain'), how)
})

test('directories far below are found in order, however many lie on the way', (t) => {
  if (!native) return t.pass()
  using dir = scratch()
  // What is read ahead is found below what was read ahead, and beside it.
  for (let at = 0; at < 60; at++) {
    let path = join(dir.path, `${at}`)
    for (let depth = 0; depth <= at % 7; depth++) {
      mkdirSync(path)
      if (at % 3 === 0) mkdirSync(join(path, 'beside'))
      writeFileSync(join(path, `file ${depth}`), '')
      path = join(path, at % 2 === 0 ? 'a' : 'z')
    }
  }
  for (const how of ways)
    for (let round = 0; round < 10; round++) t.deepEqual(found(dir.path, how), found(dir.path, 'plain'), how)
})

test.serial('what goes while it is about to be read is told as by the plain reader', (t) => {
  if (!native) return t.pass()
  // As many as the root has: it is a batch of its own.
  const restore = batchesOf(17)
  for (const how of ways) {
    using dir = scratch()
    grow(dir.path, 1)
    const addon = new native!.Descent()
    if (how === 'ahead') addon.beginAhead()
    const runs: Run[] = []
    const options = { root: Buffer.from(dir.path), leftOut: [], read: readDirectoryPlain, gatherer: gathererOf(addon) }
    for (const batch of walk(options)) {
      runs.push(...runsIn(batch))
      rmSync(join(dir.path, 'b'), { recursive: true, force: true })
    }
    addon.end()
    const { error } = runs.find((run) => run.directory === 'b')!
    t.true(error?.code === 'ENOENT' || (how === 'ahead' && !error), how)
    t.is(runs.length, 9, how)
  }
  restore()
})

test.serial('what was read ahead a while ago is read again when the walk comes to it', async (t) => {
  if (!native) return t.pass()
  const restore = batchesOf(20)
  using dir = scratch()
  const names = Array.from({ length: 20 }, (_, at) => `${at + 10}`)
  for (const name of names) mkdirSync(join(dir.path, name, 'below'), { recursive: true })
  const addon = new native.Descent()
  addon.beginAhead()
  const options = { root: Buffer.from(dir.path), leftOut: [], read: readDirectoryPlain, gatherer: gathererOf(addon) }
  const found: string[] = []
  for (const batch of walk(options)) {
    if (found.length === 0) {
      for (const name of names) writeFileSync(join(dir.path, name, 'below', 'new'), '')
      await sleep(300)
    }
    found.push(...decodeNames(batch.names))
  }
  addon.end()
  restore()
  t.is(found.filter((name) => name === 'new').length, names.length)
})

test('the print of a directory changes with everything that is known of its children, and with nothing else', (t) => {
  if (!native) return t.pass()
  using dir = scratch()
  const path = join(dir.path, 'here')
  mkdirSync(path)
  writeFileSync(join(path, 'one'), '1')
  writeFileSync(join(path, 'two'), '22')
  const time = new Date('2026-01-01')
  for (const name of ['one', 'two']) utimesSync(join(path, name), time, time)
  const print = () => {
    const gatherer = gathererOf(new native.Descent())
    gatherer.begin(Buffer.from(path), [''], [1])
    gatherer.fill(1)
    const [read] = gatherer.take().directories.prints
    t.true(read! > 0)
    return read!
  }
  const seen = new Set([print()])
  const isNew = (what: string) => {
    const now = print()
    t.false(seen.has(now), what)
    seen.add(now)
  }
  chmodSync(join(path, 'one'), 0o600)
  t.true(seen.has(print()))
  utimesSync(join(path, 'one'), time, new Date(time.getTime() + 1))
  isNew('time')
  truncateSync(join(path, 'two'), 3)
  utimesSync(join(path, 'two'), time, time)
  isNew('size')
  writeFileSync(join(path, 'three'), '')
  isNew('more')
  rmSync(join(path, 'three'))
  t.true(seen.has(print()))
  rmSync(join(path, 'two'))
  mkdirSync(join(path, 'two'))
  isNew('kind')
})

if (native)
  test.serial('what lies past the 4,096 bytes that the system takes of a path is read in steps', (t) => {
    using dir = scratch()
    const before = process.cwd()
    t.teardown(() => process.chdir(before))
    process.chdir(dir.path)
    const deep = Array.from({ length: 45 }, () => 'd'.repeat(200))
    for (const each of deep) {
      mkdirSync(each)
      process.chdir(each)
    }
    writeFileSync('file', 'text')
    process.chdir(before)
    const gatherer = new native.Descent()
    t.true(gatherer.beginAhead())
    const root = Buffer.from(dir.path)
    const read = (path: Buffer) => gatherer.list(path)
    for (const each of [gathererOf(gatherer), undefined]) {
      const found = [...walk({ root, leftOut: [], read, gatherer: each })]
      t.deepEqual(
        found.flatMap(runsIn).flatMap(({ error }) => error ?? []),
        [],
      )
      const names = found.flatMap((batch) => decodeNames(batch.names))
      t.deepEqual([names.length, names.at(-1)], [46, 'file'])
    }
    gatherer.end()
    t.throws(() => new native.Descent().list(Buffer.from(join(dir.path, ...deep))), { code: 'ENAMETOOLONG' })
    execFileSync('rm', ['-r', join(dir.path, deep[0]!)])
  })
