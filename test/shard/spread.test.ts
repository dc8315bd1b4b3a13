// One library that several threads ask for more than its shard can answer, as fronts do: real shards, and who asks in this thread.
import { join } from 'node:path'
import type { MessagePort } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { Beats } from '../../src/base/beats.js'
import { fromWire } from '../../src/base/errors.js'
import type { FileItem, JobItem, Reply } from '../../src/protocol/messages.js'
import type { OperationName } from '../../src/protocol/operations.js'
import { Asker, type Line, type LineShared } from '../../src/shard/asker.js'
import type { FromShard } from '../../src/shard/lines.js'
import { placeOf } from '../../src/shard/place.js'
import type { Askers } from '../../src/shard/router.js'
import { Spread, type Reads } from '../../src/shard/spread.js'
import { flood, openIn, plant, until, Yard } from './yard.js'

const SHARDS = 2
const GUESTS = 2

/** Who asks the shards as a front thread does. */
class Guest {
  readonly asker: Asker
  readonly spread: Spread
  /** Of each shard, what it answered. */
  readonly answered = [0, 0]

  constructor(number: number) {
    this.asker = new Asker({ shards: SHARDS, line: 1 + number, beats: Beats.create(4), isOpen: () => true })
    this.spread = new Spread(this.asker, (library) => this.spread.tell(library, []))
  }

  connect(line: Line, port: MessagePort, shared: LineShared): void {
    this.asker.connect(line, port, shared)
    port.on('message', (message: FromShard) => {
      const { replies = [] } = message
      for (let at = 1; at < replies.length; at += 3)
        if (replies[at] !== 'null' && replies[at] !== null) this.answered[line.number]! += 1
      this.asker.received(line, message)
    })
  }

  call<T>(operation: OperationName, params: Record<string, unknown>): Promise<T> {
    const library = params['library'] as string
    const line = this.asker.lines[placeOf(library, SHARDS)]!
    return new Promise((resolve, reject) => {
      const answer = (reply: Reply) => (reply.ok ? resolve(JSON.parse(reply.json) as T) : reject(fromWire(reply.error)))
      const request = { operation, params }
      line.kept.through(request, library, answer, (told) => this.spread.ask(line, request, told, undefined))
    })
  }
}

/** All of them, told by the main thread a while later, as threads are. */
class Party implements Askers {
  readonly count = GUESTS
  readonly guests = Array.from({ length: GUESTS }, (_, number) => new Guest(number))
  /** Nobody is told that a library is read elsewhere no more. */
  keepsEnds = false
  readonly isCrowded = false

  waitedMs(): number {
    return 0
  }

  connect(asker: number, shard: number, port: MessagePort, shared: LineShared): void {
    const guest = this.guests[asker]!
    setImmediate(() => guest.connect(guest.asker.lines[shard]!, port, shared))
  }

  lost(shard: number, lost: Line['lost']): void {
    this.#later(({ asker }) => asker.lose(asker.lines[shard]!, lost))
  }

  catalog(): void {}

  load(shard: number): ReturnType<Askers['load']> {
    const lines = this.guests.map(({ asker }) => asker.lines[shard]!)
    const inFlight = lines.reduce((sum, line) => sum + line.inFlight.size + line.queue.length, 0)
    return { inFlight, queued: 0, overloaded: 0, givenUp: 0 }
  }

  reads(): readonly Reads[] {
    return this.guests.flatMap(({ spread }) => spread.takeHottest())
  }

  spread(library: string, shards: readonly number[]): void {
    if (shards.length > 0 || !this.keepsEnds) this.#later(({ spread }) => spread.tell(library, shards))
  }

  #later(tell: (guest: Guest) => void): void {
    for (const guest of this.guests) setTimeout(() => tell(guest), 5)
  }
}

