// A flood of 5,000 connections against a limit of 256, while 50 admitted clients work: what they notice, and what it costs.
// usage: node bench/flood.mjs [CONNECTIONS [LIMIT]]
import { setPriority } from 'node:os'
import { sleep } from '../dist/test/harness/daemon.js'
import { crowd, mostDescriptors, quantile, Workers } from '../dist/test/harness/load.js'
import { play } from '../dist/test/harness/scene.js'

const [connections = 5_000, limit = 256] = process.argv.slice(2).map(Number)
const ROUNDS = 5
const CALM_MS = 5_000
/** The flood comes in, the longest part of it in half a second; then it stands. */
const INRUSH_MS = 1_000
const STANDING_MS = 9_000
/** The crowd stands for clients elsewhere: here it may not take the processor from those whose answers are timed. */
const CROWD_NICE = 19

await play(async (scene) => {
  const daemon = await scene.daemon({ limit: `${limit}:${limit}` })
  const { library } = await daemon.index('library', scene.tree('tree', 500))
  const workers = new Workers(daemon, 50, 'files.list', { library, path: scene.path('tree', 'd1') }, 20)
  await sleep(2_000)
  const ratios = []
  for (let at = 0; at < ROUNDS; at++) ratios.push(await round(daemon, workers))
  await workers.stop()
  const median = quantile(ratios, 0.5)
  console.log(
    `p99 in the flood, from its first connection on, against calm: ${median.toFixed(2)} (median of ${ROUNDS})`,
  )
  console.log(`EMFILE in log ${/EMFILE/.test(daemon.log)}`)
  await daemon.stop()
})

async function round(daemon, workers) {
  const calm = await phase(daemon, workers, CALM_MS)
  let inrush, standing, fates
  const most = await mostDescriptors(daemon, async () => {
    const flood = crowd(daemon, connections)
    setPriority(flood.pid, CROWD_NICE)
    inrush = await phase(daemon, workers, INRUSH_MS)
    standing = await phase(daemon, workers, STANDING_MS)
    fates = await flood.fates()
    await flood.leave()
  })
  const p99 = quantile([...inrush.latenciesMs, ...standing.latenciesMs], 0.99)
  const ratio = p99 / quantile(calm.latenciesMs, 0.99)
  console.log(`descriptors   at most ${most} of ${limit}`)
  console.log(`connections   ${JSON.stringify(fates)}`)
  print('calm', calm)
  print('coming in', inrush)
  print('standing', standing)
  console.log(
    `p99 ${p99.toFixed(2)} ms in all, ${ratio.toFixed(2)} of calm; standing, CPU above calm ${percent(standing.cpu - calm.cpu)}\n`,
  )
  await sleep(1_000)
  return ratio
}

async function phase(daemon, workers, ms) {
  workers.take()
  const [begun, cpu] = [performance.now(), daemon.cpuSeconds]
  await sleep(ms)
  const { latenciesMs, failures } = workers.take()
  return { latenciesMs, failures, cpu: (daemon.cpuSeconds - cpu) / ((performance.now() - begun) / 1000) }
}

function print(name, { latenciesMs, failures, cpu }) {
  const times = [0.5, 0.99].map((share) => `p${share * 100} ${quantile(latenciesMs, share).toFixed(2)} ms`).join(', ')
  console.log(
    `${name.padEnd(13)} ${times}, ${latenciesMs.length} answers, ${failures.length} failures, daemon ${percent(cpu)}`,
  )
}

function percent(share) {
  return `${(share * 100).toFixed(1)} % of a core`
}
