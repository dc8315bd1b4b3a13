// What the flight recorder holds, as lines for a person.
import type { FlightEntry } from '../descriptors/recorder.js'
import { CLASSES } from '../protocol/messages.js'
import type { Style, Terminal } from './terminal.js'
import { duration, millisecond, plural, safe } from './text.js'

const KIND_COLUMNS = 7

const STYLES: Readonly<Record<FlightEntry['kind'], Style>> = {
  sample: 'dim',
  start: 'green',
  stop: 'green',
  level: 'yellow',
  refusal: 'yellow',
  warning: 'yellow',
  error: 'red',
  fault: 'red',
}

/** One line each, oldest first; the pid where another process begins. */
export function flightLines(entries: readonly FlightEntry[], terminal: Terminal): string[] {
  return entries.flatMap((entry, at) => {
    const line = flightLine(entry, terminal)
    return entries[at - 1]?.pid === entry.pid ? [line] : [terminal.styled('dim', `pid ${entry.pid}`), line]
  })
}

function flightLine(entry: FlightEntry, terminal: Terminal): string {
  const at = terminal.styled('dim', millisecond(entry.at))
  const kind = terminal.styled(STYLES[entry.kind], entry.kind.padEnd(KIND_COLUMNS))
  const lost = entry.lost > 0 ? `  (${plural(entry.lost, 'event')} before it lost)` : ''
  return `${at}  ${kind}  ${entry.kind === 'sample' ? sampleWords(entry) : safe(entry.text)}${lost}`
}

function sampleWords(entry: FlightEntry): string {
  const { open, soft, level, budget, classes, unaccounted, exhaustionSeconds } = entry
  const used = CLASSES.filter((name) => classes[name].used > 0).map((name) => `${name} ${classes[name].used}`)
  return [
    `${open} of ${soft} open, ${level}`,
    `budget ${budget}${used.length > 0 ? `: ${used.join(', ')}` : ''}`,
    ...(unaccounted > 0 ? [`${unaccounted} unaccounted`] : []),
    ...(exhaustionSeconds === null ? [] : [`full in ${duration(exhaustionSeconds * 1_000)}`]),
    `${entry.inFlight} in flight`,
    `loop ${Math.round(entry.loopUtilization * 100)} % busy, ${duration(entry.loopDelayMs)} late`,
    `heap ${(entry.heapBytes / 1e6).toFixed(1)} MB`,
  ].join('; ')
}
