// The size of a folder: everything below it, true after every commit, whatever happens to the tree.
import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Library } from '../../src/library/library.js'
import { batchesOf, differences, index, rescan, Stage, totalsOf } from './stage.js'

let restore = () => {}
test.afterEach(() => restore())

function plant(stage: Stage): (path: string) => string {
  const at = (path: string) => join(stage.tree, path)
  for (const path of ['a/b/c', 'a/empty', 'd']) mkdirSync(at(path), { recursive: true })
  writeFileSync(at('a/b/c/ten'), 'x'.repeat(10))
  writeFileSync(at('a/b/five'), 'x'.repeat(5))
  writeFileSync(at('d/three'), 'xxx')
  symlinkSync('three', at('d/link'))
  return at
}

function totalAt(library: Library, path: string) {
  return library.entries.getByPath(path).total
}

test.serial('a directory tells what lies below it: bytes, files and directories', async (t) => {
  using stage = new Stage()
  const at = plant(stage)
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  t.deepEqual(totalAt(library, stage.tree), { bytes: 18, files: 3, directories: 5 })
  t.deepEqual(totalAt(library, at('a')), { bytes: 15, files: 2, directories: 3 })
  t.deepEqual(totalAt(library, at('a/empty')), { bytes: 0, files: 0, directories: 0 })
  t.is(totalAt(library, at('d/three')), undefined)
  t.deepEqual(totalAt(stage.reopen(library), at('a/b')), { bytes: 15, files: 2, directories: 1 })
})

test.serial('a file with several names counts under each of them', async (t) => {
  using stage = new Stage()
  const at = plant(stage)
  linkSync(at('d/three'), at('a/three too'))
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  t.deepEqual(totalAt(library, at('a')), { bytes: 18, files: 3, directories: 3 })
  t.deepEqual(totalAt(library, stage.tree), { bytes: 21, files: 4, directories: 5 })
})

test.serial('a tree that moves is taken off what it leaves and added to where it comes', async (t) => {
  using stage = new Stage()
  const at = plant(stage)
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  renameSync(at('a/b'), at('d/b moved'))
  writeFileSync(at('d/b moved/c/ten'), 'x'.repeat(100))
  await rescan(library, uid)
  t.deepEqual(totalAt(library, at('a')), { bytes: 0, files: 0, directories: 1 })
  t.deepEqual(totalAt(library, at('d')), { bytes: 108, files: 3, directories: 2 })
  rmSync(at('d'), { recursive: true })
  await rescan(library, uid)
  t.deepEqual(totalAt(library, stage.tree), { bytes: 0, files: 0, directories: 2 })
  t.deepEqual(totalsOf(library), [])
})

test.serial('after every commit of a scan that compares, the totals are those of the entries', async (t) => {
  restore = batchesOf(3)
  using stage = new Stage()
  const at = plant(stage)
  for (let number = 0; number < 12; number++) {
    mkdirSync(at(`n${number}/deep/deeper`), { recursive: true })
    writeFileSync(at(`n${number}/deep/deeper/file`), 'x'.repeat(number))
  }
  const library = stage.open(stage.create())
  let commits = 0
  const meanwhile = () => {
    commits += 1
    t.deepEqual(totalsOf(library), [], `after commit ${commits}`)
  }
  const uid = await index(library, stage.tree, { meanwhile })
  for (let number = 0; number < 10; number += 2) {
    renameSync(at(`n${number}/deep`), at(`n${number + 1}/deep/deeper/from ${number}`))
    renameSync(at(`n${number + 1}`), at(`a/m${number}`))
  }
  rmSync(at('n11'), { recursive: true })
  writeFileSync(at('n10'.concat('/deep/deeper/file')), 'longer than before')
  await rescan(library, uid, { meanwhile })
  t.true(commits > 20)
  t.deepEqual(differences(library, uid, stage.tree), [])
})

test.serial('a listing by size has directories at what they hold', async (t) => {
  using stage = new Stage()
  plant(stage)
  writeFileSync(join(stage.tree, 'sixteen'), 'x'.repeat(16))
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  const { items } = library.entries.list({ path: stage.tree }, 'size', 10, undefined, library.entriesVersion)!
  t.deepEqual(
    items.map(({ name }) => name),
    ['sixteen', 'a', 'd'],
  )
})

test.serial('a location that is removed takes its totals along', async (t) => {
  using stage = new Stage()
  plant(stage)
  const library = stage.open(stage.create())
  const uid = await index(library, stage.tree)
  const location = library.locations.get(uid)
  library.write(() => library.locations.markRemoving(location))
  while (!library.removeSlice(location));
  t.deepEqual(totalsOf(library), [])
})
