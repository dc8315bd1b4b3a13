// The ledger held against the kernel: every open descriptor with a name.
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Audit } from '../../src/descriptors/audit.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { Reserve } from '../../src/descriptors/reserve.js'
import type { Named } from '../../src/descriptors/names.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { countOpen, openNumbers } from '../../src/descriptors/rlimit.js'
import { newTold } from '../../src/descriptors/threads.js'

/** An audit of this very process, settled, and a folder for what a test opens. */
class Yard {
  readonly folder = mkdtempSync(join(tmpdir(), 'sd-audit-'))
  readonly reserve = new Reserve()
  readonly ledger: Ledger
  readonly audit: Audit
  readonly #opened: number[] = []
  also: Partial<Named> = {}

  constructor() {
    closeSync(openSync('/dev/null', 'r'))
    countOpen()
    this.ledger = Ledger.create(plan({ soft: 2_000, base: countOpen(), connectionsMax: 'auto' }))
    this.audit = new Audit(this.ledger)
    this.audit.begin(openNumbers())
  }

  static async settled(): Promise<Yard> {
    const yard = new Yard()
    yard.reserve.fill(yard.ledger.totals().reserve)
    await yard.audit.settle(yard.named)
    return yard
  }

  readonly named = (): Promise<Named> => {
    const { folder, ledger, reserve } = this
    const doors = { address: null, port: null, socket: null, clients: 0, peers: () => [] }
    return Promise.resolve({
      leases: ledger.held(),
      threads: [],
      reserve: reserve.held,
      libraries: join(folder, 'libraries'),
      files: new Map(),
      jobs: [],
      untold: 0,
      doors,
      ...this.also,
    })
  }

  open(...names: string[]): number {
    mkdirSync(join(this.folder, ...names.slice(0, -1)), { recursive: true })
    const fd = openSync(join(this.folder, ...names), 'w')
    this.#opened.push(fd)
    return fd
  }

  close(...fds: number[]): void {
    for (const fd of fds) {
      closeSync(fd)
      this.#opened.splice(this.#opened.indexOf(fd), 1)
    }
  }

  async holderOf(fd: number): Promise<string | undefined> {
    const { holders } = await this.audit.describe(this.named)
    return holders.find((each) => each.fd === fd)?.holder
  }

  async unaccounted(): Promise<number[]> {
    return (await this.audit.describe(this.named)).unaccounted.map(({ fd }) => fd)
  }

