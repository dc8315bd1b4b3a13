// The first entries after a place in some order, out of any number that are offered: memory for those, and no more.

export interface Placed<Key> {
  readonly key: Key
  /** Tells apart what has the same key. */
  readonly id: number
}

export class Window<Key extends number | string> {
  readonly #most: number
  readonly #after: Placed<Key> | undefined
  readonly #sign: 1 | -1
  #kept: Placed<Key>[] = []
  /** Nothing behind it is among the first any more. */
  #last: Placed<Key> | undefined

  constructor(most: number, descending: boolean, after: Placed<Key> | undefined) {
    this.#most = most
    this.#sign = descending ? -1 : 1
    this.#after = after
  }

  offer(key: Key, id: number): void {
    if (this.#last && this.#compare(key, id, this.#last) > 0) return
    if (this.#after && this.#compare(key, id, this.#after) <= 0) return
    this.#kept.push({ key, id })
    if (this.#kept.length >= 2 * this.#most) this.#trim()
  }

  /** In order. */
  take(): readonly Placed<Key>[] {
    this.#trim()
    return this.#kept
  }

  #trim(): void {
    this.#kept.sort((a, b) => this.#compare(a.key, a.id, b))
    if (this.#kept.length < this.#most) return
    this.#kept.length = this.#most
    this.#last = this.#kept.at(-1)
  }

  #compare(key: Key, id: number, other: Placed<Key>): number {
    if (key !== other.key) return key < other.key ? -this.#sign : this.#sign
    return id - other.id
  }
}
