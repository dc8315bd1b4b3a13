// `spacedrive events`: what happens in the daemon, as it happens.
import type { Command } from 'commander'
import type { Event } from '../protocol/messages.js'
import { collected } from './arguments.js'
import { absolute, chooseLibrary } from './choice.js'
import type { Desk } from './desk.js'
import { openFeed, type Filter } from './feed.js'
import { millisecond, plural, safe } from './text.js'

interface EventsOptions {
  readonly follow?: boolean
  readonly type: readonly string[]
  readonly library?: string
  readonly path?: string
}

export function addEvents(program: Command, desk: Desk): void {
  program
    .command('events')
    .description('wait for the next event and print it; with -f every one until Ctrl-C')
    .option('-f, --follow', 'go on; with --json one value a line')
    .option('--type <TYPE>', 'only this type, e.g. job.changed (may be repeated)', collected, [])
    .option('--library <LIBRARY>', 'only this library, by name or id')
    .option('--path <PATH>', 'only what may concern this path or what is below it')
    .action((options: EventsOptions) => events(desk, options))
}

async function events(desk: Desk, options: EventsOptions): Promise<void> {
  const filter = await filterOf(desk, options)
  let seen: (() => void) | undefined
  const first = new Promise<void>((resolve) => (seen = resolve))
  let over = false
  let printing: Promise<void> = Promise.resolve()
  const feed = await openFeed(desk.client.socket, filter, (event, dropped) => {
    if (over) return
    over = !options.follow
    if (dropped > 0) desk.note(`${plural(dropped, 'event')} dropped: this side reads too slowly`)
    printing = printing.then(() => desk.answer(event, () => [eventLine(event)]))
    seen?.()
  })
  try {
    await (options.follow ? feed.closed : Promise.race([first, feed.closed]))
  } finally {
    feed.close()
    await printing
  }
}

async function filterOf(desk: Desk, { type, library, path }: EventsOptions): Promise<Filter> {
  const chosen = library === undefined ? undefined : await chooseLibrary(desk.client, library)
  return {
    ...(type.length > 0 ? { types: type } : {}),
    ...(chosen ? { library: chosen.id } : {}),
    ...(path === undefined ? {} : { path: absolute(path) }),
  }
}

export function eventLine({ type, at, ...fields }: Event): string {
  const words = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return [millisecond(at), type, ...words].map(safe).join('  ')
}
