// `spacedrive fds`: who holds every descriptor, by class and by holder; with --watch as it changes.
import type { Command } from 'commander'
import type { Descriptors, Holder } from '../protocol/messages.js'
import type { Desk } from './desk.js'
import { classLines, limitWords } from './status.js'
import { table, type Column } from './table.js'
import { duration, grouped, plural, safe } from './text.js'
import { watchLines } from './watch.js'

interface FdsOptions {
  readonly all?: boolean
  readonly watch?: boolean
}

/** Holders shown unless all are asked for: those of the most descriptors. */
const HOLDERS_SHOWN = 40
/** Numbers named of descriptors that nobody accounts for and that look the same. */
const NUMBERS_SHOWN = 6
/** Kinds of detail named of one holder. */
const DETAILS_SHOWN = 6

const HOLDER_COLUMNS: readonly Column[] = [
  { title: 'fds', right: true },
  { title: 'class' },
  { title: 'holder', shrinks: true },
  { title: 'oldest', right: true },
  { title: 'detail', shrinks: true },
]

const UNACCOUNTED_COLUMNS: readonly Column[] = [
  { title: 'fds', right: true },
  { title: 'unaccounted', shrinks: true },
  { title: 'oldest', right: true },
  { title: 'numbers', shrinks: true },
]

export function addFds(program: Command, desk: Desk): void {
  program
    .command('fds')
    .description('who holds every descriptor, by class and by holder')
    .option('--all', `every holder, not only the ${HOLDERS_SHOWN} of the most`)
    .option('--watch', 'again every second until Ctrl-C; with --json one value a line')
    .action((options: FdsOptions) => fds(desk, options))
}

async function fds(desk: Desk, { all, watch }: FdsOptions): Promise<void> {
  const ask = () => desk.client.call<Descriptors>('core.descriptors')
  const linesOf = (held: Descriptors, rowsMax: number) => descriptorLines(held, desk.terminal.columns, rowsMax)
  if (watch) return watchLines(desk, ask, linesOf)
  const held = await ask()
  await desk.answer(held, () => linesOf(held, all ? Infinity : shownRows(held)))
}

/** What else there is to say is a fixed number of lines. */
function shownRows(held: Descriptors): number {
  return descriptorLines({ ...held, holders: [] }, 80, Infinity).length + HOLDERS_SHOWN + 1
}

/** @param rowsMax cuts the list of holders, those of the fewest first, and never what is unaccounted */
export function descriptorLines(held: Descriptors, columnsMax: number, rowsMax = Infinity): string[] {
  const above = [
    `limit ${limitWords(held.limit)}`,
    openWords(held),
    '',
    ...classLines(held.classes, columnsMax),
    ...unaccountedLines(held, columnsMax),
  ]
  const holders = byHolder(held.holders)
  const shown = holders.slice(
    0,
    Math.max(1, holders.length + above.length + 2 <= rowsMax ? Infinity : rowsMax - above.length - 3),
  )
  const left = holders.slice(shown.length)
  return [
    ...above,
    '',
    ...table(HOLDER_COLUMNS, shown.map(row), columnsMax),
    ...(left.length > 0 ? [leftWords(left)] : []),
  ]
}

function openWords({ open, highest, unaccounted }: Descriptors): string {
  const number = highest === undefined ? '' : `, highest number ${grouped(highest)}`
  const named = unaccounted.length === 0 ? 'all named' : `${grouped(unaccounted.length)} unaccounted`
  return `${plural(open, 'descriptor')} open${number}, ${named}`
}

function leftWords(left: readonly Holder[][]): string {
  const count = left.reduce((sum, { length }) => sum + length, 0)
  return `and ${plural(left.length, 'holder')} more, of ${plural(count, 'descriptor')}`
}

/** Holders of many descriptors (a library's connections, the clients) take one line each; those of the most come first. */
function byHolder(holders: readonly Holder[]): Holder[][] {
  const groups = groupedBy(holders, ({ class: group, holder }) => `${group}\0${holder}`)
  return groups.toSorted((a, b) => b.length - a.length || nameOf(a).localeCompare(nameOf(b)))
}

function nameOf([first]: readonly Holder[]): string {
  return `${first!.class} ${first!.holder}`
}

function groupedBy<One>(all: readonly One[], keyOf: (one: One) => string): One[][] {
  const groups = new Map<string, One[]>()
  for (const each of all) {
    const key = keyOf(each)
    const group = groups.get(key)
    if (group) group.push(each)
    else groups.set(key, [each])
  }
  return [...groups.values()]
}

function row(group: readonly Holder[]): string[] {
  const [first] = group
  return [
    grouped(group.length),
    first!.class,
    safe(first!.holder),
    duration(oldest(group)),
    safe(detailsOf(group.map(({ detail }) => detail))),
  ]
}

function oldest(group: readonly { ageMs?: number }[]): number {
  return group.reduce((most, { ageMs = 0 }) => Math.max(most, ageMs), 0)
}

/** Each kind once, with how many there are of it. */
function detailsOf(details: readonly string[]): string {
  const kinds = groupedBy(details.filter(Boolean).map(kindOf), (kind) => kind).toSorted((a, b) => b.length - a.length)
  const words = kinds
    .slice(0, DETAILS_SHOWN)
    .map((kind) => (kind.length > 1 ? `${grouped(kind.length)}× ${kind[0]}` : kind[0]!))
  return [...words, ...(kinds.length > DETAILS_SHOWN ? ['…'] : [])].join(', ')
}

/** `pipe:[1234]` → pipe, `127.0.0.1:1234 ws` → `127.0.0.1 ws`: the number that differs from one to the next says little. */
function kindOf(detail: string): string {
  const kernel = /^(?:anon_inode:\[(\w+)\]|(pipe|socket):\[\d+\])$/.exec(detail)
  if (kernel) return (kernel[1] ?? kernel[2])!
  return detail.replace(/^([\d.]+|\[[\da-f:.]+\]):\d+/i, '$1').replace(/, pid \d+$/, '')
}

function unaccountedLines({ unaccounted }: Descriptors, columnsMax: number): string[] {
  if (unaccounted.length === 0) return []
  const alike = groupedBy(unaccounted, ({ target, peer }) =>
    peer === undefined ? target.replace(/:\[\d+\]$/, '') : `socket to ${peer}`,
  )
  const rows = alike
    .toSorted((a, b) => b.length - a.length)
    .map((group) => {
      const [{ target, peer }] = group as [Descriptors['unaccounted'][number]]
      const numbers = group.slice(0, NUMBERS_SHOWN).map(({ fd }) => String(fd))
      const more = group.length > NUMBERS_SHOWN ? ' …' : ''
      const what = peer === undefined ? target.replace(/:\[\d+\]$/, '') : `socket to ${peer}`
      return [grouped(group.length), safe(what), duration(oldest(group)), `${numbers.join(' ')}${more}`]
    })
  return ['', ...table(UNACCOUNTED_COLUMNS, rows, columnsMax)]
}
