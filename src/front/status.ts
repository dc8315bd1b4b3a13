// What the daemon says of itself: the answers of core.status and core.descriptors, and the lines it prints at boot.
import { LIMITS } from '../base/limits.js'
import type { Plan } from '../descriptors/planner.js'
import type { RaisedLimit } from '../descriptors/rlimit.js'
import { CLASSES } from '../protocol/messages.js'

/** Limits before and after, the division of the budget, and what to do where the limit is low. */
export function bootLines(limit: RaisedLimit, plan: Plan, nativeProblem: string | null, front: string): string[] {
  const { softAtStart, soft, hard, problem } = limit
  const lines = [
    `descriptor limit: soft ${softAtStart} at start, ${soft} now, hard ${hard}`,
    `  ${'process base'.padEnd(18)}${String(plan.base).padStart(8)}`,
    `  ${'held reserve'.padEnd(18)}${String(plan.reserve).padStart(8)}`,
    `  ${'budget'.padEnd(18)}${String(plan.budget).padStart(8)}   guaranteed   at most`,
    ...CLASSES.map((name) => {
      const { floor, ceiling } = plan.classes[name]
      return `    ${name.padEnd(16)}${' '.repeat(8)}   ${String(floor).padStart(10)}${String(ceiling).padStart(10)}`
    }),
    `front: ${front}; native addon: ${nativeProblem === null ? 'loaded' : `off (${nativeProblem})`}`,
  ]
  if (problem !== null) lines.push(`warning: ${problem}`)
  if (soft < LIMITS.softWarn) lines.push(...adviceFor(soft, hard))
  return lines
}

function adviceFor(soft: number, hard: number): string[] {
  const wanted = LIMITS.softRecommended
  const how =
    process.platform === 'darwin'
      ? `sudo launchctl limit maxfiles ${wanted} ${wanted}`
      : hard >= wanted
        ? `ulimit -n ${wanted}`
        : `printf "$USER soft nofile ${wanted}\\n$USER hard nofile ${wanted}\\n" | sudo tee /etc/security/limits.d/spacedrive.conf`
  const service = process.platform === 'darwin' ? '' : ` (as a systemd service: LimitNOFILE=${wanted})`
  // Of root only what names it holds, so the line is about a user and not about everybody.
  return [
    `warning: a limit of ${soft} is low; ${LIMITS.softWarn} serve well, ${wanted} are recommended. To raise it:`,
    `  ${how}${service}`,
    '  `spacedrive doctor` tells where the limit comes from, and `spacedrive doctor --fix` raises it',
  ]
}
