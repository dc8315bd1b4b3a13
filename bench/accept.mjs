// Every accept of a running daemon meets EMFILE, injected by strace into the system call itself, while clients wait at its door:
// how busy the loop is, how long a client that is in waits for an answer, what the log says, and how soon all is well again.
// usage: node bench/accept.mjs [SECONDS]
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { eventually, sleep } from '../dist/test/harness/daemon.js'
import { quantile } from '../dist/test/harness/load.js'
import { play } from '../dist/test/harness/scene.js'

const [seconds = 12] = process.argv.slice(2).map(Number)
const WAITING = 5
/** Without the addon a loop that spins is seen to spin after a second, and its share of work told a second later. */
const SETTLE_MS = 3_000
const GOAL = { utilization: 0.5, recoveredMs: 1_000 }

let missed = 0
for (const front of ['uws', 'node']) {
  for (const native of ['', 'off']) await play((scene) => run(scene, front, native))
}
process.exitCode = missed > 0 ? 1 : 0

async function run(scene, front, native) {
  const daemon = await scene.daemon({ args: ['--front', front], env: native ? { SPACEDRIVE_NATIVE: native } : {} })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  await daemon.call('core.ping', {}, { agent })
  const fault = await injected(daemon.pid)
  const late = Array.from({ length: WAITING }, () => newcomer(daemon))
  await sleep(SETTLE_MS)
  const [busy, waits] = [[], []]
  const [end, cpu] = [performance.now() + seconds * 1_000 - SETTLE_MS, daemon.cpuSeconds]
  while (performance.now() < end) {
    const asked = performance.now()
    const { loop } = await daemon.call('core.status', {}, { agent })
    waits.push(performance.now() - asked)
    busy.push(loop.utilization)
    await sleep(100)
  }
  const share = ((daemon.cpuSeconds - cpu) * 1_000) / (seconds * 1_000 - SETTLE_MS)
  const failed = await fault.end()
  const since = performance.now()
  await eventually('a newcomer is served', 10_000, async () => (await newcomer(daemon)) === 'pong')
  const recoveredMs = performance.now() - since
  const served = (await Promise.all(late)).filter((fate) => fate === 'pong').length
  const lines = daemon.log.match(/accept fails|turns without work/g)?.length ?? 0
  const mean = busy.reduce((sum, each) => sum + each, 0) / busy.length
  if (mean >= GOAL.utilization || recoveredMs > GOAL.recoveredMs || lines > Math.ceil(seconds / 10)) missed += 1
  console.log(
    `${`${front}${native && ' without the addon'}`.padEnd(23)} loop ${(100 * mean).toFixed(0)} % busy, at most ${(100 * Math.max(...busy)).toFixed(0)} %, ${(100 * share).toFixed(0)} % of a core; answers p50 ${quantile(waits, 0.5).toFixed(1)} ms, worst ${quantile(waits, 1).toFixed(1)} ms; ${failed} accepts failed; ${lines} lines in ${seconds} s; recovered in ${recoveredMs.toFixed(0)} ms, ${served} of the ${WAITING} that waited served`,
  )
  agent.destroy()
  await daemon.stop()
}

/** From now on each accept4 of the process fails, until `end`, which tells how many did. */
async function injected(pid) {
  const words = ['-f', '-qq', '-e', 'trace=accept4', '-e', 'inject=accept4:error=EMFILE', '-e', 'signal=none']
  const tracer = spawn('strace', [...words, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
  let [failed, rest] = [0, '']
  tracer.stderr.on('data', (bytes) => {
    const lines = (rest + bytes).split('\n')
    rest = lines.pop()
    failed += lines.filter((line) => line.includes('(INJECTED)')).length
  })
  const ended = new Promise((resolve, reject) => tracer.once('error', reject).once('exit', resolve))
  // It says nothing once it holds all threads; the kernel does.
  await eventually('strace holds it', 10_000, () => traced(pid))
  return {
    async end() {
      tracer.kill('SIGINT')
      await ended
      return failed
    },
  }
}

function traced(pid) {
  return readdirSync(`/proc/${pid}/task`).every((tid) =>
    /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')),
  )
}

function newcomer(daemon) {
  return daemon.call('core.ping', {}, { agent: new http.Agent() }).then(String, String)
}
