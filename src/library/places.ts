// What entries have from the directories above them: each directory on the way up is asked once, and remembered.
import type { Connection } from './connection.js'
import type { Texts } from './texts.js'

/** Directories remembered; at more they are forgotten and asked again. */
const DIRECTORIES_KEPT = 100_000

/** Of an entry. */
export type ParentAndName = [parent: number, name: number]

export class Places {
  readonly texts: Texts
  readonly #place

  constructor(connection: Connection, texts: Texts) {
    this.texts = texts
    this.#place = connection.prepare<[number], ParentAndName>('SELECT parent, name FROM entry WHERE id = ?').raw()
  }

  of(directory: number): ParentAndName | undefined {
    return this.#place.get(directory)
  }
}

/** A value that a directory has from its own name and the value of the one above. */
export class Inherited<T> {
  readonly #known = new Map<number, T>()
  readonly #places: Places
  readonly #start: (root: number) => T
  readonly #step: (above: T, directory: number, place: ParentAndName) => T

  /** @param start of what is above the root of a location, whose number is negative */
  constructor(
    places: Places,
    start: (root: number) => T,
    step: (above: T, directory: number, place: ParentAndName) => T,
  ) {
    this.#places = places
    this.#start = start
    this.#step = step
  }

  of(directory: number): T {
    const known = this.#known.get(directory)
    return known === undefined ? this.#derive(directory) : known
  }

  forget(): void {
    this.#known.clear()
  }

  #derive(directory: number): T {
    const way: [number, ParentAndName][] = []
    let at = directory
    let value = this.#known.get(at)
    while (value === undefined) {
      const place = at < 0 ? undefined : this.#places.of(at)
      if (place) {
        way.push([at, place])
        at = place[0]
        value = this.#known.get(at)
      } else value = this.#start(at)
    }
    if (this.#known.size > DIRECTORIES_KEPT) this.#known.clear()
    for (const [each, place] of way.reverse()) this.#known.set(each, (value = this.#step(value, each, place)))
    return value
  }
}
