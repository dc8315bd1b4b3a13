import { appendFileSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import type { Descriptors, FileItem } from '../../src/protocol/messages.js'
import { descriptorLines } from '../../src/cli/fds.js'
import { sameArguments } from '../../src/cli/restart.js'
import { statusLines } from '../../src/cli/status.js'
import { isAlive } from '../../src/cli/stop.js'
import { pointAt } from '../../src/cli/query.js'
import { columnsOf } from '../../src/cli/text.js'
import { holdLock } from '../../src/library/lock.js'
import { aJob, aLibrary, aLocation, aStatus, cli, FakeDaemon, someDescriptors, temporary } from './fake.js'

const MAIN = join(import.meta.dirname, '../../src/cli/main.js')

function file(path: string, changes: Partial<FileItem> = {}): FileItem {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const same = { library: 'id-of-Photos', location: 'l', kind: 'file' as const, size: 2_048, inode: 1 }
  return { id: path, path, name, modifiedAt: '2026-01-02T03:04:05Z', ...same, ...changes }
}

test('without a daemon a command says so and exits 3', async (t) => {
  using place = temporary()
  for (const argv of [['status'], ['stop'], ['library', 'list'], ['fds', '--json'], ['events'], ['restart']]) {
    const { code, out, err } = await cli([...argv, '--data-dir', place.path])
    t.is(code, 3, argv.join(' '))
    t.is(out, '')
    t.regex(err, /^error NO_DAEMON: .+\nhint: .+\n$/)
  }
})

test('a socket that nobody listens on any more is no daemon either', async (t) => {
  using place = temporary()
  writeFileSync(join(place.path, 'daemon.json'), 'cut off')
  writeFileSync(join(place.path, 'daemon.sock'), '')
  t.is((await cli(['status', '--data-dir', place.path])).code, 3)
})

for (const [argv, words] of [
  [['frobnicate'], /unknown command 'frobnicate'/],
  [[], /a command is missing/],
  [['library'], /a command is missing/],
  [['library', 'create'], /missing required argument 'NAME'/],
  [['status', 'now'], /too many arguments/],
  [['ls', '--colour'], /unknown option '--colour'/],
  [['search', 'x', '--limit', 'ten'], /--limit/],
  [['ls', '--sort', 'colour'], /--sort/],
  [['start', '--shards', '0'], /--shards: expected a whole number/],
  [['start', '--http', 'nowhere'], /--http: expected HOST:PORT/],
  [['start', '--nofile', 'auto'], /--nofile: expected/],
  [['status', '--data-dir', ''], /data directory/],
  [['status', '--instance', '../up'], /instance/],
] as const) {
  test(`\`spacedrive ${argv.join(' ')}\` is a usage error with a hint`, async (t) => {
    const { code, out, err } = await cli(argv)
    t.is(code, 2)
    t.is(out, '')
    t.regex(err, /^error USAGE: .+\nhint: .+\n$/)
    t.regex(err, words)
  })
}

test('a usage error names the help of its command', async (t) => {
  for (const [argv, help] of [
    [['--json'], 'spacedrive'],
    [['tag'], 'spacedrive tag'],
    [['--data-dir', '/tmp', 'library', 'create'], 'spacedrive library create'],
    [['ls', '--colour'], 'spacedrive ls'],
    [['selftest', 'now'], 'spacedrive selftest'],
  ] as const)
    t.true((await cli(argv)).err.includes(`hint: \`${help} --help\` `), argv.join(' '))
})

test('a mistyped command is answered with the nearest one', async (t) => {
  t.regex((await cli(['serach', 'x'])).err, /hint: Did you mean `search`\?/)
  t.regex((await cli(['fles'])).err, /hint: Did you mean `fds` or `ls`\?/)
})

test('a wrong setting in the environment or the file exits 78', async (t) => {
  using place = temporary()
  const argv = ['start', '--data-dir', place.path]
  t.is((await cli(argv, { SPACEDRIVE_SHARDS: 'x' })).code, 78)
  writeFileSync(join(place.path, 'config.json'), '{"http":5}')
  const { code, err } = await cli(argv)
  t.is(code, 78)
  t.regex(err, /^error BAD_CONFIG: .*config\.json: http: .+\nhint: /)
  writeFileSync(join(place.path, 'config.json'), '{"ofTomorrow":1}')
  t.regex((await cli(argv)).err, /ofTomorrow: no such setting\nhint: .*Settings of this version: http, /)
})

test('a location that does not exist is refused before anything starts', async (t) => {
  using place = temporary()
  const { code, err } = await cli(['start', '--data-dir', place.path, '--location', join(place.path, 'gone')])
  t.is(code, 1)
  t.regex(err, /^error PATH_REFUSED: .*gone does not exist\n/)
})

test('--help goes to stdout, names every command and keeps to 80 columns', async (t) => {
  const { code, out } = await cli(['--help'])
  t.is(code, 0)
  for (const name of 'start stop restart status logs events library location ls search job fds'.split(' ')) {
    t.true(out.includes(`\n  ${name} `), name)
  }
  t.deepEqual(
    out.split('\n').filter((line) => line.length > 80),
    [],
  )
})

test('help of a command below another is what its --help says', async (t) => {
  t.deepEqual(await cli(['help', 'library', 'create']), await cli(['library', 'create', '--help']))
  t.deepEqual(await cli(['help']), await cli(['--help']))
})

test('an empty path is not the current directory', async (t) => {
  await using daemon = await FakeDaemon.open()
  const commands = ['start --location', 'location add']
  for (const each of commands) t.like(await daemon.cli(...each.split(' '), ''), { code: 2, out: '' }, each)
})

test('a name that is not UTF-8 is told apart from one that is not there', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/photos')],
  })
  for (const command of ['why', 'show', 'hash', 'ls']) {
    const { code, err } = await daemon.cli(command, '/photos/caf\ufffd')
    t.is(code, 2, command)
    t.regex(err, /^error USAGE: a name that is not UTF-8 .+\nhint: .*spacedrive ls --json/, command)
  }
})

