// The daemon's log: JSON lines to one file, whose descriptor is held from boot on, so that it works when nothing can be opened.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { pino, type Logger } from 'pino'
import { LIMITS } from './limits.js'

const CLOSE_MS = 500

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void

export interface LogFile {
  readonly log: Log
  /**
   * Moves a file that has grown large aside, and begins a new one where somebody removed it; keeps writing to the old one when
   * none can be opened.
   *
   * @param borrow frees a descriptor for the new file, until it is disposed of
   */
  rotate(borrow: () => Disposable): void
  /** Resolves when the descriptor is closed. */
  close(): Promise<void>
}

type Destination = ReturnType<typeof pino.destination> & { fd: number }

export function openLog(path: string, level: string): LogFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // Its types leave out that the number is an own property, which a rotation replaces.
  const destination = pino.destination({ dest: path, sync: true, append: true, mode: 0o600 }) as Destination
  // A full disk must not stop the daemon: what cannot be written is lost, and the next line is tried again.
  destination.on('error', () => {})
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.epochTime }, destination)
  return {
    log: (lineLevel, message, fields) => logger[lineLevel](fields ?? {}, message),
    rotate: (borrow) => rotate(path, destination, borrow),
    close: () =>
      new Promise((resolve) => {
        // On a full disk it may never say that it closed.
        const late = setTimeout(() => (destination.destroy(), resolve()), CLOSE_MS)
        destination.once('close', () => (clearTimeout(late), resolve()))
        destination.end()
      }),
  }
}

function rotate(path: string, destination: Destination, borrow: () => Disposable): void {
  try {
    const there = statSync(path, { throwIfNoEntry: false })
    const held = fstatSync(destination.fd)
    const removed = there?.ino !== held.ino || there.dev !== held.dev
    if (!removed && held.size < LIMITS.logBytesMax) return
    using _borrowed = borrow()
    begin(path, destination, !removed)
  } catch {
    // Out of descriptors or space: the old file goes on being written, and the next interval tries again.
  }
}

/** By hand, because pino's own reopening closes a number a second time after it failed once. */
function begin(path: string, destination: Destination, aside: boolean): void {
  if (aside) renameSync(path, `${path}.1`)
  const old = destination.fd
  try {
    destination.fd = openSync(path, 'a', 0o600)
  } catch (error) {
    if (aside) renameSync(`${path}.1`, path)
    throw error
  }
  closeSync(old)
}
