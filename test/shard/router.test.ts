// Shards as the daemon has them: real threads, requests that cross, and what happens when one of them dies.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MessagePort } from 'node:worker_threads'
import test from 'ava'
import { Beats } from '../../src/base/beats.js'
import { fromWire, type WireError } from '../../src/base/errors.js'
import { LIMITS } from '../../src/base/limits.js'
import type { FileItem, JobItem, LibraryInfo } from '../../src/protocol/messages.js'
import type { OperationName } from '../../src/protocol/operations.js'
import type { FromShard, ToShard } from '../../src/shard/lines.js'
import { placeOf } from '../../src/shard/place.js'
import { Router, type Askers } from '../../src/shard/router.js'
import { openTargets } from '../harness/open.js'
import { flood, openIn, plant, until, Yard } from './yard.js'

test.serial('libraries are made, listed, renamed, closed and deleted, each on its own shard', async (t) => {
  await using yard = await Yard.open()
  const ids = await yard.createOnBoth()
  for (const id of ids)
    t.like(await yard.call<LibraryInfo>('libraries.info', { library: id }), { id, entries: 0, open: true })
  t.is(yard.router.counts().libraries.open, ids.length)
  t.is(yard.ledger.use('libraries').used, ids.length * 4)
  await yard.call('libraries.rename', { library: ids[0], name: 'Renamed' })
  t.is(yard.router.list().find((each) => each.id === ids[0])?.name, 'Renamed')
  await yard.call('libraries.close', { library: ids[1] })
  t.false(yard.router.list().find((each) => each.id === ids[1])!.open)
  const { path } = await yard.call<{ path: string }>('libraries.delete', { library: ids[2] })
  t.true(existsSync(path))
  await yard.call('libraries.delete', { library: ids[3], data: true })
  await t.throwsAsync(yard.call('libraries.info', { library: ids[2] }), { code: 'LIBRARY_NOT_FOUND' })
  t.is(yard.router.list().length, ids.length - 2)
  t.deepEqual(
    yard.router.counts().shards.map((each) => each.inFlight),
    [0, 0],
  )
})

test.serial('where deleted libraries cannot go none is deleted, and its work goes on', async (t) => {
  await using yard = await Yard.open(1)
  const library = await yard.create('Library')
  plant(yard, 20)
  const refused = () => t.throwsAsync(yard.call('libraries.delete', { library }), { code: 'BAD_CONFIG' })
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  writeFileSync(join(yard.path, 'deleted'), '')
  await refused()
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  rmSync(join(yard.path, 'deleted'))
  symlinkSync(join(yard.path, 'nowhere'), join(yard.path, 'deleted'))
  await refused()
  writeFileSync(join(yard.path, 'backups'), '')
  await t.throwsAsync(yard.call('libraries.backup', { library }), { code: 'BAD_CONFIG' })
  t.is((await yard.call<LibraryInfo>('libraries.info', { library })).directories, 21)
  rmSync(join(yard.path, 'deleted'))
  t.true(existsSync((await yard.call<{ path: string }>('libraries.delete', { library })).path))
})

test.serial('libraries of one name made at the same time on both shards all come to be', async (t) => {
  await using yard = await Yard.open()
  const ids = await Promise.all(Array.from({ length: 16 }, () => yard.create('Same')))
  const paths = yard.router.list().map((each) => each.path)
  t.is(new Set(ids).size, 16)
  t.is(new Set(paths).size, 16)
})

