// Tokens with a scope: what each may ask, for every operation there is, and that nothing goes on with one that has ended.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import { OWNER, Tokens, type StoredToken } from '../../src/front/tokens.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { includes, PARAMS, scopeOf, type OperationName } from '../../src/protocol/operations.js'
import { SCOPES } from '../../src/protocol/words.js'
import { Events } from '../../src/shard/events.js'
import { open, type Daemon } from '../../src/index.js'
import { cli } from '../cli/fake.js'
import type { Loose } from '../harness/daemon.js'
import { kinds, pong, withStage } from './stage.js'

/** Asked first: tests may not be declared after a wait. */
const KINDS = await kinds()
const OPERATIONS = Object.keys(PARAMS) as OperationName[]
const IN_AN_HOUR = new Date(Date.now() + 3_600_000).toISOString()

/** What the operations that name a library have in common. */
const namesLibrary = (operation: OperationName) => {
  const { shape } = PARAMS[operation] as unknown as { shape: Record<string, unknown> }
  return 'library' in shape && operation !== 'events.subscribe'
}

test('each operation is refused to every scope below its own, and outside of the libraries of a token', (t) => {
  const tokens = new Tokens()
  for (const scope of SCOPES) {
    const all = tokens.callerOf(tokens.create({ name: scope, scope }).secret)!
    const one = tokens.callerOf(tokens.create({ name: `${scope} of one`, scope, libraries: ['mine'] }).secret)!
    for (const operation of OPERATIONS) {
      const may = includes(scope, scopeOf(operation))
      const code = (caller: typeof all, params: Record<string, unknown>) =>
        caller.refuses({ operation, params })?.code ?? 'asked'
      t.is(code(OWNER, {}), 'asked')
      t.is(code(all, namesLibrary(operation) ? { library: 'other' } : {}), may ? 'asked' : 'FORBIDDEN', operation)
      t.is(code(one, { library: 'other' }), 'FORBIDDEN', operation)
      if (namesLibrary(operation)) {
        t.is(code(one, { library: 'mine' }), may ? 'asked' : 'FORBIDDEN', operation)
        t.is(code(one, {}), 'FORBIDDEN', operation)
      }
    }
  }
  const of = (scope: string) => OPERATIONS.filter((operation) => scopeOf(operation) === scope).length
  t.true(SCOPES.every((scope) => of(scope) >= 10))
})

test('lines of the log are for who may do everything', (t) => {
  const tokens = new Tokens()
  for (const scope of SCOPES) {
    const caller = tokens.callerOf(tokens.create({ name: scope, scope }).secret)!
    const code = (types: string[]) => caller.refuses({ operation: 'events.subscribe', params: { types } })?.code
    t.is(code(['job.changed', 'log.line']), scope === 'admin' ? undefined : 'FORBIDDEN', scope)
    t.is(code(['job.changed']), undefined, scope)
  }
})

test('what a token for some libraries may ask without naming one is told here too', (t) => {
  const tokens = new Tokens()
  const one = tokens.callerOf(tokens.create({ name: 'one', scope: 'admin', libraries: ['mine'] }).secret)!
  const asked = OPERATIONS.filter((operation) => !one.refuses({ operation, params: {} }))
  t.deepEqual(asked, [
    'core.ping',
    'libraries.list',
    'rpc.discover',
    'rpc.cancel',
    'events.subscribe',
    'events.unsubscribe',
  ])
})

