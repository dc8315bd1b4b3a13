// A check finds what is wrong with a library, whatever it is, and nothing where all is well.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import { checkLibrary } from '../../src/library/check.js'
import { filesOf } from '../../src/library/folder.js'
import { index, Stage } from './stage.js'

const stage = new Stage()
test.after.always(() => stage[Symbol.dispose]())

/** Indexed once; each test harms a copy of its own. */
const whole = plant()

async function plant(): Promise<string> {
  for (let directory = 0; directory < 8; directory++) {
    mkdirSync(join(stage.tree, `d${directory}`, 'deep'), { recursive: true })
    for (let file = 0; file < 30; file++) writeFileSync(join(stage.tree, `d${directory}`, 'deep', `f${file}`), 'x')
  }
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  stage.close(library)
  return filesOf(library.path).database
}

/** All it finds, and in how many steps. */
function checked(path: string): { found: string[]; steps: number } {
  const connection = new Database(path)
  try {
    const run = checkLibrary(connection, path)
    for (let steps = 0; ; steps++) {
      const { done, value } = run.next()
      if (done) return { found: value, steps }
    }
  } finally {
    connection.close()
  }
}

const HARM: Record<string, [sql: string, found: RegExp]> = {
  'an index that lacks a row': [
    `PRAGMA writable_schema = ON;
     UPDATE sqlite_schema SET sql = 'CREATE INDEX entry_name ON entry (name) WHERE id <> 7' WHERE name = 'entry_name';
     PRAGMA writable_schema = RESET; REINDEX entry_name; PRAGMA writable_schema = ON;
     UPDATE sqlite_schema SET sql = 'CREATE INDEX entry_name ON entry (name)' WHERE name = 'entry_name';`,
    /entry 7 is not in the index entry_name\nthe index entry_name has 256 rows of 257/,
  ],
  'an entry in no directory': ['UPDATE entry SET parent = 999999 WHERE id = 9', /999999, which is no directory/],
  'a name that is not there': ['UPDATE entry SET name = 999999 WHERE id = 9', /entry 9 has a name that is not there/],
  'a wrong count of a location': ['UPDATE location SET files = files - 1', /counts 256 entries, and has 257/],
  'a wrong size of a folder': ['UPDATE folder SET bytes = bytes + 5 WHERE entry = 1', /has 240/],
  'a folder without its row': ['DELETE FROM folder WHERE entry = 1', /directory 1 is kept as empty/],
  'a directory that lies in itself': ['UPDATE entry SET parent = 2 WHERE id = 2', /is kept/],
}

test('a library that is whole is found so, in steps', async (t) => {
  const { found, steps } = checked(await whole)
  t.deepEqual(found, [])
  t.true(steps > 5)
})

for (const [what, [sql, words]] of Object.entries(HARM)) {
  test(`${what} is found`, async (t) => {
    const path = join(stage.path, `${what}.db`)
    copyFileSync(await whole, path)
    const database = new Database(path)
    database.unsafeMode()
    database.exec(sql)
    database.close()
    t.regex(checked(path).found.join('\n'), words)
  })
}