test.serial(
  'a shard that dies under requests: callers may try again, libraries open again, leases are back',
  async (t) => {
    await using yard = await Yard.open()
    const ids = await yard.createOnBoth()
    await Promise.all(ids.map((id) => yard.call('libraries.open', { library: id })))
    const used = yard.ledger.totals().used
    t.is(used, ids.length * 4)
    const mine = ids.filter((id) => placeOf(id, 2) === 0)
    const others = ids.filter((id) => placeOf(id, 2) === 1)
    const ends = Array.from({ length: 400 }, (_, at) =>
      yard.call('libraries.info', { library: ids[at % ids.length]! }).then(
        () => 'answered',
        (error: WireError) => `${error.code} ${error.retryable}`,
      ),
    )
    const crash = yard.router.crash(0)
    const told = new Set(await Promise.all(ends))
    await crash
    for (const each of told) t.true(['answered', 'SHARD_LOST true'].includes(each), each)
    for (const id of others) t.like(await yard.call('libraries.info', { library: id }), { id })
    await until(t, () => yard.restarts === 1)
    for (const id of mine) await until(t, () => yard.call('libraries.info', { library: id }))
    t.is(yard.ledger.totals().used, used)
    t.is(yard.router.counts().shards[0]!.restarts, 1)
    t.deepEqual(
      yard.router.counts().shards.map((each) => each.inFlight),
      [0, 0],
    )
    await yard.close()
    t.is(yard.ledger.totals().used, 0)
  },
)

test.serial('a job whose shard dies is taken up by the next one and ends with the whole index', async (t) => {
  await using yard = await Yard.open(1)
  const entries = plant(yard, 200)
  const library = await yard.create('Crashing')
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  for (let crashes = 0; crashes < 2; crashes++) {
    await sleep(60)
    await yard.router.crash(0)
    await until(t, () => yard.restarts === crashes + 1)
  }
  const item = await until(t, async () => {
    const found = await yard.call<JobItem>('jobs.info', { library, job })
    return found.state === 'done' ? found : null
  })
  t.is(item!.failureCount, 0)
  t.like(await yard.call('libraries.info', { library }), { entries, files: 200 * 20, directories: 201 })
  await yard.close()
  t.is(yard.ledger.totals().used, 0)
})

test.serial('what a shard was making of a copy when it died is thrown away by the next one', async (t) => {
  await using yard = await Yard.open(1)
  const library = await yard.create('Kept')
  const { job, path: from } = await yard.call<{ job: string; path: string }>('libraries.backup', { library })
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  truncateSync(join(from, 'library.db'), 2 ** 31)
  const made = yard.call('libraries.create', { name: 'Big', from }).then(
    () => 'answered',
    (error: WireError) => error.code,
  )
  const half = () => readdirSync(yard.libraries).filter((name) => name.startsWith('.new-')).length
  await until(t, () => half() === 1)
  await yard.router.crash(0)
  t.is(await made, 'SHARD_LOST')
  await until(t, () => yard.restarts === 1)
  await until(t, () => half() === 0)
  t.like(await until(t, () => yard.call('libraries.info', { library })), { id: library })
  await yard.close()
  t.is(yard.ledger.totals().used, 0)
})

test.serial('a shard that is full says SHARD_BUSY at once, answers what it has, and then takes more', async (t) => {
  await using yard = await Yard.open(1)
  const library = await yard.create('Busy')
  // Of writes fewer may wait, so how many were taken would depend on how many the shard has begun meanwhile.
  const ends = Array.from({ length: LIMITS.shardInFlightMax + 50 }, () =>
    yard.call('locations.list', { library }).then(
      () => 'answered',
      (error: WireError) => `${error.code} ${error.retryable}`,
    ),
  )
  const told = await Promise.all(ends)
  t.is(told.filter((each) => each === 'answered').length, LIMITS.shardInFlightMax)
  t.is(told.filter((each) => each === 'SHARD_BUSY true').length, 50)
  t.like(await yard.call('libraries.open', { library }), { id: library })
})

test.serial(
  'a drain answers what is in flight, stops jobs at their checkpoint, and the next start goes on with them',
  async (t) => {
    const yard = await Yard.open(2)
    t.teardown(() => rmSync(yard.path, { recursive: true, force: true }))
    const entries = plant(yard, 300)
    const library = await yard.create('Drained')
    const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
    // On a machine that was late it may be through by now.
    await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state !== 'queued')
    const last = yard.call('libraries.info', { library })
    await yard.close()
    t.like(await last, { id: library })
    t.is(yard.ledger.totals().used, 0)

    const again = new Yard(3)
    t.teardown(() => rmSync(again.path, { recursive: true, force: true }))
    const router = new Router({ ...setupOf(again), libraries: yard.libraries })
    await router.open(() => {})
    const ask = (operation: OperationName) =>
      new Promise<{ state: string; entries: number }>((resolve, reject) =>
        router.request({ operation, params: { library, job } }, (reply) =>
          reply.ok ? resolve(JSON.parse(reply.json) as never) : reject(fromWire(reply.error)),
        ),
      )
    await until(t, async () => (await ask('jobs.info')).state === 'done')
    t.is((await ask('libraries.info')).entries, entries)
    t.true(await router.close(3_000))
    await again.tasks.close()
    t.is(again.ledger.totals().used, 0)
  },
)

