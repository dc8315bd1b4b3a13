// Kills a daemon at random moments of indexing and starts it again, until the index is whole; then holds it against the disk.
import assert from 'node:assert'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { eventually, sleep, type TestDaemon } from './daemon.js'
import { sameAsDisk, type Scene } from './scene.js'
import { wrongTotals } from './totals.js'

export interface Asked {
  readonly root: string
  readonly kills: number
  /** A kill comes this long after the daemon is ready, at the latest. */
  readonly momentMsMax: number
  /** After each kill, while no daemon runs. */
  readonly between?: (round: number) => void
  /** Read it all again at the end: for trees that changed after they were read. */
  readonly rescan?: boolean
}

export interface Verdict {
  kills: number
  /** Starts that found the job unfinished, and had it running or done without being asked. */
  resumed: number
  /** What `PRAGMA integrity_check` said after each kill. */
  readonly integrity: string[]
  readonly readyMs: number[]
  entries: number
}

export async function killedWhileIndexing(scene: Scene, asked: Asked): Promise<Verdict> {
  const { root, kills, momentMsMax, between, rescan } = asked
  const verdict: Verdict = { kills: 0, resumed: 0, integrity: [], readyMs: [], entries: 0 }
  let daemon = await scene.daemon()
  const { id: library, path } = await daemon.call('libraries.create', { name: 'killed' })
  const added = await daemon.call('locations.add', { library, path: root })
  const { location } = added
  let { job } = added
  for (let round = 0; round < kills; round++) {
    await sleep(Math.random() * momentMsMax)
    await daemon.stop('SIGKILL')
    verdict.kills += 1
    between?.(round)
    const left = readLeft(join(path, 'library.db'), job)
    verdict.integrity.push(left.integrity)
    const begun = performance.now()
    daemon = await scene.daemon()
    verdict.readyMs.push(Math.round(performance.now() - begun))
    if (left.unfinished) {
      await goesOnUnasked(daemon)
      verdict.resumed += 1
    } else job = (await daemon.call('locations.rescan', { library, location })).job
  }
  await daemon.jobDone(library, job, 600_000)
  if (rescan) await daemon.jobDone(library, (await daemon.call('locations.rescan', { library, location })).job, 600_000)
  await sameAsDisk(daemon, library, root)
  const info = await daemon.call('libraries.info', { library })
  const indexed = await daemon.entries(library)
  assert.equal(
    info.files,
    [...indexed.values()].filter(({ kind }) => kind === 'file').length,
    'files are counted right',
  )
  verdict.entries = indexed.size
  await daemon.stop()
  return verdict
}

/** Seen without naming the library: to ask for it would open it. The job may be done before one looks. */
async function goesOnUnasked(daemon: TestDaemon): Promise<void> {
  await eventually('the unfinished job runs or has run', 30_000, async () => {
    const { libraries, jobs } = await daemon.status()
    return jobs.running > 0 || libraries.open > 0
  })
}

/** What the dead daemon left, read while nobody has it open. */
function readLeft(path: string, job: string): { integrity: string; unfinished: boolean } {
  const database = new Database(path)
  try {
    const integrity = String(database.pragma('integrity_check', { simple: true }))
    const state = database.prepare<[string], string>('SELECT state FROM job WHERE id = ?').pluck().get(job)
    assert.deepEqual(wrongTotals(database), [], 'the size of each folder is what lies in it')
    return { integrity, unfinished: state === 'queued' || state === 'running' }
  } finally {
    database.close()
  }
}
