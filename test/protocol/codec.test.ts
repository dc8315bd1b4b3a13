// JSON-RPC 2.0 to the letter: the examples of the specification, its bounds, and whatever else may arrive.
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { answerMessage, decode, encodeReply, type Id } from '../../src/protocol/codec.js'
import type { Reply, Request } from '../../src/protocol/messages.js'

/** What a client gets for a text, each request answered by its operation's name. */
function answer(text: string, run: (request: Request) => Reply = (request) => ok(request.operation)): unknown {
  let told: unknown = 'nothing was said'
  answerMessage(
    decode(text),
    (request, reply) => reply(run(request)),
    (said) => (told = said === null ? null : JSON.parse(said)),
  )
  return told
}

function ok(value: unknown): Reply {
  return { ok: true, json: JSON.stringify(value) }
}

const PING = { jsonrpc: '2.0', method: 'core.ping' }

function errorOf(text: string): { id: unknown; code: number } {
  const { id, error } = answer(text) as { id: unknown; error: { code: number } }
  return { id, code: error.code }
}

test('what is wrong is told in few words, however much of it there is', (t) => {
  const params = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`key ${at}`, at]))
  const asked = { ...PING, id: 1, params }
  const { error } = answer(JSON.stringify(asked)) as { error: { code: number; message: string } }
  t.is(error.code, -32602)
  t.true(error.message.startsWith('Unrecognized keys: "key 0", "key 1"'))
  t.true(error.message.length <= LIMITS.problemCharsMax)
})

test('a request is answered with its id, whatever kind of id that is', (t) => {
  const ids = fc.oneof(
    fc.string(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
    fc.constant(null),
  )
  fc.assert(
    fc.property(ids, (id) => {
      const said = answer(JSON.stringify({ ...PING, id })) as { id: Id }
      t.deepEqual(said, { jsonrpc: '2.0', id: Object.is(id, -0) ? 0 : id, result: 'core.ping' })
    }),
  )
})

test('an id that would come back as another one is refused, alone and in a batch, and nothing is run', (t) => {
  let ran = 0
  const run = () => ((ran += 1), ok(null))
  const codes = (text: string) => {
    const said = answer(text, run) as { id: unknown; error?: { code: number } }[]
    return said.map(({ id, error }) => [id, error?.code])
  }
  for (const id of [
    '12345678901234567890',
    '9007199254740993',
    '9007199254740992',
    '-9007199254740993',
    '1e300',
    '1e400',
  ]) {
    const text = `{"jsonrpc":"2.0","id":${id},"method":"core.ping"}`
    t.deepEqual(errorOf(text), { id: null, code: -32600 }, id)
    t.deepEqual(codes(`[${text}]`), [[null, -32600]], id)
  }
  t.is(ran, 0)
  for (const id of ['9007199254740991', '-9007199254740991', '123456789012345', '0.5', '"12345678901234567890"']) {
    const said = answer(`{"jsonrpc":"2.0","id":${id},"method":"core.ping"}`) as { id: Id }
    t.is(JSON.stringify(said.id), id)
  }
})

/** What is no JSON is quoted with the space. */
function placeless(decoded: unknown): string {
  return JSON.stringify(decoded).replace(/"not JSON: (\\.|[^"\\])*"/, '')
}

test('a request as nearly all write it means what it means with a space more', (t) => {
  const ids = [
    '1',
    '0',
    '01',
    '00',
    '-1',
    '1.5',
    '1e3',
    '123456789',
    '1234567890',
    '1234567890123456789',
    '"a"',
    '"1"',
    ' 1',
    '',
  ]
  const methods = ['core.ping', 'files.get', 'no.such', 'core\\u002eping', 'toString', '']
  const ends = [
    '',
    ',"params":{}',
    ',"params":null',
    ',"params":[1]',
    ',"params":{"library":"a","id":"b"}',
    ',"params":',
  ]
  ends.push(
    ',"params":{"library":"a","id":"b"},"timeoutMs":5',
    ',"params":{},"id":5',
    ',"params":{},"method":"core.status"',
  )
  ends.push(
    ',"params": {"library":"a","path":"/\\u00e9"} ',
    ',"timeoutMs":5',
    ',"id":2',
    ',"params":{"no":1}',
    ' ',
    'x',
  )
  const texts = ids.flatMap((id) =>
    methods.flatMap((method) => ends.map((end) => `{"jsonrpc":"2.0","id":${id},"method":"${method}"${end}`)),
  )
  for (const text of texts.flatMap((each) => ['}', '', '}}', ']'].map((end) => each + end)))
    t.is(placeless(decode(text)), placeless(decode(`${text} `)), text)
})

test('a notification is run and never answered, not even when it is wrong', (t) => {
  let ran = 0
  const run = () => ((ran += 1), ok(null))
  t.is(answer(JSON.stringify(PING), run), null)
  t.is(ran, 1)
  t.is(answer(JSON.stringify({ ...PING, method: 'foobar' }), run), null)
  t.is(answer(JSON.stringify({ ...PING, params: { no: 1 } }), run), null)
  t.is(ran, 1)
})