test('the global options are read before and after the command', async (t) => {
  await using daemon = await FakeDaemon.open()
  const before = await cli(['--json', '--data-dir', daemon.dataDir, 'status'])
  const after = await cli(['status', '--data-dir', daemon.dataDir, '--json'])
  t.deepEqual(JSON.parse(before.out), aStatus())
  t.is(after.out, before.out)
})

test('status and fds keep to 80 columns whatever they are given', (t) => {
  const lines = [...statusLines(aStatus(), 80), ...descriptorLines(someDescriptors(), 80)]
  t.deepEqual(
    lines.filter((line) => columnsOf(line) > 80),
    [],
  )
  t.true(lines.length > 20)
})

test('status and doctor tell what presses beside descriptors and why, and whom it refused', (t) => {
  const lines = statusLines(aStatus(), 80).join('\n')
  t.regex(lines, /^memory +critical since .* \(99 %\), 123,456,789 refused so far\n +1034869 of the 1048500 MB o/m)
  t.regex(lines, /^queues +normal since .* \(0 %\), 1 refused so far\nconnections/m)
  t.notRegex(lines, /^main loop/m)
  const { pressure: _unknown, ...old } = aStatus()
  t.notRegex(
    statusLines(old as ReturnType<typeof aStatus>, 80).join('\n'),
    /^memory/m,
    'a daemon of before says nothing of it',
  )
})

test('status tells of a leak, and whose it likely is', (t) => {
  const likeliest = { holder: 'package sharp', why: '9 of 9 lie in it' }
  const leak = { unaccounted: 9, growth: 9, withinMs: 4_000, likeliest, targets: ['/x'], at: '2026-01-02T03:04:05Z' }
  const status = aStatus()
  const lines = statusLines({ ...status, descriptors: { ...status.descriptors, leak } }, 80)
  t.regex(lines.join('\n'), /^leak +9 descriptors within 4\.0 s, .*\n +likeliest of package sharp: 9 of 9 lie in it$/m)
  t.false(statusLines(status, 80).some((line) => line.startsWith('leak')))
})

test('fds --json is what core.descriptors answered, untouched', async (t) => {
  const held = { ...someDescriptors(), addedLater: true }
  await using daemon = await FakeDaemon.open({ 'core.descriptors': () => held })
  t.deepEqual(JSON.parse((await daemon.cli('fds', '--json')).out), held)
})

test('fds puts the descriptors of one holder on one line', async (t) => {
  await using daemon = await FakeDaemon.open({ 'core.descriptors': someDescriptors })
  const { out } = await daemon.cli('fds')
  t.regex(out, /^ +2 +libraries +library Photos +1 min 1 s /m)
  t.regex(out, /^ +1 +base +node +2 min 0 s +epoll$/m)
  t.regex(out, /^ +1 +\/lost.* 1 min 30 s +63$/m)
})

