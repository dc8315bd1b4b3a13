// The embedding API as a host program uses it.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { connect, open, type Deliver } from '../src/index.js'
import { readLimit } from '../src/descriptors/rlimit.js'
import { eventually } from './harness/daemon.js'
import { openTargets } from './harness/open.js'

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'spacedrive-embedding-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test.serial('a daemon in this process leaves no descriptor behind, and the limit as it was', async (t) => {
  const dataDir = directory(t)
  // The first daemon loads native modules and starts libuv's pool, which stay.
  await (await open({ dataDir })).close()
  const before = { limit: readLimit(), open: openTargets() }
  const daemon = await open({ dataDir, socket: true, http: '127.0.0.1:0' })
  const { id } = await daemon.call('libraries.create', { name: 'Photos' })
  t.is((await daemon.call('libraries.info', { library: id })).name, 'Photos')
  await daemon.close()
  t.deepEqual({ limit: readLimit(), open: openTargets() }, before)
})

test.serial('a daemon that is closed while it begins to work leaves nothing behind', async (t) => {
  const dataDir = directory(t)
  const tree = directory(t)
  for (let at = 0; at < 200; at++) writeFileSync(join(tree, `${at}`), '')
  await (await open({ dataDir })).close()
  const before = openTargets()
  // So that it ends at each part of the start of the thread that walks.
  for (let at = 0; at < 10; at++) {
    const daemon = await open({ dataDir, shards: 1 })
    const { id: library } = await daemon.call('libraries.create', { name: `library ${at}` })
    await daemon.call('locations.add', { library, path: tree })
    await new Promise((resolve) => setTimeout(resolve, 40 * at))
    await daemon.close()
    t.deepEqual(openTargets(), before)
  }
})

test.serial('a daemon that cannot listen leaves no descriptor behind either', async (t) => {
  const dataDir = directory(t)
  await (await open({ dataDir, http: '127.0.0.1:0', fronts: 2 })).close()
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const http = `127.0.0.1:${(other.address() as AddressInfo).port}`
  const before = openTargets()
  for (const fronts of [1, 2]) {
    await t.throwsAsync(open({ dataDir, socket: true, http, fronts }), { code: 'ADDRESS_IN_USE' })
    t.deepEqual(openTargets(), before)
  }
  other.close()
})

test.serial('a second daemon on the same data directory is refused, and both can be closed', async (t) => {
  const dataDir = directory(t)
  const daemon = await open({ dataDir })
  await t.throwsAsync(open({ dataDir }), { code: 'ALREADY_RUNNING' })
  t.is(await daemon.call('core.ping'), 'pong')
  await daemon.close()
  await daemon.close()
  for (const ask of [() => daemon.call('core.ping'), () => daemon.subscribe({}, () => undefined)])
    t.like(await t.throwsAsync(async () => ask()), { code: 'CLOSED', retryable: false }, 'nothing would ever come')
})

test.serial('what was asked before the close is answered, also while a job runs', async (t) => {
  const tree = directory(t)
  for (let at = 0; at < 2_000; at++) writeFileSync(join(tree, `a file ${at}`), `${at}`)
  const daemon = await open({ dataDir: directory(t), shards: 1 })
  const { id: library } = await daemon.call('libraries.create', { name: 'Photos' })
  const seen = new Promise<void>((resolve) => {
    daemon.subscribe({ library, types: ['entries.changed'] }, () => resolve())
  })
  await daemon.call('locations.add', { library, path: tree, mode: 'content' })
  await seen
  const search = () => daemon.call('search.files', { library, query: 'a', limit: 1 })
  const asked = Array.from({ length: 50 }, search)
  await daemon.close()
  t.is((await Promise.all(asked)).length, asked.length)
})

test.serial('long lists asked for at the same time come whole', async (t) => {
  const tree = directory(t)
  const names = Array.from({ length: 200 }, (_, at) => `${at} ${['ü', '€', '😀', 'x'][at % 4]}`.padEnd(100, 'y'))
  for (const name of names) writeFileSync(join(tree, name), '')
  const daemon = await open({ dataDir: directory(t), shards: 1 })
  const { id: library } = await daemon.call('libraries.create', { name: 'Photos' })
  await daemon.call('locations.add', { library, path: tree })
  const list = async () => (await daemon.call('files.list', { library, path: tree, limit: 200 })).items
  await eventually('all are indexed', 20_000, async () => (await list()).length === names.length)
  for (const items of await Promise.all(Array.from({ length: 20 }, list)))
    t.deepEqual(items.map(({ name }) => name).toSorted(), names.toSorted())
  await daemon.close()
})

