// A listening socket as the accept watch needs it: whether somebody waits there, and how to leave it alone for a while.
import { LIMITS } from '../base/limits.js'
import { brake } from '../base/pulse.js'
import { loadNative, type Native } from '../descriptors/native.js'
import { lend, type Loan } from '../descriptors/reserve.js'
import type { Door } from './accept.js'

/** Numbers of all sockets of this process that listen; empty without the addon. */
export function listeningNow(): ReadonlySet<number> {
  const native = loadNative()
  return new Set(native ? native.listening(native.list()) : [])
}

/** The one that began to listen since `before`, or null. */
export function listenerSince(before: ReadonlySet<number>): number | null {
  return [...listeningNow()].find((fd) => !before.has(fd)) ?? null
}

/** @param fd of the listening socket, null where the addon is missing */
export function doorOf(name: string, fd: number | null, sheds: boolean): Door {
  const native = loadNative()
  return native && fd !== null ? new WatchedDoor(name, sheds, fd, native) : new BrakedDoor(name, sheds)
}

/** The kernel goes on keeping those who come; only the loop is not told of them. */
class WatchedDoor implements Door {
  met = 0
  readonly name: string
  readonly sheds: boolean
  readonly #fd: number
  readonly #native: Native
  readonly #turn: Turn | null

  constructor(name: string, sheds: boolean, fd: number, native: Native) {
    this.name = name
    this.sheds = sheds
    this.#fd = fd
    this.#native = native
    // libuv, which sheds, accepts one in a turn by itself, and is told the backlog.
    this.#turn = sheds ? null : new Turn(fd, native)
    if (!sheds) native.setBacklog(fd, LIMITS.backlogMax)
  }

  meet(): void {
    this.met += 1
    this.#turn?.meet()
  }

  waiting(): boolean {
    this.#turn?.end()
    return this.#native.readable(this.#fd)
  }

  pause(): void {
    this.#turn?.end()
    this.#native.watchReads(this.#fd, false)
  }

  resume(): void {
    this.#turn?.end()
    this.#native.watchReads(this.#fd, true)
  }

  close(): void {
    this.#turn?.end()
  }
}

/**
 * The newcomers of one turn of the loop. uWebSockets accepts until nobody is left, and in a flood somebody always is: after so
 * many it finds nobody, what else the loop has to do is done, and the rest are met in the next turn.
 */
class Turn {
  readonly #fd: number
  readonly #native: Native
  #met = 0
  #aside: { readonly fd: number; readonly room: Loan } | null = null

  constructor(fd: number, native: Native) {
    this.#fd = fd
    this.#native = native
  }

  meet(): void {
    if (this.#met === 0) setImmediate(() => this.end())
    this.#met += 1
    if (this.#met === LIMITS.acceptTurnMax) this.#setAside()
  }

  end(): void {
    this.#met = 0
    if (!this.#aside) return
    this.#native.putBack(this.#fd, this.#aside.fd)
    this.#aside.room[Symbol.dispose]()
    this.#aside = null
  }

  /** Where not even the reserve has a descriptor for it, all of them are met. */
  #setAside(): void {
    const room = lend('turn')
    const fd = room.count > 0 ? this.#native.setAside(this.#fd) : -1
    if (fd < 0) room[Symbol.dispose]()
    else this.#aside = { fd, room }
  }
}

/**
 * Without the addon a listener can only be closed, and its port not be had again while clients are connected. So the loop goes
 * on asking, but sleeps a little in each turn: it costs next to nothing, and those who are in are served somewhat later.
 */
class BrakedDoor implements Door {
  met = 0
  readonly name: string
  readonly sheds: boolean
  #braking = false

  constructor(name: string, sheds: boolean) {
    this.name = name
    this.sheds = sheds
  }

  meet(): void {
    this.met += 1
  }

  waiting(): null {
    return null
  }

  pause(): void {
    this.#braking = true
    this.#brake()
  }

  resume(): void {
    this.#braking = false
  }

  close(): void {
    this.#braking = false
  }

  #brake(): void {
    if (!this.#braking) return
    brake(LIMITS.spinBrakeMs)
    setImmediate(() => this.#brake())
  }
}
