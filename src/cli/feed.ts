// Events of the running daemon, over a WebSocket on its unix socket.
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { SpacedriveError } from '../base/errors.js'
import type { Event } from '../protocol/messages.js'
import { parsed, refusalOf, textOf, unreachable } from './client.js'

export interface Filter {
  readonly types?: readonly string[]
  readonly library?: string
  readonly path?: string
  /** To go on after. */
  readonly cursor?: string
}

export interface Feed {
  /** Of the last event that came, or where it began. */
  readonly cursor: string
  /** Events after the cursor it was to go on after, of any kind, that are not kept any more; null where nobody knows. */
  readonly missed: number | null
  /** Rejects with NO_DAEMON when the daemon ends the feed; resolves after `close`. */
  readonly closed: Promise<void>
  close(): void
}

interface Subscribed {
  readonly cursor: string
  readonly missed?: number | null
}

interface EventParams {
  readonly seq: number
  readonly cursor: string
  readonly event: Event
}

/**
 * Subscribes; resolves once the daemon confirmed it, so that what happens afterwards is not missed.
 *
 * @param deliver gets each event and how many were dropped before it because this side read too slowly
 */
export async function openFeed(
  socket: string,
  filter: Filter,
  deliver: (event: Event, dropped: number) => void,
): Promise<Feed> {
  // Loaded here: the other commands start 40 ms sooner without it.
  const { WebSocket } = await import('ws')
  // Not the `ws+unix:` form, which takes the first colon in the path for its own.
  const ws = new WebSocket('ws://localhost/ws', ['spacedrive.v1'], { createConnection: () => connect(socket) })
  let seqLast = 0
  let cursor = ''
  let missed: number | null = 0
  let closing = false
  const closed = new Promise<void>((resolve, reject) => {
    ws.on('close', () => (closing ? resolve() : reject(new SpacedriveError('NO_DAEMON', 'the daemon ended the feed'))))
  })
  closed.catch(() => undefined)
  await new Promise<void>((resolve, reject) => {
    ws.on('error', (error) => reject(unreachable(socket, error)))
    ws.on('unexpected-response', (_request, incoming) => refused(incoming).then(reject, reject))
    ws.on('open', () => ws.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'events.subscribe', params: filter })))
    ws.on('message', (bytes: Buffer) => {
      const message = parsed(bytes.toString('utf8'))
      if (message?.id === 1) {
        if (message.error) return reject(refusalOf(200, message))
        ;({ cursor, missed = 0 } = message.result as Subscribed)
        return resolve()
      }
      if (message?.method !== 'event') return
      const params = message.params as EventParams
      deliver(params.event, Math.max(0, params.seq - seqLast - 1))
      ;({ seq: seqLast, cursor } = params)
    })
    closed.catch(reject)
  }).catch((error: unknown) => {
    closing = true
    ws.terminate()
    throw error
  })
  return {
    closed,
    missed,
    get cursor() {
      return cursor
    },
    close: () => {
      closing = true
      ws.terminate()
    },
  }
}

async function refused(incoming: IncomingMessage): Promise<SpacedriveError> {
  return refusalOf(incoming.statusCode ?? 0, parsed(await textOf(incoming)))
}
