// The open libraries of a thread: bounded, opened once, never closed under work, and priced as the kernel counts them.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { filesOf } from '../../src/library/folder.js'
import type { Library } from '../../src/library/library.js'
import { Pool } from '../../src/library/pool.js'
import { Readers } from '../../src/library/readers.js'
import { inProcess } from '../scan/ordinary.js'
import { index, newLedger, Stage } from './stage.js'

function poolOf(stage: Stage, libraries: number, ledger: Ledger = stage.ledger) {
  const told: string[] = []
  const pool = new Pool(ledger, {
    opened: (library) => told.push(`opened ${ids.indexOf(library.id)}`),
    closed: (library) => told.push(`closed ${ids.indexOf(library.id)}`),
  })
  const ids: string[] = []
  for (let at = 0; at < libraries; at++) {
    const { id, path } = stage.create(`Library ${at}`)
    ids.push(id)
    pool.know(id, path)
  }
  return { pool, ids, told, ledger, [Symbol.dispose]: () => pool.closeAll() }
}

/** A ledger whose class of libraries can hold exactly so many open ones. */
function ledgerFor(libraries: number): Ledger {
  const made = plan({ soft: 400, base: 0, connectionsMax: 'auto' })
  const most = libraries * PRICES.library
  const share = { floor: most, ceiling: most }
  return Ledger.create({ ...made, classes: { ...made.classes, libraries: share } })
}

test.serial('the least recently used library closes to make room, and opens again when it is asked for', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 4, ledgerFor(3))
  const { pool, ids, told } = yard
  for (const at of [0, 1, 2, 0, 3, 1]) {
    await pool.get(ids[at]!)
    await sleep(5)
  }
  t.deepEqual(told, ['opened 0', 'opened 1', 'opened 2', 'closed 1', 'opened 3', 'closed 2', 'opened 1'])
  t.is(pool.counts.open, 3)
})

test.serial('a library with work running is not closed to make room, nor on request', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 3, ledgerFor(2))
  const { pool, ids, told } = yard
  let end = () => {}
  const held = pool.hold(ids[0]!, () => new Promise<void>((resolve) => (end = resolve)))
  await pool.get(ids[1]!)
  await sleep(5)
  await pool.get(ids[2]!)
  t.deepEqual(told, ['opened 0', 'opened 1', 'closed 1', 'opened 2'])
  t.throws(() => pool.close(ids[0]!), { code: 'JOB_STATE' })
  end()
  await held
  t.true(pool.close(ids[0]!))
  t.false(pool.close(ids[0]!))
})

test.serial('what is asked of a library is answered whole, though another one takes its place at once', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 2, ledgerFor(1))
  const { pool, ids } = yard
  mkdirSync(join(stage.tree, 'found here'))
  await index(await pool.get(ids[0]!), stage.tree)
  const asked: ((library: Library) => Promise<unknown>)[] = [
    (library) => library.search({ query: 'found' }),
    (library) => library.search({ query: 'found', sort: 'name' }),
    (library) => library.during(() => library.duplicates.list({ limit: 1 })),
  ]
  for (const ask of asked) {
    const library = await pool.get(ids[0]!)
    await sleep(5)
    const answer = ask(library)
    await pool.get(ids[1]!)
    await t.notThrowsAsync(answer)
    await sleep(5)
  }
  t.is(pool.counts.evicted, 5)
})

/** What giving way closes, with the pressure and the wish set as the main thread would. */
function press(ledger: Ledger, pressure: number, descriptors: number): void {
  ledger.pressure = pressure
  ledger.askBack(descriptors)
}

test.serial(
  'under pressure idle libraries give back what is asked, oldest first, and no more than is asked',
  async (t) => {
    using stage = new Stage()
    using yard = poolOf(stage, 5, ledgerFor(5))
    const { pool, ids, told } = yard
    for (const id of ids) (await pool.get(id)).usedAt -= 2 * LIMITS.libraryRestMs
    await sleep(5)
    const ledger = stage.ledger
    pool.giveWay()
    t.is(pool.counts.open, 5, 'nothing was asked')
    const own = yard.ledger
    press(own, 0.9, 2 * PRICES.library - 1)
    pool.giveWay()
    t.deepEqual(told.slice(5), ['closed 0', 'closed 1'])
    t.is(own.askedBack, 0)
    t.is(own.use('libraries').used, 3 * PRICES.library)
    t.is(ledger.totals().used, 0)
  },
)

