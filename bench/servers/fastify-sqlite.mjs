// What one would write in an afternoon: fastify with better-sqlite3 in one thread, the same answer to the same request.
import Fastify from 'fastify'
import Database from 'better-sqlite3'

const database = new Database(process.argv[2], { readonly: true })
const get = database.prepare('SELECT * FROM file WHERE id = ?')
const fastify = Fastify()
fastify.post('/rpc', (request) => {
  const { id, params } = request.body
  const row = get.get(params.id)
  return {
    jsonrpc: '2.0',
    id,
    result: {
      ...row,
      id: String(row.id),
      library: params.library,
      modifiedAt: new Date(row.mtime / 1000).toISOString(),
    },
  }
})
await fastify.listen({ host: '127.0.0.1', port: 0 })
console.log(fastify.server.address().port)
