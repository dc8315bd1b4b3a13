// Both machines through the one interface: Linux by a /proc that was written down and by the real one, macOS by output written down in
// the form in which its commands are documented to print it: these tests run where there is no macOS.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Linux } from '../../src/doctor/linux.js'
import type { Machine } from '../../src/doctor/machine.js'
import { MacOS } from '../../src/doctor/macos.js'
import { personOf } from '../../src/doctor/person.js'
import { ADA, ground, ROOT_PERSON } from './ground.js'

const LIMITS_HEAD = 'Limit                     Soft Limit           Hard Limit           Units\n'
const limitsText = (soft: number | string, hard: number | string) =>
  `${LIMITS_HEAD}Max open files            ${soft}                 ${hard}                 files\n`
/** Of a process: name, state, parent, and when it started, in hundredths of a second after the boot. */
const statText = (pid: number, name: string, state: string, parent: number, started: number) =>
  `${pid} (${name}) ${state} ${parent} ${'0 '.repeat(17)}${started} 0 0\n`

function written() {
  const here = ground({
    '/proc/sys/fs/file-nr': '1200\t0\t90000\n',
    '/proc/sys/fs/file-max': '90000\n',
    '/proc/sys/fs/nr_open': '1048576\n',
    '/proc/sys/fs/inotify/max_user_instances': '128\n',
    '/proc/sys/fs/inotify/max_user_watches': '8000\n',
    '/proc/sys/user/max_inotify_instances': '4\n',
    '/proc/sys/user/max_inotify_watches': '9000\n',
    '/proc/uptime': '100.00 1.00\n',
    '/proc/1/stat': statText(1, 'systemd', 'S', 0, 0),
    '/proc/1/limits': limitsText(1024, 524288),
    '/proc/20/stat': statText(20, 'sshd: (odd) name', 'S', 1, 1000),
    '/proc/20/limits': limitsText(1024, 2000),
    '/proc/20/cmdline': 'sshd\0',
    '/proc/30/stat': statText(30, 'node', 'T', 20, 9000),
    '/proc/30/limits': limitsText(500, 2000),
    '/proc/30/cmdline': 'node\0/opt/spacedrive/dist/src/cli/main.js\0start\0',
    '/proc/30/environ': 'HOME=/home/ada\0EMPTY=\0WITH=a=b\0',
    '/proc/30/cgroup': '0::/system.slice/spacedrive.service\n',
    '/proc/20/cgroup': '0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n',
  })
  mkdirSync(`${here.root}/proc/30/fd`)
  mkdirSync(`${here.root}/proc/30/fdinfo`)
  const targets = ['/dev/null', 'socket:[1]', 'socket:[2]', 'anon_inode:inotify', '/x/library.db-wal']
  targets.forEach((target, fd) => symlinkSync(target, `${here.root}/proc/30/fd/${fd}`))
  here.write('/proc/30/fdinfo/3', 'pos:\t0\ninotify wd:1 ino:5\ninotify wd:2 ino:6\n')
  return here
}

test('Linux: what /proc says of limits and processes', (t) => {
  using here = written()
  const uid = process.getuid!()
  const linux = new Linux({ ...ADA, uid }, { root: here.root, proc: `${here.root}/proc` })
  t.deepEqual(linux.limits(), { files: 90000, filesOpen: 1200, perProcess: 1048576 })
  t.deepEqual(
    linux.processes().map(({ pid, parent, name, state, open, ageMs }) => [pid, parent, name, state, open, ageMs]),
    [
      [1, 0, 'systemd', 'running', null, 100_000],
      [20, 1, 'sshd: (odd) name', 'running', null, 90_000],
      [30, 20, 'node', 'stopped', 5, 10_000],
    ],
  )
  t.deepEqual(linux.limitOf(30), { soft: 500, hard: 2000 })
  t.is(linux.limitOf(99), null)
  t.deepEqual(linux.environmentOf(30), { HOME: '/home/ada', EMPTY: '', WITH: 'a=b' })
  t.deepEqual(linux.unitOf(30), { name: 'spacedrive.service', ofUser: false })
  t.deepEqual(linux.unitOf(20), { name: 'app.service', ofUser: true })
  t.is(linux.unitOf(1), null)
  t.is(linux.kindsOf(30)?.get('sockets'), 2)
  t.is(linux.kindsOf(30)?.get('files of libraries'), 1)
  t.deepEqual(linux.watches(), { instances: 1, instancesMax: 4, watches: 2, watchesMax: 8000, whole: true })
})

