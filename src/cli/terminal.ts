// What a command prints on: answers on stdout, everything said beside them on stderr.
import { errnoOf, fromSystem, SpacedriveError } from '../base/errors.js'

export interface Output {
  write(text: string, written?: (error?: Error | null) => void): boolean
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

const COLUMNS_USUAL = 80
const ROWS_USUAL = 24
const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const
export type Style = keyof typeof STYLES

export class Terminal {
  readonly stdout: Output
  readonly stderr: Output
  /** A foreground daemon goes on when its output goes nowhere (a reader left, a disk is full); every other command is over then. */
  outlivesReader = false
  readonly #colour: boolean
  /** Whether it shows any colour, or the 256 that nearly all do. */
  readonly #anyColour: boolean

  constructor(stdout: Output, stderr: Output, env: Readonly<Record<string, string | undefined>> = {}) {
    this.stdout = stdout
    this.stderr = stderr
    this.#colour = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
    this.#anyColour = env.COLORTERM === 'truecolor' || env.COLORTERM === '24bit'
  }

  /** Resolves once the reader took it, so that a slow pipe holds a long listing back. A reader that left is no error. */
  print(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.stdout.write(text, (error) => {
        const isNone = !error || this.outlivesReader || errnoOf(error) === 'EPIPE'
        return isNone ? resolve() : reject(notPrinted(error))
      })
    })
  }

  note(text: string): void {
    this.stderr.write(text)
  }

  /** For tables made to be looked at. */
  get columns(): number {
    return (this.stdout.isTTY && this.stdout.columns) || COLUMNS_USUAL
  }

  get rows(): number {
    return this.stdout.rows || ROWS_USUAL
  }

  /** For listings: nothing is cut where a program reads them. */
  get listColumns(): number {
    return this.stdout.isTTY ? this.columns : Number.POSITIVE_INFINITY
  }

  styled(style: Style, text: string): string {
    return this.#colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text
  }
  get colours(): boolean {
    return this.#colour
  }

  /** @param colour as `#rrggbb` */
  tinted(colour: string, text: string): string {
    if (!this.#colour) return text
    const parts = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))
    const code = this.#anyColour ? `2;${parts.join(';')}` : `5;${nearestOf256(parts)}`
    return `\u001b[38;${code}m${text}\u001b[0m`
  }
}

function notPrinted(error: unknown): SpacedriveError {
  const { code, message } = fromSystem(error)
  return new SpacedriveError(code, message, { hint: 'What is printed goes there: print it to somewhere else.' })
}

/** In the cube of 6 × 6 × 6 colours that begins at 16. */
function nearestOf256(parts: readonly number[]): number {
  return parts.reduce((sum, part) => sum * 6 + Math.round(part / 51), 0) + 16
}
