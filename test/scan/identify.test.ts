// Content ids are Spacedrive's, whatever the size; what is not a file at rest has none.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { loadBlake3, loadWasmBlake3, type Blake3 } from '../../src/scan/blake3.js'
import { partsOf, writtenId } from '../../src/scan/content-id.js'
import { guessType, refineType, TYPES, typeOf } from '../../src/scan/content-type.js'
import { isFar, markLive } from '../../src/scan/guard.js'
import { identifyFiles, type FilesRead, type FilesWanted } from '../../src/scan/identify.js'
import { microseconds } from '../../src/scan/read.js'
import { hashFiles } from '../../src/scan/whole.js'
import { Ground } from './files.js'

const limits = LIMITS as { identifyFreshMs: number }
const usual = { ...limits }
test.beforeEach(() => (limits.identifyFreshMs = 0))

/** With the addon's two calls for a file, and without it: of both the same is to come out. */
const READERS = [null, loadNative()]

async function identify(
  paths: readonly string[],
  blake3?: Blake3,
  known = paths.map(statOf),
  readers = READERS,
): Promise<FilesRead> {
  const files = {
    paths,
    sizes: Float64Array.from(known, ({ size }) => Number(size)),
    mtimes: Float64Array.from(known, ({ mtimeNs }) => microseconds(mtimeNs)),
    inodes: BigUint64Array.from(known, ({ ino }) => ino),
  }
  const hasher = blake3 ?? (await loadBlake3())
  const [first, ...others] = readers.map((reader) => identifyFiles(files, hasher, () => false, reader))
  for (const other of others) assert.deepEqual(codes(other), codes(first!))
  return first!
}

function codes(read: FilesRead): object {
  return { ...read, failures: read.failures.map(({ at, code }) => [at, code]) }
}

function statOf(path: string): { size: bigint; mtimeNs: bigint; ino: bigint } {
  return lstatSync(path, { bigint: true })
}

async function idOf(path: string, blake3?: Blake3): Promise<string> {
  const { ids, failures } = await identify([path], blake3)
  return failures.length > 0 ? failures[0]!.code : writtenId(ids[0]!)
}

/** The bytes of which the vectors were computed. */
function pattern(bytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => (31 * at + 7) % 251))
}

/** By the description and not by our code: the sizes and offsets are written out. */
function referenceOf(bytes: Buffer, { digest }: Blake3): string {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(bytes.length))
  const step = Math.floor((bytes.length - 16_384) / 4)
  const samples = [0, 1, 2, 3].map((at) => bytes.subarray(8_192 + at * step, 8_192 + at * step + 10_240))
  const parts =
    bytes.length <= 102_400 ? [bytes] : [bytes.subarray(0, 8_192), ...samples, bytes.subarray(bytes.length - 8_192)]
  return Buffer.from(digest(Buffer.concat([size, ...parts])))
    .toString('hex')
    .slice(0, 16)
}

test.serial('ids are those of the vectors that were computed from Spacedrive itself', async (t) => {
  using ground = new Ground()
  for (const [name, bytes, id] of [
    ['hello', 'Hello World', 'a97b8437b726c542'],
    ['a', 'a', '57feb47890e14cae'],
    ['whole', pattern(102_400), '1826d530f79eab78'],
    ['sampled', pattern(102_401), '0cd8d35088772158'],
  ] as const)
    t.is(await idOf(ground.file(name, bytes)), id, name)
})

test.serial('two implementations of BLAKE3, and a description in other words, agree at every boundary', async (t) => {
  using ground = new Ground()
  const [native, wasm] = [await loadBlake3(), await loadWasmBlake3()]
  for (const bytes of [1, 1_023, 1_024, 1_025, 4_096, 65_536, 102_399, 102_400, 102_401, 122_880, 1_000_003]) {
    const path = ground.file(String(bytes), pattern(bytes))
    const expected = referenceOf(pattern(bytes), wasm)
    t.is(await idOf(path, native), expected, `${bytes}`)
    t.is(await idOf(path, wasm), expected, `${bytes}, WebAssembly`)
  }
})

test.serial('of a large file seven places are read, however large it is', async (t) => {
  t.deepEqual(
    partsOf(102_401),
    [0, 8_192, 8_192, 10_240, 29_696, 10_240, 51_200, 10_240, 72_704, 10_240, 94_209, 8_192],
  )
  using ground = new Ground()
  const path = ground.file('sparse', '')
  truncateSync(path, 5 * 2 ** 30)
  utimesSync(path, 1_000_000, 1_000_000)
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(5n * 2n ** 30n)
  const { digest } = await loadBlake3()
  const expected = Buffer.from(digest(Buffer.concat([size, Buffer.alloc(57_344)]))).toString('hex')
  t.is(await idOf(path), expected.slice(0, 16))
})

