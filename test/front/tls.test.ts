// TLS: who is let in by it, a certificate that changes while it is spoken, and pairs of files that do not work.
import test from 'ava'
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { WebSocket } from 'ws'
import { connect, open } from '../../src/index.js'
import { loadNative } from '../../src/descriptors/native.js'
import { Certificate } from '../../src/certificate.js'
import { ping, sleep, TOKEN, until, withStage, type Stage } from './stage.js'

const directory = mkdtempSync(join(tmpdir(), 'tls-'))
test.after.always(() => rmSync(directory, { recursive: true }))
const at = (name: string) => join(directory, name)
const files = { cert: at('cert'), key: at('key') }

/** A certificate that vouches for itself, and its key. */
function make(name: string): string {
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
  openssl([...words, ...names, '-keyout', at(`${name}.key`), '-out', at(`${name}.cert`)])
  return readFileSync(at(`${name}.cert`), 'utf8')
}

function openssl(words: readonly string[]): void {
  const made = spawnSync('openssl', words)
  if (made.status !== 0) throw new Error(String(made.stderr ?? made.error))
}

function put(cert: string, key: string): void {
  copyFileSync(at(`${cert}.cert`), files.cert)
  copyFileSync(at(`${key}.key`), files.key)
}

const one = make('one')
const other = make('other')

interface Asked {
  readonly status: number
  readonly name: string
}

function health(port: number, ca: string, agent: https.Agent | false = false, token = TOKEN): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` }
    const request = https.get({ host: '127.0.0.1', port, path: '/health', ca, agent, headers }, (response) => {
      const name = String((response.socket as tls.TLSSocket).getPeerCertificate().subject?.CN)
      response.resume().on('end', () => resolve({ status: response.statusCode ?? 0, name }))
    })
    request.on('error', reject)
  })
}

test.serial('all that HTTP serves is served over TLS, and the unix socket as before', async (t) => {
  put('one', 'one')
  const certificate = new Certificate(files, () => undefined)
  await withStage('node', { implementation: 'auto', certificate, clients: 20 }, async (stage) => {
    const { port, front, rpc, slots } = stage
    t.regex(front.http ?? '', /^https:/)
    const kept = new https.Agent({ keepAlive: true, maxSockets: 1 })
    t.deepEqual(await health(port, one, kept), { status: 200, name: 'one' })
    await t.throwsAsync(health(port, other), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    t.is((await rpc(ping(1), { unix: true })).status, 200)
    const origin = (scheme: string) => ({ ca: one, headers: { origin: `${scheme}://127.0.0.1:${port}` } })
    const feed = (scheme: string) =>
      new WebSocket(`wss://127.0.0.1:${port}/ws`, ['spacedrive.v1', `bearer.${TOKEN}`], origin(scheme))
    const ws = feed('https')
    await new Promise((resolve, reject) => ws.on('open', resolve).on('error', reject))
    t.is(await new Promise((resolve) => feed('http').on('error', (error) => resolve(error.message))), REFUSED)
    t.is(front.giveWay({ count: 1, idleMs: 60_000 }), 0)
    await until(() => slots.used.clients === 2, 'whoever was refused has left')
    t.is(front.giveWay({ count: 10, idleMs: 0 }), 2)
    await until(() => slots.used.clients === 0, 'both have given way')
    kept.destroy()
  })
})

const REFUSED = 'Unexpected server response: 403'

test.serial('who has shaken no hands is counted, and gives way', async (t) => {
  put('one', 'one')
  const certificate = new Certificate(files, () => undefined)
  await withStage('node', { certificate, clients: 9 }, async (stage) => {
    const { port, front } = stage
    const silent = Array.from({ length: 12 }, () => visit(stage))
    await until(() => front.connections().accepted + front.connections().refused === 12, 'all have come')
    await until(() => silent.filter(({ closed }) => closed).length === 3, 'nine are let in, and the others closed')
    t.is(front.connections().refusedBy['clients'], 3)
    t.is(front.giveWay({ count: 4, idleMs: 0 }), 4)
    await until(() => silent.filter(({ closed }) => closed).length === 7, 'four have given way')
    t.deepEqual(await health(port, one), { status: 200, name: 'one' })
  })
})

