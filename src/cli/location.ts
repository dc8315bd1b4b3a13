// `spacedrive location …`: the directories a library indexes.
import { Argument, Option, type Command } from 'commander'
import { MODES } from '../protocol/words.js'
import type { JobItem, LocationItem, Mode } from '../protocol/messages.js'
import { absolute, chooseLibrary, chooseLocation, listLocations } from './choice.js'
import type { Desk } from './desk.js'
import { leftOutWords, rulesFrom, rulesWords, withRules, type RuleOptions } from './rules.js'
import { table } from './table.js'
import { coverageWords, grouped, minute, plural, safe } from './text.js'

interface LocationOptions extends RuleOptions {
  readonly library?: string
  readonly name?: string
  readonly watch?: boolean
  readonly mode?: Mode
  /** Commander's reading of --no-wait. */
  readonly wait?: boolean
}

interface Started {
  readonly location: string
  readonly job: string
  readonly leavesOut?: readonly string[]
}

const LIBRARY_OPTION = ['--library <LIBRARY>', 'name or id of the library'] as const
const MODE_WORDS =
  'content: read every file, for duplicates and kinds; deep: headers of pictures, sounds and films, too'
const NO_WAIT_OPTION = ['--no-wait', 'start the job, print its id and return'] as const

export function addLocation(program: Command, desk: Desk): void {
  const location = program.command('location').description('add, list and rescan the directories of a library')
  withRules(
    location
      .command('add')
      .description('index a directory; waits and shows progress')
      .argument('<PATH>')
      .option(...LIBRARY_OPTION)
      .option('--name <NAME>', 'what to call it; usually the name of the directory')
      .option('--watch', 'follow what changes in it from then on')
      .addOption(new Option('--mode <MODE>', MODE_WORDS).choices(MODES))
      .option(...NO_WAIT_OPTION),
  ).action((path: string, options: LocationOptions) => add(desk, path, options))
  withRules(
    location
      .command('rules')
      .description('show what a location leaves out, or have it leave out something else')
      .argument('<LOCATION>', 'id, path or name')
      .option(...LIBRARY_OPTION)
      .option('--all', 'leave nothing out any more')
      .option(...NO_WAIT_OPTION),
  ).action((given: string, options: LocationOptions & { readonly all?: boolean }) => rules(desk, given, options))
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
  location
    .command('mode')
    .description(
      'say what is known of the files of a location: names and metadata, what they hold, or what their headers say, too',
    )
    .argument('<LOCATION>', 'id, path or name')
    .addArgument(new Argument('<MODE>').choices(MODES))
    .option(...LIBRARY_OPTION)
    .option(...NO_WAIT_OPTION)
    .action((given: string, mode: Mode, options: LocationOptions) => setMode(desk, given, mode, options))
  for (const on of [true, false]) {
    location
      .command(on ? 'watch' : 'unwatch')
      .description(
        on ? 'follow what changes in a location' : 'change the index of a location only when it is rescanned',
      )
      .argument('<LOCATION>', 'id, path or name')
      .option(...LIBRARY_OPTION)
      .action((given: string, options: LocationOptions) => watch(desk, given, on, options))
  }
}

async function add(desk: Desk, path: string, options: LocationOptions): Promise<void> {
  const root = absolute(path)
  const library = await chooseLibrary(desk.client, options.library)
  const { name, watch, mode } = options
  const rules = rulesFrom(options)
  const params = {
    library: library.id,
    path: root,
    ...(rules ? { rules } : {}),
    ...(name === undefined ? {} : { name }),
    ...(watch ? { watch } : {}),
    ...(mode === undefined ? {} : { mode }),
  }
  const { begin } = await import('./progress.js')
  const started = await begin<Started>(desk, 'locations.add', params)
  await finish(desk, library.id, started, root, options)
}

async function watch(desk: Desk, given: string, on: boolean, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const { id, path } = await chooseLocation(desk.client, library.id, given)
  const changed = await desk.client.call<LocationItem>('locations.update', {
    library: library.id,
    location: id,
    watch: on,
  })
  await desk.answer(changed, () => [on ? `follows what changes in ${safe(path)}` : `${safe(path)} is left alone`])
}

async function rules(desk: Desk, given: string, options: LocationOptions & { readonly all?: boolean }): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const location = await chooseLocation(desk.client, library.id, given)
  const wanted = options.all ? {} : rulesFrom(options)
  if (!wanted) return desk.answer(location.rules ?? {}, () => ruleLines(location))
  const params = { library: library.id, location: location.id, rules: wanted }
  const { begin } = await import('./progress.js')
  const started = await begin<Started>(desk, 'locations.update', params)
  await finish(desk, library.id, started, location.path, options)
}

