// Libraries of before: each older schema opens, with all that it held, and a copy of it as it was stays beside it.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import { filesOf } from '../../src/library/folder.js'
import { migrate, SCHEMA_VERSION, versionOf } from '../../src/library/schema.js'
import { differences, index, integrity, rescan, Stage, totalsOf } from './stage.js'

/** The first that was ever released. */
const OLDEST = 1

/** Replaces the database by one that an older version of the schema made, with the same content. */
function toVersion(folder: string, version: number): void {
  const path = filesOf(folder).database
  const old = new Database(`${path}.old`)
  migrate(old, 'old', version)
  old.prepare('ATTACH ? AS now').run(path)
  const tables = old
    .prepare<[], string>(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
    .pluck()
    .all()
  for (const table of tables) {
    const columns = old.pragma(`main.table_info(${table})`) as { name: string }[]
    const names = columns.map(({ name }) => name).join(', ')
    const kept = names === 'segment, bucket, lists' ? 'place / 4096, place % 4096, lists' : names
    old.exec(`DELETE FROM main.${table}; INSERT INTO main.${table} (${names}) SELECT ${kept} FROM now.${table}`)
  }
  // What is known since is not in a database of then.
  if (tables.includes('meta')) hashesAll(old)
  old.exec('DETACH now')
  old.pragma('journal_mode = WAL')
  old.close()
  for (const ending of ['', '-wal', '-shm']) rmSync(`${path}${ending}`, { force: true })
  renameSync(`${path}.old`, path)
}

/** Until the names' hashes were written many at a time, every name had its own at once. */
function hashesAll(old: Database.Database): void {
  old.exec(`DELETE FROM main.meta WHERE key = 'namesHashed'`)
}

function copies(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.includes('before'))
}

async function planted(stage: Stage) {
  for (const path of ['a/b', 'c']) mkdirSync(join(stage.tree, path), { recursive: true })
  for (const path of ['a/1', 'a/b/2', 'c/3']) writeFileSync(join(stage.tree, path), path)
  const made = stage.create()
  const library = stage.open(made)
  const uid = await index(library, stage.tree)
  stage.close(library)
  return { made, uid }
}

for (let version = OLDEST; version < SCHEMA_VERSION; version++) {
  test.serial(`a library of schema ${version} opens with all it held, and a copy of it is kept`, async (t) => {
    using stage = new Stage()
    const { made, uid } = await planted(stage)
    toVersion(made.path, version)
    const library = stage.open(made)
    t.deepEqual(differences(library, uid, stage.tree), [])
    t.deepEqual(totalsOf(library), [])
    t.is(integrity(library), 'ok')
    writeFileSync(join(stage.tree, 'new name'), '')
    await rescan(library, uid)
    t.deepEqual(differences(library, uid, stage.tree), [])
    t.deepEqual(copies(made.path), [`library.before-schema-${version}.db`])
    const copy = new Database(join(made.path, copies(made.path)[0]!), { readonly: true })
    t.is(versionOf(copy), version)
    t.is(copy.prepare('SELECT count(*) FROM entry').pluck().get(), 7)
    copy.close()
    t.is(stage.ledger.use('libraries').used, 4)
    stage.reopen(library)
    t.is(copies(made.path).length, 1)
  })
}

test.serial('of several copies the newest is kept, and of a library without locations none', async (t) => {
  using stage = new Stage()
  const { made } = await planted(stage)
  for (const version of [1, 2]) {
    toVersion(made.path, version)
    stage.close(stage.open(made))
  }
  t.deepEqual(copies(made.path), ['library.before-schema-2.db'])
  const empty = stage.create('Empty')
  toVersion(empty.path, 1)
  stage.close(stage.open(empty))
  t.deepEqual(copies(empty.path), [])
})

test.serial('without descriptors for the copy a library stays as it is, and opens when there are some', async (t) => {
  using stage = new Stage()
  const { made } = await planted(stage)
  toVersion(made.path, 1)
  const { ledger } = stage
  const hog = ledger.tryAcquire('libraries', ledger.room('libraries') - 5, { holder: 'a hog' })!
  t.throws(() => stage.open(made), { code: 'BUDGET_EXHAUSTED' })
  const database = new Database(filesOf(made.path).database)
  t.is(versionOf(database), 1)
  database.close()
  t.deepEqual(copies(made.path), [])
  hog.release()
  const library = stage.open(made)
  t.true(existsSync(join(library.path, 'library.before-schema-1.db')))
})
