// Directories, single files and search.
import { LIMITS } from '../base/limits.js'
import { z } from '../base/zod.js'
import type { FileItem, TagItem } from '../protocol/messages.js'
import { collected, count, maybe, ofLibrary, text, truth, type Asked, type Method } from './asking.js'
import { isObject, wrong } from './envelope.js'
import { fileShape, pathIn, type Shape } from './shapes.js'
import { allTags } from './of-tags.js'

const DIRECTORY_DEFAULT = 1_000
const SEARCH_DEFAULT = 50

const direction = z.enum(['Asc', 'Desc']).nullish()

const listing = z.object({
  path: z.unknown(),
  limit: count,
  include_hidden: truth,
  sort_by: z.enum(['name', 'modified', 'size', 'type']).nullish(),
  sort_direction: direction,
  folders_first: truth,
})

const list = ofLibrary(listing, async ({ ask, library, device, payload }) => {
  const path = pathIn(payload.path, device)
  const by = payload.sort_by ?? 'name'
  const most = Math.min(payload.limit || DIRECTORY_DEFAULT, LIMITS.compatListMax)
  const isWanted = ({ name }: FileItem) => payload.include_hidden === true || !name.startsWith('.')
  const sort = by === 'type' ? 'name' : by
  const { found, isAll } = await collected(
    (paging) => ask('files.list', { library, path, sort, ...paging }),
    most,
    isWanted,
  )
  // Pages come as their clients have it by default; of more than fit, those that come first.
  const isDown = by === 'size' || by === 'modified'
  if (payload.sort_direction && (payload.sort_direction === 'Desc') !== isDown) found.reverse()
  if (by === 'type' || payload.folders_first) found.sort((one, other) => rank(one) - rank(other))
  return {
    files: found.map((file) => fileShape(file, device)),
    // How many there are beyond is not counted.
    total_count: found.length + (isAll ? 0 : 1),
    has_more: !isAll,
  }
})

function rank({ kind }: FileItem): number {
  return kind === 'directory' ? 0 : 1
}

const byId = ofLibrary(z.object({ file_id: text }), async (asked) =>
  withTags(asked, await asked.ask('files.get', { library: asked.library, id: asked.payload.file_id })),
)

const byPath = ofLibrary(z.object({ path: z.unknown() }), async (asked) => {
  const path = pathIn(asked.payload.path, asked.device)
  return withTags(asked, await asked.ask('files.get', { library: asked.library, path }))
})

async function withTags(asked: Asked<unknown>, file: FileItem): Promise<Shape> {
  const names = new Set(file.tags ?? [])
  const tags = names.size > 0 ? (await allTags(asked)).filter(({ name }: TagItem) => names.has(name)) : []
  return fileShape(file, asked.device, tags)
}

const byTag = ofLibrary(z.object({ tag_id: text }), async ({ ask, library, device, payload }) => {
  const filters = { tags: [payload.tag_id] }
  const { found } = await collected(
    (paging) => ask('search.files', { library, query: '', filters, sort: 'name', ...paging }),
    LIMITS.compatListMax,
  )
  return { files: found.map((file) => fileShape(file, device)) }
})

const sought = z.object({
  query: z.string().nullish(),
  scope: z.unknown().optional(),
  filters: z.record(z.string(), z.unknown()).nullish(),
  sort: z.object({ field: maybe, direction }).nullish(),
  pagination: z.object({ limit: count, offset: count }).nullish(),
})

const SORTS: Readonly<Record<string, string>> = { Name: 'name', Size: 'size', ModifiedAt: 'modified' }

const search = ofLibrary(sought, async ({ ask, library, device, payload }) => {
  const begun = performance.now()
  const { query, scope, filters, sort, pagination } = payload
  const limit = Math.min(pagination?.limit || SEARCH_DEFAULT, LIMITS.compatListMax)
  const offset = pagination?.offset ?? 0
  if (offset + limit > LIMITS.compatListMax) throw wrong(`pages end at ${LIMITS.compatListMax} files`)
  const params = {
    library,
    query: query ?? '',
    filters: { ...filtersOf(filters ?? {}), ...scopeOf(scope, device) },
    sort: SORTS[sort?.field ?? ''] ?? 'relevance',
    ...(sort?.direction && SORTS[sort.field ?? ''] ? { order: ORDERS[sort.direction] } : {}),
  }
  let total = 0
  const { found } = await collected(async (paging) => {
    const page = await ask('search.files', { ...params, ...paging })
    total = page.total
    return page
  }, offset + limit)
  const files = found.slice(offset).map((file) => fileShape(file, device))
  return {
    files,
    results: files.map((file, at) => resultShape(file, offset + at)),
    total_found: total,
    search_id: '',
    facets: { file_types: {}, tags: {}, locations: {}, date_ranges: {}, size_ranges: {} },
    suggestions: [],
    pagination: {
      current_page: Math.floor(offset / limit) + 1,
      total_pages: Math.ceil(total / limit),
      has_next: offset + limit < total,
      has_previous: offset > 0,
      limit,
      offset,
    },
    execution_time_ms: Math.round(performance.now() - begun),
    index_type: 'Persistent',
    available_filters: ['FileTypes', 'DateRange', 'SizeRange', 'ContentTypes', 'Tags', 'Locations', 'Hidden'],
  }
})

