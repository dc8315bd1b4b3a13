// Where each operation runs, and what is done first where there is more to do than can be. What it is asked with, operations.ts says.
import type { OperationName } from './operations.js'

/**
 * What is done first, and who is refused, when a shard has more to do than it can: `control` never waits; `interactive`, the
 * newest first when very many wait; `mutation`, in the order of coming; `stream`, the oldest are dropped; `job`, waits however long.
 */
export type WorkClass = 'control' | 'interactive' | 'mutation' | 'stream' | 'job'

/** Of each operation. */
export const WORK: Readonly<Record<OperationName, WorkClass>> = {
  'core.ping': 'control',
  'core.status': 'control',
  'core.descriptors': 'control',
  'core.reload': 'control',
  'core.shutdown': 'control',
  'libraries.create': 'mutation',
  'libraries.list': 'interactive',
  'libraries.info': 'interactive',
  'libraries.rename': 'mutation',
  'libraries.backup': 'mutation',
  'libraries.check': 'mutation',
  'libraries.compact': 'mutation',
  'libraries.open': 'mutation',
  'libraries.close': 'mutation',
  'libraries.delete': 'mutation',
  'locations.add': 'mutation',
  'locations.list': 'interactive',
  'locations.remove': 'mutation',
  'locations.rescan': 'mutation',
  'locations.update': 'mutation',
  'files.list': 'interactive',
  'files.get': 'interactive',
  'files.explain': 'interactive',
  'files.leftOut': 'interactive',
  'search.files': 'interactive',
  'tags.create': 'mutation',
  'tags.list': 'interactive',
  'tags.update': 'mutation',
  'tags.delete': 'mutation',
  'tags.apply': 'mutation',
  'tags.remove': 'mutation',
  'duplicates.list': 'interactive',
  'duplicates.verify': 'mutation',
  'files.hash': 'mutation',
  'tokens.create': 'mutation',
  'tokens.list': 'interactive',
  'tokens.revoke': 'mutation',
  'jobs.list': 'interactive',
  'jobs.info': 'interactive',
  'jobs.pause': 'mutation',
  'jobs.resume': 'mutation',
  'jobs.cancel': 'mutation',
  'rpc.discover': 'interactive',
  'rpc.cancel': 'control',
  'events.subscribe': 'stream',
  'events.unsubscribe': 'control',
}

/**
 * Where an operation runs: `main` answers on the main thread, `feed` needs a WebSocket,
 * `place` runs on the shard its new library is placed on, `library` on the shard that owns `params.library`.
 */
export type RunsOn = 'main' | 'feed' | 'place' | 'library'

export function runsOn(operation: OperationName): RunsOn {
  return RUNS_ON[operation]
}

/**
 * Whether it takes as long as it takes: no response deadline ends it. Whoever runs it sees to it that it goes on, and that nothing
 * stays of it where its caller goes away.
 */
export function isLasting(operation: OperationName, params: Readonly<Record<string, unknown>>): boolean {
  return operation === 'libraries.create' && params['from'] !== undefined
}

const RUNS_ON = Object.fromEntries(
  Object.keys(WORK).map((operation) => [operation, placeOf(operation as OperationName)]),
) as Record<OperationName, RunsOn>

function placeOf(operation: OperationName): RunsOn {
  if (/^(?:core|tokens)\./.test(operation) || operation === 'rpc.discover' || operation === 'libraries.list')
    return 'main'
  if (operation.startsWith('events.') || operation === 'rpc.cancel') return 'feed'
  return operation === 'libraries.create' ? 'place' : 'library'
}
