// What is judged from what was seen: each finding with its weight and its mend. Nothing here looks at a machine.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { DaemonProcess } from '../../src/doctor/daemons.js'
import type { Finding } from '../../src/doctor/findings.js'
import { findingsOf } from '../../src/doctor/judge.js'
import type { Seen } from '../../src/doctor/seen.js'
import { Linux } from '../../src/doctor/linux.js'
import { MacOS } from '../../src/doctor/macos.js'
import type { Status } from '../../src/protocol/messages.js'
import { ADA, ground } from './ground.js'

const linux = new Linux(ADA, { root: '/nowhere', proc: '/nowhere/proc' })
const enough = { soft: 1024, hard: 524_288 }

const WELL: Seen = {
  machine: linux,
  limits: { files: 1_000_000, filesOpen: 5_000, perProcess: 1_048_576 },
  shell: enough,
  daemon: null,
  capped: false,
  unit: null,
  spacedrive: [],
  others: [],
  watches: { instances: 1, instancesMax: 128, watches: 10, watchesMax: 8_000, whole: true },
  leftovers: { socket: null, state: null },
  directory: { path: '/d', exists: true, mode: 0o700, uid: ADA.uid, writable: true, freeBytes: 1e12, freeInodes: 1e6 },
  settings: null,
  last: null,
  nativeProblem: null,
  isWritten: () => false,
}

const use = { used: 1, floor: 1, ceiling: 10, peak: 1, refused: 0, waited: 0 }

function daemon(changed: Partial<Status['descriptors']> = {}, more: Partial<DaemonProcess> = {}): DaemonProcess {
  const classes = { control: use, clients: use, libraries: use, jobs: use, watches: use }
  const descriptors = { open: 50, base: 20, budget: 900, reserve: 8, unaccounted: 0, exhaustionSeconds: null, classes }
  const pressure = { level: 'normal', since: '', pressure: 0, reason: 'nothing', free: 900 } as const
  const status = {
    pid: 7,
    native: true,
    limit: { softAtStart: 1024, soft: 524_288, hard: 524_288 },
    descriptors: { ...descriptors, ...pressure, ...changed },
  } as unknown as Status
  return {
    ...{ pid: 7, parent: 1, uid: ADA.uid, name: 'node', argv: ['node', 'main.js', 'start'], open: 50, ageMs: 60_000 },
    ...{ state: 'running', role: 'daemon', paths: null, answering: 'serving', limit: null, status },
    ...more,
  }
}

function seen(changed: Partial<Seen>): Record<string, Finding> {
  return Object.fromEntries(findingsOf({ ...WELL, ...changed }).map((each) => [each.code, each]))
}

function withDaemon(changed: Partial<Status['descriptors']>, more: Partial<DaemonProcess> = {}) {
  const one = daemon(changed, more)
  return seen({ daemon: one, spacedrive: [one] })
}

test('a machine that is well, with and without a daemon, has no findings', (t) => {
  t.deepEqual(findingsOf(WELL), [])
  t.deepEqual(withDaemon({}), {})
})

test('the hard limit decides, and its mend is a file for whatever starts spacedrive', (t) => {
  const low = { soft: 1024, hard: 4096 }
  t.is(seen({ shell: low })['LIMIT_LOW']?.mend.file?.path, '/etc/security/limits.d/spacedrive.conf')
  t.notRegex(seen({ shell: low })['LIMIT_LOW']!.mend.after!, /pam_limits/)
  using unread = ground({ '/etc/pam.d/sshd': 'session required pam_env.so\n' })
  const deaf = new Linux(ADA, { root: unread.root, proc: '/nowhere/proc' })
  t.regex(seen({ shell: low, machine: deaf })['LIMIT_LOW']!.mend.after!, /pam_limits\.so/)
  const unit = { name: 'files.service', ofUser: false }
  const { mend } = seen({ shell: low, unit })['LIMIT_LOW']!
  t.is(mend.file?.path, '/etc/systemd/system/files.service.d/limit.conf')
  t.regex(mend.after!, /daemon-reload\nsudo systemctl restart files\.service/)
  const ofUser = seen({ shell: low, unit: { ...unit, ofUser: true } })['LIMIT_LOW']!.mend
  t.is(ofUser.file?.path, `${ADA.home}/.config/systemd/user/files.service.d/limit.conf`)
  t.false(ofUser.root)
  const mac = new MacOS(ADA, '', () => null)
  t.is(seen({ machine: mac, shell: low })['LIMIT_LOW']?.mend.file?.path, '/Library/LaunchDaemons/limit.maxfiles.plist')
  t.is(seen({ shell: { soft: 10, hard: 40 } })['LIMIT_TOO_LOW']?.severity, 'problem')
  t.is(seen({ shell: { soft: 10, hard: LIMITS.softWarn } })['LIMIT_BELOW_RECOMMENDED']?.severity, 'hint')
})

test('the limit of the daemon that runs counts, not that of the shell that asks', (t) => {
  const one = daemon({}, { status: null, limit: { soft: 300, hard: 300 }, answering: 'starting' })
  t.truthy(seen({ daemon: one, spacedrive: [one] })['LIMIT_LOW'])
  const capped = daemon({}, { status: null, limit: { soft: 300, hard: 524_288 } })
  t.deepEqual(Object.keys(seen({ daemon: capped, capped: true, shell: { soft: 1, hard: 100 } })), ['LIMIT_CAPPED'])
  const low = daemon({}, { status: null, limit: { soft: 300, hard: 524_288 } })
  t.is(seen({ daemon: low })['LIMIT_NOT_RAISED']?.mend.command, 'prlimit --pid 7 --nofile=524288:')
})

