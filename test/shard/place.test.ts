// Which shard a library is placed on: evenly, always the same, and moving as few as can be.
import { createHash } from 'node:crypto'
import test from 'ava'
import { placeOf } from '../../src/shard/place.js'

/** Made one after the other, a few in each millisecond, and the same in every run: by chance some would lie unevenly. */
const ids = Array.from({ length: 4_000 }, (_, at) => {
  const time = (0x190_a1b2_c3d4 + Math.floor(at / 4)).toString(16).padStart(12, '0')
  const chance = createHash('sha256').update(String(at)).digest('hex')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${chance.slice(0, 3)}-8${chance.slice(3, 6)}-${chance.slice(6, 18)}`
})

test('libraries made one after the other spread evenly over any number of shards', (t) => {
  for (const shards of [1, 2, 3, 4, 8, 16]) {
    const counts = new Array<number>(shards).fill(0)
    for (const id of ids) counts[placeOf(id, shards)]! += 1
    const even = ids.length / shards
    for (const count of counts) t.true(Math.abs(count - even) < even * 0.25, `${shards} shards: ${counts.join(' ')}`)
  }
})

test('with one more shard only about its share of the libraries moves, and all of that to the new one', (t) => {
  for (const shards of [1, 2, 5, 8]) {
    const moved = ids.filter((id) => placeOf(id, shards) !== placeOf(id, shards + 1))
    t.true(moved.every((id) => placeOf(id, shards + 1) === shards))
    t.true(Math.abs(moved.length - ids.length / (shards + 1)) < ids.length * 0.05)
  }
})

test('a place is the same in every process', (t) => {
  t.deepEqual(
    ['a', 'b', '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'].map((id) => [placeOf(id, 2), placeOf(id, 7)]),
    // Printed once. Not a promise across versions, but two threads must never both think a library theirs.
    [
      [0, 6],
      [1, 4],
      [1, 6],
    ],
  )
})
