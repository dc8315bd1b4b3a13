// Tags: theirs have no parent but a namespace, which here is the path of the tags above.
import { LIMITS } from '../base/limits.js'
import { z, type Infer } from '../base/zod.js'
import type { TagItem } from '../protocol/messages.js'
import { collected, count, maybe, ofLibrary, text, type Asked, type Method } from './asking.js'
import { wrong } from './envelope.js'
import { tagShape } from './shapes.js'

const SEARCH_DEFAULT = 1_000

export async function allTags({ ask, library }: Pick<Asked, 'ask' | 'library'>, query?: string): Promise<TagItem[]> {
  const sought = query ? { library, query } : { library }
  return (await collected((paging) => ask('tags.list', { ...sought, ...paging }), LIMITS.tagsMax)).found
}

const search = ofLibrary(z.object({ query: maybe, limit: count }), async (asked) => {
  const { query, limit } = asked.payload
  const found = await allTags(asked, query ?? '')
  const tags = found.slice(0, limit || SEARCH_DEFAULT).map((tag) => tagShape(tag, asked.device))
  return {
    tags: tags.map((tag) => ({ tag, relevance: 1, matched_variant: null, context_score: null })),
    total_found: found.length,
    disambiguated: false,
    query: query ?? '',
    filters: { namespace: null, tag_type: null, include_archived: false, limit: limit ?? null },
  }
})

const targets = z.object({ type: text, ids: z.array(z.union([z.string(), z.number()])) })

const create = ofLibrary(
  z.object({
    canonical_name: text,
    aliases: z.array(text).nullish(),
    color: maybe,
    description: maybe,
    apply_to: targets.nullish(),
  }),
  async (asked) => {
    const { canonical_name: name, aliases, color, description, apply_to: onto } = asked.payload
    const tag = await asked.ask('tags.create', {
      library: asked.library,
      name,
      ...(aliases?.length ? { aliases } : {}),
      ...(color ? { colour: color } : {}),
      ...(description ? { description } : {}),
    })
    if (onto) await put(asked, tag.id, onto)
    return { tag_id: tag.id, canonical_name: tag.name, namespace: null, message: `created the tag ${tag.name}` }
  },
)

/** @throws BAD_REQUEST for contents by their UUID, which leads to none */
async function put({ ask, library }: Asked<unknown>, tag: string, { type, ids }: Infer<typeof targets>) {
  if (type === 'Content') throw wrong('give entries: {"type":"EntryUuid","ids":[…]}')
  return ask('tags.apply', { library, tag, ids: ids.map(String) })
}

const apply = ofLibrary(z.object({ targets, tag_ids: z.array(text) }), async (asked) => {
  const { targets: onto, tag_ids: tags } = asked.payload
  const missing = new Set<string>()
  let entries = 0
  for (const tag of tags) {
    const tagging = await put(asked, tag, onto)
    entries = Math.max(entries, tagging.entries)
    for (const each of tagging.missing) missing.add(each)
  }
  return {
    entries_affected: entries,
    tags_applied: tags.length,
    applied_tag_ids: tags,
    tagged_entry_ids: onto.ids.filter((id) => !missing.has(String(id))).map(Number),
    warnings: [...missing].map((id) => `no entry ${id}`),
    message: `${tags.length} tags on ${entries} entries`,
  }
})

const takeOff = ofLibrary(z.object({ entry_ids: z.array(text), tag_ids: z.array(text) }), async (asked) => {
  const { entry_ids: ids, tag_ids: tags } = asked.payload
  const { ask, library } = asked
  let changed = 0
  for (const tag of tags) changed = Math.max(changed, (await ask('tags.remove', { library, tag, ids })).changed)
  return { entries_affected: changed, tags_removed: tags.length, warnings: [] }
})

const remove = ofLibrary(z.object({ tag_id: text }), async ({ ask, library, payload }) => {
  await ask('tags.delete', { library, tag: payload.tag_id })
  return { deleted: true }
})

const one = z.object({ tag_id: text })

const byId = ofLibrary(one, async (asked) => {
  const tag = (await allTags(asked)).find(({ id }) => id === asked.payload.tag_id)
  return { tag: tag ? tagShape(tag, asked.device) : null }
})

const children = ofLibrary(one, async (asked) => {
  const below = (await allTags(asked)).filter(({ parent }) => parent === asked.payload.tag_id)
  return { children: below.map((tag) => tagShape(tag, asked.device)) }
})

/** From the nearest to the highest. */
const ancestors = ofLibrary(one, async (asked) => {
  const known = new Map((await allTags(asked)).map((tag) => [tag.id, tag]))
  const above: TagItem[] = []
  for (let at = known.get(asked.payload.tag_id)?.parent; at !== undefined; at = known.get(at)?.parent) {
    const tag = known.get(at)
    if (tag) above.push(tag)
  }
  return { ancestors: above.map((tag) => tagShape(tag, asked.device)) }
})

export const OF_TAGS: Readonly<Record<string, Method>> = {
  'tags.search': search,
  'tags.create': create,
  'tags.apply': apply,
  'tags.unapply': takeOff,
  'tags.delete': remove,
  'tags.by_id': byId,
  'tags.children': children,
  'tags.ancestors': ancestors,
}
