// What is given back is what nobody uses, and costs no descriptor.
import test from 'ava'
import { giveBackMemory, GivingBack } from '../../src/descriptors/memory.js'
import { countOpen } from '../../src/descriptors/rlimit.js'

function dropped(): WeakRef<object> {
  return new WeakRef({ bytes: new Uint8Array(1 << 20) })
}

test('what nobody has is given back, what somebody has is not, and nothing is opened', async (t) => {
  const kept = { bytes: new Uint8Array(1 << 20).fill(7) }
  const gone = dropped()
  // Until the turn is over a reference that was made in it counts as used.
  await new Promise(setImmediate)
  giveBackMemory()
  const before = countOpen()
  giveBackMemory()
  t.is(countOpen(), before)
  t.is(gone.deref(), undefined)
  t.true(kept.bytes.every((byte) => byte === 7))
})

test('memory is given back as soon as it is short, and not again at each look while it is', (t) => {
  const giving = new GivingBack()
  t.false(giving.isDue('normal'))
  t.true(giving.isDue('elevated'))
  t.false(giving.isDue('critical'))
  t.true(new GivingBack().isDue('critical'))
})
