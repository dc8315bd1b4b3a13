// The line protocol of a real daemon, spoken by a client as small as Spacedrive's.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { thisDevice } from '../../src/compat/device.js'
import { REFRESH, SHUTDOWN, wantedBy } from '../../src/compat/events.js'
import { openLines } from '../../src/compat/line-front.js'
import { configure } from '../../src/config.js'
import type { FrontSetup } from '../../src/front/front.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { Events } from '../../src/shard/events.js'
import { CountedSlots } from '../front/stage.js'
import { cli, eventually, sleep, startDaemon, within, type Loose, type TestDaemon } from '../harness/daemon.js'

const WAIT_MS = 30_000
const folder = mkdtempSync(join(tmpdir(), 'sd-lines-'))
const tree = join(folder, 'tree')
let daemon: TestDaemon

test.before(async () => {
  mkdirSync(tree)
  for (const name of ['a', 'b', 'c']) writeFileSync(join(tree, name), name)
  daemon = await startDaemon(join(folder, 'daemon'), { args: ['--line-protocol', '127.0.0.1:0'] })
})

test.after.always(async () => {
  await daemon?.stop()
  rmSync(folder, { recursive: true })
})

/** One connection: what came so far, line by line. */
class Caller {
  readonly socket: net.Socket
  readonly lines: Loose[] = []
  closed = false
  #text = ''

  constructor(to = daemon, options: { allowHalfOpen?: boolean } = {}) {
    const [host, port] = (to.ready.lineProtocol as string).split(':')
    this.socket = net.connect({ host: host!, port: Number(port), ...options })
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => (this.closed = true))
    this.socket.on('data', (part) => {
      this.#text += part.toString()
      const whole = this.#text.split('\n')
      this.#text = whole.pop()!
      for (const line of whole) this.lines.push(JSON.parse(line))
    })
  }

  say(...messages: unknown[]): this {
    this.socket.write(messages.map((each) => `${JSON.stringify(each)}\n`).join(''))
    return this
  }

  /** What has come when the daemon has closed. */
  async end(): Promise<Loose[]> {
    await eventually('the daemon closes', WAIT_MS, () => this.closed)
    return this.lines
  }

  async line(isIt: (line: Loose) => boolean): Promise<Loose> {
    const { found } = await eventually('the line comes', WAIT_MS, () => {
      const found = this.lines.find(isIt)
      return found === undefined ? null : { found }
    })
    return found
  }
}

const query = (method: string, payload: unknown = null, library_id: string | null = null) => ({
  Query: { method: `query:${method}`, library_id, payload },
})
const subscribe = (event_types: string[], filter: object | null = null) => ({ Subscribe: { event_types, filter } })
const eventOf = (name: string) => (line: Loose) =>
  line.Event !== undefined && (line.Event === name || name in line.Event)

async function make(name: string): Promise<string> {
  const envelope = { Action: { method: 'action:libraries.create.input', payload: { name } } }
  const [made] = await new Caller().say(envelope).end()
  return made.JsonOk.library_id
}

test('one request is answered by one line, and the daemon closes', async (t) => {
  t.deepEqual(await new Caller().say('Ping').end(), ['Pong'])
  const [listed] = await new Caller().say(query('libraries.list', { include_stats: false })).end()
  t.true(Array.isArray(listed.JsonOk))
})

test('in a crowd a connection that asks once is as one over HTTP, and one that asks on and on is a client of its own', async (t) => {
  const callers: (object | undefined)[] = []
  const dispatch: Dispatch = (_, answer, caller) => {
    callers.push(caller)
    answer({ ok: true, json: '"pong"' })
  }
  const here = { device: thisDevice(folder), dataDir: folder }
  const front = await openLines(aside(dispatch), { host: '127.0.0.1', port: 0 }, here, () => () => undefined)
  front.desk.state = 'serving'
  const to = { ready: { lineProtocol: front.address } } as TestDaemon
  for (let count = 0; count < 2; count++) t.is((await new Caller(to).say('Ping', 'Ping', 'Ping').end()).length, 3)
  await front.drain(0)
  const [first, second, third, other, another] = callers
  t.true(isOnlyOnce(first) && isOnlyOnce(other) && first !== other)
  t.true(second !== undefined && !isOnlyOnce(second) && second === third)
  t.true(another !== undefined && another !== second)
})

