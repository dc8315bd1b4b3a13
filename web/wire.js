// The console's one connection: calls and events over a WebSocket, opened again when it is lost.

const WAIT_MS_MAX = 10_000
/** So often is asked again what was refused for the moment. */
const AGAIN_MAX = 5
/** Refusals of what was not begun: it may be asked again, whatever it is. */
const NOT_BEGUN = new Set(['OVERLOADED', 'SHARD_BUSY', 'BUDGET_EXHAUSTED', 'CONNECTION_LIMIT', 'STARTING', 'DRAINING'])

/** An answer that was a refusal. */
export class Refused extends Error {
  constructor({ message, data = {} }) {
    super(message)
    this.code = data.code ?? ''
    this.hint = data.hint ?? ''
    this.position = data.position
    this.retryAfterMs = data.retryAfterMs ?? 0
    /** How often it was asked again, in vain. */
    this.again = 0
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
  /** Calls that wait until they are asked again. */
  #putOff = 0

  /**
   * @param told of `open`, `lost`, `denied`; of `event` with each event; of `busy`, with how long a call that was refused for the
   *   moment waits and the how manieth time that is, and of `calm` when none waits any more
   */
  constructor(token, told) {
    this.#token = token
    this.#told = told
    this.#open()
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** Asks again after as long as the daemon says, a few times and while the answer is wanted. */
  async call(method, params = {}, isWanted = () => true) {
    for (let again = 0; ; again++) {
      try {
        return await this.#send(method, params)
      } catch (error) {
        error.again = again
        const waitMs = NOT_BEGUN.has(error.code) ? Math.min(error.retryAfterMs, WAIT_MS_MAX) : 0
        if (waitMs === 0 || again === AGAIN_MAX || !isWanted()) throw error
        await this.#putOffFor(waitMs, again + 1)
        if (!isWanted()) throw error
      }
    }
  }

  async #putOffFor(waitMs, again) {
    this.#putOff += 1
    this.#told('busy', { waitMs, again, most: AGAIN_MAX })
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    this.#putOff -= 1
    if (this.#putOff === 0 && this.isOpen) this.#told('calm')
  }

  #send(method, params) {
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
      this.call('events.subscribe', {}, () => this.#socket === socket).catch(() => undefined)
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
