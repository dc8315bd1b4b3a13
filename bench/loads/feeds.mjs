// Load over WebSocket that costs next to nothing itself: whole frames are made before the clock starts, and of answers only
// the headers are looked at. Prints how many answers came a second.
import { connect } from 'node:net'

const { url, token, bodies, seconds, connections, inFlight } = JSON.parse(process.argv[2])
const { hostname, port, pathname } = new URL(url)
// A mask of zeros leaves the text as it is.
const frames = bodies.map((body) => {
  const text = Buffer.from(body)
  const head = text.length < 126 ? [0x81, 0x80 | text.length] : [0x81, 0xfe, text.length >> 8, text.length & 0xff]
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), text])
})
const TEXT = 0x81
const PING = 0x89
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
let answers = 0
let next = 0
let runs = true

function ask(socket, count) {
  if (!runs) return
  const batch = []
  for (let at = 0; at < count; at++) batch.push(frames[next++ % frames.length])
  socket.write(batch.length === 1 ? batch[0] : Buffer.concat(batch))
}

/** Counts the frames that end in what came; `rest` is what the last one lacks, or its header as far as it is there. */
function reader(socket) {
  let skip = 0
  let head = null
  return (chunk) => {
    if (chunk.includes('"error":{')) throw new Error(`an answer is an error: ${chunk.subarray(0, 500)}`)
    if (head) chunk = Buffer.concat([head, chunk])
    head = null
    let at = skip
    let came = 0
    while (at < chunk.length) {
      const kind = chunk[at]
      if (kind !== TEXT && kind !== PING) throw new Error(`a frame begins with ${kind}`)
      const short = chunk[at + 1]
      const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2
      if (short === undefined || at + headBytes > chunk.length) {
        head = chunk.subarray(at)
        at = chunk.length
        break
      }
      const length =
        short < 126 ? short : short === 126 ? chunk.readUInt16BE(at + 2) : Number(chunk.readBigUInt64BE(at + 2))
      at += headBytes + length
      if (kind === PING) socket.write(PONG)
      else came += 1
    }
    skip = at - chunk.length
    // Of the last one the end may be missing: it is asked for again all the same, so that so many are in flight.
    answers += came
    if (came > 0) ask(socket, came)
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      const authorization = token ? `Authorization: Bearer ${token}\r\n` : ''
      socket.write(
        `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${authorization}\r\n`,
      )
    })
    socket.setNoDelay(true).on('error', reject)
    socket.once('data', (chunk) => {
      if (!String(chunk).startsWith('HTTP/1.1 101')) return reject(new Error(String(chunk)))
      socket.on('data', reader(socket))
      resolve(socket)
    })
  })
}

const sockets = await Promise.all(Array.from({ length: connections }, open))
const begun = process.hrtime.bigint()
for (const socket of sockets) ask(socket, inFlight)
setTimeout(() => {
  runs = false
  console.log(answers / (Number(process.hrtime.bigint() - begun) / 1e9))
  for (const socket of sockets) socket.destroy()
}, seconds * 1_000)
