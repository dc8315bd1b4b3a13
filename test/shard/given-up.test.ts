// Who is given up is known to both sides, and nobody else is taken for it.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { GivenUp, newGivenUp } from '../../src/shard/given-up.js'

test('a request that was given up is known by its number, on both sides', (t) => {
  const shared = newGivenUp()
  const [main, shard] = [new GivenUp(shared), new GivenUp(shared)]
  t.false(shard.has(1))
  main.add(1)
  t.true(shard.has(1))
  for (let at = 2; at <= LIMITS.shardInFlightMax; at += 1) t.false(shard.has(at))
})

test('numbers go on for ever', (t) => {
  const main = new GivenUp(newGivenUp())
  for (const number of [2 ** 31 - 1, 2 ** 31, 2 ** 32 + 7, 2 ** 40]) {
    main.add(number)
    t.true(main.has(number), `${number}`)
    t.false(main.has(number + 1))
  }
})
