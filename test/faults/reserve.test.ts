// The reserve in a daemon that has nothing else left: it is had back when somebody stole it, and it is enough to stop on.
import { existsSync, writeFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { eventually, sleep, type Asking } from '../harness/daemon.js'
import { Intruder } from '../harness/intruder.js'
import { keepsPromise } from '../harness/promise.js'
import { punctually } from '../harness/punctual.js'
import { play, type Scene } from '../harness/scene.js'

test.serial(
  'scenario 14: a reserve that another thread stole is missed, nothing spins, and it is the first to be had back',
  punctually(async (t) => {
    await play(async (scene) => {
      const thief = new Thief(scene)
      const daemon = await scene.daemon({ limit: '512:512', env: thief.env })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const log = join(daemon.dataDir, 'logs', 'daemon.log')
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      /** Null where the answer is that there is no descriptor for whoever asks. */
      const whole = async (asking: Asking = { agent }) => {
        const status = await daemon.call('core.status', {}, asking).catch(() => null)
        return status && status.descriptors.reserveHeld === status.descriptors.reserve
      }
      // Who is in goes on asking: whoever has done nothing for a second gives way when it is critical.
      const failures: string[] = []
      let asking = true
      const ask = async () => {
        for (; asking; await sleep(50)) await daemon.call('core.ping').catch((error) => failures.push(String(error)))
      }
      let asked: Promise<void> | undefined
      const newcomers: Socket[] = []
      scene.atEnd(() => newcomers.forEach((each) => each.destroy()))
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          t.true(await whole())
          asked = ask()
          thief.begin()
        },
        during: async () => {
          await eventually('a loan was stolen, and that is noticed', 60_000, async () => {
            // Removed, the log is begun anew, for which a descriptor of the reserve is let go: for no longer than that, and on
            // one core no thread comes between. Who comes and cannot be let in is told so on one that is lent for a second.
            rmSync(log, { force: true })
            newcomers.push(connect(daemon.port, '127.0.0.1').on('error', () => undefined))
            return (await whole()) === false
          })
          thief.rest()
          for (const each of newcomers) each.destroy()
          const before = daemon.cpuSeconds
          const begun = performance.now()
          await sleep(1_000)
          t.is(await daemon.watch('core.ping'), 'pong')
          t.true((daemon.cpuSeconds - before) / ((performance.now() - begun) / 1000) < 0.9, 'nothing spins')
          asking = false
          await asked
          t.deepEqual(failures, [], 'who is in is served')
        },
        end: () => {
          agent.destroy()
          thief.end()
        },
        recovered: async () => (await whole({})) === true,
      })
      t.is((await daemon.stop()).code, 0)
    })
  }),
)

test.serial(
  'scenario 50: SIGTERM without a free descriptor: jobs stop at their checkpoint, all is closed, exit 0 in time',
  punctually(async (t) => {
    await play(async (scene) => {
      const intruder = new Intruder(scene)
      const daemon = await scene.daemon({ limit: '200:200', env: intruder.env })
      const tree = scene.tree('tree', 20_000, 500)
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const { job } = await daemon.call('locations.add', { library, path: tree })
      intruder.begin('hog')
      await eventually(
        'nothing is free',
        30_000,
        async () => (await daemon.call('core.status')).descriptors.open >= 200,
      )
      t.deepEqual(await daemon.stop(), { code: 0, signal: null })
      t.false(existsSync(join(daemon.dataDir, 'daemon.json')), 'it took its state away, for which it had to read it')
      intruder.end('hog')
      const next = await scene.daemon()
      await next.jobDone(library, job)
      t.is((await next.call('libraries.info', { library })).files, 20_000)
      t.is((await next.stop()).code, 0)
    })
  }),
)

/** Loans it steals at the most: somebody has to be let in on what is left of the reserve, and looked at. */
const STOLEN_MAX = 3

/**
 * A thread of somebody else that opens whatever can be opened, as fast as it can, and then what is let go of for a moment, a few
 * times; resting, it holds what it has.
 */
class Thief {
  readonly #flag: string
  readonly #rest: string
  readonly env: Readonly<Record<string, string>>

  constructor(scene: Scene) {
    this.#flag = scene.path('steal')
    this.#rest = scene.path('rest')
    const script = scene.path('thief.cjs')
    writeFileSync(
      script,
      `const { isMainThread, Worker } = require('node:worker_threads')
      const steal = (flag, rest) => {
        const fs = require('node:fs')
        const held = []
        let most = Infinity
        const pause = new Int32Array(new SharedArrayBuffer(4))
        for (;;) {
          if (!fs.existsSync(flag)) while (held.length > 0) fs.closeSync(held.pop())
          else if (!fs.existsSync(rest)) {
            const before = held.length
            for (let tries = 0; tries < 200 && held.length < most; tries++) try { held.push(fs.openSync('/dev/null')) } catch {}
            if (most === Infinity && held.length > 0 && held.length === before) most = held.length + ${STOLEN_MAX}
          }
          if (!fs.existsSync(flag) || fs.existsSync(rest) || held.length === most) Atomics.wait(pause, 0, 0, 5)
        }
      }
      if (isMainThread && process.argv.includes('start'))
        new Worker('(' + steal + ')(...require("node:worker_threads").workerData)', {
          eval: true, execArgv: [], workerData: ${JSON.stringify([this.#flag, this.#rest])},
        }).unref()`,
    )
    this.env = { NODE_OPTIONS: `--require ${script}` }
  }

  begin(): void {
    writeFileSync(this.#flag, '')
  }

  rest(): void {
    writeFileSync(this.#rest, '')
  }

  end(): void {
    rmSync(this.#flag)
  }
}
