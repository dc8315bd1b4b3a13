// Native code in the daemon's own process takes every descriptor there is.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { mkdirSync, writeFileSync } from 'node:fs'
import test, { type ExecutionContext } from 'ava'
import type { Descriptors } from '../../src/protocol/messages.js'
import { kinds } from '../front/stage.js'
import { eventually, LAUNCHER, sleep, within, type TestDaemon } from '../harness/daemon.js'
import { keepsPromise } from '../harness/promise.js'
import { punctually } from '../harness/punctual.js'
import { Rogue } from '../harness/rogue.js'
import { play } from '../harness/scene.js'

const LIMIT = 256
/** More than there are. */
const ALL = 10 * LIMIT
const NEWCOMER_MS = 700
const PAUSE_MS = 200

const linux = process.platform === 'linux' ? test.serial : test.serial.skip
if (process.platform !== 'linux') console.log('scenario 12 was not run: it preloads code as only Linux does')

for (const front of await kinds()) {
  linux(
    `scenario 12: ${front}: a hog takes everything, is named, and those who are in do not notice`,
    punctually((t) =>
      play(async (scene) => {
        mkdirSync(scene.path('node_modules', 'hog'), { recursive: true })
        const eaten = scene.path('node_modules', 'hog', 'data.bin')
        writeFileSync(eaten, '')
        const rogue = new Rogue(scene.directory, eaten)
        const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}`, args: ['--front', front], env: rogue.env })
        const { library } = await daemon.index('library', scene.tree('tree', 50))
        const guest = new Guest(daemon)
        scene.atEnd(() => guest.leave())
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
        let recoveredMs = 0
        let endedAt = 0
        await keepsPromise(daemon, {
          libraries: [library],
          begin: async () => {
            guest.come()
            await daemon.call('core.ping', {}, { agent })
            rogue.hold(ALL)
            // But for one that the node front, which must not let accept fail, has lent from the reserve in advance.
            await eventually('not one is left', 60_000, () => daemon.descriptorCount >= LIMIT - 1)
          },
          during: async () => {
            const alarm = await eventually('the hog is named', 60_000, async () => {
              return (await daemon.call('core.status', {}, { agent })).descriptors.leak
            })
            t.is(alarm.likeliest.holder, 'package hog')
            t.true(alarm.targets.includes(eaten))
            const { descriptors } = await daemon.call('core.status', {}, { agent })
            t.is(descriptors.level, 'critical')
            await eventually('everybody else has a name', 60_000, async () => {
              const held: Descriptors = await daemon.call('core.descriptors', {}, { agent })
              return held.unaccounted.every(({ target }) => target === eaten)
            })
            await answersFromReserve(t, daemon)
            t.deepEqual(guest.failures, [])
          },
          end: async () => {
            await guest.leave()
            agent.destroy()
            rogue.hold(0)
            endedAt = performance.now()
          },
          recovered: async () => {
            if (daemon.descriptorCount >= LIMIT / 2 || !(await isServed(daemon).catch(() => false))) return false
            recoveredMs = performance.now() - endedAt
            return true
          },
        })
        t.log(`a newcomer was served ${Math.round(recoveredMs)} ms after it ended`)
        await eventually(
          'no leak is told of any more',
          60_000,
          async () => (await daemon.status()).descriptors.leak === undefined,
        )
        t.is((await daemon.stop()).code, 0)
      }),
    ),
  )
}

/** Who is in and goes on asking: whoever has done nothing for a second gives way when it is critical. */
class Guest {
  readonly failures: string[] = []
  readonly #daemon: TestDaemon
  #left = false
  #asking: Promise<void> | null = null

  constructor(daemon: TestDaemon) {
    this.#daemon = daemon
  }

  come(): void {
    this.#asking = this.#ask()
  }

  async leave(): Promise<void> {
    this.#left = true
    await this.#asking
  }

  /** One after another over one connection: a second would be a newcomer. */
  async #ask(): Promise<void> {
    while (!this.#left) {
      await this.#daemon.call('core.ping').catch((error) => this.failures.push(String(error)))
      await sleep(PAUSE_MS)
    }
  }
}

/** Of the reserve: newcomers are told why, and commands are answered. */
async function answersFromReserve(t: ExecutionContext, daemon: TestDaemon): Promise<void> {
  await eventually('a newcomer is told why', 30_000, async () => {
    const fate = await fateOfNewcomer(daemon)
    t.notRegex(fate, /^HTTP\/1\.1 200/)
    return /^HTTP\/1\.1 503 [\s\S]*"CONNECTION_LIMIT"/.test(fate)
  })
  const shown = await eventually('fds answers', 60_000, async () => {
    const told = await said(daemon, 'fds')
    return told.code === 0 ? told.text : ''
  })
  t.regex(shown, /^ *\d+ +\S*data\.bin /m)
  await eventually('the doctor names it', 60_000, async () => /package hog/.test((await said(daemon, 'doctor')).text))
}

/** Over a connection of its own, which says nothing: what was sent and not read could have the answer thrown away. */
function fateOfNewcomer({ port }: TestDaemon): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes: Buffer) => (text += bytes.toString()))
  socket.on('error', () => undefined)
  const closed = once(socket, 'close').then(() => text)
  return within(NEWCOMER_MS, 'a word', closed)
    .catch(() => text || 'nobody answers')
    .finally(() => socket.destroy())
}

async function isServed(daemon: TestDaemon): Promise<boolean> {
  const { status, body } = await daemon.ask('/health', { agent: new http.Agent() })
  return status === 200 && body === '{"status":"ok"}'
}

/** A command in a process of its own, while this one goes on. */
async function said(daemon: TestDaemon, command: string): Promise<{ code: number; text: string }> {
  const child = spawn(LAUNCHER, [command, '--data-dir', daemon.dataDir], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (text += bytes.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, text }
}
