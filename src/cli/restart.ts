// `spacedrive restart`: stops the daemon and starts it again, detached, with the arguments it had.
import { readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import type { Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import type { DaemonState } from '../directory.js'
import { readState } from './client.js'
import type { Desk } from './desk.js'
import { startDetached, type Ready } from './detach.js'
import { SIGNALS } from './failure.js'
import { readyLines } from './start.js'
import { stopDaemon } from './stop.js'

export function addRestart(program: Command, desk: Desk): void {
  program
    .command('restart')
    .description('stop the daemon and start it again in the background, with the same arguments')
    .action(() => restart(desk))
}

async function restart(desk: Desk): Promise<void> {
  const { paths } = desk
  const state = readState(paths.state)
  if (state === null) {
    // Of one that is another user's the file cannot be read either.
    await desk.client.call('core.ping')
    throw new SpacedriveError('NO_DAEMON', `no daemon is known in ${paths.dataDir}`)
  }
  const { checkSources } = await import('../config.js')
  // What would keep the next one from starting is no reason to stop this one.
  checkSources(paths.config, desk.env)
  const ready = await replace(desk, state)
  if (state.http !== null && ready.http !== state.http) desk.note(`it was at ${state.http} before`)
  await desk.answer(ready, () => readyLines(ready, paths))
}

/** The next one has loaded before this one stops, so that clients are refused for half as long. */
async function replace(desk: Desk, { pid, argv }: DaemonState): Promise<Ready> {
  const { paths } = desk
  let isStopped = false
  const tell = () =>
    desk.note(`the daemon with pid ${pid} was stopped, and no other runs: \`spacedrive start\` starts one`)
  const left = (signal: NodeJS.Signals) => {
    const noted = readState(paths.state)
    if (noted === null || noted.draining) tell()
    process.exit(128 + constants.signals[signal])
  }
  const stop = async () => {
    for (const signal of SIGNALS) process.on(signal, left)
    try {
      await stopDaemon(desk)
      isStopped = true
    } finally {
      for (const signal of SIGNALS) process.off(signal, left)
    }
  }
  const next = startDetached(paths, sameArguments(argv, paths.dataDir), workingDirectoryOf(pid), stop)
  return next.catch((error: unknown) => {
    if (isStopped) tell()
    throw error
  })
}

/** Paths among the arguments are relative to where the daemon was started. Linux tells; elsewhere it is here. */
function workingDirectoryOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return process.cwd()
  }
}

/** The data directory is given in full, since the environment that named it may have been another one. */
export function sameArguments(argv: readonly string[], dataDir: string): string[] {
  const kept: string[] = []
  for (let index = 0; index < argv.length; index += 1) {
    const each = argv[index]!
    if (each === '--data-dir' || each === '--instance') index += 1
    else if (!/^--(data-dir=|instance=|detach$|json$)/.test(each)) kept.push(each)
  }
  return [...(kept.includes('start') ? kept : ['start', ...kept]), '--data-dir', dataDir]
}
