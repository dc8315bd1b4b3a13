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
