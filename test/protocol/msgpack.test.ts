// MessagePack: the bytes of its specification, every value of JSON there and back, and bytes that claim more than they hold.
import test from 'ava'
import fc from 'fast-check'
import { pack, unpack } from '../../src/protocol/msgpack.js'

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const read = (hex: string) => unpack(bytesOf(hex), 64)

test('what is written is read again, and a longer way to write it too', (t) => {
  const shortest: [value: unknown, hex: string][] = [
    [null, 'c0'],
    [false, 'c2'],
    [true, 'c3'],
    [0, '00'],
    [127, '7f'],
    [128, 'cc80'],
    [255, 'ccff'],
    [256, 'cd0100'],
    [65_536, 'ce00010000'],
    [4_294_967_295, 'ceffffffff'],
    [4_294_967_296, 'cb41f0000000000000'],
    [-1, 'ff'],
    [-32, 'e0'],
    [-33, 'd0df'],
    [-128, 'd080'],
    [-129, 'd1ff7f'],
    [-32_769, 'd2ffff7fff'],
    [-2_147_483_648, 'd280000000'],
    [1.5, 'cb3ff8000000000000'],
    ['', 'a0'],
    ['a', 'a161'],
    ['é', 'a2c3a9'],
    ['x'.repeat(32), `d920${'78'.repeat(32)}`],
    [[], '90'],
    [[1, [2]], '92019102'],
    [{}, '80'],
    [{ id: 1, a: null }, '82a2696401a161c0'],
  ]
  for (const [value, hex] of shortest) {
    t.is(Buffer.from(pack(value)).toString('hex'), hex)
    t.deepEqual(read(hex), value)
  }
  const longer: [value: unknown, hex: string][] = [
    [1, 'cf0000000000000001'],
    [-1, 'd3ffffffffffffffff'],
    [0.5, 'ca3f000000'],
    ['a', 'db0000000161'],
    [[1], 'dd0000000101'],
    [{ a: 1 }, 'df00000001a16101'],
  ]
  for (const [value, hex] of longer) t.deepEqual(read(hex), value)
})

test('every value of JSON comes back, among others that are long', (t) => {
  const long = fc.array(fc.string({ unit: 'grapheme', minLength: 60, maxLength: 300 }), { maxLength: 40 })
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 6 }),
    long,
    fc.dictionary(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }), { noNullPrototype: true }),
  )
  fc.assert(
    fc.property(value, (each) => {
      t.deepEqual(unpack(pack(each), 64), each)
    }),
    { numRuns: 300 },
  )
  const rows = Array.from({ length: 70_000 }, (_, id) => ({ id, name: `file ${id} é.txt` }))
  t.deepEqual(unpack(pack(rows), 64), rows)
})

test('a member named __proto__ is one like any other', (t) => {
  const value = unpack(pack(JSON.parse('{"__proto__":{"polluted":1}}')), 64) as object
  t.is(Object.getPrototypeOf(value), Object.prototype)
  t.is(JSON.stringify(value), '{"__proto__":{"polluted":1}}')
})

test('what JSON cannot say, and what is cut short or too deep, is told with its place', (t) => {
  const wrong: [hex: string, told: RegExp][] = [
    ['', /too early, at 0/],
    ['c1', /a type that JSON does not have, at 0/],
    ['c403010203', /a binary that JSON does not have, at 0/],
    ['d40100', /a type that JSON does not have, at 0/],
    ['91c7000a', /a type that JSON does not have, at 1/],
    ['cb7ff8000000000000', /NaN is no number of JSON/],
    ['ca7f800000', /Infinity is no number of JSON/],
    ['cf0020000000000000', /beyond 2\^53/],
    ['d3ffdfffffffffffff', /beyond 2\^53/],
    ['a3616', /too early/],
    ['a2c328', /not UTF-8, at 1/],
    ['810102', /a key that is not a string, at 1/],
    ['819001', /a key that is not a string, at 1/],
    ['81', /too early, at 1/],
    ['81a161', /too early, at 3/],
    ['0102', /bytes follow the message, at 1/],
    ['ddffffffff', /too early, at 5/],
    ['dfffffffff', /too early, at 5/],
    ['dbffffffff61', /too early, at 6/],
    [`${'91'.repeat(65)}c0`, /more than 64 values within values, at 65/],
    ['dd00ffffff'.repeat(50_000), /too early|more than 64/],
  ]
  for (const [hex, told] of wrong) t.throws(() => read(hex), { message: told }, hex.slice(0, 40))
  t.notThrows(() => read(`${'91'.repeat(64)}c0`))
})

test('no bytes do anything but give a value or an error', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      let value: unknown
      try {
        value = unpack(bytes, 64)
      } catch (error) {
        return void t.true(error instanceof Error && !(error instanceof RangeError), String(error))
      }
      t.deepEqual(unpack(pack(value), 64), value)
    }),
    { numRuns: 3_000 },
  )
})
