// The doctor's report as lines for a terminal, at most 80 columns wide; only a command that has to be copied may be longer.
import type { Diagnosis, LimitSeen, SpacedriveSeen } from '../doctor/examine.js'
import type { FlightEntry } from '../descriptors/recorder.js'
import type { Finding } from '../doctor/findings.js'
import type { Origin } from '../doctor/machine.js'
import { causeFacts } from './status.js'
import { table, type Column } from './table.js'
import { bytes, columnsOf, duration, fitted, grouped, millisecond, safe } from './text.js'

const COLUMNS_MAX = 80
const INDENT = '  '
const LABEL_COLUMNS = 13
const SIGN = { problem: '✘', warning: '!', hint: '·' } as const

const SPACEDRIVE_COLUMNS: readonly Column[] = [
  { title: 'pid', right: true },
  { title: 'what' },
  { title: 'answering' },
  { title: 'open', right: true },
  { title: 'soft limit', right: true },
  { title: 'age', right: true },
  { title: 'data directory', shrinks: true },
]

const OTHER_COLUMNS: readonly Column[] = [
  { title: 'pid', right: true },
  { title: 'open', right: true },
  { title: 'program', shrinks: true },
  { title: '' },
]

export function diagnosisLines(diagnosis: Diagnosis, uid: number, columns: number): string[] {
  const columnsMax = Math.min(columns, COLUMNS_MAX)
  return [
    ...wrapped(safe(diagnosis.verdict), columnsMax),
    ...diagnosis.findings.flatMap((finding) => ['', ...findingLines(finding, columnsMax)]),
    ...limitLines(diagnosis, columnsMax),
    ...daemonLines(diagnosis, columnsMax),
    ...processLines(diagnosis, uid, columnsMax),
    ...watchLines(diagnosis, columnsMax),
    ...flightLines(diagnosis, columnsMax),
    ...placeLines(diagnosis, columnsMax),
  ]
}

function findingLines({ code, severity, message, mend }: Finding, columnsMax: number): string[] {
  const [first = '', ...rest] = wrapped(`${code}: ${safe(message)}`, columnsMax - 2)
  return [
    `${SIGN[severity]} ${first}`,
    ...rest.map((line) => INDENT + line),
    ...commandLines(mend.command),
    ...(mend.after === undefined ? [] : mend.after.split('\n').map((line) => `    ${line}`)),
  ]
}

/** What `--fix` shows before it asks. */
export function mendLines(finding: Finding, columns: number): string[] {
  return findingLines(finding, Math.min(columns, COLUMNS_MAX))
}

/** Never cut and never broken: it is there to be copied. */
function commandLines(command: string | undefined): string[] {
  return command === undefined ? [] : command.split('\n').map((line) => `    ${safe(line)}`)
}

function limitLines({ limits, container, system }: Diagnosis, columnsMax: number): string[] {
  const { machine, shell, daemon, loginLimits } = limits
  const perProcess = system === 'Linux' ? 'fs.nr_open' : 'kern.maxfilesperproc'
  const files = system === 'Linux' ? 'fs.file-max' : 'kern.maxfiles'
  const open = machine.filesOpen === null ? 'all files open:' : `${grouped(machine.filesOpen)} of`
  return section('limits on open files', columnsMax, [
    ...limitOf('this shell', shell),
    ...(daemon ? limitOf('the daemon', daemon, daemon.softAtStart) : []),
    ['one process', machine.perProcess === null ? 'not told' : `at most ${number(machine.perProcess)} (${perProcess})`],
    ['all of them', machine.files === null ? 'not told' : `${open} ${number(machine.files)} (${files})`],
    ...(container === null ? [] : [['container', container] as const]),
    ...(loginLimits === false
      ? [['logins', 'limits.conf is not read: no file of /etc/pam.d names pam_limits'] as const]
      : []),
  ])
}

function limitOf(name: string, limit: LimitSeen, softAtStart: number | null = null): (readonly [string, string])[] {
  const start = softAtStart === null || softAtStart === limit.soft ? '' : `, ${number(softAtStart)} at its start`
  return [
    [name, `soft ${number(limit.soft)}${start}${start === '' ? from(limit.softOrigin) : ''}`],
    ['', `hard ${number(limit.hard)}${from(limit.hardOrigin)}`],
  ]
}

function from(origin: Origin | null): string {
  return origin === null ? '' : `; ${origin.words}`
}

function daemonLines({ daemon }: Diagnosis, columnsMax: number): string[] {
  if (!daemon) return []
  const { descriptors, connections } = daemon
  return section('the daemon', columnsMax, [
    ['version', `${daemon.version}, pid ${daemon.pid}, ${daemon.state}, up ${duration(daemon.uptimeMs)}`],
    [
      'descriptors',
      `${grouped(descriptors.open)} open, budget ${grouped(descriptors.budget)}, reserve ${descriptors.reserve}`,
    ],
    ['pressure', `${descriptors.level} (${descriptors.reason}), ${grouped(descriptors.unaccounted)} unaccounted`],
    ...causeFacts(daemon.pressure),
    [
      'connections',
      `${grouped(connections.current)} of ${grouped(connections.max)}, ${grouped(connections.refused)} refused`,
    ],
    ['addon', daemon.native ? 'loaded' : 'not loaded'],
  ])
}

