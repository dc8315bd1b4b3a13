// The load of overload.mjs, in a process of its own and as cheap as can be: frames are put together by copying, and of answers only
// their beginnings are looked at. So many requests a second whatever becomes of them, or so many in flight. Half are lists, a fifth
// searches, a fifth writes, and a tenth files to be sent. Or so many people, each of whom looks at the answer to a list or a search
// for a moment before the next.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'

const setup = JSON.parse(await text(process.stdin))
const { port: asked, token, library, path, tag, ids, page, seconds, rate, inFlight, people, beginsAt } = setup
const FEEDS = people || 200
/** On the average. */
const LOOKED_AT_MS = 200
/** Files to be sent under way at a time: more find no connection, as in a browser. */
const SENDERS_MAX = 400
/** Those that were asked at the end are waited for. */
const LINGER_MS = 4_000
const STEP_MS = 2
/** Who was answered later than this had gone by then, as most who look at a screen have. */
const PATIENCE_MS = 1_000
const ID = 100_000_000
const DIGITS = 9
const HEAD = '{"jsonrpc":"2.0","id":'

/** A load of no daemon: what it asks goes into nothing. */
const nowhere = createServer((socket) => socket.resume())
if (asked === 0) await once(nowhere.listen(0, '127.0.0.1'), 'listening')
const port = asked || nowhere.address().port

const lists = frames('files.list', [{ library, path, sort: 'size', limit: page }])
const searches = frames(
  'search.files',
  Array.from({ length: 10 }, (_, at) => ({ library, query: `file ${at}`, limit: 10 })),
)
const writes = Array.from({ length: 50 }, () =>
  ids.slice((Math.random() * (ids.length - 100)) | 0).slice(0, 100),
).flatMap((some, at) => frames(at % 2 ? 'tags.apply' : 'tags.remove', [{ library, tag, ids: some }]))
const KINDS = [...Array(5).fill(lists), ...Array(2).fill(searches), ...Array(2).fill(writes), null]
/** The first so many kinds. */
const READS = 7
const OF = [...Array(5).fill('list'), ...Array(2).fill('search'), ...Array(2).fill('mutation'), 'stream']

const seen = Object.fromEntries(['list', 'search', 'mutation', 'stream'].map((name) => [name, newSeen()]))
const lateMs = []
const feeds = []
const idleSenders = []
let senders = 0
let offered = 0
let served = 0
let last = ID
let onAnswer = () => {}

feeds.push(...(await Promise.all(Array.from({ length: FEEDS }, openFeed))))
await new Promise((resolve) => setTimeout(resolve, beginsAt - Date.now()))
const begun = performance.now()
const until = begun + seconds * 1_000
const cpu = process.cpuUsage()
await (people > 0 ? inPauses() : rate > 0 ? byTheClock() : inTurn())
const { user, system } = process.cpuUsage(cpu)
await new Promise((resolve) => setTimeout(resolve, LINGER_MS))
const classes = Object.fromEntries(Object.entries(seen).map(([name, of]) => [name, told(of)]))
const interactive = quantile([...seen.list.okMs, ...seen.search.okMs], 0.99)
const cores = (user + system) / 1_000 / (seconds * 1_000)
console.log(JSON.stringify({ seconds, offered, served, cores, late: quantile(lateMs, 0.99), classes, interactive }))
process.exit()

/** At random times, as from many clients that know nothing of each other. */
async function byTheClock() {
  let due = performance.now()
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const now = performance.now()
      for (; due <= now; due += (-Math.log(1 - Math.random()) * 1_000) / rate) {
        if (due >= until) {
          clearInterval(timer)
          return resolve()
        }
        lateMs.push(now - due)
        one()
      }
    }, STEP_MS)
  })
}

async function inTurn() {
  onAnswer = () => performance.now() < until && one()
  for (let at = 0; at < inFlight; at++) one()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
}

async function inPauses() {
  const pause = (feed) =>
    setTimeout(() => performance.now() < until && one(feed, READS), -Math.log(1 - Math.random()) * LOOKED_AT_MS)
  onAnswer = pause
  feeds.forEach(pause)
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
}

function one(feed = feeds[random(FEEDS)], kinds = KINDS.length) {
  offered += 1
  const kind = random(kinds)
  const of = seen[OF[kind]]
  of.count += 1
  if (KINDS[kind] === null) return send(of)
  const frame = KINDS[kind][random(KINDS[kind].length)]
  const id = ++last
  const { socket, waiting } = feed
  waiting.set(id, [of, performance.now()])
  const bytes = Buffer.from(frame.bytes)
  for (let at = frame.at + DIGITS - 1, rest = id; rest > 0; rest = (rest / 10) | 0) bytes[at--] = 48 + (rest % 10)
  socket.write(bytes)
}

