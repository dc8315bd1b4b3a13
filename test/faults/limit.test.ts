// The limit itself: too low, absurdly high, refused, and changed under a running daemon.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { CLASSES } from '../../src/protocol/messages.js'
import { eventually, launch, type Loose, type TestDaemon } from '../harness/daemon.js'
import { Workers } from '../harness/load.js'
import { punctually } from '../harness/punctual.js'
import { play, type Scene } from '../harness/scene.js'
import { kinds } from '../front/stage.js'
import { shimProblem } from '../harness/shim.js'

const fronts = await kinds()
const problem = shimProblem()
if (problem) console.log(`not run: scenarios 3 and 4, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

test.serial(
  'scenario 1: at 64 it boots small, says how small each class is, and opens libraries one at a time',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '64:64' })
      const rest = await daemon.descriptorsAtRest()
      for (const name of CLASSES) t.regex(daemon.said.err, new RegExp(`^ +${name} +\\d+ +\\d+$`, 'm'))
      const libraries: string[] = []
      for (let at = 0; at < 4; at++) libraries.push(await madeLibrary(daemon, `library ${at}`))
      for (const library of libraries) {
        t.true((await daemon.call('libraries.open', { library })).open)
        t.true(daemon.descriptorCount < 64)
      }
      const over = await Promise.all(Array.from({ length: 40 }, () => daemon.ask('/health', { agent: false })))
      t.true(over.some(({ status }) => status === 200))
      for (const { status, body } of over) t.true(status === 200 || (status === 503 && /CONNECTION_LIMIT/.test(body)))
      await sound(t, daemon, libraries, rest)
    })
  },
)

test.serial('scenario 2: below the floor the launcher says one sentence and a command, and ends with 78', async (t) => {
  await play(async (scene) => {
    const { said, exited } = launch(scene.dataDir, { limit: '24:24' })
    t.deepEqual(await exited, { code: 78, signal: null })
    t.regex(said.err, /^error LIMIT_TOO_LOW: [^\n]+\bat least \d+\.\nhint: run `[^`\n]+` [^\n]+\n$/)
    t.is(said.out, '')
  })
})

shimmed(
  'scenario 3: of a hard limit of 1,000,000,000 it takes 1,048,576, and neither memory nor boot suffer',
  async (t) => {
    await play(async (scene) => {
      const usual = await scene.daemon({ limit: '1024:4096' }, scene.path('usual'))
      const daemon = await scene.daemon({ env: { LD_PRELOAD: generous(scene) } })
      const rest = await daemon.descriptorsAtRest()
      t.like((await daemon.status()).limit, { soft: LIMITS.softMax, hard: 1_000_000_000 })
      t.true(
        mostResidentKilobytes(daemon) < 1.5 * mostResidentKilobytes(usual),
        'memory is about what it is with 4,096',
      )
      await sound(t, daemon, [await madeLibrary(daemon, 'library')], rest)
      t.is((await usual.stop()).code, 0)
    })
  },
)

shimmed('scenario 4: where raising is refused it runs on what it has, and says so', async (t) => {
  await play(async (scene) => {
    const shim = scene.shim()
    shim.fail({ calls: 'limit', errno: 'EPERM' })
    const daemon = await scene.daemon({ limit: '200:4096', env: shim.env, args: ['--nofile', '150'] })
    const rest = await daemon.descriptorsAtRest()
    const { limit, descriptors } = await daemon.status()
    // Node has raised it before the daemon could: what is refused is the way down to 150.
    t.true(limit.soft > 150)
    t.regex(daemon.said.err, /^warning: setting the soft limit to 150 was refused: EPERM/m)
    t.true(
      descriptors.budget + descriptors.reserve + descriptors.base <= 150,
      'it keeps to what it was told all the same',
    )
    await sound(t, daemon, [await madeLibrary(daemon, 'library')], rest)
  })
})

test.serial(
  'scenario 5: a cut under what is in use is obeyed: idle holders go, clients at work stay; scenario 6: a raise is used at once',
  punctually(async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '400:400' })
      const rest = await daemon.descriptorsAtRest()
      const libraries: string[] = []
      for (let at = 0; at < 24; at++) libraries.push(await madeLibrary(daemon, `library ${at}`))
      const workers = new Workers(daemon, 3, 'libraries.info', { library: libraries.at(-1) }, 10)
      t.teardown(() => workers.stop())
      await eventually('all work and all is open', 30_000, async () => {
        const status = await daemon.status()
        return status.libraries.open === 24 && status.connections.current > 3
      })
      const before = daemon.descriptorCount
      const cut = 100
      t.true(before > cut, `${before} open`)

      daemon.limit(cut)
      await eventually('it holds less than the new limit', 30_000, async () => {
        // In the first moment after it libuv may close who comes, before anything of ours has run.
        const status = await daemon.status().catch(() => null)
        if (status === null) return false
        const { limit, descriptors } = status
        return limit.soft === cut && descriptors.open < cut && descriptors.level === 'normal'
      })
      t.regex(daemon.log, /"the descriptor limit was cut from 400 to 100"/)
      t.regex(daemon.log, /"level":40[^\n]*level[^\n]*critical/)
      // Just after the cut a newcomer may be told to come again in a second.
      await eventually('a newcomer is let in', 30_000, () => daemon.call('core.ping').catch(() => null))
      for (const library of libraries.slice(0, 8))
        t.true((await daemon.callOnceLetIn('libraries.open', { library })).open)
      t.true(daemon.descriptorCount < cut)

      daemon.limit(400)
      await eventually('the raise is noticed', 30_000, async () => {
        const status = await daemon.status().catch(() => null)
        return status?.limit.soft === 400 && status.descriptors.level === 'normal'
      })
      for (const library of libraries) t.true((await daemon.call('libraries.open', { library })).open)
      t.is((await daemon.status()).libraries.open, 24)
      await workers.stop()
      t.deepEqual(workers.take().failures, [], 'nobody at work was dropped')
      await sound(t, daemon, libraries, rest)
    })
  }),
)

