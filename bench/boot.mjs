// From `npm start` to the ready line, where nothing is left to install or build: on a data directory with a hundred libraries.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { scratch, startDaemon } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const LIBRARIES = 100
const root = fileURLToPath(new URL('..', import.meta.url))
const dataDir = join(scratch, 'data')

const first = await startDaemon({ dataDir })
for (let at = 0; at < LIBRARIES; at++) await first.call('libraries.create', { name: `library ${at}` })
await first.stop()

const times = []
for (let round = 0; round < ROUNDS; round++) {
  const begun = performance.now()
  const child = spawn('npm', ['start', '--', '--data-dir', dataDir, '--http', '127.0.0.1:0', '--json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let said = ''
  const pid = await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      said += chunk
      const line = said.split('\n').find((each) => each.includes('"ready":true'))
      if (line) resolve(JSON.parse(line).pid)
    })
    child.on('exit', (code) => reject(new Error(`exited ${code}: ${said}`)))
  })
  times.push(performance.now() - begun)
  child.removeAllListeners('exit')
  process.kill(pid, 'SIGTERM')
  await once(child, 'exit')
}
const seconds = times.toSorted((one, other) => one - other).map((ms) => (ms / 1000).toFixed(2))
console.log(`npm start with ${LIBRARIES} libraries, until it is ready, in seconds: ${seconds.join(' ')} (goal < 2)`)
