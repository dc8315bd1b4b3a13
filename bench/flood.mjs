// A flood of 5,000 connections against a limit of 256, while 50 admitted clients work: what they notice, and what it costs.
// usage: node bench/flood.mjs [CONNECTIONS [LIMIT]]
import { sleep } from '../dist/test/harness/daemon.js'
import { crowd, mostDescriptors, quantile, Workers } from '../dist/test/harness/load.js'
import { play } from '../dist/test/harness/scene.js'

const [connections = 5_000, limit = 256] = process.argv.slice(2).map(Number)
const PHASE_MS = 5_000

await play(async (scene) => {
  const daemon = await scene.daemon({ limit: `${limit}:${limit}` })
  const { library } = await daemon.index('library', scene.tree('tree', 500))
  const workers = new Workers(daemon, 50, 'files.list', { library, path: scene.path('tree', 'd1') }, 20)
  await sleep(1_000)
  workers.take()
  const calm = await phase(daemon, workers)
  let fates
  let standing
  const most = await mostDescriptors(daemon, async () => {
    const flood = crowd(daemon, connections)
    await sleep(500)
    standing = await phase(daemon, workers)
    fates = await flood.fates()
    await flood.leave()
  })
  const after = await phase(daemon, workers)
  await workers.stop()
  console.log(`descriptors   at most ${most} of ${limit}`)
  console.log(`connections   ${JSON.stringify(fates)}`)
  print('calm', calm)
  print('in the flood', standing)
  print('afterwards', after)
  console.log(
    `ratios        p99 ${(standing.p99 / calm.p99).toFixed(2)}, CPU above calm ${((standing.cpu - calm.cpu) * 100).toFixed(1)} % of a core`,
  )
  console.log(`EMFILE in log ${/EMFILE/.test(daemon.log)}`)
  await daemon.stop()
})

async function phase(daemon, workers) {
  workers.take()
  const [begun, cpu] = [performance.now(), daemon.cpuSeconds]
  await sleep(PHASE_MS)
  const { latenciesMs, failures } = workers.take()
  const share = (daemon.cpuSeconds - cpu) / ((performance.now() - begun) / 1000)
  return {
    p50: quantile(latenciesMs, 0.5),
    p99: quantile(latenciesMs, 0.99),
    count: latenciesMs.length,
    failures: failures.length,
    cpu: share,
  }
}

function print(name, { p50, p99, count, failures, cpu }) {
  const times = `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`
  console.log(
    `${name.padEnd(13)} ${times}, ${count} answers, ${failures} failures, daemon CPU ${(cpu * 100).toFixed(1)} % of a core`,
  )
}
