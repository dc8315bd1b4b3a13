// After the loop stood still: who waits is served, whose caller has gone is not begun, and health tells of it.
import test from 'ava'
import net from 'node:net'
import type { Stall } from '../../src/protocol/messages.js'
import { kinds, ping, rpcText, sleep, until, withStage } from './stage.js'

function ask(port: number, sent: () => void = () => undefined): net.Socket {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(rpcText(port, ping(1)), sent)
  return socket
}

for (const kind of await kinds()) {
  const front = (sentence: string) => `${kind}: ${sentence}`

  test(front('what was read after the loop stood still is begun a moment later, if its caller is there'), (t) => {
    let lateMs = 5_000
    let begun = 0
    const dispatch = (_: unknown, answer: (reply: { ok: true; json: string }) => void) => {
      begun += 1
      answer({ ok: true, json: '"pong"' })
    }
    return withStage(kind, { dispatch, lateMs: () => lateMs }, async ({ port, front: opened, rpc }) => {
      const gone = ask(port, () => gone.destroy())
      await until(() => opened.connections().accepted === 1, 'it is let in')
      t.is((await rpc(ping(2))).status, 200)
      t.is(begun, 1, 'only of the one who waited')
      lateMs = 0
      t.is((await rpc(ping(3))).status, 200)
      t.is(begun, 2)
    })
  })

  test(front('whoever runs a request is told when nobody waits for it any more'), (t) => {
    const givenUp: string[] = []
    let begun = 0
    const dispatch = (request: { operation: string }) => {
      begun += 1
      return () => void givenUp.push(request.operation)
    }
    return withStage(kind, { dispatch, responseMs: 300 }, async ({ port, rpc, feed }) => {
      const gone = ask(port)
      await until(() => begun === 1, 'it is begun')
      gone.destroy()
      await until(() => givenUp.length === 1, 'its caller has gone')
      const late = await rpc([ping(1), ping(2)])
      t.is(late.status, 504)
      await until(() => givenUp.length === 3, 'their time is up')
      const ws = await feed()
      ws.send(JSON.stringify(ping(3)))
      await until(() => begun === 4, 'it is begun')
      ws.terminate()
      await until(() => givenUp.length === 4, 'its caller has gone too')
      // Each once, also those whose connection closes after they were told TIMEOUT.
      await sleep(50)
      t.deepEqual(givenUp, Array(4).fill('core.ping'))
    })
  })

  test(front('health tells which thread stands or stood still'), (t) => {
    let stalls: Stall[] = [{ thread: 'shard 1', stoodMs: 6_000 }]
    return withStage(kind, { stalls: () => stalls }, async ({ ask: get }) => {
      const stalled = await get({ path: '/health', token: null })
      t.is(stalled.status, 503)
      t.is(stalled.headers['retry-after'], '1')
      t.deepEqual(JSON.parse(stalled.body), { status: 'stalled', stalls: [{ thread: 'shard 1', stoodMs: 6_000 }] })
      stalls = []
      t.is((await get({ path: '/health', token: null })).status, 200)
    })
  })
}
