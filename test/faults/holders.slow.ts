// Clients that hold a connection and give nothing for it, each until its time is up: all at once, for it is long.
import test from 'ava'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LIMITS } from '../../src/base/limits.js'
import { kinds } from '../front/stage.js'
import { eventually, sleep, type TestDaemon } from '../harness/daemon.js'
import { Intruder } from '../harness/intruder.js'
import { quantile } from '../harness/load.js'
import { Newcomers } from '../harness/newcomers.js'
import { narrow, party, type Group, type Held } from '../harness/party.js'
import { isWritable, keepsPromise } from '../harness/promise.js'
import { punctually } from '../harness/punctual.js'
import { play } from '../harness/scene.js'

const FLOOD_FROM = '127.0.0.3'

for (const front of await kinds()) {
  const args = ['--front', front, '--shards', '1']

  test(
    `scenario 8: ${front}: who connects and says nothing is dropped in 2 s, and leaves another peer its half`,
    punctually((t) =>
      play(async (scene) => {
        const daemon = await scene.daemon({ args, limit: '128:128' })
        const { id: library } = await daemon.call('libraries.create', { name: 'library' })
        const { max } = (await daemon.status()).connections
        let flood: Held
        let others: Newcomers
        await keepsPromise(daemon, {
          libraries: [library],
          begin: async () => {
            const silent = party(daemon, [{ manner: 'silent', count: 20 }], FLOOD_FROM)
            await eventually('all are dropped', 60_000, async () => (await silent.fates())[0]!.closed === 20)
            const [shortest, longest] = (await silent.fates())[0]!.lastedMs
            t.true(shortest > 1_500, `${shortest} ms`)
            t.true(await inTime(daemon, longest, 12_000), `${longest} ms`)
            await silent.leave()
            flood = party(daemon, [{ manner: 'silent', count: 2 * max, again: true }], FLOOD_FROM)
            await eventually('all is taken', 60_000, async () => {
              await daemon.callOnceLetIn('core.ping')
              return (await daemon.status()).connections.current >= max
            })
          },
          during: async () => {
            others = new Newcomers(daemon, Math.floor(max / 2) - 1)
            // Who is in and works is not to notice.
            const works = async () => t.is(await daemon.call('core.ping'), 'pong')
            await eventually('another peer has its half', 60_000, () => works().then(() => others.all))
            // Idle as they are, one or the other has to come again.
            const counts: number[] = []
            for (let at = 0; at < 20; at += 1) {
              await sleep(100)
              await works()
              counts.push(others.count)
            }
            t.true(quantile(counts, 0.5) >= 0.35 * max, `and keeps it: ${counts.join()} of ${max}`)
            const [fate] = await flood.fates()
            await works()
            t.true(fate!.codes['CONNECTION_LIMIT']! > 0, JSON.stringify(fate))
            // Who has had its time is told so by node:http.
            const told = Object.keys(fate!.said).filter((line) => line !== 'HTTP/1.1 408 Request Timeout')
            t.deepEqual(told, ['HTTP/1.1 503 Service Unavailable'])
          },
          end: async () => {
            others.leave()
            await flood.leave()
          },
        })
        t.is((await daemon.stop()).code, 0)
      }),
    ),
  )

  test(`scenario 9: ${front}: a header or a body that never ends is dropped, and what it held comes back`, (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ args })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      let slow: Held
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          const before = (await daemon.status()).connections.accepted
          slow = party(daemon, [
            { manner: 'header', count: 20 },
            { manner: 'body', count: 20 },
          ])
          const all = before + 40
          await eventually('all came in', 60_000, async () => (await daemon.status()).connections.accepted >= all)
        },
        during: async () => {
          for (let at = 0; at < 20; at += 1) t.is(await daemon.call('core.ping'), 'pong')
          await eventually('the slow headers are dropped', 60_000, async () => (await slow.fates())[0]!.closed === 20)
          await eventually('the slow bodies are dropped', 90_000, async () => (await slow.fates())[1]!.closed === 20)
          const [headers, bodies] = await slow.fates()
          // Whoever has sent a whole header has asked, and has the time of a body.
          for (const [each, leastMs, mostMs] of [
            [headers!, 1_500, 12_000],
            [bodies!, 7_500, 60_000],
          ] as const) {
            const [shortest, longest] = each.lastedMs
            t.true(shortest > leastMs, `${shortest} ms`)
            t.true(await inTime(daemon, longest, mostMs), `${longest} ms`)
          }
          await eventually('what they held is back', 60_000, async () => {
            return (await daemon.status()).descriptors.classes.clients.used <= 2
          })
        },
        end: () => slow.leave(),
      })
      t.is((await daemon.stop()).code, 0)
    }))

  test(`scenario 10: ${front}: who asks and never reads is dropped at the deadline, and so much is unread and no more`, (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ args })
      // The longer each path, the less work is an answer of so many bytes: on a slow machine it has to be made before the deadline.
      const path = scene.path('long names', ...['a', 'b', 'c'].map((name) => name.repeat(250)))
      mkdirSync(path, { recursive: true })
      for (let at = 0; at < 1_000; at += 1) writeFileSync(join(path, `${'long '.repeat(40)}${at}`), '')
      const { library } = await daemon.index('library', path)
      const list = { jsonrpc: '2.0', method: 'files.list', params: { library, path, limit: 1_000 } }
      const body = JSON.stringify(Array.from({ length: 3 }, (_, id) => ({ ...list, id })))
      let unreadMost = 0
      const lookAtUnread = async () => {
        const { unreadBytes } = (await daemon.status()).connections
        unreadMost = Math.max(unreadMost, unreadBytes)
        t.true(unreadBytes <= LIMITS.unreadBytesMax, `${unreadBytes} bytes are unread`)
      }
      let deaf: Held
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          const deafOnes: Group[] = [
            { manner: 'deaf', count: 20, body },
            { manner: 'deaf feed', count: 20, body },
          ]
          deaf = party(daemon, deafOnes, '127.0.0.1', narrow(scene.directory))
          // In the order in which they came: with the last all are in. The first are dropped soon.
          const come = async () => (await deaf.fates())[1]!.said['HTTP/1.1 101 Switching Protocols'] === 20
          await eventually('all have come', 60_000, async () => {
            await lookAtUnread()
            return await come()
          })
        },
        during: async () => {
          await eventually('all are dropped', 60_000, async () => {
            await lookAtUnread()
            t.is(await daemon.call('core.ping'), 'pong')
            return (await daemon.status()).connections.current <= 2
          })
          const { unreadCut } = (await daemon.status()).connections
          console.log(`${front}: at most ${unreadMost >> 20} MB unread, ${unreadCut} clients cut before their time`)
          t.true(unreadMost > LIMITS.feedUnreadBytesMax, 'so much was unread that it mattered')
        },
        end: () => deaf.leave(),
      })
      t.is((await daemon.stop()).code, 0)
    }))

  test(`scenario 11: ${front}: a handler that hangs is answered with 504 by the deadline, and every descriptor is back`, (t) =>
    play(async (scene) => {
      const intruder = new Intruder(scene)
      const daemon = await scene.daemon({ args, env: intruder.env })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'libraries.info', params: { library } })
      let waiting: Held
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          intruder.begin('hang')
          await eventually('it hangs', 60_000, () => intruder.stands('hang'))
          waiting = party(daemon, [
            { manner: 'asking', count: 20, body },
            { manner: 'feed', count: 20, body },
          ])
          await eventually('all wait', 60_000, async () => (await daemon.status()).shards[0]!.inFlight >= 40)
        },
        during: async () => {
          const told = async () => (await waiting.fates()).every(({ codes }) => codes['TIMEOUT'] === 20)
          await eventually('all are told', 90_000, told)
          const [http] = await waiting.fates()
          t.deepEqual(http!.said, { 'HTTP/1.1 504 Gateway Timeout': 20 })
          t.is(http!.closed, 0, 'a connection can be used again')
          await waiting.leave()
          await eventually('their slots are back', 60_000, async () => (await daemon.status()).connections.current <= 2)
        },
        end: () => intruder.end('hang'),
        recovered: async () => (await daemon.status()).shards[0]!.inFlight === 0,
      })
      await isWritable(daemon, library)
      t.is((await daemon.stop()).code, 0)
    }))

  test(`scenario 41: ${front}: peers that vanished are dropped within two intervals, and their leases are back`, (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ args })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const subscribe = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: {} })
      let gone: Held
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          gone = party(daemon, [
            { manner: 'asking', count: 20 },
            { manner: 'feed', count: 20, body: subscribe },
            { manner: 'header', count: 10 },
          ])
          await eventually('all are in', 60_000, async () => (await daemon.status()).connections.current >= 50)
          await sleep(1_000)
          gone.stop()
        },
        during: async () => {
          const begun = performance.now()
          await eventually('the leases are back', 120_000, async () => {
            t.is(await daemon.call('core.ping'), 'pong')
            return (await daemon.status()).descriptors.classes.clients.used <= 2
          })
          const ms = performance.now() - begun
          console.log(`${front}: vanished peers were gone after ${Math.round(ms)} ms`)
          t.true(await inTime(daemon, ms, 2 * LIMITS.feedIdleMs + 2_000), `${ms} ms`)
        },
        end: () => gone.leave(),
      })
      t.is((await daemon.stop()).code, 0)
    }))
}

/** Whoever lost time to a loop that stood still is given it once more. */
async function inTime(daemon: TestDaemon, ms: number, mostMs: number): Promise<boolean> {
  return ms < mostMs || (await daemon.status()).loop.stalls > 0
}
