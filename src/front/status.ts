// What the daemon says of itself: the answers of core.status and core.descriptors, and the lines it prints at boot.
import { LIMITS } from '../base/limits.js'
import type { Item, Plan } from '../descriptors/planner.js'
import { commandToRaise, type RaisedLimit } from '../descriptors/rlimit.js'
import { CLASSES } from '../protocol/messages.js'

/** Limits before and after, the division as an itemised sum, and what to do where the limit is low. */
export function bootLines(
  limit: RaisedLimit,
  items: readonly Item[],
  plan: Plan,
  nativeProblem: string | null,
  front: string,
): string[] {
  const { softAtStart, soft, hard, problem } = limit
  const lines = [
    `descriptor limit: soft ${softAtStart} at start, ${soft} now, hard ${hard}`,
    ...items.map(itemLine),
    sumLine('process base', plan.base),
    sumLine('held reserve', plan.reserve),
    `${sumLine('budget', plan.budget)}   guaranteed   at most`,
    ...CLASSES.map((name) => {
      const { floor, ceiling } = plan.classes[name]
      return `    ${name.padEnd(NAME_COLUMNS + 6)}   ${String(floor).padStart(10)}${String(ceiling).padStart(10)}`
    }),
    `front: ${front}; native addon: ${nativeProblem === null ? 'loaded' : 'off'}`,
  ]
  if (nativeProblem !== null) lines.push(`  ${nativeProblem}`)
  if (problem !== null) lines.push(`warning: ${problem}`)
  if (soft < LIMITS.softWarn) lines.push(...adviceFor(soft, hard))
  return lines
}

const NAME_COLUMNS = 28

function itemLine({ name, each, count, descriptors }: Item): string {
  const times = count > 1 && Number.isInteger(each) && each > 1 ? `   ${count} of ${each}` : ''
  return `    ${name.padEnd(NAME_COLUMNS - 2)}${String(descriptors).padStart(8)}${times}`
}

function sumLine(name: string, count: number): string {
  return `  ${name.padEnd(NAME_COLUMNS)}${String(count).padStart(8)}`
}

function adviceFor(soft: number, hard: number): string[] {
  const wanted = LIMITS.softRecommended
  const service = process.platform === 'darwin' ? [] : [`  as a service:   LimitNOFILE=${wanted} in its systemd unit`]
  return [
    `warning: a limit of ${soft} is low: ${LIMITS.softWarn} serve well, ${wanted} are recommended`,
    `  in this shell:  ${commandToRaise(wanted, hard)}`,
    ...service,
    '  for good:       `spacedrive doctor --fix`; `spacedrive doctor` says where it comes from',
  ]
}
