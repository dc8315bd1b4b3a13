// Ten times as much as one shard can do, asked for a minute by clients that ask on whatever becomes of it: what is served, how fast,
// what control notices, what memory does, and whether it is as before at once when it is over.
// Of lists a page of so many is asked for. With FLOOR_US the same is asked of the least that a server of this shape can be, which spends
// so many microseconds on each (servers/crowd-floor.mjs): what that misses is the machine's, not the daemon's.
// usage: node bench/overload.mjs [SECONDS [TIMES [PAGE [FLOOR_US]]]]
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sleep } from '../dist/test/harness/daemon.js'
import { quantile } from '../dist/test/harness/load.js'
import { play } from '../dist/test/harness/scene.js'
import { median, ratio, startServer, tell as tellRatio, threadsOf } from './harness.mjs'

const [seconds = 60, times = 10, page = 500, floorUs = 0] = process.argv.slice(2).map(Number)
const FILES = 3_000
const SENT_BYTES = 4 << 10
const CALM_SECONDS = 15
/** As much as it can do, calm and too much, in turn: on a machine whose speed drifts each says something only beside the others. */
const ROUNDS = 5
const ROUND_SECONDS = 6
/** Of what it can do at most: a daemon that is not overloaded. */
const CALM = 0.7
const CONTROL_MS = 20
/** In which all processes of a phase begin and connect, so that what that takes of the machine is in no figure. */
const CONNECT_MS = 2_000
/** Before this it is not judged whether memory grows: V8 collects old objects every twenty seconds or so, and lets them double until. */
const SETTLE_SECONDS = Math.min(30, seconds / 2)
/** Clients that ask one thing at a time, in a process of their own: what they see waits for nothing that is the load's. */
const PEOPLE = 20
/** The load stands for clients elsewhere, and may take nothing from the daemon while there is work. */
const LOAD_NICE = 5

await play(async (scene) => {
  const [daemon, setup] = floorUs > 0 ? await startFloor() : await startDaemon(scene)
  const first = await phase(daemon, setup, { seconds: 3, inFlight: 64 })
  const aside = (times * first.served) / 3
  // Both once before they are measured, so that V8 has translated what either needs.
  await phase(daemon, setup, { seconds: 3, rate: aside })
  const overs = []
  const could = []
  const calms = []
  const asMuch = async (round) => {
    const rated = await phase(daemon, setup, { seconds: ROUND_SECONDS, inFlight: 64, aside })
    tell(`${round}. as much as it can: 64 in flight`, rated)
    return rated.served / ROUND_SECONDS
  }
  let rate = await asMuch(1)
  for (let round = 1; round <= ROUNDS; round++) {
    const calm = await phase(daemon, setup, { seconds: ROUND_SECONDS, rate: CALM * rate })
    tell(`${round}. calm: ${CALM} of that`, calm)
    const over = await phase(daemon, setup, { seconds: ROUND_SECONDS, rate: times * rate })
    tell(`${round}. ${times} times that`, over)
    const after = await asMuch(round + 1)
    overs.push(over.served / ROUND_SECONDS)
    could.push((rate + after) / 2)
    calms.push(calm)
    rate = after
  }

  const overPhase = phase(daemon, setup, { seconds, rate: times * rate })
  await sleep(seconds * 1_000)
  const againPhase = phase(daemon, setup, { seconds: CALM_SECONDS, rate: CALM * rate })
  const over = await overPhase
  tell(`${times} times as much for ${seconds} s`, over)
  const again = await againPhase
  tell('calm at once again', again)

  const settled = over.memory.slice(SETTLE_SECONDS)
  const half = settled.length >> 1
  const grown = quantile(settled.slice(half), 0.5) - quantile(settled.slice(0, half), 0.5)
  const people = over.people.interactive / median(calms.map((calm) => calm.people.interactive))
  const ofLoad = over.interactive / median(calms.map((calm) => calm.interactive))
  const back = again.served / again.offered
  tellRatio('served within a second, of as much as it can', ratio(overs, could), 0.9)
  const goals = [
    ['control, the longest of all, ms', over.control.most, over.control.most < 100, '< 100'],
    ['p99 of reads that were served to people, of calm', people, people <= 2, '≤ 2'],
    ['the same of the load, which waits for cores itself', ofLoad, ofLoad <= 2, '≤ 2'],
    ['memory of the second half above the first, MB', grown, grown < 10, '< 10'],
    ['served of what was asked at once afterwards', back, back >= 0.99, '≥ 0.99'],
  ]
  for (const [what, value, met, goal] of goals)
    console.log(`${what}: ${value.toFixed(2)} (goal ${goal}: ${met ? 'met' : 'missed'})`)
  await daemon.stop()
})

