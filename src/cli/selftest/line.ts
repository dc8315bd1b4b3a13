// One request over HTTP with the token, on a connection that the agent keeps.
import http from 'node:http'
import { SpacedriveError } from '../../base/errors.js'
import { parsed, refusalOf, textOf } from '../client.js'

const PATIENCE_MS = 10_000

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

export function requestOf(operation: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method: operation, params })
}

/** Agents of one connection each. */
export function oneConnection(): http.Agent {
  return new http.Agent({ keepAlive: true, maxSockets: 1 })
}
