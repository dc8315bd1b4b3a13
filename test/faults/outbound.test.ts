// A client that has no descriptor left says so, and not that the daemon's name does not exist or that nobody is there.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { shortageBehind } from '../../src/descriptors/shortage.js'
import type { TestDaemon } from '../harness/daemon.js'
import { atRest, writable } from '../harness/rest.js'
import { play, sameAsDisk } from '../harness/scene.js'

const run = promisify(execFile)
const SOURCES = join(import.meta.dirname, '..', '..', 'src')
const moduleOf = (path: string) => JSON.stringify(pathToFileURL(join(SOURCES, path)).href)

/** Asks in every way a client can, first with no descriptor free, then with all of them. Prints the codes. */
const SCRIPT = `
  import fs from 'node:fs'
  import { connect } from ${moduleOf('index.js')}
  import { Client } from ${moduleOf('cli/client.js')}
  const [url, token, socket] = process.argv.slice(1)
  const codeOf = (asked) => asked.then((got) => got ?? 'answered', (error) => error.code ?? error.message)
  const ways = {
    name: () => connect(url.replace('127.0.0.1', 'localhost'), { token }).then((client) => client.close()),
    address: () => connect(url, { token }).then((client) => client.close()),
    unix: () => connect('unix:' + socket).then((client) => client.close()),
    command: async () => { const client = new Client(socket); try { return await client.call('core.ping') } finally { client.close() } },
  }
  const all = async () => Object.fromEntries(await Promise.all(Object.entries(ways).map(async ([name, way]) => [name, await codeOf(way())])))
  const held = []
  try { for (;;) held.push(fs.openSync('/dev/null')) } catch {}
  const short = await all()
  for (const fd of held) fs.closeSync(fd)
  console.log(JSON.stringify({ short, free: await all() }))
`

test.serial(
  'scenario 49: connecting with no descriptor free is a lack of descriptors, by name, address and socket',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon()
      const before = await daemon.descriptorsAtRest()
      const small = scene.tree('small', 50)
      const { library } = await daemon.index('small', small)

      const { short, free } = await outbound(daemon)
      const lack = 'BUDGET_EXHAUSTED'
      t.deepEqual(short, { name: lack, address: lack, unix: lack, command: lack })
      t.deepEqual(free, {
        name: 'answered',
        address: 'answered',
        unix: 'answered',
        command: 'pong',
      })

      t.is(await daemon.call('core.ping'), 'pong')
      writeFileSync(join(small, 'later.txt'), '')
      await writable(daemon, library)
      await sameAsDisk(daemon, library, small)
      t.deepEqual(await atRest(daemon), before)
      t.is((await daemon.stop()).code, 0)
    })
  },
)

async function outbound({ ready, token }: TestDaemon): Promise<{ short: unknown; free: unknown }> {
  const node = [process.execPath, '--input-type=module', '-e', SCRIPT, ready.http, token, ready.socket]
  const { stdout } = await run('prlimit', ['--nofile=64:64', ...node])
  return JSON.parse(stdout)
}

test('a name that is not there while there are descriptors is no lack of them', (t) => {
  const error = (code: string, syscall: string) => Object.assign(new Error(code), { code, syscall })
  t.is(shortageBehind(error('ENOTFOUND', 'getaddrinfo')), null)
  t.is(shortageBehind(error('ECONNREFUSED', 'connect')), null)
  t.is(shortageBehind(error('EMFILE', 'connect'))?.code, 'BUDGET_EXHAUSTED')
  const both = new AggregateError([error('ECONNREFUSED', 'connect'), error('ENFILE', 'connect')])
  t.regex(shortageBehind(both)?.message ?? '', /whole machine/)
})
