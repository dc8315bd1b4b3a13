// `spacedrive selftest` as far as it is quick: what it asks for, and that nothing is left when it is stopped half way.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { askAgain, oneConnection, requestOf } from '../../src/cli/selftest/line.js'
import { cli, eventually, LAUNCHER } from '../harness/daemon.js'

test('without --exhaust it says what there is to try', (t) => {
  const { code, err, out } = cli(['selftest'])
  t.is(code, 2)
  t.is(out, '')
  t.regex(err, /^error USAGE: .*\nhint: .*--exhaust/)
})

test('its own connection, when it was given to somebody else, is asked for again; other refusals are told', async (t) => {
  const refusals = ['CONNECTION_LIMIT', 'CONNECTION_LIMIT']
  const server = createServer((_, answer) => {
    const code = refusals.shift()
    answer.writeHead(code === undefined ? 200 : 503, { connection: 'close' })
    answer.end(JSON.stringify(code === undefined ? { result: 'pong' } : { code, message: 'no', retryable: true }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const line = { url: `http://127.0.0.1:${port}`, token: '', agent: oneConnection() }
  t.is(await askAgain(line, requestOf('core.ping', {})), 'pong')
  t.deepEqual(refusals, [])
  refusals.push('BUDGET_EXHAUSTED')
  await t.throwsAsync(askAgain(line, requestOf('core.ping', {})), { code: 'BUDGET_EXHAUSTED' })
  line.agent.destroy()
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} half way leaves no process and no file behind`, async (t) => {
    const temporary = mkdtempSync(join(tmpdir(), 'sd-'))
    t.teardown(() => rmSync(temporary, { recursive: true, force: true }))
    const child = spawn(LAUNCHER, ['selftest', '--exhaust'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, TMPDIR: temporary },
    })
    const ended = once(child, 'exit')
    await eventually('a daemon runs', 60_000, () => daemonsIn(temporary).length > 0)
    child.kill(signal)
    t.deepEqual(await ended, [130, null])
    t.deepEqual(readdirSync(temporary), [])
    await eventually('its daemon is gone', 30_000, () => daemonsIn(temporary).length === 0)
  })
}

/** Processes whose command line names the directory. */
function daemonsIn(directory: string): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(`${directory}/`))
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return '' // gone
  }
}
