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
  const out = new Set(queue.expire(LIMITS.queueCrowdMs + 1).map((refused) => refused.waiting))
  t.true(queue.newestFirst)
  t.deepEqual(
    all(queue).filter(({ of }) => of === 'mutation'),
    mutations.filter((each) => !out.has(each)),
  )
  t.is(queue.length, 0)
})

test('while all classes wait each has its turns', (t) => {
  const queue = new Queue()
  for (const of of ['interactive', 'mutation', 'stream', 'job'] as const)
    for (let at = 0; at < 100; at++) queue.add(waiting(of, { long: at % 2 === 1 }))
  const first = Array.from({ length: 56 }, () => queue.next(true)!.of)
  const share = (of: string) => first.filter((each) => each === of).length
  t.deepEqual([share('interactive'), share('mutation'), share('stream'), share('job')], [32, 12, 8, 4])
})

test('who asks one thing stands before what is the thousandth of another', (t) => {
  const queue = new Queue()
  const [many, few] = [{}, {}]
  for (let at = 0; at < 1_000; at++) queue.add(waiting('interactive', { caller: many }))
  queue.add(waiting('interactive', { caller: few, since: 1 }))
  const order = all(queue).map(({ caller }) => caller)
  t.true(order.indexOf(few) <= 1)
  t.is(order.length, 1_001)
  // What it had in line is forgotten with it.
  queue.add(waiting('interactive', { caller: many }))
  queue.add(waiting('interactive', { caller: few }))
  t.is(queue.next(true)!.caller, many)
})

test('who asks a second thing waits behind those who ask one, but not for ever', (t) => {
  const queue = new Queue()
  const caller = {}
  const [first, second] = [waiting('interactive', { caller }), waiting('interactive', { caller })]
  queue.add(first)
  queue.add(second)
  const others = Array.from({ length: 100 }, (_, at) => waiting('interactive', { since: 1 + at, caller: {} }))
  for (const each of others) queue.add(each)
  const order = all(queue)
  t.is(order[0], first)
  t.true(order.indexOf(second) > 10 && order.indexOf(second) < 50)
})

test('of those that take long and those that do not the one that came first is begun first', (t) => {
  const queue = new Queue()
  const asked = Array.from({ length: 40 }, (_, at) => waiting('interactive', { since: at, long: at % 3 === 0 }))
  for (const each of asked) queue.add(each)
  t.deepEqual(all(queue), asked)
})

function crowd(of: 'interactive' | 'mutation', now: number): Queue {
  const queue = new Queue()
  for (let at = 0; at <= LIMITS.queueCrowdMin; at++) queue.add(waiting(of, { since: now - LIMITS.queueCrowdMs - 1 }))
  return queue
}

test('in a crowd of readers the newest are first, and who waited for long is refused', (t) => {
  const queue = crowd('interactive', 1_000)
  t.false(queue.newestFirst)
  for (const since of [993, 996]) queue.add(waiting('interactive', { since, long: since === 993 }))
  const refused = queue.expire(1_000)
  t.is(refused.length, LIMITS.queueCrowdMin + 1)
  t.true(refused.every(({ why }) => why === 'age'))
  t.deepEqual(
    all(queue).map(({ since }) => since),
    [996, 993],
  )
})

test('of a crowd of readers nobody is begun who is too old, and whoever comes then is', (t) => {
  const queue = crowd('interactive', 1_000)
  queue.expire(1_000)
  queue.add(waiting('interactive', { since: 1_000 }))
  const later = 1_001 + LIMITS.interactiveAgeMs
  t.is(queue.next(true, later), null)
  queue.add(waiting('interactive', { since: later }))
  t.is(queue.next(true, later)!.since, later)
  t.is(queue.expire(later).length, 1)
})

test('in a crowd who was served less than others is first, even if it came before, and is refused only for its age', (t) => {
  const queue = crowd('interactive', 0)
  queue.expire(0)
  const [much, little, once] = [{}, {}, { onlyOnce: true }]
  const now = LIMITS.interactiveAgeMs
  const next = () => queue.next(true, now)?.caller
  for (let at = 0; at < 20; at++) {
    queue.add(waiting('interactive', { caller: much, since: now }))
    t.is(next(), much)
  }
  queue.add(waiting('interactive', { caller: little, since: now }))
  t.is(next(), little)
  for (const caller of [little, once, much]) queue.add(waiting('interactive', { caller, since: now }))
  t.deepEqual([next(), next(), next()], [once, little, much])
  queue.add(waiting('interactive', { caller: little, since: now - LIMITS.interactiveAgeMs - 1 }))
  queue.add(waiting('interactive', { caller: much, since: now }))
  t.deepEqual([next(), next()], [much, undefined])
  t.is(queue.expire(now).length, 1)
})

