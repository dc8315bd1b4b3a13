// `node scripts/protocol.mjs` writes docs/protocol.md: parameters, errors and bounds from the compiled sources, in words from here;
// and docs/openrpc.json, the operations for programs. A test compares both with the files, and fails where an operation, an event
// or a code has no words.
import assert from 'node:assert'
import { readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import prettier from 'prettier'
import { SpacedriveError, isErrorCode, statusOf } from '../dist/src/base/errors.js'
import { LIMITS } from '../dist/src/base/limits.js'
import { failureOf } from '../dist/src/cli/failure.js'
import { PARAMS } from '../dist/src/protocol/operations.js'
import { EVENT_TYPES } from '../dist/src/protocol/words.js'
import { VERSION } from '../dist/src/version.js'
import { openrpc } from './openrpc.mjs'

const { z } = createRequire(import.meta.url)('zod')
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const FILE = join(ROOT, 'docs', 'protocol.md')
const OPENRPC_FILE = join(ROOT, 'docs', 'openrpc.json')

/** What an operation does, what it answers with, and its own errors. */
const OPERATIONS = {
  'core.ping': ['Answers.', '`"pong"`'],
  'core.status': [
    'How the daemon is doing: limit, descriptors, connections, libraries, shards, jobs. Opens nothing.',
    '[Status](#status)',
  ],
  'core.descriptors': ['Who holds every open descriptor.', '[Descriptors](#descriptors)'],
  'core.reload': [
    'Reads config.json, the token and the certificate again, as `spacedrive reload` does. Nobody is disconnected: a WebSocket that is open stays, whatever its token was.',
    '`{taken, waiting}`: names of the settings that changed and are in force now (`connectionsMax`, `nofile`, `hostsAllowed`, `logLevel`, `token`, `certificate`), and of those that will be after the next start',
    'BAD_CONFIG or LIMIT_TOO_LOW, and then nothing has changed',
  ],
  'core.shutdown': [
    'Begins the drain: answers in flight finish, jobs stop at their checkpoint, libraries close.',
    '`{draining: true}`',
  ],
  'libraries.create': [
    'Makes a library. Several may have one name; their folders get different ones. With `from`, the absolute path of a folder that `libraries.backup` made, it begins with all that was in that library; it and its locations and jobs get ids of their own, so that both may be here. What the locations lack since is found by a scan. The answer comes when it is there, however long the copy takes: no response deadline holds while it goes on, which `library.copying` tells, only a `timeoutMs`. Where the caller goes away first, or the daemon stops, nothing of it stays.',
    '`{id, name, path}`; `path` is its folder',
    'With `from`: PATH_REFUSED for what is no backup, LIBRARY_DAMAGED, LIBRARY_NEWER',
  ],
  'libraries.list': ['All libraries, open or not; opens none.', 'array of [Library](#library)'],
  'libraries.info': ['What a library holds.', '[Library](#library) with its counts'],
  'libraries.rename': ['Gives a library another name. Its folder keeps the old one.', '`{id, name, path}`'],
  'libraries.backup': [
    'Copies a library while it is used, by a job. `to` is an absolute path where nothing is yet, outside of the data directory, but for its `backups`, and of any library; without it the copy goes to `DATA_DIR/backups`. The copy is a whole library folder: put into `DATA_DIR/libraries` of a stopped daemon it is that library again, and `libraries.create` makes another one of it. Nothing is ever written over, and of a copy that does not end nothing stays.',
    '`{library, job, path}`; `path` is where the copy will lie',
    'PATH_REFUSED; the job also ends with it when there is no room',
  ],
  'libraries.check': [
    'Reads all of a library, by a job: every row, whether every index leads to it, and whether what is counted of entries is true. What is wrong is told as failures of the job.',
    '`{library, job}`',
  ],
  'libraries.compact': [
    'Writes the database anew without what is free in it. The libraries of its thread wait meanwhile, about a second for a million entries; as much as it has is needed on its disk.',
    '`{library, bytesBefore, bytesAfter}`',
    'JOB_STATE while work runs in it; DISK_FULL before anything is written',
  ],
  'libraries.open': [
    'Opens a library now instead of at its first use. Also tries one again that was listed with a problem; one whose disk failed is read through first.',
    '`{id, name, path, open: true}`',
  ],
  'libraries.close': [
    'Closes a library and gives its descriptors back. The next request opens it again.',
    '`{library, closed}`; `closed` is false when it was not open',
    'JOB_STATE while work runs in it',
  ],
  'libraries.delete': [
    'Takes a library out of the catalog; its jobs are cancelled. Without `data` its folder is moved to `DATA_DIR/deleted`, with `data: true` the folder is deleted. The indexed files stay in both cases.',
    '`{library, path}`; `path` is where the folder lies now, null when it was deleted',
    'JOB_STATE where who reads it, or a backup of it, takes more than ten seconds to come to an end',
  ],
  'locations.add': [
    'Adds a directory and begins to index it. `path` is absolute; symbolic links in it are resolved. `mode` is `shallow`, names and metadata, unless told otherwise; with `content` another job then reads the files for the ids, types and kinds of what they hold, and so of what changes later; with `deep` also what headers of pictures, sounds and films say. `rules` say what is left out: nothing without them, and rejected beats ignored beats accepted (see [rules.md](rules.md)). With `watch` changes on disk are followed from then on, also after a restart.',
    '[Indexing](#indexing)',
    'PATH_REFUSED, LOCATION_EXISTS',
  ],
  'locations.list': ['The locations of a library.', 'array of [Location](#location)'],
  'locations.remove': [
    'Forgets a location and its entries, in slices between which other requests are answered. Answers when all are gone; of a location so large that this takes longer than the response deadline the caller gets TIMEOUT, and the removal goes on. The files stay.',
    '`{location}`',
    'LOCATION_NOT_FOUND',
  ],
  'locations.rescan': [
    'Reads a location again. When a job of this location waits and has not begun, that one is answered, without `leavesOut`.',
    '[Indexing](#indexing)',
    'LOCATION_NOT_FOUND, JOB_STATE while a job of this location runs or is paused',
  ],
  'locations.update': [
    'Gives a location another name or other rules, or begins or ends to follow what changes in it. Other rules take the place of all that were before; a scan that runs is cancelled and another one begins, which takes out what is left out now and lets in what is not any more. With another `mode` its files, and their headers, are read from now on, or not any more; the answer then names the `job` that reads those that were never read.',
    '[Location](#location); with `rules` also `job` and `leavesOut` as in [Indexing](#indexing)',
    'LOCATION_NOT_FOUND',
  ],
  'files.list': [
    'The children of a directory, given by either its absolute `path` or, as `parent`, its id. `name` sorts without regard to case and accents; `size` and `modified` put the largest and the newest first.',
    '`{items, cursor?}`; `items` are [Files](#file)',
    'FILE_NOT_FOUND for what is no directory of the index, BAD_REQUEST for a foreign cursor',
  ],
  'files.explain': [
    'Why a path is in the index, or is not: what the index has of it, and what a look at the disk finds, under the rules of its location. It need not exist.',
    '[Explanation](#explanation)',
    'BUDGET_EXHAUSTED where the disk cannot be looked at now',
  ],
  'files.leftOut': [
    'What lies in a directory and is left out by a rule, by name. What lies below another directory that is left out is not listed.',
    '`{items, cursor?}`; `items` are `{name, nameBytes?, path, kind, rule}`, `rule` as in [Explanation](#explanation)',
    'FILE_NOT_FOUND for what is no directory of the index, BAD_REQUEST for a foreign cursor',
  ],
  'files.get': ['One entry, by either `id` or absolute `path`.', '[File](#file)', 'FILE_NOT_FOUND'],
  'files.hash': [
    'BLAKE3 of every byte of these files, made in a job of the kind `hash`, whatever the mode of their location. `files.get` answers with the `hash` of each from then on, until it changes; one that changed meanwhile, or cannot be read, is among the failures of the job.',
    '`{library, job, files, missing}`; `missing` are those of the `ids` or `paths` that are no file of the index',
    'FILE_NOT_FOUND when none of them is',
  ],
  'duplicates.list': [
    'Files that hold the same, by their content ids, the group that wastes the most space first: of the locations of mode `content` or `deep`. Ids of files over 100 KiB are made of samples. Names of one file are one file and waste nothing. `location` leaves groups of which at least one file lies in it.',
    '`{total?, waste?, items, cursor?}`, [Duplicates](#duplicates); `total` and `waste` are of all groups of at least `minSize`, on the first page without a `location`',
    'LOCATION_NOT_FOUND',
  ],
  'duplicates.verify': [
    'Compares the files of these groups byte by byte, in a job of the kind `compare`. Files are read as the index knows them, looked at before and after: one that changed meanwhile, or cannot be read, is among the failures of the job. What was found stands in `duplicates.list` until a file changes. A `contentId` that no file has any more is passed over.',
    '`{library, job}`',
    'BAD_REQUEST',
  ],
  'search.files': [
    'Entries whose name contains the text, whatever its case and accents. By relevance the best come first: the whole name, its start, the start of a word, anywhere; then shorter names. The empty text finds every entry. Of `filters` all hold: `extensions` (without the dot, whatever their case) any of which the name ends in; `size` in bytes, both ends included, which only files have; `modified` from `after` until before `before`; `width`, `height` and `durationMs`, both ends included, and `taken`, from `after` until before `before` by the clock of the camera (`2026-07-01T12:34:56`), of files whose headers say so; `path`, an absolute directory, for everything below it; `hidden`, whether the name or that of a directory above begins with a dot; `tags`, by id, name or alias, all of which it has, or one below them; `contentKinds`, files of any of these by their `contentKind`, those that have none being `unknown`; `duplicate`, whether another file is known to hold the same; and each of `not` is one filter that must not hold. `sort` by `relevance`, or by `name`, `size` or `modified` in the `order` `ascending` or `descending`: names begin with the first, sizes and times with the largest and the newest. With the `syntax` `filters` the query is read as people write it, `invoice ext:pdf size:>1M modified:<30d`: see [search.md](search.md); its filters and those beside it all hold. Without it, or with `text`, the query is nothing but text.',
    '`{total, items, cursor?}`; `total` is exact, `items` are [Files](#file)',
    'LOCATION_NOT_FOUND, FILE_NOT_FOUND for a `path` that the index does not know, TAG_NOT_FOUND, with `position` where the tag stands in the query, BAD_REQUEST for a foreign cursor, and with `position` for a query that makes no sense',
  ],
  'tags.create': [
    'Makes a tag, at the top or below a `parent`. A name or alias means one tag of a library, whatever its case, accents and blanks. `colour` is `#rrggbb`.',
    '[Tag](#tag)',
    'TAG_EXISTS, TAG_NOT_FOUND for the `parent`, BAD_REQUEST where there would be too many or too deep',
  ],
  'tags.list': [
    'The tags of a library, each before those below it, siblings by name; with `query` those of which a name or alias contains it.',
    '`{total, items, cursor?}`; `items` are [Tags](#tag)',
    'BAD_REQUEST for a foreign cursor',
  ],
  'tags.update': [
    'Changes what is given, the rest stays: `aliases` replaces all of them, null takes `parent`, `colour` or `description` away. Like each operation on one tag it takes its id, its name or an alias.',
    '[Tag](#tag)',
    'TAG_NOT_FOUND, TAG_EXISTS, TAG_CYCLE when it would come to lie below itself, BAD_REQUEST where it would be too deep',
  ],
  'tags.delete': [
    'Deletes a tag and takes it off all that has it, in slices between which other requests are answered. Its name is free at once, and tags below it come to lie below what was above it. The files stay.',
    '`{tag}`',
    'TAG_NOT_FOUND',
  ],
  'tags.apply': [
    'Gives entries a tag, named by either `ids` or absolute `paths`. What is not in the index is told as `missing`, and the others get it all the same. With `to: "content"` it is what the files hold that gets it, so that all copies have it, those that are yet to be made too; `missing` then also names those of which that is not known.',
    '[Tagging](#tagging)',
    'TAG_NOT_FOUND, FILE_NOT_FOUND when none of them is in the index',
  ],
  'tags.remove': [
    'Takes a tag off entries.',
    '[Tagging](#tagging)',
    'TAG_NOT_FOUND, FILE_NOT_FOUND as of `tags.apply`',
  ],
  'tokens.create': [
    'Makes a token for somebody else than the owner. `scope` is `read`, which changes nothing; `write`, which also changes what libraries say of files (their names, tags) and begins and ends work; or `admin`, which also makes, deletes and backs up libraries, adds, changes and removes locations, and is asked for by `core.reload`, `core.shutdown` and `tokens.*`. With `libraries` it is for these only: then `core.*` (but `core.ping`), `tokens.*` and `GET /metrics` are not for it, `libraries.list` names those alone, and events are told of those alone. From `expiresAt` on it does not hold. Names are given once.',
    'a [Token](#token) with its `secret`, which is sent as `Bearer`, is told this once and kept nowhere',
    'LIBRARY_NOT_FOUND; BAD_REQUEST for a name that is taken, a time that has passed, or where there are too many; DISK_FULL or READ_ONLY, and then there is none',
  ],
  'tokens.list': [
    'The tokens that were given out and not revoked. The one in `DATA_DIR/token` is not among them.',
    'array of [Token](#token)',
  ],
  'tokens.revoke': [
    'Takes a token back, by its id or name, at once: its WebSockets are closed with 4001, files on their way end.',
    '`{token}`, its id',
    'TOKEN_NOT_FOUND; DISK_FULL or READ_ONLY where it could not be stored: it is revoked all the same, and storing is tried again',
  ],
  'jobs.list': [
    'The jobs of a library, newest first.',
    '`{items, cursor?}`; `items` are [Jobs](#job)',
    'BAD_REQUEST for a foreign cursor',
  ],
  'jobs.info': ['One job.', '[Job](#job)', 'JOB_NOT_FOUND'],
  'jobs.pause': [
    'Stops a job at its checkpoint; it stays so over restarts.',
    '[Job](#job)',
    'JOB_NOT_FOUND, JOB_STATE unless it waits or runs',
  ],
  'jobs.resume': ['Lets a paused job go on.', '[Job](#job)', 'JOB_NOT_FOUND, JOB_STATE unless it is paused'],
  'jobs.cancel': ['Ends a job. What it committed stays.', '[Job](#job)', 'JOB_NOT_FOUND, JOB_STATE when it has ended'],
  'rpc.discover': [
    'This list, as an [OpenRPC](https://spec.open-rpc.org) document: [openrpc.json](openrpc.json).',
    'the document',
  ],
  'rpc.cancel': [
    'Gives up a request of the same WebSocket by its `id`: it is answered with CANCELLED, and not begun if it waits yet. What has begun may still complete. Over HTTP a client gives up by closing the connection.',
    '`{cancelled}`; false when there is no such request, or it has its answer',
  ],
  'events.subscribe': [
    'Sends events, all or those that every given filter lets through: of these `types`; of one `library`, `location` or `job`; with a `path` those that may concern it or what is below it. With the `cursor` of an event (or of an earlier subscription) what came after it comes first, as far as it is kept. WebSocket only; the answer to a batch may come after the first events.',
    '`{subscription, cursor, missed?}`: `cursor` is where the subscription begins; `missed`, only where a cursor was given, is how many events after it, of any kind, are not kept any more, or null where that cannot be told: the cursor is of a daemon that did not end in order, or of another data directory',
    'BAD_REQUEST over HTTP, or with too many subscriptions',
  ],
  'events.unsubscribe': ['Ends a subscription.', '`true`', 'BAD_REQUEST for an id that this WebSocket does not have'],
}

const SHAPES = {
  File: {
    interface: 'FileItem',
    rows: [
      [
        'id',
        'string',
        'Kept when the entry is found again under another name or in another directory of its location.',
      ],
      ['library, location', 'string', 'Ids.'],
      ['path', 'string', 'Absolute.'],
      ['name', 'string', 'Bytes that are not UTF-8 show as U+FFFD.'],
      ['nameBytes?', 'string', 'Base64 of the true name, only where it is not valid UTF-8.'],
      ['pathBytes?', 'string', 'The same of the path.'],
      ['kind', 'string', '`file`, `directory`, `symlink` or `other`.'],
      ['size', 'number', 'Bytes.'],
      [
        'total?',
        'object',
        'Only of a directory, `{bytes, files, directories}` of everything below it. A file with several names counts under each.',
      ],
      ['modifiedAt', 'string', 'ISO 8601, UTC.'],
      ['inode', 'number or string', 'A string where it is past 2^53.'],
      [
        'contentId?',
        'string',
        'Of a file that was read, in a location of mode `content` or `deep`: 16 hexadecimal digits, the same for the same content.',
      ],
      ['mime?', 'string', 'Of a file, by what it holds where that was read, else by its name.'],
      ['contentKind?', 'string', 'The same; one of those that the filter takes.'],
      ['media?', 'object', 'What its header says, see [Media](#media): in a location of mode `deep`.'],
      [
        'hash?',
        'string',
        'BLAKE3 of every byte, 64 hexadecimal digits; only from `files.get`, and where `files.hash` was asked for.',
      ],
      ['tags?', 'array of strings', 'Names of its tags, where it has any: only in the answer of `files.get`.'],
    ],
  },
  Media: {
    interface: 'Media',
    rows: [
      ['width?, height?', 'number', 'Pixels, as it is shown: turned where the header says so.'],
      ['durationMs?', 'number', 'Milliseconds that a sound or a film takes.'],
      [
        'takenAt?',
        'string',
        'By the clock of the camera: `2026-07-01T12:34:56`, with `+02:00` after it where the camera said its zone.',
      ],
    ],
  },
  Duplicates: {
    interface: 'DuplicateGroup',
    rows: [
      ['contentId', 'string', '16 hexadecimal digits.'],
      ['size', 'number', 'Bytes of each file.'],
      ['files, names', 'number', 'A file with several names is one file.'],
      ['waste', 'number', 'Bytes that would come free if one file were kept.'],
      ['mime, contentKind', 'string', 'By what they hold.'],
      ['compared?', 'object', 'As in [Compared](#compared), where `duplicates.verify` was asked for.'],
      [
        'items',
        'array',
        'Of [File](#file), the first 20, each with `set?`: its place in `sets` from 1 on, or 0 where it could not be read.',
      ],
    ],
  },
  Compared: {
    interface: 'Compared',
    rows: [
      ['at', 'string', 'When the last of them was compared.'],
      [
        'sets',
        'array of numbers',
        'How many names hold the same in every byte, the most first: one number where all are equal.',
      ],
      ['unread', 'number', 'Names that changed meanwhile or could not be read.'],
    ],
  },
  Tag: {
    interface: 'TagItem',
    rows: [
      ['id, library, name', 'string', ''],
      ['aliases', 'array of strings', 'Other names under which it is found.'],
      ['parent?', 'string', 'Id of the tag right above it.'],
      ['path', 'array of strings', 'Names from the highest tag above it down to its own.'],
      ['colour?', 'string', '`#rrggbb`.'],
      ['description?', 'string', ''],
      ['createdAt', 'string', 'ISO 8601, UTC.'],
      ['entries', 'number', 'How many entries have this very tag themselves; those below it are not counted.'],
      ['contents', 'number', 'How many contents have it, and so every file that holds one of them.'],
    ],
  },
  Tagging: {
    interface: 'Tagging',
    rows: [
      ['tag', 'string', 'Id.'],
      ['entries', 'number', 'How many entries have it now, or have it no more.'],
      ['changed', 'number', 'For how many of them, or of the contents, that is new.'],
      ['missing', 'array of strings', 'Ids or paths that are not in the index, or whose content is not known.'],
    ],
  },
  Token: {
    interface: 'TokenItem',
    rows: [
      ['id, name', 'string', ''],
      ['scope', 'string', '`read`, `write` or `admin`.'],
      ['libraries?', 'array of strings', 'Ids; absent where it is for all of them.'],
      ['createdAt, expiresAt?', 'string', 'ISO 8601, UTC.'],
      ['expired', 'boolean', ''],
      ['usedAt?', 'string', 'When it was last asked with; a crash of the daemon may forget the last minute.'],
    ],
  },
  Library: {
    interface: 'LibraryInfo',
    rows: [
      ['id, name', 'string', ''],
      ['path', 'string', 'Its folder.'],
      ['open', 'boolean', ''],
      ['problem?', 'error', 'Why it cannot be opened, where that is known: `{code, message, hint, retryable}`.'],
      ['entries', 'number', 'Only in `libraries.info`, as is what follows. The root of a location counts.'],
      ['files, directories', 'number', 'Links and other kinds are what is left of `entries`.'],
      ['bytes', 'number', 'Sum of the sizes of the files.'],
      ['databaseBytes', 'number', 'The database and its log on disk.'],
      ['locations', 'array', 'Of [Location](#location).'],
    ],
  },
  Location: {
    interface: 'LocationItem',
    rows: [
      ['id, library, name', 'string', ''],
      ['path', 'string', 'Absolute, without symbolic links.'],
      [
        'mode',
        'string',
        '`shallow`; `content`: its files are read for what they hold; `deep`: and for what headers say.',
      ],
      ['addedAt, scannedAt?', 'string', 'ISO 8601, UTC. `scannedAt` is absent until a scan has ended.'],
      ['watch', 'boolean', 'Whether changes on disk are followed.'],
      [
        'watched?',
        'object',
        'Only of one that is: `{state, live, polled, reason?}`. `state` is `starting` until all of it is watched, `watched`, or `absent` while the directory itself is not there. `live` and `polled` count directories: those whose changes the system tells, and those that are read at intervals; `reason` says why not all are live.',
      ],
      ['rules?', 'object', 'What it leaves out, where there is anything; as `locations.add` takes them.'],
      [
        'leftOut?',
        'object',
        'How much of that its last scan left out, by rule: `own`, `system`, `hidden`, `git`, `dev`, `reject`, `ignore`, `gitignore`, `images`, `accept`. A directory counts once, with all that lies in it.',
      ],
      [
        'unverified?',
        'object',
        'Directories that could not be read: `{count, first}`; `first` are up to 10 of `{path, since, code, message, triedAt, tries}`. The index keeps what it knew of them, and they are tried again.',
      ],
    ],
  },
  Explanation: {
    interface: 'Explanation',
    rows: [
      ['path', 'string', 'Without `.` and `..`.'],
      ['indexed', 'boolean', ''],
      ['entry?', 'object', 'A [File](#file), where it is indexed.'],
      [
        'state',
        'string',
        '`indexed`; `notYet` scanned; `gone` since it was indexed; `leftOut` by `rule`; `noLocation` covers it; `notOnDisk`; `otherFileSystem`, `behindLink` or `notInDirectory`: something above it is another file system, a link, or no directory; `unread` because of `error`.',
      ],
      ['reason', 'string', 'The same in words.'],
      ['location?', 'string', 'Id of the location that covers it.'],
      ['at?', 'string', 'The place above it of which `state` is said.'],
      [
        'rule?',
        'object',
        '`{rule, pattern?, file?, line?}`; `rule` as in `leftOut` of a [Location](#location), the others where the rule has lines.',
      ],
      ['error?', 'object', '`{code, message}`, the words of the system.'],
      [
        'unverified?',
        'object',
        'The nearest directory, itself or above, that could not be read when it was scanned; as in [Location](#location).',
      ],
    ],
  },
  Indexing: {
    rows: [
      ['location', 'string', 'Id of the location.'],
      ['job', 'string', 'Id of the job that indexes it.'],
      ['leavesOut?', 'array of strings', 'What the index leaves out, one sentence a rule.'],
    ],
  },
  Job: {
    interface: 'JobItem',
    rows: [
      ['id, library', 'string', ''],
      ['kind', 'string', '`index`, or `identify`, which reads files.'],
      ['state', 'string', '`queued`, `running`, `paused`, `done`, `failed` or `cancelled`.'],
      [
        'progress',
        'object',
        '`{done, total?, bytes?, unit, fraction?}`. `unit` says what `done` and `total` count: `entries`, `files` or `bytes`. `fraction`, 0 to 1, is an estimate while the total is unknown. `bytes` is the size of the files that were read.',
      ],
      ['failures', 'array', 'Of `{path, code, message}`, e.g. directories that could not be read; the first ones.'],
      ['failureCount', 'number', 'All of them.'],
      ['leftOut?', 'object', 'What a scan left out, by rule, as in [Location](#location).'],
      [
        'descriptors?',
        'object',
        '`{taken, returned, left, leaks?}` over all runs that have ended: its own leases, and the thread that walked for it. `leaks` is up to 10 of `{path, count, where?}`; what a job left is taken back 10 s after its end.',
      ],
      ['location?', 'string', 'Id.'],
      ['createdAt, startedAt?, finishedAt?', 'string', 'ISO 8601, UTC.'],
      ['error?', 'error', 'Of a failed job.'],
      ['waiting?', 'error', 'Why a queued job that had begun stands in line again; it goes on by itself.'],
      [
        'unwritten?',
        'error',
        'Why it could not be written down yet that it was paused or cancelled, as on a full disk. It has stopped, and is written as soon as that is possible; a daemon that starts before that goes on with it.',
      ],
    ],
  },
  Status: {
    interface: 'Status',
    rows: [
      ['pid, version, uptimeMs', '', ''],
      ['state', 'string', '`starting`, `serving` or `draining`.'],
      ['front', 'string', '`uws`, `node`, or `none` for a daemon that listens nowhere.'],
      ['native', 'boolean', 'Whether the addon is loaded.'],
      [
        'errorsSurvived',
        'number',
        'Times that want of descriptors hit code that did not expect it, and the daemon went on.',
      ],
      ['http, socket, lineProtocol', 'string or null', 'Where it listens; the last one for lines, as `HOST:PORT`.'],
      ['limit', 'object', '`{softAtStart, soft, hard}`.'],
      [
        'descriptors',
        'object',
        '`{open, base, budget, reserve, reserveHeld, highest, unaccounted, exhaustionSeconds, level, since, pressure, reason, free, classes, leak?}`. `reserveHeld`: how much of the reserve is there now; `highest` is the highest number in use, null where it cannot be told. `exhaustionSeconds` is when the budget will be full if use goes on growing as it does, `null` where that is not in sight; `level` is `normal`, `elevated`, `high` or `critical`, entered at `since`; `pressure` is 1 when nothing is left and `reason` says in words what makes it; `free` numbers below the soft limit have no descriptor; `classes` holds a [Class](#class) for each of `control`, `clients`, `libraries`, `jobs`, `watches`; `leak` is the last `descriptors.leak` with its time `at`, while something of it is left.',
      ],
      [
        'pressure',
        'object',
        'What presses beside descriptors: `memory`, `loop` (the main thread is late) and `queue` (who asks a shard waits), each `{level, since, pressure, reason, refused}`. `level`, `since`, `pressure` and `reason` are as those of `descriptors`; `refused` counts requests that got `OVERLOADED` because of it.',
      ],
      [
        'connections',
        'object',
        '`{current, max, peak, accepted, refused, refusedBy, accept, acceptFailures, unreadBytes, unreadCut, wrongTokens}`; `idle` and `strangers`, those of TCP that have shown no token yet, where they are known. `refusedBy` has a count for each reason. `accept` is `open`, `failing` while no descriptor can be had for those who wait, or `spinning` while the loop turns in vain. `unreadBytes` is what clients have not read of long answers, `unreadCut` how many were cut because that was too much. `wrongTokens` counts requests with a token that is none.',
      ],
      [
        'loop',
        'object',
        '`{utilization, delayMs, stalls, stalledMs}` of the main thread. Over the last second: the share of time it was not waiting, and the latest that a timer came. Since the start: how often it stood still for 2 s or more, and for how long the last time.',
      ],
      [
        'libraries',
        'object',
        '`{known, open, connections, opened, evicted, reopened}`; connections of SQLite; how often one was opened since the start, closed to make room or under pressure, and of those asked for again within 10 s.',
      ],
      [
        'shards',
        'array',
        'Of `{id, libraries, inFlight, queued, restarts, stalledMs, givenUp, overloaded}`. `stalledMs`: how long it has not turned its loop, from five seconds on, else 0. `givenUp`: requests that were not begun, because nobody waited for them any more. `overloaded`: requests that were refused with `OVERLOADED`, and not begun either.',
      ],
      ['jobs', 'object', '`{running, queued}`.'],
      [
        'watching',
        'object',
        '`{locations, live, polled, reasons}` over all watched locations; directories as in [Location](#location), and each reason once.',
      ],
      [
        'events',
        'object',
        '`{subscriptions, published, dropped, coalesced}`; `dropped`: events that went by unread, summed over subscriptions, each told as a gap; `coalesced`: progress of jobs that was not sent, for there was later progress.',
      ],
    ],
  },
  Class: {
    interface: 'ClassUse',
    rows: [
      ['used', 'number', 'Descriptors in use.'],
      ['floor, ceiling', 'number', 'Guaranteed, and at most.'],
      ['peak', 'number', 'Most that were taken at a time, the few that a thread keeps at hand included.'],
      ['refused, waited', 'number', 'How often a wish was refused, and how often one had to wait.'],
    ],
  },
  Descriptors: {
    interface: 'Descriptors',
    rows: [
      ['limit', 'object', 'As in [Status](#status).'],
      ['open, highest', 'number', 'How many are open, and the highest number among them.'],
      ['classes', 'object', 'As in [Status](#status).'],
      [
        'holders',
        'array',
        'Of `{fd, class, holder, detail, ageMs, where?}`; `class` is also `base` (the process itself) or `reserve`. `ageMs` is the age of the lease, or else how long ago the descriptor was first seen, at most 4 s too little (more with many thousands). `where` is the stack that took the lease, with `--trace-leases`.',
      ],
      ['unaccounted', 'array', 'Of `{fd, target, ageMs, peer?}`: open, and nobody accounts for it.'],
    ],
  },
}

const EVENTS = {
  'library.copying': [
    'name, progress',
    'It is being made of a backup: `progress` is `{done, total, unit}`, in bytes. Where it comes to nothing `libraries.create` says why, and nothing further is told here.',
  ],
  'library.created': ['name, path', ''],
  'library.opened': ['name', ''],
  'library.renamed': ['name', ''],
  'library.closed': ['', 'On request, idle, or to make room for another.'],
  'library.deleted': ['', ''],
  'library.failed': ['error', 'Its disk failed: it was closed, and opens again when `libraries.open` asks for it.'],
  'location.added': ['location, path', ''],
  'location.removed': ['location', 'Its entries are gone.'],
  'location.changed': ['location', 'Its name, its rules, or whether it is watched.'],
  'entries.changed': [
    'location, added, changed, moved, removed, directories',
    'Counts of several commits together, and up to 20 of the directories touched.',
  ],
  'tags.changed': [
    'change, tag, entries?, contents?',
    '`change` is `created`, `updated`, `deleted`, `applied` or `removed`, the last two with the number of `entries`, or `contents`, for which it is new; `tag` is its id. What comes back by itself with an entry is told by `entries.changed` alone.',
  ],
  'job.changed': ['job', 'A whole [Job](#job).'],
  'descriptors.level': ['level, before, pressure, reason', 'Of no library: a subscription to one does not get it.'],
  'descriptors.leak': [
    'unaccounted, growth, withinMs, likeliest, targets',
    'Descriptors that nobody accounts for have become `growth` more, and stay. `likeliest` is `{holder, why, where?}`, `targets` are up to 10 link targets. Of no library.',
  ],
  'descriptors.limit': [
    'before, after',
    'Of no library. The limit of the running daemon was changed from outside; each is `{soft, hard}`.',
  ],
  'pressure.level': [
    'cause, level, before, pressure, reason',
    'Of no library. `cause` is `memory`, `loop` or `queue`, as in [Status](#status).',
  ],
  'log.line': [
    'level, message, fields',
    'A line of the log, from `info` on; `library` where it is of one. Only for who names it in `types`, with the scope `admin`.',
  ],
}

/** Bounds that a client meets, by the unit in which they are told. */
const BOUNDS = {
  bodyBytesMax: [
    'bytes',
    'Body of `POST /rpc`, and one WebSocket message.',
    `413, where the body ends within ${LIMITS.bodyIgnoredBytesMax >> 20} MiB at its end; the WebSocket closes`,
  ],
  packedDepthMax: ['', 'Values within values of a message in MessagePack.', 'answered with -32700'],
  batchRequestsMax: ['', 'Requests in one JSON-RPC batch.', '`REQUEST_TOO_LARGE` for the whole batch'],
  responseMs: ['ms', 'An answer that has not come by then.', '`TIMEOUT`; what was begun may still complete'],
  shardInFlightMax: ['', 'Requests of one shard, in flight or waiting.', '`SHARD_BUSY`'],
  interactiveWaitingMax: ['', 'Reads that wait for one shard.', '`OVERLOADED` for one of who has the most in line'],
  mutationsWaitingMax: ['', 'Writes that wait for one shard.', '`OVERLOADED`'],
  queueCrowdMin: [
    '',
    'Reads, or writes, that wait for one shard; more are a crowd, if one has waited for `queueCrowdMs`.',
    'of reads the newest first, of who had least',
  ],
  interactiveAgeMs: ['ms', 'How long a read waits in a crowd.', '`OVERLOADED`; it was not begun'],
  mutationAgeMs: ['ms', 'How long a write waits in a crowd.', '`OVERLOADED`; it was not begun'],
  streamsWaitingMax: ['', 'Files to be sent that wait for one shard.', '`OVERLOADED` for the oldest'],
  libraryLeaseWaitMs: ['ms', 'Wait of a library that opens for descriptors.', '`BUDGET_EXHAUSTED`'],
  feedInFlightMax: ['', 'Requests of one WebSocket in flight.', '`SHARD_BUSY`'],
  feedSubscriptionsMax: ['', 'Subscriptions of one WebSocket.', '`BAD_REQUEST`'],
  feedBufferedBytesMax: ['bytes', 'Unsent on one WebSocket.', 'requests get `SHARD_BUSY`'],
  feedEventsAheadBytes: [
    'bytes',
    'Unsent to one client before its events wait.',
    'they wait among those that are kept',
  ],
  eventsKeptMax: [
    '',
    'Events kept, for slow readers and those who come back with a cursor.',
    'a gap, or `missed`, tells',
  ],
  eventsKeptBytesMax: ['bytes', 'The same, as they are sent.', 'a gap, or `missed`, tells'],
  eventsStoredBytesMax: ['bytes', 'Of those, as many of the last are kept over a restart.', '`missed` tells'],
  eventsRunsMax: ['', 'Runs of the daemon, one after the other, whose cursors are known.', '`missed` is null'],
  feedUnreadBytesMax: ['bytes', 'Unsent on one WebSocket, answers included.', 'it is cut'],
  unreadBytesMax: ['bytes', 'Unread of long answers, of all clients together.', 'who reads the longest is cut'],
  filePartBytes: ['bytes', 'Of a file that is sent, what is read at a time.', ''],
  filesOpenMax: ['', 'Files open at a time to be sent.', 'the others wait'],
  fileRangesMax: ['', 'Ranges of one request for a file.', 'the whole file'],
  feedIdleMs: ['ms', 'Silence of a WebSocket, pongs included.', 'it is closed'],
  httpIdleMs: ['ms', 'About: a kept connection without a request.', 'it is closed'],
  httpHeadersMs: ['ms', 'About: the headers of a request.', 'the connection is closed'],
  pageDefault: ['', 'Rows of a page without `limit`.', ''],
  pageMax: ['', 'Rows of a page.', '−32602'],
  queryCharsMax: ['', 'Characters of a search.', '−32602'],
  cursorCharsMax: ['', 'Characters of a cursor; of one of `tags.list` 204,800.', '−32602'],
  extensionsMax: ['', 'Extensions of a search.', '−32602'],
  nameCharsMax: ['', "Characters of a library's or location's name.", '−32602'],
  tagsMax: ['', 'Tags of a library.', '`BAD_REQUEST`'],
  tagDepthMax: ['', 'Tags above each other.', '`BAD_REQUEST`'],
  tagAliasesMax: ['', 'Aliases of a tag.', '−32602'],
  tagNameCharsMax: ['', 'Characters of a name or alias of a tag.', '−32602'],
  tagDescriptionCharsMax: ['', 'Characters of the description of a tag.', '−32602'],
  tagEntriesMax: ['', 'Entries that get or lose a tag in one request.', '−32602'],
  tagsKeptMax: [
    '',
    'Tags of entries that went, which wait for something to come to the same path.',
    'those that wait the longest are forgotten',
  ],
  guessesMax: ['', 'Wrong tokens of one address, or one and the same; then one in `guessMs`.', '429'],
  guessMs: ['ms', 'See there.', ''],
  tokensMax: ['', 'Tokens.', '`BAD_REQUEST`'],
  tokenLibrariesMax: ['', 'Libraries that one token is for.', '−32602'],
  jobFailuresKeptMax: ['', 'Failures that a job tells in words.', 'they are only counted'],
  jobsKeptMax: ['', 'Finished jobs a library remembers.', 'the oldest are forgotten'],
  jobProgressMs: ['ms', 'Between two `job.changed` of one job that runs.', ''],
}

/** All codes, in the order of the source: the table itself is not exported. */
export function errorCodes() {
  const source = readFileSync(join(ROOT, 'dist', 'src', 'base', 'codes.js'), 'utf8')
  const [table] = /const ERRORS = \{[^]*?\n\}/.exec(source)
  const codes = [...table.matchAll(/^ {4}([A-Z_]+): \{/gm)].map(([, code]) => code)
  assert(codes.length > 0 && codes.every(isErrorCode), 'the codes stand in codes.js as they did')
  return codes
}

/** What a caller, a script and a person see of one code. */
export function describeError(code) {
  const error = new SpacedriveError(code, '')
  return { status: statusOf(code), retryable: error.retryable, hint: error.hint, exit: failureOf(error).exitCode }
}

/** The whole text of docs/protocol.md. */
export async function reference() {
  const text = [INTRODUCTION, operations(), shapes(), events(), errors(), bounds()].join('\n\n')
  const options = await prettier.resolveConfig(FILE)
  return prettier.format(text, { ...options, parser: 'markdown' })
}

/** The whole text of docs/openrpc.json. */
export function discovery() {
  const told = Object.entries(OPERATIONS).map(([name, [words, result]]) => {
    const { $schema: _, ...params } = z.toJSONSchema(PARAMS[name])
    return [name, { words, params, result: plain(result) }]
  })
  return `${JSON.stringify(openrpc(VERSION, Object.fromEntries(told)), null, 2)}\n`
}

/** Without the links, which lead to other parts of the page. */
function plain(words) {
  return words.replaceAll(/\[([^\]]+)\]\(#\w+\)/g, '$1')
}

function operations() {
  const names = Object.keys(PARAMS)
  assert.deepEqual(Object.keys(OPERATIONS).toSorted(), names.toSorted(), 'every operation has words')
  for (const name of names) assert(OPERATIONS[name].length <= 3, `${name} has its words, its result and its errors`)
  return ['## Operations', OPERATIONS_INTRODUCTION, ...names.map(operation)].join('\n\n')
}

function operation(name) {
  const [words, result, errors] = OPERATIONS[name]
  const lines = [`### ${name}`, words, params(name), `Result: ${result}.`]
  return [...lines, ...(errors === undefined ? [] : [`Errors: ${errors.replace(/[A-Z]+_[A-Z_]+/g, '`$&`')}.`])].join(
    '\n\n',
  )
}

function params(name) {
  const { properties, required = [] } = z.toJSONSchema(PARAMS[name])
  const rows = Object.entries(properties).map(([key, schema]) => [
    `\`${key}\``,
    typeOf(schema),
    required.includes(key) ? 'yes' : '',
    rangeOf(schema),
  ])
  return rows.length === 0 ? 'No parameters.' : table(['parameter', 'type', 'required', ''], rows)
}

function typeOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ')
  if (Array.isArray(schema.type)) return schema.type.join(' or ')
  if (schema.type !== 'object') return schema.type === 'array' ? `array of ${typeOf(schema.items)}s` : schema.type
  return `object of ${Object.keys(schema.properties)
    .map((key) => `\`${key}\``)
    .join(', ')}`
}

function rangeOf(schema) {
  const { minLength, maxLength, minimum, maximum, minItems, maxItems } = schema
  if (schema.anyOf) return rangeOf(schema.anyOf[0])
  if (schema.enum) return oneOf(schema.enum)
  if (schema.format === 'date-time') return 'a time'
  if (schema.type === 'object') {
    return Object.entries(schema.properties)
      .map(([key, inner]) => [key, inner.type === 'object' ? `{${rangeOf(inner)}}` : rangeOf(inner)])
      .flatMap(([key, range]) => (range === '' ? [] : [`\`${key}\`: ${range}`]))
      .join('; ')
  }
  if (schema.type === 'array') return `${minItems ? `${minItems} to` : 'up to'} ${maxItems}: ${rangeOf(schema.items)}`
  if (maxLength !== undefined) return `${minLength ?? 0} to ${number(maxLength)} characters`
  return maximum === undefined ? '' : `${minimum} to ${number(maximum)}`
}

