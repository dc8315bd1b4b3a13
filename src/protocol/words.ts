// The words that operations, answers and libraries have in common. Apart from the schemas, which cost a thread 4 MB: a shard has none.
/** What a token lets its bearer do; each includes those before it. */
export const SCOPES = ['read', 'write', 'admin'] as const
export const SEARCH_SORTS = ['relevance', 'name', 'size', 'modified'] as const
export const ENTRY_KINDS = ['file', 'directory', 'symlink', 'other'] as const
/** Spacedrive's names, in its order: what is stored is the place in this list. */
export const CONTENT_KINDS = [
  'unknown',
  'image',
  'video',
  'audio',
  'document',
  'archive',
  'code',
  'text',
  'database',
  'book',
  'font',
  'mesh',
  'config',
  'encrypted',
  'key',
  'executable',
  'binary',
  'spreadsheet',
  'presentation',
  'email',
  'calendar',
  'contact',
  'web',
  'shortcut',
  'package',
  'model_entry',
] as const
/** `content` adds what files hold: their ids, types and kinds; `deep` what headers say of pictures, sounds and films as well. */
export const MODES = ['shallow', 'content', 'deep'] as const
export const JOB_KINDS = ['index', 'identify', 'compare', 'hash', 'backup', 'check'] as const
export const EVENT_TYPES = [
  'library.copying',
  'library.created',
  'library.opened',
  'library.renamed',
  'library.closed',
  'library.deleted',
  'library.failed',
  'location.added',
  'location.removed',
  'location.changed',
  'entries.changed',
  'tags.changed',
  'job.changed',
  'descriptors.level',
  'descriptors.leak',
  'descriptors.limit',
  'pressure.level',
  'log.line',
] as const

/** Told only to those who name it: a subscription to all that happens does not get what is written about it as well. */
export const NAMED_EVENT: (typeof EVENT_TYPES)[number] = 'log.line'