test('lines that came whole before the daemon stops are answered in order, those that were not begun with a refusal', async (t) => {
  let begun = 0
  const dispatch: Dispatch = (_, answer) => {
    begun += 1
    answer({ ok: true, json: '"pong"' })
    if (begun === 3) setImmediate(() => (draining = front.drain(1_000)))
  }
  let draining: Promise<void> | null = null
  const front = await openLines(
    aside(dispatch),
    { host: '127.0.0.1', port: 0 },
    { device: thisDevice(folder), dataDir: folder },
    () => () => undefined,
  )
  front.desk.state = 'serving'
  const caller = new Caller({ ready: { lineProtocol: front.address } } as TestDaemon)
  const told = await caller.say(...Array.from({ length: 40 }, () => 'Ping')).end()
  await draining
  t.is(told.length, 40)
  t.true(told.slice(0, 3).every((line) => line === 'Pong'))
  t.true(told.slice(begun).every((line) => 'CoreUnavailable' in (line as { Error: object }).Error))
})

function aside(dispatch: Dispatch): FrontSetup {
  return {
    implementation: 'node',
    http: null,
    socketPath: null,
    token: '',
    hostsAllowed: [],
    slots: new CountedSlots(10),
    dispatch,
    publisher: new Events(),
    log: () => undefined,
  }
}

const isOnlyOnce = (caller: object | undefined) => caller !== undefined && 'onlyOnce' in caller

