// `spacedrive library …`: the libraries of the daemon.
import type { Command } from 'commander'
import type { JobItem, LibraryInfo, LibraryItem } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import { absolute, chooseLibrary, listLibraries } from './choice.js'
import type { Desk } from './desk.js'
import { EXIT, Exit } from './failure.js'
import { table } from './table.js'
import { bytes, grouped, plural, quoted, safe } from './text.js'

const NO_WAIT_OPTION = ['--no-wait', 'start the job, print its id and return'] as const

interface WaitOptions {
  readonly wait?: boolean
}

interface BackupOptions extends WaitOptions {
  readonly to?: string
}

export function addLibrary(program: Command, desk: Desk): void {
  const library = program.command('library').description('create, list and look after libraries')
  library
    .command('create')
    .description('create a library')
    .argument('<NAME>')
    .option('--from <BACKUP>', 'with all that this folder, made by `library backup`, holds')
    .action((name: string, { from }: { from?: string }) => create(desk, name, from))
  library
    .command('list')
    .description('list the libraries')
    .action(() => list(desk))
  library
    .command('info')
    .description('what a library holds')
    .argument('[LIBRARY]', 'name or id')
    .action((given?: string) => info(desk, given))
  library
    .command('rename')
    .description('give a library another name')
    .argument('<LIBRARY>', 'name or id')
    .argument('<NAME>')
    .action((given: string, name: string) =>
      change(desk, 'libraries.rename', given, { name }, () => `is now called ${quoted(name)}`),
    )
  library
    .command('open')
    .description('open a library now instead of at its first use')
    .argument('<LIBRARY>', 'name or id')
    .action((given: string) => change(desk, 'libraries.open', given, {}, () => 'is open'))
  library
    .command('close')
    .description('close a library and give its descriptors back')
    .argument('<LIBRARY>', 'name or id')
    .action((given: string) => change(desk, 'libraries.close', given, {}, () => 'is closed'))
  library
    .command('backup')
    .description('copy a library while it is used; waits and shows progress')
    .argument('[LIBRARY]', 'name or id')
    .option('--to <PATH>', 'a folder that does not exist yet; without it one in DATA_DIR/backups')
    .option(...NO_WAIT_OPTION)
    .action((given: string | undefined, options: BackupOptions) => backup(desk, given, options))
  library
    .command('check')
    .description('read all of a library and tell what is wrong with it')
    .argument('[LIBRARY]', 'name or id')
    .option(...NO_WAIT_OPTION)
    .action((given: string | undefined, options: WaitOptions) => check(desk, given, options))
  library
    .command('compact')
    .description('write the database of a library anew, without what is free in it')
    .argument('[LIBRARY]', 'name or id')
    .action((given?: string) => compact(desk, given))
  library
    .command('delete')
    .description('move a library to DATA_DIR/deleted; the indexed files are never touched')
    .argument('<LIBRARY>', 'name or id')
    .option('--data', 'delete it with its locations and index')
    .action((given: string, { data }: { data?: boolean }) =>
      change(desk, 'libraries.delete', given, data ? { data } : {}, () => 'is deleted'),
    )
}

async function create(desk: Desk, name: string, from?: string): Promise<void> {
  const made =
    from === undefined
      ? await desk.client.call<LibraryItem>('libraries.create', { name })
      : await createOf(desk, name, absolute(from))
  await desk.answer(made, () => [`created ${quoted(made.name)}, id ${made.id}`, safe(made.path)])
}

/** Ctrl-C ends the copy, and nothing of it stays. */
async function createOf(desk: Desk, name: string, from: string): Promise<LibraryItem> {
  const [{ DOING, openGauge }, { openFeed }] = await Promise.all([import('./progress.js'), import('./feed.js')])
  const gauge = openGauge(desk.terminal, DOING.backup, desk.json)
  const filter = { types: ['library.copying'] }
  // It only shows how far the copy is: where there is no connection left for it, the copy is made all the same.
  const feed = await openFeed(desk.client.socket, filter, (event) => {
    if (event['name'] === name) gauge.show({ state: 'running', progress: event['progress'] as JobItem['progress'] })
  }).catch(() => null)
  try {
    return await desk.client.call<LibraryItem>('libraries.create', { name, from }, 0)
  } finally {
    feed?.close()
    gauge.close()
  }
}

