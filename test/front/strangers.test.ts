// Who has shown no token yet: few places, little time, and nothing of those who are known.
import test from 'ava'
import http from 'node:http'
import net from 'node:net'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { strangersMax } from '../../src/front/strangers.js'
import { kinds, ping, sleep, TOKEN, until, withStage, type Stage } from './stage.js'

const CONSOLE = new Map([['/', { type: 'text/html; charset=utf-8', body: 'x'.repeat(8 << 20), etag: '"1"' } as const]])

interface Visit {
  readonly socket: net.Socket
  got: string
  closed: boolean
}

function visit({ port }: Stage, greeting = '', from = '127.0.0.1'): Visit {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: from })
  const visit: Visit = { socket, got: '', closed: false }
  socket.on('data', (part) => (visit.got += part.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (visit.closed = true))
  if (greeting !== '') socket.write(greeting)
  return visit
}

async function crowd(stage: Stage, count: number, from?: string): Promise<Visit[]> {
  const before = stage.front.connections()
  const visits = Array.from({ length: count }, () => visit(stage, '', from))
  const met = () => {
    const { accepted, refused } = stage.front.connections()
    return accepted + refused >= before.accepted + before.refused + count
  }
  await until(met, 'the gate has met all')
  return visits
}

function health(port: number, token?: string): string {
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
  return `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${authorization}\r\n`
}

const strangers = ({ front }: Stage) => front.connections().strangers
const refused = ({ front }: Stage) => front.connections().refusedBy['strangers']

for (const kind of await kinds()) {
  // Without the addon uWebSockets tells no connection from another.
  const told = kind === 'node' || (process.platform === 'linux' && loadNative())
  const serial = told ? test.serial : test.serial.skip
  const front = (sentence: string) => `${kind}: ${sentence}`

  serial(front('beyond their places strangers are told why, and who is known is outside of them'), (t) =>
    withStage(kind, { clients: 100, strangerMs: 60_000 }, async (stage) => {
      const { rpc, feed, port, slots } = stage
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await rpc(ping(1), { agent })).status, 200)
      const ws = await feed()
      const greeted = visit(stage, health(port, TOKEN))
      await until(() => greeted.got.includes('"ok"'), 'who shows the token at an open page is answered')
      t.is(strangers(stage), 0)
      const begun = performance.now()
      const others = await crowd(stage, 60)
      const tookMs = performance.now() - begun
      t.is(strangers(stage), 50)
      await until(() => slots.used.clients === 53, 'as many are in as may be')
      await until(() => others.filter((each) => each.closed).length === 10, 'the others are closed')
      // On a busy machine some come so late that the eldest have had their chance.
      const told = others.filter((each) => each.closed && each.got !== '')
      t.is(told.length, refused(stage) ?? 0)
      t.true(told.length === 10 || tookMs >= LIMITS.strangerChanceMs, `${told.length} after ${tookMs} ms`)
      t.true(told.every(({ got }) => /^HTTP\/1.1 503 [^]*Retry-After: 1\r\n[^]*CONNECTION_LIMIT/i.test(got)))
      t.is((await rpc(ping(2), { unix: true })).status, 200, 'the unix socket is for who may use it')
      t.is((await rpc(ping(3), { agent })).status, 200)
      for (const { socket } of others) socket.destroy()
      await until(() => strangers(stage) === 0, 'the places of those who went are free')
      t.is(ws.readyState, ws.OPEN)
      ws.terminate()
      agent.destroy()
      greeted.socket.destroy()
    }),
  )

  serial(
    front('who was silent while others came gives his place to the next, and does not keep it for another peer'),
    (t) =>
      withStage(kind, { clients: 100, strangerMs: 60_000 }, async (stage) => {
        const { rpc, port } = stage
        const first = await crowd(stage, 50)
        const other = visit(stage, health(port), '127.0.0.2')
        await until(() => other.got.includes('"ok"'), 'one of another peer is let in at once')
        await until(() => first.filter((each) => each.closed).length === 1, 'for one of those who are many')
        await sleep(LIMITS.strangerChanceMs)
        for (let id = 1; id <= 3; id += 1) t.is((await rpc(ping(id))).status, 200)
        await until(() => first.filter((each) => each.closed).length > 1, 'the eldest had its chance')
        t.true((strangers(stage) ?? 0) <= 50)
        t.is(other.closed, false)
        for (const { socket } of [...first, other]) socket.destroy()
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

test('strangers have a small part of the connections, and as many as a browser needs', (t) => {
  const parts = [1, 2, 5, 10, 16, 40, 200, 600, 16_000].map((max) => strangersMax(max))
  t.deepEqual(parts, [1, 1, 4, 8, 8, 20, 64, 75, 2_000])
})
