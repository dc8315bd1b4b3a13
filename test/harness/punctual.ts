// Tests of clients that are never silent for long: whoever is idle for half a second may have to give way, and on a machine that
// stood still for so long everybody was.
import type { ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Pulse } from '../../src/base/pulse.js'

const TRIES = 3

type Act = (t: ExecutionContext) => Promise<void>

/** A test that is played again where it failed and this process had not its turn in time; what fails in time has failed. */
export function punctually(act: Act): Act {
  return (t) => playUntilInTime(t, act)
}

async function playUntilInTime(t: ExecutionContext, act: Act): Promise<void> {
  for (let tries = 1; ; tries++) {
    const pulse = new Pulse()
    pulse.start()
    const attempt = await t.try(act)
    const { delayMs } = pulse.beat()
    pulse.stop()
    if (attempt.passed || tries === TRIES || delayMs < LIMITS.clientRestMs / 2) return attempt.commit()
    attempt.discard({ retainLogs: true })
    const [error] = attempt.errors
    const why = String(error?.cause ?? error)
    t.log(`this process stood still for ${Math.round(delayMs)} ms, and it is played again: ${why}`)
  }
}
