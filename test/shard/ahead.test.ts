// How far ahead of a shard the main thread sends, by what the shard tells of itself.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ahead } from '../../src/shard/ahead.js'

function both(): { main: Ahead; shard: Ahead } {
  const main = new Ahead()
  return { main, shard: new Ahead(main.shared) }
}

test('as much is sent as the shard begins, and no more than it begins in a moment', (t) => {
  const { main, shard } = both()
  const first = main.room
  for (let at = 0; at < first; at++) main.sent()
  t.is(main.room, 0)
  for (let at = 0; at < 3; at++) shard.begun()
  t.is(main.room, 3)
  shard.took(1_000 * LIMITS.shardAheadMs, 3)
  t.true(main.room < 0)
})

test('slow requests are sent a few at a time, quick ones by hundreds, and one that was slow is soon forgotten', (t) => {
  const { main, shard } = both()
  shard.took(1_000, 1)
  t.is(main.room, LIMITS.shardAheadMin)
  for (let at = 0; at < 60; at++) shard.took(0.001 * 100, 100)
  t.is(main.room, LIMITS.shardAheadMax)
})

test('the counts go round without a jump', (t) => {
  const { main, shard } = both()
  new Int32Array(main.shared)[0] = 2 ** 31 - 2
  const { room } = main
  for (let at = 0; at < 5; at++) {
    main.sent()
    shard.begun()
  }
  t.is(main.room, room)
})
