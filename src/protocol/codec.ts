// JSON-RPC 2.0 to the letter: text in, checked requests out; replies in, text out.
import { statusOf, toWire, SpacedriveError, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { UTF8_BYTES_MAX } from '../base/text.js'
import type { Request, Reply, Published } from './messages.js'
import { pack, unpack } from './msgpack.js'
import { isOperation, operationOf, PARAMS, problemOf, type OperationName, type ParamsOf } from './operations.js'
import type { Prepared, Refuse } from './prepared.js'

export type Id = string | number | null

/** One element of a message: a request to run, or the error that answers it. `id` is undefined for a notification. */
export interface Call {
  readonly id: Id | undefined
  readonly request?: Request
  /** Of a request whose client waits no longer than this. */
  readonly timeoutMs?: number
  readonly error?: RpcError
  /** The answer to what was not looked at any further. */
  readonly refused?: Prepared
}

/** Whoever's message is read, while more is asked than can be done. */
export interface Refusing {
  /** What may not even be looked at, or null for the usual, which is that all may. */
  refuser(): Refuse | null
}

interface RpcError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

export interface Decoded {
  readonly calls: readonly Call[]
  readonly batch: boolean
}

/** Reads one message. Never throws: what is wrong becomes the error of the call it is wrong with. */
export function decode(text: string, by?: Refusing): Decoded {
  const usual = decodeUsual(text)
  if (usual) return { calls: [usual], batch: false }
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch (error) {
    return { calls: [bad(null, -32700, `not JSON: ${(error as Error).message}`)], batch: false }
  }
  return decodeMessage(message, by?.refuser() ?? null)
}

/** The same for a message of MessagePack. */
export function decodePacked(bytes: Uint8Array, by?: Refusing): Decoded {
  let message: unknown
  try {
    message = unpack(bytes, LIMITS.packedDepthMax)
  } catch (error) {
    return { calls: [bad(null, -32700, `not MessagePack: ${(error as Error).message}`)], batch: false }
  }
  return decodeMessage(message, by?.refuser() ?? null)
}

/** A message that is to leave, as MessagePack: nearly all that answers is made as text. */
export function packed(message: string | Uint8Array): Uint8Array {
  return typeof message === 'string' ? pack(JSON.parse(message)) : message
}

function decodeMessage(message: unknown, refuse: Refuse | null): Decoded {
  if (!Array.isArray(message)) return { calls: [decodeOne(message, refuse)], batch: false }
  if (message.length === 0) return { calls: [bad(null, -32600, 'an empty batch')], batch: false }
  if (message.length > LIMITS.batchRequestsMax) {
    const error = new SpacedriveError('REQUEST_TOO_LARGE', `a batch may hold ${LIMITS.batchRequestsMax} requests`)
    return { calls: [{ id: null, error: rpcError(toWire(error)) }], batch: false }
  }
  return { calls: message.map((each) => decodeOne(each, refuse)), batch: true }
}

const BEGIN = '{"jsonrpc":"2.0","id":'
const METHOD = ',"method":"'
const PARAMETERS = ',"params":'

/**
 * A request written as nearly all clients write theirs: these members in this order, without spaces, its id a small number. To read
 * it so costs a quarter of what JSON.parse does. Null for what is written in any other way, be it right or wrong.
 */
function decodeUsual(text: string): Call | null {
  const head = headOf(text)
  if (!head) return null
  const { id, method, end } = head
  if (end + 2 === text.length) return text.endsWith('}') ? checked(id, method, undefined) : null
  const params = method === 'files.get' ? paramsOfGet(text, end + 1) : null
  if (params) return { id, request: { operation: method, params } }
  if (!text.startsWith(PARAMETERS, end + 1) || !text.endsWith('}')) return null
  try {
    return checked(id, method, JSON.parse(text.slice(end + 1 + PARAMETERS.length, -1)))
  } catch {
    // More members after these, or no JSON: either way another one's to read.
    return null
  }
}

export interface Head {
  readonly id: number
  readonly method: OperationName
  /** Where the quotation mark after the method is. */
  readonly end: number
}

export function headOf(text: string): Head | null {
  if (!text.startsWith(BEGIN)) return null
  let at = BEGIN.length
  let id = 0
  for (let code = text.charCodeAt(at); isDigit(code); code = text.charCodeAt(at)) {
    id = 10 * id + code - 48
    at += 1
  }
  // What begins with a zero is one digit or no JSON; beyond nine digits others may read another number.
  const digits = at - BEGIN.length
  if (digits === 0 || digits > 9 || (digits > 1 && id < 10 ** (digits - 1))) return null
  if (!text.startsWith(METHOD, at)) return null
  const end = text.indexOf('"', at + METHOD.length)
  const method = end < 0 ? undefined : operationOf(text.slice(at + METHOD.length, end))
  return method === undefined ? null : { id, method, end }
}

/** Of characters. */
export const LIBRARY_ID_LENGTH = 36
const GET_LIBRARY = `${PARAMETERS}{"library":"`
const GET_ID = '","id":"'
const GET_END = '"}}'
const GET_ID_DIGITS_MAX = 15

/**
 * What is asked most: a file by its id, as nearly all clients write that. So few characters may stand in these two that the schema
 * has nothing against any of them; a test compares.
 */
function paramsOfGet(text: string, at: number): ParamsOf<'files.get'> | null {
  const library = at + GET_LIBRARY.length
  const afterLibrary = library + LIBRARY_ID_LENGTH
  const id = afterLibrary + GET_ID.length
  const end = text.length - GET_END.length
  if (end <= id || end - id > GET_ID_DIGITS_MAX) return null
  if (!text.startsWith(GET_LIBRARY, at) || !text.startsWith(GET_ID, afterLibrary) || !text.endsWith(GET_END))
    return null
  for (let each = id; each < end; each++) if (!isDigit(text.charCodeAt(each))) return null
  const named = libraryAt(text, library, afterLibrary)
  return named === null ? null : { library: named, id: text.slice(id, end) }
}

/** What was named last: the same text again, so that it is neither looked through nor hashed anew by whoever finds things by it. */
let latestLibrary = ''

function libraryAt(text: string, from: number, to: number): string | null {
  if (latestLibrary !== '' && text.startsWith(latestLibrary, from)) return latestLibrary
  for (let each = from; each < to; each++) if (!isOfLibraryId(text.charCodeAt(each))) return null
  return (latestLibrary = text.slice(from, to))
}

function isOfLibraryId(code: number): boolean {
  return isDigit(code) || (code >= 97 && code <= 102) || code === 45
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

function decodeOne(message: unknown, refuse: Refuse | null): Call {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    return bad(null, -32600, 'a request is an object')
  }
  const { jsonrpc, id, method, params, timeoutMs } = message as Record<string, unknown>
  if (id !== undefined && id !== null && typeof id !== 'string' && !isExactNumber(id)) {
    return bad(null, -32600, 'id must be a string, null, or a number from -(2^53 - 1) to 2^53 - 1')
  }
  if (jsonrpc !== '2.0') return bad(id ?? null, -32600, 'jsonrpc must be "2.0"')
  if (typeof method !== 'string') return bad(id ?? null, -32600, 'method must be a string')
  if (timeoutMs !== undefined && !isPatience(timeoutMs)) {
    return bad(id ?? null, -32600, `timeoutMs must be a whole number from 1 to ${LIMITS.responseMs}`)
  }
  if (!isOperation(method)) return bad(id, -32601, `unknown method ${JSON.stringify(method.slice(0, 100))}`)
  const refused = refuse && refusedAtOnce(method, params, refuse)
  if (refused) return { id, refused }
  const call = checked(id, method, params)
  return timeoutMs === undefined || call.error ? call : { ...call, timeoutMs }
}

/** By the library alone, as a glance does it: whether the other parameters are right is not worth the time. */
function refusedAtOnce(method: OperationName, params: unknown, refuse: Refuse): Prepared | null {
  const library = (params as { readonly library?: unknown } | null | undefined)?.library
  return typeof library === 'string' ? refuse(method, library) : null
}

/** What was asked without parameters, by operation: the same each time, and checked the first time. */
const bare = new Map<OperationName, Request>()

function checked(id: Id | undefined, method: OperationName, params: unknown): Call {
  const known = params === undefined ? bare.get(method) : undefined
  if (known) return { id, request: known }
  const result = PARAMS[method].safeParse(params ?? {})
  if (result.success) {
    const request: Request = { operation: method, params: result.data }
    if (params === undefined) bare.set(method, Object.freeze(request))
    return { id, request }
  }
  return bad(id, -32602, problemOf(result.error.issues[0]))
}

function isPatience(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= LIMITS.responseMs
}

/** Beyond 2^53 another number comes out of JSON than was sent, whom nobody waits for; of 1e400 Infinity, which JSON cannot say back. */
function isExactNumber(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER
}

function bad(id: Id | undefined, code: number, message: string): Call {
  return { id, error: { code, message, data: { hint: badHint(code), retryable: false } } }
}

function badHint(code: number): string {
  if (code === -32601) return 'rpc.discover lists the methods, as docs/protocol.md does.'
  if (code === -32602) return 'Check the parameters against docs/protocol.md.'
  return 'Send one JSON-RPC 2.0 request, or an array of them.'
}

function rpcError(wire: WireError): RpcError {
  const { message, ...data } = wire
  return { code: -32000, message, data }
}

/** `}` */
const END = 0x7d

/** The text that answers one call. The result is spliced in as it came, never parsed again. */
export function encodeReply(id: Id, reply: Reply): string {
  return reply.ok
    ? `{"jsonrpc":"2.0","id":${encodeId(id)},"result":${reply.json}}`
    : encodeError(id, rpcError(reply.error))
}

/** The same of a long one. @param make memory of at least so many bytes */
export function encodeLongReply(id: Id, json: Uint8Array, make: (length: number) => Buffer): Uint8Array {
  const head = `{"jsonrpc":"2.0","id":${encodeId(id)},"result":`
  const all = make(UTF8_BYTES_MAX * head.length + json.length + 1)
  const at = all.write(head)
  all.set(json, at)
  all[at + json.length] = END
  return all.subarray(0, at + json.length + 1)
}

export function encodeError(id: Id, error: RpcError): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error })
}

