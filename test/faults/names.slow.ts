// Shows 5: under a thousand clients and two hundred libraries at least 99 % of descriptors have a name, and a leak gets one in time.
import { once } from 'node:events'
import test from 'ava'
import { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import type { Descriptors } from '../../src/protocol/messages.js'
import { eventually, sleep, type TestDaemon } from '../harness/daemon.js'
import { Workers } from '../harness/load.js'
import { atRest } from '../harness/promise.js'
import { Rogue } from '../harness/rogue.js'
import { play } from '../harness/scene.js'

const LIBRARIES = 200
const FEEDS = 800
const WORKERS = 200
const LOOKS = 20
const LEAKED = 25

test.serial('fds names 99 % and more under load, and a leak is named within ten seconds', async (t) => {
  await play(async (scene) => {
    const rogue = process.platform === 'linux' ? new Rogue(scene.directory) : null
    if (!rogue) t.log('no leak was injected: it is preloaded as only Linux does')
    const daemon = await scene.daemon(rogue ? { env: rogue.env } : {})
    const tree = scene.tree('tree', 200)
    const libraries: string[] = []
    for (let at = 0; at < LIBRARIES; at++) libraries.push((await daemon.index(`library ${at}`, tree)).library)
    const before = await atRest(daemon, libraries)

    const feeds = await Promise.all(Array.from({ length: FEEDS }, () => subscribed(daemon)))
    const groups = libraries
      .slice(0, WORKERS)
      .map((library) => new Workers(daemon, 1, 'search.files', { library, query: 'file' }, 300))
    await eventually('all are in, and their libraries open', 60_000, async () => {
      const { connections, descriptors } = await daemon.status()
      return connections.current > FEEDS + WORKERS && descriptors.open > FEEDS + WORKERS + 4 * LIBRARIES
    })
    const scanning = rescans(daemon, libraries)

    const shares: number[] = []
    let open = 0
    const nameless: string[] = []
    for (let at = 0; at < LOOKS; at++) {
      const held: Descriptors = await daemon.watch('core.descriptors')
      t.is(held.holders.length + held.unaccounted.length, held.open)
      shares.push(held.holders.length / held.open)
      open = Math.max(open, held.open)
      nameless.push(...held.unaccounted.map(({ target }) => target))
      await sleep(300)
    }
    t.log(`of up to ${open} descriptors at least ${(100 * Math.min(...shares)).toFixed(2)} % had a name`)
    t.true(Math.min(...shares) >= 0.99, nameless.slice(0, 10).join())
    t.is((await daemon.status()).descriptors.leak, undefined, 'nothing is taken for a leak that is none')

    if (rogue) {
      const begun = performance.now()
      rogue.hold(LEAKED)
      const leak = await eventually('the leak is named', 60_000, async () => (await daemon.status()).descriptors.leak)
      t.log(
        `a leak of ${LEAKED} was named after ${Math.round(performance.now() - begun)} ms: ${leak!.likeliest.holder}`,
      )
      t.true(leak!.withinMs < LIMITS.leakAlarmMs)
      t.deepEqual(leak!.targets, ['anon_inode:[eventfd]'])
      // A look may come while they are being taken.
      t.true(leak!.growth <= LEAKED)
      await eventually('all of it is seen', 60_000, async () => {
        return (await daemon.status()).descriptors.unaccounted === LEAKED
      })
      rogue.hold(0)
    }
    await scanning.end()
    for (const workers of groups) {
      await workers.stop()
      t.deepEqual(workers.take().failures, [])
    }
    for (const feed of feeds) feed.terminate()
    await eventually('the clients are gone', 60_000, async () => (await daemon.status()).connections.current < 6)
    for (const library of libraries) await daemon.call('libraries.rename', { library, name: 'written afterwards' })
    t.deepEqual(await atRest(daemon, libraries, before), before)
    t.is((await daemon.status()).descriptors.unaccounted, 0)
    t.is((await daemon.stop()).code, 0)
  })
})

async function subscribed({ port, token }: TestDaemon): Promise<WebSocket> {
  const feed = new WebSocket(`ws://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${token}`])
  await once(feed, 'open')
  return feed
}

/** One library after another is scanned again, until told to end. */
function rescans(daemon: TestDaemon, libraries: readonly string[]): { end: () => Promise<void> } {
  let isOver = false
  const loop = async () => {
    for (let at = 0; !isOver; at = (at + 1) % libraries.length) {
      const library = libraries[at]!
      const [location] = await daemon.call('locations.list', { library })
      const { job } = await daemon.call('locations.rescan', { library, location: location.id })
      await daemon.jobDone(library, job)
    }
  }
  const looping = loop()
  return {
    end: async () => {
      isOver = true
      await looping
    },
  }
}
