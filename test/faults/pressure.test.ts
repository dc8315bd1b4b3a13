// Pressure that comes from the machine: idle holders give way, jobs wait in line, clients are served, and all of it passes.
import test from 'ava'
import type { Level, Status } from '../../src/protocol/messages.js'
import { eventually, sleep, type TestDaemon } from '../harness/daemon.js'
import { FakeMachine } from '../harness/machine.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'

const LIBRARIES = 6

test.serial('scenario 18: a machine without files left gets back what is idle, and is told from us', async (t) => {
  await play(async (scene) => {
    const staged = await stage(scene)
    if (typeof staged === 'string') {
      t.log(`not run: ${staged}`)
      t.pass()
      return
    }
    const { daemon, machine, libraries, small, boot } = staged
    t.is((await status(daemon)).libraries.open, LIBRARIES)
    const cold = libraries[0]!
    machine.open(960)
    await level(daemon, 'critical')
    await eventually('idle libraries are closed, and threads kept for a next walk are gone', 30_000, async () => {
      const { libraries: told, descriptors } = await status(daemon)
      return told.open === 0 && descriptors.classes.jobs.used === 0
    })
    const { reason, pressure } = (await status(daemon)).descriptors
    t.regex(reason, /^the machine, not this daemon: .* 960 of 1000 files open$/)
    t.is(pressure, 0.96)
    // Who is here is served, and may open what was closed.
    t.is((await daemon.call('libraries.info', { library: cold })).id, cold)
    t.regex(daemon.log, /descriptor level is critical.*the machine, not this daemon/)
    machine.open(100)
    await level(daemon, 'normal')
    for (const library of libraries) await writable(daemon, library)
    await sameAsDisk(daemon, cold, small)
    t.deepEqual(await atRest(daemon), boot)
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('under high pressure a job waits in line and none fails; with the pressure gone it runs', async (t) => {
  await play(async (scene) => {
    const staged = await stage(scene)
    if (typeof staged === 'string') {
      t.log(`not run: ${staged}`)
      t.pass()
      return
    }
    const { daemon, machine, libraries, boot } = staged
    machine.open(860)
    await level(daemon, 'high')
    const [library] = libraries as [string]
    const [{ id: location }] = await daemon.call('locations.list', { library })
    const { job } = await daemon.call('locations.rescan', { library, location })
    for (let look = 0; look < 8; look++) {
      const { state, waiting } = await daemon.call('jobs.info', { library, job })
      t.deepEqual([state, waiting.code], ['queued', 'BUDGET_EXHAUSTED'])
      await sleep(100)
    }
    await eventually('it is counted', 30_000, async () => (await status(daemon)).jobs.queued === 1)
    // Ten points below high it is still high; below that it is over.
    machine.open(770)
    await sleep(600)
    t.is((await status(daemon)).descriptors.level, 'high')
    machine.open(740)
    await level(daemon, 'elevated')
    await daemon.jobDone(library, job)
    machine.open(100)
    await level(daemon, 'normal')
    t.deepEqual(
      [...daemon.log.matchAll(/descriptor level is (\w+), was (\w+)/g)].map(([, now, before]) => `${before} → ${now}`),
      ['normal → high', 'high → elevated', 'elevated → normal'],
    )
    daemon.hangUp()
    t.deepEqual(await atRest(daemon), boot)
  })
})

/** Libraries that were used and are idle now, in a machine that is nearly empty; or why there can be none. */
async function stage(scene: Scene) {
  const problem = FakeMachine.problem(scene.path('probe'))
  if (problem) return problem
  const machine = new FakeMachine(scene.path('file-nr'))
  const daemon = await scene.daemon(machine.starting)
  const boot = await daemon.descriptorsAtRest()
  const small = scene.tree('small', 50)
  const libraries: string[] = []
  for (let at = 0; at < LIBRARIES; at++) libraries.push((await daemon.index(`library ${at}`, small)).library)
  return { daemon, machine, libraries, small, boot }
}

function status(daemon: TestDaemon): Promise<Status> {
  return daemon.status()
}

async function level(daemon: TestDaemon, wanted: Level): Promise<void> {
  await eventually(`the level is ${wanted}`, 30_000, async () => (await status(daemon)).descriptors.level === wanted)
}
