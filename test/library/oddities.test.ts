// What real disks hold beside plain files: all of it is in the index as it is, and followed by a rescan under the same ids.
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { loadNative } from '../../src/descriptors/native.js'
import { encodeName } from '../../src/scan/names.js'
import { differences, disk, index, indexed, rescan, Stage } from './stage.js'

test('hard links, links in loops and to nothing, pipes, sparse files and broken names are what they are', async (t) => {
  using stage = new Stage()
  const at = (path: string) => encodeName(join(stage.tree, path))
  mkdirSync(at('d/loop'), { recursive: true })
  writeFileSync(at('d/file'), 'text')
  linkSync(at('d/file'), at('other name'))
  symlinkSync('nowhere', at('dangling'))
  symlinkSync('self', at('self'))
  symlinkSync('..', at('d/loop/up'))
  writeFileSync(at('broken \udcff\udcfe'), 'x')
  execFileSync('mkfifo', [join(stage.tree, 'pipe')])
  const sparse = openSync(at('sparse'), 'w')
  ftruncateSync(sparse, 2 ** 40)
  closeSync(sparse)
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  t.deepEqual(differences(library, uid, stage.tree), [])
  const before = new Map(indexed(library, uid))
  const id = (path: string) => indexed(library, uid).get(path)?.id
  t.not(id('d/file'), id('other name'), 'a hard link is an entry of its own')

  linkSync(at('d/file'), at('third name'))
  renameSync(at('broken \udcff\udcfe'), at('d/BROKEN \udcff'))
  renameSync(at('sparse'), at('Sparse'))
  renameSync(at('d/loop'), at('loop'))
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
  for (const path of ['d/file', 'other name']) t.is(id(path), before.get(path)!.id, 'a further name is no move')
  t.is(id('d/BROKEN \udcff'), before.get('broken \udcff\udcfe')!.id)
  t.is(id('Sparse'), before.get('sparse')!.id, 'another case is a rename')
  t.is(id('loop/up'), before.get('d/loop/up')!.id)
})

test('a thousand directories in one another are indexed, moved and removed', async (t) => {
  using stage = new Stage()
  const deep = Array.from({ length: 1_000 }, () => 'd').join('/')
  mkdirSync(join(stage.tree, 'a', deep), { recursive: true })
  writeFileSync(join(stage.tree, 'a', deep, 'file'), 'x')
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const { id } = indexed(library, uid).get(`a/${deep}/file`)!
  renameSync(join(stage.tree, 'a'), join(stage.tree, 'b'))
  await rescan(library, uid)
  // `differences` also adds up each directory, which takes long for a thousand in one another.
  t.deepEqual([...indexed(library, uid).keys()].sort(), [...disk(stage.tree).keys()].sort())
  t.is(indexed(library, uid).get(`b/${deep}/file`)!.id, id)
  execFileSync('rm', ['-r', join(stage.tree, 'b')])
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

const native = loadNative()
if (native)
  test.serial(
    'what lies past the 4,096 bytes that the system takes of a path is indexed, and goes when it is gone',
    async (t) => {
      using stage = new Stage()
      const before = process.cwd()
      t.teardown(() => process.chdir(before))
      const deep = Array.from({ length: 30 }, () => 'd'.repeat(200))
      process.chdir(stage.tree)
      for (const each of deep) {
        mkdirSync(each)
        process.chdir(each)
      }
      writeFileSync('file', 'text')
      process.chdir(before)
      const gatherer = new native.Descent()
      t.true(gatherer.beginAhead())
      const read = (path: Buffer) => gatherer.list(path)
      const library = stage.open(stage.create())
      const uid = await index(library, stage.tree, { read })
      t.is(indexed(library, uid).get([...deep, 'file'].join('/'))?.size, 4)
      t.is((await library.search({ query: 'file' })).total, 1)
      execFileSync('rm', ['-r', join(stage.tree, deep[0]!, deep[1]!)])
      await rescan(library, uid, { read })
      t.deepEqual([...indexed(library, uid).keys()], ['', deep[0]!])
      gatherer.end()
    },
  )
