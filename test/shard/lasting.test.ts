// What lasts ends by its own answer, or because it stands still.
import test from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import type { Reply } from '../../src/protocol/messages.js'
import { Lasting } from '../../src/shard/lasting.js'
import { eventually, sleep } from '../harness/daemon.js'

const MADE: Reply = { ok: true, json: '"made"' }

function begin(lasting: Lasting, id: string, heard = () => {}) {
  const [told, given] = [[] as string[], [] as string[]]
  let answer: (reply: Reply) => void = () => undefined
  const giveUp = lasting.begin(
    id,
    (reply) => {
      told.push(reply.ok ? reply.json : reply.error.code)
      heard()
    },
    (late) => {
      answer = late
      return () => void given.push(id)
    },
  )
  return { told, given, answer, giveUp }
}

test('it lasts while it goes on; where it stands still it is given up, and its answer comes to nobody', async (t) => {
  const lasting = new Lasting(50)
  const going = begin(lasting, 'a')
  const standing = begin(lasting, 'b', () => going.answer(MADE))
  // Its end is after that of the other now.
  lasting.goesOn('a')
  await eventually('the one that stands still is given up', 20_000, () => standing.told.length > 0)
  t.deepEqual(standing.given, ['b'])
  standing.answer(MADE)
  t.deepEqual([going.told, standing.told], [['"made"'], ['TIMEOUT']])
})

test('at a stop all end; whose caller went away is answered all the same, to be counted', async (t) => {
  const lasting = new Lasting(50)
  const [left, waits] = [begin(lasting, 'a'), begin(lasting, 'b')]
  left.giveUp()
  lasting.end(new SpacedriveError('DRAINING', 'stopping'))
  t.deepEqual(waits.told, ['DRAINING'])
  t.deepEqual([left.given, waits.given], [['a'], ['b']])
  await sleep(100)
  t.deepEqual(left.told, [])
  left.answer(MADE)
  t.deepEqual(left.told, ['"made"'])
})
