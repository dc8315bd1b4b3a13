// `spacedrive hash`: BLAKE3 of every byte of files, as b3sum prints it.
import type { Command } from 'commander'
import { LIMITS } from '../base/limits.js'
import type { FileItem, JobItem } from '../protocol/messages.js'
import { absolute, chooseLibrary } from './choice.js'
import type { Desk } from './desk.js'
import { EXIT, Exit, UsageError } from './failure.js'
import { safe } from './text.js'

interface Hashed {
  readonly path: string
  readonly hash?: string
}

export function addHash(program: Command, desk: Desk): void {
  program
    .command('hash')
    .description('BLAKE3 of every byte of indexed files; waits and shows progress')
    .argument('<PATH...>', 'files, up to a thousand')
    .option('--library <LIBRARY>', 'name or id of the library')
    .action((paths: string[], options: { library?: string }) => hash(desk, paths, options.library))
}

async function hash(desk: Desk, given: readonly string[], name: string | undefined): Promise<void> {
  if (given.length > LIMITS.tagEntriesMax) throw new UsageError(`more than ${LIMITS.tagEntriesMax} paths`)
  const { id: library } = await chooseLibrary(desk.client, name)
  const paths = given.map((path) => absolute(path))
  const { begin, DOING, watch } = await import('./progress.js')
  const { job, missing } = await begin<{ job: string; missing: string[] }>(desk, 'files.hash', { library, paths })
  const outcome = await watch(desk, { library, job }, DOING.hash)
  const unknown = new Set(missing)
  const found: Hashed[] = []
  for (const path of paths.filter((each) => !unknown.has(each))) {
    const { hash: known } = await desk.client.call<FileItem>('files.get', { library, path })
    found.push({ path, ...(known === undefined ? {} : { hash: known }) })
  }
  await desk.answer({ items: found, missing, failures: outcome.failures }, () => found.flatMap(lineOf))
  if (!desk.json) for (const line of complaints(outcome, missing)) desk.note(line)
  if (missing.length > 0 || outcome.failureCount > 0) throw new Exit(EXIT.failed)
}

function lineOf({ path, hash: known }: Hashed): string[] {
  return known === undefined ? [] : [`${known}  ${safe(path)}`]
}

function complaints({ failures }: JobItem, missing: readonly string[]): string[] {
  return [
    ...missing.map((path) => `no file of this library's index: ${safe(path)}`),
    ...failures.map(({ path, code, message }) => `${code} ${safe(path)}: ${safe(message)}`),
  ]
}
