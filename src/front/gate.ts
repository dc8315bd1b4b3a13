// Admission: every connection holds one descriptor of the class `clients`, taken at accept and given back at close.
// On the unix socket, when `clients` is full, one of `control` instead, so that the doctor always gets in.
import { SpacedriveError, toWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Level } from '../protocol/messages.js'
import { isControl, type OperationName } from '../protocol/operations.js'
import type { Door } from './accept.js'
import type { Slots } from './front.js'

/**
 * Where slots are counted: one connection, or all connections of a listener where the implementation cannot tell them
 * apart. `control` is how many of its connections sit on control slots; while there are any, only control operations run.
 */
export class Seat {
  control = 0
  /** Where its connections come in. */
  door: Door | null = null
  readonly #gate: Gate
  /** True on the unix socket, whose directory mode already says who may connect. */
  readonly local: boolean

  constructor(gate: Gate, local: boolean) {
    this.#gate = gate
    this.local = local
  }

  mayRun(operation: OperationName): boolean {
    return this.control === 0 || isControl(operation) || this.#widen()
  }

  #widen(): boolean {
    while (this.control > 0 && this.#gate.swap()) this.control -= 1
    return this.control === 0
  }
}

/** Why a connection is refused. */
export type Reason = 'clients' | 'control' | 'draining' | 'starved' | 'share'

/** What the gate goes by beside the count of slots. */
export interface Weather {
  readonly draining: boolean
  /** No descriptor is left in the process: who is accepted sits on one that the reserve has lent. */
  readonly starved: boolean
  readonly level: Level
}

/** Who is told of those that were refused for want of a slot, and says which peer must stand back for others. */
export interface Room {
  readonly shares: { full(peer: string): boolean; entered(peer: string): void; readonly contested: boolean }
  wanted(peer: string): void
  /** Called for who was refused for its share, which is known as of the last count. */
  recount(): void
}

export class Gate {
  /** On slots of clients, as `peak` is. */
  current = 0
  peak = 0
  /** Those beside them, on slots of control. */
  control = 0
  accepted = 0
  refused = 0
  readonly refusedBy: Record<Reason, number> = { clients: 0, control: 0, draining: 0, starved: 0, share: 0 }
  readonly #slots: Slots
  readonly #weather: Weather
  readonly #room: Room

  constructor(slots: Slots, weather: Weather, room: Room) {
    this.#slots = slots
    this.#weather = weather
    this.#room = room
  }

  /** Null for who is let in. @param peerOf asked only while it matters who that is */
  enter(seat: Seat, peerOf: () => string): Reason | null {
    const reason = this.#closed(seat) ?? this.#take(seat, peerOf)
    if (reason === null) {
      this.accepted += 1
      return null
    }
    this.refused += 1
    this.refusedBy[reason] += 1
    if (reason === 'clients') this.#room.wanted(peerOf())
    if (reason === 'share') this.#room.recount()
    return reason
  }

  leave(seat: Seat): void {
    if (seat.control > 0) {
      seat.control -= 1
      this.#giveControl()
    } else {
      this.current -= 1
      this.#slots.give('clients', 1)
    }
  }

  /** Moves one connection from a control slot to a client slot, if there is one by now. */
  swap(): boolean {
    if (!this.#takeSlot()) return false
    this.#giveControl()
    return true
  }

  #closed(seat: Seat): Reason | null {
    if (this.#weather.draining) return 'draining'
    if (seat.local) return null
    return this.#weather.starved ? 'starved' : null
  }

  /**
   * On the unix socket who is refused a client's slot gets one of control: the doctor of a process that holds too many comes in
   * as well. Nor does it wait for others to give way: all clients of the loopback would pass for one peer that has too many.
   */
  #take(seat: Seat, peerOf: () => string): Reason | null {
    const reason = this.#takeClient(peerOf)
    if (reason === null || !seat.local) return reason
    if (!this.#slots.take('control', 1)) return 'control'
    seat.control += 1
    this.control += 1
    return null
  }

  #takeClient(peerOf: () => string): Reason | null {
    const { shares } = this.#room
    const peer = shares.contested ? peerOf() : null
    if (peer !== null && shares.full(peer)) return 'share'
    if (!this.#takeSlot()) return 'clients'
    if (peer !== null) shares.entered(peer)
    return null
  }

  #takeSlot(): boolean {
    if (this.#weather.starved || !this.#slots.take('clients', 1)) return false
    this.current += 1
    this.peak = Math.max(this.peak, this.current)
    return true
  }

  #giveControl(): void {
    this.control -= 1
    this.#slots.give('control', 1)
  }
}

const REFUSALS: Readonly<Record<Reason, string>> = {
  clients: refusal('clients', 'every connection of the class clients is taken'),
  control: refusal('control', 'every connection of the class control is taken'),
  starved: refusal('clients', 'this process has no descriptor left'),
  share: refusal('clients', 'this peer holds more than its share of the connections, and others are waiting'),
  draining: JSON.stringify(toWire(new SpacedriveError('DRAINING', 'the daemon is stopping'))),
}

/** What a refused connection is told. */
export function refusalBody(reason: Reason): string {
  return REFUSALS[reason]
}

/** Seconds; under pressure those who were refused together do not come back together. */
export function retryAfter({ level }: Weather): string {
  const spread = level === 'high' || level === 'critical' ? LIMITS.retrySpreadSeconds : 1
  return String(1 + Math.floor(Math.random() * spread))
}

function refusal(full: 'clients' | 'control', message: string): string {
  return JSON.stringify({ ...toWire(new SpacedriveError('CONNECTION_LIMIT', message)), class: full })
}