function answered(of, since, code, feed) {
  const now = performance.now()
  const ms = now - since
  if (code === null) {
    of.okMs.push(ms)
    if (ms <= PATIENCE_MS && since < until && now < until + PATIENCE_MS) served += 1
  } else {
    of.refusedMs.push(ms)
    of.refused[code] = (of.refused[code] ?? 0) + 1
  }
  onAnswer(feed)
}

/** Whole frames but for their ids. A mask of zeros leaves the text as it is. */
function frames(method, all) {
  return all.map((params) => {
    const body = Buffer.from(`${HEAD}${ID},"method":"${method}","params":${JSON.stringify(params)}}`)
    const length = body.length < 126 ? [0x80 | body.length] : [0xfe, body.length >> 8, body.length & 0xff]
    const head = Buffer.from([0x81, ...length, 0, 0, 0, 0])
    return { bytes: Buffer.concat([head, body]), at: head.length + HEAD.length }
  })
}

function openFeed() {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      ),
    )
    const feed = { socket, waiting: new Map() }
    socket.setNoDelay(true).on('error', reject)
    if (asked === 0) return resolve({ socket, waiting: { set() {} } })
    socket.once('data', (chunk) => {
      if (!chunk.latin1Slice(0, 12).endsWith('101')) return reject(new Error(String(chunk)))
      socket.on('data', frameReader(feed))
      resolve(feed)
    })
  })
}

function frameReader(feed) {
  let rest = null
  return (chunk) => {
    let at = 0
    if (rest) chunk = Buffer.concat([rest, chunk])
    for (rest = null; ;) {
      const short = chunk[at + 1]
      const head = short === 126 ? 4 : short === 127 ? 10 : 2
      if (at + head > chunk.length) break
      const length =
        short < 126 ? short : short === 126 ? chunk.readUInt16BE(at + 2) : Number(chunk.readBigUInt64BE(at + 2))
      if (at + head + length > chunk.length) break
      if (chunk[at] === 0x81) answer(feed, chunk, at + head, length)
      at += head + length
    }
    if (at < chunk.length) rest = at === 0 ? chunk : chunk.subarray(at)
  }
}

function answer(feed, chunk, at, length) {
  const begin = at + HEAD.length
  const id = Number(chunk.latin1Slice(begin, begin + DIGITS))
  const [of, since] = feed.waiting.get(id)
  feed.waiting.delete(id)
  // `,"result"` or `,"error"`
  if (chunk[begin + DIGITS + 2] === 0x72) return answered(of, since, null, feed)
  const code = /"code":"([A-Z_]+)"/.exec(chunk.latin1Slice(begin, at + length))
  answered(of, since, code?.[1] ?? 'no code', feed)
}

function send(of) {
  const since = performance.now()
  if (asked === 0) return
  const sender = idleSenders.pop() ?? (senders < SENDERS_MAX ? openSender() : null)
  if (!sender) return answered(of, since, 'no connection was free')
  sender.ask(of, since)
}

function openSender() {
  senders += 1
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  let asked = null
  let head = ''
  let missing = -1
  let status = 0
  const end = (code) => {
    const was = asked
    asked = null
    if (was) answered(was.of, was.since, code)
  }
  const sender = {
    ask(of, since) {
      asked = { of, since }
      const id = ids[random(ids.length)]
      socket.write(
        `GET /libraries/${library}/files/${id} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      )
    },
  }
  socket.on('error', () => {})
  socket.on('close', () => {
    senders -= 1
    const at = idleSenders.indexOf(sender)
    if (at >= 0) idleSenders.splice(at, 1)
    end('closed')
  })
  socket.on('data', (chunk) => {
    let body = chunk.length
    if (missing < 0) {
      head += chunk.latin1Slice()
      const at = head.indexOf('\r\n\r\n')
      if (at < 0) return
      status = Number(head.slice(9, 12))
      missing = Number(/content-length: (\d+)/i.exec(head)[1])
      body = head.length - at - 4
      head = ''
    }
    missing -= body
    if (missing > 0) return
    missing = -1
    idleSenders.push(sender)
    end(status === 200 ? null : `HTTP ${status}`)
  })
  return sender
}

function newSeen() {
  return { count: 0, okMs: [], refusedMs: [], refused: {} }
}

function told({ count, okMs, refusedMs, refused }) {
  const ok = okMs.length
  return {
    count,
    ok,
    p50: quantile(okMs, 0.5),
    p99: quantile(okMs, 0.99),
    refused,
    refusedP99: quantile(refusedMs, 0.99),
  }
}

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

function random(below) {
  return Math.floor(Math.random() * below)
}
