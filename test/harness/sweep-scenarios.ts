// Four of the sweep's scenarios: twenty libraries opened and written, a tree indexed, a tree tagged that changes, a hundred clients who
// come, work and leave.
import assert from 'node:assert'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { eventually, type Loose } from './daemon.js'
import { disk } from './scene.js'
import { codeOf, type Scenario, type Stage } from './sweep.js'

const CLIENTS = 100
const DIRECTORIES = 12
const JOB_MS = 60_000
const CLIENT_MS = 30_000

/** One after the other, over a connection that was there before: open, write twice, search with a reader of its own, list. */
export const libraries: Scenario = {
  name: 'open and write 20 libraries',
  async play(stage) {
    for (const [at, known] of stage.known.entries()) {
      if (at === Math.floor(stage.known.length / 2)) stage.middle()
      const { id: library } = known
      await stage.act('libraries.open', { library })
      await stage.write(known, 'locationNames')
      await stage.write(known, 'names')
      await stage.act('search.files', { library, query: 'o' })
      await stage.act('files.list', { library, path: stage.small })
    }
    created = await stage.act('libraries.create', { name: stage.fresh('created') })
  },
  async check({ daemon, known }) {
    const listed: Loose[] = await daemon.watch('libraries.list')
    const ours = new Set(known.map(({ id }) => id))
    const others = listed.map(({ id }) => id as string).filter((id) => !ours.has(id))
    if (created) assert(others.includes(created.id), 'a library that was acknowledged is there')
    for (const library of others) {
      await daemon.watch('libraries.rename', { library, name: 'writable' })
      await daemon.watch('libraries.delete', { library, data: true })
    }
  },
}
let created: { id: string } | undefined

/** A tree nobody has seen, then one more directory in it and a rescan. */
export const tree: Scenario = {
  name: 'index a tree',
  async play(stage) {
    const root = (planted = plant(stage))
    const library = stage.known[0]!.id
    const added = await stage.act('locations.add', { library, path: root })
    if (added) await ended(stage, library, added.job)
    stage.middle()
    mkdirSync(join(root, 'later'))
    writeFileSync(join(root, 'later', 'file'), 'later')
    if (!added) return
    const again = await stage.act('locations.rescan', { library, location: added.location })
    if (again) await ended(stage, library, again.job)
  },
  async check(stage) {
    const { daemon } = stage
    const library = stage.known[0]!.id
    const location = await found(stage, library, planted)
    await daemon.jobDone(library, (await daemon.watch('locations.rescan', { library, location })).job)
    await sameBelow(stage, library, planted)
    await daemon.watch('locations.remove', { library, location })
    rmSync(planted, { recursive: true })
  },
}
let planted = ''

function plant(stage: Stage): string {
  const root = stage.scene.path(stage.fresh('tree'))
  for (let at = 0; at < DIRECTORIES; at++) {
    mkdirSync(join(root, `d${at}`), { recursive: true })
    for (const name of ['one', 'two', 'three']) writeFileSync(join(root, `d${at}`, name), name)
  }
  return root
}

/** Files that get a tag, move, go and come back, each time with a rescan: what was acknowledged to be tagged is so at the end. */
export const tags: Scenario = {
  name: 'tag a tree that changes',
  async play(stage) {
    const root = (planted = plant(stage))
    const library = stage.known[0]!.id
    taggedHere.clear()
    const added = await stage.act('locations.add', { library, path: root })
    if (added) await ended(stage, library, added.job)
    const made = added && (await stage.act('tags.create', { library, name: 'work' }))
    for (const name of made ? ['d0', 'd1', 'd2'] : []) {
      const paths = ['one', 'two', 'three'].map((each) => join(root, name, each))
      if (await stage.act('tags.apply', { library, tag: 'work', paths })) for (const path of paths) taggedHere.add(path)
    }
    const look = async () => {
      const again = added && (await stage.act('locations.rescan', { library, location: added.location }))
      if (again) await ended(stage, library, again.job)
    }
    renameSync(join(root, 'd0'), join(root, 'moved'))
    rmSync(join(root, 'd1'), { recursive: true })
    await look()
    stage.middle()
    mkdirSync(join(root, 'd1'))
    for (const name of ['one', 'two', 'three']) writeFileSync(join(root, 'd1', name), 'restored')
    await look()
  },
  async check(stage) {
    const { daemon } = stage
    const library = stage.known[0]!.id
    const location = await found(stage, library, planted)
    await daemon.jobDone(library, (await daemon.watch('locations.rescan', { library, location })).job)
    for (const path of taggedHere) {
      const file = await daemon.watch('files.get', { library, path: path.replace('/d0/', '/moved/') })
      if (file.tags?.join() !== 'work') stage.problems.push(`lost: the tag of ${path}`)
    }
    await daemon.watch('tags.delete', { library, tag: 'work' }).catch((error) => {
      if (error.code !== 'TAG_NOT_FOUND' || taggedHere.size > 0) throw error
    })
    await daemon.watch('locations.remove', { library, location })
    rmSync(planted, { recursive: true })
  },
}
const taggedHere = new Set<string>()

