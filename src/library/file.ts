// One entry as files.get tells it: with its tags and the hash of it.
import type { FileItem } from '../protocol/messages.js'
import type { Entries } from './entries.js'
import type { Identities } from './identities.js'
import type { Tagged } from './tagged.js'
import type { Tags } from './tags.js'

export interface Stores {
  readonly entries: Entries
  readonly identities: Identities
  readonly tags: Tags
  readonly tagged: Tagged
}

export interface Named {
  readonly id?: string | undefined
  readonly path?: string | undefined
}

/** @throws FILE_NOT_FOUND */
export function fileOf({ entries, identities, tags, tagged }: Stores, asked: Named): FileItem {
  const { entry, item: named } = entries.get(asked)
  const hash = identities.hashOf(entry)
  const item = hash === undefined ? named : { ...named, hash }
  if (!tags.some) return item
  const names = tagged.of(entry).flatMap((tag) => tags.byId(tag)?.name ?? [])
  return names.length === 0 ? item : { ...item, tags: names.sort() }
}