test('Linux: a limit is named by the file that says it, else by the process that has it first, else as a default', (t) => {
  using here = written()
  const linux = new Linux(ADA, { root: here.root, proc: `${here.root}/proc` })
  const words = (pid: number, half: 'soft' | 'hard') => linux.originOf(pid, linux.limitOf(pid)!, half)?.words
  t.is(words(30, 'hard'), 'inherited from sshd: (odd) name, pid 20')
  t.is(words(30, 'soft'), 'set where it was started (ulimit, prlimit)')
  t.is(words(1, 'hard'), "systemd's default")
  t.is(linux.originOf(20, { soft: 7, hard: 7 }, 'soft')?.words, 'set for this command alone (ulimit, prlimit)')
  here.write('/etc/security/limits.conf', '* hard nofile 2000\n')
  t.is(linux.loginLimits(), null)
  t.is(words(30, 'hard'), 'inherited from sshd: (odd) name, pid 20', 'nothing reads limits.conf here')
  here.write('/etc/pam.d/sshd', 'session required pam_env.so\n')
  t.false(linux.loginLimits())
  here.write('/etc/pam.d/sshd', 'session required pam_limits.so\n')
  t.true(linux.loginLimits())
  t.is(words(30, 'hard'), '/etc/security/limits.conf, line 1')
  here.write('/etc/systemd/system/spacedrive.service', '[Service]\nLimitNOFILE=500:2000\n')
  t.is(words(30, 'soft'), '/etc/systemd/system/spacedrive.service, line 2')
  t.is(linux.container(), null)
  here.write('/run/.containerenv', '')
  t.is(linux.container(), 'Podman')
})

if (process.platform === 'linux') {
  test('Linux: a real child is seen with its limit, its descriptors and its directory', async (t) => {
    const child = spawn('prlimit', ['--nofile=123:456', 'sleep', '60'], { cwd: '/', stdio: 'ignore' })
    try {
      await once(child, 'spawn')
      const linux: Machine = new Linux(personOf(process.env))
      const seen = () => linux.processes().find(({ pid }) => pid === child.pid)
      const end = Date.now() + 60_000
      while (seen()?.name !== 'sleep' && Date.now() < end) await new Promise((done) => setTimeout(done, 20))
      t.like(seen(), { name: 'sleep', parent: process.pid, uid: process.getuid!(), state: 'running' })
      t.true((seen()?.open ?? 0) >= 3)
      t.deepEqual(linux.limitOf(child.pid!), { soft: 123, hard: 456 })
      t.is(linux.directoryOf(child.pid!), '/')
      t.is(linux.originOf(child.pid!, { soft: 123, hard: 456 }, 'hard')?.words.includes('123'), false)
    } finally {
      child.kill('SIGKILL')
    }
  })
}

test('who asks is read from the account files, since the call for it needs a descriptor', (t) => {
  using here = ground({
    '/etc/passwd': 'root:x:0:0::/root:/bin/sh\nada:x:1000:50:Ada:/home/ada:/bin/zsh\n',
    '/etc/group': 'staff:x:50:\ndisk:x:6:bob,ada\nother:x:7:bob\n',
  })
  const person = personOf({}, here.root, 1000)
  t.like(person, { uid: 1000, user: 'ada', home: '/home/ada', shell: '/bin/zsh' })
  t.true(person.groups.includes('staff') && person.groups.includes('disk') && !person.groups.includes('other'))
  t.is(personOf({ USER: 'eve' }, here.root, 1001).user, 'eve')
  const sudo = { SUDO_UID: '1000', SUDO_USER: 'ada', USER: 'root', HOME: '/nowhere', SHELL: '/bin/sh' }
  t.like(personOf(sudo, here.root, 0), { uid: 1000, user: 'ada', home: '/home/ada', shell: '/bin/zsh' })
  t.is(personOf(sudo, here.root, 1001).user, 'root', 'only root can stand for somebody')
})

