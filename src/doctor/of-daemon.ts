// Findings about daemons: those that answer nobody, those that are near their end, and the last one if it was cut off.
import { LIMITS } from '../base/limits.js'
import { duration, grouped, plural } from '../base/text.js'
import type { Limit } from '../descriptors/rlimit.js'
import { CLASSES, type ClassUse, type DescriptorClass, type Status } from '../protocol/messages.js'
import type { DaemonProcess } from './daemons.js'
import { by, found, hint, problem, warning, type Finding } from './findings.js'
import type { Mend } from './mends.js'
import type { Seen } from './seen.js'

const LOOK = by('spacedrive fds')

export function daemonFindings(seen: Seen): Finding[] {
  const { daemon, spacedrive, directory } = seen
  return found([
    ...spacedrive.map((each) => silent(each, each.paths?.dataDir === directory.path)),
    ...(daemon?.status ? budgetFindings(daemon.status.descriptors) : []),
    lastRun(seen),
    native(seen),
  ])
}

/** @param asked whether it is the daemon that was asked about: only that one is ended by --fix, of others the command is told */
function silent({ pid, answering, open, limit }: DaemonProcess, asked: boolean): Finding | null {
  const mend = (command: string, signal: 'SIGTERM' | 'SIGCONT' = 'SIGTERM'): Mend => ({
    ...by(command),
    ...(asked ? { kill: { pid, signal } } : {}),
  })
  if (answering === 'stopped') {
    const words = `the daemon, pid ${pid}, was stopped by a signal and answers nobody`
    return problem('DAEMON_STOPPED', words, mend(`kill -CONT ${pid}`, 'SIGCONT'))
  }
  const end = `kill ${pid}\nkill -9 ${pid}   # if it is still there after ${LIMITS.drainMs / 1_000} s; nothing committed is lost`
  if (answering === 'exhausted') {
    const words = `the daemon, pid ${pid}, holds ${grouped(open!)} of ${grouped(limit!.soft)} descriptors and has none left to answer with`
    return problem('DAEMON_EXHAUSTED', words, mend(`${moreRoom(pid, limit!)}   # mends it at once\n${end}`))
  }
  if (answering !== 'stuck') return null
  const words = `the daemon, pid ${pid}, is alive but did not answer on its socket for ${duration(LIMITS.doctorPatienceMs)}`
  return problem('DAEMON_STUCK', words, mend(end))
}

/** The soft limit may be raised to the hard one by its owner, the hard one by root. */
function moreRoom(pid: number, { soft, hard }: Limit): string {
  if (soft < hard) return `prlimit --pid ${pid} --nofile=${Math.min(4 * soft, hard)}:`
  return `sudo prlimit --pid ${pid} --nofile=${4 * soft}:${4 * soft}`
}

function budgetFindings(descriptors: Status['descriptors']): (Finding | false | null)[] {
  const { level, reason, classes, exhaustionSeconds: seconds } = descriptors
  const say = level === 'critical' ? warning : hint
  return [
    (level === 'high' || level === 'critical') && say('PRESSURE', `the daemon's pressure is ${level}: ${reason}`, LOOK),
    ...CLASSES.map((name) => full(name, classes[name])),
    seconds !== null && seconds < LIMITS.doctorExhaustionSeconds && hint('EXHAUSTION_NEAR', ending(seconds), LOOK),
    leak(descriptors),
  ]
}

function full(name: DescriptorClass, { used, ceiling, refused }: ClassUse): Finding | null {
  // Watches fall back to polling, and the slots of control are there to be taken.
  if (name === 'watches' || name === 'control' || used < ceiling || refused === 0) return null
  const words = `every descriptor of the class ${name} is taken (${grouped(used)} of ${grouped(ceiling)})`
  return warning('CLASS_FULL', `${words}, ${plural(refused, 'request')} refused so far`, LOOK)
}

function ending(seconds: number): string {
  if (seconds < 1) return 'the budget is full, and use grows'
  return `as use grows now, the budget is full in ${duration(seconds * 1_000)}`
}

function leak({ unaccounted, leak: alarm }: Status['descriptors']): Finding | null {
  if (alarm) {
    const { growth, withinMs, likeliest } = alarm
    const words = `${plural(growth, 'descriptor')} without a holder came within ${duration(withinMs)} and stayed`
    return warning('LEAK', `${words}; most likely ${likeliest.holder}: ${likeliest.why}`, LOOK)
  }
  if (unaccounted === 0) return null
  const has = unaccounted === 1 ? 'has' : 'have'
  return hint('UNACCOUNTED', `${plural(unaccounted, 'descriptor')} of the daemon ${has} no known holder`, LOOK)
}

/** No daemon runs, and the last one did not come to say that it stops. */
function lastRun({ daemon, last }: Seen): Finding | null {
  if (daemon || !last || last.kind === 'stop') return null
  const { pid, at, open, soft, level } = last
  const numbers = soft === 0 ? '' : `: ${grouped(open)} of ${grouped(soft)} descriptors were open, pressure ${level}`
  const words = `the last daemon, pid ${pid}, ended without stopping after ${at}${numbers}`
  return hint('LAST_RUN_CUT', words, by('spacedrive logs   # what it last said\nspacedrive start'))
}

function native({ daemon, nativeProblem }: Seen): Finding | null {
  const build = by('node scripts/native.mjs   # in the directory of the package')
  if (daemon?.status?.native === false) {
    const words = 'holders are named less exactly, and its limit is raised by prlimit only'
    return warning('NATIVE_OFF', `the daemon runs without its native addon: ${words}`, build)
  }
  if (nativeProblem === null || daemon) return null
  return hint('NATIVE_OFF', `the native addon is ${nativeProblem.split(';')[0]}`, build)
}
