// One request over HTTP with the token, on a connection that the agent keeps.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { SpacedriveError, toWire } from '../../base/errors.js'
import { parsed, refusalOf, textOf } from '../client.js'

const PATIENCE_MS = 10_000
const AGAIN_MS = 50

export interface Line {
  readonly url: string
  readonly token: string
  readonly agent: http.Agent
}

/** @throws what the daemon answered, or TIMEOUT */
export async function ask<Result>({ url, token, agent }: Line, body: string): Promise<Result> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const outgoing = http.request(new URL('/rpc', url), { agent, method: 'POST', headers }, (incoming) => {
      textOf(incoming).then((whole) => resolve({ status: incoming.statusCode ?? 0, text: whole }), reject)
    })
    const late = new SpacedriveError('TIMEOUT', `no answer within ${PATIENCE_MS / 1_000} s`)
    outgoing.setTimeout(PATIENCE_MS, () => outgoing.destroy(late))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
  const message = parsed(text)
  if (message !== null && 'result' in message) return message['result'] as Result
  throw refusalOf(status, message)
}

/**
 * Who is refused at the door asks again, as it was told to: on a slow machine this one may itself be silent for so long that its
 * connection goes to somebody else.
 */
export async function askAgain<Result>(line: Line, body: string): Promise<Result> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await ask<Result>(line, body)
    } catch (error) {
      if (toWire(error).code !== 'CONNECTION_LIMIT' || performance.now() > until) throw error
      await sleep(AGAIN_MS)
    }
  }
}

export function requestOf(operation: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method: operation, params })
}

/** Agents of one connection each. */
export function oneConnection(): http.Agent {
  return new http.Agent({ keepAlive: true, maxSockets: 1 })
}
