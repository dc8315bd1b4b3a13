// Findings about limits: of the daemon or the shell, of the machine as a whole, and of inotify.
import { LIMITS } from '../base/limits.js'
import { grouped } from '../base/text.js'
import type { Limit } from '../descriptors/rlimit.js'
import { by, found, hint, problem, warning, type Finding } from './findings.js'
import type { Process } from './machine.js'
import { profileLine, raiseHard, sysctl } from './mends.js'
import { pending, type Seen } from './seen.js'

/** Of what the machine has, and of it what one program may have before it is worth a word. */
const NEAR = 0.9
const HOG = 0.5
const WATCHES_NEAR = 0.8

export function limitFindings(seen: Seen): Finding[] {
  const { daemon, shell } = seen
  const limit = daemon?.status?.limit ?? daemon?.limit ?? shell
  const reach = Math.min(limit.hard, LIMITS.softMax)
  return found([hardLow(seen, reach), daemon && softOfDaemon(seen, limit, reach), softOfShell(seen)])
}

function hardLow(seen: Seen, reach: number): Finding | null {
  if (reach >= LIMITS.softRecommended) return null
  const mend = pending(raiseHard(seen.machine, seen.unit), seen)
  const words = `${seen.daemon ? 'the daemon' : 'this shell'} may open ${grouped(reach)} files at most (hard limit)`
  const recommended = `${grouped(LIMITS.softRecommended)} are recommended`
  if (reach < LIMITS.hardFloor)
    return problem('LIMIT_TOO_LOW', `${words}, and spacedrive needs ${LIMITS.hardFloor}`, mend)
  if (reach >= LIMITS.softWarn) return hint('LIMIT_BELOW_RECOMMENDED', `${words}; ${recommended}`, mend)
  return warning('LIMIT_LOW', `${words}; ${grouped(LIMITS.softWarn)} serve well, ${recommended}`, mend)
}

function softOfDaemon({ daemon, capped }: Seen, limit: Limit, reach: number): Finding | null {
  if (limit.soft >= reach) return null
  if (capped) {
    const words = `the daemon was told to keep to ${grouped(limit.soft)} of ${grouped(reach)} descriptors (nofile)`
    return hint('LIMIT_CAPPED', words, by('spacedrive stop\nspacedrive start   # without --nofile or its setting'))
  }
  const words = `the daemon's soft limit is ${grouped(limit.soft)} though ${grouped(reach)} are allowed`
  return warning('LIMIT_NOT_RAISED', words, by(`prlimit --pid ${daemon!.pid} --nofile=${reach}:`))
}

/** On Linux the daemon raises it itself; on macOS every other program of this shell lives with its 256. */
function softOfShell({ machine, shell, nativeProblem }: Seen): Finding | null {
  if (machine.system === 'Linux' && nativeProblem === null) return null
  if (shell.soft >= LIMITS.softWarn || shell.hard < LIMITS.softRecommended) return null
  const words = `this shell gives its programs ${grouped(shell.soft)} descriptors`
  const allowed = `${grouped(LIMITS.softRecommended)} are allowed`
  return warning('SOFT_LOW', `${words}, though ${allowed}`, profileLine(machine.person))
}

export function machineFindings(seen: Seen): Finding[] {
  const { files, filesOpen } = seen.limits
  const near = files !== null && filesOpen !== null && filesOpen >= files * NEAR
  return found([
    near && machineFull(seen, files, filesOpen),
    processLow(seen),
    ...(files === null ? [] : seen.others.map((each) => hog(each, files))),
  ])
}

function machineFull(seen: Seen, files: number, filesOpen: number): Finding {
  const words = `the whole machine has ${grouped(filesOpen)} of ${grouped(files)} files open`
  if (seen.machine.system === 'macOS') {
    return warning('MACHINE_FULL', words, by(`sudo sysctl -w kern.maxfiles=${2 * files}`, true))
  }
  return warning('MACHINE_FULL', words, pending(sysctl('machine', { 'fs.file-max': 2 * files }), seen))
}

function processLow(seen: Seen): Finding | null {
  const { perProcess } = seen.limits
  if (seen.machine.system !== 'Linux' || perProcess === null || perProcess >= LIMITS.softRecommended) return null
  const words = `no process of this machine may open more than ${grouped(perProcess)} files (fs.nr_open)`
  return warning('NR_OPEN_LOW', words, pending(sysctl('process', { 'fs.nr_open': LIMITS.softMax }), seen))
}

function hog({ pid, name, open }: Process, files: number): Finding | null {
  if (open === null || open < files * HOG) return null
  const words = `${name}, pid ${pid}, has ${grouped(open)} of the machine's ${grouped(files)} files open`
  return warning('HOG', words, by(`lsof -p ${pid}   # what they are`))
}

export function watchFindings(seen: Seen): Finding[] {
  const { watches: use } = seen
  if (!use) return []
  const settings = {
    'fs.inotify.max_user_watches': Math.max(524_288, 2 * use.watchesMax),
    'fs.inotify.max_user_instances': Math.max(1_024, 2 * use.instancesMax),
  }
  const mend = pending(sysctl('watches', settings), seen)
  const near = (what: string, used: number, max: number, code: string, told: string) =>
    used >= max * WATCHES_NEAR &&
    warning(
      code,
      `${grouped(used)} of ${grouped(max)} inotify ${what} of this user are taken; past that a watcher is told "${told}"`,
      mend,
    )
  return found([
    near('instances', use.instances, use.instancesMax, 'INOTIFY_INSTANCES', 'too many open files'),
    near('watches', use.watches, use.watchesMax, 'INOTIFY_WATCHES', 'no space left on device'),
  ])
}