test.serial('who has shaken no hands in time is closed, and who has stays', async (t) => {
  put('one', 'one')
  const certificate = new Certificate(files, () => undefined)
  await withStage('node', { certificate, handshakeMs: 400 }, async (stage) => {
    const { port, slots } = stage
    const plain = `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`
    const others = ['', '\x16\x03\x01\x02\x00', plain].map((greeting) => visit(stage, greeting))
    await until(() => others.every(({ closed }) => closed), 'silent, in part, or without TLS')
    t.true(others.every(({ got }) => !got.includes('HTTP')))
    let kept: tls.TLSSocket | undefined
    for (let tries = 0; !kept && tries < 50; tries += 1) kept = await shake(port)
    await sleep(800)
    t.is(slots.used.clients, 1)
    kept?.destroy()
    await until(() => slots.used.clients === 0, 'all slots are back')
  })
})

test.serial(
  'a certificate that was changed is in force without a restart, and a pair that does not work never is',
  async (t) => {
    put('one', 'one')
    const told: string[] = []
    const certificate = new Certificate(files, (_level, message) => told.push(message), 50)
    await withStage('node', { certificate }, async ({ port }) => {
      const kept = new https.Agent({ keepAlive: true, maxSockets: 1 })
      t.is((await health(port, one, kept)).name, 'one')
      t.false(certificate.prepare()())
      put('other', 'one')
      t.throws(() => certificate.prepare(), { code: 'BAD_CONFIG', message: /is not the key of the certificate/ })
      put('other', 'other')
      appendFileSync(files.cert, '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n')
      t.throws(() => certificate.prepare(), { code: 'BAD_CONFIG', message: /behind the first certificate/ })
      t.is((await health(port, one)).name, 'one')
      await until(() => told.some((each) => each.includes('was not renewed')), 'it is told of what was found')
      put('other', 'other')
      await until(() => told.includes('the certificate was renewed'), 'the files are read again')
      t.is((await health(port, other)).name, 'other')
      t.is((await health(port, one, kept)).name, 'one', 'nobody is disconnected')
      kept.destroy()
    })
  },
)

test.serial('a certificate that has expired is spoken, and told of once', async (t) => {
  make('expired')
  const again = ['x509', '-in', at('expired.cert'), '-signkey', at('expired.key'), '-days', '0']
  openssl([...again, '-out', at('expired.cert')])
  await sleep(1_000)
  put('one', 'one')
  const told: string[] = []
  const certificate = new Certificate(files, (level, message) => told.push(`${level} ${message}`), 20)
  t.teardown(() => certificate.stop())
  let name = 'one'
  certificate.follow(({ cert }) => (name = new X509Certificate(cert).subject))
  t.deepEqual(told, ['info TLS is spoken'])
  put('expired', 'expired')
  await until(() => told.length > 1, 'the files are read again')
  await sleep(200)
  const [, renewed, expired, ...more] = told
  t.deepEqual([name, renewed, more], ['CN=expired', 'info the certificate was renewed', []])
  t.regex(expired!, /^warn the certificate has expired/)
})

test.serial('a pipe in the place of a certificate is not waited for', (t) => {
  put('one', 'one')
  const certificate = new Certificate(files, () => undefined)
  rmSync(files.cert)
  spawnSync('mkfifo', [files.cert])
  t.throws(() => certificate.prepare(), { code: 'BAD_CONFIG', message: /it is no file/ })
  rmSync(files.cert)
})

test.serial(
  'a daemon speaks TLS: to clients that trust it, until it is told of another certificate, and not by half',
  async (t) => {
    put('one', 'one')
    const dataDir = mkdtempSync(join(directory, 'data-'))
    const settings = { dataDir, http: '127.0.0.1:0', tlsCert: files.cert, tlsKey: files.key, shards: 1 } as const
    const { tlsKey: _key, ...half } = settings
    await t.throwsAsync(open(half), { code: 'BAD_CONFIG' })
    await t.throwsAsync(open({ ...settings, front: 'uws' }), { code: 'BAD_CONFIG' })
    for (const wrong of ['nowhere', 'one.cert', 'other.key']) {
      const error = await t.throwsAsync(open({ ...settings, tlsKey: at(wrong) }), { code: 'BAD_CONFIG' })
      t.regex(error?.message ?? '', new RegExp(wrong))
    }
    const daemon = await open(settings)
    try {
      const token = readFileSync(join(dataDir, 'token'), 'utf8').trim()
      t.regex(daemon.http ?? '', /^https:/)
      for (const url of [daemon.http!, daemon.http!.replace('https', 'wss')]) {
        const client = await connect(url, { token, ca: one })
        t.is(await client.call('core.ping'), 'pong')
        await client.close()
      }
      const untrusted = await t.throwsAsync(connect(daemon.http!, { token, patienceMs: 0 }))
      t.like(untrusted, { code: 'BAD_CONFIG' })
      put('other', 'other')
      t.deepEqual(await daemon.call('core.reload'), { taken: ['certificate'], waiting: [] })
      const client = await connect(daemon.http!, { token, ca: other })
      writeFileSync(files.key, 'no key')
      await t.throwsAsync(client.call('core.reload'), { code: 'BAD_CONFIG' })
      await client.close()
    } finally {
      await daemon.close()
    }
  },
)