function processLines({ processes }: Diagnosis, uid: number, columnsMax: number): string[] {
  const { spacedrive, others } = processes
  const lines: string[] = []
  if (spacedrive.length > 0) {
    lines.push(
      '',
      'spacedrive processes',
      ...indented(table(SPACEDRIVE_COLUMNS, spacedrive.map(spacedriveRow), columnsMax - 2)),
    )
    for (const { pid, kinds } of spacedrive) if (kinds) lines.push(...kindLines(pid, kinds, columnsMax))
  }
  if (others.length > 0) {
    const rows = others.map((each) => [
      String(each.pid),
      grouped(each.open),
      safe(each.name),
      each.uid === uid ? '' : `user ${each.uid}`,
    ])
    lines.push('', 'other programs with the most open files', ...indented(table(OTHER_COLUMNS, rows, columnsMax - 2)))
  }
  return lines
}

function spacedriveRow({ pid, role, answering, open, soft, ageMs, dataDir }: SpacedriveSeen): string[] {
  return [
    String(pid),
    role,
    role === 'command' ? '' : answering,
    open === null ? '-' : grouped(open),
    soft === null ? '-' : number(soft),
    ageMs === null ? '-' : duration(ageMs),
    safe(dataDir ?? '-'),
  ]
}

function kindLines(pid: number, kinds: Readonly<Record<string, number>>, columnsMax: number): string[] {
  const words = Object.entries(kinds)
    .toSorted(([, a], [, b]) => b - a)
    .map(([kind, count]) => `${grouped(count)} ${kind}`)
  return wrapped(`${pid} has open: ${words.join(', ')}`, columnsMax - 2).map((line) => INDENT + line)
}

function watchLines({ watches }: Diagnosis, columnsMax: number): string[] {
  if (!watches) return []
  const { instances, instancesMax, watches: used, watchesMax, whole } = watches
  const least = whole ? '' : 'at least '
  return section('inotify, of this user', columnsMax, [
    ['instances', `${least}${grouped(instances)} of ${grouped(instancesMax)} (fs.inotify.max_user_instances)`],
    ['watches', `${least}${grouped(used)} of ${grouped(watchesMax)} (fs.inotify.max_user_watches)`],
  ])
}

function flightLines({ flight }: Diagnosis, columnsMax: number): string[] {
  const { events, last } = flight
  if (!last) return []
  const shown = [...events, ...(events.includes(last) ? [] : [last])]
  return section('flight recorder', columnsMax, shown.map(flightFact))
}

function flightFact({ at, kind, text, open, soft, level }: FlightEntry): readonly [string, string] {
  const when = millisecond(at).slice(-12)
  // Of the second before the first sample nothing is known.
  const numbers = soft === 0 ? '' : `${grouped(open)} of ${grouped(soft)} open, ${level}`
  return [when, [kind === 'sample' ? 'last sample' : kind, numbers, text].filter((each) => each !== '').join('; ')]
}

function placeLines({ dataDirectory, native, daemon }: Diagnosis, columnsMax: number): string[] {
  const { path, exists, hidden, mode, freeBytes, freeInodes } = dataDirectory
  const where = hidden ? 'this user may not look there' : 'not there yet'
  const facts: (readonly [string, string])[] = [['path', exists ? path : `${path} (${where})`]]
  if (exists) facts.push(['mode', (mode & 0o777).toString(8).padStart(4, '0')])
  if (freeBytes !== null)
    facts.push(['free', `${bytes(freeBytes)}${freeInodes === null ? '' : `, ${grouped(freeInodes)} more files`}`])
  if (!daemon) facts.push(['addon', native ? 'loads' : 'does not load'])
  return section('the data directory', columnsMax, facts)
}

function section(title: string, columnsMax: number, facts: readonly (readonly [string, string])[]): string[] {
  const room = columnsMax - INDENT.length - LABEL_COLUMNS
  const lines = facts.flatMap(([name, words]) =>
    wrapped(safe(words), room).map((line, at) => `${INDENT}${(at === 0 ? name : '').padEnd(LABEL_COLUMNS)}${line}`),
  )
  return ['', title, ...lines]
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => INDENT + line)
}

function number(limit: number): string {
  return limit >= Number.MAX_SAFE_INTEGER ? 'unlimited' : grouped(limit)
}

/** Broken between words. One that is longer than a line, as a path may be, loses its middle. */
export function wrapped(text: string, columnsMax: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const each of text.split(' ')) {
    const word = fitted(each, columnsMax)
    const longer = line === '' ? word : `${line} ${word}`
    if (columnsOf(longer) <= columnsMax) line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}
