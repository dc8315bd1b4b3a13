// What every command has at hand: the terminal, the data directory and a line to its daemon.
import { dataDirOf, paths, type Environment, type Paths } from '../base/places.js'
import { SpacedriveError } from '../base/errors.js'
import { Client, socketOf } from './client.js'
import { UsageError } from './failure.js'
import type { Terminal } from './terminal.js'

/** The options every command takes. */
export interface Globals {
  readonly dataDir?: string
  readonly instance?: string
  readonly json?: boolean
}

export class Desk {
  readonly terminal: Terminal
  readonly argv: readonly string[]
  readonly env: Environment
  readonly #globals: () => Globals
  #client: Client | undefined

  /** @param globals read only once a command runs: before that the command line is not parsed */
  constructor(terminal: Terminal, argv: readonly string[], env: Environment, globals: () => Globals) {
    this.terminal = terminal
    this.argv = argv
    this.env = env
    this.#globals = globals
  }

  get globals(): Globals {
    return this.#globals()
  }

  get json(): boolean {
    return this.globals.json === true
  }

  get paths(): Paths {
    return paths(this.#dataDir(), this.env)
  }

  get client(): Client {
    return (this.#client ??= new Client(socketOf(this.paths)))
  }

  /** The one answer of a command: the value itself with --json, else the lines made of it. */
  async answer(value: unknown, lines: () => readonly string[]): Promise<void> {
    const text = this.json ? JSON.stringify(value ?? null) : lines().join('\n')
    if (text !== '') await this.terminal.print(`${text}\n`)
  }

  /** A word to the person, beside the answer. */
  note(text: string): void {
    this.terminal.note(`${text}\n`)
  }

  close(): void {
    this.#client?.close()
  }

  #dataDir(): string {
    const { dataDir, instance } = this.globals
    try {
      return dataDirOf({ dataDir, instance }, this.env)
    } catch (error) {
      const typed = dataDir === '' || instance !== undefined
      throw typed && error instanceof SpacedriveError ? new UsageError(error.message, error.hint) : error
    }
  }
}
