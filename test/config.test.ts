import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import test, { type ExecutionContext } from 'ava'
import { dataDirOf } from '../src/base/places.js'
import { checkSettings, configure, makeSocketDirectory, paths } from '../src/config.js'

function temporary(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sd-config-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function withFile(t: ExecutionContext, text: string): string {
  const dataDir = temporary(t)
  writeFileSync(join(dataDir, 'config.json'), text)
  return dataDir
}

test('without anything given the defaults hold, and the result is frozen', (t) => {
  const dataDir = temporary(t)
  const { names: _names, ...config } = configure({ dataDir, env: {} })
  t.deepEqual(config, {
    dataDir,
    instance: null,
    http: { host: '127.0.0.1', port: 8080 },
    lineProtocol: null,
    lineProtocolRemote: false,
    connectionsMax: 'auto',
    shards: 'auto',
    front: 'auto',
    fronts: 1,
    nofile: null,
    hostsAllowed: [],
    tlsCert: null,
    tlsKey: null,
    logLevel: 'info',
    traceLeases: false,
    statisticsMs: 60_000,
  })
  const whole = configure({ dataDir, env: {} })
  t.true(Object.isFrozen(whole) && Object.isFrozen(whole.http) && Object.isFrozen(whole.hostsAllowed))
})

test('the file beats the defaults, the environment beats the file, a flag beats them all', (t) => {
  const dataDir = withFile(t, JSON.stringify({ shards: 2, front: 'node', connectionsMax: 100, http: '127.0.0.1:1' }))
  const env = { SPACEDRIVE_SHARDS: '3', SPACEDRIVE_FRONT: 'uws', SPACEDRIVE_HTTP: '' }
  const flags = checkSettings({ shards: '4', front: undefined }, (key) => key)
  const config = configure({ dataDir, env, flags })
  t.is(config.shards, 4)
  t.is(config.front, 'uws')
  t.is(config.connectionsMax, 100)
  t.deepEqual(config.http, { host: '127.0.0.1', port: 1 })
})

test('an address is HOST:PORT, a bracketed IPv6 one, a bare port, or off', (t) => {
  const http = (text: unknown) => checkSettings({ http: text }, (key) => key).http
  t.deepEqual(http('0.0.0.0:0'), { host: '0.0.0.0', port: 0 })
  t.deepEqual(http('files.example:443'), { host: 'files.example', port: 443 })
  t.deepEqual(http('[::1]:8080'), { host: '::1', port: 8080 })
  t.deepEqual(http('9000'), { host: '127.0.0.1', port: 9000 })
  t.deepEqual(http({ host: '::1', port: 1 }), { host: '::1', port: 1 })
  t.is(http('off'), null)
  t.is(http(false), null)
})

for (const wrong of [
  '',
  'localhost',
  ':8080',
  '127.0.0.1:65536',
  '127.0.0.1:-1',
  '::1:8080',
  'http://a:1',
  'a b:1',
  'a:1x',
  true,
  80.5,
]) {
  test(`${JSON.stringify(wrong)} is no address`, (t) => {
    t.throws(() => checkSettings({ http: wrong }, (key) => key), {
      code: 'BAD_CONFIG',
      message: /^http: expected HOST:PORT/,
    })
  })
}

for (const [key, wrong] of [
  ['shards', '0'],
  ['shards', '65'],
  ['shards', '1.5'],
  ['shards', 'many'],
  ['connectionsMax', '-1'],
  ['connectionsMax', ''],
  ['nofile', 'auto'],
  ['nofile', '0'],
  ['nofile', 1e9],
  ['front', 'apache'],
  ['logLevel', 'loud'],
  ['traceLeases', 'maybe'],
  ['statisticsMs', '999'],
  ['statisticsMs', '1e99'],
  ['hostsAllowed', ['a/b']],
  ['hostsAllowed', 'a'],
  ['tlsCert', ''],
  ['colour', 'red'],
] as const) {
  test(`${key} = ${JSON.stringify(wrong)} is refused and named`, (t) => {
    t.throws(() => checkSettings({ [key]: wrong }, (each) => `--${each}`), {
      code: 'BAD_CONFIG',
      message: new RegExp(`^--${key}: `),
    })
  })
}

test('a mistake in the environment names the variable', (t) => {
  const dataDir = temporary(t)
  t.throws(() => configure({ dataDir, env: { SPACEDRIVE_SHARDS: 'x' } }), {
    code: 'BAD_CONFIG',
    message: /^\$SPACEDRIVE_SHARDS: /,
  })
})

test('a mistake in the file names the file and the setting', (t) => {
  const dataDir = withFile(t, '{"shard": 2}')
  t.throws(() => configure({ dataDir, env: {} }), {
    code: 'BAD_CONFIG',
    message: /config\.json: shard: no such setting/,
  })
})

test('what is wrong beside another setting is named as whoever gave it calls it', (t) => {
  const dataDir = withFile(t, '{"fronts": 2, "nofile": 70}')
  const file = join(dataDir, 'config.json')
  const off = { http: null }
  t.throws(() => configure({ dataDir, env: {}, flags: off }), { message: new RegExp(`^${file}: fronts: there is no`) })
  const env = { SPACEDRIVE_FRONTS: '3' }
  t.throws(() => configure({ dataDir, env, flags: off }), { message: /^\$SPACEDRIVE_FRONTS: there is no/ })
  const given = { dataDir, env, flags: { ...off, fronts: 4 } }
  t.throws(() => configure({ ...given, flagNames: { fronts: '--fronts' } }), { message: /^--fronts: there is no/ })
  t.throws(() => configure(given), { message: /^fronts: there is no/ })
  t.is(configure({ dataDir, env: {} }).names.nofile, `${file}: nofile`)
})

test('a file that is not JSON is refused, not ignored', (t) => {
  const dataDir = withFile(t, '{')
  t.throws(() => configure({ dataDir, env: {} }), { code: 'BAD_CONFIG', message: /is not JSON/ })
})

test('a file that holds no object is refused', (t) => {
  const dataDir = withFile(t, '[]')
  t.throws(() => configure({ dataDir, env: {} }), { code: 'BAD_CONFIG' })
})

test('a file that cannot be read is refused, not taken for absent', (t) => {
  const dataDir = temporary(t)
  mkdirSync(join(dataDir, 'config.json'))
  t.throws(() => configure({ dataDir, env: {} }), { code: 'BAD_CONFIG', message: /cannot be read/ })
})

test('hosts in the environment are separated by commas', (t) => {
  const config = configure({ dataDir: temporary(t), env: { SPACEDRIVE_ALLOW_HOSTS: 'files.example, [::2]:80' } })
  t.deepEqual(config.hostsAllowed, ['files.example', '[::2]:80'])
})

test('the data directory is the platform’s, unless the environment or a flag says otherwise', (t) => {
  const env = { HOME: '/home/ada' }
  t.is(dataDirOf({}, env, 'linux'), '/home/ada/.local/share/spacedrive')
  t.is(dataDirOf({}, env, 'darwin'), '/home/ada/Library/Application Support/Spacedrive')
  t.is(dataDirOf({}, { ...env, XDG_DATA_HOME: '/srv/data' }, 'linux'), '/srv/data/spacedrive')
  t.is(dataDirOf({}, { ...env, XDG_DATA_HOME: 'relative' }, 'linux'), '/home/ada/.local/share/spacedrive')
  t.is(dataDirOf({}, { ...env, SPACEDRIVE_DATA_DIR: '/srv/sd' }, 'linux'), '/srv/sd')
  t.is(dataDirOf({ dataDir: '/flag' }, { ...env, SPACEDRIVE_DATA_DIR: '/srv/sd' }, 'linux'), '/flag')
})

test('an instance has a directory of its own below the data directory', (t) => {
  const config = configure({ dataDir: '/srv/sd', instance: 'second-1', env: {} })
  t.is(config.dataDir, '/srv/sd/instances/second-1')
  t.is(config.instance, 'second-1')
})

for (const name of ['', '..', 'a/b', 'a b', 'x'.repeat(65)]) {
  test(`${JSON.stringify(name.slice(0, 10))} (${name.length}) is no name of an instance`, (t) => {
    t.throws(() => dataDirOf({ dataDir: '/srv/sd', instance: name }, {}), { code: 'BAD_CONFIG' })
  })
}

test('an empty data directory is refused instead of meaning the current one', (t) => {
  t.throws(() => dataDirOf({ dataDir: '' }, {}), { code: 'BAD_CONFIG' })
})

test('a socket path that fits lies in the data directory', (t) => {
  const found = paths('/srv/sd', {})
  t.is(found.socket, '/srv/sd/daemon.sock')
  t.false(makeSocketDirectory(found))
})

test('a socket path that is too long moves to a private directory, another for each data directory', (t) => {
  const base = temporary(t)
  const [first, second] = ['a', 'b'].map((last) => paths(`/${'long/'.repeat(30)}${last}`, { XDG_RUNTIME_DIR: base }))
  t.true(first!.socket.startsWith(base) && Buffer.byteLength(first!.socket) < 104)
  t.not(first!.socket, second!.socket)
  t.true(makeSocketDirectory(first!))
  t.is(statSync(join(first!.socket, '..')).mode & 0o777, 0o700)
  t.true(makeSocketDirectory(first!), 'a second time it is there already')
})

test('bytes count, not characters, when a socket path is measured', (t) => {
  const dataDir = `/${'ü'.repeat(60)}`
  t.false(paths(dataDir, {}).socket.startsWith(dataDir))
})

test('a socket directory that others may write is refused', (t) => {
  const found = paths(`/${'long/'.repeat(30)}`, { XDG_RUNTIME_DIR: temporary(t) })
  mkdirSync(join(found.socket, '..'), { mode: 0o755 })
  t.throws(() => makeSocketDirectory(found), { code: 'BAD_CONFIG' })
})
