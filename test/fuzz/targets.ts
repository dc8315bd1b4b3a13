// What comes from outside as bytes that anybody chose: each way in, what it usually carries, and what an answer may not be.
// `bench/fuzz.mjs` makes up inputs without end; what once was wrong, and what was seen on the way, is kept in `corpus` and sent again
// by a test.
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { PARAMS, type OperationName } from '../../src/protocol/operations.js'
import { pack } from '../../src/protocol/msgpack.js'
import { METHODS } from '../../src/compat/tongue.js'
import type { Chance } from '../harness/churn.js'
import type { Loose, TestDaemon } from '../harness/daemon.js'
import type { Scene } from '../harness/scene.js'

/** How long an answer may take that is worth no work. */
const ANSWER_MS = 15_000
/** After so long without a byte nothing more is expected of a request that is not whole; of one that must be answered much later. */
const SILENT_MS = 100
const SILENT_MS_MAX = 2_000

export interface Ground {
  readonly daemon: TestDaemon
  readonly library: string
  /** A file of it, and what it holds. */
  readonly file: { readonly id: string; readonly bytes: Buffer }
  /** For this library, and not to shut anything down. */
  readonly token: string
  readonly lines: { readonly host: string; readonly port: number }
}

export interface Target {
  readonly seeds: readonly string[]
  /** Pieces that mean something there; what is no text is given as bytes. */
  readonly words: readonly (string | Buffer)[]
  /** What is wrong with the answer to it, or null. */
  send(ground: Ground, input: Buffer): Promise<string | null>
}

export async function prepare(scene: Scene, front: string): Promise<Ground> {
  const daemon = await scene.daemon({ args: ['--line-protocol', '127.0.0.1:0'], env: { SPACEDRIVE_FRONT: front } })
  const bytes = randomBytes(10_000)
  const root = scene.path('fuzzed')
  mkdirSync(root)
  for (let at = 0; at < 40; at++) writeFileSync(`${root}/file ${at} é.${at % 2 ? 'txt' : 'jpg'}`, `${at >> 2}`)
  writeFileSync(`${root}/bytes.bin`, bytes)
  const { library } = await daemon.index('Fuzzed', root)
  for (const name of ['one', 'two', 'three']) await daemon.call('tags.create', { library, name })
  const { id } = await daemon.call('files.get', { library, path: `${root}/bytes.bin` })
  const { secret } = await daemon.call('tokens.create', { name: 'fuzz', scope: 'write', libraries: [library] })
  const [host = '', port] = daemon.ready.lineProtocol.split(':')
  return { daemon, library, file: { id, bytes }, token: secret, lines: { host, port: Number(port) } }
}

/** A byte for each character. */
function raw(...texts: string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text, 'latin1'))
}

/** Whatever was sent, this holds afterwards. @throws where it does not */
export async function stands({ daemon, library }: Ground): Promise<void> {
  if ((await daemon.watch('core.ping')) !== 'pong') throw new Error('no pong')
  const { entries } = await daemon.watch('libraries.info', { library })
  if (entries !== 42) throw new Error(`${entries} entries instead of 42`)
  const told = daemon.log.split('\n').find((line) => /"level":"?(?:error|fatal|50|60)/.test(line))
  if (told !== undefined) throw new Error(told)
}

/** What makes an answer wrong, wherever it stands in it. */
function fault(text: string): string | null {
  // The last two are the same in MessagePack.
  const found = /"code":"(?:INTERNAL|SHARD_LOST)"|"code":-32603|\xa8INTERNAL|\xaaSHARD_LOST/.exec(text)
  return found ? `${found[0]} in ${text.slice(0, 300)}` : null
}

/**
 * All that comes back to these bytes, until the other side closes, or is silent.
 *
 * @param until `silence` where it may be that nothing comes; `answer` where something must, `close` where that closes; `end`
 *   where our side closes first
 */
function exchanged(
  where: { host: string; port: number },
  input: Buffer,
  until: 'silence' | 'answer' | 'close' | 'end',
  first = '',
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(where.port, where.host)
    const parts: Buffer[] = []
    let silent: NodeJS.Timeout | undefined
    const late = setTimeout(() => done(new Error('neither answer nor end')), ANSWER_MS)
    const done = (error?: Error) => {
      clearTimeout(late)
      clearTimeout(silent)
      socket.destroy()
      if (error) reject(error)
      else resolve(Buffer.concat(parts))
    }
    const wait = () => {
      clearTimeout(silent)
      silent = setTimeout(() => done(), until === 'end' || until === 'close' ? SILENT_MS_MAX : SILENT_MS)
    }
    socket.on('error', () => done())
    socket.on('close', () => done())
    socket.on('connect', () => {
      socket.write(Buffer.concat([Buffer.from(first, 'latin1'), input]))
      if (until === 'end') socket.end()
      if (until === 'silence') wait()
    })
    socket.on('data', (part: Buffer) => {
      parts.push(part)
      wait()
    })
  })
}

