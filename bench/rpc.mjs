// HTTP `files.get` through a shard against a bare uWebSockets echo of the same body, and against fastify with
// better-sqlite3 in one thread. 64 keep-alive connections, load from a process of its own, runs in turn.
import Database from 'better-sqlite3'
import { join } from 'node:path'
import { index, load, ratio, scratch, startDaemon, startServer, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const daemon = await startDaemon()
const { library, location } = await index(daemon.call, process.env.TREE ?? '/usr/share')
const { items } = await daemon.call('search.files', { library, query: '', limit: 1000 })
const bodies = items
  .slice(0, 500)
  .map(({ id }, at) => JSON.stringify({ jsonrpc: '2.0', id: at, method: 'files.get', params: { library, id } }))

const plain = join(scratch, 'plain.db')
const database = new Database(plain)
database.exec('CREATE TABLE file (id INTEGER PRIMARY KEY, location, path, name, kind, size, mtime, inode)')
const insert = database.prepare('INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
for (const item of items) {
  insert.run(
    Number(item.id),
    location,
    item.path,
    item.name,
    item.kind,
    item.size,
    Date.parse(item.modifiedAt) * 1000,
    item.inode,
  )
}
database.close()

const echo = await startServer({ script: 'servers/uws-echo.mjs' })
const fastify = await startServer({ script: 'servers/fastify-sqlite.mjs', args: [plain] })
const headers = { 'content-type': 'application/json', authorization: `Bearer ${daemon.token}` }
const runs = { ours: [], echo: [], fastify: [] }
load(`${daemon.http}/rpc`, { bodies, headers, seconds: 2 })
for (let round = 0; round < ROUNDS; round++) {
  runs.echo.push(load(`${echo.http}/rpc`, { bodies, headers }))
  runs.ours.push(load(`${daemon.http}/rpc`, { bodies, headers }))
  runs.fastify.push(load(`${fastify.http}/rpc`, { bodies, headers }))
}
for (const [name, all] of Object.entries(runs))
  console.log(`${name.padEnd(8)} ${all.map((each) => Math.round(each)).join(' ')} requests/s`)
tell('files.get over HTTP, of a bare uWebSockets echo', ratio(runs.ours, runs.echo), 0.38)
tell('files.get over HTTP, of fastify + better-sqlite3', ratio(runs.ours, runs.fastify), 2.5)
await Promise.all([daemon.stop(), echo.stop(), fastify.stop()])