test.serial('a close tells whether a shard may have left something unsaid', async (t) => {
  await using yard = await Yard.open(2)
  await yard.createOnBoth()
  await yard.router.crash(1)
  t.false(await yard.router.close(3_000))
})

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip
onLinux('closed at any moment of its start it leaves no file open that a shard was loading', async (t) => {
  for (let ms = 0; ms < 400; ms += 20) {
    const yard = new Yard(3)
    const router = new Router(setupOf(yard))
    const opening = router.open(() => {}).catch(() => undefined)
    await sleep(ms)
    await router.close(0)
    await opening
    await yard.tasks.close()
    rmSync(yard.path, { recursive: true, force: true })
    t.deepEqual(
      openTargets().filter((target) => target.endsWith('.js')),
      [],
      `closed after ${ms} ms`,
    )
  }
})

function setupOf(yard: Yard): ConstructorParameters<typeof Router>[0] {
  return {
    shards: 3,
    beats: Beats.create(4),
    ledger: yard.ledger,
    tasks: yard.tasks,
    events: yard.events,
    libraries: yard.libraries,
    deleted: join(yard.path, 'deleted'),
    leftOut: [],
    watch: () => {},
    log: () => {},
  }
}

test.serial(
  'many libraries within few descriptors are written and read by many clients at once, and nothing is lost',
  async (t) => {
    await using yard = await Yard.open(2, 90)
    const ids: string[] = []
    for (let at = 0; at < 24; at++) ids.push(await yard.create(`Library ${at}`))
    const roots = ids.map((_, at) => join(yard.path, `root ${at}`))
    for (const root of roots) mkdirSync(root)
    await Promise.all(ids.map((library, at) => yard.call('locations.add', { library, path: roots[at] })))
    const refused: string[] = []
    await Promise.all(
      Array.from({ length: 16 }, async (_, client) => {
        for (let round = 0; round < 15; round++) {
          const library = ids[(client * 7 + round * 5) % ids.length]!
          await yard.call('libraries.info', { library }).catch((error: WireError) => refused.push(error.code))
        }
      }),
    )
    t.deepEqual(refused, [])
    const { ceiling, peak } = yard.ledger.use('libraries')
    t.true(peak <= ceiling)
    for (const library of ids) t.like(await yard.call('libraries.info', { library }), { directories: 1 })
  },
)

test.serial('what is refused is refused with its reason', async (t) => {
  await using yard = await Yard.open(1)
  const library = await yard.create('Strict')
  writeFileSync(join(yard.path, 'file'), '')
  for (const path of [
    'relative',
    join(yard.path, 'file'),
    join(yard.path, 'nowhere'),
    '/proc',
    yard.libraries,
    '/a\0b',
  ])
    await t.throwsAsync(yard.call('locations.add', { library, path }), { code: 'PATH_REFUSED' }, path)
  await yard.call('locations.add', { library, path: yard.tree })
  for (const path of [yard.tree, `${yard.tree}/.`, yard.path])
    await t.throwsAsync(yard.call('locations.add', { library, path }), { code: 'LOCATION_EXISTS' }, path)
  const around = await t.throwsAsync<Error & { hint: string }>(yard.call('locations.add', { library, path: yard.path }))
  t.regex(around!.hint, /remove that location/, 'a rescan would not cover it')
  await t.throwsAsync(yard.call('jobs.info', { library, job: 'none' }), { code: 'JOB_NOT_FOUND' })
  await t.throwsAsync(yard.call('files.get', { library, id: '999' }), { code: 'FILE_NOT_FOUND' })
  await t.throwsAsync(yard.call('files.get', { library, path: '/elsewhere' }), { code: 'FILE_NOT_FOUND' })
  await t.throwsAsync(yard.call('locations.remove', { library, location: 'none' }), { code: 'LOCATION_NOT_FOUND' })
})

