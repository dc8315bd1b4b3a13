// A daemon of its own: started by a command, outliving it.
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromSystem, isErrorCode, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Paths } from '../base/places.js'
import { startChild } from '../descriptors/child.js'
import { makeDirectory, unusable } from '../directory.js'
import type { Status } from '../protocol/messages.js'
import { Client, readState } from './client.js'
import { Exit, SIGNALS } from './failure.js'
import { forgetTurn, giveTurn, loaded, waiting } from './turn.js'

/** The line that `start --json` prints. */
export interface Ready {
  readonly ready: true
  readonly pid: number
  readonly http: string | null
  readonly socket: string | null
  readonly lineProtocol: string | null
  readonly limit: Status['limit']
  readonly connectionsMax: number
}

const LOOK_MS = 40

/**
 * Starts a daemon in its own session and waits until it serves.
 *
 * @param argv as after `spacedrive`, with `start` in it and no `--detach`
 * @param before done when it has loaded and before it does anything, to stop another one, say; where that fails it ends
 * @throws what the daemon failed with, read from its last words; Exit where a signal came meanwhile, and the daemon is gone
 */
export async function startDetached(
  paths: Paths,
  argv: readonly string[],
  cwd: string = process.cwd(),
  before?: () => Promise<unknown>,
): Promise<Ready> {
  const child = launch(paths, argv, cwd, before !== undefined)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  let signalled: NodeJS.Signals | undefined
  const stop = (signal: NodeJS.Signals) => {
    signalled ??= signal
    child.kill('SIGTERM')
  }
  // What ends the wait ends the daemon as well: it is in a session of its own, and hears of none of them.
  for (const signal of SIGNALS) process.on(signal, stop)
  try {
    if (before) await inTurn(paths, child, ended, before)
    const ready = await served(paths, child, ended)
    if (signalled === undefined) return ready
    await ended
  } catch (error) {
    if (signalled === undefined) throw error
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop)
  }
  throw new Exit(128 + constants.signals[signalled])
}

async function inTurn(
  paths: Paths,
  child: ChildProcess,
  ended: Promise<void>,
  before: () => Promise<unknown>,
): Promise<void> {
  if (hasEnded(child)) throw lastWords(paths, child)
  const over = new AbortController()
  const late = sleep(LIMITS.cliStartMs, false, { signal: over.signal })
  const isLoaded = await Promise.race([loaded(child), late, ended.then(() => false)])
  over.abort()
  if (!isLoaded) throw hasEnded(child) ? lastWords(paths, child) : givenUp(paths, child)
  try {
    await before()
    giveTurn(child)
  } catch (error) {
    forgetTurn(child)
    await ended
    throw error
  }
}

async function served(paths: Paths, child: ChildProcess, ended: Promise<void>): Promise<Ready> {
  const until = performance.now() + LIMITS.cliStartMs
  for (;;) {
    const ready = await readyOf(paths, child.pid)
    if (ready) {
      child.unref()
      return ready
    }
    if (hasEnded(child)) throw lastWords(paths, child)
    if (performance.now() > until) throw givenUp(paths, child)
    await Promise.race([ended, sleep(LOOK_MS)])
  }
}

function hasEnded({ exitCode, signalCode, pid }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null || pid === undefined
}

/** Kills it. @returns what is said of that */
function givenUp(paths: Paths, child: ChildProcess): SpacedriveError {
  child.kill('SIGKILL')
  return new SpacedriveError('TIMEOUT', `the daemon was not ready within ${LIMITS.cliStartMs / 1_000} s`, {
    hint: `${paths.startLog} tells how far it came.`,
  })
}

function launch(paths: Paths, argv: readonly string[], cwd: string, waits: boolean): ChildProcess {
  const log = openStartLog(paths)
  try {
    const program = [...process.execArgv, process.argv[1]!, ...argv]
    const env = waits ? waiting(process.env) : process.env
    const stdio: StdioOptions = waits ? ['ignore', log, log, 'pipe'] : ['ignore', log, log]
    return startChild(process.execPath, program, { cwd, env, detached: true, stdio })
  } finally {
    closeSync(log)
  }
}

function openStartLog({ dataDir, startLog }: Paths): number {
  try {
    makeDirectory(dirname(startLog))
    // One that still runs goes on writing into its own.
    rmSync(startLog, { force: true })
    return openSync(startLog, 'w', 0o600)
  } catch (error) {
    throw unusable(dataDir, error)
  }
}

/** Asks the daemon itself: that its process runs does not say that it serves. */
async function readyOf(paths: Paths, pid: number | undefined): Promise<Ready | null> {
  const state = readState(paths.state)
  if (state === null || state.pid !== pid) return null
  const client = new Client(state.socket ?? paths.socket)
  try {
    const status = await client.call<Status>('core.status')
    if (status.pid !== pid || (status.state ?? 'serving') !== 'serving') return null
    const { http, socket, lineProtocol, limit, connections } = status
    return { ready: true, pid, http, socket, lineProtocol, limit, connectionsMax: connections.max }
  } catch (error) {
    if (error instanceof SpacedriveError && error.retryable) return null
    throw error
  } finally {
    client.close()
  }
}

/** A full disk, for which a daemon does not start, has no room for its words either. */
function whyUnwritten(startLog: string): SpacedriveError | null {
  try {
    writeFileSync(startLog, '\n')
    return null
  } catch (error) {
    return fromSystem(error)
  }
}

function lastWords(paths: Paths, child: ChildProcess): SpacedriveError {
  const text = readFileSync(paths.startLog, 'utf8')
  const unwritten = text === '' ? whyUnwritten(paths.startLog) : null
  if (unwritten) return unwritten
  const [, code, message] = /^error ([A-Z_]+): (.*)$/m.exec(text) ?? []
  const hint = /^hint: (.*)$/m.exec(text)?.[1]
  if (isErrorCode(code)) return new SpacedriveError(code, message ?? '', hint === undefined ? {} : { hint })
  return new SpacedriveError('INTERNAL', `the daemon ended with ${child.signalCode ?? `exit code ${child.exitCode}`}`, {
    hint: `${paths.startLog} has its last words.`,
  })
}
