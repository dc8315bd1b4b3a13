// Leases under want: jobs that each need most of their class, libraries that each need most of theirs, and nobody waits for ever.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { eventually, sleep } from '../harness/daemon.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk } from '../harness/scene.js'

const JOBS = 20

test.serial('scenario 25: twenty jobs that each want most of the class of jobs all come to their end', async (t) => {
  await play(async (scene) => {
    // The least limit: a task thread then costs more than half of what the class may ever hold.
    const daemon = await scene.daemon({ limit: '64:64' })
    const boot = await daemon.descriptorsAtRest()
    const { ceiling } = (await daemon.status()).descriptors.classes.jobs
    const small = scene.tree('small', 300)
    const libraries: string[] = []
    for (let at = 0; at < JOBS; at++)
      libraries.push((await daemon.call('libraries.create', { name: `library ${at}` })).id)
    const jobs = await Promise.all(
      libraries.map(async (library) => (await daemon.call('locations.add', { library, path: small })).job as string),
    )
    // An admitted client is served while they stand in line.
    t.is(await daemon.call('core.ping'), 'pong')
    for (const [at, library] of libraries.entries()) await daemon.jobDone(library, jobs[at]!)
    const { jobs: ofJobs } = (await daemon.status()).descriptors.classes
    t.true(ofJobs.peak > 0.6 * ceiling && ofJobs.peak <= ceiling, `${ofJobs.peak} of ${ceiling}`)
    for (const library of libraries) await daemon.call('libraries.rename', { library, name: `${library} again` })
    await sameAsDisk(daemon, libraries[0]!, small)
    for (const library of libraries) await daemon.call('libraries.close', { library })
    daemon.hangUp()
    await eventually(
      'task threads are gone',
      30_000,
      async () => (await daemon.status()).descriptors.classes.jobs.used === 0,
    )
    t.deepEqual(await daemon.descriptorsAtRest(boot), boot)
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('scenario 51: restarted again and again under a flood, with jobs to go on in every library', async (t) => {
  await play(async (scene) => {
    const small = scene.tree('small', 200)
    const args = ['--http', `127.0.0.1:${await keptPort()}`]
    let daemon = await scene.daemon({ limit: '96:96', args })
    const boot = await daemon.descriptorsAtRest()
    const jobs = new Map<string, string>()
    for (let at = 0; at < 2 * JOBS; at++) {
      const { id: library } = await daemon.call('libraries.create', { name: `library ${at}` })
      jobs.set(library, (await daemon.call('locations.add', { library, path: small })).job)
    }
    const flood = hammer(daemon.port)
    try {
      for (let restart = 0; restart < 3; restart++) {
        await daemon.stop('SIGKILL')
        const served = flood.told.get('200') ?? 0
        daemon = await scene.daemon({ limit: '96:96', args })
        t.is(await daemon.watch('core.ping'), 'pong', 'control answers')
        await eventually('others are served', 30_000, () => (flood.told.get('200') ?? 0) > served)
      }
    } finally {
      await flood.stop()
    }
    for (const [library, job] of jobs) await daemon.jobDone(library, job, 120_000)
    // Once it listened it answered or refused, and never with anything else.
    const told = await flood.stop()
    t.deepEqual(
      [...told.keys()].filter((each) => !/^(200|503|E[A-Z]+|)$/.test(each)),
      [],
    )
    t.true(told.get('200')! > 0, JSON.stringify([...told]))
    t.notRegex(daemon.log, /EMFILE/)
    // On a slow machine those that were taken up at a time may have to try again, and no others.
    const inVain = daemon.log.match(/has jobs to go on with, but/g)?.length ?? 0
    t.true(inVain <= LIMITS.takeUpAtOnceMax, `${inVain} libraries were opened too early`)
    const [first] = jobs.keys()
    // At this limit what is open of libraries alone may be enough to be elevated.
    await eventually('the flood is over', 30_000, async () =>
      ['normal', 'elevated'].includes((await daemon.status()).descriptors.level),
    )
    await writable(daemon, first!)
    await sameAsDisk(daemon, first!, small)
    t.deepEqual(await atRest(daemon), boot)
    t.is((await daemon.stop()).code, 0)
  })
})

/** Below those that the kernel gives away: nobody else is given it between two starts. */
async function keptPort(): Promise<number> {
  return await eventually('a port is free', 30_000, async () => {
    const server = createServer().listen(10_000 + Math.floor(Math.random() * 20_000), '127.0.0.1')
    const listens = await once(server, 'listening').catch(() => null)
    const { port } = (listens ? server.address() : { port: 0 }) as AddressInfo
    server.close()
    return port
  })
}

/** Clients that come one after another, many at a time, whether anybody listens or not; counts what each was told. */
function hammer(port: number): { readonly told: ReadonlyMap<string, number>; stop(): Promise<Map<string, number>> } {
  const told = new Map<string, number>()
  let stopped = false
  const client = async () => {
    while (!stopped) {
      const status = await ask(port)
      told.set(status, (told.get(status) ?? 0) + 1)
      await sleep(20)
    }
  }
  const clients = Promise.all(Array.from({ length: 40 }, client))
  return {
    told,
    async stop() {
      stopped = true
      await clients
      return told
    },
  }
}

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`),
    )
    let text = ''
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.on('close', () => resolve(/^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? text))
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      socket.end()
    })
  })
}
