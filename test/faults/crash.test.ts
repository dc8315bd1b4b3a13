// Threads that die while clients work and a job runs: callers are told to try again, the job goes on, leases come back.
import type { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { configure } from '../../src/config.js'
import { startDaemon, type Daemon } from '../../src/daemon.js'
import type { Status } from '../../src/protocol/messages.js'
import { eventually, sleep, type Loose } from '../harness/daemon.js'
import { disk, play } from '../harness/scene.js'

interface Threaded {
  readonly daemon: Daemon
  readonly root: string
  readonly library: string
  /** Whether the job has come to its end; if so it is begun anew. */
  overAndAgain(): Promise<boolean>
  /** Ends every living thread that the daemon started: shards at its boot, task threads as it needs them. Returns how many. */
  end(which: 'shards' | 'tasks'): Promise<number>
  jobState(): Promise<string>
}

test.serial(
  'scenario 21: shards that die again and again: an answer or a retryable error for every caller, and the index is whole',
  async (t) => {
    await withThreads(async ({ daemon, root, library, end, jobState }) => {
      const outcomes = new Map<string, number>()
      let stopped = false
      const client = async () => {
        while (!stopped) {
          const asked = daemon.call('search.files', { library, query: 'file' })
          const outcome = await asked.then(
            () => 'answered',
            (error: Loose) => (error.retryable ? 'retryable' : String(error)),
          )
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          await sleep(1)
        }
      }
      const clients = [client(), client(), client(), client()]
      for (let round = 0; round < 4; round++) {
        await sleep(30 + Math.random() * 60)
        await end('shards')
      }
      await eventually('the job is done', 60_000, async () => (await jobState()) === 'done')
      stopped = true
      await Promise.all(clients)
      t.true((outcomes.get('retryable') ?? 0) > 0)
      t.deepEqual([...outcomes.keys()].sort(), ['answered', 'retryable'])
      await isWhole(t, daemon, library, root)
    })
  },
)

test.serial('scenario 21: a task thread that dies while it reads a tree costs nothing but time', async (t) => {
  await withThreads(async ({ daemon, root, library, end, jobState, overAndAgain }) => {
    let ended = 0
    // It may be through before one looks.
    while (ended < 2) {
      t.not(await jobState(), 'failed')
      if (!(await overAndAgain())) ended += await end('tasks')
    }
    await eventually('the job has ended', 60_000, async () => ['done', 'failed'].includes(await jobState()))
    t.is(await jobState(), 'done')
    await isWhole(t, daemon, library, root)
  })
})

async function withThreads(act: (threaded: Threaded) => Promise<void>): Promise<void> {
  await play(async (scene) => {
    const threads = { shards: new Set<Worker>(), tasks: new Set<Worker>() }
    let kind: 'shards' | 'tasks' = 'shards'
    const noticed = (worker: Worker) => {
      const kept = threads[kind]
      kept.add(worker)
      worker.once('exit', () => kept.delete(worker))
    }
    process.on('worker', noticed)
    const flags = { http: null, shards: 1 } as const
    const daemon = await startDaemon(configure({ dataDir: scene.dataDir, flags, env: {} }), {
      raiseLimit: false,
      socket: false,
    })
    kind = 'tasks'
    try {
      const root = scene.tree('tree', 6_000, 100)
      const { id: library } = (await daemon.call('libraries.create', { name: 'crashing' })) as Loose
      const added = (await daemon.call('locations.add', { library, path: root })) as Loose
      const { location } = added
      let { job } = added
      const end = async (which: 'shards' | 'tasks') => {
        const living = [...threads[which]]
        if (which === 'shards') kind = 'shards'
        await Promise.all(living.map((thread) => thread.terminate()))
        if (which === 'shards') {
          await eventually('a shard is back', 60_000, () => threads.shards.size > 0)
          kind = 'tasks'
        }
        return living.length
      }
      const jobState = async () => {
        const found = await daemon.call('jobs.info', { library, job }).catch(() => ({ state: 'unknown' }))
        return (found as Loose).state as string
      }
      const overAndAgain = async () => {
        if ((await jobState()) !== 'done') return false
        ;({ job } = (await daemon.call('locations.rescan', { library, location })) as Loose)
        return true
      }
      await act({ daemon, root, library, end, jobState, overAndAgain })
    } finally {
      await daemon.close()
      process.removeListener('worker', noticed)
    }
  })
}

/** Nothing lost in the index, and nothing leaked: with the library closed and threads idle no lease is left. */
async function isWhole(t: ExecutionContext, daemon: Daemon, library: string, root: string): Promise<void> {
  const info = (await daemon.call('libraries.info', { library })) as Loose
  t.is(info.files, 6_000)
  t.is(info.entries, disk(root).size + 1, 'each once, and the root')
  await daemon.call('libraries.close', { library })
  await eventually('every lease is back', 30_000, async () => {
    const { classes } = ((await daemon.call('core.status')) as Status).descriptors
    return classes.libraries.used === 0 && classes.jobs.used === 0
  })
}
