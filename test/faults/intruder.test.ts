// Code of others in the daemon's process: it takes what it should not, and throws where nobody catches.
import { existsSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { readFlight } from '../../src/descriptors/recorder.js'
import { eventually, type TestDaemon } from '../harness/daemon.js'
import { Intruder } from '../harness/intruder.js'
import { isWritable, keepsPromise } from '../harness/promise.js'
import { punctually } from '../harness/punctual.js'
import { play, type Scene } from '../harness/scene.js'

const LIMIT = '200:200'

test.serial(
  'scenario 48: a sampler that throws EMFILE at the last descriptor is survived, counted and told of',
  punctually(async (t) => {
    await play(async (scene) => {
      const { daemon, intruder, library } = await intruded(scene)
      for (const trick of ['sample', 'reject'] as const) {
        const before = (await daemon.status()).errorsSurvived
        await keepsPromise(daemon, {
          libraries: [library],
          begin: () => {
            intruder.begin('hog')
            intruder.begin(trick)
          },
          during: () => survives(daemon, before + 5),
          end: () => {
            intruder.end(trick)
            intruder.end('hog')
          },
          recovered: () => reserveIsWhole(daemon),
        })
      }
      const told = daemon.log.split('\n').filter((line) => line.includes('nobody caught this'))
      t.true(told.length > 0)
      const times = told.map((line) => JSON.parse(line).time as number)
      // The line has the time of the wall clock, which counts a little differently.
      for (const [at, time] of times.slice(1).entries())
        t.true(time - times[at]! > LIMITS.survivedLogMs - 100, `once in ten seconds: ${times.join()}`)
      t.regex(told[0]!, /"level":40.*uv_resident_set_memory/)
      const { errorsSurvived } = await daemon.status()
      const page = (await daemon.ask('/metrics')).body
      t.true(page.includes(`spacedrive_errors_survived_total ${errorsSurvived}\n`))
      t.is((await daemon.stop()).code, 0)
    })
  }),
)

test.serial('any other error that nobody caught is written down, then the daemon drains and ends with 1', async (t) => {
  await play(async (scene) => {
    const { daemon, intruder, library } = await intruded(scene)
    await daemon.call('locations.add', { library, path: scene.tree('tree', 500) })
    intruder.begin('break')
    t.deepEqual(await daemon.exited, { code: 1, signal: null })
    t.regex(daemon.said.err, /^error INTERNAL: .*\nhint: /m)
    const flight = readFlight(join(daemon.dataDir, 'logs', 'flight.bin'))
    t.is(flight.find(({ kind }) => kind === 'fault')?.text, 'a sampler that is broken')
    t.is(flight.at(-1)!.kind, 'stop', 'it came to the end of its drain')
    intruder.end('break')
    const next = await scene.daemon()
    await eventually('the job went on to its end', 60_000, async () => {
      return (await next.call('libraries.info', { library })).files === 500
    })
    t.regex(next.log, /"level":50[^\n]*a sampler that is broken/)
    await isWritable(next, library)
    t.is((await next.stop()).code, 0)
  })
})

test.serial(
  'scenario 46: without a free descriptor the log that was deleted or is full begins anew, on the reserve',
  punctually(async (t) => {
    await play(async (scene) => {
      const { daemon, intruder, library } = await intruded(scene)
      const log = join(daemon.dataDir, 'logs', 'daemon.log')
      const faults = {
        deleted: () => rmSync(log),
        large: () => truncateSync(log, LIMITS.logBytesMax),
      }
      for (const [name, harm] of Object.entries(faults)) {
        await keepsPromise(daemon, {
          libraries: [library],
          begin: async () => {
            intruder.begin('hog')
            await eventually(
              'nothing is free',
              30_000,
              async () => (await daemon.call('core.status')).descriptors.open >= 200,
            )
            harm()
          },
          during: async () => {
            await eventually(`${name}: a new file is written`, 30_000, async () => {
              t.is(await daemon.call('core.ping'), 'pong')
              return existsSync(log) && daemon.log.length < 1_000_000 && daemon.log.includes('"statistics; ')
            })
            t.false(daemon.descriptors().includes(`${log} (deleted)`), 'the old one was let go')
          },
          end: () => intruder.end('hog'),
          recovered: () => reserveIsWhole(daemon),
        })
      }
      t.true(existsSync(`${log}.1`))
      t.is((await daemon.stop()).code, 0)
    })
  }),
)

async function intruded(scene: Scene): Promise<{ daemon: TestDaemon; intruder: Intruder; library: string }> {
  const intruder = new Intruder(scene)
  const daemon = await scene.daemon({ limit: LIMIT, env: intruder.env, args: ['--statistics-ms', '1000'] })
  const { id: library } = await daemon.call('libraries.create', { name: 'library' })
  return { daemon, intruder, library }
}

async function survives(daemon: TestDaemon, times: number): Promise<void> {
  await eventually('it was hit', 30_000, async () => {
    const { errorsSurvived } = await daemon.call('core.status')
    return errorsSurvived >= times
  })
}

async function reserveIsWhole(daemon: TestDaemon): Promise<boolean> {
  const { open, budget, reserve, reserveHeld } = (await daemon.call('core.status')).descriptors
  // The intruder lets go a moment after it is told to.
  return open < budget / 2 && reserve === reserveHeld
}
