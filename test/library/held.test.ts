// Filters by what files hold, against an oracle that looks at every item.
import { linkSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Balance } from '../../src/job/balance.js'
import { identify } from '../../src/job/identify.js'
import type { Library } from '../../src/library/library.js'
import type { FileItem } from '../../src/protocol/messages.js'
import { CONTENT_KINDS } from '../../src/protocol/operations.js'
import { identifyHere, newLedger, run, Stage } from './stage.js'

const PNG = '\x89PNG\r\n\x1a\n'
const ZIP = 'PK\x03\x04'
const OPAQUE = '\0\x01\x02\x03'

/** Names that say the truth, names that lie, and names that say nothing. */
const FILES: readonly [name: string, bytes: string][] = [
  ['photo.png', PNG],
  ['photo.txt', `${PNG}a`],
  ['photo', `${PNG}b`],
  ['copy of photo.png', PNG],
  ['no photo.png', 'only text'],
  ['UPPER.JPG', '\xff\xd8\xff\xe0'],
  ['raw.nef', OPAQUE],
  ['raw', `${OPAQUE}a`],
  ['code.ts', 'let a = 1'],
  ['code.nef', 'let a = 2'],
  ['drawing.svgz', '\x1f\x8b0'],
  ['drawing.gz', '\x1f\x8b1'],
  ['scan.jp2', `${OPAQUE}2`],
  ['script', '#!/bin/sh\n'],
  ['script.py', '#!/usr/bin/python\n'],
  ['offer.docx', `${ZIP}0`],
  ['offer.zip', `${ZIP}1`],
  ['offer.txt', `${ZIP}2`],
  ['below/again.png', PNG],
  ['below/same text', 'only text'],
  ['below/empty.png', ''],
  ['below/empty', ''],
  ['.png', 'nothing before the dot'],
]

function plant(stage: Stage): void {
  mkdirSync(join(stage.tree, 'below'))
  mkdirSync(join(stage.tree, 'directory.png'))
  for (const [name, bytes] of FILES) {
    writeFileSync(join(stage.tree, name), Buffer.from(bytes, 'latin1'))
    utimesSync(join(stage.tree, name), 1_000_000, 1_000_000)
  }
  // Many more than have copies, so that these are looked up.
  for (let at = 0; at < 150; at++) writeFileSync(join(stage.tree, `filler ${at}`), '')
  linkSync(join(stage.tree, 'script'), join(stage.tree, 'below', 'another name of script'))
}

/** What is written after it is indexed is not read any more. */
async function filled(stage: Stage, mode: 'shallow' | 'content', unread: readonly string[] = []): Promise<Library> {
  plant(stage)
  const library = stage.open(stage.create())
  const { location, job } = library.addLocation(stage.tree, { mode })
  await run(library, library.jobs.get(job))
  for (const name of unread) writeFileSync(join(stage.tree, name), 'written')
  const reading = library.jobs.active('identify', location.uid)
  if (!reading) return library
  const abort = new AbortController()
  await identify({
    library,
    job: reading,
    walk: () => {
      throw new Error('it walks nothing')
    },
    identify: identifyHere,
    leftOut: [],
    signal: abort.signal,
    balance: new Balance(newLedger(), reading.id),
    committed: () => {},
    progressed: () => {},
    breathe: () => Promise.resolve(),
  })
  return library
}

async function found(library: Library, query: string, limit: number): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const page = await library.search({ query, syntax: 'filters', limit, cursor })
    ids.push(...page.items.map(({ id }) => id))
    cursor = page.cursor
    if (cursor === undefined && ids.length !== page.total)
      throw new Error(`${query}: ${page.total} told, ${ids.length} given`)
  } while (cursor !== undefined)
  return ids.sort()
}

type Passes = (item: FileItem, items: readonly FileItem[]) => boolean

const isOf =
  (...kinds: string[]): Passes =>
  ({ kind, contentKind = 'unknown' }) =>
    kind === 'file' && kinds.includes(contentKind)
const hasCopy: Passes = ({ contentId, inode }, items) =>
  contentId !== undefined && items.some((each) => each.contentId === contentId && each.inode !== inode)
