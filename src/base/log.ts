// The daemon's log: JSON lines to one file, whose descriptor is held from boot on, so that it works when nothing can be opened.
import { mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { pino, type Logger } from 'pino'
import { LIMITS } from './limits.js'

const CLOSE_MS = 500

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void

export interface LogFile {
  readonly log: Log
  /** Moves a file that has grown large aside; keeps writing to it when no new one can be opened. */
  rotate(): void
  /** Resolves when the descriptor is closed. */
  close(): Promise<void>
}

export function openLog(path: string, level: string): LogFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const destination = pino.destination({ dest: path, sync: true, append: true, mode: 0o600 })
  // A full disk must not stop the daemon: what cannot be written is lost, and the next line is tried again.
  destination.on('error', () => {})
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.epochTime }, destination)
  return {
    log: (lineLevel, message, fields) => logger[lineLevel](fields ?? {}, message),
    rotate: () => rotate(path, destination),
    close: () =>
      new Promise((resolve) => {
        // On a full disk it may never say that it closed.
        const late = setTimeout(() => (destination.destroy(), resolve()), CLOSE_MS)
        destination.once('close', () => (clearTimeout(late), resolve()))
        destination.end()
      }),
  }
}

function rotate(path: string, destination: ReturnType<typeof pino.destination>): void {
  try {
    if (statSync(path).size < LIMITS.logBytesMax) return
    renameSync(path, `${path}.1`)
    destination.reopen(path)
  } catch {
    // Out of descriptors or space: the old file goes on being written, and the next interval tries again.
  }
}
