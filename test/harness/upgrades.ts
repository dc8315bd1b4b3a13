// WebSockets that are opened and left in every way there is, many thousands of them, without a library that would tidy up.
import net from 'node:net'
import type { TestDaemon } from './daemon.js'

const PING = maskedText(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.ping' }))
const CLOSE = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])

/** After the upgrade; each ends with the socket closed. */
const WAYS: readonly ((socket: net.Socket) => void)[] = [
  (socket) => socket.destroy(),
  (socket) => socket.resetAndDestroy(),
  (socket) => socket.end(),
  (socket) => socket.end(CLOSE),
  (socket) => {
    socket.write(PING)
    socket.once('data', () => socket.destroy())
  },
  (socket) => {
    socket.write(PING)
    socket.resetAndDestroy()
  },
]

/** Returns how many were upgraded. @throws when one is told anything else */
export async function upgrades(daemon: TestDaemon, count: number, atOnce: number): Promise<number> {
  let begun = 0
  let upgraded = 0
  const one = async () => {
    while (begun < count) {
      const way = WAYS[begun++ % WAYS.length]!
      await upgradeAndLeave(daemon, way)
      upgraded += 1
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
  return upgraded
}

function upgradeAndLeave({ port, token }: TestDaemon, leave: (socket: net.Socket) => void): Promise<void> {
  const lines = [
    'GET /ws HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    `Authorization: Bearer ${token}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    socket.once('data', (bytes) => {
      const text = bytes.toString('latin1')
      if (!text.startsWith('HTTP/1.1 101')) reject(new Error(`not upgraded: ${text.slice(0, 200)}`))
      else leave(socket.resume())
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve())
  })
}

function maskedText(text: string): Buffer {
  const payload = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}
