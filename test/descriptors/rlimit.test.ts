// The limit and the descriptors under it, in child processes whose limit is really that low.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { countOpen, readLimit } from '../../src/descriptors/rlimit.js'

const run = promisify(execFile)
const SOURCES = join(import.meta.dirname, '..', '..', 'src', 'descriptors')

/** Runs a module with the given `SOFT:HARD` and answers what it printed as JSON. */
async function under(limit: string, script: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const head = `
    import fs from 'node:fs'
    import { loadNative, nativeProblem } from ${JSON.stringify(pathToFileURL(join(SOURCES, 'native.js')).href)}
    import { countOpen, raiseLimit, readLimit } from ${JSON.stringify(pathToFileURL(join(SOURCES, 'rlimit.js')).href)}
    const native = loadNative()
    const exhaust = () => { const held = []; for (;;) try { held.push(fs.openSync('/dev/null')) } catch { return held } }
    const codeOf = (run) => { try { run() } catch (error) { return [error.code, error.syscall, Math.sign(error.errno)] } }
  `
  const node = [process.execPath, '--input-type=module', '-e', head + script]
  const { stdout } = await run('prlimit', [`--nofile=${limit}`, ...node], { env: { ...process.env, ...env } })
  return JSON.parse(stdout)
}

test('the soft limit is raised to the hard one, and what it was at start is kept', async (t) => {
  const script = 'console.log(JSON.stringify(raiseLimit()))'
  const raised = await under('100:300', script, { SPACEDRIVE_LIMIT_AT_START: '100:300' })
  t.deepEqual(raised, { softAtStart: 100, soft: 300, hard: 300, problem: null })
})

test('a cap lowers the soft limit and leaves the hard one', async (t) => {
  const script = 'console.log(JSON.stringify([raiseLimit({ cap: 80 }), readLimit()]))'
  const [raised, now] = (await under('100:300', script, { SPACEDRIVE_LIMIT_AT_START: '100:300' })) as unknown[]
  t.deepEqual(raised, { softAtStart: 100, soft: 80, hard: 300, problem: null })
  t.deepEqual(now, { soft: 80, hard: 300 })
})

test('a cap above the hard limit asks for no more than the hard limit', async (t) => {
  const raised = await under('100:300', 'console.log(JSON.stringify(raiseLimit({ cap: 5000 })))')
  t.like(raised, { soft: 300, hard: 300, problem: null })
})

test('without the addon a cap is set by prlimit', async (t) => {
  const script = 'console.log(JSON.stringify([native, nativeProblem() !== null, raiseLimit({ cap: 80 })]))'
  const env = { SPACEDRIVE_NATIVE: 'off', SPACEDRIVE_LIMIT_AT_START: '100:unlimited' }
  t.deepEqual(await under('100:300', script, env), [
    null,
    true,
    { softAtStart: 100, soft: 80, hard: 300, problem: null },
  ])
})

test('without the addon and prlimit the limit stays and the reason is told', async (t) => {
  const script = `process.env.PATH = '/nowhere'; const r = raiseLimit({ cap: 80 }); console.log(JSON.stringify([r.soft, r.hard, r.problem !== null]))`
  t.deepEqual(await under('100:300', script, { SPACEDRIVE_NATIVE: 'off' }), [300, 300, true])
})

test('a limit above the hard one is refused with the code of the system', async (t) => {
  const script = `console.log(JSON.stringify([codeOf(() => native.setLimit(1000)), native.getLimit()]))`
  t.deepEqual(await under('300:300', script), [['EINVAL', 'setrlimit', -1], { soft: 300, hard: 300 }])
})

test('limits and descriptors are read when not one descriptor is left', async (t) => {
  const script = `
    const held = exhaust()
    const described = native.describe(held.at(-1))
    const listed = Array.from(native.list())
    console.log(JSON.stringify({
      limit: readLimit(), same: countOpen() === listed.length && native.count() === listed.length,
      listsAll: held.every((fd) => listed.includes(fd)), ascending: listed.every((fd, i) => i === 0 || fd > listed[i - 1]),
      described, scan: codeOf(() => native.readDirectory(Buffer.from('/'))), grown: native.preallocate(64),
    }))`
  t.deepEqual(await under('64:64', script), {
    limit: { soft: 64, hard: 64 },
    same: true,
    listsAll: true,
    ascending: true,
    described: { kind: 'other', target: '/dev/null', readOnly: true },
    scan: ['EMFILE', 'open', -1],
    grown: false,
  })
})

test('without the addon limits and descriptors are still read at exhaustion', async (t) => {
  const script = `
    const before = countOpen()
    const held = exhaust()
    console.log(JSON.stringify([readLimit(), countOpen() - before - held.length]))`
  t.deepEqual(await under('64:64', script, { SPACEDRIVE_NATIVE: 'off' }), [{ soft: 64, hard: 64 }, 0])
})

test('descriptors above a limit that was lowered are still listed', async (t) => {
  const script = `
    const held = exhaust()
    native.setLimit(40)
    const listed = Array.from(native.list())
    console.log(JSON.stringify([readLimit().soft, held.every((fd) => listed.includes(fd)), native.count() === listed.length]))`
  t.deepEqual(await under('2000:2000', script), [40, true, true])
})

test('growing the table leaves every descriptor as it was', async (t) => {
  const script = `
    const before = Array.from(native.list())
    const grown = [native.preallocate(256), native.preallocate(257)]
    console.log(JSON.stringify([grown, String(native.list()) === String(before)]))`
  t.deepEqual(await under('256:256', script), [[true, false], true])
})

test('a socket is described by its family and ports, a file by its path and mode', async (t) => {
  const script = `
    import net from 'node:net'
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1', () => {
        const all = Array.from(native.list(), (fd) => native.describe(fd))
        const file = fs.openSync(process.execPath)
        console.log(JSON.stringify({
          listener: all.filter((d) => d.localPort === server.address().port && d.remotePort === undefined).length,
          client: all.find((d) => d.localPort === client.localPort),
          port: client.remotePort, localPort: client.localPort,
          file: native.describe(file), free: native.describe(200),
        }))
        process.exit()
      })
    })`
  const seen = (await under('256:256', script)) as Record<string, Record<string, unknown>> & { port: number }
  t.is(seen['listener'] as unknown, 1)
  t.like(seen['client'], {
    kind: 'socket',
    family: 'ipv4',
    localPort: seen['localPort'] as unknown as number,
    remotePort: seen.port,
  })
  t.deepEqual(seen['file'], { kind: 'file', target: process.execPath, readOnly: true })
  t.is(seen['free'], null as never)
})

test('this process counts what it opens', (t) => {
  t.true(countOpen() > 3)
  t.true(readLimit().soft <= readLimit().hard)
})
