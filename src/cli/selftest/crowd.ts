// A crowd of connections, as a process of its own: PORT COUNT. All come as fast as they can and stay until they are sent away; half ask for
// GET /health, half say nothing. Each line on stdin is answered by one of JSON on stdout: what became of them.
import net from 'node:net'
import { createInterface } from 'node:readline'

export interface Fates {
  answered: number
  /** Got a 503 that says CONNECTION_LIMIT, which class is full and when to come back. */
  refused: number
  /** Said nothing, and was sent away for it when its time was over. */
  dismissed: number
  /** Asked, and was closed without a word. */
  ignored: number
  /** Neither answered nor closed so far. */
  open: number
  /** Got anything else. */
  strange: number
}

interface Guest {
  readonly asks: boolean
  text: string
  ended: boolean
}

const [port = 0, count = 0] = process.argv.slice(2).map(Number)
const REQUEST = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`

/** So many are made in one turn: who connects and is not there to ask for half a second makes room for others. */
const AT_ONCE = 32

const guests: Guest[] = []
come()
createInterface({ input: process.stdin }).on('line', () => process.stdout.write(`${JSON.stringify(fates())}\n`))
// Also when whoever started this is gone.
process.stdin.on('end', () => process.exit())

function come(): void {
  for (let at = 0; at < AT_ONCE && guests.length < count; at += 1) guests.push(arrive(guests.length % 2 === 0))
  if (guests.length < count) setImmediate(come)
}

function arrive(asks: boolean): Guest {
  const guest: Guest = { asks, text: '', ended: false }
  const socket = net.connect(port, '127.0.0.1')
  if (asks) socket.on('connect', () => socket.write(REQUEST))
  socket.on('data', (bytes) => (guest.text += bytes.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (guest.ended = true))
  return guest
}

function fates(): Fates {
  const sum: Fates = { answered: 0, refused: 0, dismissed: 0, ignored: 0, open: count - guests.length, strange: 0 }
  for (const guest of guests) sum[fateOf(guest)] += 1
  return sum
}

function fateOf({ asks, text, ended }: Guest): keyof Fates {
  if (text.startsWith('HTTP/1.1 200 ')) return 'answered'
  if (!asks && (text === '' ? ended : text.startsWith('HTTP/1.1 408 '))) return 'dismissed'
  if (text === '') return ended ? 'ignored' : 'open'
  const refusal = text.startsWith('HTTP/1.1 503 ') && /\r\nretry-after: \d/i.test(text)
  return refusal && text.includes('"CONNECTION_LIMIT"') && text.includes('"class"') ? 'refused' : 'strange'
}
