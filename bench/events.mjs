// 1,000 subscribers, one in ten of which never reads, and 5,000 events a second for 60 s. Each that reads must get every event that is
// for it, in order, or exactly as many of them as it was told are lost. Once a second some are cut off and come back with
// the cursor of their last event. Twice: each subscriber follows one of 100 libraries; each follows everything.
import { fork, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const SUBSCRIBERS = Number(process.env.SUBSCRIBERS ?? 1_000)
const RATE = Number(process.env.RATE ?? 5_000)
const SECONDS = Number(process.env.SECONDS ?? 60)
const LIBRARIES = 100
/** Who does not read does not answer pings either, and is closed after 30 s: others take their places before. */
const DEAF_MS = 25_000

class Subscriber {
  constructor(http, index, library, told) {
    Object.assign(this, { http, index, library, told })
    /** Number of the last event of each library. */
    this.last = new Map()
    this.cursor = undefined
    this.gap = 0
    this.isVague = false
    this.missedMost = 0
    this.deaf = false
    this.isOpen = false
  }

  /** A follower that is behind by seconds may be too late with its request, and is closed: it tries again. */
  async open() {
    while (
      !(await this.attempt().then(
        () => true,
        () => false,
      ))
    )
      await new Promise((resolve) => setTimeout(resolve, 500))
  }

  attempt() {
    const ws = (this.ws = new WebSocket(this.http.replace('http', 'ws') + '/ws', ['spacedrive.v1'], {
      headers: { authorization: 'Bearer bench' },
    }))
    ws.on('error', () => undefined)
    ws.on('message', (bytes) => ws === this.ws && this.take(JSON.parse(bytes)))
    const { cursor } = this
    const params = { ...(this.library ? { library: this.library } : {}), ...(cursor ? { cursor } : {}) }
    this.seq = 0
    this.isOpen = false
    return new Promise((resolve, reject) => {
      this.ready = resolve
      ws.on('close', (code) => {
        reject(new Error(`closed: ${code}`))
        // Of one that was open: its follower was so far behind that it answered no ping in time.
        if (ws !== this.ws || !this.isOpen || this.deaf) return
        this.told.closed += 1
        void this.open()
      })
      ws.on('open', () => ws.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params })))
    })
  }

  take({ method, params, result }) {
    const { told } = this
    if (result) {
      this.cursor ??= result.cursor
      // Events of any library: no more than these may be lacking.
      if (result.missed) this.isVague = true
      this.missedMost += result.missed ?? 0
      told.missed += result.missed ?? 0
      this.isOpen = true
      return this.ready()
    }
    if (params.seq !== undefined && params.seq !== this.seq + 1) told.wrong += 1
    if (method === 'gap') {
      if (params.from !== this.seq + 1 || params.count !== params.to - this.seq) told.wrong += 1
      this.seq = params.to
      this.gap += params.count
      told.lost += params.count
      told.gaps += 1
    } else {
      this.seq = params.seq
      const { library, n, t } = params.event
      const before = this.last.get(library)
      // Of one library: what is lost is exactly what does not come. Of all, the sum is looked at in the end.
      if (before !== undefined) {
        const skipped = n - before - 1
        if (skipped < 0) told.wrong += 1
        if (this.library && !this.isVague && skipped !== this.gap) told.wrong += 1
        if (this.library && this.isVague && skipped > this.gap + this.missedMost) told.wrong += 1
        told.skipped += skipped
      }
      if (this.library) {
        this.gap = this.missedMost = 0
        this.isVague = false
      }
      this.last.set(library, n)
      told.events += 1
      if (told.events % 97 === 0 && told.latencies.length < 1e6) told.latencies.push(Date.now() - t)
    }
    this.cursor = params.cursor
  }

  async comeBack() {
    const ws = this.ws
    this.ws = null
    ws.terminate()
    this.told.cutOff += 1
    await this.open()
  }
}

