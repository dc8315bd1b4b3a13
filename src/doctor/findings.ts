// What is wrong, judged from what was seen; each with the exact mend. Looks at nothing itself.
import { bytes, duration, grouped, plural } from '../base/text.js'
import { LIMITS } from '../base/limits.js'
import type { Limit } from '../descriptors/rlimit.js'
import type { FlightEntry } from '../descriptors/recorder.js'
import { CLASSES, type Status } from '../protocol/messages.js'
import type { DaemonProcess, Leftovers } from './daemons.js'
import type { Machine, MachineLimits, Process, Unit, WatchUse } from './machine.js'
import { profileLine, quoted, raiseHard, sysctl, type Mend, type MendFile } from './mends.js'

/** `hint`: worth knowing. `warning`: works, but not as it should. `problem`: does not work. */
export type Severity = 'hint' | 'warning' | 'problem'

export interface Finding {
  readonly code: string
  readonly severity: Severity
  readonly message: string
  readonly mend: Mend
}

export interface DataDirectory {
  readonly path: string
  readonly exists: boolean
  readonly mode: number
  readonly uid: number
  readonly writable: boolean
  readonly freeBytes: number | null
  readonly freeInodes: number | null
}

/** Everything a judgement needs. */
export interface Seen {
  readonly machine: Machine
  readonly limits: MachineLimits
  readonly shell: Limit
  readonly daemon: DaemonProcess | null
  readonly unit: Unit | null
  readonly spacedrive: readonly DaemonProcess[]
  readonly others: readonly Process[]
  readonly watches: WatchUse | null
  readonly leftovers: Leftovers
  readonly directory: DataDirectory
  /** What the flight recorder holds last. */
  readonly last: FlightEntry | null
  /** Why this command has no native addon, or null. */
  readonly nativeProblem: string | null
  /** Whether it was written before, and holds from the next login or start on. */
  isWritten(file: MendFile): boolean
}

const NEAR = 0.9
const WATCHES_NEAR = 0.8

export function findingsOf(seen: Seen): Finding[] {
  return [
    ...silentDaemons(seen),
    ...limitFindings(seen),
    ...machineFindings(seen),
    ...pressureFindings(seen),
    ...watchFindings(seen),
    ...leftoverFindings(seen),
    ...lastRunFindings(seen),
    ...directoryFindings(seen),
    ...nativeFindings(seen),
  ].toSorted((a, b) => RANK[a.severity] - RANK[b.severity])
}

const RANK = { problem: 0, warning: 1, hint: 2 } as const

/** Alive, but nobody gets an answer. */
function silentDaemons({ spacedrive, directory }: Seen): Finding[] {
  return spacedrive.flatMap((each) => {
    const { pid, answering, open, limit } = each
    // Only the daemon of the data directory that was asked about is ended by --fix; of others the command is told.
    const kill = (signal: 'SIGTERM' | 'SIGCONT') =>
      each.paths?.dataDir === directory.path ? { kill: { pid, signal } } : {}
    const end = `kill ${pid}\nkill -9 ${pid}   # if it is still there after ${LIMITS.drainMs / 1_000} s; nothing committed is lost`
    if (answering === 'stopped')
      return problem('DAEMON_STOPPED', `the daemon, pid ${pid}, was stopped by a signal and answers nobody`, {
        command: `kill -CONT ${pid}`,
        ...kill('SIGCONT'),
        root: false,
      })
    if (answering === 'exhausted')
      return problem(
        'DAEMON_EXHAUSTED',
        `the daemon, pid ${pid}, holds ${grouped(open!)} of ${grouped(limit!.soft)} descriptors and has none left to answer with`,
        { command: `${moreRoom(pid, limit!)}   # mends it at once\n${end}`, ...kill('SIGTERM'), root: false },
      )
    if (answering !== 'stuck') return []
    return problem(
      'DAEMON_STUCK',
      `the daemon, pid ${pid}, is alive but did not answer on its socket for ${duration(LIMITS.doctorPatienceMs)}`,
      { command: end, ...kill('SIGTERM'), root: false },
    )
  })
}