test.serial('a library that is too much for its shard is read by the other as well, until it is closed', async (t) => {
  await using yard = await Yard.open()
  plant(yard, 2)
  const library = await yard.create('Hot')
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  const path = join(yard.tree, 'd1')
  const { items } = await yard.call<{ items: { id: string }[] }>('files.list', { library, path })
  const shared = () => yard.router.counts().libraries.connections === 2

  const reads = flood(yard, library, path)
  await until(t, shared)
  // What it costs is what the kernel counts: the library's four, and two for a connection.
  t.is(yard.ledger.use('libraries').used, 6)
  t.is(openIn(yard.libraries), 6)
  for (const [at, { id }] of items.entries()) {
    await yard.call('tags.create', { library, name: `tag ${at}` })
    const applied = yard.call('tags.apply', { library, tag: `tag ${at}`, ids: [id] })
    // Both asked before either is answered, and once more after.
    const { tags } = await yard.call<{ tags: string[] }>('files.get', { library, id })
    t.deepEqual(tags, [`tag ${at}`])
    await applied
    t.deepEqual((await yard.call<{ tags: string[] }>('files.get', { library, id })).tags, [`tag ${at}`])
  }
  t.deepEqual(await reads.stop(), [])
  t.deepEqual(await yard.call('libraries.close', { library }), { library, closed: true })
  t.is(openIn(yard.libraries), 0)
  t.is(yard.ledger.use('libraries').used, 0)

  const again = flood(yard, library, path)
  await until(t, shared)
  const { path: kept } = await yard.call<{ path: string }>('libraries.delete', { library })
  t.true(existsSync(kept))
  t.deepEqual([...new Set(await again.stop())], ['LIBRARY_NOT_FOUND'])
  t.is(openIn(yard.libraries), 0)
  t.is(yard.ledger.use('libraries').used, 0)
})

test.serial('a library goes while it is read in many steps, and nobody begins anew', async (t) => {
  await using yard = await Yard.open(1)
  const library = await yard.create('Library')
  for (let at = 0; at < 6_000; at++) writeFileSync(join(yard.tree, `file ${at}`), '')
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  const ends = new Set<string>()
  let goesOn = true
  const search = async () => {
    const asked = { library, query: 'e', sort: 'size', limit: 500 }
    while (goesOn)
      await yard.call('search.files', asked).then(
        () => ends.add('answered'),
        ({ code }: WireError) => {
          ends.add(code)
          goesOn = false
        },
      )
  }
  const searches = Promise.all(Array.from({ length: 8 }, search))
  await until(t, () => ends.has('answered'))
  const deleted = yard.call<{ path: string }>('libraries.delete', { library })
  await t.throwsAsync(yard.call('libraries.delete', { library, data: true }), { code: 'LIBRARY_NOT_FOUND' })
  const { path } = await deleted
  await searches
  t.true(existsSync(path))
  t.deepEqual([...ends], ['answered', 'LIBRARY_NOT_FOUND'])
  t.is(openIn(yard.libraries), 0)
  t.is(yard.ledger.use('libraries').used, 0)
})

