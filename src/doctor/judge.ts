// What is wrong, judged from what was seen. Looks at nothing itself.
import type { Finding } from './findings.js'
import { daemonFindings } from './of-daemon.js'
import { limitFindings, machineFindings, watchFindings } from './of-limits.js'
import { placeFindings } from './of-place.js'
import type { Seen } from './seen.js'

const RANK = { problem: 0, warning: 1, hint: 2 } as const

/** The gravest first. */
export function findingsOf(seen: Seen): Finding[] {
  return [
    ...daemonFindings(seen),
    ...limitFindings(seen),
    ...machineFindings(seen),
    ...watchFindings(seen),
    ...placeFindings(seen),
  ].toSorted((a, b) => RANK[a.severity] - RANK[b.severity])
}
