// Who sends wrong tokens, and how often: so many from one address, and of one token so many from wherever, and then one in a
// while is looked at. A right token never comes here, whoever else is behind the same address.
import { createHash } from 'node:crypto'
import { LIMITS } from '../base/limits.js'

interface Guesser {
  /** How many more are answered as any other, as of `at`. */
  left: number
  at: number
}

export class Guesses {
  /** Since the start. */
  count = 0
  readonly #tell: (peer: string) => void
  readonly #max: number
  readonly #ms: number
  /** By address, and by the digest of the token. The one that was heard of the longest ago is first. */
  readonly #guessers = new Map<string, Guesser>()

  /**
   * @param tell hears of an address whenever it has used up what it had
   * @param fronts among how many threads what one may do is divided
   */
  constructor(tell: (peer: string) => void, fronts = 1) {
    this.#tell = tell
    this.#max = Math.max(1, Math.floor(LIMITS.guessesMax / fronts))
    this.#ms = LIMITS.guessMs * fronts
  }

  /** Notes one, and says in how many milliseconds the next is looked at; 0 where this one was. */
  wrong(peer: string, secret: string): number {
    this.count += 1
    const now = performance.now()
    const ofPeer = this.#take(`of ${peer}`, now)
    const ofToken = this.#take(createHash('sha256').update(secret).digest('base64'), now)
    if (ofPeer === 0 && this.#isLast(`of ${peer}`)) this.#tell(peer)
    return Math.ceil(Math.max(ofPeer, ofToken))
  }

  #take(key: string, now: number): number {
    const { left, at } = this.#guessers.get(key) ?? { left: this.#max, at: now }
    const back = Math.min(this.#max, left + (now - at) / this.#ms)
    this.#guessers.delete(key)
    this.#guessers.set(key, { left: back < 1 ? back : back - 1, at: now })
    if (this.#guessers.size > LIMITS.guessersMax) this.#guessers.delete(this.#guessers.keys().next().value!)
    return back < 1 ? (1 - back) * this.#ms : 0
  }

  #isLast(key: string): boolean {
    return this.#guessers.get(key)!.left < 1
  }
}
