// `spacedrive tag …`: the tags of a library, and what they are on.
import { Option, type Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Tagging, TagItem } from '../protocol/messages.js'
import { chooseLibrary, covering, listLocations, spellings } from './choice.js'
import type { Client } from './client.js'
import type { Desk } from './desk.js'
import { Exit, EXIT } from './failure.js'
import { libraryCovering, pagesOf } from './ls.js'
import { table } from './table.js'
import type { Terminal } from './terminal.js'
import { grouped, plural, quoted, safe } from './text.js'

interface TagOptions {
  readonly library?: string
  readonly name?: string
  /** False as commander reads --no-parent and its like. */
  readonly parent?: string | false
  readonly colour?: string | false
  readonly color?: string
  readonly description?: string | false
  readonly alias?: readonly string[] | false
  readonly content?: boolean
}

interface TagPage {
  readonly total: number
  readonly items: readonly TagItem[]
  readonly cursor?: string
}

const LIBRARY_OPTION = ['--library <LIBRARY>', 'name or id of the library'] as const
const TAG = 'name, alias or id'
/** Of the paths in one request; the rest of its body is small. */
const PATH_BYTES_MAX = LIMITS.bodyBytesMax / 4
const MISSING_SHOWN_MAX = 10

export function addTag(program: Command, desk: Desk): void {
  const tag = program.command('tag').description('tags: make them, list them, put them on entries')
  describing(tag.command('create').description('make a tag').argument('<NAME>')).action(
    (name: string, options: TagOptions) => create(desk, name, options),
  )
  tag
    .command('list')
    .description('list the tags as a tree')
    .argument('[TEXT]', 'only those of which a name or alias contains it')
    .option(...LIBRARY_OPTION)
    .action((text: string | undefined, options: TagOptions) => list(desk, text, options))
  describing(
    tag
      .command('update')
      .description('change what is given, and leave the rest as it is')
      .argument('<TAG>', TAG)
      .option('--name <NAME>', 'another name'),
  )
    .option('--no-parent', 'put it at the top')
    .option('--no-colour', 'take its colour away')
    .option('--no-alias', 'take its aliases away')
    .option('--no-description', 'take its description away')
    .action((given: string, options: TagOptions) => update(desk, given, options))
  tag
    .command('delete')
    .description('delete a tag; the files stay, and tags below it move up')
    .argument('<TAG>', TAG)
    .option(...LIBRARY_OPTION)
    .action((given: string, options: TagOptions) => remove(desk, given, options))
  for (const give of [true, false]) {
    tag
      .command(give ? 'apply' : 'remove')
      .description(give ? 'put a tag on files and directories' : 'take a tag off files and directories')
      .argument('<TAG>', TAG)
      .argument('<PATH...>', 'entries of the index')
      .option('--content', 'what the files hold, so that every copy has it')
      .option('--library <LIBRARY>', 'name or id of the library; without it the one that covers the first PATH')
      .action((given: string, paths: string[], options: TagOptions) => putOn(desk, given, paths, give, options))
  }
}

function describing(command: Command): Command {
  return command
    .option(...LIBRARY_OPTION)
    .option('--parent <TAG>', 'the tag it lies below')
    .option('--colour <#RRGGBB>', 'how it is shown')
    .addOption(new Option('--color <#RRGGBB>').hideHelp())
    .option('--alias <NAME>', 'another name for it; may be given more than once', gathered)
    .option('--description <TEXT>', 'what it is for')
}

function gathered(text: string, before: readonly string[] | boolean | undefined): string[] {
  return [...(Array.isArray(before) ? (before as string[]) : []), text]
}

async function create(desk: Desk, name: string, options: TagOptions): Promise<void> {
  const { id: library } = await chooseLibrary(desk.client, options.library)
  const made = await desk.client.call<TagItem>('tags.create', { library, name, ...wordsOf(options) })
  await desk.answer(made, () => [`created the tag ${pathWords(made)}`])
}

async function update(desk: Desk, tag: string, options: TagOptions): Promise<void> {
  const { id: library } = await chooseLibrary(desk.client, options.library)
  const { name } = options
  const change = { ...(name === undefined ? {} : { name }), ...wordsOf(options) }
  const changed = await desk.client.call<TagItem>('tags.update', { library, tag, ...change })
  await desk.answer(changed, () => [`changed the tag ${pathWords(changed)}`])
}

/** What was said of a tag; what is to be taken away is null. */
function wordsOf({ parent, colour, color, description, alias }: TagOptions): object {
  const said = { parent, colour: colour ?? color, description }
  const given = Object.entries(said).filter(([, value]) => value !== undefined)
  return {
    ...Object.fromEntries(given.map(([key, value]) => [key, value === false ? null : value])),
    ...(alias === undefined ? {} : { aliases: alias === false ? [] : alias }),
  }
}

async function remove(desk: Desk, tag: string, options: TagOptions): Promise<void> {
  const { id: library } = await chooseLibrary(desk.client, options.library)
  const result = await desk.client.call<unknown>('tags.delete', { library, tag })
  await desk.answer(result, () => [`deleted the tag ${quoted(tag)}`])
}