test.serial('what the close cuts short is told that no waiting mends it', async (t) => {
  const dataDir = directory(t)
  const daemon = await open({ dataDir, shards: 1 })
  const { id: library } = await daemon.call('libraries.create', { name: 'Photos' })
  const { path: from } = await daemon.call('libraries.backup', { library })
  while (!existsSync(join(from, 'library.json'))) await new Promise((resolve) => setTimeout(resolve, 20))
  const copied = daemon.call('libraries.create', { name: 'Copy', from })
  const told = t.throwsAsync(copied)
  await daemon.close()
  t.like(await told, { code: 'CLOSED', retryable: false })
})

test.serial('a share of descriptors is the whole budget', async (t) => {
  const daemon = await open({ dataDir: directory(t), maxDescriptors: 120, shards: 1 })
  const { descriptors } = await daemon.call('core.status')
  await daemon.close()
  t.is(descriptors.base + descriptors.reserve + descriptors.budget, 120)
})

test.serial('without a directory, or with a share that is no number, nothing is opened', async (t) => {
  const dataDir = directory(t)
  for (const wrong of [
    {},
    { datadir: dataDir },
    { dataDir: 7 },
    ...[NaN, 'x', 0.5, 0].map((maxDescriptors) => ({ dataDir, maxDescriptors })),
  ])
    await t.throwsAsync(open(wrong as unknown as Parameters<typeof open>[0]), { code: 'BAD_CONFIG' })
})

test.serial('wrong parameters are refused with a code', async (t) => {
  const daemon = await open({ dataDir: directory(t) })
  await t.throwsAsync(daemon.call('libraries.create', { name: '' }), { code: 'BAD_REQUEST' })
  await t.throwsAsync(daemon.call('libraries.info', { library: 'none' }), { code: 'LIBRARY_NOT_FOUND' })
  await daemon.close()
})

test.serial(
  'a filter that can let nothing through is refused here as it is to a client, and nothing is heard by it',
  async (t) => {
    const daemon = await open({ dataDir: directory(t), socket: true })
    const client = await connect(`unix:${daemon.socket}`)
    const heard: unknown[] = []
    for (const filter of [
      { types: [] },
      { types: ['no.such'] },
      { library: '' },
      { job: '' },
      { path: 'here' },
      { no: 1 },
    ]) {
      const wrong = filter as Parameters<typeof daemon.subscribe>[0]
      const told = await t.throwsAsync(
        client.subscribe(wrong, () => undefined),
        { code: 'BAD_REQUEST' },
      )
      t.throws(() => daemon.subscribe(wrong, (event) => void heard.push(event)), {
        code: 'BAD_REQUEST',
        message: told.message,
      })
    }
    const end = daemon.subscribe({ types: ['library.created'] }, ({ name }) => void heard.push(name))
    await daemon.call('libraries.create', { name: 'Photos' })
    t.deepEqual(heard, ['Photos'])
    end()
    await client.close()
    await daemon.close()
  },
)

test.serial(
  'a cursor brings to whoever holds the daemon what it brings to a client, and tells what is gone',
  async (t) => {
    const daemon = await open({ dataDir: directory(t), socket: true })
    const client = await connect(`unix:${daemon.socket}`)
    const types = ['library.created' as const]
    const make = (name: string) => daemon.call('libraries.create', { name })
    type Heard = [name: unknown, missed: number]
    const hear = (into: Heard[], cursors: string[] = []): Deliver => {
      return ({ name }, missed, cursor) => {
        into.push([name, missed])
        cursors.push(cursor)
      }
    }
    const live: Heard[] = []
    const cursors: string[] = []
    const end = daemon.subscribe({ types }, hear(live, cursors))
    await make('one')
    await until(() => live.length === 1)
    end()
    for (const name of ['two', 'three']) await make(name)
    t.deepEqual(live, [['one', 0]])

    for (const [cursor, missed] of [
      [cursors[0]!, 0],
      ['AAAAAAAA.1', Infinity],
    ] as const) {
      const [here, there]: [Heard[], Heard[]] = [[], []]
      const [endHere, endThere] = [
        daemon.subscribe({ types, cursor }, hear(here)),
        await client.subscribe({ types, cursor }, hear(there)),
      ]
      const last = `after ${missed}`
      await make(last)
      await until(() => here.at(-1)?.[0] === last && there.at(-1)?.[0] === last)
      t.deepEqual(here, there)
      t.is(here[0]![1], missed)
      if (missed === 0)
        t.deepEqual(
          here.map(([name]) => name),
          ['two', 'three', last],
        )
      endHere()
      await endThere()
    }
    t.is((await daemon.call('core.status')).events.subscriptions, 0)
    await client.close()
    await daemon.close()
  },
)

