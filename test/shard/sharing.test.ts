// When a library is read by other shards as well, and that its own keeps it open for them no longer than that.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { placeOf } from '../../src/shard/place.js'
import { Sharing, type Shards } from '../../src/shard/sharing.js'

const LIBRARY = '01a20942-1332-77fa-ab45-4a2e15942043'

test('a library that its shard has yet to open for others is not kept open for them when that has ended', async (t) => {
  const owner = placeOf(LIBRARY, 2)
  let sharedBy = 0
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let asked = () => {}
  const isAsked = new Promise<void>((resolve) => (asked = resolve))
  const share = async (count: number) => {
    if (count > 0) {
      asked()
      await opened
    }
    sharedBy = count
    return { path: '/library', count }
  }
  const shards: Shards = {
    count: 2,
    level: 'normal',
    load: () => LIMITS.sharingInFlightMin,
    busy: () => 1,
    reads: () => [[LIBRARY, 100]],
    tell: () => undefined,
    ask: <T>(shard: number, operation: string, params: unknown) => {
      if (operation !== 'shard.share') return Promise.resolve(true as T)
      t.is(shard, owner)
      return share((params as { count: number }).count) as Promise<T>
    },
    log: () => undefined,
  }
  const sharing = new Sharing(shards)
  // Its own timer keeps nobody.
  const stay = setInterval(() => undefined, LIMITS.sharingLookMs)
  t.teardown(() => clearInterval(stay))
  await isAsked
  const ended = sharing.close()
  // Whatever can go on without it has.
  await new Promise((resolve) => setImmediate(resolve))
  open()
  await ended
  t.is(sharedBy, 0)
})

test('while its shard has time to spare a library is read by it alone, however many ask', async (t) => {
  let busy = LIMITS.sharingBusyMin - 0.1
  let looks = 0
  let shared = () => {}
  const isShared = new Promise<void>((resolve) => (shared = resolve))
  const counts: number[] = []
  const shards: Shards = {
    count: 2,
    level: 'normal',
    load: () => 10 * LIMITS.sharingInFlightMin,
    busy: (shard) => {
      if (shard === 0) looks += 1
      // Two more than it takes, then there is no time left.
      if (looks > 2 + LIMITS.sharingLooks) busy = LIMITS.sharingBusyMin
      return busy
    },
    reads: () => [[LIBRARY, 1_000]],
    tell: () => undefined,
    ask: <T>(_: number, operation: string, params: unknown) => {
      if (operation !== 'shard.share') return Promise.resolve(true as T)
      counts.push((params as { count: number }).count)
      shared()
      return Promise.resolve({ path: '/library', count: 1 } as T)
    },
    log: () => undefined,
  }
  const sharing = new Sharing(shards)
  const stay = setInterval(() => undefined, LIMITS.sharingLookMs)
  t.teardown(() => clearInterval(stay))
  await isShared
  t.is(looks, 2 + 2 * LIMITS.sharingLooks)
  t.deepEqual(counts, [1])
  await sharing.close()
})