const RECORDED: Record<string, string> = {
  'launchctl limit maxfiles': '\tmaxfiles    256            unlimited      \n',
  'sysctl kern.maxfiles kern.maxfilesperproc kern.num_files':
    'kern.maxfiles: 276480\nkern.maxfilesperproc: 138240\nkern.num_files: 9153\n',
  'ps -axww -o pid=,ppid=,uid=,stat=,etime=,command=': [
    '    1     0     0 Ss   12-03:04:05 /sbin/launchd',
    '  501     1   501 S       01:02:03 /usr/local/bin/node /opt/spacedrive/dist/src/cli/main.js start --data-dir /tmp/d',
    '  502   501   501 T          00:07 /Applications/Some App.app/Contents/MacOS/Some App',
    '  503   501   501 Z          00:01 (node)',
    '',
  ].join('\n'),
  'lsof -nPw -F pft': [
    ...['p501', 'fcwd', 'tDIR', 'ftxt', 'tREG', 'f0', 'tCHR', 'f1', 'tPIPE', 'f2', 'tPIPE', 'f3', 'tKQUEUE'],
    ...['f20', 'tIPv4', 'f21', 'tunix', 'f22', 'tREG', 'p502', 'f0', 'tCHR', ''],
  ].join('\n'),
  'lsof -a -p 501 -d cwd -F n': 'p501\nfcwd\nn/Users/ada\n',
}

function mac(root = '', recorded = RECORDED): MacOS {
  return new MacOS(
    { ...ADA, shell: '/bin/zsh' },
    root,
    (command, args) => recorded[[command, ...args].join(' ')] ?? null,
  )
}

test('macOS: limits, processes and descriptors from the output of its commands', (t) => {
  const machine: Machine = mac()
  t.deepEqual(machine.limits(), { files: 276480, filesOpen: 9153, perProcess: 138240 })
  const [launchd, node, app, dead] = machine.processes()
  t.like(launchd, { pid: 1, name: 'launchd', open: null, ageMs: ((12 * 24 + 3) * 3600 + 4 * 60 + 5) * 1000 })
  t.like(node, { pid: 501, parent: 1, uid: 501, name: 'node', open: 7, state: 'running', ageMs: 3_723_000 })
  t.deepEqual(node?.argv.slice(1, 3), ['/opt/spacedrive/dist/src/cli/main.js', 'start'])
  t.like(app, { state: 'stopped', open: 1, ageMs: 7_000 })
  t.is(dead?.state, 'dead')
  t.deepEqual(Object.fromEntries(machine.kindsOf(501)!), { files: 2, pipes: 2, 'kernel objects': 1, sockets: 2 })
  t.is(machine.directoryOf(501), '/Users/ada')
  t.is(machine.watches(), null)
})

test('macOS: a limit comes from launchd, from its file, from a profile or from the kernel', (t) => {
  using here = ground()
  const words = (soft: number, hard: number, half: 'soft' | 'hard', recorded = RECORDED) =>
    mac(here.root, recorded).originOf(1, { soft, hard }, half)?.words
  t.is(words(256, 138240, 'soft'), "launchd's default")
  t.is(words(256, 138240, 'hard'), 'sysctl kern.maxfilesperproc')
  t.is(words(777, 138240, 'soft'), undefined)
  const raised = { ...RECORDED, 'launchctl limit maxfiles': '\tmaxfiles    65536            524288      \n' }
  t.is(words(65536, 524288, 'soft', raised), 'launchctl limit maxfiles')
  here.write('/Library/LaunchDaemons/limit.maxfiles.plist', '')
  t.is(words(65536, 524288, 'soft', raised), '/Library/LaunchDaemons/limit.maxfiles.plist')
  here.write('/home/ada/.zshrc', 'ulimit -n 777\n')
  t.is(words(777, 138240, 'soft'), '/home/ada/.zshrc, line 1')
})

test('macOS: commands that are missing leave blanks and do no harm', (t) => {
  const machine: Machine = mac('', {})
  t.deepEqual(machine.limits(), { files: null, filesOpen: null, perProcess: null })
  t.deepEqual(machine.processes(), [])
  t.is(machine.originOf(1, { soft: 256, hard: 1000 }, 'soft'), null)
  t.is(machine.lockHolder(join('/nowhere', 'daemon.lock')), null)
  t.is(new MacOS(ROOT_PERSON, '', () => 'nonsense\n').kindsOf(1), null)
})
