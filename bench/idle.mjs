// 15,000 WebSocket clients that say nothing: what each costs in memory, against a bare uWebSockets; how long a ping of those at work
// takes among them, in turn with one of a daemon that has no others; and that they go cleanly when the limit is cut. The clients are in a
// process of their own.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { freePort, quantile, startDaemon, startServer } from './harness.mjs'

const CLIENTS = Number(process.argv[2] ?? 15_000)
const LIMIT = CLIENTS + 4_000
const PINGS = 5_000
const inspectors = {}
if (process.argv[3] === 'clients') await sit(new URL(process.argv[4]), process.argv[5])
else await measure()

/** Opens them and says so; then tells how each ended, once all have or after a line on stdin. */
async function sit({ hostname, port, pathname }, token) {
  const ended = { closed: 0, reset: 0, told: 0 }
  const one = () =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () =>
        socket.write(
          `GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
            `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${token}\r\n\r\n`,
        ),
      )
      socket.once('data', (chunk) => {
        if (!String(chunk).startsWith('HTTP/1.1 101')) return reject(new Error(String(chunk)))
        // A ping of the server's is answered, as any client does; a close frame is what it should be told at the end.
        socket.on('data', (frame) => {
          if (frame[0] === 0x89) socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0]))
          if (frame[0] === 0x88) ended.told += 1
        })
        resolve()
      })
      socket.on('error', () => (ended.reset += 1))
      socket.on('close', () => (ended.closed += 1))
    })
  for (let at = 0; at < CLIENTS; at += 250) await Promise.all(Array.from({ length: Math.min(250, CLIENTS - at) }, one))
  console.log('open')
  await new Promise((resolve) => process.stdin.once('data', resolve))
  console.log(JSON.stringify(ended))
  process.exit(0)
}

async function measure() {
  const daemon = await inspected(() => startDaemon({ nofile: LIMIT }))
  const echo = await inspected(() => startServer({ script: 'servers/uws-echo.mjs', nofile: LIMIT }))
  const calm = await startDaemon({ nofile: LIMIT })
  const costs = {}
  let sitting
  for (const [name, server] of Object.entries({ echo: { ...echo, pid: echo.child.pid }, ours: daemon })) {
    const { http, pid } = server
    const before = await heldBy(server)
    const clients = await open(http, daemon.token)
    costs[name] = ((await heldBy(server)) - before) / CLIENTS
    console.log(
      `${name.padEnd(5)} ${CLIENTS} idle clients: ${Math.round(costs[name])} bytes each, ${pid === daemon.pid ? 'of the daemon' : 'bare'}`,
    )
    if (name === 'ours') sitting = clients
    else clients.child.kill()
  }
  const more = costs.ours - costs.echo
  console.log(
    `more than bare uWebSockets: ${Math.round(more)} bytes a client (goal ≤ 2048: ${more <= 2_048 ? 'met' : 'missed'})`,
  )

  const [among, without] = await pings([daemon, calm], PINGS)
  const slower = quantile(among, 0.99) / quantile(without, 0.99)
  const ms = (all, share) => quantile(all, share).toFixed(2)
  console.log(
    `ping p50 ${ms(without, 0.5)} ms, p99 ${ms(without, 0.99)} ms; among them ${ms(among, 0.5)} and ${ms(among, 0.99)} ms`,
  )
  console.log(`p99 among them, of without: ${slower.toFixed(2)} (goal ≤ 1.5: ${slower <= 1.5 ? 'met' : 'missed'})`)

  const cut = Math.round(CLIENTS / 3)
  spawnSync('prlimit', ['--pid', String(daemon.pid), `--nofile=${cut}:${LIMIT}`])
  const begun = performance.now()
  let status
  do {
    await new Promise((resolve) => setTimeout(resolve, 100))
    status = await daemon.call('core.status')
  } while (status.descriptors.open >= cut && performance.now() - begun < 60_000)
  const { open: left } = status.descriptors
  console.log(
    `limit cut to ${cut}: ${left} open after ${Math.round(performance.now() - begun)} ms, ${status.connections.current} clients stayed`,
  )
  const { closed, reset, told } = await sitting.end()
  console.log(`${closed} clients closed, ${told} of them told why, ${reset} reset`)
  const log = readFileSync(`${daemon.dataDir}/logs/daemon.log`, 'utf8')
  console.log(`lines of the log with EMFILE: ${log.split('\n').filter((line) => line.includes('EMFILE')).length}`)
  // A process waits for its debugger to go before it ends.
  for (const inspector of Object.values(inspectors)) inspector.terminate()
  await Promise.all([daemon.stop(), calm.stop(), echo.stop()])
}

/**
 * What is left once garbage was collected and no more is given back: without that, it is how long ago that was done by itself that would
 * be measured.
 */
async function heldBy({ pid, debugged }) {
  inspectors[pid] ??= await inspect(debugged)
  let least = Infinity
  for (let calls = 1; ; calls++) {
    inspectors[pid].send(JSON.stringify({ id: calls, method: 'HeapProfiler.collectGarbage' }))
    await once(inspectors[pid], 'message')
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const held = memoryOf(pid)
    if (calls >= 5 && held > least - (1 << 19)) return Math.min(held, least)
    least = Math.min(held, least)
  }
}

/** No signal has the daemon listen for a debugger, so it does from the start. */
async function inspected(start) {
  const debugged = await freePort()
  process.env.NODE_OPTIONS = `--inspect=127.0.0.1:${debugged}`
  const server = await start()
  delete process.env.NODE_OPTIONS
  return { ...server, debugged }
}

async function inspect(debugged) {
  const [{ webSocketDebuggerUrl }] = await (await fetch(`http://127.0.0.1:${debugged}/json/list`)).json()
  const inspector = new WebSocket(webSocketDebuggerUrl)
  await once(inspector, 'open')
  return inspector
}

/** Not shared with any file: what the process has for itself. */
function memoryOf(pid) {
  return 1_024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1])
}

async function open(http, token) {
  const script = fileURLToPath(import.meta.url)
  const args = [`--nofile=${LIMIT}:${LIMIT}`, process.execPath, script, String(CLIENTS), 'clients', `${http}/ws`, token]
  const child = spawn('prlimit', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const line = () => new Promise((resolve) => child.stdout.once('data', (chunk) => resolve(String(chunk))))
  await line()
  const end = () => {
    const told = line()
    child.stdin.write('end\n')
    return told.then((text) => JSON.parse(text))
  }
  return { child, end }
}

/** In turn, so that the machine is the same for all. */
async function pings(daemons, count) {
  const times = daemons.map(() => [])
  for (let at = 0; at < count; at++) {
    for (const [of, { call }] of daemons.entries()) {
      const begun = performance.now()
      await call('core.ping')
      times[of].push(performance.now() - begun)
    }
  }
  return times
}