test.serial(
  'what is in use or was just used does not give way, but above the budget all does that is not in use',
  async (t) => {
    using stage = new Stage()
    using yard = poolOf(stage, 3, ledgerFor(3))
    const { pool, ids, ledger } = yard
    const libraries: Library[] = []
    for (const id of ids) libraries.push(await pool.get(id))
    await sleep(5)
    let end = () => {}
    const held = pool.hold(ids[0]!, () => new Promise<void>((resolve) => (end = resolve)))
    await sleep(5)
    press(ledger, 0.96, 100)
    for (const library of libraries) library.usedAt = performance.now()
    pool.giveWay()
    t.is(pool.counts.open, 3)
    press(ledger, 1.5, 100)
    pool.giveWay()
    t.is(pool.counts.open, 1)
    end()
    await held
    pool.giveWay()
    t.is(pool.counts.open, 0)
    t.is(ledger.use('libraries').used, 0)
  },
)

test.serial('idle readers give way before any library does', async (t) => {
  using stage = new Stage()
  const { id, path } = stage.create()
  writeFileSync(join(stage.tree, 'a'), '')
  const ledger = ledgerFor(4)
  const pool = new Pool(ledger, { opened: () => {}, closed: () => {} })
  pool.know(id, path)
  const library = await pool.get(id)
  await index(library, stage.tree)
  await library.search({ query: '' })
  await sleep(5)
  const used = ledger.use('libraries').used
  t.is(library.connections, 2)
  press(ledger, 0.9, 1)
  pool.giveWay()
  t.is(library.connections, 1)
  t.is(ledger.use('libraries').used, used - 1)
  t.is(pool.counts.open, 1)
  pool.closeAll()
})

test.serial('idle times of readers and libraries shrink with the pressure', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 2, ledgerFor(2))
  const { pool, ids, ledger } = yard
  for (const id of ids) (await pool.get(id)).usedAt -= LIMITS.libraryIdleMs / 2
  await sleep(5)
  pool.closeIdle()
  t.is(pool.counts.open, 2)
  ledger.pressure = 0.95
  pool.closeIdle()
  t.is(pool.counts.open, 0)
  t.is(pool.counts.evicted, 0, 'its time was over: nobody made it go')
})

test.serial('a library closed too early is counted, and then others go before it', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 4, ledgerFor(2))
  const { pool, ids, told } = yard
  for (const at of [0, 1, 2, 0, 3, 1]) {
    await pool.get(ids[at]!)
    await sleep(5)
  }
  // 0 and 1 came back soon after they had gone. When 1 came back, 3 was the younger of the two, and went.
  t.deepEqual(told.slice(2), [
    'closed 0',
    'opened 2',
    'closed 1',
    'opened 0',
    'closed 2',
    'opened 3',
    'closed 3',
    'opened 1',
  ])
  t.deepEqual(pool.counts, { open: 2, opened: 6, evicted: 4, reopened: 2 })
})

test.serial('work that needs more than its library does not wait for others that wait as well', async (t) => {
  using stage = new Stage()
  // Room for three libraries and nothing else; six want one descriptor more each, three of them with a library in hand.
  using yard = poolOf(stage, 6, ledgerFor(3))
  const { pool, ids, ledger } = yard
  // Who waited in vain would be refused.
  const done = await Promise.all(
    ids.map((id) =>
      pool.holdWith(id, 1, { holder: 'a test' }, (library, lease) => {
        const { used, ceiling } = ledger.use('libraries')
        lease.release()
        return library.id === id && used <= ceiling
      }),
    ),
  )
  t.deepEqual(done, [true, true, true, true, true, true])
  t.is(ledger.use('libraries').used, pool.counts.open * PRICES.library)
})