async function list(desk: Desk): Promise<void> {
  const libraries = await listLibraries(desk.client)
  if (libraries.length === 0 && !desk.json)
    return desk.note('no library yet; `spacedrive library create NAME` makes one')
  await desk.answer(libraries, () => libraryLines(libraries, desk.terminal.listColumns))
}

export function libraryLines(libraries: readonly LibraryItem[], columnsMax: number): string[] {
  const rows = libraries.map(({ id, name, open, problem }) => [
    id,
    open ? 'open' : 'closed',
    safe(name),
    problem?.code ?? '',
  ])
  return table([{ title: 'id' }, { title: 'state' }, { title: 'name', shrinks: true }, { title: '' }], rows, columnsMax)
}

async function info(desk: Desk, given?: string): Promise<void> {
  const { id } = await chooseLibrary(desk.client, given)
  const found = await desk.client.call<LibraryInfo>('libraries.info', { library: id })
  await desk.answer(found, () => infoLines(found))
}

function infoLines(found: LibraryInfo): string[] {
  const facts: [string, string][] = [
    ['id', found.id],
    ['path', found.path],
    ['state', found.open ? 'open' : 'closed'],
    [
      'entries',
      `${grouped(found.entries)}: ${plural(found.files, 'file')}, ${plural(found.directories, 'directory', 'directories')}`,
    ],
    ['content', bytes(found.bytes)],
    ['database', bytes(found.databaseBytes)],
    ...found.locations.map((each, index): [string, string] => [index === 0 ? 'locations' : '', each.path]),
  ]
  return [safe(found.name), ...facts.map(([name, words]) => `${name.padEnd(11)}${safe(words)}`)]
}

async function backup(desk: Desk, given: string | undefined, { to, wait }: BackupOptions): Promise<void> {
  const { id, name } = await chooseLibrary(desk.client, given)
  const params = { library: id, ...(to === undefined ? {} : { to: absolute(to) }) }
  const { begin, DOING, watch } = await import('./progress.js')
  const started = await begin<{ job: string; path: string }>(desk, 'libraries.backup', params)
  if (wait === false) return desk.answer(started, () => [safe(started.path), `job ${started.job}`])
  const outcome = await watch(desk, { library: id, job: started.job }, DOING.backup)
  await desk.answer({ ...started, outcome }, () => [
    `copied ${quoted(name)}, ${bytes(outcome.progress.done)}`,
    safe(started.path),
  ])
}

async function check(desk: Desk, given: string | undefined, { wait }: WaitOptions): Promise<void> {
  const { id, name } = await chooseLibrary(desk.client, given)
  const { begin, DOING, watch } = await import('./progress.js')
  const started = await begin<{ job: string }>(desk, 'libraries.check', { library: id })
  if (wait === false) return desk.answer(started, () => [`job ${started.job}`])
  const outcome = await watch(desk, { library: id, job: started.job }, DOING.check)
  const { failures, failureCount, progress } = outcome
  await desk.answer({ ...started, outcome }, () =>
    failureCount === 0
      ? [`${quoted(name)} is whole: ${plural(progress.done, 'entry', 'entries')}`]
      : [`${quoted(name)} is damaged:`, ...failures.map(({ message }) => `  ${safe(message)}`)],
  )
  if (failureCount > 0) throw new Exit(EXIT.failed)
}

async function compact(desk: Desk, given?: string): Promise<void> {
  const { id, name } = await chooseLibrary(desk.client, given)
  const done = await desk.client.call<{ bytesBefore: number; bytesAfter: number }>('libraries.compact', { library: id })
  const { bytesBefore, bytesAfter } = done
  await desk.answer(done, () => [`compacted ${quoted(name)}: ${bytes(bytesBefore)}, now ${bytes(bytesAfter)}`])
}

async function change(
  desk: Desk,
  operation: OperationName,
  given: string,
  params: object,
  words: () => string,
): Promise<void> {
  const library = await chooseLibrary(desk.client, given)
  const result = await desk.client.call<unknown>(operation, { library: library.id, ...params })
  await desk.answer(result, () => [`${quoted(library.name)} ${words()}`])
}