function oneOf(values) {
  return values.map((value) => `\`${value}\``).join(', ')
}

function shapes() {
  const each = Object.entries(SHAPES).map(([name, { rows }]) =>
    [
      `### ${name}`,
      table(
        ['field', 'type', ''],
        rows.map(([fields, type, words]) => [ticked(fields), type, words]),
      ),
    ].join('\n\n'),
  )
  return [
    '## Shapes',
    'A field with `?` may be absent. Fields may be added; ignore those you do not know.',
    ...each,
  ].join('\n\n')
}

/** The shapes that mirror an interface of src/protocol/messages.ts, with the fields they tell. */
export function toldFields() {
  return Object.entries(SHAPES).flatMap(([name, { interface: mirrored, rows }]) =>
    mirrored === undefined ? [] : [{ name, mirrored, fields: rows.flatMap(([fields]) => fields.split(', ')) }],
  )
}

function events() {
  assert.deepEqual(Object.keys(EVENTS), [...EVENT_TYPES], 'every event has words')
  const rows = EVENT_TYPES.map((type) => [
    `\`${type}\``,
    EVENTS[type][0] === '' ? '' : ticked(EVENTS[type][0]),
    EVENTS[type][1],
  ])
  return ['## Events', EVENTS_INTRODUCTION, table(['type', 'further fields', ''], rows)].join('\n\n')
}

