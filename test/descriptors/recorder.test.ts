// The flight recorder: what was written down is there afterwards, in order, whatever became of the process or of some records.
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { readFlight, Recorder, type Flight } from '../../src/descriptors/recorder.js'

const RECORD_BYTES = 512

const CALM: Flight = {
  level: 'elevated',
  exhaustionSeconds: 12.5,
  classes: {
    control: { used: 1, refused: 0 },
    clients: { used: 2, refused: 7 },
    libraries: { used: 3, refused: 8 },
    jobs: { used: 4, refused: 0 },
    watches: { used: 5, refused: 0 },
  },
  open: 60,
  soft: 64,
  budget: 30,
  reserve: 2,
  unaccounted: 1,
  clients: 2,
  clientsRefused: 7,
  libraries: 1,
  connections: 2,
  inFlight: 3,
  waiting: 4,
  jobsRunning: 1,
  jobsQueued: 5,
  loopUtilization: 0.25,
  loopDelayMs: 1.5,
  heapBytes: 1e7,
}

function place(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'flight-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return join(directory, 'flight.bin')
}

function recorded(t: ExecutionContext, path: string): Recorder {
  const recorder = Recorder.open(path)
  t.teardown(() => recorder.close())
  return recorder
}

test('a sample and an event are read back as they were', (t) => {
  const path = place(t)
  const recorder = recorded(t, path)
  recorder.sample(CALM)
  recorder.note('refusal', 'clients 7')
  const [sample, refusal, ...rest] = readFlight(path)
  const { sequence, at, pid, kind, lost, text, ...flight } = sample!
  t.deepEqual(flight, CALM)
  t.deepEqual([sequence, pid, kind, lost, text], [0, process.pid, 'sample', 0, ''])
  t.true(Math.abs(Date.parse(at) - Date.now()) < 10_000)
  t.is(refusal!.text, 'clients 7')
  t.is(refusal!.kind, 'refusal')
  t.is(refusal!.open, CALM.open, 'an event carries the numbers of the last sample')
  t.deepEqual(rest, [])
})

test('a number that is not known comes back as null', (t) => {
  const path = place(t)
  recorded(t, path).sample({ ...CALM, exhaustionSeconds: null })
  t.is(readFlight(path)[0]!.exhaustionSeconds, null)
})

test('the file never grows, the oldest records give way, and the order stays', (t) => {
  const path = place(t)
  const recorder = recorded(t, path)
  const before = statSync(path)
  t.true(before.blocks * 512 >= before.size, 'it is allocated, not sparse')
  for (let at = 0; at < LIMITS.flightRecords + 100; at += 1) recorder.sample({ ...CALM, open: at })
  t.is(statSync(path).size, before.size)
  const entries = readFlight(path)
  t.is(entries.length, LIMITS.flightRecords)
  t.deepEqual(
    entries.map(({ open }) => open),
    Array.from({ length: LIMITS.flightRecords }, (_, at) => at + 100),
  )
})

test('the next run goes on after the last', (t) => {
  const path = place(t)
  const first = Recorder.open(path)
  for (let at = 0; at < LIMITS.flightRecords + 3; at += 1) first.sample({ ...CALM, open: at })
  first.close()
  recorded(t, path).note('start', 'again')
  const entries = readFlight(path)
  t.is(entries.length, LIMITS.flightRecords)
  t.deepEqual(
    entries.slice(-2).map(({ sequence, text }) => [sequence, text]),
    [
      [LIMITS.flightRecords + 2, ''],
      [LIMITS.flightRecords + 3, 'again'],
    ],
  )
})

for (const offset of [0, 4, 8, 100, 511]) {
  test(`a record torn at byte ${offset} is left out, and the next run goes on where it was`, (t) => {
    const path = place(t)
    const recorder = Recorder.open(path)
    for (let at = 0; at < 5; at += 1) recorder.sample({ ...CALM, open: at })
    recorder.close()
    const opens = () => readFlight(path).map(({ open }) => open)
    tear(path, 2, offset)
    t.deepEqual(opens(), [0, 1, 3, 4])
    tear(path, 4, offset)
    t.deepEqual(opens(), [0, 1, 3])
    recorded(t, path).sample({ ...CALM, open: 5 })
    t.deepEqual(opens(), [0, 1, 3, 5])
  })
}

function tear(path: string, slot: number, offset: number): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, Buffer.from([0xa5]), 0, 1, (slot + 1) * RECORD_BYTES + offset)
  closeSync(fd)
}

test('a file that was cut off, is empty, or is something else is read as far as it goes, and begun anew', (t) => {
  const path = place(t)
  const recorder = Recorder.open(path)
  for (let at = 0; at < 5; at += 1) recorder.sample({ ...CALM, open: at })
  recorder.close()
  truncateSync(path, 3 * RECORD_BYTES + 100)
  t.deepEqual(
    readFlight(path).map(({ open }) => open),
    [0, 1],
  )
  for (const content of ['', 'not a ring', 'x'.repeat(5_000)]) {
    writeFileSync(path, content)
    t.deepEqual(readFlight(path), [], content.slice(0, 20))
    const again = Recorder.open(path)
    again.sample(CALM)
    again.close()
    t.is(readFlight(path).length, 1)
  }
})

test('what cannot be a ring is refused and left alone', (t) => {
  const path = place(t)
  mkdirSync(path)
  t.throws(() => Recorder.open(path))
  t.true(statSync(path).isDirectory())
  t.throws(() => readFlight(join(path, 'absent')), { code: 'FILE_NOT_FOUND' })
})

test('a storm of events is bounded; the next record says how many were lost', (t) => {
  const path = place(t)
  const recorder = recorded(t, path)
  recorder.sample(CALM)
  for (let at = 0; at < 1_000; at += 1) recorder.note('error', `error ${at}`)
  recorder.mustNote('fault', 'the last words')
  recorder.sample(CALM)
  recorder.note('error', 'later')
  const entries = readFlight(path)
  t.is(entries.length, 1 + LIMITS.flightEventsPerSecond + 3)
  t.deepEqual(
    entries.slice(-3).map(({ kind, text, lost }) => [kind, text, lost]),
    [
      ['fault', 'the last words', 1_000 - LIMITS.flightEventsPerSecond],
      ['sample', '', 0],
      ['error', 'later', 0],
    ],
  )
})

test('a long text is cut between two characters', (t) => {
  const path = place(t)
  const recorder = recorded(t, path)
  for (const word of ['x', 'ü', '語', '😀']) recorder.note('error', word.repeat(500))
  const texts = readFlight(path).map(({ text }) => text)
  t.is(texts.length, 4)
  for (const [at, word] of ['x', 'ü', '語', '😀'].entries()) {
    t.true(texts[at]!.length > 50)
    t.is(texts[at], word.repeat(texts[at]!.length / word.length))
  }
})

test('after it was closed nothing is written, and nothing is thrown', (t) => {
  const path = place(t)
  const recorder = Recorder.open(path)
  recorder.sample(CALM)
  recorder.close()
  recorder.close()
  recorder.sample(CALM)
  recorder.mustNote('fault', 'late')
  t.is(readFlight(path).length, 1)
})
