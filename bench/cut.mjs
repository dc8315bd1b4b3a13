// The limit of a running daemon is cut from 4,096 to 300 and raised again, under 1,000 clients and 200 open libraries.
// usage: node bench/cut.mjs [CLIENTS [LIBRARIES [CUT [WORKERS]]]]
import net from 'node:net'
import { Workers } from '../dist/test/harness/load.js'
import { eventually, sleep } from '../dist/test/harness/daemon.js'
import { play } from '../dist/test/harness/scene.js'

const [clients = 1_000, libraries = 200, cut = 300, working = 20] = process.argv.slice(2).map(Number)
const LIMIT = 4_096

await play(async (scene) => {
  const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
  const opened = []
  for (let at = 0; at < libraries; at++) {
    const { id } = await daemon.call('libraries.create', { name: `library ${at}` })
    await daemon.call('libraries.open', { library: id })
    opened.push(id)
  }
  // Asked for once as they come, then idle: who may give way. Those at work ask again and again.
  const idle = Array.from({ length: clients - working }, () => guest(daemon))
  const asked = new Workers(daemon, working, 'libraries.info', { library: opened[0] }, 20)
  await eventually('all are in', 60_000, async () => (await daemon.status()).connections.current >= clients)
  const full = await daemon.status()
  console.log(
    `before       ${full.descriptors.open} open, ${full.libraries.open} libraries, ${full.connections.current} connections`,
  )
  asked.take()

  const down = await timed(daemon, cut, ({ descriptors }) => descriptors.open < cut && descriptors.level === 'normal')
  console.log(
    `cut to ${cut}   normal again after ${down.ms} ms, ${down.status.descriptors.open} open, ${down.status.libraries.open} libraries, ${down.status.connections.current} connections`,
  )
  const up = await timed(
    daemon,
    LIMIT,
    ({ descriptors }) => descriptors.level === 'normal' && descriptors.budget > LIMIT / 2,
  )
  console.log(`raised       normal and used after ${up.ms} ms`)
  await sleep(500)
  await asked.stop()
  const dropped = asked.take().failures
  const closed = idle.filter(({ destroyed }) => destroyed).length
  const emfile = daemon.log.split('\n').filter((line) => line.includes('EMFILE')).length
  console.log(`idle clients ${closed} of ${idle.length} gave way`)
  console.log(`at work      ${dropped.length} requests dropped ${dropped.slice(0, 3).join(' | ')}`)
  console.log(`log          ${emfile} lines with EMFILE`)
  for (const socket of idle) socket.destroy()
  const { code } = await daemon.stop()
  process.exitCode = code === 0 && dropped.length === 0 && emfile === 0 && down.ms <= 2_000 && up.ms <= 2_000 ? 0 : 1
})

/** One request, then silence on a kept connection. */
function guest({ port }) {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  return socket
}

async function timed(daemon, limit, isDone) {
  const begun = performance.now()
  daemon.limit(limit)
  const status = await eventually(`limit ${limit}: normal`, 30_000, async () => {
    const now = await daemon.status().catch(() => null)
    return now?.limit.soft === limit && isDone(now) && now
  })
  return { ms: Math.round(performance.now() - begun), status }
}
