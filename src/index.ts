// The embedding API: a daemon inside this process, or a client of one that runs elsewhere.
import { checkSettings, configure } from './config.js'
import { SpacedriveError } from './base/errors.js'
import { fromLoading } from './base/shortage.js'
import type { Daemon as RunningDaemon } from './daemon.js'
import type { Deliver } from './protocol/messages.js'
import type { OperationName, ParamsOf } from './protocol/operations.js'
import type { Results } from './protocol/results.js'

export { Client } from './client.js'
export { connect, type ConnectOptions } from './connect.js'
export type { CallOptions } from './client.js'
export { SpacedriveError, type ErrorCode } from './base/errors.js'
export type * from './protocol/messages.js'
export type { OperationName, ParamsOf } from './protocol/operations.js'
export type { Results } from './protocol/results.js'

export interface OpenOptions {
  /** Where libraries, token and log lie; made if it is not there. One daemon at a time may use it. */
  readonly dataDir: string
  /** `HOST:PORT`, or false (the default) to listen nowhere. */
  readonly http?: string | false
  /** Whether to serve the unix socket as well; false by default. */
  readonly socket?: boolean
  /** Raises the host process's limit on descriptors; false by default. */
  readonly raiseLimit?: boolean
  /** The daemon's whole share of descriptors; what the limit leaves if absent. */
  readonly maxDescriptors?: number
  readonly shards?: number
  readonly front?: 'auto' | 'uws' | 'node'
  /**
   * Threads that face the clients of `http`; 1 by default, which is the thread that calls: while more is asked than can be done, its
   * loop rests for up to 2 ms a turn.
   */
  readonly fronts?: number
  /** Files in PEM by which TLS is spoken: both, or neither. */
  readonly tlsCert?: string
  readonly tlsKey?: string
}

/** A daemon in this process. Installs no signal handlers; after `close` nothing of it is left. */
export interface Daemon extends AsyncDisposable {
  readonly http: string | null
  readonly socket: string | null
  /** @throws SpacedriveError with the code that a client would get; CLOSED from `close` on */
  call<Name extends OperationName>(operation: Name, params?: ParamsOf<Name>): Promise<Results[Name]>
  /**
   * Events from now on, or from the filter's cursor as far as they are kept: as a client gets them.
   *
   * @returns ends the subscription
   * @throws SpacedriveError: BAD_REQUEST for a filter that a client would be refused, as one of no types; CLOSED from `close` on
   */
  subscribe(filter: ParamsOf<'events.subscribe'>, deliver: Deliver): () => void
  close(): Promise<void>
}

/** @throws SpacedriveError: LIMIT_TOO_LOW, BUDGET_EXHAUSTED, ALREADY_RUNNING, ADDRESS_IN_USE, BAD_CONFIG, READ_ONLY, DISK_FULL */
export async function open(options: OpenOptions): Promise<Daemon> {
  const { dataDir, http = false, socket = false, raiseLimit = false, maxDescriptors, shards, front, fronts } = options
  const { tlsCert, tlsKey } = options
  // Without one it would be that of whoever runs the program, with libraries of theirs.
  if (typeof dataDir !== 'string') throw new SpacedriveError('BAD_CONFIG', 'dataDir: the path of a directory is needed')
  if (maxDescriptors !== undefined && !(Number.isInteger(maxDescriptors) && maxDescriptors > 0))
    throw new SpacedriveError('BAD_CONFIG', 'maxDescriptors: expected a whole number')
  const flags = checkSettings({ http, shards, front, fronts, tlsCert, tlsKey }, (key) => key)
  const reread = () => configure({ dataDir, flags, env: {} })
  const { startDaemon } = await loadDaemon()
  const daemon = await startDaemon(reread(), {
    reread,
    socket,
    raiseLimit,
    guest: true,
    ...(maxDescriptors === undefined ? {} : { descriptorsMax: maxDescriptors }),
  })
  return embedded(daemon)
}

/** Whoever only connects needs none of it, and Node opens the files of a graph all at once: with 64 descriptors there is no room for all. */
async function loadDaemon(): Promise<typeof import('./daemon.js')> {
  try {
    return await import('./daemon.js')
  } catch (error) {
    throw fromLoading(error)
  }
}

function embedded(daemon: RunningDaemon): Daemon {
  const close = () => daemon.close()
  return {
    http: daemon.ready.http,
    socket: daemon.ready.socket,
    call: <Name extends OperationName>(operation: Name, params?: ParamsOf<Name>) =>
      daemon.call(operation, params ?? {}) as Promise<Results[Name]>,
    subscribe: (filter, deliver) => daemon.subscribe(filter, deliver),
    close,
    [Symbol.asyncDispose]: close,
  }
}