/** The soft limit may be raised to the hard one by its owner, the hard one by root. */
function moreRoom(pid: number, { soft, hard }: Limit): string {
  if (soft < hard) return `prlimit --pid ${pid} --nofile=${Math.min(4 * soft, hard)}:`
  return `sudo prlimit --pid ${pid} --nofile=${4 * soft}:${4 * soft}`
}

function limitFindings(seen: Seen): Finding[] {
  const { daemon, machine, shell, nativeProblem } = seen
  const limit = daemon?.status?.limit ?? daemon?.limit ?? shell
  const reach = Math.min(limit.hard, LIMITS.softMax)
  const found: Finding[] = [...hardFindings(seen, reach)]
  if (daemon && daemon.argv.some((word) => word.startsWith('--nofile'))) {
    found.push(...cappedFinding(limit, reach))
  } else if (daemon && limit.soft < reach) {
    found.push(
      warning(
        'LIMIT_NOT_RAISED',
        `the daemon's soft limit is ${grouped(limit.soft)} though ${grouped(reach)} are allowed`,
        { command: `prlimit --pid ${daemon.pid} --nofile=${reach}:`, root: false },
      ),
    )
  }
  // Linux programs raise it themselves; on macOS every other one that this shell starts lives with its 256.
  const raised = machine.system === 'Linux' && nativeProblem === null
  if (!raised && shell.soft < LIMITS.softWarn && shell.hard >= LIMITS.softRecommended) {
    found.push(
      warning(
        'SOFT_LOW',
        `this shell gives its programs ${grouped(shell.soft)} descriptors, though ${grouped(LIMITS.softRecommended)} are allowed`,
        profileLine(machine.person),
      ),
    )
  }
  return found
}

function cappedFinding(limit: Limit, reach: number): Finding[] {
  if (limit.soft >= reach) return []
  return [
    hint(
      'LIMIT_CAPPED',
      `the daemon was started with --nofile, and keeps to ${grouped(limit.soft)} of ${grouped(reach)} descriptors`,
      { command: 'spacedrive stop\nspacedrive start   # without --nofile', root: false },
    ),
  ]
}

function hardFindings(seen: Seen, reach: number): Finding[] {
  if (reach >= LIMITS.softRecommended) return []
  const mend = pending(raiseHard(seen.machine, seen.unit), seen)
  const whose = seen.daemon ? 'the daemon' : 'this shell'
  const words = `${whose} may open ${grouped(reach)} files at most (hard limit)`
  if (reach < LIMITS.hardFloor)
    return [problem('LIMIT_TOO_LOW', `${words}, and spacedrive needs ${LIMITS.hardFloor}`, mend)]
  if (reach < LIMITS.softWarn)
    return [
      warning(
        'LIMIT_LOW',
        `${words}; ${grouped(LIMITS.softWarn)} serve well, ${grouped(LIMITS.softRecommended)} are recommended`,
        mend,
      ),
    ]
  return [hint('LIMIT_BELOW_RECOMMENDED', `${words}; ${grouped(LIMITS.softRecommended)} are recommended`, mend)]
}

/** What stands there already is not written again: only what must follow is left to do. */
function pending(mend: Mend, { isWritten }: Seen): Mend {
  if (!mend.file || !isWritten(mend.file)) return mend
  return { command: `# ${mend.file.path} is written already\n${mend.after ?? ''}`, root: mend.root }
}

