// Patterns against JavaScript's own: the same matches, in one pass, however they are made.
import test from 'ava'
import fc from 'fast-check'
import { Automaton } from '../../src/library/automaton.js'
import { waysOf } from '../../src/library/required.js'
import { readGlob } from '../../src/protocol/glob.js'
import type { Pattern } from '../../src/protocol/pattern.js'
import { readRegex } from '../../src/protocol/regex.js'

const ALPHABET = ['a', 'b', 'c', '1', '_', '-', '.', ' ', '😀', '中']

const character = fc.constantFrom(...ALPHABET)
const name = fc.array(character, { maxLength: 12 }).map((parts) => parts.join(''))

/** Expressions that mean the same here and there: of \b, \w and \s only where the alphabet has no letter past ASCII. */
const { regex } = fc.letrec<{ regex: string; part: string; atom: string }>((tie) => ({
  regex: fc.array(tie('part'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('')),
  part: fc.oneof(
    { maxDepth: 3 },
    tie('atom'),
    fc.tuple(tie('atom'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{2,}', '*?', '+?')).map(([a, b]) => a + b),
  ),
  atom: fc.oneof(
    { maxDepth: 3 },
    character.map((each) => (each === '.' ? '\\.' : each)),
    fc.constantFrom(
      '.',
      '[ab]',
      '[^a]',
      '[a-c1]',
      '\\d',
      '\\D',
      '[^\\d.]',
      '[😀b]',
      '[^😀]',
      '(?:^|b)',
      '(?:$|c)',
      '^',
      '$',
    ),
    fc.tuple(tie('regex'), tie('regex')).map(([a, b]) => `(?:${a}|${b})`),
    tie('regex').map((each) => `(${each})`),
  ),
}))

function machine(source: string): { automaton: Automaton; pattern: Pattern } | undefined {
  try {
    const pattern = readRegex({ text: source, at: 0 })
    return { automaton: new Automaton(pattern), pattern }
  } catch {
    return undefined
  }
}

test('an expression matches exactly what JavaScript says it does, and what it must contain is in all of that', (t) => {
  let compared = 0
  fc.assert(
    fc.property(regex, fc.array(name, { minLength: 1, maxLength: 20 }), (source, names) => {
      const found = machine(source)
      if (!found) return
      const oracle = new RegExp(source, 'su')
      const ways = waysOf(found.pattern)
      for (const each of names) {
        const expected = oracle.test(each)
        t.is(found.automaton.test(each), expected, `${source} of ${each}`)
        if (expected)
          t.true(
            ways.some((texts) => texts.every((text) => each.includes(text))),
            `${source} of ${each}`,
          )
        compared += 1
      }
    }),
    { numRuns: 2_000, seed: Number(process.env.PATTERN_SEED ?? 1) },
  )
  t.true(compared > 10_000, 'nearly all of them are read')
})

test('edges of words, sets, escapes and folding', (t) => {
  const matches = (source: string, text: string) => machine(source)!.automaton.test(text)
  for (const [source, yes, no] of [
    ['\\bcat\\b', 'a cat.txt', 'concatenate'],
    ['\\Bcat', 'bobcat', 'cat'],
    ['^\\w+$', 'übersicht_1', 'two words'],
    ['^\\s\\S$', ' x', 'xx'],
    ['^[\\w-]+$', 'a-b', 'a.b'],
    ['^[\\D]$', 'x', '1'],
    ['^\\x61\\u0062\\u{63}$', 'abc', 'abd'],
    ['^É[À-Ü]$', 'eu', 'ex'],
    ['^[A-C]$', 'b', 'd'],
    ['^(?<year>\\d{4})-', '2024-x', '24-x'],
    ['^a.c$', 'a\nc', 'ac'],
    ['^$', '', 'x'],
    ['', 'anything', ''],
  ] as const) {
    t.true(matches(source, yes), `${source} of ${yes}`)
    if (no !== '') t.false(matches(source, no), `${source} of ${no}`)
  }
})

test('globs match whole names, and whole ends of paths', (t) => {
  const matches = (glob: string, text: string) => new Automaton(readGlob({ text: glob, at: 0 })).test(text)
  for (const [glob, text, expected] of [
    ['*.jp?g', 'a.jpeg', true],
    ['*.jp?g', 'a.jpg', false],
    ['*.{jpg,png}', 'x.png', true],
    ['*.{jpg,png}', 'x.gif', false],
    ['img_[0-9]*', 'img_7x', true],
    ['img_[!0-9]*', 'img_7x', false],
    ['[]a]*', ']x', true],
    ['[a', '[a', true],
    ['\\*', '*', true],
    ['\\*', 'x', false],
    ['?', '😀', true],
    ['*', '', true],
    ['src/*.ts', '/home/src/a.ts', true],
    ['src/*.ts', '/home/xsrc/a.ts', false],
    ['src/*.ts', '/home/src/deep/a.ts', false],
    ['src/**/*.ts', '/src/a.ts', true],
    ['src/**/*.ts', '/src/x/y/a.ts', true],
    ['src/**', '/src/x/y', true],
    ['/srv/*/a', '/srv/x/a', true],
    ['/srv/*/a', '/x/srv/x/a', false],
    ['**/a', '/x/y/a', true],
  ] as const)
    t.is(matches(glob, text), expected, `${glob} of ${text}`)
})

test('the texts that a pattern must contain are found in its middle and among its spellings', (t) => {
  const glob = (text: string) => waysOf(readGlob({ text, at: 0 }))
  const ways = (text: string) => waysOf(readRegex({ text, at: 0 }))
  t.deepEqual(glob('*.jp?g'), [['.jp']])
  t.deepEqual(glob('test-*.spec.ts'), [['test-', '.spec.ts']])
  t.deepEqual(glob('*.{jpg,png}'), [['.jpg'], ['.png']])
  t.deepEqual(glob('*'), [[]])
  t.deepEqual(ways('^img_\\d+\\.jpe?g$'), [
    ['img_', '.jpg'],
    ['img_', '.jpeg'],
  ])
  t.deepEqual(ways('(report|invoice)s?'), [['report'], ['reports'], ['invoice'], ['invoices']])
  t.deepEqual(ways('(abc|x)y*'), [[]])
  t.deepEqual(ways('(abc){2,}'), [['abcabc']])
})

test('what makes a backtracking matcher stand for ever costs no more than the length of the name', (t) => {
  const as = 'a'.repeat(254)
  for (const [source, yes, no] of [
    ['^(a+)+$', as, `${as}!`],
    ['^(a|a)*b$', `${as}b`, as],
    ['(.*a){20}', as, 'b'.repeat(254)],
    ['(a+a+)+y', `${as}y`, as],
    ['^(([a-z])+.)+[A-Z]([a-z])+$', as, `${as}1`],
    // As many combinations as there are subsets of sixty: they are forgotten and met again.
    ['^(a|b)*a(a|b){60}c$', `${'ab'.repeat(96)}bc`, 'ab'.repeat(127)],
  ] as const) {
    const { automaton } = machine(source)!
    t.true(automaton.test(yes), source)
    t.false(automaton.test(no), source)
    for (let each = 0; each < 200; each++) {
      const mixed = Array.from({ length: 250 }, (_, at) => ((at * at + each * 31) % 7 > 3 ? 'a' : 'b')).join('')
      t.false(automaton.test(`${mixed}!?`) && source.endsWith('$'), source)
    }
  }
})
