// A daemon with nothing to do: libraries closed, task threads gone, nobody connected but whoever looks.
import { eventually, Refusal, type Loose, type TestDaemon } from './daemon.js'

/** What it has open then; two of these are the same if nothing was lost or kept between them. `like` is what is hoped for. */
export async function atRest(daemon: TestDaemon, like?: readonly string[]): Promise<string[]> {
  // Whoever held all connections a moment ago may not be seen to be gone.
  for (const { id, open } of (await daemon.callOnceLetIn('libraries.list')) as Loose[]) {
    if (open) await closed(daemon, id)
  }
  daemon.hangUp()
  await eventually('nothing is leased but by the looking client', 30_000, async () => {
    const { classes } = (await daemon.status()).descriptors
    return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
  })
  return await daemon.descriptorsAtRest(like)
}

/** Also of one that has work still: what was not watched is scanned once after a start. */
export async function closed(daemon: TestDaemon, library: string): Promise<void> {
  await eventually(`${library} has no work`, 60_000, () =>
    daemon.call('libraries.close', { library }).then(
      () => true,
      () => false,
    ),
  )
}

/** The same by who looks and takes no place at the port, and takes nothing but work that is going on for an answer to wait after. */
export async function closedUnseen(daemon: Pick<TestDaemon, 'watch'>, library: string): Promise<void> {
  await eventually(`${library} has no work`, 60_000, () =>
    daemon.watch('libraries.close', { library }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Refusal && error.code === 'JOB_STATE') return false
        throw error
      },
    ),
  )
}

/** A library that can still be written is one that nothing demoted. */
export async function writable(daemon: TestDaemon, library: string): Promise<void> {
  const [{ id: location }] = await daemon.call('locations.list', { library })
  const { job } = await daemon.call('locations.rescan', { library, location })
  await daemon.jobDone(library, job)
}
