// HTTP `files.get` through a shard against a bare uWebSockets echo of the same body, and against fastify with
// better-sqlite3 in one thread; `core.ping` and `files.get` over WebSocket against an echo of the same messages. 64 connections,
// 16 in flight on each WebSocket, by an ordinary client and by one that sends sixteen in one write; load from a process of its own,
// runs in turn. What is asked again soon is answered without its shard, so over HTTP so many files are asked for in turn as well that
// each of them goes through it.
import Database from 'better-sqlite3'
import { join } from 'node:path'
import { inTurn, index, load, loadFeeds, ratio, scratch, show, startDaemon, startServer, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 4)
const daemon = await startDaemon({ args: process.env.FRONT ? ['--front', process.env.FRONT] : [] })
const { library, location } = await index(daemon.call, process.env.TREE ?? '/usr/share')
const { items, cursor: first } = await daemon.call('search.files', { library, query: '', limit: 1000 })
const bodies = items
  .slice(0, 500)
  .map(({ id }, at) => JSON.stringify({ jsonrpc: '2.0', id: at, method: 'files.get', params: { library, id } }))
/** So many that what was asked of one is forgotten when its turn comes again. */
const MANY = 60_000
const many = [...items]
for (let cursor = first; cursor && many.length < MANY;) {
  const page = await daemon.call('search.files', { library, query: '', limit: 1000, cursor })
  many.push(...page.items)
  cursor = page.cursor
}
const each = many.map(({ id }, at) =>
  JSON.stringify({ jsonrpc: '2.0', id: at, method: 'files.get', params: { library, id } }),
)
const pings = bodies.map((_, id) => JSON.stringify({ jsonrpc: '2.0', id, method: 'core.ping' }))

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
const http = (server, texts = bodies) => load(`${server.http}/rpc`, { bodies: texts, headers, seconds: SECONDS })
const feeds = (server, texts, client) =>
  loadFeeds(`${server.http}/ws`, { bodies: texts, token: daemon.token, client, seconds: SECONDS })
const sides = {
  'HTTP ours': [daemon.pid, () => http(daemon)],
  'HTTP echo': [echo.child.pid, () => http(echo)],
  'HTTP many': [daemon.pid, () => http(daemon, each)],
  fastify: [fastify.child.pid, () => http(fastify)],
  'ping ours': [daemon.pid, () => feeds(daemon, pings)],
  'ping echo': [echo.child.pid, () => feeds(echo, pings)],
  'get ours': [daemon.pid, () => feeds(daemon, bodies)],
  'get echo': [echo.child.pid, () => feeds(echo, bodies)],
  'ping ours, ws': [daemon.pid, () => feeds(daemon, pings, 'ws')],
  'ping echo, ws': [echo.child.pid, () => feeds(echo, pings, 'ws')],
  'get ours, ws': [daemon.pid, () => feeds(daemon, bodies, 'ws')],
  'get echo, ws': [echo.child.pid, () => feeds(echo, bodies, 'ws')],
}

load(`${daemon.http}/rpc`, { bodies, headers, seconds: 2 })
feeds(daemon, pings)
const { rates, perCpu } = inTurn(sides, ROUNDS, SECONDS)
for (const name of Object.keys(sides)) {
  const list = (all) => all.map((each) => Math.round(each)).join(' ')
  console.log(`${name.padEnd(13)} ${list(rates[name])} requests/s; a second of its CPU: ${list(perCpu[name])}`)
}
for (const [what, ours, theirs, goal] of [
  ['files.get over HTTP, of a bare uWebSockets echo', 'HTTP ours', 'HTTP echo', 0.5],
  ['files.get over HTTP, each of many files in turn, of a bare uWebSockets echo', 'HTTP many', 'HTTP echo', 0.5],
  ['files.get over HTTP, of fastify + better-sqlite3', 'HTTP ours', 'fastify', 3.2],
  ['core.ping over WebSocket by `ws`, of a bare uWebSockets echo', 'ping ours, ws', 'ping echo, ws', 0.9],
  ['files.get over WebSocket by `ws`, of a bare uWebSockets echo', 'get ours, ws', 'get echo, ws', 0.65],
  ['core.ping over WebSocket, sixteen in one write, of a bare uWebSockets echo', 'ping ours', 'ping echo', 0.9],
  ['files.get over WebSocket, sixteen in one write, of a bare uWebSockets echo', 'get ours', 'get echo', 0.65],
]) {
  tell(what, ratio(rates[ours], rates[theirs]), goal)
  show('  by their CPU', ratio(perCpu[ours], perCpu[theirs]))
}
await Promise.all([daemon.stop(), echo.stop(), fastify.stop()])