async function startDaemon(scene) {
  const daemon = await scene.daemon({ args: ['--shards', '1'] })
  const root = scene.tree('tree', FILES, FILES)
  const path = scene.path('tree', 'd0')
  for (const name of readdirSync(path)) writeFileSync(`${path}/${name}`, Buffer.alloc(SENT_BYTES))
  const { library } = await daemon.index('library', root)
  const { items } = await daemon.call('files.list', { library, path, sort: 'size', limit: 500 })
  const { id: tag } = await daemon.call('tags.create', { library, name: 'seen' })
  const { port, token } = daemon
  return [daemon, { port, token, library, path, page, tag, ids: items.map(({ id }) => id) }]
}

async function startFloor() {
  const { child, http, stop } = await startServer({
    script: 'servers/crowd-floor.mjs',
    args: [floorUs, page].map(String),
  })
  const [library, tag, ...ids] = Array.from({ length: 502 }, () => randomUUID())
  const setup = { port: Number(new URL(http).port), token: 'none', library, path: '/none', page, tag, ids }
  return [{ pid: child.pid, stop }, setup]
}

/** @param aside so many requests a second are made beside it, and go nowhere: what a load costs the machine is not the daemon's */
async function phase(daemon, setup, { seconds: time, rate = 0, inFlight = 0, aside = 0 }) {
  const control = run('control.mjs', [JSON.stringify({ ...setup, everyMs: CONTROL_MS, ids: [] })], [])
  await control.line()
  const nice = ['nice', '-n', String(LOAD_NICE)]
  const all = { ...setup, seconds: time, beginsAt: Date.now() + CONNECT_MS }
  const other = aside > 0 ? run('overload.mjs', [], nice) : null
  other?.stdin.end(JSON.stringify({ ...all, port: 0, rate: aside }))
  const people = run('overload.mjs', [], [])
  people.stdin.end(JSON.stringify({ ...all, people: PEOPLE }))
  const child = run('overload.mjs', [], nice)
  child.stdin.end(JSON.stringify({ ...all, rate, inFlight }))
  await sleep(CONNECT_MS)
  const memory = []
  const look = setInterval(() => memory.push(residentMb(daemon.pid)), 1_000)
  const threads = threadsOf(daemon.pid)
  const cores = sleep(time * 1_000).then(() => busiest(threads, threadsOf(daemon.pid), time))
  const told = JSON.parse(await child.line())
  clearInterval(look)
  await other?.line()
  control.stdin.end()
  const looked = JSON.parse(await people.line())
  const ms = JSON.parse(await control.line())
  const most = ms.reduce((one, other) => Math.max(one, other), 0)
  return {
    ...told,
    people: looked,
    memory,
    busy: await cores,
    control: { count: ms.length, p50: quantile(ms, 0.5), p99: quantile(ms, 0.99), most },
  }
}

function run(script, args, [command = process.execPath, ...before]) {
  const path = fileURLToPath(new URL(`loads/${script}`, import.meta.url))
  const own = command === process.execPath ? [] : [process.execPath]
  const child = spawn(command, [...before, ...own, path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { stdin: child.stdin, line: async () => (await lines.next()).value }
}

function residentMb(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1_024
}

/** How much of the time the main thread ran and waited for a core, and the busiest of the others, which is the shard. */
function busiest(before, after, time) {
  const took = [...after].map(([id, both]) => both.map((each, at) => (each - (before.get(id)?.[at] ?? 0)) / time))
  return { main: took[0], shard: took.slice(1).toSorted((one, other) => other[0] - one[0])[0] }
}

function tell(what, { seconds: time, offered, served, late, cores, busy, classes, people, control, memory }) {
  console.log(
    `${what}: ${(offered / time).toFixed(0)} asked a second, ${(served / time).toFixed(0)} served within a second; ` +
      `of a core: main ${ranAndWaited(busy.main)}, shard ${ranAndWaited(busy.shard)}, load ${cores.toFixed(2)}`,
  )
  for (const [name, of] of Object.entries(classes)) tellClass(name, of)
  for (const name of ['list', 'search']) tellClass(`people ${name}`, people.classes[name])
  console.log(
    `  control       ${control.count} asked, p50 ${control.p50.toFixed(1)} ms, p99 ${control.p99.toFixed(1)}, most ${control.most.toFixed(1)}`,
  )
  console.log(
    `  memory        ${Math.min(...memory).toFixed(0)} to ${Math.max(...memory).toFixed(0)} MB; the load itself was late by ${late.toFixed(1)} ms (p99)\n`,
  )
}

function tellClass(name, { count, ok, p50, p99, refused, refusedP99 }) {
  const codes = Object.entries(refused).map(([code, n]) => `${code} ${n}`)
  console.log(
    `  ${name.padEnd(13)} ${count} asked, ${ok} served, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms` +
      (codes.length ? `; ${codes.join(', ')}, told after ${refusedP99.toFixed(0)} ms (p99)` : ''),
  )
}

function ranAndWaited([ran, waited]) {
  return `${ran.toFixed(2)} (and waited ${waited.toFixed(2)} for one)`
}
