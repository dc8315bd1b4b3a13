// A front and the listener of the line protocol beside it, as one: counted, drained and asked to give way together.
import type { Level } from '../protocol/messages.js'
import type { Connections, Front, FrontState, Peer } from '../front/front.js'
import { together } from '../front/sums.js'
import type { LineFront } from './line-front.js'

export class Beside implements Front {
  readonly #front: Front
  readonly #lines: LineFront

  constructor(front: Front, lines: LineFront) {
    this.#front = front
    this.#lines = lines
    this.state = front.state
  }

  get kind(): Front['kind'] {
    return this.#front.kind
  }

  get http(): string | null {
    return this.#front.http
  }

  get socket(): string | null {
    return this.#front.socket
  }

  get lines(): { readonly address: string; readonly port: number } {
    return this.#lines
  }

  get state(): FrontState {
    return this.#front.state
  }

  set state(state: FrontState) {
    this.#front.state = this.#lines.desk.state = state
  }

  get level(): Level {
    return this.#front.level
  }

  set level(level: Level) {
    this.#front.level = this.#lines.desk.level = level
  }

  connections(): Connections {
    return together(this.#front.connections(), this.#lines.connections())
  }

  giveWay(asked: { count: number; idleMs: number }): number {
    const closed = this.#lines.giveWay(asked)
    return closed + this.#front.giveWay({ ...asked, count: asked.count - closed })
  }

  renewAccess(token: string, hostsAllowed: readonly string[]): void {
    this.#front.renewAccess(token, hostsAllowed)
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all([this.#front.drain(deadlineMs), this.#lines.drain(deadlineMs)])
  }

  peers(): Peer[] {
    return [...this.#front.peers(), ...this.#lines.peers()]
  }
}
