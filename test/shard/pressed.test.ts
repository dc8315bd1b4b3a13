// What may not begin while something presses: which kinds of work, how they are refused, and that one is let through now and then.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { CAUSES, STREAM, type Cause, type Level, type Request } from '../../src/protocol/messages.js'
import type { WhyFilesWait } from '../../src/shard/asker.js'
import { Pressed, type FilesWait } from '../../src/shard/pressed.js'

const LIBRARY = '0190163d-8694-739b-aea5-966c26f8ad91'
const FILE: Request = { operation: 'files.get', params: { library: LIBRARY, id: '1' } }
const LONG: Request = {
  operation: 'files.list',
  params: { library: LIBRARY, path: '/', limit: LIMITS.pageDefault + 1 },
}
const SHORT: readonly Request[] = [
  { operation: 'files.list', params: { library: LIBRARY, path: '/', limit: LIMITS.pageDefault } },
  { operation: 'files.list', params: { library: LIBRARY, path: '/' } },
  FILE,
  { operation: 'tags.create', params: { library: LIBRARY, name: 'a tag' } },
  { operation: 'events.subscribe', params: {} },
  { operation: 'core.status', params: {} },
]

function newPressed(levels: Partial<Record<Cause, Level>>, filesWait: FilesWait = () => null, read = () => 0) {
  const ledger = Ledger.create(plan({ soft: 2_000, base: 0, connectionsMax: 'auto' }))
  ledger.causes = { memory: 'normal', loop: 'normal', queue: 'normal', ...levels }
  const pressed = new Pressed(ledger, filesWait, read)
  return { ledger, pressed }
}

/** Whether files and long answers are refused, after the one that is let through. */
function refused(levels: Partial<Record<Cause, Level>>, filesWait?: FilesWait): string {
  const { pressed } = newPressed(levels, filesWait)
  pressed.refuses(FILE, STREAM)
  pressed.refuses(LONG)
  const found = [pressed.refuses(FILE, STREAM) && 'files', pressed.refuses(LONG) && 'long answers']
  return found.filter((each) => each !== null).join(' and ')
}

test('files are refused where anything is critical, long answers before that where memory is short', (t) => {
  t.is(refused({}), '')
  for (const cause of CAUSES) t.is(refused({ [cause]: 'elevated' }), '')
  t.is(refused({ memory: 'high' }), 'long answers')
  t.is(refused({ loop: 'high', queue: 'high' }), '')
  t.is(refused({ memory: 'critical' }), 'files and long answers')
  t.is(refused({ loop: 'critical' }), 'files and long answers')
})

test('an old queue refuses files of the libraries that wait in it', (t) => {
  for (const queue of ['high', 'critical'] as const) {
    const asked = new Set<unknown>()
    const filesWait: FilesWait = (...of) => (asked.add(of.join()), of[1] ? 'late' : null)
    t.is(refused({ queue }, filesWait), queue === 'critical' ? 'files' : '')
    t.deepEqual([...asked], [`${LIBRARY},${queue === 'critical'}`])
    t.is(refused({ queue }), '')
  }
})

test('files are refused as soon as a shard refuses what people look at, and no longer', (t) => {
  let wait: WhyFilesWait | null = 'crowd'
  const { ledger, pressed } = newPressed({}, () => wait)
  for (let times = 0; times < 2; times++) t.is(pressed.refuses(FILE, STREAM), null)
  t.regex(pressed.refuses(FILE, STREAM)!.message, /^too much is asked of the shards: no file is sent/)
  t.is(ledger.refusedForSoFar('queue'), 1)
  for (const each of [...SHORT, LONG]) t.is(pressed.refuses(each), null, each.operation)
  wait = null
  t.is(pressed.refuses(FILE, STREAM), null)
})

test('short answers, writes, subscriptions and control go on whatever presses', (t) => {
  const { pressed } = newPressed({ memory: 'critical', loop: 'critical', queue: 'critical' }, () => 'crowd')
  for (let times = 0; times < 3; times++) for (const each of SHORT) t.is(pressed.refuses(each), null, each.operation)
})

test('who is refused is told why, when to come again, and how to ask for less; and is counted', (t) => {
  const { ledger, pressed } = newPressed({ memory: 'critical', queue: 'critical' }, () => 'crowd')
  pressed.refuses(FILE, STREAM)
  const file = pressed.refuses(FILE, STREAM)!
  t.like(file, { code: 'OVERLOADED', retryable: true })
  t.regex(file.message, /^memory is short: no file is sent/)
  const long = pressed.refuses(LONG)!
  t.regex(long.hint, new RegExp(`at most ${LIMITS.pageDefault} rows`))
  for (const { retryAfterMs } of [file, long])
    t.true(retryAfterMs! >= 1_000 && retryAfterMs! <= LIMITS.overloadedRetryMs)
  t.is(ledger.refusedForSoFar('memory'), 2)
  t.is(ledger.refusedForSoFar('queue'), 0)
})

test('in a crowd some small files are let through, and fewer the more is read of all', async (t) => {
  let read = 0
  const { pressed } = newPressed(
    {},
    () => 'crowd',
    () => read,
  )
  const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  /** At once, of many. */
  const passed = () => Array.from({ length: 20 }, () => pressed.refuses(FILE, STREAM)).filter((each) => !each).length
  t.is(passed(), 2)
  await after(10 * LIMITS.crowdFileMs)
  t.is(passed(), 2, 'what nobody asked for is not saved up')
  read += 500 * LIMITS.crowdFileBytesInMs
  await after(2 * LIMITS.crowdFileMs)
  t.is(passed(), 0)
  await after(500)
  t.true(passed() > 0)
  read = Number.MAX_SAFE_INTEGER
  await after(LIMITS.pressedLetThroughMs + 1)
  t.true(passed() > 0, 'for ever it is never')
})

test('small files of a crowd take nobody else the one of every second', async (t) => {
  const other: Request = { operation: 'files.get', params: { library: 'another', id: '1' } }
  for (const [levels, caller, each] of [
    [{ memory: 'high' }, undefined, LONG],
    [{ queue: 'critical' }, STREAM, other],
  ] as const) {
    const { pressed } = newPressed(levels, (library) => (library === LIBRARY ? 'crowd' : 'late'))
    let [files, others] = [0, 0]
    for (const until = performance.now() + 2.5 * LIMITS.pressedLetThroughMs; performance.now() < until;) {
      if (pressed.refuses(FILE, STREAM) === null) files += 1
      if (pressed.refuses(each, caller) === null) others += 1
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    t.true(files > 10, `${files} files`)
    t.true(others >= 2 && others <= 3, `${others} others`)
  }
})

test('in each thread one is let through in a while, so that nobody is refused for ever', async (t) => {
  const { pressed } = newPressed({ loop: 'critical' })
  t.is(pressed.refuses(FILE, STREAM), null)
  t.not(pressed.refuses(FILE, STREAM), null)
  await new Promise((resolve) => setTimeout(resolve, LIMITS.pressedLetThroughMs + 50))
  t.is(pressed.refuses(FILE, STREAM), null)
  t.not(pressed.refuses(FILE, STREAM), null)
})
