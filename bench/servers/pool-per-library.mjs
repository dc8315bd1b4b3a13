// What one would write in an afternoon: a pool of five connections for each library, opened at its first request and kept.
import { createServer } from 'node:http'
import { join } from 'node:path'
import Database from 'better-sqlite3'

const folder = process.argv[2]
const CONNECTIONS = 5
const pools = new Map()

function poolOf(name) {
  let pool = pools.get(name)
  if (!pool) {
    const path = join(folder, name, 'library.db')
    pool = Array.from({ length: CONNECTIONS }, () => {
      const database = new Database(path, { fileMustExist: true })
      return database.prepare('SELECT count(*) AS entries FROM entry')
    })
    // SQLite opens -wal and -shm with the first read.
    for (const query of pool) query.get()
    pools.set(name, pool)
  }
  return pool
}

let turn = 0
const server = createServer((request, response) => {
  try {
    const pool = poolOf(decodeURIComponent(request.url.slice(1)))
    response.end(JSON.stringify(pool[turn++ % CONNECTIONS].get()))
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
