// Clients that each keep one connection and ask the same again and again, and what they had to wait for the answers.
import { setTimeout as sleep } from 'node:timers/promises'
import type { OperationName } from '../../protocol/operations.js'
import { ask, oneConnection, requestOf, type Line } from './line.js'

const PAUSE_MS = 20

export interface Served {
  readonly answers: number
  readonly failures: readonly string[]
  readonly p99Ms: number
}

export class Guests {
  readonly #lines: Line[]
  readonly #loops: Promise<void>[]
  #latenciesMs: number[] = []
  #failures: string[] = []
  #stopped = false

  constructor(url: string, token: string, count: number, operation: OperationName, params: object) {
    const body = requestOf(operation, params)
    this.#lines = Array.from({ length: count }, () => ({ url, token, agent: oneConnection() }))
    this.#loops = this.#lines.map((line) => this.#loop(line, body))
  }

  /** What happened since this was asked last. */
  take(): Served {
    const latenciesMs = this.#latenciesMs.toSorted((one, other) => one - other)
    const failures = this.#failures
    this.#latenciesMs = []
    this.#failures = []
    const p99Ms = latenciesMs[Math.floor(0.99 * latenciesMs.length)] ?? Number.NaN
    return { answers: latenciesMs.length, failures, p99Ms }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#loops)
    for (const { agent } of this.#lines) agent.destroy()
  }

  async #loop(line: Line, body: string): Promise<void> {
    while (!this.#stopped) {
      const begun = performance.now()
      await ask(line, body).then(
        () => this.#latenciesMs.push(performance.now() - begun),
        (error: unknown) => this.#failures.push(error instanceof Error ? error.message : String(error)),
      )
      await sleep(PAUSE_MS)
    }
  }
}
