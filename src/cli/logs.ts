// `spacedrive logs`: what the daemon wrote down. Reads the file, so it works when no daemon runs.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { errnoOf, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { wholeNumber } from './arguments.js'
import { parsed } from './client.js'
import type { Desk } from './desk.js'
import { UsageError } from './failure.js'
import type { Style, Terminal } from './terminal.js'
import { millisecond, safe } from './text.js'

interface LogsOptions {
  readonly flight?: boolean
  readonly follow?: boolean
  readonly lines: number
}

const CHUNK_BYTES = 64 << 10
const LOOK_MS = 250

const LEVELS: Readonly<Record<number, readonly [string, Style]>> = {
  10: ['TRACE', 'dim'],
  20: ['DEBUG', 'dim'],
  30: ['INFO', 'green'],
  40: ['WARN', 'yellow'],
  50: ['ERROR', 'red'],
  60: ['FATAL', 'red'],
}

export function addLogs(program: Command, desk: Desk): void {
  program
    .command('logs')
    .description("the last lines of the daemon's log; works without a daemon")
    .option('-f, --follow', 'go on with what is written; with --json one value a line')
    .option('-n, --lines <N>', 'how many lines', wholeNumber(0, LIMITS.cliLogLinesMax), LIMITS.cliLogLines)
    .option('--flight', 'what the flight recorder holds: how the daemon was, second by second')
    .action((options: LogsOptions) => (options.flight ? flight(desk, options) : logs(desk, options)))
}

async function logs(desk: Desk, options: LogsOptions): Promise<void> {
  const path = desk.paths.logs
  const log = new LogFile(path)
  try {
    const lines = log.last(options.lines)
    if (desk.json && !options.follow) return await desk.answer(lines.map(recordOf), () => [])
    await print(desk, lines)
    while (options.follow) {
      await sleep(LOOK_MS)
      await print(desk, log.more())
    }
  } finally {
    log.close()
  }
}

async function flight(desk: Desk, { lines, follow }: LogsOptions): Promise<void> {
  if (follow) throw new UsageError('--flight does not follow', '`spacedrive fds --watch` shows how the daemon is now.')
  const { readFlight } = await import('../descriptors/recorder.js')
  const { flightLines } = await import('./flight.js')
  const entries = lines === 0 ? [] : readFlight(desk.paths.flight).slice(-lines)
  await desk.answer(entries, () => flightLines(entries, desk.terminal))
}

async function print(desk: Desk, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  const texts = lines.map((line) => (desk.json ? JSON.stringify(recordOf(line)) : logLine(line, desk.terminal)))
  await desk.terminal.print(`${texts.join('\n')}\n`)
}

function recordOf(line: string): Record<string, unknown> {
  return parsed(line) ?? { msg: line }
}

export function logLine(line: string, terminal: Terminal): string {
  const record = parsed(line)
  if (record === null) return safe(line)
  const { level, time, msg, pid: _pid, hostname: _hostname, ...fields } = record
  const [name, style] = LEVELS[level as number] ?? [String(level ?? ''), 'dim']
  const words = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const at = terminal.styled('dim', millisecond(time as string | number))
  const tail = words.length > 0 ? `  ${terminal.styled('dim', safe(words.join(' ')))}` : ''
  return `${at}  ${terminal.styled(style, name.padEnd(5))}  ${safe(String(msg ?? ''))}${tail}`
}

/** The log as it grows. It is renamed aside when it is large: then the rest of the old file is read, and the new one begun. */
class LogFile {
  readonly #path: string
  #fd: number
  #at = 0
  #decoder = new StringDecoder('utf8')
  #begun = ''

  constructor(path: string) {
    this.#path = path
    this.#fd = opened(path)
  }

  /** The last whole lines; reading goes on after them. */
  last(linesMax: number): string[] {
    const bytes = fstatSync(this.#fd).size
    this.#at = linesMax === 0 ? bytes : this.#startOfLast(linesMax, bytes)
    return this.#rest()
  }

  more(): string[] {
    const lines = this.#rest()
    if (!this.#replaced()) return lines
    closeSync(this.#fd)
    this.#fd = opened(this.#path)
    this.#at = 0
    this.#decoder = new StringDecoder('utf8')
    const cut = this.#begun === '' ? [] : [this.#begun]
    this.#begun = ''
    return [...lines, ...cut, ...this.#rest()]
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** Reads backwards until enough line ends are behind. */
  #startOfLast(linesMax: number, bytes: number): number {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let ends = 0
    for (let end = bytes; end > 0;) {
      const start = Math.max(0, end - CHUNK_BYTES)
      const count = readSync(this.#fd, chunk, 0, end - start, start)
      for (let index = count - 1; index >= 0; index -= 1) {
        if (chunk[index] !== 0x0a || start + index === bytes - 1) continue
        ends += 1
        if (ends === linesMax) return start + index + 1
      }
      end = start
    }
    return 0
  }

  #rest(): string[] {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    const lines: string[] = []
    for (;;) {
      const count = readSync(this.#fd, chunk, 0, CHUNK_BYTES, this.#at)
      if (count === 0) return lines
      this.#at += count
      const whole = (this.#begun + this.#decoder.write(chunk.subarray(0, count))).split('\n')
      this.#begun = whole.pop() ?? ''
      lines.push(...whole)
    }
  }

  #replaced(): boolean {
    const now = statSync(this.#path, { throwIfNoEntry: false })
    // Between the rename and the first line of the new file there is none.
    if (now === undefined) return false
    return now.ino !== fstatSync(this.#fd).ino || now.size < this.#at
  }
}

function opened(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error
    throw new SpacedriveError('FILE_NOT_FOUND', `there is no log at ${path}`, {
      cause: error,
      hint: 'It begins when the daemon first starts; --data-dir names another data directory.',
    })
  }
}
