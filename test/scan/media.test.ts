// What real programs wrote into headers is told, what is broken in them does no harm, and no more of a file is read than is allowed.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import type { Media } from '../../src/protocol/messages.js'
import { loadBlake3 } from '../../src/scan/blake3.js'
import { TYPES, typeOf } from '../../src/scan/content-type.js'
import { identifyFiles } from '../../src/scan/identify.js'
import { lookInto } from '../../src/scan/look-into.js'
import { readMedia, type Header } from '../../src/scan/media.js'
import { microseconds } from '../../src/scan/read.js'
import { ROOT } from '../harness/daemon.js'
import { Ground } from './files.js'

const limits = LIMITS as { identifyFreshMs: number }
test.before(() => (limits.identifyFreshMs = 0))

const SAMPLES = join(ROOT, 'test', 'scan', 'media')

function sample(name: string): Buffer {
  return readFileSync(join(SAMPLES, name))
}

class Whole implements Header {
  readonly #bytes: Buffer
  readonly size: number
  steps = 0

  constructor(bytes: Buffer, size = bytes.length) {
    this.#bytes = bytes
    this.size = size
  }

  read(from: number, length: number): Buffer {
    assert(Number.isSafeInteger(from) && from >= 0 && length >= 0 && length <= LIMITS.mediaPieceBytes)
    this.steps += 1
    return this.steps > LIMITS.mediaStepsMax ? Buffer.alloc(0) : this.#bytes.subarray(from, from + length)
  }
}

function told(bytes: Buffer): Media {
  return readMedia(TYPES[typeOf(bytes)]!.mime, new Whole(bytes))
}

const FLAT = { width: 32, height: 16 }
const UPRIGHT = { width: 16, height: 32, takenAt: '2026-07-01T12:34:56+02:00' }

/**
 * Made by ffmpeg and libheif, the dates and the turn by exiftool; the lengths are what ffprobe says, but that of Opus, of which it
 * counts what is to be skipped as well.
 */
const TOLD: Readonly<Record<string, Media>> = {
  'film.avi': { ...FLAT, durationMs: 200 },
  'film.mkv': { ...FLAT, durationMs: 628 },
  'film.mov': { ...FLAT, durationMs: 200 },
  'film.mp4': { ...FLAT, durationMs: 200 },
  'film.ogv': { ...FLAT, durationMs: 500 },
  'film.webm': { ...FLAT, durationMs: 200 },
  'lossy.webp': FLAT,
  'red.avif': FLAT,
  'red.bmp': FLAT,
  'red.gif': FLAT,
  'red.png': FLAT,
  'red.webp': { ...FLAT, takenAt: '2020-02-29T00:00:00' },
  'taken.avif': { ...FLAT, takenAt: UPRIGHT.takenAt },
  'taken.heic': { ...FLAT, takenAt: UPRIGHT.takenAt },
  'taken.jpg': UPRIGHT,
  'taken.png': UPRIGHT,
  'taken.tiff': UPRIGHT,
  'taken.webp': UPRIGHT,
  'tone.aiff': { durationMs: 500 },
  'tone.flac': { durationMs: 500 },
  'tone.m4a': { durationMs: 500 },
  'tone.mp3': { durationMs: 648 },
  'tone.oga': { durationMs: 500 },
  'tone.ogg': { durationMs: 500 },
  'tone.opus': { durationMs: 500 },
}

test('what ffmpeg, libheif and exiftool wrote is told as they tell it', (t) => {
  t.deepEqual(readdirSync(SAMPLES).toSorted(), Object.keys(TOLD))
  for (const [name, media] of Object.entries(TOLD)) t.deepEqual(told(sample(name)), media, name)
})

function chunk(name: string, bytes: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.write(name, 'latin1')
  head.writeUInt32LE(bytes.length, 4)
  return Buffer.concat([head, bytes])
}