async function follow([http, from, to, everything]) {
  const told = { events: 0, gaps: 0, lost: 0, missed: 0, skipped: 0, wrong: 0, cutOff: 0, closed: 0, latencies: [] }
  const subscribers = []
  const deaf = []
  const openDeaf = async (index) => {
    const one = new Subscriber(http, index, everything ? undefined : `l${index % LIBRARIES}`, {
      ...told,
      latencies: [],
    })
    one.deaf = true
    deaf.push(one)
    await one.open()
    one.ws.pause()
  }
  for (let index = from; index < to; index++) {
    if (index % 10 === 9) await openDeaf(index)
    else {
      const one = new Subscriber(http, index, everything ? undefined : `l${index % LIBRARIES}`, told)
      subscribers.push(one)
      await one.open()
    }
  }
  process.send('open')
  const cutting = setInterval(() => {
    for (let each = 0; each < 5; each++) {
      const one = subscribers[Math.floor(Math.random() * subscribers.length)]
      if (one.ws?.readyState === WebSocket.OPEN) void one.comeBack()
    }
  }, 1_000)
  const changing = setInterval(() => {
    for (const one of deaf.splice(0)) {
      one.ws.terminate()
      void openDeaf(one.index)
    }
  }, DEAF_MS)
  process.once('message', async ({ numbers }) => {
    clearInterval(cutting)
    clearInterval(changing)
    // Until all have come to the end, for as long as they come nearer to it.
    const isThrough = (one) =>
      [...one.last].every(([library, n]) => n === numbers[Number(library.slice(1))]) && one.last.size > 0
    for (let before = -1; !subscribers.every(isThrough) && told.events > before;) {
      before = told.events
      await new Promise((resolve) => setTimeout(resolve, 5_000))
    }
    const behind = subscribers.filter((one) => !isThrough(one)).length
    process.send({ ...told, behind }, () => process.exit(0))
  })
}

async function run(everything) {
  const server = spawn(process.execPath, [fileURLToPath(new URL('servers/events.mjs', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value)
  const { http } = await next()
  const half = SUBSCRIBERS / 2
  const followers = [0, half].map((from) =>
    fork(fileURLToPath(import.meta.url), ['follow', http, from, from + half, everything ? 'all' : '']),
  )
  await Promise.all(followers.map((each) => new Promise((resolve) => each.once('message', resolve))))
  server.stdin.write(JSON.stringify({ rate: RATE, seconds: SECONDS }) + '\n')
  const served = await next()
  const told = await Promise.all(
    followers.map((each) => {
      each.send({ numbers: served.numbers })
      return new Promise((resolve) => each.once('message', resolve))
    }),
  )
  server.stdin.end()
  const sum = (key) => told.reduce((total, each) => total + each[key], 0)
  const latencies = told.flatMap((each) => each.latencies).sort((one, other) => one - other)
  const at = (part) => latencies[Math.floor(latencies.length * part)]
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(0)
  const seconds = served.tookMs / 1_000
  console.log(everything ? 'each follows everything' : 'each follows one library of 100')
  console.log(
    `  ${(served.published / seconds).toFixed(0)} events/s published for ${seconds.toFixed(0)} s, ${(sum('events') / seconds).toFixed(0)} a second told to ${SUBSCRIBERS * 0.9} who read`,
  )
  console.log(
    `  told as lost ${sum('lost')} in ${sum('gaps')} gaps; ${sum('cutOff')} times one was cut off, ${sum('closed')} times closed for it answered no ping; came back missing ${sum('missed')}`,
  )
  console.log(
    `  latency p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; loop of the server p99 ${served.loopP99Ms.toFixed(0)} ms, max ${served.loopMaxMs.toFixed(0)} ms, ${(served.cpuPart * 100).toFixed(0)} % of a core`,
  )
  console.log(
    `  memory at most ${mib(served.rssMax)} MiB, unread ${mib(served.unreadBytes)} MiB; dropped by the server's count ${served.dropped}`,
  )
  // In both, what did not come is no more than what was told as lost or missed.
  const unsaid = Math.max(0, sum('skipped') - sum('lost') - sum('missed'))
  const wrong = sum('wrong') + sum('behind') + unsaid
  if (wrong > 0) console.log(`  out of order ${sum('wrong')}, behind ${sum('behind')}, unsaid ${unsaid}`)
  console.log(`  out of order, lost without a word, or not come to the end: ${wrong}${wrong === 0 ? '' : '  WRONG'}`)
  return wrong === 0
}

if (process.argv[2] === 'follow') {
  const [, , , http, from, to, everything] = process.argv
  await follow([http, Number(from), Number(to), everything === 'all'])
} else {
  const results = []
  for (const mode of (process.env.MODES ?? 'one,all').split(',')) results.push(await run(mode === 'all'))
  process.exit(results.every(Boolean) ? 0 : 1)
}
