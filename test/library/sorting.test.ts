// What is too much to be sorted in memory goes through files that were bought, and none are left.
import { mkdtempSync, readdirSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import { PRICES } from '../../src/descriptors/prices.js'
import { keepInMemory, type Connection } from '../../src/library/connection.js'
import { sortIn, sortOnDisk } from '../../src/library/sorting.js'
import { index, newLedger, Stage } from './stage.js'

const directory = mkdtempSync(join(tmpdir(), 'sd-sorting-'))
delete process.env['SQLITE_TMPDIR']
sortIn(directory)

test.after.always(() => rmSync(directory, { recursive: true, force: true }))

/** More numbers, in no order, than are sorted in memory at a time. */
function numbers(path: string): Connection {
  const connection = new Database(path)
  keepInMemory(connection)
  connection.exec(`CREATE TABLE some (number INTEGER);
    WITH RECURSIVE every (one) AS (SELECT 1 UNION ALL SELECT one + 1 FROM every WHERE one < 200000)
    INSERT INTO some SELECT one * 7919 % 200003 FROM every`)
  return connection
}

const INDEX = 'CREATE INDEX some_number ON some (number)'

function isIndexed(connection: Connection): boolean {
  const found = connection.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'some_number'`).get()
  return found !== undefined && connection.pragma('integrity_check', { simple: true }) === 'ok'
}

/** Names of what was made in the directory while `work` ran. */
async function made(work: () => void): Promise<string[]> {
  const names = new Set<string>()
  const mark = join(directory, 'mark')
  await new Promise<void>((resolve) => {
    const watching = watch(directory, (_, name) => {
      if (name !== 'mark') return void names.add(name!)
      watching.close()
      resolve()
    })
    work()
    // Events come in their order: when this one is told, so were all before it.
    writeFileSync(mark, '')
  })
  rmSync(mark)
  return [...names]
}

test.serial(
  'what is sorted goes through files in the directory that was named, which are bought and gone afterwards',
  async (t) => {
    const ledger = newLedger()
    const connection = numbers(join(directory, 'some.db'))
    const files = await made(() => sortOnDisk(connection, ledger, () => connection.exec(INDEX)))
    const sorted = files.filter((name) => name.startsWith('etilqs_'))
    t.true(sorted.length === 1 || sorted.length === 2, files.join())
    t.true(isIndexed(connection))
    t.is(connection.pragma('temp_store', { simple: true }), 2, 'the next sort is in memory again')
    const { used, peak } = ledger.use('libraries')
    t.deepEqual([used, peak], [0, 2])
    connection.close()
    t.deepEqual(readdirSync(directory), ['some.db'])
    rmSync(join(directory, 'some.db'))
  },
)

test.serial('without descriptors it is sorted in memory', async (t) => {
  const ledger = newLedger(200)
  while (ledger.tryAcquire('libraries', 1, { holder: 'a test' }));
  const connection = numbers(':memory:')
  const files = await made(() => sortOnDisk(connection, ledger, () => connection.exec(INDEX)))
  t.deepEqual(files, [])
  t.true(isIndexed(connection))
  connection.close()
})

test.serial('what fails with files is sorted in memory', (t) => {
  const ledger = newLedger()
  const connection = numbers(':memory:')
  const ways: unknown[] = []
  sortOnDisk(connection, ledger, () => {
    ways.push(connection.pragma('temp_store', { simple: true }))
    if (ways.length === 1) throw new Database.SqliteError('disk I/O error', 'SQLITE_IOERR_WRITE')
    connection.exec(INDEX)
  })
  t.deepEqual(ways, [1, 2])
  t.true(isIndexed(connection))
  t.is(ledger.use('libraries').used, 0)
  connection.close()
})

test.serial('a first scan buys what its inodes are sorted with, and gives it back', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  writeFileSync(join(stage.tree, 'file'), '')
  await index(library, stage.tree)
  const { used, peak } = stage.ledger.use('libraries')
  t.deepEqual([used, peak], [PRICES.library, PRICES.library + 2])
})
