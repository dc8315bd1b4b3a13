// What the ledger costs: acquire and release by 1, 2 and 4 threads at once in one class, in nanoseconds of a thread's own time;
// then a daemon with it beside one without, over kept connections and with a new connection for each request.
// usage: node bench/ledger.mjs [SECONDS]
import { readdirSync, readFileSync } from 'node:fs'
import { isMainThread, Worker, workerData, parentPort } from 'node:worker_threads'
import { Ledger } from '../dist/src/descriptors/ledger.js'
import { plan } from '../dist/src/descriptors/planner.js'

const WAYS = ['counted (take, give)', 'leased (tryAcquire, release)']
const BY = { holder: 'bench' }
const PAIRS_PER_LOOK = 20_000
/** Starts of the daemons: two that are the same differ by what memory each happened to get. */
const ROUNDS = Number(process.env.ROUNDS ?? 6)
const GOAL = 0.98
const WINDOWS = 8
const WINDOW_SECONDS = 0.5

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
  const each = []
  for (const [way, name] of WAYS.entries()) {
    const told = []
    for (const threads of [1, 2, 4]) {
      const ns = await run(threads, way, seconds)
      each.push(ns)
      told.push(`${threads} thread${threads > 1 ? 's' : ''} ${ns.toFixed(0)} ns`)
    }
    console.log(`${name.padEnd(30)} ${told.join(', ')}`)
  }
  const worst = Math.max(...each)
  console.log(`dearest acquire + release: ${worst.toFixed(0)} ns (goal < 200: ${worst < 200 ? 'met' : 'missed'})`)
  const half = each.length / WAYS.length
  return { counted: Math.max(...each.slice(0, half)), leased: Math.max(...each.slice(half)) }
}

/** What all threads of a process ran so far: unlike the clock, other work on the machine hardly moves it. */
function cpuNs(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, tid) => {
    return sum + Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ', 1)[0])
  }, 0)
}

/** Three daemons that differ in nothing but that one counts; the third shows what no difference looks like. */
async function startAll(order, { index, startDaemon }) {
  const daemons = {}
  for (const name of order) {
    const daemon = await startDaemon(name === 'on' ? {} : { env: { SPACEDRIVE_BENCH_LEDGER: 'off' } })
    const { call, token, http, pid } = daemon
    const { library } = await index(call, process.env.TREE ?? '/usr/share/doc')
    const { items } = await call('search.files', { library, query: '', limit: 200 })
    const request = (id) => JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'files.get', params: { library, id } })
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    daemons[name] = {
      pid,
      call,
      stop: daemon.stop,
      side: { http, bodies: items.map(({ id }) => request(id)), headers },
    }
  }
  return daemons
}

/** How often it was asked so far: a connection is counted in and out, a library is lent its descriptors. */
async function ledgered({ call }) {
  const { connections, libraries } = await call('core.status')
  return { taken: connections.accepted + connections.refused, leased: libraries.opened }
}

/** Of one start of all three: requests a second of the daemon's own CPU side by side, then by the clock one after the other. */
async function compare(daemons, ask) {
  const names = Object.keys(daemons)
  const told = {}
  for (const fresh of [false, true]) {
    await ask(names, fresh, 2)
    const cpu = { on: 0, off: 0, again: 0 }
    const rate = { on: 0, off: 0, again: 0 }
    const [before, done] = [await ledgered(daemons.on), { requests: 0, beside: 0 }]
    for (let window = 0; window < WINDOWS; window++) {
      const begun = names.map((name) => cpuNs(daemons[name].pid))
      const beside = await ask(names, fresh, WINDOW_SECONDS)
      done.requests += beside
      done.beside += beside
      names.forEach((name, at) => (cpu[name] += cpuNs(daemons[name].pid) - begun[at]))
      // Each is first in every third: what drifts hits all alike.
      for (const [at] of names.entries()) {
        const name = names[(window + at) % names.length]
        const count = await ask([name], fresh, WINDOW_SECONDS)
        rate[name] += count
        if (name === 'on') done.requests += count
      }
    }
    const after = await ledgered(daemons.on)
    told[fresh] = {
      taken: (after.taken - before.taken) / done.requests,
      leased: (after.leased - before.leased) / done.requests,
      cpuNs: cpu.on / done.beside,
      cpu: cpu.off / cpu.on,
      cpuOfSame: cpu.off / cpu.again,
      rate: rate.on / rate.off,
      rateOfSame: rate.again / rate.off,
    }
  }
  return told
}

/** Where two that are the same differ by more than the goal allows, what the third differs by says nothing. */
function tellBeside(name, ratio, same) {
  const words = ({ median, least, most }) => `${median.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`
  const told = same.least >= GOAL && same.most <= 1 / GOAL
  const verdict = told ? (ratio.median >= GOAL ? 'met' : 'missed') : 'not to be told here'
  console.log(`${name}, ledger on, of off: ${words(ratio)}; off, of off: ${words(same)} (goal ≥ ${GOAL}: ${verdict})`)
}

/** @param ns what one take and give cost, and one lease */
async function tellThroughput(ns) {
  const harness = await import('./harness.mjs')
  const client = new Worker(new URL('sides.mjs', import.meta.url))
  client.on('error', (error) => {
    throw error
  })
  const all = []
  for (let round = 0; round < ROUNDS; round++) {
    const order = ['on', 'off', 'again']
    const daemons = await startAll([...order.slice(round % 3), ...order.slice(0, round % 3)], harness)
    const ask = (names, fresh, seconds) => {
      client.postMessage({ sides: names.map((name) => daemons[name].side), seconds, fresh })
      return new Promise((resolve) => client.once('message', resolve))
    }
    all.push(await compare(daemons, ask))
    await Promise.all(Object.values(daemons).map(({ stop }) => stop()))
  }
  await client.terminate()
  const of = (fresh, what) => {
    const each = all.map((told) => told[fresh][what])
    return { median: harness.median(each), least: Math.min(...each), most: Math.max(...each) }
  }
  for (const fresh of [false, true]) {
    const way = fresh ? 'a new connection for each' : 'kept connections'
    const middle = (what) => of(fresh, what).median
    const share = (middle('taken') * ns.counted + middle('leased') * ns.leased) / middle('cpuNs')
    console.log(
      `${way}: the ledger is asked ${(middle('taken') + middle('leased')).toFixed(2)} times a request, ${(100 * share).toFixed(3)} % of the ${(middle('cpuNs') / 1_000).toFixed(0)} µs of CPU that one takes: a ratio of ${(1 - share).toFixed(4)} (goal ≥ ${GOAL}: ${1 - share >= GOAL ? 'met' : 'missed'})`,
    )
    for (const [what, name] of [
      ['cpu', 'requests a second of its own CPU'],
      ['rate', 'requests a second by the clock'],
    ]) {
      tellBeside(`${way}: ${name}`, of(fresh, what), of(fresh, `${what}OfSame`))
    }
  }
}

if (isMainThread) {
  const [seconds = 1] = process.argv.slice(2).map(Number)
  const ns = await tellNanoseconds(seconds)
  await tellThroughput(ns)
} else parentPort.postMessage(measure(workerData))