test('of thousands of holders fds shows those of the most descriptors, and all when asked', async (t) => {
  const holders = Array.from({ length: 15_000 }, (_, fd): Descriptors['holders'][number] => {
    const library = `library ${Math.floor(fd / 4)}`
    return { fd, class: 'libraries', holder: library, detail: `/data/${library}/${fd % 4}`, ageMs: fd }
  })
  const clients = Array.from({ length: 9 }, (_, at): Descriptors['holders'][number] => {
    const detail = at < 6 ? `127.0.0.1:${50_000 + at} ws` : `unix socket, pid ${at}`
    return { fd: 20_000 + at, class: 'clients', holder: 'client', detail, ageMs: 1 }
  })
  const unaccounted = Array.from({ length: 12 }, (_, at) => {
    return { fd: 30_000 + at, target: at < 10 ? 'anon_inode:[eventfd]' : `pipe:[${at}]`, ageMs: 5_000 }
  })
  const held = { ...someDescriptors(), open: 15_021, holders: [...holders, ...clients], unaccounted }
  await using daemon = await FakeDaemon.open({ 'core.descriptors': () => held })
  const { out } = await daemon.cli('fds')
  const lines = out.split('\n')
  t.true(lines.length < 70)
  t.true(lines.every((line) => columnsOf(line) <= 80))
  t.regex(out, /^15,021 descriptors open, highest number 63, 12 unaccounted$/m)
  t.regex(out, /^ +9 +clients +client +1 ms +6× 127\.0\.0\.1 ws, 3× unix socket$/m)
  t.regex(out, /^ +10 +anon_inode:\[eventfd\] +5\.0 s +30000 30001 30002 30003 30004 30005 …$/m)
  t.regex(out, /^ +2 +pipe +5\.0 s +30010 30011$/m)
  t.regex(out, /^and 3,711 holders more, of 14,844 descriptors$/m)
  t.is((await daemon.cli('fds', '--all')).out.match(/^ +4 +libraries /gm)?.length, 3_750)
})

for (const [code, exit] of [
  ['BUDGET_EXHAUSTED', 75],
  ['CONNECTION_LIMIT', 75],
  ['SHARD_BUSY', 75],
  ['OVERLOADED', 75],
  ['STARTING', 75],
  ['DRAINING', 75],
  ['LIMIT_TOO_LOW', 78],
  ['DISK_FULL', 1],
  ['INTERNAL', 1],
] as const) {
  test(`${code} from the daemon exits ${exit}`, async (t) => {
    const refuse = () => {
      throw new SpacedriveError(code, 'because', { hint: 'do this' })
    }
    await using daemon = await FakeDaemon.open({ 'core.status': refuse })
    t.deepEqual(await daemon.cli('status', '--json'), {
      code: exit,
      out: '',
      err: `error ${code}: because\nhint: do this\n`,
    })
  })
}

test('what is busy for a moment is asked again, and what stays so is told after a while, with what to do', async (t) => {
  for (const code of ['OVERLOADED', 'SHARD_BUSY', 'STARTING'] as const) {
    let left = 2
    const refuse = () => {
      if (left-- > 0) throw new SpacedriveError(code, 'because', { retryAfterMs: 1 })
      return []
    }
    await using daemon = await FakeDaemon.open({ 'libraries.list': refuse })
    t.deepEqual(await daemon.cli('library', 'list', '--json'), { code: 0, out: '[]\n', err: '' })
    left = Infinity
    const { code: exit, err } = await daemon.cli('library', 'list')
    t.is(exit, 75)
    t.regex(err, new RegExp(`^error ${code}: because\nhint: .*spacedrive status.*\n$`))
  }
})

test('of a daemon that listens no more, but is not gone, is told that it is stopping, and stop waits for it', async (t) => {
  const leaving = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 1e9)'])
  t.teardown(() => leaving.kill('SIGKILL'))
  using place = temporary()
  const state = { pid: leaving.pid, http: null, socket: null, argv: ['start'], startedAt: new Date().toISOString() }
  writeFileSync(join(place.path, 'daemon.json'), JSON.stringify({ ...state, draining: true }))
  // Killed on its way down, its pid would be that of a program that has nothing to do with it.
  for (const argv of [['library', 'list'], ['stop']])
    t.is((await cli([...argv, '--data-dir', place.path])).code, 3, argv.join(' '))
  const lock = holdLock(join(place.path, 'daemon.lock'))
  t.teardown(() => lock?.release())
  const told = await cli(['library', 'list', '--data-dir', place.path])
  t.is(told.code, 75)
  t.regex(told.err, new RegExp(`^error DRAINING: the daemon, pid ${leaving.pid}, is stopping\nhint: `))
  const stopping = cli(['stop', '--data-dir', place.path])
  await new Promise((resolve) => setTimeout(resolve, 500))
  leaving.kill('SIGKILL')
  t.is((await stopping).out, `stopped, pid ${leaving.pid}\n`)
  t.is((await cli(['library', 'list', '--data-dir', place.path])).code, 3)
})

test('a refusal outside JSON-RPC is told like any other', async (t) => {
  await using daemon = await FakeDaemon.open()
  daemon.refusal = { status: 503, body: '{"code":"CONNECTION_LIMIT","message":"full","hint":"wait","retryable":true}' }
  t.deepEqual(await daemon.cli('status'), { code: 75, out: '', err: 'error CONNECTION_LIMIT: full\nhint: wait\n' })
  daemon.refusal = { status: 502, body: '<html>' }
  t.regex((await daemon.cli('status')).err, /^error INTERNAL: the daemon answered HTTP 502/)
})

