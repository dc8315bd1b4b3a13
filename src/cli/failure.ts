// How a command fails: two lines for the person, one exit code for the script.
import { CommanderError } from 'commander'
import { fromSystem, type ErrorCode } from '../base/errors.js'
import { safe } from './text.js'

export const EXIT = { done: 0, failed: 1, usage: 2, noDaemon: 3, tryAgain: 75, config: 78, interrupted: 130 } as const

/** The same command may succeed later without anybody changing anything. A full disk is not such a case. */
const TRY_AGAIN: ReadonlySet<ErrorCode> = new Set([
  'BUDGET_EXHAUSTED',
  'CONNECTION_LIMIT',
  'TOO_MANY_ATTEMPTS',
  'SHARD_BUSY',
  'OVERLOADED',
  'SHARD_LOST',
  'STARTING',
  'DRAINING',
  'TIMEOUT',
] as const)

/** By which a person, or whoever looks after a process, ends a command. */
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The command line itself is wrong. */
export class UsageError extends Error {
  /** Without one the help of the command is named. */
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

/** Everything is said already; only the exit code is left. */
export class Exit extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`exit ${exitCode}`)
    this.exitCode = exitCode
  }
}

export interface Failure {
  readonly exitCode: number
  /** For stderr; empty where nothing is left to say. */
  readonly lines: readonly string[]
}

/** @param help where it says how the command is used */
export function failureOf(error: unknown, help: string): Failure {
  if (error instanceof Exit) return { exitCode: error.exitCode, lines: [] }
  if (error instanceof UsageError) return usage(error.message, error.hint ?? help)
  if (error instanceof CommanderError) return ofCommander(error, help)
  const known = fromSystem(error)
  return { exitCode: exitCodeOf(known.code), lines: linesOf(known) }
}

export function linesOf(error: unknown): string[] {
  const { code, message, hint } = fromSystem(error)
  return [`error ${code}: ${safe(message)}`, `hint: ${safe(hint)}`]
}

function exitCodeOf(code: ErrorCode): number {
  if (code === 'NO_DAEMON') return EXIT.noDaemon
  if (code === 'LIMIT_TOO_LOW' || code === 'BAD_CONFIG') return EXIT.config
  return TRY_AGAIN.has(code) ? EXIT.tryAgain : EXIT.failed
}

function ofCommander(error: CommanderError, help: string): Failure {
  if (error.exitCode === 0) return { exitCode: EXIT.done, lines: [] }
  if (error.code === 'commander.help') return usage('a command is missing', help)
  const suggestion = /\(Did you mean (.+)\?\)/.exec(error.message)?.[1]
  const message = (error.message.split('\n')[0] ?? '').replace(/^error: /, '')
  if (suggestion === undefined) return usage(message, help)
  const words = suggestion.replace(/^one of /, '').split(', ')
  return usage(message, `Did you mean ${words.map((word) => `\`${word}\``).join(' or ')}?`)
}

function usage(message: string, hint: string): Failure {
  return { exitCode: EXIT.usage, lines: [`error USAGE: ${safe(message)}`, `hint: ${safe(hint)}`] }
}
