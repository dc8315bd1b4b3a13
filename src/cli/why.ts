// `spacedrive why`: why a path is in the index, or is not; and what of a directory is left out.
import type { Command } from 'commander'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Explanation, FileItem, LeftOutItem, RuleOf } from '../protocol/messages.js'
import type { Desk } from './desk.js'
import { findCovered, pagesOf, printPages } from './ls.js'
import { minute, plural, safe } from './text.js'

interface WhyOptions {
  readonly library?: string
  readonly leftOut?: boolean
}

export function addWhy(program: Command, desk: Desk): void {
  program
    .command('why')
    .description('say why a path is in the index, or is not')
    .argument('<PATH>')
    .option('--library <LIBRARY>', 'name or id of the library; without it the one that covers PATH')
    .option('--left-out', 'list what of a directory is left out, each with its rule')
    .action((path: string, options: WhyOptions) => (options.leftOut ? list : explain)(desk, path, options))
}

async function explain(desk: Desk, given: string, { library }: WhyOptions): Promise<void> {
  const found = await findCovered(desk.client, given, library).catch(noLocation)
  if (!found) {
    const reason = 'it lies in no location'
    const answer = { path: given, indexed: false, state: 'noLocation', reason }
    return desk.answer(answer, () => [safe(given), `  not in the index: ${reason}`, `  ${HINT}`])
  }
  const answer = await desk.client.call<Explanation>('files.explain', { library: found.library, path: found.path })
  await desk.answer(answer, () => lines(answer))
}

const HINT = '`spacedrive location add PATH` indexes a directory'

function noLocation(error: unknown): null {
  if (error instanceof SpacedriveError && error.code === 'LOCATION_NOT_FOUND') return null
  throw error
}

function lines({ path, indexed, state, reason, unverified }: Explanation): string[] {
  const words =
    state === 'indexed' ? 'in the index' : `${indexed ? 'in the index, but' : 'not in the index:'} ${reason}`
  return [
    safe(path),
    ...wrapped(safe(words)).map((line) => `  ${line}`),
    ...(unverified
      ? [
          `  could not be verified since ${minute(unverified.since)}, ${plural(unverified.tries, 'try', 'tries')}:`,
          `  ${unverified.code} at ${safe(unverified.path)}`,
        ]
      : []),
  ]
}

const COLUMNS = 76

/** Broken between words; one that is longer than a line keeps a line of its own. */
function wrapped(text: string): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (last === '') lines[lines.length - 1] = word
    else if (last.length + 1 + word.length <= COLUMNS) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

async function list(desk: Desk, given: string, { library }: WhyOptions): Promise<void> {
  const found = await findCovered(desk.client, given, library)
  const params = { library: found.library, path: found.path, limit: LIMITS.pageMax }
  type Page = { items: (LeftOutItem & FileItem)[]; cursor?: string }
  const pages = pagesOf((cursor) => desk.client.call<Page>('files.leftOut', { ...params, ...cursor }))
  const printed = await printPages(desk, pages, '{"items":[', (item) => {
    const { kind, name, rule } = item as unknown as LeftOutItem
    return `${safe(name)}${kind === 'directory' ? '/' : ''}  ${safe(ruleWords(rule))}`
  })
  if (printed === 0) desk.note(`nothing in ${safe(found.path)} is left out`)
}

function ruleWords({ rule, pattern, file, line }: RuleOf): string {
  if (file !== undefined) return `${rule}: ${pattern} (${file}:${line})`
  return pattern === undefined ? rule : `${rule}: ${pattern}`
}
