// `spacedrive events`: what happens in the daemon, as it happens, and goes on over a restart of it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { AWAY, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Event } from '../protocol/messages.js'
import { collected } from './arguments.js'
import { absolute, chooseLibrary } from './choice.js'
import type { Desk } from './desk.js'
import { openFeed, type Feed, type Filter } from './feed.js'
import { millisecond, plural, safe } from './text.js'

/** So long after a daemon went away, or was not there yet, it is looked for again. */
const AGAIN_MS = 100

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
  let over = false
  let end: (() => void) | undefined
  const ended = new Promise<boolean>((resolve) => (end = () => resolve(true)))
  let printing: Promise<void> = Promise.resolve()
  const deliver = (event: Event, dropped: number) => {
    if (over) return
    if (dropped > 0) desk.note(`${plural(dropped, 'event')} dropped: this side reads too slowly`)
    printing = printing.then(() => desk.answer(event, () => [eventLine(event)]))
    if (options.follow) return
    over = true
    end?.()
  }
  let feed = await openFeed(desk.client.socket, filter, deliver)
  try {
    while (!(await Promise.race([ended, isOurs(feed)]))) feed = await openAgain(desk, feed, filter, deliver)
  } finally {
    feed.close()
    await printing
  }
}

/** Of its end: false where it is the daemon's. */
function isOurs({ closed }: Feed): Promise<boolean> {
  return closed.then(
    () => true,
    () => false,
  )
}

/** @throws NO_DAEMON where it does not come back, and why it refuses where it does */
async function openAgain(
  desk: Desk,
  before: Feed,
  filter: Filter,
  deliver: Parameters<typeof openFeed>[2],
): Promise<Feed> {
  const { cursor } = before
  desk.note(`the daemon went away: waiting ${LIMITS.cliAwayMs / 1_000} s for it to come back`)
  const until = performance.now() + LIMITS.cliAwayMs
  for (;;) {
    await sleep(AGAIN_MS)
    try {
      const feed = await openFeed(desk.client.socket, { ...filter, cursor }, deliver)
      const { missed } = feed
      desk.note(missed === null ? 'it is back, and cannot tell what happened meanwhile' : 'it is back')
      if (missed) desk.note(`${plural(missed, 'event')} of any kind missed`)
      return feed
    } catch (error) {
      if (performance.now() > until || !(error instanceof SpacedriveError && AWAY.has(error.code))) throw error
    }
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