/** @param said bytes of sound by its header */
function wave(said: number, bytes: number): Buffer {
  const format = Buffer.alloc(16)
  format.writeUInt16LE(1, 0)
  format.writeUInt32LE(8_000, 4)
  format.writeUInt32LE(16_000, 8)
  const sound = chunk('data', Buffer.alloc(bytes))
  sound.writeUInt32LE(said, 4)
  return Buffer.concat([Buffer.from('RIFF\0\0\0\0WAVE', 'latin1'), chunk('fmt ', format), sound])
}

test('a sound is as long as it is, whatever its recorder knew of it', (t) => {
  t.deepEqual(told(wave(16_000, 16_000)), { durationMs: 1_000 })
  t.deepEqual(told(wave(0xffffffff, 8_000)), { durationMs: 500 }, 'it did not know yet')
  t.deepEqual(told(wave(16_000, 4_000)), { durationMs: 250 }, 'it was cut off')
  t.deepEqual(told(wave(0, 4_000)), {}, 'it says nothing')
  const behindTag = Buffer.concat([
    Buffer.from('ID3\x04\0\0\0\0\x01\0', 'latin1'),
    Buffer.alloc(128),
    sample('tone.flac'),
  ])
  t.deepEqual(told(behindTag), { durationMs: 500 })
})

test('a film that lies on its side is told as it is shown', (t) => {
  const film = sample('film.mp4')
  const matrix = film.indexOf('tkhd', 0, 'latin1') + 4 + 40
  film.fill(0, matrix, matrix + 20)
  film.writeUInt32BE(0x10000, matrix + 4)
  film.writeInt32BE(-0x10000, matrix + 12)
  t.deepEqual(told(film), { width: 16, height: 32, durationMs: 200 })
})

test('a picture in boxes is told as its own box turns it, whatever EXIF says', (t) => {
  const picture = sample('taken.heic')
  // How deep its colours are becomes how it is turned: one quarter, then two.
  const depth = picture.indexOf('pixi', 0, 'latin1')
  picture.write('irot', depth, 'latin1')
  picture[depth + 4] = 1
  t.deepEqual(told(picture), UPRIGHT)
  picture[depth + 4] = 2
  t.deepEqual(told(picture), { ...FLAT, takenAt: UPRIGHT.takenAt })
})

test('of a long film in AVI all parts are counted', (t) => {
  const film = sample('film.avi')
  // ffmpeg keeps the place of the number for a film that becomes long.
  film.write('LIST', film.indexOf('odml', 0, 'latin1') - 8, 'latin1')
  film.writeUInt32LE(1_000, film.indexOf('dmlh', 0, 'latin1') + 8)
  t.deepEqual(told(film), { ...FLAT, durationMs: 100_000 })
})

test('a date that no calendar has, and a zone nobody lives in, are not told', (t) => {
  const taken = (date: string, zone = '+02:00') => {
    const text = sample('taken.jpg').toString('latin1')
    return told(Buffer.from(text.replace('2026:07:01 12:34:56', date).replace('+02:00', zone), 'latin1')).takenAt
  }
  t.is(taken('2024:02:29 23:59:59'), '2024-02-29T23:59:59+02:00')
  t.is(taken('2026:07:01 12:34:56', '      '), '2026-07-01T12:34:56')
  t.is(taken('2026:07:01 12:34:56', '+99:00'), '2026-07-01T12:34:56')
  for (const none of ['0000:00:00 00:00:00', '2026:02:30 00:00:00', '2026:07:01 24:00:00', '    :  :     :  :  '])
    t.is(taken(none), undefined, none)
})

test('the small picture before that of a camera is not taken for it', (t) => {
  const picture = sample('taken.tiff')
  const numbers = picture.readUInt32LE(4)
  // Its first field becomes NewSubfileType, a reduced picture.
  picture.writeUInt16LE(0xfe, numbers + 2)
  picture.writeUInt16LE(4, numbers + 4)
  picture.writeUInt32LE(1, numbers + 6)
  picture.writeUInt32LE(1, numbers + 10)
  t.deepEqual(told(picture), { takenAt: UPRIGHT.takenAt })
})

