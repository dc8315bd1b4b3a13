// A finding: what is wrong, how much that matters, and its exact mend.
import type { Mend } from './mends.js'

/** `hint`: worth knowing. `warning`: works, but not as it should. `problem`: does not work. */
export type Severity = 'hint' | 'warning' | 'problem'

export interface Finding {
  readonly code: string
  readonly severity: Severity
  readonly message: string
  readonly mend: Mend
}

export function problem(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'problem', message, mend }
}

export function warning(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'warning', message, mend }
}

export function hint(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'hint', message, mend }
}

/** Those that are there, of a list of conditions that each may come to one. */
export function found(each: readonly (Finding | false | null)[]): Finding[] {
  return each.filter((one) => one !== false && one !== null)
}

/** A mend that is only a command to type. */
export function by(command: string, root = false): Mend {
  return { command, root }
}
