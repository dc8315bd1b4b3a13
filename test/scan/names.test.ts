// Names as strings that lose nothing: any bytes a file system may hold come back as they were.
import { isUtf8 } from 'node:buffer'
import test from 'ava'
import fc from 'fast-check'
import { decodeName, decodeNames, encodeName, isPrintable, printable } from '../../src/scan/names.js'

/** What a directory may hold: no NUL, no slash, at least a byte. Valid pieces are mixed in, because random bytes seldom are. */
const piece = fc.oneof(
  fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 6 }),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }).map((text) => Buffer.from(text.toWellFormed(), 'utf8')),
  fc.constantFrom('😀', '\u{10ffff}', 'é', 'e\u0301', '\ufeff', '\ufffd').map((text) => Buffer.from(text, 'utf8')),
  fc.constantFrom([0xed, 0xa0, 0x80], [0xed, 0xb2, 0x80], [0xf0, 0x9f], [0xc0, 0xaf], [0xf8, 0x88]).map(Buffer.from),
)
const nameBytes = fc
  .array(piece, { minLength: 1, maxLength: 5 })
  .map((pieces) => Buffer.concat(pieces).filter((byte) => byte !== 0 && byte !== 0x2f))
  .filter((bytes) => bytes.length > 0)
  .map((bytes) => Buffer.from(bytes))

test('any name survives being decoded and encoded again', (t) => {
  fc.assert(
    fc.property(nameBytes, (bytes) => {
      t.deepEqual(encodeName(decodeName(bytes)), bytes)
    }),
    { numRuns: 2_000 },
  )
})

test('names read together are what each is alone, valid and broken ones side by side', (t) => {
  fc.assert(
    fc.property(fc.array(nameBytes, { maxLength: 8 }), (names) => {
      const block = Buffer.concat(names.flatMap((bytes) => [bytes, Buffer.of(0)]))
      t.deepEqual(decodeNames(block), names.map(decodeName))
      t.deepEqual(
        encodeName(
          decodeNames(block)
            .map((name) => `${name}\0`)
            .join(''),
        ),
        block,
      )
    }),
    { numRuns: 1_000 },
  )
})

test('so are names that are read in several pieces, wherever a piece ends', (t) => {
  for (let length = 1; length <= 255; length++) {
    const names = Array.from({ length: 9_000 / length }, (_, at) => `${at % 9 === 0 ? '名' : ''}${'x'.repeat(length)}`)
    const block = Buffer.from(names.map((name) => `${name}\0`).join(''))
    t.deepEqual(decodeNames(block), names)
  }
})

test('two names are equal as strings only when their bytes are', (t) => {
  fc.assert(
    fc.property(nameBytes, nameBytes, (a, b) => {
      t.is(decodeName(a) === decodeName(b), a.equals(b))
    }),
  )
})

test('a name of valid UTF-8 is its own text, emoji whose surrogates look like escapes included', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
      const valid = text.toWellFormed()
      t.is(decodeName(Buffer.from(valid, 'utf8')), valid)
      t.true(isPrintable(valid))
      t.is(printable(valid), valid)
    }),
    { numRuns: 1_000 },
  )
  // U+1F480 is D83D DC80: its second half alone would be the escape of the byte 0x80.
  t.is(decodeName(Buffer.from('💀.txt', 'utf8')), '💀.txt')
  t.true(isPrintable('💀.txt'))
})

test('what people are shown of any name is valid text, and tells when bytes were replaced', (t) => {
  fc.assert(
    fc.property(nameBytes, (bytes) => {
      const name = decodeName(bytes)
      t.true(printable(name).isWellFormed())
      t.is(isPrintable(name), isUtf8(bytes))
    }),
    { numRuns: 1_000 },
  )
})

test('a skull beside a broken byte keeps its bytes', (t) => {
  const bytes = Buffer.concat([Buffer.from('💀', 'utf8'), Buffer.of(0x80, 0xff), Buffer.from('💀', 'utf8')])
  t.deepEqual(encodeName(decodeName(bytes)), bytes)
  t.is(printable(decodeName(bytes)), '💀\ufffd\ufffd💀')
})
