// What a job tells while it works: not every step, but what the steps came to.
import { LIMITS } from '../base/limits.js'
import type { Applied } from '../library/apply.js'
import type { Location } from '../library/locations.js'
import type { Event } from '../protocol/messages.js'
import { joined, printable } from '../scan/names.js'

/** Calls at once, then at most once in a time. */
export class Throttled {
  readonly #ms: number
  readonly #call: () => void
  #timer: NodeJS.Timeout | undefined
  #last = 0

  constructor(ms: number, call: () => void) {
    this.#ms = ms
    this.#call = call
  }

  soon(): void {
    if (this.#timer) return
    const wait = Math.max(0, this.#last + this.#ms - performance.now())
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#last = performance.now()
      this.#call()
    }, wait)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

/** Sums up what commits changed into few events. */
export class Changes {
  readonly #throttled: Throttled
  readonly #publish: (event: Omit<Event, 'at' | 'library'>) => void
  #sum: {
    location: Location
    added: number
    changed: number
    moved: number
    removed: number
    directories: string[]
  } | null = null

  constructor(ms: number, publish: (event: Omit<Event, 'at' | 'library'>) => void) {
    this.#publish = publish
    this.#throttled = new Throttled(ms, () => this.flush())
  }

  add({ added, changed, moved, removed, directories }: Applied, location: Location): void {
    if (added + changed + moved + removed === 0) return
    this.#sum ??= { location, added: 0, changed: 0, moved: 0, removed: 0, directories: [] }
    this.#sum.added += added
    this.#sum.changed += changed
    this.#sum.moved += moved
    this.#sum.removed += removed
    for (const each of directories.slice(0, LIMITS.directoriesToldMax - this.#sum.directories.length)) {
      this.#sum.directories.push(printable(joined(location.path, each)))
    }
    this.#throttled.soon()
  }

  flush(): void {
    this.#throttled.stop()
    if (!this.#sum) return
    const { location, ...counts } = this.#sum
    this.#sum = null
    this.#publish({ type: 'entries.changed', location: location.uid, ...counts })
  }
}
