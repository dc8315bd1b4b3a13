// Every operation a client can ask for: its parameters, and who may ask for it. The one table from which validation and documentation
// come; where an operation runs, and what it may cost, is in work.ts.
import { z, type Infer, type ZodType } from '../base/zod.js'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { CONTENT_KINDS, ENTRY_KINDS, EVENT_TYPES, MODES, SCOPES, SEARCH_SORTS } from './words.js'

/** Of what is stored: half a character has no bytes, so that another text would be read back, and two might be one. */
const wellFormed = z.string().refine((value) => value.isWellFormed(), 'it holds half a character')

const id = z.string().min(1).max(100)
const name = wellFormed.trim().min(1).max(LIMITS.nameCharsMax)
const path = z.string().min(1).max(4096)
const absolute = path.refine((value) => value.startsWith('/'), 'give an absolute path')
const limit = z.int().min(1).max(LIMITS.pageMax)
const cursor = z.string().min(1).max(LIMITS.cursorCharsMax)
/** Names a run of the daemon and one of its events. */
const eventCursor = cursor.regex(/^[\w-]+\.\d{1,15}$/, 'give the cursor of an event or of an earlier subscription')
const none = z.strictObject({})
const library = z.strictObject({ library: id })
const location = z.strictObject({ library: id, location: id })
const job = z.strictObject({ library: id, job: id })

const tagName = wellFormed.trim().min(1).max(LIMITS.tagNameCharsMax)
const colour = z.string().regex(/^#[0-9a-f]{6}$/i, 'a colour is # and six hexadecimal digits, as in #ff8800')
const description = wellFormed.max(LIMITS.tagDescriptionCharsMax)
const aliases = z.array(tagName).max(LIMITS.tagAliasesMax)
/** By its id, its name or one of its aliases. */
const tag = z.string().min(1).max(LIMITS.tagNameCharsMax)
const globs = z
  .array(
    z
      .string()
      .min(1)
      .max(LIMITS.patternCharsMax)
      .regex(/^[^\n\0]+$/, 'a glob is one line'),
  )
  .max(LIMITS.globsMax)
const plainGlobs = globs.refine((value) => !value.some((glob) => glob.startsWith('!')), {
  message: 'only lines of `ignore` may begin with `!`; write `\\!` for the character',
})

/** What a location leaves out. Rejected beats ignored, ignored beats accepted. */
const rules = z.strictObject({
  /** What systems put into every directory or disk, and backup copies of editors. */
  noSystemFiles: z.boolean().optional(),
  /** Whatever begins with a dot. */
  noHidden: z.boolean().optional(),
  /** `.git` and the files that only tell git something. */
  noGit: z.boolean().optional(),
  /** Directories that tools make and fill again: node_modules, target, .venv and the like. */
  noDevDirs: z.boolean().optional(),
  /** What git leaves out: every `.gitignore` of a repository, and its `.git/info/exclude`. */
  gitignore: z.boolean().optional(),
  onlyImages: z.boolean().optional(),
  /** Never in the index. */
  reject: plainGlobs.optional(),
  /** As a `.gitignore` at the root that beats all others; `!` lets in again what one of them leaves out. */
  ignore: globs.optional(),
  /** Where there are any: of files only those that match one, or lie in a directory that does. */
  accept: plainGlobs.optional(),
})

const bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
const amounts = z.strictObject({ min: bytes.optional(), max: bytes.optional() })
const time = z.iso.datetime()
const clock = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/, 'a time of a clock is like 2026-07-01T12:34:56')

const onEntries = z
  .strictObject({
    library: id,
    tag,
    ids: z.array(id).min(1).max(LIMITS.tagEntriesMax).optional(),
    paths: z.array(path).min(1).max(LIMITS.tagEntriesMax).optional(),
    to: z.enum(['entry', 'content']).optional(),
  })
  .refine((value) => (value.ids === undefined) !== (value.paths === undefined), 'give either ids or paths')

