// The console's one connection: calls and events over a WebSocket, opened again when it is lost.

const WAIT_MS_MAX = 10_000

/** An answer that was a refusal. */
export class Refused extends Error {
  constructor({ message, data = {} }) {
    super(message)
    this.code = data.code ?? ''
    this.hint = data.hint ?? ''
    this.position = data.position
  }
}

export class Wire {
  #token
  #told
  #socket = null
  #waiting = new Map()
  #next = 1
  #waitMs = 500
  #timer = 0
  #isClosed = false

  /** @param told of `open`, `lost`, `denied`, and of `event` with each event */
  constructor(token, told) {
    this.#token = token
    this.#told = told
    this.#open()
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  call(method, params = {}) {
    if (!this.isOpen) return Promise.reject(new Refused({ message: 'There is no connection to the daemon.' }))
    const id = this.#next++
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  close() {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#socket?.close()
  }

  #open() {
    const url = new URL('/ws', location.href)
    url.protocol = url.protocol.replace('http', 'ws')
    const socket = new WebSocket(url, ['spacedrive.v1', `bearer.${this.#token}`])
    this.#socket = socket
    socket.onopen = () => {
      this.#waitMs = 500
      this.#told('open')
      this.call('events.subscribe').catch(() => undefined)
    }
    socket.onmessage = ({ data }) => this.#read(JSON.parse(data))
    socket.onclose = () => this.#lost()
  }

  #read(message) {
    if (message.method === 'event') return this.#told('event', message.params.event)
    const waiting = this.#waiting.get(message.id)
    if (!waiting) return
    this.#waiting.delete(message.id)
    if (message.error) waiting.reject(new Refused(message.error))
    else waiting.resolve(message.result)
  }

  #lost() {
    for (const { reject } of this.#waiting.values()) reject(new Refused({ message: 'The connection was lost.' }))
    this.#waiting.clear()
    if (this.#isClosed) return
    this.#told('lost')
    void this.#ask()
  }

  /** A browser does not tell why a WebSocket was refused: whether the token was is asked for over HTTP. */
  async #ask() {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.ping' })
    const headers = { Authorization: `Bearer ${this.#token}`, 'Content-Type': 'application/json' }
    const answer = await fetch('/rpc', { method: 'POST', headers, body, credentials: 'omit' }).catch(() => null)
    if (this.#isClosed) return
    if (answer?.status === 401) return this.#told('denied')
    const waitMs = this.#waitMs * (0.5 + Math.random())
    this.#waitMs = Math.min(WAIT_MS_MAX, 2 * this.#waitMs)
    this.#timer = setTimeout(() => this.#open(), waitMs)
  }
}
