// Filters by what files hold, against an oracle that looks at every item.
import { linkSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Balance } from '../../src/job/balance.js'
import { identify } from '../../src/job/identify.js'
import type { Library } from '../../src/library/library.js'
import type { FileItem, Mode } from '../../src/protocol/messages.js'
import { CONTENT_KINDS } from '../../src/protocol/words.js'
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
async function filled(stage: Stage, mode: Mode, unread: readonly string[] = []): Promise<Library> {
  plant(stage)
  return await indexed(stage, mode, unread)
}

async function indexed(stage: Stage, mode: Mode, unread: readonly string[] = []): Promise<Library> {
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

async function compare(library: Library, asked: Record<string, Passes> = ASKED): Promise<string[]> {
  const { items } = await library.search({ query: '', limit: 1_000 })
  const wrong: string[] = []
  for (const [query, passes] of Object.entries(asked)) {
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

/** A sound of so many samples, 8,000 a second, and a picture that was taken then. */
function sound(samples: number): string {
  const told = Buffer.alloc(34)
  told.writeUIntBE(8_000 << 4, 10, 3)
  told.writeUInt32BE(samples, 14)
  return `fLaC\0\0\0\x22${told.toString('latin1')}`
}

function picture(width: number, height: number, taken?: string): string {
  const sides = Buffer.alloc(8)
  sides.writeUInt32BE(width, 0)
  sides.writeUInt32BE(height, 4)
  const first = `\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0`
  const second = `\0\x01\x90\x03\0\x02\0\0\0\x14\0\0\0\x30\0\0\0\0`
  const exif = `MM\0*\0\0\0\x08${first}${second}\0\0\0\0${taken ?? ''}\0`
  return `${PNG}\0\0\0\rIHDR${sides.toString('latin1')}12345crc.\0\0\0\x50eXIf${exif}`
}

const MEDIA: Readonly<Record<string, string>> = {
  'wide.png': picture(4_000, 300, '2026:07:01 00:00:00'),
  'high.png': picture(300, 4_000, '2026:06:30 23:59:59'),
  'small.png': picture(300, 300),
  'short.flac': sound(4_000),
  'long.flac': sound(8_000 * 600),
}

type Says = NonNullable<FileItem['media']>

/** Of what has no header that says so, nothing holds. */
const says =
  (holds: (media: Required<Says>) => boolean): Passes =>
  ({ media = {} }) =>
    holds({ width: NaN, height: NaN, durationMs: NaN, takenAt: '', ...media })

const ASKED_OF_MEDIA: Record<string, Passes> = {
  'width:>300': says(({ width }) => width > 300),
  'width:300': says(({ width }) => width === 300),
  '-width:>300': not(says(({ width }) => width > 300)),
  'width:>=300 height:>=300': says(({ width, height }) => width >= 300 && height >= 300),
  'height:>300 -width:>300': says(({ width, height }) => height > 300 && width <= 300),
  'duration:>1min': says(({ durationMs }) => durationMs > 60_000),
  'duration:..10min': says(({ durationMs }) => durationMs <= 600_000),
  'duration:>1min ext:png': () => false,
  'taken:2026-07': says(({ takenAt }) => takenAt.startsWith('2026-07')),
  'taken:..2026-06': says(({ takenAt }) => takenAt !== '' && takenAt < '2026-07'),
  'taken:2026 small': () => false,
  'type:image -taken:2026': both(isOf('image'), not(says(({ takenAt }) => takenAt.startsWith('2026')))),
}

test.serial('what headers say is found, where few were read and where most were', async (t) => {
  for (const fillers of [150, 0]) {
    using stage = new Stage()
    for (let at = 0; at < fillers; at++) writeFileSync(join(stage.tree, `filler ${at}`), '')
    for (const [name, bytes] of Object.entries(MEDIA)) {
      writeFileSync(join(stage.tree, name), Buffer.from(bytes, 'latin1'))
      utimesSync(join(stage.tree, name), 1_000_000, 1_000_000)
    }
    const library = await indexed(stage, 'deep')
    t.deepEqual(await compare(library, ASKED_OF_MEDIA), [])
    for (const [query, count] of Object.entries({
      'width:>300': 1,
      'duration:>1min': 1,
      'taken:2026-07': 1,
      'taken:2026': 2,
    }))
      t.is((await found(library, query, 10)).length, count, query)
    t.is((await library.search({ query: '', filters: { taken: { before: '2026-07-01T00:00:00' } } })).total, 1)
  }
})
