// Every operation there is, by every way in, with a token that may not: nothing of it is run. What parameters an operation wants is
// left aside here, so that one that comes is asked before anybody thinks of it.
import test from 'ava'
import type { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import { METHODS as COMPAT, tongueOf } from '../../src/compat/tongue.js'
import { Tokens } from '../../src/front/tokens.js'
import type { Dispatch, Request } from '../../src/protocol/messages.js'
import { pack, unpack } from '../../src/protocol/msgpack.js'
import { includes, PARAMS, scopeOf, type OperationName } from '../../src/protocol/operations.js'
import { SCOPES } from '../../src/protocol/words.js'
import { runsOn } from '../../src/protocol/work.js'
import { kinds, withStage, type Stage } from './stage.js'

const KINDS = await kinds()
const OPERATIONS = Object.keys(PARAMS) as OperationName[]
const SHAPES = OPERATIONS.map((name) => Object.keys((PARAMS[name] as unknown as { shape: object }).shape))
const HERE = { device: { id: 'd', name: 'd', slug: 'd' }, dataDir: '/data' }
/** Whatever a method of Spacedrive's clients may want to have. */
const PAYLOAD = Object.fromEntries(
  ['id', 'file_id', 'job_id', 'location_id', 'tag_id', 'name', 'new_name', 'query', 'index_mode']
    .map((name): [string, unknown] => [name, 'x'])
    .concat([
      ['library_id', 'other'],
      ['path', '/x'],
      ['paths', ['/x']],
      ['ids', ['x']],
      ['entry_ids', ['x']],
      ['tag_ids', ['x']],
    ]),
)

for (const schema of Object.values(PARAMS))
  Object.assign(schema, { safeParse: (data: unknown) => ({ success: true, data }) })

/** Asks all of them at once, and gives what was answered to each. */
type Way = (stage: Stage, token: string, calls: readonly object[]) => Promise<unknown[]>

async function overHttp({ rpc }: Stage, token: string, calls: readonly object[]): Promise<unknown[]> {
  const answers: unknown[] = []
  for (const call of calls) answers.push(JSON.parse((await rpc(call, { token })).body))
  return answers
}

const WAYS: Readonly<Record<string, Way>> = {
  'over HTTP': overHttp,
  'in a batch': async (stage, token, calls) => (await overHttp(stage, token, inBatches(calls))).flat(),
  'over a WebSocket': (stage, token, calls) => overFeed(stage, token, calls, false),
  'in a batch over a WebSocket': async (stage, token, calls) =>
    (await overFeed(stage, token, inBatches(calls), false)).flat(),
  'in MessagePack': (stage, token, calls) => overFeed(stage, token, calls, true),
}

function inBatches(calls: readonly object[]): object[][] {
  const count = Math.ceil(calls.length / LIMITS.batchRequestsMax)
  return Array.from({ length: count }, (_, at) =>
    calls.slice(at * LIMITS.batchRequestsMax, (at + 1) * LIMITS.batchRequestsMax),
  )
}

async function overFeed(stage: Stage, token: string, calls: readonly object[], packs: boolean): Promise<unknown[]> {
  const feed = await stage.feed([packs ? 'spacedrive.v1.msgpack' : 'spacedrive.v1', `bearer.${token}`])
  const answers: unknown[] = []
  for (const call of calls) answers.push(await answerTo(feed, call, packs))
  feed.terminate()
  return answers
}

function answerTo(feed: WebSocket, call: object, packs: boolean): Promise<unknown> {
  const answer = new Promise<unknown>((resolve) =>
    feed.once('message', (bytes: Buffer) => resolve(packs ? unpack(bytes, 100) : JSON.parse(bytes.toString()))),
  )
  feed.send(packs ? pack(call) : JSON.stringify(call))
  return answer
}

test('no operation names a library but as `library`, which is what a token is held against', (t) => {
  const others = SHAPES.map((keys) => keys.filter((key) => key !== 'library' && /librar/i.test(key)))
  const naming = OPERATIONS.filter((_, at) => others[at]!.length > 0)
  // Of its own: it is for who may see all of them.
  t.deepEqual(naming, ['tokens.create'])
})

for (const kind of KINDS) {
  for (const [way, ask] of Object.entries(WAYS)) {
    test.serial(`${kind}: ${way} no operation is run beyond the libraries and the scope of a token`, async (t) => {
      const run: Request[] = []
      const dispatch: Dispatch = (request, answer) => {
        run.push(request)
        answer({ ok: true, json: '[]' })
      }
      const tokens = new Tokens()
      await withStage(kind, { tokens, dispatch }, async (stage) => {
        for (const scope of SCOPES) {
          const one = tokens.create({ name: `${scope} of one`, scope, libraries: ['mine'] }).secret
          const all = tokens.create({ name: scope, scope }).secret
          const calls = (params: object) => OPERATIONS.map((method, id) => ({ jsonrpc: '2.0', id, method, params }))
          const answers = await ask(stage, one, calls({ library: 'other' }))
          t.is(answers.length, OPERATIONS.length)
          for (const answer of answers) t.true(isRefusal(answer), JSON.stringify(answer))
          t.deepEqual(run, [])
          await ask(stage, all, calls({ types: ['job.changed'], id: 0, subscription: '1' }))
          const may = OPERATIONS.filter((name) => runsOn(name) !== 'feed' && includes(scope, scopeOf(name)))
          t.deepEqual(
            run.splice(0).map(({ operation }) => operation),
            may,
          )
        }
      })
    })
  }

  test.serial(`${kind}: in the envelope of Spacedrive's clients nothing else is run either, or told`, async (t) => {
    const run: Request[] = []
    const dispatch: Dispatch = (request, answer) => {
      run.push(request)
      answer({
        ok: true,
        json: JSON.stringify([
          { id: 'mine', name: 'mine' },
          { id: 'other', name: 'a secret' },
        ]),
      })
    }
    const tokens = new Tokens()
    const tongue = (text: string) => tongueOf(text, HERE)
    await withStage(kind, { tokens, dispatch, tongue }, async ({ rpc }) => {
      for (const scope of SCOPES) {
        const token = tokens.create({ name: scope, scope, libraries: ['mine'] }).secret
        for (const library_id of ['other', null])
          for (const method of Object.keys(COMPAT)) {
            const { body } = await rpc({ Query: { method, library_id, payload: PAYLOAD } }, { token })
            t.notRegex(body, /a secret/, method)
          }
        t.deepEqual([...new Set(run.splice(0).map(({ operation }) => operation))], ['libraries.list'])
        t.regex((await rpc(JSON.stringify('Shutdown'), { token })).body, /FORBIDDEN/)
      }
      t.deepEqual(run, [])
    })
  })
}

/** Because of the token, or because that way nobody may ask it. */
function isRefusal(answer: unknown): boolean {
  const { error } = answer as { error?: { message: string; data: { code: string } } }
  return error?.data.code === 'FORBIDDEN' || error?.message.endsWith('is not served over HTTP') === true
}