async function asked(ground: Ground, method: OperationName, params: object): Promise<string | null> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  return await posted(ground, Buffer.from(body))
}

async function posted({ daemon, token }: Ground, body: Buffer): Promise<string | null> {
  const { status, body: text } = await daemon.ask('/rpc', { method: 'POST', token, body: body as Loose })
  const isLate = status === 504 && body.includes('timeoutMs')
  if (![200, 204, 400, 413].includes(status) && !isLate) return `HTTP ${status}: ${text.slice(0, 300)}`
  if (status === 200) JSON.parse(text)
  return fault(text)
}

/** All that comes back to frames of a sub-protocol. */
async function upgraded({ daemon, token }: Ground, protocol: string, frames: Buffer): Promise<string | null> {
  const head = `GET /ws HTTP/1.1\r\nHost: ${daemon.url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ${protocol}, bearer.${token}\r\n\r\n`
  const where = { host: daemon.url.hostname, port: daemon.port }
  const text = (await exchanged(where, frames, 'answer', head)).toString('latin1')
  if (!text.startsWith('HTTP/1.1 101 ')) return `not upgraded: ${text.slice(0, 100)}`
  // 1011: we could not answer.
  return text.includes('\x03\xf3') ? `closed with 1011: ${text.slice(-100)}` : fault(text)
}

/** As long as the id of a library, so that the one may stand for the other in what is counted. */
const LIBRARY = 'LIBRARY'.padEnd(36, '_')

function packed(value: unknown): string {
  return Buffer.from(pack(value)).toString('latin1')
}

const OPERATIONS = (Object.keys(PARAMS) as OperationName[]).filter((name) => !name.startsWith('core.'))
const JSON_WORDS = [
  '{}', '[]', 'null', 'true', '-1', '0', '1e400', '9007199254740993', '""', '"\\u0000"', '"\\ud800"', '"/"', '"../.."',
  '"__proto__"', '"constructor"', '{"toString":1}', '"jsonrpc"', '"2.0"', '"params"', '"id"', '"method"', '"timeoutMs"',
  '[[[[[[[[[[', ',', ':', '"', '\\', '"LIBRARY"',
] // prettier-ignore