test('the examples of the specification', (t) => {
  t.deepEqual(errorOf('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}'), { id: '1', code: -32601 })
  t.deepEqual(errorOf('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]'), { id: null, code: -32700 })
  t.deepEqual(errorOf('{"jsonrpc": "2.0", "method": 1, "params": "bar"}'), { id: null, code: -32600 })
  t.deepEqual(
    errorOf('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"'),
    {
      id: null,
      code: -32700,
    },
  )
  t.deepEqual(errorOf('[]'), { id: null, code: -32600 })
  const codes = (text: string) =>
    (answer(text) as { error: { code: number }; id: null }[]).map(({ id, error }) => [id, error.code])
  t.deepEqual(codes('[1]'), [[null, -32600]])
  t.deepEqual(codes('[1,2,3]'), [
    [null, -32600],
    [null, -32600],
    [null, -32600],
  ])
  t.is(
    answer('[{"jsonrpc": "2.0", "method": "core.ping"},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]'),
    null,
  )
})

test('a batch is answered whole, in its order, without its notifications, however late each answer is', (t) => {
  const text = JSON.stringify([
    { ...PING, id: 1 },
    PING,
    { foo: 'boo' },
    { ...PING, id: '3' },
    { ...PING, method: 'no', id: 4 },
  ])
  const waiting: ((reply: Reply) => void)[] = []
  let told: string | null | undefined
  answerMessage(
    decode(text),
    (_, reply) => waiting.push(reply),
    (said) => (told = said),
  )
  t.is(told, undefined)
  for (const reply of waiting.reverse()) reply(ok('late'))
  const said = JSON.parse(told!) as { id: unknown; result?: string; error?: { code: number } }[]
  t.deepEqual(
    said.map(({ id, result, error }) => [id, result ?? error!.code]),
    [
      [1, 'late'],
      [null, -32600],
      ['3', 'late'],
      [4, -32601],
    ],
  )
})

test('a batch of as many as may be is run, one more is refused as a whole', (t) => {
  const many = (count: number) => JSON.stringify(Array.from({ length: count }, (_, id) => ({ ...PING, id })))
  t.is((answer(many(LIMITS.batchRequestsMax)) as unknown[]).length, LIMITS.batchRequestsMax)
  let ran = 0
  const said = answer(many(LIMITS.batchRequestsMax + 1), () => ((ran += 1), ok(1))) as {
    error: { data: { code: string } }
  }
  t.is(said.error.data.code, 'REQUEST_TOO_LARGE')
  t.is(ran, 0)
})

test('wrong versions, methods, ids and parameters each have their code', (t) => {
  const told: [unknown, unknown, number][] = [
    [{ method: 'core.ping', id: 1 }, 1, -32600],
    [{ ...PING, jsonrpc: '1.0', id: 1 }, 1, -32600],
    [{ ...PING, jsonrpc: 2, id: 1 }, 1, -32600],
    [{ ...PING, id: {} }, null, -32600],
    [{ ...PING, id: [1] }, null, -32600],
    [{ ...PING, id: true }, null, -32600],
    [{ jsonrpc: '2.0', id: 5 }, 5, -32600],
    [{ ...PING, method: 'toString', id: 1 }, 1, -32601],
    [{ ...PING, method: '__proto__', id: 1 }, 1, -32601],
    [{ ...PING, method: '', id: 1 }, 1, -32601],
    [{ ...PING, id: 1, params: 'bar' }, 1, -32602],
    [{ ...PING, id: 1, params: [] }, 1, -32602],
    [{ ...PING, id: 1, params: { extra: 1 } }, 1, -32602],
    [{ ...PING, method: 'search.files', id: 1, params: { library: 'x' } }, 1, -32602],
    [{ ...PING, method: 'search.files', id: 1, params: { library: 'x', query: 'x'.repeat(1001) } }, 1, -32602],
    [{ ...PING, method: 'files.get', id: 1, params: { library: 'x' } }, 1, -32602],
    [{ ...PING, method: 'files.get', id: 1, params: { library: 'x', id: '1', path: '/' } }, 1, -32602],
    [{ ...PING, method: 'libraries.create', id: 1, params: { name: '   ' } }, 1, -32602],
    [{ ...PING, method: 'files.get', id: 1, params: { library: 'x', path: 'a/b' } }, 1, -32602],
    [{ ...PING, method: 'files.list', id: 1, params: { library: 'x', path: './a' } }, 1, -32602],
    [{ ...PING, method: 'files.explain', id: 1, params: { library: 'x', path: 'a' } }, 1, -32602],
    [{ ...PING, method: 'files.leftOut', id: 1, params: { library: 'x', path: 'a' } }, 1, -32602],
    [{ ...PING, method: 'events.subscribe', id: 1, params: { cursor: 'run.1.5' } }, 1, -32602],
    [{ ...PING, method: 'events.subscribe', id: 1, params: { cursor: 'run.' } }, 1, -32602],
    [{ ...PING, method: 'events.subscribe', id: 1, params: { types: [] } }, 1, -32602],
  ]
  for (const [message, id, code] of told)
    t.deepEqual(errorOf(JSON.stringify(message)), { id, code }, JSON.stringify(message))
})

