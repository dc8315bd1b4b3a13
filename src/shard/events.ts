// Hands each event to those who subscribed, and keeps the last ones, for those who were away for a moment.
import { randomBytes } from 'node:crypto'
import { LIMITS } from '../base/limits.js'
import { isWithin } from '../base/places.js'
import type { Event, Published } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'

type Filter = ParamsOf<'events.subscribe'>
/** Of which libraries events may be told; null for all, and then those of none are too. */
type Libraries = ReadonlySet<string> | null
type Deliver = (published: Published) => void

/** What is sent around the JSON of one event, or a little more: of 4,096 small ones it is half a megabyte. */
const ENVELOPE_BYTES = 144

interface Subscriber {
  readonly filter: Filter
  readonly deliver: Deliver
  readonly libraries: Libraries
}

export interface Subscribed {
  /** Where the subscription begins. */
  readonly cursor: string
  /** What came between the filter's cursor and now, the oldest first. */
  readonly kept: readonly Published[]
  /** Events of any kind that came after the filter's cursor and are not kept any more; null where that cannot be told. */
  readonly missed: number | null
  end(): void
}

export class Events {
  readonly #subscribers = new Set<Subscriber>()
  /** Names this run of the daemon: its numbers mean nothing to another. */
  readonly #run = randomBytes(6).toString('base64url')
  #number = 0
  #kept: Published[] = []
  #keptBytes = 0

  subscribe(filter: Filter, deliver: Deliver, libraries: Libraries = null): Subscribed {
    const subscriber = { filter, deliver, libraries }
    const after = filter.cursor === undefined ? this.#number : this.#numberOf(filter.cursor)
    const known = after ?? 0
    const kept = this.#kept.slice(Math.max(0, this.#kept.length - (this.#number - known)))
    this.#subscribers.add(subscriber)
    return {
      cursor: this.#cursor(),
      kept: kept.filter(({ event }) => matches(subscriber, event)),
      missed: after === null ? null : this.#number - known - kept.length,
      end: () => this.#subscribers.delete(subscriber),
    }
  }

  publish(event: Event): void {
    this.#number += 1
    const published = { event, json: JSON.stringify(event), cursor: this.#cursor() }
    this.#keep(published)
    for (const each of this.#subscribers) if (matches(each, event)) each.deliver(published)
  }

  #keep(published: Published): void {
    this.#kept.push(published)
    this.#keptBytes += published.json.length + ENVELOPE_BYTES
    if (this.#kept.length <= LIMITS.eventsKeptMax && this.#keptBytes <= LIMITS.eventsKeptBytesMax) return
    // A good part at a time, so that it costs nothing for each.
    const dropped = this.#kept.splice(0, Math.ceil(this.#kept.length / 8))
    for (const { json } of dropped) this.#keptBytes -= json.length + ENVELOPE_BYTES
  }

  #cursor(): string {
    return `${this.#run}.${this.#number}`
  }

  /** Null of another run. */
  #numberOf(cursor: string): number | null {
    const [run, number] = cursor.split('.')
    const told = Number(number)
    return run === this.#run && Number.isInteger(told) && told >= 0 && told <= this.#number ? told : null
  }
}

function matches({ filter, libraries }: Pick<Subscriber, 'filter' | 'libraries'>, event: Event): boolean {
  const { types, library, location, job, path } = filter
  if (libraries && (event.library === undefined || !libraries.has(event.library))) return false
  if (types && !types.includes(event.type)) return false
  if (library !== undefined && library !== event.library) return false
  const about = event['job'] as { readonly id: string; readonly location?: string } | undefined
  if (job !== undefined && job !== about?.id) return false
  if (location !== undefined && location !== (event['location'] ?? about?.location)) return false
  return path === undefined || concerns(event, path)
}

/** A change in a directory above may be that of the directory itself. Of many directories only some are told. */
function concerns(event: Event, path: string): boolean {
  const directories = (event['directories'] as readonly string[] | undefined) ?? []
  const told = typeof event['path'] === 'string' ? [event['path'], ...directories] : directories
  return (
    directories.length >= LIMITS.directoriesToldMax || told.some((each) => isWithin(path, each) || isWithin(each, path))
  )
}
