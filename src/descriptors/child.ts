// Other programs, started clean: with the soft limit this process was given instead of the one it raised itself to, and
// with no descriptor of ours. The only file that starts a process; test/tidy.test.ts sees to it.
import { spawn, spawnSync, type ChildProcess, type SpawnOptions, type SpawnSyncReturns } from 'node:child_process'
import { LIMITS } from '../base/limits.js'
import { loadNative } from './native.js'

/** The shell sets the limit of itself and becomes the program; nothing of what is started is read as shell. */
const BECOME = 'ulimit -S -n "$1" 2>/dev/null; shift; exec "$@"'

/** What `exec` of a shell exits with when there is no such program. */
export const NO_SUCH_PROGRAM = 127

/** Descriptors from 3 on are closed in it, also those that our own parent left open. Takes up to nine free ones for a moment. */
export function startChild(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  loadNative()?.closeOnExec(3)
  return spawn('/bin/sh', wrapped(command, args), options)
}

/** The same, waited for; for boot and for commands, since it takes up to 14 free descriptors and stands in the loop's way. */
export function runChild(
  command: string,
  args: readonly string[],
  ms: number = LIMITS.childMs,
): SpawnSyncReturns<string> {
  loadNative()?.closeOnExec(3)
  return spawnSync('/bin/sh', wrapped(command, args), {
    encoding: 'utf8',
    timeout: ms,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function wrapped(command: string, args: readonly string[]): string[] {
  return ['-c', BECOME, 'sh', softForChildren(), command, ...args]
}

/** In the words of `ulimit`. Where the launcher noted nothing: what programs that use select() can live with. */
export function softForChildren(env: NodeJS.ProcessEnv = process.env): string {
  const noted = env['SPACEDRIVE_LIMIT_AT_START']?.split(':', 1)[0] ?? ''
  return /^(\d+|unlimited)$/.test(noted) ? noted : String(LIMITS.childSoft)
}
