// The limit of a running daemon is cut to N descriptors more than it holds, for N from 0 up: it lives, says what is short, and loses nothing.
import test from 'ava'
import { eventually, sleep, within, type Asking, type TestDaemon } from '../harness/daemon.js'
import { play, sameAsDisk } from '../harness/scene.js'

const LIMIT = 200
/** What may be said while descriptors are short. */
const TYPED = /^(answered|BUDGET_EXHAUSTED|CONNECTION_LIMIT|SHARD_LOST|SHARD_BUSY|ECONNRESET|not yet accepted)$/

test.serial(
  'with 0, 1, 2, … free descriptors it lives, answers in codes, loses nothing, and comes back to where it was',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
      const small = scene.tree('small', 200)
      const cold: string[] = []
      for (let at = 0; at < 2; at++) cold.push((await daemon.index(`library ${at}`, small)).library)
      const [{ id: location }] = await daemon.call('locations.list', { library: cold[0] })
      const rest = await atRest(daemon, cold)
      const outcomes = new Map<number, string[]>()
      for (const free of [0, 2, 3, 4, 6, 8, 10, 20]) {
        await daemon.call('core.ping') // what is asked comes over a connection that is kept
        daemon.limit(daemon.descriptorCount + free)
        const codes = [
          await outcome(daemon, 'files.list', { library: cold[0], path: small }),
          await outcome(daemon, 'libraries.info', { library: cold[1] }),
          await outcome(daemon, 'locations.rescan', { library: cold[0], location }),
          await newcomer(daemon),
        ]
        outcomes.set(free, codes)
        daemon.limit(LIMIT)
        await eventually('it answers again, and has noticed the limit', 10_000, async () => {
          const status = await daemon.status().catch(() => null)
          return status?.limit.soft === LIMIT
        })
        for (const code of codes) t.regex(code, TYPED, `${free} free: ${codes.join()}`)
        await idle(daemon, cold[0]!)
        t.deepEqual(await atRest(daemon, cold), rest, `${free} free`)
      }
      t.true(
        [...outcomes.values()].flat().some((code) => code !== 'answered'),
        'the cuts were felt',
      )
      t.deepEqual(outcomes.get(20), ['answered', 'answered', 'answered', 'answered'])
      const listed: { problem?: unknown }[] = await daemon.call('libraries.list')
      t.deepEqual(
        listed.filter(({ problem }) => problem),
        [],
      )
      for (const library of cold) await sameAsDisk(daemon, library, small)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

async function outcome(daemon: TestDaemon, method: string, params: object, asking: Asking = {}): Promise<string> {
  const asked = daemon.call(method, params, asking).then(
    () => 'answered',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )
  return await within(20_000, `${method} is answered`, asked)
}

/** At the limit itself nobody can be accepted, not even to be refused: a newcomer is served once there is room. */
function newcomer(daemon: TestDaemon): Promise<string> {
  const asked = outcome(daemon, 'core.ping', {}, { agent: false })
  return Promise.race([asked, sleep(2_000).then(() => 'not yet accepted')])
}

/** A rescan that was let in runs to its end now that there is room: a job never fails for lack of descriptors. */
async function idle(daemon: TestDaemon, library: string): Promise<void> {
  const { items } = await daemon.call('jobs.list', { library, limit: 1 })
  await daemon.jobDone(library, items[0].id)
}

/** With libraries closed and task threads gone. */
async function atRest(daemon: TestDaemon, libraries: readonly string[]): Promise<string[]> {
  for (const library of libraries) await daemon.call('libraries.close', { library })
  daemon.hangUp()
  await eventually('nothing is leased but by the looking client', 15_000, async () => {
    const { classes } = (await daemon.status()).descriptors
    return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
  })
  return await daemon.descriptorsAtRest()
}
