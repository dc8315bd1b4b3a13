import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { openGauge } from '../../src/cli/progress.js'
import { table } from '../../src/cli/table.js'
import { Terminal } from '../../src/cli/terminal.js'
import { bytes, columnsOf, coverageWords, duration, fitted, grouped, safe } from '../../src/cli/text.js'
import { aJob, remembering } from './fake.js'

test('bytes are shown in binary units and never as 1024.0', (t) => {
  t.deepEqual([0, 1023, 1024, 1536, 1_048_575, 1_048_576, 5e15].map(bytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 MiB',
    '1.0 MiB',
    '4.4 PiB',
  ])
})

test('what is watched is told in per cent that never round to all of it, or to none', (t) => {
  const words = (live: number, polled: number) => coverageWords({ live, polled })
  t.is(words(92, 8), '92 % live, 8 % polled')
  t.is(words(9_999, 1), '99 % live, 1 % polled')
  t.is(words(1, 9_999), '1 % live, 99 % polled')
  t.is(words(5, 0), 'live')
  t.is(words(0, 5), 'polled')
})

test('numbers are grouped by thousands', (t) => {
  t.deepEqual([0, 999, 1_000, 1_234_567].map(grouped), ['0', '999', '1,000', '1,234,567'])
})

test('durations grow their units and never show 60 of one', (t) => {
  t.deepEqual([5, 999, 1_500, 59_949, 59_960, 3_599_999, 7_260_000, 90_000_000].map(duration), [
    '5 ms',
    '999 ms',
    '1.5 s',
    '59.9 s',
    '1 min 0 s',
    '1 h 0 min',
    '2 h 1 min',
    '1 d 1 h',
  ])
})

test('a name cannot steer the terminal or pretend to be another', (t) => {
  t.is(safe('a\u001b[31mb\r\nc\td\u0000'), 'a\\x1b[31mb\\x0d\\nc\\td\\x00')
  t.is(safe('exe\u202egnp.\u009b'), 'exe\\u202egnp.\\x9b')
  t.is(safe('Übersicht 写真 🎉'), 'Übersicht 写真 🎉')
})

test('wide and combining characters are measured as a terminal shows them', (t) => {
  t.is(columnsOf('写真'), 4)
  t.is(columnsOf('e\u0301'), 1)
  t.is(columnsOf('🎉'), 2)
})

test('a text is cut in the middle and never takes more columns than it may', (t) => {
  t.is(fitted('short', 10), 'short')
  t.is(fitted('/home/ada/photos/2024', 11), '/home…/2024')
  for (let columns = 0; columns < 14; columns += 1) t.true(columnsOf(fitted('写真写真写真写真', columns)) <= columns)
})

test('a table keeps to its width by cutting only the columns that may be cut', (t) => {
  const lines = table([{ title: 'id' }, { title: 'path', shrinks: true }], [['x'.repeat(36), 'p'.repeat(200)]], 80)
  t.deepEqual(
    lines.map(columnsOf).filter((columns) => columns > 80),
    [],
  )
  t.true(lines[1]!.startsWith('x'.repeat(36)))
})

test('a table without a bound cuts nothing', (t) => {
  const [, row] = table([{ title: 'path', shrinks: true }], [['p'.repeat(200)]], Number.POSITIVE_INFINITY)
  t.is(row, 'p'.repeat(200))
})

test('columns of numbers are aligned to the right, and no line ends in blanks', (t) => {
  t.deepEqual(
    table(
      [{ title: 'n', right: true }, { title: 'name' }],
      [
        ['10', 'a'],
        ['9', 'bcd'],
      ],
      80,
    ),
    [' n  name', '10  a', ' 9  bcd'],
  )
})

test('of a job that stands in line again it is told why', (t) => {
  Object.assign(LIMITS, { cliProgressLineMs: 0 })
  const err = remembering()
  const gauge = openGauge(new Terminal(remembering(), err, {}), 'indexing', false)
  const waiting = { code: 'DISK_FULL', message: 'the disk is full', hint: '', retryable: true } as const
  gauge.show(aJob({ state: 'queued', progress: { done: 5, unit: 'entries' }, waiting }))
  gauge.close()
  t.is(err.text(), 'indexing: 5 entries, queued: DISK_FULL\n')
})