/** So much more is asked than is begun that those who had less can take all of it. */
function flooded(queue: Queue, clients: readonly object[], beside: object[], turns: number): object[] {
  const taken: object[] = []
  for (let now = 1; now <= turns; now++) {
    for (const caller of [...clients, ...beside]) queue.add(waiting('interactive', { caller, since: now }))
    for (let at = 0; at < 5; at++) taken.push(queue.next(true, now)!.caller!)
    for (const each of queue.clear()) queue.refusedElsewhere(each.of)
  }
  return taken
}

test('of whom nothing is known it is served beside a crowd of whom there is always one that had a little less', (t) => {
  const once = { onlyOnce: true }
  const clients = Array.from({ length: 50 }, () => ({}))
  const queue = crowd('interactive', 0)
  queue.expire(0)
  const served = flooded(queue, clients, [once], 400).filter((caller) => caller === once).length
  t.true(served > 100, `${served}`)
})

test('neither those of whom something is known nor the others take all', (t) => {
  const clients = Array.from({ length: 50 }, () => ({}))
  const queue = crowd('interactive', 0)
  queue.expire(0)
  const many = Array.from({ length: 50 }, () => ({ onlyOnce: true }))
  const known = new Set<object>(clients)
  const served = flooded(queue, clients, many, 400).filter((caller) => known.has(caller)).length
  t.true(served > 600 && served < 1_400, `${served}`)
})

test('one that is known is served beside a crowd of whom nothing is known, as much as is usual there', (t) => {
  const queue = crowd('interactive', 0)
  queue.expire(0)
  const [much, little] = [{}, {}]
  const many = Array.from({ length: 50 }, () => ({ onlyOnce: true }))
  const taken: object[] = []
  for (let turn = 0; turn < 400; turn++) taken.push(...flooded(queue, [much, ...(turn % 20 ? [] : [little])], many, 1))
  const [of, ofLittle] = [much, little].map((one) => taken.filter((caller) => caller === one).length)
  t.true(of! >= 30 && of! <= 100, `${of}`)
  t.true(ofLittle! >= 18, `${ofLittle}`)
})

test('what was served of a crowd is forgotten with it', (t) => {
  const queue = crowd('interactive', 0)
  queue.expire(0)
  const [much, little] = [{}, {}]
  for (let at = 0; at < 20; at++) queue.add(waiting('interactive', { caller: much }))
  while (queue.next(true, 0));
  for (let at = 1; at <= 3; at++) queue.expire(at * (LIMITS.queueCrowdLeftMs + 1))
  t.false(queue.isCrowd)
  queue.add(waiting('interactive', { caller: much, since: 1 }))
  queue.add(waiting('interactive', { caller: little, since: 2 }))
  t.is(queue.next(true)!.caller, much)
})

test('a crowd that will be there is one at once, and a burst that is soon done is none', (t) => {
  for (const of of ['interactive', 'mutation'] as const) {
    const eachMs = 2
    const most = LIMITS.queueCrowdMin + LIMITS.queueCrowdMs / eachMs
    const queue = new Queue()
    for (let at = 0; at < most; at++) queue.add(waiting(of), eachMs)
    t.false(queue.isCrowd)
    queue.add(waiting(of), eachMs)
    t.true(queue.isCrowd)
    t.true(queue.hasEnough(of))
    const quick = new Queue()
    for (let at = 0; at < most; at++) quick.add(waiting(of), eachMs / 2)
    t.false(quick.isCrowd)
  }
})

test('behind a crowd of readers one of writers is found sooner: only some turns are left to them', (t) => {
  const queue = crowd('interactive', 1_000)
  queue.expire(1_000)
  const eachMs = 2
  const alone = LIMITS.queueCrowdMin + LIMITS.queueCrowdMs / eachMs
  let count = 0
  for (; !queue.hasEnough('mutation') && count < alone; count++) queue.add(waiting('mutation'), eachMs, 1_000)
  t.true(count > LIMITS.queueCrowdMin)
  t.true(count < LIMITS.queueCrowdMin + (alone - LIMITS.queueCrowdMin) / 4)
})