/** All of them hold. */
const filter = z.strictObject({
  kind: z.enum(ENTRY_KINDS).optional(),
  location: id.optional(),
  /** Without the dot; any of them. */
  extensions: z
    .array(
      z
        .string()
        .min(1)
        .max(100)
        .regex(/^[^./\0][^/\0]*$/, 'an extension has no dot before it and no slash'),
    )
    .min(1)
    .max(LIMITS.extensionsMax)
    .optional(),
  /** Both included; only files have a size. */
  size: amounts.optional(),
  /** From the one until before the other. */
  modified: z.strictObject({ after: time.optional(), before: time.optional() }).optional(),
  /** Pixels and milliseconds, both included: of pictures, sounds and films whose headers say so. */
  width: amounts.optional(),
  height: amounts.optional(),
  durationMs: amounts.optional(),
  /** From the one until before the other, by the clock of the camera. */
  taken: z.strictObject({ after: clock.optional(), before: clock.optional() }).optional(),
  /** Everything below this directory. */
  path: absolute.optional(),
  /** Whether its name, or that of a directory above it, begins with a dot. */
  hidden: z.boolean().optional(),
  /** All of them, each by its id, its name or an alias; what lies below one counts as it. */
  tags: z.array(tag).min(1).max(LIMITS.tagsSoughtMax).optional(),
  /** Files of one of these: by what they hold where that was read, else by their names. */
  contentKinds: z.array(z.enum(CONTENT_KINDS)).min(1).max(CONTENT_KINDS.length).optional(),
  /** Whether another file is known to hold the same; names of one file are no copies. */
  duplicate: z.boolean().optional(),
})

const filters = filter.extend({
  /** None of them holds. */
  not: z
    .array(filter.refine((value) => Object.keys(value).length === 1, 'give one filter in each'))
    .min(1)
    .max(LIMITS.filtersNotMax)
    .optional(),
})