  [Symbol.dispose](): void {
    this.close(...this.#opened)
    this.reserve.close()
    rmSync(this.folder, { recursive: true })
  }
}

test.serial('a lease explains as many files below its path as it covers, the oldest, and no other', async (t) => {
  using yard = await Yard.settled()
  t.is(yard.audit.unaccounted(), 0)
  t.deepEqual(await yard.unaccounted(), [])
  using lease = yard.ledger.tryAcquire('libraries', 2, { holder: 'library X', path: join(yard.folder, 'X') })!
  const [first, second] = [yard.open('X', 'library.db'), yard.open('X', 'library.db-wal')]
  t.is(yard.audit.unaccounted(), 0)
  t.is(await yard.holderOf(first), 'library X')
  const [third, beside] = [yard.open('X', 'leaked'), yard.open('Xbeside')]
  t.is(yard.audit.unaccounted(), 2)
  t.deepEqual((await yard.unaccounted()).sort(), [third, beside].sort())
  t.is(await yard.holderOf(second), 'library X')
  // Whichever is closed: as many as the lease covers have a name, and the numbers that are used again are the newest.
  yard.close(first)
  const again = yard.open('X', 'again')
  t.is(again, first)
  t.deepEqual(
    (await yard.unaccounted()).sort(),
    [again, beside].sort(),
    'the third has been there longer than what came in place of the first',
  )
  t.is(lease.count, 2)
})

test.serial('of two leases that hold a path the nearer one explains it', async (t) => {
  using yard = await Yard.settled()
  const libraries = join(yard.folder, 'libraries')
  using _outer = yard.ledger.tryAcquire('libraries', 1, { holder: 'creating library Y', path: libraries })!
  using _inner = yard.ledger.tryAcquire('libraries', 1, { holder: 'library X', path: join(libraries, 'X') })!
  const [ofX, ofY] = [yard.open('libraries', 'X', 'db'), yard.open('libraries', 'Y', 'db')]
  t.is(await yard.holderOf(ofX), 'library X')
  t.is(await yard.holderOf(ofY), 'creating library Y')
})

test.serial(
  'a thread that loads its modules has those it reads, and one that has told of its loop has none',
  async (t) => {
    using yard = await Yard.settled()
    const told = newTold()
    using _lease = yard.ledger.tryAcquire('jobs', PRICES.taskThread, { holder: 'task thread', told })!
    const [module, other] = [yard.open('module.js'), yard.open('notes.txt')]
    t.is(await yard.holderOf(module), 'task thread')
    t.deepEqual(await yard.unaccounted(), [other])
    Atomics.store(told, 0, yard.open('stands for its loop') + 1)
    t.true((await yard.unaccounted()).includes(module))
  },
)

test.serial(
  'what is there at boot is the process itself: its loop, its standard streams, what it was given',
  async (t) => {
    using yard = new Yard()
    const ours = yard.open('found at boot')
    yard.reserve.fill(2)
    await yard.audit.settle(yard.named)
    const began = performance.now()
    const { holders, unaccounted, open, highest } = await yard.audit.describe(yard.named)
    t.deepEqual(unaccounted, [])
    t.is(open, countOpen())
    t.is(highest, Math.max(...openNumbers()))
    const of = (fd: number) => holders.find((each) => each.fd === fd)!
    t.like(of(2), { class: 'base', holder: 'standard error' })
    t.like(of(ours), { class: 'base', holder: 'daemon' })
    for (const fd of yard.reserve.held) t.like(of(fd), { class: 'reserve', holder: 'reserve' })
    const loop = holders.filter(({ holder }) => holder === 'main thread').map(({ detail }) => detail)
    t.deepEqual(loop.filter((detail) => detail !== 'spare for accept').sort(), [
      'events',
      'signals',
      'signals',
      'wake-up',
    ])
    // It has been open since before the test began.
    t.true(of(0).ageMs >= Math.floor(began))
    t.true(of(ours).ageMs < performance.now() - 10)
  },
)

test.serial('a thread tells what its loop holds, and one that has yet to tell is counted', async (t) => {
  using yard = await Yard.settled()
  const told = newTold()
  const threads = join(import.meta.dirname, '..', '..', 'src', 'descriptors', 'threads.js')
  const before = new Set(openNumbers())
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     setInterval(() => {}, 1000)
     parentPort.once('message', async (path) => {
       (await import(path)).tellLoop(workerData)
       parentPort.postMessage('told')
     })`,
    { eval: true, workerData: told },
  )
  await once(worker, 'online')
  yard.also = { threads: [{ holder: 'shard 0', told, price: PRICES.taskThread, ageMs: 5 }] }
  const holders = async () => {
    const { holders: all } = await yard.audit.describe(yard.named)
    return all.filter(({ fd }) => !before.has(fd)).map(({ holder }) => holder)
  }
  const counted = Array.from({ length: PRICES.taskThread }, () => 'shard 0')
  t.deepEqual(await holders(), counted)
  worker.postMessage(threads)
  await once(worker, 'message')
  t.deepEqual(await holders(), counted)
  t.deepEqual(await yard.unaccounted(), [])
  // A further one of the same kind is not the thread's any more.
  const stranger = new Worker('setInterval(() => {}, 1000)', { eval: true })
  await once(stranger, 'online')
  t.is((await yard.unaccounted()).length, PRICES.taskThread)
  await Promise.all([worker.terminate(), stranger.terminate()])
})

test.serial('a client has its peer and its port, and no more of them have a name than were let in', async (t) => {
  using yard = await Yard.settled()
  const server = net.createServer(() => {}).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const sockets = [net.connect(port, '127.0.0.1'), net.connect(port, '127.0.0.1')]
  await Promise.all(sockets.map((each) => once(each, 'connect')))
  while ((await new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)))) < 2)
    await sleep(5)
  const doors = { address: `http://127.0.0.1:${port}`, port, socket: null, clients: 1, peers: () => [] }
  yard.also = { doors }
  const { holders, unaccounted } = await yard.audit.describe(yard.named)
  const [client, ...others] = holders.filter((each) => each.class === 'clients')
  t.is(others.length, 0)
  t.true(sockets.some((each) => client!.detail === `127.0.0.1:${each.localPort}`))
  t.like(
    holders.find(({ holder }) => holder === 'listener'),
    { class: 'base', detail: doors.address },
  )
  // The other one of the front, and this test's own ends of both, which go to the port instead of coming from it.
  t.is(unaccounted.length, 3)
  t.is(unaccounted.filter(({ peer }) => peer === `127.0.0.1:${port}`).length, 2)
  for (const each of sockets) each.destroy()
  await new Promise((resolve) => server.close(resolve))
})

test.serial(
  'clients are only counted while they are as many as were let in, and their age is known all the same',
  async (t) => {
    const server = net.createServer(() => {}).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const sockets = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1'))
    await Promise.all(sockets.map((each) => once(each, 'connect')))
    while ((await new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)))) < 4)
      await sleep(5)
    using yard = new Yard()
    let asked = 0
    const peers = () => {
      asked += 1
      return []
    }
    const doors = { address: null, port, socket: null, clients: 4, peers }
    yard.also = { doors }
    await yard.audit.settle(yard.named)
    asked = 0
    t.is(await yard.audit.watch(yard.named), null)
    t.is(asked, 0, 'nobody was asked who they are')
    await sleep(100)
    const { holders, unaccounted } = await yard.audit.describe(yard.named)
    t.deepEqual(unaccounted, [])
    const clients = holders.filter((each) => each.class === 'clients')
    t.is(clients.length, 4)
    for (const { ageMs } of clients) t.true(ageMs >= 90, `${ageMs} ms, known from the first look on`)
    yard.also = { doors: { ...doors, clients: 0 } }
    t.like(await alarmOf(yard), { growth: 4, likeliest: { holder: 'the front' } })
    for (const each of sockets) each.destroy()
    await new Promise((resolve) => server.close(resolve))
  },
)

