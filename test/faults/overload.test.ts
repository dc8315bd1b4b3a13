// More asked of a shard than it can do: control answers, others get their share, writes keep their order, and nothing is done for
// who has gone.
import test from 'ava'
import { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import type { Status } from '../../src/protocol/messages.js'
import { eventually, type Loose, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

const FILES = 3_000
const FLOODS = 6
/** On one WebSocket at a time. */
const EACH = LIMITS.feedInFlightMax - 6
/** So many wait as long as it goes on: of a crowd more are refused at once. */
const MANY = LIMITS.queueCrowdEnough / 2

class Client {
  readonly answers: Loose[] = []
  /** Asks the same again at each answer, until it is told to stop. */
  again: (() => void) | null = null
  sent = 0
  readonly #ws: WebSocket

  static open(daemon: TestDaemon): Promise<Client> {
    const ws = new WebSocket(`ws://127.0.0.1:${daemon.port}/ws`, {
      headers: { authorization: `Bearer ${daemon.token}` },
    })
    return new Promise((resolve, reject) => {
      ws.on('error', reject)
      ws.on('open', () => resolve(new Client(ws)))
    })
  }

  constructor(ws: WebSocket) {
    this.#ws = ws
    ws.on('message', (bytes: Buffer) => {
      this.answers.push(JSON.parse(bytes.toString('utf8')))
      this.again?.()
    })
    ws.on('error', () => undefined)
  }

  send(method: string, params: unknown): void {
    this.sent += 1
    this.#ws.send(JSON.stringify({ jsonrpc: '2.0', id: this.sent, method, params }))
  }

  leave(): void {
    this.#ws.terminate()
  }
}

/** Asks on and on for a page of a directory of thousands. */
async function flood(daemon: TestDaemon, library: string, path: string, limit = 1): Promise<Client[]> {
  const clients: Client[] = []
  for (let at = 0; at < FLOODS; at++) clients.push(await Client.open(daemon))
  for (const client of clients) {
    client.again = () => client.send('files.list', { library, path, sort: 'size', limit })
    for (let at = 0; at < EACH; at++) client.again()
  }
  return clients
}

function shard({ shards }: Status): Status['shards'][number] {
  return shards[0]!
}

test.serial(
  'while a shard is flooded with slow questions control answers, others have their share, writes their order',
  (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ args: ['--shards', '1'] })
      const { library } = await daemon.index('library', scene.tree('tree', FILES, FILES))
      const { id: tag } = await daemon.call('tags.create', { library, name: 'order' })
      const writer = await Client.open(daemon)
      const clients = await flood(daemon, library, scene.path('tree', 'd0'))
      await eventually('many wait', 30_000, async () => shard(await daemon.status()).queued > MANY)
      t.is(await daemon.call('core.ping'), 'pong')
      for (let at = 0; at < 40; at++) writer.send('tags.update', { library, tag, description: `${at}` })
      let comeAgain = 0
      const tags = await eventually('who asks one thing is answered', 60_000, () =>
        daemon.call('tags.list', { library }).catch((error: unknown) => {
          // On a machine so slow that it waited for too long.
          t.is((error as { code?: string }).code, 'OVERLOADED')
          comeAgain += 1
          return null
        }),
      )
      t.is(tags.items.length, 1)
      await eventually('all writes are answered', 60_000, async () => writer.answers.length === 40)
      const written = writer.answers.filter(({ result }) => result !== undefined).map(({ id }) => id as number)
      t.true(written.length > 0)
      t.deepEqual(
        written,
        written.toSorted((one, other) => one - other),
      )
      for (const client of clients) client.again = null
      const answered = () => clients.every(({ answers, sent }) => answers.length === sent)
      await eventually('each of the flood has an answer', 60_000, async () => answered())
      const refused = clients.flatMap(({ answers }) => answers).filter(({ error }) => error !== undefined)
      for (const { error } of refused) t.is(error.data.code, 'OVERLOADED')
      const late = writer.answers.length - written.length
      t.is(shard(await daemon.status()).overloaded, refused.length + late + comeAgain)
      t.true(refused.every(({ error }) => error.data.retryable && error.data.retryAfterMs >= 1_000))
      const [item] = (await daemon.call('tags.list', { library })).items
      t.is(item.description, String(written.at(-1)! - 1))
    }),
)

test.serial('what waits is not begun for clients that have gone, and the shard is free at once', (t) =>
  play(async (scene) => {
    const daemon = await scene.daemon({ args: ['--shards', '1'] })
    const { library } = await daemon.index('library', scene.tree('tree', FILES, FILES))
    // A page takes a millisecond: of the shortest all that wait may be over before it is seen that their clients have gone.
    const clients = await flood(daemon, library, scene.path('tree', 'd0'), LIMITS.pageMax)
    await eventually('many wait', 30_000, async () => shard(await daemon.status()).queued > MANY)
    for (const client of clients) client.leave()
    await eventually('nothing waits', 60_000, async () => shard(await daemon.status()).inFlight === 0)
    const { givenUp, queued } = shard(await daemon.status())
    t.true(givenUp > 0)
    t.is(queued, 0)
    t.is((await daemon.call('files.list', { library, path: scene.path('tree') })).items.length, 1)
  }),
)
