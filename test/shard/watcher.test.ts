// The thread that watches: what it costs, what happens when it cannot be had, and when it is lost.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { loadNative } from '../../src/descriptors/native.js'
import { plan, watcherPrice } from '../../src/descriptors/planner.js'
import { PRICES } from '../../src/descriptors/prices.js'
import { countOpen } from '../../src/descriptors/rlimit.js'
import type { Covered, ShardOperation } from '../../src/shard/lines.js'
import { Watcher } from '../../src/shard/watcher.js'
import { eventually } from '../harness/daemon.js'

/** A watcher, and what it asks of shards that do as they are told. */
class Post {
  readonly root = mkdtempSync(join(tmpdir(), 'sd-watch-'))
  readonly ledger = Ledger.create(plan({ soft: 1_000, base: 0, connectionsMax: 'auto' }))
  readonly asked: ShardOperation[] = []
  readonly logged: string[] = []
  covered: Covered | null = null
  readonly watcher: Watcher

  constructor() {
    mkdirSync(join(this.root, 'below'))
    this.watcher = new Watcher({
      ledger: this.ledger,
      native: loadNative() !== null,
      leftOut: [],
      ask: (_library, operation) => {
        this.asked.push(operation)
        return Promise.resolve({ outcome: 'done', relist: [] })
      },
      tell: (_location, covered) => (this.covered = covered),
      log: (_level, message) => this.logged.push(message),
    })
  }

  watch(): void {
    this.watcher.watch({ library: 'library', location: 'location', root: this.root })
  }

  async isWatched(): Promise<void> {
    await eventually('it is watched', 60_000, () => this.covered?.state === 'watched')
  }

  async noticesChanges(t: ExecutionContext): Promise<void> {
    const before = this.asked.filter((operation) => operation === 'shard.changes').length
    writeFileSync(join(this.root, 'below', `file ${before}`), '')
    const noticed = () => this.asked.filter((operation) => operation === 'shard.changes').length > before
    t.true(await eventually('it is told', 60_000, noticed))
  }

  async end(): Promise<void> {
    await this.watcher.close()
    rmSync(this.root, { recursive: true })
  }
}

async function posted(act: (post: Post) => Promise<void>): Promise<void> {
  const limits = LIMITS as { watchPollMs: number }
  const before = limits.watchPollMs
  // For what is tried again; the thread has limits of its own.
  limits.watchPollMs = 50
  const post = new Post()
  try {
    await act(post)
  } finally {
    limits.watchPollMs = before
    await post.end()
  }
}

test.serial('a thread that is lost leaves no descriptor, and another one watches in its place', async (t) => {
  await posted(async (post) => {
    const used = () => post.ledger.use('watches').used
    const open = countOpen()
    post.watch()
    await post.isWatched()
    await post.noticesChanges(t)
    const price = used()
    t.is(price, watcherPrice(PRICES) - PRICES.threadStart)
    const held = await atRest(() => countOpen() - open)
    post.covered = null
    await post.watcher.crash()
    await post.isWatched()
    await post.noticesChanges(t)
    t.is(post.logged.filter((line) => /thread was lost/.test(line)).length, 2, post.logged.join('\n'))
    t.is(used(), price)
    await eventually('as much is open as before', 30_000, () => countOpen() - open === held)
    post.watcher.unwatch('location')
    await eventually('all is given back', 30_000, () => used() === 0 && countOpen() === open)
  })
})

test.serial('where no thread can be had the location is scanned and says why, until there is one', async (t) => {
  await posted(async (post) => {
    const { ceiling } = post.ledger.use('watches')
    t.true(post.ledger.take('watches', ceiling), 'others have all of the class')
    post.watch()
    await eventually('it says why', 30_000, () => post.covered?.reason !== undefined)
    t.regex(post.covered!.reason!, /the thread needs \d+ descriptors, of the class "watches"/)
    t.deepEqual([...new Set(post.asked)], ['shard.doubt'])
    t.is(post.logged.length, 1, 'told once')
    post.ledger.give('watches', ceiling)
    await post.isWatched()
    await post.noticesChanges(t)
  })
})

/** What is counted once it has stopped changing: a thread that begins reads its modules. */
async function atRest(count: () => number): Promise<number> {
  let [seen, looks] = [count(), 0]
  await eventually('as much is open as a moment ago', 30_000, () => {
    const now = count()
    looks = now === seen ? looks + 1 : 0
    seen = now
    return looks >= 10
  })
  return seen
}