test('in a crowd of writers there are enough when more wait than were begun lately in half the time they have', (t) => {
  const queue = crowd('mutation', 0)
  queue.expire(0)
  // Nobody knows yet how many are begun.
  t.false(queue.hasEnough('mutation'))
  const step = LIMITS.queueCrowdLeftMs / 2
  const many = 2 * LIMITS.queueCrowdEnough
  for (let at = 0; at < 2 * many; at++) queue.add(waiting('mutation'))
  for (let at = 0; at < many; at++) queue.next(true)
  queue.refusedElsewhere('mutation')
  queue.expire(0, step)
  const enough = Math.ceil((many * LIMITS.mutationAgeMs) / 2 / step)
  while (queue.length > enough) {
    t.true(queue.hasEnough('mutation'))
    queue.next(true)
  }
  queue.next(true)
  t.false(queue.hasEnough('mutation'))
  t.false(queue.hasEnough('interactive'))
})

test('in a crowd of readers there are enough when as many wait as were begun lately in the time they have', (t) => {
  const step = LIMITS.queueCrowdLeftMs / 2
  const enoughOf = (begun: number) => {
    const queue = crowd('interactive', 0)
    queue.expire(0)
    for (let at = 0; at < begun + LIMITS.queueCrowdEnough; at++) queue.add(waiting('interactive', { since: 0 }))
    for (let at = 0; at < begun; at++) queue.next(true)
    queue.refusedElsewhere('interactive')
    queue.expire(0, step)
    while (queue.hasEnough('interactive')) queue.next(true)
    return queue.length + 1
  }
  const most = LIMITS.queueCrowdEnough
  const inTime = LIMITS.interactiveAgeMs / step
  const begun = Math.ceil(most / 2 / inTime)
  t.is(enoughOf(begun), Math.ceil(begun * inTime))
  t.is(enoughOf(1), most / 4)
})

test('a crowd of writers keeps its order, and who waited for too long is refused', (t) => {
  const queue = crowd('mutation', 1_000)
  for (const since of [1_001, 1_002]) queue.add(waiting('mutation', { since }))
  t.deepEqual(queue.expire(1_000), [])
  t.is(queue.expire(1_000 + LIMITS.mutationAgeMs).length, LIMITS.queueCrowdMin + 1)
  t.deepEqual(
    all(queue).map(({ since }) => since),
    [1_001, 1_002],
  )
})

test('neither few that wait for long nor many that do not are a crowd, and jobs and files wait on', (t) => {
  const queue = new Queue()
  for (const of of ['interactive', 'mutation'] as const)
    for (let at = 0; at < LIMITS.queueCrowdMin; at++) queue.add(waiting(of, { since: at }))
  t.deepEqual(queue.expire(LIMITS.responseMs), [])
  t.is(queue.next(true)!.since, 0)
  const quick = new Queue()
  for (let at = 0; at < 10 * LIMITS.queueCrowdMin; at++) quick.add(waiting(at % 2 ? 'interactive' : 'job'))
  t.deepEqual(quick.expire(LIMITS.queueCrowdMs), [])
  t.false(quick.newestFirst)
})

test('a crowd is over soon after less than a third is refused, and however many ask again because of it', (t) => {
  const queue = crowd('interactive', 0)
  let now = 0
  queue.expire(now)
  const step = LIMITS.queueCrowdLeftMs / 2
  // As long as it is one.
  for (let at = 0; at < 10; at++) {
    now += step
    for (let more = 0; more < 10; more++) queue.add(waiting('interactive', { since: more % 2 ? now : now - step }))
    queue.next(true)
    queue.expire(now)
    t.true(queue.newestFirst)
  }
  all(queue)
  now += step
  queue.expire(now)
  for (let at = 0; at < 3; at++) queue.expire((now += step))
  t.false(queue.newestFirst)
  t.true(queue.isCalm)
  // Those who will not take no for an answer.
  for (let at = 0; at <= LIMITS.queueCrowdMin; at++) queue.add(waiting('interactive', { since: now - 1_000 }))
  queue.expire(now)
  const begun = now
  while (queue.newestFirst) {
    for (let at = 0; at < 50; at++) queue.refusedElsewhere('interactive')
    queue.expire((now += step))
  }
  t.true(now - begun >= LIMITS.queueCrowdTrustedMs && now - begun < LIMITS.queueCrowdTrustedMs + 2 * step)
})

test('whom nobody waits for any more takes nobody’s place for long', (t) => {
  const queue = new Queue()
  const gone = Array.from({ length: 10 }, () => waiting('interactive', { gone: true }))
  for (const each of gone) queue.add(each)
  const there = waiting('interactive')
  queue.add(there)
  t.deepEqual(
    queue.expire(0).map((each) => each.waiting),
    gone,
  )
  t.deepEqual(all(queue), [there])
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