function ticked(fields) {
  return fields
    .split(', ')
    .map((field) => `\`${field}\``)
    .join(', ')
}

function errors() {
  const rows = errorCodes().map((code) => {
    const { status, retryable, hint, exit } = describeError(code)
    return [`\`${code}\``, String(status), retryable ? 'yes' : 'no', String(exit), hint]
  })
  return ['## Errors', ERRORS_INTRODUCTION, table(['code', 'HTTP', 'retryable', 'CLI exit', 'hint'], rows)].join('\n\n')
}

function bounds() {
  const rows = Object.entries(BOUNDS).map(([key, [unit, words, past]]) => {
    assert(key in LIMITS, `${key} is a bound`)
    return [`\`${key}\``, `${number(LIMITS[key])}${unit === '' ? '' : ` ${unit}`}`, words, past]
  })
  return [
    '## Bounds',
    'From `src/base/limits.ts`, where each has its reason.',
    table(['bound', '', 'of what', 'past it'], rows),
  ].join('\n\n')
}

function number(value) {
  return value.toLocaleString('en-US')
}

function table(titles, rows) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n')
}

const INTRODUCTION = `# Protocol

Version 1 of what a client can rely on. Names, keys and codes are added, never renamed and never reused. JSON keys are camelCase, sizes are bytes, times are ISO 8601 in UTC, ids are strings. Written by \`scripts/protocol.mjs\`; do not edit.

## HTTP

The daemon listens on a TCP address (\`127.0.0.1:8080\` unless told otherwise) and on the unix socket \`DATA_DIR/daemon.sock\`. Both speak the same HTTP.

| route | answer |
| --- | --- |
| \`GET /metrics\`, \`HEAD\` | The figures of the daemon in Prometheus' text format 0.0.4; see [operations.md](operations.md#metrics). |
| \`GET /health\`, \`HEAD\` | 200 \`{"status":"ok"}\`; 503 with \`Retry-After\` and the status \`starting\`, \`draining\` or \`stalled\`. The last has \`stalls\`, each \`{thread, stoodMs}\`: \`main\` for 5 s after it stood still for 2 s or more (while it does it cannot answer), a shard while it has not turned for 5 s or more. Needs no token. |
| \`GET /\`, \`HEAD\` | The console, a page of its own with what it needs below \`/console/\`. These files need no token, and have an \`ETag\`. |
| \`POST /rpc\` | JSON-RPC 2.0, a request or a batch; \`Content-Type: application/json\`, UTF-8. What begins as the envelope of Spacedrive's own clients is answered as they have it; see [compat.md](compat.md). |
| \`GET /ws\` | The same over WebSocket, and events. |
| \`GET /events\` | The events alone, as [Server-Sent Events](#server-sent-events). |
| \`GET /libraries/LIBRARY/files/ID\`, \`HEAD\` | The bytes of a file, \`ID\` as in [File](#file). \`Range\` (up to 16 of them), \`If-Range\`, and the conditions \`If-Match\`, \`If-None-Match\`, \`If-Modified-Since\` and \`If-Unmodified-Since\` as in RFC 9110; \`?download\` has it saved instead of shown. Its \`ETag\` changes with inode, size and time. A file that changes while it is sent is not sent on: the connection ends. |

Every request passes these checks in this order:

1. **Host.** Exactly one, and one of the listening address, \`127.0.0.1\`, \`localhost\` or \`[::1]\` with the port, or a host allowed by \`--allow-host\`.
2. **Origin.** Absent, or one of those hosts, with \`https:\` where TLS is spoken. \`Sec-Fetch-Site: cross-site\` is refused. On the unix socket any Origin is refused, and Host is not looked at.
3. **State.** While starting and draining, everything but \`/health\` is refused.
4. **Token**, the one in \`DATA_DIR/token\`, or one that \`tokens.create\` gave: \`Authorization: Bearer TOKEN\`, or Basic with the token as password; on a WebSocket also the sub-protocol \`bearer.TOKEN\` beside \`spacedrive.v1\`. The unix socket needs none.
5. **Route, method, type, length.**

| status | when |
| --- | --- |
| 200 | A JSON-RPC answer, whether it holds results or errors. |
| 204 | The message held only notifications. |
| 400 | Two Hosts or none (which may also just be closed), or a body that is not UTF-8. |
| 206, 304, 412, 416 | Parts of a file; a file that the client has; one that is not what it wants the rest of; ranges outside of it. |
| 401 | Token missing or wrong. |
| 403 | Foreign Host or Origin: \`FORBIDDEN_ORIGIN\`. \`GET /metrics\` with a token for some libraries: \`FORBIDDEN\`. |
| 404, 405 | No such route; another method, with \`Allow\`. |
| 429 | Too many wrong tokens from this address, or this one too often: \`TOO_MANY_ATTEMPTS\` with \`Retry-After\`. A right token is never refused so. |
| 413, 415 | Body too large; not \`application/json\`, or with a \`Content-Encoding\`. |
| 426 | \`GET /ws\` without an upgrade. |
| 503 | \`CONNECTION_LIMIT\`, \`STARTING\` or \`DRAINING\`, with \`Retry-After\`. |
| 504 | A JSON-RPC answer: the request ran out of time, or all of the batch did. Of a batch of which anything else came the answer is 200. |

Outside JSON-RPC a refusal is \`{code, message, hint, retryable}\`. A connection that is not admitted gets the whole 503 at once, with \`class\` naming what is full, and is closed.

A connection of HTTP has one request at a time: where the next comes before the answer to the one before, uWebSockets.js may end it. More in flight go as a batch, or by \`/ws\`.

## JSON-RPC

\`\`\`http
POST /rpc HTTP/1.1
Host: 127.0.0.1:8080
Authorization: Bearer TOKEN
Content-Type: application/json

{"jsonrpc":"2.0","id":1,"method":"core.ping"}
\`\`\`

\`\`\`json
{ "jsonrpc": "2.0", "id": 1, "result": "pong" }
\`\`\`

Parameters are an object; an unknown key is an error. Beside \`params\` a request may have \`timeoutMs\`, from 1 to ${LIMITS.responseMs}: if no answer has come by then it gets TIMEOUT, and is not begun if it waits yet. A batch is answered in its order when its last call has its answer. Errors of the standard carry \`data: {hint, retryable: false}\` and no \`data.code\`:

| code | when |
| --- | --- |
| −32700 | Not JSON. |
| −32600 | Not a request, an empty batch, or an \`id\` that is a number beyond 2^53 − 1: it would come back rounded. |
| −32601 | No such method. |
| −32602 | Wrong parameters; the message names the first one. |

All others have the code −32000 and \`data: {code, hint, retryable, retryAfterMs?, class?, position?}\` with a code of [Errors](#errors). \`class\` names what is full: a class of the budget (\`control\`, \`clients\`, \`libraries\`, \`jobs\`, \`watches\`), or by the system's word \`process\`, \`machine\` or \`threads\`. \`position\` is where in the query of a search stands what makes no sense, in UTF-16 units from its start.

## WebSocket

Messages are text, each a request, a batch or a notification as above; answers come in any order, told apart by \`id\`. A binary message closes the feed with 1003. The daemon pings. At its end it closes with 1001; with 4001 when the token was revoked or has expired.

The sub-protocol \`spacedrive.v1.msgpack\` carries the same messages, events included, as MessagePack, each in one binary message; a text message closes the feed with 1003 there. Where both are offered the first is taken, and the answer to the upgrade names it. Only what JSON can say is understood: no binary, no extension, no integer beyond 2^53, keys are strings, and nothing is more than ${LIMITS.packedDepthMax} deep; anything else is answered with -32700 and where it went wrong. It saves bytes on the way (a page of files takes three quarters), not work of the daemon.

## Pages

A result with \`cursor\` has more: ask again with the same parameters and that cursor. Entries that stay as they are come exactly once, whatever is added between two pages.`

