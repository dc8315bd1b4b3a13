// Ranges of a file as RFC 9110 has them.
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { readRanges } from '../../src/front/ranges.js'

test('one range, from the start, from the middle and from the end', (t) => {
  t.deepEqual(readRanges('bytes=0-0', 10), [{ start: 0, end: 1 }])
  t.deepEqual(readRanges('bytes=3-', 10), [{ start: 3, end: 10 }])
  t.deepEqual(readRanges('Bytes=-4', 10), [{ start: 6, end: 10 }])
  t.deepEqual(readRanges('bytes=-40', 10), [{ start: 0, end: 10 }])
  t.deepEqual(readRanges('bytes=8-99', 10), [{ start: 8, end: 10 }])
})

test('what makes no sense means the whole file, what lies outside means none of it', (t) => {
  const wrong = [
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=5-3',
    'bytes=a-b',
    'lines=0-1',
    'bytes=0-1,x',
    'bytes=1-2-3',
    'bytes=+1-2',
  ]
  for (const text of wrong) t.is(readRanges(text, 10), null, text)
  t.is(readRanges(undefined, 10), null)
  for (const text of ['bytes=10-', 'bytes=-0', 'bytes=99-100,10-11']) t.deepEqual(readRanges(text, 10), [], text)
  t.deepEqual(readRanges('bytes=0-0', 0), [])
  t.deepEqual(readRanges('bytes=-1', 0), [])
  t.is(readRanges(`bytes=${'0-0,'.repeat(LIMITS.fileRangesMax)}1-1`, 10), null)
})

test('several ranges come in the order asked for; those that overlap become one', (t) => {
  t.deepEqual(readRanges('bytes=8-9, 0-1', 10), [
    { start: 8, end: 10 },
    { start: 0, end: 2 },
  ])
  t.deepEqual(readRanges('bytes=4-6,0-1,6-8,99-', 10), [
    { start: 0, end: 2 },
    { start: 4, end: 9 },
  ])
})

test('whatever ranges are asked for, exactly their bytes are in the answer, and none twice', (t) => {
  const range = fc
    .tuple(fc.nat(30), fc.nat(30))
    .map(([one, other]) => [Math.min(one, other), Math.max(one, other)] as const)
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 8 }), fc.nat(25), (ranges, size) => {
      const spans = readRanges(`bytes=${ranges.map(([from, to]) => `${from}-${to}`).join(',')}`, size)!
      const got = spans.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
      const wanted = new Set(
        ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, at) => from + at)),
      )
      t.deepEqual(
        got.toSorted((a, b) => a - b),
        [...wanted].filter((at) => at < size).sort((a, b) => a - b),
      )
    }),
  )
})
