// `spacedrive location …`: the directories a library indexes.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { JobItem, LocationItem } from '../protocol/messages.js'
import { chooseLibrary, chooseLocation, listLocations } from './choice.js'
import type { Desk } from './desk.js'
import { table } from './table.js'
import { minute, safe } from './text.js'

interface LocationOptions {
  readonly library?: string
  readonly name?: string
  /** Commander's reading of --no-wait. */
  readonly wait?: boolean
}

interface Started {
  readonly location: string
  readonly job: string
  readonly leavesOut?: readonly string[]
}

const LIBRARY_OPTION = ['--library <LIBRARY>', 'name or id of the library'] as const
const NO_WAIT_OPTION = ['--no-wait', 'start the job, print its id and return'] as const

export function addLocation(program: Command, desk: Desk): void {
  const location = program.command('location').description('add, list and rescan the directories of a library')
  location
    .command('add')
    .description('index a directory; waits and shows progress')
    .argument('<PATH>')
    .option(...LIBRARY_OPTION)
    .option('--name <NAME>', 'what to call it; usually the name of the directory')
    .option(...NO_WAIT_OPTION)
    .action((path: string, options: LocationOptions) => add(desk, path, options))
  location
    .command('list')
    .description('list the locations of a library')
    .option(...LIBRARY_OPTION)
    .action((options: LocationOptions) => list(desk, options))
  location
    .command('remove')
    .description('forget a location and its index; the files stay')
    .argument('<LOCATION>', 'id, path or name')
    .option(...LIBRARY_OPTION)
    .action((given: string, options: LocationOptions) => remove(desk, given, options))
  location
    .command('rescan')
    .description('read a location again; waits and shows progress')
    .argument('<LOCATION>', 'id, path or name')
    .option(...LIBRARY_OPTION)
    .option(...NO_WAIT_OPTION)
    .action((given: string, options: LocationOptions) => rescan(desk, given, options))
}

async function add(desk: Desk, path: string, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const root = resolve(path)
  const params = { library: library.id, path: root, ...(options.name === undefined ? {} : { name: options.name }) }
  const started = await desk.client.call<Started>('locations.add', params)
  await finish(desk, library.id, started, root, options)
}

async function rescan(desk: Desk, given: string, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const location = await chooseLocation(desk.client, library.id, given)
  const params = { library: library.id, location: location.id }
  const started = await desk.client.call<Started>('locations.rescan', params)
  await finish(desk, library.id, started, location.path, options)
}

async function finish(
  desk: Desk,
  library: string,
  started: Started,
  path: string,
  options: LocationOptions,
): Promise<void> {
  for (const rule of started.leavesOut ?? []) desk.note(`leaves out ${safe(rule)}`)
  if (options.wait === false) {
    return desk.answer(started, () => [`location ${started.location}`, `job ${started.job}`])
  }
  const { mustBeDone, summary, watch } = await import('./progress.js')
  const outcome: JobItem = await watch(desk.terminal, desk.client, { library, job: started.job }, 'indexing', desk.json)
  mustBeDone(outcome)
  await desk.answer({ ...started, outcome }, () => [
    `location ${started.location}`,
    ...summary(outcome, `indexed ${safe(path)}`),
  ])
}

async function list(desk: Desk, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const locations = await listLocations(desk.client, library.id)
  if (locations.length === 0 && !desk.json) return desk.note('no location yet; `spacedrive location add PATH` adds one')
  await desk.answer(locations, () => locationLines(locations, desk.terminal.listColumns))
}

export function locationLines(locations: readonly LocationItem[], columnsMax: number): string[] {
  const rows = locations.map(({ id, path, scannedAt }) => [id, scannedAt ? minute(scannedAt) : 'never', safe(path)])
  return table([{ title: 'id' }, { title: 'scanned' }, { title: 'path', shrinks: true }], rows, columnsMax)
}

async function remove(desk: Desk, given: string, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const location = await chooseLocation(desk.client, library.id, given)
  const result = await desk.client.call<unknown>('locations.remove', { library: library.id, location: location.id })
  await desk.answer(result, () => [`removed ${safe(location.path)}; its files are untouched`])
}
