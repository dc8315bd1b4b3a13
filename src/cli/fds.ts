// `spacedrive fds`: who holds every descriptor, by class and by holder.
import type { Command } from 'commander'
import type { Descriptors, Holder } from '../protocol/messages.js'
import type { Desk } from './desk.js'
import { classLines, limitWords } from './status.js'
import { table, type Column } from './table.js'
import { duration, grouped, plural, safe } from './text.js'

const COLUMNS: readonly Column[] = [
  { title: 'class' },
  { title: 'holder', shrinks: true },
  { title: 'fds', right: true },
  { title: 'oldest', right: true },
  { title: 'detail', shrinks: true },
]

export function addFds(program: Command, desk: Desk): void {
  program
    .command('fds')
    .description('who holds every descriptor, by class and by holder')
    .action(async () => {
      const held = await desk.client.call<Descriptors>('core.descriptors')
      await desk.answer(held, () => descriptorLines(held, desk.terminal.columns))
    })
}

export function descriptorLines(held: Descriptors, columnsMax: number): string[] {
  const highest = held.highest === undefined ? '' : `, highest number ${grouped(held.highest)}`
  return [
    `limit ${limitWords(held.limit)}`,
    `${plural(held.open, 'descriptor')} open${highest}`,
    '',
    ...classLines(held.classes, columnsMax),
    '',
    ...table(COLUMNS, byHolder(held.holders).map(row), columnsMax),
    ...unaccountedLines(held, columnsMax),
  ]
}

/** Holders of many descriptors (a library's connections, the clients) take one line each. */
function byHolder(holders: readonly Holder[]): Holder[][] {
  const groups = new Map<string, Holder[]>()
  for (const each of holders) {
    const key = `${each.class}\0${each.holder}`
    const group = groups.get(key)
    if (group) group.push(each)
    else groups.set(key, [each])
  }
  return [...groups.values()].toSorted(order)
}

function order([a]: readonly Holder[], [b]: readonly Holder[]): number {
  return a!.class.localeCompare(b!.class) || a!.holder.localeCompare(b!.holder)
}

function row(group: readonly Holder[]): string[] {
  const [first] = group
  const oldest = group.reduce((most, { ageMs }) => Math.max(most, ageMs), 0)
  const details = [...new Set(group.map(({ detail }) => detail))].filter((detail) => detail !== '')
  return [first!.class, safe(first!.holder), grouped(group.length), duration(oldest), safe(details.join(', '))]
}

function unaccountedLines({ unaccounted }: Descriptors, columnsMax: number): string[] {
  if (unaccounted.length === 0) return []
  const rows = unaccounted.map(({ fd, target }) => [String(fd), safe(target)])
  const columns = [
    { title: 'fd', right: true },
    { title: 'unaccounted', shrinks: true },
  ]
  return ['', ...table(columns, rows, columnsMax)]
}
