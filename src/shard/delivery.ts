// Events for the program that holds a daemon: as a client of a WebSocket gets them, a call for each.
import { LIMITS } from '../base/limits.js'
import type { Deliver, Event } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import type { Events } from './events.js'

/** Each event is a copy of its own. @returns ends it, and nothing is delivered before or after */
export function deliverTo(events: Events, filter: ParamsOf<'events.subscribe'>, deliver: Deliver): () => void {
  let isOver = false
  const flush = () => {
    if (isOver) return
    const { lost, events: taken, more } = reading.take(LIMITS.feedEventsAheadBytes)
    missed += lost
    for (const { json, cursor } of taken) {
      if (isOver) return
      const before = missed
      missed = 0
      try {
        deliver(JSON.parse(json) as Event, before, cursor)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
    // After the others have had their turn of the loop.
    if (more) setImmediate(flush)
  }
  const wake = () => queueMicrotask(flush)
  const reading = events.follow(filter, wake)
  let missed = reading.missed ?? Infinity
  wake()
  return () => {
    isOver = true
    reading.end()
  }
}
