// Numbers, times and names as a person reads them on a terminal. They stand in base, because the doctor's findings are such words too.
import { safe } from '../base/text.js'

export * from '../base/text.js'

/** A name that somebody gave, in quotes. */
export function quoted(name: string): string {
  return safe(JSON.stringify(name))
}

/** `92 % live, 8 % polled`, of directories; never all of it unless it is all. */
export function coverageWords({ live, polled }: { readonly live: number; readonly polled: number }): string {
  if (polled === 0) return 'live'
  if (live === 0) return 'polled'
  const percent = Math.min(99, Math.max(1, Math.round((100 * live) / (live + polled))))
  return `${percent} % live, ${100 - percent} % polled`
}
