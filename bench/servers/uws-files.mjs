// uWebSockets.js that answers with the file at a path below its first argument, and does nothing else.
import { readFile } from 'node:fs'
import uWS from 'uWebSockets.js'

const [root] = process.argv.slice(2)

uWS
  .App()
  .get('/*', (res, req) => {
    let gone = false
    res.onAborted(() => (gone = true))
    readFile(root + decodeURIComponent(req.getUrl()), (error, bytes) => {
      if (gone) return
      res.cork(() => (error ? res.writeStatus('404 Not Found').end() : res.end(bytes)))
    })
  })
  .listen('127.0.0.1', 0, 1, (socket) => console.log(uWS.us_socket_local_port(socket)))
