// How far a shard is behind, by what it tells of itself.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ahead, newAhead } from '../../src/shard/ahead.js'

function both(): { main: Ahead; shard: Ahead } {
  const shared = newAhead(1)
  return { main: new Ahead(shared), shard: new Ahead(shared) }
}

test('what was sent is before the shard until it is begun, for as long as that takes', (t) => {
  const { main, shard } = both()
  main.sent(10)
  t.is(main.ms, 0)
  shard.begun(3)
  shard.took(6, 3)
  t.is(main.count, 7)
  t.is(main.ms, 14)
  shard.begun(7)
  t.is(main.ms, 0)
})

test('slow requests are sent a few at a time, quick ones by hundreds, and one that was slow is soon forgotten', (t) => {
  const { main, shard } = both()
  t.is(main.most, LIMITS.shardAheadMax)
  shard.took(1_000_000, 1)
  t.is(main.most, LIMITS.shardAheadMin)
  for (let at = 0; at < 150; at++) shard.took(0.005 * 100, 100)
  t.is(main.most, LIMITS.shardAheadMax)
  shard.took(1, 0)
  t.is(main.most, LIMITS.shardAheadMax)
})

test('the counts go round without a jump', (t) => {
  const { main, shard } = both()
  const nearly = 2 ** 31 - 2
  main.sent(nearly)
  shard.begun(nearly)
  main.sent(5)
  t.is(main.count, 5)
  shard.begun(5)
  t.is(main.count, 0)
})

test('each who asks has an equal part of what a shard has before it, and waits for what all have sent', (t) => {
  const shared = newAhead(2)
  const [one, other, shard] = [new Ahead(shared, 0), new Ahead(shared, 1), new Ahead(shared)]
  shard.took(10, 1)
  t.is(one.most, other.most)
  t.true(one.most <= Math.max(LIMITS.shardAheadMin, Math.ceil(LIMITS.shardAheadMs / 10 / 2)))
  one.sent(3)
  other.sent(1)
  t.is(one.count, 3)
  t.is(other.count, 1)
  t.is(other.ms, 40)
  shard.begun(3, 0)
  t.is(one.count, 0)
  t.is(other.ms, 10)
  shard.begun(1, 1)
  t.is(one.ms, 0)
})
