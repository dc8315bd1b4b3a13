// What a rescan passes over because its print is the one that the index keeps: nothing that is otherwise, and all that is not.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { loadNative } from '../../src/descriptors/native.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import { batchesOf, differences, index, indexed, rescan, Stage } from './stage.js'

let restore = () => {}
test.afterEach(() => restore())

/** In microseconds: no file is as young. */
const FAR = 5e15

/** Behind the library's back: what is compared with the disk is corrected, what is passed over stays wrong. */
function spoil(library: Library, by = FAR): void {
  const database = new Database(filesOf(library.path).database)
  database.prepare('UPDATE entry SET mtime = mtime + ? WHERE kind = 0 AND (mtime > ?) = ?').run(by, FAR, by > 0 ? 0 : 1)
  database.close()
}

/** How many are still wrong, by the directory they lie in; they are put right. */
function spoiled(library: Library, location: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [path, { mtime }] of indexed(library, location)) {
    const directory = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    if (mtime > FAR) counts[directory] = (counts[directory] ?? 0) + 1
  }
  spoil(library, -FAR)
  return counts
}

/** Directories that come in one run, in several that are compared together, and in several that are compared one by one. */
const COUNTS = { small: 3, large: 7, 'large/below': 2, 'very large': 23, 'very large/a/b': 2 }

function plant(stage: Stage): void {
  for (const [directory, count] of Object.entries(COUNTS)) {
    mkdirSync(join(stage.tree, directory), { recursive: true })
    for (let at = 0; at < count; at++) writeFileSync(join(stage.tree, directory, `file ${at}`), 'text')
  }
}

async function planted(stage: Stage): Promise<{ library: Library; uid: string }> {
  restore = batchesOf(5, 10)
  const library = stage.open(stage.create())
  plant(stage)
  return { library, uid: await index(library, stage.tree) }
}

const whole = loadNative() ? test.serial : () => {}

whole('a directory that is unchanged is not compared, however many children it has', async (t) => {
  using stage = new Stage()
  const { library, uid } = await planted(stage)
  for (let round = 0; round < 2; round++) {
    spoil(library)
    await rescan(library, uid)
    t.deepEqual(spoiled(library, uid), COUNTS)
  }
})

whole('a directory in which something changed is compared, and then passed over again', async (t) => {
  using stage = new Stage()
  const { library, uid } = await planted(stage)
  for (const change of [
    (path: string) => writeFileSync(join(path, 'new'), ''),
    (path: string) => writeFileSync(join(path, 'file 1'), 'another'),
    (path: string) => rmSync(join(path, 'new')),
  ])
    for (const directory of Object.keys(COUNTS)) {
      change(join(stage.tree, directory))
      spoil(library)
      await rescan(library, uid)
      const wrong = Object.keys(spoiled(library, uid))
      t.false(wrong.includes(directory), directory)
      // A directory that has other children has another time, too, and that is looked at where it lies.
      for (const each of Object.keys(COUNTS)) if (!directory.startsWith(each)) t.true(wrong.includes(each), each)
      t.deepEqual(differences(library, uid, stage.tree), [], directory)
      // What was missing went after the directory was compared, so that it is compared once more.
      await rescan(library, uid)
      spoil(library)
      await rescan(library, uid)
      t.deepEqual(Object.keys(spoiled(library, uid)).sort(), Object.keys(COUNTS).sort(), directory)
    }
})

test.serial('of a directory that was emptied everything goes, also what counts in no total', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  for (const path of ['a', 'b']) mkdirSync(join(stage.tree, path))
  symlinkSync('nowhere', join(stage.tree, 'a', 'link'))
  mkdirSync(join(stage.tree, 'b', 'below'))
  const uid = await index(library, stage.tree)
  rmSync(join(stage.tree, 'a', 'link'))
  rmSync(join(stage.tree, 'b', 'below'), { recursive: true })
  await rescan(library, uid)
  t.deepEqual(differences(library, uid, stage.tree), [])
  await rescan(library, uid)
  t.deepEqual([...indexed(library, uid).keys()].sort(), ['', 'a', 'b'])
})

whole('of a large directory whose scan was broken off nothing is passed over that was not stored', async (t) => {
  for (let commits = 1; commits < 12; commits++) {
    restore = batchesOf(5, 10)
    using stage = new Stage()
    let library = stage.open(stage.create())
    plant(stage)
    const uid = await index(library, stage.tree, { commits })
    writeFileSync(join(stage.tree, 'very large', 'file 0'), 'another')
    library = stage.reopen(library)
    await rescan(library, uid)
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [], `${commits}`)
    restore()
  }
})