test.serial('callers that ask for a closed library at the same time share one open', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 1)
  const { pool, ids, told } = yard
  const libraries = await Promise.all(Array.from({ length: 20 }, () => pool.get(ids[0]!)))
  t.is(new Set(libraries).size, 1)
  t.deepEqual(told, ['opened 0'])
})

test.serial('an open that fails is not remembered: mended, the library opens', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 1)
  const { pool, ids } = yard
  const { json } = filesOf(pool.pathOf(ids[0]!))
  const text = readFileSync(json)
  writeFileSync(json, 'broken')
  await t.throwsAsync(pool.get(ids[0]!), { code: 'LIBRARY_DAMAGED' })
  t.is(stage.ledger.use('libraries').used, 0)
  writeFileSync(json, text)
  t.is((await pool.get(ids[0]!)).id, ids[0]!)
  await t.throwsAsync(pool.get('unknown'), { code: 'LIBRARY_NOT_FOUND' })
})

test.serial('an idle library of one thread gives way to a thread that cannot get its descriptors', async (t) => {
  using stage = new Stage()
  const ledger = ledgerFor(1)
  using first = poolOf(stage, 1, ledger)
  using second = poolOf(stage, 1, new Ledger(ledger.shared, 1))
  await first.pool.get(first.ids[0]!)
  const abort = new AbortController()
  const listening = ledger.onWanted((urgent) => first.pool.makeRoomElsewhere(urgent), abort.signal)
  await sleep(20)
  t.is((await second.pool.get(second.ids[0]!)).id, second.ids[0]!)
  t.is(first.pool.counts.open, 0)
  abort.abort()
  ledger.want()
  await listening
})

test.serial('what one thread has not used for long goes before what another one uses', async (t) => {
  using stage = new Stage()
  const ledger = ledgerFor(4)
  using first = poolOf(stage, 3, ledger)
  using second = poolOf(stage, 4, new Ledger(ledger.shared, 1))
  const abort = new AbortController()
  const listening = [first, second].map((yard) =>
    yard.ledger.onWanted((urgent) => yard.pool.makeRoomElsewhere(urgent), abort.signal),
  )
  for (const id of first.ids) (await first.pool.get(id)).usedAt -= 60_000
  await sleep(5)
  first.pool.giveWay()
  for (const id of second.ids) {
    t.is((await second.pool.get(id)).id, id)
    await sleep(5)
  }
  t.is(second.pool.counts.open, 4, 'nothing that was just used had to go')
  t.is(second.pool.counts.evicted, 0)
  t.deepEqual(first.pool.counts, { open: 0, opened: 3, evicted: 3, reopened: 0 })
  abort.abort()
  ledger.want()
  await Promise.all(listening)
})

test.serial(
  'when memory is short libraries give back what they keep of their databases, and go on, also in the middle of a read',
  async (t) => {
    using stage = new Stage()
    using yard = poolOf(stage, 2)
    const libraries = await Promise.all(yard.ids.map((id) => yard.pool.get(id)))
    libraries[0]!.beginRead()
    yard.ledger.causes = { memory: 'elevated', loop: 'normal', queue: 'normal' }
    yard.pool.giveWay()
    t.is(yard.pool.counts.open, 2)
    libraries[0]!.endRead()
    for (const library of libraries) t.is(library.info().entries, 0)
  },
)

test.serial('the descriptors of a library that went while they were waited for are given back', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 1, ledgerFor(1))
  const { pool, ids, ledger } = yard
  const other = ledger.tryAcquire('libraries', PRICES.library, { holder: 'another' }, true)!
  const asked = pool.get(ids[0]!)
  await sleep(20)
  pool.forget(ids[0]!)
  other.release()
  await t.throwsAsync(asked, { code: 'LIBRARY_NOT_FOUND' })
  t.is(ledger.use('libraries').used, 0)
})

