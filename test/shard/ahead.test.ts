// How far a shard is behind, by what it tells of itself.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ahead } from '../../src/shard/ahead.js'

function both(): { main: Ahead; shard: Ahead } {
  const main = new Ahead()
  return { main, shard: new Ahead(main.shared) }
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
  for (let at = 0; at < 150; at++) shard.took(0.01 * 100, 100)
  t.is(main.most, LIMITS.shardAheadMax)
  shard.took(1, 0)
  t.is(main.most, LIMITS.shardAheadMax)
})

test('the counts go round without a jump', (t) => {
  const { main, shard } = both()
  new Int32Array(main.shared)[0] = 2 ** 31 - 2
  const { count } = main
  main.sent(5)
  t.is(main.count, (count + 5) | 0)
  shard.begun(5)
  t.is(main.count, count)
})