const inThreads = process.platform === 'linux' && loadNative() ? test.serial : test.serial.skip
/** That the kernel gives all of them to one front happens once in ten million. */
const MANY = 24

inThreads('fronts in threads speak TLS, and every one goes by another certificate once that is told', async (t) => {
  put('one', 'one')
  const dataDir = mkdtempSync(join(directory, 'data-'))
  const settings = { dataDir, http: '127.0.0.1:0', tlsCert: files.cert, tlsKey: files.key, shards: 1 } as const
  const daemon = await open({ ...settings, fronts: 2 })
  const kept = Array.from({ length: MANY }, () => new https.Agent({ keepAlive: true, maxSockets: 1 }))
  try {
    t.regex(daemon.http ?? '', /^https:/)
    const token = readFileSync(join(dataDir, 'token'), 'utf8').trim()
    const port = Number(new URL(daemon.http!).port)
    const all = (ca: string, agents: readonly (https.Agent | false)[]) =>
      Promise.all(agents.map((agent) => health(port, ca, agent, token)))
    const fresh = kept.map(() => false as const)
    const told = async (ca: string, agents: readonly (https.Agent | false)[]) => {
      const asked = await all(ca, agents)
      return [...new Set(asked.map(({ status, name }) => `${status} ${name}`))]
    }
    t.deepEqual(await told(one, kept), ['200 one'])
    const silent = Array.from({ length: 5 }, () => visit({ port }))
    const connections = async () => (await daemon.call('core.status')).connections
    await untilLater(async () => (await connections()).current === MANY + 5, 'all are counted, hands shaken or not')
    const { fronts } = await connections()
    t.is(fronts?.length, 2)
    t.true(
      fronts!.every(({ accepted }) => accepted > 0),
      'both met some',
    )
    t.true(silent.every(({ closed }) => !closed))

    let known: Buffer
    for (const ca of [one, other]) {
      const session = (known = await sessionOf(port, ca))
      for (let at = 0; at < MANY; at++) t.true(await shakeAgain(port, ca, session), 'who was at one is known to both')
      if (ca === other) break
      put('other', 'other')
      t.deepEqual(await daemon.call('core.reload'), { taken: ['certificate'], waiting: [] })
      t.deepEqual(await told(other, fresh), ['200 other'])
      t.false(await shakeAgain(port, other, known))
    }
    t.deepEqual(await told(one, kept), ['200 one'], 'nobody is disconnected')
    put('one', 'one')
    await untilLater(async () => {
      const names = await Promise.all(fresh.map(() => health(port, one, false, token).then(() => 'one', String)))
      return names.every((name) => name === 'one')
    }, 'the files are looked at, and all are told')
    const client = await connect(daemon.http!, { token, ca: one })
    t.is((await client.call('libraries.create', { name: 'mine' })).name, 'mine')
    await client.close()
  } finally {
    for (const agent of kept) agent.destroy()
    await daemon.close()
  }
})

/** Shakes hands, by what it is given of an earlier time. */
function shakeAgain(port: number, ca: string, session: Buffer): Promise<boolean> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca, session })
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('secureConnect', () => {
      resolve(socket.isSessionReused())
      socket.destroy()
    })
  })
}

/** By what somebody comes back who was there. */
function sessionOf(port: number, ca: string): Promise<Buffer> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca })
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('session', (session: Buffer) => {
      resolve(session)
      socket.destroy()
    })
  })
}

async function untilLater(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (await holds()) return
    await sleep(50)
  }
  throw new Error(`never: ${what}`)
}

interface Visit {
  got: string
  closed: boolean
}

function visit({ port }: Pick<Stage, 'port'>, greeting = ''): Visit {
  const socket = net.connect(port, '127.0.0.1')
  const visit: Visit = { got: '', closed: false }
  socket.on('data', (part) => (visit.got += part.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (visit.closed = true))
  if (greeting !== '') socket.write(greeting)
  return visit
}

/** On a busy machine hands may not be shaken in time. */
function shake(port: number): Promise<tls.TLSSocket | undefined> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca: one })
  return new Promise((resolve) => {
    socket.on('secureConnect', () => resolve(socket))
    socket.on('error', () => resolve(undefined))
    socket.on('close', () => resolve(undefined))
  })
}
