// connect() in Node: http, https and the unix socket, on the WebSocket of ws.
import type { IncomingMessage } from 'node:http'
import { connect as connectSocket } from 'node:net'
import { WebSocket } from 'ws'
import { errnoOf, fromWire, isErrorCode, SpacedriveError, type WireError } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { Client, type ConnectOptions as Options, type Hearer, type Line } from './client.js'
import { shortageBehind } from './descriptors/shortage.js'

export interface ConnectOptions extends Options {
  /** Of a daemon that speaks TLS: the certificate that vouches for it, in PEM, where no known authority does. */
  readonly ca?: string
}

/** What Node says of a certificate for which nobody vouches, or of another name. */
const UNTRUSTED = /^(?:DEPTH_ZERO_)?SELF_SIGNED_CERT|^UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|^CERT_|^ERR_TLS_CERT_/

/**
 * @param url `http://HOST:PORT` or `https://HOST:PORT` (`ws`, `wss` are the same), or `unix:PATH` of the daemon's socket
 * @throws BAD_CONFIG for another url; NO_DAEMON, UNAUTHORIZED and whatever else the first connection is refused with
 */
export async function connect(url: string, { ca, ...options }: ConnectOptions = {}): Promise<Client> {
  const client = new Client((at, protocol, token, hearer) => openLine(at, protocol, token, ca, hearer), url, options)
  await client.open()
  return client
}

async function openLine(
  url: string,
  protocol: string,
  token: string | undefined,
  ca: string | undefined,
  hearer: Hearer,
): Promise<Line> {
  const ws = socketTo(url, protocol, token, ca)
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', (error) => reject(unreached(url, error)))
    ws.once('unexpected-response', (_request, response) => {
      void refusalOf(url, response).then((refusal) => (ws.terminate(), reject(refusal)))
    })
  })
  const line: Line = {
    get isOpen() {
      return ws.readyState === WebSocket.OPEN
    },
    send: (message) => ws.send(message),
    close: () => closed(ws),
  }
  ws.on('message', (bytes: Buffer, isBinary) => hearer.heard(isBinary ? bytes : bytes.toString('utf8')))
  ws.once('close', () => hearer.lost(line))
  return line
}

function socketTo(url: string, protocol: string, token: string | undefined, ca: string | undefined): WebSocket {
  const options = {
    ...(ca === undefined ? {} : { ca }),
    maxPayload: 64 * LIMITS.bodyBytesMax,
    handshakeTimeout: LIMITS.responseMs,
  }
  if (url.startsWith('unix:')) {
    const createConnection = () => connectSocket(url.slice('unix:'.length))
    return new WebSocket('ws://localhost/ws', [protocol], { ...options, createConnection })
  }
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const at = /^(?:http|ws)s?:/i.test(url) && URL.canParse(url) ? new URL('/ws', url.replace(/^http/i, 'ws')) : null
  const hint = 'Give http://HOST:PORT or https://HOST:PORT, or unix:PATH of the daemon.sock in its data directory.'
  if (!at) throw new SpacedriveError('BAD_CONFIG', `"${url}" is not the address of a daemon`, { hint })
  return new WebSocket(at, [protocol], { ...options, headers })
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
  if (UNTRUSTED.test(errnoOf(error) ?? '')) return untrusted(url, error)
  const absent = new SpacedriveError('NO_DAEMON', `${url}: ${error.message}`, { cause: error })
  return shortageBehind(error) ?? absent
}

/** Why the daemon did not open the connection, in its own words where it has some. */
async function refusalOf(url: string, response: IncomingMessage): Promise<SpacedriveError> {
  const { statusCode } = response
  const code = statusCode === 401 ? 'UNAUTHORIZED' : 'NO_DAEMON'
  const answered = new SpacedriveError(code, `${url} answered ${statusCode}`)
  try {
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
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