const ORDERS = { Asc: 'ascending', Desc: 'descending' } as const

/** What comes first fits best; by how much is not known. */
function resultShape(file: Shape, place: number): Shape {
  const score = 1 / (1 + place)
  const parts = { temporal_score: score, semantic_score: null, metadata_score: 0, recency_boost: 0 }
  const score_breakdown = { ...parts, user_preference_boost: 0, final_score: score }
  return { file, score, score_breakdown, highlights: [], matched_content: null }
}

function scopeOf(scope: unknown, device: Asked['device']): Shape {
  if (scope === null || scope === undefined || scope === 'Library') return {}
  const { Location: location, Path: below } = isObject(scope) ? scope : {}
  if (isObject(location)) return { location: location['location_id'] }
  if (isObject(below)) return { path: pathIn(below['path'], device) }
  throw wrong('`scope` is "Library", {"Location":{"location_id":…}} or {"Path":{"path":…}}')
}

const range = z.object({ min: count, max: count })
const period = z.object({ field: maybe, start: maybe, end: maybe })
const tagged = z.object({ include: z.array(text).nullish(), exclude: z.array(text).nullish() })

/** A filter that cannot be kept is refused: files that it would have left out are not to be taken for found. */
function filtersOf(filters: Readonly<Record<string, unknown>>): Shape {
  const kept: Shape = {}
  for (const [name, value] of Object.entries(filters)) {
    if (value === null || (Array.isArray(value) && value.length === 0)) continue
    const turn = FILTERS[name]
    if (!turn) throw wrong(`the filter ${name} is not known here`)
    Object.assign(kept, turn(value))
  }
  return kept
}

const FILTERS: Readonly<Record<string, (value: unknown) => Shape>> = {
  file_types: (value) => ({
    extensions: read(z.array(text), value, 'file_types').map((each) => each.replace(/^\./, '')),
  }),
  size_range: (value) => {
    const { min, max } = read(range, value, 'size_range')
    return { size: { ...(min == null ? {} : { min }), ...(max == null ? {} : { max }) } }
  },
  date_range: (value) => {
    const { field, start, end } = read(period, value, 'date_range')
    if (field != null && field !== 'ModifiedAt') throw wrong('only ModifiedAt is kept of a file')
    return { modified: { ...(start ? { after: start } : {}), ...(end ? { before: end } : {}) } }
  },
  locations: (value) => {
    const [location, ...more] = read(z.array(text), value, 'locations')
    if (more.length > 0) throw wrong('give one location')
    return { location }
  },
  tags: (value) => {
    const { include, exclude } = read(tagged, value, 'tags')
    return {
      ...(include?.length ? { tags: include } : {}),
      ...(exclude?.length ? { not: exclude.map((tag) => ({ tags: [tag] })) } : {}),
    }
  },
  content_types: (value) => ({ contentKinds: read(z.array(text), value, 'content_types') }),
  include_hidden: (value) => (value === false ? { hidden: false } : {}),
  include_archived: () => ({}),
}

function read<Value>(schema: { safeParse(value: unknown): { data?: Value } }, value: unknown, name: string): Value {
  const { data } = schema.safeParse(value)
  if (data === undefined) throw wrong(`the filter ${name} is not as it should be`)
  return data
}

const gallery = z.object({
  path: z.unknown().optional(),
  include_descendants: truth,
  media_types: z.array(text).nullish(),
  limit: count,
  sort_by: maybe,
})

/** When pictures were taken is not read. */
const MEDIA_SORTS: Readonly<Record<string, string>> = { name: 'name', size: 'size' }

const media = ofLibrary(gallery, async ({ ask, library, device, payload }) => {
  const path = pathIn(payload.path, device)
  const types = payload.media_types
  const filters = { path, contentKinds: types?.length ? types : ['image', 'video'] }
  const sort = MEDIA_SORTS[payload.sort_by ?? ''] ?? 'modified'
  const most = Math.min(payload.limit || DIRECTORY_DEFAULT, LIMITS.compatListMax)
  const isHere = (file: FileItem) => file.path.slice(0, -file.name.length - 1) === (path === '/' ? '' : path)
  const { found, isAll } = await collected(
    (paging) => ask('search.files', { library, query: '', filters, sort, ...paging }),
    most,
    payload.include_descendants === true ? undefined : isHere,
  )
  const files = found.map((file) => fileShape(file, device))
  return { files, total_count: found.length + (isAll ? 0 : 1), has_more: !isAll }
})

export const OF_FILES: Readonly<Record<string, Method>> = {
  'files.directory_listing': list,
  'files.by_id': byId,
  'files.by_path': byPath,
  'files.by_tag': byTag,
  'files.media_listing': media,
  'search.files': search,
}
