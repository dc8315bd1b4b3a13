// Keeps the last events, once for all. Each subscriber has a place among them and reads on from there when it can: who reads
// slowly holds nothing but that place, and is told how much went by.
import { randomBytes } from 'node:crypto'
import { LIMITS } from '../base/limits.js'
import { isWithin, normalize } from '../base/places.js'
import type { Event, JobItem, Published, Status } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import { NAMED_EVENT } from '../protocol/words.js'

type Filter = ParamsOf<'events.subscribe'>
/** Of which libraries events may be told; null for all, and then those of none are too. */
type Libraries = ReadonlySet<string> | null

const ALL: Libraries = null

/** What is sent around the JSON of one event, or a little more. */
const ENVELOPE_BYTES = 144

interface Kept extends Published {
  readonly number: number
  /** A later event says how far the same job is: who has not read this one has no use for it. */
  isPassed: boolean
}

interface Listener {
  readonly filter: Filter
  readonly deliver: (event: Event) => void
}

/** What one look brings. */
export interface Taken {
  /** Events for this subscriber that went by before these, unread. */
  readonly lost: number
  /** Just before the first of these. */
  readonly cursor: string
  readonly events: readonly Published[]
  /** There is more. */
  readonly more: boolean
}

/** One subscriber's place. */
export interface Reading {
  /** Where the subscription begins. */
  readonly cursor: string
  /** Events of any kind that came after the filter's cursor and are not kept any more; null where that cannot be told. */
  readonly missed: number | null
  /** The next events, of about so many bytes. Once there are no more, the subscriber is woken by the next that is for it. */
  take(bytesMax: number): Taken
  end(): void
}

/** What is known of before: a thread that keeps the same events goes on from there, and so does the next run of the daemon. */
export interface Past {
  /** Each run, and the number of the last event of it; the eldest first. The last of these is how many there were so far. */
  readonly runs: readonly { readonly run: string; readonly last: number }[]
  /** The last of them. */
  readonly events: readonly Event[]
}

/** What other threads that keep the same events, told one by one and in order, have in common with who publishes them. */
export interface EventsShared {
  readonly run: string
  readonly past: Past
  /** How many there were so far, where not all of them may have been told yet. */
  readonly published: SharedArrayBuffer
}

export class Events {
  /** Null for who publishes. */
  readonly #leads: EventsShared | null
  readonly #published: BigInt64Array
  readonly #listeners = new Set<Listener>()
  readonly #places = new Set<Place>()
  /** Those who have read everything. */
  readonly #asleep = new Set<Place>()
  /** Names this run of the daemon: of another one its numbers mean something only where that is part of the past. */
  readonly #run: string
  #runs: Past['runs'] = []
  /** How many there were before this run. */
  #before = 0
  #number = 0
  #kept: Kept[] = []
  #keptBytes = 0
  /** The last progress of each job of which that is kept, by its id. */
  readonly #progress = new Map<string, Kept>()
  #dropped = 0
  coalesced = 0

  /** @param leads who publishes, for a thread that is told; it is told all that come after what was shared */
  constructor(leads: EventsShared | null = null) {
    this.#leads = leads
    this.#run = leads?.run ?? randomBytes(6).toString('base64url')
    this.#published = new BigInt64Array(leads?.published ?? new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT))
    if (leads) this.goOn(leads.past)
  }

