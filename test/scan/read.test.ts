// Both readers of a directory say the same of the same files.
import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { loadNative } from '../../src/descriptors/native.js'
import { decodeNames } from '../../src/scan/names.js'
import { FOREIGN, KIND, KIND_MASK, readDirectoryPlain, UNREAD, type ReadDirectory } from '../../src/scan/read.js'
import { asOrdinaryUser } from './ordinary.js'

const readers: [string, ReadDirectory][] = [['plain', readDirectoryPlain]]
const native = loadNative()
if (native) readers.push(['native', native.readDirectory])

function scratch(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'sd-read-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

function rows(read: ReadDirectory, path: string | Buffer) {
  const listing = read(Buffer.from(path))
  return decodeNames(listing.names)
    .map((name, at) => ({
      name,
      kind: listing.kinds[at],
      size: listing.sizes[at],
      mtime: listing.mtimes[at],
      inode: listing.inodes[at],
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

test('native and plain readers agree on every kind of child, on odd names and on times before 1970', (t) => {
  using dir = scratch()
  writeFileSync(join(dir.path, 'plain'), 'twelve bytes')
  writeFileSync(Buffer.concat([Buffer.from(`${dir.path}/`), Buffer.of(0xff, 0x80, 0x41)]), '')
  writeFileSync(join(dir.path, 'é'.repeat(127)), '')
  mkdirSync(join(dir.path, 'directory'))
  symlinkSync('nowhere', join(dir.path, 'dangling'))
  linkSync(join(dir.path, 'plain'), join(dir.path, 'hard'))
  execFileSync('mkfifo', [join(dir.path, 'fifo')])
  writeFileSync(join(dir.path, 'old'), '')
  execFileSync('touch', ['-m', '-d', '1969-12-31T23:59:58.7654321Z', join(dir.path, 'old')])
  const [expected, ...others] = readers.map(([, read]) => rows(read, dir.path))
  t.is(expected!.length, 8)
  t.is(expected!.find((row) => row.name === 'old')!.mtime, -1_234_568)
  for (const other of others) t.deepEqual(other, expected)
})

test('a child on another device is marked, and what lies beside it is not', (t) => {
  for (const [label, read] of readers) {
    const found = rows(read, '/')
    const proc = found.find((row) => row.name === 'proc')!
    t.true((proc.kind! & FOREIGN) !== 0, label)
    t.is(proc.kind! & KIND_MASK, KIND.directory, label)
    t.true(
      found.some((row) => (row.kind! & FOREIGN) === 0),
      label,
    )
  }
})

for (const [label, read] of readers) {
  test(`the ${label} reader follows no symlink and takes no file for a directory`, (t) => {
    using dir = scratch()
    mkdirSync(join(dir.path, 'real'))
    symlinkSync('real', join(dir.path, 'link'))
    writeFileSync(join(dir.path, 'file'), '')
    t.throws(() => read(Buffer.from(join(dir.path, 'link'))), { code: 'ENOTDIR' })
    t.throws(() => read(Buffer.from(join(dir.path, 'file'))), { code: 'ENOTDIR' })
    t.throws(() => read(Buffer.from(join(dir.path, 'gone'))), { code: 'ENOENT' })
  })

  test(`the ${label} reader names children it may not look at, and says so`, (t) => {
    using dir = scratch()
    mkdirSync(join(dir.path, 'listed', 'child'), { recursive: true })
    writeFileSync(join(dir.path, 'listed', 'file'), 'text')
    chmodSync(join(dir.path, 'listed'), 0o444)
    const off = label === 'plain' ? { SPACEDRIVE_NATIVE: 'off' } : {}
    const told = asOrdinaryUser<[string, number][]>(
      `
      const { loadNative } = await load('src/descriptors/native.js')
      const { readDirectoryPlain } = await load('src/scan/read.js')
      const { decodeNames } = await load('src/scan/names.js')
      const { names, kinds } = (loadNative()?.readDirectory ?? readDirectoryPlain)(Buffer.from(argument))
      return decodeNames(names).map((name, at) => [name, kinds[at]])`,
      join(dir.path, 'listed'),
      off,
    )
    t.deepEqual(told.map(([name]) => name).sort(), ['child', 'file'])
    for (const [name, kind] of told) t.true((kind & UNREAD) !== 0, name)
  })
}
