// The envelope of Spacedrive's own clients: one externally tagged value a request, one an answer. Read leniently, written as they read it.
import { SpacedriveError, type WireError } from '../base/errors.js'

export type Envelope =
  | { readonly tag: 'Ping' | 'Shutdown' | 'Unsubscribe' | 'UnsubscribeLogs' }
  | { readonly tag: 'Call'; readonly method: string; readonly library: string | null; readonly payload: unknown }
  | { readonly tag: 'Subscribe'; readonly types: readonly string[]; readonly filter: Filter }
  | { readonly tag: 'SubscribeLogs'; readonly filter: Filter }

type Filter = Readonly<Record<string, unknown>>

const TAGS = ['Ping', 'Query', 'Action', 'Subscribe', 'Unsubscribe', 'SubscribeLogs', 'UnsubscribeLogs', 'Shutdown']
/** Told by the beginning alone: a request of JSON-RPC is an object with several keys, none of them one of these. */
const SHAPE = new RegExp(`^\\s*(?:"(?:${TAGS.join('|')})"\\s*$|\\{\\s*"(?:${TAGS.join('|')})"\\s*:)`)

export function isEnvelope(text: string): boolean {
  return SHAPE.test(text)
}

/** What is wrong with a text, in words: it is not an envelope. */
export class Malformed extends Error {}

/** @throws Malformed */
export function readEnvelope(text: string): Envelope {
  const value = parse(text)
  if (typeof value === 'string') return tagged(value, null)
  if (!isObject(value)) throw new Malformed('a request is a name, or an object of one')
  const [only, ...more] = Object.entries(value)
  if (!only || more.length > 0) throw new Malformed('a request is an object with one key')
  return tagged(...only)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Malformed((error as Error).message)
  }
}

function tagged(tag: string, body: unknown): Envelope {
  switch (tag) {
    case 'Query':
    case 'Action':
      return call(body)
    case 'Subscribe':
      return subscription(body)
    case 'SubscribeLogs':
      return { tag, filter: filterOf(body) }
    case 'Ping':
    case 'Shutdown':
    case 'Unsubscribe':
    case 'UnsubscribeLogs':
      return { tag }
    default:
      throw new Malformed(`unknown variant \`${tag.slice(0, 100)}\`, expected one of ${TAGS.join(', ')}`)
  }
}

function call(body: unknown): Envelope {
  const { method, library_id: library = null, payload = null } = isObject(body) ? body : {}
  if (typeof method !== 'string') throw new Malformed('missing field `method`')
  if (library !== null && typeof library !== 'string') throw new Malformed('`library_id` is a string or null')
  return { tag: 'Call', method, library, payload }
}

function subscription(body: unknown): Envelope {
  const { event_types: types = [] } = isObject(body) ? body : {}
  const isNames = types === null || (Array.isArray(types) && types.every((each) => typeof each === 'string'))
  if (!isNames) throw new Malformed('`event_types` is a list of names')
  return { tag: 'Subscribe', types: (types ?? []) as string[], filter: filterOf(body) }
}

function filterOf(body: unknown): Filter {
  const { filter = {} } = isObject(body) ? body : {}
  if (filter !== null && !isObject(filter)) throw new Malformed('`filter` is an object')
  return filter ?? {}
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function answered(value: unknown): string {
  return JSON.stringify({ JsonOk: value })
}

type Failure =
  'OperationFailed' | 'SerializationError' | 'RequestTooLarge' | 'SecurityError' | 'CoreUnavailable' | 'ReadError'

export function failed(failure: Failure, words: string): string {
  return JSON.stringify({ Error: { [failure]: words } })
}

/** Their errors are one string, so the code stands before the words. */
export function refused({ code, message, hint }: WireError): string {
  const isAway = code === 'STARTING' || code === 'DRAINING' || code === 'CONNECTION_LIMIT'
  return failed(isAway ? 'CoreUnavailable' : 'OperationFailed', `${code}: ${message}. ${hint}`)
}

export function wrong(message: string): SpacedriveError {
  return new SpacedriveError('BAD_REQUEST', message, { hint: 'docs/compat.md says what is understood.' })
}