async function list(desk: Desk, query: string | undefined, options: TagOptions): Promise<void> {
  const { id: library } = await chooseLibrary(desk.client, options.library)
  const params = { library, ...(query === undefined ? {} : { query }), limit: LIMITS.pageMax }
  const tags: TagItem[] = []
  for await (const { items } of pagesOf((cursor) => desk.client.call<TagPage>('tags.list', { ...params, ...cursor })))
    tags.push(...items)
  if (tags.length === 0 && !desk.json)
    return desk.note(query === undefined ? 'no tag yet; `spacedrive tag create NAME` makes one' : 'no such tag')
  await desk.answer({ total: tags.length, items: tags }, () => tagLines(tags, desk.terminal, query !== undefined))
}

/**
 * The tree, by indentation; on a terminal a dot has the colour itself.
 *
 * @param picked only some of the tree: then each says what it lies below
 */
export function tagLines(tags: readonly TagItem[], terminal: Terminal, picked = false): string[] {
  const rows = tags.map(({ name, path, entries, contents, colour, aliases, description }) => [
    picked ? safe(path.join(' > ')) : `${'  '.repeat(path.length - 1)}${safe(name)}`,
    grouped(entries),
    contents > 0 ? grouped(contents) : '',
    colour ?? '',
    safe(aliases.join(', ')),
    safe(description ?? ''),
  ])
  const columns = [
    { title: 'tag', shrinks: true },
    { title: 'entries', right: true },
    { title: 'contents', right: true },
    { title: 'colour' },
    { title: 'aliases', shrinks: true },
    { title: 'description', shrinks: true },
  ]
  const isUsed = (_: unknown, at: number) => at < 2 || rows.some((row) => row[at] !== '')
  const used = columns.filter(isUsed)
  const cells = rows.map((row) => row.filter(isUsed))
  if (!terminal.colours) return table(used, cells, terminal.listColumns)
  const [titles = '', ...lines] = table(used, cells, terminal.listColumns - 2)
  return [`  ${titles}`, ...lines.map((line, at) => `${dot(tags[at]!, terminal)} ${line}`)]
}

function dot({ colour }: TagItem, terminal: Terminal): string {
  return colour === undefined ? ' ' : terminal.tinted(colour, '●')
}

async function putOn(
  desk: Desk,
  tag: string,
  given: readonly string[],
  give: boolean,
  options: TagOptions,
): Promise<void> {
  const { client } = desk
  const library =
    options.library === undefined
      ? await libraryCovering(client, given[0]!)
      : (await chooseLibrary(client, options.library)).id
  const locations = await listLocations(client, library)
  const paths = given.map((path) => covering(locations, path)?.path ?? spellings(path)[0]!)
  const to = options.content ? { to: 'content' } : {}
  const sum: Tagging = { tag, entries: 0, changed: 0, missing: [] }
  for (const some of slices(paths)) {
    const done = await tagSome(client, give ? 'tags.apply' : 'tags.remove', { library, tag, paths: some, ...to })
    sum.tag = done.tag
    sum.entries += done.entries
    sum.changed += done.changed
    sum.missing.push(...done.missing)
  }
  await desk.answer(sum, () => [options.content ? contentWords(tag, sum, give) : words(tag, sum, give)])
  if (sum.missing.length === 0) return
  if (!desk.json) tellMissing(desk, options.content ? 'content not known' : 'not in the index', sum.missing)
  throw new Exit(EXIT.failed)
}

/** Where none of them is in the index, that is no reason not to try the others. */
async function tagSome(
  client: Client,
  operation: 'tags.apply' | 'tags.remove',
  params: { library: string; tag: string; paths: string[] },
): Promise<Tagging> {
  try {
    return await client.call<Tagging>(operation, params)
  } catch (error) {
    if (!(error instanceof SpacedriveError) || error.code !== 'FILE_NOT_FOUND') throw error
    return { tag: params.tag, entries: 0, changed: 0, missing: params.paths }
  }
}

function words(tag: string, { entries, changed }: Tagging, give: boolean): string {
  const what = plural(entries, 'entry', 'entries')
  const before = entries - changed
  if (give) return `${quoted(tag)} is on ${what}${before > 0 ? `, ${grouped(before)} had it before` : ''}`
  return `${quoted(tag)} is off ${what}${before > 0 ? `, ${grouped(before)} did not have it` : ''}`
}

function contentWords(tag: string, { entries }: Tagging, give: boolean): string {
  return `${quoted(tag)} is ${give ? 'on' : 'off'} what ${plural(entries, 'file')} ${entries === 1 ? 'holds' : 'hold'}, and every copy`
}

function tellMissing(desk: Desk, why: string, missing: readonly string[]): void {
  for (const path of missing.slice(0, MISSING_SHOWN_MAX)) desk.note(`${why}: ${safe(path)}`)
  const more = missing.length - MISSING_SHOWN_MAX
  if (more > 0) desk.note(`and ${grouped(more)} more`)
}

/** As many paths as one request takes. */
function* slices(paths: readonly string[]): Generator<string[]> {
  let slice: string[] = []
  let bytes = 0
  for (const path of paths) {
    const more = Buffer.byteLength(path)
    if (slice.length > 0 && (slice.length === LIMITS.tagEntriesMax || bytes + more > PATH_BYTES_MAX)) {
      yield slice
      slice = []
      bytes = 0
    }
    slice.push(path)
    bytes += more
  }
  yield slice
}

function pathWords({ path }: TagItem): string {
  return path.map(quoted).join(' > ')
}
