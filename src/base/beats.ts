// Whether the loop of each thread turns: each says so in shared memory, and the others look. The main thread has the first place.

export const MAIN = 0

export class Beats {
  readonly shared: SharedArrayBuffer
  readonly #words: Int32Array

  static create(places: number): Beats {
    return new Beats(new SharedArrayBuffer(places * Int32Array.BYTES_PER_ELEMENT))
  }

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared
    this.#words = new Int32Array(shared)
  }

  beat(place: number): void {
    Atomics.store(this.#words, place, clock() || 1)
  }

  /** Nobody is there, so nobody is silent. */
  leave(place: number): void {
    Atomics.store(this.#words, place, 0)
  }

  /** It has beaten, and did not leave. */
  isThere(place: number): boolean {
    return Atomics.load(this.#words, place) !== 0
  }

  silentMs(place: number): number {
    const last = Atomics.load(this.#words, place)
    return last === 0 ? 0 : Math.max(0, (clock() - last) | 0)
  }
}

/** Milliseconds by a clock that all threads share and nobody sets; goes round after 49 days. */
function clock(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return (seconds * 1_000 + Math.floor(nanoseconds / 1e6)) | 0
}
