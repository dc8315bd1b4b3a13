// A thread that asks servers side by side: each of its clients puts the same request to every one of them at once and goes on when all
// have answered, so that all serve the same number under the same weather. Answers with how many that were.
import { connect } from 'node:net'
import { parentPort } from 'node:worker_threads'

const CLIENTS = 32

/** Kept over several orders: by address of the server, then by client. */
const kept = new Map()

parentPort.on('message', async ({ sides, seconds, fresh }) => {
  const servers = sides.map(({ http, bodies, headers }) => {
    const { hostname, port, host } = new URL(http)
    const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
    const requests = bodies.map(
      (body) => `POST /rpc HTTP/1.1\r\n${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
    return { host: hostname, port: Number(port), requests }
  })
  const end = performance.now() + seconds * 1000
  let done = 0
  const client = async (at) => {
    while (performance.now() < end) {
      const turn = done++
      await Promise.all(servers.map((server) => ask(server, turn, fresh ? null : at)))
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, at) => client(at)))
  parentPort.postMessage(done)
})

async function ask(server, turn, client) {
  const socket = client === null ? await opened(server) : await keptBy(server, client)
  const answer = new Promise((resolve, reject) => {
    socket.once('data', (bytes) => {
      if (bytes.toString('latin1').startsWith('HTTP/1.1 200')) resolve()
      else reject(new Error(bytes.toString()))
    })
  })
  socket.write(server.requests[turn % server.requests.length])
  await answer
  if (client !== null) return
  await new Promise((resolve) => socket.once('close', resolve).resetAndDestroy())
}

async function keptBy(server, client) {
  const key = `${server.port} ${client}`
  if (!kept.has(key)) kept.set(key, await opened(server))
  return kept.get(key)
}

function opened({ host, port }) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => resolve(socket))
    socket.on('error', reject)
    socket.on('close', () => forget(socket))
  })
}

function forget(socket) {
  for (const [key, each] of kept) if (each === socket) kept.delete(key)
}
