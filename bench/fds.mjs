// What it costs to name every descriptor: how long `core.descriptors` takes with many thousands of clients, and how long others
// wait meanwhile.
// usage: node bench/fds.mjs [CONNECTIONS]
import { eventually, sleep } from '../dist/test/harness/daemon.js'
import { crowd, quantile, Workers } from '../dist/test/harness/load.js'
import { play } from '../dist/test/harness/scene.js'

const [connections = 15_000] = process.argv.slice(2).map(Number)
const LOOKS = 8

await play(async (scene) => {
  const daemon = await scene.daemon()
  const pinging = new Workers(daemon, 1, 'core.ping', {}, 1)
  await sleep(1_000)
  pinging.take()
  await sleep(1_000)
  print('ping alone', pinging.take().latenciesMs)
  const guests = crowd(daemon, connections, true)
  await eventually('they are in', 30_000, async () => (await daemon.status()).connections.current > 0.95 * connections)
  await sleep(300)
  pinging.take()
  await sleep(1_000)
  print('ping among them', pinging.take().latenciesMs)
  const times = []
  let open = 0
  for (let at = 0; at < LOOKS; at++) {
    const begun = performance.now()
    const held = await daemon.watch('core.descriptors')
    times.push(performance.now() - begun)
    open = held.open
  }
  print('ping meanwhile', pinging.take().latenciesMs)
  print(`fds of ${open}`, times)
  const cpu = daemon.cpuSeconds
  await sleep(4_000)
  console.log(`audit and pings: ${((100 * (daemon.cpuSeconds - cpu)) / 4).toFixed(1)} % of a core`)
  await pinging.stop()
  await guests.leave()
  await daemon.stop()
})

function print(what, times) {
  const at = (share) => quantile(times, share).toFixed(1)
  console.log(
    `${what.padEnd(18)} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${Math.max(...times).toFixed(1)} ms (${times.length})`,
  )
}
