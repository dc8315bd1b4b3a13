// `spacedrive ls`: what a directory holds according to the index.
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { EntryKind, FileItem, LibraryItem } from '../protocol/messages.js'
import { collected } from './arguments.js'
import { chooseLibrary, covering, listLibraries, listLocations, USUAL_LIBRARY } from './choice.js'
import type { Client } from './client.js'
import type { Desk } from './desk.js'
import { bytes, minute, safe } from './text.js'

interface LsOptions {
  readonly library?: string
  readonly sort?: string
  readonly tag: readonly string[]
}

export interface Page {
  readonly items: readonly FileItem[]
  readonly cursor?: string
}

const MARKS: Record<EntryKind, string> = { file: '-', directory: 'd', symlink: 'l', other: '?' }

export function addLs(program: Command, desk: Desk): void {
  program
    .command('ls')
    .description('list a directory from the index (without PATH the current one)')
    .argument('[PATH]', 'a directory inside a location', '.')
    .option('--library <LIBRARY>', 'name or id of the library; without it the one that covers PATH')
    .option('--tag <TAG>', 'everything below it that has this tag; may be given more than once', collected, [])
    .addOption(new Option('--sort <KEY>', 'order of the entries').choices(['name', 'size', 'modified']))
    .action((path: string, options: LsOptions) => ls(desk, path, options))
}

async function ls(desk: Desk, path: string, options: LsOptions): Promise<void> {
  const { client } = desk
  const found = await findCovered(client, path, options.library)
  const sort = options.sort ? { sort: options.sort } : {}
  if (options.tag.length > 0) return lsTagged(desk, found, { sort: 'name', ...sort }, options.tag)
  const params = { library: found.library, path: found.path, ...sort }
  const pages = pagesOf((cursor) => client.call<Page>('files.list', { ...params, limit: LIMITS.pageMax, ...cursor }))
  await printPages(desk, pages, '{"items":[', (file) => line(file, file.name))
}

async function lsTagged(
  desk: Desk,
  { library, path }: { library: string; path: string },
  sort: { sort: string },
  tags: readonly string[],
): Promise<void> {
  const params = { library, query: '', filters: { tags, path }, ...sort, limit: LIMITS.pageMax }
  const pages = pagesOf((cursor) => desk.client.call<Page>('search.files', { ...params, ...cursor }))
  const below = path === '/' ? 1 : path.length + 1
  await printPages(desk, pages, '{"items":[', (file) => line(file, file.path.slice(below)))
}

export async function libraryCovering(client: Client, path: string): Promise<string> {
  return (await findCovered(client, path)).library
}

/**
 * The library whose location covers a path; open ones are asked first, since asking opens the others.
 * One that cannot be asked is no proof that nothing covers the path: its error is thrown when no other does.
 */
export async function findCovered(
  client: Client,
  path: string,
  given?: string,
): Promise<{ library: string; path: string }> {
  const libraries =
    given === undefined ? likelyFirst(await listLibraries(client)) : [await chooseLibrary(client, given)]
  const failures: unknown[] = []
  for (const library of libraries) {
    try {
      const covered = covering(await listLocations(client, library.id), path)
      if (covered) return { library: library.id, path: covered.path }
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
  throw new SpacedriveError('LOCATION_NOT_FOUND', `no location covers ${resolve(path)}`, {
    hint: 'Index it with `spacedrive location add PATH`; `spacedrive location list` shows what is.',
  })
}

function likelyFirst(libraries: readonly LibraryItem[]): LibraryItem[] {
  const unlikely = ({ name, open, problem }: LibraryItem) =>
    (problem ? 4 : 0) + (open ? 0 : 2) + (name === USUAL_LIBRARY ? 0 : 1)
  return libraries.toSorted((a, b) => unlikely(a) - unlikely(b))
}

/** Every page of a listing, each asked for only when the one before it is printed. */
export async function* pagesOf<P extends { readonly cursor?: string }>(
  ask: (cursor: { cursor?: string }) => Promise<P>,
): AsyncGenerator<P> {
  let page = await ask({})
  yield page
  while (page.cursor !== undefined) {
    page = await ask({ cursor: page.cursor })
    yield page
  }
}

/**
 * Prints a listing page by page, so that a directory of millions takes no memory here.
 *
 * @param head how the JSON value begins, up to and with the bracket of its items
 */
export async function printPages(
  desk: Desk,
  pages: AsyncIterable<Page>,
  head: string | ((page: Page) => string),
  human: (file: FileItem) => string,
): Promise<number> {
  let printed = 0
  for await (const page of pages) {
    const texts = page.items.map((file) => (desk.json ? JSON.stringify(file) : `${human(file)}\n`))
    const first = typeof head === 'string' ? head : head(page)
    const before = printed === 0 ? first : texts.length > 0 ? ',' : ''
    await desk.terminal.print(desk.json ? `${before}${texts.join(',')}` : texts.join(''))
    printed += page.items.length
  }
  if (desk.json) await desk.terminal.print(']}\n')
  return printed
}

/** Kind, size, time and name of one entry; the name comes last, so that nothing is ever cut. */
export function line(file: FileItem, name: string): string {
  const size = file.kind === 'file' ? bytes(file.size) : file.total ? bytes(file.total.bytes) : '-'
  return `${MARKS[file.kind]}  ${size.padStart(10)}  ${minute(file.modifiedAt)}  ${safe(name)}${file.kind === 'directory' ? '/' : ''}`
}
