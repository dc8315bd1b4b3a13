// A wall clock that jumps: everything that waits, waits by a clock that does not.
import { connect } from 'node:net'
import { once } from 'node:events'
import test from 'ava'
import type { Status } from '../../src/protocol/messages.js'
import { WallClock } from '../harness/clock.js'
import { eventually, sleep, type TestDaemon } from '../harness/daemon.js'
import { crowd } from '../harness/load.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk } from '../harness/scene.js'
import { shimProblem } from '../harness/shim.js'

const DAY = 86_400

test.serial(
  'scenario 39: a wall clock that jumps a day ahead and two back ends nothing early and nothing late',
  async (t) => {
    const problem = shimProblem()
    if (problem) {
      t.log(`not run: ${problem}`)
      return t.pass()
    }
    await play(async (scene) => {
      const clock = new WallClock(scene.directory)
      const daemon = await scene.daemon({ limit: '80:80', env: clock.env })
      const boot = await daemon.descriptorsAtRest()
      const small = scene.tree('small', 1_000, 100)
      const { library, location } = await daemon.index('small', small)
      for (const seconds of [DAY, -DAY]) {
        // One a round: the flood at its end may have the place of whoever is idle.
        const kept = await keptConnection(daemon)
        const { evicted } = (await daemon.status()).libraries
        const { job } = await daemon.call('locations.rescan', { library, location })
        t.is(await kept.ask(), 'HTTP/1.1 200 OK')
        clock.set(seconds)
        // Nobody idle for two seconds is taken for idle since yesterday: neither library nor connection.
        await sleep(1_500)
        t.is(await kept.ask(), 'HTTP/1.1 200 OK')
        t.is((await daemon.status()).libraries.open, 1)
        // The daemon's own clock did jump: a job enqueued now says so.
        await daemon.jobDone(library, job)
        const { job: next } = await daemon.call('locations.rescan', { library, location })
        const { createdAt } = await daemon.call('jobs.info', { library, job: next })
        const ahead = (Date.parse(createdAt) - Date.now()) / 1000
        t.true(Math.abs(ahead - seconds) < 60, `${ahead} s ahead, set to ${seconds}`)
        await daemon.jobDone(library, next)
        const { libraries, uptimeMs, descriptors } = (await daemon.status()) as Status
        t.is(libraries.open, 1)
        t.is(libraries.evicted, evicted)
        t.true(uptimeMs > 0 && uptimeMs < 600_000, `up ${uptimeMs} ms`)
        t.true(Date.parse(descriptors.since) > 0)
        kept.end()
        // Refused in the flood is told to come back in a second, not in a day.
        const flood = crowd(daemon, 120)
        await eventually('some are refused', 60_000, async () => (await flood.fates()).refused > 0)
        t.is((await flood.fates()).strange, 0)
        await flood.leave()
        await eventually(
          'the pressure is gone',
          30_000,
          async () => (await daemon.status()).descriptors.level === 'normal',
        )
      }
      await writable(daemon, library)
      await sameAsDisk(daemon, library, small)
      t.deepEqual(await atRest(daemon), boot)
      t.is((await daemon.stop()).code, 0)
      clock.close()
    })
  },
)

/** A client that was let in before, and asks again over the same connection. */
async function keptConnection({ port }: TestDaemon): Promise<{ ask(): Promise<string>; end(): void }> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const ask = async () => {
    socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    return bytes.toString('latin1').split('\r\n', 1)[0]!
  }
  return { ask, end: () => socket.destroy() }
}
