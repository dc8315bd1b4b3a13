// Descriptors that are really held, so that they are there when nothing else is: let go to get out of trouble, then taken back.
import { closeSync, openSync } from 'node:fs'

export class Reserve {
  readonly #held: number[] = []
  #target = 0

  /** Opens what is missing; what cannot be opened now is tried at the next call. */
  fill(count = this.#target): void {
    this.#target = count
    try {
      while (this.#held.length < count) this.#held.push(openSync('/dev/null', 'r'))
    } catch {
      // Exhausted: the reserve is as full as it can be.
    }
    while (this.#held.length > count) closeSync(this.#held.pop()!)
  }

  get held(): readonly number[] {
    return this.#held
  }

  close(): void {
    this.fill(0)
  }
}

/**
 * Proves that `count` descriptors can be had, for opens that take their ground away when they fail half way.
 *
 * @throws EMFILE or ENFILE, as openSync does
 */
export function proveRoom(count: number): void {
  const probes: number[] = []
  try {
    while (probes.length < count) probes.push(openSync('/dev/null', 'r'))
  } finally {
    for (const probe of probes) closeSync(probe)
  }
}
