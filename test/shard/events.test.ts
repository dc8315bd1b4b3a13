// Who subscribes gets what the filters let through, and with a cursor exactly what came after it.
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import type { Event, Published } from '../../src/protocol/messages.js'
import { Events, type Reading } from '../../src/shard/events.js'

type Filter = Parameters<Events['follow']>[0]

const made = (at: number, more: object = {}): Event => ({ type: 'location.changed', at: String(at), ...more })

function seenBy(filter: Filter, ...events: Event[]): string[] {
  const all = new Events()
  const seen: string[] = []
  all.subscribe(filter, ({ at }) => seen.push(at))
  for (const event of events) all.publish(event)
  return seen
}

test('each filter lets through what is its own, and all of them must', (t) => {
  const job = { id: 'j', location: 'l' }
  const events = [
    made(1, { library: 'a', location: 'l' }),
    made(2, { type: 'job.changed', library: 'a', job }),
    made(3, { type: 'entries.changed', library: 'b', location: 'm', directories: ['/x/y', '/z'] }),
    made(4, { type: 'location.added', library: 'b', location: 'n', path: '/x' }),
    made(5, { type: 'descriptors.level' }),
  ]
  t.deepEqual(seenBy({}, ...events), ['1', '2', '3', '4', '5'])
  t.deepEqual(seenBy({ types: ['job.changed', 'descriptors.level'] }, ...events), ['2', '5'])
  t.deepEqual(seenBy({ library: 'b' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ location: 'l' }, ...events), ['1', '2'])
  t.deepEqual(seenBy({ job: 'j' }, ...events), ['2'])
  t.deepEqual(seenBy({ path: '/x/y/deep' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ path: '/x/yes' }, ...events), ['4'])
  t.deepEqual(seenBy({ path: '/x/' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ path: '/z/../x/./y' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ path: '/' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ path: '/x', library: 'b', types: ['location.added'] }, ...events), ['4'])
})

test('lines of the log are told to those alone who name them', (t) => {
  const events = [made(1, { type: 'log.line', library: 'a' }), made(2, { library: 'a' })]
  t.deepEqual(seenBy({}, ...events), ['2'])
  t.deepEqual(seenBy({ library: 'a' }, ...events), ['2'])
  t.deepEqual(seenBy({ types: ['log.line', 'location.changed'] }, ...events), ['1', '2'])
  t.deepEqual(seenBy({ types: ['log.line'], library: 'b' }, ...events), [])
})

test('what is no JSON is not published, and those who read miss nothing for it', (t) => {
  const events = new Events()
  const reading = events.follow({}, () => undefined)
  events.publish(made(1))
  t.throws(() => events.publish(made(2, { count: 1n })), { instanceOf: TypeError })
  events.publish(made(3))
  const { events: told, lost } = reading.take(10_000)
  t.deepEqual(
    told.map(({ event }) => event.at),
    ['1', '3'],
  )
  t.is(lost, 0)
  t.is(events.use.published, 2)
})

test('of more directories than an event names any may be meant', (t) => {
  const directories = Array.from({ length: LIMITS.directoriesToldMax }, (_, at) => `/d${at}`)
  const type = 'entries.changed'
  t.deepEqual(seenBy({ path: '/other' }, made(1, { type, directories }), made(2, { type, directories: ['/d1'] })), [
    '1',
  ])
})

test('a cursor brings what came after it, once and in order, or says how much of it is gone', (t) => {
  const steps = fc.array(fc.record({ publish: fc.nat(LIMITS.eventsKeptMax / 2), bytes: fc.nat(2_000) }), {
    maxLength: 6,
  })
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (all, part) => {
      const events = new Events()
      const cursors = [events.follow({}, () => undefined).cursor]
      const follows = follower(events, {})
      for (const { publish, bytes } of all) {
        for (let each = 0; each < publish; each++) {
          events.publish(made(cursors.length, { text: 'x'.repeat(bytes) }))
          cursors.push(follows.read(1)[0]!.cursor)
        }
      }
      const from = Math.floor(part * (cursors.length - 1))
      const reading = events.follow({ cursor: cursors[from]! }, () => undefined)
      const { missed, cursor } = reading
      const kept = takenAll(reading)
      t.is(cursor, cursors[from + missed!]!)
      t.is(missed! + kept.length, cursors.length - 1 - from)
      t.deepEqual(
        kept.map((each) => each.cursor),
        cursors.slice(from + 1 + missed!),
      )
      // Who was cut before any of them came has no other cursor than that of the answer.
      const again = events.follow({ cursor }, () => undefined)
      t.is(again.missed, 0)
      t.is(takenAll(again).length, kept.length)
      t.true(missed === 0 || kept.length > 0)
      t.true(kept.reduce((sum, { json }) => sum + json.length, 0) <= LIMITS.eventsKeptBytesMax)
    }),
    { numRuns: 10 },
  )
})

test('the cursor of another run cannot tell what was missed, and brings all that is kept', (t) => {
  const before = new Events()
  const { cursor } = before.follow({}, () => undefined)
  const after = new Events()
  after.publish(made(1))
  for (const each of [cursor, 'nonsense', `${after.follow({}, () => undefined).cursor}9`]) {
    const reading = after.follow({ cursor: each }, () => undefined)
    t.is(reading.missed, null)
    t.is(takenAll(reading).length, 1)
    t.is(takenAll(after.follow({ cursor: reading.cursor }, () => undefined)).length, 1)
  }
})