for (const front of fronts) {
  test.serial(`${front}: for clients that take their time to go no others have to`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '400:400', args: ['--front', front] })
      const rest = await daemon.descriptorsAtRest()
      let told = 0
      const sockets = await Promise.all(Array.from({ length: 160 }, () => stubborn(daemon, () => (told += 1))))
      daemon.limit(200)
      await eventually('some are told to go', 30_000, () => told > 0)
      // Pressure is looked at several times while those that were told keep their descriptors.
      await new Promise((resolve) => setTimeout(resolve, 6 * LIMITS.pressureCheckMs))
      t.true(told < 140, `${told} of 160 had to go`)
      for (const socket of sockets) socket.destroy()
      daemon.limit(400)
      await sound(t, daemon, [], rest)
    })
  })
}

test.serial(
  'a cut below what a boot needs does not end it: it says so, answers, and works again after the raise',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ limit: '200:200' })
      const rest = await daemon.descriptorsAtRest()
      const library = await madeLibrary(daemon, 'library')
      daemon.limit(30)
      await eventually('it is noticed', 30_000, () => /was cut from 200 to 30/.test(daemon.log))
      t.regex(daemon.log, /the descriptor limit is 30, and at least \d+ are needed/)
      // Every idle client may have given way by now; the unix socket is always let in.
      t.is(await daemon.watch('core.ping'), 'pong')
      daemon.limit(200)
      // Until it is, who comes may be told that there is nothing.
      await eventually('the raise is noticed', 30_000, async () => {
        const status = await daemon.status().catch(() => null)
        return status?.limit.soft === 200 && status.descriptors.level === 'normal'
      })
      await sound(t, daemon, [library], rest)
    })
  },
)

test.serial('a raise past --nofile is not used', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: '400:400', args: ['--nofile', '120'] })
    const { budget } = (await daemon.status()).descriptors
    daemon.limit(300)
    const raised = await eventually('it is noticed', 30_000, async () => {
      const status: Loose = await daemon.status()
      return status.limit.soft === 300 && status
    })
    t.is(raised.descriptors.budget, budget)
    t.is((await daemon.stop()).code, 0)
  })
})

/** A WebSocket that says nothing, and does not close its side when it is told that the other is closed. */
function stubborn(daemon: TestDaemon, told: () => void): Promise<net.Socket> {
  const socket = net.connect({ port: daemon.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  socket.write(
    `GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${daemon.token}\r\n\r\n`,
  )
  return new Promise((resolve, reject) => {
    socket.once('data', (head) => {
      if (!String(head).startsWith('HTTP/1.1 101')) return reject(new Error(String(head)))
      socket.on('data', (frame: Buffer) => {
        if (frame[0] === 0x88) told()
      })
      resolve(socket)
    })
  })
}

async function madeLibrary(daemon: TestDaemon, name: string): Promise<string> {
  const { id: library } = await daemon.call('libraries.create', { name })
  await daemon.call('libraries.open', { library })
  return library
}

/** Alive, every library can be written, and when all is closed exactly the descriptors of the start are open. */
async function sound(t: ExecutionContext, daemon: TestDaemon, libraries: readonly string[], rest: readonly string[]) {
  for (const library of libraries) {
    const { name } = await daemon.callOnceLetIn('libraries.info', { library })
    t.is((await daemon.call('libraries.rename', { library, name: `${name} written` })).id, library)
    await daemon.call('libraries.close', { library })
  }
  daemon.hangUp()
  await eventually('nothing is lent but to the looking client', 30_000, async () => {
    const { classes } = (await daemon.status()).descriptors
    return Object.values(classes).reduce((sum, { used }) => sum + used, 0) === 1
  })
  t.deepEqual(await daemon.descriptorsAtRest(rest), [...rest])
  t.false(/EMFILE/.test(daemon.log))
  t.is((await daemon.stop()).code, 0)
}

/** The most it ever was: what is resident now is less where others want the memory. */
function mostResidentKilobytes({ pid }: TestDaemon): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
}

/** A library to preload, by which the limit reads as huge and may be set; the kernel keeps its own. */
function generous(scene: Scene): string {
  mkdirSync(scene.path('generous'))
  const [source, output] = [scene.path('generous', 'limit.c'), scene.path('generous', 'limit.so')]
  writeFileSync(
    source,
    `
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <sys/resource.h>
    static rlim64_t soft = 1024;
    int getrlimit64(__rlimit_resource_t what, struct rlimit64 *limit) {
      if (what != RLIMIT_NOFILE)
        return ((int (*)(__rlimit_resource_t, struct rlimit64 *))dlsym(RTLD_NEXT, "getrlimit64"))(what, limit);
      limit->rlim_cur = soft;
      limit->rlim_max = 1000000000;
      return 0;
    }
    int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *limit) {
      if (what != RLIMIT_NOFILE)
        return ((int (*)(__rlimit_resource_t, const struct rlimit64 *))dlsym(RTLD_NEXT, "setrlimit64"))(what, limit);
      soft = limit->rlim_cur;
      return 0;
    }
    int getrlimit(__rlimit_resource_t what, struct rlimit *limit) { return getrlimit64(what, (struct rlimit64 *)limit); }
    int setrlimit(__rlimit_resource_t what, const struct rlimit *limit) { return setrlimit64(what, (const struct rlimit64 *)limit); }
    `,
  )
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-w', '-o', output, source, '-ldl'])
  if (status !== 0) throw new Error(stderr.toString())
  return output
}
