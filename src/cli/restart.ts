// `spacedrive restart`: stops the daemon and starts it again, detached, with the arguments it had.
import { readlinkSync } from 'node:fs'
import type { Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import { readState } from './client.js'
import type { Desk } from './desk.js'
import { startDetached } from './detach.js'
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
  if (state === null) throw new SpacedriveError('NO_DAEMON', `no daemon is known in ${paths.dataDir}`)
  const cwd = workingDirectoryOf(state.pid)
  await stopDaemon(desk)
  const ready = await startDetached(paths, sameArguments(state.argv, paths.dataDir), cwd)
  if (state.http !== null && ready.http !== state.http) desk.note(`it was at ${state.http} before`)
  await desk.answer(ready, () => readyLines(ready, paths))
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
