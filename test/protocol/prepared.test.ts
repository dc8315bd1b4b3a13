// What is refused before it is read: seen by its beginning, and answered as any other would be.
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { answerMessage, decode, decodePacked, encodeReply, type Id } from '../../src/protocol/codec.js'
import { pack, unpack } from '../../src/protocol/msgpack.js'
import { glance, glancePacked, preparedError, type Refuse } from '../../src/protocol/prepared.js'

const LIBRARY = '01a20942-1332-77fa-ab45-4a2e15942043'
const ERROR = { code: 'OVERLOADED', message: 'say "0":0', hint: '"id":0, "retryAfterMs":0', retryable: true } as const
const prepared = preparedError(ERROR, () => 1_500)

function list(id: unknown, more: object = {}): Record<string, unknown> {
  return { jsonrpc: '2.0', id, method: 'files.list', params: { library: LIBRARY, path: '/a', ...more } }
}

test('an error that is prepared for many is for each what it would have been for one', (t) => {
  for (const retryAfterMs of [0, 1_000, 2_999]) {
    const { text, packed } = preparedError(ERROR, () => retryAfterMs)
    const whole = (id: Id) => encodeReply(id, { ok: false, error: { ...ERROR, retryAfterMs } })
    for (const id of [0, 7, 123_456_789, 2 ** 32 - 1]) {
      t.is(text(id), whole(id))
      t.deepEqual(unpack(packed(id), LIMITS.packedDepthMax), JSON.parse(whole(id)))
    }
    for (const id of ['a "b"', null, -1, 1.5, 2 ** 40]) t.is(text(id), whole(id))
  }
})

test('a glance tells of a usual request what it is and of which library, and nothing of any other', (t) => {
  const text = (id: string, method: string) =>
    `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"path":"/a","library":"${LIBRARY}"}}`
  t.deepEqual(glance(text('17', 'files.list')), { id: 17, method: 'files.list', library: LIBRARY })
  for (const id of ['01', '"a"', 'null', '1.5', '-1', '1234567890', '']) t.is(glance(text(id, 'files.list')), null, id)
  t.is(glance(text('1', 'files.nothing')), null)
  for (const other of ['', '{}', '{"jsonrpc":"2.0","id":1,"method":"core.ping"}', `[${text('1', 'files.list')}]`])
    t.is(glance(other), null, other)
})

test('so does one at MessagePack', (t) => {
  const seen = (message: unknown) => glancePacked(pack(message))
  for (const id of [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1])
    t.deepEqual(seen(list(id)), { id, method: 'files.list', library: LIBRARY })
  for (const id of ['a', null, -1, 1.5, 2 ** 32, undefined]) t.is(seen(list(id)), null, String(id))
  const { jsonrpc, id, method, params } = list(1)
  for (const other of [
    {},
    [list(1)],
    { id, jsonrpc, method, params },
    { jsonrpc, id, params, method },
    { jsonrpc, id, method },
    { jsonrpc: '1.0', id, method, params },
    { jsonrpc, id, method: 'files.nothing', params },
    { jsonrpc, id, method, params: {} },
    { jsonrpc, id, method, params: { path: '/a', library: LIBRARY } },
    { jsonrpc, id, method, params: { library: 'short' } },
    { ...list(1), timeoutMs: 5 },
  ])
    t.is(seen(other), null, JSON.stringify(other))
})

test('whatever bytes come, a glance says of them what reading them whole would say, or nothing', (t) => {
  const usual = fc.nat().map((id) => pack(list(id)))
  const edited = fc
    .tuple(usual, fc.nat(), fc.nat(3), fc.uint8Array({ maxLength: 3 }))
    .map(([bytes, place, gone, put]) => {
      const at = place % (bytes.length + 1)
      return Uint8Array.from([...bytes.subarray(0, at), ...put, ...bytes.subarray(at + gone)])
    })
  const holds = (bytes: Uint8Array) => {
    const seen = glancePacked(bytes)
    const [call] = decodePacked(bytes).calls
    // What is no ASCII there is the id of no library, in whichever way it is read.
    if (!seen || !call?.request || !/^[ -~]*$/.test(seen.library)) return
    t.is(call.id, seen.id)
    t.is(call.request.operation, seen.method)
    t.is(call.request.params['library'], seen.library)
  }
  fc.assert(fc.property(fc.oneof(usual, edited), holds), { numRuns: 2_000 })
})

/** Refuses all of the library, and remembers what it was asked. */
function refusing() {
  const asked: string[] = []
  const refuse: Refuse = (operation, library) => {
    asked.push(operation)
    return library === LIBRARY ? prepared : null
  }
  return { asked, by: { refuser: () => refuse } }
}

test('each of a batch that is refused is answered by its id, and all others as ever', (t) => {
  const { asked, by } = refusing()
  const { id: _none, ...notification } = list(0)
  const message = [
    list(1),
    list('two'),
    list(null),
    notification,
    list(5, { library: 'another', path: 7 }),
    { ...list(6), method: 'core.ping', params: {} },
    { ...list(7), method: 'files.nothing' },
    { ...list(8), jsonrpc: '1.0' },
    { ...list(9), timeoutMs: 'soon' },
    { ...list(10), timeoutMs: 5 },
    list({}),
    'nothing',
    [list(11)],
    { ...list(12), params: [LIBRARY] },
    list(13, { path: { wrong: true } }),
  ]
  for (const decoded of [decode(JSON.stringify(message), by), decodePacked(pack(message), by)]) {
    let text = ''
    answerMessage(
      decoded,
      (_request, answer) => answer({ ok: true, json: '"run"' }),
      (told) => (text = told!),
    )
    const told = (
      JSON.parse(text) as { id: Id; result?: string; error?: { code: number; data: { code?: string } } }[]
    ).map(({ id, result, error }) => [id, result ?? error!.data.code ?? error!.code])
    t.deepEqual(told, [
      [1, 'OVERLOADED'],
      ['two', 'OVERLOADED'],
      [null, 'OVERLOADED'],
      [5, -32602],
      [6, 'run'],
      [7, -32601],
      [8, -32600],
      [9, -32600],
      [10, 'OVERLOADED'],
      [null, -32600],
      [null, -32600],
      [null, -32600],
      [12, -32602],
      [13, 'OVERLOADED'],
    ])
  }
  t.true(asked.includes('files.list') && !asked.includes('core.ping'))
})

test('one that is not written as usual is refused as well, and a notification is not answered', (t) => {
  const { by } = refusing()
  t.is(decode(` ${JSON.stringify(list(1))}`, by).calls[0]!.refused, prepared)
  const { id: _none, ...notification } = list(0)
  const decoded = decode(JSON.stringify(notification), by)
  answerMessage(
    decoded,
    () => t.fail('it was run'),
    (text) => t.is(text, null),
  )
})
