// 10,000 libraries at a limit of 1,024, asked for by 64 clients in a Zipf pattern; then the same by a server that keeps a pool
// of five connections open for each library. A library's first request after the start is a cold open for certain.
// usage: node bench/zipf.mjs [COUNT [LIMIT [SECONDS]]]
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { processor, quantile, startDaemon, startServer } from './harness.mjs'

const [count = 10_000, limit = 1_024, seconds = 40] = process.argv.slice(2).map(Number)
const CLIENTS = 64
const SKEW = 0.99
/** Between an answer and the next request of a client: at random, up to this. */
const PAUSE_MS_MAX = 200

/** Where in the order of popularity a request goes, by the share of all requests that came before it. */
const cumulative = []
for (let rank = 1, sum = 0; rank <= count; rank++) cumulative.push((sum += rank ** -SKEW))

function rank() {
  const wanted = Math.random() * cumulative.at(-1)
  let [low, high] = [0, count - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (cumulative[middle] < wanted) low = middle + 1
    else high = middle
  }
  return low
}

async function together(work) {
  await Promise.all(Array.from({ length: CLIENTS }, work))
}

/** Asks for libraries until the time is over; each first touch is told apart. */
async function play(ask, ids, forSeconds) {
  const seen = { cold: [], all: [], failed: new Map(), touched: new Set() }
  const end = performance.now() + forSeconds * 1000
  await together(async () => {
    while (performance.now() < end) {
      const id = ids[rank()]
      const first = !seen.touched.has(id)
      seen.touched.add(id)
      const begun = performance.now()
      const failure = await ask(id).then(() => null, String)
      const took = performance.now() - begun
      if (failure) seen.failed.set(failure, (seen.failed.get(failure) ?? 0) + 1)
      else {
        seen.all.push(took)
        if (first) seen.cold.push(took)
      }
      await sleep(Math.random() * PAUSE_MS_MAX)
    }
  })
  return seen
}

function times(name, values) {
  const at = (share) => `${quantile(values, share).toFixed(1)} ms`
  return `${name} p50 ${at(0.5)}, p99 ${at(0.99)}, worst ${at(1)}`
}

async function ours() {
  let daemon = await startDaemon({ nofile: limit })
  const ids = []
  let made = 0
  const begun = performance.now()
  await together(async () => {
    while (made < count) ids.push((await daemon.call('libraries.create', { name: `library ${made++}` })).id)
  })
  console.log(`made         ${ids.length} libraries in ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  await daemon.stop()
  daemon = await startDaemon({ nofile: limit, dataDir: daemon.dataDir })
  ids.sort(() => Math.random() - 0.5)
  let [most, handles] = [0, 0]
  const look = setInterval(async () => {
    most = Math.max(most, readdirSync(`/proc/${daemon.pid}/fd`).length)
    handles = Math.max(handles, (await daemon.call('core.status')).descriptors.classes.libraries.used)
  }, 250)
  const before = processor(daemon.pid)
  const seen = await play((library) => daemon.call('libraries.info', { library }), ids, seconds)
  clearInterval(look)
  const after = processor(daemon.pid)
  const { libraries, descriptors } = await daemon.call('core.status')
  const { ceiling, peak } = descriptors.classes.libraries
  const asked = seen.all.length
  const best = cumulative[Math.max(0, libraries.open - 1)] / cumulative.at(-1)
  console.log(
    `handles      at most ${Math.max(handles, peak)} of the ${ceiling} of their class, ${most} descriptors of ${limit} in all`,
  )
  console.log(
    `hits         ${percent(1 - libraries.opened / asked)} of ${asked} requests; the ${libraries.open} most wanted of all would be ${percent(best)}`,
  )
  console.log(
    `opened       ${libraries.opened} times, ${seen.touched.size} libraries; closed to make room ${libraries.evicted}, of these too early ${libraries.reopened}`,
  )
  console.log(`             ${times('cold open', seen.cold)}`)
  console.log(`             ${times('any request', seen.all)}`)
  const [ran, waited] = [after.ran - before.ran, after.waited - before.waited]
  console.log(
    `processor    its threads ran for ${ran.toFixed(1)} s, ${((1000 * ran) / libraries.opened).toFixed(1)} ms for each open with all else, and waited for a core for ${waited.toFixed(1)} s`,
  )
  console.log(
    `failed       ${[...seen.failed.values()].reduce((sum, each) => sum + each, 0)} ${[...seen.failed.keys()].slice(0, 3).join(' | ')}`,
  )
  await daemon.stop()
  return { kept: seen.failed.size === 0 && peak <= ceiling && most < limit, folder: join(daemon.dataDir, 'libraries') }
}

/** The same requests to what one would write in an afternoon. */
async function naive(folder) {
  const server = await startServer({ script: 'servers/pool-per-library.mjs', args: [folder], nofile: limit })
  const names = readdirSync(folder)
  const ask = async (name) => {
    const answer = await fetch(`${server.http}/${encodeURIComponent(name)}`, { signal: AbortSignal.timeout(5_000) })
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 80))
    await answer.arrayBuffer()
  }
  const seen = await play(ask, names, Math.min(10, seconds))
  const failures = [...seen.failed.values()].reduce((sum, each) => sum + each, 0)
  console.log(`\na pool of five connections for each library, at the same limit`)
  console.log(
    `failed       ${percent(failures / (failures + seen.all.length))} of ${failures + seen.all.length} requests: ${[...seen.failed.keys()].slice(0, 3).join(' | ')}`,
  )
  console.log(`             ${readdirSync(`/proc/${server.child.pid}/fd`).length} descriptors of ${limit}`)
  server.child.kill('SIGKILL')
  return failures > 0
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`
}

const { kept, folder } = await ours()
const fails = await naive(folder)
process.exitCode = kept && fails ? 0 : 1
