// A front on real sockets, with counted slots and a dispatch that the test decides; the same for both implementations.
import assert from 'node:assert'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import type { Front, FrontSetup, Slots } from '../../src/front/front.js'
import { openFront } from '../../src/front/open.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { Events } from '../../src/shard/events.js'

export const TOKEN = 'a-token-of-some-length-0123456789'
export type Kind = 'uws' | 'node'

/** What can run here: uWebSockets.js has no binary for every system, and SPACEDRIVE_FRONT restricts to one. */
export async function kinds(): Promise<Kind[]> {
  const only = process.env['SPACEDRIVE_FRONT']
  const loads = await import('uWebSockets.js').then(
    () => true,
    () => false,
  )
  const all: Kind[] = loads ? ['uws', 'node'] : ['node']
  return all.filter((kind) => !only || kind === only)
}

export class CountedSlots implements Slots {
  readonly max: Record<'clients' | 'control', number>
  readonly used = { clients: 0, control: 0 }
  readonly peak = { clients: 0, control: 0 }

  constructor(clients: number) {
    this.max = { clients, control: 4 }
  }

  take(slot: 'clients' | 'control', count: number): boolean {
    if (this.used[slot] + count > this.max[slot]) return false
    this.used[slot] += count
    this.peak[slot] = Math.max(this.peak[slot], this.used[slot])
    return true
  }

  ceiling(slot: 'clients' | 'control'): number {
    return this.max[slot]
  }

  give(slot: 'clients' | 'control', count: number): void {
    assert(this.used[slot] >= count, `more ${slot} given back than taken`)
    this.used[slot] -= count
  }
}

export class Bell extends Events {
  ring(fields: Record<string, unknown> = {}): void {
    this.publish({ type: 'job.changed', at: new Date().toISOString(), ...fields })
  }
}

export interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  body: string
}

export interface Asking {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: string | Buffer
  token?: string | null
  agent?: http.Agent
  unix?: boolean
}

export interface Stage {
  readonly front: Front
  readonly slots: CountedSlots
  readonly bell: Bell
  readonly port: number
  readonly socket: string
  ask(asking?: Asking): Promise<Answer>
  rpc(body: unknown, asking?: Asking): Promise<Answer>
  /** Sends bytes as they are and collects what comes until the other side closes, or for `ms`. */
  raw(text: string, ms?: number): Promise<string>
  feed(protocols?: string[], headers?: Record<string, string>): Promise<WebSocket>
}

export type StageOptions = Partial<FrontSetup> & { clients?: number; state?: Front['state'] }

export const pong: Dispatch = (_request, answer) => answer({ ok: true, json: '"pong"' })

export async function withStage(
  kind: Kind,
  options: StageOptions,
  play: (stage: Stage) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'front-'))
  const slots = new CountedSlots(options.clients ?? 100)
  const bell = new Bell()
  const front = await openFront({
    implementation: kind,
    http: { host: '127.0.0.1', port: 0 },
    socketPath: join(directory, 'daemon.sock'),
    token: TOKEN,
    hostsAllowed: [],
    slots,
    dispatch: pong,
    publisher: bell,
    newcomerIdleMs: Infinity,
    strangerMs: Infinity,
    strangersPart: Infinity,
    log: () => undefined,
    ...options,
  })
  front.state = options.state ?? 'serving'
  try {
    assert.equal(front.kind, kind)
    await play(stageOf(front, slots, bell))
  } finally {
    await front.drain(100)
    rmSync(directory, { recursive: true })
  }
  assert.deepEqual(slots.used, { clients: 0, control: 0 }, 'every slot is given back')
  assert.equal(front.connections().current, 0)
  assert.equal(bell.use.subscriptions, 0, 'every subscription has ended')
}

function stageOf(front: Front, slots: CountedSlots, bell: Bell): Stage {
  const { hostname: host, port: digits } = new URL(front.http ?? 'http://127.0.0.1')
  const port = front.http === null ? 0 : Number(digits || 80)
  const socket = front.socket ?? ''
  const ask = (asking: Asking = {}) => send({ host, port }, socket, asking)
  return {
    front,
    slots,
    bell,
    port,
    socket,
    ask,
    rpc: (body, asking = {}) =>
      ask({
        method: 'POST',
        path: '/rpc',
        ...asking,
        headers: { 'content-type': 'application/json', ...asking.headers },
        body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      }),
    raw: (text, ms) => raw(port, text, ms),
    feed: (protocols = ['spacedrive.v1', `bearer.${TOKEN}`], headers = {}) =>
      connect(`${host}:${port}`, protocols, headers),
  }
}

function send(listener: { host: string; port: number }, socket: string, asking: Asking): Promise<Answer> {
  const { method = 'GET', path = '/', headers = {}, body, token = TOKEN, unix = false } = asking
  const where = unix ? { socketPath: socket } : listener
  const authorization: Record<string, string> = token === null || unix ? {} : { authorization: `Bearer ${token}` }
  return new Promise((resolve, reject) => {
    const options = { ...where, method, path, headers: { ...authorization, ...headers }, agent: asking.agent ?? false }
    const req = http.request(options, (res) => {
      const parts: Buffer[] = []
      res.on('data', (part: Buffer) => parts.push(part))
      res.on('end', () => {
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(parts).toString() })
      })
      res.on('error', reject)
    })
    req.on('error', reject)
    req.end(body)
  })
}

function raw(port: number, text: string, ms = 20_000): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    let got = ''
    const timer = setTimeout(() => socket.destroy(), ms)
    socket.on('data', (part) => (got += part.toString()))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(got)
    })
    socket.write(text)
  })
}

function connect(address: string, protocols: string[], headers: Record<string, string>): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${address}/ws`, protocols, { headers })
    ws.on('open', () => resolve(ws))
    ws.on('unexpected-response', (_req, res) => reject(new Error(String(res.statusCode))))
    ws.on('error', reject)
  })
}

/** A message, as loosely as the assertions look at it. */
// oxlint-disable-next-line typescript/no-explicit-any
type Message = any

/** The next message of a WebSocket, parsed. Messages that come while nobody waits are kept in order. */
export function reader(ws: WebSocket): () => Promise<Message> {
  const kept: unknown[] = []
  const waiting: ((message: unknown) => void)[] = []
  ws.on('message', (bytes) => {
    const message: unknown = JSON.parse(bytes.toString())
    const next = waiting.shift()
    if (next) next(message)
    else kept.push(message)
  })
  return () => (kept.length > 0 ? Promise.resolve(kept.shift()) : new Promise((resolve) => waiting.push(resolve)))
}

export function closing(ws: WebSocket): Promise<number> {
  return new Promise((resolve) => ws.on('close', (code) => resolve(code)))
}

/** POST /rpc, as it is sent. */
export function rpcText(port: number, message: object): string {
  const body = JSON.stringify(message)
  const lines = [
    'POST /rpc HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    `Authorization: Bearer ${TOKEN}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

export async function until(condition: () => boolean, what: string, ms = 20_000): Promise<void> {
  const end = Date.now() + ms
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${what}`)
    await sleep(5)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

export const ping = (id?: number) => ({ jsonrpc: '2.0', ...(id === undefined ? {} : { id }), method: 'core.ping' })

export const fileAsked = (id: number) => ({
  jsonrpc: '2.0',
  id,
  method: 'files.get',
  params: { library: '01a20942-1332-77fa-ab45-4a2e15942043', id: String(id) },
})
