// Leases under want: jobs that each need most of their class, libraries that each need most of theirs, and nobody waits for ever.
import test from 'ava'
import { eventually } from '../harness/daemon.js'
import { play, sameAsDisk } from '../harness/scene.js'

const JOBS = 20

test.serial('scenario 25: twenty jobs that each want most of the class of jobs all come to their end', async (t) => {
  await play(async (scene) => {
    // The least limit: a task thread then costs more than half of what the class may ever hold.
    const daemon = await scene.daemon({ limit: '64:64' })
    const boot = await daemon.descriptorsAtRest()
    const { ceiling } = (await daemon.status()).descriptors.classes.jobs
    const small = scene.tree('small', 300)
    const libraries: string[] = []
    for (let at = 0; at < JOBS; at++)
      libraries.push((await daemon.call('libraries.create', { name: `library ${at}` })).id)
    const jobs = await Promise.all(
      libraries.map(async (library) => (await daemon.call('locations.add', { library, path: small })).job as string),
    )
    // An admitted client is served while they stand in line.
    t.is(await daemon.call('core.ping'), 'pong')
    for (const [at, library] of libraries.entries()) await daemon.jobDone(library, jobs[at]!)
    const { jobs: ofJobs } = (await daemon.status()).descriptors.classes
    t.true(ofJobs.peak > 0.6 * ceiling && ofJobs.peak <= ceiling, `${ofJobs.peak} of ${ceiling}`)
    for (const library of libraries) await daemon.call('libraries.rename', { library, name: `${library} again` })
    await sameAsDisk(daemon, libraries[0]!, small)
    for (const library of libraries) await daemon.call('libraries.close', { library })
    daemon.hangUp()
    await eventually(
      'task threads are gone',
      15_000,
      async () => (await daemon.status()).descriptors.classes.jobs.used === 0,
    )
    t.deepEqual(await daemon.descriptorsAtRest(), boot)
    t.is((await daemon.stop()).code, 0)
  })
})