export function encodeId(id: Id): string {
  return typeof id === 'number' ? String(id) : JSON.stringify(id)
}

/** `subscription` and cursor are the daemon's own and need no escape. */
export function encodeEvent(subscription: string, seq: number, { cursor, json }: Published): string {
  const place = `"subscription":"${subscription}","seq":${seq},"cursor":"${cursor}"`
  return `{"jsonrpc":"2.0","method":"event","params":{${place},"event":${json}}}`
}

/** So many events of the subscription are not sent: they went by before its client read on. `cursor` is that of the last of them. */
export function encodeGap(subscription: string, seq: number, lost: number, cursor: string): string {
  return `{"jsonrpc":"2.0","method":"gap","params":{"subscription":"${subscription}",${gapOf(seq, lost, cursor)}}}`
}

/** @param seq of the last event before the gap */
export function gapOf(seq: number, lost: number, cursor: string): string {
  return `"from":${seq + 1},"to":${seq + lost},"count":${lost},"cursor":"${cursor}"`
}

/** A refusal outside JSON-RPC: the body of an HTTP error. */
export function encodeRefusal(wire: WireError): { status: number; body: string } {
  return { status: statusOf(wire.code), body: JSON.stringify(wire) }
}

/**
 * Answers a whole message: runs its calls and hands back the text once the last has answered,
 * or null when the message held only notifications.
 */
export function answerMessage(
  decoded: Decoded,
  run: (request: Request, answer: (reply: Reply) => void, call: Call) => void,
  done: (text: string | null) => void,
): void {
  const texts: (string | null)[] = new Array<string | null>(decoded.calls.length).fill(null)
  let waiting = decoded.calls.length
  const settle = (index: number, text: string | null) => {
    texts[index] = text
    waiting -= 1
    if (waiting > 0) return
    const answers = texts.filter((each) => each !== null)
    if (!decoded.batch) done(answers[0] ?? null)
    else done(answers.length === 0 ? null : `[${answers.join(',')}]`)
  }
  decoded.calls.forEach((call, index) => {
    const { id, request, error, refused } = call
    if (error) settle(index, id === undefined ? null : encodeError(id, error))
    else if (refused) settle(index, id === undefined ? null : refused.text(id))
    else if (request) run(request, (reply) => settle(index, id === undefined ? null : encodeReply(id, reply)), call)
  })
}
