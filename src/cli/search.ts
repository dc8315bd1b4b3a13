// `spacedrive search`: entries whose name contains the words of a query, and which pass its filters.
import { Option, type Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { SEARCH_SORTS } from '../protocol/words.js'
import type { FileItem } from '../protocol/messages.js'
import { chooseLibrary } from './choice.js'
import type { Desk } from './desk.js'
import { line, pagesOf, printPages, type Page } from './ls.js'
import { collected, wholeNumber } from './arguments.js'
import { pointAt, QUERY_HELP } from './query.js'
import { UsageError } from './failure.js'
import { grouped } from './text.js'

interface SearchOptions {
  readonly library?: string
  readonly limit: number
  readonly all?: boolean
  readonly kind?: string
  readonly location?: string
  readonly tag: readonly string[]
  readonly sort?: string
  readonly reverse?: boolean
}

interface FoundPage extends Page {
  readonly total: number
}

export function addSearch(program: Command, desk: Desk): void {
  program
    .command('search')
    .description('find entries by words in their name, and by filters')
    .argument('[QUERY...]', 'words and filters; after -- they may begin with a dash')
    .option('--library <LIBRARY>', 'name or id of the library')
    .option('--limit <N>', 'show at most N', wholeNumber(1), LIMITS.pageDefault)
    .option('--all', 'show every one')
    .addOption(new Option('--kind <KIND>', 'only this kind').choices(['file', 'directory', 'symlink', 'other']))
    .option('--location <ID>', 'only below this location')
    .option('--tag <TAG>', 'only what has this tag; may be given more than once', collected, [])
    .addOption(new Option('--sort <KEY>', 'order; names from a on, largest, newest first').choices(SEARCH_SORTS))
    .option('--reverse', 'the other way round')
    .addHelpText('after', QUERY_HELP)
    .action((words: string[], options: SearchOptions) => search(desk, words.join(' '), options))
}

async function search(desk: Desk, query: string, options: SearchOptions): Promise<void> {
  if (query === '' && options.tag.length === 0) throw new UsageError("missing required argument 'QUERY'")
  const { client } = desk
  const library = await chooseLibrary(client, options.library)
  const filters = filtersOf(options)
  const shownMax = options.all ? Number.POSITIVE_INFINITY : options.limit
  const params = {
    library: library.id,
    query,
    syntax: 'filters',
    ...(filters ? { filters } : {}),
    ...orderOf(options),
    limit: Math.min(shownMax, LIMITS.pageMax),
  }
  let total = 0
  const pages = pagesOf((cursor) =>
    client
      .call<FoundPage>('search.files', { ...params, ...cursor })
      .catch((error: unknown) => point(desk, query, error)),
  )
  const head = (page: Page) => `{"total":${(total = (page as FoundPage).total)},"items":[`
  const shown = await printPages(desk, upTo(pages, shownMax), head, (file: FileItem) => line(file, file.path))
  if (!desk.json) desk.note(footer(shown, total))
}

/** What makes no sense is shown before it is told. */
function point(desk: Desk, query: string, error: unknown): never {
  if (error instanceof SpacedriveError && error.position !== undefined)
    for (const each of pointAt(query, error.position)) desk.note(each)
  throw error
}

function orderOf({ sort, reverse }: SearchOptions): { sort?: string; order?: string } {
  if (reverse && (sort === undefined || sort === 'relevance'))
    throw new UsageError(
      '--reverse needs something to sort by',
      'Add `--sort name`, `--sort size` or `--sort modified`.',
    )
  if (sort === undefined) return {}
  return { sort, ...(reverse ? { order: sort === 'name' ? 'descending' : 'ascending' } : {}) }
}

function filtersOf({ kind, location, tag }: SearchOptions): object | undefined {
  const given = {
    ...(kind === undefined ? {} : { kind }),
    ...(location === undefined ? {} : { location }),
    ...(tag.length === 0 ? {} : { tags: tag }),
  }
  return Object.keys(given).length === 0 ? undefined : given
}

async function* upTo<P extends Page>(pages: AsyncIterable<P>, itemsMax: number): AsyncGenerator<P> {
  let left = itemsMax
  for await (const page of pages) {
    yield page.items.length > left ? { ...page, items: page.items.slice(0, left) } : page
    left -= page.items.length
    if (left <= 0) return
  }
}

function footer(shown: number, total: number): string {
  if (shown >= total) return `${grouped(total)} found`
  return `${grouped(shown)} of ${grouped(total)} found; --all shows every one`
}