test('library create prints the id, with --json what the daemon answered', async (t) => {
  await using daemon = await FakeDaemon.open({ 'libraries.create': ({ name }) => aLibrary(name as string) })
  t.regex((await daemon.cli('library', 'create', 'Photos')).out, /^created "Photos", id id-of-Photos\n/)
  t.deepEqual(JSON.parse((await daemon.cli('library', 'create', 'Photos', '--json')).out), aLibrary('Photos'))
})

test('library list shows names harmlessly and says when there is none', async (t) => {
  let libraries = [aLibrary('a\u001b[2J', '1'), aLibrary('b')]
  await using daemon = await FakeDaemon.open({ 'libraries.list': () => libraries })
  const { out } = await daemon.cli('library', 'list')
  t.false(out.includes('\u001b'))
  t.true(out.includes('a\\x1b[2J'))
  libraries = []
  t.like(await daemon.cli('library', 'list'), { code: 0, out: '' })
  t.is((await daemon.cli('library', 'list', '--json')).out, '[]\n')
})

test('a library is named by its name, its id, or its name in other letters', async (t) => {
  const libraries = [aLibrary('Photos'), aLibrary('photos', 'id-2'), aLibrary('Music')]
  await using daemon = await FakeDaemon.open({ 'libraries.list': () => libraries, 'libraries.close': () => null })
  for (const given of ['photos', 'id-of-Photos', 'MUSIC'])
    t.is((await daemon.cli('library', 'close', given)).code, 0, given)
  t.deepEqual(daemon.paramsOf('libraries.close'), [
    { library: 'id-2' },
    { library: 'id-of-Photos' },
    { library: 'id-of-Music' },
  ])
})

test('a library that is not there is LIBRARY_NOT_FOUND, one of two with that name a usage error', async (t) => {
  await using daemon = await FakeDaemon.open({ 'libraries.list': () => [aLibrary('Same', '1'), aLibrary('Same', '2')] })
  t.like(await daemon.cli('library', 'info', 'no-such'), { code: 1 })
  t.regex((await daemon.cli('library', 'info', 'no-such')).err, /^error LIBRARY_NOT_FOUND: .+\nhint: .+\n$/)
  const { code, err } = await daemon.cli('library', 'info', 'Same')
  t.is(code, 2)
  t.regex(err, /hint: Use an id: 1, 2/)
})

test('without --library it is the only one, else My Library, else the choices are named', async (t) => {
  let libraries = [aLibrary('Photos')]
  await using daemon = await FakeDaemon.open({ 'libraries.list': () => libraries, 'locations.list': () => [] })
  await daemon.cli('location', 'list')
  libraries = [aLibrary('Photos'), aLibrary('My Library')]
  await daemon.cli('location', 'list')
  t.deepEqual(daemon.paramsOf('locations.list'), [{ library: 'id-of-Photos' }, { library: 'id-of-My Library' }])
  libraries = [aLibrary('Photos'), aLibrary('Music')]
  const { code, err } = await daemon.cli('location', 'list')
  t.is(code, 2)
  t.regex(err, /hint: One of "Photos", "Music"/)
  libraries = []
  t.regex((await daemon.cli('location', 'list')).err, /^error LIBRARY_NOT_FOUND: .*\nhint: .*library create/)
})

test('location add resolves the path, waits for the job and sums it up', async (t) => {
  const states = [aJob({ state: 'queued' }), aJob({ state: 'running' }), aJob()]
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.add': () => ({ location: 'l', job: 'job-1' }),
    'jobs.info': () => states.shift(),
  })
  const { code, out } = await daemon.cli('location', 'add', 'some/where')
  t.is(code, 0)
  t.deepEqual(daemon.paramsOf('locations.add'), [{ library: 'id-of-Photos', path: join(process.cwd(), 'some/where') }])
  t.regex(out, /12,345 entries in 1\.0 s \(12,345 entries\/s\)/)
})

test('a location is watched from its start or later, and the list says how much of it is', async (t) => {
  const watched = { state: 'watched', live: 92, polled: 8, reason: 'a reason' } as const
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/photos'), { ...aLocation('/music'), watch: true, watched }],
    'locations.add': () => ({ location: 'l', job: 'job-1' }),
    'locations.update': () => aLocation('/photos'),
    'core.status': () => aStatus({ watching: { locations: 1, live: 92, polled: 8, reasons: ['a reason'] } }),
  })
  await daemon.cli('location', 'add', '/a', '--watch', '--no-wait')
  t.deepEqual(daemon.paramsOf('locations.add'), [{ library: 'id-of-Photos', path: '/a', watch: true }])
  for (const [command, watch] of [
    ['watch', true],
    ['unwatch', false],
  ] as const) {
    t.is((await daemon.cli('location', command, '/photos')).code, 0)
    const params = { library: 'id-of-Photos', location: 'location-of-/photos', watch }
    t.deepEqual(daemon.paramsOf('locations.update').at(-1), params)
  }
  const { out } = await daemon.cli('location', 'list')
  t.regex(out, /never +no +\/photos/)
  t.regex(out, /never +92 % live, 8 % polled +\/music/)
  t.regex((await daemon.cli('status')).out, /^watched +1 location, 92 % live, 8 % polled\n +a reason$/m)
})

