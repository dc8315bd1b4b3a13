// The five things that hold whatever fails: the process lives, an admitted client is served, who is refused is told why, all comes
// back by itself with exactly the descriptors of before, and no library is lost or has become read-only.
import assert from 'node:assert'
import { eventually, Refusal, type Loose, type TestDaemon } from './daemon.js'
import { alive } from './scene.js'
import { closed } from './rest.js'

export interface Fault {
  /** Every library of the daemon that must be there and writable afterwards. */
  readonly libraries: readonly string[]
  readonly begin: () => Promise<void> | void
  /** What is to be seen while it lasts; who is refused, and with which words. */
  readonly during: () => Promise<void>
  readonly end: () => Promise<void> | void
  /** Asked again and again from the end of the fault on, until it is true. */
  readonly recovered?: () => Promise<boolean>
  readonly recoveryMs?: number
}

/** @throws what did not hold; the rest is for the test to assert in `during` */
export async function keepsPromise(daemon: TestDaemon, fault: Fault): Promise<void> {
  const { libraries, recovered, recoveryMs = 20_000 } = fault
  const rest = await atRest(daemon, libraries)
  await daemon.callOnceLetIn('core.ping') // whoever is admitted keeps the connection
  await fault.begin()
  await fault.during()
  assert(alive(daemon.pid), 'the process lives')
  assert.equal(await daemon.call('core.ping'), 'pong', 'the admitted client is served')
  await fault.end()
  if (recovered) await eventually('all is well again', recoveryMs, () => recovered().catch(notYet))
  for (const library of libraries) await isWritable(daemon, library)
  await backAtRest(daemon, libraries, rest)
}

/** Who comes too early is told to come again. */
function notYet(error: unknown): false {
  if (error instanceof Refusal && error.code === 'CONNECTION_LIMIT') return false
  throw error
}

/** Exactly the descriptors of before; a thread that was ended may take a moment to be gone. */
export async function backAtRest(
  daemon: TestDaemon,
  libraries: readonly string[],
  rest: readonly string[],
): Promise<void> {
  let now: string[] = []
  const same = async () => (now = await atRest(daemon, libraries, rest)).join() === rest.join()
  await eventually('the descriptors are those of before', 30_000, same).catch(() => assert.deepEqual(now, rest))
}

/** Nothing was lost or demoted: it is listed without a problem, and what is written to it is read back. */
export async function isWritable(daemon: TestDaemon, library: string): Promise<void> {
  const listed: Loose[] = await daemon.callOnceLetIn('libraries.list')
  const found = listed.find(({ id }) => id === library)
  assert(found && found.problem === undefined, `${library} is listed without a problem: ${JSON.stringify(found)}`)
  const name = `written ${Math.random()}`
  await daemon.callOnceLetIn('libraries.rename', { library, name })
  assert.equal((await daemon.callOnceLetIn('libraries.info', { library })).name, name)
}

/** With libraries closed, task threads gone and calls hung up. `like` is what is hoped for. */
export async function atRest(
  daemon: TestDaemon,
  libraries: readonly string[],
  like?: readonly string[],
): Promise<string[]> {
  for (const library of libraries) await closed(daemon, library)
  daemon.hangUp()
  await eventually('nothing is leased but by the looking client and the watcher', 30_000, async () => {
    const { watches: _, ...classes } = (await daemon.status()).descriptors.classes
    return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
  })
  return await daemon.descriptorsAtRest(like)
}
