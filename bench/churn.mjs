// A thread that asks over a new connection each time, 32 at once, as long as it is told to; answers with requests a second.
import { connect } from 'node:net'
import { parentPort } from 'node:worker_threads'

parentPort.on('message', async ({ http, bodies, headers, seconds }) => {
  const { hostname, port, host } = new URL(http)
  const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const requests = bodies.map(
    (body) => `POST /rpc HTTP/1.1\r\n${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  const end = performance.now() + seconds * 1000
  let done = 0
  const client = async () => {
    while (performance.now() < end) {
      await once(hostname, Number(port), requests[done % requests.length])
      done += 1
    }
  }
  await Promise.all(Array.from({ length: 32 }, client))
  parentPort.postMessage(done / seconds)
})

function once(host, port, request) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(request))
    socket.once('data', (bytes) => {
      if (!bytes.toString('latin1').startsWith('HTTP/1.1 200')) reject(new Error(bytes.toString()))
      socket.resetAndDestroy()
    })
    socket.on('error', reject).on('close', resolve)
  })
}