test.serial('what was asked before is answered at once, and whoever asked for a change finds it', async (t) => {
  await using yard = await Yard.open(2)
  const library = await yard.create('Library')
  writeFileSync(join(yard.tree, 'a'), '')
  writeFileSync(join(yard.tree, 'b'), '')
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  for (const name of ['x', 'y']) await yard.call('tags.create', { library, name })
  const paths = ['a', 'b'].map((name) => join(yard.tree, name))
  const has = new Map(paths.map((path) => [path, new Set<string>()]))
  let atOnce = 0
  const read = (path: string) => {
    const expected = [...has.get(path)!].sort()
    let told = false
    const asked = yard
      .call<FileItem>('files.get', { library, path })
      .then(({ tags }) => t.deepEqual(tags ?? [], expected))
    yard.router.request({ operation: 'files.get', params: { library, path } }, () => (told = true))
    if (told) atOnce += 1
    return asked
  }
  const write = (path: string, tag: string) => {
    const tags = has.get(path)!
    const operation = tags.has(tag) ? 'tags.remove' : 'tags.apply'
    if (!tags.delete(tag)) tags.add(tag)
    return yard.call(operation, { library, tag, paths: [path] })
  }
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!
  for (let at = 0; at < 300; at++) {
    const asked = Math.random() < 0.3 ? write(pick(paths), pick(['x', 'y'])) : read(pick(paths))
    if (Math.random() < 0.7) await asked
  }
  t.true(atOnce > 20, `${atOnce}`)
  await yard.call('libraries.close', { library })
  let told = false
  yard.router.request({ operation: 'files.get', params: { library, path: paths[0]! } }, () => (told = true))
  t.false(told, 'a library that was closed is opened again')
  await until(t, () => told)
  await read(paths[0]!)
  await yard.router.crash(placeOf(library, 2))
  await until(t, () => yard.restarts === 1)
  await until(t, () => read(paths[0]!).then(() => true))
})

test.serial('the other shard dies while it reads a library as well: nobody is refused', async (t) => {
  await using yard = await Yard.open()
  plant(yard, 1)
  const library = await yard.create('Hot')
  await yard.call('locations.add', { library, path: yard.tree })
  const path = yard.tree
  const shared = () => yard.router.counts().libraries.connections === 2
  const reads = flood(yard, library, path)
  await until(t, shared)
  const owner = placeOf(library, 2)
  await yard.router.crash(1 - owner)
  await until(t, () => yard.restarts === 1)
  const before = reads.done()
  await until(t, () => reads.done() > before + 100)
  t.deepEqual(await reads.stop(), [])
  await until(t, () => openIn(yard.libraries) <= yard.ledger.use('libraries').used)

  const again = flood(yard, library, path)
  await yard.router.crash(owner)
  await until(t, () => yard.restarts === 2)
  await until(t, async () => (await yard.call<{ items: unknown[] }>('files.list', { library, path })).items.length > 0)
  for (const code of await again.stop()) t.is(code, 'SHARD_LOST')
  await yard.call('libraries.close', { library })
  await until(t, () => openIn(yard.libraries) === 0 && yard.ledger.use('libraries').used === 0)
})

test.serial(
  'what a shard comes to later than it may is not begun and said to be so, and all others are answered',
  async (t) => {
    const ports: MessagePort[] = []
    await using yard = await Yard.open(1, undefined, new OnlyPorts(ports))
    const library = await yard.create('Library')
    const [port] = ports
    const answers = new Map<number, unknown>()
    port!.on('message', ({ replies = [] }: FromShard) => {
      for (let at = 0; at < replies.length; at += 3)
        answers.set(replies[at] as number, replies[at + 1] ?? replies[at + 2])
    })
    const COUNT = 5_000
    const bounded = COUNT - 1
    const mayWaitMs = [600_000, ...new Array<number>(bounded - 2).fill(0), 0.001, 600_000]
    const requests = Array.from({ length: COUNT }, (_, at) => [at + 1, 'libraries.info', { library }]).flat()
    port!.postMessage({ requests, mayWaitMs } satisfies ToShard)
    await until(t, () => answers.size === COUNT)
    for (const [number, answer] of answers) t.is(typeof answer, number === bounded ? 'object' : 'string', `${number}`)
    t.is(answers.get(bounded), null)
    port!.close()
  },
)

/** Only the line to each shard. */
class OnlyPorts implements Askers {
  readonly count = 1
  readonly isCrowded = false
  readonly #ports: MessagePort[]

  constructor(ports: MessagePort[]) {
    this.#ports = ports
  }

  connect(_asker: number, shard: number, port: MessagePort): void {
    this.#ports[shard] = port
  }

  lost(): void {}
  catalog(): void {}
  spread(): void {}
  reads(): readonly [] {
    return []
  }

  waitedMs(): number {
    return 0
  }

  load(): ReturnType<Askers['load']> {
    return { inFlight: 0, queued: 0, overloaded: 0, givenUp: 0 }
  }
}