test('what is stored holds no half of a character, which would be another text when it is read back', (t) => {
  const named = (name: string) =>
    Object.entries({
      'libraries.create': { name },
      'libraries.rename': { library: 'a', name },
      'locations.add': { library: 'a', path: '/a', name },
      'tags.create': { library: 'a', name },
      'tags.update': { library: 'a', tag: 'a', aliases: [name] },
      'tags.create ': { library: 'a', name: 'a', description: name },
      'tokens.create': { name, scope: 'read' },
    }).map(([method, params]) => decode(JSON.stringify({ ...PING, id: 1, method: method.trim(), params })).calls[0])
  for (const call of named('\ud800')) t.regex(String(call?.error?.message), /half a character/)
  for (const call of named('\ud83d\ude00')) t.is(call?.error, undefined)
})

test('keys named after prototypes are only keys', (t) => {
  const text =
    '{"jsonrpc":"2.0","id":1,"method":"core.ping","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'
  t.deepEqual(answer(text), { jsonrpc: '2.0', id: 1, result: 'core.ping' })
  answer('{"jsonrpc":"2.0","id":1,"method":"libraries.create","params":{"name":"x","__proto__":{"polluted":1}}}')
  t.is(({} as { polluted?: number }).polluted, undefined)
  t.deepEqual(errorOf('{"__proto__":{"jsonrpc":"2.0","method":"core.ping"},"id":1}'), { id: 1, code: -32600 })
})

test('deep nesting is an error like any other', (t) => {
  t.deepEqual(errorOf('['.repeat(500_000)), { id: null, code: -32700 })
  const nested = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
  t.deepEqual(
    (answer(nested) as { error: { code: number } }[]).map(({ error }) => error.code),
    [-32600],
  )
  t.deepEqual(errorOf(`{"jsonrpc":"2.0","id":1,"method":"core.ping","params":${nested}}`), { id: 1, code: -32602 })
})

test('any text at all is decoded without a throw, and answered with JSON or not at all', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' })), (text) => {
      t.notThrows(() => answer(text))
    }),
    { numRuns: 500 },
  )
})

test('a result is spliced in as it came, and our errors carry code, hint and whether to try again', (t) => {
  t.is(encodeReply('a"b', { ok: true, json: '{"n":1}' }), '{"jsonrpc":"2.0","id":"a\\"b","result":{"n":1}}')
  const error = { code: 'SHARD_BUSY', message: 'busy', hint: 'wait', retryable: true, retryAfterMs: 5 } as const
  t.deepEqual(JSON.parse(encodeReply(1, { ok: false, error })), {
    jsonrpc: '2.0',
    id: 1,
    error: {
      code: -32000,
      message: 'busy',
      data: { code: 'SHARD_BUSY', hint: 'wait', retryable: true, retryAfterMs: 5 },
    },
  })
})

test('what is recognised without JSON.parse or the schema is what these make of it, and nothing else is', (t) => {
  const get = (id: number, library: string, entry: string) =>
    `{"jsonrpc":"2.0","id":${id},"method":"files.get","params":{"library":"${library}","id":"${entry}"}}`
  const usual = fc.tuple(fc.nat(), fc.uuid(), fc.maxSafeNat()).map(([id, ...of]) => get(id, of[0], String(of[1])))
  const edited = fc
    .tuple(usual, fc.nat(), fc.nat(2), fc.constantFrom(...'"\\,:{} 0aG-\0\u00e4', '","id":"', '"}}'))
    .map(([text, place, gone, put]) => {
      const at = place % (text.length + 1)
      return text.slice(0, at) + put + text.slice(at + gone)
    })
  const told = (text: string) => decode(text).calls.map(({ error, ...rest }) => ({ ...rest, code: error?.code }))
  // A space before it, and it is read as any other JSON.
  const same = (text: string) => t.deepEqual(told(text), told(` ${text}`), text)
  fc.assert(fc.property(fc.oneof(usual, edited), same), { numRuns: 2_000 })
  const library = '01a20942-1332-77fa-ab45-4a2e15942043'
  for (const entry of ['', '1', '1".', '9'.repeat(15), '9'.repeat(16), '9'.repeat(101)]) same(get(1, library, entry))
  // The library that was named last is known again, and what only begins or ends like it is not.
  const again = get(1, library, '1')
  for (let at = 0; at < again.length; at++) {
    same(again)
    for (const put of ['', '0', '"', ',']) same(again.slice(0, at) + put + again.slice(at + 1))
  }
})