export const PARAMS = {
  'core.ping': none,
  'core.status': none,
  'core.descriptors': none,
  'core.reload': none,
  'core.shutdown': none,
  /** `from` is a backup. */
  'libraries.create': z.strictObject({ name, from: path.optional() }),
  'libraries.list': none,
  'libraries.info': library,
  'libraries.rename': z.strictObject({ library: id, name }),
  /** Without `to` it goes to DATA_DIR/backups. */
  'libraries.backup': z.strictObject({ library: id, to: path.optional() }),
  'libraries.check': library,
  'libraries.compact': library,
  'libraries.open': library,
  'libraries.close': library,
  /** Without `data` the folder is moved to DATA_DIR/deleted; with it the index is deleted. The indexed files stay in both cases. */
  'libraries.delete': z.strictObject({ library: id, data: z.boolean().optional() }),
  'locations.add': z.strictObject({
    library: id,
    path,
    name: name.optional(),
    mode: z.enum(MODES).optional(),
    watch: z.boolean().optional(),
    rules: rules.optional(),
  }),
  'locations.list': library,
  'locations.remove': location,
  'locations.rescan': location,
  /** Other `rules` take the place of those before, and a scan begins that makes them true. */
  'locations.update': z
    .strictObject({
      library: id,
      location: id,
      name: name.optional(),
      watch: z.boolean().optional(),
      rules: rules.optional(),
      /** With more than before a job reads the files it is about; with less, what is known is kept and nothing further read. */
      mode: z.enum(MODES).optional(),
    })
    .refine(
      ({ name, watch, rules: left, mode }) => [name, watch, left, mode].some((value) => value !== undefined),
      'give name, watch, rules, mode or several of them',
    ),
  'files.list': z
    .strictObject({
      library: id,
      path: absolute.optional(),
      parent: id.optional(),
      sort: z.enum(['name', 'size', 'modified']).optional(),
      limit: limit.optional(),
      cursor: cursor.optional(),
    })
    .refine((value) => (value.path === undefined) !== (value.parent === undefined), 'give either path or parent'),
  'files.get': z
    .strictObject({ library: id, id: id.optional(), path: absolute.optional() })
    .refine((value) => (value.id === undefined) !== (value.path === undefined), 'give either id or path'),
  /** A job reads these files to their ends; `files.get` has the hash of each from then on, until the file changes. */
  'files.hash': z
    .strictObject({
      library: id,
      ids: z.array(id).min(1).max(LIMITS.tagEntriesMax).optional(),
      paths: z.array(path).min(1).max(LIMITS.tagEntriesMax).optional(),
    })
    .refine((value) => (value.ids === undefined) !== (value.paths === undefined), 'give either ids or paths'),
  /** Why a path is in the index, or is not. */
  'files.explain': z.strictObject({ library: id, path: absolute }),
  /** What lies in a directory and is left out, each with its rule. */
  'files.leftOut': z.strictObject({ library: id, path: absolute, limit: limit.optional(), cursor: cursor.optional() }),
  'search.files': z.strictObject({
    library: id,
    query: z.string().max(LIMITS.queryCharsMax),
    syntax: z.enum(['text', 'filters']).optional(),
    filters: filters.optional(),
    sort: z.enum(SEARCH_SORTS).optional(),
    order: z.enum(['ascending', 'descending']).optional(),
    limit: limit.optional(),
    cursor: cursor.optional(),
  }),
  'tags.create': z.strictObject({
    library: id,
    name: tagName,
    parent: tag.optional(),
    colour: colour.optional(),
    aliases: aliases.optional(),
    description: description.optional(),
  }),
  'tags.list': z.strictObject({
    library: id,
    query: z.string().max(LIMITS.queryCharsMax).optional(),
    limit: limit.optional(),
    cursor: z
      .string()
      .min(1)
      .max(LIMITS.tagDepthMax * LIMITS.tagNameCharsMax * 128)
      .optional(),
  }),
  'tags.update': z
    .strictObject({
      library: id,
      tag,
      name: tagName.optional(),
      parent: tag.nullable().optional(),
      colour: colour.nullable().optional(),
      aliases: aliases.optional(),
      description: description.nullable().optional(),
    })
    .refine((value) => Object.keys(value).length > 2, 'say what to change'),
  'tags.delete': z.strictObject({ library: id, tag }),
  'tags.apply': onEntries,
  'tags.remove': onEntries,
  'duplicates.list': z.strictObject({
    library: id,
    location: id.optional(),
    /** Bytes of one file. */
    minSize: bytes.optional(),
    limit: limit.optional(),
    cursor: cursor.optional(),
  }),
  /** A job reads every byte of these groups and tells which files are truly equal. */
  'duplicates.verify': z.strictObject({
    library: id,
    contentIds: z
      .array(z.string().regex(/^[0-9a-f]{16}$/, 'a content id has 16 hexadecimal digits'))
      .min(1)
      .max(LIMITS.compareGroupsMax),
  }),
  'tokens.create': z.strictObject({
    name,
    scope: z.enum(SCOPES),
    /** Ids; without them all libraries, those that are yet to be made too. */
    libraries: z.array(id).min(1).max(LIMITS.tokenLibrariesMax).optional(),
    expiresAt: time.optional(),
  }),
  'tokens.list': none,
  /** By its id or its name. */
  'tokens.revoke': z.strictObject({ token: z.string().min(1).max(LIMITS.nameCharsMax) }),
  'jobs.list': z.strictObject({ library: id, limit: limit.optional(), cursor: cursor.optional() }),
  'jobs.info': job,
  'jobs.pause': job,
  'jobs.resume': job,
  'jobs.cancel': job,
  'rpc.discover': none,
  /** The id of a request that was sent over the same WebSocket. */
  'rpc.cancel': z.strictObject({ id: z.union([z.string(), z.number()]) }),
  'events.subscribe': z.strictObject({
    /** All of them where it is left out. Of none nothing would ever be told, which nobody means. */
    types: z.array(z.enum(EVENT_TYPES)).min(1, 'name at least one, or leave it out for all').max(50).optional(),
    library: id.optional(),
    location: id.optional(),
    job: id.optional(),
    /** Only what may concern this path or what is below it. */
    path: absolute.optional(),
    /** Of the last event that came, to have those after it. */
    cursor: eventCursor.optional(),
  }),
  'events.unsubscribe': z.strictObject({ subscription: id }),
} as const satisfies Record<string, ZodType>

