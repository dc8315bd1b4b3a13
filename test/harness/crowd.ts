// A crowd of plain TCP connections, to be run as a process of its own: PORT COUNT [TOKEN]. Half say nothing, half ask for GET /health; with a token
// all ask, and show it.
// All are made at once and stay until the other side ends them. Each line on stdin is answered by one of JSON on stdout: what became of each.
import net from 'node:net'
import { createInterface } from 'node:readline'

const [port = 0, count = 0] = process.argv.slice(2, 4).map(Number)
const token = process.argv[4]
const SHOWN = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
const REQUEST = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${SHOWN}\r\n`

export interface Fates {
  /** Got its 200. */
  answered: number
  /** Got a 503 that says CONNECTION_LIMIT and when to come back, and was closed. */
  refused: number
  /** Closed without a word. */
  closed: number
  /** Neither answered nor closed so far. */
  open: number
  /** Got anything else. */
  strange: number
  /** Of all of these, not closed so far: the answered may have been closed since for a newcomer. */
  held: number
  example: string
}

interface One {
  text: string
  ended: boolean
}

const all: One[] = []
for (let at = 0; at < count; at++) all.push(connect(token !== undefined || at % 2 === 0))
createInterface({ input: process.stdin }).on('line', () => console.log(JSON.stringify(fates())))
process.stdin.on('end', () => process.exit(0))

function connect(asks: boolean): One {
  const one: One = { text: '', ended: false }
  const socket = net.connect(port, '127.0.0.1')
  if (asks) socket.on('connect', () => socket.write(REQUEST))
  socket.on('data', (bytes) => (one.text += bytes.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (one.ended = true))
  return one
}

function fates(): Fates {
  const sum: Fates = { answered: 0, refused: 0, closed: 0, open: 0, strange: 0, held: 0, example: '' }
  for (const { text, ended } of all) {
    const fate = fateOf(text, ended)
    sum[fate] += 1
    if (!ended) sum.held += 1
    if (fate === 'strange') sum.example = text
  }
  return sum
}

function fateOf(text: string, ended: boolean): Exclude<keyof Fates, 'held' | 'example'> {
  if (text.startsWith('HTTP/1.1 200 ')) return 'answered'
  if (text === '') return ended ? 'closed' : 'open'
  const refusal = text.startsWith('HTTP/1.1 503 ') && /\r\nretry-after: [1-5]\r\n/i.test(text)
  return refusal && text.includes('"CONNECTION_LIMIT"') && text.endsWith('}') ? 'refused' : 'strange'
}
