// The daemon's beginning and end: limits it boots with, a second one, what a killed one left, and how it goes down.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { configure } from '../../src/config.js'
import { startDaemon } from '../../src/daemon.js'
import { openNumbers } from '../../src/descriptors/rlimit.js'
import { cli, eventually, launch, LAUNCHER, type TestDaemon, sleep } from '../harness/daemon.js'
import { kinds } from '../front/stage.js'
import { play, sameAsDisk } from '../harness/scene.js'

const fronts = await kinds()

test.serial('the limit it was given and the one it made of it are both told', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: '1024:8192' })
    t.like(daemon.ready.limit, { softAtStart: 1024, soft: 8192, hard: 8192 })
    t.like((await daemon.status()).limit, { softAtStart: 1024, soft: 8192, hard: 8192 })
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('with 64 descriptors it boots, indexes, and opens five libraries one after another', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: '64:64' })
    const root = scene.tree('tree', 300)
    const libraries: string[] = []
    for (let at = 0; at < 5; at++) libraries.push((await daemon.index(`library ${at}`, root)).library)
    for (const library of libraries) {
      t.is((await daemon.call('search.files', { library, query: 'file 299' })).total, 1)
      t.true(daemon.descriptorCount < 64)
    }
    await sameAsDisk(daemon, libraries[0]!, root)
    t.false(daemon.log.includes('EMFILE'))
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('any limit either serves or is refused in one sentence with a hint and 78', async (t) => {
  for (const limit of [24, 33, 40, 44, LIMITS.hardFloor - 1, LIMITS.hardFloor, 50, 53, 57, 61, 72, 80]) {
    await play(async (scene) => {
      const { child, said, exited } = launch(scene.dataDir, { limit: `${limit}:${limit}` })
      let over = false
      void exited.then(() => (over = true))
      await eventually('it says ready or ends', 60_000, () => over || said.out.includes('"ready"'))
      if (said.out.includes('"ready"')) {
        t.is(cli(['status', '--data-dir', scene.dataDir]).code, 0, `${limit}`)
        child.kill('SIGTERM')
        t.is((await exited).code, 0, `${limit}: ${said.err}`)
        return
      }
      t.is((await exited).code, 78, `${limit}: ${said.err}`)
      t.regex(said.err, /^error LIMIT_TOO_LOW: [^\n]+\nhint: [^\n]+\n$/, `${limit}`)
    })
  }
})

test.serial('a start that is not wanted any more ends before it serves, with nothing left', async (t) => {
  await play(async (scene) => {
    const configured = (fronts: number) =>
      configure({ dataDir: scene.dataDir, flags: { http: { host: '127.0.0.1', port: 0 }, fronts }, env: {} })
    const own = { raiseLimit: false, guest: true }
    // The first one loads native modules and starts libuv's pool, which stay.
    await (await startDaemon(configured(2), own)).close()
    const targets = () => openNumbers().map((fd) => `${fd} ${targetOf(fd)}`)
    const before = targets()
    for (const fronts of [1, 2]) {
      for (const name of ['daemon.lock', 'daemon.sock']) {
        rmSync(join(scene.dataDir, 'daemon.lock'), { force: true })
        const unwanted = new AbortController()
        const look = () =>
          existsSync(join(scene.dataDir, name)) ? unwanted.abort() : unwanted.signal.aborted || setImmediate(look)
        setImmediate(look)
        const starting = startDaemon(configured(fronts), { ...own, unwanted: unwanted.signal })
        await t.throwsAsync(starting, { code: 'CANCELLED' }, `${fronts} ${name}`)
        const left = ['daemon.json', 'daemon.sock'].filter((each) => existsSync(join(scene.dataDir, each)))
        t.deepEqual(left, [])
        await eventually('every descriptor is back', 60_000, () => targets().join() === before.join())
      }
    }
  })
})

test.serial('a signal during a boot ends the daemon as one that serves', async (t) => {
  for (const args of [[], ['--fronts', '2']]) {
    await play(async (scene) => {
      const { child, said, exited } = launch(scene.dataDir, { args })
      await eventually('it listens', 60_000, () => existsSync(join(scene.dataDir, 'daemon.sock')))
      child.kill('SIGTERM')
      t.deepEqual(await exited, { code: 0, signal: null }, said.err)
      const left = ['daemon.json', 'daemon.sock'].filter((name) => existsSync(join(scene.dataDir, name)))
      t.deepEqual(left, [])
      const next = await scene.daemon({ args })
      t.is(await next.call('core.ping'), 'pong')
    })
  }
})

