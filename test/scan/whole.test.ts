// Files read to their ends: the hash is that of BLAKE3, and what is equal is equal in every byte.
import { appendFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { loadBlake3, loadWasmBlake3 } from '../../src/scan/blake3.js'
import type { FilesRead, FilesWanted } from '../../src/scan/identify.js'
import { microseconds } from '../../src/scan/read.js'
import { compareFiles, DIGEST_BYTES, hashFiles } from '../../src/scan/whole.js'
import { Ground } from './files.js'

const limits = LIMITS as { compareSegmentBytes: number; wholePieceBytes: number }
const usual = { ...limits }
test.afterEach.always(() => Object.assign(limits, usual))
const never = () => false

class Settled extends Ground {
  override file(name: string, bytes: string | Uint8Array): string {
    const path = super.file(name, bytes)
    // Of the times of a file that of its last change cannot be set.
    for (const until = Date.now() + 2 * LIMITS.identifyFreshMs; Date.now() < until;);
    return path
  }
}

/** As the index would know them now. */
function asIndexed(paths: readonly string[]): FilesWanted {
  const stats = paths.map((path) => statSync(path, { bigint: true }))
  return {
    paths,
    sizes: Float64Array.from(stats, ({ size }) => Number(size)),
    mtimes: Float64Array.from(stats, ({ mtimeNs }) => microseconds(mtimeNs)),
    inodes: BigUint64Array.from(stats, ({ ino }) => ino),
  }
}

function bytesOf(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (31 * at + 7) % 251))
}

function hashesOf({ digests, count }: FilesRead): string[] {
  const all = Buffer.from(digests!)
  return Array.from({ length: count }, (_, at) =>
    all.subarray(at * DIGEST_BYTES, (at + 1) * DIGEST_BYTES).toString('hex'),
  )
}

test.serial('a hash is what b3sum says, whatever the size and the pieces', async (t) => {
  using ground = new Settled()
  limits.wholePieceBytes = 1_000
  // Those of the first three are what the authors of BLAKE3 publish, of bytes that count up to 250 and begin again.
  const counting = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at % 251))
  const files: [string, Buffer, string?][] = [
    ['empty', Buffer.alloc(0), 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    ['one', counting(1), '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    ['1024', counting(1_024), '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
    ['999', bytesOf(999)],
    ['1000', bytesOf(1_000)],
    ['1001', bytesOf(1_001)],
    ['large', bytesOf(150_000)],
  ]
  const wanted = asIndexed(files.map(([name, bytes]) => ground.file(name, bytes)))
  for (const blake3 of [await loadBlake3(), await loadWasmBlake3()]) {
    const read = hashFiles(wanted, blake3, never)
    t.deepEqual(read.failures, [])
    const whole = files.map(([, bytes, known]) => known ?? Buffer.from(blake3.digest(bytes)).toString('hex'))
    t.deepEqual(hashesOf(read), whole)
  }
})

test.serial('one byte anywhere is a difference, and so is another size', (t) => {
  using ground = new Settled()
  limits.compareSegmentBytes = 5_000
  limits.wholePieceBytes = 700
  const bytes = bytesOf(12_345)
  const places = [0, 699, 700, 4_999, 5_000, 9_999, 10_000, 12_344]
  const changed = places.map((at) => Buffer.concat([bytes.subarray(0, at), Buffer.from('!'), bytes.subarray(at + 1)]))
  const paths = [bytes, bytes, ...changed, bytes.subarray(1), bytes].map((each, at) => ground.file(`f${at}`, each))
  const { count, verdicts, failures } = compareFiles(asIndexed(paths), never)
  t.is(count, paths.length)
  t.deepEqual(failures, [])
  t.deepEqual([...verdicts!], [1, 1, ...places.map(() => 2), 2, 1])
})

test.serial('what changes while it is compared or hashed is told, and nothing else is held against it', async (t) => {
  using ground = new Settled()
  limits.compareSegmentBytes = 5_000
  const bytes = bytesOf(12_345)
  const paths = ['a', 'b', 'c', 'gone'].map((name) => ground.file(name, bytes))
  const wanted = asIndexed(paths)
  rmSync(paths[3]!)
  let asked = 0
  const meanwhile = (at: number) => () => {
    asked += 1
    if (asked === at) appendFileSync(paths[1]!, '!')
    return false
  }
  const told = compareFiles(wanted, meanwhile(6))
  t.deepEqual(told.failures.map(({ at, code }) => [at, code]).sort(), [
    [1, 'CHANGED'],
    [3, 'FILE_NOT_FOUND'],
  ])
  t.deepEqual([...told.verdicts!], [1, 0, 1, 0])
  const hashed = hashFiles(wanted, await loadBlake3(), never)
  t.deepEqual(
    hashed.failures.map(({ at, code }) => [at, code]),
    [
      [1, 'CHANGED'],
      [3, 'FILE_NOT_FOUND'],
    ],
  )
  t.is(hashed.count, 4)
})

test.serial('where the first changes nothing is said of the others', (t) => {
  using ground = new Settled()
  const wanted = asIndexed(['a', 'b'].map((name) => ground.file(name, 'the same')))
  appendFileSync(join(ground.path, 'a'), '!')
  const { count, verdicts, failures } = compareFiles(wanted, never)
  t.is(count, 2)
  t.deepEqual([...verdicts!], [0, 0])
  t.like(failures, [{ at: 0, code: 'CHANGED' }])
})

test.serial('a stop is obeyed within a piece, wherever it comes', async (t) => {
  using ground = new Settled()
  limits.compareSegmentBytes = 5_000
  limits.wholePieceBytes = 1_000
  const wanted = asIndexed(['a', 'b'].map((name) => ground.file(name, bytesOf(12_345))))
  const blake3 = await loadBlake3()
  const after = (times: number) => {
    let left = times
    return { stop: () => left-- <= 0, over: () => -left }
  }
  let whole = 0
  for (let times = 0; ; times++) {
    const at = after(times)
    const { count } = compareFiles(wanted, at.stop)
    if (count > 0) break
    whole = times
    t.true(at.over() <= 8, `${at.over()} looks after the stop`)
  }
  t.true(whole > 20, 'it is asked before each piece')
  for (let times = 0; times < 12; times++) t.is(hashFiles(wanted, blake3, after(times).stop).count, 0)
})
