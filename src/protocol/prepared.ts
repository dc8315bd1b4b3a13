// What there is time for while more is asked than can be done: to see of a request, by its beginning, what it is and of which library,
// and to refuse it with a text that was made once for many.
import type { WireError } from '../base/errors.js'
import { encodeId, encodeReply, headOf, LIBRARY_ID_LENGTH, type Id } from './codec.js'
import { pack } from './msgpack.js'
import { isOperation, type OperationName } from './operations.js'

/** An error that answers many: what differs is whom it answers, and when that one may come again. */
export interface Prepared {
  text(id: Id): string
  /** The same in MessagePack. */
  packed(id: number): Uint8Array
  /** Of either, in characters or bytes. */
  readonly lengthMost: number
}

/** Refuses one request before its parameters are looked at, or null. */
export type Refuse = (operation: OperationName, library: string) => Prepared | null

/** What a request seems to be. */
export interface Glance {
  readonly id: number
  readonly method: OperationName
  readonly library: string
}

/** Those that take the most bytes that these may have: whatever stands there for one of them later fits. */
const ID_MOST = 0xfe_dc_ba_98
const AGAIN_MOST = 0xfe_dc

/** @param againMs when the next one may come again, at most 65,535 */
export function preparedError(error: WireError, againMs: () => number): Prepared {
  const text = encodeReply(0, { ok: false, error: { ...error, retryAfterMs: 0 } })
  const [id, again] = [text.indexOf('"id":') + 5, text.lastIndexOf('"retryAfterMs":0') + '"retryAfterMs":'.length]
  const [begin, middle, end] = [text.slice(0, id), text.slice(id + 1, again), text.slice(again + 1)]
  const most = encodeReply(ID_MOST, { ok: false, error: { ...error, retryAfterMs: AGAIN_MOST } })
  const bytes = Buffer.from(pack(JSON.parse(most)))
  const [packedId, packedAgain] = [placeOf(bytes, 'id', 4), placeOf(bytes, 'retryAfterMs', 2)]
  return {
    text: (of) => `${begin}${encodeId(of)}${middle}${againMs()}${end}`,
    packed: (of) => {
      const copy = Buffer.from(bytes)
      copy.writeUInt32BE(of, packedId)
      copy.writeUInt16BE(againMs(), packedAgain)
      return copy
    },
    lengthMost: Math.max(most.length, bytes.length),
  }
}

/** Where the number of a key is, behind the byte that says how long it is. The last of that name: what people read comes before. */
function placeOf(bytes: Buffer, key: string, numberBytes: 2 | 4): number {
  const head = Buffer.from([0xa0 | key.length, ...Buffer.from(key), numberBytes === 2 ? 0xcd : 0xce])
  return (key === 'id' ? bytes.indexOf(head) : bytes.lastIndexOf(head)) + head.length
}

const OF_LIBRARY = '"library":"'

/** Of a request written as usual. */
export function glance(text: string): Glance | null {
  const head = headOf(text)
  if (!head) return null
  const at = text.indexOf(OF_LIBRARY, head.end)
  if (at < 0) return null
  const library = text.slice(at + OF_LIBRARY.length, at + OF_LIBRARY.length + LIBRARY_ID_LENGTH)
  return { id: head.id, method: head.method, library }
}

/** `{"jsonrpc":"2.0","id":` of four members, which begins what is packed as usual; then the others. */
const PACKED_BEGIN = Buffer.from('\x84\xa7jsonrpc\xa32.0\xa2id', 'latin1')
const PACKED_METHOD = Buffer.from('\xa6method', 'latin1')
const PACKED_PARAMETERS = Buffer.from('\xa6params', 'latin1')
const PACKED_LIBRARY = Buffer.from(`\xa7library\xd9${String.fromCharCode(LIBRARY_ID_LENGTH)}`, 'latin1')
/** What a map of up to so many members begins with. */
const [MAP_LEAST, MAP_MOST] = [0x81, 0x8f]
const [TEXT_LEAST, TEXT_MOST] = [0xa0, 0xbf]

/** The same of MessagePack: these members in this order, the library the first of the parameters, the id up to 32 bits. */
export function glancePacked(message: Uint8Array): Glance | null {
  if (!isAt(message, PACKED_BEGIN, 0)) return null
  let at = PACKED_BEGIN.length
  const bytes = idBytes(message[at]!)
  if (bytes < 0) return null
  let id = bytes === 0 ? message[at]! : 0
  for (let each = 1; each <= bytes; each++) id = 256 * id + message[at + each]!
  at += 1 + bytes
  if (!isAt(message, PACKED_METHOD, at)) return null
  at += PACKED_METHOD.length
  const chars = message[at]! - TEXT_LEAST
  if (!(chars >= 0 && message[at]! <= TEXT_MOST)) return null
  const method = latin1(message, at + 1, at + 1 + chars)
  at += 1 + chars
  if (!isOperation(method) || !isAt(message, PACKED_PARAMETERS, at)) return null
  at += PACKED_PARAMETERS.length
  const map = message[at]!
  if (!(map >= MAP_LEAST && map <= MAP_MOST) || !isAt(message, PACKED_LIBRARY, at + 1)) return null
  at += 1 + PACKED_LIBRARY.length
  return at + LIBRARY_ID_LENGTH > message.length
    ? null
    : { id, method, library: latin1(message, at, at + LIBRARY_ID_LENGTH) }
}

/** Behind the first byte of a number from 0 to 2^32 - 1; below 0 for what is none. */
function idBytes(first: number): number {
  if (first < 0x80) return 0
  return first === 0xcc ? 1 : first === 0xcd ? 2 : first === 0xce ? 4 : -1
}

function isAt(message: Uint8Array, wanted: Buffer, at: number): boolean {
  if (at + wanted.length > message.length) return false
  for (let each = 0; each < wanted.length; each++) if (message[at + each] !== wanted[each]) return false
  return true
}

function latin1(message: Uint8Array, from: number, to: number): string {
  return Buffer.prototype.latin1Slice.call(message, from, to)
}
