// A file system that does not answer, as of a server that is gone: a thread stands in a call to it and cannot be ended.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { eventually } from '../harness/daemon.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'
import { shimProblem } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: file systems that hang, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

/** A daemon of which a thread has begun to read a directory and does not come back. */
async function hanging(scene: Scene) {
  const shim = scene.shim()
  const daemon = await scene.daemon({ env: shim.env })
  const far = scene.tree('far', 300)
  const rule = shim.fail({ calls: 'open', path: '/d1', errno: 'HANGS', thread: 'others' })
  const { id: library } = await daemon.call('libraries.create', { name: 'library' })
  await daemon.call('locations.add', { library, path: far })
  await eventually('a thread hangs', 10_000, () => rule.failed > 0)
  return { daemon, library, far, shim }
}

shimmed('others are served meanwhile, a stop ends the daemon, and the next one goes on with the job', async (t) => {
  await play(async (scene) => {
    const { daemon, library, far, shim } = await hanging(scene)
    const near = scene.tree('near', 30)
    const { job } = await daemon.call('locations.add', { library, path: near })
    await daemon.jobDone(library, job)
    const { items } = await daemon.call('search.files', { library, query: 'file 7' })
    t.is(items.length, 1)
    t.is((await daemon.stop()).code, 0)
    const log = readFileSync(scene.path('data', 'logs', 'daemon.log'), 'utf8')
    t.true(log.includes(`it waits for the file system of ${far}`))
    shim.clear()
    const next = await scene.daemon()
    const { items: jobs } = await next.call('jobs.list', { library })
    for (const { id } of jobs) await next.jobDone(library, id)
    await sameAsDisk(next, library, far, near)
    t.is((await next.stop()).code, 0)
  })
})

shimmed('cancelled jobs whose threads hang keep no others from theirs, and what these held comes back', async (t) => {
  await play(async (scene) => {
    const { daemon, library, shim } = await hanging(scene)
    const other = scene.tree('other', 300)
    const { job } = await daemon.call('locations.add', { library, path: other })
    const near = await daemon.call('locations.add', { library, path: scene.tree('near', 30) })
    const { items: jobs } = await daemon.call('jobs.list', { library })
    t.is(jobs.length, 3)
    for (const { id } of jobs) if (id !== near.job) await daemon.call('jobs.cancel', { library, job: id })
    await daemon.jobDone(library, near.job)
    t.is((await daemon.call('jobs.info', { library, job })).state, 'cancelled')
    shim.clear()
    const jobsUse = async () => (await daemon.call('core.status')).descriptors.classes.jobs.used
    await eventually('all is given back', 20_000, async () => (await jobsUse()) === 0)
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('a library whose jobs hang, of walks or of files that are read, is deleted at once', async (t) => {
  await play(async (scene) => {
    const { daemon, library, shim } = await hanging(scene)
    const read = await daemon.call('libraries.create', { name: 'read' })
    const deep = scene.tree('deep', 30)
    writeFileSync(join(deep, 'd0', 'whole'), 'content')
    const rule = shim.fail({ calls: 'open', path: '/deep/d0/whole', errno: 'HANGS', thread: 'others' })
    await daemon.call('locations.add', { library: read.id, path: deep, mode: 'content' })
    await eventually('a thread hangs', 10_000, () => rule.failed > 0)
    for (const each of [library, read.id]) {
      const before = performance.now()
      await daemon.call('libraries.delete', { library: each })
      t.true(performance.now() - before < LIMITS.libraryFreeMs)
    }
    t.deepEqual(await daemon.call('libraries.list'), [])
    shim.clear()
    t.is((await daemon.stop()).code, 0)
  })
})

shimmed('where no thread can be had that would see to its end, a daemon stops as ever', async (t) => {
  await play(async (scene) => {
    const shim = scene.shim()
    const daemon = await scene.daemon({ env: shim.env })
    shim.fail({ calls: 'thread', errno: 'EAGAIN' })
    t.deepEqual(await daemon.stop(), { code: 0, signal: null })
    t.false(daemon.said.err.includes('error'), daemon.said.err)
  })
})

shimmed('the third signal ends it at once', async (t) => {
  await play(async (scene) => {
    const { daemon } = await hanging(scene)
    for (const told of ['draining', 'hurrying']) {
      daemon.kill('SIGINT')
      await eventually(told, 5_000, () => daemon.said.err.includes(told))
    }
    t.deepEqual(await daemon.stop('SIGINT'), { code: 1, signal: null })
    t.false(existsSync(`/proc/${daemon.pid}`))
  })
})
