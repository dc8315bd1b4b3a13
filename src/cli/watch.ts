// A screen that is drawn again every second, until Ctrl-C; what was there before comes back. Where there is no screen, plain lines.
import { setTimeout as sleep } from 'node:timers/promises'
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import type { Desk } from './desk.js'
import { linesOf as failureLines } from './failure.js'
import type { Terminal } from './terminal.js'
import { fitted, millisecond } from './text.js'

const ENTER = '\u001b[?1049h\u001b[?25l'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
/** To the end of the line, and of the screen. */
const REST = '\u001b[K'
const BELOW = '\u001b[J'

/**
 * @param ask what a daemon that is busy or draining may refuse for a while; that is shown, and it is asked again
 * @param linesOf at most so many lines
 */
export async function watchLines<Value>(
  desk: Desk,
  ask: () => Promise<Value>,
  linesOf: (value: Value, rowsMax: number) => readonly string[],
): Promise<void> {
  const stop = new AbortController()
  const left = () => stop.abort()
  process.once('SIGINT', left).once('SIGTERM', left)
  const show = desk.json ? null : openScreen(desk.terminal)
  try {
    while (!stop.signal.aborted) {
      const value = await askPatiently(ask)
      if (stop.signal.aborted) break
      if (show) await show.draw((rowsMax) => ('refused' in value ? value.refused : linesOf(value.got, rowsMax)))
      else if ('got' in value) await desk.answer(value.got, () => [])
      await sleep(LIMITS.cliWatchMs, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  } finally {
    process.removeListener('SIGINT', left).removeListener('SIGTERM', left)
    await show?.close()
  }
}

async function askPatiently<Value>(ask: () => Promise<Value>): Promise<{ got: Value } | { refused: string[] }> {
  try {
    return { got: await ask() }
  } catch (error) {
    const passes = error instanceof SpacedriveError && error.retryable && error.code !== 'NO_DAEMON'
    if (!passes) throw error
    return { refused: failureLines(error) }
  }
}

interface Screen {
  draw(lines: (rowsMax: number) => readonly string[]): Promise<void>
  close(): Promise<void>
}

function openScreen(terminal: Terminal): Screen {
  if (!terminal.stdout.isTTY) return plainLines(terminal)
  let latest: (rowsMax: number) => readonly string[] = () => []
  const draw = () => terminal.print(pageOf(latest(terminal.rows), terminal.rows, terminal.columns))
  const resized = () => void draw()
  process.on('SIGWINCH', resized)
  let opened: Promise<void> | undefined
  return {
    draw: async (lines) => {
      latest = lines
      await (opened ??= terminal.print(ENTER))
      await draw()
    },
    close: async () => {
      process.removeListener('SIGWINCH', resized)
      if (opened) await terminal.print(LEAVE)
    },
  }
}

function pageOf(lines: readonly string[], rows: number, columns: number): string {
  const shown = lines.slice(0, rows).map((line) => `${fitted(line, columns)}${REST}`)
  return `${HOME}${shown.join('\r\n')}${BELOW}`
}

function plainLines(terminal: Terminal): Screen {
  return {
    draw: (lines) => terminal.print(`${[millisecond(Date.now()), ...lines(Infinity), ''].join('\n')}\n`),
    close: () => Promise.resolve(),
  }
}