const OPERATIONS_INTRODUCTION = `Errors that an operation shares with others are told here once. Any, where the token does not go so far: \`FORBIDDEN\`. Any: \`STARTING\`, \`DRAINING\`, \`TIMEOUT\`, \`CANCELLED\`, \`INTERNAL\`. All but \`core.*\`, on a connection that sits on a control slot: \`CONNECTION_LIMIT\`. Those that take \`library\`: \`LIBRARY_NOT_FOUND\`, \`LIBRARY_LOCKED\`, \`LIBRARY_DAMAGED\`, \`LIBRARY_NEWER\`, \`DISK_FAILED\`. Those and \`libraries.create\`: \`BUDGET_EXHAUSTED\`, \`OVERLOADED\`, \`SHARD_BUSY\`, \`SHARD_LOST\`, \`READ_ONLY\`, \`DISK_FULL\`.

A request to a library that is closed opens it.`

const EVENTS_INTRODUCTION = `After \`events.subscribe\` each event comes as a notification:

\`\`\`json
{ "jsonrpc": "2.0", "method": "event", "params": { "subscription": "1", "seq": 1, "cursor": "mIT2cQ4L.81", "event": { "type": "job.changed" } } }
\`\`\`

\`seq\` counts from 1 in each subscription. A client that reads too slowly loses events, the oldest first, and is told exactly which before the next one comes, or as soon as it reads again:

\`\`\`json
{ "jsonrpc": "2.0", "method": "gap", "params": { "subscription": "1", "from": 2, "to": 41, "count": 40, "cursor": "mIT2cQ4L.123" } }
\`\`\`

Of the progress of a job (\`job.changed\` while it is \`running\`) that was not sent yet only the last is; no number of \`seq\` is spent on the others. A client that was away subscribes with the last \`cursor\` it got, and has what happened meanwhile. Every event has \`type\` and \`at\`, and \`library\` where it concerns one. It is published after the commit it reports.

### Server-Sent Events

\`GET /events\` is one subscription for as long as the request lasts, for curl and for a browser's EventSource. The query takes what events.subscribe takes, \`types\` with commas between them. An event has its \`cursor\` as \`id\`, so that a browser that comes back (with \`Last-Event-ID\`) has what happened meanwhile; of an id that is no cursor that cannot be told, and \`missed\` is null. One that comes while the daemon starts or stops gets an empty stream and comes again: after any other status an EventSource never would. Who does not ask for \`text/event-stream\` gets 503.

\`\`\`console
$ curl -N -H "Authorization: Bearer $TOKEN" 'http://127.0.0.1:8080/events?types=library.created,job.changed'
retry: 1000
event: subscribed
id: mIT2cQ4L.81
data: {"cursor":"mIT2cQ4L.81"}

event: library.created
id: mIT2cQ4L.82
data: {"type":"library.created","at":"…","library":"…","name":"Photos"}
\`\`\`

\`subscribed\` comes first, with \`missed\` where a cursor was given; \`gap\` comes where events went by unread, with \`from\`, \`to\`, \`count\` and \`cursor\` as above, counted from 1 in this stream. A comment comes every ${LIMITS.streamBeatMs / 1_000} s. With uWebSockets.js a client that reads nothing of what waits for it for about 10 s is cut.`

const ERRORS_INTRODUCTION = `\`code\` is a promise, \`message\` is for the log, \`hint\` is for the person. Retryable means that the same request may succeed later without anybody changing anything. HTTP is the status where the error is the whole answer.`

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  writeFileSync(FILE, await reference())
  writeFileSync(OPENRPC_FILE, discovery())
}