test('a token is stored as a digest, found again, and ends at its time; what cannot be stored is not given out', (t) => {
  let stored: readonly StoredToken[] = []
  const tokens = new Tokens((all) => (stored = all))
  const { secret, id } = tokens.create({ name: 'CI', scope: 'read', expiresAt: IN_AN_HOUR })
  t.false(JSON.stringify(stored).includes(secret))
  t.true(Buffer.from(secret.slice(3), 'base64url').length >= 32, '256 bits')
  t.is(tokens.callerOf(`${secret}x`), null)
  t.is(tokens.callerOf(stored[0]!.digest), null)
  t.truthy(tokens.callerOf(secret))
  tokens.storeUses()
  const again = new Tokens()
  again.load(JSON.parse(JSON.stringify(stored)))
  t.is(again.list()[0]!.usedAt, tokens.list()[0]!.usedAt)
  t.truthy(again.callerOf(secret))
  const over = new Tokens()
  over.load(stored.map((token) => ({ ...token, expiresAt: new Date(Date.now() - 1).toISOString() })))
  t.is(over.callerOf(secret), null)
  t.true(over.list()[0]!.expired)
  t.throws(() => tokens.create({ name: 'CI', scope: 'read' }), { code: 'BAD_REQUEST' })
  t.throws(() => tokens.create({ name: 'late', scope: 'read', expiresAt: '2020-01-01T00:00:00Z' }), {
    code: 'BAD_REQUEST',
  })
  t.throws(() => tokens.revoke('nobody'), { code: 'TOKEN_NOT_FOUND' })
  t.throws(() => again.load([{ id }]), { code: 'BAD_CONFIG' })
  const full = new Tokens(() => {
    throw new SpacedriveError('DISK_FULL', 'full')
  })
  t.throws(() => full.create({ name: 'x', scope: 'read' }), { code: 'DISK_FULL' })
  t.deepEqual(full.list(), [])
})

test('what cannot be stored as revoked is revoked, and said not to be stored until it is', (t) => {
  let isFull = false
  let stored: readonly StoredToken[] = []
  const tokens = new Tokens((all) => {
    if (isFull) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    stored = all
  })
  const { secret } = tokens.create({ name: 'lost', scope: 'read' })
  isFull = true
  for (let times = 0; times < 2; times++) t.throws(() => tokens.revoke('lost'), { code: 'DISK_FULL' })
  t.is(tokens.callerOf(secret), null)
  isFull = false
  tokens.revoke('lost')
  t.deepEqual(stored, [])
  t.throws(() => tokens.revoke('lost'), { code: 'TOKEN_NOT_FOUND' })
})

test('events of other libraries, and of none, are not told to who may see some only, nor kept for him', (t) => {
  const events = new Events()
  const { cursor } = events.follow({}, () => undefined)
  const mine = new Set(['mine'])
  const reading = events.follow({}, () => undefined, mine)
  reading.take(1)
  const at = new Date().toISOString()
  events.publish({ type: 'library.opened', at, library: 'mine' })
  events.publish({ type: 'library.opened', at, library: 'other' })
  events.publish({ type: 'descriptors.level', at })
  const told = reading.take(10_000).events.map(({ event }) => `${event.type} ${event.library ?? ''}`)
  t.deepEqual(told, ['library.opened mine'])
  t.is(events.follow({ cursor }, () => undefined, mine).take(10_000).events.length, 1)
  t.is(events.follow({ cursor }, () => undefined).take(10_000).events.length, 3)
})

const lists: Dispatch = (request, answer) => {
  if (request.operation !== 'libraries.list') return pong(request, answer)
  answer({ ok: true, json: JSON.stringify([{ id: 'mine' }, { id: 'other' }]) })
}

