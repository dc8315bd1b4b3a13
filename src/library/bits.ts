// A set of numbers that lie close: which names were seen, of all that a library has.
/** One bit of each up to the largest. */
export class Bits {
  #bytes = new Uint8Array(1 << 13)

  add(at: number): void {
    const place = at >>> 3
    if (place >= this.#bytes.length) {
      const more = new Uint8Array(2 ** Math.ceil(Math.log2(place + 1)))
      more.set(this.#bytes)
      this.#bytes = more
    }
    this.#bytes[place]! |= 1 << (at & 7)
  }

  has(at: number): boolean {
    return ((this.#bytes[at >>> 3] ?? 0) & (1 << (at & 7))) !== 0
  }
}
