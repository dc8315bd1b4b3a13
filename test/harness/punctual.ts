// Tests of clients that are never silent for long: whoever is idle for half a second may have to give way, and on a machine that
// stood still for so long everybody was.
import type { ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'

const TRIES = 3
const STEP_MS = 50

type Act = (t: ExecutionContext) => Promise<void>

/** A test that is played again where it failed and this process had not its turn in time; what fails in time has failed. */
export function punctually(act: Act): Act {
  return (t) => playUntilInTime(t, act)
}

async function playUntilInTime(t: ExecutionContext, act: Act): Promise<void> {
  for (let tries = 1; ; tries++) {
    const lateness = new Lateness()
    const attempt = await t.try(act)
    const lateMs = lateness.end()
    if (attempt.passed || tries === TRIES || lateMs < LIMITS.clientRestMs / 2) return attempt.commit()
    attempt.discard({ retainLogs: true })
    const [error] = attempt.errors
    const why = String(error?.cause ?? error)
    t.log(`this process stood still for ${Math.round(lateMs)} ms, and it is played again: ${why}`)
  }
}

/** The latest that a timer of this process came. */
class Lateness {
  #latestMs = 0
  #due = performance.now() + STEP_MS
  readonly #timer = setInterval(() => this.#step(), STEP_MS)

  end(): number {
    this.#step()
    clearInterval(this.#timer)
    return this.#latestMs
  }

  #step(): void {
    const now = performance.now()
    this.#latestMs = Math.max(this.#latestMs, now - this.#due)
    this.#due = now + STEP_MS
  }
}
