// The connections of several fronts, as those of one.
import type { Connections } from './front.js'

const COUNTED = [
  'current',
  'peak',
  'accepted',
  'refused',
  'acceptFailures',
  'unreadBytes',
  'unreadCut',
  'wrongTokens',
] as const

/** The most of each need not have been at the same time: together it is no less than the truth. */
export function together(first: Connections, ...others: readonly Connections[]): Connections {
  const sum = { ...first, refusedBy: { ...first.refusedBy } }
  for (const other of others) {
    for (const name of COUNTED) sum[name] += other[name]
    for (const [why, count] of Object.entries(other.refusedBy)) sum.refusedBy[why] = count + (sum.refusedBy[why] ?? 0)
    if (sum.strangers !== undefined) sum.strangers += other.strangers ?? 0
    if (sum.idle !== undefined) sum.idle += other.idle ?? 0
    if (other.accept !== 'open') sum.accept = other.accept
  }
  return sum
}
