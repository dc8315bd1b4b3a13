// Has the Nth descriptor-making call of a daemon fail, once, with EMFILE: compiles `nth.c`, starts it, and steers it over a socket.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT, within } from './daemon.js'

/** The words of the daemon's command line from which on calls count: the launcher's own are none of its. */
const MARK = 'cli/main.js'
const ANSWER_MS = 60_000

export interface Fired {
  /** Descriptor-making calls since counting began. */
  readonly count: number
  /** Which of them first opened the program's own main file: what stands before is Node's. */
  readonly opened: number
  /** The call that failed, with its path where it has one; null while none has. */
  readonly call: string | null
}

/** @returns the binary, or why there is none */
export function compileNth(directory: string): { binary: string } | { missing: string } {
  if (process.platform !== 'linux') return { missing: 'seccomp is of Linux only' }
  const binary = join(directory, 'nth')
  const made = spawnSync('cc', ['-O1', '-o', binary, join(ROOT, 'test', 'harness', 'nth.c')], { encoding: 'utf8' })
  if (made.status !== 0) return { missing: `nth.c does not compile: ${made.error?.message ?? made.stderr}` }
  const tried = spawnSync(binary, ['--try'], { encoding: 'utf8' })
  return tried.status === 0 ? { binary } : { missing: `seccomp cannot notify: ${tried.stderr.trim()}` }
}

/** Null where single descriptors can be made to fail here. */
export function whyNoNth(): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'sd-'))
  try {
    const compiled = compileNth(directory)
    return 'missing' in compiled ? compiled.missing : null
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** One process to be started by way of `through`. */
export class Nth {
  readonly through: readonly string[]
  readonly #server: net.Server
  readonly #steered: Promise<net.Socket>
  #lastWord = ''

  private constructor(server: net.Server, through: readonly string[]) {
    this.#server = server
    this.through = through
    this.#steered = once(server, 'connection').then(([socket]: net.Socket[]) => {
      socket!.on('data', (bytes) => (this.#lastWord = String(bytes).trim()))
      socket!.on('error', () => undefined)
      return socket!
    })
  }

  /** @param n the call of the start itself that fails; 0 for none */
  static async open(binary: string, directory: string, n = 0): Promise<Nth> {
    const path = join(mkdtempSync(join(directory, 'n-')), 's')
    const server = net.createServer().listen(path)
    await once(server, 'listening')
    return new Nth(server, [binary, path, String(n), MARK])
  }

  /** Counting starts anew, and the Nth call from now on fails. */
  async arm(n: number): Promise<void> {
    await this.#ask(`arm ${n}`)
  }

  async fired(): Promise<Fired> {
    const socket = await this.#steered
    const told = socket.readableEnded || socket.destroyed ? this.#lastWord : await this.#ask('read')
    const [count, opened, ...call] = told.split(' ')
    return { count: Number(count), opened: Number(opened), call: call.join(' ').trim() || null }
  }

  async close(): Promise<void> {
    const socket = await Promise.race([this.#steered, null])
    socket?.destroy()
    this.#server.close()
  }

  async #ask(line: string): Promise<string> {
    const socket = await this.#steered
    const answered = once(socket, 'data')
    socket.write(line)
    const [bytes] = (await within(ANSWER_MS, `nth answers ${line}`, answered)) as [Buffer]
    return String(bytes).trim()
  }
}
