// Content ids of 100,000 small files, by the whole daemon and into the index, against `b3sum` over the same list of files.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jobDone, ratio, startDaemon, tell } from './harness.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const FILES = Number(process.env.FILES ?? 100_000)
const BYTES_MAX = 8_192
const root = mkdtempSync(join(tmpdir(), 'sd-identify-'))
const tree = join(root, 'tree')
const list = join(root, 'list')

const paths = []
for (let at = 0; at < FILES; at++) {
  const directory = join(tree, `d${Math.floor(at / 100)}`)
  if (at % 100 === 0) mkdirSync(directory, { recursive: true })
  const path = join(directory, `f${at}`)
  writeFileSync(path, randomBytes(1 + ((at * 2_654_435_761) % BYTES_MAX)))
  paths.push(path)
}
writeFileSync(list, paths.join('\n'))

const nowhere = openSync('/dev/null', 'w')
const b3sum = () => execFileSync('xargs', ['-a', list, 'b3sum'], { stdio: ['ignore', nowhere, 'inherit'] })
const daemon = await startDaemon()

/** From the end of the index to the last id. */
async function identify() {
  const { id: library } = await daemon.call('libraries.create', { name: 'identify' })
  const { location, job } = await daemon.call('locations.add', { library, path: tree })
  await jobDone(daemon.call, library, job)
  const begun = performance.now()
  const { job: reading } = await daemon.call('locations.update', { library, location, mode: 'content' })
  await jobDone(daemon.call, library, reading)
  const ms = performance.now() - begun
  const { progress, failureCount } = await daemon.call('jobs.info', { library, job: reading })
  if (progress.done !== FILES || failureCount > 0) throw new Error(`${progress.done} of ${FILES} files were read`)
  await daemon.call('libraries.delete', { library, data: true })
  return ms
}

try {
  b3sum()
  const times = { b3sum: [], identify: [] }
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now()
    b3sum()
    times.b3sum.push(performance.now() - begun)
    times.identify.push(await identify())
  }
  const all = Object.entries(times).map(([name, each]) => `${name} ${each.map(Math.round).join(' ')}`)
  console.log(`${FILES} files; ms: ${all.join(', ')}`)
  tell('content ids a second, of b3sum over the same files', ratio(times.b3sum, times.identify), 0.5)
} finally {
  await daemon.stop()
  rmSync(root, { recursive: true })
}
