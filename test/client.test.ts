// A client over restarts of its daemon: who only reads notices nothing but the time, and nobody is told that something was done
// when that is not known.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { READS } from '../src/client.js'
import { connect } from '../src/index.js'
import type { OperationName } from '../src/protocol/operations.js'
import { runsOn, WORK } from '../src/protocol/work.js'
import { eventually } from './harness/daemon.js'
import { play } from './harness/scene.js'

const EXAMPLE = join(import.meta.dirname, '../../examples/follow.mjs')

test.serial('calls that read go on over restarts, however many are in flight', async (t) => {
  await play(async (scene) => {
    const tree = scene.tree('tree', 30)
    let daemon = await scene.daemon()
    const { library } = await daemon.index('library', tree)
    const client = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    let answered = 0
    let over = false
    const ask = async () => {
      while (!over) {
        const { total } = await client.call('search.files', { library, query: 'file' })
        t.is(total, 30)
        answered += 1
      }
    }
    const asking = Array.from({ length: 20 }, ask)
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
      const before = answered
      await Promise.race([eventually('calls are answered', 60_000, () => answered > before + 100), ...asking])
      await daemon.stop(signal)
      daemon = await scene.daemon()
    }
    const before = answered
    await Promise.race([eventually('calls are answered', 60_000, () => answered > before + 100), ...asking])
    over = true
    await Promise.all(asking)
  })
})

test.serial('a call that changes something is not made twice: it fails when its connection is lost', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const client = await connect(`unix:${daemon.ready.socket}`, { patienceMs: 120_000 })
    scene.atEnd(() => client.close())
    process.kill(daemon.pid, 'SIGSTOP')
    const creating = client.call('libraries.create', { name: 'one' })
    await new Promise((resolve) => setImmediate(resolve))
    await daemon.stop('SIGKILL')
    await t.throwsAsync(creating, { code: 'NO_DAEMON' })
    await scene.daemon()
    t.deepEqual(await client.call('libraries.list'), [])
  })
})

test.serial('without patience, and after its time, a call says that there is no daemon', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const url = `unix:${daemon.ready.socket}`
    const clients = [await connect(url, { patienceMs: 0 }), await connect(url, { patienceMs: 50 })]
    await daemon.stop()
    for (const client of clients) {
      await t.throwsAsync(client.call('core.ping'), { code: 'NO_DAEMON' })
      await client.close()
    }
  })
})

test('what only reads is what is asked again, and of it all', (t) => {
  for (const [operation, work] of Object.entries(WORK)) {
    if (runsOn(operation as OperationName) === 'feed') continue
    const reads = work === 'interactive' || /^core\.(?:ping|status|descriptors)$/.test(operation)
    t.is(READS.test(operation), reads, operation)
  }
})

test('what is no address is told at once, with what would be one', async (t) => {
  for (const url of ['', 'nonsense', '/run/daemon.sock', 'ftp://127.0.0.1:8080', 'http://'])
    await t.throwsAsync(connect(url), { code: 'BAD_CONFIG', message: /is not the address of a daemon/ }, url)
})

test.serial('the example goes on over a restart', async (t) => {
  await play(async (scene) => {
    const tree = scene.tree('tree', 3)
    let daemon = await scene.daemon()
    const { library, location } = await daemon.index('library', tree)
    const child = spawn(process.execPath, [EXAMPLE, `unix:${daemon.ready.socket}`, '', library, 'file'])
    scene.atEnd(() => child.kill('SIGKILL'))
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += bytes))
    await eventually('it has told', 60_000, () => said.includes('3 files match file\n'))
    await daemon.stop()
    writeFileSync(join(tree, 'd0', 'file 4.txt'), '')
    daemon = await scene.daemon()
    const { job } = await daemon.call('locations.rescan', { library, location })
    await daemon.jobDone(library, job)
    await eventually('it has told again', 60_000, () => said.includes('4 files match file\n'))
    t.is(said, '3 files match file\n4 files match file\n')
  })
})
