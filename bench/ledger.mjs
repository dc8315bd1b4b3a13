// What the ledger costs: acquire and release by 1, 2 and 4 threads at once in one class, in nanoseconds of a thread's own time;
// then a daemon with it against one without, over kept connections and with a new connection for each request.
// usage: node bench/ledger.mjs [SECONDS]
import { readdirSync, readFileSync } from 'node:fs'
import { isMainThread, Worker, workerData, parentPort } from 'node:worker_threads'
import { Ledger } from '../dist/src/descriptors/ledger.js'
import { plan } from '../dist/src/descriptors/planner.js'

const WAYS = ['counted (take, give)', 'leased (tryAcquire, release)']
const BY = { holder: 'bench' }
const PAIRS_PER_LOOK = 20_000
const ROUNDS = Number(process.env.ROUNDS ?? 15)

/** Time this thread really ran, so that what else the machine does is left out; where the kernel does not tell, the clock. */
function threadNs() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ', 1)[0])
  } catch {
    return performance.now() * 1e6
  }
}

function pairs(ledger, way, count) {
  if (way === 0) {
    for (let at = 0; at < count; at++) {
      if (ledger.take('clients', 1)) ledger.give('clients', 1)
    }
    return
  }
  for (let at = 0; at < count; at++) ledger.tryAcquire('libraries', 4, BY, true)?.release()
}

function measure({ shared, thread, way, seconds, gate }) {
  const ledger = new Ledger(shared, thread)
  pairs(ledger, way, 5 * PAIRS_PER_LOOK)
  Atomics.add(gate, 0, 1)
  Atomics.notify(gate, 0)
  for (let begun = Atomics.load(gate, 0); begun < gate[1]; begun = Atomics.load(gate, 0)) Atomics.wait(gate, 0, begun)
  const [end, from] = [performance.now() + seconds * 1000, threadNs()]
  let done = 0
  for (; performance.now() < end; done += PAIRS_PER_LOOK) pairs(ledger, way, PAIRS_PER_LOOK)
  return (threadNs() - from) / done
}

async function run(threads, way, seconds) {
  const { shared } = Ledger.create(plan({ soft: 20_000, base: 0, connectionsMax: 'auto' }))
  const gate = new Int32Array(new SharedArrayBuffer(8))
  gate[1] = threads
  const told = Array.from({ length: threads }, (_, at) => {
    const setup = { shared, thread: at + 1, way, seconds, gate }
    const worker = new Worker(new URL(import.meta.url), { workerData: setup })
    return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  })
  const each = await Promise.all(told)
  return each.reduce((sum, ns) => sum + ns, 0) / threads
}

async function tellNanoseconds(seconds) {
  let worst = 0
  for (const [way, name] of WAYS.entries()) {
    const told = []
    for (const threads of [1, 2, 4]) {
      const ns = await run(threads, way, seconds)
      worst = Math.max(worst, ns)
      told.push(`${threads} thread${threads > 1 ? 's' : ''} ${ns.toFixed(0)} ns`)
    }
    console.log(`${name.padEnd(30)} ${told.join(', ')}`)
  }
  console.log(`dearest acquire + release: ${worst.toFixed(0)} ns (goal < 200: ${worst < 200 ? 'met' : 'missed'})`)
}

/** What all threads of a process ran so far: unlike the clock, other work on the machine hardly moves it. */
function cpuNs(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, tid) => {
    return sum + Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ', 1)[0])
  }, 0)
}

/** Two daemons that differ in nothing but that one counts; runs in turn. */
async function tellThroughput(seconds) {
  const { index, load, ratio, startDaemon, tell } = await import('./harness.mjs')
  const daemons = { on: await startDaemon(), off: await startDaemon({ env: { SPACEDRIVE_BENCH_LEDGER: 'off' } }) }
  const asked = {}
  for (const [name, { call, token }] of Object.entries(daemons)) {
    const { library } = await index(call, process.env.TREE ?? '/usr/share/doc')
    const { items } = await call('search.files', { library, query: '', limit: 200 })
    const request = (id) => JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'files.get', params: { library, id } })
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    asked[name] = { bodies: items.map(({ id }) => request(id)), headers }
  }
  const churning = new Worker(new URL('churn.mjs', import.meta.url))
  const churn = (name) => {
    churning.postMessage({ http: daemons[name].http, ...asked[name], seconds })
    return new Promise((resolve) => churning.once('message', resolve))
  }
  const ways = { kept: (name) => load(`${daemons[name].http}/rpc`, { ...asked[name], seconds }), churned: churn }
  const runs = { kept: { on: [], off: [] }, churned: { on: [], off: [] } }
  const cost = structuredClone(runs)
  for (let round = -1; round < ROUNDS; round++) {
    for (const way of Object.keys(ways)) {
      // In turn, and each first in every second round: what drifts hits both alike.
      for (const name of round % 2 ? ['on', 'off'] : ['off', 'on']) {
        const before = cpuNs(daemons[name].pid)
        const rate = await ways[way](name)
        if (round < 0) continue
        runs[way][name].push(rate)
        cost[way][name].push((rate * seconds) / (cpuNs(daemons[name].pid) - before))
      }
    }
  }
  tell('requests a second, ledger on, of off', ratio(runs.kept.on, runs.kept.off), 0.98)
  tell('requests a second of its own CPU', ratio(cost.kept.on, cost.kept.off), 0.98)
  tell('a new connection for each: requests a second', ratio(runs.churned.on, runs.churned.off), 0.98)
  tell('a new connection for each: requests a second of its own CPU', ratio(cost.churned.on, cost.churned.off), 0.98)
  await churning.terminate()
  await Promise.all([daemons.on.stop(), daemons.off.stop()])
}

if (isMainThread) {
  const [seconds = 1] = process.argv.slice(2).map(Number)
  await tellNanoseconds(seconds)
  await tellThroughput(seconds)
} else parentPort.postMessage(measure(workerData))
