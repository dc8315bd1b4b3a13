// GET /events: Server-Sent Events as curl and a browser read them, over both implementations.
import http from 'node:http'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { FrontSetup } from '../../src/front/front.js'
import { kinds, sleep, TOKEN, until, withStage, type Stage } from './stage.js'

/** uWebSockets ends what is silent after ten seconds, of which it looks at every fourth. */
const SILENT_MS = 15_000

interface Told {
  event?: string
  id?: string
  retry?: string
  data: Record<string, unknown>
}

/** Reads as a browser does. */
function follow({ port }: Stage, query = '', headers: Record<string, string> = {}) {
  const told: Told[] = []
  const seen = { told, ended: false, comments: 0, res: null as http.IncomingMessage | null, close: () => req.destroy() }
  // As they do it does not ask for the end of the connection: an answer that ends with it may be cut anywhere.
  const kept = { authorization: `Bearer ${TOKEN}`, connection: 'keep-alive' }
  const options = { port, path: `/events${query}`, headers: { ...kept, ...headers } }
  const req = http.get({ ...options, agent: false }, (res) => {
    seen.res = res
    let text = ''
    res.setEncoding('utf8').on('data', (part: string) => {
      text += part
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n')
        text = text.slice(end + 2)
        const fields = Object.fromEntries(lines.map((line) => line.split(/: ?(.*)/s)))
        if (lines[0] === ':') seen.comments += 1
        else told.push({ ...fields, data: JSON.parse(fields['data'] as string) } as Told)
      }
    })
    res.on('end', () => (seen.ended = true))
  })
  req.on('error', () => undefined)
  return seen
}

/**
 * An EventSource by the letter of its standard: with each stream the id begins empty, and each empty line makes it the one that is
 * sent when it comes back. Most browsers keep the one of before.
 */
class Source {
  readonly stage: Stage
  readonly told: Told[] = []
  lastEventId = ''

  constructor(stage: Stage) {
    this.stage = stage
  }

  /** One stream, which is cut when the predicate holds. */
  async until(done: (told: readonly Told[]) => boolean, why: string): Promise<void> {
    const seen = follow(this.stage, '', this.lastEventId === '' ? {} : { 'last-event-id': this.lastEventId })
    await until(() => done(seen.told), why)
    seen.close()
    this.told.push(...seen.told)
    let id = ''
    for (const each of seen.told) this.lastEventId = id = each.id ?? id
  }
}

