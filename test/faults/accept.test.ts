// No descriptor can be had for those who wait at a listener: nothing spins, admitted clients are served, and it is over within a second.
import http from 'node:http'
import test from 'ava'
import { kinds } from '../front/stage.js'
import { LIMITS } from '../../src/base/limits.js'
import { eventually, sleep, type TestDaemon } from '../harness/daemon.js'
import { Intruder } from '../harness/intruder.js'
import { quantile } from '../harness/load.js'
import { play } from '../harness/scene.js'
import { shimProblem } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: accept that fails, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

const FAILING_MS = 2_500
/** Without the addon only a loop that span for a second is seen to spin, and its share of work is told a second later. */
const FAILING_BLIND_MS = 4_000
const NOTICED_MS = 1_500
const TOLD_MS = 3_000
/** Of a core, with all that this test asks; a loop that spins takes the whole of it. */
const CPU_MAX = 0.5

for (const front of await kinds()) {
  for (const native of ['', 'off']) {
    const failingMs = native ? FAILING_BLIND_MS : FAILING_MS
    const title = `scenario 13: ${front}${native && ' without the addon'}: accept meets EMFILE for ${failingMs} ms`
    shimmed(title, async (t) => {
      await play(async (scene) => {
        const shim = scene.shim()
        const env = { ...shim.env, ...(native ? { SPACEDRIVE_NATIVE: native } : {}) }
        const daemon = await scene.daemon({ args: ['--front', front], env })
        const { library } = await daemon.index('library', scene.tree('tree', 20))
        await daemon.call('libraries.close', { library })
        daemon.hangUp()
        await atRest(daemon)
        const before = await daemon.descriptorsAtRest()

        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
        t.is(await daemon.call('core.ping', {}, { agent }), 'pong')
        const rule = shim.fail({ calls: 'accept', errno: 'EMFILE' })
        const begun = performance.now()
        const late = Array.from({ length: 5 }, () => newcomer(daemon))
        const loops: number[] = []
        /** Accepts that were tried, each half second. */
        const tried: number[] = []
        const cpu: { seconds: number; at: number }[] = []
        for (let at = 0; at < failingMs / 500; at++) {
          await sleep(500)
          t.is(await daemon.call('core.ping', {}, { agent }), 'pong', 'who was let in is served')
          tried.push(rule.failed)
          if (native && at < TOLD_MS / 500) continue
          loops.push((await daemon.call('core.status', {}, { agent })).loop.utilization)
          cpu.push({ seconds: daemon.cpuSeconds, at: performance.now() / 1_000 })
        }
        const share = (cpu.at(-1)!.seconds - cpu[0]!.seconds) / (cpu.at(-1)!.at - cpu[0]!.at)
        await eventually('it is known that accept fails', 15_000, async () => {
          return (await daemon.call('core.status', {}, { agent })).connections.accept !== 'open'
        })
        const { failed } = rule
        shim.clear()
        const since = performance.now()
        const failedMs = since - begun
        await eventually('a newcomer is served', 20_000, async () => (await newcomer(daemon)) === 'pong')
        const recoveredMs = performance.now() - since
        console.log(
          `${title}: utilization ${loops.join(' ')}, ${share.toFixed(2)} of a core, ${failed} accepts failed, recovered in ${recoveredMs} ms`,
        )
        if (!native) for (const fate of await Promise.all(late)) t.is(fate, 'pong', 'who waited is served')
        // It may spin until it is noticed, and turns once for each look after that; else it would be a million times a second. Without the
        // addon it spins for a part of each look, so often as the machine is fast: had it gone on spinning, a quarter of what was tried in the
        // first two seconds would be tried in each half second.
        const [noticed, steps] = [tried[NOTICED_MS / 500]!, (failedMs - NOTICED_MS) / 500]
        t.true(failed - noticed < (native ? 0.2 * noticed * steps : 100_000), `accepts were tried: ${tried.join(' ')}`)
        // Of a machine that had no time for it for a moment one look tells nothing.
        t.true(quantile(loops, 0.5) < 0.5, `the loop was busy: ${loops.join(' ')}`)
        t.true(share < CPU_MAX, `${share} of a core`)
        const said = daemon.log.match(/accept fails|turns without work/g)?.length ?? 0
        t.true(
          said >= 1 && said <= 1 + failedMs / LIMITS.acceptTellMs,
          `said ${said} times, at most once in ten seconds`,
        )
        await eventually(
          'it is known to be over',
          20_000,
          async () => (await daemon.status()).connections.accept === 'open',
        )

        agent.destroy()
        t.is((await daemon.call('libraries.rename', { library, name: 'written' })).name, 'written')
        await daemon.call('libraries.close', { library })
        daemon.hangUp()
        await atRest(daemon)
        t.deepEqual(await daemon.descriptorsAtRest(before), before)
        t.is((await daemon.stop()).code, 0)
      })
    })
  }
}

function newcomer(daemon: TestDaemon): Promise<string> {
  return daemon.call('core.ping', {}, { agent: new http.Agent() }).then(String, String)
}

async function atRest(daemon: TestDaemon): Promise<void> {
  await eventually('nothing is leased but by the looking client', 30_000, async () => {
    const { classes } = (await daemon.status()).descriptors
    return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
  })
}

for (const front of await kinds()) {
  test.serial(`${front}: with no descriptor free newcomers are told why, and not closed without a word`, async (t) => {
    await play(async (scene) => {
      const intruder = new Intruder(scene)
      const daemon = await scene.daemon({ args: ['--front', front], limit: '200:200', env: intruder.env })
      intruder.begin('fill')
      await eventually('nothing is free, and nobody takes more', 30_000, () => {
        return intruder.isFull && daemon.descriptorCount >= 200
      })
      const fates: string[] = []
      for (let at = 0; at < 10; at++) {
        const asked = daemon.codeOf('core.ping', {}, { agent: new http.Agent() })
        fates.push(await asked.catch((error: NodeJS.ErrnoException) => String(error.code)))
      }
      // With node:http the descriptor to be told on is lent before anybody comes, and another thread may take it for a moment.
      const told = front === 'uws' ? fates : fates.filter((fate) => fate !== 'ECONNRESET')
      t.deepEqual(new Set(told), new Set(['CONNECTION_LIMIT']))
      intruder.end('fill')
      await eventually('a newcomer is served', 30_000, async () => (await newcomer(daemon)) === 'pong')
      t.is((await daemon.stop()).code, 0)
    })
  })
}
