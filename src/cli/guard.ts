// Errors that nobody caught in a daemon that owns its process. Want of descriptors passes: somebody's sampler that throws it is
// no reason to end. After anything else nobody knows what is still true, so the daemon saves what it can and ends.
import type { Daemon } from '../daemon.js'
import { LIMITS } from '../base/limits.js'
import { leave } from './leave.js'

export class Guard {
  readonly #daemon: Daemon
  readonly #onError = (error: unknown) => this.caught(error)
  /** Set once the daemon is going down for an error. */
  faulted = false

  constructor(daemon: Daemon) {
    this.#daemon = daemon
    // Rejections that nobody handles come here as well.
    process.on('uncaughtException', this.#onError)
  }

  disarm(): void {
    process.removeListener('uncaughtException', this.#onError)
  }

  caught(error: unknown): void {
    if (this.#daemon.survives(error) || this.faulted) return
    this.faulted = true
    // Whatever is broken may hold the drain up as well.
    setTimeout(() => leave(1), LIMITS.drainMs + LIMITS.faultMs).unref()
    this.#daemon.close().catch(() => leave(1))
  }
}