for (const kind of KINDS) {
  test(`${kind}: scopes hold over HTTP, in a batch and over a WebSocket, which ends with its token`, async (t) => {
    const tokens = new Tokens()
    const { secret: token, id } = tokens.create({ name: 'one', scope: 'read', libraries: ['mine'] })
    await withStage(kind, { tokens, dispatch: lists, metrics: () => 'figures' }, async (stage) => {
      const call = (method: OperationName, params = {}) => ({ jsonrpc: '2.0', id: 1, method, params })
      const calls = [call('core.ping'), call('core.shutdown'), call('libraries.info', { library: 'other' })]
      const answered = JSON.parse((await stage.rpc(calls, { token })).body) as { error?: { data: { code: string } } }[]
      t.deepEqual(
        answered.map(({ error }) => error?.data.code),
        [undefined, 'FORBIDDEN', 'FORBIDDEN'],
      )
      const listed = async (asking: object) => JSON.parse((await stage.rpc(call('libraries.list'), asking)).body).result
      t.deepEqual(await listed({ token }), [{ id: 'mine' }])
      t.is((await listed({})).length, 2)
      const basic = `Basic ${Buffer.from(`anybody:${token}`).toString('base64')}`
      t.is((await stage.rpc(call('core.ping'), { token: null, headers: { authorization: basic } })).status, 200)
      t.is((await stage.ask({ path: '/metrics', token })).status, 403)
      t.is((await stage.ask({ path: '/metrics' })).body, 'figures')
      const feed = await stage.feed(['spacedrive.v1', `bearer.${token}`])
      const owned = await stage.feed()
      const told = new Promise<string>((resolve) => feed.once('message', (text) => resolve(String(text))))
      feed.send(JSON.stringify(call('tags.create', { library: 'mine', name: 'x' })))
      t.is(JSON.parse(await told).error.data.code, 'FORBIDDEN')
      const closed = new Promise<number>((resolve) => feed.once('close', resolve))
      tokens.revoke(id)
      t.is(await closed, 4001)
      t.is((await stage.rpc(call('core.ping'), { token })).status, 401)
      t.is(owned.readyState, owned.OPEN)
      owned.terminate()
    })
  })
}

test('tokens are made, listed and revoked by command, and outlive the daemon', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sd-tokens-'))
  const options = { dataDir, socket: true, http: '127.0.0.1:0', shards: 1 } as const
  const run = (...words: string[]) => cli(['token', ...words, '--data-dir', dataDir])
  let secret = ''
  {
    await using daemon = await open(options)
    const { id: library } = await daemon.call('libraries.create', { name: 'Photos' })
    secret = (await run('create', 'viewer', '--library', 'photos', '--expires', '30d')).out.trim()
    t.regex(secret, /^sd_/)
    t.is((await call(daemon, secret, 'libraries.info', { library })).result.name, 'Photos')
    t.is((await call(daemon, secret, 'libraries.delete', { library })).error.data.code, 'FORBIDDEN')
    const nowhere = daemon.call('tokens.create', { name: 'x', scope: 'read', libraries: ['nope'] })
    await t.throwsAsync(nowhere, { code: 'LIBRARY_NOT_FOUND' })
    const file = async (of: string) => (await ask(daemon, secret, `/libraries/${of}/files/1`)).status
    t.is(await file(library), 404)
    t.is(await file('other'), 403)
    t.regex((await run('list')).out, /viewer +read +Photos +\d{4}-/)
  }
  const stored = join(dataDir, 'tokens.json')
  t.is(statSync(stored).mode & 0o777, 0o600)
  t.false(readFileSync(stored, 'utf8').includes(secret))
  {
    await using daemon = await open(options)
    const lines: unknown[] = []
    daemon.subscribe({ types: ['log.line'] }, (event) => lines.push(event['message']))
    t.is((await call(daemon, secret, 'core.ping')).result, 'pong')
    t.regex((await run('revoke', 'viewer')).out, /revoked/)
    t.deepEqual(lines, ['a token was revoked'], 'the log is told as it is written')
    t.is((await ask(daemon, secret, '/rpc', {})).status, 401)
  }
  writeFileSync(stored, 'nonsense')
  const refused = await t.throwsAsync(open(options), { code: 'BAD_CONFIG' })
  t.regex((refused as SpacedriveError).hint, /newer version/)
  rmSync(dataDir, { recursive: true })
})

function ask({ http }: Daemon, token: string, path: string, body?: object): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return fetch(http + path, body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers })
}

async function call(daemon: Daemon, token: string, method: OperationName, params = {}): Promise<Loose> {
  return (await ask(daemon, token, '/rpc', { jsonrpc: '2.0', id: 1, method, params })).json()
}
