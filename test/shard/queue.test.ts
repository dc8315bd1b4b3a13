// Who waits for a shard: in which order they come, and who is refused.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Queue, type Waiting } from '../../src/shard/queue.js'

let count = 0

function waiting(of: Waiting['of'], more: Partial<Waiting> = {}): Waiting {
  count += 1
  const operation = of === 'mutation' ? 'tags.create' : 'files.get'
  const plain = { of, long: false, operation, params: count, answer: () => undefined, caller: null, since: 0 } as const
  return { ...plain, gone: false, number: 0, ...more }
}

function all(queue: Queue, longMayBegin = true): Waiting[] {
  const taken: Waiting[] = []
  for (let next = queue.next(longMayBegin); next; next = queue.next(longMayBegin)) taken.push(next)
  return taken
}

test('mutations come in their order, whatever waits beside them', (t) => {
  const queue = new Queue()
  const mutations: Waiting[] = []
  for (let at = 0; at < 500; at++) {
    mutations.push(waiting('mutation', { since: at, caller: at % 2 ? {} : null }))
    queue.add(mutations.at(-1)!)
    queue.add(waiting('interactive', { since: at, long: at % 3 === 0 }))
    queue.add(waiting('job', { since: at }))
  }
  queue.expire(LIMITS.newestFirstMs + 500)
  t.true(queue.newestFirst)
  t.deepEqual(
    all(queue).filter(({ of }) => of === 'mutation'),
    mutations,
  )
  t.is(queue.length, 0)
})

test('while all classes wait each has its turns', (t) => {
  const queue = new Queue()
  for (const of of ['interactive', 'mutation', 'stream', 'job'] as const)
    for (let at = 0; at < 100; at++) queue.add(waiting(of, { long: at % 2 === 1 }))
  const first = Array.from({ length: 50 }, () => queue.next(true)!.of)
  const share = (of: string) => first.filter((each) => each === of).length
  t.deepEqual([share('interactive'), share('mutation'), share('stream'), share('job')], [25, 15, 5, 5])
})

test('who asks one thing stands before what is the thousandth of another', (t) => {
  const queue = new Queue()
  const [many, few] = [{}, {}]
  for (let at = 0; at < 1_000; at++) queue.add(waiting('interactive', { caller: many }))
  queue.add(waiting('interactive', { caller: few }))
  const order = all(queue).map(({ caller }) => caller)
  t.true(order.indexOf(few) <= 1)
  t.is(order.length, 1_001)
  // What it had in line is forgotten with it.
  queue.add(waiting('interactive', { caller: many }))
  queue.add(waiting('interactive', { caller: few }))
  t.is(queue.next(true)!.caller, many)
})

test('the newest are first while very many wait for long, and only then', (t) => {
  const queue = new Queue()
  const add = (since: number) => queue.add(waiting('interactive', { since }))
  for (let at = 0; at <= LIMITS.newestFirstCount; at++) add(at / 1_000)
  t.deepEqual(queue.expire(LIMITS.newestFirstMs), [])
  t.is(queue.next(true)!.since, 0)
  for (const since of [0.5, 1]) add(since)
  queue.expire(LIMITS.newestFirstMs + 1)
  t.is(queue.next(true)!.since, 1)
  while (queue.length > LIMITS.newestFirstCount / 2) queue.next(true)
  queue.expire(LIMITS.newestFirstMs + 1)
  t.false(queue.newestFirst)
  t.is(queue.next(true)!.since, 1 / 1_000)
})

test('a few that wait for long are served in their order', (t) => {
  const queue = new Queue()
  for (let at = 0; at < LIMITS.newestFirstCount; at++) queue.add(waiting('interactive', { since: at }))
  queue.expire(LIMITS.queueAgeMs)
  t.is(queue.next(true)!.since, 0)
})

test('who has waited for too long is refused, but jobs and files wait on', (t) => {
  const queue = new Queue()
  for (const of of ['interactive', 'mutation', 'stream', 'job'] as const) queue.add(waiting(of, { since: 1 }))
  queue.add(waiting('interactive', { since: 1, long: true }))
  queue.add(waiting('mutation', { since: 2 }))
  t.deepEqual(queue.expire(LIMITS.queueAgeMs + 1), [])
  const refused = queue.expire(LIMITS.queueAgeMs + 2)
  t.deepEqual(refused.map((each) => [each.waiting.of, each.why]).sort(), [
    ['interactive', 'age'],
    ['interactive', 'age'],
    ['mutation', 'age'],
  ])
  t.deepEqual(
    all(queue)
      .map(({ of }) => of)
      .sort(),
    ['job', 'mutation', 'stream'],
  )
})

test('where too many wait, of reads the one of who has the most is refused, of writes the last, of files the first', (t) => {
  const queue = new Queue()
  const [many, few] = [{}, {}]
  queue.add(waiting('interactive', { caller: few }))
  for (let at = 1; at < LIMITS.interactiveWaitingMax; at++) queue.add(waiting('interactive', { caller: many }))
  t.is(queue.add(waiting('interactive', { caller: few }))!.waiting.caller, many)
  for (let at = 0; at < LIMITS.mutationsWaitingMax; at++) t.is(queue.add(waiting('mutation')), null)
  const last = waiting('mutation')
  t.like(queue.add(last), { waiting: last, why: 'full', place: LIMITS.mutationsWaitingMax + 1 })
  const first = waiting('stream')
  queue.add(first)
  for (let at = 1; at < LIMITS.streamsWaitingMax; at++) t.is(queue.add(waiting('stream')), null)
  t.is(queue.add(waiting('stream'))!.waiting, first)
})

test('those that go on for long wait for their number, and nobody waits behind them', (t) => {
  const queue = new Queue()
  for (let at = 0; at < 20; at++) queue.add(waiting('interactive', { long: at < 10 }))
  t.is(all(queue, false).length, 10)
  t.is(queue.length, 10)
  t.true(all(queue).every(({ long }) => long))
})

test('a queue that is cleared has nothing left of anybody', (t) => {
  const queue = new Queue()
  const caller = {}
  for (const of of ['interactive', 'mutation', 'stream', 'job'] as const) queue.add(waiting(of, { caller }))
  t.is(queue.clear().length, 4)
  t.is(queue.length, 0)
  t.is(queue.next(true), null)
})
