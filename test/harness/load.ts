// Load on a daemon from outside: a crowd of connections in its own process, and clients that keep working.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Fates } from './crowd.js'
import { parsed, type TestDaemon } from './daemon.js'

/** Connects `count` times at once from another process. @param isKnown all show the token */
export function crowd({ port, token }: TestDaemon, count: number, isKnown = false) {
  const script = join(import.meta.dirname, 'crowd.js')
  const child = spawn(process.execPath, [script, String(port), String(count), ...(isKnown ? [token] : [])], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  return {
    pid: child.pid!,
    async fates(): Promise<Fates> {
      child.stdin.write('\n')
      const [line] = (await once(lines, 'line')) as [string]
      return JSON.parse(line) as Fates
    },
    /** Every connection of the crowd is gone then. */
    async leave(): Promise<void> {
      const exited = once(child, 'exit')
      child.stdin.end()
      await exited
    },
  }
}

export interface Work {
  /** Of each answer, in the order they came. */
  readonly latenciesMs: number[]
  readonly failures: string[]
}

/** Clients that each keep one connection and ask the same again and again, `pauseMs` after each answer, until told to stop. */
export class Workers {
  readonly #agents: http.Agent[] = []
  readonly #loops: Promise<void>[]
  #work: Work = { latenciesMs: [], failures: [] }
  #stopped = false

  constructor(daemon: TestDaemon, count: number, method: string, params: unknown, pauseMs: number) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    this.#loops = Array.from({ length: count }, () => this.#loop(daemon, body, pauseMs))
  }

  /** What was done since the last time this was asked. */
  take(): Work {
    const work = this.#work
    this.#work = { latenciesMs: [], failures: [] }
    return work
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#loops)
    for (const agent of this.#agents) agent.destroy()
  }

  async #loop(daemon: TestDaemon, body: string, pauseMs: number): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    this.#agents.push(agent)
    while (!this.#stopped) {
      const begun = performance.now()
      await daemon.ask('/rpc', { method: 'POST', body, agent }).then(
        (answer) => {
          this.#work.latenciesMs.push(performance.now() - begun)
          if (parsed(answer.body)?.result === undefined) this.#work.failures.push(answer.body)
        },
        (error: unknown) => this.#work.failures.push(String(error)),
      )
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
}

/** The most descriptors that were open at a time while `work` ran, looked at every few milliseconds. */
export async function mostDescriptors(daemon: TestDaemon, work: () => Promise<void>): Promise<number> {
  let most = 0
  const look = () => (most = Math.max(most, daemon.descriptorCount))
  const timer = setInterval(look, 3)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  look()
  return most
}
