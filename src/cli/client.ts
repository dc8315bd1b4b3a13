// A line to the running daemon: JSON-RPC over its unix socket, one kept-alive connection.
import { readFileSync } from 'node:fs'
import { Agent, request, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf, fromWire, SpacedriveError, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Paths } from '../base/places.js'
import { shortageBehind } from '../descriptors/shortage.js'
import type { DaemonState } from '../directory.js'
import type { OperationName } from '../protocol/operations.js'

/** The daemon gives up on an answer after `responseMs`; this only ends a wait for a daemon that hangs. */
const PATIENCE_MS = LIMITS.responseMs + 5_000

const SILENT = { hint: '`spacedrive doctor` tells why, and how to end it.' }

const BUSY = { hint: 'Try again shortly; `spacedrive status` tells what the daemon is busy with.' }
const BUSY_MS = 200

/** Nothing was begun, and the next moment may be better. */
function isBusy(error: unknown): error is SpacedriveError {
  return error instanceof SpacedriveError && ['OVERLOADED', 'SHARD_BUSY', 'STARTING'].includes(error.code)
}

export class Client {
  readonly socket: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  readonly #patienceMs: number
  #id = 0

  constructor(socket: string, patienceMs = PATIENCE_MS) {
    this.socket = socket
    this.#patienceMs = patienceMs
  }

  /**
   * Asks again for a while where the daemon has too much to do for the moment, or is starting.
   *
   * @param patienceMs 0 for what takes as long as it takes
   * @throws what the daemon answered, or NO_DAEMON where nobody does
   */
  async call<Result>(operation: OperationName, params: object = {}, patienceMs = this.#patienceMs): Promise<Result> {
    const until = performance.now() + LIMITS.cliBusyMs
    for (let tries = 0; ; tries++) {
      try {
        return await this.#ask<Result>(operation, params, patienceMs)
      } catch (error) {
        if (!isBusy(error) || operation.startsWith('core.')) throw error
        const waitMs = Math.max(error.retryAfterMs ?? 0, BUSY_MS * 2 ** tries * (0.5 + Math.random()))
        if (performance.now() + waitMs > until) throw new SpacedriveError(error.code, error.message, BUSY)
        await sleep(waitMs)
      }
    }
  }

  async #ask<Result>(operation: OperationName, params: object, patienceMs: number): Promise<Result> {
    this.#id += 1
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.#id, method: operation, params })
    const { status, text } = await post(this.socket, this.#agent, body, patienceMs)
    return read<Result>(status, text)
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** The state file names the socket in use: $XDG_RUNTIME_DIR, of which a long path is made, may differ in this shell. */
export function socketOf(paths: Paths): string {
  return readState(paths.state)?.socket ?? paths.socket
}

/** @throws BUDGET_EXHAUSTED where the file could not be opened for want of a descriptor: a daemon may run all the same */
export function readState(path: string): DaemonState | null {
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as DaemonState | null
    return typeof state?.pid === 'number' ? state : null
  } catch (error) {
    const shortage = shortageBehind(error)
    if (shortage) throw shortage
    // Absent, being replaced, or cut off by a full disk: none of them names a daemon.
    return null
  }
}

interface Answer {
  readonly status: number
  readonly text: string
}

function post(socketPath: string, agent: Agent, body: string, patienceMs: number): Promise<Answer> {
  const headers = { host: 'localhost', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, agent, path: '/rpc', method: 'POST', headers }, (incoming) => {
      textOf(incoming).then((text) => resolve({ status: incoming.statusCode ?? 0, text }), fail)
    })
    const fail = (error: unknown) => reject(unreachable(socketPath, error))
    outgoing.setTimeout(patienceMs, () => {
      outgoing.destroy(
        new SpacedriveError('TIMEOUT', `the daemon did not answer within ${patienceMs / 1_000} s`, SILENT),
      )
    })
    outgoing.on('error', fail)
    outgoing.end(body)
  })
}

export async function textOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

export function unreachable(socket: string, error: unknown): unknown {
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ELOOP':
    case 'ECONNREFUSED':
      return new SpacedriveError('NO_DAEMON', `no daemon is listening on ${socket}`, { cause: error })
    case 'ECONNRESET':
    case 'EPIPE':
      return new SpacedriveError('NO_DAEMON', 'the daemon went away before it answered', {
        cause: error,
        hint: '`spacedrive status` tells whether it runs, `spacedrive logs` what it last said.',
      })
    case 'EACCES':
    case 'EPERM':
      return new SpacedriveError('UNAUTHORIZED', `this user may not use ${socket}`, {
        cause: error,
        hint: 'Run this as the user who started the daemon, or name another --data-dir.',
      })
    case 'EAGAIN':
      // Of a unix socket it means that the queue of those who wait to be accepted is full.
      return new SpacedriveError('CONNECTION_LIMIT', 'the daemon accepts nobody, and its queue is full', {
        cause: error,
        hint: '`spacedrive doctor` tells why.',
      })
    default:
      return shortageBehind(error) ?? error
  }
}

function read<Result>(status: number, text: string): Result {
  const message = parsed(text)
  if (message !== null && 'result' in message) return message.result as Result
  throw refusalOf(status, message)
}

export interface RpcFailure {
  readonly code?: number
  readonly message?: string
  readonly data?: Partial<WireError>
}

function hintOf({ data }: RpcFailure): { hint?: string } {
  return data?.hint === undefined ? {} : { hint: data.hint }
}

/** An answer that is no result: a JSON-RPC error, or the refusal that is the body of an HTTP error. */
export function refusalOf(status: number, message: Record<string, unknown> | null): SpacedriveError {
  const failure = message?.error as RpcFailure | undefined
  // The errors of JSON-RPC itself are numbers: what was asked was wrong.
  if (typeof failure?.code === 'number' && failure.data?.code === undefined)
    return new SpacedriveError('BAD_REQUEST', failure.message ?? 'the request was refused', hintOf(failure))
  const wire = failure ? { ...failure.data, message: failure.message } : (message as Partial<WireError> | null)
  if (wire?.code === undefined)
    return new SpacedriveError('INTERNAL', `the daemon answered HTTP ${status} and no reason`)
  return fromWire({ retryable: false, hint: '', ...wire, code: wire.code, message: wire.message ?? 'no reason given' })
}

export function parsed(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null
  } catch {
    return null
  }
}
