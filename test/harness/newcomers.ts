// Clients of an address of their own that want to be in, and come again until they are.
import net from 'node:net'
import type { TestDaemon } from './daemon.js'

export class Newcomers {
  readonly #daemon: TestDaemon
  readonly #from: string
  readonly #in = new Set<net.Socket>()
  readonly #wanted: number
  #left = false
  /** First lines of what those were told that were not let in. */
  readonly refused: string[] = []

  constructor(daemon: TestDaemon, wanted: number, from = '127.0.0.2') {
    this.#daemon = daemon
    this.#from = from
    this.#wanted = wanted
    for (let at = 0; at < wanted; at += 1) this.#come()
  }

  /** All have been answered, and none was closed since. */
  get all(): boolean {
    return this.#in.size === this.#wanted
  }

  get count(): number {
    return this.#in.size
  }

  leave(): void {
    this.#left = true
    for (const socket of this.#in) socket.destroy()
  }

  #come(): void {
    const { port, token } = this.#daemon
    const socket = net.connect({ port, host: '127.0.0.1', localAddress: this.#from })
    // A daemon that is gone is not waited for.
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#left ||= error.code === 'ECONNREFUSED'))
    socket.on('connect', () =>
      socket.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${token}\r\n\r\n`),
    )
    socket.on('data', (bytes) => {
      const [line = ''] = bytes.toString('latin1').split('\r\n', 1)
      if (line.startsWith('HTTP/1.1 200')) this.#in.add(socket)
      else if (line.startsWith('HTTP/')) this.refused.push(line)
    })
    socket.on('close', () => {
      this.#in.delete(socket)
      if (!this.#left) setTimeout(() => this.#come(), 50)
    })
  }
}
