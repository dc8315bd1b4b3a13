// `spacedrive doctor` as a person meets it: with and without a daemon, as JSON, within 80 columns, and what --fix does.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import test from 'ava'
import type { Diagnosis } from '../../src/doctor/examine.js'
import type { Finding } from '../../src/doctor/findings.js'
import { applyMend, undo, undoables } from '../../src/doctor/fix.js'
import * as mends from '../../src/doctor/mends.js'
import { cli, LAUNCHER, eventually, type Loose, type Starting, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'
import { ADA, ground, type Ground } from './ground.js'

interface Examined {
  readonly code: number | null
  readonly diagnosis: Diagnosis
  finding(code: string): Finding | undefined
}

function doctor(dataDir: string, here: Ground, starting: Starting = {}): Examined {
  const { code, out, err } = cli(['doctor', '--json', '--data-dir', dataDir], inside(here, starting))
  if (err !== '') throw new Error(err)
  const diagnosis: Diagnosis = JSON.parse(out)
  return { code, diagnosis, finding: (wanted) => diagnosis.findings.find((each) => each.code === wanted) }
}

/** The same of a daemon that is well: on a busy machine it may not answer within the patience of the doctor, who looks again. */
async function doctorOf({ dataDir, pid }: TestDaemon, here: Ground): Promise<Examined> {
  return await eventually('the daemon answers it in time', 60_000, () => {
    const examined = doctor(dataDir, here)
    return examined.diagnosis.daemon?.pid === pid && examined
  })
}

function inside(here: Ground, starting: Starting = {}): Starting {
  const env = { SPACEDRIVE_DOCTOR_ROOT: here.root, HOME: '/home/ada', SHELL: '/bin/bash', ...starting.env }
  return { ...starting, env }
}

test.serial('without a daemon it tells limits, the machine and what is recommended', async (t) => {
  await play(async (scene) => {
    using here = ground()
    const { diagnosis } = doctor(scene.dataDir, here, { limit: '700:12000' })
    t.like(diagnosis.limits.shell, { soft: 700, hard: 12000 })
    t.true((diagnosis.limits.machine.files ?? 0) > 0)
    t.is(diagnosis.daemon, null)
    t.false(diagnosis.dataDirectory.exists)
    t.true(diagnosis.processes.others.length > 0 && diagnosis.processes.others.length <= 10)
    t.is(typeof diagnosis.verdict, 'string')
    t.is(diagnosis.findings.find(({ code }) => code === 'LIMIT_BELOW_RECOMMENDED')?.severity, 'hint')
  })
})

test.serial(
  'a data directory that can be none, and settings with which nothing starts, are told and exit 1',
  async (t) => {
    await play(async (scene) => {
      using here = ground()
      const target = scene.path('gone')
      const [dangling, circle, file] = [scene.path('dangling'), scene.path('circle'), scene.path('file')]
      symlinkSync('gone', dangling)
      symlinkSync('circle', circle)
      writeFileSync(file, '')
      for (const path of [dangling, circle, file, join(file, 'below')]) {
        const { code, finding } = doctor(path, here)
        t.is(finding('DIRECTORY_UNUSABLE')?.severity, 'problem', path)
        t.is(code, 1)
      }
      t.is(doctor(dangling, here).finding('DIRECTORY_UNUSABLE')!.mend.command, `mkdir -p ${target}`)
      mkdirSync(target, { mode: 0o700 })
      t.is(doctor(dangling, here).finding('DIRECTORY_UNUSABLE'), undefined)

      const config = join(target, 'config.json')
      for (const [text, words] of [
        ['{"shards": 0}', /config\.json: shards: expected a whole number/],
        ['{"htp": "off"}', /config\.json: htp: no such setting/],
        ['{', /config\.json is not JSON/],
      ] as const) {
        writeFileSync(config, text)
        const { code, finding } = doctor(target, here)
        t.is(code, 1)
        t.is(finding('SETTINGS_WRONG')?.severity, 'problem')
        t.regex(finding('SETTINGS_WRONG')!.message, words)
      }
      writeFileSync(config, '{"shards": 1}')
      t.is(doctor(target, here).finding('SETTINGS_WRONG'), undefined)
    })
  },
)

test.serial(
  'a hard limit under 10,000 needs mending, one under what a boot needs is a problem; both with the file',
  async (t) => {
    await play(async (scene) => {
      using here = ground({ '/etc/passwd': `ada:x:${process.getuid!()}:50::/home/ada:/bin/bash\n` })
      const low = doctor(scene.dataDir, here, { limit: '500:4000' })
      t.is(low.code, 1)
      t.false(low.diagnosis.well)
      t.is(low.finding('LIMIT_LOW')?.severity, 'warning')
      const { mend } = low.finding('LIMIT_LOW')!
      t.is(mend.file?.path, '/etc/security/limits.d/spacedrive.conf')
      t.regex(mend.file!.text, /^ada soft nofile 65536\nada hard nofile 65536\n/m)
      t.true(mend.root)
      t.regex(mend.command!, /sudo tee \/etc\/security\/limits\.d\/spacedrive\.conf/)
      // The launcher lets a doctor in where it refuses a start.
      const lower = doctor(scene.dataDir, here, { limit: '50:50' })
      t.is(lower.finding('LIMIT_TOO_LOW')?.severity, 'problem')
      t.is(lower.code, 1)
    })
  },
)

test.serial('with a daemon it tells its limit, its budget and that it answers', async (t) => {
  await play(async (scene) => {
    using here = ground()
    const daemon = await scene.daemon({ limit: '300:12000' })
    const { diagnosis } = await doctorOf(daemon, here)
    t.like(diagnosis.limits.daemon, { soft: 12000, hard: 12000, softAtStart: 300 })
    const seen = diagnosis.processes.spacedrive.find(({ pid }) => pid === daemon.pid)
    t.like(seen, { role: 'daemon', answering: 'serving', dataDir: scene.dataDir, soft: 12000 })
    t.is(
      diagnosis.findings.find(({ code }) => code === 'LIMIT_NOT_RAISED'),
      undefined,
    )
    daemon.limit(5000)
    await eventually('the daemon saw it', 20_000, async () => (await daemon.status()).limit.soft === 5000)
    t.truthy((await doctorOf(daemon, here)).finding('LIMIT_NOT_RAISED'))
    writeFileSync(join(scene.dataDir, 'config.json'), '{ "nofile": 5000 }')
    t.is((await doctorOf(daemon, here)).finding('LIMIT_CAPPED')?.severity, 'hint')
    daemon.limit(12000)
    await eventually('the daemon saw it', 20_000, async () => (await daemon.status()).limit.soft === 12000)
    chmodSync(scene.dataDir, 0o755)
    const opened = await doctorOf(daemon, here)
    t.is(opened.finding('DIRECTORY_MODE')?.mend.command, `chmod 700 ${scene.dataDir}`)
    t.is(opened.code, 1)
    t.is(cli(['doctor', '--fix', '--yes', '--data-dir', scene.dataDir], inside(here)).code, 0)
    t.is(statSync(scene.dataDir).mode & 0o777, 0o700)
    t.is(await daemon.call('core.ping'), 'pong')
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('no line of the report is longer than 80 columns, but a command to be copied', async (t) => {
  await play(async (scene) => {
    using here = ground()
    await scene.daemon()
    const { out } = cli(['doctor', '--data-dir', scene.dataDir], inside(here, { limit: '200:2000' }))
    const long = out.split('\n').filter((line) => [...line].length > 80 && !line.startsWith('    '))
    t.deepEqual(long, [])
    t.regex(out, /^(all is well|not well)/)
    for (const title of ['limits on open files', 'the daemon', 'spacedrive processes', 'the data directory']) {
      t.true(out.includes(`\n${title}\n`), title)
    }
  })
})

const LIMITED = { limit: '500:4000' }

test.serial('--fix shows, writes once, and is taken back; --dry-run changes nothing', async (t) => {
  await play(async (scene) => {
    using here = ground({ '/etc/passwd': `ada:x:${process.getuid!()}:50::/home/ada:/bin/bash\n` })
    const path = `${here.root}/etc/security/limits.d/spacedrive.conf`
    const run = (...words: string[]) =>
      cli(['doctor', '--fix', ...words, '--data-dir', scene.dataDir], inside(here, LIMITED))

    const dry = run('--dry-run')
    t.is(dry.code, 0, dry.err)
    t.regex(dry.err, /ada soft nofile 65536/)
    t.false(existsSync(path))
    t.is(run().code, 2, 'without a terminal and without --yes nothing is done')
    t.false(existsSync(path))

    const written = run('--yes')
    t.is(written.code, 0, written.err)
    t.regex(readFileSync(path, 'utf8'), /^ada hard nofile 65536$/m)
    const before = statSync(path)
    t.is(run('--yes').code, 0)
    t.deepEqual(
      [statSync(path).ino, statSync(path).mtimeMs],
      [before.ino, before.mtimeMs],
      'a second time writes nothing',
    )
    const pending = doctor(scene.dataDir, here, LIMITED).finding('LIMIT_LOW')
    t.is(pending?.mend.file, undefined)
    t.regex(pending!.mend.command!, /written already/)

    t.is(run('--undo', '--dry-run').code, 0)
    t.true(existsSync(path))
    t.is(run('--undo', '--yes').code, 0)
    t.false(existsSync(path))
    t.regex(run('--undo', '--yes').out, /nothing that --fix wrote/)
  })
})

test.serial('on a terminal --fix asks for each, and only yes is yes', async (t) => {
  if (spawnSync('script', ['--version']).error) {
    t.log('not run: there is no script(1) to make a terminal')
    t.pass()
    return
  }
  await play(async (scene) => {
    using here = ground()
    const path = `${here.root}/etc/security/limits.d/spacedrive.conf`
    const command = `prlimit --nofile=500:4000 '${LAUNCHER}' doctor --fix --data-dir '${scene.dataDir}'`
    const env = { ...process.env, ...inside(here).env }
    for (const [answer, written] of [
      ['n', false],
      ['', false],
      ['y', true],
    ] as const) {
      const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
        encoding: 'utf8',
        env,
        input: `${answer}\n`,
      })
      t.regex(stdout, /write \/etc\/security\/limits\.d\/spacedrive\.conf\? \[y\/N\]/)
      t.is(existsSync(path), written, `answered "${answer}"`)
    }
  })
})

test.serial('--fix leaves a file alone that somebody else wrote', async (t) => {
  await play(async (scene) => {
    const path = '/etc/security/limits.d/spacedrive.conf'
    using here = ground({ [path]: 'somebody hard nofile 1\n' })
    const { code, err } = cli(['doctor', '--fix', '--yes', '--data-dir', scene.dataDir], inside(here, LIMITED))
    t.is(code, 1)
    t.regex(err, /is not ours/)
    t.is(readFileSync(here.root + path, 'utf8'), 'somebody hard nofile 1\n')
    t.is(cli(['doctor', '--fix', '--undo', '--yes', '--data-dir', scene.dataDir], inside(here)).code, 0)
    t.true(existsSync(here.root + path))
  })
})

test.serial(
  'where nothing else raises it, the shell profile gets a line between markers, which is taken out again',
  async (t) => {
    using here = ground({ '/home/ada/dotfiles/bashrc': 'alias ll="ls -l"' })
    symlinkSync('dotfiles/bashrc', `${here.root}/home/ada/.bashrc`)
    chmodSync(`${here.root}/home/ada/dotfiles/bashrc`, 0o600)
    const profile = `${here.root}/home/ada/.bashrc`
    for (const outcome of ['done', 'nothing to do']) {
      t.is(applyMend(mends.profileLine(ADA), {} as Loose, here.root), outcome as Loose)
      t.is(
        readFileSync(profile, 'utf8'),
        `alias ll="ls -l"\n# >>> spacedrive doctor >>>\nulimit -n 65536\n# <<< spacedrive doctor <<<\n`,
      )
    }
    t.true(lstatSync(profile).isSymbolicLink(), 'a link to it stays one')
    t.is(statSync(profile).mode & 0o777, 0o600)
    const [found] = undoables(here.root, ADA)
    t.deepEqual(found, { path: '/home/ada/.bashrc', kind: 'block' })
    t.is(undo(here.root, found!), 'done')
    t.is(readFileSync(profile, 'utf8'), 'alias ll="ls -l"\n')
  },
)

test.serial(
  'drop-ins of systemd, the plist of launchd and sysctl files are written, found again and taken back',
  async (t) => {
    using here = ground()
    const all = [
      mends.dropIn({ name: 'spacedrive.service', ofUser: false }, ADA),
      mends.dropIn({ name: 'spacedrive.service', ofUser: true }, ADA),
      mends.launchd(),
      mends.sysctl('watches', { 'fs.inotify.max_user_watches': 524288 }),
    ]
    t.deepEqual(
      all.map(({ root }) => root),
      [true, false, true, true],
    )
    for (const mend of all) t.is(applyMend(mend, {} as Loose, here.root), 'done')
    const text = (path: string) => readFileSync(here.root + path, 'utf8')
    t.regex(text('/etc/systemd/system/spacedrive.service.d/limit.conf'), /^\[Service\]\nLimitNOFILE=65536$/m)
    t.regex(text('/home/ada/.config/systemd/user/spacedrive.service.d/limit.conf'), /^LimitNOFILE=65536$/m)
    t.regex(text('/Library/LaunchDaemons/limit.maxfiles.plist'), /<string>65536<\/string>\s*<string>524288<\/string>/)
    t.notRegex(
      text('/Library/LaunchDaemons/limit.maxfiles.plist'),
      /<!--(?:(?!-->)[\s\S])*--(?!>)[\s\S]*?-->/,
      'no -- within a comment',
    )
    t.regex(text('/etc/sysctl.d/90-spacedrive-inotify.conf'), /^fs\.inotify\.max_user_watches = 524288$/m)
    const found = undoables(here.root, ADA)
    t.is(found.length, 4)
    for (const each of found) t.is(undo(here.root, each), 'done')
    t.deepEqual(undoables(here.root, ADA), [])
  },
)

test.serial('what it may not write is said, with the lines that root can run', async (t) => {
  await play(async (scene) => {
    using here = ground()
    mkdirSync(`${here.root}/etc/security/limits.d`, { recursive: true })
    for (const path of ['', '/etc', '/etc/security', '/etc/security/limits.d']) chmodSync(here.root + path, 0o555)
    const through = process.getuid!() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : []
    const { code, err } = cli(['doctor', '--fix', '--yes', '--data-dir', scene.dataDir], {
      ...inside(here, LIMITED),
      through,
    })
    chmodSync(here.root, 0o755)
    t.is(code, 1, err)
    t.regex(err, /^ {4}sudo tee \/etc\/security\/limits\.d\/spacedrive\.conf <<'END'$/m)
    t.regex(err, /this needs root/)
    t.false(existsSync(`${here.root}/etc/security/limits.d/spacedrive.conf`))
  })
})

test('--dry-run, --undo and --yes without --fix are a mistake', (t) => {
  for (const word of ['--dry-run', '--undo', '--yes']) t.is(cli(['doctor', word]).code, 2)
})

test.serial('it needs few descriptors itself', async (t) => {
  await play(async (scene) => {
    using here = ground()
    const daemon = await scene.daemon()
    const { diagnosis } = doctor(scene.dataDir, here, { limit: '40:40' })
    t.is(diagnosis.daemon?.pid, daemon.pid)
  })
})