test.serial('a pool that is closing opens nothing any more', async (t) => {
  using stage = new Stage()
  using yard = poolOf(stage, 1)
  const { pool, ids } = yard
  const opening = pool.get(ids[0]!)
  pool.closeAll()
  await t.throwsAsync(opening, { code: 'DRAINING' })
  t.is(stage.ledger.use('libraries').used, 0)
})

test.serial('a thousand opens of many libraries within a few leases lose nothing and end with none', async (t) => {
  using stage = new Stage()
  const ledger = ledgerFor(3)
  const yard = poolOf(stage, 12, ledger)
  const written = new Map<string, number>()
  await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      for (let round = 0; round < 30; round++) {
        const id = yard.ids[(client * 5 + round * 7) % 12]!
        const library = await yard.pool.get(id)
        library.write(() => library.jobs.enqueue('index', 'none', null))
        written.set(id, (written.get(id) ?? 0) + 1)
        if (round % 3 === 0) await sleep(0)
      }
    }),
  )
  for (const [id, count] of written) t.is((await yard.pool.get(id)).jobs.list(1_000, 1e9).length, count)
  t.true(yard.pool.counts.open <= 3)
  yard.pool.closeAll()
  t.is(ledger.totals().used, 0)
})

test.serial('up to four readers stand beside the writer, no more, and none when descriptors are short', async (t) => {
  using stage = new Stage()
  const library = stage.open(stage.create())
  writeFileSync(join(stage.tree, 'a'), '')
  await index(library, stage.tree)
  const ledger = newLedger()
  const readers = new Readers(filesOf(library.path).database, ledger, { holder: 'test' })
  const borrowed = Array.from({ length: LIMITS.poolConnectionsMax - 1 }, () => readers.borrow())
  t.true(borrowed.every((each) => each !== null))
  t.is(readers.borrow(), null)
  for (const each of borrowed) readers.giveBack(each!)
  readers.closeIdle(0)
  t.is(readers.count, 0)
  readers.close()
  readers.release()
  t.is(ledger.totals().used, 0)
  const poor = new Readers(filesOf(library.path).database, ledgerFor(0.25), { holder: 'test' })
  t.is(poor.borrow(), null)
  poor.close()
  poor.release()
})

test.serial('what a library and its readers cost is what the kernel counts, open, parked and used again', (t) => {
  using stage = new Stage()
  const told = inProcess<[string, number, number][]>(
    [],
    `
    const { newLedger } = await load('test/library/stage.js')
    const { Library } = await load('src/library/library.js')
    const { Readers } = await load('src/library/readers.js')
    const { filesOf } = await load('src/library/folder.js')
    const { countOpen } = await load('src/descriptors/rlimit.js')
    const { closeSync, openSync } = await import('node:fs')
    closeSync(openSync('/dev/null', 'r'))
    const ledger = newLedger()
    const before = countOpen()
    const told = []
    const tell = (what) => told.push([what, ledger.use('libraries').used, countOpen() - before])
    const lease = ledger.tryAcquire('libraries', 4, { holder: 'test' })
    const library = Library.open(argument.id, argument.path, ledger, lease)
    library.write(() => library.jobs.enqueue('index', 'none', null))
    tell('open')
    const readers = new Readers(filesOf(argument.path).database, ledger, { holder: 'test' })
    const borrow = () => {
      const reader = readers.borrow()
      reader.connection.prepare('SELECT count(*) FROM job').get()
      return reader
    }
    let borrowed = [borrow()]
    tell('one reader')
    borrowed.push(borrow(), borrow(), borrow())
    tell('four readers')
    for (const each of borrowed) readers.giveBack(each)
    readers.closeIdle(0)
    tell('readers parked')
    borrowed = [borrow(), borrow()]
    tell('two readers again')
    for (const each of borrowed) readers.giveBack(each)
    readers.close()
    library.close()
    readers.release()
    tell('closed')
    return told`,
    stage.create(),
  )
  t.is(told[0]![1], PRICES.library)
  for (const [what, used, open] of told) t.is(used, open, what)
  t.deepEqual(told.at(-1), ['closed', 0, 0])
})
