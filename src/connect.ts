// connect() in Node: http, https and the unix socket, on the WebSocket of ws.
import type { IncomingMessage } from 'node:http'
import { connect as connectSocket } from 'node:net'
import { WebSocket } from 'ws'
import { errnoOf, fromWire, isErrorCode, SpacedriveError, type WireError } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { isSocketPath } from './base/places.js'
import { Client, refusedBy, type ConnectOptions as Options, type Line, type OpenLine } from './client.js'
import { shortageBehind } from './descriptors/shortage.js'

export interface ConnectOptions extends Options {
  /** Of a daemon that speaks TLS: the certificate that vouches for it, in PEM, where no known authority does. */
  readonly ca?: string
}

/** What Node says of a certificate for which nobody vouches, or of another name. */
const UNTRUSTED = /^(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|^CERT_|^ERR_TLS_CERT_/

/** Far more than a daemon says: who says more is none. */
const REFUSAL_BYTES_MAX = 1 << 16

const PLAIN = { hint: 'Give its address with http:// instead.' }
const MINE = { hint: 'Run this as the user who started the daemon, or ask by its address with a token.' }

/**
 * Waits for a daemon that is not there yet, or refuses for the moment, for 10 s: `patienceMs` and `connectPatienceMs` say for how
 * long. A program may be started before its daemon, or while that restarts.
 *
 * @param url `http://HOST:PORT` or `https://HOST:PORT` (`ws`, `wss` are the same), or `unix:PATH` of the daemon's socket
 * @throws BAD_CONFIG for another url; NO_DAEMON, UNAUTHORIZED and whatever else the first connection is refused with
 */
export async function connect(url: string, { ca, ...options }: ConnectOptions = {}): Promise<Client> {
  const client = new Client((...given) => openLine(ca, ...given), url, options)
  await client.open()
  return client
}

async function openLine(
  ca: string | undefined,
  ...[url, protocol, token, hearer, over]: Parameters<OpenLine>
): Promise<Line> {
  const ws = socketTo(url, protocol, token, ca)
  const giveUp = () => ws.terminate()
  over.addEventListener('abort', giveUp)
  let bytesRead = () => 0
  ws.once('upgrade', ({ socket }) => (bytesRead = () => socket.bytesRead))
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', (error) => reject(unreached(url, error)))
    ws.once('unexpected-response', (_request, response) => {
      void refusalOf(url, response).then((refusal) => (ws.terminate(), reject(refusal)))
    })
  }).finally(() => over.removeEventListener('abort', giveUp))
  const line: Line = {
    get isOpen() {
      return ws.readyState === WebSocket.OPEN
    },
    get received() {
      return bytesRead()
    },
    send: (message) => ws.send(message),
    close: () => closed(ws),
  }
  ws.on('message', (bytes: Buffer, isBinary) => hearer.heard(isBinary ? bytes : bytes.toString('utf8')))
  ws.once('close', (code) => hearer.lost(line, code))
  return line
}

function socketTo(url: string, protocol: string, token: string | undefined, ca: string | undefined): WebSocket {
  const options = { ...(ca === undefined ? {} : { ca }), maxPayload: 64 * LIMITS.bodyBytesMax }
  if (url.startsWith('unix:')) {
    const path = url.slice('unix:'.length)
    if (!isSocketPath(path)) throw noAddress(url, '`spacedrive status` says where the socket of the daemon is.')
    const createConnection = () => connectSocket(path)
    return new WebSocket('ws://localhost/ws', [protocol], { ...options, createConnection })
  }
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const at = /^(?:http|ws)s?:/i.test(url) && URL.canParse(url) ? new URL('/ws', url.replace(/^http/i, 'ws')) : null
  const hint = 'Give http://HOST:PORT or https://HOST:PORT, or unix:PATH of the daemon.sock in its data directory.'
  if (!at) throw noAddress(url, hint)
  return new WebSocket(at, [protocol], { ...options, headers })
}

function noAddress(url: string, hint: string): SpacedriveError {
  return new SpacedriveError('BAD_CONFIG', `"${url}" is not the address of a daemon`, { hint })
}

async function closed(ws: WebSocket): Promise<void> {
  if (ws.readyState === WebSocket.CLOSED) return
  const closing = new Promise((resolve) => ws.once('close', resolve))
  ws.close()
  const late = setTimeout(() => ws.terminate(), 1_000)
  await closing
  clearTimeout(late)
}

/** A name that cannot be looked up for lack of a descriptor is not a name that does not exist. */
function unreached(url: string, error: Error): SpacedriveError {
  const errno = errnoOf(error) ?? ''
  if (UNTRUSTED.test(errno)) return untrusted(url, error)
  if (errno === 'EPROTO')
    return new SpacedriveError('BAD_CONFIG', `${url}: no TLS is spoken there`, { cause: error, ...PLAIN })
  // Of a unix socket: that of another user.
  if (errno === 'EACCES') return new SpacedriveError('UNAUTHORIZED', `${url}: this user may not use it`, MINE)
  const absent = new SpacedriveError('NO_DAEMON', `${url}: ${error.message}`, { cause: error })
  return shortageBehind(error) ?? absent
}

/** Why the daemon did not open the connection, in its own words where it has some. */
async function refusalOf(url: string, response: IncomingMessage): Promise<SpacedriveError> {
  const { statusCode = 0, headers } = response
  const { 'retry-after': retryAfter, date, location: leadsTo } = headers
  const answered = refusedBy(url, statusCode, { retryAfter, date, leadsTo })
  try {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > REFUSAL_BYTES_MAX) return answered
      chunks.push(chunk)
    }
    const wire = JSON.parse(Buffer.concat(chunks).toString('utf8')) as WireError
    return isErrorCode(wire.code) ? fromWire(wire) : answered
  } catch {
    // Cut off, or no daemon of ours: what the status says has to do.
    return answered
  }
}

function untrusted(url: string, cause: Error): SpacedriveError {
  const hint = 'Give the certificate that vouches for it as `ca`, or to Node with NODE_EXTRA_CA_CERTS=FILE.'
  return new SpacedriveError('BAD_CONFIG', `${url} is not trusted: ${cause.message}`, { cause, hint })
}