test.serial('clients that come while it boots are no part of what it holds itself', async (t) => {
  await play(async (scene) => {
    const threads = (log: string) => [...log.matchAll(/shard threads [^"]*/g)].map(([line]) => line)
    const calm = await scene.daemon({ args: ['--shards', '2'] })
    const [expected] = threads(calm.log)
    await calm.stop()
    const { child, said, exited } = launch(scene.dataDir, { args: ['--shards', '2'] })
    scene.atEnd(() => child.kill('SIGKILL'))
    const path = join(scene.dataDir, 'daemon.sock')
    await eventually('it listens', 60_000, () => existsSync(path))
    const clients = Array.from({ length: 4 }, () => connect(path).on('error', () => undefined))
    await eventually('it is ready', 60_000, () => said.out.includes('"ready"'))
    t.deepEqual(threads(readFileSync(join(scene.dataDir, 'logs', 'daemon.log'), 'utf8')), [expected, expected])
    for (const client of clients) client.destroy()
    child.kill('SIGTERM')
    t.is((await exited).code, 0)
  })
})

test.serial('a second daemon names the first and leaves it alone', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const rival = cli(['start', '--data-dir', scene.dataDir, '--http', '127.0.0.1:0'])
    t.is(rival.code, 1)
    t.regex(rival.err, new RegExp(`^error ALREADY_RUNNING: .*\\b${daemon.pid}\\b`))
    const neighbour = cli(['start', '--data-dir', scene.path('other'), '--http', `127.0.0.1:${daemon.port}`])
    t.is(neighbour.code, 1)
    t.regex(neighbour.err, new RegExp(`^error ADDRESS_IN_USE: .*\\b${daemon.port}\\b`))
    t.is(await daemon.call('core.ping'), 'pong')
    t.is(await daemon.watch('core.ping'), 'pong')
    await daemon.stop()
    t.deepEqual(
      ['daemon.json', 'daemon.sock'].filter((name) => existsSync(join(scene.dataDir, name))),
      [],
    )
  })
})

test.serial('what a killed daemon left is no obstacle, also where its state is nonsense', async (t) => {
  await play(async (scene) => {
    const first = await scene.daemon()
    const { id } = await first.call('libraries.create', { name: 'kept' })
    await first.stop('SIGKILL')
    t.true(existsSync(join(scene.dataDir, 'daemon.sock')))
    writeFileSync(join(scene.dataDir, 'daemon.json'), `{"pid":${process.pid},"http":"http://127.0.0.1:1"`)
    t.is(cli(['status', '--data-dir', scene.dataDir]).code, 3)
    const second = await scene.daemon()
    t.is((await second.call('libraries.info', { library: id })).name, 'kept')
    t.is((await second.stop()).code, 0)
  })
})

test.serial('what lies where the token is written aside is not followed', async (t) => {
  await play(async (scene) => {
    const kept = scene.path('kept')
    writeFileSync(kept, 'kept')
    mkdirSync(scene.dataDir, { recursive: true, mode: 0o700 })
    symlinkSync(kept, join(scene.dataDir, 'token.new'))
    const daemon = await scene.daemon()
    t.is((await daemon.call('core.ping')) as unknown, 'pong')
    t.is(readFileSync(kept, 'utf8'), 'kept')
    t.true(lstatSync(join(scene.dataDir, 'token')).isFile())
  })
})

test.serial(
  'SIGTERM while requests are in flight and a tree is being indexed: every answer is whole, exit 0',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const root = scene.tree('tree', 20_000, 500)
      const { id: library } = await daemon.call('libraries.create', { name: 'busy' })
      const { job } = await daemon.call('locations.add', { library, path: root })
      const outcomes: string[] = []
      const client = async () => {
        while (outcomes.at(-1) !== 'gone') {
          const asked = daemon.call('search.files', { library, query: 'file' })
          outcomes.push(
            await asked.then(
              () => 'answered',
              (error) => error.code,
            ),
          )
          if (!['answered', 'DRAINING', 'STARTING', 'SHARD_LOST'].includes(outcomes.at(-1)!)) return
        }
      }
      const clients = [client(), client(), client()]
      await sleep(150)
      const begun = performance.now()
      t.deepEqual(await daemon.stop(), { code: 0, signal: null })
      t.true(performance.now() - begun < LIMITS.drainMs)
      await Promise.all(clients)
      const codes = new Set(outcomes)
      for (const code of ['answered', 'DRAINING', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE']) codes.delete(code)
      t.deepEqual([...codes], [])
      const again = await scene.daemon()
      await again.jobDone(library, job)
      await sameAsDisk(again, library, root)
      await again.stop()
    })
  },
)

