// While more is asked than can be done, a turn of the loop begins no sooner than some time after the one before: what comes meanwhile is
// read, handed on and answered together, as a network card gathers interrupts. A turn for each message costs a tenth of the thread that
// refuses, and the cores are wanted by those that serve.
import { LIMITS } from '../base/limits.js'

export class Pace {
  readonly #isCrowded: () => boolean
  /** Nothing is written to it, and nobody woken by it. */
  readonly #cell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #turnAt = 0
  #goesOn = false
  #stopped = false

  constructor(isCrowded: () => boolean) {
    this.#isCrowded = isCrowded
  }

  /** As long as there is a crowd, from now on. */
  keep(): void {
    if (this.#goesOn || this.#stopped) return
    this.#goesOn = true
    this.#turnAt = performance.now()
    setImmediate(this.#turn)
  }

  stop(): void {
    this.#stopped = true
  }

  readonly #turn = (): void => {
    if (this.#stopped || !this.#isCrowded()) {
      this.#goesOn = false
      return
    }
    const leftMs = LIMITS.crowdTurnMs - (performance.now() - this.#turnAt)
    if (leftMs > 0) Atomics.wait(this.#cell, 0, 0, leftMs)
    this.#turnAt = performance.now()
    setImmediate(this.#turn)
  }
}