test('location add --json is one value with the outcome, --no-wait only the ids', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.add': () => ({ location: 'l', job: 'job-1' }),
    'jobs.info': () => aJob(),
  })
  const waited = await daemon.cli('location', 'add', '/a', '--json')
  t.deepEqual(JSON.parse(waited.out), { location: 'l', job: 'job-1', outcome: aJob() })
  t.is(waited.err, '')
  t.is(daemon.paramsOf('jobs.info').length, 1)
  t.deepEqual(JSON.parse((await daemon.cli('location', 'add', '/a', '--no-wait', '--json')).out), {
    location: 'l',
    job: 'job-1',
  })
  t.is(daemon.paramsOf('jobs.info').length, 1)
})

test('a job that fails fails the command that waits for it', async (t) => {
  const error = { code: 'DISK_FULL' as const, message: 'no space', hint: 'make some', retryable: true }
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.add': () => ({ location: 'l', job: 'job-1' }),
    'jobs.info': () => aJob({ state: 'failed', error }),
  })
  t.deepEqual(await daemon.cli('location', 'add', '/a'), {
    code: 1,
    out: '',
    err: 'error DISK_FULL: no space\nhint: make some\n',
  })
})

test('a daemon that is busy for a moment does not end the wait for a job', async (t) => {
  let looks = 0
  const look = () => {
    looks += 1
    if (looks < 3) throw new SpacedriveError('SHARD_BUSY', 'busy')
    return aJob()
  }
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.add': () => ({ location: 'l', job: 'job-1' }),
    'jobs.info': look,
  })
  t.is((await daemon.cli('location', 'add', '/a')).code, 0)
  t.is(looks, 3)
})

test('a location is rescanned by id, path or name', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/photos'), { ...aLocation('/music'), name: 'tunes' }],
    'locations.rescan': () => ({ job: 'job-1' }),
  })
  for (const given of ['location-of-/photos', '/photos/', 'tunes']) {
    t.is((await daemon.cli('location', 'rescan', given, '--no-wait')).code, 0, given)
  }
  const asked = daemon.paramsOf('locations.rescan').map(({ location }) => location)
  t.deepEqual(asked, ['location-of-/photos', 'location-of-/photos', 'location-of-/music'])
  t.regex((await daemon.cli('location', 'remove', 'nowhere')).err, /^error LOCATION_NOT_FOUND: /)
})

test('ls asks the library that covers the path, and prints every page', async (t) => {
  const pages = {
    first: { items: [file('/music/a\nb.mp3')], cursor: 'second' },
    second: { items: [file('/music/sub', { kind: 'directory' })] },
  }
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary('Photos'), aLibrary('Music')],
    'locations.list': ({ library }) => [aLocation(library === 'id-of-Music' ? '/music' : '/musical')],
    'files.list': ({ cursor }) => (cursor === 'second' ? pages.second : pages.first),
  })
  const { code, out } = await daemon.cli('ls', '/music')
  t.is(code, 0)
  t.like(daemon.paramsOf('files.list')[0], { library: 'id-of-Music', path: '/music' })
  const [first, second] = out.split('\n')
  t.regex(first!, /^- {5}2\.0 KiB {2}2026-01-0\d \d\d:\d\d {2}a\\nb\.mp3$/)
  t.regex(second!, /^d {11}- {2}2026-01-0\d \d\d:\d\d {2}sub\/$/)
  const { items } = JSON.parse((await daemon.cli('ls', '/music', '--json')).out) as { items: FileItem[] }
  t.deepEqual(items, [...pages.first.items, ...pages.second.items])
})

test('ls --json of an empty directory is one valid value', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/music')],
    'files.list': () => ({ items: [] }),
  })
  t.deepEqual(JSON.parse((await daemon.cli('ls', '/music/empty', '--json')).out), { items: [] })
  t.deepEqual(await daemon.cli('ls', '/music/empty'), { code: 0, out: '', err: '' })
})

test('ls of a path that no location covers says how to index it', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/music')],
  })
  t.regex((await daemon.cli('ls', '/musical')).err, /^error LOCATION_NOT_FOUND: .+\nhint: .*location add/)
})

test('ls does not take a library that cannot be asked for one that holds nothing', async (t) => {
  const refuse = () => {
    throw new SpacedriveError('LIBRARY_LOCKED', 'locked')
  }
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary('Locked'), aLibrary('Music')],
    'locations.list': ({ library }) => (library === 'id-of-Locked' ? refuse() : [aLocation('/music')]),
    'files.list': () => ({ items: [] }),
  })
  t.is((await daemon.cli('ls', '/music')).code, 0)
  t.regex((await daemon.cli('ls', '/photos')).err, /^error LIBRARY_LOCKED: /)
})

