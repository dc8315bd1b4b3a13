/** Of those that come no more than so many are in at a time; the others wait in their order. Who waits is bounded by whoever lets them come. */
export class Few {
  readonly #most: number
  #in = 0
  readonly #waiting: (() => void)[] = []

  constructor(most: number) {
    this.#most = most
  }

  async enter(): Promise<void> {
    if (this.#in < this.#most) this.#in += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  get isWanted(): boolean {
    return this.#waiting.length > 0
  }

  /** The place goes to whoever waits, or is free. */
  leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#in -= 1
  }
}
