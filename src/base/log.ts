// The daemon's log: JSON lines to one file, whose descriptor is held from boot on, so that it works when nothing can be opened.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { pino, type Logger } from 'pino'
import { LIMITS } from './limits.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void
/** Must not throw. */
export type Heard = (level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>) => void

export interface LogFile {
  readonly log: Log
  level: string
  /** Each line from now on, as it is written, or lost. Returns what ends it. */
  hear(heard: Heard): () => void
  /**
   * Begins a new file where the old one has grown large, or was removed or replaced by somebody. What stands in the way then is tried again the next time;
   * until then the old one is written on.
   *
   * @param borrow frees a descriptor for the new file until it is disposed of
   */
  rotate(borrow: () => Disposable): void
  close(): void
}

export function openLog(path: string, level: string): LogFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const lines = new Lines(path)
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.epochTime }, lines)
  const hearing = new Set<Heard>()
  return {
    log: (lineLevel, message, fields = {}) => {
      lines.tellLost((lost) => logger.warn({ lost }, 'lines before this one could not be written and were lost'))
      logger[lineLevel](fields, message)
      if (hearing.size > 0 && logger.isLevelEnabled(lineLevel))
        for (const heard of hearing) heard(lineLevel, message, fields)
    },
    hear: (heard) => {
      hearing.add(heard)
      return () => void hearing.delete(heard)
    },
    get level() {
      return logger.level
    },
    set level(level: string) {
      logger.level = level
    },
    rotate: (borrow) => lines.rotate(borrow),
    close: () => lines.close(),
  }
}

/**
 * Writes each line at once and keeps none: a full disk costs lines, not memory, and never the daemon. Not pino's own destination:
 * that keeps what it cannot write, and closes the old file twice when a new one could not be opened at first.
 */
class Lines {
  readonly #path: string
  #fd: number
  #lost = 0
  #torn = false
  #closed = false

  constructor(path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a', 0o600)
  }

  write(line: string): void {
    if (this.#closed) return
    const bytes = Buffer.from(this.#torn ? `\n${line}` : line)
    let written = 0
    try {
      written = writeSync(this.#fd, bytes)
    } catch {
      // The disk is full, or gone: the line is lost, and the next one tried all the same.
    }
    if (written === bytes.length) this.#torn = false
    else {
      this.#lost += 1
      if (written > 0) this.#torn = !(this.#torn && written === 1)
    }
  }

  /** Once writing works again, how many lines were lost; a line that says so and is lost itself is no news. */
  tellLost(tell: (lost: number) => void): void {
    const lost = this.#lost
    if (lost === 0) return
    this.#lost = 0
    tell(lost)
    if (this.#lost > 0) this.#lost = lost
  }

  rotate(borrow: () => Disposable): void {
    try {
      const there = statSync(this.#path, { throwIfNoEntry: false })
      const held = fstatSync(this.#fd)
      const ours = there?.ino === held.ino && there.dev === held.dev
      if (ours && held.size < LIMITS.logBytesMax) return
      using _room = borrow()
      if (ours) renameSync(this.#path, `${this.#path}.1`)
      this.#reopen()
    } catch {
      // Out of descriptors or space, or the directory is gone: the old file goes on being written.
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  #reopen(): void {
    const fd = openSync(this.#path, 'a', 0o600)
    closeSync(this.#fd)
    this.#fd = fd
    this.#torn = false
  }
}