/** A library of two directories that is asked for by the guests only, once it is read by both shards. */
async function hot(t: ExecutionContext, yard: Yard, party: Party) {
  plant(yard, 2)
  const library = await yard.create('Hot')
  const { job } = await yard.call<{ job: string }>('locations.add', { library, path: yard.tree })
  await until(t, async () => (await yard.call<JobItem>('jobs.info', { library, job })).state === 'done')
  const path = join(yard.tree, 'd1')
  const begin = () => {
    const floods = party.guests.map((guest) => flood(guest, library, path, 24))
    return { stop: async () => (await Promise.all(floods.map((each) => each.stop()))).flat() }
  }
  const owner = placeOf(library, SHARDS)
  const shared = () => yard.router.counts().libraries.connections === 2
  /** Each guest is answered by the shard that is not the library's own. */
  const spread = async () => {
    await until(t, shared)
    const before = party.guests.map(({ answered }) => answered[1 - owner]!)
    await until(t, () => party.guests.every(({ answered }, at) => answered[1 - owner]! > before[at]! + 20))
  }
  return { library, path, owner, begin, shared, spread }
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!

test.serial('all that ask are answered by both shards, and find what any of them wrote', async (t) => {
  const party = new Party()
  await using yard = await Yard.open(SHARDS, undefined, party)
  const { library, owner, begin, spread } = await hot(t, yard, party)
  for (const name of ['x', 'y', 'z']) await yard.call('tags.create', { library, name })
  const reads = begin()
  await spread()
  const before = party.guests.map(({ answered }) => answered[1 - owner]!)
  const all = [...party.guests, yard]
  /** Of one file, that nobody else changes meanwhile. */
  const change = async (at: number) => {
    const path = join(yard.tree, `d${at % 2}`, `f${at}`)
    const has = new Set<string>()
    const told = async (who: Pick<Yard, 'call'>) =>
      (await who.call<FileItem>('files.get', { library, path })).tags ?? []
    for (let step = 0; step < 40; step++) {
      const tag = pick(['x', 'y', 'z'])
      const writer = pick(all)
      const written = writer.call(has.has(tag) ? 'tags.remove' : 'tags.apply', { library, tag, paths: [path] })
      if (!has.delete(tag)) has.add(tag)
      const expected = [...has].sort()
      // Who asked for the change finds it at once, all others as soon as it is answered.
      if (step % 2) t.deepEqual(await told(writer), expected)
      await written
      for (const found of await Promise.all(all.map(told))) t.deepEqual(found, expected)
    }
  }
  await Promise.all(Array.from({ length: 12 }, (_, at) => change(at)))
  t.deepEqual(await reads.stop(), [])
  for (const [at, { answered }] of party.guests.entries())
    t.true(answered[1 - owner]! > before[at]! + 100, `${answered[1 - owner]! - before[at]!}`)
})

test.serial('it ends under load, and nobody who reads is told of it, be it by a shard that dies', async (t) => {
  const party = new Party()
  await using yard = await Yard.open(SHARDS, undefined, party)
  const { library, path, owner, begin, shared, spread } = await hot(t, yard, party)
  const reads = begin()
  for (let round = 0; round < 3; round++) {
    await spread()
    t.is(openIn(yard.libraries), 6)
    await yard.call(round % 2 ? 'libraries.compact' : 'libraries.close', { library })
  }
  await spread()
  yard.ledger.level = 'critical'
  await until(t, () => !shared())
  yard.ledger.level = 'normal'
  await spread()
  // Who does not hear of it in time is answered by the library's own shard.
  party.keepsEnds = true
  await yard.call('libraries.close', { library })
  await until(t, async () => (await party.guests[0]!.call<{ items: [] }>('files.list', { library, path })).items.length)
  party.keepsEnds = false
  await spread()
  await yard.router.crash(1 - owner)
  await until(t, () => yard.restarts === 1)
  await spread()
  t.deepEqual(await reads.stop(), [])

  const again = begin()
  await yard.router.crash(owner)
  await until(t, () => yard.restarts === 2)
  t.deepEqual([...new Set(await again.stop())], ['SHARD_LOST'])

  const last = begin()
  await spread()
  await yard.call('libraries.delete', { library })
  await Promise.all(
    party.guests.map((guest) =>
      t.throwsAsync(guest.call('files.list', { library, path }), { code: 'LIBRARY_NOT_FOUND' }),
    ),
  )
  t.deepEqual([...new Set(await last.stop())], ['LIBRARY_NOT_FOUND'])
  t.is(openIn(yard.libraries), 0)
  t.is(yard.ledger.use('libraries').used, 0)
})
