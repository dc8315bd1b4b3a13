// The least that a server of the daemon's shape does with a crowd: one thread meets the clients and refuses, unparsed, whatever finds
// UNDER_WAY_MAX under way; another spends so many microseconds on each of the rest and answers with a page of so many files. Refusals
// wait for a tenth of a second, as the daemon's do. It checks nothing, keeps no shares, and has no files to send.
// usage: node crowd-floor.mjs EACH_US PAGE
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

const UNDER_WAY_MAX = 24
const REFUSALS_GATHER_MS = 100
/** What the daemon says of one file in a list. */
const FILE_BYTES = 280

if (isMainThread) await meetClients(...process.argv.slice(2).map(Number))
else serve(workerData)

function serve({ eachUs, page }) {
  const answer = JSON.stringify('x'.repeat(FILE_BYTES * page))
  parentPort.on('message', (numbers) => {
    for (const _ of numbers) for (const until = performance.now() + eachUs / 1_000; performance.now() < until;);
    parentPort.postMessage(numbers.map((number) => [number, answer]))
  })
}

async function meetClients(eachUs, page) {
  const { default: uWS } = await import('uWebSockets.js')
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { eachUs, page } })
  const underWay = new Map()
  let last = 0
  let toSend = []
  let refused = new Map()

  worker.on('message', (answers) => {
    for (const [number, json] of answers) {
      const { client, id } = underWay.get(number)
      underWay.delete(number)
      if (client.isOpen) client.ws.send(`{"jsonrpc":"2.0","id":${id},"result":${json}}`)
    }
  })
  setInterval(() => {
    const all = refused
    refused = new Map()
    for (const [client, ids] of all) if (client.isOpen) client.ws.cork(() => ids.forEach((id) => refuse(client, id)))
  }, REFUSALS_GATHER_MS)

  const message = (ws, bytes) => {
    const { client } = ws.getUserData()
    const head = Buffer.from(bytes, 0, Math.min(80, bytes.byteLength)).latin1Slice()
    const id = /"id":(\d+)/.exec(head)[1]
    if (head.includes('"core.')) return ws.send(`{"jsonrpc":"2.0","id":${id},"result":"pong"}`)
    if (underWay.size >= UNDER_WAY_MAX) {
      const ids = refused.get(client)
      if (ids) ids.push(id)
      else refused.set(client, [id])
      return
    }
    underWay.set((last += 1), { client, id })
    if (toSend.push(last) > 1) return
    setImmediate(() => {
      worker.postMessage(toSend)
      toSend = []
    })
  }
  uWS
    .App()
    .ws('/*', {
      maxBackpressure: 64 << 20,
      open: (ws) => (ws.getUserData().client = { ws, isOpen: true }),
      close: (ws) => (ws.getUserData().client.isOpen = false),
      message,
    })
    .get('/health', (res) => res.end('{}'))
    .any('/*', (res) => res.writeStatus('503 Service Unavailable').end('{}'))
    .listen('127.0.0.1', 0, 1, (socket) => console.log(uWS.us_socket_local_port(socket)))
}

function refuse({ ws }, id) {
  ws.send(
    `{"jsonrpc":"2.0","id":${id},"error":{"code":-32000,"message":"more is asked of it than it can do","data":{"code":"OVERLOADED","retryAfterMs":1000}}}`,
  )
}
