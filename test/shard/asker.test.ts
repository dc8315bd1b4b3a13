// Whoever asks shards hands their answers out bit by bit.
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import test from 'ava'
import { Beats } from '../../src/base/beats.js'
import { LIMITS } from '../../src/base/limits.js'
import type { Reply } from '../../src/protocol/messages.js'
import { Ahead, newAhead } from '../../src/shard/ahead.js'
import { LongAnswers, newLongAnswers } from '../../src/shard/long-answers.js'
import { newGivenUp } from '../../src/shard/given-up.js'
import { newWritten } from '../../src/shard/kept.js'
import type { ToShard } from '../../src/shard/lines.js'
import { Asker, type Line } from '../../src/shard/asker.js'

/** Who asks one shard, and what that tells of itself. */
function connected(): { asker: Asker; line: Line; shard: Ahead; port: MessagePort; [Symbol.dispose](): void } {
  const asker = new Asker({ shards: 1, line: 0, beats: Beats.create(2), isOpen: () => true })
  const line = asker.lines[0]!
  const shared = newAhead(1)
  const { port1, port2 } = new MessageChannel()
  asker.connect(line, port1, {
    givenUp: newGivenUp(),
    longAnswers: newLongAnswers(),
    ahead: shared,
    written: newWritten(),
  })
  const close = () => {
    asker.close()
    port1.close()
    port2.close()
  }
  return { asker, line, shard: new Ahead(shared), port: port2, [Symbol.dispose]: close }
}

test('of answers that are long only some are handed out in one turn, in their order, and each once', async (t) => {
  const asker = new Asker({ shards: 1, line: 0, beats: Beats.create(2), isOpen: () => true })
  const [line] = asker.lines
  const told: number[] = []
  const replies = Array.from({ length: 30 }, (_, at) => {
    line!.inFlight.set(at, () => told.push(at))
    return [at, at % 10 === 0 ? '"'.padEnd(LIMITS.answeredCharsMax, 'x') : '1', null]
  })
  asker.received(line!, { replies: replies.flat() })
  const turns = [told.length]
  // One that its caller has given up meanwhile, and a message that comes in between.
  line!.inFlight.delete(25)
  line!.inFlight.set(99, () => told.push(99))
  asker.received(line!, { replies: [99, '1', null] })
  while (told.length < 30) {
    await nextTurn()
    turns.push(told.length)
  }
  t.deepEqual(turns, [1, 12, 22, 30])
  t.deepEqual(
    told.filter((at) => at !== 99),
    Array.from({ length: 30 }, (_, at) => at).filter((at) => at !== 25),
  )
  t.is(line!.inFlight.size, 0)
})

test('long answers lie in memory that is shared, among others that came as text, and are given back even if nobody waits', (t) => {
  const asker = new Asker({ shards: 1, line: 0, beats: Beats.create(2), isOpen: () => true })
  const [line] = asker.lines
  const shared = newLongAnswers()
  const { port1 } = new MessageChannel()
  asker.connect(line!, port1, { givenUp: newGivenUp(), longAnswers: shared, ahead: newAhead(1), written: newWritten() })
  const written = new LongAnswers(shared)
  const text = JSON.stringify('ä'.repeat(LIMITS.longAnswersBytes / 10))
  for (let times = 0; times < 50; times++) {
    const told: Reply[] = []
    const number = 3 * times
    line!.inFlight.set(number, (reply) => told.push(reply.ok ? { ok: true, json: reply.json } : reply))
    line!.inFlight.set(number + 2, (reply) => told.push(reply))
    const replies = [number, number + 1].flatMap((one) => {
      const at = written.write(text)
      t.true(at >= 0)
      return [one, at, written.length]
    })
    asker.received(line!, { replies: [...replies, number + 2, '7', null] })
    t.deepEqual(told, [
      { ok: true, json: text },
      { ok: true, json: '7' },
    ])
  }
  port1.close()
})

test('of many that come in one turn the shard gets the first while others are still read, and the last at its end', async (t) => {
  using place = connected()
  const { asker, line, port } = place
  const sent = () => (receiveMessageOnPort(port)?.message as ToShard | undefined)?.requests?.length
  const each = 3 * LIMITS.shardSentAtOnce
  for (let at = 0; at < 2 * LIMITS.shardSentAtOnce + 1; at++)
    asker.enqueue(line, 'files.get', { library: 'a', id: '1' }, () => undefined)
  t.deepEqual([sent(), sent(), sent()], [each, each, undefined])
  await nextTurn()
  t.deepEqual([sent(), sent()], [3, undefined])
})

test('a shard that took long for one thing, and has begun few since it is behind, is asked by no crowd', (t) => {
  using place = connected()
  const { asker, line, shard } = place
  const ask = (count: number) => {
    for (let at = 0; at < count; at++) asker.enqueue(line, 'files.get', { library: 'a', id: '1' }, () => undefined)
    asker.send(line)
  }
  shard.took(10_000, 1)
  ask(LIMITS.shardBehindMin + 1)
  t.is(line.atOnceMax, 0)
  ask(4 * LIMITS.queueCrowdMin)
  t.true(line.queue.length > 3 * LIMITS.queueCrowdMin)
  t.false(line.queue.isCrowd)
  t.is(asker.refuseUnread(line, 'interactive'), null)
})

