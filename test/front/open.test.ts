// Opening and draining: what a front takes from the machine, and that it gives all of it back.
import test from 'ava'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Dispatch, Reply } from '../../src/protocol/messages.js'
import { LIMITS } from '../../src/base/limits.js'
import { openFront } from '../../src/front/open.js'
import { within } from '../harness/daemon.js'
import {
  Bell,
  closing,
  CountedSlots,
  fileAsked,
  kinds,
  ping,
  pong,
  reader,
  sleep,
  TOKEN,
  until,
  withStage,
  type Kind,
} from './stage.js'

function open(
  implementation: Kind,
  http: { host: string; port: number } | null,
  socketPath: string | null = null,
  token = TOKEN,
) {
  const slots = new CountedSlots(10)
  const setup = {
    implementation,
    http,
    socketPath,
    token,
    hostsAllowed: [],
    slots,
    dispatch: pong,
    publisher: new Bell(),
  }
  return openFront({ ...setup, log: () => undefined })
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  test(front('a port that is taken is ADDRESS_IN_USE and names the address'), (t) =>
    withStage(kind, {}, async ({ port }) => {
      const error = await t.throwsAsync(open(kind, { host: '127.0.0.1', port }), { code: 'ADDRESS_IN_USE' })
      t.regex(error?.message ?? '', new RegExp(`127.0.0.1:${port}`))
    }),
  )

  test(front('who is answered in the turn in which a drain ends has the answer'), async (t) => {
    let drain: (() => Promise<void>) | undefined
    let drained: Promise<void> | undefined
    const dispatch: Dispatch = (_request, answer) => {
      answer({ ok: true, json: '"asked"' })
      drained = drain?.()
    }
    await withStage(kind, { dispatch }, async (stage) => {
      drain = () => stage.front.drain(0)
      const { status, body } = await stage.rpc(fileAsked(1))
      t.is(status, 200)
      t.is(JSON.parse(body).result, 'asked')
      await drained
    })
  })

  test(front('an address that is not ours is BAD_CONFIG'), async (t) => {
    await t.throwsAsync(open(kind, { host: '192.0.2.1', port: 0 }), { code: 'BAD_CONFIG' })
    await t.throwsAsync(open(kind, { host: '127.0.0.1', port: 0 }, null, ''), { code: 'BAD_CONFIG' })
  })

  test(
    front('a socket path that is too long or taken by a file is BAD_CONFIG, a stale socket is replaced'),
    async (t) => {
      const directory = mkdtempSync(join(tmpdir(), 'front-'))
      t.teardown(() => rmSync(directory, { recursive: true }))
      await t.throwsAsync(open(kind, null, join(directory, 'x'.repeat(120))), { code: 'BAD_CONFIG' })
      const file = join(directory, 'file')
      writeFileSync(file, 'precious')
      await t.throwsAsync(open(kind, { host: '127.0.0.1', port: 0 }, file), { code: 'BAD_CONFIG' })
      t.true(existsSync(file))
      const stale = join(directory, 'daemon.sock')
      leaveStaleSocket(stale)
      t.true(existsSync(stale))
      const opened = await open(kind, null, stale)
      t.is(opened.socket, stale)
      await opened.drain(0)
      t.false(existsSync(stale))
    },
  )

  test(front('a port that was served a moment ago can be listened on again'), async (t) => {
    // Nobody else on this machine listens at this address, or comes from it.
    const host = '127.0.0.83'
    const port = await freePort(host)
    await withStage(kind, { http: { host, port } }, async (stage) => {
      t.is((await stage.rpc(ping(1))).status, 200)
      const ws = await stage.feed()
      ws.send(JSON.stringify(ping(1)))
      await reader(ws)()
    })
    const again = await open(kind, { host, port })
    t.is(again.http, `http://${host}:${port}`)
    await again.drain(0)
  })

  test(front('draining lets an answer in flight finish and refuses what is new'), (t) => {
    const waiting: ((reply: Reply) => void)[] = []
    const dispatch: Dispatch = (request, answer) => {
      if (request.operation === 'core.ping') answer({ ok: true, json: '"pong"' })
      else waiting.push(answer)
    }
    return withStage(kind, { dispatch }, async ({ front: opened, rpc, feed, port, socket, slots }) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await rpc(ping(1), { agent })).status, 200)
      const inFlight = rpc({ jsonrpc: '2.0', id: 2, method: 'core.status' })
      const ws = await feed()
      const next = reader(ws)
      const closed = closing(ws)
      await until(() => waiting.length === 1, 'a request is in flight')
      const drained = opened.drain(60_000)
      ws.send(JSON.stringify(ping(3)))
      t.is((await next()).error.data.code, 'DRAINING')
      t.regex(await rpc(ping(4), { agent }).then((answer) => answer.body, String), /DRAINING|ECONN|hang up/)
      await t.throwsAsync(rpc(ping(5)), undefined, 'nobody listens any more')
      waiting[0]?.({ ok: true, json: '"finished"' })
      t.is(JSON.parse((await inFlight).body).result, 'finished')
      await drained
      t.is(await closed, 1001)
      t.deepEqual(slots.used, { clients: 0, control: 0 })
      t.false(existsSync(socket))
      await t.throwsAsync(connecting(port))
      agent.destroy()
    })
  })

  test(front('who asks on while it drains is told why it is closed'), (t) =>
    withStage(kind, {}, async ({ front: opened, feed }) => {
      const ws = await feed()
      const next = reader(ws)
      const closed = closing(ws)
      ws.send(JSON.stringify(ping(1)))
      t.is((await next()).result, 'pong')
      // Not read any more: closed at once the connection would be reset, and who writes on notices that before it reads.
      for (let id = 2; id < 100; id++) ws.send(JSON.stringify(ping(id)))
      await opened.drain(0)
      ws.on('error', () => undefined)
      for (let id = 2; id < 100; id++) ws.send(JSON.stringify(ping(id)))
      t.is(await closed, 1001)
    }),
  )

  test(front('draining cuts off what does not finish by the deadline'), (t) =>
    withStage(kind, { dispatch: () => undefined }, async ({ front: opened, rpc, feed, slots, port }) => {
      const hung = rpc(ping(1)).then(
        () => 'answered',
        () => 'cut',
      )
      const ws = await feed()
      ws.send(JSON.stringify(ping(1)))
      const idle = net.connect(port, '127.0.0.1')
      idle.on('error', () => undefined)
      await until(() => slots.used.clients === 3, 'all are there')
      await sleep(20)
      // Unanswered they would be there for as long as a request may take.
      await within(LIMITS.responseMs / 2, 'it is drained', opened.drain(100))
      t.is(await hung, 'cut')
      t.deepEqual(slots.used, { clients: 0, control: 0 })
    }),
  )
}

/** A socket file that nobody listens on, as a killed daemon leaves it: node removes its own when it closes. */
function leaveStaleSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
}

function connecting(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve()
    })
    socket.on('error', reject)
  })
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, host, () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}