test('a soft limit of 256 is mended in the profile where nothing raises it, and is nothing to mind where it is raised', (t) => {
  const shell = { soft: 256, hard: 138_240 }
  t.deepEqual(seen({ shell }), {})
  const { mend } = seen({ shell, machine: new MacOS({ ...ADA, shell: '/bin/zsh' }, '', () => null) })['SOFT_LOW']!
  t.deepEqual(mend.file, { path: `${ADA.home}/.zshrc`, kind: 'block', text: 'ulimit -n 65536\n' })
  t.truthy(seen({ shell, nativeProblem: 'not built; …' })['SOFT_LOW'])
})

test('of a daemon that does not answer only the one that was asked about is ended by --fix', (t) => {
  const stuck = daemon({}, { answering: 'stuck', status: null })
  const other = seen({ spacedrive: [stuck] })['DAEMON_STUCK']!
  t.is(other.severity, 'problem')
  t.is(other.mend.kill, undefined)
  t.regex(other.mend.command!, /^kill 7\nkill -9 7 /)
  const ours = { ...stuck, paths: { dataDir: '/d' } as DaemonProcess['paths'] }
  t.deepEqual(seen({ spacedrive: [ours] })['DAEMON_STUCK']?.mend.kill, { pid: 7, signal: 'SIGTERM' })
  const full = { ...ours, answering: 'exhausted' as const, open: 500, limit: { soft: 500, hard: 8000 } }
  t.regex(seen({ spacedrive: [full] })['DAEMON_EXHAUSTED']!.mend.command!, /^prlimit --pid 7 --nofile=2000: /)
  const top = { ...full, limit: { soft: 500, hard: 500 } }
  t.regex(seen({ spacedrive: [top] })['DAEMON_EXHAUSTED']!.mend.command!, /^sudo prlimit --pid 7 --nofile=2000:2000 /)
})

test('pressure, a class that is full, a leak and an end in sight are told with who to ask', (t) => {
  t.is(withDaemon({ level: 'high', reason: 'why' })['PRESSURE']?.severity, 'hint')
  t.regex(withDaemon({ level: 'critical', reason: 'why' })['PRESSURE']!.message, /critical: why$/)
  const classes = { control: use, clients: { ...use, used: 10, refused: 3 }, libraries: use, jobs: use, watches: use }
  t.is(withDaemon({ classes })['CLASS_FULL']?.severity, 'warning')
  t.is(withDaemon({ unaccounted: 2 })['UNACCOUNTED']?.severity, 'hint')
  const leak = {
    unaccounted: 9,
    growth: 9,
    withinMs: 10_000,
    likeliest: { holder: 'job 1', why: 'it ran' },
    targets: [],
    at: '',
  }
  const found = withDaemon({ unaccounted: 9, leak })
  t.regex(found['LEAK']!.message, /^9 descriptors .* most likely job 1: it ran$/)
  t.is(found['UNACCOUNTED'], undefined)
  t.is(withDaemon({ exhaustionSeconds: 90 })['EXHAUSTION_NEAR']?.severity, 'hint')
  t.is(withDaemon({ exhaustionSeconds: 9_000 })['EXHAUSTION_NEAR'], undefined)
})

test('a machine that is full, a hog, watches, a disk and a directory are told, and mended where that can be', (t) => {
  const limits = { files: 1_000, filesOpen: 950, perProcess: 4_096 }
  const others = [{ ...daemon(), pid: 9, name: 'hog', open: 600 }]
  const found = seen({ limits, others })
  t.regex(found['MACHINE_FULL']!.mend.file!.text, /^fs\.file-max = 2000$/m)
  t.regex(found['NR_OPEN_LOW']!.mend.file!.text, /^fs\.nr_open = 1048576$/m)
  t.regex(found['HOG']!.mend.command!, /^lsof -p 9 /)
  const watches = { ...WELL.watches!, instances: 120, watches: 7_900 }
  const both = seen({ watches })
  t.regex(both['INOTIFY_INSTANCES']!.message, /too many open files/)
  t.regex(both['INOTIFY_WATCHES']!.message, /no space left/)
  t.is(seen({ watches, isWritten: () => true })['INOTIFY_WATCHES']?.mend.file, undefined, 'not written again')
  const bad = seen({ directory: { ...WELL.directory, mode: 0o755, writable: false, freeBytes: 1_000, freeInodes: 3 } })
  t.deepEqual(Object.keys(bad), ['DIRECTORY_READ_ONLY', 'DIRECTORY_MODE', 'DISK_SPACE', 'DISK_INODES'])
  t.is(seen({ directory: { ...WELL.directory, uid: 5 } })['DIRECTORY_OWNER']?.severity, 'warning')
  const theirs = seen({ directory: { ...WELL.directory, uid: 5 }, spacedrive: [{ ...daemon(), uid: 5 }] })
  t.regex(theirs['DIRECTORY_OWNER']!.mend.command!, /^sudo -u '#5' spacedrive doctor/)
  const hidden = seen({ directory: { ...WELL.directory, exists: false, hidden: true } })
  t.regex(hidden['DIRECTORY_OWNER']!.message, /is not known/)
  t.is(seen({ nativeProblem: 'not built; …' })['NATIVE_OFF']?.severity, 'hint')
})