test('of many writes that come at once few are sent, however quick all was before, and a read is not behind them', (t) => {
  using place = connected()
  const { asker, line, shard, port } = place
  const answered: string[] = []
  const ask = (operation: 'files.get' | 'tags.create') =>
    asker.enqueue(line, operation, { library: 'a', id: '1' }, () => answered.push(operation))
  shard.took(0.02, 1)
  for (let at = 0; at < 10 * LIMITS.shardBehindMin; at++) ask('tags.create')
  const sent = line.inFlight.size
  t.true(sent <= LIMITS.shardBehindMin + LIMITS.shardAheadMax / 2, `${sent}`)
  ask('files.get')
  asker.send(line)
  const begin = () => {
    const { requests = [] } = (receiveMessageOnPort(port)?.message as ToShard | undefined) ?? {}
    const numbers = requests.filter((_, at) => at % 3 === 0) as number[]
    shard.took(10, 1)
    shard.begun(numbers.length)
    asker.received(line, { replies: numbers.flatMap((number) => [number, '1', null]) })
    return numbers.length > 0
  }
  for (let turns = 0; turns < 100 && !answered.includes('files.get'); turns++) begin()
  t.true(answered.indexOf('files.get') <= sent + 2 * LIMITS.shardAheadMin, `${answered.indexOf('files.get')}`)
  for (let turns = 0; turns < 1_000 && answered.length <= 10 * LIMITS.shardBehindMin; turns++) begin()
  t.is(answered.length, 10 * LIMITS.shardBehindMin + 1)
  t.is(line.writes, 0)
})

test('searches are sent ahead like any other, until some of them turn out to be long', (t) => {
  using place = connected()
  const { asker, line, shard } = place
  const ask = (count: number, operation: 'files.get' | 'search.files') => {
    for (let at = 0; at < count; at++) asker.enqueue(line, operation, { library: 'a' }, () => undefined)
    asker.send(line)
  }
  const answer = () => {
    const replies = [...line.inFlight.keys()].flatMap((number) => [number, '1', null])
    shard.begun(replies.length / 3 - line.outgoing.length / 3)
    asker.send(line)
    shard.begun(shard.count)
    asker.received(line, { replies })
  }
  shard.took(0.05, 1)
  const many = Math.ceil(LIMITS.shardBehindMs / 0.05) + 1
  ask(many, 'files.get')
  t.is(line.atOnceMax, 0)
  ask(100, 'search.files')
  t.is(line.long, 0)
  answer()
  t.is(line.long, LIMITS.longAheadMax)
  shard.long = LIMITS.longAtOnceMax
  answer()
  t.is(line.long, LIMITS.longAtOnceMax)
  shard.long = 0
  answer()
  t.is(line.long, LIMITS.longAheadMax)
})

test('a read of a crowd is left to the shard for so long only, and refused if that came to it too late', async (t) => {
  using place = connected()
  const { asker, line, shard, port } = place
  const refused: Reply[] = []
  const ask = (count: number) =>
    Array.from({ length: count }, () =>
      asker.enqueue(line, 'files.get', { library: 'a', id: '1' }, (reply) => reply.ok || refused.push(reply)),
    )
  const sent = () => receiveMessageOnPort(port)?.message as ToShard | undefined
  const BEGUN = 32
  shard.took(2, 1)
  ask(2 * LIMITS.shardBehindMin)
  asker.send(line)
  t.is(line.atOnceMax, 0)
  for (let message = sent(); message; message = sent()) t.is(message.mayWaitMs, undefined)
  shard.begun(BEGUN)
  await sleep(BEGUN)
  const crowd = ask(2 * (LIMITS.queueCrowdMin + LIMITS.queueCrowdMs))
  t.true(line.queue.isCrowd)
  shard.begun(shard.count)
  asker.received(line, {})
  const { requests = [], mayWaitMs = [] } = sent()!
  t.true(requests.length >= 3 * LIMITS.shardAheadMin)
  t.is(mayWaitMs.length, requests.length / 3)
  for (const ms of mayWaitMs) t.true(ms >= 1 && ms <= LIMITS.interactiveBegunMs, `${ms}`)

  for (const giveUp of crowd) giveUp()
  for (let at = 0; at < requests.length; at += 3) t.true(line.givenUp.has(requests[at] as number))

  const before = refused.length
  asker.received(line, { replies: [requests[0] as number, null, null, requests[3] as number, '{}', null] })
  t.is(refused.length, before + 1)
  t.like(refused.at(-1), { ok: false, error: { code: 'OVERLOADED', retryable: true } })
  const { error } = refused.at(-1) as Reply & { ok: false }
  t.true(error.retryAfterMs! >= 1_000)
})
