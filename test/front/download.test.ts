// GET /libraries/LIBRARY/files/ID: the bytes as they are on disk, and nothing that is not a file of a location.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { Desk } from '../../src/front/desk.js'
import { Download } from '../../src/front/download.js'
import { Files } from '../../src/front/files.js'
import type { Seat } from '../../src/front/gate.js'
import type { Conditions } from '../../src/front/ranges.js'
import { OWNER } from '../../src/front/tokens.js'
import { eventually, type TestDaemon } from '../harness/daemon.js'
import { play, type Scene } from '../harness/scene.js'
import { Bell, CountedSlots, kinds, type Kind } from './stage.js'

interface Got {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
}

/** Asked first: tests may not be declared after a wait. */
const KINDS = await kinds()

for (const front of KINDS) {
  test.serial(`${front}: a file comes whole, in ranges, and not at all where the client has it`, async (t) => {
    await play(async (scene) => {
      const content = randomBytes(3_000_000)
      const { get } = await indexed(scene, front, { 'a "file" é.bin': content, empty: Buffer.alloc(0) })
      const whole = await get('a "file" é.bin')
      t.is(whole.status, 200)
      t.true(whole.body.equals(content))
      t.like(whole.headers, {
        'accept-ranges': 'bytes',
        'x-content-type-options': 'nosniff',
        'content-disposition': `inline; filename="a _file_ _.bin"; filename*=UTF-8''a%20%22file%22%20%C3%A9.bin`,
      })
      t.regex(String(whole.headers['content-security-policy']), /sandbox/)
      t.regex((await get('empty', {}, '?download')).headers['content-disposition']!, /^attachment; /)

      const range = async (value: string, further = {}) => await get('a "file" é.bin', { range: value, ...further })
      const part = await range('bytes=1000000-1999999')
      t.is(part.status, 206)
      t.is(part.headers['content-range'], 'bytes 1000000-1999999/3000000')
      t.true(part.body.equals(content.subarray(1_000_000, 2_000_000)))
      t.true((await range('bytes=-10')).body.equals(content.subarray(-10)))
      const outside = await range('bytes=3000000-')
      t.like(outside, { status: 416, body: Buffer.alloc(0) })
      t.is(outside.headers['content-range'], 'bytes */3000000')

      const several = await range('bytes=0-4,2999990-')
      t.is(several.status, 206)
      const boundary = /boundary=(.+)$/.exec(several.headers['content-type']!)![1]!
      const type = whole.headers['content-type']!
      const expected = [
        `--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: bytes 0-4/3000000\r\n\r\n`,
        content.subarray(0, 5),
        `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: bytes 2999990-2999999/3000000\r\n\r\n`,
        content.subarray(-10),
        `\r\n--${boundary}--\r\n`,
      ]
      t.true(several.body.equals(Buffer.concat(expected.map((each) => Buffer.from(each as string)))))

      const etag = String(whole.headers.etag)
      t.like(await get('a "file" é.bin', { 'if-none-match': `"other", W/${etag}` }), {
        status: 304,
        body: Buffer.alloc(0),
      })
      t.is((await get('a "file" é.bin', { 'if-none-match': '"other"' })).status, 200)
      const modified = String(whole.headers['last-modified'])
      t.is((await get('a "file" é.bin', { 'if-modified-since': modified })).status, 304)
      t.is((await range('bytes=0-1', { 'if-match': `"other", ${etag}` })).status, 206)
      t.is(
        (await range('bytes=0-1', { 'if-match': '*', 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' })).status,
        206,
      )
      t.is((await range('bytes=0-1', { 'if-unmodified-since': modified })).status, 206)
      for (const rest of [
        { 'if-match': '"other"' },
        { 'if-match': `W/${etag}` },
        { 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' },
      ])
        t.like(await range('bytes=2-', rest), { status: 412, body: Buffer.alloc(0) }, JSON.stringify(rest))
      t.is((await range('bytes=0-1', { 'if-range': etag })).status, 206)
      t.is((await range('bytes=0-1', { 'if-range': modified })).status, 206)
      t.is((await range('bytes=0-1', { 'if-range': '"other"' })).status, 200)

      const empty = await get('empty')
      t.like(empty, { status: 200, body: Buffer.alloc(0) })
      t.is(empty.headers['content-length'], '0')
      t.is((await get('empty', { range: 'bytes=0-' })).status, 416)
    })
  })

  test.serial(`${front}: who asks for what is no file of a location is told so`, async (t) => {
    await play(async (scene) => {
      const { daemon, library, get, url } = await indexed(scene, front, {
        'sub/one': Buffer.from('one'),
        two: Buffer.from('two'),
      })
      const tree = scene.path('tree')
      const code = (got: Got) => JSON.parse(got.body.toString()).code
      const directory = await daemon.call('files.get', { library, path: join(tree, 'sub') })
      t.is(code(await ask(daemon, `/libraries/${library}/files/${directory.id}`)), 'PATH_REFUSED')
      t.is((await ask(daemon, `/libraries/${library}/files/999999`)).status, 404)
      t.is(code(await ask(daemon, '/libraries/other/files/1')), 'LIBRARY_NOT_FOUND')
      t.is((await ask(daemon, '/libraries/../files/1')).status, 404)
      const one = await url('sub/one')
      t.is((await ask(daemon, one, {}, { authorization: '' })).status, 401)
      t.is((await ask(daemon, one, { method: 'DELETE' })).status, 405)
      const head = await ask(daemon, one, { method: 'HEAD' })
      t.like(head, { status: 200, body: Buffer.alloc(0) })
      t.is(head.headers['content-length'], '3')

      mkdirSync(scene.path('elsewhere'))
      writeFileSync(scene.path('elsewhere/one'), 'a secret')
      renameSync(join(tree, 'sub'), scene.path('moved'))
      symlinkSync(scene.path('elsewhere'), join(tree, 'sub'))
      t.is(code(await get('sub/one')), 'PATH_REFUSED')
      rmSync(join(tree, 'sub'))
      symlinkSync(scene.path('moved'), join(tree, 'sub'))
      t.is(code(await get('sub/one')), 'PATH_REFUSED', 'not even to the same file')
      rmSync(join(tree, 'two'))
      t.is(code(await get('two')), 'FILE_NOT_FOUND')
      symlinkSync(scene.path('elsewhere/one'), join(tree, 'two'))
      t.is(code(await get('two')), 'PATH_REFUSED')
      rmSync(join(tree, 'two'))
      t.is(spawnSync('mkfifo', [join(tree, 'two')]).status, 0)
      t.is(code(await get('two')), 'PATH_REFUSED')
      rmSync(join(tree, 'two'))
      writeFileSync(join(tree, 'two'), 'saved anew')
      t.is((await get('two')).body.toString(), 'saved anew', 'another file of that path, as editors make it')
    })
  })

  test.serial(`${front}: a name that is not UTF-8 is found by its bytes, and no open library is read`, async (t) => {
    await play(async (scene) => {
      const tree = scene.path('tree')
      const odd = Buffer.concat([Buffer.from(`${tree}/`), Buffer.of(0x66, 0xff, 0xfe)])
      mkdirSync(tree)
      mkdirSync(odd)
      writeFileSync(Buffer.concat([odd, Buffer.from('/inside')]), 'found')
      const daemon = await scene.daemon({ args: ['--front', front] })
      const { library, location } = await daemon.index('library', tree)
      const { items } = await daemon.call('search.files', { library, query: 'inside' })
      const { path, pathBytes, id } = items[0]
      t.true(path.endsWith('\ufffd\ufffd/inside'))
      t.true(Buffer.from(pathBytes, 'base64').equals(Buffer.concat([odd, Buffer.from('/inside')])))
      t.is((await ask(daemon, `/libraries/${library}/files/${id}`)).body.toString(), 'found')

      const { path: folder } = await daemon.call('libraries.info', { library })
      linkSync(join(folder, 'library.db'), join(tree, 'database'))
      const { job } = await daemon.call('locations.rescan', { library, location })
      await daemon.jobDone(library, job)
      const database = await daemon.call('files.get', { library, path: join(tree, 'database') })
      const refused = await ask(daemon, `/libraries/${library}/files/${database.id}`)
      t.is(JSON.parse(refused.body.toString()).code, 'PATH_REFUSED')
      t.is((await daemon.call('search.files', { library, query: 'inside' })).total, 1)
    })
  })

  test.serial(
    `${front}: a slow reader holds no descriptor of the file; one that changed meanwhile is not sent on`,
    async (t) => {
      await play(async (scene) => {
        const content = randomBytes(40_000_000)
        const { daemon, url } = await indexed(scene, front, { large: content })
        const path = await url('large')
        const opened = () => daemon.descriptors().filter((target) => target.endsWith('/large')).length
        const slow = await Promise.all(Array.from({ length: 20 }, () => stalled(daemon, path)))
        t.true(slow.every(({ statusCode }) => statusCode === 200))
        await eventually('no descriptor of the file is open', 20_000, () => opened() === 0)
        t.is((await daemon.status()).descriptors.classes.jobs.refused, 0)
        for (const response of slow.slice(0, 3)) t.true((await read(response)).equals(content))
        for (const response of slow.slice(3, 10)) response.destroy()

        writeFileSync(scene.path('tree/large'), randomBytes(1_000))
        utimesSync(scene.path('tree/large'), 1, 1)
        for (const response of slow.slice(10)) await t.throwsAsync(read(response), { message: /aborted/ })
        await eventually('nothing of it is open', 20_000, () => opened() === 0)
        t.is((await ask(daemon, path)).body.length, 1_000)
        t.is((await daemon.status()).descriptors.unaccounted, 0)
      })
    },
  )

  test.serial(`${front}: nothing is kept for who has gone before the answers to what it asked at once`, async (t) => {
    await play(async (scene) => {
      const { daemon, url } = await indexed(scene, front, { large: randomBytes(3_000_000) })
      const head = `Host: ${daemon.url.host}\r\nAuthorization: Bearer ${daemon.token}\r\n\r\n`
      const client = net.connect(daemon.port, '127.0.0.1').on('error', () => undefined)
      client.write(`GET ${await url('large')} HTTP/1.1\r\n${head}`.repeat(6))
      // Which uWebSockets ends by itself.
      await Promise.race([once(client, 'close'), unreadIs(daemon, (bytes) => bytes >= 5 * LIMITS.filePartBytes)])
      client.destroy()
      await unreadIs(daemon, (bytes) => bytes === 0)
      t.is((await daemon.status()).descriptors.unaccounted, 0)
    })
  })
}

function unreadIs(daemon: TestDaemon, isSo: (bytes: number) => boolean): Promise<unknown> {
  return eventually('as much is unread', 20_000, async () => isSo((await daemon.status()).connections.unreadBytes))
}

test.serial('who reads faster than a file can be read keeps no place from those who wait for one', async (t) => {
  await play(async (scene) => {
    const [large, small] = [scene.path('large'), scene.path('small')]
    for (const path of [large, small]) writeFileSync(path, 'x')
    truncateSync(large, 2 ** 40)
    const files = new Files(Ledger.create(plan({ soft: 1_000, base: 0, connectionsMax: 'auto' })))
    const desk = deskFor((id) => ({ id, path: id === 'large' ? large : small, name: id, kind: 'file', size: 1 }))
    const downloads: Download[] = []
    /** Resolves when it is through; takes whatever is written at once. */
    const begin = (id: string) =>
      new Promise<void>((resolve) => {
        const request = { library: 'one', id, headOnly: false, saves: false, conditions: {} as Conditions }
        const written = () => ((parts += 1), true)
        const sink = {
          refuse: () => t.fail(),
          begin: () => undefined,
          write: written,
          unsent: () => 0,
          cut: resolve,
          done: resolve,
        }
        const download = new Download(desk, files, request, sink)
        downloads.push(download)
        download.begin({ mayRun: () => true } as unknown as Seat, OWNER)
      })
    let parts = 0
    const greedy = Array.from({ length: LIMITS.filesOpenMax }, () => begin('large'))
    while (parts < 10 * LIMITS.filesOpenMax) await turn()
    let isThrough = false
    void begin('small').then(() => (isThrough = true))
    const until = parts + 20 * LIMITS.filesOpenMax
    while (!isThrough && parts < until) await turn()
    t.true(isThrough)
    for (const download of downloads) download.abandon()
    await Promise.all(greedy)
    desk.deadlines.stop()
    desk.accept.stop()
  })
})

test.serial('for who has gone before it is their turn nothing is opened', async (t) => {
  await play(async (scene) => {
    const path = scene.path('file')
    writeFileSync(path, 'x')
    const ledger = Ledger.create(plan({ soft: 1_000, base: 0, connectionsMax: 'auto' }))
    let leases = 0
    const acquire = ledger.acquire.bind(ledger)
    ledger.acquire = (...of) => ((leases += 1), acquire(...of))
    const desk = deskFor((id) => ({ id, path, name: id, kind: 'file', size: 1 }))
    const files = new Files(ledger)
    const begin = (done: () => void) => {
      const request = { library: 'one', id: 'file', headOnly: false, saves: false, conditions: {} as Conditions }
      const ignored = () => undefined
      const sink = { refuse: () => t.fail(), begin: ignored, write: () => true, unsent: () => 0, cut: ignored, done }
      const download = new Download(desk, files, request, sink)
      download.begin({ mayRun: () => true } as unknown as Seat, OWNER)
      return download
    }
    const held = await Promise.all(
      Array.from({ length: LIMITS.filesOpenMax }, () => files.open(Buffer.from(path), 0, () => true)),
    )
    for (let at = 0; at < 20; at++) begin(() => undefined).abandon()
    const last = new Promise<void>((resolve) => void begin(resolve))
    for (const each of held) await each!.close()
    await last
    t.is(leases, LIMITS.filesOpenMax + 1)
    desk.deadlines.stop()
    desk.accept.stop()
  })
})

/** One that knows these files and nothing else. */
function deskFor(fileOf: (id: string) => object): Desk {
  const desk = new Desk({
    implementation: 'node',
    http: null,
    socketPath: null,
    token: 'x',
    hostsAllowed: [],
    slots: new CountedSlots(1),
    publisher: new Bell(),
    log: () => undefined,
    dispatch: ({ params }, answer) => answer({ ok: true, json: JSON.stringify(fileOf((params as { id: string }).id)) }),
  })
  desk.state = 'serving'
  return desk
}

/** A daemon with one library, whose location holds these files. */
async function indexed(scene: Scene, front: Kind, files: Readonly<Record<string, Buffer>>) {
  const tree = scene.path('tree')
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(tree, name, '..'), { recursive: true })
    writeFileSync(join(tree, name), content)
  }
  const daemon = await scene.daemon({ args: ['--front', front] })
  const { library } = await daemon.index('library', tree)
  const url = async (name: string) => {
    const { id } = await daemon.call('files.get', { library, path: join(tree, name) })
    return `/libraries/${library}/files/${id}`
  }
  const get = async (name: string, headers = {}, query = '') =>
    await ask(daemon, `${await url(name)}${query}`, {}, headers)
  return { daemon, library, url, get }
}

function request(daemon: TestDaemon, path: string, options: http.RequestOptions): Promise<http.IncomingMessage> {
  const { hostname, port } = daemon.url
  return new Promise((resolve, reject) => {
    http
      .request({ hostname, port, path, agent: false, ...options }, resolve)
      .on('error', reject)
      .end()
  })
}

async function ask(daemon: TestDaemon, path: string, options = {}, headers = {}): Promise<Got> {
  const response = await request(daemon, path, {
    ...options,
    headers: { authorization: `Bearer ${daemon.token}`, ...headers },
  })
  return { status: response.statusCode!, headers: response.headers, body: await read(response) }
}

/** Its first bytes have come, and nothing more of it is read until `read`. */
async function stalled(daemon: TestDaemon, path: string): Promise<http.IncomingMessage> {
  const response = await request(daemon, path, { headers: { authorization: `Bearer ${daemon.token}` } })
  response.on('error', () => undefined)
  return response
}

async function read(response: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return Buffer.concat(parts)
}
