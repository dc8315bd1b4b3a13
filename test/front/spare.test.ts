// Memory that is kept at hand for answers.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { giveSpare, takeSpare } from '../../src/front/spare.js'

test('what was given back is taken again, and many short ones leave room for a long one', (t) => {
  const short = Array.from({ length: 2 * (LIMITS.spareBytesMax >> 13) }, () => takeSpare(5_000))
  t.true(short.every(({ length }) => length === 8_192))
  for (const one of short) giveSpare(one.subarray(0, 5_000))
  t.is(takeSpare(8_192).buffer, short[(LIMITS.spareBytesMax >> 13) - 1]!.buffer)
  const long = takeSpare(140_000)
  giveSpare(long.subarray(0, 140_000))
  t.is(takeSpare(200_000).buffer, long.buffer)
  t.not(takeSpare(200_000).buffer, long.buffer)
})
