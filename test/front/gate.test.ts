// Admission: who is let in, what the others are told, and that every count comes back to where it began.
import test from 'ava'
import http from 'node:http'
import net from 'node:net'
import type { Front } from '../../src/front/front.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { Reserve } from '../../src/descriptors/reserve.js'
import { kinds, ping, pong, sleep, TOKEN, until, withStage, type Kind, type Stage } from './stage.js'

interface Visit {
  readonly socket: net.Socket
  got: string
  closed: boolean
}

function visit(where: net.NetConnectOpts, greeting?: string): Visit {
  const socket = net.connect(where)
  const visit: Visit = { socket, got: '', closed: false }
  socket.on('data', (part) => (visit.got += part.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (visit.closed = true))
  if (greeting !== undefined) socket.write(greeting)
  return visit
}

/** Connections that say nothing, one after the other so that each is admitted or refused before the next. */
async function fill(stage: Stage, count: number, where: net.NetConnectOpts): Promise<Visit[]> {
  const visits: Visit[] = []
  for (let index = 0; index < count; index += 1) {
    const before = stage.front.connections()
    visits.push(visit(where))
    const settled = () => {
      const { accepted, refused } = stage.front.connections()
      return accepted + refused > before.accepted + before.refused
    }
    await until(settled, 'the gate decides')
  }
  return visits
}

const list = { jsonrpc: '2.0', id: 1, method: 'libraries.list' }

/** How many newcomers had been met when the request of a client that is in was worked at, all of them waiting together. */
async function metBefore(kind: Kind, newcomers: number): Promise<number> {
  let met = 0
  const dispatch: Dispatch = (request, answer) => {
    const { accepted, refused } = opened!.connections()
    met = accepted + refused
    pong(request, answer)
  }
  let opened: Front | null = null
  await withStage(kind, { clients: 1, dispatch }, async (stage) => {
    opened = stage.front
    const [client] = await fill(stage, 1, { port: stage.port, host: '127.0.0.1' })
    const visits = Array.from({ length: newcomers }, () => visit({ port: stage.port, host: '127.0.0.1' }))
    const head = `POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:${stage.port}\r\nAuthorization: Bearer ${TOKEN}\r\n`
    const body = JSON.stringify(ping(1))
    // Sockets connect in the next tick: by then all wait, and the loop has not polled.
    process.nextTick(() => {
      client!.socket.write(`${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    })
    await until(() => client!.got.includes('pong'), 'the client has its answer')
    await until(() => visits.every((each) => each.got.startsWith('HTTP/1.1 503')), 'each of the others is told why')
    client!.socket.destroy()
  })
  return met
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  const bounded = kind === 'node' || (process.platform === 'linux' && loadNative()) ? test.serial : test.serial.skip
  bounded(front('a client that is in waits for no more newcomers than are met in one turn of the loop'), async (t) => {
    const reserve = new Reserve()
    t.is(reserve.fill(2), 0)
    try {
      t.true((await metBefore(kind, 4 * LIMITS.acceptTurnMax)) <= 1 + LIMITS.acceptTurnMax)
      t.is(reserve.held.length, 2)
    } finally {
      reserve.close()
    }
  })

  for (const greeting of [undefined, 'GET /health HTTP/1.1\r\n']) {
    const manner = greeting === undefined ? 'silent' : 'half-open'
    test.serial(front(`of 400 ${manner} connections 10 are let in, and each of the others is told why`), (t) =>
      withStage(kind, { clients: 10 }, async ({ port, slots, front: opened }) => {
        const visits = Array.from({ length: 400 }, () => visit({ port, host: '127.0.0.1' }, greeting))
        await until(() => opened.connections().refused === 390, 'the gate has seen all')
        await until(() => visits.filter((each) => each.closed).length === 390, 'the refused are closed')
        const told = visits.filter((each) => each.got.startsWith('HTTP/1.1 503'))
        t.is(told.length, 390)
        for (const { got } of told) {
          t.regex(got, /Retry-After: 1\r\n/)
          t.like(JSON.parse(got.split('\r\n\r\n')[1] ?? ''), {
            code: 'CONNECTION_LIMIT',
            retryable: true,
            class: 'clients',
          })
        }
        t.is(slots.used.clients, 10)
        t.is(slots.peak.clients, 10)
        for (const { socket } of visits) socket.destroy()
        await until(() => slots.used.clients === 0, 'the slots are back')
        t.like(opened.connections(), { current: 0, peak: 10, accepted: 10, refused: 390 })
        t.is(opened.connections().refusedBy['clients'], 390)
      }),
    )
  }

  test.serial(front('admitted clients are served during a flood'), (t) =>
    withStage(kind, { clients: 5 }, async ({ rpc, port, slots }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await rpc(ping(1), { agent })).status, 200)
      const flood = Array.from({ length: 200 }, () => visit({ port, host: '127.0.0.1' }))
      for (let id = 0; id < 50; id += 1) t.is((await rpc(ping(id), { agent })).status, 200)
      await until(() => flood.filter((each) => each.closed).length >= 196, 'the flood is refused')
      t.is(slots.peak.clients, 5)
      for (const { socket } of flood) socket.destroy()
      agent.destroy()
    }),
  )

  test.serial(front('counts are exact after HTTP, WebSocket and unix clients have come and gone in every way'), (t) =>
    withStage(kind, { clients: 40 }, async (stage) => {
      const { rpc, feed, slots, port, socket, front: opened } = stage
      const agent = new http.Agent({ keepAlive: true, maxSockets: 5 })
      const round = async (index: number) => {
        const ws = await feed()
        await Promise.all([
          rpc(ping(index)),
          rpc(ping(index), { agent }),
          rpc(ping(index), { unix: true }),
          rpc(ping(index), { token: 'wrong' }),
          feed(['bearer.wrong']).catch(() => undefined),
        ])
        const half = visit({ port, host: '127.0.0.1' }, 'POST /rpc HTTP/1.1\r\nHost: x\r\n')
        const local = visit({ path: socket }, 'GET /hea')
        await sleep(1)
        half.socket.resetAndDestroy()
        local.socket.destroy()
        if (index % 3 === 0) ws.close()
        else if (index % 3 === 1) ws.terminate()
        else ws.send(Buffer.from('binary is refused'))
      }
      for (let index = 0; index < 30; index += 1) await round(index)
      agent.destroy()
      await until(() => slots.used.clients === 0, 'the slots are back')
      const { current, accepted, refused } = opened.connections()
      t.is(current, 0)
      t.is(refused, 0)
      t.true(accepted >= 30 * 6)
      t.deepEqual(opened.peers(), [])
    }),
  )

  test(front('open connections are listed with what is known of them'), (t) =>
    withStage(kind, {}, async (stage) => {
      const { feed, front: opened, port } = stage
      const [silent] = await fill(stage, 1, { port, host: '127.0.0.1' })
      const ws = await feed()
      const peers = opened.peers()
      t.deepEqual(peers.map((each) => each.kind).sort(), ['http', 'ws'])
      t.true((peers.find((each) => each.kind === 'ws')?.since ?? Infinity) <= performance.now())
      if (kind === 'node') t.true(peers.some((each) => each.remotePort === silent?.socket.localPort))
      silent?.socket.destroy()
      ws.terminate()
    }),
  )

  test(front('with every client slot taken four more get in over the unix socket, for control only'), (t) =>
    withStage(kind, { clients: 2, dispatch: pong }, async (stage) => {
      const { rpc, ask, slots, port, socket, front: opened } = stage
      const clients = await fill(stage, 2, { port, host: '127.0.0.1' })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await rpc(ping(1), { unix: true, agent })).status, 200)
      t.deepEqual(slots.used, { clients: 2, control: 1 })
      t.is((await ask({ path: '/health', unix: true, agent })).status, 200)
      const refused = await rpc(list, { unix: true, agent })
      t.is(refused.status, 200)
      t.is(JSON.parse(refused.body).error.data.code, 'CONNECTION_LIMIT')
      const locals = await fill(stage, 4, { path: socket })
      t.deepEqual(slots.used, { clients: 2, control: 4 })
      // What `status` sets against the bound of clients.
      t.like(opened.connections(), { current: 2, peak: 2, accepted: 6 })
      await until(() => locals.at(-1)?.closed === true, 'the fifth is refused')
      t.regex(locals.at(-1)?.got ?? '', /^HTTP\/1.1 503[\s\S]*"class":"control"/)
      t.is(opened.connections().refused, 1)
      for (const each of [...clients, ...locals]) each.socket.destroy()
      await until(() => slots.used.clients + slots.used.control === 1, 'only the agent is left')
      t.is(JSON.parse((await rpc(list, { unix: true, agent })).body).result, 'pong', 'there is room again')
      t.is(slots.used.control, 0)
      t.is(opened.connections().current, 1)
      agent.destroy()
      await until(() => slots.used.clients === 0, 'the last is back')
      t.is(opened.connections().current, 0)
    }),
  )

  test(front('a refused client may come back as soon as another leaves'), (t) =>
    withStage(kind, { clients: 1 }, async (stage) => {
      const { rpc, port } = stage
      const [holder] = await fill(stage, 1, { port, host: '127.0.0.1' })
      t.is((await rpc(ping(1))).status, 503)
      holder?.socket.destroy()
      await until(() => stage.slots.used.clients === 0, 'the slot is free')
      t.is((await rpc(ping(1))).status, 200)
    }),
  )

  test(front('a connection that never finishes its headers is dropped'), async (t) => {
    t.timeout(120_000)
    await withStage(kind, {}, async ({ port, slots }) => {
      const slow = visit({ port, host: '127.0.0.1' }, `GET /health HTTP/1.1\r\nAuthorization: Bearer ${TOKEN}\r\nX: `)
      const drip = setInterval(() => slow.socket.write('a'), 500)
      await until(() => slots.used.clients === 1, 'it is admitted')
      await until(() => slow.closed, 'it is dropped', 60_000)
      clearInterval(drip)
      await until(() => slots.used.clients === 0, 'the slot is back')
      t.is(slots.used.clients, 0)
    })
  })
}
