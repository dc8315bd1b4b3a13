// The connections of a front that cannot name them (uWebSockets.js), by descriptor: noted as they come, looked at in the kernel.
import { isIP } from 'node:net'
import { LIMITS } from '../base/limits.js'
import type { Native } from '../descriptors/native.js'
import { LOCAL_PEER, type Idle, type Working } from './idle.js'
import { Stranger, type Strangers } from './strangers.js'

/** The kernel's clock for sockets moves in steps of up to 10 ms. */
const TICK_MS = 10
/** What `silence` tells of one of whom bytes wait, and of what is no client. */
const BUSY = -1
const GONE = -2

interface Client {
  peer: string | null
  isFeed: boolean
  /** On the unix socket, where the kernel does not tell how long a peer was silent: only counted. */
  readonly local: boolean
  stranger: Stranger | null
}

export class Clients {
  port = 0
  readonly #native: Native
  readonly #working: Working
  readonly #strangers: Strangers
  /** In the order in which they came or were last seen busy. Who has gone stays until it is noticed, or its number comes again. */
  readonly #known = new Map<number, Client>()
  /** A WebSocket that could not be told from an HTTP connection: none is closed then, for it may be a subscriber. */
  #blind = false

  constructor(native: Native, working: Working, strangers: Strangers) {
    this.#native = native
    this.#working = working
    this.#strangers = strangers
  }

  /** In the accept loop: the loop began to watch this one last. @param peer null on the unix socket */
  entered(peer: string | null): void {
    const fd = this.#native.lastWatched()
    if (fd < 0) return
    this.#forget(fd)
    const client: Client = { peer, isFeed: false, local: peer === null, stranger: null }
    this.#known.set(fd, client)
    if (peer !== null) this.#strangers.enter((client.stranger = new SilentStranger(this, fd, peer)))
  }

  /** Right after a connection was closed. */
  left(): void {
    this.#forget(this.#native.lastUnwatched())
  }

  /** Right after its reading was stopped and begun again, as with `upgraded`. */
  asked(): void {
    const stranger = this.#known.get(this.#native.lastWatched())?.stranger
    if (stranger) this.#strangers.asked(stranger)
  }

  /** As `asked`. */
  identified(): void {
    const client = this.#known.get(this.#native.lastWatched())
    if (client?.stranger) this.#strangers.leave(client.stranger)
    if (client) client.stranger = null
  }

  hangUp(fd: number): void {
    this.#native.hangUp(fd, this.port)
  }

  isBusy(fd: number): boolean {
    return this.#native.silence(Int32Array.of(fd), this.port)[0] === BUSY
  }

  #forget(fd: number): void {
    const client = this.#known.get(fd)
    if (client?.stranger) this.#strangers.leave(client.stranger)
    this.#known.delete(fd)
  }

  /** In the accept loop, or right after `upgraded`: the process at the other end of a unix socket. */
  localPeer(): string {
    const fd = this.#native.lastWatched()
    return (fd >= 0 && this.#native.peers(Int32Array.of(fd))[0]) || LOCAL_PEER
  }

  /** Right after its reading was stopped and begun again, which makes it the one that the loop began to watch last. */
  upgraded(): void {
    const client = this.#known.get(this.#native.lastWatched())
    if (client) client.isFeed = true
    else this.#blind = true
  }

  /** Of HTTP connections; at most so many are looked at in one call, the others in the next. */
  idle(idleMs: number, slackMs: number): Idle[] {
    if (this.#blind) return []
    const fds: number[] = []
    for (const [fd, { local }] of this.#known) {
      if (fds.length === LIMITS.giveWayLookMax) break
      if (!local) fds.push(fd)
    }
    const told = this.#native.silence(Int32Array.from(fds), this.port)
    return fds.flatMap((fd, at) => {
      const client = this.#known.get(fd)!
      if (told[2 * at] === GONE) {
        this.#forget(fd)
        return []
      }
      // Looked at, so that the next call looks at others first.
      this.#known.delete(fd)
      this.#known.set(fd, client)
      const silentMs = client.isFeed ? null : this.#silentMs(told[2 * at]!, told[2 * at + 1]!, slackMs)
      if (silentMs === null || silentMs < idleMs) return []
      return [{ idleMs: silentMs, peer: client.peer ?? '', close: () => this.#close(fd, client, silentMs) }]
    })
  }

  /**
   * How many each peer has, with those forgotten that have gone.
   *
   * @param feeds the peers of the WebSockets that are open: one that was closed keeps its descriptor until its peer closes as well,
   *   and the place it had may be another's by then
   */
  count(feeds: readonly string[]): Map<string, number> {
    const fds = Int32Array.from(this.#known.keys())
    const peers = this.#native.peers(fds)
    const told = this.#native.silence(fds, this.port)
    const counts = new Map<string, number>()
    fds.forEach((fd, at) => {
      const peer = peers[at]!
      const client = this.#known.get(fd)!
      client.peer = peer
      // Its number may be that of a socket by which this process talks to somebody.
      const here = client.local ? peer !== '' && isIP(peer) === 0 : told[2 * at] !== GONE
      if (here && client.isFeed && !this.#blind) return
      if (here) counts.set(peer, (counts.get(peer) ?? 0) + 1)
      else this.#forget(fd)
    })
    if (!this.#blind) for (const peer of feeds) counts.set(peer, (counts.get(peer) ?? 0) + 1)
    return counts
  }

  /** Null while a request is in flight: bytes wait, or came after the last answer, or about when one came that is worked at. */
  #silentMs(receivedMs: number, sentMs: number, slackMs: number): number | null {
    if (receivedMs < 0 || receivedMs < sentMs - TICK_MS) return null
    if (this.#working.any(receivedMs, slackMs)) return null
    return Math.min(receivedMs, sentMs)
  }

  /** Its number may be another's by now, or it may have asked since. */
  #close(fd: number, client: Client, idleMs: number): void {
    if (this.#known.get(fd) !== client || client.isFeed) return
    const [receivedMs, sentMs] = this.#native.silence(Int32Array.of(fd), this.port)
    if (Math.min(receivedMs!, sentMs!) < idleMs) return
    this.#forget(fd)
    this.hangUp(fd)
  }
}

class SilentStranger extends Stranger {
  readonly #clients: Clients
  readonly #fd: number

  constructor(clients: Clients, fd: number, peer: string) {
    super(peer)
    this.#clients = clients
    this.#fd = fd
  }

  get busy(): boolean {
    return this.#clients.isBusy(this.#fd)
  }

  hangUp(): void {
    this.#clients.hangUp(this.#fd)
  }
}
