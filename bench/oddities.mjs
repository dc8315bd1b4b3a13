// A made-up tree with everything odd that a file system can hold, for `model.mjs`: half of it in one directory.
import { execFileSync } from 'node:child_process'
import { closeSync, linkSync, mkdirSync, openSync, renameSync, symlinkSync, truncateSync, utimesSync } from 'node:fs'
import { join } from 'node:path'

const NAMES = [
  'ä',
  'a\u0308',
  'A',
  'a',
  'two\nlines',
  "it's",
  '"',
  '%',
  '-rf',
  ' ',
  '💀',
  'x'.repeat(255),
  '.hidden',
  '*',
  '\\',
]

export function makeOdd(root, entries) {
  const at = (...names) => join(root, ...names)
  const make = (path) => closeSync(openSync(path, 'w'))
  mkdirSync(root, { recursive: true })

  mkdirSync(at('huge'))
  for (let number = 0; number < entries / 2; number++) make(at('huge', `file ${number}`))

  const deep = Array.from({ length: 900 }, () => 'd')
  mkdirSync(at('deep', ...deep), { recursive: true })
  make(at('deep', ...deep, 'bottom'))

  mkdirSync(at('names'))
  for (const name of NAMES) {
    mkdirSync(at('names', name))
    for (const each of NAMES) make(at('names', name, each))
  }
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xfe, 0x41]])
    make(Buffer.concat([Buffer.from(`${at('names')}/`), Buffer.from(bytes)]))

  mkdirSync(at('kinds', 'empty'), { recursive: true })
  for (const [to, name] of [
    ['nowhere', 'dangling'],
    ['self', 'self'],
    ['..', 'up'],
    ['/', 'away'],
    ['y'.repeat(4_000), 'long'],
  ])
    symlinkSync(to, at('kinds', name))
  execFileSync('mkfifo', [at('kinds', 'pipe')])
  make(at('kinds', 'sparse'))
  truncateSync(at('kinds', 'sparse'), 2 ** 40)
  for (const seconds of [-1, 0, 2 ** 31, 2 ** 33]) {
    make(at('kinds', `of ${seconds}`))
    utimesSync(at('kinds', `of ${seconds}`), seconds, seconds)
  }
  mkdirSync(at('links'))
  make(at('links', 'one'))
  for (let number = 0; number < 1_000; number++) linkSync(at('links', 'one'), at('links', `one ${number}`))
  renameSync(at('links', 'one'), at('one'))

  let made = entries / 2 + deep.length + NAMES.length * (NAMES.length + 1) + 1_030
  for (let number = 0; made < entries; number++) {
    const folder = at('wide', `${number % 100}`, `${number}`)
    mkdirSync(folder, { recursive: true })
    for (let file = 0; file < 100; file++) make(join(folder, `file ${file}.txt`))
    made += 101
  }
}