test('headers that are broken in any way tell what they can, soon, and nothing that cannot be', (t) => {
  let seed = 7
  const random = (below: number) =>
    Math.floor(((seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32) * below)
  const samples = Object.keys(TOLD).map((name) => sample(name))
  let most = 0
  for (let run = 0; run < 20_000; run++) {
    const whole = samples[run % samples.length]!
    const { mime } = TYPES[typeOf(whole)]!
    const bytes = Buffer.from(whole)
    for (let change = random(8); change >= 0; change--) {
      const at = random(bytes.length)
      if (random(3) === 0) bytes.copyWithin(random(bytes.length), at, at + random(32))
      else
        bytes.fill(
          random(3) === 0 ? random(256) : random(2) === 0 ? 0xff : 0,
          at,
          Math.min(bytes.length, at + 1 + random(6)),
        )
    }
    const header = new Whole(
      bytes.subarray(0, random(4) === 0 ? random(bytes.length) : bytes.length),
      random(2) * 2 ** 40 || undefined,
    )
    const { width = 1, height = 1, durationMs = 0, takenAt = '2026-07-01T12:34:56' } = readMedia(mime, header)
    for (const number of [width, height, durationMs])
      if (!Number.isSafeInteger(number) || number < 0) t.fail(String(number))
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)?$/.test(takenAt)) t.fail(takenAt)
    most = Math.max(most, header.steps)
  }
  t.true(most < LIMITS.mediaStepsMax, `${most} steps`)
})

/** A marker of a JPEG that says nothing, as long as one can be. */
function padding(count: number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, () => Buffer.concat([Buffer.from([0xff, 0xe2, 0xff, 0xff]), Buffer.alloc(65_533)])),
  )
}

test('what lies behind the parts that were read is read as far as is allowed, with and without the addon', async (t) => {
  using ground = new Ground()
  const picture = sample('taken.jpg')
  const behind = (bytes: Buffer) => Buffer.concat([picture.subarray(0, 2), bytes, picture.subarray(2)])
  const film = sample('film.mp4')
  const free = Buffer.alloc(300_000)
  free.writeUInt32BE(free.length)
  free.write('free', 4, 'latin1')
  const begin = film.readUInt32BE(0)
  const chunks = Buffer.concat(Array.from({ length: 100_000 }, () => Buffer.from('\0\0\0\0teXt\0\0\0\0', 'latin1')))
  const png = sample('taken.png')
  const paths = [
    ground.file('behind.jpg', behind(padding(3))),
    ground.file('behind.mp4', Buffer.concat([film.subarray(0, begin), free, film.subarray(begin)])),
    ground.file('endless.png', Buffer.concat([png.subarray(0, 33), chunks, png.subarray(33)])),
    ground.file('text.jpg', Buffer.from('no picture')),
  ]
  const stats = paths.map((path) => statSync(path, { bigint: true }))
  const files = {
    paths,
    sizes: Float64Array.from(stats, ({ size }) => Number(size)),
    mtimes: Float64Array.from(stats, ({ mtimeNs }) => microseconds(mtimeNs)),
    inodes: BigUint64Array.from(stats, ({ ino }) => ino),
  }
  for (const reader of [null, loadNative()]) {
    const { media, failures } = identifyFiles(files, await loadBlake3(), () => false, reader, lookInto)
    t.deepEqual(failures, [])
    t.deepEqual(media, [
      { at: 0, ...UPRIGHT },
      { at: 1, ...FLAT, durationMs: 200 },
      { at: 2, ...FLAT },
    ])
  }
  const open = readdirSync('/proc/self/fd').filter((fd) => paths.includes(linkOf(fd)))
  t.deepEqual(open, [], 'none is left open')
})

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

test('without it no header is read', async (t) => {
  using ground = new Ground()
  const path = ground.file('a.png', sample('red.png'))
  const { size, mtimeNs, ino } = statSync(path, { bigint: true })
  const files = {
    paths: [path],
    sizes: Float64Array.of(Number(size)),
    mtimes: Float64Array.of(microseconds(mtimeNs)),
    inodes: BigUint64Array.of(ino),
  }
  t.is(identifyFiles(files, await loadBlake3(), () => false).media, undefined)
})
