// The floor: uWebSockets.js answers a POST with its own body and a message with itself, and does nothing else.
import uWS from 'uWebSockets.js'

uWS
  .App()
  .post('/*', (res) => {
    res.onAborted(() => {})
    res.onData((chunk, last) => {
      if (last) res.cork(() => res.end(chunk))
    })
  })
  .ws('/*', { message: (ws, message, isBinary) => ws.send(message, isBinary) })
  .listen('127.0.0.1', 0, 1, (socket) => console.log(uWS.us_socket_local_port(socket)))