test('a request may come in parts, and end where its sender closes its side', async (t) => {
  const caller = new Caller(daemon, { allowHalfOpen: true })
  for (const part of ['{"Query":{"meth', 'od":"query:test.ping","payload":{"message":"gr\u00fc']) {
    caller.socket.write(part)
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  const bytes = Buffer.from('\u00df"}}}')
  caller.socket.write(bytes.subarray(0, 1))
  await new Promise((resolve) => setTimeout(resolve, 30))
  caller.socket.end(bytes.subarray(1))
  const [answer] = await caller.end()
  t.is(answer.JsonOk.echo, 'gr\u00fc\u00df')
})

test('who closes its side without a word is closed, as is who closes it after its request is answered', async (t) => {
  const silent = new Caller(daemon, { allowHalfOpen: true })
  silent.socket.end()
  t.deepEqual(await silent.end(), [])
  const asking = new Caller(daemon, { allowHalfOpen: true })
  asking.socket.end('"Ping"\n')
  t.deepEqual(await asking.end(), ['Pong'])
})

test('lines that came together are answered in their order', async (t) => {
  const pings = Array.from({ length: 50 }, (_, count) => query('test.ping', { message: 'x', count }))
  const lines = await new Caller().say(...pings).end()
  t.deepEqual(
    lines.map(({ JsonOk }) => JsonOk.count),
    pings.map((_, count) => count),
  )
})

test('more lines than are kept at a time are all answered', async (t) => {
  const message = 'x'.repeat(100_000)
  const lines = await new Caller().say(...Array.from({ length: 40 }, () => query('test.ping', { message }))).end()
  t.is(lines.length, 40)
})

test('of lines in which nothing is, as many as there may be hold nobody up', async (t) => {
  const blank = Array.from({ length: 8 }, () => new Caller())
  for (const { socket } of blank) socket.write('\n'.repeat(LIMITS.bodyBytesMax))
  t.deepEqual(await new Caller().say('Ping').end(), ['Pong'])
  t.is(await daemon.call('core.ping'), 'pong')
  for (const { socket } of blank) socket.destroy()
})

test('what is no request is told so, and ends the connection', async (t) => {
  const told = async (bytes: string | Buffer) => {
    const caller = new Caller()
    caller.socket.write(bytes)
    const lines = await caller.end()
    t.is(lines.length, 1)
    return lines[0].Error
  }
  t.regex((await told('{"Query":\n"Ping"\n')).SerializationError, /JSON/)
  t.regex((await told('"Nope"\n')).SerializationError, /unknown variant/)
  t.regex((await told(Buffer.from([0x22, 0xff, 0x22, 0x0a]))).SerializationError, /UTF-8/)
  t.regex((await told(`${JSON.stringify(query('nope'))}\n`)).OperationFailed, /^Unknown method: query:nope$/)
  const forged = 'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n"Shutdown"\n'
  t.regex((await told(forged)).SecurityError, /HTTP/)
  t.is(await daemon.call('core.ping'), 'pong')
})

test('a line without an end is refused once it is longer than a request may be', async (t) => {
  const caller = new Caller()
  caller.socket.write(`"${'x'.repeat(LIMITS.bodyBytesMax + 1)}`)
  const [{ Error: error }] = await caller.end()
  t.truthy(error.RequestTooLarge)
})

test('who says nothing is told and closed after its time', async (t) => {
  const [{ Error: error }] = await new Caller().end()
  t.truthy(error.ReadError)
})

test('whoever follows is told of libraries, locations, files, jobs and tags, and of nothing it did not ask for', async (t) => {
  const all = new Caller().say(subscribe([]))
  const jobs = new Caller().say(subscribe(['JobCompleted']))
  const tags = new Caller().say(subscribe([], { resource_type: 'tag' }))
  for (const caller of [all, jobs, tags]) await caller.line((line) => line === 'Subscribed')
  const id = await make('Followed')
  t.like(await all.line((line) => line.Event?.LibraryCreated?.id === id), {
    Event: { LibraryCreated: { name: 'Followed' } },
  })
  const { location, job } = await daemon.call('locations.add', { library: id, path: tree })
  await daemon.jobDone(id, job)
  await all.line((line) => line.Event?.LocationAdded?.location_id === location)
  const changed = await all.line((line) => line.Event?.ResourceChanged?.resource.id === location)
  t.is(changed.Event.ResourceChanged.resource_type, 'location')
  const files = await all.line((line) => line.Event?.ResourceChangedBatch?.resource_type === 'file')
  t.true(files.Event.ResourceChangedBatch.resources.some(({ name }: Loose) => name === 'a'))
  await all.line((line) => line.Event?.JobStarted?.job_id === job)
  await jobs.line((line) => line.Event?.JobCompleted?.job_id === job)
  const tag = await daemon.call('tags.create', { library: id, name: 'Followed' })
  await tags.line((line) => line.Event?.ResourceChanged?.resource.id === tag.id)
  await daemon.call('tags.delete', { library: id, tag: tag.id })
  await tags.line((line) => line.Event?.ResourceDeleted?.resource_id === tag.id)
  await daemon.call('locations.remove', { library: id, location })
  await all.line((line) => line.Event?.LocationRemoved?.location_id === location)
  t.true(jobs.lines.slice(1).every(eventOf('JobCompleted')))
  t.true(tags.lines.slice(1).every(({ Event: event }) => Object.values<Loose>(event)[0].resource_type === 'tag'))
  for (const caller of [all, jobs, tags]) caller.socket.destroy()
})

test('what an event costs for one who follows is not up to how many types it named', (t) => {
  let looks = 0
  const types = new Proxy([...Array.from({ length: 100_000 }, String), REFRESH.name], {
    get: (all, key) => ((looks += 1), Reflect.get(all, key)),
  })
  const wanted = wantedBy(types, {}, { device: thisDevice(folder), dataDir: folder })
  looks = 0
  t.true(wanted(REFRESH))
  t.false(wanted(SHUTDOWN))
  t.is(looks, 0)
})

test('who wants what is of files hears that all of it may be old', (t) => {
  const here = { device: thisDevice(folder), dataDir: folder }
  const wanted = wantedBy(['ResourceChanged', REFRESH.name], { resource_type: 'file' }, here)
  t.true(wanted(REFRESH))
  t.false(wanted({ ...REFRESH, name: 'ResourceChanged', resource: 'tag' }))
})

test('a filter keeps to a library, a path and a job', async (t) => {
  const [one, other] = [await make('One'), await make('Other')]
  const ofOne = new Caller().say(subscribe([], { library_id: one }))
  const elsewhere = { Physical: { device_slug: 'local', path: '/elsewhere' } }
  const ofPath = new Caller().say(subscribe(['FilesModified'], { path_scope: elsewhere, include_descendants: true }))
  const scope = { Physical: { device_slug: 'local', path: folder } }
  const ofTree = new Caller().say(subscribe(['FilesModified'], { path_scope: scope, include_descendants: true }))
  for (const caller of [ofOne, ofPath, ofTree]) await caller.line((line) => line === 'Subscribed')
  for (const library of [other, one]) {
    const { job } = await daemon.call('locations.add', { library, path: tree })
    await daemon.jobDone(library, job)
  }
  await ofOne.line((line) => line.Event?.FilesModified?.library_id === one)
  await ofTree.line((line) => line.Event?.FilesModified?.library_id === one)
  t.false(ofOne.lines.some(({ Event: event }) => event?.FilesModified?.library_id === other))
  t.false(ofPath.lines.some((line) => line.Event?.FilesModified?.paths.includes(tree)))
  const wrong = await new Caller().say(subscribe([], { library_id: 7 })).end()
  t.truthy(wrong[0].Error.SerializationError)
  for (const caller of [ofOne, ofPath, ofTree]) caller.socket.destroy()
})

test('who subscribes is told what happened a moment before, and who ends it is closed', async (t) => {
  // The machine may take longer than the moment: then it is tried again.
  const again = await eventually('it is told of what was', WAIT_MS, async () => {
    const id = await make('Before')
    const caller = new Caller().say(subscribe(['LibraryCreated']))
    await caller.line((line) => line === 'Subscribed')
    const isTold = () => caller.lines.some((line) => line.Event?.LibraryCreated?.id === id)
    await eventually('it came, or another did after it', WAIT_MS, async () => isTold() || (await make('After')) !== '')
    caller.say('Unsubscribe')
    const lines = await caller.end()
    return isTold() && lines
  })
  t.is(again.at(0), 'Subscribed')
  t.is(again.at(-1), 'Unsubscribed')
})

test('who follows may ask as well, and who comes back follows again', async (t) => {
  const caller = new Caller().say(subscribe(['LibraryCreated']))
  await caller.line((line) => line === 'Subscribed')
  caller.say('Ping')
  await caller.line((line) => line === 'Pong')
  const first = await make('Again')
  await caller.line((line) => line.Event?.LibraryCreated?.id === first)
  caller.socket.destroy()
  const back = new Caller().say(subscribe(['LibraryCreated']))
  const second = await make('And again')
  await back.line((line) => line.Event?.LibraryCreated?.id === second)
  t.false(back.closed)
  back.socket.destroy()
})

test('who closed its side to end its line may follow, and is missed when it is gone', async (t) => {
  const caller = new Caller(daemon, { allowHalfOpen: true })
  caller.socket.end(JSON.stringify(subscribe(['LibraryCreated'])))
  await caller.line((line) => line === 'Subscribed')
  const id = await make('Half')
  await caller.line((line) => line.Event?.LibraryCreated?.id === id)
  const isThere = async (localPort = caller.socket.localPort) => {
    const { holders } = await daemon.watch('core.descriptors')
    return holders.some(({ detail }: Loose) => detail.endsWith(`:${localPort} line`))
  }
  t.true(await isThere())
  // Looked after meanwhile, and more than once.
  await sleep(2_500)
  const other = await make('Half again')
  await caller.line((line) => line.Event?.LibraryCreated?.id === other)
  caller.socket.destroy()
  // One to whom nothing is ever written.
  const quiet = new Caller(daemon, { allowHalfOpen: true })
  quiet.socket.end(JSON.stringify(subscribe(['Nothing'])))
  await quiet.line((line) => line === 'Subscribed')
  const port = quiet.socket.localPort
  t.true(await isThere(port))
  quiet.socket.resetAndDestroy()
  await eventually('its slot is given back', WAIT_MS, async () => !(await isThere(port)))
})

test('the log is told line by line, as far as it was asked for', async (t) => {
  const follow = (filter: object | null) => new Caller().say({ SubscribeLogs: { filter } })
  const [all, errors, others] = [follow(null), follow({ level: 'error' }), follow({ target: 'sd_core' })]
  for (const caller of [all, errors, others]) await caller.line((line) => line === 'LogsSubscribed')
  await daemon.call('tokens.create', { name: 'told of', scope: 'read' })
  const { LogMessage: line } = await all.line((each) => /"told of" was made/.test(each.LogMessage?.message))
  t.like(line, { level: 'INFO', target: 'spacedrive', job_id: null, library_id: null })
  t.true(Math.abs(Date.parse(line.timestamp) - Date.now()) < WAIT_MS)
  for (const caller of [errors, others])
    t.deepEqual(await caller.say('UnsubscribeLogs').end(), ['LogsSubscribed', 'LogsUnsubscribed'])
  const [{ Error: error }] = await new Caller().say({ SubscribeLogs: { filter: { level: 7 } } }).end()
  t.regex(error.SerializationError, /filter/)
  all.socket.destroy()
})

test('its connections are counted, named, and given back', async (t) => {
  const caller = new Caller().say(subscribe([]))
  await caller.line((line) => line === 'Subscribed')
  const { holders, unaccounted } = await daemon.watch('core.descriptors')
  const mine = holders.filter(({ detail }: Loose) => detail.endsWith(' line'))
  t.true(mine.length >= 1)
  t.true(mine.every((each: Loose) => each.class === 'clients'))
  t.true(holders.some(({ holder, detail }: Loose) => holder === 'listener' && detail === daemon.ready.lineProtocol))
  t.false(unaccounted.some(({ target }: Loose) => target.startsWith('socket')))
  caller.socket.destroy()
  await eventually('its slot is given back', WAIT_MS, async () => {
    const { connections, descriptors } = await daemon.status()
    return connections.current === descriptors.classes.clients.used + descriptors.classes.control.used
  })
})

test('at the limit who is refused is told why, and the others go on', async (t) => {
  const few = await startDaemon(join(folder, 'few'), {
    args: ['--line-protocol', '127.0.0.1:0', '--max-connections', '4'],
  })
  try {
    const inside = Array.from({ length: 4 }, () => new Caller(few).say(subscribe([])))
    for (const each of inside) await each.line((line) => line === 'Subscribed')
    const outside = Array.from({ length: 20 }, () => new Caller(few))
    for (const each of outside) {
      const [{ Error: error }] = await each.end()
      t.regex(error.CoreUnavailable, /CONNECTION_LIMIT/)
    }
    t.true(inside.every(({ closed }) => !closed))
    const { refused, current } = (await few.status()).connections
    t.true(refused >= 20)
    t.true(current >= 4)
    for (const each of inside.slice(1)) each.socket.destroy()
    await eventually('there is room again', WAIT_MS, async () => {
      const [answer] = await new Caller(few).say('Ping').end()
      return answer === 'Pong'
    })
    const [last] = inside
    t.deepEqual(await new Caller(few).say('Shutdown').end(), [{ Ok: [] }])
    await last!.line(eventOf('CoreShutdown'))
    t.is((await within(WAIT_MS, 'it is gone', few.exited)).code, 0)
  } finally {
    await few.stop().catch(() => undefined)
  }
})

test('who never reads costs no more than its bound, and the daemon goes on', async (t) => {
  const deaf = new Caller()
  deaf.socket.pause()
  deaf.say(subscribe([]), ...Array.from({ length: 30 }, () => query('core.events.list')))
  t.deepEqual(await new Caller().say('Ping').end(), ['Pong'])
  deaf.socket.destroy()
  t.is(await daemon.call('core.ping'), 'pong')
})

test('of a port that is taken the option that set it is named', (t) => {
  const where = ['--data-dir', join(folder, 'taken'), '--http', 'off', '--shards', '1']
  const { code, err } = cli(['start', ...where, '--line-protocol', daemon.ready.lineProtocol])
  t.is(code, 1)
  t.regex(err, /^error ADDRESS_IN_USE: .+\nhint: .*--line-protocol/m)
  t.notRegex(err, /--http/)
})

test('another address than the loopback has to be allowed', (t) => {
  const dataDir = join(folder, 'config')
  const of = (more: object) => configure({ dataDir, env: {}, flags: more })
  const anywhere = { lineProtocol: { host: '0.0.0.0', port: 6969 } }
  t.throws(() => of(anywhere), { code: 'BAD_CONFIG' })
  t.is(of({ ...anywhere, lineProtocolRemote: true }).lineProtocol?.host, '0.0.0.0')
  for (const host of ['127.0.0.1', '127.3.2.1', '::1', 'localhost']) {
    t.is(of({ lineProtocol: { host, port: 1 } }).lineProtocol?.host, host)
  }
  t.throws(() => of({ lineProtocol: { host: '127.0.0.1.example', port: 1 } }), { code: 'BAD_CONFIG' })
})
