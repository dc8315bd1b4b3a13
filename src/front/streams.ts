// The streams of events that are open.
import { LIMITS } from '../base/limits.js'

export interface Streaming {
  /** Writes something that says nothing, if nothing else was written. */
  beat(): void
  end(): void
}

/** Those that are open. Each is written something now and then, so that whoever is between does not take it for dead. */
export class Streams {
  readonly #open = new Set<Streaming>()
  #timer: NodeJS.Timeout | null = null

  add(stream: Streaming): void {
    this.#open.add(stream)
    this.#timer ??= setInterval(() => this.#beat(), LIMITS.streamBeatMs).unref()
  }

  remove(stream: Streaming): void {
    this.#open.delete(stream)
    if (this.#open.size > 0 || !this.#timer) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  end(): void {
    for (const stream of [...this.#open]) stream.end()
  }

  #beat(): void {
    for (const stream of this.#open) stream.beat()
  }
}