function ruleLines(location: LocationItem): string[] {
  const lines = [`${safe(location.path)} leaves out: ${safe(rulesWords(location.rules))}`]
  return location.rules ? [...lines, `at its last scan: ${leftOutWords(location)}`] : lines
}

const KNOWN: Record<Mode, string> = {
  shallow: 'names and metadata only',
  content: 'what its files hold as well',
  deep: 'what its files hold, and what headers of pictures, sounds and films say',
}

async function setMode(desk: Desk, given: string, mode: Mode, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const { id, path } = await chooseLocation(desk.client, library.id, given)
  const params = { library: library.id, location: id, mode }
  const { begin, summary } = await import('./progress.js')
  const changed = await begin<LocationItem & { job?: string }>(desk, 'locations.update', params)
  const read = options.wait === false ? undefined : await watchReading(desk, library.id, changed.job)
  await desk.answer({ ...changed, ...(read ? { read } : {}) }, () => {
    if (read) return summary(read, `read ${safe(path)}`)
    return [`${safe(path)}: ${KNOWN[mode]}`, ...(changed.job === undefined ? [] : [`job ${changed.job}`])]
  })
}

async function rescan(desk: Desk, given: string, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const location = await chooseLocation(desk.client, library.id, given)
  const params = { library: library.id, location: location.id }
  const { begin } = await import('./progress.js')
  const started = await begin<Started>(desk, 'locations.rescan', params)
  await finish(desk, library.id, started, location.path, { ...options, mode: location.mode })
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
  const { DOING, summary, watch } = await import('./progress.js')
  const outcome = await watch(desk, { library, job: started.job }, DOING.index)
  const read = (options.mode ?? 'shallow') !== 'shallow' ? await readFiles(desk, library, outcome) : undefined
  await desk.answer({ ...started, outcome, ...(read ? { read } : {}) }, () => [
    `location ${started.location}`,
    ...summary(outcome, `indexed ${safe(path)}`),
    ...(read ? summary(read, `read ${safe(path)}`) : []),
  ])
}

/** The job that reads what was found, where the location is of that mode. */
async function readFiles(desk: Desk, library: string, indexed: JobItem): Promise<JobItem | undefined> {
  const { items } = await desk.client.call<{ items: JobItem[] }>('jobs.list', { library })
  const { location, createdAt } = indexed
  const next = items.find((job) => job.kind === 'identify' && job.location === location && job.createdAt >= createdAt)
  return await watchReading(desk, library, next?.id)
}

async function watchReading(desk: Desk, library: string, job: string | undefined): Promise<JobItem | undefined> {
  if (job === undefined) return undefined
  const { DOING, watch: show } = await import('./progress.js')
  return await show(desk, { library, job }, DOING.identify)
}

async function list(desk: Desk, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const locations = await listLocations(desk.client, library.id)
  if (locations.length === 0 && !desk.json) return desk.note('no location yet; `spacedrive location add PATH` adds one')
  await desk.answer(locations, () => [
    ...locationLines(locations, desk.terminal.listColumns),
    ...locations.flatMap((each) => (each.rules || each.unverified ? ['', ...detailLines(each)] : [])),
  ])
}

/** What a location leaves out, and what of it could not be read. */
function detailLines(location: LocationItem): string[] {
  const { unverified } = location
  const rules = location.rules ? ruleLines(location) : [safe(location.path)]
  if (!unverified) return rules
  const more = unverified.count - unverified.first.length
  return [
    ...rules,
    `${plural(unverified.count, 'directory', 'directories')} could not be read, tried again:`,
    ...unverified.first.map(({ path, since, code }) => `  ${code} since ${minute(since)}  ${safe(path)}`),
    ...(more > 0 ? [`  and ${grouped(more)} more`] : []),
  ]
}

export function locationLines(locations: readonly LocationItem[], columnsMax: number): string[] {
  const rows = locations.map(({ id, path, scannedAt, ...watched }) => [
    id,
    scannedAt ? minute(scannedAt) : 'never',
    watchedWords(watched),
    safe(path),
  ])
  const columns = [{ title: 'id' }, { title: 'scanned' }, { title: 'watched' }, { title: 'path', shrinks: true }]
  return table(columns, rows, columnsMax)
}

function watchedWords({ watch, watched }: Pick<LocationItem, 'watch' | 'watched'>): string {
  if (!watch) return 'no'
  if (!watched || watched.state === 'starting') return 'from soon on'
  return watched.state === 'absent' ? 'not there' : coverageWords(watched)
}

async function remove(desk: Desk, given: string, options: LocationOptions): Promise<void> {
  const library = await chooseLibrary(desk.client, options.library)
  const location = await chooseLocation(desk.client, library.id, given)
  const result = await desk.client.call<unknown>('locations.remove', { library: library.id, location: location.id })
  await desk.answer(result, () => [`removed ${safe(location.path)}; its files are untouched`])
}
