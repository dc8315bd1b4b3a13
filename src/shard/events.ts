// Hands each event to those who subscribed; keeps nothing.
import type { Event } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'

type Filter = ParamsOf<'events.subscribe'>

export class Events {
  readonly #subscribers = new Set<{ filter: Filter; deliver: (event: Event) => void }>()

  /** @returns ends the subscription */
  subscribe(filter: Filter, deliver: (event: Event) => void): () => void {
    const subscriber = { filter, deliver }
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  publish(event: Event): void {
    for (const { filter, deliver } of this.#subscribers) {
      if (filter.types && !filter.types.includes(event.type)) continue
      if (filter.library !== undefined && filter.library !== event.library) continue
      deliver(event)
    }
  }
}