export type OperationName = keyof typeof PARAMS
export type Scope = (typeof SCOPES)[number]
/** One that may be negated. */
export type SearchFilter = Infer<typeof filter>
export type LocationRules = Infer<typeof rules>
export type SearchFilters = Infer<typeof filters>
export type ParamsOf<Name extends OperationName> = Infer<(typeof PARAMS)[Name]>

/**
 * The least scope that an operation asks for. `read` changes nothing; `write` changes what libraries say of files, and begins
 * or ends work; `admin` decides which files of the machine the daemon reads and where it writes, and what becomes of itself.
 */
const SCOPE_OF = {
  'core.ping': 'read',
  'core.status': 'read',
  'core.descriptors': 'read',
  'core.reload': 'admin',
  'core.shutdown': 'admin',
  'libraries.create': 'admin',
  'libraries.list': 'read',
  'libraries.info': 'read',
  'libraries.rename': 'write',
  'libraries.backup': 'admin',
  'libraries.check': 'write',
  'libraries.compact': 'write',
  'libraries.open': 'write',
  'libraries.close': 'write',
  'libraries.delete': 'admin',
  'locations.add': 'admin',
  'locations.list': 'read',
  'locations.remove': 'admin',
  'locations.rescan': 'write',
  'locations.update': 'admin',
  'files.list': 'read',
  'files.get': 'read',
  'files.hash': 'write',
  'files.explain': 'read',
  'files.leftOut': 'read',
  'search.files': 'read',
  'tags.create': 'write',
  'tags.list': 'read',
  'tags.update': 'write',
  'tags.delete': 'write',
  'tags.apply': 'write',
  'tags.remove': 'write',
  'duplicates.list': 'read',
  'duplicates.verify': 'write',
  'tokens.create': 'admin',
  'tokens.list': 'admin',
  'tokens.revoke': 'admin',
  'jobs.list': 'read',
  'jobs.info': 'read',
  'jobs.pause': 'write',
  'jobs.resume': 'write',
  'jobs.cancel': 'write',
  'rpc.discover': 'read',
  'rpc.cancel': 'read',
  'events.subscribe': 'read',
  'events.unsubscribe': 'read',
} as const satisfies Record<OperationName, Scope>

/** Of those that name no library, what one may ask who may see some only: it tells nothing of the others. */
const OF_ANY_LIBRARY: ReadonlySet<OperationName> = new Set([
  'core.ping',
  'libraries.list',
  'rpc.discover',
  'rpc.cancel',
  'events.subscribe',
  'events.unsubscribe',
])

export function scopeOf(operation: OperationName): Scope {
  return SCOPE_OF[operation]
}

export function includes(scope: Scope, other: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(other)
}

/** Whether it may be asked by those who may see only some libraries, where it names none. */
export function isOfAnyLibrary(operation: OperationName): boolean {
  return OF_ANY_LIBRARY.has(operation)
}

/** Operations that a connection on a control slot may still ask for when every client slot is taken. */
export function isControl(operation: OperationName): boolean {
  return operation.startsWith('core.')
}

/** The same text, of this program. */
export function operationOf(name: string): OperationName | undefined {
  return NAMES.get(name)
}

export function isOperation(name: unknown): name is OperationName {
  return NAMES.has(name)
}

/** @throws SpacedriveError, BAD_REQUEST */
export function checkParams<Name extends OperationName>(operation: Name, params: unknown): ParamsOf<Name> {
  const result = PARAMS[operation].safeParse(params)
  if (!result.success) throw new SpacedriveError('BAD_REQUEST', problemOf(result.error.issues[0]))
  return result.data as ParamsOf<Name>
}

/** What the schema says is wrong first, and where: the beginning, where unknown keys make it long. */
export function problemOf(
  issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined,
): string {
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : ''
  return `${where}${issue?.message ?? 'wrong parameters'}`.slice(0, LIMITS.problemCharsMax)
}

/** Found faster than a property of the table by a name that was just read; and what is looked up by the name that is found is found faster. */
const NAMES: ReadonlyMap<unknown, OperationName> = new Map(
  (Object.keys(PARAMS) as OperationName[]).map((name) => [name, name]),
)
