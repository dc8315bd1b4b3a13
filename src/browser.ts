// What a browser gets of this package: connect(), on its own WebSocket and fetch. Nothing here, nor below it, is Node's.
import { fromWire, isErrorCode, SpacedriveError, type WireError } from './base/codes.js'
import { Client, refusedBy, type ConnectOptions, type Line, type OpenLine } from './client.js'

export { SpacedriveError, type ErrorCode } from './base/codes.js'
export { Client, type CallOptions, type ConnectOptions } from './client.js'
export type * from './protocol/messages.js'
export type { OperationName, ParamsOf } from './protocol/operations.js'
export type { Results } from './protocol/results.js'

/** How long the other side may take to close. */
const CLOSE_MS = 1_000

/**
 * Waits for a daemon that is not there, or refuses for the moment, as it does in Node.
 *
 * @param url `http://HOST:PORT` of a daemon that allows the page's host: its own, or one of `--allow-host`
 * @throws NO_DAEMON, UNAUTHORIZED and whatever else the first connection is refused with
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  const client = new Client(openLine, url, options)
  await client.open()
  return client
}

/** A script can set no header of a WebSocket but its sub-protocols, so that the token goes there. */
async function openLine(...[url, protocol, token, hearer, over]: Parameters<OpenLine>): Promise<Line> {
  const ws = new WebSocket(
    new URL('/ws', url.replace(/^http/, 'ws')),
    token === undefined ? [protocol] : [protocol, `bearer.${token}`],
  )
  ws.binaryType = 'arraybuffer'
  const giveUp = () => ws.close()
  over.addEventListener('abort', giveUp)
  await new Promise<void>((resolve, reject) => {
    ws.onopen = () => resolve()
    ws.onclose = () => void refusalOf(url, token, over).then(reject)
  }).finally(() => over.removeEventListener('abort', giveUp))
  let received = 0
  const line: Line = {
    get isOpen() {
      return ws.readyState === WebSocket.OPEN
    },
    get received() {
      return received
    },
    send: (message) => ws.send(message),
    close: () => closed(ws),
  }
  ws.onmessage = ({ data }) => {
    received += 1
    hearer.heard(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer))
  }
  ws.onclose = ({ code }) => hearer.lost(line, code)
  return line
}

function closed(ws: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    if (ws.readyState === WebSocket.CLOSED) return resolve()
    setTimeout(resolve, CLOSE_MS)
    ws.addEventListener('close', () => resolve())
    ws.close()
  })
}

/** A page is not told why its WebSocket was refused. Asked by HTTP the daemon says it, to pages that are its own. */
async function refusalOf(url: string, token: string | undefined, over: AbortSignal): Promise<SpacedriveError> {
  const none = new SpacedriveError('NO_DAEMON', `${url}: no WebSocket was opened`)
  if (over.aborted) return none
  try {
    const response = await fetch(new URL('/rpc', url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"core.ping"}',
      signal: over,
    })
    const wire = (await response.json().catch(() => null)) as WireError | null
    if (isErrorCode(wire?.code)) return fromWire(wire)
    const said = { retryAfter: response.headers.get('retry-after'), date: response.headers.get('date') }
    return response.ok ? none : refusedBy(url, response.status, said)
  } catch {
    // No daemon, or a page of somebody else's: all the same from here.
    return none
  }
}
