// The listener of the line protocol, beside the front: the same gate, the same slots, the same drain.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { LIMITS } from '../base/limits.js'
import type { LogFile } from '../base/log.js'
import { doorOf } from '../front/door.js'
import { bareHost, listening } from '../front/address.js'
import { Desk } from '../front/desk.js'
import type { Connections, FrontSetup, Peer } from '../front/front.js'
import { Gate, refusalBody, Seat, type Reason } from '../front/gate.js'
import type { Idle } from '../front/idle.js'
import { Room } from '../front/room.js'
import { SpacedriveError, type WireError } from '../base/errors.js'
import { refused } from './envelope.js'
import { Interpreter } from './events.js'
import { Line, type LineSetup } from './line.js'
import type { Here } from './tongue.js'

const LOOK_MS = 1_000

export async function openLines(
  setup: FrontSetup,
  where: { readonly host: string; readonly port: number },
  here: Here,
  hear: LogFile['hear'],
): Promise<LineFront> {
  const lines = new LineFront(setup, here, hear)
  await lines.listen(bareHost(where.host), where.port)
  return lines
}

interface Visitor {
  readonly line: Line
  readonly peer: string
}

export class LineFront {
  /** `HOST:PORT` with the true port. */
  address = ''
  port = 0
  readonly desk: Desk
  readonly #gate: Gate
  readonly #room: Room
  readonly #seat: Seat
  readonly #server: Server
  readonly #setup: LineSetup
  readonly #visitors = new Map<Socket, Visitor>()
  #timer: NodeJS.Timeout | null = null
  #whenEmpty: (() => void) | null = null

  constructor(setup: FrontSetup, here: Here, hear: LogFile['hear']) {
    // Whether the loop spins is judged by the front, which knows of all its work.
    this.desk = new Desk({ ...setup, work: () => Math.round(performance.now() * LIMITS.spinNeverPerMs) })
    this.#room = new Room({
      idle: (idleMs) => this.#idle(idleMs),
      count: () => this.#count(),
      newcomerIdleMs: setup.newcomerIdleMs ?? LIMITS.newcomerIdleMs,
    })
    this.desk.shares = this.#room.shares
    this.#gate = new Gate(setup.slots, this.desk, this.#room)
    this.#seat = new Seat(this.#gate, false)
    const interpreter = new Interpreter(setup.publisher, setup.dispatch, here)
    this.#setup = { desk: this.desk, seat: this.#seat, interpreter, hear, here }
    this.#server = createServer({ allowHalfOpen: true })
    this.#server.on('connection', (socket) => this.#met(socket))
  }

  async listen(host: string, port: number): Promise<void> {
    const name = host.includes(':') ? `[${host}]` : host
    try {
      await listening(this.#server, { host, port, exclusive: true }, `${name}:${port}`)
    } catch (error) {
      this.#setup.interpreter.stop()
      throw ofLines(error)
    }
    this.port = (this.#server.address() as AddressInfo).port
    this.address = `${name}:${this.port}`
    // Whatever accept meets: without a listener it would end the process.
    this.#server.on('error', (error) => this.desk.setup.log('debug', `${this.address}: ${error.message}`))
    const { fd } = (this.#server as unknown as { _handle: { fd?: number } })._handle
    this.#seat.door = doorOf(this.address, fd === undefined || fd < 0 ? null : fd, true)
    this.desk.accept.add(this.#seat.door)
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  connections(): Connections {
    const idle = [...this.#visitors.values()].filter(({ line }) => line.idleMs !== null).length
    return this.desk.connections(this.#gate, idle)
  }

  giveWay(asked: { count: number; idleMs: number }): number {
    return this.#room.giveWay(asked)
  }

  peers(): Peer[] {
    return [...this.#visitors].map(([socket, { line }]) => {
      return { remotePort: socket.remotePort ?? null, since: line.since, kind: 'line' }
    })
  }

  async drain(deadlineMs: number): Promise<void> {
    this.desk.state = 'draining'
    if (this.#timer) clearInterval(this.#timer)
    this.desk.accept.stop()
    this.#room.stop()
    this.#server.close()
    await this.desk.deadlines.idle(deadlineMs)
    this.desk.deadlines.stop()
    this.#setup.interpreter.stop()
    for (const { line } of this.#visitors.values()) line.stop()
    if (deadlineMs === 0) for (const socket of this.#visitors.keys()) socket.destroy()
    // Who does not read what is left holds nobody up.
    const late = setTimeout(() => this.#cutAll(), LIMITS.lineCloseMs)
    if (this.#visitors.size > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve))
    clearTimeout(late)
  }

  #cutAll(): void {
    for (const socket of this.#visitors.keys()) socket.destroy()
  }

  #met(socket: Socket): void {
    const { door } = this.#seat
    const { accept } = this.desk
    socket.on('error', () => undefined)
    door?.meet()
    const peer = (socket.remoteAddress ?? '').replace(/^::ffff:/i, '')
    const reason = this.#gate.enter(this.#seat, () => peer)
    if (reason !== null) tellRefused(socket, reason)
    if (reason === 'starved' && door) accept.rest(door)
    if (reason !== null) return
    if (door) accept.admitted(door)
    const line = new Line(this.#setup, socket)
    this.#visitors.set(socket, { line, peer })
    socket.once('close', () => this.#left(socket))
  }

  #left(socket: Socket): void {
    this.#visitors.delete(socket)
    this.#gate.leave(this.#seat)
    if (this.#visitors.size === 0) this.#whenEmpty?.()
  }

  #look(): void {
    if (this.desk.wentOn) return
    const now = performance.now()
    for (const { line } of this.#visitors.values()) line.look(now)
  }

  #idle(least: number): Idle[] {
    return [...this.#visitors].flatMap(([socket, { line, peer }]) => {
      const { idleMs } = line
      if (idleMs === null || idleMs < least) return []
      return [{ idleMs, peer, close: () => void ((line.idleMs ?? -1) >= idleMs && socket.destroy()) }]
    })
  }

  #count(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { peer } of this.#visitors.values()) counts.set(peer, (counts.get(peer) ?? 0) + 1)
    return counts
  }
}

/** It fits the socket's empty buffer, so it is with the kernel when the descriptor is closed, on the spot. */
function tellRefused(socket: Socket, reason: Reason): void {
  socket.write(`${refused(JSON.parse(refusalBody(reason)) as WireError)}\n`)
  socket.destroy()
}

/** The usual hint names the option of HTTP. */
function ofLines(error: unknown): unknown {
  if (!(error instanceof SpacedriveError) || error.code !== 'ADDRESS_IN_USE') return error
  const hint = 'Choose another port with `--line-protocol HOST:PORT`; port 0 picks a free one.'
  return new SpacedriveError(error.code, error.message, { cause: error, hint })
}
