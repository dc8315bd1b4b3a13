// Who holds what: every descriptor has a name while work goes on, and none is left when it is over.
import { WebSocket } from 'ws'
import { once } from 'node:events'
import http from 'node:http'
import test from 'ava'
import type { Descriptors } from '../../src/protocol/messages.js'
import { kinds } from '../front/stage.js'
import { eventually, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

for (const front of await kinds()) {
  test.serial(
    `${front}: all descriptors are named under load, and those of the boot are left afterwards`,
    async (t) => {
      await play(async (scene) => {
        const daemon = await scene.daemon({ args: ['--front', front] })
        const boot = await daemon.descriptorsAtRest()
        t.is((await daemon.status()).descriptors.unaccounted, 0)
        t.deepEqual((await daemon.watch('core.descriptors')).unaccounted, [])

        const small = scene.tree('small', 100)
        const libraries: string[] = []
        for (let at = 0; at < 5; at++) libraries.push((await daemon.index(`library ${at}`, small)).library)
        // Made before the guests come: a connection that is idle for ten seconds is closed.
        const big = scene.tree('big', 20_000, 200)
        const agents = await guests(daemon, 20)
        const feed = await subscribed(daemon)
        const [library] = libraries
        const added = await daemon.call('locations.add', { library, path: big })
        const { location } = added
        let { job } = added
        let looks = 0
        await eventually('the job has ended', 120_000, async () => {
          const described: Descriptors = await daemon.watch('core.descriptors')
          t.deepEqual(described.unaccounted, [])
          t.is(described.holders.length, described.open)
          // However long it takes, nobody is idle for so long that he is closed.
          await ask(daemon, agents)
          if ((await daemon.call('jobs.info', { library, job })).state !== 'done') looks += 1
          else if (looks > 0) return true
          // It was through before one looked.
          else ({ job } = await daemon.call('locations.rescan', { library, location }))
          return false
        })
        const { holders }: Descriptors = await daemon.watch('core.descriptors')
        t.true(holders.filter((each) => each.class === 'clients').length >= 21)
        for (let at = 0; at < libraries.length; at++) {
          const name = `library library ${at}`
          t.true(
            holders.some(({ holder }) => holder === name),
            name,
          )
        }

        for (const agent of agents) agent.destroy()
        feed.close()
        await once(feed, 'close')
        for (const library of libraries) await daemon.call('libraries.close', { library })
        daemon.hangUp()
        await eventually('nothing is leased but by the looking client', 30_000, async () => {
          const { classes, unaccounted } = (await daemon.status()).descriptors
          return unaccounted === 0 && Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
        })
        t.deepEqual(await daemon.descriptorsAtRest(boot), boot)
        t.is((await daemon.stop()).code, 0)
      })
    },
  )
}

/** Clients that asked once and keep their connection. */
async function guests(daemon: TestDaemon, count: number): Promise<http.Agent[]> {
  const agents = Array.from({ length: count }, () => new http.Agent({ keepAlive: true }))
  await ask(daemon, agents)
  return agents
}

async function ask(daemon: TestDaemon, agents: readonly http.Agent[]): Promise<void> {
  await Promise.all(agents.map((agent) => daemon.call('core.ping', {}, { agent })))
}

async function subscribed({ port, token }: TestDaemon): Promise<WebSocket> {
  const feed = new WebSocket(`ws://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${token}`])
  await once(feed, 'open')
  feed.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: {} }))
  await once(feed, 'message')
  return feed
}
