// What each operation answers with, for typed clients.
import type {
  Descriptors,
  DuplicateGroup,
  Explanation,
  FileItem,
  JobItem,
  LeftOutItem,
  LibraryInfo,
  LibraryItem,
  LocationItem,
  Status,
  Tagging,
  TagItem,
  TokenItem,
} from './messages.js'
import type { OperationName } from './operations.js'

interface Page<T> {
  items: T[]
  /** Absent on the last page. */
  cursor?: string
}

/** A location and the job that indexes it. `leavesOut` tells the rules in words. */
export interface Indexing {
  location: string
  job: string
  leavesOut: string[]
}

/** Settings that changed, by their name in config.json, and `token`. */
export interface Reloaded {
  /** In force now. */
  taken: string[]
  /** In force after the next start. */
  waiting: string[]
}

/** A document of OpenRPC 1.3; schemas are JSON Schema of 2020-12. */
export interface OpenRpc {
  openrpc: string
  info: { title: string; version: string; description: string }
  methods: {
    name: string
    description: string
    paramStructure: 'by-name'
    params: { name: string; required?: boolean; schema: Record<string, unknown> }[]
    result: { name: string; description: string; schema: Record<string, unknown> }
  }[]
  components: { schemas: Record<string, Record<string, unknown>> }
}

/** `missed` only where a cursor was given: events after it, of any kind, that are not kept any more; null if that cannot be told. */
export interface EventsFrom {
  subscription: string
  cursor: string
  missed?: number | null
}

export interface Results extends Record<OperationName, unknown> {
  'core.ping': 'pong'
  'core.status': Status
  'core.descriptors': Descriptors
  'core.reload': Reloaded
  'core.shutdown': { draining: true }
  'libraries.create': { id: string; name: string; path: string }
  'libraries.list': LibraryItem[]
  'libraries.info': LibraryInfo
  'libraries.rename': { id: string; name: string; path: string }
  /** `path` is where the copy will lie. */
  'libraries.backup': { library: string; job: string; path: string }
  /** What is wrong is told as failures of the job. */
  'libraries.check': { library: string; job: string }
  'libraries.compact': { library: string; bytesBefore: number; bytesAfter: number }
  'libraries.open': LibraryItem
  'libraries.close': { library: string; closed: boolean }
  /** `path` is where the folder lies now, null when it was deleted. */
  'libraries.delete': { library: string; path: string | null }
  'locations.add': Indexing
  'locations.list': LocationItem[]
  'locations.remove': { location: string }
  'locations.rescan': Indexing
  /** With other rules also the job that makes them true. */
  'locations.update': LocationItem & Partial<Indexing>
  'files.list': Page<FileItem>
  'files.get': FileItem
  /** `missing`: what was named and is no file of the index. */
  'files.hash': { library: string; job: string; files: number; missing: string[] }
  'files.explain': Explanation
  'files.leftOut': Page<LeftOutItem>
  'search.files': Page<FileItem> & { total: number }
  'tags.create': TagItem
  'tags.list': Page<TagItem> & { total: number }
  'tags.update': TagItem
  'tags.delete': { tag: string }
  'tags.apply': Tagging
  'tags.remove': Tagging
  'duplicates.list': Page<DuplicateGroup> & { total?: number; waste?: number }
  'duplicates.verify': { library: string; job: string }
  /** `secret` is what is sent as `Bearer`; it is told this once, and kept nowhere. */
  'tokens.create': TokenItem & { secret: string }
  'tokens.list': TokenItem[]
  'tokens.revoke': { token: string }
  'jobs.list': Page<JobItem>
  'jobs.info': JobItem
  'jobs.pause': JobItem
  'jobs.resume': JobItem
  'jobs.cancel': JobItem
  'rpc.discover': OpenRpc
  'rpc.cancel': { cancelled: boolean }
  'events.subscribe': EventsFrom
  'events.unsubscribe': true
}