test('ls follows a link to what the index knows', async (t) => {
  using place = temporary()
  mkdirSync(join(place.path, 'real'))
  symlinkSync(join(place.path, 'real'), join(place.path, 'link'))
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation(join(place.path, 'real'))],
    'files.list': () => ({ items: [] }),
  })
  t.is((await daemon.cli('ls', join(place.path, 'link'))).code, 0)
  t.is(daemon.paramsOf('files.list')[0]?.path, join(place.path, 'real'))
})

test('search joins its words, shows paths and says the total beside them', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'search.files': () => ({ total: 1_234, items: [file('/a/b c.txt')], cursor: 'more' }),
  })
  const { code, out, err } = await daemon.cli('search', 'b', 'c', '--limit', '1', '--kind', 'file')
  t.is(code, 0)
  t.regex(out, / {2}\/a\/b c\.txt\n$/)
  t.is(err, '1 of 1,234 found; --all shows every one\n')
  t.deepEqual(daemon.paramsOf('search.files'), [
    { library: 'id-of-Photos', query: 'b c', syntax: 'filters', filters: { kind: 'file' }, limit: 1 },
  ])
})

test('search takes any text, even one that looks like an option', async (t) => {
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'search.files': () => ({ total: 0, items: [] }),
  })
  const argv = ['--data-dir', daemon.dataDir, '--json', 'search', '--', '--json', '-x']
  t.deepEqual(JSON.parse((await cli(argv)).out), { total: 0, items: [] })
  t.is(daemon.paramsOf('search.files')[0]?.query, '--json -x')
})

test('search shows where its query makes no sense, and its help how one is written', async (t) => {
  const refusal = new SpacedriveError('BAD_REQUEST', 'size: "x" is not a size', { hint: 'Write another.', position: 8 })
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'search.files': () => {
      throw refusal
    },
  })
  const { code, out, err } = await daemon.cli('search', 'a\t', 'size:x')
  t.is(code, 1)
  t.is(out, '')
  t.is(err, 'a\\t size:x\n         ^\nerror BAD_REQUEST: size: "x" is not a size\nhint: Write another.\n')
  const { out: help } = await cli(['search', '--help'])
  for (const each of ['ext:', 'kind:', 'path:', 'size:', 'modified:']) t.true(help.includes(`\n  ${each}`), each)
  t.deepEqual(
    help.split('\n').filter((each) => each.length > 80),
    [],
  )
})

test('a caret stands below the character, however long or wide the query is', (t) => {
  for (const before of ['', 'x', '中文 ', 'y'.repeat(400), '中'.repeat(100)]) {
    const [shown, caret] = pointAt(`${before}!${'z'.repeat(300)}`, before.length)
    t.is(columnsOf(shown.slice(0, shown.indexOf('!'))), caret.length - 1)
    t.true(columnsOf(shown) <= 80 + columnsOf(before.slice(0, 41)) / 2 && caret.length <= 84, before)
  }
})

test('search stops at its limit across pages, --all does not', async (t) => {
  const all = Array.from({ length: 2_500 }, (_, index) => file(`/a/${index}`))
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'search.files': ({ limit, cursor }) => {
      const start = Number(cursor ?? 0)
      const end = start + (limit as number)
      return { total: all.length, items: all.slice(start, end), ...(end < all.length ? { cursor: String(end) } : {}) }
    },
  })
  const found = async (...argv: string[]) =>
    JSON.parse((await daemon.cli('search', 'a', '--json', ...argv)).out) as { items: FileItem[] }
  t.is((await found()).items.length, 100)
  t.is((await found('--limit', '1500')).items.length, 1_500)
  t.deepEqual((await found('--all')).items, all)
})

test('jobs are listed, shown and steered', async (t) => {
  const failures = [{ path: '/a/\u001b', code: 'EACCES', message: 'permission denied' }]
  let job = aJob({ state: 'running', failures, failureCount: 1 })
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'jobs.list': ({ cursor }) => (cursor ? { items: [aJob({ id: 'job-2' })] } : { items: [job], cursor: 'more' }),
    'jobs.info': () => job,
    'jobs.pause': () => ({ ...job, state: 'paused' }),
  })
  t.regex((await daemon.cli('job', 'list')).out, /^job-1 +index +running +12,345 .*\njob-2 /m)
  t.regex((await daemon.cli('job', 'info', 'job-1')).out, /EACCES \/a\/\\x1b: permission denied\n$/)
  t.is((await daemon.cli('job', 'pause', 'job-1')).out, 'job job-1: paused\n')
  const full = {
    code: 'DISK_FULL',
    message: 'the disk is full: /a',
    hint: 'Free some space.',
    retryable: true,
  } as const
  job = aJob({ state: 'queued', waiting: full })
  t.regex(
    (await daemon.cli('job', 'info', 'job-1')).out,
    /^state +queued\nbecause of +DISK_FULL: the disk is full: \/a$/m,
  )
  t.deepEqual(daemon.paramsOf('jobs.pause'), [{ library: 'id-of-Photos', job: 'job-1' }])
})

