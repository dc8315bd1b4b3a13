// Admission: every connection holds one descriptor of the class `clients`, taken at accept and given back at close.
// On the unix socket, when `clients` is full, one of `control` instead, so that the doctor always gets in.
import { SpacedriveError, toWire } from '../base/errors.js'
import { isControl, type OperationName } from '../protocol/operations.js'
import type { Slots } from './front.js'

/**
 * Where slots are counted: one connection, or all connections of a listener where the implementation cannot tell them
 * apart. `control` is how many of its connections sit on control slots; while there are any, only control operations run.
 */
export class Seat {
  control = 0
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

export class Gate {
  current = 0
  peak = 0
  accepted = 0
  refused = 0
  readonly #slots: Slots

  constructor(slots: Slots) {
    this.#slots = slots
  }

  enter(seat: Seat): boolean {
    if (!this.#slots.take('clients', 1)) {
      if (!seat.local || !this.#slots.take('control', 1)) {
        this.refused += 1
        return false
      }
      seat.control += 1
    }
    this.accepted += 1
    this.current += 1
    if (this.current > this.peak) this.peak = this.current
    return true
  }

  leave(seat: Seat): void {
    this.current -= 1
    if (seat.control === 0) return this.#slots.give('clients', 1)
    seat.control -= 1
    this.#slots.give('control', 1)
  }

  /** Moves one connection from a control slot to a client slot, if there is one by now. */
  swap(): boolean {
    if (!this.#slots.take('clients', 1)) return false
    this.#slots.give('control', 1)
    return true
  }
}

/** What a refused connection is told, by the class that is full. */
export function refusalBody(seat: Seat): string {
  return seat.local ? CONTROL_FULL : CLIENTS_FULL
}

const CLIENTS_FULL = refusal('clients')
const CONTROL_FULL = refusal('control')

function refusal(full: 'clients' | 'control'): string {
  const error = new SpacedriveError('CONNECTION_LIMIT', `every connection of the class ${full} is taken`)
  return JSON.stringify({ ...toWire(error), class: full })
}