export const TARGETS: Readonly<Record<string, Target>> = {
  http: {
    seeds: [
      'GET /health HTTP/1.1\r\nHost: HOST\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: HOST\r\nIf-None-Match: "x", *\r\n\r\n',
      'POST /rpc HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\nContent-Length: 46\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"core.ping"}\n',
      'POST /rpc HTTP/1.1\r\nHost: HOST\r\nAuthorization: Basic eDp5\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n0\r\n\r\n',
      'GET /libraries/LIBRARY/files/FILE?download=1&x HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\nRange: bytes=0-1\r\nIf-Range: "x"\r\n\r\n',
      'GET /ws HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: spacedrive.v1, bearer.TOKEN\r\n\r\n',
    ],
    words: ['\r\n', '\n', '\0', ':', ' ', 'Host: evil', 'Content-Length: 99999999999', 'Content-Length: -1', 'Transfer-Encoding: chunked', 'Expect: 100-continue', 'HEAD', 'OPTIONS', 'CONNECT', '%00', '/../', '//', 'HTTP/1.0', 'HTTP/2', 'ffffffffffffffff\r\n', 'X'.repeat(5_000)], // prettier-ignore
    async send(ground, input) {
      const { daemon, token, library, file } = ground
      const filled = input.toString('latin1').replaceAll('HOST', daemon.url.host).replaceAll('TOKEN', token)
      const bytes = Buffer.from(filled.replaceAll('LIBRARY', library).replaceAll('FILE', file.id), 'latin1')
      const where = { host: daemon.url.hostname, port: daemon.port }
      const text = (await exchanged(where, bytes, 'silence')).toString('latin1')
      if (text !== '' && !/^HTTP\/1\.[01] [1-5]\d\d /.test(text)) return `no HTTP: ${text.slice(0, 100)}`
      return text.startsWith('HTTP/1.1 500') ? text.slice(0, 300) : fault(text)
    },
  },
  rpc: {
    seeds: [
      ...OPERATIONS.map((method) => `{"jsonrpc":"2.0","id":1,"method":"${method}","params":{"library":"LIBRARY"}}`),
      '[{"jsonrpc":"2.0","id":"a","method":"core.ping"},{"jsonrpc":"2.0","method":"core.ping"}]',
      '{"jsonrpc":"2.0","id":null,"method":"tags.apply","params":{"library":"LIBRARY","tag":"one","paths":["/x"],"to":"content"}}',
      '{"jsonrpc":"2.0","id":7,"timeoutMs":5000,"method":"search.files","params":{"library":"LIBRARY","query":"x","filters":{"size":{"min":1},"not":[{"kind":"file"}]}}}',
      ...Object.keys(METHODS).map(
        (method) => `{"Query":{"method":"query:${method}","library_id":"LIBRARY","payload":{"id":1}}}`,
      ),
    ],
    words: JSON_WORDS,
    async send(ground, input) {
      return await posted(ground, Buffer.from(input.toString('latin1').replaceAll('LIBRARY', ground.library), 'latin1'))
    },
  },
  ws: {
    // Frames as a client sends them, with a mask of zeros.
    seeds: [
      '\x81\x80\0\0\0\0',
      `\x81\xad\0\0\0\0{"jsonrpc":"2.0","id":1,"method":"core.ping"}`,
      `\x01\x85\0\0\0\0{"jso\x80\x82\0\0\0\0n"`,
      '\x82\x81\0\0\0\0x',
      '\x89\x84\0\0\0\0ping\x8a\x80\0\0\0\0',
      '\x88\x82\0\0\0\0\x03\xe8',
      '\x81\xfe\xff\xff\0\0\0\0',
      '\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0',
      `\x81\xdc\0\0\0\0{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{"cursor":"x.1","path":"/a"}}  `,
    ],
    words: [...raw('\x81', '\x80', '\x88', '\x89', '\xfe\0\x7e', '\xff', '\xc1', '\xf1', '\0\0\0\0', '\xed\xa0\x80'), '{"jsonrpc"', ...JSON_WORDS], // prettier-ignore
    async send(ground, input) {
      return await upgraded(ground, 'spacedrive.v1', input)
    },
  },
  msgpack: {
    seeds: OPERATIONS.map((method) => packed({ jsonrpc: '2.0', id: 1, method, params: { library: LIBRARY } })).concat(
      packed([
        { jsonrpc: '2.0', id: 'a', method: 'core.ping' },
        { jsonrpc: '2.0', method: 'core.ping' },
      ]),
      packed({ jsonrpc: '2.0', id: 7, timeoutMs: 5_000, method: 'search.files', params: { library: LIBRARY, query: 'é', limit: 2 ** 33, filters: { size: { min: -1.5 } } } }), // prettier-ignore
    ),
    words: raw('\xc0', '\xc1', '\xc2', '\xc4\xff', '\xc7\xff\x01', '\xca\x7f\x80\0\0', '\xcb\x7f\xf8\0\0\0\0\0\0', '\xcf\xff\xff\xff\xff\xff\xff\xff\xff', '\xd3\x80\0\0\0\0\0\0\0', '\xd4\x01x', '\xd9\xff', '\xda\xff\xff', '\xdb\xff\xff\xff\xff', '\xdc\xff\xff', '\xdd\xff\xff\xff\xff', '\xde\xff\xff', '\xdf\xff\xff\xff\xff', '\x80', '\x90', '\xa0', '\xff', '\xa9__proto__', '\xa6params', '\xa9timeoutMs', '\xa3\xed\xa0\x80', '\x91'.repeat(300), '\x81\xa1a'.repeat(100)), // prettier-ignore
    async send(ground, input) {
      const body = Buffer.from(input.toString('latin1').replaceAll(LIBRARY, ground.library), 'latin1')
      const head = Buffer.from([0x82, 0xfe, body.length >> 8, body.length & 0xff, 0, 0, 0, 0])
      return await upgraded(ground, 'spacedrive.v1.msgpack', Buffer.concat([head, body]))
    },
  },
  cursor: {
    seeds: ['eyJhIjoxfQ', 'W10', 'bnVsbA', 'WyJuYW1lIiwxLDJd', 'run.1', '0', 'AAAA', '[1,2]', '{"name":"x","id":1}', 'MTIzNDU2Nzg5MDEyMzQ1Njc4OTA'], // prettier-ignore
    words: ['=', '-', '_', '.', '\0', 'null', '[]', '1e9', '9'.repeat(30), 'x'.repeat(1_990)],
    async send(ground, input) {
      const { library } = ground
      const cursor = input.toString('utf8')
      const path = `/tmp`
      const lists: [OperationName, object][] = [
        ['files.list', { path }],
        ['files.list', { parent: '1', sort: 'size' }],
        ['search.files', { query: 'file' }],
        ['search.files', { query: '', sort: 'size' }],
        ['tags.list', {}],
        ['duplicates.list', {}],
        ['jobs.list', {}],
        ['files.leftOut', { path }],
      ]
      for (const [method, params] of lists) {
        const wrong = await asked(ground, method, { library, ...params, cursor })
        if (wrong !== null) return `${method}: ${wrong}`
      }
      return null
    },
  },
  query: {
    seeds: [
      'changelog ext:gz size:>100K', '"file 1" -tag:one kind:file', 'tag:one OR tag:"two"', 'modified:>2024-01-01 modified:<7d',
      'regex:^fi.*[0-9]{1,3}$ name:*.txt', 'glob:**/f?le*.{jpg,txt} path:/tmp/', 'is:duplicate type:image -hidden:true', '!ext:txt size:1..2M',
    ], // prettier-ignore
    words: ['"', '-', ':', '>', '<', '..', '*', '?', '[', ']', '{', '}', '(', ')', '|', '\\', '^', '$', 'regex:', 'glob:', 'tag:', 'size:', 'ext:', 'modified:', 'kind:', 'type:', 'is:', 'path:', 'in:', 'OR', '(a+)+', '[a-', '{9999}', '\\p{L}', 'é', '\u0301', '\ud83d', '\0', '9'.repeat(40), 'a*'.repeat(200)], // prettier-ignore
    async send(ground, input) {
      const { library } = ground
      const query = input.toString('utf8').slice(0, 1_000)
      for (const syntax of ['filters', 'text'] as const) {
        const wrong = await asked(ground, 'search.files', { library, query, syntax, limit: 5 })
        if (wrong !== null) return wrong
      }
      return await asked(ground, 'tags.list', { library, query })
    },
  },
  ranges: {
    seeds: ['bytes=0-0', 'bytes=-1', 'bytes=9999-', 'bytes=0-99999', 'bytes=0-1,5-6,100-', 'bytes=0-0,0-0,0-0', 'bytes=5-1', 'items=0-1', 'bytes=-0', 'bytes=,'], // prettier-ignore
    words: ['-', ',', '=', ' ', '\t', '0', '9'.repeat(25), 'bytes', '-1', '1-', ',0-0'.repeat(40)],
    async send({ daemon, library, token, file }, input) {
      const range = input.toString('latin1').replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '')
      const text = `GET /libraries/${library}/files/${file.id} HTTP/1.1\r\nHost: ${daemon.url.host}\r\nAuthorization: Bearer ${token}\r\nRange: ${range}\r\nConnection: close\r\n\r\n`
      const where = { host: daemon.url.hostname, port: daemon.port }
      const got = await exchanged(where, Buffer.from(text, 'latin1'), 'close')
      const end = got.indexOf('\r\n\r\n')
      const head = got.subarray(0, end).toString('latin1')
      const body = got.subarray(end + 4)
      const status = Number(head.slice(9, 12))
      if (![200, 206, 400, 416, 431].includes(status)) return head.slice(0, 300)
      const length = /^content-length: (\d+)/im.exec(head)?.[1]
      if (length !== undefined && Number(length) !== body.length) return `${length} bytes told, ${body.length} sent`
      if (status === 200) return body.equals(file.bytes) ? null : 'another file'
      const one = /^content-range: bytes (\d+)-(\d+)\/(\d+)/im.exec(head)
      if (status !== 206 || !one) return null
      const [, from, to, all] = one.map(Number)
      if (all !== file.bytes.length) return head
      return body.equals(file.bytes.subarray(from, to! + 1)) ? null : `other bytes than ${from}-${to}`
    },
  },
  line: {
    seeds: [
      '"Ping"\n',
      ...Object.keys(METHODS).filter((name) => !/delete|remove|create|add|reset|shutdown/i.test(name)).map((method) => `{"Query":{"method":"query:${method}","library_id":"LIBRARY","payload":{}}}\n`),
      '{"Subscribe":{"event_types":["JobProgress"],"filter":{"library_id":"LIBRARY","path_scope":null}}}\n',
      '{"Action":{"method":"action:tags.create.input","library_id":"LIBRARY","payload":null}}\n\n"Ping"',
    ], // prettier-ignore
    words: ['\n', '\r\n', '"Unsubscribe"', '"Query"', '"payload"', ...JSON_WORDS],
    async send({ library, lines }, input) {
      const bytes = Buffer.from(input.toString('latin1').replaceAll('LIBRARY', library), 'latin1')
      const text = (await exchanged(lines, bytes, 'end')).toString('utf8')
      for (const line of text.split('\n')) if (line !== '') JSON.parse(line)
      return fault(text)
    },
  },
}