test('job watch looks again when an event says so', async (t) => {
  const states = [...Array.from({ length: 8 }, () => aJob({ state: 'running' })), aJob()]
  const waited: number[] = []
  let published: number | null = null
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'jobs.info': () => {
      if (published !== null) waited.push(performance.now() - published)
      published = null
      setTimeout(publish, 50)
      return states.shift()
    },
  })
  const publish = () => {
    published = performance.now()
    daemon.publish({ type: 'job.changed', at: '2026-01-02T03:04:05Z' }, 1)
  }
  const { code, out } = await daemon.cli('job', 'watch', 'job-1', '--json')
  t.is(code, 0)
  t.deepEqual(JSON.parse(out), aJob())
  t.true(Math.min(...waited) < 1_500, 'without the events it would look again after two seconds each time')
  t.deepEqual(daemon.paramsOf('events.subscribe'), [{ types: ['job.changed'], library: 'id-of-Photos' }])
})

test('events prints the next one, with -f all, and goes on where the daemon ended the feed', async (t) => {
  const event = { type: 'library.opened', library: 'x', at: '2026-01-02T03:04:05Z' }
  let subscribed = 0
  const subscribe = ({ cursor }: Record<string, unknown>) => {
    subscribed += 1
    if (subscribed === 4) throw new SpacedriveError('FORBIDDEN', 'not any more')
    return { subscription: '1', cursor: `from.${subscribed}`, ...(cursor === undefined ? {} : { missed: 7 }) }
  }
  await using daemon = await FakeDaemon.open({ 'events.subscribe': subscribe })
  daemon.onSubscribed = () => {
    if (subscribed > 3) return
    daemon.publish(event, 1)
    if (subscribed < 3) daemon.publish(event, 4)
    daemon.endFeeds()
  }
  t.deepEqual(JSON.parse((await daemon.cli('events', '--json')).out), event)
  const { code, out, err } = await daemon.cli('events', '-f', '--type', 'library.opened')
  t.is(out.match(/library\.opened {2}library=x\n/g)?.length, 3)
  const lines = err.split('\n')
  t.regex(lines[0]!, /^2 events dropped/)
  t.regex(lines[1]!, /^the daemon went away: waiting 10 s /)
  t.deepEqual(lines.slice(2, 4), ['it is back', '7 events of any kind missed'])
  t.regex(lines[5]!, /^error FORBIDDEN: not any more$/)
  t.is(code, 1)
  t.deepEqual(daemon.paramsOf('events.subscribe').slice(1), [
    { types: ['library.opened'] },
    { types: ['library.opened'], cursor: 'at.4' },
    { types: ['library.opened'], cursor: 'at.1' },
  ])
})

test('events that follow a daemon which does not come back end as without one', async (t) => {
  const daemon = await FakeDaemon.open()
  daemon.onSubscribed = () => void daemon[Symbol.asyncDispose]()
  const { code, err } = await daemon.cli('events')
  t.regex(err, /^the daemon went away: .+\nerror NO_DAEMON: .+\nhint: .+\n$/)
  t.is(code, 3)
})

test('stop asks, and returns once the process is gone', async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  t.teardown(() => child.kill('SIGKILL'))
  const shutdown = () => {
    setTimeout(() => child.kill('SIGKILL'), 150)
    return null
  }
  const status = () => ({ ...aStatus(), pid: child.pid })
  await using daemon = await FakeDaemon.open({ 'core.status': status, 'core.shutdown': shutdown }, child.pid)
  t.deepEqual(JSON.parse((await daemon.cli('stop', '--json')).out), { stopped: true, pid: child.pid })
  t.is(daemon.paramsOf('core.shutdown').length, 1)
  t.false(isAlive(child.pid!))
})

test('a restart that is interrupted while the daemon drains says that no other was started', async (t) => {
  const leaving = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 1e9)'])
  t.teardown(() => leaving.kill('SIGKILL'))
  const restarts: ChildProcess[] = []
  const answers = {
    'core.status': () => aStatus({ pid: leaving.pid! }),
    'core.shutdown': () => {
      const state = { pid: leaving.pid, http: null, socket: null, argv: ['start'], draining: true }
      writeFileSync(join(daemon.dataDir, 'daemon.json'), JSON.stringify(state))
      for (const each of restarts) each.kill('SIGINT')
      return null
    },
  }
  await using daemon = await FakeDaemon.open(answers, leaving.pid!)
  const child = spawn(process.execPath, [MAIN, 'restart', '--data-dir', daemon.dataDir])
  t.teardown(() => child.kill('SIGKILL'))
  restarts.push(child)
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
  t.deepEqual(await once(child, 'close'), [130, null])
  t.true(said.startsWith(`the daemon with pid ${leaving.pid} was stopped, and no other runs`), said)
})

