// What goes wrong, as one of our codes: what the system said is told apart here.
import { statfsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { SpacedriveError, type ErrorCode, type Full, type WireError } from './codes.js'

export * from './codes.js'

/** Anything thrown, as plain data. What is not ours becomes INTERNAL and keeps its message. */
export function toWire(error: unknown): WireError {
  const known = fromSystem(error)
  return {
    code: known.code,
    message: known.message,
    hint: known.hint,
    retryable: known.retryable,
    ...(known.retryAfterMs === undefined ? {} : { retryAfterMs: known.retryAfterMs }),
    ...(known.class === undefined ? {} : { class: known.class }),
    ...(known.position === undefined ? {} : { position: known.position }),
  }
}

/** Errors of the system calls, told apart by errno and by which call met it; a resource error is never taken for absence. */
export function fromSystem(error: unknown): SpacedriveError {
  if (error instanceof SpacedriveError) return error
  const message = messageOf(error)
  const cause = causeOf(errnoOf(error) ?? '', error)
  if (!cause) return new SpacedriveError('INTERNAL', message, { cause: error })
  const { code, words, ...more } = cause
  return new SpacedriveError(code, words === undefined ? message : `${words}: ${message}`, { cause: error, ...more })
}

/** Errors of some packages come over from another thread as mere objects. */
function messageOf(error: unknown): string {
  const { message } = (error ?? {}) as { message?: unknown }
  return typeof message === 'string' ? message : String(error)
}

interface Cause {
  readonly code: ErrorCode
  readonly words?: string
  readonly hint?: string
  readonly class?: Full
}

function causeOf(errno: string, error: unknown): Cause | undefined {
  if (errno === 'ERR_WORKER_INIT_FAILED') return threadCause(String((error as Error).message))
  const syscall = (error as { syscall?: unknown } | null)?.syscall
  // Said by inotify, these two mean something else than by any other call.
  if (syscall === 'watch' && Object.hasOwn(WATCH_CAUSES, errno)) return WATCH_CAUSES[errno]
  if (errno === 'ENOSPC') return spaceCause((error as { path?: unknown }).path)
  return Object.hasOwn(CAUSES, errno) ? CAUSES[errno] : undefined
}

/** Space may be left, and only no file be possible any more. */
export function hasNoInode(folder: string): boolean {
  try {
    const { files, ffree } = statfsSync(folder)
    return files > 0 && ffree === 0
  } catch {
    return false // Not even that can be asked.
  }
}

function spaceCause(path: unknown): Cause {
  return typeof path === 'string' && hasNoInode(dirname(path)) ? NO_INODE : CAUSES['ENOSPC']!
}

export const NO_INODE = {
  code: 'DISK_FULL',
  words: 'the disk has no inode left',
  hint: 'Delete some files, however small, on the disk of the data directory (`df -i` shows them); nothing was lost.',
} as const satisfies Cause

/** Node says of a thread that could not start only which errno it met. */
function threadCause(message: string): Cause | undefined {
  const errno = /\bE[A-Z]+\b/.exec(message.replace('ERR_WORKER_INIT_FAILED', ''))?.[0] ?? ''
  return errno === 'EAGAIN' || errno === 'ENOMEM' ? THREADS : CAUSES[errno]
}

const FORBIDDEN: Cause = {
  code: 'READ_ONLY',
  words: 'this user may not',
  hint: 'Look at the owner and the permissions of what is named; the daemon and its data belong to one user.',
}

const CAUSES: Readonly<Record<string, Cause>> = {
  EMFILE: { code: 'BUDGET_EXHAUSTED', words: 'this process has no descriptor left', class: 'process' },
  ENFILE: {
    code: 'BUDGET_EXHAUSTED',
    words: 'the whole machine has no descriptor left',
    hint: 'Other programs hold the descriptors of this machine: close some of them, or raise fs.file-max with `sysctl`.',
    class: 'machine',
  },
  ENOSPC: { code: 'DISK_FULL', words: 'the disk is full' },
  EDQUOT: {
    code: 'DISK_FULL',
    words: 'the quota of this user is used up',
    hint: 'Delete something of this user on that disk, or have the quota raised (`quota` shows it); nothing was lost.',
  },
  EROFS: {
    code: 'READ_ONLY',
    words: 'the file system is read-only',
    hint: 'See why it was mounted read-only (`dmesg`) and mount it writable again; work goes on by itself then.',
  },
  EACCES: FORBIDDEN,
  EPERM: FORBIDDEN,
  EIO: { code: 'DISK_FAILED', words: 'the disk reported an error' },
}

const WATCH_CAUSES: Readonly<Record<string, Cause>> = {
  EMFILE: {
    code: 'BUDGET_EXHAUSTED',
    words: 'this user has no inotify instance left',
    hint: 'Raise it with `sudo sysctl fs.inotify.max_user_instances=1024`; descriptors are not what is missing.',
    class: 'watches',
  },
  ENOSPC: {
    code: 'BUDGET_EXHAUSTED',
    words: 'this user has no inotify watch left',
    hint: 'Raise it with `sudo sysctl fs.inotify.max_user_watches=1048576`; the disk is not what is full.',
    class: 'watches',
  },
}

const THREADS: Cause = {
  code: 'BUDGET_EXHAUSTED',
  words: 'no further thread can be started',
  hint: 'Try again shortly; `ulimit -u`, the pids limit of the container, or memory is used up.',
  class: 'threads',
}

export function errnoOf(error: unknown): string | undefined {
  const { code, errno } = (error ?? {}) as { code?: unknown; errno?: unknown }
  if (typeof code !== 'string') return undefined
  return code === 'UNKNOWN' ? (ERRNO_NAMES.get(Number(errno)) ?? code) : code
}

/** Those that Node has no name for: EDQUOT is one. */
const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [-number, name]))
