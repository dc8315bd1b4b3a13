// Every failure a caller can act on: its code, how HTTP says it, whether trying again can help, and what to do next.
// Codes are promises to callers: they are added, never renamed, never reused. A browser reads this file too.

interface ErrorKind {
  /** HTTP status when the failure is the whole answer. */
  readonly status: number
  /** True where the same request may succeed later without anybody changing anything. */
  readonly retryable: boolean
  readonly hint: string
}

const ERRORS = {
  BUDGET_EXHAUSTED: {
    status: 503,
    retryable: true,
    hint: 'Try again shortly; `spacedrive fds` shows who holds the descriptors, a higher `ulimit -n` gives more.',
  },
  CONNECTION_LIMIT: {
    status: 503,
    retryable: true,
    hint: 'Try again shortly, or close idle connections; `--max-connections` and a higher `ulimit -n` admit more.',
  },
  SHARD_BUSY: { status: 503, retryable: true, hint: 'Too many requests are in flight; try again shortly.' },
  OVERLOADED: {
    status: 503,
    retryable: true,
    hint: 'More is asked than can be done; nothing of it was begun. Ask again after `retryAfterMs`, and less at a time.',
  },
  SHARD_LOST: { status: 503, retryable: true, hint: 'A worker thread died and is being replaced; try again shortly.' },
  LIBRARY_NOT_FOUND: { status: 404, retryable: false, hint: 'List the libraries with `spacedrive library list`.' },
  LIBRARY_LOCKED: {
    status: 409,
    retryable: true,
    hint: 'Another process has this library open; stop it, or wait until it is done.',
  },
  LIBRARY_DAMAGED: {
    status: 500,
    retryable: false,
    hint: 'Nothing was changed or deleted. Restore the named file from a backup and open the library again.',
  },
  LIBRARY_NEWER: {
    status: 409,
    retryable: false,
    hint: 'This library was written by a newer version; update spacedrive to open it.',
  },
  LOCATION_NOT_FOUND: { status: 404, retryable: false, hint: 'List the locations with `spacedrive location list`.' },
  LOCATION_EXISTS: {
    status: 409,
    retryable: false,
    hint: 'This directory is covered already; `spacedrive location rescan` reads it again.',
  },
  FILE_NOT_FOUND: {
    status: 404,
    retryable: false,
    hint: 'Only indexed files are known; `spacedrive location rescan` finds what is new.',
  },
  PATH_REFUSED: { status: 400, retryable: false, hint: 'Name a directory that this user may read.' },
  TAG_NOT_FOUND: { status: 404, retryable: false, hint: 'List the tags with `spacedrive tag list`.' },
  TAG_EXISTS: { status: 409, retryable: false, hint: 'Choose another name: each name and alias means one tag.' },
  TAG_CYCLE: { status: 409, retryable: false, hint: 'Move the lower one of the two away first.' },
  JOB_NOT_FOUND: { status: 404, retryable: false, hint: 'List the jobs with `spacedrive job list`.' },
  JOB_STATE: { status: 409, retryable: false, hint: 'Look at its state with `spacedrive job info`.' },
  BAD_REQUEST: { status: 400, retryable: false, hint: 'See docs/protocol.md for what is expected.' },
  REQUEST_TOO_LARGE: { status: 413, retryable: false, hint: 'Split the request into smaller ones.' },
  UNAUTHORIZED: {
    status: 401,
    retryable: false,
    hint: 'Send `Authorization: Bearer TOKEN` with the token in DATA_DIR/token.',
  },
  TOO_MANY_ATTEMPTS: {
    status: 429,
    retryable: true,
    hint: 'Too many wrong tokens came from this address, or this one too often: look at the token, and wait.',
  },
  FORBIDDEN: {
    status: 403,
    retryable: false,
    hint: 'Ask with a token of a wider scope or of that library: `spacedrive token create` makes one.',
  },
  TOKEN_NOT_FOUND: { status: 404, retryable: false, hint: 'List the tokens with `spacedrive token list`.' },
  FORBIDDEN_ORIGIN: {
    status: 403,
    retryable: false,
    hint: 'Ask by the address the daemon listens on, and not from another web page.',
  },
  NOT_FOUND: {
    status: 404,
    retryable: false,
    hint: 'POST /rpc and GET /ws, /events, /libraries/LIBRARY/files/ID, /metrics and /health are served.',
  },
  TIMEOUT: { status: 504, retryable: true, hint: 'The answer took too long; what was begun may still complete.' },
  DISK_FULL: {
    status: 507,
    retryable: true,
    hint: 'Free some space on the disk of the data directory; nothing was lost.',
  },
  READ_ONLY: {
    status: 500,
    retryable: true,
    hint: 'The library cannot be written: check the permissions and mount options of the data directory.',
  },
  DISK_FAILED: {
    status: 500,
    retryable: false,
    hint: 'Nothing was deleted. Look at the disk (`dmesg`), copy the folder of the library, then `spacedrive library open`, which checks it first.',
  },
  LIMIT_TOO_LOW: {
    status: 500,
    retryable: false,
    hint: 'Raise the limit with `ulimit -n 65536` in this shell and start again.',
  },
  ALREADY_RUNNING: {
    status: 409,
    retryable: false,
    hint: 'Stop it with `spacedrive stop`, or use another --data-dir.',
  },
  ADDRESS_IN_USE: {
    status: 409,
    retryable: false,
    hint: 'Choose another port with `--http HOST:PORT`; port 0 picks a free one.',
  },
  BAD_CONFIG: { status: 400, retryable: false, hint: 'See `spacedrive start --help`.' },
  NO_DAEMON: { status: 503, retryable: true, hint: 'Start one with `spacedrive start`.' },
  STARTING: { status: 503, retryable: true, hint: 'The daemon is starting; try again in a moment.' },
  DRAINING: { status: 503, retryable: true, hint: 'The daemon is stopping; try again when it has restarted.' },
  CLOSED: { status: 503, retryable: false, hint: 'The program that asks closed it: open it anew, or connect anew.' },
  CANCELLED: { status: 499, retryable: false, hint: 'It was cancelled on request.' },
  INTERNAL: { status: 500, retryable: false, hint: 'This is a bug: `spacedrive logs` has the details.' },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

/** What is said of a daemon that is not there, or not yet, or not for long. */
export const AWAY: ReadonlySet<string> = new Set<ErrorCode>(['NO_DAEMON', 'STARTING', 'DRAINING'])

/** How a WebSocket is closed whose token does not hold any more. */
export const TOKEN_ENDED = { code: 4001, reason: 'the token was revoked or has expired' }

/**
 * What is full where something is: a class of the budget; or, by the system's word, the limit of this process, the files of
 * the whole machine, or the threads this user may have.
 */
export type Full = 'control' | 'clients' | 'libraries' | 'jobs' | 'watches' | 'process' | 'machine' | 'threads'

/** An error as plain data: what crosses threads and sockets. */
export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  readonly retryable: boolean
  readonly retryAfterMs?: number
  readonly class?: Full
  /** In UTF-16 units from its start: where in the query that was sent stands what makes no sense. */
  readonly position?: number
}

export interface SpacedriveErrorOptions extends ErrorOptions {
  hint?: string
  retryAfterMs?: number
  class?: Full
  position?: number
}

export class SpacedriveError extends Error {
  override readonly name = 'SpacedriveError'
  readonly code: ErrorCode
  readonly hint: string
  readonly retryAfterMs: number | undefined
  readonly class: Full | undefined
  readonly position: number | undefined

  constructor(code: ErrorCode, message: string, options?: SpacedriveErrorOptions) {
    super(message, options)
    this.code = code
    this.hint = options?.hint ?? ERRORS[code].hint
    this.retryAfterMs = options?.retryAfterMs
    this.class = options?.class
    this.position = options?.position
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}

export function statusOf(code: ErrorCode): number {
  return ERRORS[code].status
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value)
}

export function fromWire(wire: WireError): SpacedriveError {
  return new SpacedriveError(isErrorCode(wire.code) ? wire.code : 'INTERNAL', wire.message, {
    hint: wire.hint,
    ...(wire.retryAfterMs === undefined ? {} : { retryAfterMs: wire.retryAfterMs }),
    ...(wire.class === undefined ? {} : { class: wire.class }),
    ...(wire.position === undefined ? {} : { position: wire.position }),
  })
}
