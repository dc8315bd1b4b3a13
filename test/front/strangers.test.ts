// Who has shown no token yet: little time, and nothing of those who are known.
import test from 'ava'
import http from 'node:http'
import net from 'node:net'
import { loadNative } from '../../src/descriptors/native.js'
import { kinds, ping, sleep, TOKEN, until, withStage, type Stage } from './stage.js'

const CONSOLE = new Map([['/', { type: 'text/html; charset=utf-8', body: 'x'.repeat(8 << 20), etag: '"1"' } as const]])

interface Visit {
  readonly socket: net.Socket
  got: string
  closed: boolean
}

function visit({ port }: Stage, greeting = ''): Visit {
  const socket = net.connect(port, '127.0.0.1')
  const visit: Visit = { socket, got: '', closed: false }
  socket.on('data', (part) => (visit.got += part.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (visit.closed = true))
  if (greeting !== '') socket.write(greeting)
  return visit
}

function health(port: number, token?: string): string {
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
  return `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${authorization}\r\n`
}

const strangers = ({ front }: Stage) => front.connections().strangers
for (const kind of await kinds()) {
  // Without the addon uWebSockets tells no connection from another.
  const told = kind === 'node' || (process.platform === 'linux' && loadNative())
  const serial = told ? test.serial : test.serial.skip
  const front = (sentence: string) => `${kind}: ${sentence}`

  serial(front('when all is taken strangers make room down to their part, and nobody who is known does'), (t) =>
    withStage(kind, { clients: 16, strangersPart: 4, newcomerIdleMs: 200 }, async (stage) => {
      const { rpc, feed, port, slots } = stage
      const agents = Array.from({ length: 10 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }))
      const first = agents.splice(0, 3)
      for (const agent of first) t.is((await rpc(ping(1), { agent })).status, 200)
      const ws = await feed()
      const greeted = visit(stage, health(port, TOKEN))
      await until(() => greeted.got.includes('"ok"'), 'who shows the token at an open page is answered')
      t.is(strangers(stage), 0)
      const asked = visit(stage, health(port))
      const others = Array.from({ length: 10 }, () => visit(stage))
      await until(() => slots.used.clients === 16, 'all is taken')
      await sleep(400)
      t.is(strangers(stage), 11, 'while nobody needs their places they stay')
      for (const agent of agents.slice(0, 5)) await letIn(stage, agent)
      t.true(others.filter(({ closed }) => closed).length >= 4)
      t.deepEqual([ws.readyState, greeted.closed], [ws.OPEN, false])
      const kept = first.map((agent) => Object.values(agent.freeSockets).flat().length)
      t.deepEqual(kept, [1, 1, 1], 'longer idle than those who had to go')
      for (const agent of agents.slice(5)) await letIn(stage, agent)
      ws.terminate()
      for (const agent of [...first, ...agents]) agent.destroy()
      for (const { socket } of [...others, asked, greeted]) socket.destroy()
      await until(() => strangers(stage) === 0 && slots.used.clients === 0, 'all slots are back')
    }),
  )

  serial(front('who asks for nothing in time is closed, and who does stays, with a token or without'), (t) =>
    withStage(kind, { strangerMs: 400, console: CONSOLE }, async (stage) => {
      const { rpc, feed, port } = stage
      const begun = performance.now()
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await rpc(ping(1), { agent })).status, 200)
      const ws = await feed()
      const known = visit(stage, health(port, TOKEN))
      const body = visit(stage, `POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\n`)
      body.socket.write('Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{')
      const reading = visit(stage, health(port).replace('/health', '/'))
      reading.socket.pause()
      const asking = [visit(stage, health(port)), visit(stage, health(port, 'wrong'))]
      const out = [
        visit(stage),
        visit(stage, `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\nX: `),
      ]
      await until(() => out.every((each) => each.closed), 'strangers are closed')
      t.deepEqual(
        out.map(({ got }) => got.split('\r\n', 1)[0]),
        ['', ''],
      )
      // Whoever asked for something has ten seconds.
      if (performance.now() - begun < 8_000) {
        t.deepEqual([known.closed, body.closed], [false, false])
        for (const { socket } of asking) socket.write(health(port))
        const answered = () => asking.every(({ got }) => got.split('HTTP/1.1 200 OK').length === 3)
        await until(answered, 'a kept connection is answered again')
        t.is(strangers(stage), 3)
        reading.socket.resume()
        await until(() => reading.got.length > 4 << 20, 'who reads what it was sent may do so to the end')
        t.is((await rpc(ping(2), { agent })).status, 200)
      }
      for (const { socket } of [...asking, reading]) socket.destroy()
      t.is(ws.readyState, ws.OPEN)
      ws.terminate()
      agent.destroy()
      for (const { socket } of [known, body]) socket.destroy()
    }),
  )
}

/** Who was refused comes again. */
async function letIn({ rpc }: Stage, agent: http.Agent): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    const { status } = await rpc(ping(1), { agent }).catch(() => ({ status: 0 }))
    if (status === 200) return
    await sleep(50)
  }
  throw new Error('nobody made room')
}