test.serial('what one who holds the daemon throws at an event is its own, and others hear of it', async (t) => {
  const thrown: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((error) => void thrown.push(error.message))
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null))
  const daemon = await open({ dataDir: directory(t) })
  const heard: unknown[] = []
  daemon.subscribe({ types: ['library.created'] }, (event) => {
    ;(event as { name?: unknown }).name = 'changed'
    throw new Error('its own')
  })
  daemon.subscribe({ types: ['library.created'] }, ({ name }) => void heard.push(name))
  for (const name of ['one', 'two']) await daemon.call('libraries.create', { name })
  await until(() => heard.length === 2 && thrown.length === 2)
  t.deepEqual(heard, ['one', 'two'])
  t.deepEqual(thrown, ['its own', 'its own'])
  await daemon.close()
})

test.serial('a client calls, subscribes, and comes back after the daemon did', async (t) => {
  const dataDir = directory(t)
  const tree = directory(t)
  writeFileSync(join(tree, 'one.txt'), 'one')
  // The port is wanted again: nobody else on this machine listens at this address, or comes from it.
  const first = await open({ dataDir, http: '127.0.0.84:0' })
  const url = first.http!
  const client = await connect(url, { token: readFileSync(join(dataDir, 'token'), 'utf8').trim(), patienceMs: 0 })
  const types: string[] = []
  await client.subscribe({ types: ['library.created', 'entries.changed'] }, (event) => types.push(event.type))
  const { id: library } = await client.call('libraries.create', { name: 'Remote' })
  await client.call('locations.add', { library, path: tree })
  await until(() => types.includes('entries.changed'))
  t.is((await client.call('search.files', { library, query: 'one' })).total, 1)

  await first.close()
  await t.throwsAsync(client.call('core.ping'), { code: 'NO_DAEMON' })
  const second = await open({ dataDir, http: new URL(url).host })
  await until(() => client.call('core.ping').catch(() => null))
  types.length = 0
  await until(async () => {
    await second.call('libraries.create', { name: 'Again' })
    return types.includes('library.created')
  })
  await client.close()
  await second.close()
  t.pass()
})

test.serial('what happened while the connection was cut comes with the next one, once and in order', async (t) => {
  const dataDir = directory(t)
  const daemon = await open({ dataDir, socket: true })
  const proxy = await cuttable(daemon.socket!, join(dataDir, 'proxy.sock'))
  const client = await connect(`unix:${join(dataDir, 'proxy.sock')}`)
  const names: unknown[] = []
  let lost = 0
  await client.subscribe({ types: ['library.created'] }, ({ name }, missed) => {
    names.push(name)
    lost += missed
  })
  const made: string[] = []
  const make = async () => {
    made.push(`library ${made.length}`)
    await daemon.call('libraries.create', { name: made.at(-1)! })
  }
  for (let round = 0; round < 3; round++) {
    await make()
    await until(() => names.length === made.length)
    proxy.cut()
    await make()
    await make()
    proxy.mend()
    await until(() => names.length === made.length)
  }
  t.deepEqual(names, made)
  t.is(lost, 0)
  await client.close()
  await proxy.close()
  await daemon.close()
})

test.serial('a client without the token is told so', async (t) => {
  const daemon = await open({ dataDir: directory(t), http: '127.0.0.1:0' })
  await t.throwsAsync(connect(daemon.http!), { code: 'UNAUTHORIZED' })
  await daemon.close()
})

/** A way to the daemon that can be cut: then its connections end, and new ones do too. */
async function cuttable(to: string, path: string) {
  const sockets = new Set<Socket>()
  let isCut = false
  const server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = createConnection(to)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => (near.destroy(), far.destroy(), sockets.delete(socket)))
    }
    near.pipe(far).pipe(near)
  })
  await once(server.listen(path), 'listening')
  return {
    cut: () => {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend: () => (isCut = false),
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

async function until(test: () => unknown): Promise<void> {
  for (;;) {
    if (await test()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