for (const front of fronts) {
  test.serial(
    `${front}: who asks while it drains is told so, and a file that is read on is sent to its end`,
    async (t) => {
      await play(async (scene) => {
        const tree = scene.tree('tree', 1)
        // More than the sockets hold for a reader that waits.
        const bytes = 24 << 20
        writeFileSync(join(tree, 'd0', 'long'), Buffer.alloc(bytes))
        const state = () => readFileSync(join(scene.dataDir, 'daemon.json'), 'utf8')
        const begun = async (daemon: TestDaemon, library: string) => {
          const { items } = await daemon.call('search.files', { library, query: 'long' })
          const headers = { authorization: `Bearer ${daemon.token}` }
          const path = `/libraries/${library}/files/${items[0].id}`
          const asking = http.get({ host: '127.0.0.1', port: daemon.port, path, headers })
          const [answer] = (await once(asking, 'response')) as [http.IncomingMessage]
          process.kill(daemon.pid, 'SIGTERM')
          await eventually('it drains', 60_000, () => state().includes('"draining"'))
          return answer
        }
        const first = await scene.daemon({ args: ['--front', front] })
        const { library } = await first.index('library', tree)
        let read = 0
        for await (const part of await begun(first, library)) read += (part as Buffer).length
        t.is(read, bytes)
        t.is((await first.exited).code, 0)

        const daemon = await scene.daemon({ args: ['--front', front] })
        const answer = await begun(daemon, library)
        answer.on('error', () => undefined)
        process.kill(daemon.pid, 'SIGSTOP')
        const where = ['--data-dir', scene.dataDir]
        const told = cli(['library', 'list', ...where])
        t.is(told.code, 75)
        t.regex(told.err, new RegExp(`^error DRAINING: the daemon, pid ${daemon.pid}, is stopping\nhint: `))
        const stopped = once(spawn(LAUNCHER, ['stop', ...where]), 'exit')
        await new Promise((resolve) => setTimeout(resolve, 1_000))
        process.kill(daemon.pid, 'SIGCONT')
        t.deepEqual(await stopped, [0, null])
        t.is((await daemon.exited).code, 0)
        t.is(cli(['library', 'list', ...where]).code, 3)
        answer.destroy()
      })
    },
  )
}

test.serial('a second signal hurries, and a request that never ends holds neither', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const headers = { 'content-length': '100000' }
    const cut = t.throwsAsync(daemon.ask('/rpc', { method: 'POST', headers, body: '{', agent: false }))
    // Both at once, and two kinds, because of one kind the kernel would keep one.
    daemon.kill('SIGSTOP')
    daemon.kill('SIGTERM')
    daemon.kill('SIGINT')
    daemon.kill('SIGCONT')
    t.deepEqual(await daemon.exited, { code: 0, signal: null })
    t.regex(daemon.said.err, /^hurrying…$/m)
    await cut
  })
})

test.serial('core.shutdown answers, drains and ends the process', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    t.deepEqual(await daemon.call('core.shutdown'), { draining: true })
    t.deepEqual(await daemon.exited, { code: 0, signal: null })
    t.is(cli(['status', '--data-dir', scene.dataDir]).code, 3)
  })
})

test.serial('a data directory that vanishes under it does not end it, and it still stops with 0', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const { library } = await daemon.index('first', scene.tree('tree', 50))
    // The daemon may put a new file there while the others are being removed.
    rmSync(scene.dataDir, { recursive: true, maxRetries: 3 })
    t.is((await daemon.call('search.files', { library, query: 'file 49' })).total, 1, 'what is open is still read')
    const sorted = await daemon.call('search.files', { library, query: 'file 49', sort: 'name' })
    t.is(sorted.total, 1, 'also what takes so long that it would be read by another connection')
    await daemon.call('libraries.close', { library })
    t.is(await daemon.codeOf('libraries.info', { library }), 'LIBRARY_DAMAGED')
    t.is(await daemon.call('core.ping'), 'pong')
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('a terminal that goes away drains it like SIGTERM', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    daemon.kill('SIGHUP')
    t.is((await daemon.exited).code, 0)
    t.false(existsSync(join(scene.dataDir, 'daemon.json')))
  })
})

test.serial(
  'a wrong parameter is told as what it is, and a place that can hold no data directory is refused',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const wrong = cli(['library', 'create', '', '--data-dir', scene.dataDir])
      t.is(wrong.code, 1)
      t.regex(wrong.err, /^error BAD_REQUEST: name: .*\nhint: /)
      t.is((await daemon.stop()).code, 0)
    })
    const nowhere = cli(['start', '--data-dir', '/proc/nowhere', '--http', 'off'])
    t.is(nowhere.code, 78)
    t.regex(nowhere.err, /^error BAD_CONFIG: /)
    await play(async (scene) => {
      const few = cli(['start', '--data-dir', scene.dataDir, '--http', 'off', '--nofile', '10'])
      t.is(few.code, 78)
      t.regex(few.err, /^error LIMIT_TOO_LOW: /)
    })
  },
)

function targetOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N')
  } catch {
    return '' // the one by which the list was read
  }
}
