// The addon's reading of directories, against what Node says of the same files one by one.
import { execFileSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { loadNative, type NativeListing } from '../../src/descriptors/native.js'

const ADDON = join(import.meta.dirname, '..', '..', '..', 'build', 'Release', 'spacedrive.node')
const native = loadNative()!

function scratch(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'sd-native-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

function rowsOf(listing: NativeListing) {
  const names = Buffer.from(listing.names).toString('latin1').split('\0').slice(0, -1)
  return new Map(
    names.map((name, at) => [
      name,
      { kind: listing.kinds[at], size: listing.sizes[at], mtime: listing.mtimes[at], inode: listing.inodes[at] },
    ]),
  )
}

function truthOf(directory: string, name: string) {
  const stat = lstatSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, 'latin1')]), { bigint: true })
  const kind = stat.isFile() ? 0 : stat.isDirectory() ? 1 : stat.isSymbolicLink() ? 2 : 3
  const floor = stat.mtimeNs >= 0n ? stat.mtimeNs / 1000n : -((-stat.mtimeNs + 999n) / 1000n)
  return { kind, size: Number(stat.size), mtime: Number(floor), inode: stat.ino }
}

test('every kind of file and every name is listed as the disk holds it', (t) => {
  using dir = scratch()
  const names = ['plain.txt', 'x'.repeat(255), 'a\nb\tc', ' ', '-rf', '\xff\xfe\x80', '\xc3\xbc', '.hidden', '...']
  for (const name of names)
    writeFileSync(Buffer.concat([Buffer.from(`${dir.path}/`), Buffer.from(name, 'latin1')]), name)
  mkdirSync(join(dir.path, 'directory'))
  symlinkSync('nowhere', join(dir.path, 'dangling'))
  symlinkSync('directory', join(dir.path, 'link'))
  execFileSync('mkfifo', [join(dir.path, 'fifo')])
  execFileSync('touch', ['-m', '-d', '1969-12-31T23:59:58.7654321Z', join(dir.path, 'plain.txt')])

  const rows = rowsOf(native.readDirectory(Buffer.from(dir.path)))
  t.deepEqual([...rows.keys()].sort(), [...names, 'directory', 'dangling', 'link', 'fifo'].sort())
  for (const [name, row] of rows) t.deepEqual(row, truthOf(dir.path, name), name)
  t.is(rows.get('plain.txt')?.mtime, -1_234_568, 'rounded down before 1970 as well')
})

test('a directory of more names than one call of the kernel returns is listed whole', (t) => {
  using dir = scratch()
  const names = Array.from({ length: 3000 }, (_, at) => `${'n'.repeat(60)}${at}`)
  for (const name of names) writeFileSync(join(dir.path, name), '')
  t.deepEqual([...rowsOf(native.readDirectory(Buffer.from(dir.path))).keys()].sort(), names.sort())
})

test('an empty directory is an empty listing', (t) => {
  using dir = scratch()
  const { names, kinds, inodes, device } = native.readDirectory(Buffer.from(dir.path))
  t.deepEqual([names.length, kinds.length, inodes.length], [0, 0, 0])
  t.is(device, lstatSync(dir.path, { bigint: true }).dev)
})

test('a child on another device is marked', (t) => {
  const root = lstatSync('/', { bigint: true }).dev
  const rows = rowsOf(native.readDirectory(Buffer.from('/')))
  for (const name of ['proc', 'usr']) {
    const stat = lstatSync(`/${name}`, { bigint: true })
    t.is((rows.get(name)?.kind ?? 0) & 0x80, stat.dev === root ? 0 : 0x80, name)
  }
})