test('restart keeps the arguments, but for those that say how to print and where the data is', (t) => {
  const argv = [
    '--instance',
    'a',
    'start',
    '--json',
    '--http',
    '127.0.0.1:0',
    '--data-dir=rel',
    '--detach',
    '--location',
    'x',
  ]
  t.deepEqual(sameArguments(argv, '/abs'), ['start', '--http', '127.0.0.1:0', '--location', 'x', '--data-dir', '/abs'])
})

test('logs shows the last lines, whole and harmless, without a daemon', async (t) => {
  using place = temporary()
  mkdirSync(join(place.path, 'logs'))
  const path = join(place.path, 'logs/daemon.log')
  const record = (msg: string) =>
    `${JSON.stringify({ level: 40, time: 1_767_323_045_000, pid: 1, hostname: 'h', msg, library: 'x' })}\n`
  writeFileSync(path, record('old').repeat(3_000) + record('ü\u001b[31m') + 'not json\n')
  const { code, out } = await cli(['logs', '-n', '3', '--data-dir', place.path])
  t.is(code, 0)
  t.regex(out, /^\S+ \S+ {2}WARN {3}old {2}library=x\n\S+ \S+ {2}WARN {3}ü\\x1b\[31m {2}library=x\nnot json\n$/)
  const { out: json } = await cli(['logs', '-n', '2', '--json', '--data-dir', place.path])
  t.like(JSON.parse(json), [{ msg: 'ü\u001b[31m', level: 40 }, { msg: 'not json' }])
  const { out: all } = await cli(['logs', '-n', '100000', '--data-dir', place.path])
  t.is(all.split('\n').length, 3_003)
})

test('logs of a directory without a log says so', async (t) => {
  using place = temporary()
  const { code, err } = await cli(['logs', '--data-dir', place.path])
  t.is(code, 1)
  t.regex(err, /^error FILE_NOT_FOUND: there is no log at .+\nhint: /)
})

test('logs -f goes on in the new file when the old one is renamed aside', async (t) => {
  using place = temporary()
  mkdirSync(join(place.path, 'logs'))
  const path = join(place.path, 'logs/daemon.log')
  writeFileSync(path, 'first\n')
  const child = spawn(process.execPath, [MAIN, 'logs', '-f', '--data-dir', place.path])
  t.teardown(() => child.kill('SIGKILL'))
  const seen = reader(child.stdout)
  await seen('first\n')
  appendFileSync(path, 'second\n')
  await seen('second\n')
  appendFileSync(path, 'third\n')
  renameSync(path, `${path}.1`)
  writeFileSync(path, 'fourth\n')
  t.is(await seen('fourth\n'), 'first\nsecond\nthird\nfourth\n')
})

function reader(stream: NodeJS.ReadableStream): (until: string) => Promise<string> {
  let all = ''
  let look: (() => void) | undefined
  stream.on('data', (bytes: Buffer) => {
    all += bytes.toString()
    look?.()
  })
  return async (until) => {
    while (!all.includes(until)) await new Promise<void>((resolve) => (look = resolve))
    return all
  }
}

test('a reader that leaves ends a listing quietly with 0', async (t) => {
  const items = Array.from({ length: 1_000 }, (_, index) => file(`/music/${index}-${'x'.repeat(200)}`))
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/music')],
    // Without end: only the reader's leaving can end it.
    'files.list': () => ({ items, cursor: 'more' }),
  })
  const child = spawn(process.execPath, [MAIN, 'ls', '/music', '--data-dir', daemon.dataDir])
  t.teardown(() => child.kill('SIGKILL'))
  let err = ''
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()))
  child.stdout.once('data', () => child.stdout.destroy())
  const code = await new Promise((resolve) => child.on('close', resolve))
  t.deepEqual({ code, err }, { code: 0, err: '' })
})

test('a command is over as soon as it has answered', async (t) => {
  await using daemon = await FakeDaemon.open()
  const lingered: number[] = []
  // On a busy machine one may take its time; if something kept it alive, it would keep each.
  while (lingered.length < 10 && !(Math.min(...lingered) < 300)) {
    const child = spawn(process.execPath, [MAIN, 'status', '--json', '--data-dir', daemon.dataDir])
    t.teardown(() => child.kill('SIGKILL'))
    const answered = new Promise<number>((resolve) => child.stdout.once('data', () => resolve(performance.now())))
    const exited = new Promise<number>((resolve) => child.on('exit', () => resolve(performance.now())))
    lingered.push((await exited) - (await answered))
    t.is(child.exitCode, 0)
  }
  t.true(Math.min(...lingered) < 300, lingered.join())
})
