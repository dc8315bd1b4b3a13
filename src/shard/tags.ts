// What can be asked of tags beside a list of them: each change is told after its commit.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Library } from '../library/library.js'
import type { Event } from '../protocol/messages.js'
import type { OperationName, ParamsOf } from '../protocol/operations.js'

interface Around {
  /** Keeps the library open meanwhile. */
  readonly hold: <T>(library: string, work: () => Promise<T>) => Promise<T>
  readonly publish: (event: Omit<Event, 'at'>) => void
}

type Operations = Partial<Record<OperationName, (library: Library, params: never) => unknown>>

export function tagOperations({ hold, publish }: Around): Operations {
  const tell = (library: Library, change: string, tag: string, more: object = {}) =>
    publish({ type: 'tags.changed', library: library.id, change, tag, ...more })
  const tagging = (library: Library, { tag, ids, paths, to }: ParamsOf<'tags.apply'>, give: boolean) => {
    const done = library.tag(library.tags.get(tag), { ids, paths }, give, to)
    if (done.changed > 0)
      tell(library, give ? 'applied' : 'removed', done.tag, {
        [to === 'content' ? 'contents' : 'entries']: done.changed,
      })
    return done
  }
  return {
    'tags.create': (library: Library, params: ParamsOf<'tags.create'>) => {
      const made = library.note(() => library.tags.create(params))
      tell(library, 'created', made.uid)
      return library.tags.item(made)
    },
    'tags.update': (library: Library, { tag, ...change }: ParamsOf<'tags.update'>) => {
      const changed = library.note(() => library.tags.update(library.tags.get(tag), change))
      tell(library, 'updated', changed.uid)
      return library.tags.item(changed)
    },
    'tags.delete': (library: Library, { tag: given }: ParamsOf<'tags.delete'>) => {
      const tag = library.tags.get(given)
      library.note(() => library.tags.markDeleting(tag))
      tell(library, 'deleted', tag.uid)
      return hold(library.id, () => deleteTag(library, tag.id)).then(() => ({ tag: tag.uid }))
    },
    'tags.apply': (library: Library, params: ParamsOf<'tags.apply'>) => tagging(library, params, true),
    'tags.remove': (library: Library, params: ParamsOf<'tags.remove'>) => tagging(library, params, false),
  }
}

/** In slices, between which other requests are answered; what is left of it after a stop goes when the library opens. */
export async function deleteTag(library: Library, tag: number): Promise<void> {
  while (!library.deleteTagSlice(tag)) await nextTurn()
}
