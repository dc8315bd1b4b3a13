// The database of a new library, made in memory and written in one go: made on the disk, it costs nine syncs instead of one.
import Database from 'better-sqlite3'
import { migrate } from './schema.js'

/** In the header of a database: the versions of the format that who writes and who reads it must know; 2 means WAL. */
const WRITE_VERSION_AT = 18
const READ_VERSION_AT = 19
const WAL = 2

/** The tables alone, the same for all; made once in each thread. */
let tables: Buffer | undefined

/** The bytes of a file that SQLite opens as a library in WAL mode. Needs no descriptor. */
export function blankDatabase(id: string, name: string): Buffer {
  const database = new Database((tables ??= blankTables()))
  try {
    database.prepare(`INSERT INTO meta (key, value) VALUES ('id', ?), ('name', ?)`).run(id, name)
    const bytes = database.serialize()
    bytes[WRITE_VERSION_AT] = bytes[READ_VERSION_AT] = WAL
    return bytes
  } finally {
    database.close()
  }
}

function blankTables(): Buffer {
  const database = new Database(':memory:')
  try {
    migrate(database, 'new')
    return database.serialize()
  } finally {
    database.close()
  }
}
