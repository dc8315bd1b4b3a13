// Bad input, each a clear error with a code, and nothing that was stored changes by it.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { kinds } from '../front/stage.js'
import { cli, eventually, parsed, type TestDaemon } from '../harness/daemon.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'

/** Nobody: with root's powers no directory is unreadable. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const fronts = await kinds()

test.serial('what is not a directory of the user is refused as a location, and nothing changes', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const root = scene.tree('tree', 20)
    const { library } = await daemon.index('library', root)
    const before = await daemon.call('libraries.info', { library })
    symlinkSync('loop', scene.path('loop'))
    const refused = {
      'a file': join(root, 'd0', 'file 0.txt'),
      nothing: scene.path('missing'),
      'a loop of links': join(scene.path('loop'), 'inside'),
      'the data directory': scene.dataDir,
      'inside the data directory': join(scene.dataDir, 'libraries'),
      relative: 'tree',
      'a device': '/dev/null',
      'the proc file system': '/proc/self',
      'a NUL': `${root}\0`,
      'a name too long': `/${'x'.repeat(300)}`,
      'a path too long for the kernel': '/x'.repeat(2_040),
    }
    for (const [what, path] of Object.entries(refused)) {
      t.is(await daemon.codeOf('locations.add', { library, path }), 'PATH_REFUSED', what)
    }
    t.is(await daemon.codeOf('locations.add', { library, path: root }), 'LOCATION_EXISTS')
    const told = cli(['location', 'add', scene.path('missing'), '--data-dir', scene.dataDir])
    t.is(told.code, 1)
    t.regex(told.err, /^error PATH_REFUSED: [^\n]+\nhint: [^\n]+\n$/)
    t.deepEqual(await daemon.call('libraries.info', { library }), before)
    await daemon.stop()
  })
})

const asNobody = isRoot ? test.serial : test.serial.skip
asNobody(
  'without permission: the location is refused, and a directory inside one is a failure of the job, not a deletion',
  async (t) => {
    await play(async (scene) => {
      mkdirSync(scene.dataDir)
      chownSync(scene.dataDir, NOBODY, NOBODY)
      const daemon = await scene.daemon({
        through: ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'],
      })
      const root = scene.tree('tree', 300)
      const { library, location } = await daemon.index('library', root)
      const before = await daemon.call('libraries.info', { library })
      chmodSync(join(root, 'd1'), 0o700)
      t.is(await daemon.codeOf('locations.add', { library, path: join(root, 'd1') }), 'PATH_REFUSED')
      const { job } = await daemon.call('locations.rescan', { library, location })
      const ended = await daemon.jobDone(library, job)
      t.true(ended.failureCount > 0)
      t.true(ended.failures[0].path.endsWith('d1'))
      const { files, entries } = await daemon.call('libraries.info', { library })
      t.deepEqual({ files, entries }, { files: before.files, entries: before.entries })
      t.is((await daemon.stop()).code, 0)
    })
  },
)

test.serial('a tree that vanished keeps its index, its job fails with a code, and it comes back', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const root = scene.tree('tree', 200)
    const { library, location } = await daemon.index('library', root)
    for (const vanish of [() => renameSync(root, scene.path('away')), () => writeFileSync(root, 'a file now')]) {
      vanish()
      const { job } = await daemon.call('locations.rescan', { library, location })
      const ended = await daemon.jobEnded(library, job)
      t.is(ended.state, 'failed')
      t.is(ended.error.code, 'PATH_REFUSED')
      t.is((await daemon.call('search.files', { library, query: 'file' })).total, 200)
    }
    rmSync(root)
    renameSync(scene.path('away'), root)
    await daemon.jobDone(library, (await daemon.call('locations.rescan', { library, location })).job)
    await sameAsDisk(daemon, library, root)
    await daemon.stop()
  })
})

test.serial(
  'names that are not UTF-8 travel as bytes and are reached by id; the longest names and link loops are indexed',
  async (t) => {
    await play(async (scene) => {
      const root = scene.path('odd')
      mkdirSync(root)
      const broken = Buffer.from([0x62, 0xff, 0xfe, 0x2e, 0x74])
      writeFileSync(Buffer.concat([Buffer.from(`${root}/`), broken]), 'broken')
      const longest = 'ü'.repeat(127) + 'x'
      writeFileSync(join(root, longest), 'long')
      writeFileSync(join(root, 'new\nline\t\u001b[31m'), '')
      symlinkSync('.', join(root, 'here'))
      symlinkSync('loop', join(root, 'loop'))
      const daemon = await scene.daemon()
      const { library } = await daemon.index('library', root)
      const { items } = await daemon.call('files.list', { library, path: root })
      t.is(items.length, 5)
      const odd = items.find((item: { nameBytes?: string }) => item.nameBytes)
      t.is(odd.nameBytes, broken.toString('base64'))
      t.is((await daemon.call('files.get', { library, id: odd.id })).size, 6)
      t.is((await daemon.call('search.files', { library, query: longest })).total, 1)
      t.is((await daemon.call('files.get', { library, path: join(root, longest) })).size, 4)
      t.is(items.filter((item: { kind: string }) => item.kind === 'symlink').length, 2)
      const tooLong = 'x'.repeat(300)
      t.is((await daemon.call('search.files', { library, query: tooLong })).total, 0)
      t.is(await daemon.codeOf('files.get', { library, path: join(root, tooLong) }), 'FILE_NOT_FOUND')
      t.is(await daemon.codeOf('files.list', { library, path: join(root, tooLong) }), 'FILE_NOT_FOUND')
      t.is(await daemon.codeOf('libraries.create', { name: tooLong }), '-32602')
      const listed = cli(['ls', root, '--data-dir', scene.dataDir])
      t.is(listed.code, 0, listed.err)
      t.false(listed.out.includes('\u001b['), 'a terminal is not steered by a file name')
      await daemon.stop()
    })
  },
)

test.serial(
  'messages that are malformed, too large, unknown, unauthorised or foreign are refused by code',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const numberOf = async (body: string) => {
        const reply = parsed((await daemon.ask('/rpc', { method: 'POST', body })).body)
        return (reply.error ?? reply[0]?.error)?.code
      }
      t.is(await numberOf('{'), -32700)
      t.is(await numberOf(''), -32700)
      t.is(await numberOf('\ud800'), -32700)
      t.is(await numberOf('"text"'), -32600)
      t.is(await numberOf('[]'), -32600)
      t.is(await numberOf('{"jsonrpc":"2.0","id":1,"method":"core.nothing"}'), -32601)
      t.is(await numberOf('{"jsonrpc":"2.0","id":1,"method":"__proto__"}'), -32601)
      t.is(await numberOf('{"jsonrpc":"2.0","id":1,"method":"libraries.info","params":{"library":7}}'), -32602)
      t.is(await numberOf('{"jsonrpc":"2.0","id":1,"method":"core.ping","params":{"x":1}}'), -32602)
      t.is(
        (await daemon.ask('/rpc', { method: 'POST', body: ' '.repeat(LIMITS.bodyBytesMax + 1), agent: false })).status,
        413,
      )
      const ping = '{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
      const statusOf = async (asking: object) =>
        (await daemon.ask('/rpc', { method: 'POST', body: ping, agent: false, ...asking })).status
      t.is(await statusOf({}), 200)
      t.is(await statusOf({ token: null }), 401)
      t.is(await statusOf({ token: `${daemon.token}x` }), 401)
      t.is(await statusOf({ headers: { host: 'evil.example' } }), 403)
      t.is(await statusOf({ headers: { host: `127.0.0.1.evil.example:${daemon.port}` } }), 403)
      t.is(await statusOf({ headers: { origin: 'http://evil.example' } }), 403)
      t.is(await statusOf({ headers: { origin: 'null' } }), 403)
      t.is(await daemon.call('core.ping'), 'pong')
      await daemon.stop()
    })
  },
)

test.serial(
  'lone surrogates and control characters in any string are an answer or a typed error, never INTERNAL',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const root = scene.tree('tree', 20)
      const { library, location, job } = await daemon.index('library', root)
      const id = (await daemon.call('files.list', { library, path: root })).items[0].id
      const good: [string, Record<string, unknown>][] = [
        ['libraries.info', { library }],
        ['libraries.rename', { library, name: 'library' }],
        ['libraries.create', { name: 'other' }],
        ['locations.add', { library, path: scene.path('none'), name: 'name' }],
        ['locations.rescan', { library, location }],
        ['locations.update', { library, location, name: 'name' }],
        ['files.list', { library, path: root, cursor: 'x' }],
        ['files.list', { library, parent: id }],
        ['files.get', { library, id }],
        ['files.get', { library, path: root }],
        ['search.files', { library, query: 'x', cursor: 'x', filters: { location } }],
        ['jobs.list', { library, cursor: '1' }],
        ['jobs.info', { library, job }],
        ['jobs.cancel', { library, job }],
      ]
      const odd = [
        '\ud800',
        'a\udc80b',
        '\udfff/x',
        '\0',
        '\u0001\u001b[2J',
        '/\ud800',
        `${root}/\udcff`,
        '‮evil',
        '%_*"\'();--',
        '-1',
        '9'.repeat(40),
      ]
      for (const [method, params] of good) {
        for (const key of Object.keys(params).filter((each) => typeof params[each] === 'string')) {
          for (const value of odd) {
            const code = await daemon.codeOf(method, { ...params, [key]: value })
            t.notRegex(code, /^(INTERNAL|-32603|TIMEOUT|LIBRARY_DAMAGED)$/, `${method} ${key} ${JSON.stringify(value)}`)
          }
        }
      }
      t.is((await daemon.call('libraries.info', { library })).files, 20)
      await daemon.stop()
      const again = await scene.daemon()
      const listed: { problem?: unknown }[] = await again.call('libraries.list')
      t.deepEqual(
        listed.filter(({ problem }) => problem),
        [],
      )
      await again.stop()
    })
  },
)

test.serial('a corrupt library.json is told at the next start, and a mended one opens without another', async (t) => {
  await play(async (scene) => {
    const { library, json } = await stoppedWithLibrary(scene)
    const good = await readFile(json, 'utf8')
    writeFileSync(json, '{"format": 1, "id": ')
    const second = await scene.daemon()
    const [listed] = await second.call('libraries.list')
    t.is(listed.id, library)
    t.is(listed.problem.code, 'LIBRARY_DAMAGED')
    t.is(await second.codeOf('libraries.info', { library }), 'LIBRARY_DAMAGED')
    t.is(await second.codeOf('libraries.open', { library }), 'LIBRARY_DAMAGED')
    t.is(await readFile(json, 'utf8'), '{"format": 1, "id": ', 'nobody touched it')
    writeFileSync(json, good)
    t.is((await second.call('libraries.open', { library })).name, 'kept')
    await sameAsDisk(second, library, scene.path('tree'))
    t.is((await second.call('libraries.list'))[0].problem, undefined)
    await second.stop()
  })
})

test.serial(
  'a database of a newer version or one that is no database is refused by code and left as it is',
  async (t) => {
    await play(async (scene) => {
      const { library, path } = await stoppedWithLibrary(scene)
      const file = join(path, 'library.db')
      const database = new Database(file)
      const version = Number(database.pragma('user_version', { simple: true }))
      database.pragma('user_version = 999')
      database.close()
      const second = await scene.daemon()
      t.is(await second.codeOf('libraries.info', { library }), 'LIBRARY_NEWER')
      t.is(await second.codeOf('locations.list', { library }), 'LIBRARY_NEWER')
      t.is((await second.call('libraries.list'))[0].problem.code, 'LIBRARY_NEWER')
      t.regex(cli(['library', 'list', '--data-dir', scene.dataDir]).out, /LIBRARY_NEWER/)
      const mended = new Database(file)
      t.is(Number(mended.pragma('user_version', { simple: true })), 999)
      mended.pragma(`user_version = ${version}`)
      mended.close()
      t.is((await second.call('libraries.open', { library })).name, 'kept')
      t.is((await second.call('libraries.info', { library })).files, 20)
      await second.stop()

      const good = await readFile(file)
      writeFileSync(file, 'not a database at all '.repeat(1_000))
      const third = await scene.daemon()
      t.is(await third.codeOf('libraries.info', { library }), 'LIBRARY_DAMAGED')
      t.true((await readFile(file, 'utf8')).startsWith('not a database'))
      rmSync(file)
      t.is(await third.codeOf('libraries.info', { library }), 'LIBRARY_DAMAGED')
      t.true(spawnSync('test', ['-e', file]).status !== 0, 'no empty one was made in its place')
      writeFileSync(file, good)
      t.is((await third.call('libraries.info', { library })).files, 20)
      await third.stop()
    })
  },
)

const inNamespace = spawnSync('unshare', ['-m', 'true']).status === 0 ? test.serial : test.serial.skip
inNamespace(
  'a full disk is DISK_FULL; the daemon lives, loses nothing, and goes on when there is space again',
  async (t) => {
    await play(async (scene) => {
      mkdirSync(scene.dataDir)
      const mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
      const daemon = await scene.daemon({
        through: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', mount, scene.dataDir],
      })
      const { library } = await daemon.index('first', scene.tree('small', 200))
      const ballast = `/proc/${daemon.pid}/root${scene.dataDir}/ballast`
      fill(ballast)
      const codes = new Set<string>()
      for (let at = 0; at < 3; at++) codes.add(await daemon.codeOf('libraries.create', { name: `library ${at}` }))
      t.deepEqual([...codes], ['DISK_FULL'])
      const big = scene.tree('big', 3_000)
      const added = await daemon.call('locations.add', { library, path: big }).catch((error: { code: string }) => error)
      if (added.job) {
        await eventually('the job waits for space', 30_000, async () => {
          const { state, waiting } = await daemon.call('jobs.info', { library, job: added.job })
          return state === 'queued' && waiting?.code === 'DISK_FULL'
        })
      } else t.is(added.code, 'DISK_FULL')
      t.is(await daemon.call('core.ping'), 'pong')
      t.true(
        (await daemon.call('search.files', { library, query: 'file' })).total >= 200,
        'what was indexed is still read',
      )

      rmSync(ballast)
      await goesOn(daemon, library, big)

      t.is((await daemon.call('libraries.info', { library })).files, 3_200)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

for (const front of fronts) {
  test.serial(
    `${front}: what comes behind a request that ends its connection is not begun, and harms nobody`,
    async (t) => {
      await play(async (scene) => {
        const daemon = await scene.daemon({ args: ['--front', front] })
        for (const socket of [null, daemon.ready.socket as string]) {
          const [filled, last] = [request(daemon, 'GET', '/console/views.js'), request(daemon, 'POST', '/rpc', 'close')]
          for (const [method, path, upgrade] of [
            ['POST', '/rpc'],
            ['GET', '/health'],
            ['GET', '/events'],
            ['GET', '/ws', 'Upgrade'],
          ] as const) {
            const behind = request(daemon, method, path, upgrade)
            // More than uWebSockets gathers before it writes: else it closes the connection only after all of it.
            const got = await Promise.all(
              Array.from({ length: 10 }, () => all(daemon, socket, filled.repeat(2) + last + behind)),
            )
            for (const each of got) t.is(each.split('HTTP/1.1 ').length - 1, 3, `${method} ${path}`)
            t.is(await daemon.call('core.ping'), 'pong')
          }
        }
        t.is((await daemon.stop()).code, 0)
      })
    },
  )
}

test.serial(
  'node: what is no request is told so after the answer to what came before, and not in its place',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ args: ['--front', 'node'] })
      const create = '{"jsonrpc":"2.0","id":1,"method":"libraries.create","params":{"name":"made"}}'
      const got = await all(daemon, null, `${request(daemon, 'POST', '/rpc', 'keep-alive', create)}no request\r\n\r\n`)
      t.regex(got, /^HTTP\/1\.1 200 OK.*"name":"made".*HTTP\/1\.1 400 /s)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

const PING = '{"jsonrpc":"2.0","id":1,"method":"core.ping"}'

function request(daemon: TestDaemon, method: string, path: string, connection = 'keep-alive', posted = PING): string {
  const body = method === 'POST' ? posted : ''
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${daemon.port}`,
    `Authorization: Bearer ${daemon.token}`,
    `Connection: ${connection}`,
    ...(connection === 'Upgrade' ? ['Upgrade: websocket', 'Sec-WebSocket-Version: 13'] : []),
    ...(connection === 'Upgrade' ? [`Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`] : []),
    ...(body ? ['Content-Type: application/json', `Content-Length: ${body.length}`] : []),
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/** What is answered until the connection ends, while another one is there that has asked for nothing yet. */
async function all(daemon: TestDaemon, path: string | null, text: string): Promise<string> {
  const silent = net.connect(daemon.port, '127.0.0.1')
  const client = path === null ? net.connect(daemon.port, '127.0.0.1') : net.connect(path)
  let got = ''
  client.on('data', (bytes) => (got += bytes))
  for (const each of [silent, client]) each.on('error', () => undefined)
  client.write(text)
  await once(client, 'close')
  silent.destroy()
  return got
}

async function stoppedWithLibrary(scene: Scene) {
  const daemon = await scene.daemon()
  const { library } = await daemon.index('kept', scene.tree('tree', 20))
  const { path } = await daemon.call('libraries.info', { library })
  await daemon.stop()
  return { library, path, json: join(path, 'library.json') }
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=4k'])
}

async function goesOn(daemon: TestDaemon, library: string, big: string): Promise<void> {
  const locations: { id: string; path: string }[] = await daemon.call('locations.list', { library })
  const there = locations.find(({ path }) => path === big)
  const { job } = there
    ? await eventually('a rescan is let in', 30_000, () =>
        daemon.call('locations.rescan', { library, location: there.id }).catch(() => null),
      )
    : await daemon.call('locations.add', { library, path: big })
  await daemon.jobDone(library, job)
}
