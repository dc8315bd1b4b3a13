// Clients that create libraries, write to them and read them in random order, and remember what must be there.
import { Refusal, type TestDaemon } from './daemon.js'

export interface Asked {
  readonly count: number
  readonly clients: number
  /** Random operations after all libraries were made and filled. */
  readonly steps: number
  /** A directory of three files that is the location of each. */
  readonly root: string
}

export interface Seen {
  readonly problems: string[]
  /** Libraries whose name, location's name and entries were read back as last written. */
  written: number
  openMost: number
  /** Of each answer. */
  readonly latenciesMs: number[]
}

interface Known {
  readonly library: string
  location: string
  name: string
  locationName: string
  /** One writer of a name at a time, so that it is known which write was the last. */
  busy: boolean
}

export async function manyLibraries(daemon: TestDaemon, { count, clients, steps, root }: Asked): Promise<Seen> {
  const seen: Seen = { problems: [], written: 0, openMost: 0, latenciesMs: [] }
  const known: Known[] = []
  const call = async (method: string, params: object) => {
    const begun = performance.now()
    try {
      return await daemon.call(method, params)
    } catch (error) {
      seen.problems.push(`${error instanceof Refusal ? error.code : 'failed'} ${String(error)}`)
      return null
    } finally {
      seen.latenciesMs.push(performance.now() - begun)
    }
  }
  let made = 0
  await together(
    clients,
    () => made++ < count,
    () => make(call, root, known),
  )
  let looks = 0
  let step = 0
  await together(
    clients,
    () => step++ < steps,
    async () => {
      await touch(call, known[Math.floor(Math.random() * known.length)]!)
      if (looks++ % 50 === 0) seen.openMost = Math.max(seen.openMost, (await daemon.status()).libraries.open)
    },
  )
  const left = [...known]
  await together(
    clients,
    () => left.length > 0,
    () => readBack(call, left.pop(), seen),
  )
  return seen
}

type Call = (method: string, params: object) => Promise<Awaited<ReturnType<TestDaemon['call']>>>

async function make(call: Call, root: string, known: Known[]): Promise<void> {
  const name = `library ${known.length} ${Math.random()}`
  const created = await call('libraries.create', { name })
  if (!created) return
  const added = await call('locations.add', { library: created.id, path: root, name: 'first' })
  if (added) known.push({ library: created.id, location: added.location, name, locationName: 'first', busy: false })
}

async function touch(call: Call, one: Known): Promise<void> {
  const { library, location } = one
  const kind = Math.floor(Math.random() * 4)
  if (kind === 0) await call('search.files', { library, query: 'o' })
  else if (kind === 1) await call('libraries.info', { library })
  else if (!one.busy) {
    one.busy = true
    const name = `name ${Math.random()}`
    if (kind === 2 && (await call('libraries.rename', { library, name }))) one.name = name
    if (kind === 3 && (await call('locations.update', { library, location, name }))) one.locationName = name
    one.busy = false
  }
}

/** The index job may still stand in line: it is waited for. */
async function readBack(call: Call, one: Known | undefined, seen: Seen): Promise<void> {
  if (!one) return
  const { library, name, locationName } = one
  for (let tries = 0; tries < 2_400; tries++) {
    const jobs = await call('jobs.list', { library })
    if (!jobs) return
    if (jobs.items.every((job: { state: string }) => job.state === 'done')) {
      // Asked afterwards: what was told before its end is not the whole.
      const info = await call('libraries.info', { library })
      if (!info) return
      const right = info.name === name && info.locations[0]?.name === locationName && info.files === 3
      if (right) seen.written += 1
      else seen.problems.push(`wrong: ${JSON.stringify({ expected: one, info })}`)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  seen.problems.push(`the job of ${name} never ended`)
}

/** Several at a time, as long as there is more to do. */
async function together(clients: number, more: () => boolean, work: () => Promise<void>): Promise<void> {
  const loop = async () => {
    while (more()) await work()
  }
  await Promise.all(Array.from({ length: clients }, loop))
}
