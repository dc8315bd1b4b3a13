// Who may ask: by which address (Host), from which page (Origin), with which token.
// A browser page of another site can reach a loopback port; these checks, before any routing, are what stops it.
import type { Head } from './head.js'
import { OWNER, type Caller, type Tokens } from './tokens.js'

const SUBPROTOCOL = 'spacedrive.v1'
/** The same messages as MessagePack. */
export const SUBPROTOCOL_PACKED = 'spacedrive.v1.msgpack'
const SUBPROTOCOL_TOKEN = 'bearer.'

export class Access {
  readonly #hosts = new Set<string>()
  readonly #origins = new Set<string>()
  readonly #listeners: [host: string, port: number, secure: boolean][] = []
  #token = ''
  #bearer = ''
  readonly #tokens: Tokens

  constructor(token: string, hostsAllowed: readonly string[], tokens: Tokens) {
    this.#tokens = tokens
    this.renew(token, hostsAllowed)
  }

  /** Holds for whoever asks from now on; a WebSocket that is open stays. */
  renew(token: string, hostsAllowed: readonly string[]): void {
    this.#token = token
    this.#bearer = `Bearer ${token}`
    this.#hosts.clear()
    this.#origins.clear()
    for (const listener of this.#listeners) this.#allowListener(...listener)
    for (const host of hostsAllowed) {
      this.#allow(host, 'http')
      // A host beside our own is that of a proxy, which may speak TLS to the browser.
      this.#allow(host, 'https')
    }
  }

  /** Allows the addresses of a listener: the loopback names, and the host it was configured with. */
  listening(host: string, port: number, secure = false): void {
    this.#listeners.push([host, port, secure])
    this.#allowListener(host, port, secure)
  }

  #allowListener(host: string, port: number, secure: boolean): void {
    const scheme = secure ? 'https' : 'http'
    const bracketed = host.includes(':') ? `[${host}]` : host
    for (const name of ['127.0.0.1', 'localhost', '[::1]', bracketed]) {
      this.#allow(`${name}:${port}`, scheme)
      if (port === (secure ? 443 : 80)) this.#allow(name, scheme)
    }
  }

  #allow(host: string, scheme: 'http' | 'https'): void {
    this.#hosts.add(host.toLowerCase())
    this.#origins.add(`${scheme}://${host.toLowerCase()}`)
  }

  hostAllowed(host: string): boolean {
    return this.#hosts.has(host) || this.#hosts.has(host.toLowerCase())
  }

  /** An absent Origin is no browser, or a page asking its own server. `null` is a sandboxed page or a local file. */
  originAllowed(head: Head): boolean {
    if (head.site === 'cross-site') return false
    return head.origin === undefined || this.#origins.has(head.origin.toLowerCase())
  }

  /** Who asks; the token that was given where it is none of ours; null where none was. */
  identify({ authorization, protocols }: Head, upgrades: boolean): Caller | string | null {
    if (authorization !== undefined && sameText(authorization, this.#bearer)) return OWNER
    const given = authorization === undefined ? null : secretIn(authorization)
    const caller = given === null ? null : this.#callerOf(given)
    if (caller || !upgrades) return caller ?? given
    const offered = secretAmong(protocols)
    return offered === null ? given : (this.#callerOf(offered) ?? offered)
  }

  #callerOf(secret: string): Caller | null {
    return sameText(secret, this.#token) ? OWNER : this.#tokens.callerOf(secret)
  }
}

/** The token among the sub-protocols of a WebSocket: the only header a browser's script can set there. */
function secretAmong(protocols: string | undefined): string | null {
  const given = splitProtocols(protocols).find((each) => each.startsWith(SUBPROTOCOL_TOKEN))
  return given === undefined ? null : given.slice(SUBPROTOCOL_TOKEN.length)
}

/** What an Authorization header gives as the token, Bearer or the password of Basic; or null. */
function secretIn(authorization: string): string | null {
  const space = authorization.indexOf(' ')
  const scheme = authorization.slice(0, space).toLowerCase()
  const credentials = authorization.slice(space + 1).trim()
  if (scheme === 'bearer') return credentials
  if (scheme !== 'basic') return null
  const decoded = Buffer.from(credentials, 'base64').toString()
  return decoded.includes(':') ? decoded.slice(decoded.indexOf(':') + 1) : null
}

/** The sub-protocol to answer with: the first of ours that was offered, never the token. */
export function chosenProtocol(offered: Iterable<string>): string {
  for (const each of offered) if (each === SUBPROTOCOL || each === SUBPROTOCOL_PACKED) return each
  return ''
}

export function splitProtocols(protocols: string | undefined): string[] {
  return protocols === undefined ? [] : protocols.split(',').map((each) => each.trim())
}

/** Takes the same time wherever the two differ; only a wrong length shows. A loop, as timingSafeEqual needs two Buffers. */
function sameText(given: string, expected: string): boolean {
  if (given.length !== expected.length) return false
  let difference = 0
  for (let index = 0; index < expected.length; index += 1) {
    difference |= given.charCodeAt(index) ^ expected.charCodeAt(index)
  }
  return difference === 0
}