/** One of the seeds, changed a few times. */
export function madeUp({ seeds, words }: Target, chance: Chance, kept: readonly Buffer[] = []): Buffer {
  const any = () => {
    const at = chance.below(seeds.length + kept.length)
    return at < seeds.length ? Buffer.from(seeds[at]!, 'latin1') : kept[at - seeds.length]!
  }
  let input = any()
  for (let left = 1 + chance.below(6); left > 0; left--) input = changed(input, chance, words, any)
  return input.subarray(0, 20_000)
}

function changed(input: Buffer, chance: Chance, words: Target['words'], any: () => Buffer): Buffer {
  const at = chance.below(input.length + 1)
  const to = Math.min(input.length, at + 1 + chance.below(chance.below(4) === 0 ? 200 : 8))
  const [before, part, after] = [input.subarray(0, at), input.subarray(at, to), input.subarray(to)]
  switch (chance.below(7)) {
    case 0:
      return Buffer.concat([before, after])
    case 1:
      return Buffer.concat([before, part, ...Array.from({ length: 1 + chance.below(20) }, () => part), after])
    case 2:
      return Buffer.concat([before, Buffer.from([chance.below(256)]), after])
    case 3:
      return Buffer.concat([before, any(), part, after])
    case 4:
      return before
    default:
      return Buffer.concat([
        before,
        bytesOf(words[chance.below(words.length)]!),
        chance.below(2) ? part : after.subarray(0, 0),
        after,
      ])
  }
}

function bytesOf(word: string | Buffer): Buffer {
  return typeof word === 'string' ? Buffer.from(word) : word
}

export function nameOf(input: Buffer): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 16)
}