test('what cannot be opened is refused with the code of the system', (t) => {
  using dir = scratch()
  writeFileSync(join(dir.path, 'file'), '')
  symlinkSync('.', join(dir.path, 'link'))
  symlinkSync('loop', join(dir.path, 'loop'))
  execFileSync('mkfifo', [join(dir.path, 'fifo')])
  const codeOf = (path: string) => t.throws(() => native.readDirectory(Buffer.from(path)), { instanceOf: Error })
  t.like(codeOf(join(dir.path, 'missing')), { code: 'ENOENT', syscall: 'open', errno: -2 })
  for (const name of ['file', 'fifo', 'link']) t.like(codeOf(join(dir.path, name)), { code: 'ENOTDIR' })
  // On Linux no link is followed at all, be there one only or no end of them.
  t.like(codeOf(join(dir.path, 'loop', 'x')), { code: process.platform === 'linux' ? 'ENOTDIR' : 'ELOOP' })
  t.like(codeOf(`${dir.path}/${'y'.repeat(300)}`), { code: 'ENAMETOOLONG' })
  t.like(codeOf(''), { code: 'ENOENT' })
  t.like(codeOf(`${dir.path}\0x`), { code: 'EINVAL' })
  t.false(codeOf(join(dir.path, 'missing'))?.message.includes(dir.path))
})

test('children of a directory that may be listed but not entered keep their names and kinds', (t) => {
  using dir = scratch()
  chmodSync(dir.path, 0o755)
  const locked = join(dir.path, 'locked')
  mkdirSync(join(locked, 'sub'), { recursive: true })
  writeFileSync(join(locked, 'file'), 'text')
  mkdirSync(join(dir.path, 'closed'), 0o700)
  chmodSync(locked, 0o444)
  // As nobody, because root may enter everything.
  const script = `
    const native = require(process.argv[1])
    if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534) }
    const { names, kinds, sizes } = native.readDirectory(Buffer.from(process.argv[2]))
    const rows = Buffer.from(names).toString().split('\\0').slice(0, -1).map((name, at) => [name, kinds[at], sizes[at]]).sort()
    let code
    try { native.readDirectory(Buffer.from(process.argv[3])) } catch (error) { code = error.code }
    console.log(JSON.stringify([rows, code]))`
  if (process.getuid?.() !== 0) chmodSync(join(dir.path, 'closed'), 0)
  const out = execFileSync(process.execPath, ['-e', script, ADDON, locked, join(dir.path, 'closed')], {
    encoding: 'utf8',
  })
  chmodSync(locked, 0o755)
  t.deepEqual(JSON.parse(out), [
    [
      ['file', 0x40, 0],
      ['sub', 0x41, 0],
    ],
    'EACCES',
  ])
})

test.serial('a listing closes what it opened, also when it fails', (t) => {
  const before = native.count()
  for (let round = 0; round < 50; round++) {
    native.readDirectory(Buffer.from('/'))
    t.throws(() => native.readDirectory(Buffer.from('/nowhere/at/all')))
  }
  t.is(native.count(), before)
})

test('a port is shared by those who bind it so, and with nobody else', async (t) => {
  const shared = createServer().listen({ fd: native.bindShared('127.0.0.1', 0) })
  const { port, address } = shared.address() as AddressInfo
  t.is(address, '127.0.0.1')
  const other = createServer().listen({ fd: native.bindShared('127.0.0.1', port) })
  t.is((other.address() as AddressInfo).port, port)
  other.close()
  shared.close()
  await once(shared, 'close')
  const alone = createServer().listen({ port, host: '127.0.0.1', exclusive: true })
  await once(alone, 'listening')
  t.throws(() => native.bindShared('127.0.0.1', port), { code: 'EADDRINUSE' })
  alone.close()
  t.throws(() => native.bindShared('localhost', 0), { code: 'EINVAL' })
})

test('several threads use the addon at once', async (t) => {
  using dir = scratch()
  for (let at = 0; at < 200; at++) writeFileSync(join(dir.path, String(at)), '')
  const script = `
    const { parentPort, workerData } = require('node:worker_threads')
    const native = require(workerData.addon)
    let children = 0
    for (let round = 0; round < 50; round++) children += native.readDirectory(Buffer.from(workerData.path)).kinds.length
    parentPort.postMessage(children)`
  const count = () =>
    new Promise((done, failed) => {
      const worker = new Worker(script, { eval: true, workerData: { addon: ADDON, path: dir.path } })
      worker.once('message', done).once('error', failed)
    })
  t.deepEqual(await Promise.all([count(), count(), count()]), [10_000, 10_000, 10_000])
})
