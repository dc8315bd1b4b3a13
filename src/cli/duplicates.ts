// `spacedrive duplicates`: files that hold the same, and what that costs.
import type { Command } from 'commander'
import { LIMITS } from '../base/limits.js'
import type { Compared, DuplicateGroup } from '../protocol/messages.js'
import { WHOLE_BYTES_MAX } from '../scan/content-id.js'
import { sizeInBytes, wholeNumber } from './arguments.js'
import { chooseLibrary, chooseLocation, listLocations } from './choice.js'
import type { Desk } from './desk.js'
import { bytes, grouped, plural, safe } from './text.js'

interface DuplicatesOptions {
  readonly library?: string
  readonly location?: string
  readonly minSize?: number
  readonly limit: number
  readonly verify?: boolean
}

interface Answer {
  readonly total?: number
  readonly waste?: number
  readonly items: readonly DuplicateGroup[]
  readonly cursor?: string
}

export function addDuplicates(program: Command, desk: Desk): void {
  program
    .command('duplicates')
    .description('files that hold the same, what wastes the most space first')
    .option('--library <LIBRARY>', 'name or id of the library')
    .option('--location <LOCATION>', 'only what lies in it as well: id, path or name')
    .option('--min-size <SIZE>', 'only files of this size or more: 100K, 1.5M', sizeInBytes)
    .option('--limit <N>', 'groups to show', wholeNumber(1, LIMITS.pageMax), 20)
    .option('--verify', 'compare those shown byte by byte first; waits and shows progress')
    .action((options: DuplicatesOptions) => duplicates(desk, options))
}

async function duplicates(desk: Desk, options: DuplicatesOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const { location: given, minSize, limit } = options
  const location = given === undefined ? undefined : await chooseLocation(desk.client, library.id, given)
  const list = () =>
    desk.client.call<Answer>('duplicates.list', {
      library: library.id,
      limit,
      ...(location ? { location: location.id } : {}),
      ...(minSize === undefined ? {} : { minSize }),
    })
  let found = await list()
  if (options.verify && found.items.length > 0) {
    await verify(desk, library.id, found)
    found = await list()
  }
  await desk.answer(found, () => found.items.flatMap(groupLines))
  if (!desk.json) for (const line of await footer(desk, library.id, found)) desk.note(line)
}

async function verify(desk: Desk, library: string, { items }: Answer): Promise<void> {
  const { begin, DOING, summary, watch } = await import('./progress.js')
  for (let at = 0; at < items.length; at += LIMITS.compareGroupsMax) {
    const contentIds = items.slice(at, at + LIMITS.compareGroupsMax).map(({ contentId }) => contentId)
    const { job } = await begin<{ job: string }>(desk, 'duplicates.verify', { library, contentIds })
    const done = await watch(desk, { library, job }, DOING.compare)
    if (!desk.json) for (const line of summary(done, 'compared')) desk.note(line)
  }
}

function groupLines({ size, files, names, waste, compared, items }: DuplicateGroup): string[] {
  const links = names > files ? `, ${plural(names, 'name')}` : ''
  const more = names > items.length ? [`  … and ${grouped(names - items.length)} more`] : []
  const head = `${bytes(waste)} wasted: ${plural(files, 'file')}${links} of ${bytes(size)}`
  return [
    head + verdict(names, compared),
    ...items.map(({ path, set }) => `${mark(set, compared)} ${safe(path)}`),
    ...more,
  ]
}

function verdict(names: number, compared: Compared | undefined): string {
  if (!compared) return ''
  const { sets, unread } = compared
  const [equal = 0] = sets
  const left = names - sets.reduce((sum, each) => sum + each, unread)
  if (equal === names) return ', equal byte by byte'
  const others = [
    ...(sets.length > 1 ? [differing(sets.slice(1).reduce((sum, each) => sum + each, 0))] : []),
    ...(unread > 0 ? [`${grouped(unread)} could not be compared`] : []),
    ...(left > 0 ? [`${grouped(left)} were not compared`] : []),
  ]
  return `; byte by byte ${[`${grouped(equal)} are equal`, ...others].join(', ')}`
}

function differing(names: number): string {
  return `${grouped(names)} ${names === 1 ? 'differs' : 'differ'}`
}

/** Of which of the sets it is, where there is more than one. */
function mark(set: number | undefined, compared: Compared | undefined): string {
  if (set === undefined || (compared?.sets.length === 1 && compared.unread === 0)) return ' '
  if (set === 0) return '?'
  return set === 1 ? '=' : '≠'
}

async function footer(desk: Desk, library: string, { total, waste, items, cursor }: Answer): Promise<string[]> {
  if (items.length === 0) return [await whyNone(desk, library)]
  const shown = total === undefined ? '' : `${plural(total, 'group')} waste ${bytes(waste ?? 0)}`
  const first = items.length === 1 ? 'the first is' : `the first ${grouped(items.length)} are`
  const lines = shown === '' ? [] : [cursor === undefined ? shown : `${shown}; ${first} shown`]
  const sampled = items.some(({ size, compared }) => size > WHOLE_BYTES_MAX && !compared)
  return sampled ? [...lines, 'of files over 100 KiB samples were compared; --verify compares every byte'] : lines
}

async function whyNone(desk: Desk, library: string): Promise<string> {
  const locations = await listLocations(desk.client, library)
  if (locations.some(({ mode }) => mode !== 'shallow')) return 'no duplicates'
  return 'no file was read yet: `spacedrive location mode LOCATION content` has those of a location read'
}
