// The rules of SECURITY.md against a whole daemon, for every path that the front knows and every operation there is. The paths are
// read out of its sources, so that one that comes is asked without a token before anybody thinks of it here.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { METHODS } from 'node:http'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { LIMITS } from '../../src/base/limits.js'
import { readConsole } from '../../src/console.js'
import { PARAMS } from '../../src/protocol/operations.js'
import { METHODS as COMPAT } from '../../src/compat/tongue.js'
import type { TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'
import { kinds } from './stage.js'

/** Asked first: tests may not be declared after a wait. */
const KINDS = await kinds()
/** What anybody may have who reaches the port by its own name: all with GET or HEAD, and none tells what a library holds. */
const PUBLIC = new Set(['/', '/health', ...readConsole().keys()])
const SOURCES = join(import.meta.dirname, '..', '..', '..', 'src', 'front')
/** Node's client cannot send it as a request of its own kind. */
const ASKED = METHODS.filter((method) => method !== 'CONNECT')

function toldBySources(pattern: RegExp): string[] {
  const sources = readdirSync(SOURCES).map((name) => readFileSync(join(SOURCES, name), 'utf8'))
  return sources.flatMap((source) => [...source.matchAll(pattern)].map(([, told]) => told!))
}

/** Every path that stands in a source of the front, and a few that do not. */
function paths(library: string): string[] {
  const told = toldBySources(/['"`](\/[\w./-]*)['"`]/g)
  const further = [`/libraries/${library}/files/1`, '/rpc/', '/RPC', '/../rpc', '//rpc', '/rpc?x=1', '/ws/x', '/nope']
  return [...new Set([...told, ...PUBLIC, ...further])]
}

/** Statuses that say nothing but no. */
const isRefusal = (status: number) => status >= 400 && status < 500

async function refusedEverywhere(daemon: TestDaemon, library: string, asking: object, but = new Set<string>()) {
  const told: string[] = []
  for (const path of paths(library)) {
    for (const method of ASKED) {
      const { status, headers } = await daemon.ask(path, { method, token: null, ...asking })
      const allowed = but.has(path) && (method === 'GET' || method === 'HEAD')
      if (!allowed && !isRefusal(status)) told.push(`${method} ${path}: ${status}`)
      const open = Object.keys(headers).filter((name) => name.startsWith('access-control-'))
      // Node's own answer to a head that is no HTTP carries nothing.
      if (open.length > 0) told.push(`${method} ${path}: ${open.join()}`)
      if (status !== 400 && headers['x-content-type-options'] !== 'nosniff')
        told.push(`${method} ${path}: may be sniffed`)
    }
  }
  return told
}

test('a path that a pattern stands for is asked too', (t) => {
  // Of each that comes there has to be one among `further`, or in no test it is asked without a token.
  t.deepEqual(toldBySources(/\/\^?(\\\/[^\n]*)\/[a-z]*[.,;)\n]/g), [
    '\\/libraries\\/([\\w.-]{1,100})\\/files\\/([\\w.-]{1,100})$',
  ])
})

for (const kind of KINDS) {
  test.serial(`${kind}: no path and no method answers who has no token, a wrong one, or comes from elsewhere`, (t) =>
    play(async (scene) => {
      const daemon = await scene.daemon({ env: { SPACEDRIVE_FRONT: kind } })
      const { id: library } = await daemon.call('libraries.create', { name: 'Secret' })
      t.true(paths(library).includes('/rpc') && paths(library).includes('/ws') && paths(library).includes('/metrics'))
      t.deepEqual(await refusedEverywhere(daemon, library, {}, PUBLIC), [])
      for (const token of ['x', daemon.token.slice(0, -1), `${daemon.token}x`, daemon.token.toUpperCase()])
        t.deepEqual(await refusedEverywhere(daemon, library, { token }, PUBLIC), [])
      const { token } = daemon
      for (const headers of [
        { host: 'evil.example' },
        { origin: 'http://evil.example' },
        { origin: 'null' },
        { 'sec-fetch-site': 'cross-site' },
      ])
        t.deepEqual(await refusedEverywhere(daemon, library, { token, headers }), [], JSON.stringify(headers))
      for (const path of PUBLIC) {
        const { status, body } = await daemon.ask(path, { token: null })
        t.is(status, 200, path)
        t.false(body.includes(library) || body.includes('Secret') || body.includes(scene.directory), path)
      }
      t.is((await daemon.call('libraries.list')).length, 1)
    }),
  )

  test.serial(
    `${kind}: no operation runs without the token, in either language, alone, in a batch, or over a WebSocket`,
    (t) =>
      play(async (scene) => {
        const daemon = await scene.daemon({ env: { SPACEDRIVE_FRONT: kind } })
        const calls = Object.keys(PARAMS).map((method, id) => ({ jsonrpc: '2.0', id, method, params: {} }))
        const envelopes = Object.keys(COMPAT).map((method) => ({ Query: { method, library_id: null, payload: null } }))
        t.true(calls.length > 30 && envelopes.length > 10)
        const before = await daemon.status()
        for (const body of [...calls, calls.slice(0, LIMITS.batchRequestsMax), ...envelopes, 'Ping', 'Shutdown']) {
          const asking = { method: 'POST', token: null, body: JSON.stringify(body) }
          t.is((await daemon.ask('/rpc', asking)).status, 401, asking.body.slice(0, 80))
        }
        t.is(await upgradedOr(daemon, []), 401)
        t.is(await upgradedOr(daemon, ['spacedrive.v1', 'bearer.x']), 401)
        t.is(
          await upgradedOr(daemon, ['spacedrive.v1', `bearer.${daemon.token}`], { origin: 'http://evil.example' }),
          403,
        )
        t.is(await upgradedOr(daemon, ['spacedrive.v1', `bearer.${daemon.token}`]), 101)
        const after = await daemon.status()
        t.is(after.state, 'serving', 'nobody shut it down')
        t.is(after.pid, before.pid)
      }),
  )
}

test.serial('the token and the socket are for their owner alone', (t) =>
  play(async (scene) => {
    const daemon = await scene.daemon()
    const file = join(daemon.dataDir, 'token')
    t.is(statSync(file).mode & 0o777, 0o600)
    t.is(statSync(daemon.dataDir).mode & 0o077, 0)
    t.is(statSync(daemon.ready.socket).mode & 0o077, 0)
    t.true(Buffer.from(daemon.token, 'base64url').length >= 32, '256 bits')
  }),
)

/** The status that an upgrade is answered with. */
function upgradedOr(daemon: TestDaemon, protocols: string[], headers = {}): Promise<number> {
  const socket = new WebSocket(`ws://${daemon.url.host}/ws`, protocols, { headers })
  return new Promise((resolve, reject) => {
    socket.on('open', () => (socket.close(), resolve(101)))
    socket.on('unexpected-response', (request, response) => (request.destroy(), resolve(response.statusCode ?? 0)))
    socket.on('error', reject)
  })
}