function machineFindings(seen: Seen): Finding[] {
  const { limits, others, machine } = seen
  const { files, filesOpen, perProcess } = limits
  const found: Finding[] = []
  if (files !== null && filesOpen !== null && filesOpen >= files * NEAR) {
    found.push(
      warning(
        'MACHINE_FULL',
        `the whole machine has ${grouped(filesOpen)} of ${grouped(files)} files open`,
        machine.system === 'Linux'
          ? pending(sysctl('machine', { 'fs.file-max': 2 * files }), seen)
          : { command: `sudo sysctl -w kern.maxfiles=${2 * files}`, root: true },
      ),
    )
  }
  if (machine.system === 'Linux' && perProcess !== null && perProcess < LIMITS.softRecommended) {
    found.push(
      warning(
        'NR_OPEN_LOW',
        `no process of this machine may open more than ${grouped(perProcess)} files (fs.nr_open)`,
        pending(sysctl('process', { 'fs.nr_open': LIMITS.softMax }), seen),
      ),
    )
  }
  if (files !== null) {
    for (const { pid, name, open } of others) {
      if (open === null || open < files * 0.5) continue
      found.push(
        warning('HOG', `${name}, pid ${pid}, has ${grouped(open)} of the machine's ${grouped(files)} files open`, {
          command: `lsof -p ${pid}   # what they are`,
          root: false,
        }),
      )
    }
  }
  return found
}

function pressureFindings({ daemon }: Seen): Finding[] {
  const status = daemon?.status
  if (!status) return []
  const { descriptors } = status
  const look = { command: 'spacedrive fds', root: false }
  const found: Finding[] = []
  if (descriptors.level === 'high' || descriptors.level === 'critical') {
    const say = descriptors.level === 'critical' ? warning : hint
    found.push(say('PRESSURE', `the daemon's pressure is ${descriptors.level}: ${descriptors.reason}`, look))
  }
  for (const name of CLASSES) {
    const { used, ceiling, refused } = descriptors.classes[name]
    if (name === 'watches' || name === 'control' || used < ceiling || refused === 0) continue
    found.push(
      warning(
        'CLASS_FULL',
        `every descriptor of the class ${name} is taken (${grouped(used)} of ${grouped(ceiling)}), ${plural(refused, 'request')} refused so far`,
        look,
      ),
    )
  }
  return [...found, ...leakFindings(descriptors)]
}

function leakFindings({ unaccounted, leak, exhaustionSeconds: seconds }: Status['descriptors']): Finding[] {
  const look = { command: 'spacedrive fds', root: false }
  const found: Finding[] = []
  if (seconds !== null && seconds < LIMITS.doctorExhaustionSeconds) {
    const words =
      seconds < 1
        ? 'the budget is full, and use grows'
        : `as use grows now, the budget is full in ${duration(seconds * 1_000)}`
    found.push(hint('EXHAUSTION_NEAR', words, look))
  }
  if (leak) {
    const { growth, withinMs, likeliest } = leak
    found.push(
      warning(
        'LEAK',
        `${plural(growth, 'descriptor')} without a holder came within ${duration(withinMs)} and stayed; most likely ${likeliest.holder}: ${likeliest.why}`,
        look,
      ),
    )
  } else if (unaccounted > 0) {
    found.push(
      hint(
        'UNACCOUNTED',
        `${plural(unaccounted, 'descriptor')} of the daemon ${unaccounted === 1 ? 'has' : 'have'} no known holder`,
        look,
      ),
    )
  }
  return found
}

/** No daemon runs, and the last one did not come to say that it stops. */
function lastRunFindings({ daemon, last }: Seen): Finding[] {
  if (daemon || !last || last.kind === 'stop') return []
  const { pid, at, open, soft, level } = last
  const numbers = soft === 0 ? '' : `: ${grouped(open)} of ${grouped(soft)} descriptors were open, pressure ${level}`
  return [
    hint('LAST_RUN_CUT', `the last daemon, pid ${pid}, ended without stopping after ${at}${numbers}`, {
      command: 'spacedrive logs   # what it last said\nspacedrive start',
      root: false,
    }),
  ]
}

