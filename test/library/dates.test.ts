// Times of files agree with Date, wherever Date has an answer.
import fc from 'fast-check'
import test from 'ava'
import { dateOf } from '../../src/library/dates.js'

test('any time of a file is told as Date would tell it', (t) => {
  const agree = (mtime: number) =>
    dateOf(mtime) === new Date(Math.max(-8.64e15, Math.min(8.64e15, mtime / 1000))).toISOString()
  for (const mtime of [0, -1, 1, -1_000, 999_999, 86_399_999_999, 86_400_000_000, -86_400_000_001, 1e18, -1e18, 9e18]) {
    t.true(agree(mtime), String(mtime))
  }
  fc.assert(fc.property(fc.maxSafeInteger(), agree), { numRuns: 2_000 })
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.nat(999_999), (s, us) => agree(s * 1e6 + us)))
})
