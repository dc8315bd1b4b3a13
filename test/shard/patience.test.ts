// The clock of those who wait for a shard.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Patience } from '../../src/shard/patience.js'

/** Looks at it every 25 ms for so long. @param silentMs of a shard that does nothing, at a time since the beginning */
function looked(forMs: number, begun: (ms: number) => number, silentMs: (ms: number) => number): number {
  const patience = new Patience()
  patience.begin(0)
  for (let ms = LIMITS.queueLookMs; ms <= forMs; ms += LIMITS.queueLookMs) patience.look(ms, begun(ms), silentMs(ms))
  return patience.ms
}

const never = (ms: number) => ms + 10_000

test('it goes while the shard begins what it is asked, however slowly', (t) => {
  t.is(
    looked(5_000, (ms) => ms, never),
    5_000,
  )
  t.is(
    looked(5_000, (ms) => Math.floor(ms / 100), never),
    5_000,
  )
})

test('it goes, if slowly, where the loop of the shard turns and nothing is begun', (t) => {
  const ms = looked(
    10_000,
    () => 0,
    (at) => at % 250,
  )
  t.true(ms >= 3_000 && ms <= 10_000, String(ms))
})

test('it stands while the shard stands still, and does not catch up', (t) => {
  t.is(
    looked(30_000, () => 0, never),
    0,
  )
  const ms = looked(30_000, (at) => (at < 29_000 ? 0 : at), never)
  t.true(ms <= 1_000 + LIMITS.queueStepMsMax, String(ms))
})

test('nor does it catch up where it was not looked at, for the main thread stood still', (t) => {
  const patience = new Patience()
  patience.begin(0)
  patience.look(25, 1, never(25))
  patience.look(10_025, 2, never(0))
  t.is(patience.ms, 25 + LIMITS.queueStepMsMax)
})
