// `spacedrive stop`: asks the daemon to drain, and waits until its process is gone.
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { errnoOf, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Paths } from '../base/places.js'
import type { Status } from '../protocol/messages.js'
import { readState } from './client.js'
import type { Desk } from './desk.js'

const LOOK_MS = 25

export function addStop(program: Command, desk: Desk): void {
  program
    .command('stop')
    .description('stop the daemon: answers finish, jobs checkpoint, libraries close')
    .action(async () => {
      const pid = await stopDaemon(desk)
      await desk.answer({ stopped: true, pid }, () => [`stopped, pid ${pid}`])
    })
}

/**
 * @returns the pid of the daemon that is gone
 * @throws NO_DAEMON when none answers; TIMEOUT when it is still there after `cliStopMs`
 */
export async function stopDaemon(desk: Desk): Promise<number> {
  const pid = await askToStop(desk)
  const until = performance.now() + LIMITS.cliStopMs
  while (isAlive(pid)) {
    if (performance.now() > until) {
      throw new SpacedriveError('TIMEOUT', `process ${pid} is still there after ${LIMITS.cliStopMs / 1_000} s`, {
        hint: `\`kill ${pid}\` hurries it; \`spacedrive logs\` tells what it waits for.`,
      })
    }
    await sleep(LOOK_MS)
  }
  return pid
}

/** What it says of nobody who listens: a daemon on its way down is there all the same, and another cannot start yet. */
export async function explained(error: unknown, paths: Paths): Promise<unknown> {
  if (!(error instanceof SpacedriveError) || error.code !== 'NO_DAEMON') return error
  const pid = await leaving(paths)
  if (pid === null) return error
  return new SpacedriveError('DRAINING', `the daemon, pid ${pid}, is stopping`, {
    hint: `It is gone in a moment; \`spacedrive logs\` tells what it waits for, \`kill ${pid}\` hurries it.`,
  })
}

/** One that was killed on its way down left its note, and its pid may be another program's by now: not so its lock. */
async function leaving({ state, lock }: Paths): Promise<number | null> {
  const noted = readState(state)
  return noted?.draining && isAlive(noted.pid) && (await isHeld(lock)) ? noted.pid : null
}

async function isHeld(lock: string): Promise<boolean> {
  if (!existsSync(lock)) return false
  const { holdLock } = await import('../library/lock.js')
  try {
    const held = holdLock(lock)
    held?.release()
    return held === null
  } catch {
    return true // Not known.
  }
}

async function askToStop({ client, paths }: Desk): Promise<number> {
  const noted = readState(paths.state)?.pid
  try {
    const { pid } = await client.call<Pick<Status, 'pid'>>('core.status')
    await client.call('core.shutdown').catch(unlessLeaving)
    return pid
  } catch (error) {
    // One that is draining answers nothing more, and needs no telling.
    const known = await explained(error, paths)
    if (noted !== undefined && known instanceof SpacedriveError && known.code === 'DRAINING') return noted
    throw known
  }
}

/** The daemon may be gone before its answer is out. */
function unlessLeaving(error: unknown): void {
  if (error instanceof SpacedriveError && (error.code === 'NO_DAEMON' || error.code === 'DRAINING')) return
  throw error
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return errnoOf(error) === 'EPERM'
  }
  return !isZombie(pid)
}

/** A process that ended but whose parent did not ask how, as in a container without an init. Linux only. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false
  }
}
