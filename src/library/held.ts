// What entries hold, as a search asks for it: the kind of a content, whether there are copies, and what headers say.
import { CONTENT_KINDS } from '../protocol/words.js'
import type { ContentKind } from '../protocol/messages.js'
import { extensionsOf, guessOf, VAGUE } from '../scan/content-type.js'
import { KIND } from '../scan/read.js'
import type { Bind, Condition, FewNames, Value } from './conditions.js'
import type { Connection } from './connection.js'
import { Pace } from './pace.js'

/** Types that say little get a number each, from 1 on; 0 is any other type. */
const VAGUE_BITS = 3
const KINDS_FROM = 1 << VAGUE_BITS
const vague = VAGUE.map((mime, at) => `WHEN '${mime}' THEN ${at + 1}`).join(' ')

/** Of an entry in one number: −1 where it is no file, 0 where it was not read, else its kind and its type if that says little. */
export const HELD = `CASE WHEN entry.kind <> ${KIND.file} THEN -1 ELSE coalesce((
  SELECT (content.kind + 1) * ${KINDS_FROM} + CASE content.mime ${vague} ELSE 0 END
  FROM identity CROSS JOIN content ON content.id = identity.content
  WHERE identity.entry = entry.id AND identity.mtime = entry.mtime), 0) END`

/**
 * Files of one of these kinds, as an item says its `contentKind`; one that has none there is `unknown`.
 *
 * @param used whether anything was ever read: else names decide alone, and may be looked up
 */
export function hasKind(kinds: ReadonlySet<ContentKind>, used: boolean): [Condition, ...Condition[]] {
  const wanted = tableOf(kinds)
  const decides: Condition = {
    place: ({ texts }) => {
      return (_, name, held) => held >= 0 && wanted[held * LINES_MAX + texts.guessed(name)] === 1
    },
    asksHeld: true,
  }
  const isFile: Condition = { row: () => `entry.kind = ${KIND.file}` }
  if (used || kinds.has('unknown')) return [decides, isFile]
  const endings = extensionsOf(kinds).map((each) => `.${each}`)
  const named: Condition = {
    name: (name) => endings.some((each) => name.endsWith(each)),
    ways: endings.map((each) => [each]),
  }
  return [decides, isFile, named]
}

/** More than there are lines in the table of names. */
const LINES_MAX = 256
const HELD_MAX = (CONTENT_KINDS.length + 1) * KINDS_FROM

/** For whatever is held and guessed whether it is wanted: 1 or 0. */
function tableOf(kinds: ReadonlySet<ContentKind>): Uint8Array {
  const table = new Uint8Array(HELD_MAX * LINES_MAX)
  for (let held = 0; held < HELD_MAX; held++)
    for (let line = 0; line < LINES_MAX; line++) table[held * LINES_MAX + line] = kinds.has(kindOf(held, line)) ? 1 : 0
  return table
}

/** As `refineType` and `guessType` decide it. */
function kindOf(held: number, line: number): ContentKind {
  const guessed = guessOf(line)
  if (held < KINDS_FROM) return guessed?.kind ?? 'unknown'
  const mime = VAGUE[(held % KINDS_FROM) - 1]
  if (mime !== undefined && guessed?.mimes.includes(mime)) return guessed.kind
  return CONTENT_KINDS[Math.floor(held / KINDS_FROM) - 1] ?? 'unknown'
}

/**
 * Files of which another one holds the same.
 *
 * @param few where so few have copies that it pays to begin with them
 */
export function isDuplicate(few: boolean): Condition {
  return {
    row: () => `EXISTS (SELECT 1 FROM identity CROSS JOIN content ON content.id = identity.content
      WHERE identity.entry = entry.id AND identity.mtime = entry.mtime AND content.files > 1)`,
    ...(few ? { names: namesOfCopies } : {}),
  }
}

/** Looked at in one go: contents, and entries of one. */
const COPIED_A_STEP = 500
const ENTRIES_A_STEP = 5_000

function* namesOfCopies(connection: Connection): ReturnType<FewNames> {
  const names = new Set<number>()
  const some = connection
    .prepare<[number, number, number], [waste: number, id: number]>(
      `SELECT size * (files - 1), id FROM content WHERE files > 1 AND (size * (files - 1), id) > (?, ?)
       ORDER BY size * (files - 1), id LIMIT ?`,
    )
    .raw()
  const named = connection
    .prepare<[number, number, number], [entry: number, name: number]>(
      `SELECT identity.entry, entry.name FROM identity CROSS JOIN entry ON entry.id = identity.entry
       WHERE identity.content = ? AND identity.entry > ? ORDER BY identity.entry LIMIT ?`,
    )
    .raw()
  const pace = new Pace()
  for (let place = [-1, 0] as [number, number]; ;) {
    const contents = some.all(...place, COPIED_A_STEP)
    for (const [, content] of contents) {
      for (let after = 0, length = ENTRIES_A_STEP; length === ENTRIES_A_STEP;) {
        const rows = named.all(content, after, ENTRIES_A_STEP)
        for (const [, name] of rows) names.add(name)
        length = rows.length
        after = rows.at(-1)?.[0] ?? after
        if (pace.isDue()) yield
      }
    }
    if (contents.length < COPIED_A_STEP) return names
    place = contents.at(-1)!
  }
}

/** `from` and `to` are included, `before` is not. */
export interface MediaSpan {
  readonly column: 'width' | 'height' | 'ms' | 'taken'
  readonly from?: Value | undefined
  readonly to?: Value | undefined
  readonly before?: Value | undefined
}

/**
 * Pictures, sounds and films whose headers say something between the two ends.
 *
 * @param few where so few were looked into that it pays to begin with them
 */
export function headerSays(span: MediaSpan, few: boolean): Condition {
  return {
    row: (bind) =>
      `EXISTS (SELECT 1 FROM media WHERE media.entry = entry.id AND media.mtime = entry.mtime AND ${inSpan(span, bind)})`,
    ...(few ? { names: (connection) => namesSeen(connection, span) } : {}),
  }
}

function inSpan({ column, from, to, before }: MediaSpan, bind: Bind): string {
  const parts = [
    ...(from === undefined ? [] : [`media.${column} >= ${bind(from)}`]),
    ...(to === undefined ? [] : [`media.${column} <= ${bind(to)}`]),
    ...(before === undefined ? [] : [`media.${column} < ${bind(before)}`]),
  ]
  return parts.join(' AND ')
}

function* namesSeen(connection: Connection, span: MediaSpan): ReturnType<FewNames> {
  const names = new Set<number>()
  const values: Record<string, Value> = {}
  const wanted = inSpan(span, (value) => {
    const name = `v${Object.keys(values).length}`
    values[name] = value
    return `@${name}`
  })
  const some = connection
    .prepare<[Record<string, Value>], [entry: number, name: number]>(
      `SELECT media.entry, entry.name FROM media CROSS JOIN entry ON entry.id = media.entry
       WHERE ${wanted} AND media.entry > @after ORDER BY media.entry LIMIT ${ENTRIES_A_STEP}`,
    )
    .raw()
  for (let after = 0; ;) {
    const rows = some.all({ ...values, after })
    for (const [, name] of rows) names.add(name)
    if (rows.length < ENTRIES_A_STEP) return names
    after = rows.at(-1)![0]
    yield
  }
}
