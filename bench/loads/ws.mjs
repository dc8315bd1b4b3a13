// Load over WebSocket by `ws`, an ordinary client: each answer is handed over by itself, and the next question sent by itself.
// Prints how many answers came a second.
import { WebSocket } from 'ws'

const { url, token, bodies, seconds, connections, inFlight } = JSON.parse(process.argv[2])
const headers = token ? { authorization: `Bearer ${token}` } : {}
let answers = 0
let next = 0
let runs = true

const sockets = await Promise.all(
  Array.from({ length: connections }, () => {
    const socket = new WebSocket(url, { headers, perMessageDeflate: false })
    socket.on('message', (answer) => {
      if (answer.includes('"error":{')) throw new Error(`an answer is an error: ${answer}`)
      answers += 1
      if (runs) socket.send(bodies[next++ % bodies.length])
    })
    return new Promise((resolve, reject) => socket.once('open', () => resolve(socket)).once('error', reject))
  }),
)
const begun = process.hrtime.bigint()
for (const socket of sockets) for (let at = 0; at < inFlight; at++) socket.send(bodies[next++ % bodies.length])
setTimeout(() => {
  runs = false
  console.log(answers / (Number(process.hrtime.bigint() - begun) / 1e9))
  for (const socket of sockets) socket.terminate()
}, seconds * 1_000)
