// Who looks after a daemon: asks for core.ping and core.status in turn, and for GET /health, until its input ends. Prints how long
// each took, as an array of milliseconds.
import { connect } from 'node:net'

const { port, token, everyMs } = JSON.parse(process.argv[2])
const ms = []
const frame = (method) => {
  const body = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}"}`)
  return Buffer.concat([Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0]), body])
}
const host = `Host: 127.0.0.1:${port}\r\n`
const ASKED = [frame('core.ping'), frame('core.status')]
const feed = await open()
feed.write(
  `GET /ws HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer ${token}\r\n\r\n`,
)
await new Promise((resolve) => feed.once('data', resolve))
const health = await open()
let turn = 0
const timer = setInterval(() => {
  turn += 1
  if (turn % 3 === 0) ask(health, `GET /health HTTP/1.1\r\n${host}\r\n`)
  else ask(feed, ASKED[turn % 2])
}, everyMs)
process.stdin.resume().on('end', () => {
  clearInterval(timer)
  setTimeout(() => {
    console.log(JSON.stringify(ms))
    process.exit()
  }, 3_000)
})
console.log('asks')

/** The first bytes of an answer are its answer; where the one before has none yet, nothing more is asked. */
function ask(socket, bytes) {
  if (socket.busy) return
  socket.busy = true
  const begun = performance.now()
  socket.write(bytes)
  socket.once('data', () => {
    ms.push(performance.now() - begun)
    socket.busy = false
  })
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket)).setNoDelay(true)
    socket.on('error', reject)
  })
}
