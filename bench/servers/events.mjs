// The front and the events of a daemon, in a process of their own: what happens is published where the messages of shards arrive.
// node servers/events.mjs: tells its address, then, for each line {rate, seconds} on its standard input, what came of it.
import { createInterface } from 'node:readline'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { openFront } from '../../dist/src/front/open.js'
import { Events } from '../../dist/src/shard/events.js'

export const LIBRARIES = 100

const events = new Events()
const front = await openFront({
  implementation: process.env.FRONT ?? 'auto',
  http: { host: '127.0.0.1', port: 0 },
  socketPath: null,
  token: 'bench',
  hostsAllowed: [],
  slots: { take: () => true, give: () => undefined, ceiling: () => 10_000 },
  dispatch: (_request, answer) => answer({ ok: true, json: '"pong"' }),
  publisher: events,
  log: () => undefined,
})
front.state = 'serving'
console.log(JSON.stringify({ http: front.http }))

const numbers = new Array(LIBRARIES).fill(0)
const directories = ['/srv/photos/2026/11/29']

async function publish({ rate, seconds }) {
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  const begun = performance.now()
  const cpu = process.cpuUsage()
  let published = 0
  let rssMax = 0
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      const passed = performance.now() - begun
      for (const due = Math.min(rate * seconds, (passed * rate) / 1_000); published < due; published++) {
        const library = published % LIBRARIES
        const at = new Date().toISOString()
        const n = ++numbers[library]
        events.publish({ type: 'entries.changed', library: `l${library}`, at, n, t: Date.now(), added: 1, directories })
      }
      rssMax = Math.max(rssMax, process.memoryUsage.rss())
      if (published < rate * seconds) return
      clearInterval(timer)
      resolve()
    }, 2)
  })
  const { user, system } = process.cpuUsage(cpu)
  const tookMs = performance.now() - begun
  delay.disable()
  return {
    published,
    tookMs,
    cpuPart: (user + system) / 1_000 / tookMs,
    loopP99Ms: delay.percentile(99) / 1e6,
    loopMaxMs: delay.max / 1e6,
    rssMax,
    rss: process.memoryUsage.rss(),
    numbers,
    unreadBytes: front.connections().unreadBytes,
    ...events.use,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await publish(JSON.parse(line))))
}
await front.drain(0)