function watchFindings(seen: Seen): Finding[] {
  const { watches } = seen
  if (!watches) return []
  const { instances, instancesMax, watches: used, watchesMax } = watches
  const found: Finding[] = []
  const settings = {
    'fs.inotify.max_user_watches': Math.max(524_288, 2 * watchesMax),
    'fs.inotify.max_user_instances': Math.max(1_024, 2 * instancesMax),
  }
  const mend = pending(sysctl('watches', settings), seen)
  if (instances >= instancesMax * WATCHES_NEAR)
    found.push(
      warning(
        'INOTIFY_INSTANCES',
        `${grouped(instances)} of ${grouped(instancesMax)} inotify instances of this user are taken; past that a watcher is told "too many open files"`,
        mend,
      ),
    )
  if (used >= watchesMax * WATCHES_NEAR)
    found.push(
      warning(
        'INOTIFY_WATCHES',
        `${grouped(used)} of ${grouped(watchesMax)} inotify watches of this user are taken; past that a watcher is told "no space left on device"`,
        mend,
      ),
    )
  return found
}

function leftoverFindings({ leftovers }: Seen): Finding[] {
  const found: Finding[] = []
  const left = (code: string, path: string, what: string) =>
    found.push(
      hint(code, `${what}: the next start removes it by itself`, {
        command: `rm ${quoted(path)}`,
        remove: path,
        root: false,
      }),
    )
  if (leftovers.socket)
    left('STALE_SOCKET', leftovers.socket, 'a daemon that was killed left its socket, and nobody listens there')
  if (leftovers.state)
    left('STALE_STATE', leftovers.state, 'a daemon that was killed left its state file, and its lock is free')
  return found
}

function directoryFindings({ directory, machine }: Seen): Finding[] {
  const { path, exists, mode, uid, writable, freeBytes, freeInodes } = directory
  if (!exists) return []
  const found: Finding[] = []
  const { person } = machine
  if (uid !== person.uid)
    found.push(
      warning('DIRECTORY_OWNER', `the data directory belongs to another user (${uid})`, {
        command: `sudo chown -R ${person.user} ${quoted(path)}`,
        root: true,
      }),
    )
  else if ((mode & 0o077) !== 0)
    found.push(
      warning('DIRECTORY_MODE', `others may enter the data directory (mode ${(mode & 0o777).toString(8)})`, {
        command: `chmod 700 ${quoted(path)}`,
        secure: path,
        root: false,
      }),
    )
  if (!writable)
    found.push(
      problem('DIRECTORY_READ_ONLY', 'the data directory cannot be written', {
        command: `ls -ld ${quoted(path)}\nfindmnt --target ${quoted(path)}`,
        root: false,
      }),
    )
  if (freeBytes !== null && freeBytes < LIMITS.doctorFreeBytesMin)
    found.push(
      warning('DISK_SPACE', `the disk of the data directory has ${bytes(freeBytes)} left`, {
        command: `df -h ${quoted(path)}`,
        root: false,
      }),
    )
  if (freeInodes !== null && freeInodes < LIMITS.doctorFreeInodesMin)
    found.push(
      warning('DISK_INODES', `the disk of the data directory has room for ${plural(freeInodes, 'more file')}`, {
        command: `df -i ${quoted(path)}`,
        root: false,
      }),
    )
  return found
}

function nativeFindings({ daemon, nativeProblem }: Seen): Finding[] {
  const build = { command: 'node scripts/native.mjs   # in the directory of the package', root: false }
  if (daemon?.status?.native === false)
    return [
      warning(
        'NATIVE_OFF',
        'the daemon runs without its native addon: holders are named less exactly, and its limit is raised by prlimit only',
        build,
      ),
    ]
  return nativeProblem === null || daemon
    ? []
    : [hint('NATIVE_OFF', `the native addon is ${nativeProblem.split(';')[0]}`, build)]
}

function problem(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'problem', message, mend }
}

function warning(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'warning', message, mend }
}

function hint(code: string, message: string, mend: Mend): Finding {
  return { code, severity: 'hint', message, mend }
}