/** A job that was acknowledged comes to its end by itself, and never to `failed`. */
async function ended(stage: Stage, library: string, job: string): Promise<void> {
  const { problems } = stage
  const last = await eventually(`the job ${job} has ended`, JOB_MS, async () => {
    const seen = await stage.ask('jobs.info', { library, job }).catch(() => null)
    return seen !== null && ['done', 'failed', 'cancelled'].includes(seen.state) && seen
  })
  if (last.state !== 'done') problems.push(`job ${last.state}: ${JSON.stringify(last.error)}`)
  if (last.failures?.length > 0) problems.push(`job failures: ${JSON.stringify(last.failures)}`)
}

/** The location that was acknowledged; where the answer was a refusal it may be missing, and then must be possible now. */
async function found(stage: Stage, library: string, root: string): Promise<string> {
  const { daemon } = stage
  const there: Loose[] = await daemon.watch('locations.list', { library })
  const location = there.find(({ path }) => path === root)?.id
  const { items } = await daemon.watch('jobs.list', { library, limit: 1 })
  if (location && items[0]) await ended(stage, library, items[0].id)
  if (location) return location
  const added = await daemon.watch('locations.add', { library, path: root })
  await daemon.jobDone(library, added.job)
  return added.location
}

async function sameBelow({ daemon }: Stage, library: string, root: string): Promise<void> {
  const seen: string[] = []
  const below = async (path: string): Promise<void> => {
    const { items } = await daemon.watch('files.list', { library, path, limit: 1000 })
    for (const item of items) {
      seen.push(item.path)
      if (item.kind === 'directory') await below(item.path)
    }
  }
  await below(root)
  assert.deepEqual(seen.sort(), [...disk(root).keys()].sort(), 'index equals disk')
}

/** All at once: sixty over HTTP, of whom twenty write, thirty over WebSocket, ten over the unix socket. */
export const clients: Scenario = {
  name: '100 clients connect, work and leave',
  async play(stage) {
    let left = 0
    const work = (at: number) => {
      if (at % 10 < 3) return feedClient(stage, at)
      return at % 10 === 3 ? unixClient(stage, at) : httpClient(stage, at)
    }
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, at) => {
        await work(at)
        left += 1
        if (left === CLIENTS / 2) stage.middle()
      }),
    )
  },
}

async function httpClient(stage: Stage, at: number): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const known = stage.known[at % stage.known.length]!
  try {
    await stage.act('libraries.info', { library: known.id }, agent)
    // One writer a library, so that it is known which write was the last.
    if (at >= CLIENTS - 2 * stage.known.length && !writing.has(known.id)) {
      writing.add(known.id)
      await stage.write(known, 'locationNames', agent)
      writing.delete(known.id)
    }
    await stage.act('files.list', { library: known.id, path: stage.small }, agent)
  } finally {
    agent.destroy()
  }
}
const writing = new Set<string>()

async function unixClient(stage: Stage, at: number): Promise<void> {
  const { id: library } = stage.known[at % stage.known.length]!
  await stage.daemon
    .watch('libraries.info', { library })
    .catch((error) => stage.note(codeOf(error), `a unix client: ${error}`))
  stage.moves += 1
}

async function feedClient(stage: Stage, at: number): Promise<void> {
  const { port, token } = stage.daemon
  const { id: library } = stage.known[at % stage.known.length]!
  const feed = new WebSocket(`ws://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${token}`])
  const outcome = await new Promise<string>((resolve) => {
    const timer = setTimeout(() => resolve('no answer in time'), CLIENT_MS)
    let answered = 0
    let code = ''
    feed.on('open', () => {
      feed.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: { library } }))
      feed.send(JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'libraries.info', params: { library } }))
    })
    feed.on('message', (bytes) => {
      const { id, error } = JSON.parse(String(bytes)) as Loose
      if (id === undefined) return
      if (error) code = error.data?.code ?? String(error.code)
      stage.moves += 1
      if (++answered === 2) feed.close()
    })
    feed.on('unexpected-response', (_, response) =>
      resolve(response.statusCode === 503 ? 'CONNECTION_LIMIT' : `HTTP ${response.statusCode}`),
    )
    feed.on('error', (error) => resolve(codeOf(error)))
    feed.on('close', () => (clearTimeout(timer), resolve(answered === 2 ? code : 'closed before an answer')))
  })
  feed.on('error', () => undefined)
  feed.terminate()
  stage.moves += 1
  if (outcome) stage.note(outcome, 'a WebSocket')
}
