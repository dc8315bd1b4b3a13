// The libraries on disk, found without opening them, the damaged ones with their reason.
import { cpSync, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { readCatalog } from '../../src/library/catalog.js'
import { filesOf } from '../../src/library/folder.js'
import { Stage } from './stage.js'

test('whole libraries are listed, half made ones swept, what is none left alone', (t) => {
  using stage = new Stage()
  const made = [stage.create('One'), stage.create('Two')]
  mkdirSync(join(stage.libraries, '.new-half'))
  writeFileSync(join(stage.libraries, '.new-half', 'library.db'), 'half')
  mkdirSync(join(stage.libraries, 'not a library'))
  mkdirSync(filesOf(made[1]!.path).unfinished)
  const found = readCatalog(stage.libraries)
  t.deepEqual(
    found.map(({ id, name, unfinished, problem }) => [id, name, unfinished, problem]),
    [
      [made[0]!.id, 'One', false, undefined],
      [made[1]!.id, 'Two', true, undefined],
    ],
  )
  t.false(existsSync(join(stage.libraries, '.new-half')))
  t.true(existsSync(join(stage.libraries, 'not a library')))
})

test('a library whose library.json is damaged keeps the id its database knows, and says what is wrong', (t) => {
  using stage = new Stage()
  const { id, path } = stage.create('Broken')
  writeFileSync(filesOf(path).json, '{ "format": 1, ')
  const [found] = readCatalog(stage.libraries)
  t.like(found, { id, name: 'Broken', path })
  t.is(found!.problem?.code, 'LIBRARY_DAMAGED')
})

test('a library with a schema of a newer version is listed as such, and whatever else is wrong with a file is not', (t) => {
  using stage = new Stage()
  const [newer, short, gone] = [stage.create('A newer'), stage.create('B short'), stage.create('C gone')]
  const database = new Database(filesOf(newer.path).database)
  database.pragma('user_version = 99')
  database.close()
  truncateSync(filesOf(short.path).database, 50)
  rmSync(filesOf(gone.path).database)
  const found = readCatalog(stage.libraries)
  t.deepEqual(
    found.map(({ id, problem }) => [id, problem?.code]),
    [
      [newer.id, 'LIBRARY_NEWER'],
      [short.id, undefined],
      [gone.id, undefined],
    ],
  )
})

test('with its database damaged as well it goes by the name of its folder', (t) => {
  using stage = new Stage()
  const { path } = stage.create('Ruin')
  for (const file of [filesOf(path).json, filesOf(path).database]) writeFileSync(file, 'ruin')
  const [found] = readCatalog(stage.libraries)
  t.like(found, { id: 'Ruin', name: 'Ruin' })
  t.is(found!.problem?.code, 'LIBRARY_DAMAGED')
})

test('of a folder and its copy the first is the library, and the other says so', (t) => {
  using stage = new Stage()
  const { id, path } = stage.create('Photos')
  cpSync(path, join(stage.libraries, 'Photos copy.sdlibrary'), { recursive: true })
  const found = readCatalog(stage.libraries)
  t.is(found.length, 2)
  t.is(new Set(found.map((each) => each.id)).size, 2)
  t.is(found.filter((each) => each.problem?.code === 'LIBRARY_DAMAGED').length, 1)
  t.is(found.filter((each) => each.id === id).length, 1)
})

test('a directory that is not there yet is made, and holds nothing', (t) => {
  using stage = new Stage()
  t.deepEqual(readCatalog(join(stage.path, 'new')), [])
  t.true(existsSync(join(stage.path, 'new')))
})
