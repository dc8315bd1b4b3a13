// Clients that hold connections and give little for it, to be run as a process of its own, which can be stopped: one argument, the
// `Party` as JSON. Each line on stdin is answered by one of JSON on stdout: what became of each group so far.
import net from 'node:net'
import { createInterface } from 'node:readline'

/** What each of a group does once it is connected. */
export type Manner =
  /** Says nothing. */
  | 'silent'
  /** Sends a header that never ends, a byte at a time. */
  | 'header'
  /** Sends a body that never ends, a byte at a time. */
  | 'body'
  /** Asks once over HTTP, reads the answer, and stays. */
  | 'asking'
  /** Asks once over HTTP and reads nothing. */
  | 'deaf'
  /** Opens a WebSocket, sends its messages, and stays. */
  | 'feed'
  /** The same, and reads nothing after the upgrade. */
  | 'deaf feed'

export interface Group {
  readonly manner: Manner
  readonly count: number
  /** The request, or the message of a WebSocket; `core.ping` if absent. NUMBER in a request is another in each. */
  readonly body?: string
  /** How often a message is sent. */
  readonly times?: number
  /** Goes right after having asked, without waiting. */
  readonly leaves?: boolean
  /** Who is closed comes again at once. */
  readonly again?: boolean
}

export interface Party {
  readonly port: number
  readonly token: string
  /** The address they come from. */
  readonly from: string
  readonly groups: readonly Group[]
}

export interface Fate {
  /** Not closed so far. */
  open: number
  closed: number
  /** How long the closed ones lasted: the shortest, and the longest. */
  lastedMs: [number, number]
  /** The first line of what each was told, and how many were. */
  said: Record<string, number>
  /** Codes of errors that were told, and to how many. */
  codes: Record<string, number>
}

interface Visitor {
  readonly socket: net.Socket
  readonly since: number
  text: string
  lastedMs: number | null
}

const DRIP_MS = 500
/** How a WebSocket is asked whether its client is there, and what it answers. */
const PINGED = 0x89
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
const AGAIN_MS = 100
let number = 0
const PING = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.ping' })
const party = JSON.parse(process.argv[2] ?? '{}') as Party
const groups = party.groups.map((group) => {
  const visitors: Visitor[] = []
  for (let at = 0; at < group.count; at += 1) come(group, visitors)
  return visitors
})

createInterface({ input: process.stdin }).on('line', () => console.log(JSON.stringify(groups.map(fateOf))))
process.stdin.on('end', () => process.exit(0))

function come(group: Group, visitors: Visitor[]): void {
  const socket = net.connect({ port: party.port, host: '127.0.0.1', localAddress: party.from })
  const visitor: Visitor = { socket, since: performance.now(), text: '', lastedMs: null }
  socket.on('data', (bytes) => (visitor.text += bytes.toString('latin1')))
  socket.on('data', (bytes: Buffer) => {
    if (bytes[0] === PINGED) socket.write(PONG)
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    visitor.lastedMs = performance.now() - visitor.since
    if (group.again) setTimeout(() => come(group, visitors), AGAIN_MS)
  })
  socket.on('connect', () => ACTS[group.manner](socket, group))
  visitors.push(visitor)
}

const ACTS: Readonly<Record<Manner, (socket: net.Socket, group: Group) => void>> = {
  silent: () => undefined,
  header: (socket) => drip(socket, `${head('GET', '/health')}X: `),
  body: (socket) => drip(socket, `${head('POST', '/rpc')}Content-Length: 60000\r\n\r\n`),
  asking: (socket, { body, leaves }) => {
    ask(socket, body)
    if (leaves) socket.end()
  },
  deaf: (socket, { body }) => ask(socket.pause(), body),
  feed: (socket, group) => openFeed(socket, group, () => undefined),
  'deaf feed': (socket, group) => openFeed(socket, group, () => socket.pause()),
}

function head(method: string, path: string): string {
  const lines = [
    `Host: 127.0.0.1:${party.port}`,
    `Authorization: Bearer ${party.token}`,
    'Content-Type: application/json',
  ]
  return `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n`
}

function ask(socket: net.Socket, asked = PING): void {
  const body = asked.replaceAll('NUMBER', String((number += 1)))
  socket.write(`${head('POST', '/rpc')}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

function drip(socket: net.Socket, begin: string): void {
  socket.write(begin)
  const timer = setInterval(() => socket.write('a'), DRIP_MS)
  socket.on('close', () => clearInterval(timer))
}

function openFeed(socket: net.Socket, { body, times = 1 }: Group, opened: () => void): void {
  const upgrade = [
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
  ]
  socket.write(`${head('GET', '/ws')}${upgrade.join('\r\n')}\r\n\r\n`)
  socket.once('data', () => {
    opened()
    if (body !== undefined) for (let at = 0; at < times; at += 1) socket.write(masked(body))
  })
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** A text frame as a client must send it, with a mask of zeros. */
function masked(text: string): Buffer {
  const payload = Buffer.from(text)
  const length = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 0xff]
  return Buffer.concat([Buffer.from([0x81, 0x80 | length[0]!, ...length.slice(1), 0, 0, 0, 0]), payload])
}

function fateOf(visitors: readonly Visitor[]): Fate {
  const lasted = visitors.flatMap(({ lastedMs }) => lastedMs ?? [])
  const texts = visitors.map(({ text }) => text)
  return {
    open: visitors.length - lasted.length,
    closed: lasted.length,
    lastedMs: [Math.min(...lasted), Math.max(...lasted)],
    said: counted(texts.map((text) => text.split('\r\n', 1)[0] ?? '')),
    codes: counted(texts.flatMap((text) => [...text.matchAll(/"code":"([A-Z_]+)"/g)].map(([, code]) => code!))),
  }
}

function counted(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) if (word !== '') counts[word] = (counts[word] ?? 0) + 1
  return counts
}
