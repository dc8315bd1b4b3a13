// Who subscribes gets what the filters let through, and with a cursor exactly what came after it.
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { encodeEvent } from '../../src/protocol/codec.js'
import type { Event } from '../../src/protocol/messages.js'
import { Events } from '../../src/shard/events.js'

type Filter = Parameters<Events['subscribe']>[0]

const made = (at: number, more: object = {}): Event => ({ type: 'location.changed', at: String(at), ...more })

function seenBy(filter: Filter, ...events: Event[]): string[] {
  const all = new Events()
  const seen: string[] = []
  all.subscribe(filter, ({ event }) => seen.push(event.at))
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
  t.deepEqual(seenBy({ path: '/' }, ...events), ['3', '4'])
  t.deepEqual(seenBy({ path: '/x', library: 'b', types: ['location.added'] }, ...events), ['4'])
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
      const cursors = [events.subscribe({}, () => undefined).cursor]
      events.subscribe({}, ({ cursor }) => cursors.push(cursor))
      for (const { publish, bytes } of all) {
        for (let each = 0; each < publish; each++) events.publish(made(cursors.length, { text: 'x'.repeat(bytes) }))
      }
      const from = Math.floor(part * (cursors.length - 1))
      const { kept, missed, cursor } = events.subscribe({ cursor: cursors[from]! }, () => undefined)
      t.is(cursor, cursors.at(-1)!)
      t.is(missed! + kept.length, cursors.length - 1 - from)
      t.deepEqual(
        kept.map((each) => each.cursor),
        cursors.slice(from + 1 + missed!),
      )
      t.true(missed === 0 || kept.length > 0)
      t.true(kept.reduce((sum, { json }) => sum + json.length, 0) <= LIMITS.eventsKeptBytesMax)
    }),
    { numRuns: 30 },
  )
})

test('the cursor of another run cannot tell what was missed, and brings all that is kept', (t) => {
  const before = new Events()
  const { cursor } = before.subscribe({}, () => undefined)
  const after = new Events()
  after.publish(made(1))
  for (const each of [cursor, 'nonsense', `${after.subscribe({}, () => undefined).cursor}9`]) {
    const { kept, missed } = after.subscribe({ cursor: each }, () => undefined)
    t.is(missed, null)
    t.is(kept.length, 1)
  }
})

test('all that is kept may wait on one WebSocket, whatever is sent around it', (t) => {
  for (const bytes of [0, 100, 200, 2_000]) {
    const events = new Events()
    const { cursor } = events.subscribe({}, () => undefined)
    for (let at = 0; at < LIMITS.eventsKeptMax; at++) events.publish(made(at, { text: 'x'.repeat(bytes) }))
    const { kept } = events.subscribe({ cursor }, () => undefined)
    const sent = kept.map((each, index) => encodeEvent('1234567890', Number.MAX_SAFE_INTEGER - index, each).length)
    t.true(sent.reduce((sum, length) => sum + length, 0) <= LIMITS.feedBufferedBytesMax)
  }
})
