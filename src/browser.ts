// What a browser gets of this package: connect(), on its own WebSocket and fetch. Nothing here, nor below it, is Node's.
import { fromWire, isErrorCode, SpacedriveError, type WireError } from './base/codes.js'
import { Client, type ConnectOptions, type Line, type OpenLine } from './client.js'

export { SpacedriveError, type ErrorCode } from './base/codes.js'
export { Client, type CallOptions, type ConnectOptions } from './client.js'
export type * from './protocol/messages.js'
export type { OperationName, ParamsOf } from './protocol/operations.js'
export type { Results } from './protocol/results.js'

/** How long the other side may take to close; as long as nothing was answered, to open. */
const CLOSE_MS = 1_000
const OPEN_MS = 30_000

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
    const late = setTimeout(giveUp, OPEN_MS)
    ws.onopen = () => (clearTimeout(late), resolve())
    ws.onclose = () => (clearTimeout(late), void refusalOf(url, token, over).then(reject))
  }).finally(() => over.removeEventListener('abort', giveUp))
  const line: Line = {
    get isOpen() {
      return ws.readyState === WebSocket.OPEN
    },
    send: (message) => ws.send(message),
    close: () => closed(ws),
  }
  ws.onmessage = ({ data }) => hearer.heard(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer))
  ws.onclose = () => hearer.lost(line)
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
  const asking = new AbortController()
  const giveUp = () => asking.abort()
  const late = setTimeout(giveUp, OPEN_MS)
  over.addEventListener('abort', giveUp)
  try {
    const response = await fetch(new URL('/rpc', url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"core.ping"}',
      signal: asking.signal,
    })
    const wire = (await response.json()) as WireError
    if (isErrorCode(wire.code)) return fromWire(wire)
  } catch {
    // No daemon, none of ours, or a page of somebody else's: all the same from here.
  } finally {
    clearTimeout(late)
    over.removeEventListener('abort', giveUp)
  }
  return none
}