test.serial('a file that is not what was indexed, or changes while it is read, gets no id', async (t) => {
  using ground = new Ground()
  const blake3 = await loadBlake3()
  const [grown, replaced, touched] = ['grown', 'replaced', 'touched'].map((name) => ground.file(name, name))
  const known = [grown!, replaced!, touched!].map(statOf)
  appendFileSync(grown!, '!')
  renameSync(ground.file('other', 'replaced'), replaced!)
  utimesSync(touched!, 2_000_000, 2_000_000)
  const { failures } = await identify([grown!, replaced!, touched!], blake3, known)
  t.deepEqual(
    failures.map(({ at, code }) => [at, code]),
    [0, 1, 2].map((at) => [at, 'CHANGED']),
  )
})

test.serial(
  'nothing but a regular file of the location is opened: no pipe, device, socket, link, and no file of an open library',
  async (t) => {
    using ground = new Ground()
    const at = (name: string) => join(ground.path, name)
    execFileSync('mkfifo', [at('pipe')])
    const server = createServer().listen(at('socket'))
    mkdirSync(at('inside'))
    mkdirSync(at('outside'))
    const target = ground.file('outside/file', 'secret')
    const kept = ground.file('inside/file', 'public')
    const known = [
      statOf(at('pipe')),
      { size: 0n, mtimeNs: 0n, ino: 1n },
      statOf(at('socket')),
      statOf(kept),
      statOf(kept),
    ]
    // The directory that was indexed is swapped for a link out of the location; and the file itself.
    renameSync(at('inside'), at('was'))
    symlinkSync(at('outside'), at('inside'))
    symlinkSync(target, at('link'))
    const { failures, count } = await identify(
      [at('pipe'), '/dev/null', at('socket'), at('inside/file'), at('link')],
      undefined,
      known,
    )
    t.is(count, 5)
    t.deepEqual(
      failures.map(({ code }) => code),
      ['PATH_REFUSED', 'PATH_REFUSED', 'PATH_REFUSED', 'CHANGED', 'PATH_REFUSED'],
    )
    server.close()

    const database = ground.file('library.db', 'SQLite format 3\0')
    linkSync(database, at('other name'))
    const live = markLive([database])
    t.is(await idOf(at('other name')), 'PATH_REFUSED')
    live.release()
    t.regex(await idOf(at('other name')), /^[0-9a-f]{16}$/)
  },
)

test.serial('an empty file and one that is gone are no failure of the others', async (t) => {
  using ground = new Ground()
  const [first, gone, last] = ['first', 'gone', 'last'].map((name) => ground.file(name, name))
  const known = [first!, gone!, last!].map(statOf)
  rmSync(gone!)
  const { ids, failures } = await identify([first!, gone!, last!], undefined, known)
  t.deepEqual(
    failures.map(({ at, code }) => [at, code]),
    [[1, 'FILE_NOT_FOUND']],
  )
  t.is(writtenId(ids[2]!), referenceOf(Buffer.from('last'), await loadBlake3()))
})

test.serial('what a file is is told by what it holds, and by its name only where that says little', (t) => {
  const typed = (bytes: string | Buffer, name = 'x') => {
    const { mime, kind } = refineType(TYPES[typeOf(Buffer.from(bytes as string, 'latin1'))]!, name)
    return [mime, kind]
  }
  t.deepEqual(typed('\x89PNG\r\n\x1a\n....', 'photo.txt'), ['image/png', 'image'])
  t.deepEqual(typed('\xff\xd8\xff\xe0', 'a.png'), ['image/jpeg', 'image'])
  t.deepEqual(typed('RIFF\x01\x02\x03\x04WEBPVP8 '), ['image/webp', 'image'])
  t.deepEqual(typed('RIFF\x01\x02\x03\x04WAVEfmt '), ['audio/wav', 'audio'])
  t.deepEqual(typed('\0\0\0\x18ftypisom'), ['video/mp4', 'video'])
  t.deepEqual(typed('\0\0\0\x18ftypheic'), ['image/heic', 'image'])
  t.deepEqual(typed('%PDF-1.7', 'scan'), ['application/pdf', 'document'])
  t.deepEqual(typed('PK\x03\x04....'), ['application/zip', 'archive'])
  t.deepEqual(typed('PK\x03\x04....[Content_Types].xml...word/document.xml'), [guessType('a.docx')!.mime, 'document'])
  t.deepEqual(typed('PK\x03\x04....META-INF/MANIFEST.MF', 'a.jar'), ['application/java-archive', 'package'])
  t.deepEqual(typed('SQLite format 3\0', 'a.jpg'), ['application/vnd.sqlite3', 'database'])
  t.deepEqual(typed('\x7fELF\x02'), ['application/x-elf', 'executable'])
  t.deepEqual(typed('#!/bin/sh\n'), ['text/x-script', 'code'])
  t.deepEqual(typed('const a = 1\n', 'a.ts'), ['text/x-typescript', 'code'])
  t.deepEqual(typed('grüße\n'), ['text/plain', 'text'])
  t.deepEqual(typed('no picture at all', 'a.png'), ['text/plain', 'text'])
  t.deepEqual(typed('\0\x01\x02\x03junk', 'a.ts'), ['application/octet-stream', 'unknown'])
  t.deepEqual(typed(`${' '.repeat(8)}\0`, 'a.stl'), ['model/stl', 'mesh'])
  t.deepEqual(typed('<?xml version="1.0"?><svg xmlns="">'), ['image/svg+xml', 'image'])
  t.is(guessType('photo.JPG')?.kind, 'image')
  t.is(guessType('.png'), undefined)
})