test.serial('what stays without a holder raises one alarm, which names the likeliest by where it lies', async (t) => {
  using yard = await Yard.settled()
  const library = join(yard.folder, 'libraries', 'X.sdlibrary')
  using _lease = yard.ledger.tryAcquire('libraries', 1, { holder: 'library X', path: library })!
  yard.open('libraries', 'X.sdlibrary', 'library.db')
  const blip = yard.open('blip')
  t.is(await yard.audit.watch(yard.named), null)
  yard.close(blip)
  const leaked = Array.from({ length: 4 }, (_, at) => yard.open('libraries', 'X.sdlibrary', `leaked ${at}`))
  const alarm = await alarmOf(yard)
  t.like(alarm, { unaccounted: 4, growth: 4, likeliest: { holder: 'library X' } })
  t.true(alarm.targets.every((target) => target.startsWith(library)))
  t.like(yard.audit.leak, { growth: 4 })
  t.is(yard.audit.unaccounted(), 4)
  await sleep(LIMITS.leakSettleMs + 100)
  t.is(await yard.audit.watch(yard.named), null, 'they were told of')
  yard.close(...leaked)
  await yard.audit.describe(yard.named)
  t.is(yard.audit.leak?.growth, undefined)
})

test.serial('two that stay raise none, and three do, however late the third comes', async (t) => {
  using yard = await Yard.settled()
  yard.also = { jobs: [{ job: 'J', library: 'Photos', path: join(yard.folder, 'tree') }] }
  yard.open('tree', '1')
  yard.open('tree', '2')
  await t.throwsAsync(alarmOf(yard, 3 * LIMITS.leakSettleMs), { message: 'no alarm' })
  t.is(yard.audit.unaccounted(), 2)
  yard.open('tree', '3')
  const { likeliest, growth } = await alarmOf(yard)
  t.is(growth, 3)
  t.is(likeliest.holder, 'job J of library Photos')
})

async function alarmOf({ audit, named }: Yard, ms = 30_000) {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(50)) {
    const alarm = await audit.watch(named)
    if (alarm) return alarm
  }
  throw new Error('no alarm')
}
