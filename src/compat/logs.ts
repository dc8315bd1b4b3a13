// The log, told line by line as Spacedrive tells it.
import type { Heard, LogLevel } from '../base/log.js'
import { z } from '../base/zod.js'
import { checkedFilter, maybe } from './asking.js'

const filter = z.object({ library_id: maybe, job_id: maybe, level: maybe, target: maybe })

/** Theirs is a module of the program; of ours all is of one. */
const TARGET = 'spacedrive'
const LEVELS: Readonly<Record<LogLevel, string>> = { debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERROR' }

/** For lines that were not sent to one who did not read. */
export function logGap(): string {
  return logMessage('warn', 'lines before this one were not read in time, and are in the file alone', {})
}

/**
 * From `info` on. A level is that one alone, a target any part of one, as there.
 *
 * @throws Malformed
 */
export function logWanted(asked: unknown, send: (line: string) => void): Heard {
  const { library_id, job_id, level, target } = checkedFilter(filter, asked)
  const loud = level?.toUpperCase()
  const isNever = target != null && !TARGET.includes(target)
  return (lineLevel, message, fields) => {
    if (isNever || lineLevel === 'debug') return
    if (loud !== undefined && loud !== LEVELS[lineLevel]) return
    if (library_id != null && fields['library'] !== library_id) return
    if (job_id != null && fields['job'] !== job_id) return
    send(logMessage(lineLevel, message, fields))
  }
}

function logMessage(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({
    LogMessage: {
      timestamp: new Date().toISOString(),
      level: LEVELS[level],
      target: TARGET,
      message,
      job_id: fields['job'] ?? null,
      library_id: fields['library'] ?? null,
    },
  })
}