test('over restarts a cursor brings what came after it, or says how much of it is gone, and that of another past nothing', (t) => {
  const run = fc.record({ publish: fc.nat(300), bytes: fc.nat(500), kept: fc.nat(100_000) })
  fc.assert(
    fc.property(
      fc.array(run, { minLength: 1, maxLength: 5 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (all, part) => {
        let events = new Events()
        const cursors = [events.follow({}, () => undefined).cursor]
        for (const { publish, bytes, kept } of all) {
          const begun = events.shared.past.runs.at(-1)!.last
          const thread = new Events(events.shared)
          const follows = follower(events, {})
          for (let each = 0; each < publish; each++) {
            const event = made(cursors.length, { text: 'x'.repeat(bytes) })
            events.publish(event)
            thread.publish(event)
            cursors.push(follows.read(1)[0]!.cursor)
          }
          t.is(events.use.published, publish)
          const from = Math.floor(part * (cursors.length - 1))
          for (const each of [events, thread]) {
            const reading = each.follow({ cursor: cursors[from]! }, () => undefined)
            const told = takenAll(reading).map(({ event }) => event.at)
            const gone = from + reading.missed!
            t.deepEqual(
              told,
              Array.from({ length: cursors.length - 1 - gone }, (_, at) => String(gone + at + 1)),
            )
            const ahead = each.follow({ cursor: `${cursors.at(-1)!.split('.')[0]}.${cursors.length}` }, () => undefined)
            t.is(ahead.missed, null)
          }
          const past = events.past(kept)
          t.true(JSON.stringify(past.events).length <= Math.max(2, kept))
          t.true(past.events.length <= begun + publish)
          // It went on without those that know only this past.
          events.publish(made(cursors.length))
          const other = events.follow({}, () => undefined).cursor
          events = new Events()
          events.goOn(JSON.parse(JSON.stringify(past)) as typeof past)
          t.is(events.follow({ cursor: other }, () => undefined).missed, null)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('whoever reads however slowly gets each event that is for it once and in order, or is told how many went by', (t) => {
  const step = fc.oneof(
    fc.record({ publish: fc.integer({ min: 1, max: Math.floor(LIMITS.eventsKeptMax / 3) }) }),
    fc.record({ reader: fc.nat(2), bytes: fc.integer({ min: 1, max: 1 << 20 }) }),
  )
  const filters: Filter[] = [{}, { library: 'a' }, { types: ['job.changed'] }]
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const events = new Events()
      const readers = filters.map((filter) => ({ ...follower(events, filter), next: 0, wanted: [] as number[] }))
      let published = 0
      for (const each of steps) {
        if ('publish' in each) {
          for (let times = 0; times < each.publish; times++) {
            published += 1
            const library = published % 3 === 0 ? 'a' : 'b'
            events.publish(made(published, { library, text: 'x'.repeat(published % 500) }))
            readers[0]!.wanted.push(published)
            if (library === 'a') readers[1]!.wanted.push(published)
          }
        } else {
          const one = readers[each.reader]!
          for (const { lost, at } of one.look(each.bytes)) {
            one.next += lost
            if (at !== null) t.is(at, one.wanted[one.next++]!)
          }
        }
      }
      for (const one of readers) {
        for (const { lost, at } of one.look(Infinity)) {
          one.next += lost
          if (at !== null) t.is(at, one.wanted[one.next++]!)
        }
        t.is(one.next, one.wanted.length)
        one.end()
      }
      t.is(events.use.subscriptions, 0)
    }),
    { numRuns: 8 },
  )
})

test('who has read everything is woken once by what is for it, and by nothing else', (t) => {
  const events = new Events()
  let woken = 0
  const reading = events.follow({ library: 'a' }, () => (woken += 1))
  t.like(reading.take(1_000), { lost: 0, events: [], more: false })
  events.publish(made(1, { library: 'b' }))
  t.is(woken, 0)
  events.publish(made(2, { library: 'a' }))
  events.publish(made(3, { library: 'a' }))
  t.is(woken, 1)
  t.is(takenAll(reading).length, 2)
  events.publish(made(4, { library: 'a' }))
  t.is(woken, 2)
  reading.end()
  events.publish(made(5, { library: 'a' }))
  t.is(woken, 2)
})

test('progress of a job is passed by later progress, and never its beginning or its end', (t) => {
  const events = new Events()
  const reading = events.follow({}, () => undefined)
  const job = (state: string, done: number, id = 'j') =>
    events.publish({ type: 'job.changed', at: `${id} ${state} ${done}`, job: { id, state, progress: { done } } })
  const ats = () => takenAll(reading).map(({ event }) => event.at)
  job('queued', 0)
  job('running', 1)
  job('running', 2)
  job('running', 1, 'k')
  job('paused', 2)
  job('running', 3)
  t.deepEqual(ats(), ['j queued 0', 'j running 2', 'k running 1', 'j paused 2', 'j running 3'])
  job('running', 4)
  job('done', 5)
  t.deepEqual(ats(), ['j running 4', 'j done 5'])
  t.is(events.use.coalesced, 1)
})

function takenAll(reading: Reading): Published[] {
  const all: Published[] = []
  for (;;) {
    const { events, more } = reading.take(4_096)
    all.push(...events)
    if (!more) return all
  }
}

function follower(events: Events, filter: Filter) {
  const reading = events.follow(filter, () => undefined)
  reading.take(1)
  const read = (bytes: number) => reading.take(bytes).events
  /** The event numbers as they come, each with how many were lost before it. */
  const look = (bytes: number) => {
    const { lost, events: taken } = reading.take(bytes)
    const numbers = taken.map(({ event }) => ({ lost: 0, at: Number(event.at) }))
    return lost > 0 ? [{ lost, at: null }, ...numbers] : numbers
  }
  return { read, look, end: () => reading.end() }
}