  get shared(): EventsShared {
    return { run: this.#run, past: this.past(Infinity), published: this.#published.buffer as SharedArrayBuffer }
  }

  /** For whoever goes on from here. @param bytesMax of the events, as they are sent; the eldest are left out */
  past(bytesMax: number): Past {
    const runs = [...this.#runs, { run: this.#run, last: this.#number }]
    let bytes = 0
    const from = this.#kept.findLastIndex(({ json }) => (bytes += json.length + ENVELOPE_BYTES) > bytesMax) + 1
    return { runs, events: this.#kept.slice(from).map(({ event }) => event) }
  }

  /** Numbers go on, and cursors of before are known. Before anything is published. */
  goOn({ runs, events }: Past): void {
    this.#runs = runs
    this.#before = runs.at(-1)?.last ?? 0
    this.#number = this.#before - events.length
    for (const event of events) this.#add(event)
  }

  get use(): Status['events'] {
    const { coalesced } = this
    const published = this.#number - this.#before
    return { subscriptions: this.#places.size, published, dropped: this.#dropped, coalesced }
  }

  /** Within this process: each event at once. */
  subscribe(filter: Filter, deliver: (event: Event) => void): () => void {
    const listener = { filter: normal(filter), deliver }
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** @param wake called once when there is something to take; with a cursor of the past there may be at once, and it is not */
  follow(filter: Filter, wake: () => void, libraries = ALL): Reading {
    const after = filter.cursor === undefined ? this.#number : this.#numberOf(filter.cursor)
    const at = Math.max(after ?? 0, this.#goneTo)
    const missed = after === null ? null : at - after
    // Not where the events are by now: whoever is cut before the first of them comes back with this cursor.
    const place = new Place(this, { filter: normal(filter), libraries, wake, at, missed, cursor: this.cursorOf(at) })
    this.#places.add(place)
    return place
  }

  /** @throws TypeError where it is not JSON, and nothing has happened */
  publish(event: Event): void {
    this.#add(event)
    if (!this.#leads) Atomics.store(this.#published, 0, BigInt(this.#number))
    for (const { filter, deliver } of this.#listeners) if (matches(filter, ALL, event)) deliver(event)
    for (const place of this.#asleep) {
      // Who came with a cursor that another thread gave may have had it there.
      if (place.at >= this.#number || !place.wants(event)) continue
      this.#asleep.delete(place)
      place.at = this.#number - 1
      place.wake()
    }
  }

  /** The next that is kept after this number. */
  after(number: number): Kept | undefined {
    return this.#kept[number - this.#goneTo]
  }

  sleep(place: Place): void {
    if (this.#places.has(place)) this.#asleep.add(place)
  }

  end(place: Place): void {
    this.#places.delete(place)
    this.#asleep.delete(place)
  }

  cursorOf(number: number): string {
    return `${this.#run}.${number}`
  }

  #add(event: Event): void {
    const json = JSON.stringify(event)
    this.#number += 1
    const cursor = this.cursorOf(this.#number)
    const kept = { event, json, cursor, number: this.#number, isPassed: false }
    if (event.type === 'job.changed') this.#supersede(kept)
    this.#keep(kept)
  }

  /** Only while it runs: that a job was begun or is done is never left out. */
  #supersede(kept: Kept): void {
    const { id, state } = (kept.event['job'] ?? {}) as Partial<JobItem>
    if (id === undefined) return
    const before = this.#progress.get(id)
    if (state !== 'running') return void this.#progress.delete(id)
    if (before) before.isPassed = true
    this.#progress.set(id, kept)
  }

  #keep(kept: Kept): void {
    this.#kept.push(kept)
    this.#keptBytes += kept.json.length + ENVELOPE_BYTES
    if (this.#kept.length <= LIMITS.eventsKeptMax && this.#keptBytes <= LIMITS.eventsKeptBytesMax) return
    // A good part at a time, so that it costs nothing for each.
    const gone = this.#kept.splice(0, Math.ceil(this.#kept.length / 8))
    for (const each of gone) {
      this.#keptBytes -= each.json.length + ENVELOPE_BYTES
      const { id } = (each.event['job'] ?? {}) as Partial<JobItem>
      if (id !== undefined && this.#progress.get(id) === each) this.#progress.delete(id)
    }
    for (const place of this.#places) if (!this.#asleep.has(place)) this.#dropped += place.lose(gone)
  }

  /** The last number that is not kept any more. */
  get #goneTo(): number {
    return this.#number - this.#kept.length
  }

  /** Null of a run that is no part of the past, or went on otherwise. */
  #numberOf(cursor: string): number | null {
    const [run, number] = cursor.split('.')
    const told = Number(number)
    if (!Number.isInteger(told) || told < 0) return null
    const last = run === this.#run ? this.#last : this.#runs.find((each) => each.run === run)?.last
    return last !== undefined && told <= last ? told : null
  }

  /** So far, also where this thread has not been told of it yet. */
  get #last(): number {
    return Math.max(this.#number, Number(Atomics.load(this.#published, 0)))
  }
}

interface PlaceSetup {
  readonly filter: Filter
  readonly libraries: Libraries
  readonly wake: () => void
  readonly at: number
  readonly missed: number | null
  readonly cursor: string
}

class Place implements Reading {
  readonly #events: Events
  readonly #filter: Filter
  readonly #libraries: Libraries
  readonly wake: () => void
  readonly cursor: string
  readonly missed: number | null
  /** The number of the last event that was read or went by; of no meaning while asleep. */
  at: number
  #lost = 0

  constructor(events: Events, { filter, libraries, wake, at, missed, cursor }: PlaceSetup) {
    this.#events = events
    this.#filter = filter
    this.#libraries = libraries
    this.wake = wake
    this.at = at
    this.missed = missed
    this.cursor = cursor
  }

  wants(event: Event): boolean {
    return matches(this.#filter, this.#libraries, event)
  }

  take(bytesMax: number): Taken {
    const lost = this.#lost
    this.#lost = 0
    const cursor = this.#events.cursorOf(this.at)
    const taken: Published[] = []
    let bytes = 0
    let next = this.#events.after(this.at)
    for (; next && bytes < bytesMax; next = this.#events.after(this.at)) {
      this.at = next.number
      if (!this.wants(next.event)) continue
      if (next.isPassed) {
        this.#events.coalesced += 1
        continue
      }
      taken.push(next)
      bytes += next.json.length + ENVELOPE_BYTES
    }
    if (!next) this.#events.sleep(this)
    return { lost, cursor, events: taken, more: next !== undefined }
  }

  /** @returns how many of those that are kept no longer would have been for it */
  lose(gone: readonly Kept[]): number {
    const last = gone.at(-1)!.number
    if (this.at >= last) return 0
    const unread = gone.slice(Math.max(0, gone.length - (last - this.at)))
    const lost = unread.reduce((sum, { isPassed, event }) => sum + (!isPassed && this.wants(event) ? 1 : 0), 0)
    this.at = last
    this.#lost += lost
    return lost
  }

  end(): void {
    this.#events.end(this)
  }
}

/** Paths of events have neither `..` nor a slash at the end. */
function normal(filter: Filter): Filter {
  return filter.path === undefined ? filter : { ...filter, path: normalize(filter.path) }
}

function matches(filter: Filter, libraries: Libraries, event: Event): boolean {
  const { types, library, location, job, path } = filter
  if (libraries && (event.library === undefined || !libraries.has(event.library))) return false
  if (types ? !types.includes(event.type) : event.type === NAMED_EVENT) return false
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