for (const kind of await kinds()) {
  test(`${kind}: a stream tells events as they happen, and who comes back with the last id has those between`, (t) =>
    withStage(kind, {}, async (stage) => {
      const { bell } = stage
      const first = follow(stage, '?types=job.changed,library.created&library=a')
      await until(() => first.told.length === 1, 'it has begun')
      t.is(first.res!.headers['content-type'], 'text/event-stream')
      t.is(first.res!.headers['cache-control'], 'no-store')
      t.like(first.told[0], { event: 'subscribed', id: first.told[0]!.data['cursor'] as string })
      bell.ring({ library: 'b' })
      bell.ring({ library: 'a', n: 1, text: 'two\nlines' })
      await until(() => first.told.length === 2, 'it is told')
      const [, one] = first.told
      t.like(one, { event: 'job.changed', data: { n: 1, text: 'two\nlines' } })
      first.close()
      await until(() => bell.use.subscriptions === 0, 'its subscription has ended')

      bell.ring({ library: 'a', n: 2 })
      const again = follow(stage, '?library=a', { 'last-event-id': one!.id! })
      await until(() => again.told.length === 2, 'it has what came between')
      t.like(again.told[0], { event: 'subscribed', data: { missed: 0 } })
      t.is(again.told[0]!.id, one!.id, 'who is cut now asks for the same again')
      t.like(again.told[1], { data: { n: 2 } })
      const other = follow(stage, '', { 'last-event-id': 'of.1' })
      await until(() => other.told.length > 0, 'it has begun')
      t.is(other.told[0]!.data['missed'], null)
      await stage.front.drain(100)
      await until(() => again.ended && other.ended, 'the end of the daemon ends them as a whole answer ends')
    }))

  test(`${kind}: who comes back, is told nothing, and is cut again misses nothing`, (t) =>
    withStage(kind, {}, async (stage) => {
      const source = new Source(stage)
      for (let times = 0; times < 3; times += 1) {
        await source.until((told) => told.length === 1, 'it has begun')
        await until(() => stage.bell.use.subscriptions === 0, 'its subscription has ended')
      }
      stage.bell.ring({ n: 1 })
      await source.until((told) => told.length === 2, 'it has what came between')
      t.deepEqual(
        source.told.map(({ data }) => data['missed']),
        [undefined, 0, 0, 0, undefined],
      )
      t.is(source.told.at(-1)!.data['n'], 1)
    }))

  test(`${kind}: of an id that is no cursor nobody can tell what came after it`, (t) =>
    withStage(kind, {}, async (stage) => {
      stage.bell.ring({ n: 1 })
      for (const id of ['42', 'of.none.of.ours', 'x'.repeat(5_000)]) {
        const seen = follow(stage, '', { 'last-event-id': id })
        await until(() => seen.told.length === 2, 'it has what is kept')
        t.is(seen.told[0]!.data['missed'], null)
        t.like(seen.told[1], { data: { n: 1 } })
        seen.close()
      }
      t.is((await stage.ask({ path: '/events?cursor=42' })).status, 400, 'that somebody wrote')
    }))

  test(`${kind}: a stream, and an answer that takes its time, last longer than a connection may be silent`, (t) => {
    const dispatch: FrontSetup['dispatch'] = (_request, answer) => {
      setTimeout(() => answer({ ok: true, json: '"late"' }), SILENT_MS)
    }
    return withStage(kind, { dispatch }, async (stage) => {
      const { bell, rpc } = stage
      const seen = follow(stage)
      const late = rpc('{"jsonrpc":"2.0","id":1,"method":"core.ping"}')
      await sleep(SILENT_MS)
      t.is(JSON.parse((await late).body).result, 'late')
      t.true(seen.comments > 0)
      bell.ring({ n: 1 })
      await until(() => seen.told.length === 2, 'it is told still')
      t.false(seen.ended)
    })
  })

  test(`${kind}: a stream is refused as any request is, and for a wrong filter`, (t) =>
    withStage(kind, {}, async ({ ask, bell }) => {
      const status = async (path: string, more = {}) => (await ask({ path, ...more })).status
      t.is(await status('/events', { token: null }), 401)
      t.is(await status('/events', { token: 'wrong' }), 401)
      t.is(await status('/events', { headers: { origin: 'http://evil.example' } }), 403)
      t.is(await status('/events', { method: 'POST' }), 405)
      t.is(await status('/events', { method: 'HEAD' }), 405)
      for (const query of [
        '?types=nope',
        '?types=',
        '?x=1',
        '?library=',
        '?library=a&library=b',
        '?path=relative',
        '?cursor=run',
        '?cursor=run.1.5',
      ]) {
        const { status: refused, body } = await ask({ path: `/events${query}` })
        t.is(refused, 400, query)
        t.like(JSON.parse(body), { code: 'BAD_REQUEST' })
      }
      t.regex(JSON.parse((await ask({ path: '/events?types=job.changed,nope' })).body).message, /^types\.1: /)
      t.is(await status('/events/x'), 404)
      t.is(bell.use.subscriptions, 0)
    }))

  test(`${kind}: a stream that is not read holds little, and is told what went by`, (t) =>
    withStage(kind, {}, async (stage) => {
      const { bell, front } = stage
      const stream = follow(stage)
      await until(() => stream.told.length === 1, 'it has begun')
      stream.res!.pause()
      const text = 'x'.repeat(64 << 10)
      for (let n = 1; n <= 600; n += 1) {
        bell.ring({ n, text })
        if (n % 100 === 0) await sleep(0)
      }
      t.true(front.connections().unreadBytes < 1 << 20)
      stream.res!.resume()
      let next = 1
      let lost = 0
      const last = () => stream.told.at(-1)!.data['n'] === 600
      await until(last, 'the last has come')
      for (const { event, data } of stream.told.slice(1)) {
        if (event === 'gap') {
          t.is(data['from'], next)
          lost += data['count'] as number
          next = (data['to'] as number) + 1
        } else t.is(data['n'], next++)
      }
      t.is(next, 601)
      t.is(lost, bell.use.dropped)
      t.true(lost > 100)
      stream.close()
      await until(() => bell.use.subscriptions === 0, 'it has ended')
    }))

  test(`${kind}: a browser that comes while nothing is served is told to come again, which it would not after an error`, (t) =>
    withStage(kind, { state: 'starting' }, async ({ ask }) => {
      const accept = 'text/event-stream'
      const told = await ask({ path: '/events', headers: { accept } })
      t.like(told, { status: 200, headers: { 'content-type': accept } })
      t.is(
        told.body,
        `retry: ${LIMITS.streamRetryMs}\n: the daemon is starting\n`,
        'an empty line would take its last id from it',
      )
      t.is((await ask({ path: '/events', headers: { accept, origin: 'http://evil.example' } })).status, 403)
      t.is((await ask({ path: '/events' })).status, 503)
    }))
}
