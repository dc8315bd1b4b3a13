// When the budget will be full: told early where use grows, and not told where it merely moves.
import test from 'ava'
import fc from 'fast-check'
import { Forecast, slope } from '../../src/descriptors/forecast.js'

const BUDGET = 1_000

/** One look a second; `taken` by second. Returns what is told after the last. */
function told(seconds: number, taken: (second: number) => number): number | null {
  const forecast = new Forecast()
  let last: number | null = null
  for (let at = 0; at < seconds; at += 1) last = forecast.add(at, taken(at), BUDGET)
  return last
}

test('steady growth is told to the second', (t) => {
  t.is(
    told(20, (at) => 10 * at),
    (BUDGET - 190) / 10,
  )
  t.is(
    told(60, (at) => at),
    BUDGET - 59,
  )
})

test('a flood that begins suddenly is told within ten seconds', (t) => {
  const seconds = told(128, (at) => (at < 120 ? 50 : 50 + 40 * (at - 119)))
  t.truthy(seconds)
  t.true(Math.abs(seconds! - (BUDGET - 370) / 40) < 2, String(seconds))
})

test('a leak of one descriptor a minute is told hours ahead', (t) => {
  const seconds = told(40 * 60, (at) => 500 + Math.floor(at / 60))
  t.truthy(seconds)
  t.true(Math.abs(seconds! - (BUDGET - 539) * 60) < 300, String(seconds))
})

test('rest, shrinking, a single jump and noise are no trend', (t) => {
  t.is(
    told(7_200, () => 700),
    null,
  )
  t.is(
    told(300, (at) => 900 - at),
    null,
  )
  t.is(
    told(100, (at) => (at < 50 ? 100 : 600)),
    null,
  )
  t.is(
    told(3_600, (at) => 400 + (at % 2) * 50),
    null,
  )
})

test('it ends with the growth', (t) => {
  t.not(
    told(30, (at) => 10 * at),
    null,
  )
  t.is(
    told(120, (at) => Math.min(300, 10 * at)),
    null,
  )
})

test('too few looks say nothing, and a full budget is full at once', (t) => {
  t.is(
    told(3, (at) => 100 * at),
    null,
  )
  t.is(
    told(1, () => BUDGET),
    0,
  )
  t.is(
    told(1, () => BUDGET + 5),
    0,
  )
})

test('wild values up to a quarter of all do not move the slope far', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(59), fc.integer({ min: -500, max: 500 })), { maxLength: 8 }), (wild) => {
      const series = Array.from({ length: 60 }, (_, seconds) => ({ seconds, taken: 100 + 5 * seconds }))
      for (const [at, by] of wild) series[at] = { seconds: at, taken: series[at]!.taken + by }
      const found = slope(series)
      t.true(found > 4 && found < 6, String(found))
    }),
  )
})
