// JSON's values as MessagePack, both ways, for Node and for browsers. Reading believes no length that the bytes do not bear out: it
// takes no more memory than what has come, and goes no deeper than it may.

/** What is written goes through one buffer, which is let go where an answer made it larger than this. */
const BUFFER_BYTES_KEPT = 64 << 10
/** As they are, strings up to this long are written a character at a time: for those the encoder costs more than it saves. */
const SHORT_CHARS = 64

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/**
 * What JSON could not say is refused.
 *
 * @param depthMax values within values
 * @throws Error that tells what is wrong and where
 */
export function unpack(bytes: Uint8Array, depthMax: number): unknown {
  const reader = new Reader(bytes, depthMax)
  const value = reader.value(0)
  reader.end()
  return value
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #depthMax: number
  #at = 0

  constructor(bytes: Uint8Array, depthMax: number) {
    this.#depthMax = depthMax
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  end(): void {
    if (this.#at < this.#bytes.length) throw new Error(`bytes follow the message, at ${this.#at}`)
  }

  value(depth: number): unknown {
    const first = this.#take(1)
    const byte = this.#bytes[first]!
    if (byte < 0x80) return byte
    if (byte < 0x90) return this.#map(byte & 0x0f, depth)
    if (byte < 0xa0) return this.#array(byte & 0x0f, depth)
    if (byte < 0xc0) return this.#text(byte & 0x1f)
    if (byte >= 0xe0) return byte - 0x100
    switch (byte) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xca:
        return this.#finite(this.#view.getFloat32(this.#take(4)))
      case 0xcb:
        return this.#finite(this.#view.getFloat64(this.#take(8)))
      case 0xcc:
        return this.#length(1)
      case 0xcd:
        return this.#length(2)
      case 0xce:
        return this.#length(4)
      case 0xcf:
        return this.#safe(this.#view.getBigUint64(this.#take(8)))
      case 0xd0:
        return this.#view.getInt8(this.#take(1))
      case 0xd1:
        return this.#view.getInt16(this.#take(2))
      case 0xd2:
        return this.#view.getInt32(this.#take(4))
      case 0xd3:
        return this.#safe(this.#view.getBigInt64(this.#take(8)))
      case 0xd9:
        return this.#text(this.#length(1))
      case 0xda:
        return this.#text(this.#length(2))
      case 0xdb:
        return this.#text(this.#length(4))
      case 0xdc:
        return this.#array(this.#length(2), depth)
      case 0xdd:
        return this.#array(this.#length(4), depth)
      case 0xde:
        return this.#map(this.#length(2), depth)
      case 0xdf:
        return this.#map(this.#length(4), depth)
    }
    throw new Error(`a ${byte <= 0xc6 && byte >= 0xc4 ? 'binary' : 'type'} that JSON does not have, at ${first}`)
  }

  /** @returns where they begin */
  #take(count: number): number {
    const at = this.#at
    if (count > this.#bytes.length - at) throw new Error(`it ends too early, at ${this.#bytes.length}`)
    this.#at = at + count
    return at
  }

  #length(bytes: 1 | 2 | 4): number {
    const at = this.#take(bytes)
    if (bytes === 1) return this.#view.getUint8(at)
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at)
  }

  #finite(value: number): number {
    if (!Number.isFinite(value)) throw new Error(`${value} is no number of JSON, at ${this.#at}`)
    return value
  }

  #safe(value: bigint): number {
    const number = Number(value)
    if (!Number.isSafeInteger(number)) throw new Error(`${value} is beyond 2^53, at ${this.#at}`)
    return number
  }

  #text(bytes: number): string {
    const from = this.#take(bytes)
    try {
      return utf8.decode(this.#bytes.subarray(from, from + bytes))
    } catch {
      throw new Error(`a string that is not UTF-8, at ${from}`)
    }
  }

  #array(count: number, depth: number): unknown[] {
    this.#go(count, depth)
    const values: unknown[] = []
    for (let index = 0; index < count; index++) values.push(this.value(depth + 1))
    return values
  }

  #map(count: number, depth: number): Record<string, unknown> {
    this.#go(2 * count, depth)
    const values: Record<string, unknown> = {}
    for (let index = 0; index < count; index++) {
      const key = this.#key()
      const value = this.value(depth + 1)
      // As JSON.parse does: a member of this name is one like any other.
      if (key === '__proto__')
        Object.defineProperty(values, key, { value, enumerable: true, configurable: true, writable: true })
      else values[key] = value
    }
    return values
  }

  #key(): string {
    const byte = this.#bytes[this.#at] ?? 0xa0
    const isText = (byte >= 0xa0 && byte < 0xc0) || (byte >= 0xd9 && byte <= 0xdb)
    if (!isText) throw new Error(`a key that is not a string, at ${this.#at}`)
    return this.value(0) as string
  }

  /** Each value takes one byte at least. */
  #go(values: number, depth: number): void {
    if (depth >= this.#depthMax) throw new Error(`more than ${this.#depthMax} values within values, at ${this.#at}`)
    if (values > this.#bytes.length - this.#at) throw new Error(`it ends too early, at ${this.#bytes.length}`)
  }
}