const not =
  (passes: Passes): Passes =>
  (...of) =>
    !passes(...of)
const both =
  (one: Passes, other: Passes): Passes =>
  (...of) =>
    one(...of) && other(...of)

const ASKED: Record<string, Passes> = {
  ...Object.fromEntries(CONTENT_KINDS.map((kind) => [`type:${kind}`, isOf(kind)])),
  ...Object.fromEntries(CONTENT_KINDS.map((kind) => [`-type:${kind}`, not(isOf(kind))])),
  'type:image,code': isOf('image', 'code'),
  'type:IMAGE photo': both(isOf('image'), ({ name }) => name.includes('photo')),
  'type:image -type:image': () => false,
  'type:image -is:duplicate': both(isOf('image'), not(hasCopy)),
  'type:image ext:png': both(isOf('image'), ({ name }) => name.endsWith('.png') && name !== '.png'),
  'type:text,unknown size:>0': both(isOf('text', 'unknown'), ({ size }) => size > 0),
  'type:image path:below': both(isOf('image'), ({ path }) => path.includes('below')),
  '-type:image path:below': both(not(isOf('image')), ({ path }) => path.includes('below')),
  'is:duplicate': hasCopy,
  '-is:duplicate': not(hasCopy),
  'is:duplicate type:text': both(hasCopy, isOf('text')),
  'is:duplicate photo': both(hasCopy, ({ name }) => name.includes('photo')),
  'is:duplicate *.png': both(hasCopy, ({ name }) => name.endsWith('.png')),
}

async function compare(library: Library): Promise<string[]> {
  const { items } = await library.search({ query: '', limit: 1_000 })
  const wrong: string[] = []
  for (const [query, passes] of Object.entries(ASKED)) {
    const expected = items.filter((item) => passes(item, items)).map(({ id }) => id)
    for (const limit of [1_000, 3]) {
      const ids = await found(library, query, limit)
      if (String(ids) !== String(expected.sort())) wrong.push(`${query}: ${ids}, and ${expected} is right`)
    }
  }
  return wrong
}

test.serial('what is read decides of what type a file is, and the name of what is not', async (t) => {
  using stage = new Stage()
  const library = await filled(stage, 'content', ['photo.txt', 'offer.docx'])
  t.deepEqual(await compare(library), [])
  const names = async (query: string) =>
    (await library.search({ query, syntax: 'filters', sort: 'name' })).items.map(({ name }) => name)
  t.deepEqual(await names('type:image'), [
    'again.png',
    'copy of photo.png',
    'drawing.svgz',
    'empty.png',
    'photo',
    'photo.png',
    'raw.nef',
    'scan.jp2',
    'UPPER.JPG',
  ])
  t.deepEqual(await names('is:duplicate'), ['again.png', 'copy of photo.png', 'no photo.png', 'photo.png', 'same text'])
})

test.serial('where nothing was ever read names decide, and nothing has copies', async (t) => {
  using stage = new Stage()
  const library = await filled(stage, 'shallow')
  t.false(library.identities.used)
  t.deepEqual(await compare(library), [])
  t.is((await library.search({ query: 'is:duplicate', syntax: 'filters' })).total, 0)
  t.true((await library.search({ query: 'type:image', syntax: 'filters' })).total > 0)
})

test.serial('as filters beside the query they are the same', async (t) => {
  using stage = new Stage()
  const library = await filled(stage, 'content')
  const total = async (filters: object) => (await library.search({ query: '', filters })).total
  const asked = async (query: string) => (await library.search({ query, syntax: 'filters' })).total
  t.is(await total({ contentKinds: ['image', 'code'] }), await asked('type:image,code'))
  t.is(await total({ duplicate: true }), await asked('is:duplicate'))
  t.is(await total({ duplicate: false }), await asked('-is:duplicate'))
  t.is(await total({ not: [{ duplicate: false }] }), await asked('is:duplicate'))
  t.is(await total({ not: [{ contentKinds: ['image'] }] }), await asked('-type:image'))
})