test.serial('a file that is written all the time gets an id only of a whole state of it', async (t) => {
  limits.identifyFreshMs = usual.identifyFreshMs
  using ground = new Ground()
  const states = ['a', 'b'].map((letter) => Buffer.alloc(100_000, letter))
  const path = ground.file('busy', states[0]!)
  const known = statOf(path)
  const blake3 = await loadBlake3()
  // Each write hides: the size and the time of modification are those of before.
  const writer = new Worker(
    `const { workerData: { path } } = require('node:worker_threads'), fs = require('node:fs')
     for (const until = Date.now() + 400; Date.now() < until;) {
       for (const letter of 'ab') {
         fs.writeFileSync(path, Buffer.alloc(100000, letter), { flag: 'r+' })
         fs.utimesSync(path, 1e6, 1e6)
       }
     }`,
    { eval: true, workerData: { path } },
  )
  let writing = true
  writer.once('exit', () => (writing = false))
  const seen = new Set<string>()
  for (let round = 0; writing; round++) {
    const { ids, failures } = await identify([path], blake3, [known], [READERS[round % 2]!])
    seen.add(failures[0]?.code ?? writtenId(ids[0]!))
    await nextTurn()
  }
  t.true(seen.delete('CHANGED'))
  const whole = states.map((state) => referenceOf(state, blake3))
  for (const id of seen) t.true(whole.includes(id), id)
})

test.serial(
  'a file past the 4,096 bytes that the system takes of a path is read by whoever holds a descriptor more',
  async (t) => {
    using ground = new Ground()
    const before = process.cwd()
    t.teardown(() => process.chdir(before))
    const deep = Array.from({ length: 50 }, () => 'd'.repeat(200))
    process.chdir(ground.path)
    for (const each of deep) {
      mkdirSync(each)
      process.chdir(each)
    }
    writeFileSync('file', pattern(150_000))
    symlinkSync('file', 'link')
    const [file, link] = [statOf('file'), statOf('link')]
    process.chdir(before)
    const paths = ['file', 'link', 'none'].map((name) => join(ground.path, ...deep, name))
    const known = [file, link, file]
    const files: FilesWanted = {
      paths,
      sizes: Float64Array.from(known, ({ size }) => Number(size)),
      mtimes: Float64Array.from(known, ({ mtimeNs }) => microseconds(mtimeNs)),
      inodes: BigUint64Array.from(known, ({ ino }) => ino),
    }
    const blake3 = await loadBlake3()
    const [far, near] = [paths.every(isFar), isFar(ground.path)]
    t.deepEqual([far, near], [true, false])
    for (const reader of READERS) {
      const without = identifyFiles(files, blake3, () => false, reader)
      t.deepEqual(
        without.failures.map(({ code }) => code),
        ['ENAMETOOLONG', 'ENAMETOOLONG', 'ENAMETOOLONG'],
      )
      const { ids, failures } = identifyFiles({ ...files, beside: true }, blake3, () => false, reader)
      t.is(writtenId(ids[0]!), referenceOf(pattern(150_000), blake3))
      t.deepEqual(
        failures.map(({ at, code }) => [at, code]),
        [
          [1, 'PATH_REFUSED'],
          [2, 'FILE_NOT_FOUND'],
        ],
      )
    }
    const { digests } = hashFiles({ ...files, beside: true }, blake3, () => false)
    t.deepEqual(
      Buffer.from(digests!.subarray(0, 32)).toString('hex'),
      Buffer.from(blake3.digest(pattern(150_000))).toString('hex'),
    )
    execFileSync('rm', ['-r', join(ground.path, deep[0]!)])
  },
)