let buffer = new Uint8Array(BUFFER_BYTES_KEPT)
let view = new DataView(buffer.buffer)
let at = 0

/**
 * Members that are undefined are left out, as JSON.stringify does.
 *
 * @param value what JSON can say
 * @returns bytes of its own
 */
export function pack(value: unknown): Uint8Array<ArrayBuffer> {
  at = 0
  write(value)
  const bytes = buffer.slice(0, at)
  if (buffer.length > BUFFER_BYTES_KEPT) renew(BUFFER_BYTES_KEPT)
  return bytes
}

function renew(bytes: number): void {
  buffer = new Uint8Array(bytes)
  view = new DataView(buffer.buffer)
}

/** @returns where there is room for so many bytes, which are taken; `buffer` may be another one then */
function room(bytes: number): number {
  const from = at
  if (from + bytes > buffer.length) {
    const before = buffer
    renew(Math.max(2 * before.length, from + bytes))
    buffer.set(before)
  }
  at = from + bytes
  return from
}

function write(value: unknown): void {
  if (typeof value === 'string') writeText(value)
  else if (typeof value === 'number') writeNumber(value)
  else if (value === true || value === false) head(value ? 0xc3 : 0xc2)
  else if (value === null || value === undefined) head(0xc0)
  else if (Array.isArray(value)) writeArray(value)
  else writeMap(value as Record<string, unknown>)
}

function head(byte: number): void {
  const from = room(1)
  buffer[from] = byte
}

function head8(byte: number, length: number): void {
  const from = room(2)
  buffer[from] = byte
  buffer[from + 1] = length
}

function head16(byte: number, length: number): void {
  const from = room(3)
  buffer[from] = byte
  view.setUint16(from + 1, length)
}

function head32(byte: number, length: number): void {
  const from = room(5)
  buffer[from] = byte
  view.setUint32(from + 1, length)
}

function writeNumber(value: number): void {
  // As in JSON, which has none of these.
  if (!Number.isFinite(value)) return head(0xc0)
  // The double behind -0 and what is no integer; an integer beyond 32 bits is one too, and takes as many bytes.
  if (!Number.isInteger(value) || Object.is(value, -0) || value > 0xffffffff || value < -0x80000000) {
    const from = room(9)
    buffer[from] = 0xcb
    view.setFloat64(from + 1, value)
  } else if (value >= 0) {
    if (value < 0x80) head(value)
    else if (value < 0x100) head8(0xcc, value)
    else if (value < 0x10000) head16(0xcd, value)
    else head32(0xce, value)
  } else if (value >= -32) head(value & 0xff)
  else if (value >= -0x80) head8(0xd0, value & 0xff)
  else if (value >= -0x8000) head16(0xd1, value & 0xffff)
  else head32(0xd2, value >>> 0)
}

function writeText(text: string): void {
  if (text.length <= SHORT_CHARS && writeAscii(text)) return
  const bytes = encoder.encode(text)
  const { length } = bytes
  if (length < 32) head(0xa0 | length)
  else if (length < 0x100) head8(0xd9, length)
  else if (length < 0x10000) head16(0xda, length)
  else head32(0xdb, length)
  const from = room(length)
  buffer.set(bytes, from)
}

/** False, and nothing written, where it is not ASCII. */
function writeAscii(text: string): boolean {
  const before = at
  const { length } = text
  if (length < 32) head(0xa0 | length)
  else head8(0xd9, length)
  const from = room(length)
  for (let index = 0; index < length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0x7f) {
      at = before
      return false
    }
    buffer[from + index] = code
  }
  return true
}

function writeArray(values: readonly unknown[]): void {
  const { length } = values
  if (length < 16) head(0x90 | length)
  else if (length < 0x10000) head16(0xdc, length)
  else head32(0xdd, length)
  for (const value of values) write(value)
}

function writeMap(values: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(values).filter((key) => values[key] !== undefined)
  const { length } = keys
  if (length < 16) head(0x80 | length)
  else if (length < 0x10000) head16(0xde, length)
  else head32(0xdf, length)
  for (const key of keys) {
    writeText(key)
    write(values[key])
  }
}
